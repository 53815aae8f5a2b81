import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from jepakit.diagnostics.embedding import EmbeddingProbe, effective_rank, only_looking, spread
from jepakit.diagnostics.finite import BadEmbedding


def test_spread_computes_tiny_variances_in_fp32() -> None:
    torch.manual_seed(0)
    s_x = (torch.randn(256, 8) * 1e-4).bfloat16()
    exact = s_x.double().numpy()

    variance, mean_square = spread(s_x)

    assert variance.dtype == mean_square.dtype == torch.float32
    np.testing.assert_allclose(variance, exact.var(axis=0, ddof=1).mean(), rtol=1e-4)  # about 1e-8
    np.testing.assert_allclose(mean_square, np.square(exact).mean(), rtol=1e-4)


@settings(max_examples=25)
@given(batch=st.integers(2, 9), width=st.integers(1, 6), scale=st.floats(1e-4, 10), offset=st.floats(-5, 5), seed=st.integers(0, 99))
def test_spread_is_mean_variance_and_mean_square(batch: int, width: int, scale: float, offset: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_x = torch.randn(batch, width) * scale + offset
    exact = s_x.double().numpy()
    variance = np.mean([exact[:, i].var(ddof=1) for i in range(width)])
    np.testing.assert_allclose(spread(s_x).variance, variance, rtol=1e-3)
    np.testing.assert_allclose(spread(s_x).mean_square, (exact**2).sum() / exact.size, rtol=1e-4)


@settings(max_examples=25)
@given(width=st.integers(1, 8), true_rank=st.integers(1, 8), offset=st.floats(-3, 3), seed=st.integers(0, 99))
def test_effective_rank_matches_rankme(width: int, true_rank: int, offset: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(4 * width, true_rank)) @ generator.normal(size=(true_rank, width)) + offset

    sigma = np.sqrt(np.linalg.eigvalsh(embeddings.T @ embeddings).clip(0))
    p = sigma / sigma.sum() + 1e-7
    expected = np.exp(-sum(x * np.log(x) for x in p))

    np.testing.assert_allclose(effective_rank(torch.from_numpy(embeddings)).item(), expected, rtol=1e-3)


def test_effective_rank_at_its_extremes() -> None:
    assert effective_rank(torch.eye(8).repeat(4, 1)).item() == pytest.approx(8, rel=1e-3)
    assert effective_rank(torch.ones(32, 8)).item() == pytest.approx(1, rel=1e-3)
    assert effective_rank(torch.zeros(32, 8)).item() == pytest.approx(1, rel=1e-3)  # a dead encoder has rank 1


class Identity(nn.Module):
    """Returns pixels [*, 1, 1, 1, D] as embeddings [*, D]."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(-4).float()


def test_the_probe_measures_every_4_d_stacks_across_batches() -> None:
    probe = EmbeddingProbe(Identity(), width=2)
    pixels = torch.randint(0, 256, (16, 1, 1, 1, 2), dtype=torch.uint8)

    for begin, env_steps in ((0, 5), (5, 10), (10, 13), (13, 16)):
        found = probe.measure(pixels[begin:env_steps], env_steps)
        if env_steps in (5, 13):  # before the 8th and the 16th stack
            assert found == {}
            continue
        embeddings = pixels[env_steps - 8 : env_steps].flatten(1).float()
        variance, mean_square = spread(embeddings)
        expected = {"rank": effective_rank(embeddings), "variance": variance, "mean_square": mean_square}
        assert found == pytest.approx({f"embedding/{name}": value.item() for name, value in expected.items()})


def test_the_probe_samples_all_of_a_large_batch() -> None:
    probe = EmbeddingProbe(Identity(), width=2)
    pixels = torch.zeros(1000, 1, 1, 1, 2, dtype=torch.uint8)
    pixels[:, ..., 0], pixels[500:, ..., 1] = 1, 100

    assert probe.measure(pixels, 1000)["embedding/rank"] == pytest.approx(effective_rank(pixels.flatten(1).float()).item(), rel=0.05)
    assert len(probe.recent) == 8


def test_the_probe_raises_on_embeddings_that_are_not_finite() -> None:
    encoder = nn.Sequential(Identity(), nn.Linear(2, 2))
    nn.init.constant_(encoder[1].weight, 1e38)
    with pytest.raises(BadEmbedding, match="s_x"):
        EmbeddingProbe(encoder, width=2).measure(torch.full((8, 1, 1, 1, 2), 200, dtype=torch.uint8), 8)


def test_the_probe_changes_no_weights_and_no_random_state() -> None:
    encoder = nn.Sequential(Identity(), nn.BatchNorm1d(2), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    pixels = torch.randint(0, 256, (16, 1, 1, 1, 2), dtype=torch.uint8)
    torch.manual_seed(0)
    EmbeddingProbe(encoder, width=2).measure(pixels, 16)
    after_probe = torch.rand(3)

    torch.manual_seed(0)
    assert torch.equal(after_probe, torch.rand(3))  # no random number was drawn
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    assert encoder.training


def test_the_probe_keeps_no_more_than_it_needs() -> None:
    probe = EmbeddingProbe(Identity(), width=2)
    pixels = torch.arange(60, dtype=torch.uint8).reshape(30, 1, 1, 1, 2)
    assert probe.recent is None
    for begin in range(0, 30, 3):
        probe.measure(pixels[begin : begin + 3], begin + 3)
        assert torch.equal(probe.recent, pixels[max(0, begin + 3 - 8) : begin + 3])
        assert probe.stacks == sum(map(len, probe.kept)) < 2 * 8
        if begin == 15:
            probe.recent = probe.recent  # as a resume does


def test_looking_leaves_each_module_in_its_own_mode() -> None:
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    encoder[1].eval()  # a backbone that is always in eval mode
    with only_looking(encoder):
        assert not encoder.training
    assert (encoder.training, encoder[0].training, encoder[1].training) == (True, True, False)
