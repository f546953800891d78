"""Many runs to answer one question: a grid of settings, each with the same seeds, on as many processes as there are.

    >>> trials = grid(seeds=5, weight_decay=[0.0, 0.05, 0.3], split=["grouped", "as_published"])
    >>> runs = run(trials, read_catalogue("data/published")[0], "data/runs/decay")
    >>> effects(runs, of="weight_decay", against=0.0)

A seed draws the split as well as initial weights and order, the same for all settings, so that settings are compared
pair by pair. An ablation's folder holds

* ``runs/NAME``: the run folder of each trial, see `training`, named by a checksum of all that decides it. So a run is
  never made twice, not even for another ablation in this folder: its runs are added to those that are there;
* ``trials.json``: the trials of the latest call, which ``results.csv``, ``results.parquet`` (the same table) and
  ``results.png`` are of; ``pages-….parquet``: the catalogue that the workers read.

**Interrupted** by Ctrl-C, a killed worker, scheduler or caller, the same call does only what is missing, and goes on
within the runs begun. A lost worker's run is gone on with by another one.

**Several machines**, by ``scheduler``: all must see, under the same path, the ablation's folder and the thumbnails'
cache, which are made by the caller before. Workers of such a scheduler finish the runs they are at also when the
caller is interrupted; the next call waits for these.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
from distributed import KilledWorker
from tqdm.std import tqdm

from heartai_utils import _cluster, _runs, downsampling, plots, splits, training
from heartai_utils._catalogue import remove_leftovers
from heartai_utils._results import RESULTS, effects, figure, overlap_of, table, to_parquet, varied
from heartai_utils._trials import SETTINGS, AblationError, Trial, grid
from heartai_utils.dataset import data_home, write_whole

__all__ = [
    "RESULTS", "SETTINGS", "AblationError", "Trial", "effects", "figure", "grid", "overlap_of", "run", "table",
    "varied",
]  # fmt: skip
_PAGE = ["path", "file", "md5", "label", "condition", "copy_group", "id_group"]  # what a trial reads of a catalogue
_WAIT = 2  # seconds between two looks at a run that another process is at


def run(
    trials: Sequence[Trial],
    catalogue: pd.DataFrame,
    folder: str | Path,
    *,
    cache_dir: str | Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every trial that has not been trained yet, each by one single-threaded worker.

    A trial that fails by itself, because its loss is no longer a number or its folder is damaged, is told on standard
    error and in the table, and does not stop the others.

    Args:
        catalogue: from `dataset.read_catalogue`.
        folder: new, or of an ablation.
        cache_dir: where thumbnails are kept; by default with the other data.
        scheduler, workers: as for `_cluster.client`; if there is nothing to train, they are not asked for.
        progress: show a bar on standard error, with the runs in progress and the time left, as an epoch has taken until
            now. It shows no scores: who looks while it runs is tempted to stop at the right moment.

    Returns:
        The table that `table` reads.

    Raises:
        ValueError: the folder holds anything else, no pages for a trial, or no workers (`ClusterError`).
    """
    folder, cache_dir = Path(folder).resolve(), Path(cache_dir or data_home() / "thumbnails").resolve()
    if folder.exists() and not (folder.is_dir() and _is_ours(folder)):
        raise AblationError(f"{folder} is there and holds no ablation: choose a new or empty folder")
    pages = catalogue[_PAGE].assign(path=[str(Path(path).resolve()) for path in catalogue["path"]])
    for method, crop in dict.fromkeys((trial.method, trial.crop) for trial in trials):
        downsampling.load_thumbnails(
            pages["path"], md5s=pages["md5"], method=method, crop=crop, cache_dir=cache_dir, progress=progress
        )
    remove_leftovers(folder)
    content = to_parquet(pages)
    source = folder / f"pages-{hashlib.sha256(content).hexdigest()[:8]}.parquet"
    write_whole(source, content)
    names = _names(trials, source, cache_dir, progress)
    _write_trials(folder, names, {})
    missing = {name: trial for trial, name in names.items() if not (folder / "runs" / name / "metrics.json").exists()}
    errors = {}
    if missing:
        work = partial(_train, source=source, cache_dir=cache_dir, folder=folder / "runs")
        if progress:
            count, done = len(set(names.values())), len(set(names.values())) - len(missing)
            told = f"{count} trial{'s' * (count > 1)}: {done} done before, {len(missing)} to do"
            tqdm.write(told, file=sys.stderr)
        with _cluster.client(scheduler, workers) as connection:
            display = _Display(missing, folder / "runs", len(connection.nthreads()), progress)
            with display.bar:
                errors = _train_all(missing, folder / "runs", connection, work, display)
    _write_trials(folder, names, errors)
    found = table(folder)
    write_whole(folder / "results.csv", found.to_csv(index=False).encode())
    write_whole(folder / "results.parquet", to_parquet(found))
    write_whole(folder / "results.png", plots.png(figure(found)))
    return found


def _is_ours(folder: Path) -> bool:
    there = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    return not there or "trials.json" in there or "runs" in there


def _names(trials: Sequence[Trial], source: Path, cache_dir: Path, progress: bool) -> dict[Trial, str]:
    """The name of each trial's run; tells which pages cannot be read."""
    names, told = {}, {}
    for trial in tqdm(trials, "reading pages", leave=False, disable=not progress):
        data, remarks = _data(source, cache_dir, *_data_settings(trial))
        names[trial] = _runs.name_of(training.identity(trial.config, data))
        told |= dict.fromkeys(remarks.splitlines())
    for remark in told:
        tqdm.write(remark, file=sys.stderr)
    _data.cache_clear()
    return names


def _data_settings(trial: Trial) -> tuple:
    seen = trial.method, trial.crop, trial.config.model.image_size
    return trial.split, trial.split_seed, trial.validation, trial.monitor, *seen


@lru_cache(maxsize=4)
def _data(source: Path, cache_dir: Path, how: str, seed: int, validation: float, monitor: float, method, crop, size):
    """The pages of a trial, and what there is to remark on them; as trials share them, they are kept for a while."""
    pages = pd.read_parquet(source)
    split = splits.split(pages, how, validation=validation, seed=seed)
    with redirect_stderr(io.StringIO()) as remarks:
        data = training.load_data(pages, split, method, crop, cache_dir, progress=False, monitor=monitor, size=size)
    return data, remarks.getvalue()


def _train(task: tuple[str, Trial], source: Path, cache_dir: Path, folder: Path) -> None:
    """What a worker does. A run that another worker is still at, believed to be lost, is waited for."""
    name, trial = task
    data, _ = _data(source, cache_dir, *_data_settings(trial))
    if _runs.name_of(training.identity(trial.config, data)) != name:
        raise AblationError("the worker sees other pages or thumbnails: have all machines share folder and cache")
    while True:
        try:
            training.train(trial.config, data, folder / name, progress=False)
        except _runs.RunInUse:
            time.sleep(_WAIT)
        else:
            training.forget_graphs()  # for a worker does many runs
            return


def _train_all(missing: dict[str, Trial], runs: Path, connection, work: Callable, display: _Display) -> dict[str, str]:
    """Have workers train; gives what went wrong by the name of the run.

    dask gives up a trial that has lost several workers. The loss may have had other reasons, so it is begun once more
    as long as any trial gets on meanwhile.
    """
    errors = {}
    while missing:
        before = {name: _runs.epochs_done(runs / name) for name in missing}
        lost = {}
        calls = _cluster.completed(connection, work, missing.items(), ahead=0, meanwhile=display.update)
        for (name, trial), result in calls:
            if isinstance(result, KilledWorker):
                lost[name] = trial
                continue
            if isinstance(result, Exception):
                errors[name] = str(result) if isinstance(result, (ValueError, OSError)) else repr(result)
                tqdm.write(f"{name}: {errors[name]}", file=sys.stderr)
            display.finish(name)
        if len(lost) == len(missing) and all(_runs.epochs_done(runs / name) == before[name] for name in lost):
            return errors | dict.fromkeys(lost, "it ends its worker every time: look whether there is memory enough")
        missing = lost
    return errors


class _Display:
    """One line: trials done, those in progress with their epoch, time left as an epoch has taken until now."""

    def __init__(self, missing: dict[str, Trial], runs: Path, workers: int, progress: bool):
        self._epochs = {name: trial.config.epochs for name, trial in missing.items()}
        self._left, self._runs, self._progress = dict(self._epochs), runs, progress
        self._estimate_after, self._shown = min(workers, len(missing) - 1), ()
        begun = sum(_runs.epochs_done(runs / name) for name in missing)
        total = sum(self._epochs.values())
        self.bar = tqdm(total=total, initial=begun, smoothing=0, unit="epoch", leave=False, disable=not progress)

    def update(self) -> None:
        if not self._progress:
            return
        done = {name: _runs.epochs_done(self._runs / name) for name in self._left}
        running = [f"{name[:6]} {epochs}/{self._left[name]}" for name, epochs in done.items() if epochs]
        trials_done = len(self._epochs) - len(self._left)
        shown = f"{trials_done}/{len(self._epochs)} trials", ", ".join(running[:4]) + (" …" if len(running) > 4 else "")
        if shown != self._shown:
            self._shown = shown
            self.bar.n = sum(self._epochs.values()) - sum(self._left.values()) + sum(done.values())
            self.bar.set_description_str(shown[0], refresh=False)
            self.bar.set_postfix_str(shown[1])
        if self._estimate_after and trials_done >= self._estimate_after:
            self._estimate_after = 0
            seconds = (
                (self.bar.total - self.bar.n) * self.bar.format_dict["elapsed"] / max(1, self.bar.n - self.bar.initial)
            )
            left = tqdm.format_interval(seconds)
            tqdm.write(f"the first {trials_done} are done; the others take about {left} more", file=sys.stderr)

    def finish(self, name: str) -> None:
        del self._left[name]


def _write_trials(folder: Path, names: dict[Trial, str], errors: dict[str, str]) -> None:
    rows = [{"run": name} | trial.to_row() | {"error": errors.get(name)} for trial, name in names.items()]
    write_whole(folder / "trials.json", json.dumps(rows, indent=1).encode())
