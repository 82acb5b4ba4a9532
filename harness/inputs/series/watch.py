# SPDX-License-Identifier: GPL-2.0-only
"""A heap of mails -> the revisions of series that are in it, each with the mails that it is made of.

The heap is a thread, a patchwork's list, a directory of mboxes or the newest mails of a list archive. What is no
patch, or not what is watched for, falls away without a word.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.inputs.git import git, require_git
from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mail import Message
from harness.inputs.series.mbox import message_of, read_file, split_mbox
from harness.inputs.series.postings import Posting, author_of, families_of, postings_of, title_of
from harness.inputs.source_cache import Work
from harness.model.errors import CommandFailed, HarnessError, InfraError, UserError
from harness.model.series import Series

_FROM = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"
_SUFFIXES = (".mbox", ".mbx", ".eml", ".mbox.gz", ".mbx.gz", ".patch")
_LARGEST = 1 << 30  # bytes of an archive's newest mails
_BLOB = re.compile(rb"data (\d{1,10})\n")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail, the bytes of an mbox that hold it alone, and its Message-ID there."""

    message: Message
    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked for: globs over subjects without their prefixes, and over the files that patches touch.

    Empty means all. A series fits when one of its subjects does, and one of its files.
    """

    subjects: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """A revision that somebody posted. `mbox` holds it, and `pick` is what names it there: `[#MESSAGE-ID]@vN`.

    `family` is the same for the revisions of one series in one heap; `trouble` says why it cannot be tested.
    """

    family: str
    series: Series
    mbox: bytes
    pick: str
    date: str
    message_id: str
    trouble: str = ""


def mails_in(data: bytes, where: str) -> list[Mail]:
    """The mails of an mbox; what cannot be taken apart is left out, as is what is none."""
    found = []
    for line, commit, raw in split_mbox(data):
        try:
            message = message_of(raw, where, line, commit)
        except UserError:
            continue
        begin = f"From {commit} Mon Sep 17 00:00:00 2001\n".encode() if commit else _FROM
        found.append(Mail(message, begin + raw.rstrip(b"\n") + b"\n\n", message.message_id))
    return found


def mails_of_directory(place: Path) -> tuple[list[Mail], list[str]]:
    """All mails of the mboxes in a directory, and sentences for the files that cannot be read."""
    if not place.is_dir():
        raise UserError(f"{place} is not a directory", hint="the key `mboxes` names a directory of mboxes")
    mails: list[Mail] = []
    troubles: list[str] = []
    subjects: dict[str, str] = {}
    for path in sorted(one for one in place.iterdir() if one.name.lower().endswith(_SUFFIXES)):
        try:
            found = mails_in(read_file(path), path.name)
        except HarnessError as error:
            troubles.append(error.message)
            continue
        if any(subjects.get(one.name, one.message.subject) != one.message.subject for one in found if one.name):
            found = [_renamed(one, path.name) for one in found]
        subjects |= {one.name: one.message.subject for one in found}
        mails += found
    return mails, troubles


def _renamed(mail: Mail, file: str) -> Mail:
    """git gives covers of two revisions that it writes within a second one Message-ID: they are told apart by
    their files.
    """
    message = mail.message
    parents = tuple(f"{file}/{one}" for one in message.parents)
    own = f"{file}/{message.message_id}" if message.message_id else ""
    return replace(mail, message=replace(message, message_id=own, parents=parents))


def mails_of_archive(place: Path, since: str, work: Work) -> list[Mail]:
    """The mails that came into a public-inbox mirror since that moment (ISO 8601), of its newest two epochs."""
    require_git()
    mails: list[Mail] = []
    for repository in _epochs(place):
        with tempfile.TemporaryDirectory(prefix="harness-inbox-") as directory:
            stream = Path(directory) / "mails"
            words = ("fast-export", "--signed-tags=strip", "--reencode=no", f"--since={since}", "HEAD")
            try:
                git(repository, *words, deadline=work.deadline, log=stream)
            except CommandFailed as error:
                raise InfraError(f"the archive {repository} cannot be read: {error.tail.strip()[-200:]}") from error
            if stream.stat().st_size > _LARGEST:
                raise InfraError(f"the archive {repository} has more than a GiB of mails since {since}")
            for raw in _blobs(stream.read_bytes()):
                mails += mails_in(_FROM + raw, place.name)
    return mails


def _epochs(place: Path) -> list[Path]:
    """The repositories of a public-inbox: itself, or those of a v2 mirror, the newest of which have what is new."""
    place = place.expanduser().absolute()
    numbered = [one for one in (place / "git").glob("*.git") if one.stem.isdigit()]
    if numbered:
        return sorted(numbered, key=lambda one: int(one.stem))[-2:]
    if not (place / "HEAD").is_file() and not (place / ".git").exists():
        raise UserError(f"{place} is no public-inbox repository", hint="the key `archive` names a mirror of one")
    return [place]


def _blobs(stream: bytes) -> Iterator[bytes]:
    """What `git fast-export` has for blobs: lengths, then so many bytes."""
    place = stream.find(b"\n") + 1  # a log begins with the command
    while place < len(stream):
        end = stream.find(b"\n", place) + 1 or len(stream)
        line = stream[place:end]
        if line == b"blob\n":
            while (match := _BLOB.match(stream, end)) is None:  # the mark, the original oid
                end = stream.find(b"\n", end) + 1
                if not end:
                    return
            end = match.end() + int(match[1])
            yield stream[match.end() : end]
        elif (match := _BLOB.match(line)) is not None:  # the message of a commit
            end += int(match[1])
        place = end


def revisions_in(mails: Sequence[Mail], watched: Watched) -> Iterator[Posted]:
    """The revisions that fit, family by family, the oldest first in each."""
    by_id = {id(one.message): one for one in mails}
    subjects = [glob.lower() for glob in watched.subjects]
    for family in families_of(_once([one.message for one in mails])):
        titles = {title_of(one) for one in family}
        if subjects and not _fits(titles, subjects):
            continue
        own = [by_id[id(one)] for one in family if id(one) in by_id]
        postings = postings_of(family)
        if not postings:
            continue
        first = postings[0].first
        name = hashlib.sha256(f"{author_of(first)}\0{title_of(first)}".encode()).hexdigest()[:16]
        for posting in postings:
            found = _posted(name, posting, own)
            if found is not None and (found.trouble or _touches(found.series, watched.files)):
                yield found


def _once(messages: Iterable[Message]) -> list[Message]:
    """Lists and mirrors bring a mail more than once."""
    found: dict[str, Message] = {}
    for number, one in enumerate(messages):
        found.setdefault(one.message_id or f"no id {number}", one)
    return list(found.values())


def _posted(family: str, posting: Posting, mails: Sequence[Mail]) -> Posted | None:
    """The posting as a series; None where its mails are none after all."""
    first, revision = posting.first.message_id, posting.ident.revision
    message_id = next((one.name for one in mails if one.message.message_id == first), first)
    named = "@" in message_id
    # The mails before it may bring what was not sent again. Where names do not tell them apart, it stands alone.
    unique = named and len({one.name for one in mails}) == len(mails)
    own = {id(one) for one in (*posting.covers, *posting.patches)}
    chosen = [one for one in mails if unique or id(one.message) in own] or list(mails)
    pick = f"#{message_id}@v{revision}" if named else f"@v{revision}"
    wanted = Selection("", revision=revision, partial=True, pick=first if named else "")
    try:
        series = assemble([one.message for one in chosen], wanted)
    except UserError as error:
        empty = Series(posting.first.tag.title, revision, posting.total, (), "")
        return Posted(family, empty, b"", pick, posting.date.isoformat(), message_id, error.message)
    if not series.patches:
        return None
    missing = f"patches {', '.join(map(str, series.missing[:10]))} are missing" if series.missing else ""
    trouble = "; ".join(filter(None, (missing, *series.problems)))
    data = b"".join(one.data for one in chosen)
    return Posted(family, series, data, pick, posting.date.isoformat(), message_id, trouble)


def _touches(series: Series, globs: Sequence[str]) -> bool:
    return not globs or any(_fits(patch.paths, globs) for patch in series.patches)


def _fits(words: Iterable[str], globs: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(word, glob.lower() if word.islower() else glob) for word in words for glob in globs
    )
