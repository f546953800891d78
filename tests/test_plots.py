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
