"""The files by which others get here (GitHub Actions, forms, containers, Binder, Colab, hooks) say what is true."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from heartai_utils import checkup, course

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1]
FORMS = sorted((PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def text(path: str) -> str:
    return (PROJECT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workflow() -> dict:
    return yaml.safe_load(text(".github/workflows/tests.yml"))


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads(text("pyproject.toml"))


def targets() -> set[str]:
    """What `make` can be asked for."""
    return set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE)) | {".venv/.ready"}


def commands(workflow: dict) -> str:
    return "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])


def test_every_system_and_python_that_is_promised_is_tried(workflow, project):
    matrix = workflow["jobs"]["quick"]["strategy"]["matrix"]
    assert matrix["system"] == ["Linux", "macOS", "Windows"] == [each["system"] for each in matrix["include"]]
    assert all(isinstance(version, str) for version in matrix["python"])  # 3.10 as a number is 3.1
    assert matrix["python"][0] == ".".join(map(str, checkup.MIN_PYTHON)) == project["project"]["requires-python"][2:]
    assert matrix["python"] == [f"3.{minor}" for minor in range(10, 14)]


def test_the_workflow_calls_what_there_is(workflow):
    called = re.findall(r"^(?:run: )?make (\S+)$", commands(workflow), re.MULTILINE)
    assert {"quick", "test", "site"} == set(called) and set(called) <= targets()
    (listed,) = re.findall(r"python (-m pytest .*)", commands(workflow))
    assert listed in text("Makefile")  # without make the same
    (chapter,) = re.findall(r"notebooks/\S+\.ipynb", listed)
    assert (PROJECT / chapter).exists()


def test_the_workflow_is_modest(workflow):
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in text(".github/workflows/tests.yml")
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert all(re.fullmatch(r"[\w/-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)


@pytest.mark.parametrize("path", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.stem)
def test_forms_are_whole(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_a_mistake_is_told_with_chapter_cell_and_check():
    form = yaml.safe_load(text(".github/ISSUE_TEMPLATE/mistake.yml"))
    fields = {field["id"]: field for field in form["body"] if "id" in field}
    for name in ("chapter", "cell", "profile", "pages", "check"):
        assert fields[name]["validations"]["required"] is True, name
    assert "heartai check" in fields["check"]["attributes"]["label"]
    listed = [option[:2] for option in fields["chapter"]["attributes"]["options"] if option[:2].isdigit()]
    assert set(listed) >= {path.name[:2] for path in course.chapters()}


def test_the_container_sets_up_as_the_readme_says():
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert (PROJECT / ".devcontainer" / container["build"]["dockerfile"]).exists()
    for target in re.findall(r"make (\S+)", container["postCreateCommand"]):
        assert target in targets()
    assert container["forwardPorts"] == [8888]
    assert all((PROJECT / name).exists() for name in container["customizations"]["codespaces"]["openFiles"])
    image, user = re.findall(r"^(?:FROM python:3\.|USER )(\w+)$", text(".devcontainer/Dockerfile"), re.MULTILINE)
    assert 10 <= int(image) <= 13 and user == container["remoteUser"] != "root"


def test_binder_installs_the_lock_and_the_package():
    assert re.fullmatch(r"python-3\.1[0-3]\n", text("binder/runtime.txt"))
    (line,) = text("binder/requirements.txt").splitlines()
    assert (PROJECT / "binder" / line.removeprefix("-r ")).resolve() == PROJECT / "requirements.lock"
    assert "pip install" in text("binder/postBuild") and "--no-deps --editable ." in text("binder/postBuild")
    if os.name == "posix":
        assert os.access(PROJECT / "binder" / "postBuild", os.X_OK)
        assert subprocess.run(["bash", "-n", PROJECT / "binder" / "postBuild"]).returncode == 0


def test_colab_keeps_its_own_tensorflow_and_jupyter(project):
    lines = [line for line in text("binder/colab.txt").splitlines() if not line.startswith("#")]
    declared = project["project"]["dependencies"]
    assert set(lines) <= set(declared)
    left_out = {Requirement(line).name for line in set(declared) - set(lines)}
    assert left_out == {
        "tensorflow", "tensorflow-cpu", "jupyterlab", "ipykernel", "nbformat", "nbclient", "nbconvert", "papermill",
        "latex2mathml", "voila",
    }  # fmt: skip


def test_hooks_call_tools_of_the_environment(project):
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    called = [hook["entry"].split()[0] for hook in repository["hooks"] if hook["language"] == "system"]
    assert {".venv/bin/ruff", ".venv/bin/codespell", ".venv/bin/python"} == set(called)
    for entry in (hook["entry"] for hook in repository["hooks"]):
        assert all((PROJECT / name).exists() for name in re.findall(r"(?:tests|notebooks)/\w+\.py", entry))


def test_too_large_a_file_is_named(tmp_path):
    (hook,) = [hook for hook in hooks() if hook["id"] == "size"]
    code = re.search(r'-c "(.*)"$', hook["entry"])[1]
    (tmp_path / "large.bin").write_bytes(bytes(3_000_001))
    (tmp_path / "small.bin").write_bytes(bytes(3_000_000))
    for names, expected in ((["small.bin"], 0), (["small.bin", "large.bin"], 1)):
        result = subprocess.run([sys.executable, "-c", code, *names], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == expected and ("large.bin: over 3 MB" in result.stderr) is bool(expected)


def test_the_lecturers_page_names_what_there_is():
    page = text("docs/lecturers.md")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page)
    assert len(links) >= 12 and all((PROJECT / "docs" / link).resolve().exists() for link in links)
    scripts = re.findall(r"python (\S+\.py)", page)
    assert scripts and all((PROJECT / script).exists() for script in scripts)
    assert {path.name for path in course.chapters()} <= {Path(link).name for link in links}


def hooks() -> list[dict]:
    return yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
