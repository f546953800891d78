"""How much a simulated page is like a real one, and how well pages are read and recognised.

    python benchmarks/realism.py [REAL] [--parts auc overlap geometry reading recognition] [--out FILE]

REAL is a folder in the published layout; without it HEARTAI_REAL_PAGES, or ../shared/real-ecg-pages/originals beside
the checkout. Without real pages, what needs them is null. Prints a table a part, and ends with one line of JSON:

auc_hog, auc_cnn    how well a classifier tells real thumbnails from simulated ones, mean over 5 grouped folds; 0.5 is
                    not at all
geometry_px         the largest offset between the median real page and the median simulated one, over all elements
read_rmse_mv        what `read_traces` makes of simulated pages against the truth, in the median page: over the columns
                    it does not mark unread, off the crossings
strip_agreement_mv  the rhythm strip against its lead's own window on real pages, RMSE over read columns, median page
pages_accepted      the share of real and simulated pages that `looks_like_a_page` accepts
others_refused      the share of other images (benchmarks/other_images.py) that it refuses

--out writes the same with all details, the seed, the commit and the versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the pages are spread over processes instead

import cv2
import numpy as np
import pandas as pd
from geometry import geometry_part
from other_images import COUNT, other_image
from pages import Page, Workers, real_pages, simulated_pages
from reading import reading_part
from record import commit
from tqdm.std import tqdm

from heartai_utils import page as p
from heartai_utils._layout import FRAME, NAME_BASELINES, NAME_COLUMNS, NAME_HEIGHT
from heartai_utils.beat_features import find_beats, measure
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import read_catalogue, write_whole
from heartai_utils.simulation import LEADS

THUMBNAIL = (256, 182)
FIGURES = (
    "auc_hog", "auc_cnn", "geometry_px", "read_rmse_mv", "strip_agreement_mv", "pages_accepted", "others_refused",
)  # fmt: skip


# --- Told apart by a classifier -----------------------------------------------------------------------------------


def thumbnails(page: Page) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of a page, of its traces and of its print alone: the thumbnail, its HOG, and its HOG in noise.

    HOG divides by the contrast of a block. On blank paper it makes features of a single grey level, by which another
    JPEG encoder rounds; a noise of three grey levels, as any scanner has, hides that and no more.
    """
    grey = page.grey()
    left, top, right, bottom = FRAME
    traces, text = grey.copy(), grey.copy()
    paper = 247
    traces[:top], traces[bottom:] = 255, 255
    traces[top:bottom, : p.TRACE_X - 6] = paper
    for row, leads in enumerate((*p.ROW_LEADS, ("III",))):
        for lead in leads:
            first, last = NAME_COLUMNS[lead]
            name_bottom = NAME_BASELINES[row]
            traces[name_bottom - NAME_HEIGHT - 1 : name_bottom + 1, first - 2 : last + 3] = paper
    text[top:bottom, p.TRACE_X - 6 : right] = paper
    views = {"whole page": grey, "traces only": traces, "print only": text}
    small = {name: cv2.resize(view, THUMBNAIL, interpolation=cv2.INTER_AREA) for name, view in views.items()}
    noise = np.random.default_rng([page.seed, page.number, page.path is None]).normal(0, 3, THUMBNAIL[::-1])
    return {name: (image, hog_features(image), hog_features(image + noise)) for name, image in small.items()}


def hog_features(image: np.ndarray) -> np.ndarray:
    """HOG with 9 orientations, cells of 8×8 px and blocks of 2×2; a row of paper is added above and below."""
    from skimage.feature import hog

    return hog(np.pad(image, ((1, 1), (0, 0)), mode="edge"), 9, (8, 8), (2, 2)).astype(np.float32)


def hog_scores(train_x, train_y, test_x, seed: int) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    model.fit(train_x, train_y)
    return model.decision_function(test_x), model.score(train_x, train_y)


def cnn_scores(train_x, train_y, test_x, seed: int, epochs: int = 20) -> tuple[np.ndarray, float]:
    """A CNN of 5,049 parameters, trained for 20 epochs or until it knows its training pages."""
    from heartai_utils._keras import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = keras.Input((*train_x.shape[1:], 1))
    x = layers.Rescaling(-1 / 64, 255 / 64)(image)
    for width, size, stride in ((8, 5, 2), (16, 3, 1), (24, 3, 1)):
        x = layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    model = keras.Model(image, layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    known = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=[known])
    rng = np.random.default_rng(seed)
    history = {}
    for _ in range(epochs):
        moved = np.roll(train_x, rng.integers(-1, 2, 2), axis=(1, 2))[..., None]  # no pixel is known by heart
        history = model.fit(moved, train_y, batch_size=32, verbose=0).history
        if history["loss"][0] < 0.05:
            break
    return model.predict(test_x[..., None], verbose=0)[:, 0], history["accuracy"][0]


def auc_part(real: pd.DataFrame, seed: int, workers: Workers) -> dict:
    """AUC of two classifiers that tell real thumbnails from as many simulated ones, by 5 grouped folds."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    pages = real_pages(real) + simulated_pages(real["condition"], seed)
    made = workers.map("thumbnails", thumbnails, pages)
    truth = np.r_[np.ones(len(real)), np.zeros(len(real))].astype(int)
    groups = np.r_[pd.factorize(real["id_group"])[0], 10**6 + np.arange(len(real))]
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(truth, truth, groups))
    result = {}
    for view in made[0]:
        images, plain, noisy = map(np.array, zip(*(page[view] for page in made), strict=True))
        classifiers = (("hog", plain, hog_scores), ("hog in noise", noisy, hog_scores), ("cnn", images, cnn_scores))
        for name, features, scores in classifiers:
            aucs, known = [], []
            for fold, (train, test) in enumerate(tqdm(folds, f"{name}, {view}", leave=False)):
                score, accuracy = scores(features[train], truth[train], features[test], seed + fold)
                aucs.append(round(float(roc_auc_score(truth[test], score)), 4))
                known.append(round(float(accuracy), 3))
            result[f"{name}, {view}"] = {
                "auc": round(float(np.mean(aucs)), 4), "sd": round(float(np.std(aucs, ddof=1)), 4),
                "folds": aucs, "training_accuracy": known,
            }  # fmt: skip
    print(f"\nTold apart ({len(real)} real and {len(real)} simulated pages, 5 grouped folds)")
    for name, row in result.items():
        known = np.mean(row["training_accuracy"])
        print(f"  {name:26} AUC {row['auc']:.3f} ± {row['sd']:.3f}   right in training {known:.3f}")
    return {"auc_hog": result["hog, whole page"]["auc"], "auc_cnn": result["cnn, whole page"]["auc"], "details": result}


# --- Distributions ------------------------------------------------------------------------------------------------


def measured(page: Page) -> dict[str, float]:
    traces = p.read_traces(page.grey())
    levels = np.median(traces.signals, axis=1)
    return measure(find_beats(traces)) | {f"level {lead}": float(mv) for lead, mv in zip(LEADS, levels, strict=True)}


def overlap_coefficient(one: np.ndarray, other: np.ndarray) -> float:
    """The area under both densities (kernel estimates of one width), 1 where two distributions are the same."""
    together = np.concatenate([one - np.median(one), other - np.median(other)])
    width = max(1.06 * together.std() * min(len(one), len(other)) ** -0.2, 1e-6)
    grid = np.linspace(min(one.min(), other.min()) - 3 * width, max(one.max(), other.max()) + 3 * width, 512)
    densities = [np.exp(-0.5 * ((grid[:, None] - part) / width) ** 2).mean(axis=1) for part in (one, other)]
    return float(np.minimum(*densities).sum() / np.mean([density.sum() for density in densities]))


def overlap_part(real: pd.DataFrame, seed: int, workers: Workers) -> dict:
    """How far what is measured on real and on simulated pages overlaps, per condition."""
    conditions = np.array(real["condition"])
    sides = (real_pages(real), simulated_pages(conditions, seed))
    tables = [pd.DataFrame(workers.map("beats", measured, pages)) for pages in sides]
    rng = np.random.default_rng(seed)
    rows = []
    for condition in NAMES:
        one, other = (table[conditions == condition] for table in tables)
        for feature in tables[0]:
            a, b = one[feature].dropna().to_numpy(), other[feature].dropna().to_numpy()
            if min(len(a), len(b)) < 5:
                continue
            again = [overlap_coefficient(rng.choice(a, len(a)), rng.choice(a, len(b))) for _ in range(8)]
            rows.append({
                "condition": condition, "feature": feature, "overlap": overlap_coefficient(a, b),
                "real_with_itself": float(np.mean(again)),
                "real": np.quantile(a, [0.1, 0.5, 0.9]).round(3).tolist(),
                "simulated": np.quantile(b, [0.1, 0.5, 0.9]).round(3).tolist(),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    table["lack"] = table["real_with_itself"] - table["overlap"]
    wave = table["feature"].str.split().str[0]
    means = table.pivot_table(index=wave, columns="condition", values="overlap", aggfunc="mean", sort=False)[
        list(NAMES)
    ]
    print("\nOverlap of distributions, real against simulated (mean over leads; 1 is the same)")
    print(means.round(2).to_string())
    print("  worst (10th percentile, median, 90th percentile)")
    for row in table.sort_values("lack", ascending=False).head(16).itertuples():
        overlap = f"{row.overlap:.2f} of {row.real_with_itself:.2f}"
        print(f"  {row.condition:22} {row.feature:10} {overlap}   real {row.real}   simulated {row.simulated}")
    return {"means": means.round(3).to_dict(), "details": json.loads(table.round(3).to_json(orient="records"))}


# --- Recognition --------------------------------------------------------------------------------------------------


def recognised(task: tuple[Page, str | None]) -> tuple[bool, str]:
    page, quality = task
    return p.looks_like_a_page(page.grey(quality))


def refused(number: int) -> tuple[str, bool, str]:
    kind, image = other_image(number)
    return kind, *p.looks_like_a_page(image)


def recognition_part(real: pd.DataFrame | None, seed: int, workers: Workers, pages: int = 320) -> dict:
    """Which pages `looks_like_a_page` accepts, half of the simulated ones in each quality, and what it refuses."""
    simulated = simulated_pages([NAMES[number % 4] for number in range(pages)], seed)
    tasks = [(page, ("high", "low")[number // 4 % 2]) for number, page in enumerate(simulated)]
    tasks += [(page, None) for page in real_pages(real)] if real is not None else []
    said = workers.map("pages", recognised, tasks)
    missed = [f"{page}: {reason}" for (page, _), (fine, reason) in zip(tasks, said, strict=True) if not fine]
    others = pd.DataFrame(workers.map("other images", refused, range(COUNT)), columns=["kind", "accepted", "reason"])
    accepted = others[others["accepted"]]
    unexplained = int((others["reason"] == "").sum() - len(accepted))
    right, wrong = len(said) - len(missed), len(accepted) + unexplained
    print(f"\nRecognition: {right} of {len(said)} pages accepted, {COUNT - wrong} of {COUNT} other images refused")
    for line in [*missed, *(f"accepted: number {row.Index}, {row.kind}" for row in accepted.itertuples())]:
        print(" ", line)
    reasons = others["reason"].value_counts()
    print("  " + reasons.head(12).to_string().replace("\n", "\n  "))
    return {
        "pages_accepted": right / len(said), "others_refused": 1 - wrong / COUNT,
        "pages": len(said), "others": COUNT, "accepted_others": accepted["kind"].to_list(),
        "others_by_kind": others["kind"].value_counts(sort=False).to_dict(), "reasons": reasons.to_dict(),
    }  # fmt: skip


# --- All together -------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[pd.DataFrame | None, int, Workers], dict]] = {
    "auc": auc_part,
    "overlap": overlap_part,
    "geometry": geometry_part,
    "reading": reading_part,
    "recognition": recognition_part,
}
NEED_REAL_PAGES = ("auc", "overlap", "geometry")


def arguments() -> argparse.Namespace:
    beside = Path(__file__).resolve().parents[2] / "shared" / "real-ecg-pages" / "originals"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path, nargs="?", default=Path(os.environ.get("HEARTAI_REAL_PAGES", beside)))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def environment() -> dict[str, str]:
    """The commit, the machine, and the versions of what the figures depend on."""
    import keras
    import scipy
    import skimage
    import sklearn

    modules = (np, scipy, cv2, sklearn, skimage, keras)
    return {
        "commit": commit(), "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(), **{module.__name__: module.__version__ for module in modules},
    }  # fmt: skip


def main() -> None:
    chosen = arguments()
    real = None
    if chosen.real.is_dir():
        catalogue, _ = read_catalogue(chosen.real)
        real = catalogue.drop_duplicates("copy_group")
    else:
        print("No real pages: give a folder in the published layout. What needs them is null.")
    line, details = dict.fromkeys(FIGURES), {}
    workers = Workers()
    try:
        for part in chosen.parts:
            if real is None and part in NEED_REAL_PAGES:
                continue
            began = time.perf_counter()
            found = PARTS[part](real, chosen.seed, workers)
            line |= {key: round(found.pop(key), 4) for key in FIGURES if found.get(key) is not None}
            details[part] = {**found, "seconds": round(time.perf_counter() - began, 1)}
    finally:
        workers.close()
    if chosen.out:
        parts = " ".join(chosen.parts)
        record = {
            "command": f"python benchmarks/realism.py REAL --parts {parts} --seed {chosen.seed} --out FILE",
            "real_pages": None if real is None else real["condition"].value_counts(sort=False).to_dict(),
            "seed": chosen.seed, **environment(), **line, "details": details,
        }  # fmt: skip
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(line))


if __name__ == "__main__":
    main()
