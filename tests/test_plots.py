"""Figures: described, labelled, and no more than what was handed in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from heartai_utils import plots


def test_show_hands_the_description_to_screen_readers(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    figure, axis = plots.new_figure()
    axis.plot([0, 1])
    plots.show(figure, alt="A line that rises from zero to one")
    ((data, metadata),) = shown
    assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == "A line that rises from zero to one"
    assert metadata["image/png"]["alt"] == "A line that rises from zero to one"
    with pytest.raises(ValueError, match="describe"):
        plots.show(figure, alt="plot")


def test_squares_of_the_paper_are_square_and_stand_on_whole_ones():
    figure, axis = plots.new_figure()
    plots.on_paper(axis, (-0.1, 0.9), (-0.75, 1.25))
    plots.png(figure)  # places the axes
    (x0, y0), (x1, y1) = axis.transData.transform([(0, 0), (0.2, 0.5)])
    assert x1 - x0 == pytest.approx(y1 - y0)  # a large square
    small, _, large, down = ([line[0] for line in lines.get_segments()] for lines in axis.collections)
    assert len(small) == 25 and len(large) == 5
    assert np.allclose([at[0] for at in large], [0, 0.2, 0.4, 0.6, 0.8], atol=1e-9)
    assert np.allclose([at[1] for at in down], [-0.5, 0, 0.5, 1.0])


def test_leads_on_paper_are_where_a_machine_prints_them():
    figure, axis = plots.new_figure()
    signals = np.arange(12)[:, None] / 100 + np.zeros((12, 50))
    plots.leads_on_paper(axis, signals, rate=25)
    assert len(axis.lines) == 12
    names = [text.get_text() for text in axis.texts]
    for lead, first, row in (("I", 0, 0), ("III", 0, 2), ("aVR", 2, 0), ("V6", 6, 2)):
        line = axis.lines[names.index(lead)]
        assert line.get_xdata()[0] == first
        assert line.get_ydata()[0] == pytest.approx(plots.LEADS.index(lead) / 100 - 3 * row)


def test_a_plane_shows_what_lies_in_it():
    figure, axes = plots.new_figure(1, 2)
    arrow, loop = np.array([[0, 1.0], [0, 2.0], [0, 3.0]]), np.ones((3, 5))
    for axis, which, end in zip(axes, ("frontal", "horizontal"), (2.0, 3.0), strict=True):
        plots.plane(axis, which, {"arrow": arrow, "loop": loop}, {"aVF": (0, 1, 0.001), "V2": (0, 0.001, -1)})
        tip = next(note for note in axis.texts if getattr(note, "arrow_patch", None))
        assert tip.xy == (1.0, end)
        assert axis.get_ylim()[0] > axis.get_ylim()[1]  # feet and back are below
    heights = {text.get_text(): text.get_position()[1] for text in axes[0].texts}
    assert heights["aVF"] > 0


def test_space_has_the_feet_below_and_a_ray_for_each_lead():
    figure, axis = plots.new_figure(subplot_kw={"projection": "3d"})
    loop = np.array([[0, 1.0, 0.5], [0, 0.2, 0.4], [0, -0.3, 0.1]])
    plots.in_space(axis, {"QRS": loop}, {"I": (1, 0, 0), "aVF": (0, 1, 0)})
    assert axis.get_zlim()[0] > axis.get_zlim()[1]
    assert [text.get_text() for text in axis.texts] == ["I", "aVF"]
    drawn = next(line for line in axis.lines if line.get_label() == "QRS")
    assert np.allclose(drawn.get_data_3d(), loop[[0, 2, 1]])


def test_learning_curves_tell_training_from_validation():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [1, 0.5], "accuracy": [0.3, 0.6]})
    history = history.assign(val_loss=history["loss"], val_accuracy=history["accuracy"])
    figure = plots.learning_curves({"a": history})
    styles = [line.get_linestyle() for line in figure.axes[0].lines]
    assert styles == ["--", "-"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "accuracy"]


def test_confusion_writes_counts_and_colours_shares():
    counts = np.array([[8, 2, 0, 0], [0, 1, 0, 0], [0, 0, 5, 5], [0, 0, 0, 0]])
    figure = plots.confusion(counts)
    assert [int(text.get_text()) for text in figure.axes[0].texts] == counts.ravel().tolist()
    colours = np.asarray(figure.axes[0].collections[0].get_array()).ravel()
    assert colours[:2] == pytest.approx([0.8, 0.2]) and np.isfinite(colours).all()


def test_intervals_show_every_run():
    figure = plots.intervals({"without": [0.5, 0.6, 0.7], "with": [0.55, 0.65, 0.6]}, "accuracy", reference=0.5)
    dots = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [list(x) for x in dots] == [[0.5, 0.6, 0.7], [0.55, 0.65, 0.6]]
    with pytest.raises(ValueError, match="two runs"):
        plots.intervals({"one": [0.5]}, "accuracy")
