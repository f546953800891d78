"""Simulated pages kept as thumbnails alone."""

from __future__ import annotations

import numpy as np
import pytest

from heartai_utils import dataset, downsampling, pretraining
from heartai_utils.conditions import CONDITIONS
from heartai_utils.training import Data

SEEN = {"size": (64, 48), "crop": "traces"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six pages in shards of four, and where they are kept."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pretraining, "SHARD", 4)
        place = tmp_path_factory.mktemp("cache")
        images, labels = pretraining.simulated_thumbnails(6, 3, cache_dir=place, workers=1, progress=False, **SEEN)
        yield place, images, labels


def thumbnails(pages, place, seed=3, **options):
    return pretraining.simulated_thumbnails(
        pages, seed, cache_dir=place, workers=1, progress=False, **{**SEEN, **options}
    )


def test_they_are_those_of_a_simulated_set(drawn, tmp_path):
    _, images, labels = drawn
    pages = dataset.simulate_set(tmp_path / "set", 6, seed=3, progress=False)
    order = [pages["file"].tolist().index(plan.file) for plan in pretraining.plans_of(6, 3)]
    paths = pages["path"].iloc[order]
    kept = downsampling.load_thumbnails(paths, cache_dir=tmp_path / "thumbnails", progress=False, **SEEN)
    np.testing.assert_array_equal(images, kept.images)
    np.testing.assert_array_equal(labels, pages["label"].to_numpy()[order])
    assert images.shape == (6, 48, 64) and np.bincount(labels[:4]).tolist() == [1] * len(CONDITIONS)


def test_what_is_there_is_not_drawn_again_and_more_are_added(drawn, monkeypatch):
    place, images, labels = drawn
    drawn_now = []
    draw = pretraining._draw
    monkeypatch.setattr(pretraining, "_draw", lambda plan, **how: drawn_now.append(plan) or draw(plan, **how))
    again, again_labels = thumbnails(6, place)
    assert not drawn_now
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(again_labels, labels)
    more, _ = thumbnails(9, place)
    assert [plan.index for plan in drawn_now] == [8, 9, 10, 11]
    np.testing.assert_array_equal(more[:6], images)


def test_a_damaged_or_half_written_file_is_made_again(drawn):
    place, images, _ = drawn
    for content in (b"", next(place.rglob("*.npz")).read_bytes()[:-40]):
        sorted(place.rglob("*.npz"))[0].write_bytes(content)
        np.testing.assert_array_equal(thumbnails(6, place)[0], images)


def test_interrupted_it_keeps_what_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "SHARD", 2)
    draw = pretraining._draw

    def interrupted(plan, **how):
        if plan.index == 3:
            raise KeyboardInterrupt
        return draw(plan, **how)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pretraining, "_draw", interrupted)
        thumbnails(4, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.npz")] == ["0000000.npz"]
    assert len(thumbnails(4, tmp_path)[0]) == 4


def test_another_seed_has_other_hearts_and_another_crop_other_thumbnails(drawn):
    place, images, _ = drawn
    assert (thumbnails(2, place, seed=4)[0] != images[:2]).any()
    assert (thumbnails(2, place, crop=None)[0] != images[:2]).any()


@pytest.mark.parametrize(
    ("pages", "options", "message"),
    [(0, {}, "at least 1 page"), (4, {"method": "jpeg-half"}, "needs the pages' files"),
     (4, {"method": "magic"}, "no method of shrinking"), (4, {"crop": "frame"}, "one of grid, traces")],
)  # fmt: skip
def test_bad_wishes_are_explained(pages, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        thumbnails(pages, tmp_path, **options)
    assert not any(tmp_path.iterdir())


def test_data_has_two_sides(drawn, monkeypatch):
    images = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((60, 4, 4), np.uint8)
    labels = np.arange(60) % 4
    monkeypatch.setattr(pretraining, "simulated_thumbnails", lambda *_, **__: (images, labels))
    data = pretraining.simulated_data(60, 3, size=(4, 4), crop="traces")
    assert data.pages == {"train": 54, "validation": 6}
    assert data.thumbnail == {"method": downsampling.OWN, "crop": "traces", "size": [4, 4]}
    np.testing.assert_array_equal(np.concatenate([data.validation_images, data.train_images]), images)
    with pytest.raises(ValueError, match="at least 40"):
        pretraining.simulated_data(39)


def test_simulated_pages_join_the_training_side_alone():
    real, simulated = (np.full((count, 4, 4), value, np.uint8) for count, value in ((3, 1), (2, 2)))
    data = Data(real, np.array([0, 1, 2]), real[:1], np.array([3]))
    mixed = pretraining.with_simulated(data, simulated, np.array([3, 0]), copies=2)
    assert mixed.train_labels.tolist() == [0, 1, 2, 0, 1, 2, 3, 0]
    assert mixed.train_images[:, 0, 0].tolist() == [1] * 6 + [2] * 2
    assert mixed.pages == {"train": 8, "validation": 1} and data.pages["train"] == 3
