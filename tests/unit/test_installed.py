# SPDX-License-Identifier: GPL-2.0-only
"""Installed, not checked out: sdist -> wheel -> an empty environment, used by an ordinary user from somewhere else.

Nothing is downloaded: the dependencies are those of the environment that runs the tests.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import __version__, checkout
from harness.checkout import FOLDERS, ROOT, commit, data_directory
from harness.model.errors import UserError
from tests.conftest import require_tool
from tests.unit.inputs_support import make_kernel
from tests.unit.series_support import git

_NOT_COPIED = (".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
_NOBODY = 65534
# What names builds, guests and modules, asked of the package that is imported.
IDS = """
import json
from harness.checkout import data_directory
from harness.flow.prepare import parts_of_root
from harness.guest.root import root_id
from harness.kernel.fragments import read_profile
from harness.kernel.module import sources_id
from harness.suites.registry import registry

suites = registry().suites.values()
folders = {suite.name: suite.needs_module or suite.needs_overlay for suite in suites}
ids = {name: sources_id(folder) for name, folder in folders.items() if folder is not None}
for profile in ("tiny", "lean", "debug"):
    ids[profile] = repr(read_profile(profile, data_directory("kernel-configs")))
print(json.dumps({**ids, "root": root_id(parts_of_root())}))
"""
_PROBE = "import subprocess, sys, click; subprocess.run([sys.executable, '-c', ''], check=True)"
SUITE = 'title = "mine"\nsymbols = ["SWAP"]\nprofile = "lean"\ndeadline = 60\n\n[[floor]]\ncase = "*"\nleast = 1\n'


@dataclass(frozen=True)
class Installed:
    """The harness in an environment of its own. `user` is what makes a command an ordinary user's."""

    top: Path
    wheel: Path
    head: str
    user: tuple[str, ...]

    @property
    def package(self) -> Path:
        return next(self.top.glob("env/lib/python*/site-packages/harness"))

    @property
    def home(self) -> Path:
        return self.top / "home"

    def run(self, *words: str, statuses: Collection[int] = (0,), **more: str) -> subprocess.CompletedProcess[str]:
        program = self.top / "env" / "bin" / words[0]
        # The programs of the dependencies (vng) are where those are.
        path = os.pathsep.join((os.environ["PATH"], sysconfig.get_path("scripts")))
        environment = {"PATH": path, "HOME": str(self.home), **more}
        done = subprocess.run(
            [*self.user, str(program), *words[1:]],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in statuses, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    if tuple(map(int, importlib.metadata.version("setuptools").split(".")[:2])) < (70, 1):
        message = "the setuptools here cannot make a wheel; the one of the extra `test` does"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    require_tool("git")
    require_tool("busybox")
    # Not in pytest's own directory, into which no other user can look.
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        top = Path(scratch).resolve()
        top.chmod(0o755)
        wheel, head = _build(top)
        user = _environment(top / "env")
        _pip("--python", str(top / "env"), "install", "--no-deps", "--ignore-installed", str(wheel))
        (top / "home").mkdir()
        if user:
            os.chown(top / "home", _NOBODY, _NOBODY)
        yield Installed(top, wheel, head, user)


def _build(top: Path) -> tuple[Path, str]:
    """The wheel that is made of the sdist of a copy of this checkout, and the commit of that."""
    copy = top / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
    git(copy, "init", "-q")
    git(copy, "add", "--all")
    git(copy, "commit", "-q", "-m", "a copy")
    (copy / "build/lib/harness/_data/guest-scripts").mkdir(parents=True)
    (copy / "build/lib/harness/_data/guest-scripts/stale").write_text("of an earlier build\n")
    make = "from setuptools import build_meta as b; b.build_sdist('..'); b.build_wheel('../direct')"
    (top / "direct").mkdir()
    subprocess.run([sys.executable, "-c", make], cwd=copy, check=True, timeout=120, capture_output=True)
    (sdist,) = top.glob("*.tar.gz")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(top), str(sdist))
    (wheel,) = top.glob("*.whl")
    return wheel, git(copy, "rev-parse", "--short=12", "HEAD").decode().strip()


def _pip(*words: str) -> None:
    argv = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", *words, "--no-index")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _environment(place: Path) -> tuple[str, ...]:
    """An environment without the harness, and the words before its commands: root becomes nobody, with a Python that
    is nobody's to use as well, where there is one.
    """
    words = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    tries = [(one, words) for one in (sys.executable, f"/usr/bin/{name}") if Path(one).exists() and os.geteuid() == 0]
    for python, user in [*tries, (sys.executable, ())]:
        subprocess.run([python, "-m", "venv", "--clear", "--without-pip", str(place)], check=True, timeout=120)
        (place / "lib" / name / "site-packages" / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
        probe = [*user, str(place / "bin" / "python"), "-c", _PROBE]
        if not user or subprocess.run(probe, cwd="/", capture_output=True, timeout=60, check=False).returncode == 0:
            return user
    raise AssertionError


def test_version_says_the_commit_it_was_built_from(installed: Installed) -> None:
    assert installed.run("ttm-harness", "--version").stdout == (
        f"ttm-harness, version {__version__} (commit {installed.head})\n"
    )


def test_help_and_doctor(installed: Installed) -> None:
    assert "Does this kernel patch series survive" in installed.run("ttm-harness", "--help").stdout
    done = installed.run("ttm-harness", "doctor", "--json", statuses=(0, 3))
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["able"] else 3), "by the disk, memory and tools of this host"
    assert {"vng", "busybox"} < {finding["name"] for finding in told["findings"] if finding["status"] == "ok"}


def test_pytest_finds_the_plugin(installed: Installed) -> None:
    said = installed.run("python", "-m", "pytest", "-p", "no:cacheprovider", "--markers").stdout
    assert "@pytest.mark.guest(ram=" in said


def test_runs_are_listed_of_shipped_suites_and_of_an_own_one(installed: Installed) -> None:
    place = installed.top / "listed"
    make_kernel(place / "linux", "7.3.4")
    (place / "my-suite").mkdir()
    (place / "my-suite" / "suite.toml").write_text(SUITE)
    (place / "my-suite" / "run").write_text("#!/bin/sh\n")
    for suite in ("kunit-self", "pressure", f"{place}/my-suite"):
        done = installed.run("ttm-harness", "run", "--list", "--source", f"{place}/linux", "--suite", suite)
        assert suite.rpartition("/")[2] in done.stdout
    assert (installed.home / ".cache" / "ttm-harness").is_dir()
    assert "ttm-backup-kunit" in installed.run("ttm-harness", "series", "show", "ttm-backup-kunit@v2").stdout


def test_a_wheel_gives_the_ids_that_its_checkout_gives(installed: Installed) -> None:
    here = subprocess.run(
        [sys.executable, "-c", IDS], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    ids = json.loads(installed.run("python", "-c", IDS).stdout)
    assert {"pressure", "drm-shmem", "xe-fake", "root"} < set(ids)
    assert ids == json.loads(here.stdout)


def test_a_wheel_holds_what_the_checkout_does(installed: Installed) -> None:
    copy = installed.top / "checkout"
    places = {copy / "harness": installed.package} | {
        copy / name: installed.package / "_data" / name for name in FOLDERS
    }
    for source, place in places.items():
        held = (path for path in source.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
        for path in held:
            there = place / path.relative_to(source)
            assert there.read_bytes() == path.read_bytes(), there
            assert there.stat().st_mode & 0o111 == path.stat().st_mode & 0o111, there
    assert {path.name for path in (installed.package / "_data").iterdir()} == {*FOLDERS, "commit"}


def test_a_wheel_is_the_same_by_way_of_an_sdist_and_without(installed: Installed) -> None:
    """And of what an earlier build left in the checkout it holds nothing."""
    sums = []
    for path in (installed.wheel, installed.top / "direct" / installed.wheel.name):
        with zipfile.ZipFile(path) as wheel:
            sums.append({one.filename: (one.CRC, one.external_attr >> 16 & 0o111) for one in wheel.infolist()})
    assert sums[0] == sums[1]
    assert not [name for name in sums[0] if name.endswith(("stale", ".pyc"))]


def test_nothing_of_it_is_taken_from_the_checkout(installed: Installed) -> None:
    program = "import harness; from harness.checkout import *; print(harness.__file__, *map(data_directory, FOLDERS))"
    for word in installed.run("python", "-c", program).stdout.split():
        assert Path(word).is_relative_to(installed.package)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(installed: Installed, shell: str) -> None:
    script = installed.run("ttm-harness", _TTM_HARNESS_COMPLETE=f"{shell}_source").stdout
    assert f"_TTM_HARNESS_COMPLETE={shell}_complete" in script


def test_a_folder_that_is_lost_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setattr(checkout, "INSTALLED", tmp_path / "_data")
    with pytest.raises(UserError, match="the folder patches is neither in"):
        data_directory("patches")
    (tmp_path / "patches").mkdir()
    assert data_directory("patches") == tmp_path / "patches"
    (tmp_path / "_data/patches").mkdir(parents=True)
    assert data_directory("patches") == tmp_path / "_data/patches", "what lies beside a package is not its own"


def test_the_commit_of_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Never that of a repository around it."""
    require_tool("git")
    monkeypatch.setattr(checkout, "INSTALLED", tmp_path / "_data")
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    assert commit() == "unknown"
    git(tmp_path, "init", "-q")
    assert commit() == "unknown", "there is no commit yet"
    (tmp_path / "file").write_text("1\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "a-tag")
    head = git(tmp_path, "rev-parse", "--short=12", "HEAD").decode().strip()
    assert commit() == head
    (tmp_path / "file").write_text("2\n")
    assert commit() == f"{head}-dirty"
    monkeypatch.setattr(checkout, "ROOT", tmp_path / "below")
    (tmp_path / "below").mkdir()
    assert commit() == "unknown"
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("harness.proc.search_path", tuple)
    assert commit() == "unknown", "there is no git"
