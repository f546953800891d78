"""The files of a run folder: whose it is, who is in it, the checkpoint to go on from, what the run found."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import platform
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from heartai_utils._keras import keras
from heartai_utils._training_config import TrainingConfig
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import write_whole
from heartai_utils.evaluation import Metrics
from heartai_utils.vit import ViTConfig, build_vit

CHECKPOINT = "checkpoint.npz"
LOCK = ".lock"


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


class RunInUse(RunError):
    """A run folder that another process is training in."""


def name_of(record: dict[str, Any]) -> str:
    """A name for a run, made from all that decides it: 16 hexadecimal digits.

    Settings at their defaults do not count, so that names stay the same when there are more settings one day.

    Args:
        record: as `training.identity` gives it and ``config.json`` holds it.
    """
    record = json.loads(json.dumps(record))  # for which tuples are lists
    settings = record["training"]
    differing = _differing(settings, TrainingConfig()) | {"model": _differing(settings["model"], ViTConfig())}
    canonical = json.dumps(_whole_numbers(record | {"training": differing}), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _differing(settings: dict[str, Any], defaults: TrainingConfig | ViTConfig) -> dict[str, Any]:
    defaults = json.loads(json.dumps(asdict(defaults)))
    return {name: value for name, value in settings.items() if value != defaults[name]}


def _whole_numbers(value: Any) -> Any:
    """The same with 0 for 0.0, which is the same setting and another text."""
    if isinstance(value, dict):
        return {key: _whole_numbers(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextmanager
def damage_told(message: str) -> Iterator[None]:
    """Turn what a damaged file raises, which names neither file nor cure, into a RunError with this message."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(message) from error


@contextmanager
def claimed(folder: Path, record: dict[str, Any]) -> Iterator[None]:
    """Make sure that a folder is new or holds this very run, and keep other processes out meanwhile.

    Writes config.json into a new folder. A finished run may be read by many at once.

    Raises:
        RunInUse: another process is in there.
        RunError: it is another run's folder, none of a run at all, or damaged.
    """
    has = {name: (folder / name).exists() for name in ("config.json", CHECKPOINT, "metrics.json")}
    if has["config.json"] and has["metrics.json"]:
        _claim(folder, record)
        yield
        return
    if folder.exists() and not (has["config.json"] and has[CHECKPOINT]):
        # a run that ended before its first epoch did leaves config.json and, if killed, files with a dot in front
        if not folder.is_dir() or any(p.name != "config.json" and not p.name.startswith(".") for p in folder.iterdir()):
            raise RunError(f"{folder} exists and is no run folder: choose a new one")
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _claim(folder, record)
        yield


def _claim(folder: Path, record: dict[str, Any]) -> None:
    path = folder / "config.json"
    if not any((folder / name).exists() for name in (CHECKPOINT, "metrics.json")):
        write_whole(path, json.dumps(record, indent=1).encode())
        return
    record = json.loads(json.dumps(record))
    with damage_told(f"{path} is damaged: remove {folder} and train again"):
        there = json.loads(path.read_text())
        settings = TrainingConfig.from_record(there["training"]).to_record()
        there["training"] = json.loads(json.dumps(settings))
    if there != record:
        differing = _differences(there, record)
        raise RunError(f"{folder} holds another run ({differing}): choose another folder, or remove it")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, by a lock that the system takes off when this one ends, however it does."""
    path = folder / LOCK
    while True:
        file = path.open("a+")
        if not _lock(file):
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            raise RunInUse(f"{folder} is in use by {holder}: wait until it has ended, or end it")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # its last holder removed it just after we opened it
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield
    finally:
        if os.name == "nt":  # which removes no open file, and none that the next holder has opened
            file.close()
        with suppress(OSError):
            path.unlink()
        file.close()


def _lock(file: IO) -> bool:
    """Lock a file unless another process has. Where the file system knows no locks, nobody is kept out."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(1 << 30)  # far behind the text, which then others can read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


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


def epochs_done(folder: Path) -> int:
    """How many epochs an unfinished run can go on from; 0 without a whole checkpoint."""
    try:
        with np.load(folder / CHECKPOINT) as kept:
            return len(json.loads(str(kept["history"])))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return 0


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
