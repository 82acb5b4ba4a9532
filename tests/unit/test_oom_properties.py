# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every OOM report: cut, noisy, interleaved, of another boot, or no log at all."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.evidence.lines import LogLine, decode
from harness.evidence.oom import find_ooms
from harness.evidence.oom_class import read_ooms
from harness.evidence.splats import find_events
from harness.evidence.stream import stream_kmsg
from harness.model.oom import OomReport
from harness.model.result import Event, Span
from tests.unit.test_oom import OLD, SCENARIOS, golden

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOISE = (
    "usb 1-1: new high-speed device number 3",
    "    ok 3 a case",
    "# a diagnostic of a case: 12",
    "Node 0 is a fine node",
    "DMA32 is a zone",
    "memory: is low",
    "[drm] Initialized xe 1.1.0",
    "[12] is no task",
    "process 12 (hog) was not killed",
    "systemd[1]: Started anon 12 service",
    "oom_reaper: says nothing",
    "",
    "** 12 printk messages dropped **",
)
logs = st.sampled_from(SCENARIOS)


@cache
def lines_of(scenario: str) -> tuple[LogLine, ...]:
    return decode(golden(scenario))


@cache
def reports_of(scenario: str) -> tuple[OomReport, ...]:
    return find_ooms(lines_of(scenario))


def nowhere(report: OomReport) -> OomReport:
    """A report without the places where its lines stood."""
    kills = tuple(replace(kill, line=0) for kill in report.kills)
    reaped = tuple(replace(one, line=0) for one in report.reaped)
    return replace(report, span=Span(0, 0), kills=kills, reaped=reaped)


_WORDS = (*NOISE, *OLD, "hog invoked oom-killer: gfp_mask=0x", "Out of memory: Killed process 1 (a)", "Mem-Info:")


@quick
@given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(_WORDS).map(str.encode)), max_size=40))
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    read_ooms(decode(b"\n".join(pieces)))
    list(stream_kmsg(pieces))


@quick
@given(st.lists(st.tuples(st.sampled_from(OLD), st.integers(0, 300), st.text(max_size=5)), max_size=30))
def test_broken_lines_do_not_raise(lines: list[tuple[str, int, str]]) -> None:
    text = "\n".join(line[:at] + rest + line[at:] for line, at, rest in lines)
    read_ooms(decode(text.encode("utf-8", "replace")))


@quick
@given(logs, st.data())
def test_a_prefix_has_no_more_reports_and_at_most_one_is_cut(scenario: str, data: st.DataObject) -> None:
    log, whole = golden(scenario), reports_of(scenario)
    part = find_ooms(decode(log[: data.draw(st.integers(0, len(log)))]))
    assert len(part) <= len(whole)
    full = [report for report in part if report.complete]
    assert len(full) >= len(part) - 1 - sum(not report.complete for report in whole)
    for ours, theirs in zip(full, whole, strict=False):
        assert ours.span.first == theirs.span.first and ours.ending in (theirs.ending, "killed")


@quick
@given(logs, st.data())
def test_a_suffix_has_no_more_reports(scenario: str, data: st.DataObject) -> None:
    log = golden(scenario)
    part = find_ooms(decode(log[data.draw(st.integers(0, len(log))) :]))
    # Of a group that was killed as a whole each kill stands alone when what says so is cut off.
    assert len(part) <= sum(max(1, len(report.kills)) for report in reports_of(scenario))


@quick
@given(logs, st.lists(st.tuples(st.floats(0, 1), st.sampled_from(NOISE)), max_size=30))
def test_noise_between_the_lines_changes_nothing(scenario: str, noise: list[tuple[float, str]]) -> None:
    lines = list(lines_of(scenario))
    for where, text in noise:
        at = round(where * len(lines))
        lines.insert(at, LogLine(0, text, lines[at - 1].time))
    numbered = [line._replace(number=number) for number, line in enumerate(lines, 1)]
    assert [nowhere(one) for one in find_ooms(numbered)] == [nowhere(one) for one in reports_of(scenario)]


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if "dmesg-printed" not in s])
def test_a_log_without_times_says_the_same(scenario: str) -> None:
    """As `dmesg -t` prints it."""
    bare = re.sub(rb"(?m)^\[ *\d+\.\d{6}\] ", b"", golden(scenario))
    got = [replace(nowhere(one), time=None) for one in find_ooms(decode(bare))]
    assert got == [replace(nowhere(one), time=None) for one in reports_of(scenario)]


@pytest.mark.parametrize("end", [b"\r\n", b"\r\r\n"])
def test_line_ends_do_not_matter(end: bytes) -> None:
    for scenario in SCENARIOS:
        log = golden(scenario).replace(b"\r\n", b"\n")
        assert find_ooms(decode(log.replace(b"\n", end))) == find_ooms(decode(log))


def another_boot(text: str) -> str:
    """The same lines with other addresses, offsets, CPUs and pids."""
    text = re.sub(r"\+0x([0-9a-f]+)/0x([0-9a-f]+)", r"+0x1\1/0x2\2", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "0123456789abcdef", text)
    text = re.sub(r"\bCPU: \d+", "CPU: 7", text)
    text = re.sub(r"(\b(?:PID: |pid=|process ))\d+", r"\g<1>4711", text)
    return re.sub(r"CPU#\d+: (\S+)/\d+$", r"CPU#9: \1/4711", text)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fingerprints_survive_another_boot(scenario: str) -> None:
    lines = lines_of(scenario)
    other = [line._replace(text=another_boot(line.text), number=line.number + 1000) for line in lines]
    assert [oom.fingerprint for oom in read_ooms(other)] == [oom.fingerprint for oom in read_ooms(lines)]
    assert [event.fingerprint for event in find_events(other)] == [e.fingerprint for e in find_events(lines)]


def whole_of(chunks: list[bytes]) -> tuple[list[Event], list[OomReport]]:
    pieces = list(stream_kmsg(chunks))
    events = [event for piece in pieces for event in piece.events]
    return sorted(events, key=lambda event: event.span.first), [oom for piece in pieces for oom in piece.ooms]


@quick
@given(st.lists(logs, min_size=1, max_size=3), st.lists(st.floats(0, 1), max_size=40))
def test_a_stream_finds_what_the_whole_has(scenarios: list[str], where: list[float]) -> None:
    log = b"".join(golden(scenario) for scenario in scenarios)
    cuts = sorted(round(at * len(log)) for at in where)
    chunks = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    lines = decode(log)
    assert whole_of(chunks) == (list(find_events(lines)), list(find_ooms(lines)))
