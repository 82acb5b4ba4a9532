# SPDX-License-Identifier: GPL-2.0-only
"""The reader of kernel messages as a stream and on the command line, and what an event says besides its title."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

import harness.reports
from harness.cli.parse import parse
from harness.evidence.lines import LineStream, decode
from harness.evidence.oom import NEEDLES
from harness.evidence.recognisers import CUT_HERE, RECOGNISERS
from harness.evidence.splats import find_events
from harness.evidence.stream import _THIN_WORDS, _WORDS, _interesting, stream_kmsg
from harness.model.codec import from_json
from harness.model.result import Event, ParseOutput
from tests.unit.test_ktap import GOLDEN as KTAP
from tests.unit.test_oom import GOLDEN, SCENARIOS, golden

SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "parse-1.json").read_text())
CUT = "------------[ cut here ]------------"


def events(*texts: str) -> list[Event]:
    return list(find_events(decode("\n".join((*texts, "")).encode())))


def streamed(chunks: Iterator[bytes] | list[bytes]) -> list[Event]:
    found = [event for piece in stream_kmsg(chunks) for event in piece.events]
    return sorted(found, key=lambda event: event.span.first)


# ---- the table ----


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("BUG: MAX_LOCKDEP_ENTRIES too low!", "lockdep"),
        ("BUG: MAX_STACK_TRACE_ENTRIES too low!", "lockdep"),
        ("BUG: key ffff888001234567 has not been registered!", "lockdep"),
        ("WARNING: Nested lock was not taken", "lockdep"),
        ("WARNING: possible irq lock inversion dependency detected", "lockdep"),
        ("WARNING: lock held when returning to user space!", "lockdep"),
        ("WARNING: held lock freed!", "lockdep"),
        ("BUG: spinlock bad magic on CPU#0, modprobe/12", "spinlock"),
        ("BUG: rwlock recursion on CPU#0, modprobe/12", "spinlock"),
        ("Out of memory (oom_kill_allocating_task): Killed process 46 (hog) total-vm:1kB", "oom"),
        ("Out of memory: OOM victim 46 (hog) is already exiting. Skip killing the task", "oom"),
        ("Out of memory and no killable processes...", "oom"),
        ("insmod: vmalloc error: size 4096, page order 0, failed to allocate pages", "page-alloc-failure"),
        ("SLUB: Unable to allocate memory on CPU 1 (of node 0) on node -1, gfp=0x820", "page-alloc-failure"),
        ("unreferenced object 0xffff888003da5000 (size 64):", "kmemleak"),
        ("_swap_info_get: Bad swap file entry 1ffffffffffff", "swap-error"),
        ("_swap_info_get: Bad swap offset entry 3ffff", "swap-error"),
        ("Write-error on swap-device (254:0:1024)", "swap-error"),
        ("watchdog: watchdog0: watchdog did not stop!", "watchdog"),
        ("clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable", "watchdog"),
        ("workqueue: drm_fb_helper_damage_work hogged CPU for >10000us 4 times", "cpu-hog"),
        ("DMA-API: debugging out of memory - disabling", "dma-api"),
        ("ODEBUG: Out of memory. ODEBUG disabled", ""),
        ("swapon: swap file entry is fine", ""),
        ("watchdog: hello", ""),
        ("a debug: spinlock bad", ""),
    ],
)
def test_what_the_table_knows(line: str, kind: str) -> None:
    assert [event.kind for event in events("before", line, "after")] == ([kind] if kind else [])


def test_a_stream_looks_for_every_needle() -> None:
    flood = b"a Line Of Nobody, in Capitals at Times\n" * 50
    assert not _interesting(flood)
    for needle in (CUT_HERE, *NEEDLES, *(row.needle for row in RECOGNISERS)):
        assert any(word in needle.encode() for word in _WORDS), needle
        assert _interesting(flood + b"[    1.000000] " + needle.encode() + b"\n" + flood), needle
    assert min(map(len, _THIN_WORDS)) >= 2  # an empty word would be everywhere


# ---- titles, tasks, modules, frames ----


@pytest.mark.parametrize(
    ("line", "title"),
    [
        (
            "modprobe: page allocation failure: order:9, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=0,2-3",
            "page allocation failure: order 9, GFP_KERNEL|__GFP_COMP, nodemask 0,2-3",
        ),
        (
            "kworker/0:1: page allocation failure: order:0, mode:0xa20(GFP_ATOMIC), nodemask=(null),cpuset=/",
            "page allocation failure: order 0, GFP_ATOMIC, nodemask (null)",
        ),
        ("x: page allocation failure: order:2, mode:0x24040c0", "page allocation failure: order 2, 0x24040c0"),
    ],
)
def test_a_failed_allocation_names_order_flags_and_nodes(line: str, title: str) -> None:
    (event,) = events(line, "CPU: 1 UID: 0 PID: 9 Comm: my task Not tainted 7.3.4 #1", "Call Trace:", " f+0x1/0x2")
    assert (event.title, event.task) == (title, "my task")


@pytest.mark.parametrize(
    ("texts", "task"),
    [
        (("BUG: KASAN: slab-use-after-free in f+0x1/0x2", "Read of size 8 at addr ffff by task kunit/12"), "kunit"),
        ((CUT, "WARNING: a.c:1 at f+0x1/0x2, CPU#1: kworker/0:1/12"), "kworker/0:1"),
        (("INFO: task my task:12 blocked for more than 120 seconds.",), "my task"),
        (("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [modprobe:123]",), "modprobe"),
        (
            ("BUG: sleeping function called from invalid context at a.c:1", "in_atomic(): 1, pid: 12, name: insmod"),
            "insmod",
        ),
        (("tail invoked oom-killer: gfp_mask=0x1, order=0, oom_score_adj=0",), "tail"),
        (("BUG: unable to handle page fault for address: 1", "CPU: 0 PID: 1 Comm: init Tainted: G"), "init"),
        (("BUG: Bad rss-counter state mm:1 type:MM_ANONPAGES val:1",), ""),
    ],
)
def test_the_task_of_an_event(texts: tuple[str, ...], task: str) -> None:
    assert [event.task for event in events(*texts)] == [task]


def test_frames_are_kept_as_printed_and_name_their_modules() -> None:
    (event,) = events(
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "RIP: 0010:deep+0x1/0x22 [ttm]",
        "Call Trace:",
        " <TASK>",
        " ? guess+0x1/0x2 [never]",
        " mid.isra.0+0x5/0x22 [xe 0123456789abcdef0123]",
        " outer+0x7/0x80",
        "RIP: 0033:0x7f00",
    )
    assert event.frames == ("deep+0x1/0x22 [ttm]", "mid.isra.0+0x5/0x22 [xe 0123456789abcdef0123]", "outer+0x7/0x80")
    assert event.modules == ("ttm", "xe")


def test_no_more_than_64_frames() -> None:
    (event,) = events("BUG: kernel NULL pointer dereference", *(f" f{n}+0x1/0x2" for n in range(90)))
    assert len(event.frames) == 64


# ---- the stream ----


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_stream_of_any_chunks(size: int) -> None:
    log = (KTAP / "every-outcome-of-kunit" / "input.log").read_bytes()
    chunks = [log[at : at + size] for at in range(0, len(log), size)]
    assert streamed(chunks) == list(find_events(decode(log)))


@pytest.mark.parametrize(
    "torn",
    [
        b"[    1.000000] BUG: ker[    1.100000] usb: hello\nnel NULL pointer dereference, address: 8\n",
        b"[    1.000000] BUG: ker\x1b[0mnel NULL pointer dereference, address: 8\n",
        b"[    1.000000] BUG: ker\0nel NULL pointer dereference, address: 8\n",
        b"[    1.000000] BUG: kernel NULL pointer dereference, address: 8",
    ],
)
def test_torn_words_are_found_between_blocks_of_flood(torn: bytes) -> None:
    flood = b"[    0.500000] nothing to see here, move along\n" * 3000
    log = flood + torn + (flood if torn.endswith(b"\n") else b"")
    assert [event.kind for event in streamed([log])] == ["oops"]
    assert streamed([log]) == list(find_events(decode(log)))


def test_a_rule_of_a_report_in_the_block_before() -> None:
    for pad in range(65520, 65545):
        log = b"x" * (pad - 39) + b"\n" + b"=" * 30 + b"\nWARNING: bad unlock balance detected!\n"
        assert streamed([log]) == list(find_events(decode(log)))


def test_memory_is_flat() -> None:
    report = golden("global-oom-kills-the-hog-on-7.3")

    def megabytes(count: int) -> Iterator[bytes]:
        for number in range(count):
            yield b"[    9.000000] a line that says nothing at all to anybody\n" * 18000
            if number % 10 == 0:
                yield report

    def peak(count: int) -> int:
        tracemalloc.start()
        for piece in stream_kmsg(megabytes(count)):
            assert piece.lines >= 0
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(60) < peak(12) + (1 << 20)


def test_an_endless_line_and_an_endless_trace_stay_small() -> None:
    tracemalloc.start()
    pieces = list(stream_kmsg(b"x" * (1 << 16) for _ in range(200)))
    assert not any(piece.events for piece in pieces)
    list(stream_kmsg([b"BUG: kernel NULL pointer\n", *(b" f+0x1/0x2\n" * 5000 for _ in range(40))]))
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()


# ---- the command ----


def kmsg(*words: str, data: bytes = b"") -> Result:
    return CliRunner().invoke(parse, ["kmsg", *words], input=data)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_json_is_what_the_schema_says(scenario: str) -> None:
    result = kmsg(str(GOLDEN / scenario / "input.log"), "--json")
    plain = json.loads(result.stdout)
    jsonschema.validate(plain, SCHEMA)
    output = from_json(ParseOutput, result.stdout)
    assert output.ooms and output.schema == "ttm-harness/parse/1"
    assert result.exit_code == (0 if scenario.startswith("sysrq") else 1)


def test_the_schema_says_no() -> None:
    plain = json.loads(kmsg(str(GOLDEN / SCENARIOS[0] / "input.log"), "--json").stdout)
    plain["ooms"][0]["report"]["colour"] = "blue"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, SCHEMA)


def test_the_text_has_the_sentence() -> None:
    result = kmsg("-", data=golden("gpu-objects-held-without-swap-on-7.3"))
    assert "OOM with no swap and 77 MiB of shrinkable objects: hog (pid 53) was killed (RSS 56 MiB)" in result.output
    assert "(expected-victim, shrinkable-left)" in result.output
    assert result.output.count("oom  ") == 1


def test_the_command_takes_what_the_caller_knows() -> None:
    log = golden("global-oom-with-all-swap-used-on-6.12")
    result = kmsg("-", "--victim", "shy", "--victim", "x*", "--shrinkable", "40M", data=log)
    assert "and 40 MiB of shrinkable objects" in result.output
    assert "(wrong-victim, shrinkable-left)" in result.output


@pytest.mark.parametrize(
    ("log", "status"),
    [
        (b"", 3),
        (b"[    1.000000] all is well\n", 0),
        (b"foo: loading out-of-tree module taints kernel.\n", 0),
        (b"BUG: kernel NULL pointer dereference, address: 8\n", 1),
        (b"Out of memory: Killed process 1 (a) total-vm:4kB\n", 1),
    ],
)
def test_exit_status(log: bytes, status: int) -> None:
    assert kmsg("-", data=log).exit_code == status


def test_bad_input_is_a_sentence() -> None:
    assert kmsg("/nowhere").exit_code == 2
    assert "No such file" in kmsg("/nowhere").output
    assert kmsg("-", "--shrinkable", "much").exit_code == 2


def test_a_log_of_nothing_but_bugs_is_counted_and_not_kept() -> None:
    result = kmsg("-", data=b"BUG: Bad rss-counter state mm:1 type:MM_ANONPAGES val:1\n" * 10_007)
    assert "7 more events than the 10000 shown" in result.output


@pytest.mark.parametrize(
    ("log", "lines"), [(b"", 0), (b"x", 1), (b"x\n", 1), (b"x\ny", 2), (b"x\ry\r\n", 1), (b"x\ry", 2)]
)
def test_lines_are_counted_once(log: bytes, lines: int) -> None:
    assert list(stream_kmsg([log]))[-1].lines == lines


def test_the_last_block_is_passed_over_like_the_others() -> None:
    quiet = b"".join(b"[%12.6f] all is well\n" % second for second in range(100))
    stream = LineStream()
    assert list(stream.cut(quiet + b"[  100.000000] the e")) == []
    assert stream.rest() == quiet
    stream.skip(quiet)
    (last,) = stream.finish()
    assert (last.number, last.text, last.whole) == (101, "the e", False)
