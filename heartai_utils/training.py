"""One training run: a configuration and a split in, a run folder out.

A run folder holds

* ``config.json``: every setting, and a fingerprint of the pages on both sides of the split;
* ``history.csv``: loss and accuracy after each epoch, on training and validation pages;
* ``metrics.json`` and ``predictions.csv``: the last epoch's verdicts on the validation pages (the last, not the best:
  choosing an epoch by its validation score makes that score too good);
* ``model.keras``: the weights; ``environment.json``: versions, machine and seconds, which no result depends on.

While it runs there is also ``checkpoint.npz``, from which an interrupted run goes on as if nothing had happened: the
order of the pages depends on seed and epoch alone, and the state of dropout and optimizer is kept.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.std import tqdm

from heartai_utils import downsampling
from heartai_utils._keras import keras
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, write_whole
from heartai_utils.evaluation import Metrics, evaluate, softmax
from heartai_utils.splits import Split
from heartai_utils.vit import PRESETS, ViTConfig, build_vit, load_vit


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run besides its pages.

    Attributes:
        model: the shape of the Vision Transformer.
        epochs, batch_size: passes over the training pages, pages per step.
        learning_rate: Adam's; constant.
        weight_decay: decoupled (AdamW, arXiv:1711.05101): each step multiplies the decayed weights by
            1 − learning_rate · weight_decay before Adam's own step.
        seed: decides initial weights, dropout and the order of the pages.
    """

    model: ViTConfig = field(default_factory=lambda: PRESETS["course"])
    epochs: int = 35
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs={self.epochs}, batch_size={self.batch_size}: both must be at least 1")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate={self.learning_rate}: it must be above 0, such as 0.001")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay={self.weight_decay}: it must be 0 or more, such as 0.05")


@dataclass(frozen=True)
class Data:
    """Thumbnails and labels on both sides of a split.

    Images are (pages, height, width) uint8 grey, labels (pages,) integers, files (pages,) the names on the
    validation side. ``thumbnail`` says how the images were made, so that a prediction can make its own alike.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    validation_files: tuple[str, ...] = ()
    thumbnail: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in ("train", "validation"):
            images, labels = getattr(self, f"{side}_images"), getattr(self, f"{side}_labels")
            if len(images) != len(labels) or len(images) == 0:
                raise ValueError(f"{side}: {len(images)} images and {len(labels)} labels; both sides need pages")

    @property
    def fingerprint(self) -> str:
        """A checksum of all images and labels in their order: equal means the same data."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.validation_images, self.validation_labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def load_data(
    catalogue: pd.DataFrame,
    split: Split,
    method: str = "area",
    crop: str | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> Data:
    """Thumbnails (made, or from the cache) and labels of both sides of a split.

    A page that cannot be read is left out, and named on standard error.

    Args:
        catalogue: from :func:`heartai_utils.dataset.read_catalogue`.
        split: positions in that catalogue.
        method, crop: as for :func:`heartai_utils.downsampling.load_thumbnails`.
        cache_dir: where thumbnails are kept; by default with the other data.
        progress: show a bar on standard error while thumbnails are made.
    """
    rows = catalogue.iloc[np.concatenate([split.train, split.validation])]
    pages = downsampling.load_thumbnails(
        rows["path"].tolist(), md5s=rows["md5"].tolist(), method=method, crop=crop,
        cache_dir=cache_dir or data_home() / "thumbnails", progress=progress,
    )  # fmt: skip
    for page in pages.rejected.itertuples():
        # some reasons begin with the path
        tqdm.write(f"skipped {page.path}: {page.reason.removeprefix(f'{page.path} ')}", file=sys.stderr)
    kept = rows.iloc[pages.kept]
    in_train = pages.kept < len(split.train)
    for side, there in (("training", in_train), ("validation", ~in_train)):
        if not there.any():
            raise ValueError(f"no page that can be read is left on the {side} side: add pages, or mend those skipped")
    missing = set(range(len(NAMES))) - set(kept["label"][in_train])
    if len(missing) == len(NAMES) - 1:
        raise ValueError("all training pages have one condition: there is nothing to tell apart; add the other folders")
    for label in sorted(missing):
        tqdm.write(f"no training page of {NAMES[label]}: the model cannot learn it", file=sys.stderr)
    return Data(
        train_images=pages.images[in_train],
        train_labels=kept["label"].to_numpy()[in_train],
        validation_images=pages.images[~in_train],
        validation_labels=kept["label"].to_numpy()[~in_train],
        validation_files=tuple(kept["file"].to_numpy()[~in_train]),
        thumbnail={"method": method, "crop": crop},
    )


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        config: its settings.
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy.
        metrics: of the last epoch on the validation pages.
        probabilities: (validation pages, 4).
        model: the trained model.
        thumbnail: how its images were made.
        folder: the run folder, if it was kept.
    """

    config: TrainingConfig
    history: pd.DataFrame
    metrics: Metrics
    probabilities: np.ndarray
    model: keras.Model
    thumbnail: dict
    folder: Path | None = None


def make_optimizer(model: keras.Model, config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam whose weight decay leaves out what :func:`decayed_variables` does not name."""
    optimizer = keras.optimizers.Adam(config.learning_rate, weight_decay=config.weight_decay or None)
    if config.weight_decay:
        decayed = {id(variable) for variable in decayed_variables(model)}
        left_out = [variable for variable in model.trainable_variables if id(variable) not in decayed]
        optimizer.exclude_from_weight_decay(var_list=left_out)
    return optimizer


def decayed_variables(model: keras.Model) -> list:
    """The weights that decay: the matrices (kernels).

    Biases, normalisation and the position embedding stay as they are. They do not make the function steeper, and
    pulling them to zero only moves or erases what they stand for.
    """
    return [variable for variable in model.trainable_variables if variable.name == "kernel"]


def train(config: TrainingConfig, data: Data, folder: str | Path | None = None, progress: bool = True) -> Run:
    """Train a Vision Transformer; in a folder, go on from where an interrupted run stopped.

    The same configuration and data give the same numbers on one machine; other processors differ in the last digits.

    Args:
        folder: where the run is kept; None keeps nothing on disk. A finished run there is loaded, not repeated.
        progress: show a bar with epoch and loss on standard error.

    Raises:
        RunError: the folder holds a run of another configuration or other data.
        ValueError: the loss is no longer a finite number.
    """
    record = {"training": asdict(config), "thumbnail": data.thumbnail, "data": data.fingerprint}
    record |= {"pages": {"train": len(data.train_labels), "validation": len(data.validation_labels)}}
    if folder is not None:
        folder = Path(folder)
        _claim(folder, record)
        if (folder / "metrics.json").exists():
            return load_run(folder)

    _make_deterministic()
    model = build_vit(config.model, config.seed)
    optimizer = make_optimizer(model, config)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    history = _restore(model, folder)

    pages = len(data.train_labels)
    steps = -(-pages // config.batch_size)
    seconds = []
    with tqdm(
        total=config.epochs * steps, initial=len(history) * steps, disable=not progress, leave=False, unit="step"
    ) as bar:
        show = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())
        for epoch in range(len(history), config.epochs):
            started = time.monotonic()
            order = np.random.default_rng([config.seed, epoch]).permutation(pages)
            fitted = model.fit(
                data.train_images[order], data.train_labels[order],
                batch_size=config.batch_size, shuffle=False, verbose=0, callbacks=[show],
            )  # fmt: skip
            row = {name: float(values[0]) for name, values in fitted.history.items()}
            if not np.isfinite(row["loss"]):
                raise ValueError(f"the loss became {row['loss']} in epoch {epoch + 1}: lower the learning rate")
            checked = model.evaluate(
                data.validation_images, data.validation_labels,
                batch_size=config.batch_size, verbose=0, return_dict=True,
            )  # fmt: skip
            row |= {f"val_{name}": float(value) for name, value in checked.items()}
            history.append({"epoch": epoch + 1, **row})
            seconds.append(time.monotonic() - started)
            bar.set_description(f"epoch {epoch + 1}/{config.epochs} loss {row['loss']:.3f}")
            if folder is not None:
                _checkpoint(model, history, folder)

    probabilities = predict(model, data.validation_images, config.batch_size)
    run = Run(
        config=config,
        history=pd.DataFrame(history),
        metrics=evaluate(data.validation_labels, probabilities, data.train_labels),
        probabilities=probabilities,
        model=model,
        thumbnail=data.thumbnail,
        folder=folder,
    )
    if folder is not None:
        _keep(run, data, seconds)
    return run


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Probabilities (pages, 4) for thumbnails (pages, height, width)."""
    return softmax(model.predict(images, batch_size=batch_size, verbose=0))


def load_run(folder: str | Path) -> Run:
    """Read a finished run back from its folder.

    Raises:
        RunError: there is no finished run.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").exists():
        raise RunError(f"{folder} holds no finished run: name a folder that `heartai train` wrote to its end")
    with _damage_told(f"{folder} is damaged: remove it and train again"):
        record = json.loads((folder / "config.json").read_text())
        settings = record["training"]
        predictions = pd.read_csv(folder / "predictions.csv", float_precision="round_trip")
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["accuracy_interval"] = tuple(metrics["accuracy_interval"])
        return Run(
            config=TrainingConfig(**{**settings, "model": ViTConfig(**settings["model"])}),
            history=pd.read_csv(folder / "history.csv", float_precision="round_trip"),
            metrics=Metrics(**metrics),
            probabilities=predictions[list(NAMES)].to_numpy(),
            model=load_vit(folder / "model.keras"),
            thumbnail=record["thumbnail"],
            folder=folder,
        )


@contextmanager
def _damage_told(message: str) -> Iterator[None]:
    """Turn what a damaged file raises, which names neither file nor cure, into a RunError with this message."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(message) from error


def _make_deterministic() -> None:
    """Have TensorFlow add in the same order every time.

    Its graph optimizer turns large sums of gradients into sums in the order of arrival, to save memory; two runs with
    one seed then differ in the last digits. Without the optimizer a training step takes no longer (measured).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def _claim(folder: Path, record: dict) -> None:
    """Write config.json into a new folder, or make sure that the one there is the same."""
    path = folder / "config.json"
    begun = any((folder / name).exists() for name in ("checkpoint.npz", "metrics.json"))
    if path.exists() and begun:
        with _damage_told(f"{path} is damaged: remove {folder} and train again"):
            there = json.loads(path.read_text())
        if there != json.loads(json.dumps(record)):
            differing = _differences(there, json.loads(json.dumps(record)))
            raise RunError(f"{folder} holds another run ({differing}): choose another folder, or remove it")
        return
    # a run that ended before its first epoch did leaves config.json and, if killed, files with a dot in front
    if folder.exists() and (
        not folder.is_dir() or any(p != path and not p.name.startswith(".") for p in folder.iterdir())
    ):
        raise RunError(f"{folder} exists and is no run folder: choose a new one")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=1).encode())


def _differences(there: dict, here: dict, prefix: str = "") -> str:
    named = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if old != new:
                named.append(_differences(old, new, f"{prefix}{key}."))
        elif old != new:
            named.append(f"{prefix}{key} is {old}, not {new}")
    return "; ".join(named)


def _state(model: keras.Model) -> list:
    """Every variable that the next step depends on: weights, dropout's seeds, the optimizer's moments."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in metrics] + list(model.optimizer.variables)


def _checkpoint(model: keras.Model, history: list[dict], folder: Path) -> None:
    buffer = io.BytesIO()
    values = {f"v{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(_state(model))}
    np.savez(buffer, history=json.dumps(history), **values)
    write_whole(folder / "checkpoint.npz", buffer.getvalue())


def _restore(model: keras.Model, folder: Path | None) -> list[dict]:
    """Bring back weights and history of an interrupted run; an empty history if there is none."""
    if folder is None or not (folder / "checkpoint.npz").exists():
        return []
    path = folder / "checkpoint.npz"
    with _damage_told(f"{path} is damaged: remove {folder}, and the run begins anew"), np.load(path) as kept:
        for i, variable in enumerate(_state(model)):
            variable.assign(kept[f"v{i}"])
        return json.loads(str(kept["history"]))


def _keep(run: Run, data: Data, seconds: list[float]) -> None:
    """Write the results; metrics.json last, because it marks the run as finished."""
    folder = run.folder
    write_whole(folder / "history.csv", run.history.to_csv(index=False).encode())
    names = data.validation_files or tuple(str(i) for i in range(len(data.validation_labels)))
    table = pd.DataFrame(run.probabilities, columns=list(NAMES))
    table.insert(0, "file", names)
    table.insert(1, "label", data.validation_labels)
    write_whole(folder / "predictions.csv", table.to_csv(index=False, quoting=csv.QUOTE_MINIMAL).encode())
    bare = build_vit(run.config.model)  # Keras would save the optimizer too, which is twice as large as the weights
    bare.set_weights(run.model.get_weights())
    bare.save(folder / ".unfinished.keras")
    os.replace(folder / ".unfinished.keras", folder / "model.keras")
    environment = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        # the median: the first epoch also builds the graph
        "seconds_per_epoch": round(float(np.median(seconds)), 2) if seconds else None,
    }
    write_whole(folder / "environment.json", json.dumps(environment, indent=1).encode())
    write_whole(folder / "metrics.json", json.dumps(run.metrics.to_dict(), indent=1).encode())
    (folder / "checkpoint.npz").unlink(missing_ok=True)
