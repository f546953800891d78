"""What `read_traces` makes of simulated pages against the truth, and of real pages against themselves."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from pages import Page, Workers, real_pages, simulated_pages

from heartai_utils import page as p
from heartai_utils.conditions import NAMES
from heartai_utils.simulation import LEADS, Recording

COLUMNS = p.STRIP_COLUMNS + 1
FIGURES = ["off_crossings", "read", "at_crossings", "worst_column", "far_off", "unread", "crossings"]


def ink_of(recording: Recording, details: p.PageDetails) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row (4) and column (1969) as the recording says: mV, and the first and last y that the pen touches."""
    seconds = np.arange(recording.signals.shape[1]) / recording.rate
    x = np.arange(p.TRACE_X, p.TRACE_X + COLUMNS)
    mv = np.empty((len(p.BASELINES), COLUMNS))
    mv[p.STRIP_ROW] = np.interp(p.x_to_seconds(x), seconds, recording.lead(details.rhythm_lead))
    for lead in LEADS:
        row, start, end, _, _ = p.lead_window(lead)
        window = slice(start - p.TRACE_X, end - p.TRACE_X)
        mv[row, window] = np.interp(p.x_to_seconds(x[window]), seconds, recording.lead(lead))
        mv[row, max(window.start - 1, 0)] = mv[row, window.start]  # the column between windows belongs to neither
    y = np.array([p.mv_to_y(row, index) for index, row in enumerate(mv)])
    near = np.stack([np.roll(y, shift, axis=1) for shift in (-2, -1, 0, 1, 2)])
    return mv, near.min(axis=0) - 2, near.max(axis=0) + 2


def crossings(first: np.ndarray, last: np.ndarray, room: float = 3.0) -> np.ndarray:
    """(4, 1968) bool: columns in which a row's ink comes within 3 px of another row's, within two columns."""
    met = np.zeros(first.shape, bool)
    for row in range(len(first)):
        for other in range(len(first)):
            if other != row:
                met[row] |= (first[row] - room <= last[other]) & (first[other] - room <= last[row])
    return met


def read_errors(task: tuple[Page, str]) -> dict[str, float]:
    """RMSE in mV of one simulated page over its columns: read and off the crossings, read, and the share unread."""
    page, quality = task
    recording, details = page.drawn()
    traces = p.read_traces(page.grey(quality))
    mv, first, last = ink_of(recording, details)
    met = crossings(first, last)
    error, unread = -mv, np.ones(mv.shape, bool)
    error[p.STRIP_ROW, : p.STRIP_COLUMNS] += traces.strip
    unread[p.STRIP_ROW, : p.STRIP_COLUMNS] = traces.strip_unread
    for lead, signal, lost in zip(LEADS, traces.signals, traces.unread, strict=True):
        row, start, end, _, _ = p.lead_window(lead)
        error[row, start - p.TRACE_X : end - p.TRACE_X] += signal
        unread[row, start - p.TRACE_X : end - p.TRACE_X] = lost
    result = {"condition": page.condition, "kind": recording.facts["kind"], "number": page.number, "quality": quality}
    result |= {"unread": float(unread.mean()), "crossings": float(met.mean())}
    result["off_crossings"] = _rms(error[~unread & ~met])
    result["read"] = _rms(error[~unread])
    result["at_crossings"] = _rms(error[~unread & met]) if (~unread & met).any() else np.nan
    result["worst_column"] = float(np.abs(error[~unread & ~met]).max())
    result["far_off"] = float((np.abs(error[~unread]) > 0.2).mean())
    result["rhythm_lead"] = float(traces.rhythm_lead == details.rhythm_lead)
    return result


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def agreement(page: Page) -> dict[str, float]:
    """RMSE in mV of the strip against its lead's own window, of I + III − II, and the share unread."""
    traces = p.read_traces(page.grey())
    result = {"strip": np.nan}
    if traces.rhythm_lead:
        lead = LEADS.index(traces.rhythm_lead)
        read = ~(traces.unread[lead] | traces.strip_unread[: p.WINDOW_COLUMNS])
        result["strip"] = _rms((traces.signals[lead] - traces.strip[: p.WINDOW_COLUMNS])[read])
    read = ~traces.unread[:3].any(axis=0)
    result["einthoven"] = _rms((traces.signals[0] + traces.signals[2] - traces.signals[1])[read])
    result["unread"] = float(np.r_[traces.unread.ravel(), traces.strip_unread].mean())
    return result


def reading_part(real: pd.DataFrame | None, seed: int, workers: Workers, pages: int = 120) -> dict:
    """What `read_traces` makes of simulated pages against the truth, and of real pages against themselves."""
    drawn = simulated_pages([NAMES[number % 4] for number in range(pages)], seed)
    tasks = [(page, quality) for quality in ("high", "low") for page in drawn]
    table = pd.DataFrame(workers.map("reading", read_errors, tasks))
    off = table["off_crossings"]
    worst = table.loc[off.idxmax()]
    print(f"\nReading {pages} simulated pages in each JPEG quality: RMSE in mV, shares of columns; medians of pages")
    print("  " + table.groupby("quality")[FIGURES].median().round(4).to_string().replace("\n", "\n  "))
    print(
        f"  off the crossings: median {off.median():.4f}, 95 % of pages {off.quantile(0.95):.4f}, all {_rms(off):.4f}"
    )
    print(f"  worst {off.max():.4f} (number {worst['number']}: {worst['condition']}, {worst['kind']})")
    result = {
        "read_rmse_mv": float(off.median()), "strip_agreement_mv": None,
        "simulated": _quantiles(table[FIGURES]), "worst": json.loads(worst.to_json()),
    }  # fmt: skip
    if real is not None:
        table = pd.DataFrame(workers.map("strips", agreement, real_pages(real)))
        strip = table["strip"]
        print(
            f"  {len(table)} real pages, medians: strip against window {strip.median():.4f} (worst {strip.max():.4f}),"
        )
        print(
            f"  I + III − II {table['einthoven'].median():.4f}, columns unread {table['unread'].median():.2%};", end=" "
        )
        print(f"no rhythm lead found on {strip.isna().sum()}")
        result |= {"strip_agreement_mv": float(strip.median()), "real": _quantiles(table)}
    return result


def _quantiles(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    return table.quantile([0.05, 0.5, 0.95, 1.0]).round(5).rename(index=str).to_dict()
