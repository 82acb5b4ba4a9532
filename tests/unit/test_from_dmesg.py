# SPDX-License-Identifier: GPL-2.0-only
"""`repro --from-dmesg` as it is called, and what becomes of the run: whole runs are made up, logs are not."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.plainly import EXIT_CANNOT_TELL, EXIT_FINDING, EXIT_USER
from harness.cli.repro import repro
from harness.flow import from_dmesg as flow
from harness.flow.from_dmesg import Wish, carry_out, propose_plan, read_log
from harness.flow.plans import DEBIAN
from harness.flow.run import RunOptions
from harness.model.outcome import Ending, Verdict
from harness.model.result import Report
from harness.model.scenario import Reproduction
from harness.store.layout import Layout
from tests.unit.compare_support import booted, report
from tests.unit.oom_texts import GROUP, I386, LAPTOP, OTHER_SPLAT, QUIET
from tests.unit.schemas import require_fits
from tests.unit.stand_in.cells import Told
from tests.unit.test_oom import GOLDEN, golden

OURS = "objects-and-a-locked-hog-leave-swap-free-on-6.12"


def call(*words: str, data: bytes | str = b"") -> Result:
    result = CliRunner().invoke(repro, ["--from-dmesg", *words], input=data)
    assert "Traceback" not in result.output
    return result


def test_the_plan_is_printed_and_is_a_plan() -> None:
    result = call(str(GOLDEN / OURS / "input.log"))
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["knobs"]["objects"] == "221M"
    assert "OOM with 511 MiB swap free: hog (pid 704) was killed" in result.stderr


def test_it_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    result = call("-", "--out", str(path), data=LAPTOP)
    assert (result.exit_code, result.stdout) == (0, "")
    assert tomllib.loads(path.read_text())["machine"]["ram"] == "512M"
    assert call("-", "--out", str(tmp_path / "gone" / "x.toml"), data=LAPTOP).exit_code == EXIT_CANNOT_TELL


def test_json_has_the_report_the_plan_and_why() -> None:
    text = call("-", "--json", data=GROUP).stdout
    require_fits(text, "scenario-1")
    plain = json.loads(text)
    assert plain["schema"] == "ttm-harness/scenario/1"
    assert plain["oom"]["report"]["kills"][0]["comm"] == "node"
    assert {choice["key"] for choice in plain["scenario"]["machine"]} >= {"ram", "memory_max"}
    assert all(choice["why"] for choice in plain["scenario"]["machine"])
    assert plain["again"] is None


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", EXIT_USER, "the log is empty"),
        (b"dear all,\nmy machine is slow\n", EXIT_USER, "no line of a kernel"),
        (bytes(range(256)) * 4000, EXIT_USER, "no line of a kernel"),
        (QUIET, EXIT_CANNOT_TELL, "no report of the OOM killer and no splat"),
        (OTHER_SPLAT, EXIT_CANNOT_TELL, "no suite of this harness goes where"),
        (I386, EXIT_CANNOT_TELL, "a guest of this harness is 64-bit"),
    ],
)
def test_what_cannot_be_done_has_its_status(data: bytes | str, status: int, said: str) -> None:
    result = call("-", data=data)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr and "hint:" in result.stderr


@pytest.mark.parametrize(
    "words",
    [("-", "--report", "9"), ("-", "--ram", "nonsense"), ("-", "--ram", "1M"), ("-", "--source", ""), ("/gone",)],
)
def test_a_mistake_is_one(words: tuple[str, ...]) -> None:
    assert call(*words, data=LAPTOP).exit_code == EXIT_USER


@pytest.mark.parametrize("words", [(), ("--go", "x"), ("--from-dmesg", "-", "some-run"), ("--ram", "1G", "x")])
def test_a_run_and_a_log_are_two_things(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(repro, list(words), input="")
    assert result.exit_code == EXIT_USER and "Traceback" not in result.output


def test_an_endless_line_and_a_flood_stay_small() -> None:
    """In pieces, as a file of a gigabyte comes: what is kept does not grow with it."""
    begin = time.monotonic()
    piece = b"x" * (1 << 18)
    seen = read_log(piece for _ in range(400))
    assert (seen.kernel, seen.ooms, seen.splats) == (False, (), ())
    flood = b"".join(LAPTOP.replace("5000.", f"{5000 + n}.").encode() for n in range(40))
    seen = read_log(flood for _ in range(100))
    assert len(seen.ooms) <= 500
    assert time.monotonic() - begin < 60


# ---- what came of it ----


def played(directory: Path, *consoles: str, verdict: Verdict = Verdict.BAD) -> tuple[Report, Path]:
    """A run whose boots left these consoles, in the place of one that is made."""
    made = report("r", *(booted(number, ()) for number in range(len(consoles))))
    runs = []
    for run, console in zip(made.runs, consoles, strict=True):
        (directory / run.directory).mkdir(parents=True)
        (directory / run.directory / "console.log").write_text(console)
        runs.append(replace(run, verdict=verdict, ending=Ending.FINISHED))
    return replace(made, runs=tuple(runs)), directory


def carried_out(made: tuple[Report, Path], layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Reproduction:
    monkeypatch.setattr(flow, "execute", lambda *_: made)
    found = propose_plan(read_log([golden(OURS)]), Wish(), DEBIAN)
    return carry_out(found, 1, layout, Told(), RunOptions())[0]


def test_the_same_again(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    same = golden(OURS).decode()
    found = carried_out(played(tmp_path, same, QUIET), scratch_layout, monkeypatch)
    assert found.again is True
    assert found.said == "it happens again: 1 of 2 boots ran out of memory with the same classes"
    assert all(field.alike is not False for field in found.likeness) and len(found.likeness) == 15


def test_nothing_of_the_kind(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    found = carried_out(played(tmp_path, QUIET, verdict=Verdict.GOOD), scratch_layout, monkeypatch)
    assert (found.again, found.ours, found.likeness) == (False, None, ())
    assert "does not happen here" in found.said


@pytest.mark.parametrize(
    ("console", "said"),
    [
        (golden("global-oom-with-all-swap-used-on-6.12").decode(), "in another way"),
        (golden("sysrq-f-on-7.3").decode(), "cannot be told"),
        (QUIET, "cannot be told"),
    ],
)
def test_anything_else_is_no_answer(
    console: str, said: str, tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kind of OOM, a kill that somebody asked for, a boot that did not do its work."""
    found = carried_out(played(tmp_path, console), scratch_layout, monkeypatch)
    assert found.again is None and said in found.said


@pytest.mark.parametrize(
    ("console", "verdict", "status"),
    [
        (golden(OURS).decode(), Verdict.BAD, EXIT_FINDING),
        (QUIET, Verdict.GOOD, 0),
        (QUIET, Verdict.CANNOT_TELL, EXIT_CANNOT_TELL),
    ],
)
def test_go_ends_with_what_came_of_it(
    console: str, verdict: Verdict, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = played(tmp_path, console, verdict=verdict)
    monkeypatch.setattr(flow, "execute", lambda *_: made)
    monkeypatch.setattr("harness.cli.from_dmesg.look_at_containment", lambda _: None)
    log = str(GOLDEN / OURS / "input.log")
    assert call(log, "--go").exit_code == status
    plain = call(log, "--go", "--json")
    assert (plain.exit_code, json.loads(plain.stdout)["again"]) == (status, {1: True, 0: False, 3: None}[status])
    require_fits(plain.stdout, "scenario-1")
