# SPDX-License-Identifier: GPL-2.0-only
"""Backtraces of real kernels against their own sources: the kernel, its modules and the harness's own one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.evidence.backtrace import frame_in
from harness.evidence.lines import decode as decode_log
from harness.evidence.splats import find_events
from harness.flow.boots import BootEnvironment, boot_cell
from harness.flow.prepare import parts_of_root
from harness.flow.sources import objects_of, with_sources
from harness.guest.root import guest_root
from harness.inputs.resolve import resolve
from harness.kernel.build import obtain
from harness.kernel.decode import Objects, decode
from harness.kernel.elf import read_object
from harness.kernel.fragments import read_profile
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.frame import Frame
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Ending
from harness.model.suite import Suite
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.store.sealed import seal
from harness.suites.registry import suite_named
from tests.functional.conftest import Quiet
from tests.kernel.test_run import ttm_harness

PLACE = re.compile(r"\(.*?([\w./-]+\.[chS]):(\d+)\)$")


def lean(source: str, layout: Layout) -> Build:
    tree = resolve(SourceSpec.parse(source), layout, Deadline(1800), Quiet())
    profile = read_profile("lean", data_directory("kernel-configs"))
    return obtain(tree, profile, layout, Deadline(4 * 3600), Quiet())


def source_line(text: str, tree: Path) -> str:
    """The line of the sources that a decoded line of a trace names; empty where it names none."""
    match = PLACE.search(text)
    if match is None:
        return ""
    ours = (suite_named("pressure").folder / "module", data_directory("guest-scripts") / "module")
    path = next(path for path in (tree / match[1], *(folder / match[1] for folder in ours)) if path.is_file())
    return path.read_text().splitlines()[int(match[2]) - 1]


def test_a_warning_leads_to_the_lines_of_kernel_and_modules(layout: Layout) -> None:
    report = ttm_harness("run", "--suite", "pressure-findings", "--case", "suspect_b_setup")
    build = lean("debian", layout)
    assert report["provenance"]["build_id"] == build.id
    event = next(event for event in report["events"] if event["kind"] == "warning")
    headline = next(line for line in event["lines"] if line.startswith("WARNING: "))
    pointer = next(line for line in event["lines"] if line.startswith("RIP: 0010:"))
    match = PLACE.search(pointer)
    assert match is not None
    assert f"{match[1]}:{match[2]}" in headline  # the kernel itself said the same
    callee, frames = "ttm_tt_setup_backup", 0
    for line in event["lines"]:
        if "+0x" in line and not line.startswith(("RIP", "WARNING")) and " ? " not in line:
            text = source_line(line, build.tree.path)
            assert text, line
            frames += 1
            if "ttm_pressure" in line or "vfs_write" in line:
                assert callee in text or "(" in text, (line, text)
            if "case_suspect_b_setup" in line:
                assert "ttm_tt_setup_backup" in text
    assert frames >= 5
    console = layout.runs / report["id"] / report["runs"][0]["directory"] / "console.log"
    raw = find_events(decode_log(console.read_bytes()))
    assert event["fingerprint"] in {one.fingerprint for one in raw}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "parse", "kmsg", str(console), "--build", build.id, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    again = next(one for one in json.loads(done.stdout)["events"] if one["kind"] == "warning")
    assert next(line for line in again["lines"] if line.startswith("RIP: 0010:")) == pointer


@pytest.mark.parametrize("source", ["debian", "debian:6.12"])
def test_ten_thousand_frames_take_seconds(source: str, layout: Layout) -> None:
    build = lean(source, layout)
    names: dict[str, int] = {}
    rows = [line.split() for line in (build.path / "System.map").read_text().splitlines()]
    code = sorted((int(row[0], 16), row[2]) for row in rows if row[1] in "tT")
    for (address, name), (after, _) in pairwise(code):
        if after > address and name not in names:
            names[name] = after - address
    frames = [Frame(name, 0, size, returns=False) for name, size in list(names.items())[:10_000]]
    assert len(frames) == 10_000
    began = time.monotonic()
    found = decode(frames, objects_of(build), Deadline(300))
    seconds = time.monotonic() - began
    known = sum(bool(places) for places in found.places.values())
    print(f"{source}: {known} of {len(frames)} frames of {build.objects / 'vmlinux'} in {seconds:.1f} s")
    assert found.problem == ""
    assert known > 9_500
    assert seconds < 60
    strange = [place.file for places in found.places.values() for place in places if place.file.startswith("/")]
    assert strange == []


@pytest.mark.parametrize("source", ["debian", "debian:6.12"])
def test_every_size_that_kallsyms_prints_is_known(source: str, layout: Layout) -> None:
    build = lean(source, layout)
    rows = [line.split() for line in (build.path / "System.map").read_text().splitlines()]
    every = sorted((int(row[0], 16), row[2], row[1] in "tT") for row in rows)
    addresses = sorted({row[0] for row in every})
    after = dict(pairwise(addresses))
    found = read_object(build.objects / "vmlinux", {name for _, name, is_code in every if is_code})
    wrong = [
        name
        for address, name, is_code in every
        if is_code and address in after and not name.endswith(("_end", "_etext", "_einittext"))
        if address not in {place.address for place in found.places(name, after[address] - address)}
    ]
    assert wrong == []


@pytest.mark.parametrize("source", ["debian", "debian:6.12"])
def test_a_guest_that_does_not_go_on_answers_with_lines(source: str, layout: Layout, tmp_path: Path) -> None:
    build = lean(source, layout)
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "script.sh").write_text("sleep 999\n")
    seal(extra)
    suite = Suite("script", "", "suite-exec", ("/extra/script.sh",), (), (), False, -15.0, "lean")
    environment = BootEnvironment(
        PreparedKernel(build, {"script": extra}),
        guest_root(layout, parts_of_root(), Deadline(60)),
        tmp_path / "run",
        Quiet(),
    )
    environment.directory.mkdir()
    cell = Cell(build.id, Machine(ram=192 * MIB, swap=Swap(), accel=Accel.TCG), ("script",), seed=7)
    result = boot_cell(cell, (suite,), environment, number=1)
    assert result.run.ending is Ending.TIMEOUT
    place = tmp_path / "run" / result.run.directory
    stall = (place / "stall.txt").read_text()
    for key in "wlmt":
        assert re.search(rf"^sysrq {key} .*: answered on the console$", stall, re.MULTILINE), stall
    console = (place / "console.log").read_text("utf-8", "replace")
    assert "sysrq: Show State" in console
    waiting = re.search(r"hrtimer_nanosleep\+0x[0-9a-f]+/0x[0-9a-f]+", console)
    assert waiting is not None
    frame = frame_in(waiting[0])
    assert frame is not None
    where = decode([frame], Objects(build.objects / "vmlinux", ()), Deadline(60)).places[frame]
    assert where[-1].file == "kernel/time/hrtimer.c"
    assert with_sources(result.events, objects_of(build))[1] == ""
