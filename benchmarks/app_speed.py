"""How long a reader waits in the reading room: from `heartai app` to the first verdict, and to each one after it.

    python benchmarks/app_speed.py --out FILE

Starts the server, opens the page in Chromium by Playwright, gives a simulated page as a JPEG, and then others. A
verdict counts when its report stands in the page. Needs `pip install -e ".[test]"` and a Chromium. The load of the
machine is recorded, too: on a busy one the seconds say little. Those that processors have worked for the server and
its kernel up to the first verdict are told apart from waiting, so they hold nearly all the same. Ends with one line of
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from record import commit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium, free_port, serving

from heartai_utils.conditions import CONDITIONS
from heartai_utils.dataset import write_whole
from heartai_utils.page import draw_page, encode_page
from heartai_utils.simulation import simulate_recording

REPORTS = "document.querySelectorAll('article.heart-ai').length"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=8, help="given one after the other, the first included")
    parser.add_argument("--rounds", type=int, default=3, help="times the server is started anew")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def drawn(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        recording = simulate_recording(CONDITIONS[number % 4], 700 + number)
        path.write_bytes(encode_page(draw_page(recording, seed=number)))
    return paths


def waited(paths: list[Path], browser) -> dict:
    """Seconds from one start to the address, the room and the first verdict; and from each later file to its report."""
    command = [Path(sys.executable).with_name("heartai"), "app", "--no-browser", "--port", free_port()]
    started = time.perf_counter()
    with serving(command, r"(http://\S+)") as found:
        seconds = {"address": time.perf_counter() - started}
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(found[1])
        button = page.get_by_role("button", name="Choose pages")
        button.wait_for()
        seconds["room"] = time.perf_counter() - started
        later = []
        for number, path in enumerate(paths):
            with page.expect_file_chooser() as chooser:
                button.click()
            given = time.perf_counter()
            chooser.value.set_files(path)
            page.wait_for_function(f"{REPORTS} > {number}", polling="raf")
            now = time.perf_counter()
            if number:
                later.append(now - given)
            else:
                seconds["first_verdict"] = now - started
                worked = working()
        worked["kernel_next"] = round((working()["kernel"] - worked["kernel"]) / max(len(later), 1), 2)
        context.close()
    told = {name: round(each, 2) for name, each in seconds.items()}
    return {"seconds": told, "next": [round(each, 2) for each in later], "processor_seconds": worked}


def working() -> dict[str, float]:
    """Seconds that processors have worked for the server and for the kernel that it has started."""
    worked = {}
    for process in psutil.Process().children(recursive=True):
        command = " ".join(process.cmdline())
        name = "kernel" if "ipykernel" in command else "server" if "heartai app" in command else None
        if name:
            times = process.cpu_times()
            worked[name] = round(times.user + times.system, 2)
    return worked


def main() -> None:
    chosen = arguments()
    before = os.getloadavg()[0]
    rounds = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        paths = drawn(Path(folder), chosen.pages)
        for _ in range(chosen.rounds):
            rounds.append(waited(paths, browser))
            print(json.dumps(rounds[-1]), file=sys.stderr)
    record = {
        "command": f"python benchmarks/app_speed.py --pages {chosen.pages} --rounds {chosen.rounds}",
        "commit": commit(),
        "cores": os.cpu_count(),
        "load_before": round(before, 2),
        "first_verdict": median(each["seconds"]["first_verdict"] for each in rounds),
        "next_verdict": median(second for each in rounds for second in each["next"]),
        "rounds": rounds,
    }
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


if __name__ == "__main__":
    main()
