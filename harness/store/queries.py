# SPDX-License-Identifier: GPL-2.0-only
"""The questions to the index. Each takes a connection and gives values of model/results.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from harness.model.compare import Leg
from harness.model.errors import UserError
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.results import Count, KeptBoot, KeptRun, PastCase, RunQuery, SeenCase, State, Tally
from harness.store.runs import RUN_NAME, STAMP
from harness.store.tables import BootRow, CaseRow, NameRow, RunRow

_FEW_NAMES = 100
_RUNS_AT_ONCE = 500
_MOST_NUMBERS = 10_000  # in one statement
_SHARE_OF_NAMES = 0.1  # with more of them, a boot has a case of these in its first dozen or so
_COUNTED_NAMES = select(func.count()).select_from(NameRow)
_Numbers = list[int] | Select[Any]
_GLOB_SIGNS = re.compile(r"[*?\[]")
_BAD = tuple(str(one) for one in Outcome if one.finding or one is Outcome.INCOMPLETE)


def list_runs(connection: Connection, wanted: RunQuery, limit: int) -> tuple[int, tuple[KeptRun, ...]]:
    """How many runs fit, and the newest `limit` of them; what was asked of cases is counted in each."""
    # Counted on the way: a question of its own would look at all the cases once more.
    asked = select(RunRow.id, func.count().over(), *_RUN).where(_fits(connection, wanted))
    page = connection.execute(asked.order_by(RunRow.name.desc()).limit(limit)).all()
    matching = _matching(connection, wanted, [int(row[0]) for row in page]) if wanted.of_cases else {}
    return int(page[0][1]) if page else 0, tuple(_run(row[2:], matching.get(int(row[0]), ())) for row in page)


def past_boots(connection: Connection, limit: int) -> list[tuple[str, str, str, int]]:
    """Machine, suites (a line each), verdict and the number of bad cases of the newest boots, the oldest first; those
    that were taken over from other runs, or are no evidence, are none.
    """
    runs = list(connection.execute(select(RunRow.id).order_by(RunRow.name.desc())).scalars())
    found: list[tuple[str, str, str, int]] = []
    # By their numbers, which an index leads to: in one question all boots would be read and sorted.
    for first in range(0, len(runs), _RUNS_AT_ONCE):
        places = {run: place for place, run in enumerate(runs[first : first + _RUNS_AT_ONCE])}
        asked = select(
            BootRow.run_id, BootRow.id, BootRow.machine, BootRow.suites, BootRow.verdict, BootRow.bad
        ).where(BootRow.run_id.in_(places), BootRow.kept_from == "", BootRow.sound)
        rows = sorted(connection.execute(asked).all(), key=lambda row: (places[int(row[0])], -int(row[1])))
        found += ((str(row[2]), str(row[3]), str(row[4]), int(row[5])) for row in rows)
        if len(found) >= limit:
            break
    return found[:limit][::-1]


def run_named(connection: Connection, name: str) -> KeptRun | None:
    """The run of that name, None where the index has none."""
    row = connection.execute(select(*_RUN).where(RunRow.name == name, RunRow.trouble == "")).one_or_none()
    return _run(row) if row is not None else None


def boots_of(connection: Connection, name: str) -> tuple[KeptBoot, ...]:
    """The boots of a run in their order."""
    columns = (
        BootRow.name,
        BootRow.leg,
        BootRow.kernel,
        BootRow.profile,
        BootRow.series,
        BootRow.machine,
        BootRow.suites,
        BootRow.ending,
        BootRow.verdict,
        BootRow.kept_from,
    )
    numbers = (BootRow.seed, BootRow.executed, BootRow.bad, BootRow.seconds)
    asked = select(*columns, *numbers).join(RunRow, RunRow.id == BootRow.run_id).where(RunRow.name == name)
    found = []
    for row in connection.execute(asked.order_by(BootRow.id)).all():
        boot, leg, kernel, profile, series, machine, suites, ending, verdict, kept_from = map(str, row[:10])
        found.append(
            KeptBoot(
                name=boot,
                leg=Leg(leg),
                kernel=kernel,
                profile=profile,
                series=series,
                machine=machine,
                suites=_split(suites),
                seed=int(row[10]),
                ending=Ending(ending),
                verdict=Verdict(verdict),
                executed=int(row[11]),
                bad=int(row[12]),
                seconds=float(row[13]),
                kept_from=kept_from,
            )
        )
    return tuple(found)


def bad_cases(connection: Connection, name: str, limit: int) -> tuple[PastCase, ...]:
    """The cases of a run that were bad in one boot or more, with all their outcomes there."""
    boots = CaseRow.boot_id.in_(_boots_of(connection, RunRow.name == name))
    bad = select(CaseRow.name_id).where(boots, CaseRow.outcome.in_(_BAD)).distinct()
    return _past(connection, and_(boots, CaseRow.name_id.in_(_numbers(connection, bad))), limit)


def _boots_of(connection: Connection, *conditions: ColumnElement[bool]) -> _Numbers:
    asked = select(BootRow.id).join(RunRow, RunRow.id == BootRow.run_id).where(*conditions)
    return _numbers(connection, asked)


def _numbers(connection: Connection, asked: Select[Any]) -> _Numbers:
    """The numbers that are asked for: with the question PostgreSQL may read all cases. Of very many the question."""
    found = list(connection.execute(asked).scalars())
    return found if len(found) <= _MOST_NUMBERS else asked


def history(connection: Connection, wanted: RunQuery, limit: int) -> tuple[PastCase, ...]:
    """The cases that fit, run by run, the newest first."""
    # Each run that fits brings a case or more, so no others than these are looked at.
    newest = select(RunRow.id).where(_fits(connection, wanted)).order_by(RunRow.name.desc()).limit(limit)
    runs = list(connection.execute(newest).scalars())
    return _past(
        connection, and_(RunRow.id.in_(runs), *_of_cases(connection, wanted), *_of_boots(connection, wanted)), limit
    )


def seen_cases(connection: Connection, name: str) -> tuple[SeenCase, ...]:
    """The cases of the boots of a run that are evidence, the base's left out."""
    boots = _boots_of(connection, RunRow.name == name, BootRow.leg == str(Leg.TIP), BootRow.sound.is_(True))
    asked = (
        select(NameRow.suite, NameRow.name, BootRow.group, CaseRow.outcome)
        .select_from(CaseRow)
        .join(BootRow, BootRow.id == CaseRow.boot_id)
        .join(NameRow, NameRow.id == CaseRow.name_id)
        .where(CaseRow.boot_id.in_(boots))
        .order_by(CaseRow.boot_id, CaseRow.position)
    )
    outcomes = {str(one): one for one in Outcome}
    rows = connection.execute(asked)
    return tuple(SeenCase(suite, case, group, outcomes[word]) for suite, case, group, word in rows)


def stamps(connection: Connection) -> dict[str, str]:
    """What changes with the content of each run that is in the index, by its name."""
    rows = connection.execute(select(RunRow.name, RunRow.stamp).where(RunRow.trouble == "").order_by(RunRow.name))
    return {str(name): str(stamp) for name, stamp in rows}


def tallies(connection: Connection, newest: int) -> tuple[Tally, ...]:
    """The cases of the newest runs, counted by run and kernel, the newest run first; case by case as they ran."""
    runs = select(RunRow.id).where(RunRow.trouble == "").order_by(RunRow.name.desc()).limit(newest)
    keys = (RunRow.name, BootRow.leg, BootRow.kernel, BootRow.series, NameRow.suite, NameRow.name, CaseRow.outcome)
    asked = (
        select(*keys, func.count())
        .select_from(RunRow)
        .join(BootRow, BootRow.run_id == RunRow.id)
        .join(CaseRow, CaseRow.boot_id == BootRow.id)
        .join(NameRow, NameRow.id == CaseRow.name_id)
        .where(RunRow.id.in_(list(connection.execute(runs).scalars())))
        .group_by(*keys)
        .order_by(RunRow.name.desc(), func.min(CaseRow.position))
    )
    legs, outcomes = {str(one): one for one in Leg}, {str(one): one for one in Outcome}
    return tuple(
        Tally(run, legs[leg], kernel, series, suite, name, outcomes[outcome], int(times))
        for run, leg, kernel, series, suite, name, outcome, times in connection.execute(asked)
    )


_RUN = (
    RunRow.name,
    RunRow.state,
    RunRow.verdict,
    RunRow.plan,
    RunRow.kernels,
    RunRow.series,
    RunRow.suites,
    RunRow.boots,
    RunRow.executed,
    RunRow.bad,
    RunRow.seconds,
)


def _run(row: Sequence[object], matching: tuple[Count, ...] = ()) -> KeptRun:
    name, state, verdict, plan, kernels, series, suites = map(str, row[:7])
    boots, executed, bad = (int(str(number)) for number in row[7:10])
    return KeptRun(
        name=name,
        started=started(name),
        state=State(state),
        verdict=Verdict(verdict),
        plan=plan,
        kernels=_split(kernels),
        series=_split(series),
        suites=_split(suites),
        boots=boots,
        executed=executed,
        bad=bad,
        seconds=float(str(row[10])),
        matching=matching,
    )


def started(name: str) -> str:
    """When the run of that name began, ISO 8601 in UTC."""
    match = RUN_NAME.fullmatch(name)
    if match is None:
        return ""
    return datetime.strptime(match["stamp"], STAMP).replace(tzinfo=UTC).isoformat()


def _split(lines: str) -> tuple[str, ...]:
    return tuple(lines.split("\n")) if lines else ()


def _fits(connection: Connection, wanted: RunQuery) -> ColumnElement[bool]:
    conditions = [RunRow.trouble == "", *_of_runs(wanted)]
    if wanted.of_boots:
        boots = select(BootRow.run_id).where(*_of_boots(connection, wanted))
        if wanted.of_cases:
            boots = boots.where(_has_cases(connection, wanted))
        conditions.append(RunRow.id.in_(boots))
    return and_(*conditions)


def _has_cases(connection: Connection, wanted: RunQuery) -> ColumnElement[bool]:
    """That a boot has a case that fits. Few names, or rare outcomes, lead to their cases by the index. Of many names
    nearly every boot has one, and it takes less to ask each boot than to read all of their cases.
    """
    total = connection.execute(_COUNTED_NAMES).scalar_one()
    fitting = len(_names(connection, wanted))
    few = fitting <= max(_FEW_NAMES, total * _SHARE_OF_NAMES)
    if few or (wanted.outcomes and all(str(one) in _BAD for one in wanted.outcomes)):
        hits = select(CaseRow.boot_id).where(*_of_cases(connection, wanted)).distinct().cte("hits")
        # PostgreSQL would else go from the newest run on, and look into each boot on the way.
        return BootRow.id.in_(select(hits.prefix_with("MATERIALIZED", dialect="postgresql").c.boot_id))
    conditions = tuple(_of_cases(connection, wanted, all_names=fitting == total))
    return select(CaseRow.boot_id).where(CaseRow.boot_id == BootRow.id, *conditions).exists()


def _names(connection: Connection, wanted: RunQuery) -> list[int]:
    return list(connection.execute(select(NameRow.id).where(*_of_names(wanted))).scalars())


def _of_names(wanted: RunQuery) -> Iterable[ColumnElement[bool]]:
    if wanted.suite:
        yield _glob(NameRow.suite, wanted.suite)
    if wanted.case:
        # From the beginning, or from a dot on: `content_*` is `pressure.content_wb` as well.
        yield or_(_glob(NameRow.name, wanted.case), _glob(NameRow.name, f"*.{wanted.case}"))


def _of_cases(connection: Connection, wanted: RunQuery, *, all_names: bool = False) -> Iterable[ColumnElement[bool]]:
    # By the names, of which there are few, even where all of them fit: that is what the index of cases begins with.
    # Their numbers, and not a question after them: PostgreSQL would rather read all cases.
    if not all_names:
        ids = _names(connection, wanted)
        yield CaseRow.name_id.in_(ids if len(ids) <= _MOST_NUMBERS else select(NameRow.id).where(*_of_names(wanted)))
    if wanted.outcomes:
        yield CaseRow.outcome.in_(map(str, wanted.outcomes))


def _of_runs(wanted: RunQuery) -> Iterable[ColumnElement[bool]]:
    if wanted.verdict is not None:
        yield and_(RunRow.verdict == str(wanted.verdict), RunRow.state == str(State.FINISHED))
    if wanted.state is not None:
        yield RunRow.state == str(wanted.state)
    if wanted.since is not None:
        yield RunRow.name >= wanted.since.astimezone(UTC).strftime(STAMP)


def _of_boots(connection: Connection, wanted: RunQuery) -> Iterable[ColumnElement[bool]]:
    if wanted.suite:
        yield _any_of(connection, BootRow.suites, f"(^|\n){glob_regex(wanted.suite)[1:-1]}(\n|$)")
    if wanted.kernel:
        yield _version(wanted.kernel)
    if wanted.series:
        label = wanted.series.replace("@v", " v")
        yield _any_of(connection, BootRow.series, glob_regex(label if _GLOB_SIGNS.search(label) else f"*{label}*"))
    for word in wanted.machine:
        yield _any_of(connection, BootRow.machine, rf"(^|[ :,]){re.escape(word)}([ :,]|$)")


def _any_of(connection: Connection, column: InstrumentedAttribute[str], regex: str) -> ColumnElement[bool]:
    """That it is one of the values that the expression fits: there are few of them, and a hundred thousand boots."""
    values = map(str, connection.execute(select(column).distinct()).scalars())
    return column.in_([value for value in values if re.search(regex, value)])


def _version(wanted: str) -> ColumnElement[bool]:
    if _GLOB_SIGNS.search(wanted):
        return _glob(BootRow.kernel, wanted)
    begins = (BootRow.kernel.startswith(f"{wanted}{sign}", autoescape=True) for sign in ".-+")
    return or_(BootRow.kernel == wanted, *begins)


def _glob(column: InstrumentedAttribute[str], glob: str) -> ColumnElement[bool]:
    return column.regexp_match(glob_regex(glob)) if _GLOB_SIGNS.search(glob) else column == glob


def glob_regex(glob: str) -> str:
    """A glob as the regular expression that Python and PostgreSQL read alike, within a line; [!a] and [^a] are both
    "not a".
    """
    parts = []
    place = 0
    while place < len(glob):
        sign = glob[place]
        place += 1
        end = glob.find("]", place + 1 + glob.startswith(("!", "^"), place))  # the first ] is one of them
        if sign == "*":
            parts.append("[^\n]*")
        elif sign == "?":
            parts.append("[^\n]")
        elif sign == "[" and end > 0:
            inside = glob[place:end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]")
            place = end + 1
        else:
            parts.append(re.escape(sign))
    pattern = f"^{''.join(parts)}$"
    try:
        re.compile(pattern)
    except re.error as error:
        hint = "* is any text, ? any sign, [a-c] one of these"
        raise UserError(f"{glob!r} is not a glob: {error}", hint=hint) from error
    return pattern


def _matching(connection: Connection, wanted: RunQuery, runs: Sequence[int]) -> dict[int, tuple[Count, ...]]:
    """Of each run on the page: how often the cases asked for came out how."""
    every = len(_names(connection, wanted)) == connection.execute(_COUNTED_NAMES).scalar_one()
    asked = (
        select(BootRow.run_id, CaseRow.outcome, func.count())
        .join(CaseRow, CaseRow.boot_id == BootRow.id)
        .where(
            BootRow.run_id.in_(runs),
            *_of_cases(connection, wanted, all_names=every),
            *_of_boots(connection, wanted),
        )
        .group_by(BootRow.run_id, CaseRow.outcome)
    )
    found: dict[int, list[Count]] = {}
    for run, outcome, times in connection.execute(asked):
        found.setdefault(run, []).append(Count(Outcome(outcome), times))
    return {run: _in_order(counts) for run, counts in found.items()}


def _past(connection: Connection, condition: ColumnElement[bool], limit: int) -> tuple[PastCase, ...]:
    """Cases by run and kernel; `limit` bounds them, not the rows behind them."""
    keys = (RunRow.name, NameRow.suite, NameRow.name, BootRow.leg, BootRow.kernel, BootRow.series)
    asked = (
        select(*keys, CaseRow.outcome, func.count(), func.max(CaseRow.message))
        .select_from(CaseRow)
        .join(NameRow, NameRow.id == CaseRow.name_id)
        .join(BootRow, BootRow.id == CaseRow.boot_id)
        .join(RunRow, RunRow.id == BootRow.run_id)
        .where(condition)
        .group_by(*keys, CaseRow.outcome)
        .order_by(RunRow.name.desc(), NameRow.suite, NameRow.name, BootRow.leg.desc(), BootRow.kernel)
    )
    found: dict[tuple[str, ...], list[tuple[Count, str]]] = {}
    for *words, times, message in connection.execute(asked):
        *key, outcome = map(str, words)
        if tuple(key) not in found and len(found) == limit:
            break
        found.setdefault(tuple(key), []).append((Count(Outcome(outcome), int(times)), str(message)))
    return tuple(_past_case(key, counts) for key, counts in found.items())


def _past_case(key: tuple[str, ...], counts: list[tuple[Count, str]]) -> PastCase:
    run, suite, name, leg, kernel, series = key
    worst = max(counts, key=lambda one: (one[0].outcome.finding, one[0].outcome is not Outcome.PASS))
    return PastCase(
        suite=suite,
        name=name,
        run=run,
        started=started(run),
        leg=Leg(leg),
        kernel=kernel,
        series=series,
        outcomes=_in_order(one for one, _ in counts),
        message=worst[1],
    )


def _in_order(counts: Iterable[Count]) -> tuple[Count, ...]:
    order = list(Outcome)
    return tuple(sorted(counts, key=lambda one: order.index(one.outcome)))
