# SPDX-License-Identifier: GPL-2.0-only
"""What holds for real logs under every prefix, cut anywhere, with other programs' lines in them, in any chunks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evidence.lines import decode
from harness.evidence.oom import find_ooms
from harness.evidence.parse import parse_ktap_stream
from harness.evidence.splats import find_events
from harness.evidence.stream import stream_kmsg
from harness.model.result import Event
from tests.unit.test_prefixes import FORMS, LOGS, records

NAMES = st.sampled_from(sorted(LOGS))
STAMPED = st.sampled_from(sorted(set(FORMS) - {"nothing", "level alone", "two blanks, no times", "quoted, no times"}))
ANY = st.sampled_from(sorted(FORMS))
FEW = settings(max_examples=8, deadline=None)
AROUND = 40  # records on either side of what is looked at


def told(events: list[Event] | tuple[Event, ...]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.title, event.fingerprint) for event in events]


def lines(name: str, form: str) -> list[bytes]:
    return [FORMS[form](time, text).encode() + b"\n" for time, text in records(name)]


@given(NAMES, ANY, st.data())
@FEW
def test_what_was_over_before_the_cut_is_there(name: str, form: str, data: st.DataObject) -> None:
    raws = lines(name, form)
    cut = data.draw(st.integers(AROUND, len(raws)))
    whole = find_events(decode(b"".join(raws)))
    part = told(find_events(decode(b"".join(raws[:cut]))))
    over = told([event for event in whole if event.span.last + AROUND < cut])
    assert part[: len(over)] == over


@given(NAMES, STAMPED, st.lists(st.tuples(st.integers(0, 2000), st.sampled_from([
    "Oops: a program's", "# a prompt", "Oops: efitime: can't read time!", "ordinary words", "", "ok",
])), max_size=8))  # fmt: skip
@FEW
def test_lines_of_others_change_nothing(name: str, form: str, others: list[tuple[int, str]]) -> None:
    raws = lines(name, form)
    plain = told(find_events(decode(b"".join(raws))))
    syslog = raws[0].partition(b" kernel: ")
    head = f"{syslog[0].decode()} app[7]: " if syslog[1] and b"[" not in syslog[0][:3] else ""
    if not head and any(word in form for word in ("kmsg", "iso", "syslog", "RFC", "journalctl", "logcat")):
        return  # every line has the prefix there: what has it not is the rest of one
    for place, text in others:
        at = place % len(raws)
        raws.insert(at, f"{head}{text}\n".encode())
    assert told(find_events(decode(b"".join(raws)))) == plain


@given(NAMES, ANY, st.lists(st.integers(1, 200_000), min_size=1, max_size=5))
@FEW
def test_chunks_do_not_matter(name: str, form: str, sizes: list[int]) -> None:
    log = b"".join(lines(name, form))
    chunks: list[bytes] = []
    at = 0
    while at < len(log):
        size = sizes[len(chunks) % len(sizes)] + 200
        chunks.append(log[at : at + size])
        at += size
    pieces = list(stream_kmsg(chunks))
    events = sorted((event for piece in pieces for event in piece.events), key=lambda event: event.span.first)
    assert events == list(find_events(decode(log)))
    assert [oom for piece in pieces for oom in piece.ooms] == list(find_ooms(decode(log)))


@given(st.binary(max_size=400), st.sampled_from(sorted(FORMS)))
@settings(max_examples=40, deadline=None)
def test_any_bytes_behind_any_prefix(data: bytes, form: str) -> None:
    text = data.decode("utf-8", "replace")
    log = "".join(FORMS[form](1 + at / 10, part) + "\n" for at, part in enumerate(text.split("\n"))).encode()
    list(stream_kmsg([log, data]))
    parse_ktap_stream([log, data])
