# SPDX-License-Identifier: GPL-2.0-only
"""The kept results, asked through the index; and what of the store can go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from harness.flow.run_loader import require_earned
from harness.flow.run_record import assemble, assembled, load_record
from harness.judge.compare import compare
from harness.judge.telling import PastBoot, Telling, telling_of
from harness.model.compare import Comparison
from harness.model.errors import StoreCorrupt, UserError
from harness.model.progress import Progress
from harness.model.result import Case, Report
from harness.model.results import (
    RESULTS_SCHEMA,
    CaseHistory,
    KeptRun,
    Listing,
    Refreshed,
    RunDetail,
    RunQuery,
    SeenCase,
    State,
    Tally,
)
from harness.store.database import BrokenIndex
from harness.store.index import Index
from harness.store.layout import Layout
from harness.store.queries import (
    bad_cases,
    boots_of,
    history,
    list_runs,
    past_boots,
    run_named,
    seen_cases,
    stamps,
    tallies,
)
from harness.store.runs import REPORT_FILE, find_run, is_held, load_report, run_directories

T = TypeVar("T")
_PAST_BOOTS = 20_000  # of which it is asked what they told


class Results:
    """The kept runs of a store. Every answer is of an index that was just brought up to date."""

    def __init__(self, layout: Layout, progress: Progress, url: str | None = None) -> None:
        self._layout = layout
        self._progress = progress
        self._index = Index(layout, url)

    @property
    def where(self) -> str:
        """The database, in words."""
        return str(self._index.place)

    def refresh(self, *, rebuild: bool = False) -> Refreshed:
        """Brings the index up to date, or reads every run again."""
        found = self._index.refresh(_load, self._progress, rebuild=rebuild)
        if found.set_aside:
            self._progress.step(
                f"the index was damaged or of something else: it is {found.set_aside} now, and was made anew from "
                "the run directories"
            )
        return found

    def list(self, wanted: RunQuery, limit: int) -> Listing:
        """The newest runs that fit."""
        (total, runs), refreshed = self._ask(lambda connection: list_runs(connection, wanted, limit))
        return Listing(RESULTS_SCHEMA, total, tuple(map(self._now, runs)), refreshed.skipped)

    def run(self, name: str, limit: int, against: str = "") -> RunDetail | None:
        """The run that `name` stands for, as in `find_run`; None when there is none. UserError when several fit,
        and when the index could not take it.
        """
        directory = self._find(name)
        if directory is None:
            return None
        other = find_run(self._layout, against).name if against else ""

        def question(connection: Connection) -> tuple[RunDetail | None, tuple[Comparison, ...]]:
            run = run_named(connection, directory.name)
            if run is None:
                return None, ()
            bad = bad_cases(connection, run.name, limit)
            detail = RunDetail(RESULTS_SCHEMA, self._now(run), boots_of(connection, run.name), bad, other)
            if not other:
                return detail, ()
            return detail, _compared(seen_cases(connection, other), seen_cases(connection, run.name))

        (detail, comparisons), refreshed = self._ask(question)
        for one in refreshed.skipped:
            if one.name in (directory.name, other):
                _require_believed(self._layout.runs / one.name)
                raise UserError(f"the run {one.name} is not in the index: {one.why}")
        if detail is None:
            raise UserError(f"the run {directory.name} has only begun", hint="there is something when it boots")
        return replace(detail, comparisons=comparisons)

    def history(self, wanted: RunQuery, limit: int) -> CaseHistory:
        """What became of the cases that fit, run by run; UserError when no run has such a case."""
        cases, _ = self._ask(lambda connection: history(connection, wanted, limit))
        if not cases:
            raise UserError(
                f"there is no run {wanted.case!r}, and no case of that name in a run that fits",
                hint="`results list` names the runs; a case is a name or a glob, as in 'pressure.*'",
            )
        return CaseHistory(RESULTS_SCHEMA, wanted.case, cases)

    def telling(self) -> Telling:
        """Which boots told most before."""
        boots, _ = self._ask(lambda connection: past_boots(connection, _PAST_BOOTS))
        made = (
            PastBoot(machine, tuple(suites.split("\n")), f"{verdict} {bad}")
            for machine, suites, verdict, bad in boots
        )
        return telling_of(made)

    def stamps(self) -> dict[str, str]:
        """What changes with the content of each run, by its name."""
        return self._ask(stamps)[0]

    def tallies(self, newest: int) -> tuple[Tally, ...]:
        """The cases of the newest runs, counted."""
        return self._ask(lambda connection: tallies(connection, newest))[0]

    def _find(self, name: str) -> Path | None:
        """The run directory that the name stands for; the end of a name must be all six digits of it."""
        try:
            found = find_run(self._layout, name)
        except UserError:
            if any(path.name.startswith(name) for path in run_directories(self._layout)):
                raise
            return None
        return found if found.resolve().parent == self._layout.runs.resolve() else None

    def _ask(self, question: Callable[[Connection], T]) -> tuple[T, Refreshed]:
        """The answer, from an index that is up to date; one that turns out to be broken is made anew, once."""
        refreshed = self.refresh()
        try:
            return self._index.ask(question), refreshed
        except BrokenIndex as error:
            if not self._index.place.own:
                raise
            self._progress.step(f"{error.message}; it is {self._index.break_off()} now, and is made anew")
        refreshed = self.refresh()
        return self._index.ask(question), refreshed

    def _now(self, run: KeptRun) -> KeptRun:
        """An interrupted run may have been gone on with since."""
        held = is_held(self._layout.runs / run.name)
        return replace(run, state=State.RUNNING) if held else run


def _load(directory: Path, state: State) -> Report:
    """The report of a run directory: the saved one, or what its boots left to make one of."""
    match state:
        case State.FINISHED:
            report = load_report(directory)
            require_earned(report, directory)
            return report
        case State.UNFINISHED:
            return assembled(directory)
        case State.RUNNING:
            return assemble(directory.name, load_record(directory), {})


def _require_believed(directory: Path) -> None:
    """StoreDamaged for a report that is not believed; what else is wrong with the run is the caller's matter."""
    file = directory / REPORT_FILE
    if file.is_symlink() or not file.is_file():
        return
    try:
        require_earned(load_report(directory), directory)
    except (StoreCorrupt, UserError, RecursionError):
        pass


def _compared(before: tuple[SeenCase, ...], after: tuple[SeenCase, ...]) -> tuple[Comparison, ...]:
    """Two runs beside each other, machine by machine where both have several."""
    groups = {one.group: one.group for one in (*before, *after)}
    return compare(map(_case, before), map(_case, after), groups)


def _case(seen: SeenCase) -> Case:
    return Case(seen.suite, seen.name, seen.outcome, run=seen.group)
