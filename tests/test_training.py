"""A run repeats to the byte, goes on where it was stopped, and never mixes with another one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heartai_utils import dataset, splits, training, vit
from heartai_utils._keras import keras
from heartai_utils.conditions import NAMES
from heartai_utils.training import Data, RunError, TrainingConfig

TINY = vit.ViTConfig(height=32, width_px=32, header_rows=0, tokens=8, width=8, heads=2, depth=1)
CONFIG = TrainingConfig(TINY, epochs=3, batch_size=8, learning_rate=3e-3, weight_decay=0.01)
RESULTS = ("config.json", "history.csv", "metrics.json", "predictions.csv")


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


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> training.Run:
    return training.train(CONFIG, data, tmp_path_factory.mktemp("runs") / "first", progress=False)


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


def test_another_seed_gives_other_numbers_and_no_folder_keeps_nothing(finished, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = training.train(replace(CONFIG, seed=1, epochs=1), data, progress=False)
    assert other.history["loss"][0] != finished.history["loss"][0]
    assert other.folder is None and not list(tmp_path.iterdir())


def test_a_stopped_run_ends_as_if_it_had_not_been(finished, data, tmp_path, monkeypatch):
    keep, folder = training._checkpoint, tmp_path / "stopped"

    def after_the_first(model, history, folder):
        keep(model, history, folder)
        raise Stopped

    def before_the_second(model, history, folder):
        assert len(history) == 2
        raise Stopped

    for stop in (after_the_first, before_the_second):
        monkeypatch.setattr(training, "_checkpoint", stop)
        with pytest.raises(Stopped):
            training.train(CONFIG, data, folder, progress=False)
        assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.npz", "config.json"]
        with pytest.raises(RunError, match="no finished run"):
            training.load_run(folder)
    monkeypatch.setattr(training, "_checkpoint", keep)
    run = training.train(CONFIG, data, folder, progress=False)
    assert contents(folder) == contents(finished.folder)
    for mine, theirs in zip(run.model.get_weights(), finished.model.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)
    assert not (folder / "checkpoint.npz").exists()


# --- one folder, one run -------------------------------------------------------------------------------------


def never(*_, **__):
    raise AssertionError("the run was repeated")


def test_a_finished_run_is_loaded_and_not_repeated(finished, data, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    monkeypatch.setattr(training, "build_vit", never)
    run = training.train(CONFIG, data, finished.folder, progress=False)
    assert run.metrics == finished.metrics and run.history.equals(finished.history)
    assert {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before


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


# --- weight decay --------------------------------------------------------------------------------------------


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


# --- what goes wrong -----------------------------------------------------------------------------------------


def test_a_loss_that_diverges_is_said_and_leaves_no_result(data, tmp_path):
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
    assert whole.thumbnail == {"method": "area", "crop": None}
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


def test_a_damaged_checkpoint_is_named_with_the_cure(data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    write = training._checkpoint

    def stop_after_the_first(*arguments):
        write(*arguments)
        raise Stopped

    monkeypatch.setattr(training, "_checkpoint", stop_after_the_first)
    with pytest.raises(Stopped):
        training.train(CONFIG, data, folder, progress=False)
    (folder / "checkpoint.npz").write_bytes(b"junk")
    with pytest.raises(RunError, match="checkpoint.npz is damaged: remove"):
        training.train(CONFIG, data, folder, progress=False)


def test_a_run_that_failed_before_its_first_epoch_does_not_block_its_folder(data, tmp_path, monkeypatch):
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
