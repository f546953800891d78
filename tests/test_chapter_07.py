"""Chapter 07: what its checks accept and reject, and its own definitions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import chapter_code
import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from heartai_utils import ablation, dataset, evaluation, exercises, plots
from heartai_utils._keras import keras
from heartai_utils.exercises import NotYet

CHAPTER = "07_the_weight_decay_ablation"
DECAYS = (0.0, 1e-4, 0.1, 0.3)
SPLITS = {"as_published": (112, 560), "distinct": (59, 320), "grouped": (59, 320)}  # validation pages, steps
PILOT = np.array([0.031, -0.010, 0.042, 0.005])


@pytest.fixture(scope="module")
def definitions():
    """The functions that the chapter writes in the open, with the names they use."""
    return chapter_code.definitions(CHAPTER, np=np, pd=pd, math=math, stats=stats, keras=keras)


@pytest.mark.parametrize(("decay", "steps"), [(0.1, 50), (2.0, 30), (0.0, 5)])
def test_decay_alone_shrinks_as_predicted(definitions, decay, steps):
    assert definitions["shrinkage"](decay or None, steps) == pytest.approx(1 - (1 - 1e-3 * decay) ** steps, abs=2e-6)


def test_the_decay_of_the_claim_is_at_the_rounding_of_float32(definitions):
    lost = definitions["shrinkage"](1e-4, 100)
    assert 0.5e-5 < lost < 2e-5
    assert 1e-7 < 2 * np.finfo(np.float32).eps


@pytest.mark.parametrize("sd", [0.0, 0.01, 0.03, 0.07])
def test_runs_needed_is_the_smallest_number(definitions, sd):
    def half(n):
        return stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)

    n = definitions["runs_needed"](sd, 0.02)
    assert half(n) <= 0.02
    assert n == 2 or half(n - 1) > 0.02


def test_shrinkage(capsys):
    exercises.check_shrinkage(None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    for answer in (1 - (1 - 2.5e-5) ** 1000, 0.025):
        exercises.check_shrinkage(answer)
        assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((1 - 2.5e-5) ** 1000, "what is left"),
        (2.469, "per cent"),
        (1 - (1 - 2.5e-5) ** 960, "last, smaller batch"),
        (1 - (1 - 2.5e-5) ** 25, "one epoch"),
        (1.0, "not the decay alone"),
        (1 - (1 - 0.0005) ** 1000, "not the learning rate alone"),
        (0.05, "nearly the product"),
        ((0.0247, 1000), "one share"),
    ],
)
def test_shrinkage_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_shrinkage(answer)


def by_hand(first, second, ddof=1, sign=1, root=True, quantile=0.975, freedom=1, t=None):
    d = sign * (second - first)
    t = t or stats.t.ppf(quantile, len(d) - freedom)
    half = t * d.std(ddof=ddof) / (math.sqrt(len(d)) if root else 1)
    return d.mean() - half, d.mean() + half


def unpaired(first, second):
    interval = evaluation.paired_interval(first, second)
    half = (interval.high - interval.mean) * np.sqrt(first.var(ddof=1) + second.var(ddof=1)) / interval.sd
    return interval.mean - half, interval.mean + half


def test_paired_interval(capsys):
    exercises.check_paired_interval(lambda first, second: None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_paired_interval(by_hand)
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda a, b: by_hand(a, b, sign=-1), "sign"),
        (lambda a, b: by_hand(a, b, ddof=0), "ddof=1"),
        (lambda a, b: by_hand(a, b, t=1.96), "infinitely many"),
        (lambda a, b: by_hand(a, b, quantile=0.95), "either end"),
        (lambda a, b: by_hand(a, b, freedom=0), "degrees of freedom"),
        (lambda a, b: by_hand(a, b, root=False), "divide by"),
        (unpaired, "SD of the differences"),
        (lambda a, b: (b - a).mean(), "two numbers"),
        (lambda a, b: (0.0, 1.0), "instead of"),
    ],
)
def test_paired_interval_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_paired_interval(answer)


def test_runs_needed(definitions, capsys):
    exercises.check_runs_needed(None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_runs_needed(definitions["runs_needed"](PILOT.std(ddof=1), 0.01))
    assert capsys.readouterr().out.startswith("Right")


def pairs(sd, factor):
    return math.ceil((factor * sd / 0.01) ** 2)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (pairs(PILOT.std(ddof=1), 1.96), "1.96"),
        (pairs(PILOT.std(ddof=1), stats.t.ppf(0.975, 3)), "at n − 1"),
        (4, "smallest n"),
        (12.5, "whole number"),
    ],
)
def test_runs_needed_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_runs_needed(answer)


def test_runs_needed_rejects_the_biased_sd(definitions):
    with pytest.raises(NotYet, match="ddof=1"):
        exercises.check_runs_needed(definitions["runs_needed"](PILOT.std(), 0.01))


def test_corrected_half_width(capsys):
    exercises.check_corrected_half_width(None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    splits = evaluation.mean_interval(np.array([-1, -1, 0, 1, 1]) * 0.02, overlap=1 / 3)
    assert splits.sd == pytest.approx(0.02)
    exercises.check_corrected_half_width(splits.high - splits.mean)
    assert capsys.readouterr().out.startswith("Right")


def half_width(within=1 / 5 + 1 / 3, t=None):
    return (t or stats.t.ppf(0.975, 4)) * 0.02 * math.sqrt(within)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (half_width(within=1 / 5), "independent runs"),
        (half_width(within=1 / 5 + 1 / 4), "share held out"),
        (half_width(within=1 / 5 + 3), "other way round"),
        (half_width(t=1.96), "infinitely many"),
        (half_width(t=stats.t.ppf(0.975, 5)), "degrees of freedom"),
        (half_width(t=1), "standard error"),
        (2 * half_width(), "half of it"),
        (0.05, "validation/training"),
        ((0.0, 0.04), "one number"),
    ],
)
def test_corrected_half_width_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_corrected_half_width(answer)


def test_the_same_product_is_the_same_shrinkage(definitions):
    definitions |= {"base": SimpleNamespace(learning_rate=2e-3), "run_steps": 80}
    here = definitions["same_product"](0.05)
    assert (1 - 2e-3 * here) ** 80 == pytest.approx((1 - 1e-3 * 0.05) ** 840, rel=1e-3)


def test_experiments_without_effect_have_none_in_the_mean(definitions):
    scores = definitions["play"](5)
    assert scores.shape == (2000, 5, 7)
    assert np.abs((scores[..., 1:] - scores[..., :1]).mean(axis=(0, 1))).max() < 2e-3
    within = np.corrcoef(scores[:, 0, 0], scores[:, 0, 3])[0, 1]
    assert 0.7 < within < 0.9  # 0.04² / (0.04² + 0.02²), which is what pairing takes out


# --- The record ---------------------------------------------------------------------------------------------------


def record(seeds: int, gain: float = 0.0, missing: tuple = ()) -> dict:
    """As benchmarks/weight_decay.py writes it; the gain is of a decay of 0.1, missing are (split, decay, seed)."""
    rng, runs = np.random.default_rng(3), []
    for seed in range(seeds):
        for split, (pages, steps) in SPLITS.items():
            luck = rng.normal(0, 0.04)
            for decay in DECAYS:
                early, late = np.round((0.7 + luck + gain * (decay == 0.1) + rng.normal(0, 0.01, 2)) * pages) / pages
                run = {"split": split, "weight_decay": decay, "seed": seed, "epochs": 40, "steps": steps}
                run |= {"pages": pages, "accuracy_35": early, "accuracy": late, "macro_f1": late - 0.1}
                run |= {"loss_35": 1 - early, "loss": 1 - late, "train_accuracy_35": 0.9, "train_accuracy": 1.0}
                norm = 30 * (1 - 1e-3 * decay) ** steps
                runs.append(run | {"kernel_norm_start": 25.0, "kernel_norm": norm})
    return {
        "command": "python benchmarks/weight_decay.py DATA --out FILE", "commit": "0000000", "machine": "none",
        "data": {"files": 557, "distinct": 295, "by_condition": {}}, "preset": "course", "learning_rate": 1e-3,
        "batch_size": 32, "validation": 0.2, "splits": list(SPLITS), "decays": list(DECAYS), "epochs": [35, 40],
        "seeds": list(range(seeds)), "majority": dict.fromkeys(SPLITS, 0.475), "effects": {}, "reference_check": None,
        "runs": [run for run in runs if (run["split"], run["weight_decay"], run["seed"]) not in missing],
    }  # fmt: skip


@pytest.fixture
def read_record(tmp_path, monkeypatch, definitions):
    """Runs section 10 of the chapter on a record; gives its names and the figures that it showed."""
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append(plots.png(figure)))
    cells = nbformat.read(chapter_code.NOTEBOOKS / f"{CHAPTER}.ipynb", as_version=4).cells
    opening = {number: i for i, cell in enumerate(cells) for number in (10, 11) if f"## {number} ·" in cell.source}
    shown = []

    def run(what: dict) -> dict:
        file = tmp_path / "record.json"
        file.write_text(json.dumps(what))
        names = {"record": str(file), "json": json, "math": math, "Path": Path, "np": np, "pd": pd, "stats": stats}
        names |= {"ablation": ablation, "dataset": dataset, "evaluation": evaluation, "plots": plots, "shown": shown}
        for cell in cells[opening[10] : opening[11]]:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), names)
        return names

    return run


def test_a_gain_that_is_there_is_found_and_no_other(read_record, capsys):
    names = read_record(record(5, gain=0.1))
    found = names["found"].set_index(["split", "weight_decay"])
    assert len(found) == 9 and (found["pairs"] == 5).all() and len(names["shown"]) == 3
    assert (found["low"].xs(0.1, level=1) > 0).all()
    assert (found["low"].drop(index=0.1, level=1) < 0).all()
    out = capsys.readouterr().out
    assert out.count("best mean at 0.1: +") == 3 and "zero out, ten points in" in out
    honest = [float(line.split("honestly ")[1].split()[0]) for line in out.splitlines() if "chosen honestly" in line]
    assert all(0.08 < gain < 0.12 for gain in honest) and len(honest) == 3


def test_an_unfinished_record_is_read_as_far_as_it_goes(read_record, capsys):
    missing = [("grouped", 0.0, 2), ("grouped", 0.1, 1), ("distinct", 0.3, 2)]
    found = read_record(record(3, missing=missing))["found"].set_index(["split", "weight_decay"])
    assert ("grouped", 0.1) not in found.index and ("distinct", 0.3) not in found.index
    assert found.loc["as_published", "pairs"].tolist() == [3, 3, 3]
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[6:9]}
    assert rows == {"as_published": list("3333"), "distinct": list("3332"), "grouped": list("2323")}


@pytest.mark.parametrize("seeds", [1, 2])
def test_two_seeds_give_no_interval(read_record, capsys, seeds):
    assert read_record(record(seeds))["found"].empty
    out = capsys.readouterr().out
    assert out.count("no interval yet") == 2 and "0 of 9 comparisons" in out
    assert out.count("too few complete seeds") == 3
    assert "nan" not in out
    assert out.count("between seeds unknown") == (3 if seeds == 1 else 0)


def test_choosing_by_luck_gains_nothing(definitions):
    rng = np.random.default_rng(0)
    luck = [pd.DataFrame(rng.normal(0.7, 0.03, (5, 7)), columns=[0.0, *range(1, 7)]) for _ in range(400)]
    honest = np.mean([definitions["gain_of_choosing"](scores) for scores in luck])
    best = np.mean([scores.mean().max() - scores[0.0].mean() for scores in luck])
    assert abs(honest) < 0.005 < 0.012 < best


def test_runs_over_a_setting_are_drawn_where_they_belong():
    table = pd.DataFrame({"split": ["a"] * 5 + ["b"] * 3, "decay": [0, 0, 0, 0.001, 0.1] + [0, 0.1, 0.1]})
    table["score"] = [0.5, 0.7, 0.6, 0.6, 0.8, 0.4, 0.5, 0.6]
    figure, axis = plots.new_figure()
    plots.over_setting(axis, table, "decay", "score", by="split", lines={"a": 0.3, "b": 0.2})
    ticks = axis.get_xticks()
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "0.001", "0.1"]
    assert ticks[2] - ticks[1] == pytest.approx(2) and ticks[0] < ticks[1]  # decades, and zero apart on the left
    dots = [line for line in axis.lines if line.get_alpha() and len(line.get_ydata())]
    assert sum(len(line.get_ydata()) for line in dots) == len(table)
    (bar,) = (line.get_ydata() for line in axis.lines if line.get_linewidth() == 1.6 and line.get_marker() == "None")
    interval = evaluation.mean_interval([0.5, 0.7, 0.6])
    assert np.allclose(bar, [interval.low, interval.high])  # of the one place with three runs
    assert all((line.get_xdata()[0] < round(line.get_xdata()[0])) == (line.get_color() == "C0") for line in dots)
    assert axis.get_legend_handles_labels()[1] == ["a", "b"]


def test_settings_that_are_no_numbers_stand_side_by_side():
    table = pd.DataFrame({"preset": ["course", *["testing"] * 3], "score": [0.5, 0.6, 0.7, 0.6]})
    figure, axis = plots.new_figure()
    plots.over_setting(axis, table, "preset", "score", overlap=0.25)
    assert axis.get_xticks().tolist() == [0, 1]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["course", "testing"]
    interval = evaluation.mean_interval([0.6, 0.7, 0.6], overlap=0.25)
    drawn = [line.get_ydata() for line in axis.lines if line.get_marker() == "None"]
    assert len(drawn) == 1 and np.allclose(drawn[0], [interval.low, interval.high])
