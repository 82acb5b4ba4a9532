# SPDX-License-Identifier: GPL-2.0-only
"""The flow of nights without a kernel: what is new, what is done again, what is compared, guarded and told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

import harness
from harness.flow import nightly as nightly_module
from harness.flow import nightly_jobs
from harness.flow.nightly import Ends, ends_of, night, preview
from harness.flow.nightly_config import NightlyConfig, read_nightly
from harness.flow.nightly_jobs import Crew, JobBudget, against, result_of
from harness.flow.publish import Publisher
from harness.flow.run_record import Record, save_record
from harness.judge.telling import PastBoot, telling_of
from harness.model.codec import to_json
from harness.model.compare import Change, EventChange, Leg
from harness.model.comparison import CompareOutput
from harness.model.errors import InfraError, UserError
from harness.model.known import NOTHING_KNOWN, KnownState, KnownUse
from harness.model.nightly import (
    Beside,
    ControlBoot,
    Job,
    JobResult,
    Night,
    Sighting,
    job_plan,
    read_job_plan,
)
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Report
from harness.reports.nightly import print_ahead, print_night
from harness.store.journal import Entry, Journal, Step
from harness.store.layout import Layout
from harness.store.ledger import LedgerEvent, read_ledger
from tests.unit.results_support import Quiet, boot, cases, keep, plain_report, provenance, report
from tests.unit.series_support import Repo
from tests.unit.test_history import PLANNED, finished, journal
from tests.unit.test_watch import series_of

SCHEMA = json.loads((Path(harness.__file__).parent / "reports/schema/nightly-1.json").read_text())
CONFIG = """\
plan = "plan.toml"
known = ["known.toml"]
tries = 2
[[source]]
name = "tree"
git = "k"
refs = ["main"]
[[series]]
name = "gpu"
mboxes = "mails"
sources = ["tree"]
[guard]
disk = "1M"
[publish]
directory = "out"
site = false
"""
CAUGHT = ControlBoot("04-x", "pressure", "7.3.4", "caught", True, (), "run", 1.0)


class Told(Quiet):
    """Progress of several boots."""

    def task(self, number: int, text: str) -> None: ...

    def task_ends(self, number: int, text: str) -> None: ...


class House:
    """A repository, a directory of mails, a config, and jobs that come out as they are told to."""

    def __init__(self, place: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.layout, self.told = place, layout, Told()
        self.repo = Repo(place / "k")
        (place / "mails").mkdir()
        (place / "plan.toml").write_text('suites = ["pressure"]\nsource = "debian:6.12"\n')
        (place / "known.toml").write_text("# mine\n")
        self.configure(CONFIG)
        self.run: list[str] = []
        self.results: dict[str, JobResult] = {}
        self.turns: list[JobResult] = []  # of the next jobs, whichever
        self.control = CAUGHT
        self.controls = 0
        monkeypatch.setattr(Crew, "run", lambda _, job, *rest: self._run(job))
        monkeypatch.setattr(nightly_module, "control_boot", lambda *rest: self._control())
        monkeypatch.setattr(nightly_module, "against", lambda *rest: iter(()))

    def configure(self, text: str) -> None:
        (self.place / "night.toml").write_text(text)
        self.config: NightlyConfig = read_nightly(self.place / "night.toml")

    def post(self, name: str, data: bytes) -> None:
        (self.place / "mails" / f"{name}.mbox").write_bytes(data)

    def _run(self, job: Job) -> JobResult:
        self.run.append(job.label.split(" on ")[0] if job.series else job.watch)
        if self.turns:
            return self.turns.pop(0)
        return self.results.get(self.run[-1], JobResult(Verdict.GOOD))

    def _control(self) -> ControlBoot:
        self.controls += 1
        return self.control

    def night(self, ends: Ends | None = None) -> Night:
        self.run.clear()
        found = night(self.config, self.place, self.layout, self.told, ends or Ends())
        jsonschema.validate(json.loads(to_json(found)), SCHEMA)
        return found


@pytest.fixture
def house(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, scratch_layout, monkeypatch)


def text_of(found: Night) -> str:
    file = io.StringIO()
    print_night(found, file)
    return file.getvalue()


V1, V2 = "gpu: change it v1", "gpu: change it v2"


def test_what_is_new_is_run_once(house: House) -> None:
    house.post("1", series_of(2))
    first = house.night()
    assert (house.run, first.verdict, first.idle, house.controls) == ([V1, "tree"], Verdict.GOOD, False, 1)
    second = house.night()
    assert (house.run, second.verdict, second.idle, house.controls) == ([], Verdict.GOOD, True, 1)
    assert "nothing new since the night before" in text_of(second)
    house.post("2", series_of(2, 2, "b"))
    third = house.night()
    assert house.run == [V2]
    assert [(one.label, one.newest, one.new) for one in third.revisions] == [(V1, False, False), (V2, True, True)]
    assert [row.job.current for row in third.rows if row.job.series] == [True, False]


def test_a_resend_is_told_and_not_run(house: House) -> None:
    house.post("1", series_of(2))
    house.night()
    house.post("2", series_of(2, again="-again"))
    found = house.night()
    assert house.run == []
    assert [(one.of, one.new) for one in found.resends] == [(V1, True)]
    assert "sent again" in text_of(found)
    assert [one.new for one in house.night().resends] == [False]


def test_a_new_kernel_is_run_and_so_are_the_series_on_it(house: House) -> None:
    house.post("1", series_of(2))
    house.night()
    house.repo.write("x", "y")
    house.repo.commit("new")
    house.night()
    assert house.run == [V1, "tree"]


def test_another_plan_is_something_to_run(house: House) -> None:
    house.night()
    (house.place / "plan.toml").write_text('suites = ["pressure"]\nrepeat = 2\n')
    house.night()
    assert house.run == ["tree"]


def test_what_cannot_be_told_is_tried_again_and_then_given_up(house: House) -> None:
    house.results["tree"] = JobResult(Verdict.CANNOT_TELL, trouble="the mirror is away")
    for expected in (["tree"], ["tree"], []):
        found = house.night()
        assert house.run == expected
        assert found.verdict is Verdict.CANNOT_TELL
        assert "the mirror is away" in str(found.reasons)


def test_what_is_left_of_a_job_is_gone_on_with(house: House) -> None:
    house.results["tree"] = JobResult(Verdict.CANNOT_TELL, "run", left=3)
    assert [(one.boots, one.why) for one in house.night(Ends(0.0)).left] == [(0, "no time left")]
    house.results["tree"] = JobResult(Verdict.GOOD, "run")
    assert house.night().left == ()
    assert house.run == ["tree"]


def test_time_that_is_left_goes_to_what_was_cut(house: House) -> None:
    house.post("1", series_of(2))
    house.turns = [JobResult(Verdict.CANNOT_TELL, left=2)]
    found = house.night(ends_of(3600.0, None, datetime.now(UTC)))
    assert house.run == [V1, "tree", V1]
    assert (found.verdict, found.left) == (Verdict.GOOD, ())


def test_a_control_that_stays_green_is_loud_until_one_is_caught(house: House) -> None:
    house.control = replace(CAUGHT, noticed="missed", caught=False)
    first = house.night()
    assert first.verdict is Verdict.CANNOT_TELL
    assert "had to be caught" in first.reasons[0]
    assert house.night().verdict is Verdict.CANNOT_TELL  # there is nothing to run, but that stands
    assert house.controls == 2
    house.control = CAUGHT
    assert house.night().verdict is Verdict.GOOD
    assert house.night().verdict is Verdict.GOOD
    assert house.controls == 3


def test_a_control_every_night_where_that_is_asked_for(house: House) -> None:
    house.configure(f"{CONFIG}[control]\nalways = true\n")
    house.night()
    house.night()
    assert house.controls == 2


def test_a_night_without_a_control_says_so(house: House) -> None:
    house.configure(f"{CONFIG}[control]\noff = true\n")
    assert "nothing shows that a bug would have been seen" in text_of(house.night())
    assert house.controls == 0


def test_a_series_that_is_not_whole_is_a_trouble_once(house: House) -> None:
    whole = series_of(3)
    house.post("1", whole[: whole.rindex(b"From mboxrd@z")])
    first = house.night()
    assert first.verdict is Verdict.CANNOT_TELL
    assert "missing" in str(first.troubles)
    assert house.night().verdict is Verdict.GOOD
    house.post("1", whole)
    house.night()
    assert house.run == [V1]


def test_a_directory_that_is_gone_is_loud(house: House) -> None:
    house.night()
    (house.place / "mails").rmdir()
    found = house.night()
    assert found.verdict is Verdict.CANNOT_TELL
    assert "the series gpu could not be looked for" in found.troubles[0]


@pytest.mark.parametrize("guard", ['disk = "900T"', 'ram = "900T"'])
def test_without_room_nothing_is_begun(house: House, guard: str) -> None:
    house.configure(CONFIG.replace('disk = "1M"', guard))
    found = house.night()
    assert house.run == []
    assert found.verdict is Verdict.CANNOT_TELL
    assert "left: tree" in str(found.reasons)


def test_results_of_a_night_that_was_killed_are_told_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.post("1", series_of(2))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            house.night()
    assert house.run == [V1, "tree"]
    found = house.night()
    assert house.run == []
    assert not found.idle
    assert [row.tonight for row in found.rows] == [True, True]
    assert found.interrupted
    assert house.night().idle


def test_the_persons_file_is_never_touched(house: House) -> None:
    sighting = Sighting("pressure", "pressure.a", "", "it failed", "7.3.4", 2, 0)
    house.results["tree"] = JobResult(Verdict.BAD, "run", sightings=(sighting,))
    before = (house.place / "known.toml").read_bytes()
    found = house.night()
    assert (house.place / "known.toml").read_bytes() == before
    assert found.proposals_file == str(house.place / "known.proposals.toml")
    assert "# [[issue]]" in (house.place / "known.proposals.toml").read_text()


def test_what_a_person_lets_pass_is_judged_again_once(house: House) -> None:
    seen = Sighting("pressure", "pressure.a", "", "it failed", "7.3.4", 2, 0)
    house.results["tree"] = JobResult(Verdict.BAD, "run", sightings=(seen,))
    house.night()
    assert house.night().idle
    entry = '[[issue]]\nname = "a"\ncases = ["pressure.{}"]\nmessage = "it failed"\n'
    entry += 'reason = "r"\nowner = "o"\nexpires = {}\n'
    for case, day in (("b", "2099-01-01"), ("a", "2020-01-01")):  # something else; one whose time is over
        (house.place / "known.toml").write_text(entry.format(case, day))
        assert house.night().idle
    (house.place / "known.toml").write_text(entry.format("a", "2099-01-01"))
    judged = KnownUse("a", KnownState.SEEN, "r", "o", "2099-01-01", 1, 0)
    house.results["tree"] = JobResult(Verdict.BAD, "run", sightings=(seen,), known=(judged,))
    house.night()
    assert house.run == ["tree"]
    assert house.night().idle  # it is bad all the same, and nothing new is known of it


def test_what_is_old_goes(house: House) -> None:
    old = keep(house.layout, 200)
    house.configure(f'{CONFIG}[keep]\nage = "30d"\n')
    assert "1 things of the store were removed" in house.night().removed
    assert not old.exists()


def test_two_at_a_time(house: House) -> None:
    with nightly_module._alone(house.config, house.layout):
        with pytest.raises(InfraError, match="is at work already"):
            house.night()


def test_a_look_ahead_runs_and_notes_nothing(house: House) -> None:
    house.post("1", series_of(2))
    found = preview(house.config, house.place, house.layout, house.told)
    assert found.left[0].label.startswith(V1)
    file = io.StringIO()
    print_ahead(found, file)
    assert "to be run" in file.getvalue()
    assert "cannot tell" not in file.getvalue()
    assert (house.run, house.controls) == ([], 0)
    assert read_ledger(house.layout.nightly / "night") == ()


def test_every_line_of_the_ledger_names_its_night(house: House) -> None:
    house.night()
    house.night()
    entries = read_ledger(house.layout.nightly / "night")
    assert len({one.night for one in entries}) == 2
    assert [one.what for one in entries if one.what in (LedgerEvent.OPENED, LedgerEvent.CLOSED)] == [
        LedgerEvent.OPENED,
        LedgerEvent.CLOSED,
    ] * 2


def test_until_is_the_next_time_that_clocks_show_it() -> None:
    now = datetime.now(UTC)
    later, earlier = now.astimezone() + timedelta(hours=2), now.astimezone() - timedelta(hours=2)
    for moment, hours in ((later, 2), (earlier, 22)):
        left = ends_of(None, (moment.hour, moment.minute), now).left
        assert left is not None
        assert abs(left - hours * 3600) < 120
    both = ends_of(60.0, (later.hour, later.minute), now).left
    assert both is not None
    assert both <= 60
    assert ends_of(None, None, now).left is None


MISTAKES = {
    "": "a .*source.* is needed",
    '[[source]]\nname = "a"\n': "needs either source or git",
    '[[source]]\nname = "a"\ngit = "k"\n': "git and refs go together",
    '[[source]]\nname = "a"\nsource = "debian"\n[[source]]\nname = "a"\nsource = "debian"\n': "is there twice",
    '[[source]]\nname = "A b"\nsource = "debian"\n': "is no name",
    '[[source]]\nname = "a"\nsource = "debian"\nfetch = "origin"\n': "is a remote",
    '[[source]]\nname = "a"\nsource = "debian"\n[[series]]\nname = "s"\nsources = ["a"]\n': "needs one of lore",
    '[[source]]\nname = "a"\nsource = "debian"\n[[series]]\nname = "s"\nsources = ["b"]\nlore = "x@y"\n': "no .*'b'",
    'budget = "soon"\n[[source]]\nname = "a"\nsource = "debian"\n': "is no length of time",
    'until = "25:00"\n[[source]]\nname = "a"\nsource = "debian"\n': "is no time of day",
    'plan = "none.toml"\n[[source]]\nname = "a"\nsource = "debian"\n': "there is no plan",
    '[[source]]\nname = "a"\nsource = "debian"\n[control]\nsource = "b"\n': "no .*'b'",
    'bugdet = "1h"\n[[source]]\nname = "a"\nsource = "debian"\n': "did you mean budget",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_in_a_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.toml").write_text(text)
    with pytest.raises(UserError, match=MISTAKES[text]):
        read_nightly(tmp_path / "n.toml")


def test_a_share_has_the_most_telling_boots_first_and_ends(scratch_layout: Layout) -> None:
    journal(scratch_layout, 1, finished(100.0))
    told = [PastBoot(str(PLANNED.cell.machine), PLANNED.cell.suites, "good")] * 5
    share = JobBudget(scratch_layout, telling_of(told), lambda: 50.0)
    quick = replace(PLANNED, shape="another")
    assert share.worth(quick) > share.worth(PLANNED)
    assert share.worth(replace(PLANNED, leg=Leg.BASE)) == share.worth(PLANNED)
    share.opens([PLANNED])
    assert share.begins(PLANNED)  # or nothing would ever get on
    assert not share.begins(PLANNED)
    assert share.begins(replace(quick, cell=replace(PLANNED.cell, seed=9)))  # nothing is known of its time
    endless = JobBudget(scratch_layout, telling_of(told), lambda: None)
    endless.opens([PLANNED])
    assert all(endless.begins(PLANNED) for _ in range(3))


def test_a_run_that_nobody_noted_is_not_made_again(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(NightlyConfig(name="n"), scratch_layout, Told(), NOTHING_KNOWN)
    run = keep(scratch_layout, 1, plain_report(a=Outcome.PASS))
    save_record(run, Record(crew.name_of(JOB), (), (), ()))
    with Journal(run) as lines:
        lines.append(Entry(Step.ENDED))
    made: list[str] = []

    def noting(word: str) -> Callable[..., tuple[Report, Path]]:
        def note(*_: object, **__: object) -> tuple[Report, Path]:
            made.append(word)
            return plain_report(), run

        return note

    monkeypatch.setattr(nightly_jobs, "read_report", lambda directory: noting("read")()[0])
    monkeypatch.setattr(nightly_jobs, "execute", noting("made"))
    monkeypatch.setattr(nightly_jobs, "resume", noting("resumed"))
    share = JobBudget(scratch_layout, telling_of(()), lambda: None)
    crew.run(JOB, (), "2", "", share)
    crew.run(JOB, (), "2", run.name, share)  # it could not tell, and is tried anew
    crew.run(JOB, (), "3", "", share)  # what is older than the job is not its own
    with Journal(run) as lines:
        lines.append(Entry(Step.RESUMED))
    crew.run(JOB, (), "2", run.name, share)
    assert made == ["read", "made", "made", "resumed"]


JOB = Job(
    "0" * 16,
    "a",
    "gpu",
    "tree",
    "main",
    "k1",
    "git:k@k1",
    "quick",
    "family",
    "series 2",
    posted="2026-11-02",
    revision=2,
)


def test_what_boots_showed_is_counted_by_side() -> None:
    base, tip = provenance("7.3.4"), provenance("7.3.4", ", with patches")
    runs = [boot(base, 1, leg=Leg.BASE), boot(base, 2, leg=Leg.BASE), boot(tip, 3), boot(tip, 4)]
    runs[1] = replace(runs[1], kept_from="earlier")
    some = [case for run in runs for case in cases(run, {"a": Outcome.FAIL, "b": Outcome.PASS})]
    found = result_of(JOB, report(runs, some, tip, Verdict.BAD, base), 6)
    assert (found.boots, found.taken_over, found.left) == (4, 1, 2)
    (sighting,) = found.sightings
    assert (sighting.case, sighting.base_seen, sighting.tip_seen) == ("pressure.a", 1, 2)
    assert [(one.suite, one.base, one.tip) for one in found.suites] == [("pressure", 1, 2)]


def test_a_run_is_compared_with_the_revision_and_the_kernel_before(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def compare(first: str, second: str, *_: object) -> CompareOutput:
        asked.append((first, second))
        raise UserError("it is gone")

    monkeypatch.setattr(nightly_jobs, "compare_runs", compare)
    past = [
        (replace(JOB, series="series 1", posted="2026-11-01", kernel="k0"), JobResult(Verdict.GOOD, "v1 on k0")),
        (replace(JOB, series="series 1", revision=1), JobResult(Verdict.GOOD, "v1")),
        (replace(JOB, kernel="k0"), JobResult(Verdict.GOOD, "v2 on k0")),
        (replace(JOB, family="", series=""), JobResult(Verdict.GOOD, "plain")),
        (replace(JOB, series="series 3", posted="2026-11-03"), JobResult(Verdict.GOOD, "v3")),
        (replace(JOB, plan="other", series="series 1"), JobResult(Verdict.GOOD, "other plan")),
    ]
    found = list(against(JOB, JobResult(Verdict.GOOD, "new"), past, NOTHING_KNOWN, scratch_layout))
    assert asked == [("v1", "new"), ("v2 on k0", "new")]
    assert [one.beside for one in found] == [Beside.PREVIOUS, Beside.BEFORE]
    assert all(one.verdict is Verdict.CANNOT_TELL and one.reasons == ("it is gone",) for one in found)
    alone = replace(JOB, family="", series="")
    assert list(against(alone, JobResult(Verdict.GOOD, "new"), past[:3], NOTHING_KNOWN, scratch_layout)) == []


def test_what_changed_is_counted_without_notes(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    taint = EventChange("taint", "t", "f", Change.FLAKY, 1, 2, 1, 2, note=True)
    warning = EventChange("warning", "w", "g", Change.FIXED, 1, 1, 0, 1)
    output = SimpleNamespace(comparisons=(), event_changes=(taint, warning), verdict=Verdict.GOOD, reasons=())
    monkeypatch.setattr(nightly_jobs, "compare_runs", lambda *rest: output)
    past = [(replace(JOB, series="series 1", revision=1), JobResult(Verdict.GOOD, "v1"))]
    (found,) = against(JOB, JobResult(Verdict.GOOD, "new"), past, NOTHING_KNOWN, scratch_layout)
    assert found.changes == {"FIXED": 1}


def test_the_plan_of_a_job_says_whose_it_is() -> None:
    assert read_job_plan(job_plan("my-night", JOB)) == ("my-night", "a")
    for text in ("quick", "", "a 123: b", "mine: 0123456789abcdef: x"):
        assert read_job_plan(text) == ("", text)
