import numpy as np
import torch

from jepakit.components.projectors.linear import LinearProjector


def test_is_an_affine_map() -> None:
    projector, s = LinearProjector(5, dim=3), torch.randn(4, 2, 5)
    w, b = (tensor.double().numpy() for tensor in projector.state_dict().values())
    expected = [[w @ s[i, j].numpy() + b for j in range(2)] for i in range(4)]
    np.testing.assert_allclose(projector(s).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
