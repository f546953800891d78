"""What each way of shrinking a page costs and keeps: fidelity, looks, speed, loading many pages, and scores.

    python benchmarks/downsampling.py --data REAL --scores --out data/measured/downsampling.json

Everything is measured on simulated pages, whose truth is known, and with ``--data``, a folder in the published
layout, on its distinct pages, whose truth is their full-size trace read back. Interrupted, the same command goes on
with the fits; the rest takes minutes. SSIM needs scikit-image (``pip install -e ".[benchmarks]"``). Ends with one line
of JSON: on simulated pages, and ``ms`` with decoding, one thread.

SSIM has no truth of its own to ask, so it compares what is seen: the thumbnail enlarged again (linear) against the
page, inside the grid and at half the page's size. ``ssim`` takes them as they are, dots and all; ``ssim_trace`` takes
the empty page off both first, as a method that leaves the grid out on purpose has not lost it. Both favour a mean of
the pixels covered: nothing else comes as near to the page itself. Sharpness is the variance of the Laplacian
(Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548) of the thumbnail's grid.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import PIL
import shrinking_speed
from pages import Workers
from record import commit

from heartai_utils import downsampling as ds
from heartai_utils import page
from heartai_utils.dataset import data_home, read_catalogue, read_truth, simulate_set, write_whole
from heartai_utils.evaluation import paired_interval

try:
    from skimage.metrics import structural_similarity
except ImportError:
    sys.exit('scikit-image is missing: install the extra with  pip install -e ".[benchmarks]"')

ALL = (*ds.METHODS, *ds.JPEG_METHODS)
AREA = "area"
SHIFTS = 9  # 0 to 8 px: 8.6 make a pixel of the thumbnail
LOOKS = ("ssim", "ssim_trace", "sharpness")
BETTER_IF_LESS = {
    "rmse_mv": True, "lost_columns": True, "bridged_rmse_mv": True, "st_error_mv": True, "st_median_mv": True,
    "r_attenuation": True, "q_error_ms": True, "shift_mv": True, "ssim": False, "ssim_trace": False,
}  # fmt: skip
TOLD = ("rmse_mv", "lost_columns", "st_error_mv", "r_attenuation", "ms")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder in the published layout")
    parser.add_argument("--pages", type=int, default=48, help="simulated pages, a quarter of each condition")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated pages, the sample and the folds")
    parser.add_argument("--most", type=int, help="of the real pages, a sample of so many")
    parser.add_argument("--few", type=int, default=8, help="pages whose shifts and looks are measured")
    parser.add_argument("--methods", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--rounds", type=int, default=3, help="of each timing")
    parser.add_argument("--scores", action="store_true", help="train a small model on some methods' thumbnails, too")
    parser.add_argument("--repeats", type=int, default=2, help="of the five folds")
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "downsampling")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


# --- Fidelity and looks of one page ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A page to measure; one that is simulated has a rhythm lead, and a truth beside it."""

    path: str
    rhythm_lead: str | None = None
    looked_at: bool = False


@dataclass(frozen=True)
class Found:
    """What one method made of one page; shift (moments,) and looks of some pages only."""

    errors: ds.Errors
    shift: np.ndarray | None = None
    looks: dict[str, float] | None = None

    def figures(self) -> dict[str, float]:
        return figures([self])


@cache
def papers(method: str, shifts: int = 1) -> list[np.ndarray]:
    return [ds.paper_thumbnail(method, shift=shift) for shift in range(shifts)]


def measured(methods: Sequence[str], task: Task) -> dict[str, Found]:
    grey = page.load_page(task.path, grey=True)
    if task.rhythm_lead is None:
        truth = ds.Truth.of_page(grey)
    else:
        truth = ds.Truth.of_recording(read_truth(task.path), task.rhythm_lead)
    found = {}
    for method in methods:
        image = ds.shrink(task.path if method in ds.JPEG_METHODS else grey, method)
        errors = ds.page_errors(image, truth, paper=papers(method)[0])
        if task.looked_at:
            shift = ds.change_under_shifts(grey, truth, papers(method, SHIFTS), method)
            found[method] = Found(errors, shift, looks(grey, image, papers(method)[0]))
        else:
            found[method] = Found(errors)
    return found


@cache
def empty_page() -> np.ndarray:
    return halved(ds.blank_page())


def halved(grey: np.ndarray) -> np.ndarray:
    return cv2.resize(grey, (page.WIDTH // 2, page.HEIGHT // 2), interpolation=cv2.INTER_AREA)


def looks(grey: np.ndarray, image: np.ndarray, paper: np.ndarray) -> dict[str, float]:
    """SSIM and sharpness of a thumbnail."""
    seen = halved(grey)
    x0, y0, x1, y1 = (edge // 2 for edge in page.GRID_BOX)

    def likeness(full: np.ndarray, small: np.ndarray) -> float:
        large = cv2.resize(small, full.shape[::-1], interpolation=cv2.INTER_LINEAR)
        parts = (part[y0:y1, x0:x1].astype(np.float32) for part in (full, large))
        return float(structural_similarity(*parts, data_range=255))

    x0s, y0s, x1s, y1s = np.array(page.GRID_BOX) * np.tile(np.divide(image.shape[::-1], (page.WIDTH, page.HEIGHT)), 2)
    inside = image[int(y0s) + 1 : int(y1s), int(x0s) + 1 : int(x1s)]
    return {
        "ssim": likeness(seen, image),
        "ssim_trace": likeness(cv2.subtract(empty_page(), seen), cv2.subtract(paper, image)),
        "sharpness": float(cv2.Laplacian(inside, cv2.CV_64F).var()),
    }


# --- Many pages -----------------------------------------------------------------------------------------------------


def figures(found: Sequence[Found]) -> dict[str, float]:
    """What one method made of many pages."""
    table = ds.summarise_errors([each.errors for each in found])
    looked_at = [each for each in found if each.looks]
    if looked_at:
        shift = np.concatenate([each.shift for each in looked_at])
        table["shift_mv"] = float(np.sqrt(np.mean(shift**2)))
        table |= {name: float(np.mean([each.looks[name] for each in looked_at])) for name in LOOKS}
    return table


def against_area(own: list[Found], area: list[Found]) -> dict[str, dict]:
    """Page by page the course's own method less area, and what follows from the 95 % interval of the mean."""
    own, area = (pd.DataFrame([each.figures() for each in found]) for found in (own, area))
    told = {}
    for name, less in BETTER_IF_LESS.items():
        if name not in own:
            continue
        both = own[name].notna() & area[name].notna()
        if both.sum() < 2:
            continue
        found = paired_interval(area[name][both], own[name][both])
        verdict = "equal"
        if found.low > 0 or found.high < 0:
            verdict = "better" if (found.mean < 0) == less else "worse"
        told[name] = {"difference": found.mean, "low": found.low, "high": found.high, "pages": found.runs}
        told[name]["verdict"] = verdict
    return told


def fidelity_of(what: str, tasks: list[Task], methods: Sequence[str], workers: Workers) -> dict:
    found = workers.map(what, partial(measured, methods), tasks)
    by_method = {method: [each[method] for each in found] for method in methods}
    part = {"methods": {method: figures(each) for method, each in by_method.items()}}
    if {ds.OWN, AREA} <= by_method.keys():
        part["own_less_area"] = against_area(by_method[ds.OWN], by_method[AREA])
    print(f"\n{what}, {len(tasks)} pages:\n{pd.DataFrame(part['methods']).T.round(4).to_string()}", file=sys.stderr)
    return part


def spread(count: int, few: int) -> set[int]:
    """``few`` of so many positions, evenly."""
    return set(np.linspace(0, count - 1, min(few, count)).astype(int).tolist())


def simulated_tasks(folder: Path, few: int) -> list[Task]:
    rows = pd.read_csv(folder / "manifest.csv")
    chosen = spread(len(rows), few)
    paths = [str(folder / file) for file in rows["file"]]
    return [Task(*row, position in chosen) for position, row in enumerate(zip(paths, rows["rhythm_lead"], strict=True))]


def real_tasks(catalogue: pd.DataFrame, most: int | None, few: int, seed: int) -> list[Task]:
    distinct = catalogue.drop_duplicates("copy_group")
    if most is not None and most < len(distinct):
        distinct = distinct.sample(most, random_state=seed).sort_index()
    chosen = spread(len(distinct), few)
    return [Task(path, None, position in chosen) for position, path in enumerate(distinct["path"])]


# --- The record -----------------------------------------------------------------------------------------------------


def alone(function, *given):
    """Call in a process of its own: one thread for TensorFlow cannot be taken back later."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def rounded(value):
    """Six digits, and None for what could not be measured: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def main() -> None:
    chosen = arguments()
    drawn = chosen.runs / f"simulated-{chosen.pages}-{chosen.seed}"
    simulated = simulate_set(drawn, chosen.pages, chosen.seed)
    catalogue, rejected = read_catalogue(chosen.data) if chosen.data else (simulated, [])
    workers = Workers()
    try:
        tasks = simulated_tasks(drawn, chosen.few)
        on = {"simulated": fidelity_of("simulated", tasks, chosen.methods, workers)}
        if chosen.data:
            tasks = real_tasks(catalogue, chosen.most, chosen.few, chosen.seed)
            on["real"] = fidelity_of("real", tasks, chosen.methods, workers)
    finally:
        workers.close()
    sample = catalogue.drop_duplicates("copy_group").sample(3, random_state=chosen.seed)["path"].tolist()
    times = alone(shrinking_speed.times, sample, chosen.methods, chosen.rounds)
    loading = alone(
        shrinking_speed.loading, catalogue["path"].tolist(), catalogue["md5"].tolist(), ds.OWN, chosen.rounds
    )
    places = {str(chosen.data): "REAL", str(chosen.out): "FILE", str(chosen.runs): "FOLDER"}  # of this machine
    given = [places.get(word, word) for word in sys.argv[1:]]
    record = {
        "about": "What each way of shrinking a page to 256 × 182 keeps of the trace, and costs. Errors, in mV and ms, "
        "are of what is read back (heartai_utils.downsampling.summarise_errors); shift_mv is the root mean square "
        "change of the trace when the page lies 0 to 8 px further right and down; SSIM and sharpness are explained in "
        "benchmarks/downsampling.py.",
        "command": " ".join(["python benchmarks/downsampling.py", *given]),
        "data": {
            "real": chosen.data is not None,
            "files": len(catalogue),
            "distinct": int(catalogue["copy_group"].nunique()),
            "measured": len(tasks),
            "by_condition": catalogue.drop_duplicates("copy_group")["condition"].value_counts(sort=False).to_dict(),
            "rejected": len(rejected),
        },
        "simulated": {"pages": chosen.pages, "seed": chosen.seed},
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OpenCV {cv2.__version__}, Pillow {PIL.__version__}",
        "own": ds.OWN,
        "fidelity": on,
        "times": times,
        "loading": loading,
    }  # fmt: skip
    if chosen.scores:
        import scores_by_method  # here: TensorFlow is in no process that measures time with one thread

        settings = {"seed": chosen.seed, "repeats": chosen.repeats, "epochs": chosen.epochs}
        record["scores"] = scores_by_method.scores(catalogue, chosen.runs, **settings)
    write_whole(chosen.out, (json.dumps(rounded(record), indent=1, ensure_ascii=False) + "\n").encode())
    methods = {
        name: {told: (table | times["methods"][name])[told] for told in TOLD}
        for name, table in on["simulated"]["methods"].items()
    }
    last = {"methods": methods, "own": ds.OWN}
    last |= {ratio: loading[ratio] for ratio in ("ingest_ratio", "cached_ratio")}
    print(json.dumps(rounded(last)))


if __name__ == "__main__":
    main()
