# SPDX-License-Identifier: GPL-2.0-only
"""Logs that were made to be hard: the same line again and again, lines without an end, what no text has in it.

The readers take time linear in the size, and memory that does not grow with it.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from harness.evidence.parse import parse_ktap_stream
from harness.evidence.pstore import in_time_order
from harness.evidence.stream import stream_kmsg

PARSERS: dict[str, Callable[[list[bytes]], object]] = {
    "kmsg": lambda chunks: [None for _ in stream_kmsg(in_time_order(chunks))],
    "ktap": lambda chunks: parse_ktap_stream(in_time_order(chunks)),
}
LINES = {
    "cut here": "------------[ cut here ]------------",
    "an oops": "BUG: kernel NULL pointer dereference, address: 8",
    "a frame": " f+0x1/0x2",
    "a reason": "list_del corruption. prev->next should be 1, but was 2",
    "an OOM": "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0,",
    "an open row": "[     46]     0    46     1234      123    45056",
    "a kill in two": "Killed process 47 (ho",
    "a group": "Tasks in /a are going to be killed due to memory.oom.group set",
    "a line in a line": "abc [    1.000000] def [    1.000001] ghi",
    "NULs": "\0" * 40,
    "half an escape": "\x1b]8;;x\x1b[0;1",
    "escaped line ends": "6,1,2,-;" + "\\x0a" * 20,
    "quotes": "> > > > x",
    "wrapped": "BUG: kernel NULL pointer dereference, address: 0000000000000008 some",
    "brackets": "[" * 70,
    "blanks": " " * 70,
    "dots": "1." * 35,
    "surrogates": "\udc80\udfff",
    "a failure": "    # a: EXPECTATION FAILED at a.c:1",
    "headers": "KTAP version 1",
}


def log(line: str, count: int, stamped: bool) -> list[bytes]:
    head = "[{:12.6f}] " if stamped else ""
    text = "".join(f"{head.format(at / 1e4)}{line}\n" for at in range(count))
    data = text.encode("utf-8", "surrogatepass")
    return [data[at : at + 50_000] for at in range(0, len(data), 50_000)]


def seconds(parser: str, chunks: list[bytes]) -> float:
    start = time.process_time()
    PARSERS[parser](chunks)
    return time.process_time() - start


@pytest.mark.parametrize("stamped", [True, False], ids=["times", "bare"])
@pytest.mark.parametrize("parser", sorted(PARSERS))
@pytest.mark.parametrize("name", sorted(LINES))
def test_repeats_take_linear_time(name: str, parser: str, stamped: bool) -> None:
    few, many = (log(LINES[name], count, stamped) for count in (1000, 8000))
    least = min(seconds(parser, few) for _ in range(2))
    assert seconds(parser, many) < 20 * least + 0.3 or seconds(parser, many) < 20 * least + 0.3


@pytest.mark.parametrize("parser", sorted(PARSERS))
@pytest.mark.parametrize(
    "piece", [b"x", b" ", b"[", b"\0", b"[    1.0", b"> ", b"\xed\xb2\x80", b"\x1b[", b"\r", b"1,"]
)
def test_a_line_without_an_end(piece: bytes, parser: str) -> None:
    """Eight times the line takes at most twenty times as long, and little memory beside it."""
    chunk = piece * (50_000 // len(piece))
    tracemalloc.start()
    try:
        PARSERS[parser]([chunk] * 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    few, many = [chunk] * 5, [chunk] * 40
    assert any(seconds(parser, many) < 20 * min(seconds(parser, few) for _ in range(2)) + 0.3 for _ in range(3))


@pytest.mark.parametrize("parser", sorted(PARSERS))
def test_two_logs_line_by_line(parser: str) -> None:
    """As two writers without a lock would leave them."""
    one, two = (b"".join(log(LINES[name], 3000, True)).split(b"\n") for name in ("an oops", "an OOM"))
    mixed = b"\n".join(line for pair in zip(one, two, strict=True) for line in pair)
    torn = b"\n".join(a[:30] + b for a, b in zip(one, two, strict=True))
    apart = b"\n".join(line for log_of in (one, two) for line in log_of)
    least = min(seconds(parser, [apart]) for _ in range(2))
    assert any(seconds(parser, [mixed, torn]) < 20 * least + 0.3 for _ in range(3))
