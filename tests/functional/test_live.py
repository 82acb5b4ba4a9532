# SPDX-License-Identifier: GPL-2.0-only
"""A guest that stays: what it is told to do, and how it ends."""

from __future__ import annotations

import hashlib
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import live as live_module
from harness.flow.boots import BootEnvironment, job_text
from harness.flow.live import (
    CommandBad,
    CommandTimedOut,
    ConsoleCut,
    GuestEnded,
    LiveGuest,
    NotSeen,
    NotStarted,
    Unannounced,
    live_guest,
)
from harness.flow.prepare import parts_of_root
from harness.guest import bounded
from harness.guest.root import guest_root
from harness.model.build import Build
from harness.model.errors import CommandFailed, InfraError
from harness.model.kernel import PreparedKernel
from harness.model.machine import Machine, Swap
from harness.model.outcome import Ending
from harness.model.units import MIB
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.functional.conftest import TINY_MACHINE, Quiet

SECONDS = 60.0
ROOT = Path(__file__).parents[2]
Boots = Callable[..., AbstractContextManager[LiveGuest]]


@pytest.fixture(scope="module", name="boots")
def fixture_boots(tiny: Build, layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Boots:
    def boots(machine: Machine = TINY_MACHINE) -> AbstractContextManager[LiveGuest]:
        place = tmp_path_factory.mktemp("live")
        root = guest_root(layout, parts_of_root(), Deadline(60))
        return live_guest(BootEnvironment(PreparedKernel(tiny, {}), root, place, Quiet()), machine, layout)

    return boots


@pytest.fixture(scope="module", name="guest")
def fixture_guest(boots: Boots) -> Iterator[LiveGuest]:
    with boots() as guest:
        yield guest


def test_run_says_all_that_a_command_does(guest: LiveGuest) -> None:
    ended = guest.run("uname -r; echo no >&2; exit 3", timeout=SECONDS)
    assert ended.err == b"no\n"
    assert ended.status == 3
    assert guest.run(("cat", "/proc/sys/kernel/osrelease"), timeout=SECONDS).out == ended.out
    assert guest.run("kill -9 $$", timeout=SECONDS).signal == signal.SIGKILL
    with pytest.raises(NotStarted):
        guest.run(("no-such",))


def test_a_command_is_nobody_special_and_the_agent_is(guest: LiveGuest) -> None:
    assert guest.run("cat /proc/self/oom_score_adj", timeout=SECONDS).out == b"0\n"
    assert guest.run("cat /proc/self/oom_score_adj", timeout=SECONDS, oom_score_adj=500).out == b"500\n"
    assert guest.run("ls /proc/self/fd | wc -l", timeout=SECONDS).out == b"4\n"
    agent = guest.run("cat /proc/$PPID/oom_score_adj /proc/$PPID/comm", timeout=SECONDS).out
    assert agent == b"-1000\nagent\n"
    locked = guest.run("sed -n 's/^VmLck: *//p' /proc/$PPID/status", timeout=SECONDS).text.split()
    assert 0 < int(locked[0]) < 4096, locked  # KiB


def test_a_timeout_leaves_nothing_of_the_group(guest: LiveGuest) -> None:
    with pytest.raises(CommandTimedOut) as caught:
        guest.run("echo begun; sleep 1234 & sleep 1234", timeout=3)
    assert caught.value.gone
    assert caught.value.out == b"begun\n"
    assert guest.run("ps | grep -c '[s]leep 1234'", timeout=SECONDS).out == b"0\n"


def test_files_go_there_and_back_as_they_are(guest: LiveGuest, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(10 << 20)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    guest.push(source, "/results/big", mode=0o700, timeout=SECONDS)
    digest = guest.run(("sha256sum", "/results/big"), timeout=SECONDS, check=True).text.split()[0]
    assert digest == hashlib.sha256(data).hexdigest()
    guest.pull("/results/big", target, timeout=SECONDS)
    assert target.read_bytes() == data
    guest.push(b"small", "/run/small", timeout=SECONDS)
    assert guest.pull("/run/small") == b"small"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_paused_it_does_nothing_and_then_goes_on(guest: LiveGuest) -> None:
    before = float(guest.run("cut -d' ' -f1 /proc/uptime", timeout=SECONDS).out)
    guest.pause()
    time.sleep(3)
    guest.resume()
    after = float(guest.run("cut -d' ' -f1 /proc/uptime", timeout=SECONDS).out)
    assert after - before < 2.5


def test_a_starved_guest_still_answers(boots: Boots) -> None:
    with boots(Machine(ram=96 * MIB, swap=TINY_MACHINE.swap, accel=TINY_MACHINE.accel)) as guest:
        guest.run("echo 1 >/proc/sys/vm/overcommit_memory", check=True)
        # Each takes what there is until the kernel kills it; then the next.
        # A hog that is killed may say first that it gets nothing.
        with guest.allow_event("page-alloc-failure"), guest.expect_oom("hog") as ooms:
            hogs = guest.spawn("while :; do hog 200M 60 none & hog 200M 60 none; done")
            for _ in range(15):
                assert guest.run(("true",), timeout=SECONDS).good
                time.sleep(0.2)
            assert not hogs.done
            hogs.kill()
            hogs.wait(Deadline(SECONDS))
        assert len(ooms) > 1


def test_it_is_the_machine_that_was_asked_for(boots: Boots, monkeypatch: pytest.MonkeyPatch) -> None:
    with boots(replace(TINY_MACHINE, swap=Swap.parse("disk:64M@5"), swappiness=10)) as guest:
        assert guest.pull("/proc/sys/vm/swappiness") == b"10\n"
        assert guest.meminfo()["SwapTotal"] == 64 * MIB - 4096
    monkeypatch.setattr(live_module, "job_text", lambda cell, **_: job_text(replace(cell, seed=99)))
    with pytest.raises(InfraError, match="not what was asked for: seed: asked 0, got 99"), boots():
        pytest.fail("it was not looked at")


def test_a_panic_ends_a_command_with_all_that_is_known(boots: Boots) -> None:
    with boots() as guest:
        with pytest.raises(GuestEnded) as caught:
            guest.run("echo before; sleep 1; echo c >/proc/sysrq-trigger; sleep 60")
        assert caught.value.ending is Ending.PANICKED
        assert b"Kernel panic" in (caught.value.directory / "console.log").read_bytes()
        assert any(event.kind == "panic" for event in caught.value.events)
        with pytest.raises(GuestEnded):
            guest.run(("true",))


def test_a_guest_that_is_killed_is_lost(boots: Boots) -> None:
    with boots() as guest:
        words = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
        place = os.fsencode(str(guest.directory))
        mine = [int(path.parent.name) for path, said in words.items() if place in said and b"qemu-system" in said]
        assert mine
        command = guest.spawn(("sleep", "60"))
        for one in mine:
            os.kill(one, signal.SIGKILL)
        with pytest.raises(GuestEnded) as caught:
            command.wait(Deadline(SECONDS))
        assert caught.value.ending is Ending.LOST


def test_a_command_that_kills_everybody_ends_the_guest(boots: Boots) -> None:
    with boots() as guest, pytest.raises(GuestEnded, match="powered it off, or killed its agent"):
        guest.run("kill -9 -1", timeout=SECONDS)


def test_an_ending_that_nobody_saw_is_told_at_the_end(boots: Boots) -> None:
    with pytest.raises(GuestEnded, match="PANICKED"), boots() as guest:
        guest.spawn("echo c >/proc/sysrq-trigger")
        guest.ended(Deadline(SECONDS))


PROVOKE = "modprobe lkdtm; echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT"


def test_an_event_that_was_announced_is_there_with_its_sources(guest: LiveGuest) -> None:
    assert guest.unannounced() == ()
    before = len(guest.events())
    with guest.expect_event("warning", r"lkdtm_WARNING") as found:
        guest.run(PROVOKE, check=True)
    assert [event.kind for event in found] == ["warning"]
    assert any("lkdtm_WARNING" in frame or "drivers/misc/lkdtm" in frame for frame in found[0].frames), found[0]
    assert guest.events()[before:] == tuple(found)
    assert guest.unannounced() == ()


def test_an_event_that_does_not_come_is_a_failure(guest: LiveGuest) -> None:
    with pytest.raises(NotSeen, match="did not say warning"), guest.expect_event("warning", within=0.5):
        guest.run(("true",))
    with guest.expect_event("warning"):
        guest.run(PROVOKE)
        # Announced is what matches, and nothing before the block.
        with pytest.raises(NotSeen, match=r"oom"), guest.expect_oom(within=0.2):
            pass


def test_an_event_that_nobody_announced_is_a_failure(boots: Boots) -> None:
    with pytest.raises(Unannounced, match="lkdtm") as caught, boots() as guest:
        guest.run(PROVOKE)
    assert [event.kind for event in caught.value.events] == ["warning"]


def test_a_panic_that_was_announced_is_none(boots: Boots) -> None:
    went_on = False
    with boots() as guest:
        with guest.expect_panic("sysrq triggered crash"):
            guest.sysrq("c")
            went_on = True
        assert not went_on
    with boots() as guest, pytest.raises(NotSeen, match="did not panic"), guest.expect_panic(within=0.5):
        guest.run(("true",))


def test_an_announced_panic_hides_nothing_that_was_said_before_it(boots: Boots) -> None:
    with pytest.raises(Unannounced, match="lkdtm") as caught, boots() as guest:
        guest.run(PROVOKE)
        with guest.expect_panic("sysrq triggered crash"):
            guest.sysrq("c")
    assert [event.kind for event in caught.value.events] == ["warning"]
    with boots() as guest, guest.allow_event("warning"):
        guest.run(PROVOKE)
        with guest.expect_panic():
            guest.sysrq("c")


def test_figures_are_in_bytes(guest: LiveGuest) -> None:
    memory = guest.meminfo()
    assert 64 * MIB < memory["MemTotal"] < TINY_MACHINE.ram
    assert guest.vmstat()["nr_free_pages"] * 4096 <= memory["MemTotal"]
    assert "Linux version" in guest.dmesg()


def test_sysrq_has_its_say(guest: LiveGuest) -> None:
    guest.sysrq("h")
    guest.events()
    assert b"sysrq: HELP" in guest.console.read_bytes()


MODULE = """
#include <linux/module.h>
static int number;
module_param(number, int, 0444);
static noinline int mine_said(void)
{
	return WARN(number == 7, "seven");
}
static int __init mine_init(void)
{
	mine_said();
	return number < 0 ? -EINVAL : 0;
}
static void __exit mine_exit(void) { }
module_init(mine_init);
module_exit(mine_exit);
MODULE_DESCRIPTION("A test's own");
MODULE_LICENSE("GPL");
"""


def test_a_module_is_built_for_the_guests_kernel_and_goes_again(guest: LiveGuest, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m := mine-own.o\n")
    (source / "mine-own.c").write_text(MODULE)
    with guest.module(source, {"number": 3}) as name:
        assert guest.pull(f"/sys/module/{name}/parameters/number") == b"3\n"
    assert not guest.run(("test", "-e", "/sys/module/mine_own")).good
    with guest.expect_event("warning", "seven") as found, guest.module(source, {"number": 7}):
        pass
    assert any("mine-own.c:7" in frame for frame in found[0].lines + found[0].frames), found[0]
    with pytest.raises(CommandBad, match="insmod"), guest.module(source, {"number": -1}):
        pass


def test_a_program_is_compiled_and_runs(guest: LiveGuest, tmp_path: Path) -> None:
    source = tmp_path / "five.c"
    source.write_text("int main(int argc, char **argv) { return argc + 3; }")
    assert guest.run((guest.program(source), "x")).status == 5
    source.write_text("int main(void) { return nothing; }")
    with pytest.raises(CommandFailed):
        guest.program(source)


TINY = ("--profile", "tiny", "--ram", "128M", "--swap", "none", "--accel", "tcg")
EXEC = (sys.executable, "-m", "harness", "exec", *TINY)


def test_exec_is_the_command_it_runs() -> None:
    """In the user's store, where the tiny kernel is; its run lies among those of tests."""

    def said(*words: str) -> subprocess.CompletedProcess[bytes]:
        data = b"\x1b[1m\0 as it is\n"
        return subprocess.run((*EXEC, *words), input=data, capture_output=True, timeout=300, check=False, cwd=ROOT)

    done = said("--", "sh", "-c", "cat; echo e >&2; echo c >/proc/sys/kernel/hostname; exit 7")
    assert (done.stdout, done.returncode) == (b"\x1b[1m\0 as it is\n", 7)
    assert b"e\n" in done.stderr.splitlines(keepends=True)
    done = said("--quiet", "sh", "-c", f"{PROVOKE}; kill -9 $$")
    assert (done.stdout, done.returncode) == (b"", 128 + 9)
    assert b"kernel said: WARNING: drivers/misc/lkdtm" in done.stderr
    done = said("--quiet", "sh", "-c", "echo c >/proc/sysrq-trigger")
    assert done.returncode == 3
    assert b"the guest has ended (PANICKED)" in done.stderr
    done = said("--quiet", "no-such")
    assert done.returncode == 3
    assert b"no-such was not started in the guest: exec: No such file or directory" in done.stderr


def test_a_shell_has_a_terminal_and_gives_this_one_back() -> None:
    mine, its = pty.openpty()
    termios.tcsetwinsize(its, (31, 97))
    before = termios.tcgetattr(its)
    words = (sys.executable, "-m", "harness", "shell", "--quiet", *TINY)
    said = bytearray()

    def until(text: bytes) -> None:
        limit = time.monotonic() + 2 * SECONDS
        while text not in said:
            assert select.select((mine,), (), (), max(0.0, limit - time.monotonic()))[0], bytes(said)
            said.extend(os.read(mine, 4096))

    with subprocess.Popen(words, stdin=its, stdout=its, stderr=its, cwd=ROOT) as process:
        try:
            until(b"guest:/# ")
            assert termios.tcgetattr(its) != before
            os.write(mine, b"stty size\r")
            until(b"31 97")
            termios.tcsetwinsize(its, (12, 34))
            process.send_signal(signal.SIGWINCH)
            os.write(mine, b"sleep 1; stty size; tty\r")
            until(b"12 34")
            until(b"/dev/pts/0")
            # In a shell of its own: busybox's own loses an interrupt between its fork and the exec of `sleep`.
            os.write(mine, b"sh -c \"echo at''work; exec sleep 1000\"\r")
            until(b"atwork")
            os.write(mine, b"\x03")
            os.write(mine, b"echo $((40+2)); exit 4\r")
            until(b"42")
            assert process.wait(SECONDS) == 4
        finally:
            process.kill()
    assert termios.tcgetattr(its) == before
    os.close(mine)
    os.close(its)


def test_a_kernel_that_says_more_than_is_kept_is_no_calm_one(boots: Boots, monkeypatch: pytest.MonkeyPatch) -> None:
    """A splat in the middle of a flood is not read by anybody: who looks afterwards must not find all well."""
    for name, size in (("HEAD", 1 << 16), ("TAIL", 1 << 14), ("ROOM", 1 << 14)):
        monkeypatch.setattr(bounded, name, size)
    flood = 'i=0; while [ $i -lt 2000 ]; do echo "<4>$i $(printf %0200d 0)" >/dev/kmsg; i=$((i + 1)); done'
    splat = 'echo "<4>WARNING: CPU: 0 PID: 1 at mm/vmscan.c:1 shrink_one+0x1/0x2" >/dev/kmsg'
    with pytest.raises(ConsoleCut, match="are left out of it"), boots() as guest:
        guest.run(f"{flood}; {splat}; {flood}", timeout=SECONDS, check=True)
