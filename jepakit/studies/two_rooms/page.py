"""Table, figure and JSON of the two-rooms study."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from jepakit.components.envs.two_rooms.walls import HALF_DOOR, HALF_WALL, HIGH, LOW
from jepakit.errors import UserError
from jepakit.files.writing import write_atomically
from jepakit.report.figures import COLOURS, GREY, LOOK, save_figure
from jepakit.report.statistics import CONFIDENCE, share_interval
from jepakit.report.tables import Table, markdown

#: Success rates that others have published; their tasks differ from one another and from this one (docs/results/two_rooms.md).
PUBLISHED = {"LeWM": 0.87, "PLDM": 0.97, "EB-JEPA": 0.97, "DINO-WM": 1.0}
WORDS = {
    "planned": "planned on the JEPA's roll-outs",
    "plain distance": "the same, by the Euclidean distance",
    "one step ahead": "the same, one step ahead",
    "random": "random actions",
    "straight": "straight towards the goal, by the true state",
    "by the door": "by the door, by the true state",
}


@dataclass(frozen=True)
class Study:
    """What `measured` has found of each run."""

    quick: bool  #: too short to compare with anything
    found: Sequence[dict[str, Any]]
    source: str  #: what was learned from, in words
    goal_distance: float
    budget: int  #: most steps of an episode

    @property
    def title(self) -> str:
        """The title of the page and of the figure."""
        return "Two rooms: goals reached" + (" (QUICK: far too short to compare)" if self.quick else "")

    def rows(self) -> list[dict[str, Any]]:
        """For each policy the goals reached, their share and its interval over all episodes, and the share by seed."""
        rows = []
        for name in WORDS:
            played = [run for run in self.found if name in run["policies"]]
            hits = [run["policies"][name]["reached"] for run in played]
            trials = [run["episodes"] for run in played]
            steps = [steps for run in played for steps in run["policies"][name]["steps"]]
            row = {"policy": name, "reached": sum(hits), "episodes": sum(trials), "success": sum(hits) / sum(trials)}
            row |= {"interval": list(share_interval(sum(hits), sum(trials))), "mean_steps": fmean(steps)}
            rows.append(row | {"by_seed": {str(run["seed"]): hit / run["episodes"] for run, hit in zip(played, hits, strict=True)}})
        return rows

    def table(self) -> Table:
        """Success by policy, and below what others have published."""
        headings = ["policy", f"goals reached ({CONFIDENCE:.0%} interval)", "by seed of training", f"steps, at most {self.budget}"]
        cells = [
            [
                WORDS[row["policy"]],
                f"{row['success']:.1%} ({row['interval'][0]:.1%} to {row['interval'][1]:.1%})",
                ", ".join(f"{share:.0%}" for share in row["by_seed"].values()) if _depends_on_training(row["policy"]) else "–",
                f"{row['mean_steps']:.0f}",
            ]
            for row in self.rows()
        ]
        return headings, cells + [[f"published: {name}", f"{share:.0%}", "–", "–"] for name, share in PUBLISHED.items()]

    def notes(self) -> list[str]:
        """How to read the table."""
        runs = ", ".join(f"{run['run']} (seed {run['seed']})" for run in self.found)
        return [
            f"{self.found[0]['episodes']} held-out episodes a seed; start and goal are always in different rooms; a goal counts as reached "
            f"within {self.goal_distance:g} pixels at any step. Learned from {self.source}. Runs: {runs}.",
            "The published figures are of tasks that differ in size, data, goals and budget: they stand here for scale.",
        ]

    def write(self, folder: Path) -> list[Path]:
        """Write ``two_rooms.png``, ``.svg``, ``.md`` and ``.json``.

        Raises:
            UserError: The folder cannot be written to.
        """
        runs = [{name: value for name, value in run.items() if name != "policies"} for run in self.found]
        content = {"title": self.title, "quick": self.quick, "source": self.source, "policies": self.rows(), "published": PUBLISHED}
        content |= {"runs": runs}
        page = [f"# {self.title}", "![Goals reached, and paths planned](two_rooms.png)", markdown(*self.table()).strip(), *self.notes()]
        try:
            figures = self.draw(folder)
            write_atomically(folder / "two_rooms.md", "\n\n".join(page) + "\n")
            write_atomically(folder / "two_rooms.json", json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"can't write to {folder}: {error.strerror}") from None
        return [*figures, folder / "two_rooms.md", folder / "two_rooms.json"]

    def draw(self, folder: Path) -> list[Path]:
        """Draw success by policy, and the planned paths of the first run."""
        planned = self.found[0]["policies"]["planned"]
        with mpl.rc_context(LOOK):
            figure = Figure(figsize=(9.5, 4.2), layout="constrained")
            figure.suptitle(self.title, fontsize=10)
            sides: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
            left, right = sides
            _draw_shares(left.subplots(), self.rows())
            panels = list(right.subplots(3, 4).flat)
            episodes = zip(panels, planned["layouts"], planned["goals"], planned["paths"], planned["steps"], strict=False)
            for panel, layout, goal, path, steps in episodes:
                _draw_path(panel, layout, goal, path, steps, self)
            for panel in panels:
                panel.set_axis_off()
            right.suptitle(f"planned paths, seed {self.found[0]['seed']}: from the square to the circle", fontsize=8, color=GREY)
            return [save_figure(figure, folder / f"two_rooms.{suffix}") for suffix in ("png", "svg")]


def _depends_on_training(policy: str) -> bool:
    return policy in ("planned", "plain distance", "one step ahead")


def _draw_shares(axes: Axes, rows: list[dict[str, Any]]) -> None:
    names = [WORDS[row["policy"]].replace(", by the true state", "\n(true state)") for row in rows]
    for place, row in enumerate(rows):
        colour = COLOURS[0] if _depends_on_training(row["policy"]) else GREY
        low, high = row["interval"]
        axes.plot([low, high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        axes.plot(row["success"], place, "o", color=colour)
        axes.annotate(f"{row['success']:.0%}", (row["success"], place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
    for share in sorted(set(PUBLISHED.values())):
        axes.axvline(share, color=COLOURS[1], linewidth=1, linestyle=":", zorder=0)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.04, 1.04)
    published = ", ".join(f"{name} {share:.0%}" for name, share in PUBLISHED.items())
    caption = textwrap.fill(f"dotted: published, on other tasks: {published}", 44)
    axes.set_xlabel(f"share of held-out goals reached\n{caption}", fontsize=8)
    axes.grid(axis="y", visible=False)


def _draw_path(axes: Axes, layout: list[float], goal: list[float], path: list[list[float]], steps: int, study: Study) -> None:
    wall, door = layout
    axes.add_patch(Rectangle((LOW, LOW), HIGH - LOW, HIGH - LOW, fill=False, edgecolor="black", linewidth=0.8))
    for start, end in ((LOW, door - HALF_DOOR), (door + HALF_DOOR, HIGH)):
        axes.add_patch(Rectangle((wall - HALF_WALL, start), 2 * HALF_WALL, end - start, color="black"))
    reached = steps == len(path) and steps < study.budget
    axes.add_patch(
        Circle((goal[0], goal[1]), study.goal_distance, fill=False, edgecolor=COLOURS[2] if reached else COLOURS[5], linewidth=1.2)
    )
    axes.plot(*zip(*path, strict=True), color=COLOURS[0], linewidth=0.9)
    axes.plot(*path[0], "s", color=COLOURS[0], markersize=3)
    axes.set(xlim=(LOW - 1, HIGH + 1), ylim=(HIGH + 1, LOW - 1), aspect="equal")
    axes.set_title(f"{steps} steps" if reached else "not reached", fontsize=6, pad=1, color=GREY)
