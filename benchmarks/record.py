"""What every record says of where it comes from."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

from heartai_utils.evaluation import Interval


def commit() -> str:
    """The commit that is checked out, with "-dirty" if files differ from it."""
    here = Path(__file__).parent
    said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
    return said.stdout.strip()


def machine(run: Path) -> str:
    """Where a run folder's run was trained."""
    found = json.loads((run / "environment.json").read_text())
    return f"{platform.machine()}, {found['cores']} cores, {found['backend']}, Keras {found['keras']}"


def ends(interval: Interval) -> dict[str, float]:
    """A mean and its interval."""
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
