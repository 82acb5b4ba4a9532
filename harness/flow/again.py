# SPDX-License-Identifier: GPL-2.0-only
"""A boot of a kept run -> a live guest like it: its build, its modules, its machine, its seed, cases and knobs. What
could not be had as it was then is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.boots import STANDS_ON_FILE, BootEnvironment, StandsOn
from harness.flow.live import LiveGuest, live_guest
from harness.flow.observe import read_announced
from harness.flow.prepare import Stopwatch, own_modules, prepare, prepare_root, settle_accel
from harness.flow.run_record import RESULT_FILE, Planned, Record, load_record, load_result
from harness.kernel.build import kept_build
from harness.kernel.fragments import read_profile
from harness.model.cell import Cell
from harness.model.codec import from_json
from harness.model.errors import HarnessError, InfraError, StoreCorrupt, UserError
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.progress import Progress
from harness.model.result import Case
from harness.model.suite import Suite, short_name
from harness.store.files import read_regular
from harness.store.layout import Layout
from harness.store.runs import CELL_FILE, find_run, run_directory
from harness.store.sealed import damage
from harness.suites.registry import suite_named

_LARGEST = 1 << 20
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class KeptBoot:
    """A boot of a kept run: its folder, its cell, and what it was made of as far as that was written down. Without a
    record, of `controls` or of a live guest, nobody can make its kernel again.
    """

    place: Path
    cell: Cell
    stands_on: StandsOn | None
    record: Record | None = None
    planned: Planned | None = None

    @property
    def kernel(self) -> KernelSpec | None:
        """What its kernel was made of."""
        if self.record is None or self.planned is None:
            return None
        return self.record.requests[self.planned.request].sides[self.planned.leg]

    @property
    def words(self) -> Mapping[str, str]:
        """How its suites are called: a folder of the user's by its path."""
        if self.record is None or self.planned is None:
            return {}
        return {Path(word).name: word for word in self.record.requests[self.planned.request].suites}

    def failed(self) -> tuple[str, ...]:
        """Its red cases, as --case calls them; none where it has no result."""
        if not (self.place / RESULT_FILE).is_file():
            return ()
        red = [case for case in load_result(self.place).cases if case.outcome.finding]
        return tuple(dict.fromkeys(self._announced(case) for case in red if case.suite in self.cell.suites))

    def _announced(self, case: Case) -> str:
        """The case; of a result within it, that which it is within."""
        names = read_announced(self.place / "results" / f"{case.suite}.announced") or ()
        found = (name for name in names if case.name == name or case.name.startswith(f"{name}."))
        return short_name(next(found, case.name))


def find_boot(layout: Layout, name: str) -> KeptBoot:
    """RUN, or RUN/BOOT: the run as `report` takes it, the boot by its folder, the beginning of that, or its number.
    Without BOOT it is the run's only one, or its only one that is not good. UserError lists those there are.
    """
    name = name.rstrip("/") or name
    if (Path(name) / CELL_FILE).is_file():
        return _boot(Path(name).absolute())
    try:
        run, part = find_run(layout, name), ""
    except UserError:
        if "/" not in name:
            raise
        run, part = _run_of(layout, name)
    places = sorted(path.parent for pattern in ("*", "*/*") for path in run.glob(f"{pattern}/{CELL_FILE}"))
    boots = [_boot(place) for place in places]
    if part:
        boots = [one for one in boots if _is_called(one.place.relative_to(run).as_posix(), part)]
    elif len(boots) > 1:
        boots = [one for one in boots if one.place.parent == run]
        bad = [one for one in boots if one.failed()]
        boots = bad if len(bad) == 1 else boots
    if len(boots) == 1:
        return boots[0]
    said = [f"{run.name}/{one.place.relative_to(run)}: {_about(one)}" for one in boots or map(_boot, places)]
    what = f"{len(boots)} boots fit {name}" if boots else f"there is no boot {part or name!r} in the run {run.name}"
    raise UserError(what, hint="\n    ".join((*said[:_MOST_NAMED], *(["…"] if len(said) > _MOST_NAMED else []))))


def _run_of(layout: Layout, name: str) -> tuple[Path, str]:
    """The run, and the boot's part of the name: one folder, or two."""
    head, _, tail = name.rpartition("/")
    try:
        return find_run(layout, head), tail
    except UserError:
        first, slash, middle = head.rpartition("/")
        if not slash:
            raise
        return find_run(layout, first), f"{middle}/{tail}"


def _is_called(folder: str, part: str) -> bool:
    number, _, below = part.partition("/")
    own, _, rest = folder.partition("/")
    if below != rest:
        return False
    return own.startswith(number) or (number.isdecimal() and own.partition("-")[0].lstrip("0") == number.lstrip("0"))


def _about(boot: KeptBoot) -> str:
    failed = boot.failed()
    return f"{', '.join(boot.cell.suites) or 'a live guest'}{f'; red: {failed[0]}' if failed else ''}"


def _boot(place: Path) -> KeptBoot:
    cell = from_json(Cell, _text(place / CELL_FILE), str(place / CELL_FILE))
    ground = place / STANDS_ON_FILE
    stands_on = from_json(StandsOn, _text(ground), str(ground)) if ground.is_file() else None
    for top in (place.parent, place.parent.parent):  # a boot, or one that went on with another
        try:
            record = load_record(top)
        except HarnessError:
            continue
        folder = place.relative_to(top).parts[0]
        planned = next((one for one in record.cells if one.place == folder), None)
        return KeptBoot(place, cell, stands_on, record, planned)
    return KeptBoot(place, cell, stands_on)


def _text(path: Path) -> str:
    try:
        return read_regular(path, _LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{path} cannot be read: {error}") from error


@contextmanager
def guest_again(
    boot: KeptBoot, layout: Layout, progress: Progress, *, jobs: int | None = None
) -> Iterator[tuple[LiveGuest, tuple[str, ...]]]:
    """A live guest like the boot, and sentences for what is not as it was then."""
    watch = Stopwatch()
    notes: list[str] = []
    suites = _suites(boot, notes)
    kernel, module_tree = _kernel(boot, suites, layout, progress, jobs, notes)
    root = prepare_root(layout, progress, watch)
    if boot.stands_on is None or boot.stands_on.root.name != root.name:
        notes.append("the guest's scripts and programs are those of today")
    machine = boot.cell.machine
    machine = replace(machine, accel=settle_accel(machine.accel, kernel, root, layout, progress, watch))
    if machine != boot.cell.machine:
        notes.append(f"it runs on {machine.accel}, and not on {boot.cell.machine.accel}")
    cell = replace(boot.cell, machine=machine)
    with run_directory(layout) as directory:
        progress.step(f"boot: {machine}, as {boot.place.name}")
        environment = BootEnvironment(kernel, root, directory, progress, module_tree)
        with live_guest(environment, machine, layout, like=cell, suites=suites) as guest:
            yield guest, tuple(notes)


def _suites(boot: KeptBoot, notes: list[str]) -> tuple[Suite, ...]:
    found = []
    for name in boot.cell.suites:
        try:
            found.append(suite_named(boot.words.get(name, name)))
        except UserError as error:
            notes.append(f"the suite {name} cannot be run in it: {error.message}")
    return tuple(found)


def _kernel(
    boot: KeptBoot,
    suites: Sequence[Suite],
    layout: Layout,
    progress: Progress,
    jobs: int | None,
    notes: list[str],
) -> tuple[PreparedKernel, Path | None]:
    """The build, with the suites' modules; and what the guest gets as /lib/modules, where that is not the build's."""
    ground = boot.stands_on
    build = kept_build(ground.build.name if ground is not None else boot.cell.build_id, layout)
    if build is None:
        kernel = _made_again(boot, suites, layout, progress, jobs)
        notes.append("its kernel was built again, from the same inputs")
        build, slowness = kernel.build, kernel.slowness
    else:
        slowness = read_profile(build.profile.partition("+")[0], data_directory("kernel-configs")).slowness
    extra = _kept_extra(boot)
    modules = {}
    for suite in suites:
        if suite.brings is None and not suite.selftests:
            continue
        made = extra or own_modules(suite, build, layout, progress)
        if made is not None:
            modules[suite.name] = made
            if made != (ground.extra if ground is not None else None):
                notes.append(f"the modules of {suite.name} were made again, of its sources as they are today")
    own = ground.modules if ground is not None and ground.build not in ground.modules.parents else None
    if own is not None:
        _require_kept(boot, own.parent)
    return PreparedKernel(build, modules, slowness), own


def _kept_extra(boot: KeptBoot) -> Path | None:
    """What the boot's suite brought along, as it was then. That of a boot of `controls` carries the control, and
    nothing else could take its place.
    """
    extra = boot.stands_on.extra if boot.stands_on is not None else None
    if extra is not None and boot.record is None:
        _require_kept(boot, extra)
    return extra if extra is not None and not damage(extra) else None


def _require_kept(boot: KeptBoot, modules: Path) -> None:
    if why := damage(modules):
        raise InfraError(
            f"the modules of the boot {boot.place.name} cannot be had any more: {why}", hint="make the run again"
        )


def _made_again(
    boot: KeptBoot, suites: Sequence[Suite], layout: Layout, progress: Progress, jobs: int | None
) -> PreparedKernel:
    short = boot.cell.build_id[:12]
    if boot.kernel is None:
        raise UserError(
            f"the kernel {short} of {boot.place} is not in the store any more, and nothing there says what it was "
            "made of",
            hint="make the run again",
        )
    progress.step(f"the build {short} is not in the store: it is made again")
    kernel = prepare(boot.kernel, dict.fromkeys(suites, True), layout, progress, Stopwatch(), jobs)
    if kernel.build.id != boot.cell.build_id:
        raise UserError(
            f"the kernel of {boot.place.name} cannot be had again: {boot.kernel.source} now gives the build "
            f"{kernel.build.id[:12]}, and not {short}",
            hint="its source, its configuration or the compiler has changed since; ttm-harness shell --source boots "
            "the new one",
        )
    return kernel
