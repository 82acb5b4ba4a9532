# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness minimise`: a kept boot that failed -> the smallest that still fails in that way."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.bundle import make_bundle
from harness.flow.collect import CellResult
from harness.flow.comparison import is_note
from harness.flow.kept_boot import StoredBoot, find_boot
from harness.flow.laboratory import Budget, Laboratory, Unfit
from harness.flow.matrix import matrix_of
from harness.flow.prepare import series_of
from harness.flow.repro import asked_of
from harness.flow.request import Request
from harness.flow.symbols import Symbols, symbols_of
from harness.judge.expectations import BOOT_SUITE
from harness.judge.minimise import Items, Number, Problem, Reduction, Smallest, best_so_far, next_trial
from harness.judge.predicate import learnt, look
from harness.model.cell import Knob
from harness.model.errors import UserError
from harness.model.event import Case
from harness.model.machine import SETTINGS, Machine
from harness.model.outcome import Outcome
from harness.model.progress import MultiProgress, Progress
from harness.model.search import MINIMISE_SCHEMA, Answer, BootVotes, MinimiseOutput, Predicate, Shrunk, Sight
from harness.model.suite import KnobForm, KnobSpec, Suite
from harness.model.swap import Swap
from harness.model.units import MIB, format_size, parse_size, whole_number
from harness.store.layout import Layout
from harness.suites.registry import suite_named

_LEAST_RAM = 32 * MIB  # below, no kernel of the profiles starts
_STEP = 8 * MIB
_SWAP_STEP = 16 * MIB
_CASES, _KNOBS, _SETTINGS, _CONFIG = "cases", "knobs", "settings", "config"
_MOST_NAMED = 8  # symbols


@dataclass(frozen=True, slots=True)
class BootToShrink:
    """What is made smaller: `request` is the boot as it was, but for the cases after the one that failed."""

    boot: str
    request: Request
    predicate: Predicate
    knobs: tuple[KnobSpec, ...]
    patches: int | None = None  # of the kernel's series, where there may be fewer
    symbols: Symbols | None = None  # of its Kconfig, where there may be fewer


@dataclass(frozen=True, slots=True)
class MinimiseOptions:
    confidence: float
    most: int
    budget: Budget


def subject_of(kept: StoredBoot, predicate: Predicate) -> BootToShrink:
    """UserError for a boot in which nothing failed, or nothing of what is looked for."""
    result = kept.load()
    request = asked_of(kept).request
    seen = look(result.run, result.cases, result.events, predicate, is_note)
    if seen.answer is not Answer.BAD:
        raise UserError(
            f"the boot {kept.name} has nothing to make smaller: {seen.why}",
            hint="a boot that is bad; ttm-harness results list --verdict bad" if not predicate.red else None,
        )
    suite, cases = _up_to_the_failure(result, request, predicate)
    words = tuple(word for word in request.suites if suite_named(word).name == suite.name)
    request = replace(request, suites=words, cases=cases)
    if not request.cases:
        request = replace(request, knobs=tuple(one for one in request.knobs if one.name in _names(suite)))
    matrix_of((request,))
    return BootToShrink(kept.name, request, learnt(predicate, seen), suite.knobs)


def _names(suite: Suite) -> set[str]:
    return {one.name for one in suite.knobs}


def _up_to_the_failure(result: CellResult, request: Request, predicate: Predicate) -> tuple[Suite, tuple[str, ...]]:
    """The suite of the first failure that counts, and its cases up to that, where it can run a part of them."""
    own = [case for case in result.cases if case.suite != BOOT_SUITE]
    red = next((case for case in own if _is_red(case, predicate)), None)
    suites = [suite_named(word) for word in request.suites]
    name = red.suite if red is not None else suites[-1].name
    suite = next(one for one in suites if one.name == name)
    if not suite.selectable:
        return suite, ()
    ran = [case.name.partition(".")[2].partition(".")[0] for case in own if case.suite == name and case.name != "*"]
    last = red.name.partition(".")[2].partition(".")[0] if red is not None else ran[-1]
    until = ran[: ran.index(last) + 1] if last in ran else ran
    return suite, tuple(dict.fromkeys(until))


def _is_red(case: Case, predicate: Predicate) -> bool:
    if predicate.fingerprint:
        return any(event.fingerprint.startswith(predicate.fingerprint) for event in case.events)
    return case.outcome.finding or case.outcome is Outcome.XFAIL


def minimise(
    subject: BootToShrink, options: MinimiseOptions, laboratory: Laboratory, progress: MultiProgress
) -> MinimiseOutput:
    """Boots smaller and smaller ones, as long as they fail in the same way."""
    return _Minimise(subject, options, laboratory, progress).run()


class _Minimise:
    def __init__(
        self, subject: BootToShrink, options: MinimiseOptions, laboratory: Laboratory, progress: MultiProgress
    ) -> None:
        self._subject = subject
        self._options = options
        self._laboratory = laboratory
        self._progress = progress
        self._problem = problem_of(subject, options.confidence)
        self._sights: dict[Reduction, list[Sight]] = {}
        self._began = time.monotonic()

    def run(self) -> MinimiseOutput:
        while True:
            seen = {size: BootVotes.of(sights) for size, sights in self._sights.items()}
            step = next_trial(self._problem, seen)
            if isinstance(step, Smallest):
                return self._output(step)
            made = sum(map(len, self._sights.values()))
            if self._options.budget.spent or made >= self._options.most:
                return self._output(best_so_far(self._problem, seen))
            self._try(step.size, made + 1)

    def _try(self, size: Reduction, number: int) -> None:
        turn = len(self._sights.get(size, ()))
        seed = ((self._subject.request.seed or 0) + turn) % 2**32
        try:
            request = replace(smaller(self._subject, size), seed=seed)
            sight = self._laboratory.sight(request, self._subject.predicate)
        except (Unfit, UserError) as error:  # there is no such machine, or no such kernel: it does not fail, then
            sight = Sight(Answer.NOTHING, str(error), seed=seed)
        self._sights.setdefault(size, []).append(sight)
        kept = ", there already" if sight.kept else ""
        self._progress.step(
            f"{number:>4}  {trial_words(self._subject, size)}: {sight.answer}{kept}: {sight.why[:80]}"
        )

    def _output(self, found: Smallest) -> MinimiseOutput:
        request = smaller(self._subject, found.size)
        tally = {size: BootVotes.of(sights) for size, sights in self._sights.items()}
        every = [one for sights in self._sights.values() for one in sights]
        return MinimiseOutput(
            schema=MINIMISE_SCHEMA,
            boot=self._subject.boot,
            question=str(self._subject.predicate),
            failed=found.failed,
            finished=found.finished,
            whole=tally.get(self._problem.whole, BootVotes()),
            smallest=tally.get(found.size, BootVotes()),
            shrunk=(*shrunk(self._subject.request, request), *_fewer_symbols(self._subject, found.size)),
            boots=sum(not one.kept for one in every),
            kept=sum(one.kept for one in every),
            seconds=time.monotonic() - self._began,
            plan=plan_text(request, self._subject.boot),
            command=command_of(request),
            sights=tuple(self._sights.get(found.size, ())),
        )


def trial_words(subject: BootToShrink, size: Reduction) -> str:
    """What is tried, in a line."""
    request = smaller(subject, size)
    words = [format_size(request.machine.ram), f"swap {request.machine.swap}", f"{request.machine.cpus} vCPUs"]
    words += [f"{len(request.cases)} cases"] if request.cases else []
    words += [_knobs(request)] if request.knobs else []
    words += [f"{request.kernel.upto} patches"] if subject.patches else []
    if subject.symbols is not None:
        kept = size.parts(_CONFIG)
        words.append(f"{len(kept)} of {len(subject.symbols.names)} symbols{_named(kept)}")
    return ", ".join(words)


def problem_of(subject: BootToShrink, confidence: float = 0.95) -> Problem:
    """What of the boot can be smaller. RAM comes before swap: it is what people ask about first."""
    request, machine = subject.request, subject.request.machine
    numbers = [Number("ram", machine.ram, min(machine.ram, _LEAST_RAM), _STEP)]
    if len(machine.swap.areas) == 1:
        numbers.append(Number("swap", machine.swap.size, 0, _SWAP_STEP))
    numbers.append(Number("cpus", machine.cpus, 1))
    numbers += [found for one in request.knobs if (found := _knob_number(one, subject.knobs)) is not None]
    if subject.patches:
        numbers.append(Number("patches", subject.patches, 1))
    sets = [Items(_CASES, request.cases, least=1)] if request.cases else []
    sets.append(Items(_KNOBS, tuple(one.name for one in request.knobs)))
    sets.append(Items(_SETTINGS, (*(one.key for one, _ in machine.asked), *map(_word, machine.cmdline))))
    sets.append(Items(_CONFIG, subject.symbols.names if subject.symbols is not None else ()))
    return Problem(tuple(numbers), tuple(one for one in sets if one.all), confidence)


def _word(argument: str) -> str:
    return f"cmdline {argument}"


def _knob_number(knob: Knob, specs: Sequence[KnobSpec]) -> Number | None:
    """A knob that is a number, as one; a choice is none."""
    spec = next((one for one in specs if one.name == knob.name), None)
    if spec is None or spec.form is KnobForm.CHOICE:
        return None
    if spec.form is KnobForm.INTEGER or knob.value.endswith("%"):
        return Number(f"knob {knob.name}", whole_number(knob.value.removesuffix("%")), spec.least)
    size = parse_size(knob.value)
    least = spec.least if spec.form is KnobForm.SIZE else MIB
    return Number(f"knob {knob.name}", size, min(size, least), min(MIB, max(4096, least)))


def smaller(subject: BootToShrink, size: Reduction) -> Request:
    """The request with these values. UserError for a machine that cannot be."""
    request = subject.request
    numbers, sets = dict(size.numbers), dict(size.sets)
    kept = set(sets.get(_SETTINGS, ()))
    off = {one.key: None for one in SETTINGS if one.key not in kept}
    machine = request.machine
    fields: dict[str, object] = {**off, "ram": numbers["ram"], "cpus": numbers["cpus"]}
    fields["cmdline"] = tuple(word for word in machine.cmdline if _word(word) in kept)
    if "swap" in numbers and numbers["swap"] != machine.swap.size:
        area = machine.swap.areas[0]
        fields["swap"] = Swap((replace(area, size=numbers["swap"]),)) if numbers["swap"] else Swap()
    kernel = replace(request.kernel, upto=numbers["patches"], build="") if "patches" in numbers else request.kernel
    if subject.symbols is not None:
        kernel = subject.symbols.kernel(kernel, sets.get(_CONFIG, ()))
    knobs = [_knob_at(one, numbers) for one in request.knobs if one.name in sets.get(_KNOBS, ())]
    return replace(
        request,
        kernel=kernel,
        machine=replace(machine, **fields),  # type: ignore[arg-type]  # fields of a Machine
        knobs=tuple(knobs),
        cases=sets.get(_CASES, request.cases),
    )


def _knob_at(knob: Knob, numbers: dict[str, int]) -> Knob:
    value = numbers.get(f"knob {knob.name}")
    if value is None:
        return knob
    if knob.value.endswith("%"):
        return Knob(knob.name, f"{value}%")
    return Knob(knob.name, format_size(value) if knob.value[-1:].isalpha() else str(value))


def with_patches(subject: BootToShrink, layout: Layout, progress: MultiProgress) -> BootToShrink:
    """The subject with the patches of its series as one thing that may be less; each number of them is a build."""
    kernel = subject.request.kernel
    if kernel.series is None:
        raise UserError("the boot has no series whose patches could be fewer", hint="leave --patches out")
    count = kernel.upto or len(series_of(kernel, layout, progress).patches)
    return replace(subject, patches=count)


def with_symbols(subject: BootToShrink, place: Path) -> BootToShrink:
    """The subject with its Kconfig as lines that may be fewer: each set is a build, its fragment lies in `place`."""
    return replace(subject, symbols=symbols_of(subject.request.kernel, place))


def with_bundle(output: MinimiseOutput, target: Path, layout: Layout, progress: Progress) -> MinimiseOutput:
    """A boot of the smallest as one file for somebody else, where it can be packed; else the output says why not."""
    bad = next((one for one in output.sights if one.answer is Answer.BAD and one.run), None)
    if bad is None:
        return output
    try:
        identity = make_bundle(find_boot(layout, f"{bad.run}/{bad.boot}"), target, layout, progress)
    except UserError as error:
        return replace(output, no_bundle=error.message)
    return replace(output, bundle=identity)


def _fewer_symbols(subject: BootToShrink, size: Reduction) -> tuple[Shrunk, ...]:
    if subject.symbols is None:
        return ()
    kept = size.parts(_CONFIG)
    return (Shrunk("Kconfig symbols", str(len(subject.symbols.names)), f"{len(kept)}{_named(kept)}"),)


def _named(symbols: Sequence[str]) -> str:
    """Few of them are named."""
    return f" ({', '.join(symbols)})" if 0 < len(symbols) <= _MOST_NAMED else ""


def shrunk(before: Request, after: Request) -> Sequence[Shrunk]:
    """What became smaller, and what stayed."""
    pairs = [
        ("RAM", format_size(before.machine.ram), format_size(after.machine.ram)),
        ("swap", str(before.machine.swap), str(after.machine.swap)),
        ("vCPUs", str(before.machine.cpus), str(after.machine.cpus)),
        ("cases", str(len(before.cases)), str(len(after.cases))),
        ("knobs", _knobs(before), _knobs(after)),
        ("settings", _settings(before.machine), _settings(after.machine)),
        ("patches", str(before.kernel.upto or "all"), str(after.kernel.upto or "all")),
    ]
    return [Shrunk(*pair) for pair in pairs if pair[1] not in ("", "0")]


def _knobs(request: Request) -> str:
    return ",".join(f"{one.name}={one.value}" for one in request.knobs)


def _settings(machine: Machine) -> str:
    return ", ".join((*machine.settings, *machine.cmdline))


def plan_text(request: Request, boot: str) -> str:
    """The boot as a plan file: harness/plans/README.md is its format."""
    kernel, machine = request.kernel, request.machine
    lines = [
        f"title = {_quoted(f'the smallest of {boot} that still fails')}",
        f"source = {_quoted(str(kernel.source))}",
    ]
    if kernel.series is not None:
        first = f"  # of which the first {kernel.upto} are enough" if kernel.upto else ""
        lines.append(f"series = {_quoted(str(kernel.series))}{first}")
    own = "".join(f" --fragment {path.name}" for path in kernel.fragments)
    profile = f"profile = {_quoted(kernel.profile)}" + (f"  # and run with{own}" if own else "")
    lines += [profile, f"suites = {_list(request.suites)}"]
    if request.cases:
        lines.append(f"cases = {_list(request.cases)}")
    lines += [f"seeds = [{request.seed or 0}]", "", "[machine]", f"ram = {_quoted(format_size(machine.ram))}"]
    lines += [f"swap = {_quoted(str(machine.swap))}", f"cpus = {machine.cpus}"]
    lines += [f"cmdline = {_list(machine.cmdline)}"] if machine.cmdline else []
    for setting, value in machine.asked:
        lines.append(f"{setting.key} = {_quoted(format_size(value)) if setting.size else value}")
    lines += [f"free = {_quoted(format_size(machine.free))}"] if machine.free is not None else []
    if request.knobs:
        lines += ["", "[knobs]", *(f"{one.name} = {_quoted(one.value)}" for one in request.knobs)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"


def command_of(request: Request) -> str:
    """The boot as a command line."""
    kernel, machine = request.kernel, request.machine
    words = ["ttm-harness", "run", "--source", str(kernel.source)]
    words += ["--series", str(kernel.series)] if kernel.series is not None else []
    words += [word for path in kernel.fragments for word in ("--fragment", str(path))]
    words += ["--profile", kernel.profile, "--suite", ",".join(request.suites)]
    words += ["--case", ",".join(request.cases)] if request.cases else []
    words += ["--ram", format_size(machine.ram), "--swap", str(machine.swap), "--cpus", str(machine.cpus)]
    for setting, value in machine.asked:
        words += [f"--{setting.key.replace('_', '-')}", setting.shown(value)]
    words += ["--free", format_size(machine.free)] if machine.free is not None else []
    words += [word for argument in machine.cmdline for word in ("--append", argument)]
    words += ["--knob", _knobs(request)] if request.knobs else []
    words += ["--seed", str(request.seed or 0)]
    return shlex.join(words)
