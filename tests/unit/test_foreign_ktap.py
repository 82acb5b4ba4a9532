# SPDX-License-Identifier: GPL-2.0-only
"""KTAP as others print, indent, quote and keep it: the same cases, each once."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from harness.evidence import ktap
from harness.evidence.parse import ParseResult, parse_ktap_stream, parse_ktap_text
from harness.model.outcome import Outcome
from tests.unit.test_ktap import golden
from tests.unit.test_prefixes import FORMS, records

BARE = """KTAP version 1
1..2
    KTAP version 1
    # Subtest: pool
    1..2
    ok 1 alloc
    # free: EXPECTATION FAILED at a.c:1
    not ok 2 free
not ok 1 pool
    KTAP version 1
    # Subtest: tt
    1..1
    ok 1 bind # SKIP no device
ok 2 tt # SKIP no device
"""
TOLD = {"pool.alloc": "PASS", "pool.free": "FAIL", "tt.bind": "SKIP"}


def saved(text: str | bytes) -> ParseResult:
    return parse_ktap_stream([text.encode() if isinstance(text, str) else text])


def outcomes(text: str | bytes) -> dict[str, str]:
    return {case.name: str(case.outcome) for case in saved(text).cases}


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text,
        lambda text: text.replace("    ", "\t"),
        lambda text: re.sub(r"(?m)^", " ", text),
        lambda text: re.sub(r"(?m)^", "> ", text),
        lambda text: re.sub(r"(?m)^", "> > ", text),
        lambda text: re.sub(r"(?m)^", "2025-05-19T18:14:43.2+00:00 h kernel: ", text),
        lambda text: re.sub(r"(?m)^", "<6> [525.831095] ", text),
        lambda text: re.sub(r"(?m)^", "<6> [525.831095]  ", text),
        lambda text: re.sub(r"(?m)^    (?!KTAP|#)", "        ", text),
        lambda text: re.sub(r"(?m)^    ", "  ", text),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\r\n"),
    ],
    ids=["as it is", "tabs", "a blank", "quoted", "quoted twice", "RFC 3339", "Intel CI", "Intel CI and a blank",
         "children deeper than their header", "two blanks a level", "no last newline", "CR LF"],
)  # fmt: skip
def test_the_same_cases(rewrite: object) -> None:
    assert callable(rewrite)
    text = rewrite(BARE)
    assert outcomes(text) == TOLD
    failed = next(case for case in saved(text).cases if case.outcome is Outcome.FAIL)
    assert "a.c:1" in failed.message


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"nothing", "level alone", "two blanks, no times", "logcat"}))
def test_a_real_log_under_every_prefix(form: str) -> None:
    log = "".join(FORMS[form](at, text) + "\n" for at, text in records("splats"))
    plain = "".join(FORMS["console"](at, text) + "\n" for at, text in records("splats"))
    assert outcomes(log) == outcomes(plain) != {}


def test_a_last_line_without_its_newline() -> None:
    assert outcomes("KTAP version 1\n1..1\nok 1 a") == {"a": "PASS"}
    assert saved("KTAP version 1\n1..1\nok 1 a").problems == ()
    assert outcomes("KTAP version 1\n1..2\nok 1 a") == {"?1": "INCOMPLETE", "?2": "INCOMPLETE"}
    # A console may have been cut anywhere.
    assert [case.outcome for case in parse_ktap_text(b"KTAP version 1\n1..1\nok 1 a").cases] == [Outcome.INCOMPLETE]


def test_dmesg_printed_into_its_own_console_counts_once() -> None:
    log = golden("every-ttm-suite-on-7.3")
    whole = parse_ktap_text(log)
    for again in (log, log[: len(log) // 2], log[len(log) // 4 :]):
        both = parse_ktap_text(log + again)
        assert [(case.name, case.outcome) for case in both.cases] == [(c.name, c.outcome) for c in whole.cases]
        assert both.problems == whole.problems


def test_dmesg_printed_while_the_tests_run() -> None:
    lines = [f"[{1 + n / 10:12.6f}] {text}\n" for n, text in enumerate(BARE.splitlines())]
    log = "".join((*lines[:9], *lines[:9], *lines[9:], *lines))
    assert outcomes(log) == TOLD


def test_another_boot_is_no_repetition() -> None:
    first = "".join(f"[{1 + n / 10:12.6f}] {text}\n" for n, text in enumerate(BARE.splitlines()))
    second = "".join(f"[{0.5 + n / 10:12.6f}] {text}\n" for n, text in enumerate(BARE.splitlines()))
    assert len(saved(first + second).cases) == 2 * len(TOLD)


@pytest.mark.parametrize(
    "fake", ["     ok 1 fake", "        ok 1 fake", "\tok 1 fake", "    \tok 1 fake", " \t ok 1 fake"]
)
def test_one_line_at_another_depth_is_no_result(fake: str) -> None:
    """What is allowed to a log as a whole is not allowed to a line of it."""
    head = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: pool\n"
    told = {"pool": "INCOMPLETE"}
    assert outcomes(f"{head}ok 1 pool\n") == outcomes(f"{head}{fake}\nok 1 pool\n") == told
    planned = outcomes(f"{head}    1..1\n{fake}\nok 1 pool\n")
    assert planned == {"pool.?1": "INCOMPLETE"}
    second = BARE.replace("    1..1\n    ok 1 bind # SKIP no device\n", f"        1..1\n{fake}\n")
    assert "PASS" not in {outcome for name, outcome in outcomes(second).items() if name.startswith("tt")}


def test_a_log_whose_children_are_deeper_is_so_everywhere() -> None:
    deep = re.sub(r"(?m)^    (?!KTAP|#)", "        ", BARE)
    mixed = deep.replace("        ok 1 bind # SKIP no device", "    ok 1 bind")
    assert outcomes(deep) == TOLD
    assert outcomes(mixed) == {"pool.alloc": "PASS", "pool.free": "FAIL", "tt.?1": "INCOMPLETE"}
    shallow = deep.replace("        1..2\n        ok 1 alloc", "        1..2\n    ok 1 alloc")
    assert outcomes(shallow)["pool.?1"] == "INCOMPLETE"


def test_a_log_indented_by_tabs_is_so_everywhere() -> None:
    tabs = BARE.replace("    ", "\t")
    assert outcomes(tabs.replace("\tok 1 alloc", "    ok 1 alloc"))["pool.?1"] == "INCOMPLETE"
    assert outcomes(BARE.replace("    ok 1 alloc", "\tok 1 alloc"))["pool.?1"] == "INCOMPLETE"


def test_a_header_at_no_depth_opens_nothing() -> None:
    """Before every line there are two blanks, but for those of somebody else."""
    log = re.sub(r"(?m)^", "  ", BARE)
    assert outcomes(log.replace("\n      1..2", "\n# Subtest: other\n      1..2")) == outcomes(log) == TOLD


@pytest.mark.parametrize("column", range(16, 30))
def test_a_line_broken_by_another_was_not_wrapped_by_a_mailer(column: int) -> None:
    first = "[   10.000000] KTAP version 1"
    broken = f"{first[:column]}[   10.000999] usb 1-1: new high-speed device\n{first[column:]}\n"
    log = broken + "[   10.001000] 1..1\n[   10.002000] ok 1 c1\n"
    assert outcomes(log) == {"c1": "PASS"}


# ---- hostile ----


def test_memory_is_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ktap, "_BUDGET", ktap._BUDGET // 20)

    def megabytes(count: int) -> Iterator[bytes]:
        yield b"KTAP version 1\n1..100000000\n"
        number = 0
        for _ in range(count):
            lines = []
            for _ in range(1_500):
                number += 1
                lines.append(
                    f"# a diagnostic of some length, as tests print them {number}\nok {number} case-{number}\n"
                )
            yield "".join(lines).encode()

    def peak(count: int) -> int:
        tracemalloc.start()
        result = parse_ktap_stream(megabytes(count))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert any("more than can be kept" in problem for problem in result.problems)
        return top

    assert peak(4) < peak(2) + (1 << 20)
    assert peak(2) < 6 << 20


def test_a_finding_beyond_what_is_kept_is_still_one() -> None:
    lines = [f"ok {n} case-{n}" for n in range(1, 40_001)]
    lines[-1] = "not ok 40000 the-last"
    result = saved("\n".join(("KTAP version 1", "1..40000", *lines, "")))
    assert result.cases[-1].name == "the-last" and result.cases[-1].outcome is Outcome.FAIL


@pytest.mark.parametrize(
    "line",
    ["ok 1 a", "not ok 1 a", "KTAP version 1", "1..7", "    KTAP version 1", "# a: pass:1 fail:0 skip:0 total:1",
     "ok 999999999999999999 a", "# Subtest: a", "        ok 1 a", "ok", "Bail out!"],
)  # fmt: skip
def test_repeats_take_linear_time(line: str) -> None:
    def seconds(count: int) -> float:
        data = ("KTAP version 1\n1..3\n" + f"{line}\n" * count).encode()
        start = time.process_time()
        parse_ktap_stream([data])
        return time.process_time() - start

    few = min(seconds(1_000) for _ in range(3))
    assert min(seconds(8_000) for _ in range(2)) < 16 * few + 0.2


def test_a_second_boot_with_the_same_times_hides_no_failure() -> None:
    """As under time travel: only what failed before, too, is taken for the log printed into itself."""
    head = "[    1.000000] KTAP version 1\n[    1.000000] 1..2\n"
    good = "[    2.000000] ok 1 a\n[    3.000000] ok 2 b\n"
    bad = "[    2.000000] ok 1 a\n[    3.000000] not ok 2 b\n"
    again = parse_ktap_text((head + good + head + good).encode())
    assert [case.outcome for case in again.cases] == [Outcome.PASS, Outcome.PASS]
    other = parse_ktap_text((head + good + head + bad).encode())
    assert Outcome.PASS in {case.outcome for case in other.cases}
    assert other.problems or any(case.outcome is Outcome.FAIL for case in other.cases)
    same = parse_ktap_text((head + bad + head + bad).encode())
    assert [case.outcome for case in same.cases] == [Outcome.PASS, Outcome.FAIL]
    assert not same.problems
