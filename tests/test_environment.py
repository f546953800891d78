"""The files that say what the project needs agree with each other."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def declared() -> list[str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return project["dependencies"] + project["optional-dependencies"]["test"]


def locked() -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in (PROJECT / "requirements.lock").read_text().splitlines():
        requirement = Requirement(line)
        pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def test_environment_yml_lists_the_same_packages(declared):
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    by_pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert sorted(by_pip) == sorted(declared)


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml"])
def test_each_entry_has_its_reason(name, declared):
    lines = (PROJECT / name).read_text().splitlines()
    for requirement in declared:
        (line,) = [line for line in lines if requirement in line]
        reason = line.split("#", 1)[1] if "#" in line else ""
        assert len(reason.split()) >= 2, f"{name}: {requirement} has no reason"


def test_the_lock_pins_what_is_declared(declared):
    pins = locked()
    for text in declared:
        requirement = Requirement(text)
        versions = [str(pin.specifier).removeprefix("==") for pin in pins[canonicalize_name(requirement.name)]]
        assert versions and all(version in requirement.specifier for version in versions), text


def test_the_lock_says_nothing_of_where_packages_come_from():
    for line in (PROJECT / "requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^ ]+( ; .+)?", line), line


def test_what_is_installed_is_what_is_locked():
    wrong = []
    for name, pins in locked().items():
        for pin in pins:
            if pin.marker is None or pin.marker.evaluate():
                if version(name) not in pin.specifier:
                    wrong.append(f"{name} {version(name)}, locked {pin.specifier}")
    assert not wrong


def test_each_import_of_the_package_is_declared(declared):
    """A package that is imported but not named works only as long as something else happens to bring it."""
    modules = {
        "cv2": "opencv-python-headless",
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "tensorflow": "tensorflow-cpu",
    }
    names = {canonicalize_name(Requirement(text).name) for text in declared}
    along = {"ipython": "ipykernel", "jupyter-client": "ipykernel", "packaging": "papermill"}
    along |= {"tornado": "distributed", "traitlets": "ipykernel"}
    along |= {"requests": "pooch", "urllib3": "pooch", "dask": "distributed"}  # always come with these
    imported = set()
    for path in (PROJECT / "heartai_utils").glob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    for module in imported - set(sys.stdlib_module_names) - {"heartai_utils", "__future__"}:
        name = canonicalize_name(modules.get(module, module))
        assert along.get(name, name) in names, f"{module} is imported but not declared"
