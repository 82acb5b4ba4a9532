# SPDX-License-Identifier: GPL-2.0-only
"""The reader of kernel logs on a folder of samples whose answers somebody else wrote down.

    python -m tests.corpus.compare_kmsg FOLDER [--all] [--show NAME]

FOLDER holds files as google/syzkaller keeps them in pkg/report/testdata/linux/report: header lines (`TITLE:`,
`TYPE:`, `CORRUPTED: Y`, ...), an empty line, the log, and perhaps `REPORT:` with what its own reader printed. None of
them is part of this repository. What is looked at:

  recognised  a sample with a title has an event that is more than a note; one without a title has none
  kind        the kind of one of these events is one that TYPES or TITLES name for the sample's type or title
  function    the function that the title ends with (`... in FUNCTION`) stands in the title or the frames of an event

Samples that their authors mark as corrupted (the log is torn so that its title is a guess) are counted apart, too.
Exit status: 0 the goals are met; 1 they are not; 2 there is no sample.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.evidence.lines import decode
from harness.evidence.splats import Severity, find_events, severity
from harness.model.result import Event

GOALS = {"recognised": 735 / 747, "kind": 0.98, "function": 0.95}

_MEMORY = ("oops", "bug", "slab", "bad-page", "list-corruption", "kasan", "refcount", "bug-message", "panic")
# The other side's TYPE -> our kinds. A type of theirs says what the bug is good for; a kind of ours, who found it.
TYPES: dict[str, tuple[str, ...]] = {
    "ATOMIC_SLEEP": ("atomic-sleep", "lockdep"),
    "BUG": ("bug", "bug-message", "spinlock", "lockdep", "slab", "bad-page", "list-corruption", "atomic-sleep"),
    "DoS": ("oops", "panic", "bug", "hung-task"),
    "HANG": ("rcu-stall", "hung-task", "soft-lockup", "hard-lockup", "workqueue-lockup", "spinlock"),
    "LEAK": ("kmemleak",),
    "LOCKDEP": ("lockdep", "spinlock"),
    "MEMORY_SAFETY_BUG": _MEMORY,
    "MEMORY_SAFETY_UBSAN": ("ubsan",),
    "NULL-POINTER-DEREFERENCE": ("oops",),
    "REFCOUNT_WARNING": ("refcount",),
    "UBSAN": ("ubsan",),
    "WARNING": ("warning", "refcount", "list-corruption", "dma-api", "odebug", "page-alloc-failure"),
    "REBOOT": ("reboot",),
    "SYZ_FAILURE": (),
}
# A title's beginning -> our kinds, where the type is wider, or there is none.
TITLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("KASAN", ("kasan",)),
    ("KFENCE", ("kfence",)),
    ("KMSAN", ("kmsan",)),
    ("KCSAN", ("kcsan",)),
    ("UBSAN", ("ubsan",)),
    ("memory leak", ("kmemleak",)),
    ("INFO: rcu detected stall", ("rcu-stall",)),
    ("INFO: task hung", ("hung-task",)),
    ("INFO: task can't die", ("hung-task",)),
    ("BUG: soft lockup", ("soft-lockup",)),
    ("BUG: workqueue lockup", ("workqueue-lockup",)),
    ("BUG: workqueue leaked", ("bug-message", "lockdep", "atomic-sleep")),
    ("BUG: using ", ("atomic-sleep", "bug-message")),  # a per-CPU variable where the task may move
    ("WARNING: locking bug", ("lockdep", "warning")),  # a WARN() in lockdep's own code
    ("WARNING: possible ", ("lockdep",)),
    ("unregister_netdevice", ("refcount",)),
    ("BUG: Object already free", ("slab",)),
    ("INFO: Freed", ("slab",)),
    ("INFO: Allocated", ("slab",)),
    ("VFS: ", ("bug-message",)),
    ("BUG: lock held when returning", ("lockdep",)),
    ("BUG: Dentry", ("bug-message",)),
    ("BUG: bad usercopy", ("bug", "bug-message", "usercopy")),
    ("BUG: corrupted list", ("bug", "list-corruption")),
    ("BUG: spinlock", ("spinlock",)),
    ("BUG: rwlock", ("spinlock",)),
    ("BUG: stack guard", ("oops",)),
    ("BUG: unable to handle", ("oops",)),
    ("BUG: Bad page", ("bad-page",)),
    ("BUG: Bad rss", ("bad-page",)),
    ("BUG: sleeping function", ("atomic-sleep",)),
    ("BUG: scheduling while atomic", ("atomic-sleep",)),
    ("BUG: bad unlock balance", ("lockdep",)),
    ("BUG: held lock freed", ("lockdep",)),
    ("BUG: still has locks held", ("lockdep",)),
    ("BUG: MAX_", ("lockdep",)),
    ("kernel BUG", ("bug",)),
    ("kernel panic: corrupted stack end", ("panic", "bug-message")),
    ("kernel panic", ("panic",)),
    ("general protection fault", ("oops",)),
    ("divide error", ("oops",)),
    ("stack segment fault", ("oops",)),
    ("int3", ("oops",)),
    ("kernel stack overflow", ("oops", "panic")),
    ("PANIC: double fault", ("oops", "panic")),
    ("Unhandled fault", ("oops",)),
    ("Internal error", ("oops",)),
    ("possible deadlock", ("lockdep",)),
    ("inconsistent lock state", ("lockdep",)),
    ("INFO: trying to register", ("lockdep",)),
    ("WARNING: suspicious RCU", ("lockdep",)),
    ("INFO: suspicious RCU", ("lockdep",)),
    ("WARNING: refcount bug", ("refcount", "warning")),
)
_HEADER = re.compile(r"([A-Z]+): ?(.*)")
_IN = re.compile(r" (?:in|at) ([A-Za-z_][\w.$]*)(?: \(\d+\))?$")
_CALL = re.compile(r"^_*(?:(?:x64|ia32|arm64|riscv|se|do|compat|sys|SyS|SYSC|C_SYSC)_+)+")
_TAKEN = re.compile(r"\b(?:at|last function): (?:\[<[0-9a-f]+>\] )?([A-Za-z_][\w.]*)")
_FAMILIES = {"synchronize_rcu": ("synchronize_", "exp_funnel_lock"), "smp_call_function": ("smp_call_function",)}
_SUFFIX = re.compile(r"\.(?:constprop|isra|part|cold|llvm)\b.*$")
# Titles that are not about the kernel that printed the log.
_OTHERS = ("SYZFAIL", "SYZFATAL", "go runtime error", "panic: ", "trusty", "lost connection", "no output")


@dataclass(frozen=True)
class Sample:
    """A file taken apart."""

    name: str
    header: dict[str, str]
    log: bytes

    @property
    def title(self) -> str:
        return self.header.get("TITLE", "")

    @property
    def corrupted(self) -> bool:
        return self.header.get("CORRUPTED") == "Y"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that would be right; empty where nothing is said."""
        for start, kinds in TITLES:
            if self.title.startswith(start):
                return kinds
        kind = self.header.get("TYPE", "")
        for start in ("KASAN", "KFENCE", "KMSAN", "KCSAN"):
            if kind.startswith(start):
                return (start.lower(),)
        return TYPES.get(kind, ())

    @property
    def function(self) -> str:
        """What the title says the bug is in; empty without a name."""
        match = _IN.search(self.title)
        return "" if match is None or match[1] in ("corrupted", "DEV", "context") else match[1]


@dataclass(frozen=True)
class Answer:
    """What our reader says of a sample. None: it does not count for this question."""

    sample: Sample
    events: tuple[Event, ...]
    recognised: bool
    kind: bool | None
    function: bool | None


def read_sample(path: Path) -> Sample:
    data = path.read_bytes().replace(b"\r", b"")
    head, _, log = data.partition(b"\n\n")
    if data.startswith(b"\n"):
        head, log = b"", data[1:]
    header: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").splitlines():
        match = _HEADER.match(line)
        if match is not None:
            header.setdefault(match[1], match[2])
    return Sample(path.name, header, log.partition(b"\n\nREPORT:\n")[0] + b"\n")


def answer(sample: Sample) -> Answer:
    """The sample read and held against its header."""
    events = tuple(event for event in find_events(decode(sample.log)) if severity(event.kind) is not Severity.NOTE)
    recognised = bool(events) == bool(sample.title)
    if not sample.title or not events:
        return Answer(sample, events, recognised, None, None)
    kind = any(event.kind in sample.kinds for event in events) if sample.kinds else None
    function = any(_names(event, sample.function) for event in events) if sample.function else None
    return Answer(sample, events, recognised, kind, function)


def _names(event: Event, function: str) -> bool:
    """Whether the event names it: in its title, as a frame, or as the place where a lock was taken or left.

    The other side calls a system call by its bare name, and all that wait for RCU or for other CPUs by one name.
    """
    frames = {_bare(re.split(r"[+ ]", frame, maxsplit=1)[0]) for frame in event.frames}
    if event.kind in ("lockdep", "bug-message"):
        frames |= {_bare(name) for text in event.lines for name in _TAKEN.findall(text)}
    wanted = _bare(function)
    alike = function in _FAMILIES and any(frame.lstrip("_").startswith(_FAMILIES[function]) for frame in frames)
    return wanted in frames or alike or re.search(rf"\b{re.escape(function)}\b", event.title) is not None


def _bare(name: str) -> str:
    return _CALL.sub("", _SUFFIX.sub("", name))


def figures(answers: Iterable[Answer]) -> dict[str, tuple[int, int]]:
    """Right and all, for each question."""
    told = list(answers)
    free = [one for one in told if not one.sample.title]
    return {
        "recognised": (sum(one.recognised for one in told), len(told)),
        "kind": (sum(one.kind is True for one in told), sum(one.kind is not None for one in told)),
        "function": (sum(one.function is True for one in told), sum(one.function is not None for one in told)),
        "false": (sum(bool(one.events) for one in free), len(free)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", default="", help="the events of this sample")
    parser.add_argument("--all", action="store_true", help="each sample that is not right")
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.is_file())
    if options.show:
        paths = [options.folder / options.show]
    answers = [answer(read_sample(path)) for path in paths]
    if not answers:
        print(f"no sample in {options.folder}", file=sys.stderr)
        sys.exit(2)
    if options.show:
        for event in answers[0].events:
            print(event.kind, event.span, event.title, *event.frames[:8], sep="\n    ")
    groups = {
        "all": answers,
        "corrupted": [one for one in answers if one.sample.corrupted],
        "not corrupted": [one for one in answers if not one.sample.corrupted],
    }
    for name, group in groups.items():
        told = ", ".join(f"{what} {right} of {of}" for what, (right, of) in figures(group).items())
        print(f"{name:<14} {told}")
    others = [one for one in answers if not one.recognised and one.sample.title.startswith(_OTHERS)]
    print(f"not recognised because it is no kernel's: {len(others)}")
    for question in ("recognised", "kind", "function") if options.all else ():
        print(f"-- {question}")
        for one in answers:
            if getattr(one, question) is False:
                got = " | ".join(f"{event.kind}: {event.title[:90]}" for event in one.events[:3])
                mark = " C" if one.sample.corrupted else ""
                print(
                    f"{one.sample.name:>4}{mark} {one.sample.title or '(none)'} [{one.sample.header.get('TYPE', '')}]"
                )
                print(f"        {got or '(nothing)'}")
    reached = figures(answers)
    right = all(reached[what][0] >= goal * reached[what][1] for what, goal in GOALS.items())
    right = right and reached["false"][0] == 0
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
