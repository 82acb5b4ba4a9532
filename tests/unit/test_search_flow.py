# SPDX-License-Identifier: GPL-2.0-only
"""The searches with real runs of a guest that stands in: what is booted, what is kept, what goes on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import laboratory as laboratory_module
from harness.flow.axes import at, parse_axis
from harness.flow.bisect import Question, bisect, step_of_git
from harness.flow.candidates import Candidate, checked, of_revisions, over
from harness.flow.frontier import Survey, frontier
from harness.flow.laboratory import STATE_FILE, Budget, Laboratory
from harness.flow.request import Request
from harness.flow.run import execute
from harness.kernel.fragments import compose
from harness.model.codec import from_json, to_json
from harness.model.errors import BuildFailed, UserError
from harness.model.frontier import FrontierOutput
from harness.model.kernel import KernelSpec
from harness.model.search import Answer, BisectOutput, BisectResult, Predicate
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec, Tree
from harness.reports.bisect import bisect_mail, culprit, odds_words, print_bisect
from harness.reports.frontier import frontier_html, frontier_svg, print_frontier
from harness.store.layout import Layout
from tests.unit.results_support import Quiet
from tests.unit.schemas import require_fits
from tests.unit.stand_in import Step as Act
from tests.unit.stand_in.cells import BOOTS, begins, case, ends, good, powers_off, request
from tests.unit.stand_in.runs import Ground

pytestmark = pytest.mark.timeout(120)

SPECS = tuple(KernelSpec(SourceSpec.parse(f"debian:7.{number}")) for number in range(5))
BAD = (*BOOTS, *begins("p", "a"), *case("a", 1, "not ok"), *ends(), *powers_off())
NO_EXIT = (*BOOTS, *begins("p", "a"), *case("a", 1))


class Killed(BaseException):
    """kill -9, as far as Python can be told."""


class World(Ground):
    """Kernels from `first` on have a red case; which boots were made is written down."""

    def __init__(self, place: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(place, layout, monkeypatch)
        self.ids = {spec: f"{number:064x}" for number, spec in enumerate(SPECS, 10)}
        self.booted: list[Request] = []
        self.is_bad: Callable[[Request], bool] = lambda wanted: SPECS.index(wanted.kernel) >= 3
        self.broken: set[KernelSpec] = set()
        self.dies_after = 10_000
        monkeypatch.setattr(laboratory_module, "execute", self._execute)
        monkeypatch.setattr(laboratory_module, "tree_of", self._tree)
        monkeypatch.setattr(laboratory_module, "profile_of", lambda _: compose("lean", ()))
        monkeypatch.setattr(laboratory_module, "compiler_version", lambda _: "gcc")
        monkeypatch.setattr(laboratory_module, "build_id", lambda tree, *_: tree.id)

    def _tree(self, wanted: KernelSpec, *_: object) -> Tree:
        return Tree(self.ids.get(wanted, "b" * 64), "7.3.4", "made up", self.layout.root, str(wanted.source))

    def _execute(self, requests: tuple[Request, ...], *rest: object) -> object:
        if len(self.booted) >= self.dies_after:
            raise Killed
        wanted = replace(requests[0], kernel=replace(requests[0].kernel, build=""))
        if wanted.kernel in self.broken:
            raise BuildFailed("it does not build: a.c:1: no")
        self.booted.append(wanted)
        self.plays(self.script(wanted))
        return execute(requests, *rest)  # type: ignore[arg-type]

    def script(self, wanted: Request) -> tuple[Act, ...]:
        """What the guest of a boot does."""
        return BAD if self.is_bad(wanted) else good(("a",))

    def laboratory(self, question: str = "q") -> Laboratory:
        return Laboratory(question, self.layout, self.told)

    def bisect(self, **more: object) -> BisectOutput:
        candidates = tuple(Candidate(str(spec.source), spec) for spec in SPECS)
        asked = Question(
            request=replace(request(), cases=("a",)),
            predicate=Predicate(),
            learns=True,
            confidence=0.95,
            rate=2 / 3,
            most=60,
            budget=Budget(),
            command="ttm-harness bisect",
        )
        return bisect(candidates, replace(asked, **more), self.laboratory(), self.told)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, scratch_layout, monkeypatch)


def test_the_first_bad_one_is_found_with_its_evidence(world: World) -> None:
    output = world.bisect()
    assert (output.found, output.first, output.last) == (BisectResult.FOUND, 3, 3)
    assert output.found.exit_status == 1
    assert output.boots == len(world.booted)
    assert output.candidates[3].tally.bad >= 1
    assert output.candidates[2].tally.good >= 1
    assert (world.layout.runs / output.candidates[3].sights[0].run / output.candidates[3].sights[0].boot).is_dir()
    assert from_json(BisectOutput, to_json(output)) == output
    require_fits(to_json(output), "bisect-1")


def test_each_step_says_what_is_believed_by_it(world: World) -> None:
    output = world.bisect()
    said = [line for line in world.told.said if line.startswith("  so far ")]
    asked = [line for line in world.told.said if line.startswith("candidate ")]
    assert len(said) == len(asked) == output.boots
    assert said[-1].endswith(f"first bad is most likely debian:7.3, {odds_words(output.odds)}")
    assert said[0].startswith("  so far 1/1 bad; first bad is most likely ")


def test_a_kernel_that_cannot_be_had_is_said_with_what_is_believed(world: World) -> None:
    world.broken = {SPECS[2]}
    world.bisect()
    said = [line for line in world.told.said if line.startswith("  so far no kernel; first bad is most likely ")]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("odds", "words"), [(0.98, "49 to 1 (98.0 %)"), (0.25, "1 to 3 (25.0 %)"), (0.5, "1 to 1 (50.0 %)")]
)
def test_odds_in_words(odds: float, words: str) -> None:
    assert odds_words(odds) == words


@pytest.mark.parametrize(
    ("labels", "first", "words"),
    [
        (("a",), 2, "a"),
        (("a", "b", "c"), 2, "one of 3, a to c"),
        (("a",), 0, "a, said to be good"),
        ((), 5, "none of them"),
    ],
)
def test_the_culprit_in_words(labels: tuple[str, ...], first: int, words: str) -> None:
    assert culprit(labels, first) == words


def test_the_report_and_the_mail_say_both_sides(world: World, tmp_path: Path) -> None:
    output = world.bisect()
    path = tmp_path / "out"
    with path.open("w") as file:
        print_bisect(output, tmp_path, file)
    text = path.read_text()
    assert "first bad:\n    debian:7.3\n" in text
    assert "good side: debian:7.2: 0/" in text
    assert "bad side: debian:7.3: " in text
    mail = bisect_mail(output, "1" * 40)
    assert mail.startswith("Subject: [BISECTED] FAIL p.a")
    assert "#regzbot introduced: " + "1" * 40 in mail
    assert str(tmp_path) not in mail


@pytest.mark.parametrize("boots", [0, 1, 2, 4])
def test_what_was_killed_goes_on_with_no_boot_made_twice(world: World, boots: int) -> None:
    world.dies_after = boots
    with pytest.raises(Killed):
        world.bisect()
    world.dies_after = 10_000
    output = world.bisect()
    assert output.kept == boots
    seen = [(SPECS.index(one.kernel), one.seed) for one in world.booted]
    assert len(set(seen)) == len(seen)
    assert output.found is BisectResult.FOUND
    again = world.bisect()
    assert (again.boots, again.kept, again.odds) == (0, len(seen), output.odds)


def test_results_of_an_ordinary_run_are_used(world: World) -> None:
    world.plays(BAD)
    world.execute(replace(request(), kernel=SPECS[4], cases=("a",)))
    output = world.bisect()
    assert output.kept == 1
    assert output.candidates[4].sights[0].kept


def test_what_does_not_build_is_skipped_and_not_built_again(world: World) -> None:
    world.broken = {SPECS[3]}
    output = world.bisect()
    assert (output.found, output.first, output.last) == (BisectResult.FOUND, 3, 4)
    assert output.candidates[3].unfit == "it does not build: a.c:1: no"
    world.broken = set()
    again = world.bisect()
    assert again.boots == 0
    assert again.candidates[3].unfit == "it does not build: a.c:1: no"


def test_a_good_end_that_is_bad(world: World) -> None:
    world.is_bad = lambda _: True
    output = world.bisect()
    assert output.found is BisectResult.GOOD_END_IS_BAD
    assert output.found.exit_status == 2
    assert not bisect_mail(output)


def test_a_bad_end_that_is_good(world: World) -> None:
    world.is_bad = lambda _: False
    output = world.bisect()
    assert (output.found, output.found.exit_status) == (BisectResult.BAD_END_IS_GOOD, 2)
    assert {SPECS.index(one.kernel) for one in world.booted} == {4}


def test_a_budget_that_is_spent_is_no_answer(world: World) -> None:
    output = world.bisect(budget=Budget(1.0, clock=lambda: 5.0))
    assert (output.found, output.found.exit_status) == (BisectResult.UNSURE, 3)
    assert not world.booted


@pytest.mark.parametrize(("bad", "status"), [(True, 1), (False, 0)])
def test_a_step_of_git(world: World, bad: bool, status: int) -> None:
    world.is_bad = lambda _: bad
    asked = Question(request(cases=("a",)), Predicate(), True, 0.95, 2 / 3, 60, Budget(), "")
    assert step_of_git(Candidate("here", SPECS[0]), asked, world.laboratory(), world.told) == status
    assert len(world.booted) == (1 if bad else 3)


def test_a_step_of_git_that_does_not_build_is_skipped(world: World) -> None:
    world.broken = {SPECS[0]}
    asked = Question(request(cases=("a",)), Predicate(), True, 0.95, 2 / 3, 60, Budget(), "")
    assert step_of_git(Candidate("here", SPECS[0]), asked, world.laboratory(), world.told) == 125


def survey(world: World, **more: object) -> FrontierOutput:
    wanted = Survey(
        request=replace(request(), kernel=SPECS[1], base=SPECS[0], cases=("a",)),
        x=parse_axis("ram=64M..144M/16M", "pressure"),
        y=parse_axis("swappiness=0,32,96", "pressure"),
        predicate=Predicate(),
        repeats=1,
        most=500,
        budget=Budget(),
        command="ttm-harness frontier",
    )
    return frontier(replace(wanted, **more), world.laboratory("f"), world.told)  # type: ignore[arg-type]


def fails_below(wanted: Request) -> bool:
    least = (144 << 20) if wanted.kernel == SPECS[0] else (112 << 20) - ((wanted.machine.swappiness or 0) << 20) // 2
    return wanted.machine.ram < least


def test_a_frontier_of_two_kernels(world: World, tmp_path: Path) -> None:
    world.is_bad = fails_below
    world.dies_after = 9
    with pytest.raises(Killed):
        survey(world)
    world.dies_after = 10_000
    output = survey(world)
    assert output.kept == 9
    assert output.finished
    assert output.exit_status == 0
    assert output.sentences == (
        "the patched kernel survives at 64M of RAM with swappiness=96 where the base needs 144M",
    )
    base, tip = output.sides
    assert [one.place for one in base.needs] == [5, 5, 5]
    assert [one.place for one in tip.needs] == [3, 2, 0]
    assert from_json(FrontierOutput, to_json(output)) == output
    require_fits(to_json(output), "frontier-1")
    svg = frontier_svg(output)
    assert svg.startswith("<svg") and svg.count("<title>") == 1 + len(
        {(p.x, p.y, s.leg) for s in output.sides for p in s.points if p.seen}
    )
    assert "<table>" in frontier_html(output)
    with (tmp_path / "out").open("w") as file:
        print_frontier(output, tmp_path, file)
    text = (tmp_path / "out").read_text()
    assert "patched 7.3.4 survives from" in text
    assert output.sentences[0] in text


def test_a_patched_kernel_that_needs_more_is_a_finding(world: World) -> None:
    world.is_bad = lambda wanted: wanted.machine.ram < ((96 << 20) if wanted.kernel == SPECS[0] else (128 << 20))
    assert survey(world).exit_status == 1


def test_a_frontier_whose_kernel_does_not_build(world: World) -> None:
    world.broken = {SPECS[0]}
    with pytest.raises(BuildFailed, match="no kernel for the base"):
        survey(world)


def test_a_frontier_without_time_says_so(world: World) -> None:
    output = survey(world, budget=Budget(1.0, clock=lambda: 5.0))
    assert (output.exit_status, output.finished, output.boots) == (3, False, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("caching=wb,wc", "caching has no order"),
        ("accel=tcg,kvm", "accel has no order"),
        ("cmdline=a,b", "cmdline has no order"),
        ("nosuch=1..2", "there is no axis 'nosuch'"),
        ("ram", "is not NAME="),
        ("ram=", "is not NAME="),
        ("ram=64M", "one value is no axis"),
        ("ram=128M..64M", "128M is not below 64M"),
        ("ram=64M..128M/0", "its step is none"),
        ("ram=a..b", "is not a size"),
        ("ram=1M..64G/1M", "more than 200 values"),
        ("cpus=1..x", "'x' is no number"),
        ("swap:floppy=0..1G", "there is no 'swap:floppy'"),
        ("ram:disk=64M..1G", "there is no 'ram:disk'"),
    ],
)
def test_axes_that_are_none(text: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_axis(text, "pressure")
    assert why in caught.value.message


def test_axes() -> None:
    assert parse_axis("ram=64M..160M/32M", "pressure").labels == ("64M", "96M", "128M", "160M")
    assert parse_axis("ram=64M..150M/32M", "pressure").labels == ("64M", "96M", "128M", "150M")
    assert parse_axis("swap=0..128M/64M", "pressure").labels == ("0", "64M", "128M")
    assert parse_axis("total=50%,150%", "pressure").labels == ("50%", "150%")
    assert parse_axis("total=32M,64M", "pressure").labels == ("32M", "64M")
    assert parse_axis("threads=1..4", "pressure").values == (1, 2, 3, 4)
    assert parse_axis("ram=64M..512M", "pressure").values[1] - (64 << 20) == 56 << 20


def test_a_value_takes_its_place() -> None:
    axes = (parse_axis("swap:zram=0..64M/32M", "pressure"), 1), (parse_axis("total=50%..60%/10", "pressure"), 1)
    wanted = at(request(), axes)
    assert str(wanted.machine.swap) == "zram:32M"
    assert [(one.name, one.value) for one in wanted.knobs] == [("total", "60%")]
    assert str(at(request(), ((parse_axis("swap=0..64M", "pressure"), 0),)).machine.swap) == "none"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (("debian:7.1",), "two ends at least"),
        (("debian:7.1", "debian:7.1"), "named twice"),
        (("git:/nowhere@a..",), "no range A..B"),
        (("kernel.org:5.4..6.1",), "over a major version"),
        (("kernel.org:6.4..6.1",), "no two releases"),
    ],
)
def test_candidates_that_are_none(scratch_layout: Layout, texts: tuple[str, ...], why: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(over(texts, SPECS[0], scratch_layout, Quiet()))
    assert why in caught.value.message


def test_releases_and_revisions(scratch_layout: Layout) -> None:
    found = over(("kernel.org:6.12..6.15", "debian:7.3"), SPECS[0], scratch_layout, Quiet())
    assert [one.label for one in found] == [
        *(f"kernel.org:6.{minor}" for minor in (12, 13, 14, 15)),
        "debian:7.3",
    ]
    kernel = replace(SPECS[0], series=SeriesSpec.parse("some-series"))
    assert [str(one.kernel.series) for one in of_revisions(kernel, "v3..v5")] == [
        f"some-series@v{number}" for number in (3, 4, 5)
    ]
    for span in ("v5..v3", "3", "v3..", "a..b"):
        with pytest.raises(UserError):
            of_revisions(kernel, span)


def test_a_boot_that_cannot_tell_is_not_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case b was to run in it, and did not; what is asked is case a, which did."""
    half = (*BOOTS, *begins("p", "a"), *case("a", 1), *ends(), *powers_off())
    monkeypatch.setattr(world, "script", lambda _: half)
    asked = replace(request(), kernel=SPECS[0], cases=("a", "b"))
    first = world.laboratory().sight(asked, Predicate(red=("p.a",)))
    again = world.laboratory().sight(asked, Predicate(red=("p.a",)))
    assert (first.answer, first.kept) == (Answer.GOOD, False)
    assert (again.answer, again.kept, again.boot) == (Answer.GOOD, True, first.boot)
    assert len(world.booted) == 1


def test_a_file_of_a_search_that_is_damaged_costs_boots_and_no_more(world: World) -> None:
    world.bisect()
    place = world.laboratory().place
    (place / STATE_FILE).write_text("{")
    assert world.bisect().found is BisectResult.FOUND
