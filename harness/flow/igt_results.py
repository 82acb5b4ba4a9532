# SPDX-License-Identifier: GPL-2.0-only
"""A directory that igt_runner filled, read with care: whoever filled it may have been a kernel under test."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from harness.evidence.igt import LARGEST_RESULTS, IgtLog, parse_igt_results
from harness.evidence.igt_directory import JOB_LIST, OF_A_JOB, OF_THE_RUN, parse_igt_directory
from harness.store.files import read_regular, write_atomically

RESULTS = "results.json"
_LARGEST_FILE = 64 << 20
_MOST_FILES = 500_000
_MOST_BYTES = 1 << 30
_TO_RESUME = ("environment.txt", "starttime.txt")
_NUMBER = re.compile(r"\d{1,6}", re.ASCII)


def read_igt(directory: Path) -> IgtLog:
    """What the runner said in the end, or, where it was killed before, what it had come to.

    A results.json that is empty or cut is one that was being written: then the directory speaks, too.
    """
    if not directory.is_dir():
        return IgtLog((), ("igt_runner left nothing",))
    whole = directory / RESULTS
    if whole.is_file() and not whole.is_symlink():
        try:
            found = parse_igt_results(read_regular(whole, LARGEST_RESULTS))
        except OSError as error:
            return IgtLog((), (f"{RESULTS} cannot be read: {error.strerror}",))
        if found.cases or not (directory / JOB_LIST).is_file():
            return found
    return parse_igt_directory(_files(directory))


def carry_over(before: Path, after: Path) -> None:
    """What a run that was cut left, for igt_resume in another guest; plain files alone, whatever the guest wrote."""
    for name, data in _files(before, resumes=True).items() if not before.is_symlink() else ():
        place = after / name
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, data)


def _files(directory: Path, resumes: bool = False) -> dict[str, bytes]:
    """The files that the reader knows, by their names in the directory; with `resumes` what igt_resume needs, too.
    What is too large counts as absent.
    """
    found: dict[str, bytes] = {}
    if not directory.is_dir():
        return found
    room = _MOST_BYTES
    for name in (*OF_THE_RUN, *(_TO_RESUME if resumes else ())):
        room -= _take(directory, name, found, room)
    numbers = [name for name in os.listdir(directory) if _NUMBER.fullmatch(name)]
    for number in sorted(numbers, key=int):
        place = directory / number
        if place.is_symlink() or not place.is_dir():
            continue
        for name in OF_A_JOB:
            room -= _take(directory, f"{number}/{name}", found, room)
        if len(found) > _MOST_FILES:
            break
    return found


def _take(directory: Path, name: str, found: dict[str, bytes], room: int) -> int:
    if (directory / name).is_symlink():
        return 0
    with suppress(OSError):
        found[name] = read_regular(directory / name, min(_LARGEST_FILE, max(room, 0)))
        return len(found[name])
    return 0
