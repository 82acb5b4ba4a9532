# SPDX-License-Identifier: GPL-2.0-only
"""A report told to others, each only because a command says so: a mail server, a patchwork, a command of the user's.

The only module that sends anything. Passwords and tokens come from the environment, never from the command line.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import smtplib
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import localtime
from pathlib import Path

from harness.flow.run_command import run_command_of
from harness.flow.run_record import Record, load_record
from harness.inputs.series.resolve import FetchOptions, resolve_series
from harness.inputs.source_cache import Work
from harness.model.compare import Leg
from harness.model.errors import HarnessError, InfraError, UserError
from harness.model.gate import Mark, PatchGate
from harness.model.outcome import Verdict
from harness.model.progress import Progress
from harness.model.result import Report
from harness.model.series import Series, SeriesSpec
from harness.model.visible import visible_field
from harness.proc import Deadline, run
from harness.reports.mail import GATE, SentSeries
from harness.store.layout import Layout
from harness.store.rows import series_of

SMTP_PASSWORD = "TTM_HARNESS_SMTP_PASSWORD"
PATCHWORK_TOKEN = "TTM_HARNESS_PATCHWORK_TOKEN"
NOTICE_SCHEMA = "ttm-harness/notice/1"
CONTEXT = "ttm-harness"
_SECONDS = 60.0
_COMMAND_SECONDS = 600.0
_LONGEST = 250  # characters of a description
_LARGEST_ANSWER = 4 << 20
_STATES = {Verdict.GOOD: "success", Verdict.BAD: "fail", Verdict.CANNOT_TELL: "warning"}
_MARKS = {Mark.OK: "success", Mark.WARN: "warning", Mark.NOT_RUN: "warning", Mark.BAD: "fail"}
_ADDRESS = re.compile(
    r"(?P<root>(?:/.+?)??)/(?:api/(?:\d\.\d/)?)?(?P<kind>series|patch|patches)/(?P<number>\d{1,12})/?"
)
_PROJECT = re.compile(r"(?P<root>(?:/.+?)??)/project/(?P<project>[A-Za-z0-9._-]{1,100})/?")


def record_of(directory: Path) -> Record | None:
    """None where only the report was kept."""
    try:
        return load_record(directory)
    except HarnessError:
        return None


def posting_of(report: Report, record: Record | None, layout: Layout, progress: Progress) -> SentSeries:
    """The series on trial, read again from where it was, for its Message-ID; what cannot be read is not known."""
    spec = _spec(record)
    label = series_of(report.provenance) or next((gate.series for gate in report.gates), "")
    if spec is None:
        return SentSeries(label)
    try:
        found = resolve_series(spec, Work(layout, Deadline(_SECONDS), progress), FetchOptions(partial=True))
    except HarnessError as error:
        progress.step(f"the series {spec} cannot be read again, and so its Message-ID is not known: {error.message}")
        return SentSeries(label)
    return _posting(found)


def _spec(record: Record | None) -> SeriesSpec | None:
    kernels = (request.kernel for request in record.requests) if record is not None else ()
    return next((kernel.series for kernel in kernels if kernel.series is not None), None)


def _posting(series: Series) -> SentSeries:
    if series.cover is not None:
        first = (series.cover.subject, series.cover.message_id, series.cover.author)
    else:
        patch = series.patches[0]
        first = (patch.subject, patch.message_id, patch.author)
    subject, message_id, author = first
    return SentSeries(
        series.label,
        f"{subject} ({series.label.rpartition(' ')[2]})",
        message_id,
        author,
        len(series.patches),
        patch_ids=tuple(patch.message_id for patch in series.patches),
    )


def again_lines(report: Report, record: Record | None, message_id: str = "") -> list[tuple[str, str]]:
    """Each boot of the tip, and the command that makes it again; first that of a gate that was bad. A series in a
    file of this host is named by its `message_id`, by which others find it.
    """
    posted = SeriesSpec.parse(f"lore:{message_id}") if message_id else None
    lines = [(one.id, run_command_of(one, record, posted)) for one in report.runs if one.leg is Leg.TIP]
    spec = posted or _spec(record)
    if spec is not None and any(gate.verdict is not Verdict.GOOD for gate in report.gates):
        source = _source(record)
        words = ["ttm-harness", "series", "gate", str(spec), *(["--source", source] if source else [])]
        lines.insert(0, (GATE, shlex.join(words)))
    return lines


def _source(record: Record | None) -> str:
    kernels = (request.kernel for request in record.requests) if record is not None else ()
    return next((str(kernel.source) for kernel in kernels if kernel.series is not None and kernel.source), "")


# Mail


def send_mail(mail: EmailMessage, server: str) -> None:
    """Hands the mail to `smtp://[USER@]HOST[:PORT]` or `smtps://…`. UserError for what is no such address or a mail
    without sender or receiver, InfraError for a server that does not take it.
    """
    parts = mail_server(server)
    for header, option in (("From", "--from"), ("To", "--to")):
        if not mail[header]:
            raise UserError(f"the mail has no {header}", hint=f"give {option}")
    if not mail["Date"]:
        mail["Date"] = localtime()
    try:
        with _connected(parts) as connection:
            if parts.username:
                _require_secret(parts, connection)
                connection.login(urllib.parse.unquote(parts.username), os.environ.get(SMTP_PASSWORD, ""))
            refused = connection.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        raise InfraError(f"{parts.hostname} does not take the mail: {error}", hint="nothing was sent") from error
    if refused:
        raise InfraError(f"{parts.hostname} does not take the mail for {', '.join(refused)}")


def mail_server(text: str) -> urllib.parse.SplitResult:
    """`smtp://[USER@]HOST[:PORT]` or `smtps://…`; UserError for anything else."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.password:
        raise UserError(
            f"{text!r} is no mail server",
            hint=f"smtp://[USER@]HOST[:PORT] or smtps://…; the password is in {SMTP_PASSWORD}",
        )
    return parts


def _require_secret(parts: urllib.parse.SplitResult, connection: smtplib.SMTP) -> None:
    """A password goes over no wire that others can read."""
    if not isinstance(connection.sock, ssl.SSLSocket) and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise UserError(
            f"{parts.hostname} would get the password in the clear", hint="smtps://, or a server with STARTTLS"
        )


def _connected(parts: urllib.parse.SplitResult) -> smtplib.SMTP:
    host, port = parts.hostname or "", parts.port or 0
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=_SECONDS)
    connection = smtplib.SMTP(host, port, timeout=_SECONDS)
    try:
        connection.ehlo()
        if connection.has_extn("starttls"):
            connection.starttls(context=ssl.create_default_context())
            connection.ehlo()
    except BaseException:
        connection.close()
        raise
    return connection


def require_whole(report: Report) -> None:
    """UserError for a first answer of a few cases, of which others are not to be told as of a whole."""
    if report.presubmit is not None:
        raise UserError(
            f"{report.id} was a run with --presubmit, which is no check of a series: a few cases were run",
            hint="run it without --presubmit",
        )


# Patchwork


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one patch, in the words of patchwork."""

    state: str
    context: str
    description: str
    target_url: str = ""


def post_checks(report: Report, url: str, target_url: str = "") -> list[tuple[int, Check]]:
    """Posts what the report says to the series or the patch at `url`, and returns what was posted, each with the
    number of its patch. The verdict goes to the last patch of a series, what the gate said to each. UserError for a
    first answer of a few cases.
    """
    require_whole(report)
    site = _Patchwork(url)
    patches = site.patches()
    posted = list(checks_of(report, patches, target_url))
    for patch, check in posted:
        site.post(patch, check)
    return posted


def checks_of(report: Report, patches: Sequence[int], target_url: str = "") -> Iterator[tuple[int, Check]]:
    """The checks for the patches of these numbers, in their order."""
    for gate in report.gates:
        if len(gate.patches) == len(patches):
            for number, patch in zip(patches, gate.patches, strict=True):
                yield number, _gate_check(patch, target_url)
    said = "; ".join(report.reasons) or f"{len(report.runs)} boots, {len(report.cases)} cases"
    yield patches[-1], Check(_STATES[report.verdict], CONTEXT, _short(f"{report.verdict}: {said}"), target_url)


def _gate_check(patch: PatchGate, target_url: str) -> Check:
    order = (Mark.OK, Mark.NOT_RUN, Mark.WARN, Mark.BAD)
    worst = max((check.mark for check in patch.checks), key=order.index, default=Mark.NOT_RUN)
    told = [f"{one.name} {one.mark}: {one.message}" for one in patch.checks if one.mark is not Mark.OK]
    words = "; ".join(told) or f"{len(patch.checks)} checks ok"
    return Check(_MARKS[worst], f"{CONTEXT}-gate", _short(words), target_url)


def _short(text: str) -> str:
    line = visible_field(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


class PatchworkSite:
    """A patchwork's REST interface; whatever it says of addresses, only the host of the URL is asked."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._token = os.environ.get(PATCHWORK_TOKEN, "")
        if not self._token:
            raise UserError(
                "a patchwork takes checks only from whom it knows", hint=f"put your token in {PATCHWORK_TOKEN}"
            )

    def post(self, patch: int, check: Check) -> None:
        sent = {"state": check.state, "context": check.context, "description": check.description}
        if check.target_url:
            sent["target_url"] = check.target_url
        self._ask("POST", f"/patches/{patch}/checks/", sent)

    def _ask(self, method: str, path: str, sent: dict[str, str] | None = None) -> object:
        url = self._api + path
        headers = {"Accept": "application/json", "User-Agent": "ttm-harness", "Authorization": f"Token {self._token}"}
        data = None
        if sent is not None:
            data = json.dumps(sent).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                return json.loads(answer.read(_LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode("utf-8", "replace")
            hint = f"look at {PATCHWORK_TOKEN}" if error.code in (401, 403) else "look at the address"
            raise InfraError(f"{url} answers {error.code}: {visible_field(said)}", hint=hint) from error
        except (OSError, ValueError) as error:
            raise InfraError(f"{url} cannot be asked: {error}", hint="is it a patchwork?") from error


class _Patchwork(PatchworkSite):
    """A series or a patch, by its address."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        match = _ADDRESS.fullmatch(parts.path)
        if parts.scheme not in ("http", "https") or not parts.netloc or match is None:
            raise UserError(
                f"{url!r} is no series or patch of a patchwork",
                hint="https://HOST/api/series/NUMBER/ or https://HOST/api/patches/NUMBER/",
            )
        super().__init__(f"{parts.scheme}://{parts.netloc}{match['root']}/api")
        self._is_series, self._number = match["kind"] == "series", int(match["number"])

    def patches(self) -> list[int]:
        """The numbers of the patches, in the order of the series."""
        if not self._is_series:
            return [self._number]
        answer = self._ask("GET", f"/series/{self._number}/")
        listed = answer.get("patches") if isinstance(answer, dict) else None
        return _numbers(listed, f"{self._api}/series/{self._number}/")


def _numbers(listed: object, where: str) -> list[int]:
    found = [one.get("id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    numbers = [one for one in found if isinstance(one, int)]
    if not numbers or len(numbers) != len(found):
        raise InfraError(f"{where} names no patches", hint="is it a patchwork?")
    return numbers


def patchwork_project(text: str) -> tuple[str, str]:
    """`https://HOST/project/NAME/` -> where its interface is, and the name; UserError for anything else."""
    parts = urllib.parse.urlsplit(text)
    match = _PROJECT.fullmatch(parts.path)
    if parts.scheme not in ("http", "https") or not parts.netloc or match is None:
        raise UserError(f"{text!r} is no project of a patchwork", hint="https://HOST/project/NAME/")
    return f"{parts.scheme}://{parts.netloc}{match['root']}/api/1.2", match["project"]


class PatchworkProject(PatchworkSite):
    """A project of a patchwork (2.2 or later), in which patches are found by the Message-IDs of their mails."""

    def __init__(self, url: str) -> None:
        api, self._project = patchwork_project(url)
        super().__init__(api)

    def patches(self, message_ids: Sequence[str]) -> list[int]:
        """The numbers of the patches, in that order; InfraError for one that the project does not have."""
        return [self._patch(one) for one in message_ids]

    def _patch(self, message_id: str) -> int:
        asked = urllib.parse.urlencode({"project": self._project, "msgid": message_id})
        answer = self._ask("GET", f"/patches/?{asked}")
        if answer == []:
            raise InfraError(f"{self._api} has no patch <{visible_field(message_id)}> in {self._project}")
        return _numbers(answer, f"{self._api}/patches/?{asked}")[0]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token is for one host alone."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


# A command of the user's


def notice(report: Report, directory: Path, url: str = "") -> dict[str, object]:
    """What a command of the user's gets on its standard input."""
    return {
        "schema": NOTICE_SCHEMA,
        "run": report.id,
        "directory": str(directory),
        "url": url,
        "verdict": str(report.verdict),
        "reasons": list(report.reasons),
        "presubmit": report.presubmit.sentence if report.presubmit is not None else "",
        "kernel": report.provenance.tree_version,
        "base": report.base.tree_version if report.base is not None else "",
        "series": series_of(report.provenance),
        "boots": len(report.runs),
        "findings": [
            {"suite": case.suite, "name": case.name, "outcome": str(case.outcome), "message": case.message}
            for case in report.cases
            if case.outcome.finding
        ][:100],
    }


def notify(command: str, what: object) -> None:
    """Runs the command with the JSON on its standard input; CommandFailed when it fails."""
    words = command_words(command)
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(what).encode() + b"\n")
        file.seek(0)
        run(words, deadline=Deadline(_COMMAND_SECONDS), stdin=file, env=dict(os.environ))


def command_words(command: str) -> tuple[str, ...]:
    """The words of a command, split as a shell does; UserError for what has none."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UserError(f"--notify {command!r} cannot be split into words: {error}") from error
    if not words:
        raise UserError("--notify names no command")
    return words
