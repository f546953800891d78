"""A run repeats to the byte, goes on where it was stopped, and never mixes with another one.

A run is killed 2 times by default; HEARTAI_KILLS=20 kills it so often.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heartai_utils import _runs, dataset, downsampling, splits, training, vit
from heartai_utils._keras import keras
from heartai_utils.conditions import NAMES
from heartai_utils.evaluation import softmax
from heartai_utils.training import Augmentation, Data, RunError, TrainingConfig

TINY = vit.ViTConfig(height=32, width_px=32, header_rows=0, tokens=8, width=8, heads=2, depth=1)
CONFIG = TrainingConfig(TINY, epochs=3, batch_size=8, learning_rate=3e-3, weight_decay=0.01)
EVERYTHING = replace(
    CONFIG, epochs=4, batch_size=16, schedule="cosine", warmup_epochs=1, label_smoothing=0.1, class_weights=True,
    ema_momentum=0.8, clip_norm=1.0, augmentation=Augmentation(), patience=3, report="best",
)  # fmt: skip
KILLS = int(os.environ.get("HEARTAI_KILLS", 2))
RESULTS = ("config.json", "history.csv", "metrics.json", "predictions.csv")


pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # see with_graphs


class Stopped(Exception):
    """Stands for whatever ends a run too early."""


@pytest.fixture(scope="module")
def data() -> Data:
    """Twenty training pages, so that the last batch is smaller, and ten validation pages."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 32, 32), dtype=np.uint8)
    labels = np.arange(30) % 4
    names = tuple(f"page, {i}.jpg" for i in range(10))
    return Data(images[:20], labels[:20], images[20:], labels[20:], names, {"method": "area", "crop": None})


def watched(data: Data) -> Data:
    """The same with the last four training pages monitored instead."""
    images, labels = data.train_images, data.train_labels
    return replace(
        data, train_images=images[:-4], train_labels=labels[:-4], monitor_images=images[-4:], monitor_labels=labels[-4:]
    )


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> training.Run:
    return training.train(CONFIG, data, tmp_path_factory.mktemp("runs") / "first", progress=False)


@pytest.fixture
def eagerly():
    """Run step by step, without first building a graph, which takes longer than these runs."""
    with_graphs(False)
    yield
    with_graphs(True)


def with_graphs(used: bool) -> None:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(not used)


@pytest.fixture(scope="module")
def model():
    return vit.build_vit(TINY, seed=0)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


# --- the same run again --------------------------------------------------------------------------------------


def test_a_run_folder_is_complete(finished, data):
    assert sorted(path.name for path in finished.folder.iterdir()) == sorted(
        [*RESULTS, "environment.json", "model.keras"]
    )
    assert list(finished.history["epoch"]) == [1, 2, 3]
    assert list(finished.history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    config = json.loads((finished.folder / "config.json").read_text())
    assert config["pages"] == {"train": 20, "validation": 10} and config["data"] == data.fingerprint
    assert "seconds_per_epoch" in json.loads((finished.folder / "environment.json").read_text())


def test_what_is_reported_is_the_last_epoch(finished, data):
    last = finished.history.iloc[-1]
    truth = finished.probabilities[np.arange(10), data.validation_labels]
    assert finished.metrics.accuracy == pytest.approx(last["val_accuracy"], abs=1e-6)
    assert -np.log(truth).mean() == pytest.approx(last["val_loss"], abs=1e-5)


def test_the_same_seed_gives_the_same_bytes(finished, data, tmp_path, capsys):
    again = training.train(CONFIG, data, tmp_path / "again", progress=True)
    assert contents(again.folder) == contents(finished.folder)
    printed = capsys.readouterr()
    assert printed.out == "" and "epoch 3/3" in printed.err


def test_another_seed_gives_other_numbers_and_no_folder_keeps_nothing(finished, data, tmp_path, monkeypatch, eagerly):
    monkeypatch.chdir(tmp_path)
    other = training.train(replace(CONFIG, seed=1, epochs=1), data, progress=False)
    assert other.history["loss"][0] != finished.history["loss"][0]
    assert other.folder is None and not list(tmp_path.iterdir())


def test_a_stopped_run_ends_as_if_it_had_not_been(finished, data, tmp_path, monkeypatch):
    stop_twice_and_compare(CONFIG, data, finished, tmp_path / "stopped", monkeypatch)


@pytest.mark.slow
def test_a_stopped_run_with_every_extra_ends_as_if_it_had_not_been(data, tmp_path, monkeypatch, eagerly):
    undisturbed = training.train(EVERYTHING, watched(data), tmp_path / "undisturbed", progress=False)
    stop_twice_and_compare(EVERYTHING, watched(data), undisturbed, tmp_path / "stopped", monkeypatch)


def stop_twice_and_compare(config, data, undisturbed, folder, monkeypatch):
    keep = _runs.write_checkpoint

    def after_the_first(folder, model, history, best):
        keep(folder, model, history, best)
        raise Stopped

    def before_the_second(folder, model, history, best):
        assert len(history) == 2
        raise Stopped

    for stop in (after_the_first, before_the_second):
        monkeypatch.setattr(_runs, "write_checkpoint", stop)
        with pytest.raises(Stopped):
            training.train(config, data, folder, progress=False)
        assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.npz", "config.json"]
        with pytest.raises(RunError, match="no finished run"):
            training.load_run(folder)
    monkeypatch.setattr(_runs, "write_checkpoint", keep)
    run = training.train(config, data, folder, progress=False)
    assert_same_run(folder, undisturbed.folder)
    for mine, theirs in zip(run.model.get_weights(), undisturbed.model.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)


def assert_same_run(folder: Path, other: Path):
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in other.iterdir())
    assert contents(folder) == contents(other)
    for path in folder.glob("*.keras"):
        pairs = (vit.load_vit(place / path.name).get_weights() for place in (folder, other))
        for mine, theirs in zip(*pairs, strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_not_been(data, tmp_path, eagerly):
    """With every extra on, at random moments of its life; and no half-written file is left."""
    rng = np.random.default_rng()
    data = replace(watched(data), thumbnail={}, validation_files=())  # all that it is then made of are the arrays
    arrays = {f"{side}_{what}": getattr(data, f"{side}_{what}")
              for side in ("train", "validation", "monitor") for what in ("images", "labels")}  # fmt: skip
    np.savez(tmp_path / "data.npz", **arrays)
    begin = time.monotonic()
    undisturbed = training.train(TO_BE_KILLED, data, tmp_path / "undisturbed", progress=False)
    life = time.monotonic() - begin
    kills, folders = 0, [tmp_path / "killed 0"]
    while kills < KILLS:
        if was_killed(tmp_path / "data.npz", folders[-1], rng.uniform(0, life)):
            kills += 1
        else:
            folders.append(tmp_path / f"killed {len(folders)}")
            assert len(folders) <= 5 * KILLS, "the runs end before they can be killed"
    training.train(TO_BE_KILLED, data, folders[-1], progress=False)
    for folder in folders:
        assert_same_run(folder, undisturbed.folder)


TO_BE_KILLED = replace(EVERYTHING, epochs=6, patience=6)


def was_killed(arrays: Path, folder: Path, after: float) -> bool:
    """Start or go on with a run in another process; kill it so many seconds after its imports, if it lives so long."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    program = [sys.executable, __file__, str(arrays), str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def run_to_be_killed(arrays: str, folder: str) -> None:
    with_graphs(False)
    with np.load(arrays) as kept:
        data = Data(**kept)
    print("ready", flush=True)
    training.train(TO_BE_KILLED, data, folder, progress=False)


# --- one folder, one run -------------------------------------------------------------------------------------


def never(*_, **__):
    raise AssertionError("the run was repeated")


def test_a_finished_run_is_loaded_and_not_repeated(finished, data, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    monkeypatch.setattr(training, "build_vit", never)
    run = training.train(CONFIG, data, finished.folder, progress=False)
    assert run.metrics == finished.metrics and run.history.equals(finished.history)
    assert {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before


def test_a_run_from_before_a_setting_was_there_is_the_same_run(finished, data, tmp_path):
    folder = tmp_path / "older"
    shutil.copytree(finished.folder, folder)
    record = json.loads((folder / "config.json").read_text())
    older = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")
    record["training"] = {name: record["training"][name] for name in ("model", *older)}
    (folder / "config.json").write_text(json.dumps(record))
    assert training.load_run(folder).config == CONFIG
    assert training.train(CONFIG, data, folder, progress=False).metrics == finished.metrics
    with pytest.raises(RunError, match="training.patience is None, not 2"):
        training.train(replace(CONFIG, patience=2), watched(data), folder, progress=False)


def test_a_configuration_survives_its_record():
    for config in (CONFIG, EVERYTHING):
        assert TrainingConfig.from_record(json.loads(json.dumps(config.to_record()))) == config
    weights = Path(__file__).parents[1] / "data" / "weights" / "course.json"
    settings = json.loads(weights.read_text())["training"]
    assert TrainingConfig.from_record(settings).epochs == settings["epochs"]
    with pytest.raises(TypeError):
        TrainingConfig.from_record({"momentum": 0.9})


def test_what_a_killed_run_left_behind_is_cleared_away(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    for name in ("checkpoint.npz", ".history.csv.1-2.part", ".7.model.keras"):
        (folder / name).write_bytes(b"half")
    training.train(CONFIG, data, folder, progress=False)
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in finished.folder.iterdir())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow keeps graphs")
def test_graphs_of_finished_runs_are_let_go(data):
    def graphs():
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    training.forget_graphs()
    before = graphs()
    training.train(replace(CONFIG, epochs=1), data, progress=False)
    assert graphs() > before, "a run builds no graph: nothing is tested"
    training.forget_graphs()
    assert graphs() <= before


def test_load_run_gives_everything_back(finished, data):
    run = training.load_run(str(finished.folder))
    assert run.config == CONFIG and run.thumbnail == data.thumbnail and run.folder == finished.folder
    assert run.metrics == finished.metrics and run.history.equals(finished.history)
    np.testing.assert_allclose(run.probabilities, finished.probabilities, rtol=1e-12)
    np.testing.assert_allclose(training.predict(run.model, data.validation_images), run.probabilities, atol=1e-6)


def test_predictions_name_their_pages(finished, data):
    table = pd.read_csv(finished.folder / "predictions.csv")
    assert table["file"].tolist() == list(data.validation_files)
    assert table["label"].tolist() == list(data.validation_labels)
    assert table[list(NAMES)].sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"training.seed is 0, not 1"),
        ({"epochs": 4}, r"training.epochs is 3, not 4"),
        ({"weight_decay": 0.0}, r"training.weight_decay is 0.01, not 0.0"),
        ({"model": replace(TINY, width=16)}, r"training.model.width is 8, not 16"),
    ],
)
def test_another_configuration_is_refused(finished, data, changes, message):
    before = contents(finished.folder)
    with pytest.raises(RunError, match=message):
        training.train(replace(CONFIG, **changes), data, finished.folder, progress=False)
    assert contents(finished.folder) == before


def test_other_data_is_refused(finished, data):
    images = data.train_images.copy()
    images[0, 0, 0] ^= 1
    with pytest.raises(RunError, match=f"data is {data.fingerprint}, not"):
        training.train(CONFIG, replace(data, train_images=images), finished.folder, progress=False)
    with pytest.raises(RunError, match="thumbnail.method is area, not nearest"):
        training.train(CONFIG, replace(data, thumbnail={"method": "nearest", "crop": None}), finished.folder)
    with pytest.raises(RunError, match="pages.train is 20, not 19"):
        fewer = replace(data, train_images=data.train_images[1:], train_labels=data.train_labels[1:])
        training.train(CONFIG, fewer, finished.folder)


def test_a_foreign_folder_is_refused(data, tmp_path):
    foreign = tmp_path / "photographs"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"cat")
    for place in (foreign, foreign / "cat.jpg"):
        with pytest.raises(RunError, match="is no run folder: choose a new one"):
            training.train(CONFIG, data, place, progress=False)
    assert [path.read_bytes() for path in foreign.iterdir()] == [b"cat"]


def test_a_folder_without_a_finished_run_cannot_be_loaded(tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        training.load_run(tmp_path)


# --- one folder, one process -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_process_is_kept_out_while_the_first_lives(finished, data, tmp_path, eagerly):
    folder = tmp_path / "run"
    program = (
        "import sys, time; from pathlib import Path; from heartai_utils import _runs\n"
        "with _runs._locked(Path(sys.argv[1])): print('in', flush=True); time.sleep(600)"
    )
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"in\n"
        with pytest.raises(_runs.RunInUse, match=f"in use by process {holder.pid} on .*: wait until it has ended"):
            training.train(CONFIG, data, folder, progress=False)
        assert [path.name for path in folder.iterdir()] == [_runs.LOCK]
        holder.kill()
    assert (folder / _runs.LOCK).exists()
    run = training.train(replace(CONFIG, epochs=1), data, folder, progress=False)
    assert {path.name for path in folder.iterdir()} == {path.name for path in finished.folder.iterdir()}
    assert run.metrics.pages == 10


def test_a_lock_holds_although_its_file_was_removed_meanwhile(tmp_path, monkeypatch):
    """Its holder leaves just after another one opened the file, which then names nothing."""
    lock, calls = _runs._lock, []

    def holder_leaves_first(file):
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / _runs.LOCK).unlink()
        return lock(file)

    monkeypatch.setattr(_runs, "_lock", holder_leaves_first)
    with _runs._locked(tmp_path):
        assert len(calls) == 2
        with pytest.raises(_runs.RunInUse, match=f"process {os.getpid()}"), _runs._locked(tmp_path):
            pass
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with _runs._locked(tmp_path), _runs._locked(tmp_path):
        pass


def test_a_finished_run_may_be_read_while_another_reads_it(finished, data):
    with _runs.claimed(finished.folder, training.identity(CONFIG, data)):
        assert training.train(CONFIG, data, finished.folder, progress=False).metrics == finished.metrics


# --- the name of a run ------------------------------------------------------------------------------------------


def test_a_run_is_named_by_what_decides_it(finished, data):
    record = json.loads((finished.folder / "config.json").read_text())
    assert record == json.loads(json.dumps(training.identity(CONFIG, data)))
    name = _runs.name_of(record)
    assert name == _runs.name_of(training.identity(CONFIG, data)) and len(name) == 16
    later = record | {"training": record["training"] | {"weight_decay": 0.02}}
    assert _runs.name_of(later) != name != _runs.name_of(record | {"data": "0"})


def test_names_do_not_change():
    """Runs are stored under them. Settings at their defaults do not count, nor how a number is written."""
    record = {"thumbnail": {"method": "even-ink", "crop": None}, "data": "0123456789abcdef"}
    record |= {"pages": {"train": 393, "validation": 98}}
    for decay in (0, 0.0):
        config = TrainingConfig(vit.preset("course"), epochs=40, weight_decay=decay, seed=3)
        settings = config.to_record()
        assert _runs.name_of(record | {"training": settings}) == "27e8fd983edd3dda"
        fewer = {name: settings[name] for name in ("model", "epochs", "weight_decay", "seed")}
        assert _runs.name_of(record | {"training": fewer}) == "27e8fd983edd3dda"


# --- weight decay --------------------------------------------------------------------------------------------


def test_fine_tuning_begins_with_the_weights_it_is_given(finished, data, tmp_path, eagerly):
    still = replace(CONFIG, epochs=1, learning_rate=1e-12, weight_decay=0.0, seed=5)
    run = training.train(still, data, tmp_path / "run", progress=False, initial=finished.model)
    np.testing.assert_allclose(run.probabilities, finished.probabilities, atol=1e-5)
    again = training.train(still, data, tmp_path / "run", progress=False, initial=finished.model)  # found, not repeated
    np.testing.assert_array_equal(again.probabilities, run.probabilities)
    with pytest.raises(RunError, match="initial"):
        training.train(still, data, tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="initial"):
        training.train(still, data, tmp_path / "run", progress=False, initial=vit.build_vit(TINY, 9))


@pytest.mark.slow
def test_stopped_fine_tuning_ends_as_if_it_had_not_been(finished, data, tmp_path, monkeypatch, eagerly):
    config = replace(CONFIG, epochs=2, seed=6)
    whole = training.train(config, data, tmp_path / "whole", progress=False, initial=finished.model)

    def stop(folder, model, history, best):
        write(folder, model, history, best)
        raise Stopped

    write = _runs.write_checkpoint
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(_runs, "write_checkpoint", stop)
        training.train(config, data, tmp_path / "stopped", progress=False, initial=finished.model)
    again = training.train(config, data, tmp_path / "stopped", progress=False, initial=finished.model)
    np.testing.assert_array_equal(again.probabilities, whole.probabilities)


def test_thumbnails_and_initial_weights_must_fit_the_model(data):
    with pytest.raises(ValueError, match="of 32 × 32, the model's of 256 × 182"):
        training.train(replace(CONFIG, model=vit.preset("testing")), data)
    with pytest.raises(ValueError, match="another shape"):
        training.train(CONFIG, data, initial=vit.build_vit(replace(TINY, depth=2)))


def test_only_kernels_decay(model):
    decayed = {variable.path for variable in training.decayed_variables(model)}
    for variable in model.trainable_variables:
        is_matrix = len(variable.shape) == 2 and "position" not in variable.path
        assert (variable.path in decayed) == is_matrix, variable.path
    # embedding, query_key_value, output, expand, contract, head
    assert len(decayed) == 6


def after_steps_without_gradient(model, decay: float, steps: int) -> dict[str, tuple]:
    """By path: each variable before and after steps in which Adam itself has nothing to do."""
    config = TrainingConfig(TINY, learning_rate=0.1, weight_decay=decay)
    optimizer = training.make_optimizer(model, config)
    optimizer.build(model.trainable_variables)
    before = {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables}
    for _ in range(steps):
        optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    return {v.path: (before[v.path], keras.ops.convert_to_numpy(v)) for v in model.trainable_variables}


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_shrinks_kernels_by_learning_rate_times_decay_and_nothing_else(steps):
    model = vit.build_vit(TINY, seed=0)
    decayed = {variable.path for variable in training.decayed_variables(model)}
    for path, (before, after) in after_steps_without_gradient(model, decay=2.0, steps=steps).items():
        if path in decayed:
            np.testing.assert_allclose(after, before * (1 - 0.1 * 2.0) ** steps, rtol=1e-6)
        else:
            np.testing.assert_array_equal(after, before)


def test_without_weight_decay_nothing_moves_by_itself():
    model = vit.build_vit(TINY, seed=0)
    for before, after in after_steps_without_gradient(model, decay=0.0, steps=2).values():
        np.testing.assert_array_equal(after, before)


# --- what is off by default --------------------------------------------------------------------------------------

STILL = replace(TINY, dropout=0.0)  # so that the loss of a step is that of the initial weights


def first_loss(data: Data, **settings) -> float:
    """The loss that one step over all training pages reports: that of the initial weights."""
    config = TrainingConfig(STILL, epochs=1, batch_size=64, **settings)
    return training.train(config, data, progress=False).history["loss"][0]


def initial_losses(data: Data) -> np.ndarray:
    """(pages, 4) minus the logarithm of what the initial weights give each condition."""
    return -np.log(softmax(vit.build_vit(STILL, 0).predict(data.train_images, verbose=0)))


def test_label_smoothing_spreads_a_share_in_training_alone(data, eagerly):
    losses = initial_losses(data)
    own = losses[np.arange(20), data.train_labels]
    assert first_loss(data) == pytest.approx(own.mean(), rel=1e-5)
    assert first_loss(data, label_smoothing=0.2) == pytest.approx(
        (0.8 * own + 0.2 * losses.mean(axis=1)).mean(), rel=1e-5
    )
    run = training.train(replace(CONFIG, epochs=1, label_smoothing=0.2), data, progress=False)
    truth = run.probabilities[np.arange(10), data.validation_labels]
    assert run.history["val_loss"].iloc[-1] == pytest.approx(-np.log(truth).mean(), abs=1e-5)
    assert run.history["val_accuracy"].iloc[-1] == pytest.approx(run.metrics.accuracy, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_let_each_condition_count_alike(data, smoothing, eagerly):
    labels = np.repeat([0, 1, 2], [14, 4, 2])
    rare = replace(data, train_labels=labels)
    losses = initial_losses(rare)
    each = (1 - smoothing) * losses[np.arange(20), labels] + smoothing * losses.mean(axis=1)
    alike = np.mean([each[labels == label].mean() for label in range(3)])
    assert first_loss(rare, class_weights=True, label_smoothing=smoothing) == pytest.approx(alike, rel=1e-5)


def test_the_learning_rate_climbs_and_falls():
    config = TrainingConfig(TINY, epochs=5, learning_rate=0.4, schedule="cosine", warmup_epochs=1)
    rate = training.learning_rate(config, steps_per_epoch=10)
    steps = np.arange(51)
    expected = np.where(steps < 10, 0.04 * steps, 0.2 * (1 + np.cos(np.pi * (steps - 10) / 40)))
    assert [float(rate(step)) for step in steps] == pytest.approx(list(expected), abs=1e-6)
    at_once = training.learning_rate(replace(config, warmup_epochs=0), steps_per_epoch=10)
    assert [float(at_once(step)) for step in (0, 25, 50)] == pytest.approx([0.4, 0.2, 0], abs=1e-6)
    assert training.learning_rate(replace(config, schedule="constant", warmup_epochs=0), 10) == 0.4


def test_decay_follows_the_schedule():
    """A step without gradient shrinks kernels by that step's learning rate times the decay."""
    model = vit.build_vit(TINY, seed=0)
    config = TrainingConfig(TINY, epochs=2, learning_rate=0.1, weight_decay=2.0, schedule="cosine")
    optimizer = training.make_optimizer(model, config, steps_per_epoch=2)
    optimizer.build(model.trainable_variables)
    kernel = training.decayed_variables(model)[0]
    before = keras.ops.convert_to_numpy(kernel).copy()
    shrunk = 1.0
    for step in range(4):
        optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
        shrunk *= 1 - 2.0 * 0.05 * (1 + np.cos(np.pi * step / 4))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), before * shrunk, rtol=1e-5)


def test_the_whole_gradient_is_clipped_to_its_length():
    model = vit.build_vit(TINY, seed=0)
    optimizer = training.make_optimizer(model, TrainingConfig(TINY, clip_norm=0.5))
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables])
    # Adam's first momentum is a tenth of the gradient
    momenta = [keras.ops.convert_to_numpy(v).ravel() for v in optimizer.variables if "momentum" in v.path]
    assert np.linalg.norm(np.concatenate(momenta)) == pytest.approx(0.05, rel=1e-4)


def test_averaged_weights_are_judged_and_kept_but_not_trained_on(data, eagerly):
    config = replace(CONFIG, epochs=2)
    plain = training.train(config, data, progress=False)
    averaged = training.train(replace(config, ema_momentum=0.8), data, progress=False)
    assert averaged.history["loss"].tolist() == plain.history["loss"].tolist()
    assert averaged.history["val_loss"].tolist() != plain.history["val_loss"].tolist()
    truth = averaged.probabilities[np.arange(10), data.validation_labels]
    assert averaged.history["val_loss"].iloc[-1] == pytest.approx(-np.log(truth).mean(), abs=1e-5)


def test_the_average_is_that_of_the_weights_after_each_step():
    model = vit.build_vit(TINY, seed=0)
    optimizer = training.make_optimizer(model, TrainingConfig(TINY, ema_momentum=0.7))
    optimizer.build(model.trainable_variables)
    head = next(v for v in model.trainable_variables if "head" in v.path)
    average = None
    for step in range(4):
        optimizer.apply([keras.ops.full(v.shape, step - 1.0) for v in model.trainable_variables])
        weights = keras.ops.convert_to_numpy(head).copy()
        average = weights if average is None else 0.7 * average + 0.3 * weights
    optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(head), average, rtol=1e-5, atol=1e-7)


def test_augmentation_changes_training_pages_alone(data, eagerly):
    same = training.train(replace(CONFIG, epochs=1), data, progress=False)
    nothing = Augmentation(0, 0, 0, 0, 0)
    assert training.train(replace(CONFIG, epochs=1, augmentation=nothing), data, progress=False).history.equals(
        same.history
    )
    changed = training.train(replace(CONFIG, epochs=1, augmentation=Augmentation()), data, progress=False)
    assert changed.history["loss"][0] != same.history["loss"][0]


# --- choosing an epoch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "is_over"),
    [([], False), ([3], False), ([3, 4], False), ([3, 4, 4], True), ([3, 4, 2], False), ([3, 3, 3], True)],
)
def test_a_run_stops_when_the_monitored_loss_has_not_become_lower(losses, is_over):
    history = [{"monitor_loss": loss} for loss in losses]
    assert training._is_over(history, replace(CONFIG, epochs=9, patience=2)) == is_over
    assert not training._is_over(history, replace(CONFIG, epochs=9))
    assert training._is_over(history, replace(CONFIG, epochs=3)) == (len(losses) == 3)


@pytest.mark.parametrize("report", ["last", "best"])
def test_best_and_last_weights_are_those_of_their_epochs(report, data, tmp_path, eagerly):
    data = watched(data)
    config = replace(CONFIG, epochs=8, batch_size=16, learning_rate=0.02, patience=3, report=report)
    run = training.train(config, data, tmp_path / "run", progress=False)
    history = run.history.set_index("epoch")
    assert run.best_epoch == history["monitor_loss"].idxmin()
    assert len(history) == min(8, run.best_epoch + 3)
    reported = {"last": len(history), "best": run.best_epoch}[report]
    assert run.metrics.accuracy == pytest.approx(history["val_accuracy"][reported], abs=1e-6)

    for name, epoch in (("best", run.best_epoch), ("last", len(history))):
        file = "model" if name == report else name
        probabilities = training.predict(vit.load_vit(run.folder / f"{file}.keras"), data.monitor_images)
        loss = -np.log(probabilities[np.arange(4), data.monitor_labels]).mean()
        assert loss == pytest.approx(history["monitor_loss"][epoch], abs=1e-5)
    assert training.load_run(run.folder).best_epoch == run.best_epoch
    config = json.loads((run.folder / "config.json").read_text())
    assert config["pages"] == {"train": 16, "validation": 10, "monitor": 4}


@pytest.mark.parametrize("settings", [{"patience": 2}, {"report": "best"}])
def test_no_epoch_is_chosen_by_its_validation_score(settings, data, tmp_path):
    with pytest.raises(ValueError, match=r"monitor=0\.15"):
        training.train(replace(CONFIG, **settings), data, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_monitored_pages_only_watch(data, eagerly):
    """Without patience they change nothing of the training."""
    data = watched(data)
    without = replace(data, monitor_images=None, monitor_labels=None)
    assert data.fingerprint != without.fingerprint
    seen, unseen = (training.train(replace(CONFIG, epochs=2), d, progress=False).history for d in (data, without))
    assert seen[unseen.columns].equals(unseen)
    with pytest.raises(ValueError, match="monitor: images and labels belong together"):
        replace(data, monitor_labels=None)


# --- what goes wrong -----------------------------------------------------------------------------------------


def test_a_loss_that_diverges_is_said_and_leaves_no_result(data, tmp_path, eagerly):
    with pytest.raises(ValueError, match=r"the loss became nan in epoch \d: lower the learning rate"):
        training.train(replace(CONFIG, learning_rate=1e30), data, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001"),
        ({"weight_decay": float("nan")}, "weight_decay=nan"),
        ({"schedule": "step"}, "schedule='step': use one of constant, cosine"),
        ({"report": "first"}, "report='first': use one of last, best"),
        ({"warmup_epochs": 1}, "warmup_epochs=1: the learning rate climbs only"),
        ({"schedule": "cosine", "epochs": 5, "warmup_epochs": 5}, "fewer than the 5 epochs"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"ema_momentum": 1.0}, "ema_momentum=1.0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0"),
        ({"patience": 0}, "patience=0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**settings)


def test_data_must_fit(data):
    with pytest.raises(ValueError, match="train: 20 images and 19 labels"):
        replace(data, train_labels=data.train_labels[1:])
    with pytest.raises(ValueError, match="validation: 0 images and 0 labels"):
        replace(data, validation_images=data.validation_images[:0], validation_labels=data.validation_labels[:0])


def test_the_fingerprint_sees_every_label_and_the_side_of_a_page(data):
    labels = data.validation_labels.copy()
    labels[-1] = (labels[-1] + 1) % 4
    assert replace(data, validation_labels=labels).fingerprint != data.fingerprint
    swapped = Data(data.validation_images, data.validation_labels, data.train_images, data.train_labels)
    assert swapped.fingerprint != data.fingerprint
    assert replace(data, validation_files=()).fingerprint == data.fingerprint


# --- thumbnails and labels -----------------------------------------------------------------------------------


def test_load_data_skips_and_names_what_cannot_be_read(tmp_path, capsys):
    catalogue = dataset.simulate_set(tmp_path / "set", 8, seed=0, workers=1, progress=False)
    split = splits.Split(np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7]), "grouped", 0)
    whole = training.load_data(catalogue, split, cache_dir=tmp_path / "cache", progress=False)
    assert whole.train_images.shape == whole.validation_images.shape == (4, 182, 256)
    assert whole.train_labels.tolist() == catalogue["label"].iloc[[0, 2, 4, 6]].tolist()
    assert whole.validation_files == tuple(catalogue["file"].iloc[[1, 3, 5, 7]])
    assert whole.thumbnail == {"method": downsampling.OWN, "crop": None}
    assert capsys.readouterr().err == ""

    for row in (2, 5):  # one on each side
        path = Path(catalogue["path"].iloc[row])
        path.write_bytes(path.read_bytes()[:5000])
    rest = training.load_data(catalogue, split, cache_dir=tmp_path / "another cache", progress=False)
    assert np.array_equal(rest.train_images, whole.train_images[[0, 2, 3]])
    assert np.array_equal(rest.validation_images, whole.validation_images[[0, 1, 3]])
    assert rest.train_labels.tolist() == whole.train_labels[[0, 2, 3]].tolist()
    assert rest.validation_files == tuple(catalogue["file"].iloc[[1, 3, 7]])
    said = capsys.readouterr().err
    for row in (2, 5):
        assert f"skipped {catalogue['path'].iloc[row]}" in said
    assert said.count("skipped") == 2


def test_load_data_monitors_a_part_of_the_training_side(monkeypatch):
    """48 pages, of each condition six printed IDs with two pages each; an image's grey is its number."""
    page = np.arange(48)
    catalogue = pd.DataFrame({"path": [f"{i}.jpg" for i in page], "file": page.astype(str), "md5": page.astype(str)})
    catalogue["label"], catalogue["copy_group"], catalogue["id_group"] = page % 4, page, page % 24
    catalogue["condition"] = np.array(NAMES)[page % 4]

    def thumbnails(paths, **_):
        images = np.array([int(Path(path).stem) for path in paths], np.uint8)[:, None, None]
        nothing = pd.DataFrame(columns=["position", "path", "reason"])
        return downsampling.Thumbnails(images, np.arange(len(paths)), nothing)

    monkeypatch.setattr(downsampling, "load_thumbnails", thumbnails)
    split = splits.grouped(catalogue, validation=1 / 3, seed=1)
    whole, parted = (training.load_data(catalogue, split, monitor=share) for share in (0.0, 0.25))
    assert np.array_equal(parted.validation_images, whole.validation_images)
    assert parted.validation_files == whole.validation_files and not whole.is_monitored
    trained, monitored = parted.train_images.ravel(), parted.monitor_images.ravel()
    assert sorted([*trained, *monitored]) == sorted(whole.train_images.ravel())
    assert np.bincount(monitored % 4).tolist() == [2, 2, 2, 2] == np.bincount(parted.monitor_labels).tolist()
    assert not set(trained % 24) & set(monitored % 24)
    assert np.array_equal(parted.train_labels, trained % 4) and np.array_equal(parted.monitor_labels, monitored % 4)


# --- what goes wrong on disk and in the data ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "predictions.csv", "metrics.json", "model.keras"])
def test_a_damaged_run_is_named_with_the_cure(name, finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    (folder / name).write_bytes(b"junk")
    with pytest.raises(RunError, match="damaged: remove"):
        training.load_run(folder)
    with pytest.raises(RunError, match="damaged: remove"):
        training.train(CONFIG, data, folder, progress=False)


def test_a_damaged_checkpoint_is_named_with_the_cure(data, tmp_path, monkeypatch, eagerly):
    folder = tmp_path / "run"
    write = _runs.write_checkpoint

    def stop_after_the_first(*arguments):
        write(*arguments)
        raise Stopped

    monkeypatch.setattr(_runs, "write_checkpoint", stop_after_the_first)
    with pytest.raises(Stopped):
        training.train(CONFIG, data, folder, progress=False)
    (folder / "checkpoint.npz").write_bytes(b"junk")
    with pytest.raises(RunError, match="checkpoint.npz is damaged: remove"):
        training.train(CONFIG, data, folder, progress=False)


def test_a_run_that_failed_before_its_first_epoch_does_not_block_its_folder(data, tmp_path, monkeypatch, eagerly):
    folder = tmp_path / "run"
    with monkeypatch.context() as broken:
        broken.setattr(training, "build_vit", never)
        with pytest.raises(AssertionError):
            training.train(replace(CONFIG, seed=7), data, folder, progress=False)
    assert training.train(CONFIG, data, folder, progress=False).metrics.pages == 10


def test_one_condition_alone_cannot_be_trained(tmp_path):
    dataset.simulate_set(tmp_path / "set", 8, seed=1, shares={"Normal": 1}, progress=False, workers=1)
    catalogue, _ = dataset.read_catalogue(tmp_path / "set")
    split = splits.as_published(catalogue, seed=0)
    with pytest.raises(ValueError, match="nothing to tell apart"):
        training.load_data(catalogue, split, cache_dir=tmp_path / "cache", progress=False)


if __name__ == "__main__":
    run_to_be_killed(*sys.argv[1:])
