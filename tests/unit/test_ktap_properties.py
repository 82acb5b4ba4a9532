# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every log: relations between the results of a log and of the same log, cut, noisy or rewritten."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.evidence.parse import ParseResult, parse_ktap_text
from harness.model.outcome import Outcome
from tests.unit.test_ktap import SCENARIOS, SIMPLE, golden

if TYPE_CHECKING:
    from _typeshed import TraceFunction

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_BAD = (Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT)
NOISE = (
    "usb 1-1: new high-speed device",
    "    indented prose",
    "ok, that was it",
    "not okay",
    "1...2",
    "[drm] Initialized xe 1.1.0",
    "systemd[1]: Started ok 1 service",
    "TAP: tun device",
    "",
)


@cache
def parsed(scenario: str) -> ParseResult:
    return parse_ktap_text(golden(scenario))


def tally(result: ParseResult) -> list[tuple[str, str]]:
    return [(case.name, str(case.outcome)) for case in result.cases]


def count(result: ParseResult, *outcomes: Outcome) -> int:
    return sum(case.outcome in outcomes for case in result.cases)


# A made-up log: a tree of suites, each with a plan that may lie and results that may be missing or twice.

_results = st.sampled_from(["ok", "not ok"])
_directives = st.sampled_from(["", "", "", " # SKIP", " # SKIP no card", " # XFAIL", " # TIMEOUT 3 s", " # rc=0"])
_lies = st.sampled_from([0, 0, 0, 0, 1, -1, 7])


@st.composite
def document(draw: st.DrawFn, depth: int = 0) -> list[str]:
    """The lines of one document at its own indentation."""
    count = draw(st.integers(0, 4 if depth else 3))
    lines = ["KTAP version 1"]
    if depth:
        lines.append(f"# Subtest: s{draw(st.integers(0, 3))}")
    if draw(st.booleans()) or not depth:
        lines.append(f"1..{max(0, count + draw(_lies))}")
    for number in range(1, count + 1):
        name = f"c{number}"
        if depth < 2 and draw(st.booleans()):
            inner = draw(document(depth + 1))
            name = next(line for line in inner if "Subtest" in line).split(": ")[1]
            lines += ["    " + line for line in inner]
        elif draw(st.booleans()):
            lines.append(f"    # {name}: says ok 1 {name}")
        odd = draw(st.integers(0, 12))
        shown = {0: number + 1, 1: max(1, number - 1)}.get(odd, number)
        if odd != 2:
            lines.append(f"{draw(_results)} {shown} {name}{draw(_directives)}")
    return lines


logs = st.lists(document(), min_size=1, max_size=3).map(lambda docs: [line for doc in docs for line in doc])


def encode(lines: list[str], stamped: bool, end: str = "\n") -> bytes:
    stamp = (f"[{10 + at / 1000:12.6f}] " for at in range(len(lines)))
    return "".join((next(stamp) if stamped else "") + line + end for line in lines).encode()


@quick
@given(logs, st.booleans(), st.data())
def test_no_prefix_has_more_passes(lines: list[str], stamped: bool, data: st.DataObject) -> None:
    log = encode(lines, stamped)
    cut = data.draw(st.integers(0, len(log)))
    assert count(parse_ktap_text(log[:cut]), Outcome.PASS) <= count(parse_ktap_text(log), Outcome.PASS)


@quick
@given(logs, st.data())
def test_truncation_turns_no_failure_into_a_pass(lines: list[str], data: st.DataObject) -> None:
    log = encode(lines, stamped=True)
    cut = data.draw(st.integers(0, len(log)))
    whole, part = parse_ktap_text(log), parse_ktap_text(log[:cut])
    green = Counter(case.name for case in whole.cases if case.outcome is Outcome.PASS)
    assert Counter(case.name for case in part.cases if case.outcome is Outcome.PASS) <= green


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_logs_cut_at_many_places(scenario: str) -> None:
    log = golden(scenario)
    green = Counter(case.name for case in parsed(scenario).cases if case.outcome is not Outcome.INCOMPLETE)
    start = max(0, log.find(b"KTAP version 1"))
    places = sorted(random.Random(7).sample(range(start, len(log)), min(60, len(log) - start)))
    before = 0
    for cut in places:
        part = parse_ktap_text(log[:cut])
        passes = count(part, Outcome.PASS, Outcome.WARN)
        assert before <= passes <= count(parsed(scenario), Outcome.PASS, Outcome.WARN)
        assert Counter(c.name for c in part.cases if c.outcome is Outcome.PASS) <= green
        before = passes


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_lost_head_passes_nothing_that_the_log_did_not(scenario: str) -> None:
    log = golden(scenario)
    green = Counter(c.name for c in parsed(scenario).cases if c.outcome in (Outcome.PASS, Outcome.WARN))
    for cut in range(0, len(log), max(1, len(log) // 40)):
        part = parse_ktap_text(log[cut:])
        named = (case for case in part.cases if not case.name.startswith("?"))
        assert Counter(case.name for case in named if case.outcome is Outcome.PASS) <= green


@quick
@given(logs, st.booleans(), st.lists(st.tuples(st.integers(0, 200), st.sampled_from(NOISE)), max_size=8))
def test_noise_between_lines_changes_nothing(lines: list[str], stamped: bool, noise: list[tuple[int, str]]) -> None:
    noisy = list(lines)
    for at, text in noise:
        noisy.insert(at % (len(noisy) + 1), text)
    assert tally(parse_ktap_text(encode(noisy, stamped))) == tally(parse_ktap_text(encode(lines, stamped)))


@quick
@given(logs, st.integers(0, 200), st.integers(0, 60), st.sampled_from([text for text in NOISE if text]))
def test_noise_in_the_middle_of_a_line_changes_nothing(lines: list[str], at: int, column: int, noise: str) -> None:
    raws = encode(lines, stamped=True).decode().split("\n")[:-1]
    at %= len(raws)
    raw = raws[at]
    column = 15 + 1 + column % max(1, len(raw) - 15)
    stamp = re.sub(r"\d{3}\]", "999]", raw[:14])
    broken = [raw[:column] + stamp + " " + noise, raw[column:]]
    text = "\n".join([*raws[:at], *broken, *raws[at + 1 :], ""])
    assert tally(parse_ktap_text(text.encode())) == tally(parse_ktap_text(encode(lines, stamped=True)))


@quick
@given(logs, st.integers(0, 200), st.integers(0, 12), st.integers(1, 9))
def test_fake_results_at_other_depths_add_no_pass(lines: list[str], at: int, indent: int, number: int) -> None:
    """A driver that prints `ok N name` where no suite is open at that depth gains nothing."""
    at %= len(lines) + 1
    depths = {len(line) - len(line.lstrip()) for line in lines}
    if indent in depths:
        indent += 1 if indent + 1 not in depths else 2
    fake = [*lines[:at], " " * indent + f"ok {number} fake", *lines[at:]]
    result = parse_ktap_text(encode(fake, stamped=True))
    assert count(result, Outcome.PASS) <= count(parse_ktap_text(encode(lines, stamped=True)), Outcome.PASS)
    assert not any(case.name.endswith("fake") for case in result.cases)


@quick
@given(logs, st.integers(0, 200))
def test_a_fake_result_never_exceeds_the_plan(lines: list[str], at: int) -> None:
    """Even at the right depth: what passes below a suite is at most what its plan promises."""
    at %= len(lines) + 1
    while at < len(lines) and lines[at].strip().startswith(("#", "1..")):  # a plan that comes late is only told
        at += 1
    depth = len(lines[at - 1]) - len(lines[at - 1].lstrip()) if at else 0
    fakes = [" " * depth + f"ok {number} fake" for number in range(1, 10)]
    planned = sum(int(line.strip()[3:]) for line in lines if line.strip().startswith("1.."))
    free = sum("KTAP version" in line for line in lines) != sum(line.strip().startswith("1..") for line in lines)
    result = parse_ktap_text(encode([*lines[:at], *fakes, *lines[at:]], stamped=True))
    assert free or count(result, Outcome.PASS) <= planned


@quick
@given(logs)
def test_times_and_line_ends_do_not_matter(lines: list[str]) -> None:
    expected = tally(parse_ktap_text(encode(lines, stamped=False)))
    for stamped in (True, False):
        for end in ("\n", "\r\n", "\r\r\n"):
            assert tally(parse_ktap_text(encode(lines, stamped, end))) == expected


# Without its times nobody can tell the two writers of the log of user space apart.
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if not name.startswith("user-space")])
def test_real_logs_in_other_dress(scenario: str) -> None:
    log = golden(scenario).decode()
    kernel = "".join(line for line in log.splitlines(True) if line.startswith("["))
    expected = tally(parse_ktap_text(kernel.encode()))
    dresses: list[Callable[[str], str]] = [
        lambda text: text.replace("\r\n", "\n"),
        lambda text: re.sub(r"(?m)^\[ *\d+\.\d{6}\] ", "", text),
        lambda text: re.sub(r"(?m)^(\[ *\d+\.\d{6}\])", r"\1[   T42]", text),
        lambda text: re.sub(r"(?m)^", "<6>", text.rstrip()) + "\n",
        lambda text: re.sub(r"(?m)^\[ *\d+\.\d{6}\]", "[Mon Sep  1 12:34:56 2025]", text),
        lambda text: re.sub(r"(?m)^(?=.)", "Sep  1 12:34:56 guest kernel: ", text),
        lambda text: "\x1b[2J\x1b[0mSeaBIOS\r\n" + text.replace("ok", "o\0k"),
    ]
    for dress in dresses:
        assert tally(parse_ktap_text(dress(kernel).encode())) == expected


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_never_raises_on_any_bytes(data: bytes) -> None:
    parse_ktap_text(data)
    parse_ktap_text(b"[    1.000000] KTAP version 1\n" + data + b"\nok 1 x\n")


_BITS = (
    "KTAP version 1", "TAP version 14", "    ", "  ", "1..2", "1..0", "ok 1 a", "not ok 2 b", "# Subtest: x", "\n",
    "\n", "\r", "[    1.000000] ", "[    2.000000][   T1] ", "# SKIP", "Bail out!", "\x1b[0m", "\0", "<6>",
    "------------[ cut here ]------------", "WARNING: a.c:1 at f+0x1/0x2", "---[ end trace 0 ]---", "BUG: ", "Oops: ",
    "** replaying previous printk message **", "** 3 printk messages dropped **", "=====================",
    "pass:1 fail:0 skip:0 total:9", " invoked oom-killer: ",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_BITS), max_size=60), st.data())
def test_never_raises_on_pieces_of_logs(bits: list[str], data: st.DataObject) -> None:
    log = "".join(bits).encode()
    whole = parse_ktap_text(log)
    cut = data.draw(st.integers(0, len(log)))
    assert count(parse_ktap_text(log[:cut]), Outcome.PASS) <= count(whole, Outcome.PASS, Outcome.WARN, Outcome.CRASH)


def operations(data: bytes) -> int:
    """How many lines of Python the parser runs for it: a measure of work that the machine's load does not touch."""
    seen = 0

    def local(_frame: FrameType, _event: str, _argument: object) -> TraceFunction:
        nonlocal seen
        seen += 1
        return local

    old = sys.gettrace()
    sys.settrace(local)
    try:
        parse_ktap_text(data)
    finally:
        sys.settrace(old)
    return seen


_TRACE = "------------[ cut here ]------------\nWARNING: a.c:1 at f+0x1/0x2\nCall Trace:\n f+0x1/0x2\n"


@pytest.mark.parametrize(
    "piece",
    [
        SIMPLE,
        _TRACE,
        "BUG: x\n" * 5 + "prose\n" * 5,
        "WARNING: possible circular locking dependency detected\nprose\n",
        "a invoked oom-killer: x\nMem-Info:\n",
        "Oops: 1\n",
        "======================\n",
        "[    1.000000] ok [    1.000001] x\n",
        "/ # [    1.000000] x\n",
        "** replaying previous printk message **",
        "KTAP version 1\n1..999999\n",
        "KTAP version 1\n    KTAP version 1\n        KTAP version 1\n",
        "\x1b]\x1b[" * 20 + "\n",
        "ok " + " " * 400 + "#" * 400 + "\n",
        "# a: EXPECTATION FAILED at x:1\n" + "    b\n" * 8,
    ],
)
def test_the_work_grows_like_the_log(piece: str) -> None:
    size = max(20, 4000 // len(piece))
    small, large = (operations(("KTAP version 1\n" + piece * n).encode()) for n in (size, size * 10))
    assert large <= small * 12


def test_work_inside_one_long_line() -> None:
    """Regular expressions must not go over a line again and again: a long line costs no more than its length."""
    for piece in ("ok 1 ", "# ", " ", "[    1.000000] ", "a+0x1/0x2 ", "WARNING: ", "=", "BUG: ", "-> "):
        text = "KTAP version 1\n1..1\nok 1 a # " + piece * 200_000 + "\n" + piece * 1000 + "\n"
        assert operations(text.encode()) < 20_000
