# SPDX-License-Identifier: GPL-2.0-only
"""Plans by their names or paths -> the requests that they stand for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from harness.flow.planfile import Axes, KnobAxes, MachineAxes, MachineValue, PlanText, parse_plan, value_word
from harness.flow.request import Request
from harness.inputs.apt import apt_is_own
from harness.model.build import DEFAULT_PROFILE
from harness.model.cell import Knob
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.progress import Progress
from harness.model.tree import SourceKind, SourceSpec
from harness.store.files import read_regular
from harness.suites.registry import quick_suites, suite_named

SHIPPED = Path(__file__).resolve().parent.parent / "plans"
DEBIAN = SourceSpec(SourceKind.DEBIAN)
MOST_CELLS = 20_000  # before [[exclude]]; and so many boots
_LARGEST = 1 << 20  # bytes of a plan
FIRST_SEED = 1  # of a plan that names none: the same cells the next time, so that kept results are found


@dataclass(frozen=True, slots=True)
class Extras:
    """What no plan says: it belongs to this host or to this command."""

    fragments: tuple[Path, ...] = ()
    mirror: Path | None = None
    igt: str = ""
    source: SourceSpec = DEBIAN  # where none is named


def default_source(progress: Progress) -> SourceSpec:
    """The newest kernel of this host's own distribution where that has apt, else kernel.org's newest release."""
    if apt_is_own():
        return DEBIAN
    progress.step("apt is not this host's own: where no source is named, it is kernel.org's newest release")
    return SourceSpec(SourceKind.KERNEL_ORG)


def shipped_plans() -> dict[str, Path]:
    """The plans inside the package by their names."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def load_plan(word: str, beside: Path | None = None) -> PlanText:
    """A shipped plan, or the file at a path (relative to `beside`, for a plan that another one includes)."""
    shipped = shipped_plans()
    path = shipped.get(word) or (beside / word if beside is not None else Path(word))
    try:
        return parse_plan(read_regular(path, _LARGEST).decode("utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(
            f"there is no plan {word!r}", hint=f"a path to a TOML file, or one of {', '.join(shipped)}"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise UserError(f"the plan {path} cannot be read: {error.strerror}") from error


def requests_of(plan: PlanText, said: Axes, extras: Extras) -> tuple[Request, ...]:
    """The plan's requests, each once; what was `said` on the command line stands in place of the plan's own words."""
    _refuse_many(_Count().of(plan, said, ()), plan.name)
    found = list(dict.fromkeys(_expand(plan, said, extras, ())))
    if said.cases and not said.suites and len({one.suites for one in found}) > 1:
        raise UserError(
            f"{plan.name} has several suites, so --case must say of which", hint="--suite NAME --case GLOB"
        )
    if not found:
        raise UserError(f"{plan.name} leaves no cell over", hint="look at its [[exclude]]")
    return tuple(found)


def plain_request(said: Axes, extras: Extras) -> tuple[Request, ...]:
    """The requests of a command without a plan: one, unless an option was given more than once. No seed is chosen."""
    _refuse_many(_Cells(said), "the command line")
    return tuple(dict.fromkeys(_product(PlanText("the command line", "", Axes()), said, extras, not said.suites)))


@dataclass(frozen=True, slots=True)
class _Cells:
    """How many cells a product stands for, without any of them being made: the axes with more than one value."""

    axes: Axes

    @property
    def number(self) -> int:
        return math.prod(len(values) for _, values in self._several())

    @property
    def words(self) -> str:
        return " x ".join(f"{len(values)} of {name}" for name, values in self._several())

    def _several(self) -> Iterator[tuple[str, Sequence[object]]]:
        own = ((name, getattr(self.axes, name)) for name in ("source", "series", "profile", "seeds"))
        machine = (pair for pair in self.axes.machine.axes if pair[0] != "cmdline")
        yield from ((name, values) for name, values in (*own, *machine, *self.axes.knobs.axes) if len(values) > 1)


@dataclass(slots=True)
class _Count:
    """Counts a plan with all that it includes, each file once, however often it is included."""

    seen: dict[str, _Total] = field(default_factory=dict)

    def of(self, plan: PlanText, said: Axes, above: tuple[str, ...]) -> _Total:
        if plan.name in above:
            raise UserError(f"the plan {plan.name} includes itself", hint=" -> ".join((*above, plan.name)))
        if plan.name not in self.seen:
            products = (*plan.product, *plan.cell) or ((Axes(),) if not plan.include else ())
            counts = [_Cells(_merged(plan, axes, said)) for axes in products]
            number, words = sum(one.number for one in counts), "; ".join(filter(None, (one.words for one in counts)))
            for word in plan.include:
                below = self.of(load_plan(word, Path(plan.name).parent), said, (*above, plan.name))
                number, words = number + below.number, words or below.words
            self.seen[plan.name] = _Total(number, words)
        return self.seen[plan.name]


@dataclass(frozen=True, slots=True)
class _Total:
    number: int
    words: str


def _refuse_many(count: _Cells | _Total, name: str) -> None:
    if count.number > MOST_CELLS:
        raise UserError(
            f"{name} stands for {count.number} cells ({count.words or 'by what it includes'}), "
            f"and {MOST_CELLS} are the most",
            hint="take values from an axis, or make several plans of it",
        )


def _expand(plan: PlanText, said: Axes, extras: Extras, above: tuple[str, ...]) -> Iterator[Request]:
    if plan.name in above:
        raise UserError(f"the plan {plan.name} includes itself", hint=" -> ".join((*above, plan.name)))
    everything: list[Request] = []
    for word in plan.include:
        included = load_plan(word, Path(plan.name).parent)
        everything += _expand(included, said, extras, (*above, plan.name))
    products = (*plan.product, *plan.cell)
    if not products and not plan.include:
        products = (Axes(),)
    for axes in products:
        merged = _merged(plan, axes, said)
        everything += _product(plan, merged, extras, not said.suites)
    used: set[int] = set()
    for request in everything:
        left = _without(request, plan.exclude, used)
        if left is not None:
            yield left
    unused = [number for number in range(len(plan.exclude)) if number not in used]
    if unused and said == Axes():
        raise UserError(
            f"{plan.name}: exclude[{unused[0] + 1}] leaves out nothing", hint="no cell of the plan has these values"
        )


def _merged(plan: PlanText, axes: Axes, said: Axes) -> Axes:
    """A product of the plan with what stands above it, and what was said in place of it."""
    merged = _over(_over(plan.top, axes), said)
    if said.suites:
        merged = replace(merged, knobs=_knobs_for(merged, said))
    return merged if merged.seeds else replace(merged, seeds=(FIRST_SEED,))


def _knobs_for(merged: Axes, said: Axes) -> KnobAxes:
    """Without the plan's knobs that are not for the suites that stand in place of its own."""
    known = {knob.name for suite in merged.suites for knob in suite_named(suite.name).knobs}
    known |= {name for name, _ in said.knobs.axes}
    return KnobAxes(tuple((name, values) for name, values in merged.knobs.axes if name in known))


def _over(below: Axes, above: Axes) -> Axes:
    """`above` where it says something; tables key by key. One who says how often does not mean several seeds."""
    said = {
        one.name: getattr(above, one.name)
        for one in fields(Axes)
        if one.name not in ("machine", "knobs") and getattr(above, one.name)
    }
    merged = replace(
        below,
        **said,
        machine=MachineAxes(tuple({**dict(below.machine.axes), **dict(above.machine.axes)}.items())),
        knobs=KnobAxes(tuple({**dict(below.knobs.axes), **dict(above.knobs.axes)}.items())),
    )
    if above.repeat and not above.seeds:
        return replace(merged, seeds=merged.seeds[:1])
    return replace(merged, repeat=()) if above.seeds and not above.repeat else merged


def _product(plan: PlanText, axes: Axes, extras: Extras, as_they_fit: bool) -> Iterator[Request]:
    """Every combination of the axes, the last one turning fastest."""
    series = tuple(one.series for one in axes.series) or (None,)
    profiles = tuple(one.name for one in axes.profile) or (DEFAULT_PROFILE,)
    sources = axes.source or (extras.source,)
    machines = tuple(_machines(plan, axes.machine))
    knobs = tuple(_knobs(axes.knobs))
    seeds: tuple[int | None, ...] = axes.seeds or (None,)
    for source, one, profile, machine, chosen, seed in itertools.product(
        sources, series, profiles, machines, knobs, seeds
    ):
        kernel = KernelSpec(source, profile, extras.fragments, one, mirror=extras.mirror, igt=extras.igt)
        yield Request(
            kernel=kernel,
            machine=machine,
            suites=tuple(suite.name for suite in axes.suites) or quick_suites(),
            base=_base(kernel, axes),
            repeat=axes.repeat[0] if axes.repeat else 1,
            seed=seed,
            knobs=chosen,
            cases=tuple(glob.text for glob in axes.cases),
            as_they_fit=as_they_fit,
        )


def _base(kernel: KernelSpec, axes: Axes) -> KernelSpec | None:
    """The source that is named, else the kernel's own without the series; None without either."""
    if axes.base:
        return replace(kernel.unpatched, source=axes.base[0])
    return kernel.unpatched if kernel.series is not None else None


def _machines(plan: PlanText, machine: MachineAxes) -> Iterator[Machine]:
    """`cmdline` is a list of words that go together; every other key is an axis."""
    keys = [key for key, _ in machine.axes]
    for values in itertools.product(*(_values(key, values) for key, values in machine.axes)):
        try:
            yield Machine(**dict(zip(keys, values, strict=True)))  # type: ignore[arg-type]  # by MACHINE_KEYS
        except UserError as error:
            wanted = ", ".join(f"{key} {value_word(key, value)}" for key, value in zip(keys, values, strict=True))
            raise UserError(f"{plan.name}: machine: {error.message} ({wanted})", hint=error.hint) from error


def _values(key: str, values: tuple[MachineValue, ...]) -> tuple[MachineValue, ...]:
    if key != "cmdline":
        return values
    return (tuple(word for words in values if isinstance(words, tuple) for word in words),)


def _knobs(knobs: KnobAxes) -> Iterator[tuple[Knob, ...]]:
    for values in itertools.product(*(values for _, values in knobs.axes)):
        yield tuple(Knob(name, value) for (name, _), value in zip(knobs.axes, values, strict=True))


def _without(request: Request, patterns: tuple[Axes, ...], used: set[int]) -> Request | None:
    """The request without the suites that a pattern takes from it; None when it takes the whole of it."""
    for number, pattern in enumerate(patterns):
        if not _matches(request, pattern):
            continue
        gone = {suite.name for suite in pattern.suites}
        if gone and not gone & set(request.suites):
            continue
        used.add(number)
        left = tuple(name for name in request.suites if gone and name not in gone)
        if not left:
            return None
        request = replace(request, suites=left)
    return request


def _matches(request: Request, pattern: Axes) -> bool:
    """Whether the request has, for everything that the pattern says, one of the values that it names."""
    knobs = {knob.name: knob.value for knob in request.knobs}
    return (
        (not pattern.source or request.kernel.source in pattern.source)
        and (not pattern.series or request.kernel.series in [one.series for one in pattern.series])
        and (not pattern.profile or request.kernel.profile in [one.name for one in pattern.profile])
        and (not pattern.seeds or request.seed in pattern.seeds)
        and all(getattr(request.machine, key) in values for key, values in pattern.machine.axes)
        and all(knobs.get(key) in values for key, values in pattern.knobs.axes)
    )
