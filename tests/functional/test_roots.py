# SPDX-License-Identifier: GPL-2.0-only
"""Guests whose commands and suites run in another root: of Debian, of an archive, of a directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.boots import BootEnvironment
from harness.flow.live import LiveGuest, live_guest
from harness.flow.prepare import Stopwatch, parts_of_root, prepare_other
from harness.guest.root import guest_root
from harness.model.build import Build
from harness.model.errors import UserError
from harness.model.kernel import PreparedKernel
from harness.model.machine import Machine, Swap
from harness.model.outcome import Outcome
from harness.model.root import PreparedRoot, RootSpec
from harness.model.units import MIB
from harness.proc import Deadline, find_tool
from harness.store.layout import Layout
from tests.functional.conftest import TINY_MACHINE, Quiet, Runner

SECONDS = 120.0
ROOT = Path(__file__).parents[2]
Boots = Callable[..., AbstractContextManager[LiveGuest]]
SWAPPING = replace(TINY_MACHINE, swap=Swap.parse("disk:64M@5"))


@pytest.fixture(name="own", scope="module")
def fixture_own(layout: Layout) -> Path:
    return guest_root(layout, parts_of_root(), Deadline(60))


@pytest.fixture(name="boots")
def fixture_boots(tiny: Build, layout: Layout, own: Path, tmp_path: Path) -> Boots:
    def boots(
        other: PreparedRoot | None, machine: Machine = SWAPPING, ssh: bool = False
    ) -> AbstractContextManager[LiveGuest]:
        environment = BootEnvironment(PreparedKernel(tiny, {}), own, tmp_path, Quiet(), other=other)
        return live_guest(environment, machine, layout, ssh=ssh)

    return boots


@pytest.fixture(name="small")
def fixture_small(tmp_path: Path) -> Path:
    """The least that a root can be: a shell, and a place for modules."""
    busybox = find_tool("busybox")
    assert busybox is not None
    root = tmp_path / "small"
    for name in ("usr/bin", "usr/lib/modules", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib"):
        (root / name).symlink_to(f"/usr/{name}")  # absolute: as the guest follows it
    shutil.copy(busybox, root / "usr/bin/busybox")
    for applet in ("sh", "cat", "chmod", "mv", "rm", "mkdir", "touch"):
        (root / "usr/bin" / applet).symlink_to("busybox")
    (root / "etc/mine").write_text("mine\n")
    return root


def test_commands_run_in_a_root_of_debian(boots: Boots, debian: PreparedRoot, tmp_path: Path) -> None:
    with boots(debian) as guest:
        assert b"VERSION_CODENAME" in guest.run("cat /etc/os-release", timeout=SECONDS).out
        # What a dash and a busybox have not.
        assert guest.run(("bash", "-c", "a=(1 2); cat <<<${a[1]}"), timeout=SECONDS).out == b"2\n"
        assert guest.run("touch /x /usr/x", timeout=SECONDS).err.count(b"Read-only file system") == 2
        guest.push(b"x" * MIB, "/tmp/big", timeout=SECONDS)
        assert (guest.directory / "results/tmp/big").stat().st_size == MIB  # on the host's disk, and not in RAM
        assert guest.pull("/tmp/big", timeout=SECONDS) == b"x" * MIB
        assert guest.meminfo()["SwapTotal"] == 64 * MIB - 4096
        assert "Linux version" in guest.dmesg()
        guest.run("modprobe lkdtm", timeout=SECONDS, check=True)
        with guest.expect_event("warning", "lkdtm"):
            guest.run("echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT", timeout=SECONDS, check=True)
        assert b"-1000" in guest.run("cat /proc/$PPID/oom_score_adj", timeout=SECONDS).out  # the agent
        result = guest.directory / "results"
    assert not (result / "tmp").exists()


def test_a_suite_runs_in_its_own_root(run_script: Runner, debian: PreparedRoot) -> None:
    script = """
        echo 'KTAP version 1' >/dev/kmsg
        echo '1..2' >/dev/kmsg
        [ -e /etc/debian_version ] && [ -e /usr/bin/bash ] && echo 'ok 1 debian' >/dev/kmsg
        $HARNESS_NOTE case script bash
        bash -c '[[ $HARNESS_RESULTS = /results ]]' && echo 'ok 2 bash' >/dev/kmsg
        modprobe lkdtm && echo "loaded $HARNESS_SEED" >$HARNESS_RESULTS/said
    """
    result = run_script(script, requires="*", other=debian)
    found = {case.name: case.outcome for case in result.cases if case.suite == "script"}
    assert found == {"debian": Outcome.PASS, "bash": Outcome.PASS}


@pytest.mark.parametrize("form", ["dir", "tar"])
def test_a_root_of_ones_own(form: str, boots: Boots, small: Path, own: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "store")
    spec = RootSpec.parse(f"{form}:{small}")
    if form == "tar":
        with tarfile.open(tmp_path / "small.tar.gz", "w:gz") as tar:
            tar.add(small, ".")
        spec = RootSpec.parse(f"tar:{tmp_path / 'small.tar.gz'}")
    before = sorted(small.rglob("*"))
    with boots(prepare_other(spec, own, layout, Quiet(), Stopwatch())) as guest:
        assert guest.pull("/etc/mine", timeout=SECONDS) == b"mine\n"
        assert guest.run("cat /etc/passwd", timeout=SECONDS).status == 1  # nothing of another root
        assert guest.run("touch /etc/x", timeout=SECONDS).status == 1
        guest.push(b"x", "/results/x", timeout=SECONDS)
        assert "Linux version" in guest.dmesg()  # of busybox, which that root has not
        with pytest.raises(UserError, match="has no network"):
            guest.ssh()
    assert sorted(small.rglob("*")) == before


def test_a_kernel_without_a_network_is_not_booted_for_ssh(boots: Boots) -> None:
    with pytest.raises(UserError, match=r"profile tiny cannot be reached by ssh: .*CONFIG_E1000"):
        with boots(None, ssh=True):
            pytest.fail("it was booted")


def test_exec_says_where_its_command_runs(small: Path) -> None:
    tiny = ("--profile", "tiny", "--ram", "128M", "--swap", "none", "--accel", "tcg")
    words = (sys.executable, "-m", "harness", "exec", *tiny, "--root", f"dir:{small}")

    def said() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*words, "cat", "/etc/mine"), capture_output=True, timeout=300, check=False, cwd=ROOT, text=True
        )

    done = said()
    assert (done.stdout, done.returncode) == ("mine\n", 0)
    assert "read-only; /tmp and /results are on this host's disk, /run in RAM" in done.stderr
    (small / "usr/bin/sh").unlink()
    done = said()
    assert (done.stdout, done.returncode) == ("", 2)
    assert "has no shell: there is no /bin/sh in it" in done.stderr
