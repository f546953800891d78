"""The Vision Transformers that come with the course find again what their records say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from heartai_utils import pretraining, training
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import read_catalogue
from heartai_utils.evaluation import evaluate
from heartai_utils.verdict import NAMED, WEIGHTS, PageReader
from heartai_utils.vit import load_vit, preset

MODELS = {name: WEIGHTS.with_stem(name) for name in ("pretrained", "best")}


@pytest.fixture(scope="module", params=MODELS)
def stored(request):
    """A model and its record."""
    path = MODELS[request.param]
    return load_vit(path), json.loads(path.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The simulated pages that both records were checked with."""
    record = json.loads(MODELS["best"].with_suffix(".json").read_text())
    told, cache = record["check"], tmp_path_factory.mktemp("cache")
    return pretraining.simulated_thumbnails(
        told["simulated_pages"], told["seed"], cache_dir=cache, progress=False, **record["thumbnail"]
    )


def test_the_recorded_score_is_found_again(stored, drawn):
    model, record = stored
    images, labels = drawn
    right = (training.predict(model, images).argmax(axis=1) == labels).sum()
    assert record["check"]["simulated_pages"] == len(labels) == 100
    assert abs(right - record["check"]["right"]) <= 1  # another processor may turn one page over
    assert right >= 75


def test_they_are_of_the_preset_that_they_are_told_to_be(stored):
    model, record = stored
    assert model.config == preset("best")
    assert training.TrainingConfig.from_record(record["training"]).model == model.config
    assert tuple(record["thumbnail"]["size"]) == model.config.image_size and record["thumbnail"]["crop"] == "traces"


def test_all_weights_together_stay_small():
    assert sum(path.stat().st_size for path in WEIGHTS.parent.iterdir()) <= 3e6


def test_best_is_asked_by_name(real_pages):
    """Pages that it was trained on: this tells that they are shown to it as they were, and no more."""
    pages = read_catalogue(real_pages)[0].drop_duplicates("copy_group").groupby("label").head(6)
    verdicts = list(PageReader("best").read_all(pages["path"]))
    found = np.array([[verdict.probabilities[name] for name in NAMES] for verdict in verdicts])
    assert evaluate(pages["label"].to_numpy(), found).accuracy >= 0.9
    assert NAMED["best"] == MODELS["best"]
