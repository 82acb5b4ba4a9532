# SPDX-License-Identifier: GPL-2.0-only
"""Kernel messages: which are events, of which kind, from where to where, and what keeps a fingerprint the same."""

from __future__ import annotations

from itertools import pairwise

import pytest

from harness.evidence.lines import decode
from harness.evidence.parse import parse_kmsg_text
from harness.evidence.splats import RECOGNISERS, Severity, find_events, fingerprint, functions, severity
from harness.model.result import Event
from tests.unit.test_ktap import golden

CUT = "------------[ cut here ]------------"
END = "---[ end trace 0000000000000000 ]---"


def events(*texts: str) -> list[Event]:
    return list(find_events(decode("\n".join((*texts, "")).encode())))


def kinds(*texts: str) -> list[str]:
    return [event.kind for event in events(*texts)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Kernel panic - not syncing: Fatal exception", "panic"),
        ("BUG: KASAN: slab-use-after-free in foo+0x1/0x2", "kasan"),
        ("BUG: KFENCE: out-of-bounds read in foo+0x1/0x2", "kfence"),
        ("BUG: KCSAN: data-race in foo / bar", "kcsan"),
        ("BUG: kernel NULL pointer dereference, address: 0000000000000008", "oops"),
        ("BUG: unable to handle page fault for address: ffff888000000000", "oops"),
        ("Unable to handle kernel paging request at virtual address 0123456789abcdef", "oops"),
        ("general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP", "oops"),
        ("Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP NOPTI", "oops"),
        ("Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP", "oops"),
        ("invalid opcode: 0000 [#1] PREEMPT SMP", "oops"),
        ("divide error: 0000 [#1] SMP", "oops"),
        ("BUG: sleeping function called from invalid context at mm/a.c:12", "atomic-sleep"),
        ("BUG: scheduling while atomic: a/12/0x00000002", "atomic-sleep"),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [modprobe:123]", "soft-lockup"),
        ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 1", "hard-lockup"),
        ("watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1", "hard-lockup"),
        ("BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!", "workqueue-lockup"),
        ("rcu: INFO: rcu_preempt self-detected stall on CPU", "rcu-stall"),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "rcu-stall"),
        ("rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: {", "rcu-stall"),
        ("INFO: task kworker/0:1:12 blocked for more than 120 seconds.", "hung-task"),
        ("INFO: task modprobe:12 blocked in I/O wait for more than 120 seconds.", "hung-task"),
        ("WARNING: possible circular locking dependency detected", "lockdep"),
        ("WARNING: possible recursive locking detected", "lockdep"),
        ("WARNING: inconsistent lock state", "lockdep"),
        ("WARNING: suspicious RCU usage", "lockdep"),
        ("WARNING: bad unlock balance detected!", "lockdep"),
        ("WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", "lockdep"),
        ("WARNING: modprobe/12 still has locks held!", "lockdep"),
        ("[ BUG: Invalid wait context ]", "lockdep"),
        ("BUG kmalloc-64 (Not tainted): Redzone overwritten", "slab"),
        ("BUG: Bad page state in process modprobe  pfn:01234", "bad-page"),
        ("BUG: Bad rss-counter state mm:000000001 type:MM_ANONPAGES val:1", "bad-page"),
        ("kernel BUG at mm/a.c:12!", "bug"),
        ("BUG: a thing that nobody has a row for", "bug-message"),
        ("UBSAN: shift-out-of-bounds in lib/a.c:1:2", "ubsan"),
        ("WARNING: CPU: 1 PID: 2 at mm/a.c:12 foo+0x1/0x2 [ttm]", "warning"),
        ("WARNING: mm/a.c:12 at foo+0x1/0x2, CPU#1: modprobe/12", "warning"),
        ("WARNING: at foo+0x1/0x2, CPU#1: modprobe/12", "warning"),
        ("modprobe: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL), nodemask=(null)", "page-alloc-failure"),
        ("tail invoked oom-killer: gfp_mask=0x1, order=0, oom_score_adj=0", "oom"),
        ("Out of memory: Killed process 12 (tail) total-vm:1kB", "oom"),
        ("Memory cgroup out of memory: Killed process 12 (tail) total-vm:1kB", "oom"),
        ("kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "kmemleak"),
        ("zoo: loading out-of-tree module taints kernel.", "taint"),
    ],
)
def test_what_is_an_event(line: str, kind: str) -> None:
    assert kinds("before", line, "after") == [kind]
    assert kinds(f"[    1.000000] {line}") == [kind]


@pytest.mark.parametrize(
    "line",
    [
        "# foo: EXPECTATION FAILED: BUG: kernel NULL pointer dereference",
        "    # case: said WARNING: a.c:1 at foo+0x1/0x2",
        "    ok 3 BUG: KASAN: of a test's name",
        "WARNING: this driver is old",
        "ACPI: Warning: something",
        "lockdep: no BUG: here",
        "DMA-API: preallocated 65536 debug entries",
        "refcount_t: documented",
        "modprobe: Oopsie daisy",
        "Command line: panic=-1 oops=panic",
        "rcu: Hierarchical SRCU implementation.",
        "INFO: task finished after more than 3 seconds",
        "the list_add corruption of yesterday",
        "Kernel command line: foo",
        "debug: [#1] issue",
        "Out of memory, said the program",
    ],
)
def test_what_is_none(line: str) -> None:
    assert kinds("before", line, "after") == []


@pytest.mark.parametrize(
    ("message", "head", "kind"),
    [
        ("refcount_t: underflow; use-after-free.", "WARNING: lib/refcount.c:28 at f+0x1/0x2, CPU#0: a/1", "refcount"),
        (
            "list_del corruption. prev->next should be 1",
            "WARNING: lib/list_debug.c:1 at f+0x1/0x2",
            "list-corruption",
        ),
        ("DMA-API: foo 0000:00:01.0: device driver frees", "WARNING: kernel/dma/debug.c:1 at f+0x1/0x2", "dma-api"),
        ("foo: [drm] drm_WARN_ON(x)", "WARNING: a.c:1 at f+0x1/0x2", "warning"),
        ("list_add corruption. next->prev should be", "kernel BUG at lib/list_debug.c:12!", "bug"),
    ],
)
def test_a_cut_here_block_takes_its_kind_from_its_message(message: str, head: str, kind: str) -> None:
    (event,) = events("x", CUT, message, head, "Call Trace:", " f+0x1/0x2", END, "y")
    assert (event.kind, event.span.first, event.span.last) == (kind, 2, 7)
    assert message in event.title


def test_messages_before_and_after_the_headline_are_in_the_title() -> None:
    """WARN() prints its text before the headline up to 6.17 and on some paths, after it on others."""
    before = events(CUT, "the words", "WARNING: a.c:1 at f+0x1/0x2, CPU#0: a/1", END)
    after = events(CUT, "WARNING: a.c:1 at f+0x1/0x2, CPU#3: b/2", "the words", "Modules linked in:", END)
    assert before[0].title == after[0].title == "WARNING: a.c:1 at f: the words"
    assert before[0].fingerprint == after[0].fingerprint


def test_old_and_new_warnings_read_alike() -> None:
    old = events("WARNING: CPU: 3 PID: 12 at a.c:1 foo+0x10/0x20 [ttm]")
    new = events("WARNING: a.c:1 at foo+0x33/0x44 [ttm], CPU#1: modprobe/77")
    assert old[0].title == new[0].title == "WARNING: a.c:1 at foo [ttm]"
    assert old[0].fingerprint == new[0].fingerprint


TRACE = ("Call Trace:", " <TASK>", " foo+0x1/0x22 [ttm]", " ? guess+0x1/0x2", " bar.isra.0+0x5/0x22", " </TASK>")


def test_a_fingerprint_survives_what_changes_from_boot_to_boot() -> None:
    one = ("WARNING: a.c:12 at foo+0x1/0x22 [ttm], CPU#0: kworker/0:1/12", *TRACE, END)
    two = tuple(text.replace("12", "77").replace("0x1/0x22", "0x9/0x28").replace("CPU#0", "CPU#3") for text in one)
    assert events(CUT, *one)[0].fingerprint == events(CUT, *two)[0].fingerprint


@pytest.mark.parametrize("change", [("foo", "fob"), ("bar", "baz"), ("a.c", "b.c")])
def test_a_fingerprint_tells_other_places_apart(change: tuple[str, str]) -> None:
    one = ("WARNING: a.c:12 at foo+0x1/0x22 [ttm], CPU#0: a/12", *TRACE, END)
    two = tuple(text.replace(*change) for text in one)
    assert events(CUT, *one)[0].fingerprint != events(CUT, *two)[0].fingerprint


def test_fingerprint_tells_kinds_apart() -> None:
    assert fingerprint("oops", "x", ()) != fingerprint("bug", "x", ())
    assert len(fingerprint("oops", "x", ())) == 12


def test_functions_leave_out_guesses_and_machinery() -> None:
    assert functions(("RIP: 0010:deep+0x1/0x2 [ttm]", " dump_stack_lvl+0x1/0x2", *TRACE)) == ("deep", "foo", "bar")
    assert len(functions([f" f{n}+0x1/0x2" for n in range(9)])) == 5


def test_an_oops_is_one_event_with_the_registers_after_its_end() -> None:
    got = parse_kmsg_text(golden("every-outcome-of-kunit")).events
    assert [event.kind for event in got] == ["taint", "warning", "warning", "refcount", "oops", "bug"]
    oops = got[4]
    assert any("exited with irqs disabled" in line for line in oops.lines)
    assert not any("not ok" in line for event in got for line in event.lines)


def test_a_panic_after_a_splat_is_an_event_of_its_own() -> None:
    got = kinds(
        "BUG: KASAN: a in f+0x1/0x2", "Call Trace:", " f+0x1/0x2", "Kernel panic - not syncing: KASAN", " g+0x1/0x2"
    )
    assert got == ["kasan", "panic"]


def test_two_splats_in_a_row_are_two() -> None:
    block = (CUT, "WARNING: a.c:1 at f+0x1/0x2", " f+0x1/0x2", END)
    got = events(*block, *block)
    assert [(event.span.first, event.span.last) for event in got] == [(1, 4), (5, 8)]


def test_a_splat_without_its_end_stops_where_the_trace_does() -> None:
    (event,) = events(CUT, "WARNING: a.c:1 at f+0x1/0x2", "Call Trace:", " f+0x1/0x2", *["prose"] * 9)
    assert event.span.last == 4


def test_a_cut_log_still_shows_the_splat() -> None:
    (event,) = events("x", CUT)
    assert (event.kind, event.title) == ("warning", "cut here, and nothing after it")


def test_foreign_lines_inside_a_trace_do_not_end_it() -> None:
    (event,) = events(
        CUT, "WARNING: a.c:1 at f+0x1/0x2", "Call Trace:", "usb 1-1: hello", "    ok 3 foo", " f+0x1/0x2", END
    )
    assert event.span.last == 7


def test_a_lockdep_report_goes_to_its_backtrace() -> None:
    report = (
        "=====================",
        "WARNING: possible recursive locking detected",
        "7.3.4 #1 Not tainted",
        "---------------------",
        "modprobe/12 is trying to acquire lock:",
        "something that no list of words foresees",
        "stack backtrace:",
        "CPU: 0 UID: 0 PID: 12 Comm: modprobe",
        "Call Trace:",
        " f+0x1/0x2",
    )
    (event,) = events("x", *report, *["prose"] * 9)
    assert (event.span.first, event.span.last) == (2, 11)


def test_an_oom_report_is_one_event_that_names_its_victim() -> None:
    got = parse_kmsg_text(golden("oom-kill-while-suites-run-in-96M")).events
    assert got and {event.kind for event in got} == {"oom"}
    assert got[0].title.startswith("Out of memory: Killed process")
    assert got[0].lines[0].startswith("kunit_try_catch invoked oom-killer")
    assert len(got[0].lines) <= 60


def test_user_space_between_the_lines_is_no_part_of_a_splat() -> None:
    got = parse_kmsg_text(golden("user-space-writes-into-kernel-lines")).events
    assert [event.kind for event in got] == ["warning"]
    assert got[0].fingerprint == parse_kmsg_text(golden("every-ttm-suite-on-7.3")).events[0].fingerprint
    assert not any("user space" in line for line in got[0].lines)


def test_events_do_not_overlap() -> None:
    for scenario in ("xe-suites-with-warnings-they-expect", "every-outcome-of-kunit", "panic-while-a-suite-runs"):
        spans = [event.span for event in parse_kmsg_text(golden(scenario)).events]
        assert all(a.last < b.first for a, b in pairwise(spans))


def test_severity() -> None:
    assert severity("panic") is severity("oops") is severity("bug") is Severity.DIES
    assert severity("oom") is severity("page-alloc-failure") is Severity.NOTE
    assert severity("a kind of tomorrow") is Severity.SPLAT


def test_each_row_has_one_severity_for_its_kind() -> None:
    assert len({(row.kind, row.severity) for row in RECOGNISERS}) == len({row.kind for row in RECOGNISERS})
