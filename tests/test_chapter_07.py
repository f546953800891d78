"""Chapter 07: its own definitions, and how it reads the record."""

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
import solution_code
from scipy import stats

from heartai_utils import ablation, dataset, evaluation, plots
from heartai_utils._keras import keras

CHAPTER = "07_the_weight_decay_ablation"
DECAYS = (0.0, 1e-4, 0.1, 0.3)
SPLITS = {"as_published": (112, 560), "distinct": (59, 320), "grouped": (59, 320)}  # validation pages, steps


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


def test_the_half_width_is_that_of_an_interval_with_overlap():
    splits = evaluation.mean_interval(np.array([-1, -1, 0, 1, 1]) * 0.02, overlap=1 / 3)
    assert splits.sd == pytest.approx(0.02)
    assert solution_code.solution("check_corrected_half_width") == pytest.approx(splits.high - splits.mean)


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
