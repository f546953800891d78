"""The files of a run folder: whose it is, the checkpoint that an interrupted run goes on from, what it found."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from heartai_utils._keras import keras
from heartai_utils._training_config import TrainingConfig
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import write_whole
from heartai_utils.evaluation import Metrics
from heartai_utils.vit import ViTConfig, build_vit

CHECKPOINT = "checkpoint.npz"


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


@contextmanager
def damage_told(message: str) -> Iterator[None]:
    """Turn what a damaged file raises, which names neither file nor cure, into a RunError with this message."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(message) from error


def claim(folder: Path, record: dict) -> None:
    """Write config.json into a new folder, or make sure that the one there says the same.

    Raises:
        RunError: it is another run's folder, none of a run at all, or damaged.
    """
    path = folder / "config.json"
    begun = any((folder / name).exists() for name in (CHECKPOINT, "metrics.json"))
    if path.exists() and begun:
        record = json.loads(json.dumps(record))
        with damage_told(f"{path} is damaged: remove {folder} and train again"):
            there = json.loads(path.read_text())
            settings = TrainingConfig.from_record(there["training"]).to_record()
            there["training"] = json.loads(json.dumps(settings))
        if there != record:
            differing = _differences(there, record)
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
    """Every variable that the next step depends on: weights, dropout's seeds, the optimizer's moments and averages."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in metrics] + list(model.optimizer.variables)


def write_checkpoint(folder: Path, model: keras.Model, history: list[dict], best: list[np.ndarray] | None) -> None:
    """Keep all that the rest of the run depends on: variables, history, and the weights of the best epoch so far."""
    buffer = io.BytesIO()
    values = {f"v{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(_state(model))}
    values |= {f"best{i}": weight for i, weight in enumerate(best or [])}
    np.savez(buffer, history=json.dumps(history), **values)
    write_whole(folder / CHECKPOINT, buffer.getvalue())


def read_checkpoint(folder: Path | None, model: keras.Model) -> tuple[list[dict], list[np.ndarray] | None]:
    """Bring back the variables of an interrupted run.

    Returns:
        Its history and best weights; without a checkpoint, an empty history and None.

    Raises:
        RunError: the checkpoint is damaged.
    """
    if folder is None or not (folder / CHECKPOINT).exists():
        return [], None
    path = folder / CHECKPOINT
    with damage_told(f"{path} is damaged: remove {folder}, and the run begins anew"), np.load(path) as kept:
        for i, variable in enumerate(_state(model)):
            variable.assign(kept[f"v{i}"])
        best = [kept[f"best{i}"] for i in range(sum(name.startswith("best") for name in kept.files))]
        return json.loads(str(kept["history"])), best or None


def write_history(folder: Path, history: pd.DataFrame) -> None:
    write_whole(folder / "history.csv", history.to_csv(index=False).encode())


def write_predictions(folder: Path, files: Sequence[str], labels: np.ndarray, probabilities: np.ndarray) -> None:
    """One row a page: its name (a number where there is none), label, and the probability of each condition."""
    table = pd.DataFrame(probabilities, columns=list(NAMES))
    table.insert(0, "file", files or tuple(str(i) for i in range(len(labels))))
    table.insert(1, "label", labels)
    write_whole(folder / "predictions.csv", table.to_csv(index=False, quoting=csv.QUOTE_MINIMAL).encode())


def write_model(path: Path, config: ViTConfig, weights: list[np.ndarray]) -> None:
    bare = build_vit(config)  # Keras would save the optimizer too, which is twice as large as the weights
    bare.set_weights(weights)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    bare.save(unfinished)
    os.replace(unfinished, path)


def write_environment(folder: Path, seconds: list[float]) -> None:
    """Versions, machine and the median seconds of an epoch (the first also builds the graph)."""
    environment = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "seconds_per_epoch": round(float(np.median(seconds)), 2) if seconds else None,
    }
    write_whole(folder / "environment.json", json.dumps(environment, indent=1).encode())


def finish(folder: Path, metrics: Metrics) -> None:
    """Write metrics.json, last of all, because it marks the run as finished."""
    write_whole(folder / "metrics.json", json.dumps(metrics.to_dict(), indent=1).encode())
    clear_away(folder)


def clear_away(folder: Path) -> None:
    """Remove what a finished run no longer needs: its checkpoint, and files half-written when it was killed."""
    for path in (folder / CHECKPOINT, *folder.glob(".*.part"), *folder.glob(".*.keras")):
        path.unlink(missing_ok=True)
