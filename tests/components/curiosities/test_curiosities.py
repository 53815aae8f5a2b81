"""The equations of the curiosities, against slow references in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchrl.data import Bounded, Categorical

from jepakit.components.curiosities.icm import ICM
from jepakit.components.curiosities.rnd import RND
from jepakit.protocols import FrameShape

FRAMES = FrameShape(2, 1, 40, 48)


def pixels(count: int, frames: FrameShape = FRAMES) -> Tensor:
    return torch.randint(0, 256, (count, *frames), dtype=torch.uint8)


def dense(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """Linear layers and ReLUs, row by row."""
    for layer in net.children():
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
            x = np.stack([weight @ row + bias for row in x])
        else:
            x = np.maximum(x, 0)
    return x


@pytest.mark.parametrize("spec", [Categorical(3), Bounded(torch.tensor([-2.0]), torch.tensor([6.0]), shape=(1,))])
def test_icm_is_the_papers_equations(spec: Any) -> None:
    torch.manual_seed(0)
    icm = ICM(FRAMES, spec, beta=0.3, filters=4, hidden=6)
    x, y, action = pixels(5), pixels(5), spec.rand((5,))
    with torch.no_grad():
        before, after = (icm.features(each.flatten(1, 2).float() / 255).double().numpy() for each in (x, y))
    numbers = np.eye(3)[action] if spec.space.__class__.__name__ == "CategoricalBox" else (action.double().numpy() - 2) / 4
    guessed = dense(icm.forward_model, np.concatenate((before, numbers), axis=1))
    surprises = [0.5 * sum((guess - true) ** 2) for guess, true in zip(guessed, after, strict=True)]  # Eq. 5
    named = dense(icm.inverse, np.concatenate((before, after), axis=1))
    if numbers.shape[1] == 3:
        inverse = np.mean([-np.log(np.exp(row[a]) / np.exp(row).sum()) for row, a in zip(named, action.tolist(), strict=True)])
    else:
        inverse = np.mean((named - numbers) ** 2)

    np.testing.assert_allclose(icm.surprise(x, y, action).detach(), surprises, rtol=1e-4)
    np.testing.assert_allclose(icm.loss(x, y, action).item(), 0.7 * inverse + 0.3 * np.mean(surprises), rtol=1e-4)  # Eq. 7


def test_icms_features_learn_from_the_inverse_model_alone() -> None:
    icm = ICM(FRAMES, Categorical(3), beta=1.0, filters=4, hidden=6)
    icm.loss(pixels(5), pixels(5), torch.arange(5) % 3).backward()
    assert not any(parameter.grad.any() for parameter in icm.features.parameters() if parameter.grad is not None)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in icm.forward_model.parameters())


def test_rnd_measures_how_far_the_trained_network_is_from_the_fixed_one() -> None:
    torch.manual_seed(0)
    rnd = RND(FRAMES, width=7)
    rnd.scale.observe(pixels(50)[:, -1])
    y = pixels(5)
    mean, deviation = rnd.scale.statistics()
    frames = ((y[:, -1] - mean) / deviation).clamp(-5, 5)
    fixed, trained = (net(frames).detach().double().numpy() for net in (rnd.fixed, rnd.predictor))
    np.testing.assert_allclose(rnd.surprise(y).detach(), ((trained - fixed) ** 2).sum(axis=1) / 7, rtol=1e-4)
    older = torch.cat((pixels(5)[:, :1], y[:, 1:]), dim=1)
    assert torch.equal(rnd.surprise(older), rnd.surprise(y))  # the newest frame alone


def test_rnd_is_less_surprised_by_what_it_was_trained_on() -> None:
    torch.manual_seed(0)
    rnd = RND(FRAMES, width=64)
    seen, new = pixels(8), pixels(8)
    rnd.scale.observe(torch.cat((seen, new))[:, -1])
    fixed = [parameter.clone() for parameter in rnd.fixed.parameters()]
    optimizer = torch.optim.Adam([parameter for parameter in rnd.parameters() if parameter.requires_grad], lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        rnd.loss(seen).backward()
        optimizer.step()
    assert rnd.surprise(seen).mean() < 0.5 * rnd.surprise(new).mean()
    assert all(torch.equal(before, now) for before, now in zip(fixed, rnd.fixed.parameters(), strict=True))


def test_rnd_learns_from_a_share_of_the_rows() -> None:
    torch.manual_seed(0)
    rnd = RND(FRAMES, width=4, share=0.25)
    y = pixels(8)
    surprises = rnd.surprise(y)
    pairs = [(surprises[i] + surprises[j]).item() / 2 for i in range(8) for j in range(i)]
    loss = rnd.loss(y).item()
    assert min(abs(loss - pair) for pair in pairs) < 1e-6


@pytest.mark.parametrize(("kind", "frames", "says"), [(RND, (1, 1, 30, 48), "at least 36x36"), (RND, (1, 1, 1, 4), "needs images")])
def test_frames_that_do_not_fit_are_refused(kind: Any, frames: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind(FrameShape(*frames))
