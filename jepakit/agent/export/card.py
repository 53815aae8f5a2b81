"""The model card of an export: what it is, how good, how it was made, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from jepakit.agent.export.parity import TOLERANCE, Check
from jepakit.agent.trained import Trained
from jepakit.errors import shown
from jepakit.files.reading import MOST, Unreadable, read_text
from jepakit.protocols import ACTION, PIXELS, S_X
from jepakit.recipe import Recipe

MEANINGS = {
    "action": "the greedy action, as `env.step` of Gymnasium takes it",
    "logits": "logits of the actions; their softmax is π(a \\| s)",
    "loc": "mean of the Gaussian before tanh and scaling to the bounds",
    "scale": "standard deviation of that Gaussian",
    "action_value": "Q(s, a) of each action, in units of scaled rewards",
    "state_value": "V(s), in units of scaled rewards",
    "s_x": "the encoder's embedding",
}


class Parity(NamedTuple):
    """What the comparison with the run's own policy, or its encoder, found."""

    checks: Sequence[Check]
    unlike: int | None  #: discrete actions that are others in the run's own precision; None: that is fp32, or actions are continuous
    compared: str  #: what the files were compared with


def write_card(path: Path, trained: Trained, run: Path, parity: Parity, outputs: Mapping[str, NDArray[Any]]) -> None:
    """Write the card of ``trained`` to ``path``; ``outputs`` are the policy's, or the encoder's if there is no policy, for any batch."""
    recipe, _, learner, env_steps = trained
    acts = ACTION in outputs
    summary, played, provenance = (_read(run / f"{name}.json") for name in ("summary", "eval", "provenance"))
    blocks = [
        f"# {shown(recipe.name)}: {'a policy and its encoder' if acts else 'an encoder'}",
        f"Trained with jepakit for {env_steps:,} env steps, {_learned(recipe)} an encoder `{recipe.encoder.kind}`. {_files(acts)}",
        "## Results",
        _results(summary, played, env_steps) if acts else "A pretraining: it has no policy, so there is no return.",
        "## Is the embedding collapsed?",
        _verdict(summary, recipe.collapse_threshold),
        "## Use",
        _use(trained, outputs),
        "## Parity",
        _parity(parity, learner.hardware.precision),
        "## Provenance",
        _provenance(provenance),
        "## Recipe",
        "~~~~yaml\n" + read_text(run / "recipe.yaml", MOST).replace("~~~~", "").rstrip() + "\n~~~~",
        "## Licence",
        "jepakit is licensed under Apache 2.0. The licence of these weights is for whoever trained them to choose.",
    ]
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _learned(recipe: Recipe) -> str:
    return f"by `{recipe.algorithm.kind}` on" if recipe.learns else "without RL:"


def _files(acts: bool) -> str:
    if acts:
        return "The files need no jepakit: `policy.onnx` and `encoder.onnx` run in onnxruntime, `policy.pt2` and `encoder.pt2` in torch."
    return "The files need no jepakit: `encoder.onnx` runs in onnxruntime, `encoder.pt2` in torch."


def _results(summary: Mapping[str, Any], played: Mapping[str, Any], env_steps: int) -> str:
    trained = f"Mean return of the last 100 training episodes: {_figure(summary.get('return_last_100'))}, when the run ended."
    modes = {mode: played[mode] for mode in ("greedy", "sampled") if isinstance(played.get(mode), dict)}
    if not modes:
        return f"{trained}\n\nNot evaluated in held-out episodes when it was exported (`jepakit eval`)."
    rows = [
        f"| {mode} | {_figure(result.get('mean'))} ± {_figure(result.get('ci95'))} | {_figure(played.get('episodes'))} |"
        for mode, result in modes.items()
    ]
    same = played.get("env_steps") == env_steps
    note = "" if same else f"\n\nThat evaluation is of the weights of {_figure(played.get('env_steps'))} env steps, not of these."
    return "\n".join([f"{trained}\n", "| policy | held-out return (mean ± 95% CI) | episodes |", "|---|---|---|", *rows]) + note


def _verdict(summary: Mapping[str, Any], threshold: float) -> str:
    variance, mean_square = summary.get("embedding_variance"), summary.get("embedding_mean_square")
    if not isinstance(summary.get("collapsed"), bool):
        return "Unknown: the run has not ended."
    figures = f"variance {_figure(variance)}, mean square {_figure(mean_square)}, effective rank {_figure(summary.get('embedding_rank'))}"
    if summary["collapsed"]:
        since = _figure(summary.get("collapsed_at"))
        return f"**Yes**: it maps nearly all observations to one point, first seen at {since} env steps ({figures})."
    ever = summary.get("collapsed_at")
    before = f" It was at {_figure(ever)} env steps, and recovered." if ever is not None else ""
    return f"No: at the run's end the share of variance in its mean square is above {threshold:g} ({figures}).{before}"


def _use(trained: Trained, outputs: Mapping[str, NDArray[Any]]) -> str:
    recipe, env, learner, _ = trained
    frames, dtype = env.frame_shape, str(env.observation_spec[PIXELS].dtype).removeprefix("torch.")
    colour = "grey (Rec. 601 luma)" if frames.channels == 1 else "RGB"
    image = (
        f"frames of {frames.height}×{frames.width} pixels, {colour}, resized with antialiasing; at an episode's start the first is repeated"
    )
    seen = "state vectors" if dtype == "float32" else image
    rows = [
        f"| `{name}` | {value.dtype} [{', '.join(['N', *map(str, value.shape[1:])])}] | {MEANINGS[name]} |"
        for name, value in outputs.items()
    ]
    scale = getattr(learner.algorithm, "reward_scale", 1.0)
    shape = ", ".join(map(str, frames))
    name, result = ("policy", ACTION) if ACTION in outputs else ("encoder", S_X)
    scaled = f" Rewards were scaled by {scale:g} in learning." if ACTION in outputs else ""
    alone = "`encoder.onnx` and `encoder.pt2` return `s_x` alone. " if ACTION in outputs else ""
    seen = f"the last {frames.frames} observations, the newest last; {seen}"
    return f"""Input: `pixels`, {dtype} [N, {shape}] (N, K, C, H, W), for any N: {seen}.
The env: `{recipe.env.kind}`, as the recipe below says.{scaled}

| output | type | meaning |
|---|---|---|
{chr(10).join(rows)}

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{name}.onnx")
pixels = np.zeros((1, {shape}), dtype=np.{dtype})
{result} = session.run(["{result}"], {{"pixels": pixels}})[0]
```

```python
import torch

{name} = torch.export.load("{name}.pt2").module()
{result} = {name}(torch.from_numpy(pixels))["{result}"]
```

{alone}`weights.safetensors` holds the {name}'s tensors by name. The encoder's running statistics, if it has any, are constants in all
files."""


def _parity(parity: Parity, precision: str) -> str:
    stacks = parity.checks[0].stacks
    lines = [
        f"Each file was compared with {parity.compared}, in fp32. Allowed is a difference of {TOLERANCE:g} of an output's largest entry, "
        f"or {TOLERANCE:g} if that is below 1.\n",
        "| file | output | largest absolute difference | allowed |",
        "|---|---|---|---|",
        *(
            f"| `{check.file}` | `{name}` | {most:.2g} | {allowed:.2g} |"
            for check in parity.checks
            for name, (most, allowed) in check.differences.items()
        ),
    ]
    lines += [
        f"\n`{each.file}`: {each.equal_actions} of {stacks} actions equal." for each in parity.checks if each.equal_actions is not None
    ]
    if precision != "fp32":
        told = "" if parity.unlike is None else f" On these observations {parity.unlike} greedy actions of the two differ."
        lines.append(f"\nThe run computed its encoder in {precision}; the export computes in fp32.{told}")
    return "\n".join(lines)


def _provenance(provenance: Mapping[str, Any]) -> str:
    git = provenance.get("git")
    code = {"git": f"{git.get('sha')}{', with uncommitted changes' if git.get('dirty') else ''}"} if isinstance(git, dict) else {}
    packages = provenance.get("packages")
    versions = {"packages": ", ".join(f"{name} {version}" for name, version in packages.items())} if isinstance(packages, dict) else {}
    kept = {
        name: provenance[name]
        for name in ("id", "started", "python", "platform", "cpu", "accelerator", "device", "precision")
        if name in provenance
    }
    rows = [f"- {name}: {shown(str(value), 500)}" for name, value in {**kept, **code, **versions}.items() if value is not None]
    return "\n".join(rows) or "Unknown."


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none that can be read."""
    try:
        found = json.loads(read_text(path, MOST))
    except (Unreadable, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _figure(value: object) -> str:
    """A number for people; of anything else, which an untrusted file may hold, a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
