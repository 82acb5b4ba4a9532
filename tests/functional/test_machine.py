# SPDX-License-Identifier: GPL-2.0-only
"""The machine's axes in a guest of the tiny kernel: each is reached, or said not to be."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.collect import CellResult
from harness.model.machine import GuestFacts, Swap
from harness.model.outcome import Verdict
from harness.model.units import MIB
from tests.functional.conftest import TINY_MACHINE, Runner
from tests.functional.test_command import RUN, ttm_harness
from tests.functional.test_endings import REST, SAY


def facts_of(result: CellResult) -> GuestFacts:
    assert result.run.facts is not None, result.run.problems
    return result.run.facts


def differences(result: CellResult) -> list[str]:
    return [str(one) for one in result.run.differences]


def test_several_disks_with_priorities(run_script: Runner, tmp_path: Path) -> None:
    machine = replace(TINY_MACHINE, swap=Swap.parse("disk:16M@3+disk:32M@7"))
    result = run_script(SAY + REST, machine=machine)
    assert differences(result) == []
    assert [(one.size, one.priority) for one in facts_of(result).swaps] == [
        (16 * MIB - 4096, 3),
        (32 * MIB - 4096, 7),
    ]
    assert list((tmp_path / "run" / result.run.directory).glob("*.img")) == []


@pytest.mark.parametrize(("swap", "limit"), [("slow:16M:1M", 1 << 20), ("slow:16M:50iops", 50)])
def test_a_slow_disk_is_slow(run_script: Runner, swap: str, limit: int) -> None:
    result = run_script(SAY + REST, machine=replace(TINY_MACHINE, swap=Swap.parse(swap)))
    assert differences(result) == []
    assert 0.5 * limit <= facts_of(result).swaps[0].rate <= 1.25 * limit


def test_the_reclaim_of_the_machine(run_script: Runner) -> None:
    machine = replace(TINY_MACHINE, swappiness=0, min_free=4 * MIB, watermark_scale=500)
    look = "grep -E '^ +(min|low) ' /proc/zoneinfo\n"
    result = run_script(SAY + REST + look, machine=machine)
    assert differences(result) == []
    facts = facts_of(result)
    assert (facts.swappiness, facts.min_free, facts.watermark_scale) == (0, 4 * MIB, 500)


def test_free_memory_at_start_stays_taken(run_script: Runner, tmp_path: Path) -> None:
    machine = replace(TINY_MACHINE, free=40 * MIB)
    result = run_script(SAY + REST + "cat /proc/meminfo\n", machine=machine)
    assert differences(result) == []
    assert facts_of(result).held > 20 * MIB
    log = (tmp_path / "run" / result.run.directory / "results" / "script.log").read_text()
    meminfo = {line.split(":")[0]: int(line.split()[1]) << 10 for line in log.splitlines() if ":" in line}
    # The script and what it reads take some of it, 4.3 MiB in a guest that was slow; without the holder it is 90.
    assert abs(meminfo["MemFree"] - 40 * MIB) <= 8 * MIB
    assert meminfo["Mlocked"] > 20 * MIB


def test_the_holder_is_nothing_for_the_oom_killer(run_script: Runner) -> None:
    hog = """sh -c 'echo 1000 >/proc/$$/oom_score_adj; exec awk "BEGIN { s = \\"x\\"; while (1) s = s s }"'\n"""
    result = run_script(SAY + hog + "pidof hold || exit 1\n" + REST, machine=replace(TINY_MACHINE, free=40 * MIB))
    assert result.run.problems == ()
    assert "oom" in {event.kind for event in result.events}


@pytest.mark.parametrize(
    ("machine", "asked_and_got"),
    [
        # More than the kernel leaves of the RAM, and less than its own watermarks.
        (replace(TINY_MACHINE, free=127 * MIB), "free RAM at start: asked 127M, got "),
        (replace(TINY_MACHINE, free=4 * MIB, watermark_scale=3000), "free RAM at start: asked 4M, got "),
        # This kernel has neither.
        (replace(TINY_MACHINE, swap=Swap.parse("zram:16M:lz4")), "swap zram:16M:lz4: asked 16M, got nothing"),
        (replace(TINY_MACHINE, swap=Swap.parse("zswap:16M")), "zswap: asked on, got no zswap in this kernel"),
        (replace(TINY_MACHINE, swap=Swap.parse("disk:16M@1"), cmdline=("nosmp",)), "vCPUs: asked 2, got 1"),
    ],
)
def test_asked_is_not_got(run_script: Runner, machine: object, asked_and_got: str) -> None:
    result = run_script(SAY + REST, machine=machine)
    assert any(one.startswith(asked_and_got) for one in differences(result)), differences(result)
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_a_load_is_not_run_outside_of_its_group(run_script: Runner, tmp_path: Path) -> None:
    # The tiny kernel has no cgroups: a load without its limit is worth nothing.
    result = run_script(SAY + REST, machine=replace(TINY_MACHINE, memory_max=64 * MIB, memory_high=32 * MIB))
    assert differences(result) == [
        "memory.max of the load: asked 64M, got no limit",
        "memory.high of the load: asked 32M, got no limit",
    ]
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert not any(case.outcome.executed for case in result.cases if case.suite == "script")
    log = (tmp_path / "run" / result.run.directory / "results" / "script.log").read_text()
    assert "no cgroup for the load" in log


def test_the_command_says_what_was_not_reached() -> None:
    done = ttm_harness(*RUN, "--swap", "zram:16M:zstd", status=3)
    assert "asked is not got: swap zram:16M:zstd: asked 16M, got nothing" in done.stdout
    assert "verdict: cannot tell" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--swap", "zram:1G"), "1G of zram do not fit in 128M"),
        (("--swap", "disk:0"), "too small"),
        (("--memory-max", "1G"), "memory.max of 1G makes no sense with 128M"),
        (("--free", "128M"), "128M of 128M of RAM cannot be free"),
        (("--ram", "1000000G"), "this host cannot carry a guest with 1000000G of RAM"),
        (("--swappiness", "300"), "swappiness cannot be 300"),
        (("--min-free", "1G"), "cannot be kept free"),
        (("--watermark-scale", "0"), "watermark_scale_factor"),
        (("--memory-high", "x"), "is not a size"),
    ],
)
def test_an_impossible_machine_is_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in ttm_harness(*RUN, *words, status=2).stderr


def test_the_reproduction_makes_every_disk(run_script: Runner, tmp_path: Path) -> None:
    machine = replace(TINY_MACHINE, swap=Swap.parse("disk:16M@3+slow:8M:1M@7"), free=50 * MIB)
    result = run_script(SAY + REST, machine=machine)
    script = tmp_path / "run" / result.run.directory / "reproduce.sh"
    argv = shlex.split(f"sh {shlex.quote(str(script))}")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as again:
        control = script.parent / "again" / "control.log"
        limit = time.monotonic() + 120
        while time.monotonic() < limit and again.poll() is None:
            time.sleep(0.2)
        if again.poll() is None:
            os.killpg(again.pid, signal.SIGKILL)
    text = control.read_text()
    assert "swap0=16773120 3 0" in text
    assert "swap1=8384512 7 10" in text
    assert "@exit" in text
