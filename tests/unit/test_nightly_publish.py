# SPDX-License-Identifier: GPL-2.0-only
"""What a night publishes and sends: each thing once, each failing by itself with a sentence, nothing unasked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import nightly as nightly_module
from harness.flow import outbox as outbox_module
from harness.flow.nightly_config import read_nightly
from harness.flow.outbox import Outbox, OutboxItem
from harness.flow.publish import Publisher, notes_of
from harness.flow.tell import PATCHWORK_TOKEN
from harness.model.errors import InfraError, UserError
from harness.model.nightly import Against, Beside, JobResult, Night
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Report
from harness.reports.mail import SentSeries
from harness.store.layout import Layout
from harness.store.ledger import LedgerEntry, LedgerEvent, read_ledger
from tests.unit.results_support import keep, plain_report
from tests.unit.test_nightly import CONFIG as WITHOUT_SITE
from tests.unit.test_nightly import V1, House, text_of
from tests.unit.test_tell import FakePatchwork, Taken, gated, patchwork, smtp_server
from tests.unit.test_watch import series_of

__all__ = ["patchwork"]  # a fixture
CONFIG = WITHOUT_SITE
WITH_SITE = WITHOUT_SITE.replace("site = false\n", "")
MAIL = '[publish.mail]\nfrom = "CI <ci@example.org>"\nto = ["list@example.org"]\n'
POSTING = SentSeries(
    "gpu: change it v1", "gpu: change it", "cover@example.org", "a@example.org", 3, (), ("1@a", "2@a", "3@a")
)
NOTIFIES = """notify = '{python} -c "import sys; open(sys.argv[1], \\"a\\").write(sys.stdin.read())" {file}'\n"""


@pytest.fixture
def house(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, scratch_layout, monkeypatch)


def with_series(house: House, monkeypatch: pytest.MonkeyPatch, what: Report | None = None) -> str:
    """A revision that was run, is bad, and whose mails are known; the name of its run."""
    house.post("1", series_of(2))
    run = keep(house.layout, 1, what or gated())
    house.results[V1] = JobResult(Verdict.BAD, run.name)
    monkeypatch.setattr(outbox_module, "posting_of", lambda *rest: POSTING)
    monkeypatch.setattr("harness.flow.publish.posting_of", lambda *rest: POSTING)
    return run.name


def files(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != ".lock"}


def test_each_run_is_there_in_each_form_and_to_publish_again_changes_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_series(house, monkeypatch)
    house.configure(WITH_SITE)
    found = house.night()
    place = house.place / "out"
    names = {path.name.removeprefix(run) for path in (place / found.name).glob(f"{run}*")}
    assert names == {".html", ".json", ".txt", ".xml", ".kcidb.json", ".eml"}
    assert b"In-Reply-To: <cover@example.org>" in (place / found.name / f"{run}.eml").read_bytes()
    day = f"{found.name[:4]}-{found.name[4:6]}-{found.name[6:8]}"
    page = (place / "site" / "nights" / f"{day}.html").read_text()
    assert f"../../{found.name}/summary.txt" in page and "night of" in page
    assert (place / "site" / "runs" / run / "index.html").is_file()
    before = files(place)
    assert publisher_of(house).publish(found) == []
    assert files(place) == before


def publisher_of(house: House) -> Publisher:
    past = read_ledger(house.layout.nightly / "night")
    return Publisher(house.layout, house.place / "out", house.config.publish, house.told, past)


def test_a_site_is_not_made_where_none_is_wanted(house: House) -> None:
    house.night()
    assert not (house.place / "out" / "site").exists()


def test_a_run_that_cannot_be_read_keeps_nothing_else_back(house: House) -> None:
    house.configure(WITH_SITE)
    house.results["tree"] = JobResult(Verdict.GOOD, "20261120T000000-000000")
    found = house.night()
    assert found.verdict is Verdict.CANNOT_TELL
    assert "the reports of the run 20261120T000000-000000 are not published" in found.troubles[0]
    assert (house.place / "out" / "site" / "index.html").is_file()


def test_a_site_that_cannot_be_written_is_told(house: House) -> None:
    house.configure(WITH_SITE)
    (house.place / "out" / "site").mkdir(parents=True)
    (house.place / "out" / "site" / "mine").write_text("x")
    found = house.night()
    assert "something else in it" in str(found.troubles) and found.verdict is Verdict.CANNOT_TELL
    assert "something else in it" in (house.place / "out" / "latest.txt").read_text()


def test_an_idle_night_leaves_the_pages_as_they_are(house: House) -> None:
    house.configure(WITH_SITE)
    house.night()
    before = files(house.place / "out" / "site")
    assert house.night().idle
    assert files(house.place / "out" / "site") == before


def test_nights_of_a_day_are_on_one_page() -> None:
    closed = [
        LedgerEntry(LedgerEvent.CLOSED, "", "20261129T010000", label="bad", reasons=("a", "b")),
        LedgerEntry(LedgerEvent.CLOSED, "", "20261129T020000", label="bad", idle=True),
        LedgerEntry(LedgerEvent.CLOSED, "", "20261129T030000", label="good"),
    ]
    last = replace(night_like(), name="20261130T010000", verdict=Verdict.CANNOT_TELL, reasons=("c",))
    first, second = notes_of(closed, last)
    assert (first.day, first.verdict) == ("2026-11-29", Verdict.GOOD)
    assert first.sentences == (
        "night of 01:00 UTC: bad: a",
        "night of 01:00 UTC: bad: b",
        "night of 03:00 UTC: good",
    )
    assert [path for _, path in first.links] == [
        "../../20261129T010000/summary.txt",
        "../../20261129T030000/summary.txt",
    ]
    assert (second.day, second.sentences) == ("2026-11-30", ("night of 01:00 UTC: cannot tell: c",))
    assert notes_of(closed[:1], replace(last, idle=True, troubles=())) == notes_of(
        closed[:1], replace(last, idle=True)
    )
    assert len(notes_of(closed, replace(last, idle=True))) == 1
    assert len(notes_of(closed, replace(last, idle=True, troubles=("t",)))) == 2


def night_like() -> Night:
    nothing = ((), (), (), (), (), None, ())
    return Night("s", "n", "b", 1.0, Verdict.GOOD, (), False, *nothing)


# Mail


def test_nothing_is_sent_unasked(house: House, monkeypatch: pytest.MonkeyPatch, patchwork: FakePatchwork) -> None:
    with_series(house, monkeypatch)
    monkeypatch.setattr(outbox_module, "send_mail", lambda *rest: pytest.fail("sent"))
    house.configure(CONFIG + MAIL)
    assert house.night().troubles == ()
    assert patchwork.checks == []


def test_a_mail_goes_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_series(house, monkeypatch)
    taken = Taken()
    with smtp_server(taken) as server:
        house.configure(f'{WITH_SITE}url = "https://ci.example.org/ttm/"\n{MAIL}send = "{server}"\n')
        assert house.night().troubles == ()
        house.night()
    (envelope,) = taken.mails
    content = envelope.content if isinstance(envelope.content, str) else (envelope.content or b"").decode()
    assert f"Message-ID: <ttm-harness.{run}@example.org>" in content
    assert f"https://ci.example.org/ttm/site/runs/{run}/index.html" in content


def test_a_server_that_says_no_is_told_and_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_series(house, monkeypatch)
    taken = Taken(refuses=True)
    with smtp_server(taken) as server:
        house.configure(f'{CONFIG}{MAIL}send = "{server}"\n')
        found = house.night()
        assert f"the mail of {run}: it was not sent" in str(found.troubles)
        assert f"the mail of {run}" in (house.place / "out" / "latest.txt").read_text()
        assert house.night().troubles != ()
        taken.refuses = False
        taken.mails.clear()
        assert house.night().troubles == ()
        house.night()
    assert len(taken.mails) == 1


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_kill_sends_nothing_twice(house: House, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    run = with_series(house, monkeypatch)
    house.configure(f'{CONFIG}{MAIL}send = "smtp://127.0.0.1:1"\n')
    sent: list[str] = []
    kills = [True]

    def send(*_: object) -> None:
        if moment != "before":
            sent.append("mail")
        if moment == "during":
            raise KeyboardInterrupt

    note = nightly_module._Night._note

    def noting(night: nightly_module._Night, entry: LedgerEntry) -> LedgerEntry:
        cut = {"before": LedgerEvent.SENDING, "during": None, "after": LedgerEvent.CLOSED}[moment]
        if kills and entry.what is cut:
            kills.clear()
            raise KeyboardInterrupt
        return note(night, entry)

    monkeypatch.setattr(outbox_module, "send_mail", send)
    with monkeypatch.context() as patch:
        patch.setattr(nightly_module._Night, "_note", noting)
        with pytest.raises(KeyboardInterrupt):
            house.night()
    monkeypatch.setattr(outbox_module, "send_mail", lambda *rest: sent.append("mail"))
    found = house.night()
    assert sent == ["mail"]
    assert [f"the mail of {run}: whether it arrived is not known" in str(found.troubles)] == [moment == "during"]
    assert house.night().troubles == ()
    assert sent == ["mail"]


def test_a_mail_says_what_changed_since_the_previous_revision(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_series(house, monkeypatch)
    before = Against(Beside.PREVIOUS, "20261101T000000-000001", "gpu v0", Verdict.GOOD, {"FIXED": 2}, ())
    monkeypatch.setattr(nightly_module, "against", lambda job, *rest: iter([before] if job.series else []))
    house.configure(CONFIG + MAIL)
    found = house.night()
    (mail,) = (house.place / "out" / found.name).glob("*.eml")
    assert mail.name == f"{run}.eml" and "run 20261101T000000-000001: 2 FIXED" in mail.read_text()


def test_what_has_no_message_id_is_not_mailed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with_series(house, monkeypatch)
    monkeypatch.setattr(outbox_module, "posting_of", lambda *rest: SentSeries("gpu v1"))
    monkeypatch.setattr(outbox_module, "send_mail", lambda *rest: pytest.fail("sent"))
    house.configure(f'{CONFIG}{MAIL}send = "smtp://127.0.0.1:1"\n')
    assert "Message-IDs of the series are not known" in str(house.night().troubles)


@pytest.mark.parametrize("told", [Verdict.CANNOT_TELL, None])
def test_neither_doubt_nor_what_is_older_is_mailed(
    house: House, monkeypatch: pytest.MonkeyPatch, told: Verdict | None
) -> None:
    run = with_series(house, monkeypatch)
    monkeypatch.setattr(outbox_module, "send_mail", lambda *rest: pytest.fail("sent"))
    house.configure(f'{CONFIG}{MAIL}send = "smtp://127.0.0.1:1"\n')
    if told is not None:
        house.results[V1] = JobResult(told, run)
    else:
        house.post("2", series_of(2, 2, "b"))
    assert house.night().troubles == ()
    assert V1 in house.run


# Patchwork


def test_each_check_is_posted_once(house: House, monkeypatch: pytest.MonkeyPatch, patchwork: FakePatchwork) -> None:
    with_series(house, monkeypatch)
    house.configure(
        CONFIG.replace('sources = ["tree"]', f'sources = ["tree"]\nchecks = "{patchwork.url}/project/p/"')
    )
    patchwork.refused = {72}
    first = house.night()
    assert "ttm-harness-gate of patch 72 was not sent" in str(first.troubles)
    assert [patch for patch, _ in patchwork.checks] == [71, 73, 73]
    patchwork.refused = set()
    assert house.night().troubles == ()
    house.night()
    assert [patch for patch, _ in patchwork.checks] == [71, 73, 73, 72]


def test_a_patchwork_without_the_patches_is_told_and_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch, patchwork: FakePatchwork
) -> None:
    with_series(house, monkeypatch)
    house.configure(
        CONFIG.replace('sources = ["tree"]', f'sources = ["tree"]\nchecks = "{patchwork.url}/project/q/"')
    )
    assert "has no patch <1@a> in q" in str(house.night().troubles)
    assert "has no patch <1@a> in q" in str(house.night().troubles)
    monkeypatch.delenv(PATCHWORK_TOKEN)
    assert "takes checks only" in str(house.night().troubles)
    monkeypatch.setenv(PATCHWORK_TOKEN, "0123456789abcdef")
    house.configure(
        CONFIG.replace('sources = ["tree"]', f'sources = ["tree"]\nchecks = "{patchwork.url}/project/p/"')
    )
    assert house.night().troubles == () and len(patchwork.checks) == 4


# A command


def test_a_command_hears_of_each_run_and_of_the_night(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_series(house, monkeypatch)
    heard = house.place / "heard"
    house.configure(CONFIG + NOTIFIES.format(python=sys.executable, file=heard))
    first = house.night()
    house.night()
    said = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [one["schema"] for one in said] == ["ttm-harness/notice/1", "ttm-harness/nightly/1"]
    assert (said[0]["run"], said[1]["name"]) == (run, first.name)


def test_a_command_that_fails_is_told(house: House) -> None:
    house.configure(CONFIG + 'notify = "false"\n')
    found = house.night()
    assert "the notice of the night: it was not sent: false ended with status 1" in str(found.troubles)
    assert "the notice of the night" in text_of(found)


MISTAKES = {
    '[publish]\nurl = "ftp://x"\n': "no address of a directory",
    '[publish]\norigin = "A b"\n': "cannot be the name of a CI system",
    '[publish]\nnotify = "\'"\n': "split into words",
    '[publish.mail]\nsend = "mail.example.org"\n': "no mail server",
    '[publish.mail]\nsend = "smtp://mail.example.org"\n': "without a from",
    '[publish.mail]\nfrom = "nobody"\n': "the sender 'nobody' is no address",
    '[publish.mail]\nto = ["a@b.org", "nobody"]\n': "the receiver .* is no address",
    '[[series]]\nname = "s"\nsources = ["a"]\nmboxes = "m"\nchecks = "https://host/"\n': "no project of a patchwork",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_in_what_is_to_be_published(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.toml").write_text('[[source]]\nname = "a"\nsource = "debian"\n' + text)
    with pytest.raises(UserError, match=MISTAKES[text]):
        read_nightly(tmp_path / "n.toml")


# The outbox


def test_one_parcel_that_fails_keeps_no_other_back() -> None:
    noted: list[tuple[LedgerEvent, str]] = []
    outbox = Outbox((), lambda what, key, label: noted.append((what, key)))
    sent: list[str] = []

    def refused() -> None:
        raise InfraError("no")

    sends: dict[str, Callable[[], object]] = {"a": refused, "b": lambda: sent.append("b")}
    said = outbox.send_these("k ", "all", (OutboxItem(key, key, send) for key, send in sends.items()))
    assert said == ["all: a was not sent: no"] and sent == ["b"]
    assert noted == [
        (LedgerEvent.SENDING, "k a"),
        (LedgerEvent.UNSENT, "k a"),
        (LedgerEvent.SENDING, "k b"),
        (LedgerEvent.SENT, "k b"),
    ]
    assert outbox.failed_before("k ") and not outbox.failed_before("l ")


def test_a_good_run_has_a_report(house: House) -> None:
    run = keep(house.layout, 1, plain_report(a=Outcome.PASS))
    house.results["tree"] = JobResult(Verdict.GOOD, run.name)
    found = house.night()
    assert found.verdict is Verdict.GOOD
    assert not (house.place / "out" / found.name / f"{run.name}.eml").exists()  # there is nobody to answer
