# SPDX-License-Identifier: GPL-2.0-only
"""Lines of a log -> the reports of the OOM killer, whole or cut, one by one.

The kernel writes one report at a time (it holds a lock), but other CPUs write between its lines. So a line is
known by its form, never by its place, and what has no known form is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from harness.evidence.lines import LogLine
from harness.evidence.oom_blocks import MemBlock, MemcgBlock, TaskBlock
from harness.evidence.oom_grammar import (
    INVOKED,
    is_exiting,
    is_torn,
    parse_constraint,
    parse_cpu,
    parse_cpuset,
    parse_invoker,
    parse_kill,
    parse_nodemask,
    parse_old_kill,
    parse_old_memcg,
    parse_reaped,
)
from harness.evidence.splats import function_of
from harness.model.event import Span
from harness.model.oom import Constraint, Invoker, Kill, OomEnding, OomReport, Reaped

# The first lines of the blocks before the task table.
_BLOCKS = ("Mem-Info:", "active_anon:", "memory: usage ")
# A line without one of these says nothing to a reader that has no report open. Also what a stream may skip by.
NEEDLES = (
    *(INVOKED, "oom-kill:", "Kill process ", "Killed process ", "ut of memory", "OOM victim", "oom_reaper: "),
    *(*_BLOCKS, "Tasks state ", " are going to be killed", " allocation failure: ", "Show Memory"),
    "System is deadlocked",
)
_PANIC = "Kernel panic - not syncing: "
_DEADLOCKED = "System is deadlocked on memory"
_NOBODY = "Out of memory and no killable process"
_GROUP = (" are going to be killed due to memory.oom.group set", "Tasks in ")
# What prints a Mem-Info that is no OOM's.
_FOREIGN = (": page allocation failure: ", "sysrq: Show Memory")
_FOREIGN_MOST = 400  # lines
_MOST_FRAMES = 48
_MOST_KILLS = 2000
# How far the end of a report may be from what was last known as a line of it; then it is called cut.
_PATIENCE = 5000
_PATIENCE_WITHOUT_HEAD = 300
_MOST_KNOWN = 20000
_SETTLED = 32  # reports that may still be joined by their reaper's line


def find_ooms(lines: Iterable[LogLine]) -> tuple[OomReport, ...]:
    """The reports of a log in their order. Linear in the size, never raises.

    Accepted form: kernels 4.9 to 7.x. A kill without a report (the kernel limits the rate of reports), and a
    report without its first or last line, come out as reports that are not complete.
    """
    reader = OomReader()
    found: list[OomReport] = []
    for line in lines:
        reader.feed(line)
        if reader.full:
            found += reader.take()
    return (*found, *reader.finish())


class _Draft:
    """A report while it is read."""

    def __init__(self, line: LogLine, headed: bool) -> None:
        self.first = self.last = self.seen = line.number
        self.time = line.time
        self.end_time: float | None = None
        self.headed = headed
        self.ending = OomEnding.UNKNOWN
        self.invoker = Invoker()
        self.constraint = Constraint()
        self.release = self.group = self.panic = ""
        self.functions: list[str] = []
        self.kills: list[Kill] = []
        self.intended: Kill | None = None
        self.reaped: list[Reaped] = []
        self.memory, self.memcg, self.tasks = MemBlock(), MemcgBlock(), TaskBlock()
        self.block = False  # the call trace is over

    def keys(self) -> set[tuple[object, ...]]:
        """Two reports that share one of these are one report, printed twice: they have the times of the kernel."""
        keys: set[tuple[object, ...]] = set()
        if self.headed and self.time is not None:
            keys.add((self.time, self.invoker.comm))
        if self.ended and self.end_time is not None:
            keys.add((self.end_time, self.ending, *(kill.pid for kill in self.kills[:1])))
        return keys

    @property
    def ended(self) -> bool:
        return self.ending is not OomEnding.UNKNOWN

    def end(self, ending: OomEnding, line: LogLine) -> None:
        self.ending, self.end_time = ending, line.time
        self.last = self.seen = line.number

    def report(self) -> OomReport:
        size = self.memory.page_size
        kills = self.kills or ([self.intended] if self.intended is not None else [])
        return OomReport(
            span=Span(self.first, self.last),
            complete=self.headed and self.ended,
            ending=self.ending,
            time=self.time,
            release=self.release,
            invoker=self.invoker,
            constraint=self.constraint,
            functions=tuple(self.functions),
            memory=self.memory.result(),
            memcg=self.memcg.result(),
            slabs=self.tasks.slabs(),
            tasks=self.tasks.tasks(size),
            kills=tuple(kills),
            reaped=tuple(self.reaped),
            group=self.group,
            panic=self.panic,
            page_size=size,
        )


class OomReader:
    """Takes lines one by one; `finish()` gives the reports. `take()` gives those that nothing can change any more.

    A report is open from its first line to the line that says what came of it. A maybe is a Mem-Info block that
    nobody announced: the rest of a report whose head is cut off, if a task table or a kill follows.
    """

    def __init__(self) -> None:
        self._settled: deque[_Draft] = deque()
        self._open: _Draft | None = None
        self._maybe: _Draft | None = None
        self._foreign = 0  # up to this line a Mem-Info is somebody else's
        self._known: set[tuple[object, ...]] = set()
        self._torn: LogLine | None = None  # its rest is the next line of the same time

    @property
    def idle(self) -> bool:
        """No report is open: lines without a needle mean nothing."""
        return self._open is None and self._maybe is None and not self._foreign and self._torn is None

    @property
    def full(self) -> bool:
        """There is something to take."""
        return len(self._settled) > _SETTLED

    def feed(self, line: LogLine) -> None:
        """One line of the log."""
        text = line[1]
        if self.idle and not _may_matter(text):
            return
        if self._torn is not None:
            torn, self._torn = self._torn, None
            if line.time == torn.time and not is_torn(text):
                text = f"{torn.text} {text}"
                line = line._replace(text=text, number=torn.number)
            else:
                self._read(torn)
        if is_torn(text):
            self._torn = line
        else:
            self._read(line)

    def _read(self, line: LogLine) -> None:
        text = line.text
        if _opens(text):
            self._begin(line)
        elif not self._ends(line) and not self._follows(line):
            self._inside(line)

    def take(self) -> tuple[OomReport, ...]:
        """The reports that no later line can change, but for the last ones, whose reaper may still come."""
        done = []
        while self.full:
            done.append(self._settled.popleft().report())
        return tuple(done)

    def finish(self) -> tuple[OomReport, ...]:
        """The log is at its end."""
        if self._torn is not None:
            self._read(self._torn)
            self._torn = None
        if self._open is not None:
            self._settle()
        done = tuple(draft.report() for draft in self._settled)
        self._settled.clear()
        return done

    # ---- the states ----

    def _begin(self, line: LogLine) -> None:
        """`COMM invoked oom-killer`: whatever was open was cut."""
        if self._open is not None:
            self._settle()
        self._maybe, self._foreign = None, 0
        draft = self._open = _Draft(line, headed=True)
        invoker = parse_invoker(line.text)
        if invoker is not None:
            draft.invoker = invoker
            nodemask = parse_nodemask(line.text)
            draft.constraint = Constraint(nodemask=nodemask)

    def _settle(self) -> None:
        """The open report is over. One that was there before is dropped: somebody printed dmesg to the console."""
        draft, self._open = self._open, None
        if draft is None:
            return
        if not draft.ended:
            draft.last = max(draft.last, draft.seen)
        keys = draft.keys()
        if self._known.isdisjoint(keys):
            self._settled.append(draft)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known |= keys

    def _draft(self, line: LogLine) -> _Draft:
        """The open report, or one whose head was not seen."""
        if self._open is None:
            self._open = self._maybe or _Draft(line, headed=False)
        self._maybe = None
        self._open.seen = line.number
        return self._open

    def _ends(self, line: LogLine) -> bool:
        """The lines that say what came of it."""
        text = line.text
        if "Kill" in text:
            kill = parse_kill(text, line.number)
            if kill is not None:
                return self._killed(kill, line)
            kill = parse_old_kill(text, line.number)
            if kill is not None:
                self._draft(line).intended = kill
                return True
        nobody = text.startswith(_NOBODY)
        if nobody or ("OOM victim" in text and is_exiting(text)):
            self._draft(line).end(OomEnding.NO_VICTIM if nobody else OomEnding.EXITING, line)
            self._settle()
            return True
        return text.startswith(_PANIC) and self._panicked(text[len(_PANIC) :], line)

    def _killed(self, kill: Kill, line: LogLine) -> bool:
        """`Killed process`. Without a report: of a group that is killed as a whole, or a report of its own."""
        if self._open is None:
            last = self._settled[-1] if self._settled else None
            if last is not None and last.group and kill.why == last.kills[0].why:
                # The first of a group is killed, and told, twice.
                if len(last.kills) < _MOST_KILLS and all(kill.pid != other.pid for other in last.kills):
                    last.kills.append(kill)
                last.last = line.number
                return True
            if not kill.why:
                return False  # of an older kernel, whose line before it is cut off, or of nobody we know
        draft = self._draft(line)
        intended = draft.intended
        if intended is not None and intended.pid == kill.pid:
            kill = replace(kill, why=kill.why or intended.why, score=intended.score)
        elif intended is not None:
            kill = replace(kill, why=kill.why or intended.why)
        draft.kills.append(kill)
        draft.end(OomEnding.KILLED, line)
        self._settle()
        return True

    def _panicked(self, said: str, line: LogLine) -> bool:
        """A panic: of this OOM, or of something else while it was printed."""
        if said.startswith(_DEADLOCKED):
            if self._open is None and self._settled and self._settled[-1].ending is OomEnding.NO_VICTIM:
                draft = self._settled[-1]
            else:
                draft = self._draft(line)
            draft.panic = said
            draft.end(OomEnding.NO_VICTIM, line)
        elif said.startswith(("Out of memory: ", "out of memory. ")):
            draft = self._draft(line)
            draft.panic = said
            draft.end(OomEnding.PANIC, line)
        self._settle()
        self._maybe = None
        return True

    def _follows(self, line: LogLine) -> bool:
        """What comes after the end of a report."""
        text = line.text
        if text.startswith("oom_reaper: "):
            reaped = parse_reaped(text, line.number)
            if reaped is not None:
                for draft in reversed(self._settled):
                    if any(kill.pid == reaped.pid for kill in draft.kills):
                        if len(draft.reaped) < _MOST_KILLS and all(r.pid != reaped.pid for r in draft.reaped):
                            draft.reaped.append(reaped)
                        break
            return True
        if text.endswith(_GROUP[0]) and text.startswith(_GROUP[1]):
            owner = self._open or (self._settled[-1] if self._settled else None)
            if owner is not None and (owner is self._open or owner.kills):
                owner.group = text[len(_GROUP[1]) : -len(_GROUP[0])]
            return True
        return False

    # ---- inside a report ----

    def _inside(self, line: LogLine) -> None:
        """Any other line: part of the open report, the start of one whose head is cut off, or nothing to us."""
        text = line.text
        if self._open is None and any(word in text for word in _FOREIGN):
            self._foreign, self._maybe = line.number + _FOREIGN_MOST, None
            return
        if self._foreign:
            if line.number > self._foreign or text.endswith((" pages reserved", " pages hwpoisoned")):
                self._foreign = 0
            return
        constraint = parse_constraint(text) if text.startswith("oom-kill:") else None
        if constraint is not None:
            draft = self._draft(line)
            nodemask = constraint.nodemask or draft.constraint.nodemask
            draft.constraint = replace(constraint, nodemask=nodemask)
            return
        if self._open is None and _is_block(text) and (self._maybe is None or text.startswith(_BLOCKS[0])):
            self._maybe = _Draft(line, headed=False)
        if text.startswith("Tasks state ") and self._open is None:
            self._draft(line)
        current = self._open or self._maybe
        if current is None:
            return
        if _read_block(current, text):
            current.seen = line.number
        elif line.number - current.seen > (_PATIENCE if self._open else _PATIENCE_WITHOUT_HEAD):
            self._settle()
            self._maybe = None


def _is_block(text: str) -> bool:
    return text.startswith(_BLOCKS) or (text.startswith("Node ") and " active_anon:" in text[:24])


def _may_matter(text: str) -> bool:
    """The quick test for lines outside of reports."""
    return (
        "oom" in text
        or "emory" in text
        or "Kill" in text
        or "Mem-Info" in text
        or "active_anon:" in text
        or "Tasks " in text
        or " allocation failure: " in text
        or "OOM victim" in text
    )


def _opens(text: str) -> bool:
    return INVOKED in text and parse_invoker(text) is not None


def _read_block(draft: _Draft, text: str) -> bool:
    """A line between the first and the last one of a report; True if it is known."""
    if not draft.block and _read_head(draft, text):
        return True
    in_table = draft.tasks.take(text)
    if in_table or text.startswith("Tasks state "):
        draft.memcg.close()
    if in_table or draft.memcg.take(text) or draft.memory.take(text):
        draft.block = True
        return True
    old = parse_old_memcg(text) if text.startswith("Task in ") else None
    if old is not None:
        draft.constraint = replace(
            draft.constraint, kind=old.kind, oom_memcg=old.oom_memcg, task_memcg=old.task_memcg
        )
        return True
    return False


def _read_head(draft: _Draft, text: str) -> bool:
    """The CPU, the cpuset of older kernels, the call trace."""
    if text.startswith("CPU: "):
        cpu = parse_cpu(text)
        if cpu is not None and draft.invoker.cpu is None:
            draft.invoker = replace(draft.invoker, cpu=cpu[0], pid=cpu[1])
            draft.release = cpu[2]
        return cpu is not None
    if " mems_allowed=" in text:
        cpuset = parse_cpuset(text)
        if cpuset is not None:
            draft.constraint = replace(draft.constraint, cpuset=cpuset[0], mems_allowed=cpuset[1])
            return True
    name = function_of(text) if "+0x" in text else None
    if name is not None and len(draft.functions) < _MOST_FRAMES and name not in ("dump_stack_lvl", "dump_header"):
        draft.functions.append(name)
    return name is not None
