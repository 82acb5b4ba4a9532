# SPDX-License-Identifier: GPL-2.0-only
"""`dir:PATH`: the .patch files of a directory in the order of their names, or of quilt's `series` file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.inputs.series.assemble import PATCH_LIMIT, Selection, assemble
from harness.inputs.series.mail import Message
from harness.inputs.series.mbox import is_html, is_mail, read_file, read_messages
from harness.inputs.series.messages import has_diff
from harness.inputs.series.subject import read_subject
from harness.model.errors import UserError
from harness.model.series import Series
from harness.store.files import explain_os_error

_SUFFIXES = (".patch", ".diff", ".mbox", ".mbx", ".eml", ".patch.gz", ".mbox.gz")
_FILE_LIMIT = 2 * PATCH_LIMIT


def read_directory(path: Path, wanted: Selection) -> Series:
    """The series in a directory; UserError names the file that is in the way."""
    if not path.is_dir():
        raise UserError(f"{path} is not a directory", hint="write dir:PATH, or mbox:FILE for a file")
    quilt = _quilt_file(path)
    names = _quilt_names(quilt) if quilt else _patch_files(path)
    if not names:
        where = f"quilt's {quilt} names no patch" if quilt else f"{path} holds no .patch file"
        raise UserError(where, hint="git format-patch -o DIR makes a directory of patches")
    if len(names) > _FILE_LIMIT:
        raise UserError(
            f"{path} holds {len(names)} patch files; {PATCH_LIMIT} patches are the most", hint="give a part"
        )
    messages: list[Message] = []
    for name in names:
        messages += read_patch_file(name)
    return assemble(messages, replace(wanted, ordered=quilt is not None, gathered=True))


def _patch_files(path: Path) -> list[Path]:
    try:
        found = [one for one in path.iterdir() if one.name.lower().endswith(_SUFFIXES) and one.is_file()]
    except OSError as error:
        raise explain_os_error(error, f"cannot read {path}") from error
    return sorted(one for one in found if not one.name.startswith("."))


def _quilt_file(path: Path) -> Path | None:
    for candidate in (path / "series", path / "patches" / "series"):
        if candidate.is_file():
            return candidate
    return None


def _quilt_names(series: Path) -> list[Path]:
    """The files that quilt would push, in its order."""
    root = series.parent.resolve()
    found: list[Path] = []
    text = read_file(series).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        place = f"{series}, line {number}"
        if any(word not in ("-p1", "-p", "1") for word in words[1:]):
            raise UserError(f"{place}: {words[1]} is not understood, only -p1 is", hint="refresh the patch with -p1")
        try:
            name = (series.parent / words[0]).resolve()
            inside, there = name.is_relative_to(root), name.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{place}: {words[0]!r} is no file name", hint="look at the line") from error
        if not inside:
            raise UserError(f"{place}: {words[0]} leads out of {series.parent}", hint="copy the patch into it")
        if not there:
            raise UserError(f"{place}: there is no file {words[0]}", hint="quilt series and the directory differ")
        found.append(name)
    return found


def read_patch_file(path: Path) -> list[Message]:
    """A file with mails, or a bare diff with or without words before it."""
    data = read_file(path)
    if is_html(data) or is_mail(data) or not data.strip():
        return read_messages(data, path.name)
    text = data.decode("utf-8", "replace") if _is_utf8(data) else data.decode("latin-1")
    bare = Message(where=path.name, first_line=1, subject="", tag=read_subject(_title(text, path)), text=text)
    if not has_diff(bare):
        raise UserError(f"{path} holds neither a mail nor a diff", hint="remove it, or give the files that are meant")
    return [bare]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _title(text: str, path: Path) -> str:
    """The first line of words, as quilt users write it, else the name of the file."""
    for line in text.split("\n", 20)[:20]:
        words = line.strip()
        if words.startswith(("---", "diff ", "Index:", "+++")):
            break
        words = words.removeprefix("Description:").removeprefix("Subject:").strip()
        if words:
            return words[:200]
    return path.name
