"""Audit real pages and the manifest, time it, and write what was found to a record that others can check.

    python benchmarks/audit.py DATA --out data/measured/audit.json

DATA is a folder in the published layout, copies included. The pages are audited twice, first with nothing kept from
before: elapsed and processor seconds of both are in the record. Prints what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

from record import commit

from heartai_utils.audit import Audit, audit, audit_manifest, report
from heartai_utils.dataset import write_whole


def timed(folder: Path) -> tuple[Audit, dict[str, float]]:
    """An audit, and its elapsed and processor seconds, those of its worker processes included."""

    def processor() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    elapsed, used = time.perf_counter(), processor()
    found = audit(folder)
    return found, {"elapsed": round(time.perf_counter() - elapsed, 1), "processor": round(processor() - used, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as nothing_kept:
        os.environ["HEARTAI_DATA"] = nothing_kept
        found, first = timed(chosen.data)
        same, again = timed(chosen.data)
    if same != found:
        raise SystemExit("the second audit differs from the first")
    manifest = audit_manifest()
    record = {
        "about": "What heartai_utils.audit finds: in the manifest of all published files, and in those pages that were "
        "at hand, copies included. Scores are of programs that read no heart.",
        "command": "python benchmarks/audit.py DATA --out data/measured/audit.json",
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": {"first": first, "again": again},
        "manifest": json.loads(manifest.to_json()),
        "pages": json.loads(found.to_json()),
    }
    write_whole(chosen.out, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    print(report(manifest), report(found), record["seconds"], sep="\n\n")


if __name__ == "__main__":
    main()
