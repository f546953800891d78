"""What `heartai check` says of a machine that is fit, and of ones that are not."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from heartai_utils import checkup, course, verdict
from heartai_utils._keras import keras


def only(found) -> checkup.Finding:
    """The one finding."""
    (finding,) = [found] if isinstance(found, checkup.Finding) else found
    return finding


def test_this_machine_is_fit():
    findings = checkup.examine()
    assert all(finding.fine for finding in findings), [f for f in findings if not f.fine]
    told = " | ".join(finding.what for finding in findings)
    for word in ("Python 3", "packages as declared", "memory", "core", "kernel", "Keras", "GPU", "chapters", "weights"):
        assert word in told, word


def test_a_step_that_breaks_is_a_finding_and_the_others_go_on(monkeypatch):
    def _memory():
        raise OSError("the kernel says nothing")

    monkeypatch.setattr(checkup, "_memory", _memory)
    faults = [finding for finding in checkup.examine() if not finding.fine]
    assert faults == [checkup.Finding("memory", False, "OSError: the kernel says nothing")]


def test_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    finding = checkup._python()
    assert finding.what.startswith("Python 3.9.18 on ") and not finding.fine and "3.10" in finding.cure


def test_packages_that_are_missing_or_old(monkeypatch):
    wanted = ["keras>=99", "numpy>=1", "heartless", "pytest>=99; extra == 'test'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    right, *wrong = checkup._packages()
    assert right.fine and right.what.startswith("1 of 3 packages as declared: keras")
    assert [finding.what for finding in wrong] == [f"keras {keras.__version__}", "heartless is missing"]
    assert not any(finding.fine for finding in wrong)
    assert "keras>=99" in wrong[0].cure and "requirements.lock" in wrong[0].cure


def test_the_same_package_under_another_name_does(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["tensorflow-cpu>=2.18"])
    monkeypatch.setattr(checkup, "_version", {"tensorflow": "2.19.0"}.get)
    assert only(checkup._packages()) == checkup.Finding("1 of 1 packages as declared: tensorflow-cpu 2.19.0", True)


def test_the_package_itself_is_not_installed(monkeypatch):
    monkeypatch.setattr(checkup, "DISTRIBUTION", "heartless")
    finding = only(checkup._packages())
    assert not finding.fine and "pip install -e ." in finding.cure


def test_other_versions_than_the_lock_are_told_and_no_fault(monkeypatch, tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"keras==0.1\nheartless==1\nnumpy=={importlib.metadata.version('numpy')}\n")
    monkeypatch.setattr(checkup, "LOCK", lock)
    finding = only(checkup._lock())
    assert finding.fine and finding.what.startswith("1 package not as in requirements.lock (keras)")
    lock.write_text("heartless==1 ; sys_platform == 'amiga'\n")
    assert only(checkup._lock()).what == "versions as in requirements.lock"
    lock.unlink()
    assert checkup._lock() == []


@pytest.mark.parametrize(("gib", "fine"), [(1.9, False), (3.8, True), (16, True)])
def test_memory(gib, fine, monkeypatch):
    monkeypatch.setattr("distributed.system.memory_limit", lambda: int(gib * 2**30))
    finding = checkup._memory()
    assert finding.fine is fine and f"{gib:.1f} GiB" in finding.what and "4 GiB" in finding.cure


@pytest.mark.parametrize(
    ("here", "usable", "told"),
    [
        (8, 8, "8 cores"),
        (8, 2, "8 cores, of which this process may use 2"),
        (1, 1, "1 core: chapters take about twice their minutes"),
    ],
)
def test_cores(here, usable, told, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: here)
    monkeypatch.setattr("dask.system.cpu_count", lambda: usable)
    assert checkup._cores() == checkup.Finding(told, True)


def test_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path / "new"))
    assert checkup._data().fine
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**30))
    finding = checkup._data()
    assert not finding.fine and "1 GiB free" in finding.what and "HEARTAI_DATA" in finding.cure


def test_a_kernel_of_another_python_hides_ours(monkeypatch, tmp_path):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    program = str(tmp_path / "bin" / "python")
    (folder / "kernel.json").write_text(json.dumps({"argv": [program, "-m", "ipykernel_launcher"]}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    finding = checkup._kernel()
    assert not finding.fine and program in finding.what and "ipykernel install" in finding.cure
    (folder / "kernel.json").write_text(json.dumps({"argv": ["python3", "-m", "ipykernel_launcher"]}))
    assert checkup._kernel().fine


def test_no_kernel(monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def missing(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", missing)
    finding = checkup._kernel()
    assert not finding.fine and "ipykernel install" in finding.cure


def test_a_gpu_is_named_and_none_is_no_fault(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: ["gpu:0"])
    assert checkup._accelerator() == checkup.Finding("GPU: gpu:0", True)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [])
    assert checkup._accelerator() == checkup.Finding("no GPU: none is needed", True)


def test_chapters_with_a_gap(monkeypatch, tmp_path):
    for name in ("01_first", "03_third"):
        (tmp_path / f"{name}.ipynb").touch()
    monkeypatch.setattr(course, "NOTEBOOKS", tmp_path)
    finding = checkup._chapters()
    assert not finding.fine and "01, 03" in finding.what and "git checkout" in finding.cure


def test_weights_that_are_cut_off(monkeypatch, tmp_path):
    whole, cut = tmp_path / "course.keras", tmp_path / "best.keras"
    shutil.copy(verdict.WEIGHTS, whole)
    cut.write_bytes(whole.read_bytes()[:1000])
    monkeypatch.setattr(verdict, "NAMED", {"course": whole, "best": cut, "traces": tmp_path / "comparator.json"})
    finding = checkup._weights()
    assert not finding.fine and finding.what == "weights missing or damaged: best.keras, comparator.keras"


def test_a_browser_is_no_need(monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTAI_CHROMIUM", sys.executable)
    assert checkup._browser().what == f"browser of the tests: {sys.executable}"
    monkeypatch.delenv("HEARTAI_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkup._browser() == checkup.Finding("no Chromium: only browser tests want it", True)
