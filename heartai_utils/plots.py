"""Every figure of the course in one style, readable by the colour-blind and described in words.

Functions are given arrays or tables and return a matplotlib Figure; they fetch nothing. A chapter shows it with
:func:`show`, which wants a description for those who cannot see it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.figure import Figure

from heartai_utils.conditions import CONDITIONS
from heartai_utils.evaluation import mean_interval
from heartai_utils.simulation import LEADS

INK, TRACE, ACCENT, PAPER = "#222222", "#0B0B0B", "#D55E00", "#F4B6BC"
STYLE = {
    **sns.axes_style("whitegrid"),
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.color": "#E5E5E5",
    "image.cmap": "cividis",
    "image.interpolation": "nearest",
    # the palette of Okabe and Ito (2008), told apart by the colour-blind
    "axes.prop_cycle": matplotlib.cycler(
        color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
    ),
}


# At import, so that what a chapter draws by hand looks like what is drawn here.
matplotlib.rcParams.update(STYLE)


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 3.5), **options):
    """A figure and its axes, like ``plt.subplots`` but unknown to pyplot.

    What pyplot does not know, it neither shows twice nor keeps in memory. ``options`` go to ``Figure.subplots``.
    """
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, **options)


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook with its description (``alt``) for screen readers.

    Raises:
        ValueError: the description is missing or too short to say what there is to see.
    """
    data, metadata = bundle(figure, alt)
    display(data, metadata=metadata, raw=True)


def bundle(figure: Figure, alt: str) -> tuple[dict, dict]:
    """What Jupyter is given to show: the picture, and its description where none can be shown; and the metadata."""
    if len(alt.split()) < 4:
        raise ValueError("describe the figure in a sentence: what is drawn, and what one sees in it")
    return {"image/png": png(figure), "text/plain": alt}, {"image/png": {"alt": alt}}


def png(figure: Figure) -> bytes:
    """The figure as a PNG file: the same bytes for the same picture, as the name of what wrote it is left out."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def beats(
    milliseconds: np.ndarray, drawn: Mapping[str, np.ndarray], colours: Mapping[str, str], zero: str = "the R peak"
) -> Figure:
    """One beat in twelve leads, placed as on the page, several hearts over each other.

    Args:
        milliseconds: (samples,) from ``zero``.
        drawn: by name, (12, samples) in mV; the first in the background.
        colours: by name.
        zero: the moment from which milliseconds are counted.
    """
    figure, axes = new_figure(3, 4, size=(9, 5.4), sharex=True, sharey=True)
    for axis, lead, number in zip(axes.T.flat, LEADS, range(12), strict=True):
        for name, signals in drawn.items():
            axis.plot(milliseconds, signals[number], color=colours[name], linewidth=1.3, label=name)
        axis.set_title(lead, loc="left", pad=2)
        axis.grid(True, color=PAPER, linewidth=0.7)
    for axis in axes[:, 0]:
        axis.set_ylabel("mV")
    for axis in axes[-1]:
        axis.set_xlabel(f"ms from {zero}")
    if len(drawn) > 1:
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(names), fontsize=9)
    return figure


def on_paper(axis, seconds: tuple[float, float], mv: tuple[float, float], small: bool = True) -> None:
    """Make of axes a piece of ECG paper: 25 mm a second and 10 mm a millivolt, so that its squares are square.

    Args:
        seconds: the first and last moment.
        mv: the lowest and highest voltage.
        small: whether small squares (40 ms × 0.1 mV) are ruled between the large ones (200 ms × 0.5 mV).
    """
    # by number, not by step: 0.04 has no exact binary form, and lines would drift off the ticks
    for width, across, down in ((0.3, 25, 10), (0.9, 5, 2)) if small else ((0.7, 5, 2),):
        columns = np.arange(np.ceil(seconds[0] * across - 1e-6), seconds[1] * across + 1e-6) / across
        rows = np.arange(np.ceil(mv[0] * down - 1e-6), mv[1] * down + 1e-6) / down
        axis.vlines(columns, *mv, color=PAPER, linewidth=width, zorder=0.5)
        axis.hlines(rows, *seconds, color=PAPER, linewidth=width, zorder=0.5)
    axis.grid(False)
    axis.set(xlim=seconds, ylim=mv, aspect=0.4, xlabel="seconds", ylabel="mV")
    axis.yaxis.set_major_locator(matplotlib.ticker.MultipleLocator(1.0))


def span(axis, first: float, last: float, height: float, name: str) -> None:
    """An interval as a double arrow with its name below."""
    ends = {"arrowstyle": "|-|,widthA=0.25,widthB=0.25", "color": INK, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (first, height), (last, height), arrowprops=ends)
    below = {"xytext": (0, -3), "textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 9}
    axis.annotate(name, ((first + last) / 2, height), **below)


def leads_on_paper(axis, signals: np.ndarray, rate: float) -> None:
    """Twelve leads on axes as a machine prints them: three rows of four columns, on paper, with their names.

    One picture in few strokes, so fast enough to follow a slider.

    Args:
        signals: (12, samples) in mV, in the order of ``LEADS``; all columns show the same moments.
        rate: samples per second.
    """
    mv = 3.0  # from row to row
    width = signals.shape[1] / rate
    time = np.arange(signals.shape[1]) / rate
    top, bottom = 0.65 * mv, -2.65 * mv
    on_paper(axis, (0, 4 * width), (bottom, top))
    for number, lead in enumerate(LEADS):
        column, row = divmod(number, 3)
        axis.plot(column * width + time, signals[number] - row * mv, color=TRACE, linewidth=1, clip_on=False)
        axis.text((column + 0.02) * width, (0.3 - row) * mv, lead, weight="bold")
    axis.vlines(width * np.arange(1, 4), bottom, top, color=INK, linewidth=0.6)
    axis.set(xticks=[], yticks=[], xlabel="", ylabel="")


RAYS = ("#444444", "#0072B2")  # limb leads, chest leads
PLANES = {"frontal": (0, 1), "horizontal": (0, 2)}
"""The two planes of the body in which leads are drawn, and the parts of a dipole (x, y, z) seen in them."""


def plane(axis, which: str, paths: Mapping[str, np.ndarray], rays: Mapping[str, Sequence[float]]) -> None:
    """What happens in space, seen from the front ("frontal") or from the feet ("horizontal").

    Args:
        which: one of ``PLANES``. In both, the left of the body is on the right, as when one looks at somebody.
        paths: by name, (3, n) in mV: the loops of the dipole; a path of two points is drawn as an arrow.
        rays: by name, (3,) directions of leads; as far as they lie in the plane, of one length.
    """
    across, down = PLANES[which]
    reach = 1.1 * max([0.3, *(np.abs(path[[across, down]]).max() for path in paths.values())])
    for name, direction in rays.items():
        end = reach * np.array([direction[across], direction[down]]) / np.hypot(direction[across], direction[down])
        colour = RAYS[name.startswith("V")]
        axis.plot(*np.outer(end, [0, 1]), color=colour, linewidth=1, linestyle="--")
        side = np.sign(end[0]) * (abs(end[0]) > 0.15 * reach)  # names grow away from each other
        place = (1.13 - 0.09 * abs(side)) * end[0], 1.13 * end[1]
        axis.text(*place, name, ha=("right", "center", "left")[int(side) + 1], va="center", fontsize=9, color=colour)
    for number, (name, path) in enumerate(paths.items()):
        x, y = path[across], path[down]
        if len(x) == 2:
            arrow = {"arrowstyle": "-|>", "color": f"C{number}", "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (x[1], y[1]), (x[0], y[0]), arrowprops=arrow)
            axis.plot([], [], color=f"C{number}", label=name)
        else:
            axis.plot(x, y, color=f"C{number}", linewidth=2, label=name)
    room = 1.3 * reach
    axis.set(xlim=(-room, room), ylim=(room, -room), aspect="equal", title=f"{which} plane", xlabel="x, left (mV)")
    axis.set_ylabel("y, feet (mV)" if which == "frontal" else "z, back (mV)")


def in_space(axis, paths: Mapping[str, np.ndarray], rays: Mapping[str, Sequence[float]] | None = None) -> None:
    """What happens in space, on three-dimensional axes, as one stands before the body; with its shadows on the walls.

    Args:
        paths, rays: as for :func:`plane`.
    """
    rays = rays or {}
    corners = np.concatenate([path.T for path in paths.values()])
    reach = 1.1 * np.abs(corners).max()
    ends = {name: reach * np.asarray(direction) / np.linalg.norm(direction) for name, direction in rays.items()}
    corners = np.concatenate([corners, *[end[None] for end in ends.values()]])
    low, high = corners.min(axis=0) - 0.15 * reach, corners.max(axis=0) + 0.15 * reach
    for name, (x, y, z) in ends.items():
        colour = RAYS[name.startswith("V")]
        axis.plot([0, x], [0, z], [0, y], color=colour, linewidth=1, linestyle="--")
        axis.text(1.1 * x, 1.1 * z, 1.1 * y, name, ha="center", va="center", fontsize=9, color=colour)
    for number, (name, (x, y, z)) in enumerate(paths.items()):
        colour = f"C{number}"
        if len(x) == 2:
            parts = (part[1] - part[0] for part in (x, z, y))
            axis.quiver(x[0], z[0], y[0], *parts, color=colour, linewidth=2, arrow_length_ratio=0.12)
        axis.plot(x, z, y, color=colour, linewidth=2, label=name)
        axis.plot(x, z, np.full(len(x), high[1]), color=colour, linewidth=1, alpha=0.25)  # on the floor
        axis.plot(x, np.full(len(x), high[2]), y, color=colour, linewidth=1, alpha=0.25)  # on the wall behind
    axis.set(xlim=(low[0], high[0]), ylim=(low[2], high[2]), zlim=(high[1], low[1]))  # y points to the feet
    axis.set(xlabel="x, left (mV)", ylabel="z, back (mV)", zlabel="y, feet (mV)")
    axis.set_box_aspect((high - low)[[0, 2, 1]], zoom=0.9)
    axis.view_init(elev=20, azim=-70)
    axis.locator_params(nbins=4)


def images(pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int = 2, width: float = 9.0) -> Figure:
    """Pictures side by side with their titles: grey (height, width) 0 to 255, or RGB; shown without smoothing."""
    rows = -(-len(pictures) // columns)
    height, across = np.shape(pictures[0])[:2]
    size = (width, rows * (width / columns * height / across + 0.35))
    figure, axes = new_figure(rows, columns, size=size, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title)
    return figure


def heat_map(values: np.ndarray, title: str, label: str, size: tuple[float, float] = (6.5, 3.8)) -> Figure:
    """A (rows, columns) table of numbers as colours, with its scale: a map over the grid of patches, or attention."""
    figure, axis = new_figure(size=size)
    axis.grid(False)
    drawn = axis.imshow(values, aspect="auto" if values.shape[0] > 4 * values.shape[1] else "equal")
    axis.set_title(title)
    figure.colorbar(drawn, ax=axis, label=label, shrink=0.9)
    return figure


def learning_curves(histories: Mapping[str, pd.DataFrame], size: tuple[float, float] = (9.0, 3.5)) -> Figure:
    """Loss and accuracy over epochs: training dashed, validation solid, one colour a run.

    Args:
        histories: by name, tables with the columns epoch, loss, accuracy, val_loss, val_accuracy.
    """
    figure, axes = new_figure(1, 2, size=size)
    for number, (name, history) in enumerate(histories.items()):
        for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
            colour = f"C{number}"
            axis.plot(history["epoch"], history[quantity], "--", color=colour, label=f"{name}, training")
            axis.plot(history["epoch"], history[f"val_{quantity}"], color=colour, label=f"{name}, validation")
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        axis.set_xlabel("epoch")
        axis.set_ylabel(quantity)
    axes[1].set_ylim(0, 1.02)
    axes[0].legend(fontsize=8)
    return figure


def confusion(counts: Sequence[Sequence[int]], title: str = "") -> Figure:
    """A 4 × 4 confusion matrix in pages: truth in rows, verdict in columns, coloured by the share of the row."""
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [condition.name for condition in CONDITIONS]
    figure, axis = new_figure(size=(6.2, 4.2))
    sns.heatmap(
        shares, annot=counts, fmt="d", vmin=0, vmax=1, cmap="cividis", ax=axis, square=True,
        xticklabels=names, yticklabels=names, cbar_kws={"label": "share of the row"},
    )  # fmt: skip
    axis.set_xlabel("verdict")
    axis.set_ylabel("truth")
    axis.set_title(title)
    axis.set_xticks(axis.get_xticks(), names, rotation=25, ha="right", rotation_mode="anchor")
    axis.tick_params(axis="y", rotation=0)
    return figure


def intervals(values: Mapping[str, Sequence[float]], label: str, reference: float | None = None) -> Figure:
    """Single runs as dots and the 95 % interval of their mean as a bar, one row a group.

    Args:
        values: by group name, one number a run (two runs at least).
        label: what the numbers are.
        reference: a value to mark by a dashed line, such as 0 or the majority class.
    """
    figure, axis = new_figure(size=(7.5, 1.0 + 0.6 * len(values)))
    for row, (_, runs) in enumerate(values.items()):
        interval = mean_interval(runs)
        axis.plot([interval.low, interval.high], [row, row], color=f"C{row}", linewidth=6, alpha=0.35)
        axis.plot(interval.mean, row, "|", color=f"C{row}", markersize=18, markeredgewidth=2.5)
        axis.plot(runs, np.full(len(runs), row), "o", color=f"C{row}", markersize=5, markeredgecolor="white")
    if reference is not None:
        axis.axvline(reference, color=INK, linestyle="--", linewidth=1)
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_xlabel(label)
    return figure


def over_setting(
    axis,
    table: pd.DataFrame,
    setting: str,
    score: str,
    by: str | None = None,
    overlap: float = 0.0,
    lines: Mapping[str, float] | None = None,
) -> None:
    """Each run's score as a dot over one setting, beside it their mean with its 95 % interval; a colour each group.

    Numbers that span a factor of ten are placed by their logarithm, zero apart from them; other values stand side by
    side. There is an interval from three runs on: that of two reaches nine standard deviations to either side.

    Args:
        table: one row a run.
        setting, score: the columns across and up.
        by: the column that tells groups apart, such as "split"; all runs are one group where not given.
        overlap: as for `evaluation.mean_interval`.
        lines: a height for each group to mark by a dashed line, such as the score of its majority class.
    """
    values = sorted(table[setting].unique())
    places = dict(zip(values, _places(values), strict=True))
    groups = {"": table} if by is None else {name: table[table[by] == name] for name in table[by].unique()}
    nearest = min(np.diff(list(places.values())), default=1.0)
    for number, (name, runs) in enumerate(groups.items()):
        colour, marker = f"C{number}", "os^Dvp"[number % 6]
        aside = 0.75 * nearest * ((number + 0.5) / len(groups) - 0.5)
        for value, scores in runs.groupby(setting)[score]:
            x = places[value] + aside
            axis.plot(np.full(len(scores), x), scores, marker, color=colour, markersize=3.5, alpha=0.45, linewidth=0)
            if len(scores) > 2:
                interval = mean_interval(scores, overlap=overlap)
                axis.plot([x, x], [interval.low, interval.high], color=colour, linewidth=1.6)
            if len(scores) > 1:
                axis.plot(x, scores.mean(), marker, color=colour, markersize=6.5, markeredgecolor="white")
        axis.plot([], [], marker, color=colour, label=name)
        if lines is not None:
            axis.axhline(lines[name], color=colour, linestyle="--", linewidth=1)
    if values[0] == 0 and _span_decades(values):
        axis.axvline(places[0] + 0.5, color=INK, linestyle=":", linewidth=1)
    axis.set_xticks(list(places.values()), [f"{v:g}" if pd.api.types.is_number(v) else str(v) for v in values])
    axis.set(xlabel=setting.replace("_", " "), ylabel=score.replace("_", " "))


def _places(values: Sequence) -> np.ndarray:
    """Where the ascending values of a setting stand on an axis."""
    if not _span_decades(values):
        return np.arange(len(values), dtype=float)
    positive = np.log10([v for v in values if v > 0])
    return np.concatenate([[positive[0] - 1] * (len(values) - len(positive)), positive])


def _span_decades(values: Sequence) -> bool:
    """Whether these are numbers of which the positive ones span a factor of ten, and none is negative."""
    if not all(pd.api.types.is_number(v) and v >= 0 for v in values):
        return False
    positive = [v for v in values if v > 0]
    return len(positive) > 1 and positive[-1] >= 10 * positive[0]
