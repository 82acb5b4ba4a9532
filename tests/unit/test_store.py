# SPDX-License-Identifier: GPL-2.0-only
"""The store: everything appears whole or not at all, and locks die with their holders."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.model.errors import DeadlineExceeded, InfraError, StoreCorrupt, UserError
from harness.proc import Deadline
from harness.store.files import explain_os_error, fresh_directory, locked, sweep_leftovers, write_atomically
from harness.store.layout import Layout
from harness.store.runs import find_run, held_again, is_held, load_report, run_directory


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_atomically(target, "one")
    write_atomically(target, "two", executable=True)
    assert target.read_text() == "two"
    assert os.access(target, os.X_OK)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("mask", "file", "program"), [(0o077, 0o600, 0o700), (0o022, 0o644, 0o755)])
def test_what_the_user_keeps_to_himself_stays_so(tmp_path: Path, mask: int, file: int, program: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "f", "x")
        write_atomically(tmp_path / "p", "x", executable=True)
        with fresh_directory(tmp_path / "d"):
            pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "fpd"] == [file, program, program]


def test_a_directory_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    final = tmp_path / "d"
    with pytest.raises(RuntimeError), fresh_directory(final) as work:
        (work / "x").write_text("half")
        raise RuntimeError("cut")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="no space left"), fresh_directory(tmp_path / "d"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "TTM_HARNESS_STORE" in (explain_os_error(OSError(errno.ENOSPC, ""), "x").hint or "")


def test_leftovers_are_swept_when_old(tmp_path: Path) -> None:
    old, new = tmp_path / "a.part-1", tmp_path / "b.part-2"
    for path in (old, new):
        path.mkdir()
    os.utime(old, (0, 0))
    sweep_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.part-2"]


def test_a_lock_keeps_the_second_one_out_until_the_first_is_killed(tmp_path: Path) -> None:
    lock, ready = tmp_path / "lock", tmp_path / "ready"
    program = (
        "import pathlib, time\nfrom harness.proc import Deadline\nfrom harness.store.files import locked\n"
        f"with locked(pathlib.Path({str(lock)!r}), Deadline(5)):\n"
        f"    pathlib.Path({str(ready)!r}).touch()\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", program])
    try:
        limit = time.monotonic() + 10
        while not ready.exists() and time.monotonic() < limit:
            time.sleep(0.02)
        waited = []
        with pytest.raises(DeadlineExceeded), locked(lock, Deadline(0.3), lambda: waited.append(1)):
            pass
        assert waited == [1]
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    with locked(lock, Deadline(5)):
        pass


def test_the_store_goes_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(tmp_path / "s"))
    assert Layout.from_environment().root == tmp_path / "s"
    monkeypatch.delenv("TTM_HARNESS_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Layout.from_environment().root == tmp_path / "ttm-harness"


def test_runs_can_lie_apart_on_the_same_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(tmp_path / "s"))
    usual = Layout.from_environment()
    monkeypatch.setenv("TTM_HARNESS_RUNS", "test-runs")
    apart = Layout.from_environment()
    assert (apart.builds, apart.runs) == (usual.builds, tmp_path / "s" / "test-runs")
    assert Layout.to_read().runs == apart.runs
    with run_directory(apart) as run:
        (run / "report.json").write_text("{}")
    with pytest.raises(UserError, match="no finished run"):
        find_run(usual, "latest")
    assert find_run(apart, "latest") == run
    assert len({usual.index_file, apart.index_file, usual.id_file, apart.id_file}) == 4
    for name in ("..", "builds", "a/b-runs", "-runs", "x" * 40 + "-runs"):
        monkeypatch.setenv("TTM_HARNESS_RUNS", name)
        with pytest.raises(UserError, match="no name for runs"):
            Layout.from_environment()


def test_a_store_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TTM_HARNESS_STORE", str(tmp_path / "file" / "s"))
    with pytest.raises(UserError, match="cannot be made"):
        Layout.from_environment()


def test_runs_are_found_by_path_name_end_and_latest(scratch_layout: Layout) -> None:
    with run_directory(scratch_layout) as run:
        (run / "report.json").write_text("{}")
    for name in (str(run), run.name, run.name[-6:], run.name[:12], "latest"):
        assert find_run(scratch_layout, name) == run
    with pytest.raises(UserError, match="no run"):
        find_run(scratch_layout, "nope")


def test_a_run_without_a_report_and_one_with_a_broken_report(scratch_layout: Layout) -> None:
    with run_directory(scratch_layout) as run:
        pass
    with pytest.raises(UserError, match="has no report"):
        load_report(run)
    (run / "report.json").write_text('{"schema": "x"}')
    with pytest.raises(StoreCorrupt):
        load_report(run)


def test_images_of_killed_runs_are_swept_and_those_of_living_ones_are_not(scratch_layout: Layout) -> None:
    with run_directory(scratch_layout) as dead:
        (dead / "001").mkdir()
        (dead / "001" / "swap.img").touch()
    with run_directory(scratch_layout) as alive:
        assert not (dead / "001" / "swap.img").exists()
        (alive / "001").mkdir()
        (alive / "001" / "swap.img").touch()
        with run_directory(scratch_layout):
            assert (alive / "001" / "swap.img").exists()


def test_asking_whether_a_run_is_held_takes_its_lock_from_nobody(scratch_layout: Layout) -> None:
    """A resume that comes just then must not be told that somebody works in the run."""
    with run_directory(scratch_layout) as run:
        assert is_held(run)
    program = (
        "import pathlib, time\nfrom harness.store.runs import is_held\n"
        f"end = time.monotonic() + 3\nwhile time.monotonic() < end: is_held(pathlib.Path({str(run)!r}))\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", program])
    taken = 0
    while asking.poll() is None:
        with held_again(run):
            taken += 1
    assert asking.returncode == 0
    assert taken > 10


def test_a_lock_is_never_made_through_a_link(scratch_layout: Layout, tmp_path: Path) -> None:
    (scratch_layout.locks / "build").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InfraError, match="cannot be had"):
        with locked(scratch_layout.locks / "build", Deadline(1)):
            pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("variables", [{"TTM_HARNESS_STORE": "~nosuch-user-here/x"}, {}])
def test_a_store_of_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("TTM_HARNESS_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(UserError, match="no telling where the store is"):
        Layout.from_environment()
