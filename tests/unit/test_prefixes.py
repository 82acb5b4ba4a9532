# SPDX-License-Identifier: GPL-2.0-only
"""Logs as other programs show them: the same events under every prefix, and no line too many."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from harness.evidence import prefixes
from harness.evidence.lines import decode
from harness.evidence.oom_class import read_ooms
from harness.evidence.prefixes import seconds_of
from harness.evidence.splats import find_events
from harness.evidence.stream import stream_kmsg
from harness.model.result import Event
from tests.unit.test_ktap import GOLDEN as KTAP
from tests.unit.test_oom import GOLDEN as KMSG

Writer = Callable[[float, str], str]
_STAMPED = re.compile(r"(?:<\d>)?\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+\])? (.*)")
_BEGIN = datetime(2025, 9, 1, 12, 34, 56, tzinfo=UTC)


def at(time: float) -> datetime:
    return _BEGIN + timedelta(seconds=time)


def bsd(time: float) -> str:
    return f"{at(time):%b} {at(time).day:2d} {at(time):%H:%M:%S}"


def human(time: float, text: str) -> str:
    return f"[Sep 1 12:34] {text}" if int(time * 1e6) % 7 == 0 else f"[  +0.000012] {text}"


def logcat(time: float, text: str) -> str:
    tag, colon, rest = text.partition(": ")
    if not colon or " " in tag or not tag:
        tag, rest = "", text
    return f"{at(time):%m-%d %H:%M:%S}.{at(time).microsecond // 1000:03d}     0     0 W {tag:<8}: {rest}"


def kmsg(time: float, text: str) -> str:
    return f"6,{int(time * 1e4)},{int(time * 1e6)},-;{text}"


FORMS: dict[str, Writer] = {
    "console": lambda t, x: f"[{t:12.6f}] {x}",
    "nothing": lambda t, x: x,
    "level and time": lambda t, x: f"<4>[{t:12.6f}] {x}",
    "Intel CI": lambda t, x: f"<4> [{t:.6f}] {x}",
    "level alone": lambda t, x: f"<4>{x}",
    "caller": lambda t, x: f"[{t:12.6f}][ T1234] {x}",
    "caller after a blank": lambda t, x: f"[{t:12.6f}] [ T1234] {x}",
    "caller, level": lambda t, x: f"<6>[{t:12.6f}] [    C0] {x}",
    "dmesg -T": lambda t, x: f"[{at(t):%a %b} {at(t).day:2d} {at(t):%H:%M:%S %Y}] {x}",
    "dmesg -T, French": lambda t, x: f"[lun. sept.  1 {at(t):%H:%M:%S %Y}] {x}",
    "dmesg -T, Japanese": lambda t, x: f"[月  9月  1 {at(t):%H:%M:%S %Y}] {x}",
    "dmesg -H": human,
    "dmesg -d": lambda t, x: f"[{t:12.6f} <    0.000012>] {x}",
    "dmesg -dT": lambda t, x: f"[{at(t):%a %b} {at(t).day:2d} {at(t):%H:%M:%S %Y} <    0.000012>] {x}",
    "dmesg -x": lambda t, x: f"kern  :warn  : [{t:12.6f}] {x}",
    "dmesg -xT": lambda t, x: f"kern  :warn  : [{at(t):%a %b} {at(t).day:2d} {at(t):%H:%M:%S %Y}] {x}",
    "dmesg --time-format iso": lambda t, x: f"{at(t):%Y-%m-%dT%H:%M:%S},{at(t).microsecond:06d}+02:00 {x}",
    "kmsg": kmsg,
    "kmsg with the caller": lambda t, x: f"4,12,{int(t * 1e6)},-,caller=T1;{x}",
    "syslog": lambda t, x: f"{bsd(t)} host kernel: [{t:12.6f}] {x}",
    "syslog without kernel time": lambda t, x: f"{bsd(t)} host kernel: {x}",
    "syslog, other months": lambda t, x: f"sept. 01 {at(t):%H:%M:%S} host kernel: {x}",
    "syslog, day first": lambda t, x: f" 1. Sep {at(t):%H:%M:%S} host kernel: {x}".strip(),
    "RFC 3339": lambda t, x: f"{at(t):%Y-%m-%dT%H:%M:%S}.2+00:00 h kernel: {x}",
    "RFC 3339 with kernel time": lambda t, x: f"{at(t):%Y-%m-%dT%H:%M:%S}.123456Z h kernel: [{t:12.6f}] {x}",
    "RFC 5424": lambda t, x: f"<4>1 {at(t):%Y-%m-%dT%H:%M:%S}.123Z h kernel - - - {x}",
    "journalctl short-precise": lambda t, x: f"{at(t):%b %d %H:%M:%S}.{at(t).microsecond:06d} host kernel: {x}",
    "journalctl short-iso": lambda t, x: f"{at(t):%Y-%m-%dT%H:%M:%S}+0200 host kernel: {x}",
    "journalctl short-full": lambda t, x: f"{at(t):%a %Y-%m-%d %H:%M:%S} CEST host kernel: {x}",
    "journalctl short-monotonic": lambda t, x: f"[{t:12.6f}] host kernel: {x}",
    "journalctl short-unix": lambda t, x: f"{at(t).timestamp():.6f} host kernel: {x}",
    "quoted": lambda t, x: f"> [{t:12.6f}] {x}",
    "quoted without a blank": lambda t, x: f">[{t:12.6f}] {x}",
    "quoted thrice": lambda t, x: f"> >> [{t:12.6f}] {x}",
    "quoted, no times": lambda t, x: f"> {x}",
    "quoted syslog": lambda t, x: f"> {bsd(t)} host kernel: {x}",
    "four blanks": lambda t, x: f"    [{t:12.6f}] {x}",
    "two blanks, no times": lambda t, x: f"  {x}",
    "tab": lambda t, x: f"\t[{t:12.6f}] {x}",
    "logcat": logcat,
    "logcat, kernel": lambda t, x: f"09-01 12:34:56.789  1234  1234 E kernel  : {x}",
    "logcat brief": lambda t, x: f"W/        (    0): {x}",
    "MediaTek": lambda t, x: f"<4>[{t:12.6f}]  (0)[1234:kworker/0:1]{x}",
    "MediaTek, minus": lambda t, x: f"[{t:12.6f}] -(3)[1234:my task]{x}",
    "Qualcomm": lambda t, x: f"[{t:12.6f},1] {x}",
    "Samsung": lambda t, x: f"<6>[{t:12.6f}]  [0:      swapper/0:    1] {x}",
    "Amlogic": lambda t, x: f"[{t:12.6f}@0] {x}",
    "a serial logger": lambda t, x: f"[{at(t):%Y-%m-%d %H:%M:%S}.123] [{t:12.6f}] {x}",
    "a terminal's clock": lambda t, x: f"{at(t):%H:%M:%S}.123 -> [{t:12.6f}] {x}",
    "a container's log": lambda t, x: f"console | [{t:12.6f}] {x}",
    "CR LF": lambda t, x: f"[{t:12.6f}] {x}\r",
}
LOGS = {
    "oom": KMSG / "global-oom-kills-the-hog-on-7.3" / "input.log",
    "memcg": KMSG / "nested-cgroup-killed-as-a-group-on-6.12" / "input.log",
    "splats": KTAP / "every-outcome-of-kunit" / "input.log",
    "crash": KTAP / "panic-while-a-suite-runs" / "input.log",
}


def records(name: str) -> list[tuple[float, str]]:
    """The kernel's own lines of a real log, each with its time."""
    text = LOGS[name].read_text(errors="replace")
    found = (_STAMPED.fullmatch(line.rstrip("\r")) for line in text.split("\n"))
    return [(float(match[1]), match[2]) for match in found if match is not None]


def written(name: str, form: str) -> bytes:
    return "".join(FORMS[form](time, text) + "\n" for time, text in records(name)).encode()


def told(data: bytes) -> list[tuple[str, str, str, int, int, str]]:
    events = find_events(decode(data))
    return [(e.kind, e.title, e.fingerprint, e.span.first, e.span.last, e.task) for e in events]


def victims(data: bytes) -> list[tuple[bool, str, object, object]]:
    reports = [oom.report for oom in read_ooms(decode(data))]
    return [(one.complete, one.invoker.comm, one.victim, one.memory.swap_total) for one in reports]


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", sorted(LOGS))
def test_the_same_events_under_every_prefix(name: str, form: str) -> None:
    log, plain = written(name, form), written(name, "console")
    assert told(log) == told(plain) != []
    assert victims(log) == victims(plain)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_stream_sees_what_the_whole_shows(form: str) -> None:
    log = written("splats", form)
    whole: list[Event] = []
    for piece in stream_kmsg(log[at : at + 777] for at in range(0, len(log), 777)):
        whole += piece.events
    assert sorted(whole, key=lambda event: event.span.first) == list(find_events(decode(log)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sep  1 12:34:56", 243 * 86400 + 45296.0),
        ("sept. 01 12:34:56.5", 243 * 86400 + 45296.5),
        ("9月 01 12:34:56", 243 * 86400 + 45296.0),
        ("1. Sep 12:34:56", 243 * 86400 + 45296.0),
        ("Mon Sep  1 12:34:56 2025", 1756730096.0),
        ("2025-09-01T12:34:56,250000+00:00", 1756730096.25),
        ("Sep 99 12:34:56", None),
        ("Sep 1", None),
    ],
)
def test_dates(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


# ---- lines that have no prefix of their own ----


def texts(*raws: str) -> list[str]:
    return [line.text for line in decode("\n".join((*raws, "")).encode())]


def test_the_rest_of_a_record_has_blanks_in_the_place_of_the_prefix() -> None:
    raws = [
        "[    1.000003] active_anon:1",
        "                active_file:3",
        "                free:5",
        "[    1.000004] x",
    ]
    assert texts(*raws) == ["active_anon:1", " active_file:3", " free:5", "x"]
    assert len({line.time for line in decode("\n".join(raws).encode())}) == 2
    head = "Sep 01 12:34:56 host kernel: "
    assert texts(f"{head}active_anon:1", f"{' ' * len(head)} free:5", f"{head}x") == ["active_anon:1", " free:5", "x"]


@pytest.mark.parametrize(
    ("raws", "expected"),
    [
        (["4,1,5,-;a", " SUBSYSTEM=pci", " DEVICE=+pci:0000", "4,2,6,-;b"], ["a", "b"]),
        ([r"4,1,5,-;a\x0a b\x5c", "4,2,6,-;c"], ["a", " b\\", "c"]),
        (["Sep  1 12:34:56 h kernel: a#012 b"], ["a", " b"]),
    ],
)
def test_records_with_more_than_a_line(raws: list[str], expected: list[str]) -> None:
    assert texts(*raws) == expected


@pytest.mark.parametrize(
    "head", ["Sep  1 12:34:56 h kernel: ", "h kernel: ", "2025-09-01T12:34:56+0200 host kernel: "]
)
def test_lines_that_a_mailer_broke(head: str) -> None:
    log = [f"{head}BUG: kernel NULL pointer", "dereference, address: 08", f"{head}RIP:", "0010:right+0x1/0x2",
           f"{head}Call Trace:", f"{head} ?", "wrong+0x1/0x2", f"{head} outer+0x1/0x2"]  # fmt: skip
    (event,) = find_events(decode("\n".join((*log, "")).encode()))
    assert (event.kind, event.title) == ("oops", "BUG: kernel NULL pointer dereference, address: 08")
    assert event.frames == ("right+0x1/0x2", "outer+0x1/0x2")


def test_a_console_log_that_a_mailer_broke() -> None:
    log = [
        "[  123.456789] hog invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|",
        "__GFP_COMP), order=0, oom_score_adj=0",
        "[  123.456790] Out of memory: Killed process 47 (hog) total-vm:410596kB,",
        "anon-rss:67336kB, file-rss:8kB, shmem-rss:0kB, UID:0 pgtables:172kB",
        "oom_score_adj:0",
    ]
    (oom,) = read_ooms(decode("\n".join((*log, "")).encode()))
    assert oom.report.invoker.order == 0
    assert oom.report.victim is not None
    assert (oom.report.victim.anon_rss, oom.report.victim.oom_score_adj) == (67336 * 1024, 0)


def test_what_other_programs_say_is_no_part_of_it() -> None:
    log = ["Sep  1 12:34:56 h kernel: BUG: kernel NULL pointer dereference, address: 08",
           "Sep  1 12:34:56 h efitime[7]: Oops: efitime: can't read time!",
           "Sep  1 12:34:56 h app: BUG: of the application",
           "Sep  1 12:34:57 h kernel:  f+0x1/0x2"]  # fmt: skip
    (event,) = find_events(decode("\n".join((*log, "")).encode()))
    assert event.lines == ("BUG: kernel NULL pointer dereference, address: 08", " f+0x1/0x2")


def test_user_space_on_our_own_console_is_left_alone() -> None:
    log = [
        "[    1.000000] x",
        "    indented by user space",
        "# a prompt of a shell",
        "> quoted",
        "[    1.100000] y",
        "z",
    ]
    assert texts(*log) == ["x", *log[1:4], "y", "z"]


def test_cr_alone_ends_a_line() -> None:
    raws = ["[    1.000000] BUG: kernel NULL pointer dereference", "[    1.000000]  f+0x1/0x2", "[    1.1] x"]
    (event,) = find_events(decode("\r".join(raws).encode()))
    assert event.frames == ("f+0x1/0x2",)
    long = "\r".join(raws + [f"[{n:12.6f}] all is well" for n in range(9000)])
    assert len(find_events(decode(long.encode()))) == 1


@pytest.mark.parametrize(
    "form", ["console", "level and time", "RFC 3339 with kernel time", "journalctl short-monotonic", "kmsg"]
)
def test_newest_line_first(form: str) -> None:
    rows = [(1 + at / 1e3, text) for at, (_, text) in enumerate(records("oom"))]
    raws = [FORMS[form](time, text) for time, text in rows]
    plain = "".join(f"{raw}\n" for raw in raws).encode()
    turned = "".join(f"{raw}\n" for raw in reversed(raws)).encode()
    assert told(turned) == told(plain) != []
    assert victims(turned) == victims(plain)
    pieces = list(stream_kmsg([turned]))
    assert pieces[-1].backwards and sum(len(piece.ooms) for piece in pieces) == 1


def test_two_boots_and_times_that_are_a_little_out_of_order_are_not_newest_first() -> None:
    boot = [f"[{at / 10:12.6f}] line {at}" for at in range(1, 9)]
    boot[3], boot[4] = boot[4], boot[3]
    assert texts(*boot, *boot) == [line.partition("] ")[2] for line in (*boot, *boot)]


# ---- what mailers do ----


def mailed(raw: str, blanks: bool) -> list[str]:
    """A line as a mailer breaks it at 72 columns, with or without the blanks at the break."""
    parts = []
    while len(raw) > 72:
        begin = len(raw) - len(raw.lstrip()) + 1
        at = raw.rfind(" ", begin, 73)
        at = raw.find(" ", begin) if at < 0 else at
        if at < 0:
            break
        parts.append(raw[:at] if blanks else raw[:at].rstrip())
        raw = raw[at + 1 :] if blanks else raw[at + 1 :].lstrip()
    return [*parts, raw]


def wrapped(name: str, form: str, blanks: bool) -> bytes:
    rows = [FORMS[form](time, text) for time, text in records(name)]
    return "".join(f"{part}\n" for raw in rows for part in mailed(raw, blanks)).encode()


def said(data: bytes) -> list[tuple[str, str, str]]:
    return [(event.kind, event.title, event.fingerprint) for event in find_events(decode(data))]


def blocks(data: bytes) -> list[object]:
    reports = [oom.report for oom in read_ooms(decode(data))]
    return [(one.complete, one.invoker, [task.comm for task in one.tasks], [kill.anon_rss for kill in one.kills],
             one.memory, one.constraint) for one in reports]  # fmt: skip


@pytest.mark.parametrize("blanks", [True, False], ids=["blanks stay", "blanks go"])
@pytest.mark.parametrize("name", sorted(LOGS))
@pytest.mark.parametrize(
    "form",
    ["nothing", "console", "caller", "Intel CI", "quoted", "quoted, no times", "syslog", "syslog without kernel time",
     "RFC 3339"],
)  # fmt: skip
def test_a_whole_log_that_a_mailer_broke(form: str, name: str, blanks: bool) -> None:
    log, plain = wrapped(name, form, blanks), written(name, form)
    assert log != plain
    assert said(log) == said(plain) != []
    assert blocks(log) == blocks(plain)


TABLE = [
    "[    1.000001] Tasks state (memory values in pages):",
    "[    1.000002] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes",
    "swapents oom_score_adj name",
    "[    1.000003] [     46]     0    46     1234      123    45056",
    "      0             0 sh",
    "[    1.000004] [     47]     0    47   102649    16836   176128        7",
    "         -5 two words",
]


@pytest.mark.parametrize("head", [False, True], ids=["bare", "console"])
def test_a_task_table_that_a_mailer_broke(head: bool) -> None:
    log = ["[    1.000000] hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0,", "oom_score_adj=0", *TABLE]
    raws = log if head else [re.sub(r"^\[ +1\.\d+\] ", "", raw) for raw in log]
    (oom,) = read_ooms(decode("\n".join((*raws, "")).encode()))
    rows = [(task.pid, task.comm, task.swap, task.oom_score_adj) for task in oom.report.tasks]
    assert rows == [(46, "sh", 0, 0), (47, "two words", 7 * 4096, -5)]
    assert oom.report.invoker.oom_score_adj == 0


@pytest.mark.parametrize(
    "raws",
    [
        # lines of 60 to 80 columns that are whole
        ["BUG: kernel NULL pointer dereference, address: 0000000000000008 x", "#PF: supervisor read access",
         "Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-1", "Workqueue: events work",
         "RAX: 0000000000000000 RBX: ffff888100a3c000 RCX: 0000000000000000", "RDX: 0000000000000001",
         "Node 0 DMA: 0*4kB 0*8kB 1*16kB (M) 0*32kB 0*64kB 0*128kB = 784kB x", "12 total pagecache pages",
         "CPU: 0 UID: 0 PID: 12 Comm: a Not tainted 7.3.4 #1 PREEMPT(voluntary) y", "driver 0000:00:02.0: it is well",
         "RIP: 0010:a_function_with_a_rather_long_name_of_its_own+0x123/0x456 [ttm]", " indented"],
        ["KTAP version 1", "1..2", "    # a: a diagnostic of a test that is longer than sixty columns, it is",
         "    ok 1 a", "ok 1 a suite with a name that is longer than sixty columns, as names go", "ok 2 b"],
        # a line that nobody broke is wider than mail is
        ["BUG: kernel NULL pointer dereference, address: 0000000000000008, and more of it", "words of another",
         "the next line has a great many words, and so it is far wider than any mailer would have left it to be"],
    ],
    ids=["whole", "KTAP", "wide"],
)  # fmt: skip
def test_whole_lines_stay_apart(raws: list[str]) -> None:
    assert texts(*raws) == raws


# ---- which form it is ----


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", ["crash", "splats"])
def test_a_form_that_is_given_up_could_not_have_won(name: str, form: str) -> None:
    for most in (500, 60, 7):
        lines = [line for line in written(name, form).decode().split("\n")[:most] if line.strip()]
        scores = []
        for head, quotes in prefixes._heads(lines):
            shown = prefixes._Chosen(prefixes._PRINTK, head, quotes)
            rests = [rest for rest in map(shown.rest, lines) if rest]
            for one in prefixes.FORMS:
                scores.append((prefixes._score(rests, one, bool(head), 0), one.name, head, quotes))
        # The first of equals; `anything before the time` gives way to what tells of lines without one, too.
        best = max(scores, key=lambda score: (score[0], score[1] != "before-time"))
        chosen, score = prefixes._best(lines, 0)
        assert (score, chosen.form.name, chosen.head, chosen.quotes) == best


@pytest.mark.parametrize("name", sorted(LOGS))
def test_few_lines_tell_of_a_bare_log_what_all_do(name: str) -> None:
    lines = [text for _, text in records(name)]
    clear = prefixes._clear(lines)
    assert clear is None or clear == prefixes._best(lines, 0)[0]
    ktap = [line for line in lines if prefixes._KTAP.match(line)]
    assert not ktap or prefixes._clear(ktap) == prefixes._BARE


@pytest.mark.parametrize("head", ["console | [    1.000000] ", "[  T12-worker] ", "<4> "])
def test_a_prefix_that_only_the_whole_log_tells(head: str) -> None:
    lines = ["BUG: kernel NULL pointer dereference, address: 8", "Call Trace:", " f+0x1/0x2", "RIP: 0010:f+0x1/0x2"]
    assert texts(*(head + line for line in lines)) == lines
