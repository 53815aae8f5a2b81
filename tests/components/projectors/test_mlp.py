import numpy as np
import torch

from jepakit.components.projectors.mlp import MLPProjector


def test_normalises_each_row_separately_between_its_two_layers() -> None:
    torch.manual_seed(0)
    projector = MLPProjector(5, hidden=7, dim=3)
    with torch.no_grad():
        for parameter in projector.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    s = torch.randn(4, 2, 5)

    w1, b1, gain, bias, w2, b2 = (tensor.double().numpy() for tensor in projector.state_dict().values())
    expected = np.zeros((4, 2, 3))
    for b in range(4):
        for h in range(2):
            first = w1 @ s[b, h].double().numpy() + b1
            normed = (first - first.mean()) / np.sqrt(first.var() + 1e-5) * gain + bias
            expected[b, h] = w2 @ np.maximum(normed, 0) + b2

    np.testing.assert_allclose(projector(s).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(projector(s[1]), projector(s)[1])
