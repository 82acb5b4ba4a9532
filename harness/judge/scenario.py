# SPDX-License-Identifier: GPL-2.0-only
"""A report of the OOM killer -> the scenario that fills a small guest as that machine was filled.

Every choice carries the numbers of the report that it was made from. What the report does not say is left to the
harness, and said; what a guest cannot have is a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isqrt

from harness.judge.callpath import CallPath, call_path
from harness.judge.ledger import ledger_of
from harness.model.errors import NoScenario
from harness.model.oom import Oom, OomClass, OomEnding, OomReport
from harness.model.scenario import ChosenKey, HostFacts, MemoryShares, Scenario
from harness.model.swap import Swap
from harness.model.units import KIB, MIB, about_size, format_size

SUITE = "oom"  # the suite that fills memory by shares; its knobs are named below
LEAST_RAM = 128 * MIB
MOST_RAM = 512 * MIB  # of a guest that nobody asked to be larger: it is filled in half a minute
_GROUP_ROOM = 256 * MIB  # of a guest around a cgroup
_LEAST_GROUP = 8 * MIB
_OWN = 24 * MIB  # what a guest's kernel keeps for itself before the page allocator has anything
_NOISE = 0.03  # of all memory: so much is never accounted for, and nobody's fault
GUEST = "x86-64"
_ZRAM_RATIO = 3  # of pages in compressed swap to pages that hold them
_MOST_SWAP = 32 << 30
_STEP = 8 * MIB
_UNBOOSTED = 5  # times the min watermark: more than a boost (1.5 times the high one) adds to them
_SCALE_OF_KERNEL = 10  # watermark_scale_factor, unless somebody changed it
_CLASSES = {OomClass.EXPECTED_VICTIM, OomClass.WRONG_VICTIM}
# Parameters of modules that count pages; with the memory they grow smaller.
_PAGES = re.compile(r"(pages_limit|page_pool_size)$")


def kinds(oom: Oom) -> tuple[OomClass, ...]:
    """The classes that another victim does not change: they say what happened."""
    return tuple(one for one in oom.classes if one not in _CLASSES)


def propose(oom: Oom, facts: HostFacts, modules: Sequence[str], ram: int | None = None) -> Scenario:
    """`modules` are those whose parameters a suite's guest can have. `ram` is that of the guest, in place of the one
    that is chosen. NoScenario, with the sentence, where no guest of this harness can come to the same."""
    report = oom.report
    _require_something(oom, facts)
    draft = _Group(oom, facts, ram) if _is_group(report) else _Whole(oom, facts, ram)
    machine = (*draft.machine(), *parameters(facts, modules, draft.scale), *_panics(report))
    knobs = tuple(draft.knobs())
    return Scenario(
        title=_title(oom),
        sentence=oom.sentence,
        span=report.span,
        suites=(SUITE,),
        machine=machine,
        knobs=knobs,
        scale=draft.scale,
        release=report.release or facts.release,
        notes=tuple(draft.notes()),
    )


def _title(oom: Oom) -> str:
    words = "".join(letter if letter.isprintable() else "?" for letter in oom.sentence)
    return f"as in the report: {words}"[:160]


def _is_group(report: OomReport) -> bool:
    return report.in_memcg and report.memcg is not None


def _require_something(oom: Oom, facts: HostFacts) -> None:
    """What no guest can come to, each with its sentence."""
    report, memory = oom.report, oom.report.memory
    if OomClass.MANUAL in oom.classes:
        raise NoScenario(
            "somebody asked the kernel for this kill (sysrq f, order -1): it says nothing about memory",
            hint="a report whose order is 0 or more was made by a lack of memory",
        )
    zones = {zone.name: {amount.name: amount.size for amount in zone.amounts} for zone in memory.zones}
    high, normal = zones.get("HighMem"), zones.get("Normal")
    if (
        high
        and normal
        and high.get("free", 0) > high.get("high", 0)
        and normal.get("free", 0) < normal.get("high", 0)
    ):
        raise NoScenario(
            f"the kernel is a 32-bit one that ran out of low memory (zone Normal: {about_size(normal['free'])} free, "
            f"high watermark {about_size(normal['high'])}) while {about_size(high['free'])} of zone HighMem were free"
            "; a guest of this harness is 64-bit and has no such zones",
            hint="nothing to bring about here: a 64-bit kernel on that machine would have used the memory",
        )
    ledger = ledger_of(report)
    if ledger.managed is None and memory.ram is None and facts.ram is None:
        raise NoScenario(
            "the report does not say where the memory was: its Mem-Info, or the counters of its cgroup, are missing"
            + (f" ({oom.sentence})" if oom.sentence else ""),
            hint="the whole of the report, from `invoked oom-killer` to `Killed process`; older ones are in "
            "/var/log/kern.log or journalctl -k -b -1",
        )
    free, high_mark = ledger.free or 0, ledger.high or 0
    most = max(4 * high_mark, (ledger.managed or 0) // (8 if high_mark else 4))
    if not report.invoker.order and free > most:
        marks = f" ({about_size(high_mark)})" if high_mark else ""
        where = f" (constraint {report.constraint.kind})" if report.constraint.kind not in ("", "NONE") else ""
        raise NoScenario(
            f"{about_size(free)} of memory were free, far above all watermarks{marks}: the task "
            f"could not use them{where}, for they are of another node or zone, or CMA, and a guest has none of these",
            hint="a report of an OOM of the whole machine, or of a cgroup at its limit",
        )


def _mib(size: float) -> int:
    """Whole MiB."""
    return round(size / MIB) * MIB


def _percent(part: int, of: int) -> str:
    return f"{100 * part / of:.0f} %" if of else "-"


class _Draft:
    """What both kinds of scenarios have in common."""

    def __init__(self, oom: Oom, facts: HostFacts) -> None:
        self.oom, self.report, self.facts = oom, oom.report, facts
        self.ledger: MemoryShares = ledger_of(oom.report)
        self.path = call_path(oom.report.functions)
        self.scale = 1.0
        self.ram = LEAST_RAM

    def scaled(self, size: int | None) -> int:
        """A size of the report in the guest; a hostile one is no more than could be."""
        return 0 if size is None else min(max(0, _mib(size * self.scale)), self.ram + _MOST_SWAP)

    def words(self, size: int) -> str:
        """A size of the report, with its share."""
        all_of_it = self.ledger.managed
        return about_size(size) + (f" ({_percent(size, all_of_it)} of memory)" if all_of_it else "")

    @property
    def room(self) -> int:
        """What others than the one who is to be killed may have, so that all of them are there when he comes."""
        return self.ram + _MOST_SWAP

    @property
    def spare(self) -> bool:
        """Swap was there and not used."""
        return OomClass.SWAP_TO_SPARE in self.oom.classes

    # ---- the processes ----

    def _victim(self) -> tuple[int, int]:
        """What the one who was killed had in RAM of its own, and in swap."""
        victim = self.report.victim
        if victim is None:
            return self._largest()
        task = next((one for one in self.report.tasks if one.pid == victim.pid), None)
        told = victim.anon_rss if victim.anon_rss is not None else victim.rss
        rss = told if told is not None else (task.rss if task is not None else 0)
        return rss, (task.swap or 0) if task is not None else 0

    def _largest(self) -> tuple[int, int]:
        sizes = [(one.rss if one.rss_anon is None else one.rss_anon, one.swap or 0) for one in self.report.tasks]
        return max(sizes, key=sum, default=(0, 0))

    def who(self) -> str:
        """The processes that held most, with what they had."""
        tasks = sorted(self.report.tasks, key=lambda one: -(one.rss + (one.swap or 0)))[:3]
        said = [
            f"{_clean(one.comm)} {about_size(one.rss)}"
            + (f" + {about_size(one.swap)} in swap" if one.swap else "")
            + (f", oom_score_adj {one.oom_score_adj}" if one.oom_score_adj else "")
            for one in tasks
        ]
        return "; ".join(said)

    def processes(self, anon: int | None, swapped: int, more: int) -> Iterator[ChosenKey]:
        """Who is meant to be killed, and all others as one."""
        rss, swap = self._victim()
        hog, total = rss + swap, (anon if anon is not None else rss) + swapped
        hog = min(hog, total) if total else hog
        victim = self.report.victim
        name = f"{_clean(victim.comm)}, who was killed," if victim is not None else "the largest process"
        if not hog:  # nobody knows what each of them had
            hog, rss, name = total, total, "all processes together"
        others = min(self.scaled(total - hog), self.room)
        if others >= 4 * MIB:
            yield ChosenKey("anon", format_size(others), f"all others had {self.words(total - hog)}")
        demand = max(self.scaled(hog) + (0 if self.last == "pipes" else more), MIB)
        why = f"{name} had {self.words(rss)}" + (f" and {about_size(swap)} in swap" if swap else "")
        if self.last != "pipes":
            why += f"; {format_size(more)} more than that, so that it is not there"
        yield ChosenKey(
            "hog", format_size(demand), why + (f". The largest: {self.who()}" if self.report.tasks else "")
        )

    # ---- who asked last ----

    @property
    def last(self) -> str:
        order = self.report.invoker.order or 0
        if order > 0 or self.path in (CallPath.KERNEL, CallPath.FORK, CallPath.NETWORK):
            return "pipes"
        return "objects" if self.path is CallPath.DRIVER else "hog"

    def asking(self, more: int) -> Iterator[ChosenKey]:
        order, comm = self.report.invoker.order or 0, _clean(self.report.invoker.comm) or "somebody"
        if self.last == "hog":
            return
        if self.last == "objects":
            yield ChosenKey("last", "objects", f"{comm} asked in an ioctl of a driver ({self.path})")
            return
        what = f"{comm} asked for pages of order {order}" if order else f"{comm} asked for the kernel ({self.path})"
        yield ChosenKey("last", "pipes", what)
        yield ChosenKey("ask", format_size(more), "so much more than there was")
        if order:
            yield ChosenKey("order", str(min(order, 3)), f"order={order}")

    def common_notes(self) -> Iterator[str]:
        report = self.report
        order = report.invoker.order or 0
        if order > 3:
            yield f"order {order}: pipes ask for order 3 at most"
        if report.ending is OomEnding.NO_VICTIM:
            yield "nobody could be killed there; the hog can be"
        if not report.complete:
            yield "the report is cut: what is missing in it was left to the harness"
        if self.last == "hog" and self.path in (CallPath.PAGE_CACHE, CallPath.SHMEM):
            yield f"the report's last request came from {self.path}; here it is the hog's page fault"
        kind = report.constraint.kind
        if kind in ("CPUSET", "MEMORY_POLICY"):
            yield f"constraint {kind}: the guest has one memory node, so that its OOM will be of the whole of it"
        if self.facts.arch not in ("", GUEST):
            yield f"the report is of {self.facts.arch}; the guest is {GUEST}, with other zones and sizes of pages"
        if report.page_size != 4 * KIB:
            yield f"pages of {about_size(report.page_size)} there, of 4 KiB here: watermarks are not alike"


class _Whole(_Draft):
    """An OOM of the whole machine."""

    def __init__(self, oom: Oom, facts: HostFacts, ram: int | None) -> None:
        super().__init__(oom, facts)
        memory = oom.report.memory
        self.theirs = memory.ram or facts.ram or self.ledger.managed
        managed = self.ledger.managed or self.theirs
        if self.theirs is None or managed is None:
            raise NoScenario("the report does not say how much memory there was")
        self.usable = max(managed - (self.ledger.huge or 0), MIB)
        left = self.theirs - (self.ledger.huge or 0)
        # Firmware keeps some of what was bought.
        self.ram = ram or min(max(-(-left // _STEP) * _STEP, LEAST_RAM), MOST_RAM)
        if 0 <= self.ram - self.theirs < _STEP:
            self.scale = 1.0
        else:
            self.scale = (self.ram - _OWN) / self.usable

    def machine(self) -> Iterator[ChosenKey]:
        yield ChosenKey("ram", format_size(self.ram), self._why_ram())
        swap, why = self._swap()
        yield ChosenKey("swap", str(swap), why)
        least, managed = self.ledger.min, self.ledger.managed
        if not (least and managed):
            return
        if self.min_free != self._own_min_free:
            yield ChosenKey("min_free", format_size(self.min_free), f"the min watermarks were {self.words(least)}")
        step = (self.ledger.low or 0) - least
        factor = round(10000 * step / managed)
        if step > least // 4 + managed // 1000 and 2 * _SCALE_OF_KERNEL <= factor <= 3000:
            why = f"low is {about_size(step)} above min, {factor} ten-thousandths of memory"
            yield ChosenKey("watermark_scale", str(factor), why)

    @property
    def _own_min_free(self) -> int:
        """What the guest's kernel would choose."""
        return isqrt(16 * self.ram // KIB) * KIB

    @property
    def min_free(self) -> int:
        """What the guest has: as there, where that is another one than its kernel's own."""
        own = self._own_min_free
        kept = round((self.ledger.min or 0) * self.scale / KIB) * KIB
        return kept if 512 * KIB <= kept <= self.ram // 4 and abs(kept - own) > own // 4 else own

    def _why_ram(self) -> str:
        assert self.theirs is not None
        huge = f", {about_size(self.ledger.huge)} of it in huge pages" if self.ledger.huge else ""
        least = "at least " if self.report.memory.ram is None and self.facts.ram is None else ""
        said = f"the report: {least}{about_size(self.theirs)} of RAM{huge}"
        if self.scale == 1.0:
            return f"{said}; as it was"
        return f"{said}. All sizes below are {self.scale:.3g} times the report's, which keeps the ratios"

    def _swap(self) -> tuple[Swap, str]:
        """The areas, and why."""
        total, free = self.ledger.swap_total, self.ledger.swap_free
        if total is None:
            seen = sum(area.size for area in self.facts.swaps)
            if not seen:
                return Swap(), "the report does not say that there was any swap"
            total = seen
        if not total:
            return Swap(), "the report: no swap"
        size = min(max(self.scaled(total), MIB), _MOST_SWAP)
        said = f"the report: {about_size(total)} of swap"
        said += f", {about_size(free)} of it free then ({_percent(free, total)})" if free is not None else ""
        kind = self._kind()
        if kind == "zram" and size > 4 * self.ram:
            kind = "disk"
        told = {"disk": "of which kind it does not say" if not self.facts.swaps else "a disk or a file"}
        told |= {"zram": "on zram, says the log", "zswap": "behind zswap, says the log"}
        return Swap.parse(f"{kind}:{format_size(size)}"), f"{said}; {told[kind]}"

    def _kind(self) -> str:
        if any("zram" in area.device for area in self.facts.swaps):
            return "zram"
        return "zswap" if self.facts.zswap else "disk"

    @property
    def in_zram(self) -> int:
        """What compressed swap may have of RAM."""
        return (self.ledger.swap_used or 0) // _ZRAM_RATIO if self._kind() != "disk" else 0

    def held(self) -> tuple[int, str]:
        """What drivers held, and how that is known; 0 where it is no more than what is always missing."""
        ledger = self.ledger
        if ledger.gpu is not None:
            return ledger.gpu, f"GPUActive and GPUReclaim: {self.words(ledger.gpu)}"
        if ledger.unaccounted is None or ledger.managed is None:
            return 0, ""
        missing = ledger.unaccounted - self.in_zram - round(_NOISE * ledger.managed)
        if missing < ledger.managed // 50:
            return 0, ""
        why = f"{self.words(ledger.unaccounted)} are in no counter"
        why += f", compressed swap is at most {about_size(self.in_zram)} of that" if self.in_zram else ""
        return missing, f"{why}: pages of drivers, for which buffer objects stand"

    def knobs(self) -> Iterator[ChosenKey]:
        ledger = self.ledger
        if ledger.managed is None:  # a kill without its report: the RAM is known from the boot
            swap = Swap.parse(next(one.value for one in self.machine() if one.key == "swap")).size
            yield ChosenKey("hog", format_size(self.ram + swap), "more than RAM and swap; the report has no Mem-Info")
            return
        held, why = self.held()
        if self.scaled(held) >= 2 * MIB:
            yield ChosenKey("objects", format_size(self.scaled(held)), why)
        elif self.last == "objects":
            yield ChosenKey(
                "objects", format_size(_mib(self.ram / 8)), "a driver asked; what it held is not to be seen"
            )
        # What the victim has beyond what can be swapped out is its own locked memory.
        own = min(max(0, self._victim()[0] - (ledger.anon or 0)), ledger.unevictable or 0)
        for key, size, name in (
            ("slab", ledger.slab, "slab"),
            ("shmem", ledger.shmem, "shared memory and tmpfs"),
            ("locked", max(0, (ledger.unevictable or 0) - own), "unevictable"),
            ("file", ledger.file, "page cache"),
        ):
            share = 0.05 if key == "file" else 0.02
            if size is not None and size > share * ledger.managed and self.scaled(size) >= 2 * MIB:
                if key == "file" and "disk:" not in str(self._swap()[0]):
                    continue
                yield ChosenKey(key, format_size(self.scaled(size)), f"{name}: {self.words(size)}")
        more = self.more()
        anon = None if ledger.anon is None else ledger.anon + own
        yield from self.processes(anon, ledger.swap_used or 0, more)
        if own > self._victim()[0] // 2:
            yield ChosenKey("lock", "1", f"unevictable: {self.words(ledger.unevictable or 0)}, the victim's own")
        yield from self.asking(more)
        if self.report.invoker.order and self.report.invoker.order > 0:
            free = ledger.free or 0
            left = max(self.scaled(free), _mib(_UNBOOSTED * self.min_free))
            why = f"{self.words(free)} were free, in pieces too small; {format_size(left)} in single pages here"
            yield ChosenKey("left", format_size(left), why)

    def more(self) -> int:
        """What is asked for beyond what there was. Where swap was to spare, a kernel that uses it has room."""
        free = self.scaled(self.ledger.swap_free)
        reclaimable = self.scaled(self.ledger.file) + self.scaled(self.ledger.free)
        least = max(16 * MIB, _mib(self.ram / 8)) + min(reclaimable, _mib(self.ram / 4))
        if self.spare:
            return max(min(least, _mib(free / 2)), MIB)
        return least + free

    def notes(self) -> Iterator[str]:
        yield from self.common_notes()
        ledger = self.ledger
        managed, anon, file = ledger.managed or 0, ledger.anon or 0, ledger.file or 0
        if self.spare and not self.report.invoker.order and not self.held()[0] and anon > managed // 2:
            yield (
                f"{about_size(ledger.swap_free or 0)} of swap were free while {self.words(anon)} were "
                "anonymous: nothing in the report says why it was not swapped out, so the run may well survive"
            )
        if file > 0.05 * managed and "disk:" not in str(self._swap()[0]):
            yield f"page cache: {self.words(file)}; without a swap disk the guest has nothing to cache"


class _Group(_Draft):
    """An OOM of a memory cgroup at its limit."""

    def __init__(self, oom: Oom, facts: HostFacts, ram: int | None) -> None:
        super().__init__(oom, facts)
        self.limit = self.ledger.managed
        self.ram = ram or _GROUP_ROOM
        self.max = self.ram // 2
        if self.limit:
            self.max = min(max(-(-self.limit // MIB) * MIB, _LEAST_GROUP), self.max)
            self.scale = min(1.0, self.max / self.limit)

    def machine(self) -> Iterator[ChosenKey]:
        yield ChosenKey(
            "ram", format_size(self.ram), "more than the cgroup may have; what there was the report leaves out"
        )
        swap, why = self._swap()
        yield ChosenKey("swap", str(swap), why)
        if self.limit:
            scaled = "" if self.scale == 1.0 else f". All sizes below are {self.scale:.3g} times the report's"
            why = f"the report: the limit of {self._name()} was {about_size(self.limit)}{scaled}"
        else:
            why = "the report does not say what the limit was"
        yield ChosenKey("memory_max", format_size(self.max), why)

    @property
    def room(self) -> int:
        return _mib(3 * self.max / 4)

    def _name(self) -> str:
        return _clean(self.report.constraint.oom_memcg) or "the cgroup"

    def _swapped(self) -> int:
        charge = self.report.memcg.charge("swap") if self.report.memcg is not None else None
        used = charge.usage if charge is not None else 0
        return used or sum(one.swap or 0 for one in self.report.tasks)

    def _swap(self) -> tuple[Swap, str]:
        total = self.ledger.swap_total
        if total:
            size = max(self.scaled(total), MIB)
            return Swap.parse(f"disk:{format_size(size)}"), f"the cgroup may have {about_size(total)} of swap"
        used = self._swapped()
        if used:
            size = max(self.scaled(used), MIB)
            return Swap.parse(f"disk:{format_size(size)}"), f"{about_size(used)} of the cgroup were in swap"
        return Swap(), "nothing of the cgroup was in swap"

    def knobs(self) -> Iterator[ChosenKey]:
        shmem = self.scaled(self.ledger.shmem)
        if shmem >= 2 * MIB:
            yield ChosenKey("shmem", format_size(shmem), f"shmem of the cgroup: {self.words(self.ledger.shmem or 0)}")
        more = max(_mib(self.max / 2), 2 * MIB) + self.scaled(self.ledger.swap_free)
        yield from self.processes(self._anon(), self._swapped(), more)
        yield from self.asking(more)

    def _anon(self) -> int:
        """All that the cgroup had but shared memory: page cache, and the kernel's memory, are the processes' here, so
        that they come to the limit, which is no less than _LEAST_GROUP."""
        anon = (self.ledger.anon or 0) + (self.ledger.file or 0)
        return max(anon, round(self.max / self.scale) - (self.ledger.shmem or 0))

    def notes(self) -> Iterator[str]:
        yield from self.common_notes()
        if (self.ledger.file or 0) > 0.1 * (self.limit or 0):
            yield f"page cache of the cgroup: {self.words(self.ledger.file or 0)}; here it is anonymous memory"
        if self.report.group:
            yield "the whole cgroup was killed (memory.oom.group); here it is the hog alone"


def _clean(text: str) -> str:
    """Words of a log, fit to stand in a sentence."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def parameters(facts: HostFacts, modules: Sequence[str], scale: float) -> Iterator[ChosenKey]:
    """Parameters of the modules under test that the report's command line had."""
    for word in facts.cmdline:
        name, _, value = word.partition("=")
        module, dot, parameter = name.partition(".")
        if not (dot and value) or module.replace("-", "_") not in modules or not re.fullmatch(r"[\w.=-]{1,80}", word):
            continue
        if _PAGES.search(parameter) and value.isdecimal() and value.isascii() and len(value) < 16:
            pages = max(1, round(int(value) * scale))
            yield ChosenKey("cmdline", f"{name}={pages}", f"{word} on the report's command line, in pages, scaled")
        else:
            yield ChosenKey("cmdline", word, f"{word} on the report's command line")


def _panics(report: OomReport) -> Iterator[ChosenKey]:
    if report.ending is OomEnding.PANIC:
        yield ChosenKey("cmdline", "sysctl.vm.panic_on_oom=1", f"the kernel panicked: {_clean(report.panic)}")
