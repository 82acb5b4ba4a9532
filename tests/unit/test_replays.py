# SPDX-License-Identifier: GPL-2.0-only
"""History replayed: what its list may say, who is taken to have seen a bug, and what is kept where it is ended."""

from __future__ import annotations

import fnmatch
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from harness.cli.history import history
from harness.flow import replays
from harness.flow.boots import BootEnvironment
from harness.flow.controls import Control, ControlRun, Detection
from harness.flow.replays import (
    ReplayContext,
    chosen_regressions,
    control_of,
    history_folder,
    judged,
    replay,
    suite_of,
)
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.errors import StoreDamaged, UserError
from harness.model.gate import GATE_SCHEMA, Gate, GateCheck, Mark, PatchGate
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Verdict
from harness.model.regression import (
    HISTORY_SCHEMA,
    HistoryOutput,
    Regression,
    Replay,
    ReplayKind,
    ReplayOutcome,
    Told,
    read_regressions,
    verdict_of_replays,
)
from harness.model.units import MIB
from harness.reports.history import history_markdown, history_table, print_history
from harness.store.layout import Layout
from tests.unit.results_support import Quiet
from tests.unit.series_support import tree_of

EVERY = chosen_regressions(())
KNOWN = {*(f"R{number}" for number in range(1, 17)), *(f"B{number}" for number in range(1, 14))}
BAD = GateCheck("configs", Mark.BAD, "i386: a.c:1: format", ("i386: a.c:1: format", "SHMEM=n: other"))


def test_all_that_is_known_is_there_and_every_patch_is_described() -> None:
    assert {one.id for one in EVERY} >= KNOWN
    named = {name for one in EVERY for name in (one.patch, one.gate) if name}
    assert named == {path.name for path in history_folder().glob("*.patch")}


@pytest.mark.parametrize("one", [one for one in EVERY if one.cases], ids=lambda one: one.id)
def test_what_is_to_see_a_bug_is_there(one: Regression) -> None:
    suite = suite_of(one)
    assert suite is not None and suite.manifest is not None
    listed = [case.name.partition(".")[2] for case in suite.manifest.cases]
    scripted = suite.folder / "run"
    for glob in one.cases:
        assert fnmatch.filter(listed, glob) or f"case_{glob}()" in scripted.read_text(), glob
    control = control_of(one)
    assert control.patch.is_file() and control.functions and not control.neutral


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id = "X"\nwhat = "w"\n', "exactly one of"),
        ('id = "X"\nwhat = "w"\ngate = "a.patch"\ncheck = "objects"\nnot_possible = "no"\n', "exactly one of"),
        ('id = "X"\nwhat = "w"\ncontrol = "ttm/a"\n', "needs the cases"),
        ('id = "X"\nwhat = "w"\ncontrol = "a"\ncases = ["c"]\n', "SUBJECT/NAME"),
        ('id = "X"\nwhat = "w"\npatch = "a.patch"\ncases = ["c"]\n', "needs the subject"),
        ('id = "X"\nwhat = "w"\ngate = "a.patch"\n', "needs the check"),
        ('id = "X"\nwhat = "w"\ngate = "a.patch"\ncheck = "configs"\n', "needs the config"),
        ('id = "X"\nwhat = "w"\ngate = "a.patch"\ncheck = "objects"\nconfig = "i386"\n', "no other check"),
        ('id = "X"\nwhat = "w"\nnot_possible = "no"\nsaid = "yesterday"\n', "no date"),
        ('id = "X"\nwhat = "w"\nnot_possible = "no"\nsince = 2026-01-02\nsaid = 2026-01-01\n', "before it arrived"),
        ('id = "X"\nwhat = "w"\nnot_possible = "no"\n[[regression]]\nid = "X"\nwhat = "w"\ngate = "a"\n', "twice"),
        ('id = "X"\nwhat = "w"\nnot_possible = "no"\nnonsense = 1\n', "nonsense"),
    ],
)
def test_a_list_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "history.toml"
    path.write_text(f"[[regression]]\n{text}")
    with pytest.raises(UserError, match=said):
        read_regressions(path)


def test_the_days_are_counted_and_the_way_is_told(tmp_path: Path) -> None:
    path = tmp_path / "history.toml"
    head = '[[regression]]\nid = "X"\nwhat = "w"\nnot_possible = "no"\n'
    path.write_text(f'{head}since = 2026-02-27\nsaid = "2026-03-01"\nin = "v1"\n')
    (one,) = read_regressions(path)
    assert (one.days, one.kind, one.arrived) == (2, ReplayKind.NONE, "v1")


def gate_of(*checks: GateCheck) -> Gate:
    patch = PatchGate(1, 1, "subject", "p" * 40, checks)
    return Gate(GATE_SCHEMA, Verdict.BAD, (), "s", "s" * 64, "base", 1, (patch,))


@pytest.mark.parametrize(
    ("checks", "outcome"),
    [
        ((BAD,), ReplayOutcome.SEEN),
        ((replace(BAD, mark=Mark.WARN),), ReplayOutcome.SEEN),
        ((replace(BAD, mark=Mark.OK),), ReplayOutcome.NOT_SEEN),
        ((replace(BAD, message="SHMEM=n: other", details=()),), ReplayOutcome.NOT_SEEN),
        ((replace(BAD, name="objects"), GateCheck("configs", Mark.OK, "i386")), ReplayOutcome.NOT_SEEN),
        ((replace(BAD, mark=Mark.NOT_RUN),), ReplayOutcome.CANNOT_TELL),
        ((GateCheck("objects", Mark.BAD, "i386"),), ReplayOutcome.CANNOT_TELL),
        ((GateCheck("applies", Mark.BAD, "i386 does not apply"),), ReplayOutcome.CANNOT_TELL),
        ((), ReplayOutcome.CANNOT_TELL),
    ],
)
def test_only_the_check_and_the_words_that_were_named_have_seen_it(
    checks: tuple[GateCheck, ...], outcome: ReplayOutcome
) -> None:
    one = Regression(id="B3", what="w", gate="a.patch", check="configs", shows="i386")
    assert judged(one, gate_of(*checks)).outcome is outcome


@pytest.mark.parametrize(
    ("outcomes", "left", "verdict"),
    [
        ((ReplayOutcome.SEEN, ReplayOutcome.NOT_POSSIBLE), 0, Verdict.GOOD),
        ((ReplayOutcome.SEEN,), 1, Verdict.CANNOT_TELL),
        ((ReplayOutcome.SEEN, ReplayOutcome.CANNOT_TELL), 0, Verdict.CANNOT_TELL),
        ((ReplayOutcome.SEEN, ReplayOutcome.CANNOT_TELL, ReplayOutcome.NOT_SEEN), 0, Verdict.BAD),
        ((ReplayOutcome.NOT_POSSIBLE,), 0, Verdict.CANNOT_TELL),
        ((), 0, Verdict.CANNOT_TELL),
    ],
)
def test_what_is_not_seen_speaks_against_the_suites(
    outcomes: tuple[ReplayOutcome, ...], left: int, verdict: Verdict
) -> None:
    assert verdict_of_replays(tuple(Replay(str(n), one) for n, one in enumerate(outcomes)), left) is verdict


class Killed(BaseException):
    """As kill -9 would: nothing catches it."""


class Host:
    """Boots and gates that are made up, counted; those that are in `red` see their bug."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clean = Verdict.GOOD
        self.noticed = Detection.CAUGHT
        self.kills_at = ""
        self.starved: list[str] = []  # what cannot tell, once for each time that it is there
        self.made: list[str] = []
        monkeypatch.setattr(replays, "boot_cell", self._boot)
        monkeypatch.setattr(replays, "try_control", self._try)
        monkeypatch.setattr(replays, "_gate", self._gate)

    def _boot(self, cell: Cell, *_: object) -> SimpleNamespace:
        verdict = Verdict.CANNOT_TELL if self._starves(f"clean {','.join(cell.cases)}") else self.clean
        run = SimpleNamespace(verdict=verdict, reasons=("it is red",), directory="000")
        return SimpleNamespace(run=run)

    def _try(self, control: Control, *_: object) -> ControlRun:
        if control.name == self.kills_at:
            raise Killed
        noticed = Detection.CANNOT_TELL if self._starves(control.name) else self.noticed
        return ControlRun(control, noticed, ("pressure.case",), (), 3.0, "001")

    def _starves(self, name: str) -> bool:
        self.made.append(name)
        if name not in self.starved:
            return False
        self.starved.remove(name)
        return True

    def _gate(self, one: Regression, _: object) -> Gate:
        self.made.append(one.id)
        return gate_of(GateCheck(one.check, Mark.BAD, one.shows))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.fixture
def context(tmp_path: Path, scratch_layout: Layout) -> ReplayContext:
    tree = tree_of(tmp_path)
    build = Build("b" * 64, tree, "lean", "c", "gcc", tree.version, tmp_path, tmp_path)
    environment = BootEnvironment(PreparedKernel(build, {}), tmp_path, tmp_path, Quiet())
    machine = Machine(256 * MIB, Swap.parse("disk:1G"), accel=Accel.TCG)
    return ReplayContext(environment, machine, scratch_layout, "qemu, vng", "lean", 1)


def ids(*names: str) -> tuple[Regression, ...]:
    return chosen_regressions(names)


def nobody(_: Replay) -> None: ...


def outcomes(made: Sequence[Replay]) -> dict[str, str]:
    return {one.id: str(one.outcome) for one in made}


def test_the_unbroken_kernel_comes_first_and_once(host: Host, context: ReplayContext) -> None:
    made = replay(ids("R9", "R10", "B1", "B6"), context, nobody)
    assert outcomes(made) == {"R9": "seen", "R10": "seen", "B1": "seen", "B6": "not possible"}
    clean = "clean resume_last,shrink_empty"
    assert host.made == ["B1", clean, "66-restore-state-survives", "73-null-page-to-set-pages"]


def test_red_without_a_bug_proves_nothing(host: Host, context: ReplayContext) -> None:
    host.clean = Verdict.BAD
    (made,) = replay(ids("R9"), context, nobody)
    assert made.outcome is ReplayOutcome.CANNOT_TELL and "not green itself" in made.reasons[0]
    assert host.made == ["clean resume_last"] * 4  # for all at once, and in each of three turns


def test_one_that_starved_takes_nobody_with_it(host: Host, context: ReplayContext) -> None:
    host.starved = ["clean resume_last,shrink_empty", "73-null-page-to-set-pages", "clean shrink_empty"]
    made = replay(ids("R9", "R10"), context, nobody)
    assert outcomes(made) == {"R9": "seen", "R10": "seen"}
    nine, ten = "66-restore-state-survives", "73-null-page-to-set-pages"
    both = "clean resume_last,shrink_empty"
    assert host.made == [both, "clean resume_last", nine, "clean shrink_empty", "clean shrink_empty", ten, ten]


def test_a_tool_that_is_missing_is_named_and_asked_for_again(
    host: Host, context: ReplayContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "find_tool", lambda _: None)
    (made,) = replay(ids("B4"), context, nobody)
    assert (made.outcome, made.reasons) == (ReplayOutcome.NOT_POSSIBLE, ("this host has no spatch",))
    monkeypatch.setattr(replays, "find_tool", lambda _: Path("spatch"))
    assert outcomes(replay(ids("B4"), context, nobody)) == {"B4": "seen"}


def test_who_is_killed_goes_on_where_that_was(host: Host, context: ReplayContext) -> None:
    host.kills_at = "73-null-page-to-set-pages"
    with pytest.raises(Killed):
        replay(ids("B1", "R9", "R10"), context, nobody)
    host.kills_at, host.made = "", []
    told: list[str] = []
    made = replay(ids("B1", "R9", "R10"), context, lambda one: told.append(one.id))
    assert host.made == ["clean shrink_empty", "73-null-page-to-set-pages"]
    assert sorted(told) == sorted(outcomes(made)) == ["B1", "R10", "R9"]


@pytest.mark.parametrize(
    "change",
    [
        lambda context: replace(context, seed=2),
        lambda context: replace(context, tools="another"),
        lambda context: replace(context, machine=replace(context.machine, ram=512 * MIB)),
        lambda context: replace(context, fresh=True),
    ],
    ids=["seed", "tools", "machine", "fresh"],
)
def test_what_is_not_the_same_is_replayed_again(
    host: Host, context: ReplayContext, change: Callable[[ReplayContext], ReplayContext]
) -> None:
    replay(ids("R9"), context, nobody)
    host.made = []
    replay(ids("R9"), context, nobody)
    assert host.made == []
    replay(ids("R9"), change(context), nobody)
    assert len(host.made) == 2


def test_what_could_not_tell_and_what_is_cut_off_is_replayed_again(host: Host, context: ReplayContext) -> None:
    host.noticed = Detection.CANNOT_TELL
    assert outcomes(replay(ids("R9"), context, nobody)) == {"R9": "cannot tell"}
    host.noticed = Detection.MISSED
    assert outcomes(replay(ids("R9"), context, nobody)) == {"R9": "not seen"}
    (kept,) = list(context.layout.history.iterdir())
    kept.write_text(kept.read_text()[:40])
    host.noticed = Detection.CAUGHT
    assert outcomes(replay(ids("R9"), context, nobody)) == {"R9": "seen"}


def test_the_table_says_when_and_by_what() -> None:
    bug = replace(
        ids("R7")[0], since="2026-01-01", said="2026-01-02", arrived="v6.13 was released", what="a [bold]bug"
    )
    cases = ("pressure.one", "pressure.two", "kernel")
    made = (
        Told(bug, bug.days, bug.kind, Replay("R7", ReplayOutcome.SEEN, cases, (), 61.4)),
        Told(
            replace(bug, since="", id="R8"), None, bug.kind, Replay("R8", ReplayOutcome.NOT_SEEN, reasons=("green",))
        ),
        Told(replace(bug, id="R9"), 0, bug.kind, None),
    )
    found = HistoryOutput(HISTORY_SCHEMA, Verdict.BAD, "7.3.4", 1, made)
    _, first, second, third = history_table(found)
    assert first[2:] == ["2026-01-02, 1 day after v6.13 was released", bug.by, "one, two and 1 more", "61 s"]
    assert second[2:] == ["2026-01-02", bug.by, "not seen", ""]
    assert third[2:] == ["2026-01-02, the day on which v6.13 was released", bug.by, "", ""]
    page = history_markdown(found).splitlines()
    assert page[2].endswith("| one, two and 1 more | 61 s |") and page[3].endswith("| not seen: green | |")
    assert page[4] == "| R9 | a [bold]bug | 2026-01-02, the day on which v6.13 was released | | |"
    text = io.StringIO()
    print_history(found, text)
    assert "a [bold]bug" in text.getvalue() and "  R8 not seen: green\n" in text.getvalue()
    assert "3 bugs: 1 seen, 1 not seen\nverdict: bad\n" in text.getvalue()


def test_the_list_needs_no_kernel_and_a_glob_that_fits_nothing_is_a_mistake() -> None:
    made = CliRunner().invoke(history, ["--list", "--json", "B1?"])
    assert [one["regression"]["id"] for one in json.loads(made.stdout)["regressions"]] == ["B10", "B11", "B12", "B13"]
    assert CliRunner().invoke(history, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("damaged", [1, 3])
def test_what_is_damaged_meanwhile_is_made_again_and_what_has_ended_stays(
    damaged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`damaged` is how many times something is: the third time there is no sense in going on."""
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("TTM_HARNESS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("harness.cli.history.look_at_containment", lambda _: None)
    kernel = SimpleNamespace(tree=SimpleNamespace(version="7.3.4"))
    asked: list[list[str]] = []

    def prepared(*_: object) -> tuple[object, None]:
        return SimpleNamespace(kernel=SimpleNamespace(build=kernel), progress=Quiet()), None

    def replayed(chosen: Sequence[Regression], _: object, done: Callable[[Replay], None]) -> None:
        asked.append([one.id for one in chosen])
        for one in chosen if len(asked) > damaged else chosen[:1]:
            done(Replay(one.id, ReplayOutcome.SEEN if one.id != "B13" else ReplayOutcome.CANNOT_TELL))
        if len(asked) <= damaged:
            raise StoreDamaged("a module is gone")

    monkeypatch.setattr(replays, "prepared_for", prepared)
    monkeypatch.setattr(replays, "replay", replayed)
    made = CliRunner().invoke(history, ["--json", "B1?"])
    assert made.exit_code == 3
    if damaged == 3:
        assert "a module is gone" in made.stderr and made.stdout == ""
        assert len(asked) == 3
        return
    assert asked == [["B10", "B11", "B12", "B13"], ["B11", "B12", "B13"]]
    assert "a module is gone: it is made again" in made.stderr
    told = json.loads(made.stdout)["regressions"]
    assert [(one["regression"]["id"], one["replay"]["outcome"]) for one in told] == [
        ("B10", "seen"),
        ("B11", "seen"),
        ("B12", "seen"),
        ("B13", "cannot tell"),
    ]
