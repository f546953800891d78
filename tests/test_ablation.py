"""A grid of runs: each once, by workers that may die, with the same results as if nothing had happened.

Workers are killed 2 times by default; HEARTAI_KILLS=10 kills them so often.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pandas as pd
import psutil
import pytest
from distributed import KilledWorker, LocalCluster
from rich.console import Console

from heartai_utils import _cluster, _runs, ablation, cli, dataset, training, vit
from heartai_utils.ablation import AblationError, Trial
from heartai_utils.evaluation import paired_interval

TINY = vit.ViTConfig(tokens=16, width=8, heads=2, depth=1)
BASE = Trial(training.TrainingConfig(TINY, epochs=2, batch_size=8), validation=0.25)
TRIALS = ablation.grid(2, BASE, weight_decay=[0.0, 0.3])
QUIETLY = {"progress": False}
KILLS = int(os.environ.get("HEARTAI_KILLS", 2))
FILES = ("config.json", "history.csv", "metrics.json", "predictions.csv")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the pages ``set``, which is also where thumbnails are kept."""
    folder = tmp_path_factory.mktemp("home")
    dataset.simulate_set(folder / "set", 16, seed=3, progress=False, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEARTAI_DATA", str(folder))
        yield folder


@pytest.fixture(scope="module")
def pages(home):
    return dataset.read_catalogue(home / "set")[0]


def dask_setup(_) -> None:
    """Have a worker train step by step, without first building a graph, which takes longer than these runs."""
    if training.keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)


EAGERLY = [*_cluster._PRELOAD, __file__]


@pytest.fixture(scope="module")
def cluster():
    """Two workers for all tests, which start once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cluster, "_PRELOAD", EAGERLY)
        with _cluster.client(workers=2) as connection:
            yield connection


@pytest.fixture(scope="module")
def address(cluster):
    return cluster.scheduler_info()["address"]


@pytest.fixture(scope="module")
def undisturbed(pages, address, tmp_path_factory):
    """Four finished trials: their folder, table, and the seconds they took."""
    folder, begin = tmp_path_factory.mktemp("ablations") / "undisturbed", time.monotonic()
    runs = ablation.run(TRIALS, pages, folder, scheduler=address, **QUIETLY)
    return SimpleNamespace(folder=folder, runs=runs, seconds=time.monotonic() - begin)


def contents(folder: Path) -> dict[str, bytes]:
    """All results of all runs; nothing else is there but the models and what a run took."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "runs").glob("*/*")}
    assert {Path(name).name for name in found} == {*FILES, "model.keras", "environment.json"}
    return {name: content for name, content in found.items() if Path(name).name in FILES}


def workers_of(connection) -> list[int]:
    """Their process numbers, of those that live."""
    return list(connection.run(os.getpid, on_error="ignore").values())


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/*")}


# --- the grid ---------------------------------------------------------------------------------------------------


def test_a_grid_has_all_settings_of_the_first_seed_first():
    trials = ablation.grid(2, BASE, split=["grouped", "distinct"], weight_decay=[0, 0.3])
    told = [(t.config.seed, t.split_seed, t.split, t.config.weight_decay) for t in trials]
    settings = [("grouped", 0), ("grouped", 0.3), ("distinct", 0), ("distinct", 0.3)]
    assert told == [(seed, seed, *setting) for seed in (0, 1) for setting in settings]
    assert {(t.config.model, t.config.epochs, t.validation) for t in trials} == {(TINY, 2, 0.25)}
    assert len(ablation.grid([4, 7], weight_decay=[0, 0.0])) == 2


def test_models_by_name_fit_cropped_pages():
    (trial,) = ablation.grid(1, preset=["course"], crop=["grid"])
    assert trial.config.model == vit.preset("course", header_rows=0)
    assert trial.to_row()["preset"] == "course" and trial.to_row()["crop"] == "grid"
    assert json.loads(BASE.to_row()["preset"])["tokens"] == 16


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"wieght_decay": [0]}, "no setting 'wieght_decay': use one of .*weight_decay"),
        ({"split": ["lucky"]}, "use one of as_published, distinct, grouped"),
        ({"validation": [1.0]}, "validation=1.0"),
        ({"learning_rate": [0.0]}, "learning_rate=0.0"),
        ({"preset": ["huge"]}, "no preset 'huge'"),
        ({"patience": [2]}, "monitor=0.15"),
        ({"epochs": []}, "no trials"),
    ],
)
def test_a_grid_that_makes_no_sense(axes, words):
    with pytest.raises(ValueError, match=words):
        ablation.grid(1, **axes)


# --- runs -------------------------------------------------------------------------------------------------------


def test_the_table_says_what_the_run_folders_say(undisturbed):
    folder, runs = undisturbed.folder, undisturbed.runs
    assert runs[["seed", "split_seed", "weight_decay"]].to_numpy().tolist() == [
        [seed, seed, decay] for seed in (0, 1) for decay in (0, 0.3)
    ]
    assert (
        runs["error"].isna().all() and (runs["steps"] == 4).all() and (runs["pages"] + runs["train_pages"] == 16).all()
    )
    for row in runs.itertuples():
        run = training.load_run(folder / "runs" / row.run)
        record = json.loads((run.folder / "config.json").read_text())
        assert row.run == run.folder.name == _runs.name_of(record)
        assert (run.config.seed, run.config.weight_decay, run.config.model) == (row.seed, row.weight_decay, TINY)
        last = run.history.iloc[-1]
        assert (row.accuracy, row.macro_f1) == (run.metrics.accuracy, run.metrics.macro_f1)
        assert (row.val_loss, row.train_loss, row.train_accuracy) == (last["val_loss"], last["loss"], last["accuracy"])
        kernels = [np.asarray(kernel) for kernel in training.decayed_variables(run.model)]
        assert row.kernel_norm == pytest.approx(np.linalg.norm(np.concatenate([k.ravel() for k in kernels])), rel=1e-6)
    norms = runs.pivot_table(index="seed", columns="weight_decay", values="kernel_norm")
    assert (norms[0.3] < norms[0.0]).all()


def test_csv_and_parquet_and_table_are_equal(undisturbed):
    folder, runs = undisturbed.folder, undisturbed.runs
    pd.testing.assert_frame_equal(pd.read_csv(folder / "results.csv", float_precision="round_trip"), runs)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "results.parquet"), runs, check_dtype=False)
    pd.testing.assert_frame_equal(ablation.table(folder), runs)
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_table_is_made_again(undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed.folder, tmp_path / "copy")
    (folder / "results.parquet").write_bytes(b"no table")
    pd.testing.assert_frame_equal(ablation.table(folder), undisturbed.runs)


def test_a_second_call_trains_nothing_and_needs_no_workers(undisturbed, pages):
    folder, runs = undisturbed.folder, undisturbed.runs
    before = times(folder)
    again = ablation.run(TRIALS, pages, folder, scheduler="tcp://127.0.0.1:1", progress=False)
    pd.testing.assert_frame_equal(again, runs)
    assert times(folder) == before


@pytest.mark.slow
def test_what_fails_by_itself_does_not_stop_the_others(pages, address, tmp_path, capsys):
    trials = ablation.grid(1, BASE, learning_rate=[1e30, 1e-3], epochs=[1])
    runs = ablation.run(trials, pages, tmp_path / "it", scheduler=address)
    failed, well = runs.to_dict("records")
    assert "the loss became nan in epoch 1" in failed["error"] and np.isnan(failed["accuracy"])
    assert pd.isna(well["error"]) and 0 <= well["accuracy"] <= 1
    said = capsys.readouterr().err
    assert f"{failed['run']}: the loss became nan" in said and "2 trials: 0 done before, 2 to do" in said

    more = ablation.grid(1, BASE, epochs=[1], weight_decay=[1e-4, 0.5])  # the first is there, but damaged
    (tmp_path / "it" / "runs" / well["run"] / "metrics.json").write_text("junk")
    damaged, new = ablation.run(more, pages, tmp_path / "it", scheduler=address, progress=False).to_dict("records")
    assert damaged["run"] == well["run"] and "is damaged: remove it" in damaged["error"]
    assert pd.isna(new["error"]) and len(list((tmp_path / "it" / "runs").glob("*/metrics.json"))) == 2


def test_killed_workers_cost_nothing(undisturbed, cluster, address, pages, tmp_path):
    """They are killed at random moments; runs end with the same bytes, and none is made twice."""
    rng, kills, expected = np.random.default_rng(), 0, contents(undisturbed.folder)
    for number in range(5 * KILLS):
        if kills == KILLS:
            break
        folder, finished = tmp_path / f"killed {number}", {}
        train = threading.Thread(
            target=ablation.run, args=(TRIALS, pages, folder), kwargs={**QUIETLY, "scheduler": address}
        )
        train.start()
        next_kill = time.monotonic() + rng.uniform(0, undisturbed.seconds)
        while train.is_alive():
            for path in folder.glob("runs/*/metrics.json"):
                finished.setdefault(path, path.stat().st_mtime_ns)
            if kills < KILLS and time.monotonic() > next_kill and (pids := workers_of(cluster)):
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills, next_kill = kills + 1, time.monotonic() + rng.uniform(0, undisturbed.seconds)
            time.sleep(0.05)
        assert ablation.table(folder)["error"].isna().all() and contents(folder) == expected
        assert all(path.stat().st_mtime_ns == when for path, when in finished.items())
    assert kills == KILLS, "the runs end before workers can be killed"


@pytest.mark.slow
def test_a_killed_caller_leaves_no_process_and_goes_on(undisturbed, pages, address, home, tmp_path):
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, __file__, str(home / "set"), str(folder)], env=environment) as caller:
        waiting = time.monotonic() + 500
        while not list(folder.glob("runs/*/metrics.json")):
            assert caller.poll() is None and time.monotonic() < waiting
            time.sleep(0.05)
        family = psutil.Process(caller.pid).children(recursive=True)
        assert family
        caller.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    before = times(folder)
    runs = ablation.run(TRIALS, pages, folder, scheduler=address, progress=False)
    assert runs["error"].isna().all() and contents(folder) == contents(undisturbed.folder)
    done = {path for path in before if path.name == "metrics.json"}
    assert done and all(path.stat().st_mtime_ns == before[path] for path in done)


def run_to_be_killed(pages: str, folder: str) -> None:
    _cluster._PRELOAD = EAGERLY
    ablation.run(TRIALS, dataset.read_catalogue(pages)[0], folder, workers=1, progress=False)


@pytest.mark.parametrize("progress", [0, 3])
def test_lost_workers_end_an_ablation_only_if_nothing_gets_on(progress, tmp_path, monkeypatch):
    """A trial that has lost its workers is begun again as long as its epochs grow."""
    epochs = itertools.chain(range(2 * progress + 1), itertools.repeat(2 * progress))
    rounds = []

    def all_lost(_, __, items, **___):
        rounds.append(list(items))
        return [(item, KilledWorker("trial", None, 3)) for item in rounds[-1]]

    monkeypatch.setattr(_cluster, "completed", all_lost)
    monkeypatch.setattr(_runs, "epochs_done", lambda _: next(epochs))
    display = ablation._Display({}, tmp_path, 1, progress=False)
    errors = ablation._train_all({"it": BASE}, tmp_path, None, None, display)
    assert "memory" in errors["it"] and len(rounds) == progress + 1


def test_a_run_that_another_process_is_at_is_waited_for(monkeypatch):
    answers = [_runs.RunInUse("held"), _runs.RunInUse("held"), None]

    def train(*_, **__):
        if answer := answers.pop(0):
            raise answer

    monkeypatch.setattr(ablation, "_data", lambda *_: (None, ""))
    monkeypatch.setattr(ablation, "_WAIT", 0)
    monkeypatch.setattr(training, "identity", lambda *_: None)
    monkeypatch.setattr(_runs, "name_of", lambda _: "it")
    monkeypatch.setattr(training, "train", train)
    ablation._train(("it", BASE), Path(), Path(), Path())
    assert not answers
    with pytest.raises(AblationError, match="share folder and cache"):
        ablation._train(("another", BASE), Path(), Path(), Path())


# --- effects ----------------------------------------------------------------------------------------------------


def scores(**columns) -> pd.DataFrame:
    """Runs of three seeds, two splits and two decays, that decay raises by 0.1 on the one split; with odd columns."""
    rows = list(itertools.product(range(3), ["grouped", "distinct"], [0.0, 0.3]))
    runs = pd.DataFrame(rows, columns=["seed", "split", "weight_decay"])
    gain = 0.1 * (runs["split"] == "grouped") * (runs["weight_decay"] > 0) * (1 + 0.1 * runs["seed"])
    return runs.assign(accuracy=0.5 + 0.05 * runs["seed"] + gain, loss=np.arange(12.0), remark="any", **columns)


def test_effects_are_paired_by_seed_within_each_split():
    runs = scores()
    found = ablation.effects(runs.sample(frac=1, random_state=0)).set_index("split")
    assert found["pairs"].tolist() == [3, 3] and (found["weight_decay"] == 0.3).all() and (found["against"] == 0).all()
    expected = paired_interval([0, 0, 0], [0.1, 0.11, 0.12], overlap=0.25)
    assert found.loc["grouped", ["mean", "low", "high"]].tolist() == pytest.approx(
        [expected.mean, expected.low, expected.high]
    )
    assert found.loc["distinct", ["mean", "low", "high"]].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    by_split = ablation.effects(runs, of="split", against="distinct").set_index("weight_decay")
    assert by_split["mean"].tolist() == pytest.approx([0, 0.11])


def test_the_overlap_is_that_of_the_splits():
    assert ablation.overlap_of(scores()) == pytest.approx(0.25)
    assert ablation.overlap_of(scores(validation=0.5, monitor=0.5)) == pytest.approx(2)
    assert ablation.overlap_of(scores(split_seed=1)) == 0


def test_effects_leave_out_what_has_no_pair_and_say_what_is_wrong():
    runs = scores()
    runs.loc[(runs["seed"] == 2) & (runs["weight_decay"] == 0), "accuracy"] = np.nan
    assert ablation.effects(runs)["pairs"].tolist() == [2, 2]
    single = ablation.effects(runs[runs["seed"] == 0])
    assert single["pairs"].tolist() == [1, 1] and single["low"].isna().all()
    with pytest.raises(AblationError, match=r"no finished run has weight_decay 0.1: compare with one of \[0.0, 0.3\]"):
        ablation.effects(runs, against=0.1)
    with pytest.raises(AblationError, match="no column 'epochs'"):
        ablation.effects(runs, of="epochs")
    with pytest.raises(AblationError, match="differ in nothing"):
        ablation.effects(pd.concat([runs, runs]))


@pytest.mark.parametrize("varying", [[], ["split"], ["split", "weight_decay"]])
def test_the_figure_shows_every_run(varying):
    runs = scores(macro_f1=0.3, preset="course")
    for name in {"split", "weight_decay"} - set(varying):
        runs = runs[runs[name] == runs[name].iloc[0]]
    drawn = ablation.figure(runs).axes[0]
    dots = [line for line in drawn.lines if line.get_alpha() is not None]
    assert sum(len(line.get_ydata()) for line in dots) == len(runs)
    assert drawn.get_ylabel() == "accuracy"


def test_where_no_run_finished_the_figure_says_so():
    drawn = ablation.figure(scores(macro_f1=np.nan).assign(accuracy=np.nan))
    assert [axis.get_title() for axis in drawn.axes] == ["no finished run"] * 2


# --- workers ----------------------------------------------------------------------------------------------------


def double_or_fail(number: int) -> int:
    if number == 3:
        raise OSError("three")
    return 2 * number


def end_the_worker(_) -> None:
    os._exit(1)


def test_completed_gives_results_and_errors(cluster):
    found = dict(_cluster.completed(cluster, double_or_fail, range(6)))
    assert isinstance(found[3], OSError) and str(found.pop(3)) == "three"
    assert found == {n: 2 * n for n in (0, 1, 2, 4, 5)}


@pytest.mark.slow
def test_completed_hands_out_only_what_workers_can_do(cluster):
    handed = []
    items = (handed.append(i) or i for i in itertools.count(10))
    assert len(list(itertools.islice(_cluster.completed(cluster, double_or_fail, items), 8))) == 8
    assert len(handed) <= 8 + 2 * 4  # two workers, each with one call and one that waits; and results not yet taken


@pytest.mark.slow
def test_workers_are_single_threaded_and_end_with_the_block():
    before = {name: value for name, value in os.environ.items() if name != "__DASK_PARENT_PID"}
    allowed = dask.config.set({"distributed.scheduler.allowed-failures": 0})
    with allowed, _cluster.client(workers=1) as connection:
        ((_, found),) = connection.run(lambda: {name: os.environ.get(name) for name in _cluster.ENVIRONMENT}).items()
        assert found == _cluster.ENVIRONMENT
        (worker,) = workers_of(connection)
        listening = [c.laddr.ip for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN]
        listening += [c.laddr.ip for c in psutil.Process(worker).net_connections() if c.status == psutil.CONN_LISTEN]
        assert set(listening) == {"127.0.0.1"}
        ((_, lost),) = _cluster.completed(connection, end_the_worker, [0], ahead=0)
        assert isinstance(lost, KilledWorker)
        connection.wait_for_workers(1, timeout=100)
        (worker,) = workers_of(connection)
    assert not psutil.pid_exists(worker)
    os.environ.pop("__DASK_PARENT_PID", None)  # by which dask names its processes
    assert dict(os.environ) == before


def test_a_scheduler_that_cannot_be_used_is_named_with_the_cure(address, monkeypatch):
    monkeypatch.setattr(_cluster, "_PATIENCE", 0.5)
    threads = {"processes": False, "protocol": "tcp", "dashboard_address": None}
    with pytest.raises(ValueError, match="no scheduler answers at tcp://127.0.0.1:1: start one"):
        _cluster.client("tcp://127.0.0.1:1").__enter__()
    with pytest.raises(ValueError, match="give 1 or more, and none with a scheduler"):
        _cluster.client(address, workers=2).__enter__()
    with LocalCluster(**threads, n_workers=0) as local:
        with pytest.raises(ValueError, match="has no worker: start some with `dask worker tcp"):
            _cluster.client(local.scheduler_address).__enter__()
    with LocalCluster(**threads, n_workers=1, threads_per_worker=2) as local:
        with pytest.raises(ValueError, match="has 2 threads: start it with"):
            _cluster.client(local.scheduler_address).__enter__()
    _cluster.versions.cache_clear()
    monkeypatch.setattr(_cluster.platform, "python_version_tuple", lambda: ("2", "7", "18"))
    with pytest.raises(ValueError, match=r"has Python 3\.\d+ instead of 2\.7: install the same"):
        _cluster.client(address).__enter__()
    _cluster.versions.cache_clear()


# --- the command ------------------------------------------------------------------------------------------------


def heartai(monkeypatch, *arguments) -> int:
    """The command in this process, which has Keras already; gives the exit code."""
    monkeypatch.setattr(sys, "argv", ["heartai", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


@pytest.mark.slow
def test_the_command_trains_once_and_tells_effects(home, address, tmp_path, monkeypatch, capsys):
    settings = ["--data", home / "set", "--preset", "testing", "--epochs", 1, "--validation", 0.25, "--seeds", 1]
    wishes = [*settings, "--weight-decay", "0,0.3", "--scheduler", address]
    monkeypatch.setattr(cli, "errors", Console(stderr=True, force_terminal=True))  # bars are for terminals
    assert heartai(monkeypatch, "ablate", tmp_path / "it", *wishes) == 0
    first = capsys.readouterr()
    assert "2 trials: 0 done before, 2 to do" in first.err
    for words in ("weight_decay", "accuracy against 0", "macro_f1 against 0", "95 % interval", "results.csv"):
        assert words in first.out
    before = times(tmp_path / "it")
    assert (
        heartai(monkeypatch, "ablate", tmp_path / "it", *settings, "--weight-decay", "0", "--weight-decay", "0.3") == 0
    )
    assert capsys.readouterr().out == first.out and times(tmp_path / "it") == before


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (["--weight-decay", "0,much"], "--weight-decay 0,much: give numbers separated by commas"),
        (["--epochs", "1.5"], "1.5: give whole numbers"),
        (["--weight-decay", "-1"], "weight_decay=-1.0"),
        (["--split", "lucky"], "grouped"),
        (["--method", "magic"], "area"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "none with a scheduler"),
    ],
)
def test_the_command_explains_what_is_wrong(wishes, words, home, tmp_path, monkeypatch, capsys):
    assert heartai(monkeypatch, "ablate", tmp_path / "it", "--data", home / "set", "--seeds", 1, *wishes) == 2
    said = capsys.readouterr()
    assert said.out == "" and words in said.err.strip().splitlines()[-1]
    assert "--scheduler" in wishes or not (tmp_path / "it").exists()


def test_other_folders_are_left_alone(pages, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(AblationError, match="holds no ablation: choose a new or empty folder"):
            ablation.run([BASE], pages, place, progress=False)
    with pytest.raises(AblationError, match="holds no ablation"):
        ablation.table(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


if __name__ == "__main__":
    run_to_be_killed(*sys.argv[1:])
