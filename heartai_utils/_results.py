"""What came out of an ablation: its table, effects and figure. Public as `heartai_utils.ablation`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from heartai_utils import _runs, plots, training
from heartai_utils._trials import SETTINGS, AblationError, Trial
from heartai_utils.evaluation import paired_interval
from heartai_utils.vit import load_vit

RESULTS = (
    "accuracy", "balanced_accuracy", "macro_f1", "val_loss", "train_accuracy", "train_loss", "epochs_run", "steps",
    "pages", "train_pages", "majority_accuracy", "kernel_norm",
)  # fmt: skip


def to_parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


def table(folder: str | Path) -> pd.DataFrame:
    """One row for each trial of an ablation, also of an unfinished one.

    Returns:
        run (its name), the settings (``SETTINGS`` and both seeds), error, and the results (``RESULTS``, missing where
        the run is not finished): scores and val_loss on the validation pages, train_loss and train_accuracy as of
        the last epoch's steps, epochs and steps that were run, the numbers of validation and training pages, the
        accuracy of always answering the commonest condition, and the norm of all kernels together at the end.

    Raises:
        AblationError: the folder holds no ablation.
    """
    folder = Path(folder)
    try:
        rows = json.loads((folder / "trials.json").read_text())
    except (OSError, ValueError):
        raise AblationError(f"{folder} holds no ablation: name a folder that `heartai ablate` wrote") from None
    norms = _known_norms(folder / "results.parquet")
    for row in rows:
        row |= dict.fromkeys(RESULTS)
        place = folder / "runs" / row["run"]
        if (place / "metrics.json").exists():
            try:
                with _runs.damage_told(f"{place} is damaged: remove it, and it is trained again"):
                    row |= _results(place, row["batch_size"], norms.get(row["run"]))
            except _runs.RunError as error:
                row["error"] = str(error)
    # through its text, so that what is read from the CSV file, from the Parquet file and here is the same
    return pd.read_csv(io.StringIO(pd.DataFrame(rows).to_csv(index=False)), float_precision="round_trip")


def _known_norms(path: Path) -> dict[str, float]:
    """The kernel norms of an earlier table: a model is read in a second, and stays as it is."""
    try:
        return pd.read_parquet(path).set_index("run")["kernel_norm"].dropna().to_dict()
    except (OSError, ValueError, KeyError):  # none yet, or damaged
        return {}


def _results(folder: Path, batch_size: int, kernel_norm: float | None) -> dict[str, float]:
    metrics = json.loads((folder / "metrics.json").read_text())
    record = json.loads((folder / "config.json").read_text())
    history = pd.read_csv(folder / "history.csv", float_precision="round_trip")
    best = record["training"].get("report") == "best"
    reported = history.loc[history["monitor_loss"].idxmin() if best else history.index[-1]]
    if kernel_norm is None:
        kernel_norm = training.kernel_norm(load_vit(folder / "model.keras"))
    pages = record["pages"]
    values = (
        *(metrics[score] for score in ("accuracy", "balanced_accuracy", "macro_f1")),
        *(float(reported[name]) for name in ("val_loss", "accuracy", "loss")),
        len(history), len(history) * -(-pages["train"] // batch_size), pages["validation"], pages["train"],
        metrics["majority_accuracy"], kernel_norm,
    )  # fmt: skip
    return dict(zip(RESULTS, values, strict=True))


def varied(runs: pd.DataFrame) -> list[str]:
    """The settings that differ between some runs of a table, without the seeds."""
    return [name for name in SETTINGS if name in runs and len(runs[name].unique()) > 1]


def effects(runs: pd.DataFrame, of: str = "weight_decay", against=0.0, score: str = "accuracy") -> pd.DataFrame:
    """What a setting changes, pair by pair over seeds, all else equal.

    Splits of different seeds have most training pages in common, which `evaluation.paired_interval` is told of.

    Args:
        runs: as `table` gives it, or any table with columns for the settings, ``seed`` and the score; columns that are
            no settings are not looked at. Runs without a score are left out.
        of, against: the setting, and the value that others are compared with.
        score: a column; for a loss, less is better.

    Returns:
        A row for each combination of the other settings that vary and each other value: these settings, the value
        under the name of the setting, against, pairs, the mean of ``score(value) − score(against)``, and its 95 %
        interval low to high, missing with a single pair.

    Raises:
        AblationError: no such column or value, or several runs of one seed that no column tells apart.
    """
    for name in (of, score, "seed"):
        if name not in runs:
            raise AblationError(f"no column {name!r}: the table has {', '.join(runs)}")
    runs = runs.dropna(subset=[score])
    if not (runs[of] == against).any():
        raise AblationError(
            f"no finished run has {of} {against}: compare with one of {sorted(runs[of].unique().tolist())}"
        )
    seeds = [name for name in ("seed", "split_seed") if name in runs]
    others = [name for name in varied(runs) if name != of]
    rows = []
    for setting, group in runs.groupby(others, sort=False, dropna=False) if others else [((), runs)]:
        by_value = {value: found.set_index(seeds)[score] for value, found in group.groupby(of)}
        if any(scores.index.has_duplicates for scores in by_value.values()):
            raise AblationError("some runs differ in nothing but their score: keep one of them")
        overlap = overlap_of(group)
        for value, scores in by_value.items():
            pair = pd.concat([by_value.get(against, scores[:0]), scores], axis=1, join="inner").to_numpy()
            if value == against or not len(pair):
                continue
            row = dict(zip(others, setting, strict=True))
            row |= {of: value, "against": against, "pairs": len(pair), "mean": (pair[:, 1] - pair[:, 0]).mean()}
            interval = paired_interval(*pair.T, overlap=overlap) if len(pair) > 1 else None
            rows.append(row | {end: getattr(interval, end, np.nan) for end in ("low", "high")})
    return pd.DataFrame(rows, columns=[*others, of, "against", "pairs", "mean", "low", "high"])


def overlap_of(runs: pd.DataFrame) -> float:
    """Validation pages over training pages, as splits are drawn anew for each seed; 0 where one split serves all."""
    if "split_seed" in runs and len(runs["split_seed"].unique()) == 1:
        return 0.0
    held = runs["validation"].mean() if "validation" in runs else Trial.validation
    monitored = runs["monitor"].mean() if "monitor" in runs else Trial.monitor
    return float(held / ((1 - held) * (1 - monitored)))


def figure(runs: pd.DataFrame) -> Figure:
    """Accuracy and macro-F1 over the setting that has most values, a colour for each combination of the others."""
    names = sorted(varied(runs), key=lambda name: (name == "split", -runs[name].nunique()))
    setting, others = (names[0], names[1:]) if names else ("preset", [])
    group = runs[others].astype(str).agg(", ".join, axis=1) if others else ""
    runs = runs.assign(group=group)
    drawn, axes = plots.new_figure(1, 2, size=(10.0, 4.0))
    for axis, score in zip(axes, ("accuracy", "macro_f1"), strict=True):
        finished = runs.dropna(subset=[score])
        if finished.empty:
            axis.set_title("no finished run")
        else:
            plots.over_setting(axis, finished, setting, score, by="group", overlap=overlap_of(runs))
    if others and not finished.empty:
        axes[0].legend(title=", ".join(others).replace("_", " "), fontsize=8)
    return drawn
