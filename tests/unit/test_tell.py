# SPDX-License-Identifier: GPL-2.0-only
"""A report told to others: to a real SMTP server, to a patchwork, to a command, to b4. Nothing is told unasked.

The patchwork is a fake that does what the real one's REST interface does with checks: tokens, 401, 400 with a reason
for each field that it does not take (https://patchwork.readthedocs.io/en/latest/api/rest/schemas/v1.3/).
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from click.testing import CliRunner

from harness.cli.verbs import cli
from harness.flow.b4 import b4_json, b4_lines, said_of, worst
from harness.flow.tell import (
    PATCHWORK_TOKEN,
    again_lines,
    checks_of,
    notice,
    notify,
    post_checks,
    posting_of,
    send_mail,
)
from harness.model.errors import CommandFailed, InfraError, UserError
from harness.model.gate import GATE_SCHEMA, Gate, GateCheck, Mark, PatchGate
from harness.model.outcome import Outcome, Verdict
from harness.model.presubmit import Presubmit
from harness.model.result import Report
from harness.reports.mail import GATE
from harness.store.layout import Layout
from harness.store.runs import load_report, run_directories
from tests.conftest import require_module
from tests.unit.results_support import Quiet, keep, plain_report
from tests.unit.series_support import Repo

TOKEN = "0123456789abcdef"


# Mail


class Taken:
    """What an SMTP server was given; `refuses` makes it say no."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.mails: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return "554 not here" if self.refuses else "250 taken"


@contextmanager
def smtp_server(taken: Taken) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(taken, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


def mail(**headers: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in {"From": "ci@example.org", "To": "list@example.org", "Subject": "s", **headers}.items():
        if value:
            made[name] = value
    made.set_content("the body: ✓\n")
    return made


def test_a_server_gets_the_mail() -> None:
    taken = Taken()
    with smtp_server(taken) as server:
        send_mail(mail(), server)
    (envelope,) = taken.mails
    assert envelope.mail_from == "ci@example.org" and envelope.rcpt_tos == ["list@example.org"]
    assert "Subject: s" in str(
        envelope.content if isinstance(envelope.content, str) else (envelope.content or b"").decode()
    )


def test_a_server_that_refuses_is_told_of() -> None:
    with smtp_server(Taken(refuses=True)) as server, pytest.raises(InfraError, match="not here"):
        send_mail(mail(), server)
    with pytest.raises(InfraError, match="does not take the mail"):
        send_mail(mail(), "smtp://127.0.0.1:1")


@pytest.mark.parametrize("server", ["127.0.0.1", "http://host", "smtp://", "smtp://user:secret@host"])
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(UserError, match="no mail server"):
        send_mail(mail(), server)


@pytest.mark.parametrize("missing", ["From", "To"])
def test_a_mail_needs_both_ends(missing: str) -> None:
    with pytest.raises(UserError, match=f"no {missing}"):
        send_mail(mail(**{missing: ""}), "smtp://127.0.0.1:1")


# Patchwork


class FakePatchwork(ThreadingHTTPServer):
    """Series 7 of the project p has the patches 71, 72 and 73, from 1@a, 2@a and 3@a. `checks` are (patch, fields) as
    they were posted; those of patches that are `refused` are not taken.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Patchwork)
        self.checks: list[tuple[int, dict[str, str]]] = []
        self.refused: set[int] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Patchwork(BaseHTTPRequestHandler):
    server: FakePatchwork

    def _answer(self, status: int, what: object) -> None:
        data = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/moved/api/series/7/":
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/api/series/7/")
            self.end_headers()
        elif self.path == "/api/series/7/":
            self._answer(200, {"id": 7, "patches": [{"id": number} for number in (71, 72, 73)]})
        elif match := re.fullmatch(r"/api/1\.2/patches/\?project=(\w)&msgid=(\d)%40a", self.path):
            self._answer(200, [{"id": 70 + int(match[2])}] if match[1] == "p" else [])
        else:
            self._answer(404, {"detail": "Not found."})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match = re.fullmatch(r"/api/(?:1\.2/)?patches/(7[123])/checks/", self.path)
        if match is not None and int(match[1]) in self.server.refused:
            self._answer(503, {"detail": "not now"})
        elif match is None:
            self._answer(404, {"detail": "Not found."})
        elif self.headers["Authorization"] != f"Token {TOKEN}":
            self._answer(401, {"detail": "Invalid token."})
        elif sent.get("state") not in ("pending", "success", "warning", "fail"):
            self._answer(400, {"state": [f'"{sent.get("state")}" is not a valid choice.']})
        elif not re.fullmatch(r"[-a-zA-Z0-9_]{1,255}", sent.get("context", "")):
            self._answer(400, {"context": ["Enter a valid slug."]})
        else:
            self.server.checks.append((int(match[1]), sent))
            self._answer(201, {"id": 1, **sent})

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def patchwork(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePatchwork]:
    monkeypatch.setenv(PATCHWORK_TOKEN, TOKEN)
    with FakePatchwork() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def gated(marks: tuple[Mark, ...] = (Mark.OK, Mark.WARN, Mark.BAD)) -> Report:
    patches = tuple(
        PatchGate(n + 1, len(marks), f"patch {n + 1}", f"id-{n + 1}", (GateCheck("objects", mark, f"it is {mark}"),))
        for n, mark in enumerate(marks)
    )
    gate = Gate(GATE_SCHEMA, Verdict.BAD, (), "mine v1", "i", "7.3.4", 3, patches)
    return replace(plain_report(a=Outcome.FAIL), gates=(gate,), reasons=("1 case FAIL",), verdict=Verdict.BAD)


def test_each_patch_has_its_check_and_the_last_one_the_verdict(patchwork: FakePatchwork) -> None:
    posted = post_checks(gated(), f"{patchwork.url}/api/1.3/series/7/", "https://example.org/r/")
    told = [(patch, sent["context"], sent["state"]) for patch, sent in patchwork.checks]
    assert told == [
        (71, "ttm-harness-gate", "success"),
        (72, "ttm-harness-gate", "warning"),
        (73, "ttm-harness-gate", "fail"),
        (73, "ttm-harness", "fail"),
    ]
    assert patchwork.checks[-1][1]["description"] == "bad: 1 case FAIL"
    assert {sent["target_url"] for _, sent in patchwork.checks} == {"https://example.org/r/"}
    assert [(patch, check.context, check.state) for patch, check in posted] == told


def test_one_patch_has_the_verdict_alone(patchwork: FakePatchwork) -> None:
    post_checks(replace(gated(), verdict=Verdict.CANNOT_TELL), f"{patchwork.url}/patch/72/")
    assert [(patch, sent["state"]) for patch, sent in patchwork.checks] == [(72, "warning")]
    assert "target_url" not in patchwork.checks[0][1]


def test_a_patchwork_says_no(patchwork: FakePatchwork, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfraError, match="answers 404"):
        post_checks(gated(), f"{patchwork.url}/series/8/")
    with pytest.raises(InfraError, match="answers 302"):  # a token goes to no other host
        post_checks(gated(), f"{patchwork.url}/moved/series/7/")
    monkeypatch.setenv(PATCHWORK_TOKEN, "another")
    with pytest.raises(InfraError, match=r"answers 401.*Invalid token"):
        post_checks(gated(), f"{patchwork.url}/patch/72/")
    monkeypatch.delenv(PATCHWORK_TOKEN)
    with pytest.raises(UserError, match="takes checks only"):
        post_checks(gated(), f"{patchwork.url}/patch/72/")
    assert patchwork.checks == []


@pytest.mark.parametrize("url", ["ftp://host/series/7/", "https://host/", "https://host/series/x/", "/api/series/7/"])
def test_what_is_no_patchwork_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATCHWORK_TOKEN, TOKEN)
    with pytest.raises(UserError, match="no series or patch"):
        post_checks(gated(), url)


def test_a_gate_of_another_series_is_no_check_of_these_patches() -> None:
    assert [check.context for _, check in checks_of(gated(), [1, 2])] == ["ttm-harness"]


# A command


def test_a_command_gets_the_verdict(tmp_path: Path) -> None:
    out = tmp_path / "with space"
    script = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    notify(f"{sys.executable} -c \"{script}\" '{out}'", notice(gated(), tmp_path, "https://example.org/"))
    said = json.loads(out.read_text())
    assert (
        said["schema"] == "ttm-harness/notice/1"
        and said["verdict"] == "bad"
        and said["url"] == "https://example.org/"
    )
    assert said["findings"][0]["name"] == "pressure.a"


def test_a_command_that_fails_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        notify("false", notice(gated(), tmp_path))
    with pytest.raises(UserError, match="not installed"):
        notify("no-such-command-here", notice(gated(), tmp_path))
    with pytest.raises(UserError, match="split into words"):
        notify("'", notice(gated(), tmp_path))


# b4


@pytest.fixture
def with_patch(scratch_layout: Layout, tmp_path: Path) -> tuple[Layout, list[bytes]]:
    """A kept run whose gate has the three patches of a series, and their mails."""
    repo = Repo(tmp_path / "repo")
    repo.three()
    mails = [repo.git("format-patch", "--stdout", "-1", f"v1~{back}") for back in (2, 1, 0)]
    from harness.inputs.series.assemble import Selection, assemble
    from harness.inputs.series.mbox import read_messages

    ids = [assemble(read_messages(one, "m"), Selection("m", partial=True)).patches[0].patch_id for one in mails]
    made = gated()
    patches = tuple(replace(one, patch_id=its) for one, its in zip(made.gates[0].patches, ids, strict=True))
    keep(scratch_layout, 0, replace(made, gates=(replace(made.gates[0], patches=patches),)))
    return scratch_layout, mails


def test_b4_is_told_what_the_newest_run_says(with_patch: tuple[Layout, list[bytes]]) -> None:
    layout, (first, second, third) = with_patch
    assert b4_lines(said_of(first, layout)) == [] and worst(said_of(first, layout)) is Verdict.GOOD
    (line,) = b4_lines(said_of(second, layout))
    assert line.startswith("WARNING: objects: it is warn (2026")
    lines = b4_lines(said_of(third, layout))
    assert [one.split(":")[0] for one in lines] == ["ERROR", "ERROR"] and worst(said_of(third, layout)) is Verdict.BAD


def test_a_first_answer_is_believed_only_when_it_is_bad(with_patch: tuple[Layout, list[bytes]]) -> None:
    layout, (first, _, third) = with_patch
    (kept,) = run_directories(layout)
    bad = load_report(kept)
    found = Presubmit(60.0, ("f",), (), ("pressure:pressure.a",), (), 1, 9, 1.0, 60.0)
    patches = tuple(replace(one, checks=()) for one in bad.gates[0].patches)
    gate = replace(bad.gates[0], verdict=Verdict.GOOD, patches=patches)
    good = replace(plain_report(a=Outcome.PASS), gates=(gate,))
    name = keep(layout, -1, replace(good, presubmit=found), number=7)
    assert worst(said_of(third, layout)) is Verdict.BAD  # what the whole said before
    shutil.rmtree(kept)
    (line,) = b4_lines(said_of(third, layout))
    assert line.startswith("WARNING: no kept run has the patch") and name.name in line
    assert line.partition(", but ")[2].startswith("with --presubmit, which runs a few cases alone")
    assert worst(said_of(first, layout)) is Verdict.CANNOT_TELL
    keep(layout, -2, replace(bad, presubmit=found), number=8)
    assert worst(said_of(third, layout)) is Verdict.BAD


def test_a_patch_that_nobody_ran_is_no_good_one(with_patch: tuple[Layout, list[bytes]], tmp_path: Path) -> None:
    repo = Repo(tmp_path / "other")
    repo.change("drivers/a.c", "int line_a1;", "int other_a1;")
    said = said_of(repo.patch(), with_patch[0])
    assert b4_lines(said)[0].startswith("WARNING: no kept run has the patch") and worst(said) is Verdict.CANNOT_TELL
    with pytest.raises(UserError):
        said_of(b"From: a@b\nSubject: hello\n\nno patch\n", with_patch[0])


def test_b4_itself_reads_it(
    with_patch: tuple[Layout, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b4 = require_module("b4", "lore")
    from email import message_from_bytes, policy

    layout, mails = with_patch
    out = tmp_path / "said"
    said = said_of(mails[2], layout)
    command = ["cat", str(out)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(b4, "MAIN_CONFIG", dict(b4.DEFAULT_CONFIG))
    message = message_from_bytes(mails[2], policy=policy.default)
    out.write_text("\n".join(b4_lines(said)))
    flags = [flag for flag, _ in b4.LoreMessage.run_local_check(command, "x", message, nocache=True)]
    assert flags == ["fail", "fail"]
    out.write_text("")
    assert [flag for flag, _ in b4.LoreMessage.run_local_check(command, "y", message, nocache=True)] == ["success"]
    checks = pytest.importorskip("b4.review.checks", reason="this b4 has no review")
    out.write_text(b4_json(said, "https://example.org/site/"))
    entries = checks._run_external_cmd(command, message, str(tmp_path))
    assert [(one["tool"], one["status"]) for one in entries] == [("ttm-harness", "fail"), ("ttm-harness", "fail")]
    assert entries[0]["url"].startswith("https://example.org/site/runs/2026")


# The command line


def test_nothing_leaves_this_host_unasked(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, patchwork: FakePatchwork
) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    keep(scratch_layout, 0, plain_report(a=Outcome.FAIL))
    taken = Taken()
    with smtp_server(taken) as server:
        for words in (["--as", "mail"], ["--as", "kcidb"], ["--as", "mail", "--to", "a@b.org", "--from", "c@d.org"]):
            assert CliRunner().invoke(cli, ["report", "latest", *words]).exit_code == 1
        assert taken.mails == [] and patchwork.checks == []
        sent = ["--as", "mail", "--to", "a@b.org", "--from", "c@d.org", "--send", server]
        found = CliRunner().invoke(cli, ["report", "latest", *sent, "--patchwork", f"{patchwork.url}/patch/71/"])
        assert found.exit_code == 1 and len(taken.mails) == 1 and len(patchwork.checks) == 1
    assert CliRunner().invoke(cli, ["report", "latest", "--send", "smtp://127.0.0.1:1"]).exit_code == 2


def test_a_series_that_cannot_be_read_again_is_no_obstacle(scratch_layout: Layout) -> None:
    quiet = Quiet()
    assert posting_of(gated(), None, scratch_layout, quiet).label == "mine v1"


def test_a_mail_names_the_series_as_others_find_it() -> None:
    found = again_lines(gated(), None, "cover@example.org")
    assert found[0] == (GATE, "ttm-harness series gate lore:cover@example.org")
    assert again_lines(gated(), None) == found[1:]
