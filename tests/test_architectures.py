"""The rivals of the Vision Transformer: equal in size, fair in what they see, compared fold by fold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heartai_utils import splits, training, vit
from heartai_utils._keras import keras
from heartai_utils.conditions import NAMES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import architectures as a

pytestmark = pytest.mark.slow

RIVALS = [name for name in a.MODELS if name != "vit"]


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    return {name: a.build(name, seed=3) for name in a.MODELS}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Paper with a dark trace at random heights."""
    rng = np.random.default_rng(0)
    images = np.full((3, 182, 256), 250, np.uint8)
    for image in images:
        image[rng.integers(40, 170, 256), np.arange(256)] = 0
    return images


def pages_of(count: int) -> a.Pages:
    """Pages whose condition shows: a dark band of rows, another one for each condition."""
    label = np.arange(count) % 4
    rng = np.random.default_rng(1)
    images = rng.integers(200, 256, (count, 182, 256), np.uint8)
    for image, one in zip(images, label, strict=True):
        image[50 + 30 * one : 60 + 30 * one] = 0
    catalogue = pd.DataFrame({
        "file": [f"{number}.jpg" for number in range(count)], "condition": [NAMES[one] for one in label],
        "label": label, "copy_group": range(count), "id_group": range(count),
    })  # fmt: skip
    return a.Pages("simulated", catalogue, images, rejected=0)


@pytest.mark.parametrize("name", RIVALS)
def test_as_many_parameters_as_the_vision_transformer(models, name):
    assert a.parameters(models["vit"]) == vit.count_parameters(a.CONFIG)
    assert a.parameters(models[name]) == pytest.approx(a.parameters(models["vit"]), rel=0.1)


@pytest.mark.parametrize("name", list(a.MODELS))
def test_header_and_footer_are_read_by_none(models, images, name):
    """The printed heart rate is there, which tells conditions apart without a trace."""
    printed = images.copy()
    printed[:, :32] = 0
    printed[:, 176:] = 0
    assert np.array_equal(models[name](images), models[name](printed))
    assert not np.array_equal(models[name](images), models[name](images[::-1]))


def test_matrices_decay_and_nothing_else(models):
    for name, model in models.items():
        for variable in model.trainable_variables:
            decays = any(variable is one for one in training.decayed_variables(model))
            is_matrix = len(variable.shape) > 1 and variable.name not in ("position_embedding", "bias")
            assert decays == is_matrix, f"{name}: {variable.path}"


def test_mixing_is_by_place_on_the_page():
    """The same as mixing all places by one matrix, with zeros where a token was left out."""
    rng = np.random.default_rng(0)
    places, hidden, width = 12, 3, 5
    mixing = a.TokenMixing(places, hidden)
    positions = np.array([[0, 3, 4, 11], [1, 2, 7, 9]])
    tokens = rng.normal(size=(2, 4, width)).astype(np.float32)
    mixed = keras.ops.convert_to_numpy(mixing(tokens, positions))
    gather, spread = (keras.ops.convert_to_numpy(matrix) for matrix in (mixing.gather, mixing.spread))
    for page in range(2):
        everywhere = np.zeros((places, width), np.float32)
        everywhere[positions[page]] = tokens[page]
        mixtures = keras.ops.convert_to_numpy(keras.ops.gelu(gather.T @ everywhere))
        np.testing.assert_allclose(mixed[page], (spread @ mixtures)[positions[page]], atol=1e-5)


def test_a_fit_learns_and_is_repeatable(tmp_path, monkeypatch):
    training.make_deterministic()  # as each worker does
    pages = pages_of(64)
    monkeypatch.setattr(a, "_pages", {"simulated": pages})
    split = splits.split(pages.catalogue, "grouped", validation=0.25, seed=0)
    fit = a.Fit("simulated", "mlp", split, "inner", 1e-3, 0.05, steps=24, seed=5)
    results = []
    for name in ("one", "two"):
        a.run_fit(fit, tmp_path / name)
        results.append(json.loads((tmp_path / name).read_text()))
        results[-1].pop("seconds")
    assert results[0] == results[1]
    labels = pages.catalogue["label"].to_numpy()[split.validation]
    assert np.mean(np.argmax(results[0]["probabilities"], axis=1) == labels) > 0.9


def test_a_fit_that_is_there_is_not_done_again(tmp_path):
    """Nor is another one's result taken for it."""
    pages = pages_of(40)
    split = splits.split(pages.catalogue, "grouped", validation=0.25, seed=0)
    runner = a.Runner([pages], tmp_path, jobs=1)
    fits = [a.Fit("simulated", "cnn", split, "inner", rate, 0.05, steps=1, seed=0) for rate in (1e-3, 3e-3)]
    files = [runner._file(fit, pages.of(split)) for fit in fits]
    assert files[0] != files[1]
    for file, certain in zip(files, (1.0, float("nan")), strict=True):
        answers = np.full((len(split.validation), 4), 0.0)
        answers[np.arange(len(answers)), pages.catalogue["label"].to_numpy()[split.validation]] = certain
        file.write_text(json.dumps({**fits[0].settings(), "probabilities": answers.tolist()}))
    perfect, diverged = runner.results(fits, "test")
    runner.close()
    assert perfect["metrics"].accuracy == 1
    assert diverged["metrics"] is None


def result_of(pages, fold, model, rate, right: float, place: str) -> dict:
    """A result in which the first pages of a fold are answered rightly, so many of them."""
    labels = pages.catalogue["label"].to_numpy()[fold.validation]
    verdicts = np.where(np.arange(len(labels)) < right * len(labels), labels, (labels + 1) % 4)
    answers = np.eye(4)[verdicts]
    return {
        "pages": pages.name, "model": model, "place": place, "learning_rate": rate, "steps": 10, "seconds": 1.0,
        "loss": 0.5, "probabilities": answers, "metrics": a.evaluate(labels, answers),
    }  # fmt: skip


def test_the_rate_is_chosen_inside_the_training_side_of_the_first_fold():
    pages = pages_of(80)
    fold = splits.folds(pages.catalogue, k=4)[0]
    chosen = a.arguments(["--learning-rates", "3e-3", "1e-3"])
    fits = a.inner_fits(pages, fold, chosen, dict.fromkeys(a.MODELS, 10))
    assert [fit.learning_rate for fit in fits[:2]] == [1e-3, 3e-3]
    for fit in fits:
        assert set(fit.split.train) | set(fit.split.validation) == set(fold.train)
        assert not set(fit.split.train) & set(fit.split.validation)

    def best(shares):
        made = [result_of(pages, fits[0].split, "vit", rate, share, "inner") for rate, share in shares]
        return a.best_rates(made)["simulated", "vit"]["learning_rate"]

    assert best([(1e-3, 0.4), (3e-3, 0.8)]) == 3e-3
    assert best([(1e-3, 0.8), (3e-3, 0.8)]) == 1e-3
    diverged = {**result_of(pages, fits[0].split, "vit", 1e-3, 1, "inner"), "metrics": None}
    with pytest.raises(ValueError, match="every rate"):
        a.best_rates([diverged])


def test_rivals_are_compared_fold_by_fold():
    pages = pages_of(80)
    folds = splits.folds(pages.catalogue, k=4, repeats=2)
    rates = {("simulated", name): {"learning_rate": 1e-3} for name in a.MODELS}
    share = {"vit": 0.5, "mixer": 0.5, "mlp": 0.25, "cnn": 1.0}
    results = [
        result_of(pages, fold, name, 1e-3, share[name] - 0.1 * (fold.fold == 0), "") for fold in folds for name in share
    ]
    record, table = a.compare(pages, folds, results, rates)
    differences = {name: its["over_folds"]["accuracy"] for name, its in record["rivals_minus_vit"].items()}
    assert differences["mixer"]["low"] == differences["mixer"]["high"] == 0
    assert differences["mlp"]["mean"] == pytest.approx(-0.25)
    assert differences["cnn"]["mean"] == pytest.approx(0.5)
    assert len(record["models"]["cnn"]["folds"]["macro_f1"]) == 8
    assert record["models"]["cnn"]["epochs"] == round(10 * a.BATCH / 60, 1)
    assert len(table) == 80 * len(a.MODELS)
    np.testing.assert_allclose(table[list(NAMES)].sum(axis=1), 1)
    assert json.loads(json.dumps(record))["truth"] == "0123" * 20


def test_the_recorded_command_repeats_the_fits():
    chosen = a.arguments(["--pages", "80", "--seed", "4", "--folds", "3"])
    words = a.command(chosen, {"vit": 10, "mixer": 20, "mlp": 300, "cnn": 12}).split()
    again = a.arguments(words[2:])
    assert again.steps == [10, 20, 300, 12]
    for name in ("pages", "seed", "folds", "repeats", "learning_rates", "weight_decay", "method"):
        assert getattr(again, name) == getattr(chosen, name)
