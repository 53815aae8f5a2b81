"""What agents showed: a collapsed embedding is one spot on the map, attention is laid over the right patch, videos keep to their budget."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepakit.report.page.panels import episodes as panel
from jepakit.report.page.panels.attention import attention
from jepakit.report.page.panels.embedding_map import embedding_map
from jepakit.report.page.panels.episodes import chosen_films, episodes
from jepakit.report.page.seen import Film, Observed, Seen, overlaid, principal
from jepakit.report.page.study import load_study
from tests.report.page.conftest import EVIL

FRAMES = np.full((2, 3, 1, 4, 6), 255, dtype=np.uint8)


def observed(scale: float) -> Observed:
    random = np.random.default_rng(0)
    return Observed(1 + scale * random.normal(size=(50, 8)), {"angle": random.normal(size=50)}, FRAMES, np.full((2, 3, 2, 3), 1 / 18))


def picture(address: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))).convert("RGB")


def test_principal_components_are_those_of_the_covariance() -> None:
    rows = np.random.default_rng(1).normal(size=(200, 5)) * [5, 3, 1, 1, 1] + 2
    points, shares = principal(rows)
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T, ddof=0)))[::-1]
    size = np.sqrt((rows**2).sum(axis=1).mean())
    assert np.allclose((points * size).var(axis=0), values[:2])
    assert np.allclose(shares, values[:2] / values.sum())
    assert np.allclose(principal(np.zeros((10, 3)))[0], 0)
    assert principal(np.ones((10, 1)))[0].shape == (10, 2)


def test_a_collapsed_embedding_is_one_spot_beside_a_healthy_one(runs: Path) -> None:
    study = load_study([runs])
    shown = embedding_map(study, Seen({0: observed(1.0), 1: observed(1e-6)}, {}, {0: "a", 1: EVIL}, {2: f"no {EVIL}"}))
    healthy, dead = (shown.charts[f"map-{index}"] for index in (0, 1))
    assert healthy["range"] == dead["range"]
    assert max(map(abs, healthy["points"]["x"] + healthy["points"]["y"])) > 0.9 * healthy["range"]
    assert max(map(abs, dead["points"]["x"])) < 1e-4 * dead["range"]
    assert "<script" not in shown.body
    assert "jepakit report RUNS" in embedding_map(study, Seen()).body


def test_attention_is_laid_over_its_own_patch() -> None:
    weights = np.array([[0.0, 0.0, 0.5], [0.0, 0.25, 0.0]])
    drawn = picture(overlaid(FRAMES[0, 0], weights, 1 / 6, side=60))
    assert drawn.size == (60, 40)
    white, (red, green, blue) = drawn.getpixel((5, 5)), drawn.getpixel((55, 5))
    assert white == (255, 255, 255)
    assert red > 200 > 140 > green > blue
    assert drawn.getpixel((25, 35))[2] in range(blue + 1, 255)


def test_each_frame_shows_the_patches_that_span_it_and_an_encoder_without_attention_is_named(runs: Path) -> None:
    study = load_study([runs])
    wide = observed(1.0)._replace(attention=np.ones((2, 1, 2, 3)))
    shown = attention(study, Seen({0: observed(1.0), 1: wide, 2: observed(1.0)._replace(attention=None)}))
    assert shown is not None
    assert shown.body.count("<img") == 12
    assert "a patch spans 3 frames" in shown.body
    assert "No class token whose attention could be shown: z&lt;script&gt;" in shown.body
    assert attention(study, Seen()) is None


def test_best_middle_and_worst_are_shown_within_the_budget(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = [Film(bytes(300), ".mp4", value) for value in (3.0, 9.0, 5.0, 1.0, 7.0)]
    assert [(which, film.episode_return) for which, film in chosen_films(films)] == [("best", 9), ("middle", 5), ("worst", 1)]
    assert [which for which, _ in chosen_films([films[0]] * 5)] == ["every episode"]
    assert [which for which, _ in chosen_films(films[:2])] == ["best", "worst"]
    monkeypatch.setattr(panel, "BUDGET", 2000)
    shown = episodes(load_study([runs]), Seen(films={0: films, 1: films, 2: [films[0]._replace(suffix=".gif")]}))
    assert shown is not None
    assert shown.body.count("<video") == 3
    assert shown.body.count("image/gif") == 1
    assert "Left out, so that the page stays small: J∇̂R̂" in shown.body or "Left out, so that the page stays small: J∇R̂" in shown.body
