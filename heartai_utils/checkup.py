"""Can this machine run the course? One finding for each thing that has stopped learners before, with its cure.

What is not needed but good to know (a GPU, JAX, a browser for the tests) is told too, and is never a fault.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MIN_PYTHON = (3, 10)
MIN_MEMORY_GIB = 4
MIN_DISK_GIB = 2
DISTRIBUTION = "heartai-utils"
STAND_INS = {"tensorflow-cpu": "tensorflow", "opencv-python-headless": "opencv-python"}  # builds that can do more
SHOWN = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "jupyterlab")  # named with their versions, if declared
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is fine, and the cure if not."""

    what: str
    fine: bool
    cure: str = ""


def examine() -> list[Finding]:
    """Look at everything; nothing here raises."""
    steps: list[Callable[[], Finding | list[Finding]]] = [
        _python, _packages, _lock, _memory, _cores, _data, _kernel, _keras, _accelerator, _chapters, _weights, _browser
    ]  # fmt: skip
    findings: list[Finding] = []
    for step in steps:
        try:
            found = step()
            findings += [found] if isinstance(found, Finding) else found
        except Exception as error:  # a check that breaks is a finding too
            findings.append(Finding(step.__name__.strip("_"), False, f"{type(error).__name__}: {error}"))
    return findings


def _python() -> Finding:
    version, system = ".".join(map(str, sys.version_info[:3])), f"{platform.system()} {platform.machine()}"
    oldest = ".".join(map(str, MIN_PYTHON))
    return Finding(f"Python {version} on {system}", sys.version_info >= MIN_PYTHON, f"install Python {oldest} or newer")


def _packages() -> list[Finding]:
    """One finding that counts the packages that are as pyproject.toml wants them, and one for each that is not."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        cure = "run `pip install -e . --no-deps` in the project's folder"
        return [Finding(f"the package {DISTRIBUTION}", False, cure)]
    requirements = [Requirement(text) for text in declared]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    versions = {}
    for name in (requirement.name for requirement in needed):
        versions[name] = _version(name) or _version(STAND_INS.get(name, name))
    findings = []
    for requirement in needed:
        version = versions[requirement.name]
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            cure = f"needs {requirement.name}{requirement.specifier}: run `pip install -r requirements.lock`"
            findings.append(Finding(f"{requirement.name} {version or 'is missing'}", False, cure))
    shown = ", ".join(f"{name} {versions[name]}" for name in SHOWN if versions.get(name))
    return [Finding(f"{len(needed) - len(findings)} of {len(needed)} packages as declared: {shown}", True), *findings]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lock() -> list[Finding]:
    """How far this environment is from the one that the stored numbers come from; never a fault."""
    if not LOCK.exists():
        return []
    others = [name for name, pinned, installed in _pinned() if installed not in (None, pinned)]
    if not others:
        return [Finding("versions as in requirements.lock", True)]
    shown = ", ".join(others[:3]) + ", …" * (len(others) > 3)
    told = f"{len(others)} package{'s' * (len(others) > 1)} not as in requirements.lock ({shown})"
    return [Finding(f"{told}: last digits may differ", True)]


def _pinned() -> Iterator[tuple[str, str, str | None]]:
    """Name, locked and installed version of each package that the lock names for this machine."""
    from packaging.requirements import Requirement

    for line in LOCK.read_text(encoding="utf-8").splitlines():
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate():
            yield pin.name, str(pin.specifier).removeprefix("=="), _version(pin.name)


def _memory() -> Finding:
    """What this process may use: of the machine, or of the container it runs in."""
    from distributed.system import memory_limit

    gib = memory_limit() / 2**30
    cure = f"the course wants {MIN_MEMORY_GIB} GiB: close other programs, or give the container more"
    return Finding(f"memory {gib:.1f} GiB", gib >= MIN_MEMORY_GIB * 0.9, cure)


def _cores() -> Finding:
    from dask.system import cpu_count

    here, usable = os.cpu_count() or 1, cpu_count()
    limited = f", of which this process may use {usable}" if usable < here else ""
    slow = ": chapters take about twice their minutes" if usable == 1 else ""
    return Finding(f"{here} core{'s' * (here > 1)}{limited}{slow}", True)


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
    """The kernel that JupyterLab and papermill start by this name; an old one of the user's may hide ours."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    cure = f"run `{sys.executable} -m ipykernel install --sys-prefix --name python3`"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Finding("no Jupyter kernel python3", False, cure)
    names = ("python", *(f"python{'.'.join(map(str, sys.version_info[:n]))}" for n in (1, 2)))  # Jupyter's own Python
    if program in names or Path(program).parent == Path(sys.executable).parent:
        return Finding("Jupyter kernel python3", True)
    return Finding(f"Jupyter kernel python3 starts another Python, {program}", False, cure)


def _keras() -> Finding:
    from heartai_utils._keras import keras

    total = float(keras.ops.sum(keras.ops.ones((2, 2))))
    jax = _version("jax")
    beside = f"; JAX {jax} is there too (KERAS_BACKEND=jax)" if jax else "; no JAX: none is needed"
    told = f"Keras {keras.__version__} computes on {keras.backend.backend()}{beside}"
    return Finding(told, total == 4.0, "run `pip install --force-reinstall -r requirements.lock`")


def _accelerator() -> Finding:
    from heartai_utils._keras import keras

    found = keras.distribution.list_devices("gpu")
    return Finding(f"GPU: {', '.join(found)}" if found else "no GPU: none is needed", True)


def _chapters() -> Finding:
    from heartai_utils.course import chapters

    numbers = [path.name[:2] for path in chapters()]
    whole = numbers == [f"{number:02d}" for number in range(1, len(numbers) + 1)]
    told = f"{len(numbers)} chapters" if whole else f"chapters {', '.join(numbers)} alone"
    return Finding(told, whole, "run `git checkout -- notebooks`, or clone the project again")


def _weights() -> Finding:
    """The models that come along. A Keras file is a zip: one that was cut off, or is a mere pointer, is none."""
    from heartai_utils.verdict import NAMED

    wanted = [path.with_suffix(".keras") for path in NAMED.values()]
    broken = [path.name for path in wanted if not zipfile.is_zipfile(path)]
    told = f"weights of {len(wanted)} models" if not broken else f"weights missing or damaged: {', '.join(broken)}"
    return Finding(told, not broken, "run `git checkout -- data/weights`, or clone the project again")


def _browser() -> Finding:
    names = [os.environ["HEARTAI_CHROMIUM"]] if os.environ.get("HEARTAI_CHROMIUM") else BROWSERS
    found = next((path for name in names if (path := shutil.which(name))), None)
    return Finding(f"browser of the tests: {found}" if found else "no Chromium: only browser tests want it", True)
