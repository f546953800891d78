"""Measure the simulator: its speed, and whether what it says about its hearts is true.

    python benchmarks/simulation.py --recordings 200 --seed 0

Recordings are drawn in turn from the four conditions, their kinds and rates by their shares. R peaks are looked for by
NeuroKit2's default detector (``pip install -e ".[benchmarks]"``) in the printed recording, in the lead a reader would
take: the one whose QRS is steepest for its height. A beat counts as found if a peak is within 40 ms of it. Beats of
the first and the last 0.3 s are left out: the detector's threshold, a mean over 0.75 s, has not settled there. Times
are of the processor, side by side in one process. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings

import numpy as np
from tqdm.std import tqdm

from heartai_utils.conditions import CONDITIONS, HISTORY_OF_MI, MYOCARDIAL_INFARCTION
from heartai_utils.page import draw_page
from heartai_utils.simulation import (
    LEADS,
    ST_ELEVATION_MV,
    TERRITORY_LEADS,
    Recording,
    simulate_recording,
)

try:
    import neurokit2
except ImportError:
    sys.exit('NeuroKit2 is missing: install the extra with  pip install -e ".[benchmarks]"')

INDEPENDENT = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
NEAR_S, EDGE_S = 0.040, 0.3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def cpu_seconds(work, times: int) -> float:
    """The median processor time of one call."""
    taken = []
    for number in range(times):
        start = time.process_time()
        work(number)
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def clearest_lead(recording: Recording) -> np.ndarray:
    """(samples,) of the independent lead whose QRS is steepest for its height, upright."""
    leads = recording.signals[INDEPENDENT]
    steepest = np.quantile(np.abs(np.gradient(leads, axis=1)), 0.99, axis=1)
    height = np.quantile(np.abs(leads), 0.9, axis=1)
    lead = leads[(steepest / (height + 0.02)).argmax()]  # 0.02 mV: what is flat is not clear
    return lead if lead.max() > -lead.min() else -lead


def found_peaks(recording: Recording) -> np.ndarray:
    """(3,) how many beats NeuroKit2 finds, how many there are, and how many it finds where there is none."""
    rate = round(recording.rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = neurokit2.ecg_clean(clearest_lead(recording), sampling_rate=rate)
        peaks = neurokit2.ecg_peaks(clean, sampling_rate=rate)[1]["ECG_R_Peaks"] / recording.rate
    truth = np.array(recording.facts["r_peaks_s"])
    end = recording.signals.shape[1] / recording.rate - EDGE_S
    asked, inside = truth[(truth > EDGE_S) & (truth < end)], peaks[(peaks > EDGE_S) & (peaks < end)]
    far = np.abs(truth[:, None] - inside[None, :]) > NEAR_S
    found = (np.abs(asked[:, None] - peaks[None, :]) <= NEAR_S).any(axis=1)
    return np.array([found.sum(), len(asked), far.all(axis=0).sum()])


def disagreement(recording: Recording) -> float:
    """The worst violation of Einthoven's and Goldberger's identities, in mV."""
    i, ii, iii, avr, avl, avf = recording.signals[:6].astype(float)
    zero = np.array([i + iii - ii, avr + (i + ii) / 2, avl - (i - iii) / 2, avr + avl + avf])
    return float(np.abs(zero).max())


def beats_of(recording: Recording, leads: np.ndarray) -> np.ndarray:
    """(beats, 12, samples) of whole usual beats, ms by ms from 15 ms before the onset of QRS to 60 after J."""
    facts, time_ms = recording.facts, np.arange(leads.shape[1]) * 1e3 / recording.rate
    window = np.arange(facts["onset_ms"] - 15, facts["j_ms"] + 62)
    usual = [at for at, kind in zip(facts["r_peaks_s"], facts["beat_kinds"], strict=True) if kind == "N"]
    whole = [1e3 * at for at in usual if 1e3 * at + window[0] >= 0 and 1e3 * at + window[-1] <= time_ms[-1]]
    return np.array([[np.interp(at + window, time_ms, lead) for lead in leads] for at in whole])


def holds_criterion(recording: Recording) -> bool:
    """Whether the median beat of a recording without noise and filter holds the criterion in the leads named."""
    facts = recording.facts
    beat = np.median(beats_of(recording, recording.signals), axis=0)
    beat = beat[:, 15:] - beat[:, :1]
    j = round(facts["j_ms"] - facts["onset_ms"])
    if recording.condition == MYOCARDIAL_INFARCTION:
        held = np.minimum(beat[:, j], beat[:, j + 60]) >= ST_ELEVATION_MV
    else:
        qrs = beat[:, : j + 1]
        above, below = qrs > 0.02, qrs < -0.02
        start = np.where(below.any(1), below.argmax(1), j)
        end = np.where(above.any(1), above.argmax(1), j)
        depth = np.where(np.arange(j + 1) < end[:, None], -qrs, 0).max(1)
        held = (end - start >= 30) & (depth >= 0.1) | np.isin(LEADS, ("V2", "V3")) & (end - start >= 20)
    seen = dict(zip(LEADS, held, strict=True))
    runs = TERRITORY_LEADS[facts["territory"]]
    return all(any(seen[a] and seen[b] for a, b in zip(run, run[1:], strict=False)) for run in runs)


def criteria(count: int, seed: int) -> float:
    """The share of infarctions, of any rate, whose criterion holds in the recording as it is drawn."""
    held = []
    for number in tqdm(range(count), desc="criteria", leave=False):
        condition = (MYOCARDIAL_INFARCTION, HISTORY_OF_MI)[number % 2]
        kind = "Q waves" if condition == HISTORY_OF_MI else None
        rate = np.random.default_rng([seed, number]).uniform(45, 190) if number % 4 >= 2 else None
        clean = simulate_recording(condition, seed + number, kind=kind, heart_rate=rate, noise=False, print_filter=None)
        held.append(holds_criterion(clean))
    return float(np.mean(held))


def main() -> None:
    chosen = arguments()
    peaks = np.zeros(3, int)
    worst, recordings = 0.0, []
    for number in tqdm(range(chosen.recordings), desc="recordings", leave=False):
        recording = simulate_recording(CONDITIONS[number % len(CONDITIONS)], chosen.seed + number)
        peaks += found_peaks(recording)
        worst = max(worst, disagreement(recording))
        recordings.append(recording)
    held = criteria(chosen.recordings, chosen.seed)

    own = cpu_seconds(lambda n: simulate_recording(CONDITIONS[n % 4], chosen.seed + n), 40)
    theirs = cpu_seconds(
        lambda n: neurokit2.ecg_simulate(duration=10, sampling_rate=500, method="multileads", random_state=n), 3
    )
    page = cpu_seconds(lambda n: draw_page(recordings[n % len(recordings)], seed=n), 40)

    print(f"beats found by NeuroKit2   {peaks[0]} of {peaks[1]}, and {peaks[2]} where there is none")
    print(f"criteria held as drawn     {held:.1%} of infarctions at their own and at 45 to 190 bpm")
    print(f"Einthoven and Goldberger   within {worst:.1e} mV")
    print(f"a recording                {1e3 * own:.1f} ms (NeuroKit2: {1e3 * theirs:.0f} ms)")
    print(f"a drawn page               {1e3 * page:.1f} ms without JPEG")
    result = {
        "pages_per_second_core": round(1 / page, 1),
        "recordings_vs_neurokit": round(theirs / own, 1),
        "r_peaks_found": round(float(peaks[0] / peaks[1]), 4),
        "einthoven_mv": worst,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
