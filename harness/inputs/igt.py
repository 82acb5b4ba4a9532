# SPDX-License-Identifier: GPL-2.0-only
"""The user's own IGT, built or installed -> a directory of the store, by its content: STORE/objects/igt-ID.

A guest sees it as /extra. What is kept is what is there: tests, their data, libraries beside them.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from harness.inputs.root_archive import unpack_root
from harness.inputs.source_cache import Work, require_space
from harness.model.errors import UserError
from harness.model.units import GIB, about_size
from harness.store.files import copy_apart, fresh_directory, mark_used
from harness.store.layout import Layout
from harness.store.sealed import damage, seal, take_out

TEST_LIST = "test-list.txt"
# Where an IGT has its tests: itself, installed below /usr or a prefix of its own, or as it was built.
PLACES = ("", "libexec/igt-gpu-tools", "usr/libexec/igt-gpu-tools", "usr/local/libexec/igt-gpu-tools", "tests")
_LARGEST = 4 * GIB
_ID = re.compile(r"[0-9a-f]{16}")
_TAR = "tar:"


def keep_igt(text: str, work: Work) -> str:
    """`DIR` or `tar:FILE` -> the id under which the tests are kept.

    UserError for what is no IGT: a list of tests must be there, and one of them.
    """
    work.layout.objects.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="igt.part-", dir=work.layout.objects) as room:
        copy = Path(room) / "igt"
        _bring(text, copy, work)
        _require_tests(copy, text)
        identity = seal(copy).id[:16]
        final = _place(identity, work.layout)
        if final.exists() and damage(final):
            take_out(final, work.layout, work.progress.step)
        if final.exists():
            mark_used(final)
        else:
            with fresh_directory(final) as place:
                place.rmdir()
                copy.rename(place)
    work.progress.step(f"IGT tests {identity}, of {text}")
    return identity


def kept_igt(identity: str, suite: str, layout: Layout) -> Path:
    """The tests of that id. UserError where none were named, or they are not there any more."""
    if not identity:
        raise UserError(
            f"the suite {suite} runs tests of an IGT of yours, and none is named",
            hint="--igt DIR or --igt tar:FILE, with what `meson install` left; igt-self needs none",
        )
    final = _place(identity, layout)
    if not _ID.fullmatch(identity) or (why := damage(final)):
        why = why if _ID.fullmatch(identity) else "that is no id"
        raise UserError(f"the IGT tests {identity} cannot be had any more: {why}", hint="name them again, with --igt")
    mark_used(final)
    return final


def _place(identity: str, layout: Layout) -> Path:
    return layout.objects / f"igt-{identity}"


def _bring(text: str, copy: Path, work: Work) -> None:
    if text.startswith(_TAR):
        archive = Path(text.removeprefix(_TAR)).expanduser()
        if not archive.is_file():
            raise UserError(f"--igt {text}: there is no such file")
        copy.mkdir()
        unpack_root(archive, copy, work.deadline, _LARGEST)
        return
    source = Path(text).expanduser()
    if not source.is_dir():
        raise UserError(f"--igt {text}: there is no such directory", hint="an archive is tar:FILE")
    if _list_in(source) is None:
        raise _no_igt(text)
    size = _size(source)
    if size > _LARGEST:
        raise UserError(
            f"--igt {text} has more than {about_size(_LARGEST)}",
            hint="what `meson install --destdir DIR` leaves of it is smaller than the build directory",
        )
    require_space(work.layout.objects, size, "keeping the IGT tests")
    copy_apart(source, copy, ".git")


def _size(source: Path) -> int:
    size = 0
    for folder, _, names in os.walk(source):
        size += sum((Path(folder) / name).lstat().st_size for name in names)
        if size > _LARGEST:
            break
    return size


def _list_in(place: Path) -> Path | None:
    found = (place / folder / TEST_LIST for folder in PLACES)
    return next((path for path in found if path.is_file()), None)


def _require_tests(copy: Path, text: str) -> None:
    listed = _list_in(copy)
    if listed is None:
        raise _no_igt(text)
    names = listed.read_text(encoding="utf-8", errors="replace").split()
    if not any(os.access(listed.parent / name, os.X_OK) for name in names if "/" not in name):
        raise UserError(
            f"--igt {text}: none of the tests in its {TEST_LIST} is there", hint="were they built? ninja -C build"
        )


def _no_igt(text: str) -> UserError:
    return UserError(
        f"--igt {text} has no {TEST_LIST}: it is no IGT",
        hint=f"the list lies in {', '.join(place or 'itself' for place in PLACES)}",
    )
