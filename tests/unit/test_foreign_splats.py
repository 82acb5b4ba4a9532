# SPDX-License-Identifier: GPL-2.0-only
"""Splats that are not ours: older headlines, other machines, decoded traces, lines of others in between."""

from __future__ import annotations

import pytest

from harness.evidence.lines import decode
from harness.evidence.oom import find_ooms
from harness.evidence.splats import find_events
from harness.evidence.stream import stream_kmsg
from harness.model.result import Event

CUT = "------------[ cut here ]------------"
END = "---[ end trace 0000000000000000 ]---"


def log(*texts: str) -> bytes:
    """The lines with times, one after another."""
    return "".join(f"[{1 + at / 1e6:12.6f}] {text}\n" for at, text in enumerate(texts)).encode()


def events(*texts: str) -> list[Event]:
    flooded = log(*texts, *["a line of nobody"] * 2000)
    streamed = [event for piece in stream_kmsg([flooded]) for event in piece.events]
    assert sorted(streamed, key=lambda event: event.span.first) == list(find_events(decode(flooded)))
    return list(find_events(decode(log(*texts))))


# ---- headlines ----


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[ INFO: possible recursive locking detected ]", "lockdep"),
        ("[ INFO: possible circular locking dependency detected ]", "lockdep"),
        ("[ INFO: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected ]", "lockdep"),
        ("[ INFO: suspicious RCU usage. ]", "lockdep"),
        ("[ BUG: bad unlock balance detected! ]", "lockdep"),
        ("[ BUG: held lock freed! ]", "lockdep"),
        ("[ BUG: a.out/12 still has locks held! ]", "lockdep"),
        ("[ BUG: lock held when returning to user space! ]", "lockdep"),
        ("NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:12]", "soft-lockup"),
        ("Watchdog detected hard LOCKUP on cpu 0", "hard-lockup"),
        ("watchdog: CPU 1 self-detected hard LOCKUP @ foo+0x1/0x2", "hard-lockup"),
        ("WARNING: at a.c:1 foo+0x1/0x2()", "warning"),
        ("Unhandled fault: external abort on non-linefetch (0x1008) at 0xfee00001", "oops"),
        ("Unhandled prefetch abort: breakpoint debug exception (0x002) at 0x00000000", "oops"),
        ("Internal error: synchronous external abort: 96000010 [#1] PREEMPT SMP", "oops"),
        ("Internal error: Oops - SP/PC alignment exception: 8a000000 [#1] PREEMPT SMP", "oops"),
        ("CPU 0 Unable to handle kernel paging request at virtual address 00000008, epc == 1, ra == 2", "oops"),
        ("BUG: Kernel NULL pointer dereference on read at 0x00000008", "oops"),
        ("Insufficient stack space to handle exception!", "oops"),
        ("BUG: stack guard page was hit at 00000000397c6d92", "oops"),
        ("Oops [#1]", "oops"),
        ("Oops: 0004 ilc:2 [#1] SMP", "oops"),
        ("Oops: Kernel access of bad area, sig: 11 [#1]", "oops"),
        ("INFO: task a:12 can't die for more than 143 seconds.", "hung-task"),
        ("unregister_netdevice: waiting for lo to become free. Usage count = 6", "refcount"),
        ("VFS: Busy inodes after unmount of sda1. Self-destruct in 5 seconds.  Have a nice day...", "bug-message"),
        ("WARNING: kernel stack regs at 0000000012345678 in a:12 has bad 'bp' value 0000000012345678", "warning"),
    ],
)
def test_headlines_of_others(line: str, kind: str) -> None:
    assert [event.kind for event in events("before", line, "after")] == [kind]


@pytest.mark.parametrize(
    "line",
    [
        "Oops: efitime: can't read time!",
        "Oops#1 Part1",
        "Panic#2 Part1",
        "Oopsie",
        "Internal error: the file is not there",
        "Unhandled event 12",
        "[ BUG: in my program ]",
        "BUG UNIX (Not tainted): kasan: bad access detected",
        "BUG: memory leak",
    ],
)
def test_headlines_of_nothing(line: str) -> None:
    assert events("before", line, "after") == []


def test_a_hung_task_with_a_line_end_in_its_name() -> None:
    (event,) = events("INFO: task two", "lines:12 blocked for more than 143 seconds.", "Call Trace:", " f+0x1/0x2")
    assert event.title == "INFO: task two lines:12 blocked for more than 143 seconds."
    assert event.frames == ("f+0x1/0x2",)


# ---- places ----


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["RIP: e030:xen_place+0x1/0x2"], ["xen_place"]),
        (["RIP: 0010:[<ffffffff82d4e30>]  [<ffffffff82d4e30>] old+0x24/0x30", " [<ffffffff8>] up+0x1/0x2"], ["old"]),
        (["IP: [<ffffffff82d4e304>] older+0x24/0x30"], ["older"]),
        (["EIP is at oldest+0x1/0x2"], ["oldest"]),
        (["EIP: [<c0123456>] small+0x1/0x2 SS:ESP 0068:c1"], ["small"]),
        (["NIP [c0000000000a1b2c] power+0x1/0x2", "LR [c0000000000a1b2c] no+0x1/0x2",
          "[c000000001] [c0000000000a1b2c] next+0x1/0x2 (unreliable)"], ["power", "next"]),
        (["epc : five+0x1/0x2", " ra : no+0x1/0x2", "[<ffffffff80006d2e>] six+0x1/0x2"], ["five", "six"]),
        (["PC is at arm+0x1/0x2", "LR is at no+0x1/0x2", " inner from middle+0x1/0x2", " middle from outer+0x1/0x2"],
         ["arm", "inner", "middle", "outer"]),
        (["PC is at arm+0x1/0x2", "[<c0010fb8>] (inner) from [<c000c0a4>] (outer+0x10/0x14)"],
         ["arm", "inner", "outer"]),
        (["Krnl PSW : 0704c00180000000 000000000013b3c6 (zed+0x1/0x2)", " [<000000000013b3c6>] up+0x1/0x2"],
         ["zed", "up"]),
        (["epc   : 80123456 mips+0x1/0x2", "[<80123456>] up+0x1/0x2"], ["mips", "up"]),
        (["pc : arm64+0x1/0x2 [ttm]", "lr : no+0x1/0x2", " up+0x1/0x2"], ["arm64", "up"]),
    ],
)  # fmt: skip
def test_places_of_other_machines(texts: list[str], names: list[str]) -> None:
    head = ("Unable to handle kernel paging request at virtual address 8", "Internal error: Oops: 1 [#1] SMP")
    (event,) = events(*head, *texts)
    frames = [frame.partition("+")[0] for frame in event.frames]
    assert [name for name in frames if name in names] == names
    assert "no" not in frames


def test_user_space_is_no_place() -> None:
    (event,) = events("BUG: kernel NULL pointer dereference, address: 8", "RIP: 0033:user+0x1/0x2", " f+0x1/0x2")
    assert event.frames == ("f+0x1/0x2",)


# ---- one oops is one event ----


def test_an_arm64_oops_is_one_event() -> None:
    (event,) = events(
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
        "Mem abort info:",
        "  ESR = 0x0000000096000006",
        "  EC = 0x25: DABT (current EL), IL = 32 bits",
        "  SET = 0, FnV = 0",
        "  EA = 0, S1PTW = 0",
        "  FSC = 0x06: level 2 translation fault",
        "Data abort info:",
        "  ISV = 0, ISS = 0x00000006, ISS2 = 0x00000000",
        "  CM = 0, WnR = 0, TnD = 0, TagAccess = 0",
        "  GCS = 0, Overlay = 0, DirtyBit = 0, Xs = 0",
        "user pgtable: 4k pages, 48-bit VAs, pgdp=0000000041ef6000",
        "[0000000000000008] pgd=0800000041ef5403, p4d=0800000041ef5403",
        "Internal error: Oops: 0000000096000006 [#1] PREEMPT SMP",
        "Modules linked in: ttm",
        "CPU: 0 UID: 0 PID: 12 Comm: insmod Not tainted 7.3.4 #1",
        "pc : place+0x1/0x2 [ttm]",
        "lr : no+0x1/0x2",
        "Call trace:",
        " place+0x1/0x2 [ttm]",
        END,
    )
    assert (event.kind, event.task, event.frames) == ("oops", "insmod", ("place+0x1/0x2 [ttm]",))
    assert event.title == "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008"


def test_lines_of_others_between_a_headline_and_its_oops() -> None:
    others = [f"r8169 0000:01:00.{n} eth{n}: Link is Up" for n in range(9)]
    (event,) = events(
        "BUG: kernel NULL pointer dereference, address: 8", *others, "Oops: 0000 [#1] SMP", " f+0x1/0x2"
    )
    assert event.frames == ("f+0x1/0x2",)


def test_a_line_of_others_never_joins_a_title() -> None:
    before = events(CUT, "r8169 eth0: Link is Up", "kernel BUG at a.c:9!", "Oops: invalid opcode: 0000 [#1] SMP", END)
    after = events(CUT, "kernel BUG at a.c:9!", "r8169 eth0: Link is Up", "Oops: invalid opcode: 0000 [#1] SMP", END)
    assert [event.title for event in (*before, *after)] == ["kernel BUG at a.c:9!"] * 2
    warning = events(CUT, "own words", "WARNING: a.c:1 at f+0x1/0x2", "r8169 eth0: Link is Up", "Modules linked in:")
    assert warning[0].title.startswith("WARNING: a.c:1 at f: own words")


@pytest.mark.parametrize("between", [[], ["r8169 eth0: Link is Up"]])
def test_the_reason_stands_before_the_cut(between: list[str]) -> None:
    words = "list_del corruption. prev->next should be 1, but was 2"
    (event,) = events(
        "x", words, *between, CUT, "kernel BUG at lib/list_debug.c:62!", "Oops: invalid opcode: 0000 [#1]"
    )
    assert event.kind == "bug"  # the kernel dies of it, as of any other
    assert event.title == f"kernel BUG at lib/list_debug.c:62!: {words}"
    assert event.lines[0] == words and "r8169 eth0: Link is Up" not in event.lines
    (event,) = events(words, CUT, "WARNING: lib/list_debug.c:62 at f+0x1/0x2", END)
    assert event.kind == "list-corruption"


# ---- OOM ----

OOM = (
    "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "CPU: 0 UID: 0 PID: 47 Comm: hog Not tainted 7.3.4 #1",
    "Call Trace:",
    " oom_place+0x1/0x2",
    "Mem-Info:",
    "active_anon:1 inactive_anon:2 isolated_anon:0",
)
KILL = (
    "Out of memory: Killed process 47 (hog) total-vm:410596kB, anon-rss:67336kB, file-rss:8kB, shmem-rss:0kB, UID:0"
)


def test_a_splat_inside_an_oom_report_splits_nothing() -> None:
    splat = ("BUG: sleeping function called from invalid context at a.c:1", "Call Trace:", " other+0x1/0x2")
    got = events(*OOM, *splat, "0 pages RAM", KILL)
    assert [event.kind for event in got] == ["oom", "atomic-sleep"]
    oom, other = got
    assert oom.title.startswith("Out of memory: Killed process 47 (hog)")
    assert (oom.span.first, oom.span.last) == (1, len(OOM) + len(splat) + 2)
    assert oom.frames == ("oom_place+0x1/0x2",) and other.frames == ("other+0x1/0x2",)
    alone = events(*OOM, KILL)[0]
    assert oom.fingerprint == alone.fingerprint
    assert len(find_ooms(decode(log(*OOM, *splat, KILL)))) == 1


def test_a_group_is_killed_as_one_event() -> None:
    kills = [
        f"Memory cgroup out of memory: Killed process {pid} (hog) total-vm:62428kB, anon-rss:1kB, file-rss:0kB"
        for pid in (50, 51, 50, 52)
    ]
    got = events(
        *OOM, kills[0], "Tasks in /a are going to be killed due to memory.oom.group set", *kills[1:], "x", "y"
    )
    assert [event.title for event in got] == [f"{kills[0]}, and 2 more of its group"]
    assert got[0].fingerprint == events(*OOM, kills[0])[0].fingerprint
    (report,) = find_ooms(decode(log(*OOM, kills[0], "Tasks in /a are going to be killed due to memory.oom.group set",
                                     *kills[1:])))  # fmt: skip
    assert [kill.pid for kill in report.kills] == [50, 51, 52]


def test_kills_without_a_group_are_events_of_their_own() -> None:
    assert len(events(KILL, "x", KILL.replace("47", "48"))) == 2


# ---- decoded traces ----

RAW = (
    CUT,
    "WARNING: CPU: 0 PID: 5 at drivers/a.c:6 foo+0x11/0x22 [ttm]",
    "Modules linked in: ttm",
    "CPU: 0 PID: 5 Comm: a Not tainted 6.12.0 #1",
    "RIP: 0010:foo+0x11/0x22 [ttm]",
    "Code: 00 11 22",
    "Call Trace:",
    " <TASK>",
    " bar+0x1/0x2 [ttm]",
    " ? guess+0x1/0x2",
    " do_syscall_64+0x1/0x2",
    " </TASK>",
    END,
)
DECODED = (
    CUT,
    "WARNING: CPU: 0 PID: 5 at drivers/a.c:6 foo (drivers/a.c:6 (discriminator 1)) ttm",
    "Modules linked in: ttm",
    "CPU: 0 PID: 5 Comm: a Not tainted 6.12.0 #1",
    "RIP: 0010:foo (drivers/a.c:6 (discriminator 1)) ttm",
    "Code: 00 11 22",
    "All code",
    "========",
    "   0:\t00 11                \tadd    %dl,(%rcx)",
    "   2:*\t22                   \t.byte 0x22\t\t<-- trapping instruction",
    "",
    "Code starting with the faulting instruction",
    "===========================================",
    "   0:\t22                   \t.byte 0x22",
    "Call Trace:",
    " <TASK>",
    " bar (include/linux/b.h:3 drivers/a.c:9 (discriminator 2)) [ttm]",
    " ? guess (kernel/g.c:1)",
    " do_syscall_64 (arch/x86/entry/common.c:52 arch/x86/entry/common.c:83)",
    " </TASK>",
    END,
)


def test_a_decoded_trace_is_the_same_event() -> None:
    (raw,), (decoded,) = events(*RAW), events(*DECODED)
    assert (decoded.kind, decoded.title, decoded.fingerprint) == (raw.kind, raw.title, raw.fingerprint)
    assert decoded.title == "WARNING: drivers/a.c:6 at foo [ttm]"
    assert decoded.modules == raw.modules == ("ttm",)
    assert [frame.split("+")[0].split(" ")[0] for frame in raw.frames] == [f.split(" ")[0] for f in decoded.frames]
    assert decoded.span.last == len(DECODED)
    (bare,) = find_events(decode("\n".join((*DECODED, "")).encode()))
    assert bare.fingerprint == raw.fingerprint


def test_a_long_block_of_code_does_not_end_the_event() -> None:
    """As a real one has it: forty bytes, and those from the fault on once more."""
    at = DECODED.index("All code")
    code = [f"  {number:2x}:\t48 89 e5             \tmov    %rsp,%rbp" for number in range(0, 60, 3)]
    block = ("All code", "========", *code, "", "Code starting with the faulting instruction", "=" * 43, *code)
    whole = (*DECODED[:at], *block, *DECODED[DECODED.index("Call Trace:") :])
    (event,) = events(*whole)
    assert event.span.last == len(whole)
    assert event.fingerprint == events(*RAW)[0].fingerprint


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (
            "BUG: KASAN: slab-use-after-free in foo+0x1/0x2 [ttm]",
            "BUG: KASAN: slab-use-after-free in foo (a.c:6) ttm",
        ),
        ("WARNING: a.c:6 at foo+0x1/0x2 [ttm], CPU#1: a/12", "WARNING: a.c:6 at foo (a.c:6) ttm, CPU#1: a/12"),
        ("WARNING: a.c:6 at foo+0x1/0x2, CPU#1: a/12", "WARNING: a.c:6 at foo (b.h:1 a.c:6), CPU#1: a/12"),
    ],
)
def test_a_decoded_headline(raw: str, decoded: str) -> None:
    (one,), (two,) = events(raw), events(decoded)
    assert (one.title, one.fingerprint) == (two.title, two.fingerprint)
