import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.regularizers.sigreg import SIGReg


def epps_pulley(sample: np.ndarray, t_max: float, knots: int) -> float:
    """N ∫ |φ(t) - exp(-t²/2)|² exp(-t²/2) dt by the trapezoid rule, one knot and one number at a time."""
    ts = [-t_max + 2 * t_max * k / (knots - 1) for k in range(knots)]
    heights = []
    for t in ts:
        phi = sum(np.exp(1j * t * x) for x in sample) / len(sample)
        heights.append(abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2))
    area = sum((ts[k + 1] - ts[k]) * (heights[k] + heights[k + 1]) / 2 for k in range(knots - 1))
    return len(sample) * area


def reference(s_x: np.ndarray, directions: np.ndarray, t_max: float = 5.0, knots: int = 17) -> float:
    return float(np.mean([epps_pulley(s_x @ direction, t_max, knots) for direction in directions.T]))


@settings(max_examples=30)
@given(
    batch=st.integers(1, 9),
    width=st.integers(1, 5),
    scale=st.floats(1e-3, 3),
    offset=st.floats(-3, 3),
    knots=st.integers(3, 18),
    t_max=st.floats(1, 6),
    seed=st.integers(0, 99),
)
def test_is_the_epps_pulley_statistic(batch: int, width: int, scale: float, offset: float, knots: int, t_max: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_x = torch.randn(batch, width) * scale + offset
    sigreg = SIGReg(directions=4, knots=knots, t_max=t_max)
    expected = reference(s_x.double().numpy(), sigreg.draw(width).double().numpy(), t_max, knots)
    torch.testing.assert_close(sigreg(s_x).item(), expected, rtol=1e-3, atol=1e-5)


def test_the_defaults_are_the_papers_values() -> None:
    torch.manual_seed(0)
    s_x, sigreg = torch.rand(12, 3), SIGReg()
    directions = sigreg.draw(3).double().numpy()
    assert directions.shape == (3, 256)
    assert sigreg(s_x).item() == pytest.approx(reference(s_x.double().numpy(), directions), rel=1e-4)


@pytest.mark.parametrize(("batch", "width"), [(64, 2), (64, 32), (512, 8)])
def test_standard_normal_embeddings_score_the_known_expectation(batch: int, width: int) -> None:
    torch.manual_seed(0)
    sigreg = SIGReg()
    mean = torch.stack([sigreg(torch.randn(batch, width)) for _ in range(60)]).mean().item()
    assert mean == pytest.approx(np.sqrt(2 * np.pi) * (1 - 1 / np.sqrt(3)), rel=0.15)  # 1.06, the closed form of the integral


@pytest.mark.parametrize("batch", [8, 200])
def test_collapsed_embeddings_score_in_proportion_to_the_batch(batch: int) -> None:
    at_zero = np.sqrt(2 * np.pi) * (1 - np.sqrt(2) + 1 / np.sqrt(3))  # 0.41
    assert SIGReg()(torch.zeros(batch, 4)).item() == pytest.approx(at_zero * batch, rel=1e-3)
    assert SIGReg()(torch.ones(batch, 4)).item() > at_zero * batch


def test_directions_are_uniform_unit_vectors() -> None:
    directions = SIGReg(directions=4000).draw(3)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(4000))
    torch.testing.assert_close(directions @ directions.T / 4000, torch.eye(3) / 3, rtol=0, atol=0.03)
    assert directions.mean(dim=1).abs().max() < 0.05


def test_directions_change_per_update_and_repeat_across_ranks_and_resumes() -> None:
    s_x = torch.randn(8, 3)
    run, rank = SIGReg(directions=4), SIGReg(directions=4)
    losses = []
    for _ in range(6):
        torch.manual_seed(len(losses) ** 2)  # the global generator has no effect ...
        before = torch.get_rng_state()
        losses.append(run(s_x).item())
        assert torch.equal(torch.get_rng_state(), before)  # ... and is not advanced
        if len(losses) == 3:
            saved = copy.deepcopy(run.state_dict())
    assert len(set(losses)) == 6
    assert [rank(s_x).item() for _ in range(6)] == losses

    assert saved["updates"].dtype == torch.int64
    resumed = SIGReg(directions=4)
    resumed.load_state_dict(saved)
    assert [resumed(s_x).item() for _ in range(3)] == losses[3:]


def test_eval_mode_does_not_count_as_an_update() -> None:
    sigreg, s_x = SIGReg().eval(), torch.randn(8, 3)
    assert sigreg(s_x) == sigreg(s_x)
    assert sigreg.updates == 0


def test_is_computed_in_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    s_x = torch.randn(32, 6)
    plain, cast, of_bf16 = SIGReg(), SIGReg(), SIGReg()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cast(s_x), plain(s_x))
        loss = of_bf16(s_x.bfloat16())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(SIGReg()(s_x.bfloat16().float()).item(), rel=1e-6)


def test_its_gradient_makes_collapsed_embeddings_standard_normal() -> None:
    torch.manual_seed(0)
    s_x, sigreg = (3 + 0.01 * torch.randn(128, 2)).requires_grad_(), SIGReg(directions=64)
    optimizer = torch.optim.Adam([s_x], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        sigreg(s_x).backward()
        optimizer.step()
    assert s_x.mean(dim=0).abs().max() < 0.1
    torch.testing.assert_close(s_x.T.cov(), torch.eye(2), rtol=0, atol=0.25)
