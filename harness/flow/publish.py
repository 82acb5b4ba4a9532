# SPDX-License-Identifier: GPL-2.0-only
"""A night, published: its summary, the reports of what it ran, and the pages of all runs, as files that others can
fetch or serve. Nothing is sent here; outbox.py does that.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from pathlib import Path

from harness.flow.nightly_config import PublishConfig
from harness.flow.run_loader import read_plots, read_report
from harness.flow.site import write_site
from harness.flow.tell import again_lines, posting_of, record_of
from harness.model.codec import to_json
from harness.model.errors import HarnessError
from harness.model.nightly import Against, Night
from harness.model.outcome import Verdict
from harness.model.progress import Progress
from harness.model.result import Report
from harness.reports.html import report_html
from harness.reports.junit import to_junit
from harness.reports.kcidb import to_kcidb
from harness.reports.mail import Envelope, SentSeries, draft
from harness.reports.nightly import print_night
from harness.reports.site.values import NightNote
from harness.reports.text import print_report
from harness.store.files import explain_os_error, write_atomically
from harness.store.layout import Layout
from harness.store.ledger import LedgerEntry, LedgerEvent

SUMMARY = "summary"
LATEST = "latest"
SITE = "site"
_NOTED = 400  # nights of which the pages tell


@dataclass(frozen=True, slots=True)
class Publisher:
    """Where what a night tells is put: `target` is the directory, `past` the ledger with the nights before."""

    layout: Layout
    target: Path
    config: PublishConfig
    progress: Progress
    past: tuple[LedgerEntry, ...] = ()

    def publish(self, night: Night) -> list[str]:
        """Writes TARGET/NIGHT/, TARGET/latest.* and TARGET/site/; a sentence for each thing that could not be, which
        keeps nothing else back. To do it again changes nothing. InfraError where no summary can be written.
        """
        place = self.target / night.name
        troubles: list[str] = []
        try:
            place.mkdir(parents=True, exist_ok=True)
            text, plain = text_of(night), to_json(night)
            for path in (place / SUMMARY, self.target / LATEST):
                write_atomically(path.with_suffix(".txt"), text)
                write_atomically(path.with_suffix(".json"), plain)
        except OSError as error:
            raise explain_os_error(error, f"the summary cannot be written to {place}") from error
        runs = {row.result.run: row.result.against for row in night.rows if row.tonight and row.result.run}
        for run, earlier in runs.items():
            forms = _Forms(self.layout.runs / run, place, self, earlier)
            troubles += self._written(f"of the run {run}", forms.all())
        if self.config.site:
            troubles += self._written("of all runs", [("the pages", lambda: self._site(night))])
        return troubles

    def _written(self, of: str, parts: Iterable[tuple[str, Callable[[], object]]]) -> Iterator[str]:
        """Does each; a sentence for each that fails."""
        for words, write in parts:
            try:
                write()
            except HarnessError as error:
                yield f"{words} {of} are not published: {error.message}"
            except OSError as error:
                yield f"{words} {of} are not published: {explain_os_error(error, 'no file').message}"

    def _site(self, night: Night) -> None:
        write_site(self.layout, self.target / SITE, self.progress, notes=notes_of(self.past, night))


class _Forms:
    """A run's report in each of its forms, and what others are told of it, as files that nobody sends."""

    def __init__(self, directory: Path, place: Path, publisher: Publisher, earlier: Sequence[Against]) -> None:
        self._directory = directory
        self._name = place / directory.name
        self._publisher = publisher
        self._earlier = earlier

    def all(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Each by its words; where the report cannot be read, one that says so."""
        try:
            report = read_report(self._directory)
        except HarnessError as error:
            yield "the reports", partial(_fail, error)
            return
        yield "the report", partial(self._report, report)
        yield "the KCIDB JSON and the draft of a mail", partial(self._drafts, report)

    def _report(self, report: Report) -> None:
        page = io.StringIO()
        print_report(report, self._directory, page)
        self._put(".txt", page.getvalue())
        self._put(".json", to_json(report))
        self._put(".xml", to_junit(report))
        self._put(".html", report_html(report, self._directory, read_plots(report, self._directory)))

    def _drafts(self, report: Report) -> None:
        parts = self._publisher
        posting = posting_of(report, record_of(self._directory), parts.layout, parts.progress)
        self._put(".kcidb.json", to_kcidb(report, parts.config.origin, posting.message_id))
        if posting.label:
            self._put(".eml", mail_of(report, self._directory, posting, parts.config, self._earlier).as_bytes())

    def _put(self, suffix: str, content: str | bytes) -> None:
        write_atomically(self._name.with_name(self._name.name + suffix), content)


def _fail(error: HarnessError) -> None:
    raise error


def mail_of(
    report: Report, directory: Path, posting: SentSeries, config: PublishConfig, earlier: Sequence[Against]
) -> EmailMessage:
    """The mail to those who are to know of a series; `earlier` is what the night compared the run with."""
    mail = config.mail
    envelope = Envelope(mail.sender, mail.to, page_url(config, directory.name))
    again = again_lines(report, record_of(directory), posting.message_id)
    return draft(report, posting, envelope, again, earlier)


def page_url(config: PublishConfig, run: str) -> str:
    """Where people find the page of a run; empty where that is not known."""
    return f"{config.url}/{SITE}/runs/{run}/index.html" if config.url and config.site else config.url


def notes_of(past: Iterable[LedgerEntry], night: Night) -> tuple[NightNote, ...]:
    """What nights say of their days, on the pages: of each day those of that day, the newest last. A night that had
    nothing to do says nothing there.
    """
    closed = [
        (one.night, Verdict(one.label), one.reasons)
        for one in past
        if one.what is LedgerEvent.CLOSED and not one.idle and one.night != night.name
    ][-_NOTED:]
    if not night.idle or night.troubles:
        closed.append((night.name, night.verdict, night.reasons))
    days: dict[str, list[tuple[str, Verdict, tuple[str, ...]]]] = {}
    for one in closed:
        days.setdefault(day_of(one[0]), []).append(one)
    return tuple(_note(day, nights) for day, nights in days.items())


def _note(day: str, nights: Sequence[tuple[str, Verdict, tuple[str, ...]]]) -> NightNote:
    sentences = [
        f"night of {_clock(name)} UTC: {verdict}{f': {reason}' if reason else ''}"
        for name, verdict, reasons in nights
        for reason in reasons or ("",)
    ]
    links = [(f"summary of the night of {_clock(name)} UTC", f"../../{name}/{SUMMARY}.txt") for name, _, _ in nights]
    return NightNote(day, nights[-1][1], tuple(sentences), tuple(links))


def day_of(night: str) -> str:
    """20261130T190000 -> 2026-11-30."""
    return f"{night[:4]}-{night[4:6]}-{night[6:8]}"


def _clock(night: str) -> str:
    """20261130T190000 -> 19:00."""
    return f"{night[9:11]}:{night[11:13]}"


def text_of(night: Night) -> str:
    """The summary for people."""
    page = io.StringIO()
    print_night(night, page)
    return page.getvalue()
