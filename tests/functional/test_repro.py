# SPDX-License-Identifier: GPL-2.0-only
"""A boot of the tiny kernel, made again: from the store, from a bundle in another store, and by the bundle's script.

For the script `make` is one of this test's own: it answers with the kernel that the store has built, as to compile
another one takes minutes. All else of it is real: hashes, guest root, swap disk, QEMU's words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.model.build import Build
from harness.model.codec import from_json
from harness.model.repro import Repro
from tests.conftest import require_tool

SECONDS = 600
RUN = ("run", "--profile", "tiny", "--suite", "kunit-self", "--accel", "tcg", "--ram", "128M", "--swap", "disk:64M")
MAKE = """#!/bin/sh
for word in "$@"; do
	case $word in
	O=*) out=${{word#O=}} ;;
	INSTALL_MOD_PATH=*) mods=${{word#*=}} ;;
	esac
	last=$word
done
case $last in
kernelversion) echo {version} ;;
olddefconfig) ;;
modules) mkdir -p "$out/arch/x86/boot" && cp {image} "$out/arch/x86/boot/bzImage" ;;
modules_install) mkdir -p "$mods" && cp -R {modules} "$mods/" ;;
*) echo "what is $last?" >&2 && exit 1 ;;
esac
"""


def call(*words: str, status: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=cwd)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module", name="run")
def fixture_run(tiny: Build) -> str:
    name: str = json.loads(call(*RUN, "--seed", "5", "--json").stdout)["id"]
    return name


@pytest.fixture(scope="module", name="bundle")
def fixture_bundle(run: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "boot.tar.gz"
    said = call("repro", run, "--bundle", str(target)).stderr
    assert str(target) in said and target.stat().st_size < 8 << 20
    return target


def test_again_from_the_store(run: str) -> None:
    found = from_json(Repro, call("repro", run, "-n", "2", "--json").stdout)
    assert (found.of.partition("/")[0], found.boots, found.told, found.again) == (run, 2, 2, 2)
    assert (found.verdict, found.unlike, found.more) == ("good", (), ())


def test_again_from_a_bundle(run: str, bundle: Path) -> None:
    said = call("repro", str(bundle))
    assert "good again in 1 of 1 boots" in said.stdout
    assert "is as it was packed" in said.stderr


def test_a_bundle_that_was_changed(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar.gz"
    other.write_bytes(bundle.read_bytes()[:-4000])
    assert "is cut short or damaged" in call("repro", str(other), status=2).stderr
    assert "there is no run" in call("repro", str(tmp_path / "none.tar.gz"), status=2).stderr


@pytest.fixture(name="unpacked")
def fixture_unpacked(bundle: Path, tiny: Build, tmp_path: Path) -> Path:
    place = tmp_path / "bundle"
    place.mkdir()
    with tarfile.open(bundle) as archive:
        archive.extractall(place, filter="data")
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux" / "Makefile").write_text("# as far as this test goes\n")
    (tmp_path / "bin").mkdir()
    text = MAKE.format(version=tiny.tree.version, image=tiny.image, modules=tiny.modules.parent)
    (tmp_path / "bin" / "make").write_text(text)
    (tmp_path / "bin" / "make").chmod(0o755)
    return place


def script(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    require_tool("qemu-system-x86_64")
    environment = {"PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}", "HOME": "/nonexistent"}
    argv = [str(place / "reproduce.sh"), *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_its_script_needs_no_harness(unpacked: Path) -> None:
    done = script(unpacked, str(unpacked.parent / "linux"), str(unpacked.parent / "again"))
    assert done.returncode == 0, done.stderr
    console = (unpacked.parent / "again" / "console.log").read_bytes()
    assert b"suite kunit-self begin" in console and b"suite kunit-self end 0" in console
    assert "@exit" in (unpacked.parent / "again" / "control.log").read_text()
    assert "the guest did not end" not in done.stderr and "not quite the same" not in done.stderr


def test_its_script_refuses_what_was_added(unpacked: Path) -> None:
    added = unpacked / "guest" / "scripts" / "more"
    added.write_text("#!/bin/sh\n")
    for look in ("a file", "a link"):
        done = script(unpacked, str(unpacked.parent / "linux"))
        assert (done.returncode, "files in it that were not packed" in done.stderr) == (2, True), look
        added.unlink(missing_ok=True)
        if look == "a file":
            added.symlink_to("/bin/sh")


def test_its_script_refuses_what_was_changed(unpacked: Path) -> None:
    (unpacked / "guest" / "scripts" / "init").write_text("#!/bin/sh\n")
    done = script(unpacked, str(unpacked.parent / "linux"))
    assert done.returncode == 2
    assert "the bundle was changed" in done.stderr
    assert "is no kernel tree" in script(unpacked, "/nonexistent").stderr
    assert "usage:" in script(unpacked).stderr
