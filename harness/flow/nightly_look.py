# SPDX-License-Identifier: GPL-2.0-only
"""What is watched, looked at: the kernels and the revisions that there are now, and which of them are new.

A source that cannot be asked is a trouble, and never means that there is nothing new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.flow.nightly_config import NightlyConfig, SeriesWatch, SourceWatch
from harness.inputs.series.lore import fetch_mbox
from harness.inputs.series.mbox import read_file
from harness.inputs.series.patchwork import fetch_listed, list_patchwork
from harness.inputs.series.resolve import resolve_series
from harness.inputs.series.watch import (
    Mail,
    Posted,
    mails_in,
    mails_of_archive,
    mails_of_directory,
    revisions_in,
)
from harness.inputs.source_cache import Work
from harness.inputs.watch import WatchedKernel, watch_git, watch_source
from harness.model.errors import HarnessError, StoreCorrupt
from harness.model.nightly import FoundKernel, FoundRevision, Resend
from harness.model.progress import Progress
from harness.model.series import SeriesSpec
from harness.proc import Deadline
from harness.store.files import write_atomically
from harness.store.layout import Layout
from harness.store.ledger import LedgerEntry, LedgerEvent

_SOURCE_SECONDS = 3600.0
_SERIES_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class NightlySurvey:
    """What there is. `notes` are the ledger's lines for what is new of it."""

    kernels: tuple[FoundKernel, ...]
    revisions: tuple[FoundRevision, ...]
    resends: tuple[Resend, ...]
    troubles: tuple[str, ...]
    notes: tuple[LedgerEntry, ...]


class Looker:
    """Looks at all that is watched, once. Paths of the config begin at `beside`; `place` is the nightly's own."""

    def __init__(
        self,
        config: NightlyConfig,
        beside: Path,
        place: Path,
        past: Sequence[LedgerEntry],
        layout: Layout,
        progress: Progress,
        note: Callable[..., LedgerEntry],
    ) -> None:
        self._config = config
        self._beside = beside
        self._place = place
        self._layout = layout
        self._progress = progress
        self._note = note
        self._seen = {one.key: one for one in past if one.what is LedgerEvent.FOUND}
        self._troubles: list[str] = []
        self._notes: list[LedgerEntry] = []

    def look(self) -> NightlySurvey:
        kernels = [one for source in self._config.source for one in self._kernels(source)]
        revisions: list[FoundRevision] = []
        resends: list[Resend] = []
        for series in self._config.series:
            found, again = self._series(series)
            revisions += found
            resends += again
        return NightlySurvey(
            tuple(kernels), tuple(revisions), tuple(resends), tuple(self._troubles), tuple(self._notes)
        )

    def _work(self, seconds: float) -> Work:
        return Work(self._layout, Deadline(seconds), self._progress)

    def _kernels(self, source: SourceWatch) -> list[FoundKernel]:
        self._progress.step(f"looking at {source.name}")
        try:
            found = list(self._watched(source))
        except HarnessError as error:
            self._troubles.append(f"the source {source.name} could not be asked: {error.message}")
            return []
        return [
            FoundKernel(
                source.name,
                one.ref,
                str(one.spec),
                one.id,
                one.label,
                self._is_new(f"kernel {source.name} {one.ref} {one.id}", one.label),
            )
            for one in found
        ]

    def _watched(self, source: SourceWatch) -> Iterator[WatchedKernel]:
        work = self._work(_SOURCE_SECONDS)
        if source.source is not None:
            yield watch_source(source.source, work)
        else:
            yield from watch_git(self._path(source.git), source.refs, source.newest, source.fetch, work)

    def _is_new(self, key: str, label: str, family: str = "") -> bool:
        if key in self._seen:
            return False
        entry = self._note(LedgerEvent.FOUND, key=key, label=label, family=family)
        self._seen[key] = entry
        self._notes.append(entry)
        return True

    def _series(self, watch: SeriesWatch) -> tuple[list[FoundRevision], list[Resend]]:
        self._progress.step(f"looking at {watch.name}")
        try:
            posted = list(revisions_in(self._mails(watch), watch.watched))
        except HarnessError as error:
            self._troubles.append(f"the series {watch.name} could not be looked for: {error.message}")
            return [], []
        families: dict[str, list[Posted]] = {}
        for one in posted:
            families.setdefault(one.family, []).append(one)
        found: list[FoundRevision] = []
        resends: list[Resend] = []
        for family in families.values():
            revisions, again = self._family(watch, family)
            found += revisions
            resends += again
        return found, resends

    def _mails(self, watch: SeriesWatch) -> list[Mail]:
        work = self._work(_SERIES_SECONDS)
        if watch.mboxes:
            mails, troubles = mails_of_directory(self._path(watch.mboxes))
            self._troubles += (f"the series {watch.name}: {one}" for one in troubles)
            return mails
        if watch.archive:
            since = datetime.now(UTC) - timedelta(seconds=watch.since)
            return mails_of_archive(self._path(watch.archive), since.isoformat(timespec="seconds"), work)
        if watch.lore:
            return mails_in(fetch_mbox(watch.lore, work, newer=True), f"the thread of {watch.lore}")
        return [mail for data in self._patchwork(watch, work) for mail in mails_in(data, watch.patchwork)]

    def _patchwork(self, watch: SeriesWatch, work: Work) -> Iterator[bytes]:
        """The mboxes of a patchwork's newest series. What has an address never changes, and is fetched once."""
        kept = self._place / "patchwork"
        kept.mkdir(exist_ok=True)
        for listed in list_patchwork(watch.patchwork, work):
            path = kept / f"{hashlib.sha256(f'{watch.patchwork} {listed.path}'.encode()).hexdigest()[:24]}.mbox"
            if not path.is_file():
                write_atomically(path, fetch_listed(watch.patchwork, listed, work))
            yield read_file(path)

    def _family(self, watch: SeriesWatch, posted: Sequence[Posted]) -> tuple[list[FoundRevision], list[Resend]]:
        """The newest revisions of a family, the oldest first, and what only repeats one."""
        name = self._name_of(watch, posted)
        revisions: dict[str, FoundRevision] = {}
        resends: list[Resend] = []
        for one in sorted(posted, key=lambda one: (one.date, one.series.revision, one.series.point)):
            label = one.series.label
            if one.trouble:
                if self._is_new(f"part {watch.name} {label} {one.message_id}", label, name):
                    self._troubles.append(f"{label} of {watch.name} cannot be tested: {one.trouble}")
                continue
            if (first := revisions.get(one.series.id)) is not None:
                new = self._is_new(f"resend {watch.name} {one.message_id} {label}", label, name)
                resends.append(Resend(watch.name, label, one.message_id, first.label, new))
                continue
            if (kept := self._keep(watch, one)) is not None:
                revisions[one.series.id] = replace(kept, family=name)
        newest = list(revisions.values())[-watch.revisions :]
        return [
            replace(
                one,
                newest=one is newest[-1],
                new=self._is_new(f"revision {watch.name} {one.id}", one.label, name),
            )
            for one in newest
        ], resends

    def _name_of(self, watch: SeriesWatch, posted: Sequence[Posted]) -> str:
        """A family keeps its name when its first mails are gone from what is looked at."""
        for one in posted:
            if (known := self._seen.get(f"revision {watch.name} {one.series.id}")) is not None:
                return known.family
        return posted[0].family

    def _keep(self, watch: SeriesWatch, one: Posted) -> FoundRevision | None:
        """A copy in the store, which no list and no mirror can change, read once more to see that it is the same."""
        series = one.series
        folder = self._place / "series"
        folder.mkdir(exist_ok=True)
        path = folder / f"{series.id[:16]}.mbox"
        spec = SeriesSpec.parse(f"mbox:{path}{one.pick}")
        try:
            if not path.is_file():
                write_atomically(path, one.mbox)
            again = resolve_series(spec, self._work(_SERIES_SECONDS))
            if again.id != series.id:
                raise StoreCorrupt(f"{path} holds other patches than were found")
        except HarnessError as error:
            path.unlink(missing_ok=True)  # of a mail that came damaged, and may come whole tomorrow
            self._troubles.append(f"{series.label} of {watch.name} cannot be kept: {error.message}")
            return None
        return FoundRevision(
            watch=watch.name,
            family=one.family,
            label=series.label,
            revision=series.revision,
            date=one.date,
            id=series.id,
            spec=str(spec),
            message_id=one.message_id,
            patches=len(series.patches),
        )

    def _path(self, text: str) -> Path:
        path = Path(text).expanduser()
        return path if path.is_absolute() else self._beside / path
