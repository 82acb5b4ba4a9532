# SPDX-License-Identifier: GPL-2.0-only
"""What a fleet costs, and what it loses when its processes are killed at random with -9.

Guests stand in for QEMU: they say what a guest says, and doze. BENCH_BOOTS (40) and BENCH_SECONDS (2) change what is
measured, BENCH_SEED the kills. Other work on the host makes every figure worse.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from harness.fleet.clusters import fleet
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute, resume
from harness.guest import boot as boot_module
from harness.store.journal import JOURNAL_FILE, Entry, Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import REPORT_FILE, load_report
from harness.store.sealed import require_sealed
from tests.unit.stand_in.cells import MACHINE, good, request
from tests.unit.stand_in.runs import Ground

WORKERS = 4
BOOTS = int(os.environ.get("BENCH_BOOTS", "40"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
SEED = int(os.environ.get("BENCH_SEED", "1"))
_MOST_SECONDS = 1500.0
_DOWN_SECONDS = 0.5

pytestmark = pytest.mark.timeout(3600)


def ground_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A store, and guests in the time of the host."""
    (place / "store").mkdir(parents=True, exist_ok=True)
    poll = boot_module._POLL_SECONDS
    made = Ground(place, Layout(place / "store"), monkeypatch)
    monkeypatch.setattr(boot_module, "_POLL_SECONDS", poll)
    return made


def asked(boots: int) -> tuple[Request, ...]:
    """Guests with one processor, so that four have room on two cores."""
    return (replace(request(repeat=boots), machine=replace(MACHINE, cpus=1)),)


def wall(place: Path, monkeypatch: pytest.MonkeyPatch, where: str, boots: int, parallel: int | None) -> float:
    """Seconds from the first boot to the report; what the one who asks did meanwhile is printed."""
    ground = ground_in(place, monkeypatch)
    ground.plays(*[(("doze", SECONDS), *good())] * boots)
    with ExitStack() as stack:
        hosts = stack.enter_context(fleet(where, ground.layout, ground.told)) if where else None
        began, used = time.monotonic(), time.process_time()
        report, _ = execute(asked(boots), ground.layout, ground.told, RunOptions(parallel=parallel, hosts=hosts))
        assert len(report.runs) == boots
        print(f"\n{where or 'here'}: {(time.process_time() - used) / boots:.3f} s of processor a boot, of who asks")
        return time.monotonic() - began


def test_what_a_boot_costs_more_and_what_four_workers_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = max(4, BOOTS // 5)
    local = wall(tmp_path / "a", monkeypatch, "", few, 1) / few
    single = wall(tmp_path / "b", monkeypatch, "local:1", few, 1) / few
    whole = wall(tmp_path / "c", monkeypatch, f"local:{WORKERS}", BOOTS, None)
    ideal = BOOTS * local / WORKERS
    print(
        f"\na boot: {local:.2f} s here, {single:.2f} s on a worker: {single - local:+.2f} s; {BOOTS} boots on "
        f"{WORKERS} workers: {whole:.1f} s, ideal {ideal:.1f} s, efficiency {ideal / whole:.0%}"
    )


class Cast:
    """The scheduler, the workers and the client, each a process that comes back when it is killed."""

    def __init__(self, place: Path, boots: int) -> None:
        self.port = free_port()
        python = sys.executable
        address = f"tcp://127.0.0.1:{self.port}"
        environment = {**os.environ, "TTM_HARNESS_STORE": str(place / "store")}
        scheduler = (python, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", f"{self.port}")
        worker = (python, "-m", "distributed.cli.dask_worker", address, "--preload", "harness.fleet.worker")
        client = (python, "-m", "tests.bench.bench_fleet", str(place), address, f"{boots}")
        self._argv: dict[str, tuple[str, ...]] = {"scheduler": (*scheduler, "--no-dashboard")}
        for number in range(WORKERS):
            self._argv[f"worker {number}"] = (*worker, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        self._argv["client"] = client
        self._environment = environment
        self._log = (place / "log").open("wb")
        self.processes = {name: self._start(name) for name in self._argv}

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv[name],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill(self, name: str) -> None:
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()
        time.sleep(_DOWN_SECONDS)

    def mend(self) -> bool:
        """Starts again who is gone; whether the client has ended well."""
        for name, process in self.processes.items():
            if (status := process.poll()) is not None:
                if name == "client" and status == 0:
                    return True
                self.processes[name] = self._start(name)
        return False

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._log.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_kills_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = ground_in(tmp_path, monkeypatch)
    scripts = BOOTS * 4
    ground.plays(*[(("doze", SECONDS), *good())] * scripts)
    chance, kills = random.Random(SEED), dict.fromkeys(("worker", "scheduler", "client"), 0)
    cast, limit = Cast(tmp_path, BOOTS), time.monotonic() + _MOST_SECONDS
    try:
        next_kill = time.monotonic() + 15.0
        while not cast.mend():
            assert time.monotonic() < limit, "it did not come to its end"
            if time.monotonic() > next_kill:
                kind = chance.choices(tuple(kills), (6, 1, 1))[0]
                cast.kill(f"worker {chance.randrange(WORKERS)}" if kind == "worker" else kind)
                kills[kind] += 1
                next_kill = time.monotonic() + chance.uniform(1.0, 8.0)
            time.sleep(0.1)
    finally:
        cast.close()
    begun = scripts - ground.stand_in.left
    tell_what_became_of_it(ground.newest, begun, kills)


def tell_what_became_of_it(directory: Path, begun: int, kills: dict[str, int]) -> None:
    """Nothing that had ended is lost, each number ended once, and what was begun more often is said."""
    entries = read_journal(directory)
    finished = [one for one in entries if one.step is Step.FINISHED]
    assert sorted(one.number for one in finished) == list(range(1, BOOTS + 1))
    for one in finished:
        require_sealed(directory / one.place, one.sealed)
    report = load_report(directory)
    assert len(report.runs) == BOOTS and str(report.verdict) == "good", report.reasons
    again = sum("begun again" in note for run in report.runs for note in run.notes)
    by_resume = sum(one.step is Step.BEGUN for one in entries) - BOOTS
    resumed = sum(one.step is Step.RESUMED for one in entries)
    print(
        f"\n{BOOTS} boots, kills: {kills}; begun {begun} times: {begun - BOOTS} more than there are, of which "
        f"{again} are said in notes of the report, and {by_resume} were begun again by {resumed} resumptions"
    )
    assert begun - BOOTS <= again + by_resume, "something was done twice, and nobody said so"


def client(place: Path, address: str, boots: int) -> None:
    """Makes the run, or goes on with it; also with what was set aside, until all of it has ended."""
    with pytest.MonkeyPatch.context() as patch:
        ground = rejoined(place, patch)
        with fleet(address, ground.layout, ground.told) as hosts:
            runs = [one for one in ground.layout.runs.iterdir() if (one / JOURNAL_FILE).exists()]
            if not runs:
                execute(asked(boots), ground.layout, ground.told, RunOptions(hosts=hosts))
            elif not has_ended(runs[0]):
                resume(ground.layout, runs[0].name, ground.told, hosts=hosts)
        sys.exit(not has_ended(ground.newest))


def rejoined(place: Path, patch: pytest.MonkeyPatch) -> Ground:
    """The ground that another process has made: its guests are in PATH already."""
    patch.setattr("tests.unit.stand_in.runs.StandIn", lambda *_: None)
    patch.setattr("tests.unit.stand_in.runs.Clock", lambda *_: None)
    return Ground(place, Layout(place / "store"), patch)


def has_ended(directory: Path) -> bool:
    entries: tuple[Entry, ...] = tuple(read_journal(directory))
    return bool(entries) and entries[-1].step is Step.ENDED and (directory / REPORT_FILE).exists()


if __name__ == "__main__":
    client(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
