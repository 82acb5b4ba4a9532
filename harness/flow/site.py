# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness results site`: the kept runs as static pages in a directory, made anew only where something changed.

data/ in the directory has a summary of each run; the lists are made of these and of the index. A killed generation
leaves whole pages, and goes on where it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import harness.reports
from harness.flow.results import Results
from harness.flow.site_lists import ListContext, all_lists
from harness.flow.site_run import KeptReports, pages_of_run, read_run
from harness.model.codec import from_json, to_json
from harness.model.errors import HarnessError, StoreCorrupt, UserError
from harness.model.presubmit import PRESUBMIT_PLAN
from harness.model.progress import Progress
from harness.model.results import KeptRun, RunQuery, Skipped, State
from harness.proc import Deadline
from harness.reports.site.values import NightNote, SiteRun, revision_order, series_and_revision
from harness.store.files import explain_os_error, locked, read_regular, write_atomically
from harness.store.layout import Layout

_DATA = "data"
_STATE = "state.json"
_LARGEST = 64 << 20
_LOCK_SECONDS = 3600.0
_ALL = 1_000_000
_NEWEST = 400  # runs whose cases the lists tell of
_PARTS = ("*.py", "site/*.py", "templates/*", "templates/site/*")


@dataclass(frozen=True, slots=True)
class SiteOutcome:
    """What a generation did: runs on the site, runs whose pages were made now, files written and removed, and which
    runs are left out.
    """

    runs: int
    made: int
    written: int
    removed: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """data/RUN.json. `stamp` and `form` say of which report and by which templates its pages were made, `wanted` with
    which run it is to be compared.
    """

    stamp: str
    form: str
    wanted: str
    run: SiteRun


@dataclass
class _Pages:
    """Files below a directory: written where they differ, and what is no page of it any more is removed."""

    root: Path
    written: int = 0
    removed: int = 0
    kept: set[Path] = field(default_factory=set)

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        self.kept.add(path)
        data = text.encode("utf-8", "backslashreplace")
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == len(data) and file.read() == data:
                    return
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)
        part.replace(path)
        self.written += 1

    def sweep(self, folder: str) -> None:
        """Removes the pages of a folder that were not put there."""
        for path in (self.root / folder).rglob("*.html"):
            if path not in self.kept:
                path.unlink()
                self.removed += 1


def write_site(
    layout: Layout, target: Path, progress: Progress, url: str | None = None, notes: Sequence[NightNote] = ()
) -> SiteOutcome:
    """Brings the site in `target` up to date with the kept runs; `notes` go to the pages of their days. UserError for
    a directory with something else in it.
    """
    results = Results(layout, progress, url)
    stamps = results.stamps()
    _claim(target)
    with locked(target / _DATA / ".lock", Deadline(_LOCK_SECONDS), lambda: progress.step(f"waiting for {target}")):
        form = _form()
        state = json.dumps([form, stamps, [to_json(note) for note in notes]], sort_keys=True)
        digest = hashlib.sha256(state.encode()).hexdigest()
        before = _state(target)
        if before.get("state") == digest:
            return SiteOutcome(len(stamps), 0, 0, 0, ())
        listing = results.list(RunQuery(), _ALL)
        try:
            return _bring_up_to_date(
                _Work(layout, target, progress, form, stamps, notes), results, listing.runs, digest
            )
        except OSError as error:
            raise explain_os_error(error, f"cannot write the site {target}") from error


@dataclass(frozen=True, slots=True)
class _Work:
    layout: Layout
    target: Path
    progress: Progress
    form: str
    stamps: dict[str, str]
    notes: Sequence[NightNote]
    reports: KeptReports = field(default_factory=KeptReports)


def _claim(target: Path) -> None:
    """Makes the directory, or takes one that is a site, or empty."""
    try:
        if target.is_dir() and any(target.iterdir()) and not (target / _DATA / _STATE).is_file():
            raise UserError(f"{target} has something else in it than a site", hint="name an empty or a new directory")
        (target / _DATA).mkdir(parents=True, exist_ok=True)
        if not (target / _DATA / _STATE).is_file():
            write_atomically(target / _DATA / _STATE, "{}\n")
    except OSError as error:
        raise explain_os_error(error, f"cannot write the site {target}") from error


def _state(target: Path) -> dict[str, object]:
    try:
        found: object = json.loads(read_regular(target / _DATA / _STATE, _LARGEST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _form() -> str:
    """Changes with the code and the templates that pages are made of."""
    digest = hashlib.sha256()
    room = Path(harness.reports.__file__).parent
    flow = Path(__file__).parent
    for path in sorted([*(one for part in _PARTS for one in room.glob(part)), *flow.glob("site*.py")]):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _bring_up_to_date(work: _Work, results: Results, runs: Sequence[KeptRun], digest: str) -> SiteOutcome:
    pages = _Pages(work.target)
    kept, skipped, made = _summaries(work, runs, pages)
    names = {run.name for run in kept}
    gone = _remove_gone(work.target, names)
    tallies = tuple(one for one in results.tallies(_NEWEST) if one.run in names)
    context = ListContext(work.layout, work.progress, work.target / _DATA, tuple(work.notes))
    for name, text in all_lists(kept, tallies, context):
        pages.put(name, text)
    for folder in ("nights", "series", "kernels", "cases", "figures", "search"):
        pages.sweep(folder)
    for path in work.target.glob("index-*.html"):
        if path not in pages.kept:
            path.unlink()
    write_atomically(work.target / _DATA / _STATE, json.dumps({"state": digest}) + "\n")
    return SiteOutcome(len(kept), made, pages.written, pages.removed + gone, skipped)


def _summaries(
    work: _Work, runs: Sequence[KeptRun], pages: _Pages
) -> tuple[tuple[SiteRun, ...], tuple[Skipped, ...], int]:
    """All runs, the newest first, each with its pages as they should be; and how many were made."""
    whole = (one for one in reversed(runs) if one.plan != PRESUBMIT_PLAN)  # a first answer is none of a revision
    shown = [one for one in whole if one.state is not State.RUNNING]  # the oldest first
    found = {one.name: known for one in shown if (known := _known(work, one)) is not None}
    missing = len(shown) - len(found)
    skipped: list[Skipped] = []
    likes = _Likes()
    made = 0

    def make(one: KeptRun) -> None:
        nonlocal made
        try:
            found[one.name] = kept = _make_run(work, one, likes, pages)
        except HarnessError as error:
            skipped.append(Skipped(one.name, error.message))
            return
        made += 1
        write_atomically(_kept_file(work, one), to_json(kept))
        work.progress.advance(made, max(made, missing), "runs")

    for one in shown:
        if one.name not in found:
            make(one)
        if one.name in found:
            likes.add(found[one.name].run)
    for one in shown:  # of two revisions the later one may have been run first, or what was before is no more there
        if one.name in found and likes.name_before(found[one.name].run) != found[one.name].wanted:
            make(one)
    listed = tuple(found[one.name].run for one in reversed(shown) if one.name in found)
    return listed, tuple(skipped), made


def _kept_file(work: _Work, one: KeptRun) -> Path:
    return work.target / _DATA / f"{one.name}.json"


def _known(work: _Work, one: KeptRun) -> _Kept | None:
    """What was kept of the run, where its pages are as they should be."""
    known = _read_kept(_kept_file(work, one))
    now = (work.stamps.get(one.name, ""), work.form)
    return known if known is not None and (known.stamp, known.form) == now else None


def _read_kept(path: Path) -> _Kept | None:
    try:
        return from_json(_Kept, read_regular(path, _LARGEST).decode())
    except (OSError, UnicodeDecodeError, StoreCorrupt):
        return None


def _make_run(work: _Work, one: KeptRun, likes: _Likes, pages: _Pages) -> _Kept:
    """Reads the run, and puts its pages there."""
    read = read_run(work.layout.runs / one.name, one.state, work.reports)
    other = likes.before(read.summary)
    folder = f"runs/{one.name}"
    try:
        if other is not None:
            read = replace(read, summary=replace(read.summary, against=other.name, against_of=_of(other)))
        mine = list(pages_of_run(read, work.layout, work.reports))
    except HarnessError:  # what it would be compared with is no more to be read, or has nothing in common with it
        read = replace(read, summary=replace(read.summary, against="", against_of=""))
        mine = list(pages_of_run(read, work.layout, work.reports))
    for name, text in mine:
        pages.put(f"{folder}/{name}", text)
    pages.sweep(folder)
    return _Kept(work.stamps.get(one.name, ""), work.form, likes.name_before(read.summary), read.summary)


def _of(run: SiteRun) -> str:
    """In a few words what was run: revisions, or the kernel."""
    return ", ".join(run.series or run.versions)


class _Likes:
    """Runs, and of each the one that it is compared with: of those like it the newest run of its own revision before
    it, else of the last revision before that, whenever that was run.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], list[SiteRun]] = {}

    def add(self, run: SiteRun) -> None:
        for key in _alike(run):
            insort(self._groups.setdefault(key, []), run, key=_order)

    def before(self, run: SiteRun) -> SiteRun | None:
        """None where there is none."""
        for key in _alike(run):
            group = self._groups.get(key, [])
            if place := bisect_left(group, _order(run), key=_order):
                return group[place - 1]
        return None

    def name_before(self, run: SiteRun) -> str:
        found = self.before(run)
        return "" if found is None else found.name


def _alike(run: SiteRun) -> Iterator[tuple[object, ...]]:
    """What two runs have in common that are worth a comparison, most of all if it is the same kernel, too."""
    if not run.boots:
        return
    machines = frozenset((boot.machine, boot.suites) for boot in run.boots)
    names = tuple(series_and_revision(label)[0] for label in run.series)
    release = run.boots[-1].kernel.split(".")[:2]
    plan = run.watched_by or run.plan  # the jobs of a nightly have a name each
    yield plan, names, machines, ".".join(release)
    if names or not run.watched_by:  # a nightly may watch kernels that are years apart
        yield plan, names, machines


def _order(run: SiteRun) -> tuple[tuple[int, int], str]:
    """By the newest revision in it, then by time: a nightly runs the newest of a series first."""
    revision = max((revision_order(series_and_revision(label)[1]) for label in run.series), default=(0, 0))
    return revision, run.name


def _remove_gone(target: Path, names: Iterable[str]) -> int:
    """Removes the pages of runs that are no more."""
    there = set(names)
    removed = 0
    for path in (target / _DATA).glob("*T*-*.json"):
        if path.stem not in there:
            shutil.rmtree(target / "runs" / path.stem, ignore_errors=True)
            path.unlink()
            removed += 1
    return removed
