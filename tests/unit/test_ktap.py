# SPDX-License-Identifier: GPL-2.0-only
"""KTAP: real logs against what is expected of them, and the forms that they do not show.

`python -m tests.unit.test_ktap --update` writes expected.json anew; read the difference before it is kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.evidence.cases import attach, cases
from harness.evidence.ktap import DEEPEST, KtapLog, Node, parse
from harness.evidence.kunit_state import kunit_state
from harness.evidence.lines import LONGEST, decode
from harness.evidence.parse import ParseResult, parse_ktap_text
from harness.evidence.sections import cases_begun
from harness.evidence.splats import find_events
from harness.model.outcome import Outcome
from harness.model.result import Case
from harness.model.suite import ExpectedSplat

GOLDEN = Path(__file__).parent.parent / "data" / "ktap"
SCENARIOS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())


def golden(scenario: str) -> bytes:
    return (GOLDEN / scenario / "input.log").read_bytes()


def plain(result: ParseResult) -> dict[str, object]:
    """What a golden file holds of a result."""
    return {
        "cases": [[case.name, str(case.outcome), case.raw, case.message] for case in result.cases],
        "events": [[e.kind, e.title, e.fingerprint, e.span.first, e.span.last] for e in result.events],
        "loose": len(result.loose),
        "problems": list(result.problems),
    }


def result_of(text: str) -> list[Case]:
    return list(parse_ktap_text(text.encode()).cases)


def outcomes(text: str) -> dict[str, str]:
    return {case.name: str(case.outcome) for case in result_of(text)}


def passes(data: bytes) -> int:
    return sum(case.outcome is Outcome.PASS for case in parse_ktap_text(data).cases)


def leaf(log: KtapLog, *path: str) -> Node:
    """The node at a path below the first document."""
    node = log.documents[0]
    for name in path:
        node = next(child for child in node.children if child.name == name)
    return node


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_golden(scenario: str) -> None:
    expected = json.loads((GOLDEN / scenario / "expected.json").read_text())
    assert json.loads(json.dumps(plain(parse_ktap_text(golden(scenario))))) == expected


def test_golden_counts() -> None:
    """The figures by which everybody knows these suites, without the help of a golden file."""
    for scenario in ("every-ttm-suite-on-7.3", "every-ttm-suite-on-6.12", "user-space-writes-into-kernel-lines"):
        result = parse_ktap_text(golden(scenario))
        assert len(result.cases) == (31 if scenario.startswith("user") else 101)
        assert {case.outcome for case in result.cases} == {Outcome.PASS, Outcome.WARN}
        assert not result.problems
    live = parse_ktap_text(golden("xe-live-suites-skip-without-a-gpu"))
    assert {case.outcome for case in live.cases} == {Outcome.SKIP}


SIMPLE = """KTAP version 1
1..1
    KTAP version 1
    # Subtest: pool
    # module: pool_test
    1..3
    ok 1 alloc
    # free: EXPECTATION FAILED at pool.c:7
    Expected a == b, but
        a == 1 (0x1)
    not ok 2 free
        KTAP version 1
        # Subtest: sizes
        ok 1 small
        ok 2 large # SKIP no memory
    # sizes: pass:1 fail:0 skip:1 total:2
    ok 3 sizes
# pool: pass:2 fail:1 skip:0 total:3
not ok 1 pool
"""


def test_simple() -> None:
    result = parse_ktap_text(SIMPLE.encode())
    assert [(case.name, str(case.outcome)) for case in result.cases] == [
        ("pool.alloc", "PASS"),
        ("pool.free", "FAIL"),
        ("pool.sizes.small", "PASS"),
        ("pool.sizes.large", "SKIP"),
    ]
    assert result.cases[1].message == "EXPECTATION FAILED at pool.c:7: Expected a == b, but"
    assert result.cases[3].message == "no memory"
    assert result.problems == ()


@pytest.mark.parametrize(
    ("line", "outcome", "name", "reason"),
    [
        ("ok 1 a", "PASS", "a", ""),
        ("ok 1 - a", "PASS", "a", ""),
        ("not ok 1 a", "FAIL", "a", ""),
        ("ok 1 a # SKIP ", "SKIP", "a", ""),
        ("ok 1 a # SKIP", "SKIP", "a", ""),
        ("not ok 1 a # skip no card", "SKIP", "a", "no card"),
        ("ok 1 a #SKIP: no card", "SKIP", "a", "no card"),
        ("ok 1 a # skipped, no card", "SKIP", "a", ", no card"),
        ("not ok 1 a # TODO later", "XFAIL", "a", "later"),
        ("ok 1 a # XFAIL known", "XFAIL", "a", "known"),
        ("not ok 1 a # TIMEOUT 30 seconds", "TIMEOUT", "a", "30 seconds"),
        ("ok 1 a # TIMEOUT 30 seconds", "TIMEOUT", "a", "30 seconds"),
        ("not ok 1 a # ERROR -12", "FAIL", "a", "-12"),
        ("ok 1 a # ERROR -12", "FAIL", "a", "-12"),
        ("ok 1 a # rcode=0", "PASS", "a", "rcode=0"),
        ("ok 1 b#1", "PASS", "b#1", ""),
        ("ok 1", "PASS", "?1", ""),
        ("ok 1 # SKIP", "SKIP", "?1", ""),
        ("ok 1 a # s\u212aip", "PASS", "a", "s\u212aip"),
        ("ok 1 # SKIP a # b", "SKIP", "?1", "a # b"),
    ],
)
def test_result_line(line: str, outcome: str, name: str, reason: str) -> None:
    (case,) = result_of(f"KTAP version 1\n1..1\n{line}\n")
    assert (str(case.outcome), case.name, case.message) == (outcome, name, reason)


def test_tap14_of_older_kunit() -> None:
    text = "TAP version 14\n1..1\n    # Subtest: old\n    1..2\n    ok 1 - a\n    ok 2 - b\nok 1 - old\n"
    assert outcomes(text) == {"old.a": "PASS", "old.b": "PASS"}


def test_tap13_without_numbers() -> None:
    assert outcomes("TAP version 13\n1..2\nok a\nnot ok b\n") == {"a": "PASS", "b": "FAIL"}


def test_spec_nesting_by_two_spaces() -> None:
    text = (
        "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n    KTAP version 1\n    1..2\n    not ok 1 test_1\n"
        "    ok 2 test_2\n  not ok 1 test_3\n  ok 2 test_4 # SKIP\nnot ok 1 one\nok 2 two\n"
    )
    assert outcomes(text) == {
        "one.test_3.test_1": "FAIL",
        "one.test_3.test_2": "PASS",
        "one.test_4": "SKIP",
        "two": "PASS",
    }


def test_debugfs_results_file() -> None:
    """It begins inside the document: the outer version line is not always there."""
    text = "    KTAP version 1\n    # Subtest: pool\n    1..1\n    ok 1 a\nok 1 pool\n"
    assert outcomes(text) == {"pool.a": "PASS"}


def test_several_module_loads_number_from_one() -> None:
    one = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: {0}\n    1..1\n    ok 1 a\nok 1 {0}\n"
    text = "KTAP version 1\n1..0\n" + one.format("x") + "noise\n" + one.format("y")
    assert outcomes(text) == {"x.a": "PASS", "y.a": "PASS"}
    assert parse_ktap_text(text.encode()).problems == ()


# Where the parser says no


def test_parent_says_ok_and_a_child_failed() -> None:
    text = SIMPLE.replace("not ok 1 pool", "ok 1 pool")
    log = parse(decode(text.encode()))
    assert leaf(log, "pool").outcome is Outcome.FAIL
    assert any("says ok" in error for error in log.errors)


def test_parent_says_not_ok_and_no_child_failed() -> None:
    text = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..1\n    ok 1 a\nnot ok 1 x\n"
    assert outcomes(text) == {"x.a": "PASS", "x": "FAIL"}


def test_suite_without_its_result_line() -> None:
    text = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..1\n    ok 1 a\n"
    assert outcomes(text) == {"x.a": "PASS", "x": "INCOMPLETE"}


def test_fewer_than_planned() -> None:
    text = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..3\n    ok 1 a\n    ok 3 c\nok 1 x\n"
    assert outcomes(text) == {"x.a": "PASS", "x.?2": "INCOMPLETE", "x.c": "PASS"}
    log = parse(decode(text.encode()))
    assert leaf(log, "x").outcome is Outcome.INCOMPLETE
    assert any("2 of 3" in error for error in log.errors)


def test_missing_suites_of_a_document() -> None:
    text = "KTAP version 1\n1..3\nok 1 a\n"
    assert outcomes(text) == {"a": "PASS", "?2": "INCOMPLETE", "?3": "INCOMPLETE"}


def test_header_and_ok_but_no_case() -> None:
    text = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\nok 1 x\n"
    assert outcomes(text) == {"x": "INCOMPLETE"}


@pytest.mark.parametrize("plan", ["1..0", "1..0 # SKIP no card"])
def test_empty_plan_is_a_skip(plan: str) -> None:
    text = f"KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    {plan}\nok 1 x\n"
    (case,) = result_of(text)
    assert case.outcome is Outcome.SKIP
    assert case.message == plan[4:].removeprefix(" # ")


def test_all_skipped_below_makes_a_skip() -> None:
    text = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..1\n    ok 1 a # SKIP\nok 1 x\n"
    assert leaf(parse(decode(text.encode())), "x").outcome is Outcome.SKIP


def test_parameters_lost_from_a_document_without_a_plan() -> None:
    text = (
        "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..1\n        KTAP version 1\n"
        "        # Subtest: c\n        ok 1 p\n    # c: pass:3 fail:0 skip:0 total:3\n    ok 1 c\nok 1 x\n"
    )
    assert outcomes(text) == {"x.c.p": "PASS", "x.c.?2": "INCOMPLETE", "x.c.?3": "INCOMPLETE"}


def test_bail_out() -> None:
    result = parse_ktap_text(b"KTAP version 1\n1..2\nok 1 a\nBail out! no memory\nok 2 b\n")
    assert [str(case.outcome) for case in result.cases] == ["PASS", "INCOMPLETE"]
    assert any("Bail out" in problem for problem in result.problems)


def test_second_number_keeps_only_bad_news() -> None:
    text = "KTAP version 1\n1..2\nok 1 a\nok 1 a\nnot ok 1 a\nok 2 b\n"
    assert [str(case.outcome) for case in result_of(text)] == ["PASS", "FAIL", "PASS"]
    problems = parse_ktap_text(text.encode()).problems
    assert sum("a second time" in problem for problem in problems) == 2


def test_nothing_passes_beyond_the_plan() -> None:
    text = "KTAP version 1\n1..1\nok 1 a\nok 2 b\nnot ok 3 c\n"
    text += "    KTAP version 1\n    # Subtest: z\n    1..1\n    ok 1 q\nok 2 z\n"
    result = parse_ktap_text(text.encode())
    assert [case.name for case in result.cases if case.outcome is Outcome.PASS] == ["a"]
    assert any(case.outcome is Outcome.FAIL for case in result.cases)
    assert any("outside the plan" in problem for problem in result.problems)


@pytest.mark.parametrize("fake", ["ok 3 late", "  ok 3 late", "      ok 3 late", "ok 2 x", "ok late", "\tok 3 late"])
def test_a_driver_prints_results_at_a_wrong_place(fake: str) -> None:
    head = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..3\n    ok 1 a\n"
    tail = "    not ok 2 b\n    # c: said ok 3 late\n    not ok 3 late\nnot ok 1 x\n"
    assert outcomes(head + fake + "\n" + tail) == {"x.a": "PASS", "x.b": "FAIL", "x.late": "FAIL"}


def test_a_driver_closes_a_suite_that_is_not_its_own() -> None:
    """The real result still comes, and what the suite promised and did not print is not green."""
    text = OPEN + "ok 1 x\n    ok 2 b\nok 1 x\n"
    got = outcomes(text)
    assert got["x.a"] == "PASS" and got["x.?2"] == "INCOMPLETE" and "x.b" not in got
    assert parse_ktap_text(text.encode()).problems


@pytest.mark.parametrize("number", ["999999999999999", "9" * 30, "9" * 5000, "0", "00000000000000000001"])
def test_odd_numbers(number: str) -> None:
    result = parse_ktap_text(f"KTAP version 1\n1..1\nok {number} a\n".encode())
    green = [case for case in result.cases if case.outcome is Outcome.PASS]
    assert not green
    assert result.problems


def test_a_plan_of_a_billion_costs_nothing() -> None:
    result = parse_ktap_text(b"KTAP version 1\n1..999999999999\nok 1 a\n" * 3)
    assert len(result.cases) < 20_000
    assert result.cases[-1].name.endswith("-999999999999")


def test_two_plans_the_greater_holds() -> None:
    assert "?3" in outcomes("KTAP version 1\n1..2\n1..3\nok 1 a\nok 2 b\n")


def test_deep_nesting_is_refused() -> None:
    text = "".join(" " * (2 * depth) + "KTAP version 1\n" for depth in range(2_000))
    log = parse(decode((text + "ok 1 a\n").encode()))
    assert any(f"deeper than {DEEPEST}" in error for error in log.errors)
    assert len(log.errors) <= 210


def test_a_line_of_a_million_characters() -> None:
    text = "KTAP version 1\n1..1\nok 1 " + "a" * 1_000_000 + "\n"
    (case,) = result_of(text)
    assert case.outcome is Outcome.INCOMPLETE
    assert max(len(line.text) for line in decode(text.encode())) <= LONGEST


def test_unknown_version_is_told() -> None:
    assert any("nobody defined" in error for error in parse(decode(b"KTAP version 7\n1..1\nok 1 a\n")).errors)


def test_dropped_messages_are_told() -> None:
    log = parse(decode(b"[    1.000000] KTAP version 1\n[    1.000000] 1..1\n** 12 printk messages dropped **\n"))
    assert any("12 printk messages dropped" in error for error in log.errors)


def test_last_line_without_its_end_is_no_result() -> None:
    """It could have gone on with `# SKIP`."""
    assert outcomes("KTAP version 1\n1..1\nok 1 a") == {"?1": "INCOMPLETE"}


# Lines


@pytest.mark.parametrize(
    ("raw", "text", "time"),
    [
        (b"[   12.345678] ok 1 a", "ok 1 a", 12.345678),
        (b"[   12.345678][   T12]     ok 1 a", "    ok 1 a", 12.345678),
        (b"[   12.345678][    C0] x", "x", 12.345678),
        (b"<6>[   12.345678] x", "x", 12.345678),
        (b"<6>x", "x", None),
        (b"[    T1] x", "x", None),
        (b"[Mon Sep  1 12:34:56 2025]     ok 1 a", "    ok 1 a", 1756730096.0),
        (b"[Mon Sep 99 12:34:56 2025] x", "[Mon Sep 99 12:34:56 2025] x", None),
        (b"Sep  1 12:34:56 host kernel: [   12.345678] x", "x", 12.345678),
        (b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS", "SeaBIOS", None),
        (b"a\0b\r", "ab", None),
        (b"\xff\xfe", "��", None),
        (b"    [drm] x", "    [drm] x", None),
    ],
)
def test_prefixes(raw: bytes, text: str, time: float | None) -> None:
    (line,) = decode(raw + b"\n")
    assert (line.text, line.time, line.whole) == (text, time, True)


def test_a_kernel_line_in_the_middle_of_another_is_taken_out() -> None:
    lines = decode(b"[    3.100000]     ok 3 fo[    3.200000] usb: hello\no\n[    3.300000] x\n")
    assert [(line.text, line.whole) for line in lines] == [("    ok 3 foo", True), ("usb: hello", True), ("x", True)]


def test_a_broken_line_whose_rest_never_comes_is_no_result() -> None:
    lines = decode(b"[    3.100000]     ok 3 fo[    3.200000] ok 1 x\n[    3.300000] x\n")
    assert not lines[0].whole
    assert lines[1].text == ""


def test_the_end_of_a_refusal_is_not_taken_for_a_result() -> None:
    text = b"KTAP version 1\n1..1\nnot [    3.200000] usb: hello\nok 1 a\n"
    (case,) = parse_ktap_text(text).cases
    assert (case.name, case.outcome) == ("a", Outcome.FAIL)


def test_a_message_printed_again_counts_once() -> None:
    text = (
        "[    1.000000] KTAP version 1\n[    1.000000] 1..2\n[    1.000000] ok 1 a\n"
        "[    1.100000] ok 2** replaying previous printk message **\n[    1.100000] ok 2 b\n"
    )
    assert outcomes(text) == {"a": "PASS", "b": "PASS"}
    assert parse_ktap_text(text.encode()).problems == ()


def test_firmware_before_the_first_message() -> None:
    lines = decode(b"Booting from ROM..\x1bc[    0.000000] Linux version 7.3\r\nKTAP version 1\r\n")
    assert [line.text for line in lines] == ["Booting from ROM..", "Linux version 7.3", "KTAP version 1"]


def test_user_space_cannot_pass_for_the_kernel() -> None:
    """A result without a time does not count in a document that has times."""
    text = "[    1.000000] KTAP version 1\n[    1.000000] 1..2\n[    1.000000] ok 1 a\nok 2 b\n"
    assert outcomes(text) == {"a": "PASS", "?2": "INCOMPLETE"}


# Events of cases

PANIC = "Kernel panic - not syncing: sysrq triggered crash\nCall Trace:\n panic+0x1/0x2\n"
WARNING = (
    "------------[ cut here ]------------\nWARNING: a.c:1 at foo+0x1/0x2, CPU#0: x/1\n"
    "---[ end trace 0000000000000000 ]---\n"
)
OPEN = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: x\n    1..2\n    ok 1 a\n"


def test_panic_makes_a_crash_of_the_case_that_ran() -> None:
    result = parse_ktap_text((OPEN + "    # b: half way\n" + PANIC).encode())
    assert [(case.name, str(case.outcome)) for case in result.cases] == [("x.a", "PASS"), ("x.?2", "CRASH")]
    assert "last that spoke was b" in result.cases[1].message
    assert result.loose == ()


def test_warning_makes_a_warn_of_a_pass() -> None:
    result = parse_ktap_text((OPEN + WARNING + "    ok 2 b\nok 1 x\n").encode())
    assert [str(case.outcome) for case in result.cases] == ["PASS", "WARN"]


def test_expected_warning_leaves_a_pass() -> None:
    text = (OPEN + WARNING + "    ok 2 b\nok 1 x\n").encode()
    result = parse_ktap_text(text, expected=[ExpectedSplat(r"x\.b", r"at foo\b", "on purpose")])
    assert [str(case.outcome) for case in result.cases] == ["PASS", "PASS"]
    assert result.cases[1].events[0].expected == "on purpose"


@pytest.mark.parametrize(
    "splat", [ExpectedSplat(r"x\.a", "foo", "y"), ExpectedSplat(r"x\.b", "bar", "y"), ExpectedSplat("b", "foo", "y")]
)
def test_what_is_expected_elsewhere_is_not_expected_here(splat: ExpectedSplat) -> None:
    result = parse_ktap_text((OPEN + WARNING + "    ok 2 b\nok 1 x\n").encode(), expected=[splat])
    assert result.cases[1].outcome is Outcome.WARN


def test_a_panic_is_never_expected() -> None:
    result = parse_ktap_text((OPEN + PANIC).encode(), expected=[ExpectedSplat(".*", ".*", "y")])
    assert result.cases[1].outcome is Outcome.CRASH


def test_an_oom_kill_is_kept_and_changes_nothing() -> None:
    text = OPEN + "Out of memory: Killed process 7 (tail) total-vm:1kB\n    ok 2 b\nok 1 x\n"
    case = result_of(text)[1]
    assert case.outcome is Outcome.PASS
    assert [event.kind for event in case.events] == ["oom"]


def test_an_event_outside_every_case_is_loose() -> None:
    result = parse_ktap_text((WARNING + OPEN + "    ok 2 b\n" + WARNING + "ok 1 x\n" + WARNING).encode())
    assert all(not case.events for case in result.cases)
    assert len(result.loose) == len(result.events) == 3


def test_a_warning_does_not_make_an_executed_case_of_one_that_never_ended() -> None:
    assert result_of(OPEN + WARNING)[1].outcome is Outcome.INCOMPLETE
    assert result_of(OPEN + WARNING + "    ok 2 b # SKIP\nok 1 x\n")[1].outcome is Outcome.SKIP


def test_cases_takes_a_suite_name() -> None:
    lines = decode(SIMPLE.encode())
    assert {case.suite for case in cases(parse(lines), "ttm-kunit", find_events(lines))} == {"ttm-kunit"}


def test_seconds_come_from_the_times() -> None:
    text = "[    1.000000] KTAP version 1\n[    1.000000] 1..2\n[    1.250000] ok 1 a\n[    1.750000] ok 2 b\n"
    assert [case.seconds for case in result_of(text)] == [0.25, 0.5]
    assert [case.seconds for case in result_of(SIMPLE)] == [None] * 4


# Why nothing ran


def test_kunit_state() -> None:
    state = kunit_state(decode(golden("kunit-disabled-on-the-command-line")))
    assert state.disabled and any("kunit.enable=1" in reason for reason in state.reasons)
    assert not kunit_state(decode(golden("every-ttm-suite-on-7.3"))).reasons
    assert kunit_state(decode(b"xe_test: Unknown symbol foo (err -2)\n")).reasons
    text = b"[    0.000000] Kernel command line: kunit.enable=1\n[    0.000000] KTAP version 1\n[    0.000000] 1..0\n"
    assert "autorun" in kunit_state(decode(text)).reasons[0]


def test_a_log_without_tests_says_so() -> None:
    assert parse_ktap_text(b"").problems == ("no KTAP result in it",)


def _update() -> None:
    for scenario in SCENARIOS:
        text = json.dumps(plain(parse_ktap_text(golden(scenario))), indent=0, ensure_ascii=False)
        (GOLDEN / scenario / "expected.json").write_text(text + "\n")


if __name__ == "__main__" and "--update" in sys.argv:
    _update()


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("ttm-harness: case mine b\n", "mine.b"),
        ("ttm-harness: case mine a\nttm-harness: case mine b\n", "mine.b"),
        ("ttm-harness: case other b\n", "mine.?2"),
        ("ttm-harness: case mine b and more\n", "mine.?2"),
        ("ttm-harness: case mine a\n", "mine.?2"),  # of that there is a result
        ("", "mine.?2"),
    ],
)
def test_a_case_that_began_and_never_ended_has_the_name_it_was_begun_with(said: str, name: str) -> None:
    text = f"KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: mine\n  1..4\n  ok 1 a\n{said}boom\n"
    lines = list(decode(text.encode()))
    found = attach(parse(lines), "mine", begun=cases_begun(lines, "mine")).cases
    # The others were never begun, so nobody knows which they are.
    assert [case.name for case in found] == ["mine.a", name, "mine.?3", "mine.?4"]
    assert found[1].outcome is Outcome.INCOMPLETE


def test_a_runner_with_a_header_for_each_case_names_no_other_case_by_its_next_marker() -> None:
    head = "KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: mine_kunit\n  1..1\n"
    text = f"{head}ttm-harness: case mine b\n{head}  ok 1 b\nok 1 mine_kunit\n"
    lines = list(decode(text.encode()))
    found = attach(parse(lines), "mine", begun=cases_begun(lines, "mine")).cases
    assert [case.name for case in found] == ["mine_kunit.?1", "mine_kunit.b"]
