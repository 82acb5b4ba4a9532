# SPDX-License-Identifier: GPL-2.0-only
"""Runs whose boots are made by workers of Dask, on this host: kernels are made up, and guests stand in for QEMU."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.fleet import brought
from harness.fleet import worker as worker_module
from harness.fleet.clusters import fleet, local_workers
from harness.fleet.fleet import Fleet
from harness.fleet.shares import check_share
from harness.flow.run import RunOptions, execute
from harness.kernel.build import find
from harness.model.errors import UserError
from harness.model.machine import Accel
from harness.model.outcome import Verdict
from harness.model.result import Report
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store import source_seal
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from harness.store.sealed import require_sealed
from tests.processes import command_lines
from tests.unit.stand_in import HANG
from tests.unit.stand_in.cells import MACHINE, Told, good, request
from tests.unit.stand_in.runs import BASE, Ground
from tests.unit.test_build_obtain import PROFILE, calls, install, tree

__all__ = ["tree"]  # a fixture

pytestmark = pytest.mark.timeout(300)

KILLS = (("kill_the_harness",),)


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


@contextmanager
def workers(ground: Ground, count: int) -> Iterator[Fleet]:
    with fleet(f"local:{count}", ground.layout, ground.told) as hosts:
        yield hosts


def alike(report: Report) -> Report:
    """The report without what differs from one making to the next."""
    runs = tuple(
        replace(one, host="", notes=(), facts=None, stages=tuple(replace(stage, seconds=0.0) for stage in one.stages))
        for one in report.runs
    )
    cases = tuple(replace(one, seconds=0.0) for one in report.cases)
    kernels = tuple(replace(one, started="") for one in report.kernels)
    base = replace(report.base, started="") if report.base is not None else None
    own = replace(report.provenance, started="")
    return replace(
        report,
        id="",
        runs=runs,
        cases=cases,
        kernels=kernels,
        base=base,
        provenance=own,
        stages=(),
        metric_changes=None,  # the one figure of these boots is their seconds
    )


def test_two_kernels_on_three_workers_of_which_two_are_killed(ground: Ground) -> None:
    asked = request(base=BASE, repeat=12)
    ground.plays(KILLS, *[good()] * 10, KILLS, *[good()] * 14)  # two boots: what was lost is the next to be begun
    with workers(ground, 3) as hosts:
        report, directory = execute((asked,), ground.layout, ground.told, RunOptions(hosts=hosts))
    assert (report.verdict, report.reasons) == (Verdict.GOOD, ())
    assert {run.host for run in report.runs} == {os.uname().nodename}
    again = [note for run in report.runs for note in run.notes if "was lost while it made it" in note]
    assert len(again) == 2  # each loss is said, and no boot but those two was made again
    finished = [entry for entry in read_journal(directory) if entry.step is Step.FINISHED]
    assert sorted(entry.number for entry in finished) == list(range(1, 25))
    for entry in finished:
        require_sealed(directory / entry.place, entry.sealed)
    assert ground.stand_in.left == 0
    ground.plays(*[good()] * 24)
    local, _ = ground.execute(asked)
    assert alike(report) == alike(local)


def test_a_boot_that_kills_its_workers_is_set_aside_and_gone_on_with_elsewhere(ground: Ground) -> None:
    ground.plays(KILLS, KILLS)
    with workers(ground, 1) as hosts:
        report, directory = execute((request(),), ground.layout, ground.told, RunOptions(hosts=hosts))
    assert report.verdict is Verdict.CANNOT_TELL
    assert any("boot 1 was set aside" in reason and "was lost" in reason for reason in report.reasons)
    assert read_journal(directory)[-1].step is not Step.ENDED
    ground.plays(good())
    report, again = ground.resume()
    assert (again, report.verdict) == (directory, Verdict.GOOD)


def test_large_evidence_comes_whole_and_nothing_of_it_stays(ground: Ground) -> None:
    text = secrets.token_hex(4 << 20)
    ground.plays((("result_file", "large", text), *good()))
    with workers(ground, 1) as hosts:
        own = len(list(ground.layout.scratch.iterdir()))
        report, directory = execute((request(),), ground.layout, ground.told, RunOptions(hosts=hosts))
        limit = time.monotonic() + 60.0
        while len(list(ground.layout.scratch.iterdir())) > own:  # it was fetched: the worker drops it, and goes on
            assert time.monotonic() < limit
            time.sleep(0.1)
    assert report.verdict is Verdict.GOOD
    place = directory / report.runs[0].directory
    assert (place / "results" / "large").read_text() == text
    assert str(directory) in (place / "reproduce.sh").read_text() or "again" in (place / "reproduce.sh").read_text()
    assert list(ground.layout.scratch.iterdir()) == []


def test_what_no_host_has_is_refused_and_ctrl_c_ends_guests_everywhere(ground: Ground) -> None:
    ground.plays(*[(("reach", f"guest {number}"), HANG) for number in range(2)])
    with workers(ground, 2) as hosts:
        with pytest.raises(UserError, match="no host of the fleet can carry"):
            hosts.check_machine(replace(MACHINE, ram=1 << 50))
        with pytest.raises(UserError, match="no host of the fleet has a KVM"):
            hosts.accel(Accel.KVM)
        assert hosts.accel(Accel.AUTO) is Accel.TCG
        threading.Thread(target=interrupts, args=(ground, 2)).start()
        with pytest.raises(KeyboardInterrupt):
            execute((request(repeat=2),), ground.layout, ground.told, RunOptions(hosts=hosts))
        until_no_guest_is_left(ground)


SBATCH = """\
#!/bin/sh
script=$(cat "$1")  # which is gone when this ends
setsid sh -c "$script" >>"${0%/*}/job.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nfor job; do kill -- "-$job"; done\n'


def test_jobs_of_slurm(ground: Ground) -> None:
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (ground.stand_in.folder / name).write_text(text)
        (ground.stand_in.folder / name).chmod(0o755)
    shared = ground.layout.root.parent / "shared"
    shared.mkdir()
    file = shared / "jobs.toml"
    file.write_text(
        f'jobs = 2\nguests = 1\nmemory = "1G"\nshared = "{shared}"\nstore = "{ground.layout.root}"\n'
        'directives = ["--constraint=kvm"]\n'
    )
    ground.plays(*[good()] * 3)
    with fleet(f"slurm:{file}", ground.layout, ground.told) as hosts:
        report, _ = execute((request(repeat=3),), ground.layout, ground.told, RunOptions(hosts=hosts))
    assert (report.verdict, report.reasons) == (Verdict.GOOD, ())
    assert [one for one in shared.iterdir() if one != file] == []  # the keys
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # which dask-jobqueue takes


@pytest.mark.parametrize("shared", [False, True], ids=["sent", "by a share"])
def test_a_kernel_is_built_by_a_worker_with_another_store_and_comes_home(
    shared: bool, tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    (tmp_path / "there").mkdir()
    there, told = Layout(tmp_path / "there"), Told()
    source_seal.seal(tree.path, tree.path.parent)
    share = f"file://{tmp_path}/share" if shared else ""
    if shared:
        check_share(share)
    with local_workers(1, there.root) as client:
        client.run(see_nothing, str(tree.path))
        hosts = Fleet(client, scratch_layout, told, share)
        hosts.build(tree, PROFILE, told)
        hosts.build(tree, PROFILE, told)  # which is there now
        hosts.close()
    found = find(tree, PROFILE, scratch_layout, Deadline(60))
    assert found is not None and found.tree == tree
    assert (found.path.parent, found.image.read_text()) == (scratch_layout.builds, "image\n")
    assert calls(scratch_layout) == []
    assert calls(there) == ["allnoconfig", "olddefconfig", "modules", "modules_install"]
    assert len(list(there.parcels.iterdir())) == 1
    assert list(scratch_layout.scratch.iterdir()) == []
    if shared:
        assert len(list((tmp_path / "share").iterdir())) == 1


def see_nothing(path: str) -> None:
    """In a worker: what the asker has there is not there for this one, as on another host."""
    real = brought.holds
    setattr(worker_module, "holds", lambda place, parcel: str(place) != path and real(place, parcel))  # noqa: B010


def interrupts(ground: Ground, guests: int) -> None:
    for number in range(guests):
        ground.stand_in.wait_for(f"guest {number}")
    os.kill(os.getpid(), 2)


def until_no_guest_is_left(ground: Ground) -> None:
    limit = time.monotonic() + 60.0
    while any(str(ground.stand_in.folder.parent).encode() in line for line in command_lines()):
        assert time.monotonic() < limit
        time.sleep(0.1)
