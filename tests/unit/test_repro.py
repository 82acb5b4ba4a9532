# SPDX-License-Identifier: GPL-2.0-only
"""A kept boot that is made again. Kernels are made up, and the guest is the one that stands in for QEMU."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from harness.flow.kept_boot import StoredBoot, find_boot
from harness.flow.repro import Original, asked_of, make_again, reproduce
from harness.flow.run import RunOptions
from harness.judge.repro import findings_of, unlike_kernels
from harness.model.errors import StoreDamaged, UserError
from harness.model.event import Case, Event
from harness.model.outcome import Outcome, Verdict
from harness.model.repro import Repro
from harness.model.span import Span
from harness.reports.repro import print_repro
from harness.store.layout import Layout
from tests.unit.stand_in import Step as Act
from tests.unit.stand_in import say
from tests.unit.stand_in.cells import BOOTS, begins, case, case_begins, ends, good, powers_off, request
from tests.unit.stand_in.runs import BASE, Ground

pytestmark = pytest.mark.timeout(60)

WARNING = say(
    "------------[ cut here ]------------",
    "WARNING: CPU: 0 PID: 1 at mm/vmscan.c:1 shrink_one+0x1/0x2",
    "---[ end trace 0000000000000000 ]---",
)


def fails(*cases: str, also: tuple[Act, ...] = ()) -> tuple[Act, ...]:
    """All cases are run, and these are not ok."""
    steps = [
        step
        for number, name in enumerate("abcd", 1)
        for step in (
            *case_begins(name),
            *(also if name in cases else ()),
            *case(name, number, "not ok" if name in cases else "ok")[2:],
        )
    ]
    return (*BOOTS, *begins(), *steps, *ends(), *powers_off(taint=512 if also else 0))


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def again(ground: Ground, words: str, times: int, **options: object) -> tuple[Repro, Path]:
    kept = find_boot(ground.layout, words)
    return reproduce(kept, times, ground.layout, ground.told, RunOptions(parallel=1, **options))  # type: ignore[arg-type]


def test_so_many_of_so_many(ground: Ground) -> None:
    ground.plays(fails("b", also=(WARNING,)))
    _, directory = ground.execute(request(seed=7, cases=("a", "b", "c", "d")))
    ground.plays(fails("b", also=(WARNING,)), good(), fails("c"))
    found, made = again(ground, directory.name, 3)
    assert (found.was, found.boots, found.told, found.again) == (Verdict.BAD, 3, 3, 1)
    assert [(one.finding.name, one.finding.outcome, one.boots) for one in found.findings[:1]] == [
        ("p/p.b", "FAIL", 1)
    ]
    assert found.findings[1].finding.kind == "warning" and found.findings[1].boots == 1
    assert [(one.finding.name, one.boots) for one in found.more] == [("p/p.c", 1)]
    assert (found.verdict, found.unlike) == (Verdict.BAD, ())
    cells = [path.name for path in sorted(made.iterdir()) if path.is_dir()]
    assert len(cells) == 3 and len({name.partition("-")[2] for name in cells}) == 1  # the same cell, each booted
    assert ground.made[-1].build == "b" * 64
    text = StringIO()
    print_repro(found, made, text)
    assert "again what it was in 1 of 3 boots" in text.getvalue()
    assert "1/3  FAIL p/p.b" in text.getvalue()


def test_what_was_good(ground: Ground) -> None:
    ground.plays(good())
    _, directory = ground.execute(request())
    ground.plays(good(), fails("a"))
    found, _ = again(ground, directory.name, 2)
    assert (found.was, found.again, found.told, found.verdict) == (Verdict.GOOD, 1, 2, Verdict.BAD)


def test_a_boot_that_tells_nothing_is_not_counted(ground: Ground) -> None:
    ground.plays(fails("b"))
    _, directory = ground.execute(request())
    ground.plays(good(), (*BOOTS,))
    found, _ = again(ground, directory.name, 2)
    assert (found.boots, found.told, found.again, found.verdict) == (2, 1, 0, Verdict.CANNOT_TELL)


def number_of(kept: StoredBoot) -> int:
    return asked_of(kept).planned.number


def test_which_boot_is_meant(ground: Ground) -> None:
    ground.plays(good(), fails("a"), good())
    _, directory = ground.execute(request(repeat=3))
    for words, number in ((directory.name, 2), (f"{directory.name}/1", 1), (f"{directory.name}/3", 3)):
        assert number_of(find_boot(ground.layout, words)) == number
    third = find_boot(ground.layout, f"{directory.name}/3")
    assert find_boot(ground.layout, third.name) == third
    assert asked_of(third).request.seed == 3 and asked_of(third).request.repeat == 1


def test_the_base_has_its_own_kernel(ground: Ground) -> None:
    ground.plays(good(), fails("a"))
    _, directory = ground.execute(replace(request(), base=BASE))
    assert asked_of(find_boot(ground.layout, f"{directory.name}/1")).request.kernel == replace(BASE, build="a" * 64)
    assert asked_of(find_boot(ground.layout, directory.name)).request.base is None


def test_a_boot_that_did_not_end_and_one_that_no_run_made(ground: Ground) -> None:
    ground.plays(good())
    _, directory = ground.execute(request())
    kept = find_boot(ground.layout, directory.name)
    (kept.place / "result.json").unlink()
    with pytest.raises(UserError, match="has no result"):
        kept.load()
    (directory / "run.json").unlink()
    with pytest.raises(UserError, match="no `run` made it"):
        asked_of(find_boot(ground.layout, directory.name))


def test_evidence_that_was_changed_is_not_built_upon(ground: Ground) -> None:
    ground.plays(fails("a"))
    _, directory = ground.execute(request())
    kept = find_boot(ground.layout, directory.name)
    (kept.place / "console.log").write_text("all is well\n")
    with pytest.raises(StoreDamaged):
        kept.load()


def test_what_could_not_be_made_the_same(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.plays(fails("a"))
    _, directory = ground.execute(request())
    kept = find_boot(ground.layout, directory.name)
    kernel = asked_of(kept).kernel
    then = replace(kernel, compiler="gcc 1", tree_id="f" * 64)
    assert unlike_kernels(kernel, kernel) == ()
    assert unlike_kernels(then, kernel) == (
        "the compiler was gcc 1, and is gcc",
        "the source made up has other content: ffffffffffff, and now aaaaaaaaaaaa",
    )
    assert unlike_kernels(replace(then, build_id="c" * 64, compiler="gcc"), kernel)[0].startswith("the source")
    assert unlike_kernels(replace(kernel, build_id="c" * 64), kernel) == ("the kernel was built in another way",)
    # Nothing of the kernel, but the guest's root: the key of the boot tells.
    other = replace(kept, planned=replace(asked_of(kept).planned, key="0" * 64))
    ground.plays(fails("a"))
    found, _ = reproduce(other, 1, ground.layout, ground.told, RunOptions(parallel=1))
    assert found.unlike == ("the suite, its modules or the guest's root are not those of then",)
    # That nothing comes again on something else is no good news.
    ground.plays(good(), good(), good())
    assert again(ground, directory.name, 1)[0].verdict is Verdict.GOOD
    assert reproduce(other, 1, ground.layout, ground.told, RunOptions(parallel=1))[0].verdict is Verdict.CANNOT_TELL
    first = Original(kept.name, replace(kernel, tree_id="f" * 64), "", kept.load())
    asked = asked_of(kept).request
    found, _ = make_again(first, asked, 1, ground.layout, ground.told, RunOptions(parallel=1))
    assert found.verdict is Verdict.CANNOT_TELL and "has other content" in found.unlike[0]


def test_an_oom_counts_only_in_a_case_that_is_red() -> None:
    oom = Event("oom", "OOM", "12", Span(1, 2))
    splat = Event("warning", "WARNING", "34", Span(3, 4))
    red, calm = Case("p", "a", Outcome.FAIL, events=(oom,)), Case("p", "a", Outcome.PASS, events=(oom,))

    def found(*cases: Case) -> list[str]:
        return [one.kind for one in findings_of(cases, (oom, splat), lambda kind: kind == "oom")]

    assert found(red) == ["case", "oom", "warning"]
    assert found(calm) == ["warning"]
