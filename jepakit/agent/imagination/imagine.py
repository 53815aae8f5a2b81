"""Rolls a run's predictor out beside what happens: errors by k, and pictures of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jepakit.agent.imagination.decoder import UPDATES, Decoder, unexplained
from jepakit.agent.imagination.pictures import chosen, curves, film, pictures, strip
from jepakit.agent.imagination.played import play
from jepakit.agent.imagination.rollouts import errors, roll_out
from jepakit.agent.movie import suffix
from jepakit.agent.trained import looking_ahead, opened
from jepakit.recipe.compose import Overrides, override_texts
from jepakit.storage.folder import make_folder
from jepakit.training.monitoring.quiet import quietly

STEPS, AHEAD = 4_000, 15
FILMED, IN_STRIP = 4, 2  #: roll-outs that are shown


def imagine(
    run: str | Path,
    out: str | Path,
    ahead: int = AHEAD,
    steps: int = STEPS,
    seed: int | None = None,
    *,
    overrides: Overrides = (),
    best: bool = False,
    trust: bool = False,
    warn: Callable[[str], object] = lambda _: None,
    on_progress: Callable[[int], object] = lambda _: None,
) -> dict[str, Any]:
    """Roll the predictor of a run out over ``ahead`` steps, along the actions that its policy takes, and compare with what happens.

    The policy of the newest weights plays, sampling its actions. A decoder learns from three quarters of the steps to draw the newest frame
    from s_y; errors and pictures are of the others, which are episodes of another seed. The run does not change, and the global random
    number generators keep their state.

    Args:
        run: A run's folder.
        out: Folder for ``imagined.mp4`` (``.gif`` without ffmpeg), ``imagined.png`` and ``error.png``; made if it is not there.
        ahead: K, steps to roll out.
        steps: Env steps to play.
        seed: Seed of episodes, actions and decoder; by default the run's seed + 1,000,003.
        overrides: Changes of where the agent acts: of the recipe's ``env`` and ``distractions``.
        best: Use the best checkpoint (`best_checkpoint`), not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.
        on_progress: Called with the number of steps of work done, of `work` in all.

    Returns:
        The content of ``imagine.json`` (docs/planning.md).

    Raises:
        UserError: The folder holds no run with an intact checkpoint, its recipe names code and ``trust`` is False, its predictor cannot be
            rolled out, or ``out`` cannot be written.
    """
    run, out = Path(run), Path(out)
    with opened(run, best=best, trust=trust, warn=warn, overrides=overrides) as trained:
        _, env, learner, env_steps = trained
        jepa, device = looking_ahead(learner), learner.hardware.device
        make_folder(out)
        seed = trained.held_out_seed if seed is None else seed
        with quietly(learner.parts):
            held_out = play(env, learner, jepa, steps // 4, (seed + 1) % 2**32, on_progress)
            fit = play(env, learner, jepa, steps - steps // 4, seed, on_progress)
            rollouts = roll_out(jepa, held_out, ahead, device)
            found = errors(rollouts, held_out, torch.cat([played.s_y for played in fit]).mean(dim=0), ahead)
            decoder = Decoder(fit, device, lambda: on_progress(1))
            drawn = [pictures(each, held_out[each.episode], decoder) for each in chosen(rollouts, FILMED)]
            missed = unexplained(decoder, held_out)
        found = {"horizon": jepa.horizon, "space": "projection" if jepa.projector else "s_x"} | found
        heading = f"{run.resolve().name} · {env_steps:,} env steps"
        video = out / f"imagined{suffix()}"
        film(video, drawn, heading)
        strip(out / "imagined.png", drawn[:IN_STRIP], heading)
        curves(out / "error.png", found, heading)
    elsewhere = {"overrides": [text for _, text in override_texts(overrides, None)]} if overrides else {}
    return {
        "env_steps": env_steps,
        "best": best,
        "seed": seed,
        "steps": steps,
        **elsewhere,
        **found,
        "decoder_unexplained": missed,
        "files": [video.name, "imagined.png", "error.png"],
    }


def work(steps: int) -> int:
    """How many steps of work `imagine` reports."""
    return steps + UPDATES
