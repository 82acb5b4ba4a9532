# SPDX-License-Identifier: GPL-2.0-only
"""The mail to the list: an answer to the right mail, with all that its readers look for, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.flow.comparison import contrasted
from harness.model.compare import Leg
from harness.model.errors import UserError
from harness.model.gate import GATE_SCHEMA, Gate, GateCheck, Mark, PatchGate
from harness.model.known import KnownState, KnownUse
from harness.model.nightly import Against, Beside
from harness.model.outcome import Outcome, Verdict
from harness.model.result import LeftOut, Report
from harness.reports.mail import GATE, Envelope, SentSeries, draft
from tests.unit.compare_support import SPLAT, booted, case, report, side

POSTING = SentSeries(
    "ttm-shrinker v9", "drm/ttm: Add a shrinker (v9)", "cover.1@example.org", "Ada <ada@example.org>", 3
)
NOBODY = Envelope()
AGAIN = [("002-tip", "ttm-harness run --suite s --seed 2")]


def compared() -> Report:
    """One case got worse, one better, one was not run; the gate has a bad patch; an issue is known."""
    base = booted(1, [case(name="t.worse"), case(Outcome.FAIL, name="t.better")], Leg.BASE)
    bad = [case(Outcome.FAIL, SPLAT, name="t.worse"), case(name="t.better"), case(Outcome.NOT_RUN, name="t.gap")]
    tip = booted(2, bad)
    contrast = contrasted(side(base), side(tip))
    checks = (GateCheck("objects", Mark.BAD, "a.c:1: error: no", ("a.c:1: error: no", "a.c:2: note: there")),)
    patch = PatchGate(2, 3, "drm/ttm: two", "p", checks)
    gate = Gate(GATE_SCHEMA, Verdict.BAD, ("patch 2/3",), "ttm-shrinker v9", "i", "7.3.4", 2, (patch,))
    made = report("20261120T120000-000001", base, tip)
    return replace(
        made,
        verdict=Verdict.BAD,
        reasons=("REGRESSED s t.worse: 1/1 -> 0/1",),
        runs=(made.runs[0], replace(made.runs[1], verdict=Verdict.BAD)),
        base=replace(made.provenance, tree_version="6.12.117"),
        comparisons=contrast.cases,
        event_changes=contrast.events,
        gates=(gate,),
        known=(KnownUse("an-issue", KnownState.SEEN, "the reason", "ada", "2027-01-01", 1, 0),),
        left_out=(LeftOut("xe-fake", "6.12", "b", "it is older than xe's shrinker", False),),
    )


def body(made: Report, posting: SentSeries = POSTING, envelope: Envelope = NOBODY) -> str:
    mail = draft(made, posting, envelope, AGAIN)
    return str(message_from_bytes(mail.as_bytes(), policy=default).get_content())


def test_it_answers_the_cover_letter() -> None:
    mail = message_from_bytes(
        draft(compared(), POSTING, Envelope("CI <ci@example.org>", ("list@example.org",)), AGAIN).as_bytes(),
        policy=default,
    )
    assert mail["In-Reply-To"] == "<cover.1@example.org>" == mail["References"]
    assert mail["Subject"] == "failure: ttm-harness: drm/ttm: Add a shrinker (v9)"
    assert (mail["From"], mail["To"]) == ("CI <ci@example.org>", "list@example.org")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert draft(compared(), POSTING, Envelope(), AGAIN)["To"] == "Ada <ada@example.org>"


def test_a_name_that_says_what_the_subject_says_is_not_repeated() -> None:
    assert "Revision:   ttm-shrinker v9" in body(compared())
    assert "Revision:" not in body(compared(), replace(POSTING, label="drm/ttm: Add a shrinker v9"))


def test_a_mail_to_send_has_a_name_of_its_own() -> None:
    mails = [draft(compared(), POSTING, Envelope("CI <ci@example.org>"), AGAIN) for _ in range(2)]
    assert {mail["Message-ID"] for mail in mails} == {"<ttm-harness.20261120T120000-000001@example.org>"}


def test_a_gate_that_was_bad_has_its_own_command() -> None:
    text = body(compared()).replace("\n", " ")
    assert "series gate" not in text
    again = [(GATE, "ttm-harness series gate lore:cover.1@example.org"), *AGAIN]
    mail = draft(compared(), POSTING, NOBODY, again)
    assert "  ttm-harness series gate lore:cover.1@example.org\n  ttm-harness run" in mail.get_content()


def test_a_series_that_nobody_knows_is_answered_nowhere() -> None:
    mail = draft(compared(), SentSeries("mine v1"), Envelope(), AGAIN)
    assert mail["In-Reply-To"] is None and mail["To"] is None and "mine v1" in mail["Subject"]


def test_every_part_has_its_place() -> None:
    text = body(compared(), envelope=Envelope(url="https://example.org/runs/1/"))
    heads = [line.strip("= ") for line in text.splitlines() if line.startswith("== ")]
    assert heads == [
        "Series details",
        "Summary",
        "Patch by patch: ttm-shrinker v9",
        "Possible regressions",
        "Possible fixes",
        "Known issues",
        "Not run",
        "Reproduce",
        "Built and booted",
    ]
    parts = dict(zip(heads, text.split("\n== ")[0:], strict=False))
    assert "s t.worse: PASS -> FAIL (1/1 -> 0/1)" in parts["Possible regressions"]
    assert "trace" in parts["Possible regressions"] and "t.better" not in parts["Possible regressions"]
    assert "s t.better: FAIL -> PASS" in parts["Possible fixes"]
    assert "an-issue: 1 case, 0 events; the reason" in parts["Known issues"]
    assert "t.gap" in parts["Not run"] and "xe-fake: it is older" in parts["Not run"]
    assert "ttm-harness run --suite s --seed 2" in parts["Reproduce"]
    assert 'patch 2/3 "drm/ttm: two": does not compile' in parts["Summary"]
    assert (
        "2/3 does not compile: a.c:1: error: no\n      a.c:2: note: there" in parts["Patch by patch: ttm-shrinker v9"]
    )
    assert "With the series: s 2 cases." in parts["Summary"]
    assert "https://example.org/runs/1/" in text and "6.12.117" in text


def test_without_a_base_a_finding_is_no_regression() -> None:
    made = replace(report("r", booted(1, [case(Outcome.FAIL)])), verdict=Verdict.BAD)
    text = body(made)
    assert "== Findings ==" in text and "Possible regressions" not in text and "no base to compare with" in text


@pytest.mark.parametrize("address", ["nobody", "a@b\nBcc: c@d", "", "<>"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="--to"):
        draft(compared(), POSTING, Envelope(to=(address,)), AGAIN)


@given(st.text(max_size=200), st.text(max_size=80))
@settings(deadline=None)
def test_words_of_others_make_no_header_and_no_other_mail(word: str, name: str) -> None:
    made = compared()
    found = replace(
        made, reasons=(word,), cases=tuple(replace(one, message=word, name=one.name) for one in made.cases)
    )
    mail = draft(found, replace(POSTING, subject=name), Envelope(), [("002-tip", word)])
    parsed = message_from_bytes(mail.as_bytes(), policy=default)
    assert set(parsed.keys()) == set(mail.keys()) and not parsed.defects
    assert not any(sign in str(parsed.get_content()) for sign in "\x00\x1b\u202e")


def test_it_says_what_changed_since_the_previous_revision() -> None:
    before = Against(
        Beside.PREVIOUS,
        "20261119T120000-000001",
        "drm/ttm: Add a shrinker v8 on 7.3.4",
        Verdict.BAD,
        {"REGRESSED": 1, "NEW": 4},
        ("REGRESSED s t.worse: 1/1 -> 0/1",),
    )
    none = Against(Beside.BEFORE, "20261118T120000-000001", "v9 on 7.3.3", Verdict.GOOD, {}, ())
    mail = draft(compared(), POSTING, Envelope(), AGAIN, (before, none))
    text = str(mail.get_content())
    chapter = text.partition("== Against the previous revision ==\n\n")[2].partition("\n==")[0]
    assert chapter.split("\n")[:3] == [
        "drm/ttm: Add a shrinker v8 on 7.3.4, run 20261119T120000-000001: 1",
        "REGRESSED, 4 NEW.",
        "  * REGRESSED s t.worse: 1/1 -> 0/1",
    ]
    assert (
        "v9 on 7.3.3, run 20261118T120000-000001: nothing changed." in text.partition("Against the kernel before")[2]
    )
    assert "== Against" not in body(compared())
