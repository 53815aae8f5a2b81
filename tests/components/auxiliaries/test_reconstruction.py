import numpy as np
import pytest
import torch

from jepakit.components.auxiliaries.reconstruction import Reconstruction
from jepakit.protocols import FrameShape

SHAPES = [FrameShape(3, 1, 8, 12), FrameShape(1, 3, 21, 10), FrameShape(2, 1, 5, 3), FrameShape(2, 1, 1, 4)]


@pytest.mark.parametrize("frames", SHAPES)
@pytest.mark.parametrize("vectors", [False, True])
def test_is_the_mean_squared_error_over_all_pixels(frames: FrameShape, vectors: bool) -> None:
    torch.manual_seed(0)
    term = Reconstruction(frames, 6, channels=4, penalty=0.3)
    pixels = torch.randn(5, *frames) if vectors else torch.randint(0, 256, (5, *frames), dtype=torch.uint8)
    s_x = torch.randn(5, 6)
    drawn = term.decode(s_x)
    assert drawn.shape == (5, *frames)

    errors = []
    for place in np.ndindex(*pixels.shape):
        wanted = pixels[place].item() / (1 if vectors else 255)
        errors.append((drawn[place].item() - wanted) ** 2)
    penalty = np.mean([sum(number**2 for number in row) / 2 for row in s_x.double().numpy()])
    np.testing.assert_allclose(term(s_x=s_x, pixels=pixels).item(), np.mean(errors) + 0.3 * penalty, rtol=1e-4)


def test_the_papers_penalty_is_the_default() -> None:
    frames, s_x = SHAPES[0], torch.full((2, 6), 1000.0)
    term = Reconstruction(frames, 6)
    pixels = term.decode(s_x).detach()
    assert term(s_x, pixels).item() == pytest.approx(1e-6 * 6 * 1000**2 / 2, rel=1e-4)


def test_the_gradient_reaches_the_embedding_and_every_weight() -> None:
    torch.manual_seed(0)
    term, s_x = Reconstruction(SHAPES[0], 6), torch.randn(4, 6, requires_grad=True)
    pixels = torch.rand(4, *SHAPES[0], requires_grad=False)
    term(s_x, pixels).backward()
    assert all(tensor.grad.abs().max() > 0 for tensor in (s_x, *term.parameters()))


def test_learns_to_reconstruct_frames_from_an_informative_embedding() -> None:
    torch.manual_seed(0)
    frames = FrameShape(2, 1, 11, 14)
    pixels = torch.randint(0, 256, (8, *frames), dtype=torch.uint8)
    s_x = torch.eye(8)
    term = Reconstruction(frames, 8)
    optimizer = torch.optim.Adam(term.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss = term(s_x, pixels)
        loss.backward()
        optimizer.step()
    assert loss < 0.02  # a decoder without information scores 0.083, the variance of uniform pixels
