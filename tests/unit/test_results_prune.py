# SPDX-License-Identifier: GPL-2.0-only
"""What `results prune` takes and what it leaves: it removes other people's evidence, so it must be right."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from harness.flow.results import Results
from harness.model.errors import UserError
from harness.model.results import Pruning, Remains, RunQuery
from harness.model.units import MIB, about_size, parse_age
from harness.proc import Deadline
from harness.store.files import locked
from harness.store.layout import Layout
from harness.store.prune import PruneLimits, prune, survey
from harness.store.runs import held_again
from tests.unit.results_support import NOON, Quiet, keep, plain_report, run_name

DAY = timedelta(days=1)


def names(found: Pruning) -> list[str]:
    return [one.name for one in found.removals]


def kept(layout: Layout) -> list[str]:
    return sorted((path.name for path in layout.runs.iterdir()), reverse=True)


@pytest.fixture
def four(scratch_layout: Layout) -> Layout:
    """Runs of 1, 10, 20 and 30 days ago, each with a MiB of log; the last without a report."""
    for days in (1, 10, 20):
        keep(scratch_layout, days, plain_report(), size=MIB)
    keep(scratch_layout, 30, size=MIB)
    return scratch_layout


@pytest.mark.parametrize(
    ("limits", "days"),
    [
        (PruneLimits(age=15 * DAY), [30, 20]),
        (PruneLimits(age=timedelta(hours=30)), [30, 20, 10]),
        (PruneLimits(age=31 * DAY), []),
        (PruneLimits(keep=3), [30]),
        (PruneLimits(keep=0), [30, 20, 10, 1]),
        (PruneLimits(size=2 * MIB + MIB // 2), [30, 20]),
        (PruneLimits(size=0), [30, 20, 10, 1]),
        (PruneLimits(size=10 * MIB), []),
        (PruneLimits(age=15 * DAY, keep=1), [30, 20, 10]),
        (PruneLimits(), []),
    ],
)
def test_the_old_ones_go_and_a_survey_touches_nothing(four: Layout, limits: PruneLimits, days: list[int]) -> None:
    before = kept(four)
    seen = survey(four, limits, NOON)
    assert (names(seen), seen.done) == ([run_name(ago) for ago in days], False)
    assert kept(four) == before
    assert MIB * len(days) <= seen.bytes <= (MIB + MIB // 8) * len(days)
    gone = prune(four, limits, NOON)
    assert (names(gone), gone.bytes, gone.done) == (names(seen), seen.bytes, True)
    assert kept(four) == [name for name in before if name not in names(seen)]
    assert not list((four.root / "trash").glob("*"))


def test_the_index_forgets_what_went(four: Layout) -> None:
    results = Results(four, Quiet())
    assert results.list(RunQuery(), 9).total == 3
    prune(four, PruneLimits(keep=2), NOON)
    assert results.list(RunQuery(), 9).total == 2


def test_what_somebody_works_in_stays(four: Layout) -> None:
    with held_again(four.runs / run_name(20)):
        found = prune(four, PruneLimits(keep=0), NOON)
    assert names(found) == [run_name(30), run_name(10), run_name(1)]
    assert [one.name for one in found.kept] == [run_name(20)]
    assert kept(four) == [run_name(20)]


def test_what_is_no_run_is_never_touched(four: Layout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis").write_text("years of work")
    (four.runs / "notes").mkdir()
    (four.runs / run_name(40)).symlink_to(elsewhere)
    (four.runs / run_name(50)).write_text("a file")
    # A link inside of a run goes, what it leads to stays.
    (four.runs / run_name(30) / "link").symlink_to(elsewhere)
    prune(four, PruneLimits(keep=0), NOON)
    assert kept(four) == sorted(["notes", run_name(40), run_name(50)], reverse=True)
    assert (elsewhere / "thesis").read_text() == "years of work"


def test_shared_files_are_free_with_their_last_name(four: Layout) -> None:
    old, new = four.runs / run_name(30), four.runs / run_name(1)
    (new / "kept.log").hardlink_to(old / "001-boot" / "console.log")
    one = survey(four, PruneLimits(keep=3), NOON)
    assert one.bytes < MIB // 8
    both = survey(four, PruneLimits(keep=0), NOON)
    assert 4 * MIB <= both.bytes <= 4 * MIB + MIB // 2
    # For a limit on the size they count once.
    assert names(survey(four, PruneLimits(size=4 * MIB + MIB // 2), NOON)) == []


def test_what_a_killed_prune_left_goes_the_next_time(four: Layout) -> None:
    left = four.root / "trash" / "runs-x"
    left.mkdir(parents=True)
    (left / "console.log").write_text("x")
    prune(four, PruneLimits(keep=9), NOON)
    assert not left.exists()


@pytest.fixture
def built(scratch_layout: Layout) -> Layout:
    """A build of today and one of long ago, each with objects; objects without a build, old and new; modules."""
    old, new, half, fresh = ("0" * 16, "1" * 16, "2" * 16, "3" * 16)
    for name in (old, new):
        make(scratch_layout.builds / name, 90 if name == old else 0)
    for name in (old, new, half, fresh):
        make(scratch_layout.objects / name, 0 if name in (new, fresh) else 90)
    make(scratch_layout.objects / "module-abc", 90)
    make(scratch_layout.objects / "module-def", 0)
    (scratch_layout.builds / ("4" * 16)).symlink_to(scratch_layout.builds / old)
    return scratch_layout


def make(path: Path, days_ago: float) -> None:
    path.mkdir()
    (path / "vmlinux").write_bytes(os.urandom(MIB))
    used = NOON.timestamp() - days_ago * 86400
    os.utime(path, (used, used))


def test_builds_and_objects_that_nobody_used(built: Layout) -> None:
    found = prune(built, PruneLimits(unused=30 * DAY), NOON)
    assert [(one.what, one.name) for one in found.removals] == [
        (Remains.BUILD, "0" * 16),
        (Remains.OBJECTS, "2" * 16),
        (Remains.OBJECTS, "module-abc"),
    ]
    assert "never finished" in found.removals[1].why
    assert found.removals[0].bytes >= 2 * MIB
    assert sorted(path.name for path in built.builds.iterdir()) == ["1" * 16, "4" * 16]
    assert sorted(path.name for path in built.objects.iterdir()) == ["1" * 16, "3" * 16, "module-def"]


def test_a_build_that_somebody_makes_stays(built: Layout) -> None:
    with locked(built.locks / f"build-{'2' * 16}", Deadline(5)):
        found = prune(built, PruneLimits(unused=30 * DAY), NOON)
    assert [one.name for one in found.kept] == ["2" * 16]
    assert (built.objects / ("2" * 16)).is_dir()


def test_the_places_of_a_gate_at_work_stay_with_all_its_compilers(scratch_layout: Layout) -> None:
    gate = f"gate-{'a' * 16}"
    places = [gate, f"{gate}-clang", f"{gate}-i386"]
    for name in places:
        make(scratch_layout.objects / name, 90)
    with locked(scratch_layout.locks / gate, Deadline(5)):
        found = prune(scratch_layout, PruneLimits(unused=30 * DAY), NOON)
    assert (found.removals, [one.name for one in found.kept]) == ((), places)
    assert names(prune(scratch_layout, PruneLimits(unused=30 * DAY), NOON)) == places


def test_a_run_of_weeks_keeps_what_it_began_with(built: Layout) -> None:
    with held_again(keep(built, 100)):
        assert survey(built, PruneLimits(unused=30 * DAY), NOON).removals == ()
    assert len(survey(built, PruneLimits(unused=30 * DAY), NOON).removals) == 3


def test_sizes_and_ages_for_people() -> None:
    assert [about_size(size) for size in (0, 1023, 3 * MIB, 5 << 29, 12 << 30)] == [
        "0 B",
        "1023 B",
        "3.0 MiB",
        "2.5 GiB",
        "12 GiB",
    ]
    assert [parse_age(text) for text in ("12h", "30d", "2w")] == [43200, 30 * 86400, 14 * 86400]
    for text in ("", "d", "3", "-1d", "1y", "999999d"):
        with pytest.raises(Exception, match="is not an age"):
            parse_age(text)


def test_a_survey_of_many_runs_is_quick(scratch_layout: Layout) -> None:
    """Each directory is walked once, however many there are."""
    for number in range(300):
        keep(scratch_layout, 1, plain_report(), number)
    began = time.process_time()
    assert len(survey(scratch_layout, PruneLimits(size=0), NOON).removals) == 300
    assert time.process_time() - began < 5


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A directory outside of the store that has to stay as it is."""
    place = tmp_path / "canary"
    (place / "runs-x").mkdir(parents=True)
    (place / "runs-x" / "thesis").write_text("years of work")
    return place


def test_a_link_in_the_place_of_the_trash_is_refused(four: Layout, canary: Path) -> None:
    (four.root / "trash").symlink_to(canary)
    with pytest.raises(UserError, match="not the store's own directory"):
        prune(four, PruneLimits(keep=0), NOON)
    assert len(kept(four)) == 4
    assert (canary / "runs-x" / "thesis").read_text() == "years of work"


def test_the_trash_is_emptied_of_what_was_put_there_by_a_prune(four: Layout, canary: Path) -> None:
    trash = four.root / "trash"
    (trash / "mine").mkdir(parents=True)
    (trash / "file").write_text("x")
    (trash / "runs-link").symlink_to(canary)
    (trash / "objects-file").write_text("x")
    assert len(names(prune(four, PruneLimits(keep=0), NOON))) == 4
    assert sorted(path.name for path in trash.iterdir()) == ["file", "mine"]
    assert (canary / "runs-x" / "thesis").read_text() == "years of work"


def test_what_a_guest_wrote_is_removed_however_deep_and_whatever_its_modes(four: Layout) -> None:
    place = four.runs / run_name(30) / "001-boot"
    depth = 3000  # far more than files that may be open, or calls that may be on the stack
    handle = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    (place / "closed").mkdir()
    (place / "closed" / "file").write_text("x")
    (place / "closed").chmod(0)
    os.mkfifo(place / "pipe")
    try:
        prune(four, PruneLimits(keep=3), NOON)
        assert run_name(30) not in kept(four)
        assert not list((four.root / "trash").iterdir())
    finally:
        subprocess.run(["rm", "-rf", str(four.root)], check=True)  # pytest could not


def test_foreign_directories_stay_wherever_they_are(built: Layout) -> None:
    foreign = [place / "mine" for place in (built.objects, built.builds, built.sources, built.roots, built.downloads)]
    for path in foreign:
        make(path, 900)
    make(built.sources / f"mine-{'a' * 16}", 900)  # it has the name of a source, but never was one
    prune(built, PruneLimits(unused=30 * DAY), NOON)
    assert all((path / "vmlinux").is_file() for path in foreign)
    assert (built.sources / f"mine-{'a' * 16}").is_dir()


def test_sources_roots_downloads_searches_and_damaged_things_go_when_nobody_used_them(scratch_layout: Layout) -> None:
    layout = scratch_layout
    damaged = layout.root / "damaged"
    damaged.mkdir()
    old = [
        layout.sources / f"debian-7.3-{'a' * 16}",
        layout.roots / ("b" * 16),
        layout.parcels / ("b" * 32),
        layout.downloads / f"deb-{'c' * 16}",
        layout.searches / ("b" * 12),
        damaged / "builds-something",
    ]
    new = [path.with_name(path.name.replace("a", "e").replace("b", "f").replace("c", "d")) for path in old]
    for path in (*old, *new):
        path.mkdir()
        (path / "tree.json").write_text("{}")
        used = NOON.timestamp() - (90 if path in old else 1) * 86400
        os.utime(path, (used, used))
    found = prune(layout, PruneLimits(unused=30 * DAY), NOON)
    expected = [Remains.SOURCE, Remains.ROOT, Remains.PARCEL, Remains.DOWNLOAD, Remains.SEARCH, Remains.DAMAGED]
    assert [one.what for one in found.removals] == expected
    assert [one.why for one in found.removals][-2:] == ["not used for 90 days", "set aside 90 days ago"]
    assert [path for path in old if path.exists()] == []
    assert all(path.is_dir() for path in new)


def test_a_replay_that_nobody_asked_for_goes_and_what_has_another_name_stays(scratch_layout: Layout) -> None:
    place = scratch_layout.history
    old, new, mine = place / f"{'a' * 64}.json", place / f"{'b' * 64}.json", place / "mine.json"
    for path in (old, new, mine):
        path.write_text("{}")
        used = NOON.timestamp() - (1 if path is new else 90) * 86400
        os.utime(path, (used, used))
    (found,) = prune(scratch_layout, PruneLimits(unused=30 * DAY), NOON).removals
    assert (found.what, found.why) == (Remains.REPLAY, "not used for 90 days")
    assert sorted(place.iterdir()) == [new, mine]


def test_a_source_that_somebody_unpacks_stays(scratch_layout: Layout) -> None:
    place = scratch_layout.sources / f"debian-7.3-{'a' * 16}"
    make(place, 90)
    (place / "tree.json").write_text("{}")
    os.utime(place, (0, 0))
    with locked(scratch_layout.locks / f"source-{place.name}.lock", Deadline(5)):
        found = prune(scratch_layout, PruneLimits(unused=30 * DAY), NOON)
    assert ([one.name for one in found.kept], place.is_dir()) == ([place.name], True)


def test_of_the_compilers_cache_goes_what_was_not_asked_for(scratch_layout: Layout, canary: Path) -> None:
    folder = scratch_layout.root / "ccache-2" / "0" / "a"
    folder.mkdir(parents=True)
    for name, days in (("155esbkmhkvclca3jq8o15rs9s42hfiM", 90), ("28s3bofv51l57hect63v58epnmnphkmR", 1)):
        (folder / name).write_bytes(os.urandom(MIB))
        used = NOON.timestamp() - days * 86400
        os.utime(folder / name, (used, used))
    (folder.parent / "stats").write_text("0\n" * 80)
    os.utime(folder.parent / "stats", (0, 0))
    (folder.parent / "b").symlink_to(canary)
    (found,) = prune(scratch_layout, PruneLimits(unused=30 * DAY), NOON).removals
    assert (found.what, found.name, found.why) == (Remains.CACHE, "ccache-2", "1 files not used for 30 days")
    assert found.bytes == MIB
    assert [path.name for path in folder.iterdir()] == ["28s3bofv51l57hect63v58epnmnphkmR"]
    assert (canary / "runs-x" / "thesis").read_text() == "years of work"
