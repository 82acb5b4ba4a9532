# SPDX-License-Identifier: GPL-2.0-only
"""Whole nights on a kernel that is made up: killed and started again, without time, a source or news."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.flow.run_record import load_record
from harness.model.errors import HarnessError
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from harness.store.ledger import LedgerEvent, read_ledger
from tests.attack.forked import Call, Ended, ready, start, wait
from tests.attack.ground import Ground, processes_naming

PLAN = """\
profile = "tiny"
suites = ["kunit-self"]
repeat = 2
[machine]
accel = "tcg"
ram = ["128M", "160M"]
swap = "none"
"""
CONFIG = """\
plan = "plan.toml"
{more}
[[source]]
name = "one"
source = "tar:one.tar"
[[source]]
name = "two"
source = "tar:two.tar"
[control]
off = true
[guard]
disk = "64M"
[publish]
directory = "out"
"""
BOOTS = 8  # two kernels, two machines, twice


class Nights(Ground):
    """A ground with two kernels and a nightly on them."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, 1)
        self.config = place / "night.toml"
        self.configure()
        (place / "plan.toml").write_text(PLAN)
        (place / "linux.tar").rename(place / "one.tar")
        self.other("two")

    def configure(self, more: str = "", **changes: str) -> None:
        text = CONFIG.format(more=more)
        for old, new in changes.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        # What a source names is where the command is started.
        self.config.write_text(text.replace("tar:", f"tar:{self.place}/"))

    def other(self, name: str, content: str = "int b;\n") -> None:
        """Another kernel: the same but for a file."""
        with tarfile.open(self.place / "one.tar") as old, tarfile.open(self.place / f"{name}.tar", "w") as new:
            for member in old:
                file = old.extractfile(member)
                data = content.encode() if member.name.endswith("a.c") else file.read() if file else b""
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))

    @property
    def words(self) -> tuple[str, ...]:
        return ("nightly", str(self.config), "--quiet", "--json")

    def night(self, *more: str, status: int = 0) -> dict[str, object]:
        ended: Ended = self.command(*self.words, *more)
        assert ended.status == status, ended.output[-2000:] + ended.errors[-2000:]
        told: dict[str, object] = json.loads(ended.output)
        return told

    def finished(self) -> Counter[tuple[str, int]]:
        """How often each boot of each job was finished, over all runs, and how many runs a job has."""
        layout = Layout(self.store)
        found: Counter[tuple[str, int]] = Counter()
        for run in layout.runs.iterdir():
            try:
                plan = load_record(run).plan
            except HarnessError:
                continue  # killed before there was anything to boot
            found[plan, 0] += 1
            found.update((plan, one.number) for one in read_journal(run) if one.step is Step.FINISHED)
        return found


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    ready()
    return Nights(tmp_path)


def test_killed_at_random_moments_it_loses_and_doubles_nothing(nights: Nights) -> None:
    chance = random.Random(20261130)
    for _ in range(12):
        child = start(Call(nights.words, nights.environment(), cwd=str(nights.place)))
        time.sleep(chance.uniform(0.2, 6.0))
        os.kill(child, signal.SIGKILL)
        assert wait(child, 60) is not None
        limit = time.monotonic() + 60
        while processes_naming(nights.store) and time.monotonic() < limit:
            time.sleep(0.05)
        assert processes_naming(nights.store) == []
    told = nights.night()
    assert told["verdict"] == "good"
    finished = nights.finished()
    assert set(finished.values()) == {1}, finished  # a run for each job, and each boot once
    assert len(finished) == BOOTS + 2
    entries = read_ledger(nights.store / "nightly" / "night")
    ended = Counter(one.job.key for one in entries if one.what is LedgerEvent.ENDED and one.job is not None)
    assert set(ended.values()) == {1}
    assert sum(one.what is LedgerEvent.CLOSED for one in entries) >= 1
    assert nights.tally.lines == []


def test_a_night_without_news_boots_nothing_and_says_so(nights: Nights) -> None:
    first = nights.night()
    assert (first["verdict"], first["idle"]) == ("good", False)
    ended = nights.command("nightly", str(nights.config), "--quiet")
    assert ended.status == 0
    assert "nothing new since the night before" in ended.output
    assert len(nights.finished()) == BOOTS + 2
    nights.other("two", "int c;\n")
    third = nights.night()
    rows = third["rows"]
    assert isinstance(rows, list)
    assert sorted((row["job"]["watch"], row["tonight"]) for row in rows) == [("one", False), ("two", True)]
    (against,) = next(row["result"]["against"] for row in rows if row["tonight"])
    assert (against["beside"], against["verdict"]) == ("before", "good")


def test_what_there_is_no_time_for_is_left_and_done_the_next_night(nights: Nights) -> None:
    short = nights.night("--budget", "0min", status=3)
    left = short["left"]
    assert isinstance(left, list)
    assert len(left) == 2
    assert "no time left" in str(short["reasons"])
    assert nights.finished() == Counter()
    assert nights.night()["left"] == []
    assert len(nights.finished()) == BOOTS + 2


def test_a_source_that_cannot_be_asked_is_loud(nights: Nights) -> None:
    assert nights.night()["verdict"] == "good"
    (nights.place / "two.tar").unlink()
    told = nights.night(status=3)
    assert told["verdict"] == "cannot tell"
    assert "the source two could not be asked" in str(told["reasons"])
    for name in ("summary.txt", "summary.json"):
        assert (nights.place / "out" / str(told["name"]) / name).is_file()
    assert (nights.place / "out" / "latest.txt").read_text().startswith(f"night {told['name']}: cannot tell")


def test_a_night_in_which_nothing_can_be_tested_is_loud(nights: Nights) -> None:
    nights.configure(**{"64M": "900T"})
    told = nights.night(status=3)
    assert "[guard] wants" in str(told["reasons"])
    assert nights.finished() == Counter()


def test_a_finding_stays_one_until_it_is_gone(nights: Nights) -> None:
    (nights.place / "plan.toml").write_text(PLAN + 'cmdline = ["broken=1"]\n')
    first = nights.night(status=1)
    assert (first["verdict"], first["idle"]) == ("bad", False)
    again = nights.night(status=1)
    assert (again["verdict"], again["idle"]) == ("bad", True)
    proposals = (nights.store / "nightly" / "night" / "known-issues.proposals.toml").read_text()
    assert "Kernels without any series show these" in proposals
    assert all(line.startswith("#") for line in proposals.splitlines())


def test_a_second_one_at_the_same_time_does_nothing(nights: Nights) -> None:
    child = start(Call(nights.words, nights.environment(), cwd=str(nights.place)))
    lock = nights.store / "nightly" / "night" / "ledger.jsonl"
    limit = time.monotonic() + 60
    while not (lock.is_file() and lock.stat().st_size):
        assert time.monotonic() < limit
        time.sleep(0.02)
    second = nights.command(*nights.words)
    assert second.status == 3
    assert "is at work already" in second.errors
    assert wait(child, 120) == 0
    assert set(nights.finished().values()) == {1}
