# SPDX-License-Identifier: GPL-2.0-only
"""Run directories: one a command, one folder a boot inside it. They are the truth; nothing else is."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from harness.model.codec import from_json, to_json
from harness.model.errors import DeadlineExceeded, StoreCorrupt, StoreDamaged, UserError
from harness.model.result import Report
from harness.proc import Deadline
from harness.store.files import is_locked, locked, read_regular, write_atomically
from harness.store.journal import Entry, Step, read_journal
from harness.store.layout import Layout

REPORT_FILE = "report.json"
RECORD_FILE = "run.json"
RUN_NAME = re.compile(r"(?P<stamp>\d{8}T\d{6})-[0-9a-f]{6}")
STAMP = "%Y%m%dT%H%M%S"
CELL_FILE = "cell.json"  # in a boot's directory
BOOT_SCRATCH = "scratch"  # in a boot's directory while it goes on
BOOT_REPLAY = "again"  # what its reproduce.sh makes there
_HELD = ".held"
_ASKED_SECONDS = 1.0  # who only asks whether a run is held has its lock for a moment
_LARGEST_REPORT = 512 << 20


@contextmanager
def run_directory(layout: Layout) -> Iterator[Path]:
    """A fresh directory whose name sorts by time (`20261120T231501-a1b2c3`), held by this process while it works.

    Sweeps the disk images and sockets that runs of killed processes left, which are of no use.
    """
    sweep_killed(layout)
    stamp = datetime.now(UTC).strftime(STAMP)
    path = layout.runs / f"{stamp}-{secrets.token_hex(3)}"
    path.mkdir()
    with locked(path / _HELD, Deadline(5.0)):
        yield path


@contextmanager
def held_again(path: Path) -> Iterator[None]:
    """Holds the directory of a run that goes on; UserError while another process works in it."""
    try:
        with locked(path / _HELD, Deadline(_ASKED_SECONDS)):
            yield
    except DeadlineExceeded as error:
        if error.what != f"waiting for {_HELD}":
            raise
        raise UserError(f"the run {path.name} is still being made", hint="wait for it, or end it first") from None


def is_held(path: Path) -> bool:
    """Whether a process works in the run's directory."""
    return is_locked(path / _HELD)


def sweep_killed(layout: Layout) -> None:
    """Removes the disk images and sockets of boots whose process is gone."""
    # A cell has its boots in its own directory, or one below it.
    patterns = (f"*/{below}/{name}" for below in ("*", "*/*") for name in ("*.img", BOOT_SCRATCH))
    for left in (found for pattern in patterns for found in layout.runs.glob(pattern)):
        try:
            run = layout.runs / left.relative_to(layout.runs).parts[0]
            with locked(run / _HELD, Deadline(0.0)):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)
        except DeadlineExceeded:
            continue  # a run that is being made


def save_report(directory: Path, report: Report) -> str:
    """Returns the sha256 of what was written, for the journal."""
    text = to_json(report)
    write_atomically(directory / REPORT_FILE, text)
    return hashlib.sha256(text.encode()).hexdigest()


def load_report(directory: Path) -> Report:
    """The report of a run directory; UserError when there is none, StoreCorrupt when it cannot be read, StoreDamaged
    when it is not the one with which the run ended.
    """
    try:
        text = read_regular(directory / REPORT_FILE, _LARGEST_REPORT).decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{directory} has no {REPORT_FILE}", hint=_why_no_report(directory)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{directory / REPORT_FILE} cannot be read: {error}") from error
    report = from_json(Report, text, str(directory / REPORT_FILE))
    *_, last = (Entry(Step.BEGUN), *read_journal(directory))
    if last.step is Step.ENDED and last.sealed not in ("", hashlib.sha256(text.encode()).hexdigest()):
        raise StoreDamaged(
            f"{directory / REPORT_FILE} is not the report with which the run ended: somebody changed it",
            hint=f"ttm-harness run --resume={directory.name} makes it anew from what its boots left",
        )
    return report


def has_boots(directory: Path) -> bool:
    """Whether guests were booted in the directory, of a run or of something else."""
    return next(directory.glob(f"*/{CELL_FILE}"), None) is not None


def _why_no_report(directory: Path) -> str:
    if has_boots(directory) and not (directory / RECORD_FILE).exists():
        return "its guests were those of shell, exec or controls, which leave none; console.log is in its folders"
    return "the run was killed before its verdict; start it again"


def run_directories(layout: Layout) -> Iterator[Path]:
    """All run directories, newest first, finished or not."""
    if layout.runs.is_dir():
        yield from sorted((path for path in layout.runs.iterdir() if path.is_dir()), reverse=True)


def find_run(layout: Layout, name: str) -> Path:
    """A run by its path, its name, the beginning of its name, or `latest`."""
    if name == "latest":
        for path in run_directories(layout):
            if (path / REPORT_FILE).is_file():
                return path
        raise UserError("there is no finished run in the store yet", hint="ttm-harness run makes one")
    try:
        if Path(name).is_dir():
            return Path(name)
    except OSError:
        pass  # too long for a path, and so for any name
    matches = [path for path in run_directories(layout) if path.name == name or path.name.endswith(f"-{name}")]
    matches = matches or [path for path in run_directories(layout) if path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        newest = ", ".join(path.name for path, _ in zip(run_directories(layout), range(3), strict=False))
        raise UserError(
            f"there is no run {name!r}", hint=f"newest: {newest}" if newest else "the store has no run yet"
        )
    raise UserError(f"{name!r} fits {len(matches)} runs", hint=", ".join(path.name for path in matches[:5]))
