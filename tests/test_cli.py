"""The command line, called as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import typer.testing
from distributed import LocalCluster
from PIL import Image

from heartai_utils import cli, dataset, downsampling, page, splits, training, vit
from heartai_utils.conditions import CONDITIONS, NAMES
from heartai_utils.training import Augmentation, TrainingConfig

HEARTAI = os.path.join(os.path.dirname(sys.executable), "heartai")


def heartai(*arguments, **options):
    return subprocess.run(
        [HEARTAI, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        **options,
    )


def is_one_clear_line(result, *words):
    """Exit code 2, nothing on standard output, one line on standard error that holds the words."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    assert all(word in lines[0] for word in words), lines[0]
    return True


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "set"
    dataset.simulate_set(folder, 24, seed=5, progress=False, workers=1)
    return folder


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with one worker, a thread of this process."""
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def run_folder(pages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = heartai("train", folder, "--data", pages, "--preset", "testing", "--epochs", 2)
    assert result.returncode == 0, result.stderr
    return folder


def test_help_names_the_commands():
    result = heartai("--help")
    assert result.returncode == 0
    for command in ("check", "simulate", "download", "audit", "shrink", "train", "ablate", "predict", "course"):
        assert command in result.stdout


def test_help_names_the_choices():
    shown = {}
    for command in ("simulate", "train"):
        result = heartai(command, "--help", env={**os.environ, "COLUMNS": "1000", "TERMINAL_WIDTH": "1000"})
        assert result.returncode == 0
        shown[command] = result.stdout
    assert all(name in shown["simulate"] for name in (*dataset.SHORTCUTS, "balanced|published"))
    assert all(name in shown["train"] for name in ("|".join(vit.PRESETS), *splits.HOWS, "grid"))
    assert downsampling.OWN in shown["train"]


def test_check_finds_this_machine_fit():
    result = heartai("check")
    assert result.returncode == 0 and "[FAIL]" not in result.stdout, result.stdout
    assert "[OK] Python" in result.stdout


@pytest.mark.slow
def test_simulate_writes_the_same_bytes_again(pages, tmp_path):
    result = heartai("simulate", tmp_path / "again", "--pages", 24, "--seed", 5)
    assert result.returncode == 0, result.stderr
    assert "24 pages" in result.stdout
    catalogue, rejected = dataset.read_catalogue(tmp_path / "again")
    assert catalogue["md5"].tolist() == dataset.read_catalogue(pages)[0]["md5"].tolist()


def test_simulate_has_a_scheduler_draw_the_same_bytes(pages, tmp_path, scheduler):
    arguments = ["simulate", str(tmp_path / "set"), "--pages", "4", "--seed", "5", "--scheduler", scheduler]
    result = typer.testing.CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "4 pages" in result.output
    drawn = sorted((tmp_path / "set").glob("*/*.jpg"))
    assert len(drawn) == 4
    assert all(path.read_bytes() == (pages / path.parent.name / path.name).read_bytes() for path in drawn)


@pytest.mark.slow
def test_a_scheduler_that_cannot_be_used_is_told(pages, tmp_path):
    environment = {**os.environ, "HEARTAI_DATA": str(tmp_path)}
    result = heartai("simulate", tmp_path / "set", "--scheduler", "tcp://127.0.0.1:9", env=environment)
    assert is_one_clear_line(result, "no scheduler answers at tcp://127.0.0.1:9: start one")
    result = heartai("shrink", pages, "--scheduler", "tcp://127.0.0.1:9", "--workers", 2, env=environment)
    assert is_one_clear_line(result, "workers=2", "none with a scheduler")
    assert not list(tmp_path.rglob("*.jpg")) and not list(tmp_path.rglob("*.grey"))


def test_simulate_refuses_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert is_one_clear_line(heartai("simulate", tmp_path, "--pages", 4), str(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_simulate_plants_what_is_asked_for(tmp_path):
    wishes = ("--pages", 4, "--rate-matched", "--shortcut", "date", "--shortcut", "mark=HB", "--shortcut-strength", "1")
    result = heartai("simulate", tmp_path / "set", *wishes)
    assert result.returncode == 0, result.stderr
    settings = json.loads((tmp_path / "set" / "set.json").read_text())
    assert settings["shortcuts"] == {"date": "Myocardial infarction", "mark": "Abnormal heartbeat"}
    assert settings["rate_matched"] is True and settings["shortcut_strength"] == 1
    assert is_one_clear_line(heartai("simulate", tmp_path / "set", "--pages", 4), "holds a set with rate_matched True")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shortcut", "smell"], ["smell", "lead_off"]),
        (["--shortcut", "date=measles"], ["measles", "History of MI"]),
        (["--shortcut", "date="], ["NAME=CONDITION"]),
        (["--shortcut", "date", "--shortcut", "date=HB"], ["'date'", "twice"]),
        (["--shortcut-strength", "0.5"], ["add --shortcut"]),
        (["--shortcut", "date", "--shortcut-strength", "1.5"], ["1.5", "up to 1"]),
    ],
)
@pytest.mark.slow
def test_simulate_explains_what_is_wrong(arguments, words, tmp_path):
    assert is_one_clear_line(heartai("simulate", tmp_path / "set", *arguments), *words)
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_simulate_names_its_folder_as_it_is(tmp_path):
    result = heartai("simulate", tmp_path / "a [red] :heart: set", "--pages", 1)
    assert result.returncode == 0 and "1 pages in " in result.stdout and "a [red] :heart: set" in result.stdout


@pytest.mark.slow
def test_download_takes_what_is_there_and_names_what_is_missing(tmp_path, real_pages):
    result = heartai("download", tmp_path / "pages", "--from", real_pages)
    assert is_one_clear_line(result, "295 of 928 published files", "missing", "without --from")
    assert len(dataset.read_catalogue(tmp_path / "pages")[0]) == 295


@pytest.mark.slow
def test_download_and_audit_explain_what_is_wrong(tmp_path):
    result = heartai("download", tmp_path / "pages", "--from", tmp_path / "nowhere")
    assert is_one_clear_line(result, "nowhere", "look at its name")
    assert is_one_clear_line(heartai("audit", tmp_path / "nowhere"), "nowhere")
    assert not list(tmp_path.iterdir())


def test_audit_needs_no_page():
    result = heartai("audit", "--splits", 4)
    assert result.returncode == 0, result.stderr
    assert "928 files, 491 distinct pages" in result.stdout


@pytest.mark.slow
def test_audit_of_a_folder_as_json(pages, tmp_path):
    result = heartai("audit", pages, "--json", "--splits", 4, env={**os.environ, "HEARTAI_DATA": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    keys = {"files", "distinct", "by_condition", "copies", "near_copies", "id_groups", "rejected", "baselines"}
    assert found["files"] == found["distinct"] == 24 and keys <= set(found)
    assert all({"mean", "sd", "splits"} <= set(score) for score in found["baselines"].values())


def test_shrink_makes_ahead_what_train_looks_for(pages, tmp_path, scheduler, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path))
    for counts in ("24 made 0 already there 0 refused", "0 made 24 already there 0 refused"):
        arguments = ["shrink", str(pages), "--crop", "grid", "--scheduler", scheduler]
        result = typer.testing.CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        assert result.exit_code == 0 and " ".join(result.output.split()) == counts
    monkeypatch.delattr(page, "load_page")  # what is there need not be decoded
    catalogue = dataset.read_catalogue(pages)[0]
    data = training.load_data(catalogue, splits.grouped(catalogue, validation=0.25, seed=0), crop="grid")
    assert len(data.train_images) + len(data.validation_images) == 24


def test_shrink_names_what_it_refuses_and_makes_the_others(pages, tmp_path):
    folder = tmp_path / "pages" / CONDITIONS[0].folder
    folder.mkdir(parents=True)
    original = next(pages.glob(f"{folder.name}/*.jpg")).read_bytes()
    (folder / "Normal(1).jpg").write_bytes(original)
    photograph(folder / "Normal(2).jpg")
    text(folder / "Normal(3).jpg")
    result = heartai("shrink", tmp_path / "pages", env={**os.environ, "HEARTAI_DATA": str(tmp_path)})
    assert result.returncode == 2 and result.stdout.split() == "1 made 0 already there 2 refused".split()
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2 and "Normal(3).jpg: is neither a JPEG nor a PNG" in lines[0], result.stderr
    assert "Normal(2).jpg does not look like a page" in lines[1]


@pytest.mark.parametrize(("option", "word"), [(("--method", "magic"), "area"), (("--crop", "frame"), "grid")])
def test_shrink_explains_what_is_wrong(option, word, pages, tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=word):
        typer.testing.CliRunner().invoke(cli.app, ["shrink", str(pages), *option], catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_train_leaves_a_whole_run_folder(run_folder):
    names = {path.name for path in run_folder.iterdir()}
    assert names == {
        "config.json", "history.csv", "metrics.json", "predictions.csv", "model.keras", "environment.json"
    }  # fmt: skip
    assert set(json.loads((run_folder / "metrics.json").read_text())["recall"]) == set(NAMES)


@pytest.mark.slow
def test_train_twice_gives_identical_metrics(run_folder, pages, tmp_path):
    result = heartai("train", tmp_path / "run", "--data", pages, "--preset", "testing", "--epochs", 2)
    assert result.returncode == 0, result.stderr
    for name in ("metrics.json", "history.csv", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (run_folder / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--preset", "huge"], "reference"),
        (["--split", "lucky"], "grouped"),
        (["--method", "magic"], "area"),
        (["--learning-rate", "-1"], "learning_rate"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
@pytest.mark.slow
def test_train_explains_what_is_wrong(arguments, word, pages, tmp_path):
    data = [] if "--data" in arguments else ["--data", pages]
    assert is_one_clear_line(heartai("train", tmp_path / "run", *data, *arguments, cwd=tmp_path), word)


@pytest.mark.slow
def test_train_hands_every_option_on(pages, tmp_path):
    run, result = tmp_path / "run", typer.testing.CliRunner()
    options = (
        "--schedule cosine --warmup-epochs 1 --label-smoothing 0.1 --class-weights --ema 0.9 --clip-norm 1 --augment "
        "--patience 1 --report best --weight-decay 0.3 --learning-rate 0.002 --batch-size 8 --seed 4"
    )
    arguments = ["train", str(run), "--data", str(pages), "--preset", "testing", "--epochs", "2", *options.split()]
    told = result.invoke(cli.app, arguments, catch_exceptions=False).output
    assert "lowest loss on the monitored pages: epoch" in told
    config = json.loads((run / "config.json").read_text())
    asked = TrainingConfig(
        vit.preset("testing"), 2, 8, 0.002, 0.3, 4, "cosine", 1, 0.1, True, 0.9, 1.0, Augmentation(), 1, "best"
    )
    assert TrainingConfig.from_record(config["training"]) == asked
    assert config["pages"]["monitor"] == 4  # about 15 % of the training pages, one of each condition


@pytest.mark.slow
def test_train_on_simulated_pages_and_go_on_with_others(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path / "data"))
    invoke = typer.testing.CliRunner().invoke
    small = ["--preset", "testing", "--epochs", "1"]
    first, then = tmp_path / "first", tmp_path / "then"
    invoke(cli.app, ["train", str(first), "--simulated", "40", *small], catch_exceptions=False)
    assert json.loads((first / "config.json").read_text())["pages"] == {"train": 36, "validation": 4}
    tuned = ["train", str(then), "--data", str(pages), "--init", str(first), *small]
    told = invoke(cli.app, tuned, catch_exceptions=False).output
    assert "holds the run" in told and "initial" in json.loads((then / "config.json").read_text())
    with pytest.raises(ValueError, match="give one of them"):
        invoke(cli.app, [*tuned, "--simulated", "40"], catch_exceptions=False)
    with pytest.raises(ValueError, match="another shape"):
        invoke(cli.app, [*tuned[:1], str(tmp_path / "third"), *tuned[2:], "--preset", "course"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--schedule", "linear"], "cosine"),
        (["--warmup-epochs", "3"], "warmup_epochs"),
        (["--monitor", "1.5"], "monitor"),
        (["--patience", "2", "--monitor", "0"], "monitor"),
        (["--report", "first"], "best"),
        (["--ema", "1"], "ema_momentum"),
    ],
)
def test_train_explains_which_option_is_wrong(arguments, word, pages, tmp_path):
    with pytest.raises(ValueError, match=word):
        typer.testing.CliRunner().invoke(
            cli.app, ["train", str(tmp_path / "run"), "--data", str(pages), *arguments], catch_exceptions=False
        )
    assert not (tmp_path / "run").exists()


def test_predict_prints_four_probabilities(run_folder, pages):
    page = next(pages.glob("Normal*/*.jpg"))
    result = heartai("predict", page, "--model", run_folder)
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for name in NAMES)
    result = heartai("predict", page, "--model", run_folder, "--json")
    probabilities = json.loads(result.stdout)["probabilities"]
    assert list(probabilities) == list(NAMES)
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_predict_works_with_the_weights_that_come_along(pages):
    result = heartai("predict", next(pages.glob("Normal*/*.jpg")))
    assert result.returncode == 0 and "not a medical device" in result.stdout, result.stderr


@pytest.mark.slow
def test_predict_reads_a_real_page(run_folder, real_pages):
    page = next(real_pages.glob("Normal*/*.jpg"))
    result = heartai("predict", page, "--model", run_folder)
    assert result.returncode == 0 and all(name in result.stdout for name in NAMES), result.stderr


def photograph(path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(small).resize((2213, 1572), Image.Resampling.BICUBIC).save(path)


def small_picture(path):
    Image.new("RGB", (640, 480), "white").save(path)


def text(path):
    path.write_text("These are the chapters of my thesis.")


def nothing(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("make", [photograph, small_picture, text, nothing])
@pytest.mark.slow
def test_predict_refuses_what_is_no_page(make, run_folder, tmp_path):
    make(tmp_path / "page.jpg")
    assert is_one_clear_line(heartai("predict", tmp_path / "page.jpg", "--model", run_folder), "page.jpg")


@pytest.mark.slow
def test_predict_refuses_a_truncated_page_and_goes_on_with_the_next(run_folder, pages, tmp_path):
    page = next(pages.glob("MI*/*.jpg"), None) or next(pages.glob("*Myocardial*/*.jpg"))
    (tmp_path / "cut.jpg").write_bytes(page.read_bytes()[:200_000])
    assert is_one_clear_line(heartai("predict", tmp_path / "cut.jpg", "--model", run_folder), "cut.jpg")
    result = heartai("predict", tmp_path / "cut.jpg", page, "--model", run_folder)
    assert result.returncode == 2 and "cut.jpg" in result.stderr and NAMES[0] in result.stdout


@pytest.mark.slow
def test_predict_names_a_model_that_is_not_there(pages, tmp_path):
    page = next(pages.glob("Normal*/*.jpg"))
    assert is_one_clear_line(heartai("predict", page, "--model", tmp_path / "nothing"), "nothing")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--only", "77"], "77"),
        (["--profile", "swift"], "quick"),
        (["--only", "04", "-p", "sede=1"], "sede"),
        (["-p", "seed"], "NAME=VALUE"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
@pytest.mark.slow
def test_course_explains_what_is_wrong(arguments, word, tmp_path):
    assert is_one_clear_line(heartai("course", "--out", tmp_path / "out", *arguments, cwd=tmp_path), word)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_course_runs_a_chapter_once_and_writes_the_index(tmp_path):
    """Chapter 04 stands for all: `make run` and nbval run the others."""
    arguments = ["course", "--only", "04", "--seed", "1", "--out", tmp_path / "out"]
    first = heartai(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "[OK] 04_from_pixels_to_tokens" in first.stdout and "index.html" in first.stdout
    out = tmp_path / "out"
    assert "04_from_pixels_to_tokens.html" in (out / "index.html").read_text()
    page = (out / "04_from_pixels_to_tokens.html").read_text()
    assert "<math" in page and "<script" not in page and 'src="http' not in page
    written = (out / "04_from_pixels_to_tokens.ipynb").stat().st_mtime_ns
    again = heartai(*arguments, cwd=tmp_path)
    assert again.returncode == 0 and (out / "04_from_pixels_to_tokens.ipynb").stat().st_mtime_ns == written
