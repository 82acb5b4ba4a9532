# SPDX-License-Identifier: GPL-2.0-only
"""Dumps of pstore, in parts: the newest lines are in part 1, and in the first file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.parse import parse
from harness.evidence.pstore import in_time_order, is_part

OOPS = (
    "<1>[   10.000001] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "<1>[   10.000002] #PF: supervisor read access in kernel mode",
    "<4>[   10.000003] Oops: 0000 [#1] SMP",
    "<4>[   10.000004] CPU: 0 UID: 0 PID: 12 Comm: insmod Not tainted 7.3.4 #1",
    "<4>[   10.000005] RIP: 0010:place+0x1/0x2",
    "<4>[   10.000006] Call Trace:",
    "<4>[   10.000007]  up+0x1/0x2",
    "<4>[   10.000008] ---[ end trace 0000000000000000 ]---",
)
PANIC = "<0>[   11.000000] Kernel panic - not syncing: Fatal exception"


def part(reason: str, number: int, *lines: str) -> str:
    return "\n".join((f"{reason} Part{number}", *lines, ""))


PARTS = (part("Oops#1", 1, *OOPS[6:]), part("Oops#1", 2, *OOPS[3:6]), part("Oops#1", 3, *OOPS[:3]))
LATER = (part("Panic#2", 1, *OOPS[5:], PANIC), part("Panic#2", 2, *OOPS[:5]))


def run(*words: str, data: str = "") -> Result:
    return CliRunner().invoke(parse, list(words), input=data.encode())


def told(result: Result) -> list[tuple[str, list[str], int]]:
    events = json.loads(result.stdout)["events"]
    return [(event["kind"], event["frames"], event["span"]["last"]) for event in events]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_parts_are_read_in_the_order_of_time(order: tuple[int, ...], tmp_path: Path) -> None:
    whole = [("oops", ["place+0x1/0x2", "up+0x1/0x2"], 8)]
    joined = run("kmsg", "-", "--json", data="".join(PARTS[at] for at in order))
    assert (joined.exit_code, told(joined)) == (1, whole)
    assert "the parts of a pstore dump were put in the order of time" in joined.output
    for at in order:
        (tmp_path / f"dmesg-ramoops-{at}").write_text(PARTS[at].rstrip("\n"))
    files = [str(tmp_path / f"dmesg-ramoops-{at}") for at in order]
    assert told(run("kmsg", "--json", *files)) == whole


@pytest.mark.parametrize("text", ["".join((*LATER, *PARTS)), "".join((*PARTS, *LATER))])
def test_what_a_later_dump_says_again_counts_once(text: str) -> None:
    assert [kind for kind, _, _ in told(run("kmsg", "-", "--json", data=text))] == ["oops", "panic"]


def test_a_second_dump_of_the_same_number_is_another_boots() -> None:
    other = PARTS[1].replace("place+", "elsewhere+")
    assert b"".join(in_time_order([(PARTS[1] + other).encode()])).count(b"RIP:") == 2


def test_other_files_are_not_joined(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(PARTS[0])
    two.write_text("\n".join(OOPS) + "\n")
    result = run("kmsg", str(one), str(two))
    assert (result.exit_code, f"and {two} is none" in result.output) == (2, True)
    assert run("kmsg", str(one)).exit_code == 0


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_is_no_dump_is_passed_on(size: int) -> None:
    data = b"\n\n<4>[    1.000000] a\nOops#1 Part1\n" + b"b" * 300
    assert b"".join(in_time_order(data[at : at + size] for at in range(0, len(data), size))) == data
    assert not is_part(data) and is_part(PARTS[0].encode()) and not is_part(b"Oops#1 Part1 and more\n")
    assert list(in_time_order([])) == [b""]
