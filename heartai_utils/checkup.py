"""Can this machine run the course? One finding for each thing that has stopped learners before."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

MIN_PYTHON = (3, 10)
MIN_MEMORY_GIB = 4
MIN_DISK_GIB = 2


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is fine, and the cure if not."""

    what: str
    fine: bool
    cure: str = ""


def examine() -> list[Finding]:
    """Look at everything; nothing here raises."""
    steps: list[Callable[[], Finding]] = [_python, *_packages(), _memory, _cores, _data, _kernel, _keras, _chapters]
    findings = []
    for step in steps:
        try:
            findings.append(step())
        except Exception as error:  # a check that breaks is a finding too
            findings.append(Finding(step.__name__.strip("_"), False, f"{type(error).__name__}: {error}"))
    return findings


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(f"Python {version}", sys.version_info >= MIN_PYTHON, "install Python 3.10 or newer")


def _packages() -> list[Callable[[], Finding]]:
    """One check a package that pyproject.toml names."""
    from packaging.requirements import Requirement

    def look(requirement: Requirement) -> Finding:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        cure = f"needs {requirement}: run `pip install -r requirements.lock` in the project's folder"
        return Finding(f"{requirement.name} {version}", version is not None and version in requirement.specifier, cure)

    try:
        wanted = importlib.metadata.requires("heartai-utils") or []
    except importlib.metadata.PackageNotFoundError:
        cure = "run `pip install -e . --no-deps` in the project's folder"
        return [lambda: Finding("the package heartai-utils", False, cure)]
    requirements = [Requirement(text) for text in wanted]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [lambda requirement=requirement: look(requirement) for requirement in needed]


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory: not told by this system", True)
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Finding(f"memory {gib:.0f} GiB", gib >= MIN_MEMORY_GIB * 0.9, f"the course wants {MIN_MEMORY_GIB} GiB")


def _cores() -> Finding:
    return Finding(f"{os.cpu_count()} cores", True)


def _data() -> Finding:
    from heartai_utils.dataset import data_home

    home = data_home()
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free / 2**30
    fine = os.access(home, os.W_OK) and free >= MIN_DISK_GIB
    return Finding(
        f"data folder {home}, {free:.0f} GiB free", fine,
        f"set HEARTAI_DATA to a folder that you may write to, with {MIN_DISK_GIB} GiB free",
    )  # fmt: skip


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager

    cure = "run `python -m ipykernel install --sys-prefix --name python3`"
    return Finding("Jupyter kernel python3", "python3" in KernelSpecManager().find_kernel_specs(), cure)


def _keras() -> Finding:
    from heartai_utils._keras import keras

    total = float(keras.ops.sum(keras.ops.ones((2, 2))))
    return Finding(f"Keras {keras.__version__} computes on {keras.backend.backend()}", total == 4.0, "reinstall Keras")


def _chapters() -> Finding:
    from heartai_utils.course import chapters

    return Finding(f"{len(chapters())} chapters", True)
