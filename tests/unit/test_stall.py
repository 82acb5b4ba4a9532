# SPDX-License-Identifier: GPL-2.0-only
"""What a hung kernel answered -> who is to blame: real captures, see tests/data/stall/README.md."""

from __future__ import annotations

from pathlib import Path

from harness.evidence.lines import LogLine, decode
from harness.evidence.recognisers import BLOCKED
from harness.evidence.splats import find_events
from harness.evidence.stall import ASKED, CPU, stall_events, suspects
from harness.evidence.stream import stream_kmsg
from harness.model.result import Event

DATA = Path(__file__).parent.parent / "data" / "stall"


def read(scenario: str, first: int) -> tuple[tuple[LogLine, ...], tuple[Event, ...]]:
    lines = decode((DATA / scenario / "console.log").read_bytes())
    return lines, stall_events(lines, find_events(lines), first)


def test_the_blocked_task_is_told_once_with_its_stack() -> None:
    _, events = read("blocked-task", 26)
    assert [event.kind for event in events] == ["hung-task", BLOCKED]
    blocked = events[1]
    assert blocked.title == "task sh is blocked in lkdtm_HUNG_TASK"
    assert blocked.task == "sh"
    assert blocked.modules == ("lkdtm",)
    assert blocked.frames[:3] == (
        "__schedule+0x2f8/0x6e0",
        "schedule+0x23/0x90",
        "lkdtm_HUNG_TASK+0x15/0x20 [lkdtm]",
    )
    assert blocked.expected == ASKED
    assert events[0].expected == ""  # that the kernel said of its own accord
    assert suspects(events, 26) == "task sh is blocked in lkdtm_HUNG_TASK"


def test_the_hung_task_report_keeps_its_own_stack() -> None:
    _, events = read("blocked-task", 26)
    assert any("lkdtm_HUNG_TASK" in frame for frame in events[0].frames)
    assert events[0].span.last < events[1].span.first


def test_all_tasks_are_no_part_of_the_blocked_one() -> None:
    lines, events = read("blocked-task", 26)
    texts = {line.number: line.text for line in lines}
    span = events[1].span
    assert sum(texts[number].startswith("task:") for number in range(span.first, span.last + 1)) == 1


def test_the_panic_that_answers_an_nmi_is_no_panic_of_the_kernels() -> None:
    _, events = read("interrupts-off", 9)
    assert [event.kind for event in events] == [CPU]
    assert events[0].title == "the CPU that takes NMIs was in lkdtm_HARDLOCKUP"
    assert events[0].expected == ASKED
    assert suspects(events, 9).endswith("lkdtm_HARDLOCKUP")


def test_an_nmi_panic_that_nobody_asked_for_stays_one() -> None:
    _, events = read("interrupts-off", 10_000)
    assert [(event.kind, event.expected) for event in events] == [("panic", "")]


def test_a_busy_cpu_is_told_and_an_idle_one_is_not() -> None:
    text = """\
[    1.000000] sysrq: Show backtrace of all active CPUs
[    1.000000] NMI backtrace for cpu 0
[    1.000000] CPU: 0 UID: 0 PID: 0 Comm: swapper/0 Not tainted 7.3.4 #1
[    1.000000] Call Trace:
[    1.000000]  <IRQ>
[    1.000000]  nmi_cpu_backtrace+0xb3/0xf0
[    1.000000]  </IRQ>
[    1.000000] RIP: 0010:default_idle+0x13/0x20
[    1.000000]  do_idle+0x93/0x100
[    1.000000] Sending NMI from CPU 0 to CPUs 1:
[    1.000000] NMI backtrace for cpu 1
[    1.000000] CPU: 1 UID: 0 PID: 97 Comm: sh Not tainted 7.3.4 #1
[    1.000000] RIP: 0010:foo_spin+0x3/0x10 [foo]
[    1.000000]  foo_write+0x13/0x20 [foo]
[    1.000000] NMI backtrace for cpu 2
[    1.000000] CPU: 2 UID: 0 PID: 98 Comm: hog Not tainted 7.3.4 #1
[    1.000000] RIP: 0033:0x47b7a0
"""
    lines = decode(text.encode())
    events = stall_events(lines, find_events(lines), 1)
    assert [(event.title, event.task, event.modules) for event in events] == [
        ("CPU 1 was in foo_spin", "sh", ("foo",)),
    ]
    assert stall_events(lines, find_events(lines), 100) == ()


def test_many_suspects_are_counted() -> None:
    lines = [
        f"[    1.000000] task:hog{n}  state:D stack:0 pid:{n}\n[    1.000000]  fn_{n}x+0x1/0x20" for n in range(5)
    ]
    text = "\n".join(("[    1.000000] sysrq: Show Blocked State", *lines, ""))
    decoded = decode(text.encode())
    events = stall_events(decoded, find_events(decoded), 1)
    assert len(events) == 5
    assert suspects(events, 1).endswith("in fn_2x and 2 more")


def test_a_stream_finds_the_same() -> None:
    data = (DATA / "blocked-task" / "console.log").read_bytes()
    pieces = [event for piece in stream_kmsg([data]) for event in piece.events]
    assert sorted(pieces, key=lambda event: event.span.first) == list(find_events(decode(data)))
