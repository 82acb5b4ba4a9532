# SPDX-License-Identifier: GPL-2.0-only
"""A boot that the store keeps, by the names that people give it: RUN, or RUN/BOOT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.flow.boots import STANDS_ON_FILE, StandsOn
from harness.flow.collect import CellResult
from harness.flow.observe import read_announced
from harness.flow.run_record import RESULT_FILE, Planned, Record, finished_boots, load_record, load_result
from harness.model.cell import Cell
from harness.model.codec import from_json
from harness.model.errors import HarnessError, StoreCorrupt, UserError
from harness.model.kernel import KernelSpec
from harness.model.result import Case
from harness.model.suite import short_name
from harness.store.files import read_regular
from harness.store.layout import Layout
from harness.store.runs import CELL_FILE, RECORD_FILE, find_run
from harness.store.sealed import require_sealed

_LARGEST = 1 << 20
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class StoredBoot:
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

    @property
    def run(self) -> Path:
        """The directory of the run."""
        below = self.planned is not None and self.place.name != self.planned.place
        return self.place.parent.parent if below else self.place.parent

    @property
    def name(self) -> str:
        """RUN/BOOT."""
        return f"{self.run.name}/{self.place.relative_to(self.run)}"

    def load(self) -> CellResult:
        """What came of it. UserError where it did not end, StoreDamaged when its evidence is not what it left."""
        if not (self.place / RESULT_FILE).is_file():
            raise UserError(
                f"the boot {self.name} has no result", hint="ttm-harness report shows those that have one"
            )
        entry = None if self.planned is None else finished_boots(self.run).get(self.planned.number)
        if entry is not None and entry.sealed:
            require_sealed(self.place, entry.sealed)
        return load_result(self.place)

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


def find_boot(layout: Layout, name: str) -> StoredBoot:
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
    if not places and not (run / RECORD_FILE).is_file():
        raise UserError(f"there is no run {name!r}, and no such file", hint="ttm-harness results list has the runs")
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


def _about(boot: StoredBoot) -> str:
    failed = boot.failed()
    return f"{', '.join(boot.cell.suites) or 'a live guest'}{f'; red: {failed[0]}' if failed else ''}"


def _boot(place: Path) -> StoredBoot:
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
        return StoredBoot(place, cell, stands_on, record, planned)
    return StoredBoot(place, cell, stands_on)


def _text(path: Path) -> str:
    try:
        return read_regular(path, _LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{path} cannot be read: {error}") from error
