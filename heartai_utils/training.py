"""One training run: a configuration and a split in, a run folder out.

A run folder holds

* ``config.json``: every setting, and a fingerprint of the pages on both sides of the split;
* ``history.csv``: loss and accuracy after each epoch, on training and validation pages;
* ``metrics.json`` and ``predictions.csv``: the last epoch's verdicts on the validation pages;
* ``model.keras``: the weights these are of; ``environment.json``: versions, machine and seconds, which no result
  depends on.

While it runs there is also ``checkpoint.npz``, from which an interrupted run goes on as if nothing had happened: the
order of the pages and what augmentation does to them depend on seed, epoch and page alone, and the state of dropout and
optimizer is kept.

**Choosing an epoch.** The epoch that scores best on some pages scores better there than on others: it was chosen for
it. So neither early stopping nor the best epoch ever looks at the validation pages. Both need *monitored* pages, which
``load_data(…, monitor=0.15)`` takes out of the training side (keeping copies and printed IDs together as the split
does); they are not trained on. A run that has them also keeps ``best.keras``, the weights with the lowest loss on them.
With ``report="best"`` all results and ``model.keras`` are of that epoch, and the last weights are in ``last.keras``.
"""

from __future__ import annotations

import gc
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight
from tqdm.std import tqdm

from heartai_utils import _runs, downsampling, splits
from heartai_utils._keras import keras
from heartai_utils._runs import RunError
from heartai_utils._training_config import TrainingConfig
from heartai_utils.augmentation import Augmentation, Augmenter
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home
from heartai_utils.evaluation import Metrics, evaluate, softmax
from heartai_utils.splits import Split
from heartai_utils.vit import build_vit, load_vit

__all__ = [
    "Augmentation", "Data", "Run", "RunError", "TrainingConfig", "decayed_variables", "identity", "kernel_norm",
    "learning_rate", "load_data", "load_run", "make_optimizer", "predict", "thumbnail_record", "train",
]  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Thumbnails and labels on both sides of a split, and of the monitored pages if there are any.

    Images are (pages, height, width) uint8 grey, labels (pages,) integers, files (pages,) the names on the
    validation side. ``thumbnail`` says how the images were made, so that a prediction can make its own alike.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    validation_files: tuple[str, ...] = ()
    thumbnail: dict = field(default_factory=dict)
    monitor_images: np.ndarray | None = None
    monitor_labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        sides = ("train", "validation", "monitor") if self.is_monitored else ("train", "validation")
        for side in sides:
            images, labels = getattr(self, f"{side}_images"), getattr(self, f"{side}_labels")
            if images is None or labels is None:
                raise ValueError(f"{side}: images and labels belong together; hand in both")
            if len(images) != len(labels) or len(images) == 0:
                raise ValueError(f"{side}: {len(images)} images and {len(labels)} labels; each side needs pages")

    @property
    def is_monitored(self) -> bool:
        """Whether there are pages to choose an epoch by."""
        return self.monitor_images is not None or self.monitor_labels is not None

    @property
    def fingerprint(self) -> str:
        """A checksum of all images and labels in their order: equal means the same data."""
        arrays = [self.train_images, self.train_labels, self.validation_images, self.validation_labels]
        if self.is_monitored:
            arrays += [self.monitor_images, self.monitor_labels]
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def pages(self) -> dict[str, int]:
        """How many pages each side has."""
        counts = {"train": len(self.train_labels), "validation": len(self.validation_labels)}
        return counts | ({"monitor": len(self.monitor_labels)} if self.is_monitored else {})


def load_data(
    catalogue: pd.DataFrame,
    split: Split,
    method: str = downsampling.OWN,
    crop: str | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
    monitor: float = 0.0,
    size: tuple[int, int] = downsampling.SIZE,
) -> Data:
    """Thumbnails (made, or from the cache) and labels of both sides of a split.

    A page that cannot be read is left out, and named on standard error.

    Args:
        catalogue: from :func:`heartai_utils.dataset.read_catalogue`.
        split: positions in that catalogue.
        method, crop: as for :func:`heartai_utils.downsampling.load_thumbnails`.
        cache_dir: where thumbnails are kept; by default with the other data.
        progress: show a bar on standard error while thumbnails are made.
        monitor: the share of the training pages to monitor instead of training on them, to choose an epoch by;
            divided off as the split is, with its seed.
        size: (width, height) of the thumbnails: `ViTConfig.image_size` of the model they are for.

    Raises:
        ValueError: nothing that can be read is left on a side, all training pages have one condition, or ``monitor``
            is no share.
    """
    if not 0 <= monitor < 1:
        raise ValueError(f"monitor={monitor}: give a share of the training pages below 1, such as 0.15, or 0 for none")
    parts = {"training": split.train, "validation": split.validation}
    if monitor:
        inner = splits.split(catalogue.iloc[split.train], split.how, validation=monitor, seed=split.seed)
        parts |= {"training": split.train[inner.train], "monitored": split.train[inner.validation]}
    rows = catalogue.iloc[np.concatenate(list(parts.values()))]
    pages = downsampling.load_thumbnails(
        rows["path"].tolist(), md5s=rows["md5"].tolist(), method=method, crop=crop, size=size,
        cache_dir=cache_dir or data_home() / "thumbnails", progress=progress,
    )  # fmt: skip
    for page in pages.rejected.itertuples():
        # some reasons begin with the path
        tqdm.write(f"skipped {page.path}: {page.reason.removeprefix(f'{page.path} ')}", file=sys.stderr)
    kept = rows.iloc[pages.kept]
    part = np.repeat(list(parts), [len(positions) for positions in parts.values()])[pages.kept]
    for side in parts:
        if side not in part:
            raise ValueError(f"no page that can be read is left on the {side} side: add pages, or mend those skipped")
    labels = {side: kept["label"].to_numpy()[part == side] for side in parts}
    missing = set(range(len(NAMES))) - set(labels["training"])
    if len(missing) == len(NAMES) - 1:
        raise ValueError("all training pages have one condition: there is nothing to tell apart; add the other folders")
    for label in sorted(missing):
        tqdm.write(f"no training page of {NAMES[label]}: the model cannot learn it", file=sys.stderr)
    return Data(
        train_images=pages.images[part == "training"],
        train_labels=labels["training"],
        validation_images=pages.images[part == "validation"],
        validation_labels=labels["validation"],
        validation_files=tuple(kept["file"].to_numpy()[part == "validation"]),
        thumbnail=thumbnail_record(method, crop, size),
        monitor_images=pages.images[part == "monitored"] if monitor else None,
        monitor_labels=labels.get("monitored"),
    )


def thumbnail_record(method: str, crop: str | None, size: tuple[int, int]) -> dict[str, Any]:
    """How thumbnails are made, as arguments of `downsampling.shrink`; a size is told only if it is not the course's."""
    return {"method": method, "crop": crop} | ({} if tuple(size) == downsampling.SIZE else {"size": list(size)})


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        config: its settings.
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, and with monitored pages
            monitor_loss, monitor_accuracy.
        metrics: of the reported epoch (the last, or with ``report="best"`` the best) on the validation pages.
        probabilities: (validation pages, 4), of the reported epoch.
        model: as of the reported epoch.
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

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest loss on the monitored pages, counted from 1; None where there are none."""
        losses = self.history.get("monitor_loss")
        return None if losses is None else int(self.history["epoch"][losses.idxmin()])


def learning_rate(config: TrainingConfig, steps_per_epoch: int) -> float | keras.optimizers.schedules.CosineDecay:
    """The learning rate of a run: a number, or a function of the step."""
    if config.schedule == "constant":
        return config.learning_rate
    warmup = config.warmup_epochs * steps_per_epoch
    start, target = (0.0, config.learning_rate) if warmup else (config.learning_rate, None)
    decay = config.epochs * steps_per_epoch - warmup
    return keras.optimizers.schedules.CosineDecay(start, decay, warmup_target=target, warmup_steps=warmup)


def make_optimizer(model: keras.Model, config: TrainingConfig, steps_per_epoch: int = 1) -> keras.optimizers.Optimizer:
    """Adam whose weight decay leaves out what :func:`decayed_variables` does not name."""
    optimizer = keras.optimizers.Adam(
        learning_rate(config, steps_per_epoch),
        weight_decay=config.weight_decay or None,
        global_clipnorm=config.clip_norm,
        use_ema=config.ema_momentum is not None,
        ema_momentum=config.ema_momentum or 0.0,
    )
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


def identity(config: TrainingConfig, data: Data, initial: keras.Model | None = None) -> dict[str, Any]:
    """All that decides a run, in plain values: settings, how thumbnails were made, the pages' checksum and number.

    And a checksum of the weights that it begins with, where they are not drawn from the seed.
    """
    record = {"training": config.to_record(), "thumbnail": data.thumbnail, "data": data.fingerprint}
    record |= {"pages": data.pages}
    return record if initial is None else record | {"initial": _weights_checksum(initial)}


def _weights_checksum(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()[:16]


def kernel_norm(model: keras.Model) -> float:
    """The length of all weights that decay, taken as one vector."""
    kernels = [keras.ops.convert_to_numpy(kernel).astype(float) for kernel in decayed_variables(model)]
    return float(np.sqrt(sum(np.square(kernel).sum() for kernel in kernels)))


def train(
    config: TrainingConfig,
    data: Data,
    folder: str | Path | None = None,
    progress: bool = True,
    initial: keras.Model | None = None,
) -> Run:
    """Train a Vision Transformer; in a folder, go on from where an interrupted run stopped.

    The same configuration and data give the same numbers on one machine; other processors differ in the last digits.

    Args:
        folder: where the run is kept; None keeps nothing on disk. A finished run there is loaded, not repeated.
        progress: show a bar with epoch, loss and time left on standard error.
        initial: a trained model of the same shape, whose weights to begin with (fine-tuning) instead of such as are
            drawn from the seed.

    Raises:
        RunError: the folder holds a run of another configuration or other data, or another process is training in it.
        ValueError: the loss is no longer a finite number, an epoch is to be chosen without monitored pages, the pages'
            thumbnails are not of the model's size, or ``initial`` is of another shape.
    """
    _check_shapes(config, data, initial)
    if config.needs_monitor and not data.is_monitored:
        raise ValueError(
            "patience and report='best' choose an epoch, and one chosen by its validation score would score too "
            "well: hold pages back for it, load_data(…, monitor=0.15)"
        )
    if folder is None:
        return _train(config, data, None, progress, initial)
    folder = Path(folder)
    with _runs.claimed(folder, identity(config, data, initial)):
        if (folder / "metrics.json").exists():
            _runs.clear_away(folder)
            return load_run(folder)
        return _train(config, data, folder, progress, initial)


def _check_shapes(config: TrainingConfig, data: Data, initial: keras.Model | None) -> None:
    height, width = data.train_images.shape[1:]
    if (width, height) != config.model.image_size:
        wanted = config.model.image_size
        raise ValueError(
            f"the thumbnails are of {width} × {height}, the model's of {wanted[0]} × {wanted[1]} (width × height): "
            f"make them so, load_data(…, size={wanted})"
        )
    # what leaves no trace in the weights may differ
    if initial is not None and replace(initial.config, dropout=0, patch_dropout=0) != replace(
        config.model, dropout=0, patch_dropout=0
    ):
        raise ValueError("the initial weights are of a model of another shape: train both with the same preset")


def _train(config: TrainingConfig, data: Data, folder: Path | None, progress: bool, initial: keras.Model | None) -> Run:
    make_deterministic()
    pages = len(data.train_labels)
    steps = -(-pages // config.batch_size)
    model = _compiled_vit(config, steps)
    if initial is not None:
        model.set_weights(initial.get_weights())
    targets = _targets(data.train_labels, config)
    class_weight = _balancing_weights(data.train_labels) if config.class_weights else None
    augmenter = None
    if config.augmentation is not None:
        augmenter = Augmenter(config.augmentation, **{"size": config.model.image_size} | data.thumbnail)

    history, best = _runs.read_checkpoint(folder, model)
    seconds = []
    total, done = config.epochs * steps, len(history) * steps
    with tqdm(total=total, initial=done, disable=not progress, leave=False, unit="step") as bar:
        while not _is_over(history, config):
            started, epoch = time.monotonic(), len(history)
            bar.set_description(f"epoch {epoch + 1}/{config.epochs}")
            order = np.random.default_rng([config.seed, epoch]).permutation(pages)
            images = data.train_images[order]
            if augmenter is not None:
                images = augmenter.change_all(images, order, config.seed, epoch)
            watcher = _StepWatcher(bar)
            fitted = model.fit(
                images, targets[order], class_weight=class_weight,
                batch_size=config.batch_size, shuffle=False, verbose=0, callbacks=[watcher],
            )  # fmt: skip
            row = {"epoch": epoch + 1, **{name: float(values[0]) for name, values in fitted.history.items()}}
            row |= _judged(model, config, data.validation_images, data.validation_labels, "val")
            if data.is_monitored:
                row |= _judged(model, config, data.monitor_images, data.monitor_labels, "monitor")
            for loss in (row["loss"], row.get("monitor_loss", 0.0)):
                if not np.isfinite(loss):
                    raise ValueError(f"the loss became {loss} in epoch {epoch + 1}: lower the learning rate")
            history.append(row)
            if data.is_monitored and _best(history) == epoch:
                best = model.get_weights()
            if config.ema_momentum is not None:
                model.set_weights(watcher.weights)
            seconds.append(time.monotonic() - started)
            if folder is not None:
                _runs.write_checkpoint(folder, model, history, best)

    model.optimizer.finalize_variable_values(model.trainable_variables)
    last = model.get_weights()
    if config.report == "best":
        model.set_weights(best)
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
        _runs.write_history(folder, run.history)
        _runs.write_predictions(folder, data.validation_files, data.validation_labels, probabilities)
        _runs.write_model(folder / "model.keras", config.model, model.get_weights())
        if data.is_monitored:
            other, weights = ("last", last) if config.report == "best" else ("best", best)
            _runs.write_model(folder / f"{other}.keras", config.model, weights)
        _runs.write_environment(folder, seconds)
        _runs.finish(folder, run.metrics)
    return run


def _compiled_vit(config: TrainingConfig, steps_per_epoch: int) -> keras.Model:
    model = build_vit(config.model, config.seed)
    optimizer = make_optimizer(model, config, steps_per_epoch)
    losses = keras.losses
    loss = losses.CategoricalCrossentropy if config.label_smoothing else losses.SparseCategoricalCrossentropy
    model.compile(optimizer, loss(from_logits=True), metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def _targets(labels: np.ndarray, config: TrainingConfig, smoothing: float | None = None) -> np.ndarray:
    """What the loss takes: labels (pages,), or with label smoothing the certainty of each condition (pages, 4)."""
    if not config.label_smoothing:
        return labels
    share = config.label_smoothing if smoothing is None else smoothing
    return (np.eye(len(NAMES))[labels] * (1 - share) + share / len(NAMES)).astype(np.float32)


def _judged(
    model: keras.Model, config: TrainingConfig, images: np.ndarray, labels: np.ndarray, prefix: str
) -> dict[str, float]:
    """Loss and accuracy on pages that are not trained on; their labels are not smoothed, as Keras's loss would."""
    targets = _targets(labels, config, smoothing=0.0)
    checked = model.evaluate(images, targets, batch_size=config.batch_size, verbose=0, return_dict=True)
    return {f"{prefix}_{name}": float(value) for name, value in checked.items()}


class _StepWatcher(keras.callbacks.Callback):
    """Moves the bar, and holds the weights as the last step left them.

    At the end of each fit, Keras puts the averages of the weights, if it takes any, in their place.
    """

    def __init__(self, bar: tqdm):
        super().__init__()
        self.bar = bar

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.model.get_weights()


def _is_over(history: list[dict], config: TrainingConfig) -> bool:
    if config.patience is not None and history and len(history) - 1 - _best(history) >= config.patience:
        return True
    return len(history) >= config.epochs


def _best(history: list[dict]) -> int:
    """The position of the epoch with the lowest loss on the monitored pages."""
    return int(np.argmin([row["monitor_loss"] for row in history]))


def _balancing_weights(labels: np.ndarray) -> dict[int, float]:
    occurring = np.unique(labels)
    return dict(zip(occurring.tolist(), compute_class_weight("balanced", classes=occurring, y=labels), strict=True))


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Probabilities (pages, 4) for thumbnails (pages, height, width).

    Batch by batch, because ``model.predict`` prepares its data set anew for each call: for one page that takes fifteen
    times as long as the model does.
    """
    starts = range(0, len(images), batch_size)
    return softmax(np.concatenate([model.predict_on_batch(images[start : start + batch_size]) for start in starts]))


def load_run(folder: str | Path) -> Run:
    """Read a finished run back from its folder.

    Raises:
        RunError: there is no finished run, or it is damaged.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").exists():
        raise RunError(f"{folder} holds no finished run: name a folder that `heartai train` wrote to its end")
    with _runs.damage_told(f"{folder} is damaged: remove it and train again"):
        record = json.loads((folder / "config.json").read_text())
        predictions = pd.read_csv(folder / "predictions.csv", float_precision="round_trip")
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["accuracy_interval"] = tuple(metrics["accuracy_interval"])
        return Run(
            config=TrainingConfig.from_record(record["training"]),
            history=pd.read_csv(folder / "history.csv", float_precision="round_trip"),
            metrics=Metrics(**metrics),
            probabilities=predictions[list(NAMES)].to_numpy(),
            model=load_vit(folder / "model.keras"),
            thumbnail=record["thumbnail"],
            folder=folder,
        )


def make_deterministic() -> None:
    """Have TensorFlow add in the same order every time.

    Its graph optimizer turns large sums of gradients into sums in the order of arrival, to save memory; two runs with
    one seed then differ in the last digits. Without the optimizer a training step takes no longer (measured).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def forget_graphs() -> None:
    """Let go of the graphs of models that nobody holds any more: each run would otherwise leave about 100 MB behind.

    TensorFlow registers every custom gradient that a graph holds under a name of its own, for ever, and with it the
    whole graph of the training step. A step that has been traced has no more use for the name.
    """
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import ops

        registered = getattr(ops.gradient_registry, "_registry", {})  # there is no public way to take one out
        for name in [name for name in registered if name.startswith("CustomGradient-")]:
            del registered[name]
    gc.collect()
