"""Films a trained agent's episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torchrl.envs import EnvBase
from torchrl.envs.utils import set_exploration_type, step_mdp

from jepakit.agent.drawing import Canvas, Moment, Picture, as_picture
from jepakit.agent.evaluate import MODES
from jepakit.agent.intent import intent
from jepakit.agent.movie import QUALITY, Movie, suffix
from jepakit.agent.trained import Trained, opened
from jepakit.diagnostics.probes.episodes import expect_an_end
from jepakit.errors import UserError
from jepakit.machine.generators import seed_everything
from jepakit.protocols import EPISODE_LENGTH, EPISODE_OVER, EPISODE_RETURN, PIXELS, Pictured
from jepakit.recipe.compose import Overrides
from jepakit.storage.folder import make_folder
from jepakit.training.policy import Policy

FPS = 30


def film(
    run: str | Path,
    out: str | Path,
    seed: int | None = None,
    mode: str = "greedy",
    *,
    fps: int = FPS,
    overrides: Overrides = (),
    best: bool = False,
    trust: bool = False,
    warn: Callable[[str], object] = lambda _: None,
) -> float:
    """Film one held-out episode of the run in folder ``run``, and return its return.

    A frame shows the env, beside it the newest frame that the agent sees (through the recipe's distractions), the return so far, what the
    agent expects, and its action's probabilities, values or size. The global random number generators keep their state.

    Args:
        run: A run's folder.
        out: The video, ``.mp4`` or ``.gif``.
        seed: Seed of the episode and the sampling; by default that of `jepakit eval`, whose first episode it then is.
        mode: ``greedy`` or ``sampled``.
        fps: Env steps a second.
        overrides: Changes of where the agent acts: of the recipe's ``env`` and ``distractions``.
        best: Use the best checkpoint (`best_checkpoint`), not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, its recipe names code and ``trust`` is False, ``mode`` is unknown, or
            ``out`` cannot be written here.
    """
    if mode not in MODES:
        raise UserError(f"mode `{mode}`: it is one of {', '.join(MODES)}")
    with opened(Path(run), best=best, trust=trust, warn=warn, overrides=overrides, alone=True) as trained:
        return _film(trained, Path(out), mode, _seed(trained, seed), Path(run).name, fps)


class Filmed(NamedTuple):
    """A video of an episode."""

    path: Path
    episode_return: float


def film_both(
    run: Path,
    folder: Path,
    episodes: int = 1,
    seed: int | None = None,
    *,
    modes: Sequence[str] = tuple(MODES),
    quality: float = QUALITY,
    overrides: Overrides = (),
    best: bool = False,
    trust: bool = False,
) -> list[Filmed]:
    """Film ``episodes`` greedy and as many sampled episodes, or those of ``modes`` alone, with the seeds from ``seed`` on.

    ``quality`` is that of MP4s, from 0 to 10.

    Returns:
        The videos, such as ``greedy-1-return_487.mp4``, in ``folder``, which is made if it is not there.

    Raises:
        UserError: As `film`.
    """
    make_folder(folder)
    kind = suffix()
    made: list[Filmed] = []
    with opened(run, best=best, trust=trust, warn=lambda _: None, overrides=overrides, alone=True) as trained:
        for mode in modes:
            for number in range(1, episodes + 1):
                partial = folder / f".{mode}-{number}.partial{kind}"
                try:
                    total = _film(trained, partial, mode, (_seed(trained, seed) + number - 1) % 2**32, run.name, FPS, quality)
                    made.append(Filmed(partial.rename(folder / f"{mode}-{number}-return_{total:.4g}{kind}"), total))
                finally:
                    partial.unlink(missing_ok=True)
    return made


def _seed(trained: Trained, seed: int | None) -> int:
    return trained.held_out_seed if seed is None else seed


def _film(trained: Trained, out: Path, mode: str, seed: int, name: str, fps: int, quality: float = QUALITY) -> float:
    heading = f"{name} · {trained.env_steps:,} env steps · {mode} · seed {seed}"
    canvas, total = None, 0.0
    with Movie(out, fps, quality) as movie:
        for moment in _episode(trained, mode, seed, heading):
            canvas = canvas or Canvas(moment)
            movie.add(canvas.draw(moment))
            total = moment.episode_return
    return total


@torch.no_grad()
def _episode(trained: Trained, mode: str, seed: int, heading: str) -> Iterator[Moment]:
    """The moments of one episode of the first simulator, of which the last is its end."""
    _, env, learner, _ = trained
    learner.parts.eval()
    policy = Policy(learner, everything=True)
    env.set_seed(seed)
    seed_everything(seed)
    now: Any = env.reset()
    over = False
    while not over:
        with set_exploration_type(MODES[mode]):
            acted = policy(now)
        yield _moment(env, acted, heading)._replace(intent=intent(acted, learner, policy.head, trained.env.single_action_spec))
        stepped = env.step(acted)
        after = stepped["next"]
        expect_an_end(after)
        over = bool(after.get(EPISODE_OVER, after["done"])[0])
        if over:
            yield _moment(env, after, heading)
        else:
            now = env.maybe_reset(step_mdp(stepped))


def _moment(env: EnvBase, observation: Any, heading: str) -> Moment:
    seen: Picture = as_picture(observation[PIXELS][0, -1])
    drawn = env.picture(0) if isinstance(env, Pictured) else seen
    return Moment(drawn, seen, heading, observation[EPISODE_RETURN][0].item(), int(observation[EPISODE_LENGTH][0]), None)
