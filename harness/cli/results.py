# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness results`: the kept runs, listed, searched, pruned."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import completion
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.model.codec import to_json
from harness.model.errors import UserError
from harness.model.outcome import Outcome, Verdict
from harness.model.results import RunQuery, Skipped, State
from harness.model.units import parse_age, parse_size
from harness.store.layout import Layout

if TYPE_CHECKING:  # a database library takes its time to load, and the other verbs need none
    from harness.flow.results import Results

_VERDICTS = {"good": Verdict.GOOD, "bad": Verdict.BAD, "cannot-tell": Verdict.CANNOT_TELL}
_STATES = {str(one): one for one in (State.RUNNING, State.UNFINISHED)}
_SHOWN_SKIPPED = 3

_DB = click.option(
    "--db", metavar="URL", help="The index, where it is not in the store: postgresql://USER@HOST/NAME."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_LIMIT = click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1_000_000))
_KERNEL = click.option("--kernel", default="", metavar="VERSION", help="7.3.4, 7.3 (any 7.3.x), or a glob.")
_SERIES = click.option("--series", default="", metavar="NAME", help="A part of the name (NAME@vN), or a glob.")
_SUITE = click.option(
    "--suite", default="", shell_complete=completion.suites, help="A suite that was to run, or a glob."
)
_MACHINE = click.option("--machine", default="", metavar="WORDS", help='Words of the machine: "256M zram".')
_OUTCOME = click.option(
    "--outcome", "outcomes", multiple=True, type=click.Choice([str(one) for one in Outcome]), help="Of a case."
)
_SINCE = click.option("--since", default="", metavar="AGE|DATE", help="12h, 30d, 8w, or 2026-11-01[T12:00] in UTC.")


@click.group()
def results() -> None:
    """The kept runs: listed, one case over all of them, removed when they are old.

    \b
    The run directories of the store are the truth. The index over them (index.sqlite in the
    store, or --db, or TTM_HARNESS_DB) is brought up to date before every answer.
    """


@results.command("list")
@_KERNEL
@_SERIES
@_SUITE
@click.option(
    "--case", "cases", multiple=True, metavar="GLOB", help="A case that was seen; the table counts its outcomes."
)
@_OUTCOME
@click.option("--verdict", type=click.Choice([*_VERDICTS, *_STATES]), help="Of the run.")
@_MACHINE
@_SINCE
@_LIMIT
@_DB
@_JSON
@speaks_plainly
def list_(
    kernel: str,
    series: str,
    suite: str,
    cases: tuple[str, ...],
    outcomes: tuple[str, ...],
    verdict: str | None,
    machine: str,
    since: str,
    limit: int,
    db: str | None,
    as_json: bool,
) -> None:
    """The runs, the newest first, and how each ended."""
    if cases[1:]:
        raise UserError("--case of a list is one glob", hint="as in --case 'resume_*'")
    case = "".join(cases)
    _refuse_bytes(kernel, series, suite, case, machine)
    wanted = RunQuery(
        kernel=kernel,
        suite=suite,
        case=case,
        outcomes=tuple(map(Outcome, outcomes)),
        verdict=_VERDICTS.get(verdict or ""),
        state=_STATES.get(verdict or ""),
        series=series,
        machine=_words(machine),
        since=_moment(since),
    )
    found = _results(db).list(wanted, limit)
    _tell_skipped(found.skipped)
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        from harness.reports.results import print_listing

        print_listing(found, sys.stdout)


@results.command()
@click.argument("what", metavar="RUN|CASE")
@click.option("--against", default="", metavar="RUN", help="Compare the run with an earlier one, case by case.")
@_KERNEL
@_SERIES
@_SUITE
@_OUTCOME
@_MACHINE
@_SINCE
@_LIMIT
@_DB
@_JSON
@speaks_plainly
def show(
    what: str,
    against: str,
    kernel: str,
    series: str,
    suite: str,
    outcomes: tuple[str, ...],
    machine: str,
    since: str,
    limit: int,
    db: str | None,
    as_json: bool,
) -> None:
    """A RUN (its name, the beginning or end of it, or `latest`), or what became of a CASE (a name or a glob)."""
    _refuse_bytes(what, against, kernel, series, suite, machine)
    found = _results(db)
    detail = found.run(what, limit, against)
    if detail is not None:
        if as_json:
            click.echo(to_json(detail), nl=False)
        else:
            from harness.reports.results import print_run

            print_run(detail, sys.stdout)
        return
    if against:
        raise UserError(f"there is no run {what!r} to compare with {against}", hint="`results list` names the runs")
    words = _words(machine)
    wanted = RunQuery(kernel, suite, what, tuple(map(Outcome, outcomes)), None, None, series, words, _moment(since))
    history = found.history(wanted, limit)
    if as_json:
        click.echo(to_json(history), nl=False)
    else:
        from harness.reports.results import print_history

        print_history(history, sys.stdout)


@results.command()
@click.option("--older-than", default="", metavar="AGE", help="Runs that began so long ago: 12h, 30d, 8w.")
@click.option("--keep", type=click.IntRange(0), help="All runs but the newest N.")
@click.option("--max-size", default="", metavar="SIZE", help="The oldest runs, until the others take no more: 20G.")
@click.option(
    "--unused",
    default="",
    metavar="AGE",
    help="What was not used for so long, runs apart: builds, sources, …; 1d or more.",
)
@click.option("--yes", is_flag=True, help="Remove them; without it they are only named.")
@_JSON
@speaks_plainly
def prune(older_than: str, keep: int | None, max_size: str, unused: str, yes: bool, as_json: bool) -> None:
    """Name what of the store can go, and the bytes that it frees; with --yes, remove it.

    What a running ttm-harness works in is kept, and what is no run directory is never touched.
    """
    from harness.reports.results import print_pruning
    from harness.store.prune import PruneLimits, survey
    from harness.store.prune import prune as remove

    limits = PruneLimits(
        age=_age(older_than, "--older-than"),
        keep=keep,
        size=parse_size(max_size, "--max-size") if max_size else None,
        unused=_age(unused, "--unused"),
    )
    if not limits.of_runs and limits.unused is None:
        raise UserError(
            "nothing says what is to go", hint="--older-than 30d, --keep 100, --max-size 20G, --unused 30d"
        )
    if limits.unused is not None and limits.unused < timedelta(days=1):
        raise UserError("a build of today may be in use", hint="--unused takes a day (1d) or more")
    layout = Layout.from_environment() if yes else Layout.to_read()
    found = (remove if yes else survey)(layout, limits, datetime.now(UTC))
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        print_pruning(found, sys.stdout)


@results.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_DB
@speaks_plainly
def site(target: Path, db: str | None) -> None:
    """Static pages of all kept runs in DIR: nights, series, kernels, boots, cases, figures, search.

    \b
    Only what changed since the last time is made again. The pages work from a file system and
    load nothing from elsewhere. DIR must be new, empty, or such a site.
    """
    from harness.flow.site import write_site

    made = write_site(Layout.to_read(), target, TerminalProgress(), db)
    _tell_skipped(made.skipped)
    words = f"{made.runs} runs, {made.made} made now; {made.written} files written, {made.removed} removed"
    click.echo(f"{target / 'index.html'}: {words}")


@results.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--suite",
    "suites",
    default="",
    metavar="A,B",
    shell_complete=completion.suites,
    help="Only these; else all that have a manifest.",
)
@click.option("--drop", is_flag=True, help="Take out names that none of the runs has.")
@click.option("--write", is_flag=True, help="Change the files; without it the changes are only named.")
@speaks_plainly
def manifest(runs: tuple[str, ...], suites: str, drop: bool, write: bool) -> None:
    """What good runs would change in the manifests of their suites: which cases must run, and how long they take.

    \b
    A RUN is a name, the beginning of one, `latest`, or a directory. Runs of whole suites without
    knobs count, on as many kernels and machines as there are.
    harness/subjects/README.md is the format.
    """
    from harness.flow.manifests import offers, renewed, write_manifest
    from harness.suites.registry import suite_named

    wanted = tuple(suite_named(name.strip()).name for name in suites.split(",") if name.strip())
    layout = Layout.from_environment()
    from harness.store.runs import find_run

    offer = offers([find_run(layout, name) for name in runs], wanted)
    for sentence in offer.passed_over:
        click.echo(f"passed over: {sentence}", err=True)
    if not offer.sightings:
        raise UserError(
            "none of the runs says anything of a manifest",
            hint="a good run of a whole suite does: ttm-harness run --suite pressure",
        )
    for name, sightings in offer.sightings.items():
        changed = renewed(name, sightings, drop)
        click.echo(f"{name}: {len(sightings)} boots, {len(changed.manifest.cases)} cases")
        for word, names in (("new", changed.new), ("in no run", changed.unseen), ("seconds", changed.moved)):
            for one in names:
                click.echo(f"  {word:<10}{one}")
        if write:
            click.echo(f"  written   {write_manifest(changed)}")


@results.command()
@click.option("--rebuild", is_flag=True, help="Read every run again, and take over a database of another store.")
@_DB
@_JSON
@speaks_plainly
def index(rebuild: bool, db: str | None, as_json: bool) -> None:
    """Bring the index up to date (every other verb does so, too), and say what it skips."""
    found = _results(db).refresh(rebuild=rebuild)
    if as_json:
        click.echo(to_json(found), nl=False)
        return
    for one in found.skipped:
        click.echo(f"skipped {one.name}: {one.why}")
    click.echo(f"{found.runs} runs with {found.cases} executed cases; {found.read} read now, {found.dropped} dropped")


def _results(db: str | None) -> Results:
    from harness.flow.results import Results

    return Results(Layout.to_read(), TerminalProgress(), db)


def _tell_skipped(skipped: tuple[Skipped, ...]) -> None:
    """A line for each reason, on standard error: there may be many directories of one kind."""
    for why in dict.fromkeys(one.why for one in skipped):
        names = [one.name for one in skipped if one.why == why]
        more = f" and {len(names) - _SHOWN_SKIPPED} more" if len(names) > _SHOWN_SKIPPED else ""
        click.echo(f"skipped {', '.join(names[:_SHOWN_SKIPPED])}{more}: {why}", err=True)


def _refuse_bytes(*texts: str) -> None:
    """No name in the index has bytes in it that are no text, and no database can be asked for them."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"{text!r} is not UTF-8 text, and so the name of nothing here") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _age(text: str, what: str) -> timedelta | None:
    return timedelta(seconds=parse_age(text, what)) if text else None


def _moment(text: str) -> datetime | None:
    """An age or a date -> the moment, in UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - timedelta(seconds=parse_age(text, "--since"))
        except OverflowError:
            raise UserError(f"--since {text!r} is before any date", hint="12h, 30d, 8w") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
