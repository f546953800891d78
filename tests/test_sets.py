"""Simulated sets: the same bytes whatever happens, nothing that gives a condition away unless planted, copies."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from distributed import Client, KilledWorker
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict

from heartai_utils import _cluster, _sets, _simulated, dataset
from heartai_utils.conditions import CONDITIONS, NAMES
from heartai_utils.dataset import DatasetError
from heartai_utils.page import FRAME, HEIGHT, WIDTH, draw_page, load_page, looks_like_a_page
from heartai_utils.simulation import LEADS, simulate_recording


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "set"
    dataset.simulate_set(folder, 10, seed=5, progress=False, workers=1)
    return folder


def reasons(rejected: pd.DataFrame) -> dict[str, str]:
    return {Path(file).name: reason for file, reason in zip(rejected["file"], rejected["reason"], strict=True)}


# --- The same bytes whatever happens


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_simulated_set_reads_back_with_its_groups(simulated):
    catalogue, rejected = dataset.read_catalogue(simulated)
    assert rejected.empty and len(catalogue) == 10 and set(catalogue["source"]) == {"simulated"}
    assert catalogue.groupby("condition").size().to_dict() == dict(zip(NAMES, (3, 3, 2, 2), strict=True))
    manifest = pd.read_csv(simulated / "manifest.csv").set_index("md5")
    known = manifest.loc[catalogue["md5"]]
    assert (known["file"].to_numpy() == catalogue["file"].to_numpy()).all()
    assert (known["printed_id_group"].to_numpy() == catalogue["id_group"].to_numpy()).all()
    assert catalogue["printed_hr_bpm"].between(20, 300).all()
    assert set(dataset.read_manifest()) <= set(pd.read_csv(simulated / "manifest.csv"))


def test_the_truth_beside_a_page_is_the_recording_it_was_drawn_from(simulated):
    catalogue, _ = dataset.read_catalogue(simulated)
    manifest = pd.read_csv(simulated / "manifest.csv").set_index("file")
    for row in catalogue.iloc[[0, 4, 9]].itertuples():
        truth = dataset.read_truth(row.path)
        again = simulate_recording(row.condition, int(manifest.loc[row.file, "seed"]))
        assert truth.signals.shape == (len(LEADS), 5000) and truth.signals.dtype == np.float32
        np.testing.assert_allclose(truth.signals, again.signals, atol=0.00051)
        assert truth.facts == again.facts and truth.condition.name == row.condition and truth.rate == again.rate
        assert load_page(row.path).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DatasetError, match="no truth beside"):
        dataset.read_truth(simulated / CONDITIONS[0].folder / "Normal(99).jpg")


@pytest.mark.slow
def test_bytes_depend_on_neither_workers_nor_growth(simulated, tmp_path):
    dataset.simulate_set(tmp_path / "grown", 3, seed=5, progress=False, workers=1)
    dataset.simulate_set(tmp_path / "grown", 10, seed=5, progress=False, workers=2)
    assert files_of(tmp_path / "grown") == files_of(simulated)


def test_another_seed_draws_other_pages(simulated, tmp_path):
    other = dataset.simulate_set(tmp_path / "other", 2, seed=6, progress=False, workers=1)
    assert not set(other["md5"]) & set(dataset.read_catalogue(simulated)[0]["md5"])


def test_an_interrupted_set_is_resumed_to_the_same_bytes(simulated, tmp_path, monkeypatch):
    make, made = _sets._make_page, []

    def interrupted(dest, plan):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(plan.index)
        return make(dest, plan)

    monkeypatch.setattr(_sets, "_make_page", interrupted)
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        dataset.simulate_set(folder, 10, seed=5, progress=False, workers=1)
    catalogue, rejected = dataset.read_catalogue(folder)
    assert len(catalogue) == 4 and "lists 4 of 10 pages" in rejected["reason"][0]

    torn = Path(catalogue["path"][1])
    torn.write_bytes(torn.read_bytes()[:-1000] + bytes(998) + b"\xff\xd9")
    assert reasons(dataset.read_catalogue(folder)[1])[torn.name].startswith("was altered")
    _sets._truth_path(Path(catalogue["path"][2])).write_bytes(b"PK\x03\x04 torn")

    made.clear()
    monkeypatch.setattr(_sets, "_make_page", lambda dest, plan: (made.append(plan.index), make(dest, plan))[1])
    dataset.simulate_set(folder, 10, seed=5, progress=False, workers=1)
    assert len(made) == 8  # the six that were missing, the torn one and the one without truth
    assert files_of(folder) == files_of(simulated)


def test_a_complete_set_is_not_made_again(simulated, monkeypatch):
    monkeypatch.setattr(_sets, "_make_page", None)
    assert len(dataset.simulate_set(simulated, 10, seed=5, progress=False)) == 10


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 6}, "seed 5 instead of 6"),
        ({"pages": 9}, "pages 10 instead of 9"),
        ({"shares": "published"}, "shares"),
        ({"rate_matched": True}, "rate_matched False instead of True"),
        ({"shortcuts": "date"}, "shortcuts"),
        ({"shortcut_strength": 0.5}, "shortcut_strength"),
    ],
)
def test_a_set_is_not_mixed_with_another(simulated, change, told):
    with pytest.raises(DatasetError, match=told):
        dataset.simulate_set(simulated, **({"pages": 10, "seed": 5, "progress": False} | change))


def test_only_new_empty_or_own_folders_are_written_to(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="holds no simulated set"):
        dataset.simulate_set(tmp_path, 2, progress=False)
    with pytest.raises(DatasetError, match="holds no simulated set"):
        dataset.simulate_set(tmp_path / "thesis.txt", 2, progress=False)
    (tmp_path / "set.json").write_text("{}")
    with pytest.raises(DatasetError, match="set.json cannot be read"):
        dataset.simulate_set(tmp_path, 2, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.json", "thesis.txt"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"pages": 0}, "at least one page"),
        ({"seed": -1}, "a seed of 0 or more"),
        ({"shares": "half"}, "balanced"),
        ({"shares": {"Flu": 1}}, "Flu"),
        ({"shortcuts": "smell"}, "no shortcut 'smell': use some of date, lead_off"),
        ({"shortcuts": {"date": "Flu"}}, "Flu"),
        ({"shortcuts": "date", "shortcut_strength": 0}, "above 0 and up to 1"),
        ({"shortcuts": "date", "shortcut_strength": 1.5}, "above 0 and up to 1"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(tmp_path, wrong, told):
    with pytest.raises(DatasetError, match=told):
        dataset.simulate_set(tmp_path / "set", **({"pages": 4, "progress": False} | wrong))
    assert not (tmp_path / "set").exists()


@pytest.fixture
def forking(monkeypatch):
    """Processes that start at once, without what does not survive a fork or a kill: OpenCV's threads, tqdm's lock."""
    if os.name == "nt":
        pytest.skip("Windows cannot fork")
    monkeypatch.setattr(_sets, "tqdm", lambda pages, *_, **__: pages)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    yield multiprocessing.get_context("fork")
    cv2.setNumThreads(threads)


@pytest.mark.slow
def test_killed_at_any_moment_a_set_is_never_wrong_and_goes_on(simulated, tmp_path, forking):
    whole, folder, rng = files_of(simulated), tmp_path / "set", np.random.default_rng(0)
    killed, wishes = 0, {"seed": 5, "progress": False, "workers": 1}
    for _ in range(12):
        process = forking.Process(target=dataset.simulate_set, args=(folder, 10), kwargs=wishes)
        process.start()
        process.join(rng.uniform(0.005, 0.15))
        killed += process.is_alive()
        process.kill()
        process.join()
        there = {name: data for name, data in files_of(folder).items() if name in whole and name != "manifest.csv"}
        assert all(data == whole[name] for name, data in there.items())
    assert killed > 2 and there
    dataset.simulate_set(folder, 10, **wishes)
    assert {name: data for name, data in files_of(folder).items() if not name.endswith(".part")} == whole


@pytest.mark.slow
def test_what_a_killed_process_left_unfinished_is_no_obstacle_and_is_swept_away(simulated, tmp_path):
    folder = tmp_path / "set"
    left = [folder / ".set.json.12-345.part", folder / CONDITIONS[0].folder / ".Normal(1).jpg.12-345.part"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        if path == left[0]:
            dataset.simulate_set(folder, 1, seed=5, progress=False)
    assert all(path.exists() for path in left)  # they may be another process's
    for path in left:
        os.utime(path, (0, 0))
    dataset.simulate_set(folder, 10, seed=5, progress=False, workers=1)
    assert files_of(folder) == files_of(simulated)


_WITH_A_WORKER = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from heartai_utils._workers import start_worker
pool = ProcessPoolExecutor(1, get_context("spawn"), start_worker)
print(pool.submit(os.getpid).result(), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_caller():
    caller = subprocess.Popen([sys.executable, "-c", _WITH_A_WORKER], stdout=subprocess.PIPE, text=True)
    with caller.stdout as pipe:
        worker = int(pipe.readline())
        caller.kill()
        caller.wait()
        # The pipe is closed when the last process that holds it is gone.
        ended = select.select([pipe], [], [], 60)[0] and pipe.read() == ""
    if not ended:
        os.kill(worker, 9)
    assert ended


def test_the_version_covers_whatever_draws(tmp_path):
    """Every file of the package that the first one needs, however it is imported, and no other."""
    texts = {
        "first.py": "from heartai_utils import second, __version__\nimport os, numpy.random\n",
        "second.py": "def late():\n    from heartai_utils._third import name as other\n",
        "_third.py": "import heartai_utils.fourth as f, heartai_utils.first\n",
        "fourth.py": "from numpy import random\nfrom . import nothing\n",
        "random.py": "",
        "fifth.py": "import heartai_utils.first\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = _sets._sources(tmp_path / "first.py", {})
    assert {path.name for path in found} == {"first.py", "second.py", "_third.py", "fourth.py"}
    assert all(data == texts[path.name].encode() for path, data in found.items())
    real = {path.name for path in _sets._sources(Path(_simulated.__file__), {})}
    assert {"_simulated.py", "simulation.py", "page.py", "_layout.py"} <= real and "_sets.py" not in real


@pytest.mark.parametrize("shares", [{"Normal": -1, "MI": 2}, {"Normal": 0}, {}, {"Normal": float("nan")}, 3, None])
def test_shares_must_be_numbers_with_a_sum(shares):
    with pytest.raises(DatasetError, match="shares"):
        _sets._shares(shares)


def test_counts_follow_the_shares_exactly_and_only_grow():
    def counts(pages, shares):
        plans = _simulated.plans(pages, 0, _sets._shares(shares))
        return [sum(plan.condition.name == name for plan in plans) for name in NAMES]

    assert counts(491, "published") == list(dataset.PUBLISHED_PAGES.values())
    assert counts(400, "balanced") == [100] * 4
    assert counts(30, {"Normal": 2, "PMI": 1}) == [20, 0, 0, 10]
    grown = np.array([counts(pages, "published") for pages in range(1, 200)])
    assert (np.diff(grown, axis=0) >= 0).all()
    quotas = np.arange(1, 200)[:, None] * np.array(list(_sets._shares("published").values()))
    assert np.abs(grown - quotas).max() < 1


def test_pages_share_printed_ids_as_published_whatever_the_condition():
    plans = _simulated.plans(491, 1, _sets._shares("published"))
    ids = pd.Series([plan.printed_id for plan in plans])
    assert abs(ids.nunique() - dataset.PUBLISHED_IDS) < 40 and ids.between(100_000, 999_999).all()
    label = pd.Series([plan.condition.label for plan in plans])
    pairs = [(a, b) for _, g in label.groupby(ids) for i, a in enumerate(g) for b in g.iloc[i + 1 :]]
    agree, chance = np.mean([a == b for a, b in pairs]), (label.value_counts(normalize=True) ** 2).sum()
    assert abs(agree - chance) < 0.1
    assert plans[:100] == _simulated.plans(100, 1, _sets._shares("published"))


def test_copies_are_published_in_the_same_habit(simulated, tmp_path):
    before = dataset.read_catalogue(simulated)[0]
    copied = dataset.publish_with_copies(simulated, tmp_path / "copies")
    assert copied["copy_group"].nunique() == 10 and set(copied["md5"]) == set(before["md5"])
    times = {name: dataset.PUBLISHED_COPIES[name] * n for name, n in before.groupby("condition").size().items()}
    assert copied.groupby("condition").size().to_dict() == times
    md5 = {Path(row.file).stem: row.md5 for row in copied.itertuples()}
    assert all(md5[f"Normal({n})"] == md5[f"Normal({n + 3})"] for n in (1, 2, 3))
    assert all(md5[f"MI({n})"] == md5[f"MI({n + 3 * k})"] for n in (1, 2, 3) for k in range(8))
    assert copied.groupby("copy_group")["id_group"].nunique().max() == 1
    last = copied["path"].iloc[-1]
    assert dataset.read_truth(last).facts["kind"] in ("Q waves", "no Q waves")
    pd.testing.assert_frame_equal(dataset.publish_with_copies(simulated, tmp_path / "copies"), copied)
    with pytest.raises(DatasetError, match="no complete set of distinct pages"):
        dataset.publish_with_copies(tmp_path / "copies", tmp_path / "more")
    with pytest.raises(DatasetError, match="copies True instead of False"):
        dataset.simulate_set(tmp_path / "copies", 12, seed=5, progress=False)


def test_settings_and_facts_are_plain_json(simulated):
    settings_file = json.loads((simulated / "set.json").read_text())
    assert settings_file["seed"] == 5 and settings_file["pages"] == 10 and settings_file["shares"]["Normal"] == 0.25
    with np.load(simulated / "truth" / "Normal(1).npz", allow_pickle=False) as truth:
        assert truth["microvolt"].dtype == np.int16 and "heart_rate_bpm" in json.loads(str(truth["facts"]))


def test_a_copy_that_was_altered_is_put_right(simulated, tmp_path):
    copied = dataset.publish_with_copies(simulated, tmp_path / "copies")
    copy = Path(copied["path"].iloc[-1])
    copy.unlink()
    copy.write_bytes(Path(copied["path"].iloc[0]).read_bytes())
    assert len(dataset.read_catalogue(tmp_path / "copies")[0]) == len(copied) - 1
    pd.testing.assert_frame_equal(dataset.publish_with_copies(simulated, tmp_path / "copies"), copied)


def test_a_chapter_gets_only_the_pages_it_asks_for_and_keeps_them(simulated, tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path))
    four = dataset.course_pages(seed=5, pages=4, progress=False)
    pages = dataset.read_catalogue(simulated)[0]
    assert len(four) == 4 and set(four["md5"]) <= set(pages["md5"])
    assert len(list(tmp_path.rglob("*.jpg"))) == 4
    monkeypatch.setattr(_sets, "_make_page", None)
    pd.testing.assert_frame_equal(dataset.course_pages(seed=5, pages=4, progress=False), four)
    mine = dataset.course_pages(data_dir=simulated, pages=4, progress=False)
    assert mine["path"].tolist() == pages["path"].tolist()
    with pytest.raises(DatasetError, match="use one of quick, full"):
        dataset.course_pages("swift")


def test_a_chapter_gets_copies_and_shortcuts(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path))
    wishes = {"pages": 5, "copies": True, "shares": {"MI": 1, "HB": 1}, "progress": False}
    plain = dataset.course_pages(**wishes)
    planted = dataset.course_pages(**wishes, shortcuts={"mark": "HB"})
    for catalogue in (plain, planted):
        assert catalogue.groupby("condition").size().to_dict() == {"Myocardial infarction": 24, "Abnormal heartbeat": 2}
        assert catalogue["copy_group"].nunique() == 5
    kept = set(plain["md5"]) & set(planted["md5"])
    assert kept == set(plain.loc[plain["condition"] == "Myocardial infarction", "md5"])


# --- What gives a condition away


@pytest.fixture(scope="module")
def without_drawing():
    """The manifest rows of 160 pages that are simulated but not drawn, of a usual and of a rate-matched set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_simulated, "draw_page", lambda recording, details: None)
        patch.setattr(_simulated, "encode_page", lambda page, quality: b"")
        patch.setattr(_simulated.np, "savez", lambda file, **arrays: None)
        tables = []
        for matched in (False, True):
            made = _simulated.plans(160, 1, dict.fromkeys(NAMES, 0.25), matched)
            tables.append(pd.DataFrame([_simulated.make(plan)[0] for plan in made]))
    return tables


def score(feature, label) -> int:
    """How many of the pages a boosted model gets right that sees nothing but one number."""
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=10, early_stopping=False)
    feature = np.asarray(feature, float).reshape(-1, 1)
    return int((cross_val_predict(model, feature, label, cv=5) == label).sum())


@pytest.mark.slow
def test_in_a_rate_matched_set_the_rate_tells_nothing(without_drawing):
    usual, matched = without_drawing
    low, high = stats.binom.ppf([0.005, 0.995], 160, 0.25)
    assert score(usual["printed_hr_bpm"], usual["condition"]) > high + 10
    assert low <= score(matched["printed_hr_bpm"], matched["condition"]) <= high
    assert matched["printed_hr_bpm"].between(*dataset.RATE_MATCHED_BPM).mean() > 0.98
    assert matched.loc[matched["condition"] == "Abnormal heartbeat", "kind"].nunique() > 3
    asked = _simulated.plans(4000, 2, _sets._shares("published"), True)
    rates = [[plan.heart_rate for plan in asked if plan.condition.name == name] for name in NAMES]
    assert stats.kruskal(*rates).pvalue > 0.01
    assert all(stats.kstest(r, stats.uniform(50, 40).cdf).pvalue > 0.01 for r in rates)


def test_rate_matched_pages_are_otherwise_those_of_the_usual_set():
    usual, matched = (_simulated.plans(50, 3, _sets._shares("balanced"), flag) for flag in (False, True))
    assert [replace(plan, heart_rate=None) for plan in matched] == usual
    assert matched[:20] == _simulated.plans(20, 3, _sets._shares("balanced"), True)


def printed(plans) -> pd.DataFrame:
    """What is printed beside the traces of pages, as classes."""
    rows = []
    for plan in plans:
        _, details = _simulated.details_of(plan)
        row = {name: getattr(details, name) for name in ("sex", "rhythm_lead", "date_format", "quality", "mark")}
        row |= {
            "lead_off": details.lead_off,
            "id": details.printed_id[0],
            "digit": details.printed_id[2],
            "length": len(details.printed_id),
        }
        row |= {"month": details.date.month, "day": details.date.day // 8, "hour": details.date.hour // 4}
        rows.append(row | {"condition": plan.condition.name})
    return pd.DataFrame(rows)


def test_nothing_printed_follows_from_the_condition_unless_planted(without_drawing):
    table = printed(_simulated.plans(3000, 4, _sets._shares("published")))
    assert not table["mark"].any() and table["lead_off"].isna().all()  # then printed as read off the trace
    for name in set(table) - {"condition", "mark", "lead_off", "id", "length"}:
        counts = pd.crosstab(table[name], table["condition"])
        assert len(counts) > 1 and stats.chi2_contingency(counts).pvalue > 0.001, name
    off = pd.crosstab(without_drawing[0]["lead_off"], without_drawing[0]["condition"])
    assert stats.chi2_contingency(off).pvalue > 0.001


def test_outside_the_frame_pages_are_alike_whatever_the_condition():
    """But for the heart rate and "Lead Off", which the machine reads off the trace."""
    left, top, right, bottom = FRAME
    for plan in _simulated.plans(6, 5, _sets._shares("balanced")):
        sheets = []
        for condition in CONDITIONS:
            _, details = _simulated.details_of(replace(plan, condition=condition))
            heart = simulate_recording(condition, plan.index)
            quiet = replace(heart, signals=heart.signals * 0.2)  # so that no trace leaves the frame
            sheet = draw_page(quiet, details=replace(details, heart_rate=72, lead_off=False))
            sheet[top:bottom, left:right] = 0
            sheets.append(sheet)
        assert all(np.array_equal(sheet, sheets[0]) for sheet in sheets[1:])


SHOWN_AS = {
    "date": "date_format",
    "lead_off": "lead_off",
    "quality": "quality",
    "mark": "mark",
    "id": "id",
    "sex": "sex",
}


@pytest.mark.parametrize("name", dataset.SHORTCUTS)
def test_a_planted_shortcut_gives_its_condition_away_and_changes_nothing_else(name):
    shares = _sets._shares("balanced")
    plain, plans = (_simulated.plans(200, 6, shares, shortcuts=s) for s in ({}, {name: "History of MI"}))
    before, table = printed(plain), printed(plans)
    theirs = table["condition"] == "History of MI"
    field = "date_format" if name == "date" else name
    column = table[field]
    assert not set(column[theirs]) & set(column[~theirs])
    assert len(set(column[theirs])) == 1
    others = [other for other in table if other != field]
    pd.testing.assert_frame_equal(table[others], before[others])

    one = next(index for index in np.flatnonzero(theirs) if before[field][index] != column[index])
    (seed, shown), (same, details) = (_simulated.details_of(made[one]) for made in (plain, plans))
    heart = simulate_recording("PMI", seed)
    old, new = (draw_page(heart, details=d) for d in (shown, details))
    left, top, right, bottom = FRAME
    assert seed == same and np.array_equal(old[top:bottom, left:right], new[top:bottom, left:right])
    assert np.array_equal(old, new) == (name == "quality") and looks_like_a_page(new)[0]


def test_a_weaker_shortcut_is_followed_by_its_share_of_the_pages():
    shortcuts = {"date": "MI", "mark": "Normal"}
    plans = _simulated.plans(
        2000, 7, _sets._shares("balanced"), shortcuts=_sets._planted(shortcuts), shortcut_strength=0.7
    )
    followed = Counter(name for plan in plans for name, _ in plan.shortcuts)
    for name in shortcuts:
        assert stats.binomtest(followed[name], 2000, 0.7).pvalue > 0.001
    both = sum(len(plan.shortcuts) == 2 for plan in plans)
    assert stats.binomtest(both, 2000, 0.49).pvalue > 0.001  # each on its own
    assert all(given == (plan.condition.name == "Normal") for plan in plans for name, given in plan.shortcuts[1:])


def test_a_set_with_shortcuts_is_recorded_and_resumed(tmp_path):
    wishes = {"seed": 8, "shortcuts": {"mark": "Normal", "sex": "MI"}, "rate_matched": True, "progress": False}
    dataset.simulate_set(tmp_path / "set", 2, **wishes)
    catalogue = dataset.simulate_set(tmp_path / "set", 4, **wishes)
    settings = json.loads((tmp_path / "set" / "set.json").read_text())
    assert settings["shortcuts"] == {"mark": "Normal", "sex": "Myocardial infarction"} and settings["rate_matched"]
    table = pd.read_csv(tmp_path / "set" / "manifest.csv").set_index("file").loc[catalogue["file"]]
    assert table["mark"].tolist() == ["yes", "no", "no", "no"] and table["sex"].tolist()[1] == "Female"
    corner = [load_page(path)[1520:1570, 2180:2210].min() for path in catalogue["path"]]
    assert corner[0] < 60 and min(corner[1:]) > 200


# --- Drawn by the workers of a scheduler (last in this file: its threads are not there yet when tests above fork)


_CLUSTER = """
import sys
from distributed import LocalCluster
with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers, in processes of their own."""
    command = [sys.executable, "-c", _CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        yield cluster.stdout.readline().strip()
        cluster.stdin.close()


@pytest.fixture
def at_page(monkeypatch):
    """Has something done before the nth page of a test is written; gives the indices of those written."""
    write, written = _sets._write_page, []

    def prepare(nth, do):
        def writing(dest, plan, *made):
            if len(written) + 1 == nth:
                do()
            written.append(plan.index)
            return write(dest, plan, *made)

        monkeypatch.setattr(_sets, "_write_page", writing)
        return written

    return prepare


def interrupt():
    raise KeyboardInterrupt


def test_a_killed_worker_costs_no_page_and_changes_no_byte(simulated, tmp_path, scheduler, at_page):
    with Client(scheduler, set_as_default=False) as client:
        workers = list(client.run(os.getpid).values())
    assert len(workers) == 2 and os.getpid() not in workers
    written = at_page(3, lambda: os.kill(workers[0], 9))
    catalogue = dataset.simulate_set(tmp_path / "set", 10, seed=5, progress=False, scheduler=scheduler)
    assert sorted(written) == list(range(10)) and len(catalogue) == 10
    assert files_of(tmp_path / "set") == files_of(simulated)


def test_interrupted_while_others_draw_it_goes_on_with_or_without_them(simulated, tmp_path, scheduler, at_page):
    wishes, folder = {"seed": 5, "progress": False}, tmp_path / "set"
    for nth in (4, 6):
        at_page(nth, interrupt)
        with pytest.raises(KeyboardInterrupt):
            dataset.simulate_set(folder, 10, **wishes, scheduler=scheduler)
        assert len(list(folder.glob("*/*.jpg"))) == len(dataset.read_catalogue(folder)[0]) == nth - 1
    written = at_page(None, None)
    dataset.simulate_set(folder, 10, **wishes, workers=1)
    assert sorted(written) == list(range(10)) and files_of(folder) == files_of(simulated)


def test_workers_that_would_draw_other_pages_draw_none(tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(_sets, "_drawing_tools", lambda: "heartai_utils of tomorrow")
    with pytest.raises(
        _cluster.ClusterError, match="would draw other pages, by .*cv2.* instead of .*of tomorrow.*install"
    ):
        dataset.simulate_set(tmp_path / "set", 2, progress=False, scheduler=scheduler)
    assert not list(tmp_path.rglob("*.jpg"))


def test_a_page_that_workers_cannot_draw_is_named_and_the_others_are_kept(tmp_path, scheduler, monkeypatch):
    completed, lost = _cluster.completed, KilledWorker("draw", SimpleNamespace(address="tcp://10.0.0.6:1"), 3)

    def failing(connection, draw, plans):
        for plan, made in completed(connection, draw, plans):
            yield plan, lost if plan.index == 2 else made

    monkeypatch.setattr(_cluster, "completed", failing)
    with pytest.raises(DatasetError, match=r"could not draw .*HB\(1\).jpg: "):
        dataset.simulate_set(tmp_path / "set", 4, seed=5, progress=False, scheduler=scheduler)
    files = [path.name for path in (tmp_path / "set").glob("*/*.jpg")]
    assert "HB(1).jpg" not in files and len(dataset.read_catalogue(tmp_path / "set")[0]) == len(files)


def test_a_scheduler_that_cannot_be_used_is_told_and_the_set_goes_on_without(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr(_cluster, "_PATIENCE", 0.5)
    wishes = {"seed": 5, "progress": False}
    for address, also, told in (
        ("tcp://127.0.0.1:9", {}, "no scheduler answers at tcp://127.0.0.1:9"),
        ("here", {}, "scheduler 'here' is no address"),
        ("tcp://127.0.0.1:9", {"workers": 2}, "workers=2.*none with a scheduler"),
    ):
        with pytest.raises(_cluster.ClusterError, match=told):
            dataset.simulate_set(tmp_path / "set", 3, **wishes, **also, scheduler=address)
    dataset.simulate_set(tmp_path / "set", 10, **wishes, workers=1)
    assert files_of(tmp_path / "set") == files_of(simulated)
