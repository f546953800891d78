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
    if len(alt.split()) < 4:
        raise ValueError("describe the figure in a sentence: what is drawn, and what one sees in it")
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    # the description is also the text that stands for the picture where none can be shown
    display({"image/png": png.getvalue(), "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)


def beats(milliseconds: np.ndarray, drawn: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> Figure:
    """One beat in twelve leads, placed as on the page, several hearts over each other.

    Args:
        milliseconds: (samples,) from the R peak.
        drawn: by name, (12, samples) in mV; the first in the background.
        colours: by name.
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
        axis.set_xlabel("ms from the R peak")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=len(names), fontsize=9)
    return figure


def on_paper(axis) -> None:
    """Give axes in seconds and mV the squares of ECG paper: one large square is 0.2 s wide and 0.5 mV high."""
    axis.xaxis.set_major_locator(matplotlib.ticker.MultipleLocator(0.2))
    axis.yaxis.set_major_locator(matplotlib.ticker.MultipleLocator(0.5))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.1f}" if round(value * 10) % 10 == 0 else "")
    axis.grid(True, color=PAPER, linewidth=0.7)


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
