# SPDX-License-Identifier: GPL-2.0-only
"""What a night sends to others: each thing once, however often the night is killed and started again.

That it is about to go is on the disk before it goes. So what was cut in the middle is not sent a second time: whether
it arrived is then for a person to see, and is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.flow.nightly_config import NightlyConfig, PublishConfig, SeriesWatch
from harness.flow.publish import mail_of, page_url
from harness.flow.run_loader import read_report
from harness.flow.tell import PatchworkProject, checks_of, notice, notify, posting_of, record_of, send_mail
from harness.model.codec import to_json
from harness.model.errors import HarnessError, InfraError
from harness.model.nightly import JobRow, Night
from harness.model.outcome import Verdict
from harness.model.progress import Progress
from harness.model.result import Report
from harness.reports.mail import SentSeries
from harness.store.layout import Layout
from harness.store.ledger import LedgerEntry, LedgerEvent

_STATES = (LedgerEvent.SENDING, LedgerEvent.SENT, LedgerEvent.UNSENT)


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """Something that goes to others once. `key` and `words` tell it from the others that go together with it."""

    key: str
    words: str
    send: Callable[[], object]


class Outbox:
    """Sends parcels. `note` puts a line into the ledger, and returns when that is on the disk."""

    def __init__(self, past: Iterable[LedgerEntry], note: Callable[[LedgerEvent, str, str], object]) -> None:
        self._states = {one.key: one.what for one in past if one.what in _STATES}
        self._note = note

    def failed_before(self, prefix: str) -> bool:
        """Whether something whose key begins so was refused when it was last tried."""
        return any(key.startswith(prefix) and state is LedgerEvent.UNSENT for key, state in self._states.items())

    def send_these(self, key: str, words: str, parcels: Iterable[OutboxItem]) -> list[str]:
        """Sends each that did not go earlier; a sentence for each that does not go. `parcels` may fail while they are
        made, of which nothing goes then; that is tried again in another night.
        """
        made_key = f"{key} made"
        try:
            made = list(parcels)
        except HarnessError as error:
            self._enter(LedgerEvent.UNSENT, made_key, error.message)
            return [f"{words}: nothing was sent: {error.message}"]
        if self._states.get(made_key) is LedgerEvent.UNSENT:
            self._enter(LedgerEvent.SENT, made_key)
        said = (self._send(f"{key}{one.key}", one) for one in made)
        return [f"{words}: {sentence}" for sentence in said if sentence]

    def _send(self, key: str, one: OutboxItem) -> str:
        """Empty when it is gone, now or earlier; else a sentence."""
        match self._states.get(key):
            case LedgerEvent.SENT:
                return ""
            case LedgerEvent.SENDING:
                return f"whether {one.words} arrived is not known: it was cut, and is not sent again"
        self._enter(LedgerEvent.SENDING, key)
        try:
            one.send()
        except HarnessError as error:
            self._enter(LedgerEvent.UNSENT, key, error.message)
            return f"{one.words} was not sent: {error.message}"
        self._enter(LedgerEvent.SENT, key)
        return ""

    def _enter(self, what: LedgerEvent, key: str, label: str = "") -> None:
        self._note(what, key, label)
        self._states[key] = what


@dataclass(frozen=True, slots=True)
class _Told:
    """A run that ended, and what is asked for to tell of it."""

    row: JobRow
    config: NightlyConfig
    layout: Layout
    progress: Progress

    @property
    def publish(self) -> PublishConfig:
        return self.config.publish

    @property
    def watch(self) -> SeriesWatch | None:
        return next((one for one in self.config.series if one.name == self.row.job.watch), None)

    @property
    def is_of_the_newest(self) -> bool:
        """A verdict over the newest revision of a series: that alone is mail for its author, and a check."""
        job = self.row.job
        return bool(job.series) and job.current and self.row.result.verdict is not Verdict.CANNOT_TELL

    @property
    def directory(self) -> Path:
        return self.layout.runs / self.row.result.run

    @property
    def url(self) -> str:
        return page_url(self.publish, self.row.result.run)

    def posting(self, report: Report) -> SentSeries:
        found = posting_of(report, record_of(self.directory), self.layout, self.progress)
        if not found.message_id or not all(found.patch_ids):
            raise InfraError("the Message-IDs of the series are not known")
        return found


def send_all(night: Night, config: NightlyConfig, layout: Layout, progress: Progress, outbox: Outbox) -> list[str]:
    """Sends what the config says of what ended tonight, and of what was refused in a night before. Sentences for what
    went wrong; one thing that fails keeps nothing else back.
    """
    troubles: list[str] = []
    for row in night.rows:
        run = row.result.run
        if run and not row.result.left and (row.tonight or outbox.failed_before(f"{run} ")):
            told = _Told(row, config, layout, progress)
            for words, parcels in (("mail", _mails), ("checks", _checks), ("notice", _notices)):
                troubles += outbox.send_these(f"{run} {words}", f"the {words} of {run}", parcels(told))
    if config.publish.notify and (troubles or night.troubles or not night.idle):
        troubles += outbox.send_these(f"{night.name} notice", "the notice of the night", _of_night(night, config))
    return troubles


def _mails(told: _Told) -> Iterator[OutboxItem]:
    if told.is_of_the_newest and told.publish.mail.send:
        report = read_report(told.directory)
        earlier = told.row.result.against
        mail = mail_of(report, told.directory, told.posting(report), told.publish, earlier)
        yield OutboxItem("", "it", lambda: send_mail(mail, told.publish.mail.send))


def _checks(told: _Told) -> Iterator[OutboxItem]:
    """A parcel for each check, so that none is posted twice because another one failed."""
    if told.is_of_the_newest and told.watch is not None and told.watch.checks:
        report = read_report(told.directory)
        project = PatchworkProject(told.watch.checks)
        for patch, check in checks_of(report, project.patches(told.posting(report).patch_ids), told.url):
            send = partial(project.post, patch, check)
            yield OutboxItem(f" {patch} {check.context}", f"{check.context} of patch {patch}", send)


def _notices(told: _Told) -> Iterator[OutboxItem]:
    if told.publish.notify:
        what = notice(read_report(told.directory), told.directory, told.url)
        yield OutboxItem("", "it", lambda: notify(told.publish.notify, what))


def _of_night(night: Night, config: NightlyConfig) -> Iterator[OutboxItem]:
    plain = json.loads(to_json(night))
    yield OutboxItem("", "it", lambda: notify(config.publish.notify, plain))
