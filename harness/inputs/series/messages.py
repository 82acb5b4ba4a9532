# SPDX-License-Identifier: GPL-2.0-only
"""From a mail to a patch: the message, its trailers, its diff; what damage there is, and where. Pure."""

from __future__ import annotations

import re
from email.utils import parseaddr

from harness.inputs.series.diff import Diff, DiffError, find_diff, read_diff
from harness.inputs.series.identity import patch_id
from harness.inputs.series.mail import Message
from harness.inputs.series.subject import read_subject
from harness.model.errors import UserError
from harness.model.series import Cover, Patch, Trailer

_TRAILER = re.compile(
    r"([A-Z][A-Za-z]{1,30}(?:-[A-Za-z]{1,30}){0,4}-by|Fixes|Closes|Link|Cc|References|Message-I[dD]|Change-Id): "
    r"(\S.{0,2000})"
)
# What a reply may add to a patch. Whose sign-off counts is told by `given_trailers`.
_GIVEN = re.compile(
    r"(\s{0,16})((?:Reviewed|Acked|Tested|Reported|Suggested|Nacked)-(?:and-tested-)?by"
    r"|[A-Za-z]{2,30}(?:-[A-Za-z]{1,30}){0,4}-by(?=:.{0,300}@)): (\S.{0,400})",
    re.I,
)
_INDENT = 4
_SIGNED = re.compile(r"\s{0,16}Signed-off-by: ", re.IGNORECASE)
_IN_BODY = re.compile(r"(From|Subject|Date):[ \t]{1,40}(\S.*)", re.IGNORECASE)
_SCISSORS = re.compile(r"(?=.*(?:>8|8<|>%|%<))[-\s>8<%]{6,80}(?:cut here|[-\s>8<%]){0,40}", re.IGNORECASE)
_COMMIT_LINE = re.compile(r">?From [0-9a-f]{40} .{0,80}")  # of git format-patch, pasted with the rest
_PASTED_HEADER = re.compile(r"(?:MIME-Version|Content-[A-Za-z-]{1,30}):.*", re.IGNORECASE)
_NAMES_FILE = re.compile(r"--- \S")
_FOLLOWUP = re.compile(
    r"(base-commit|prerequisite-patch-id|prerequisite-message-id|prerequisite-change-id): (\S{1,300})\s*$",
    re.MULTILINE,
)


def damaged(message: Message, why: str, line: int | None = None) -> UserError:
    """The sentence for a mail that is refused."""
    place = f"{message}" if line is None else message.at(line)
    return UserError(
        f"{place}: {why}", hint="take the mail from lore or patchwork as raw text, not from a mail program"
    )


def has_diff(message: Message) -> bool:
    return find_diff(message.text.split("\n")) is not None


def read_patch(message: Message, position: int, total: int, *, lenient_end: bool = False) -> Patch:
    """The patch in a mail; UserError names the mail and the line of what is wrong with it."""
    nul = message.text.find("\0")
    if nul >= 0:
        line = message.text.count("\n", 0, nul) + message.first_line
        raise damaged(message, "holds a NUL byte: it is no text, or in UTF-16", line)
    try:
        diff = read_diff(message.text, first_line=message.first_line, lenient_end=lenient_end)
    except DiffError as error:
        raise damaged(message, error.what, error.line) from error
    if diff is None:
        why = "there is no diff in it, only HTML" if message.html_only else "there is no diff in it"
        raise damaged(message, why)
    if message.flowed:
        raise damaged(message, f"was sent as format=flowed, which re-wraps lines: {_flow(message, diff)}", diff.first)
    return _patch(message, diff, position, total)


def _flow(message: Message, diff: Diff) -> str:
    """What a flowed mail shows of its damage."""
    lines = message.text.split("\n")
    for at in range(diff.first - message.first_line, len(lines)):
        if lines[at].endswith(" ") and lines[at] not in (" ", "-- "):
            return f"line {message.first_line + at} ends in a soft break"
    return "no soft break is seen, but blanks at the beginning of lines cannot be trusted"


def _patch(message: Message, diff: Diff, position: int, total: int) -> Patch:
    body, author, subject = _message("\n".join(message.text.split("\n")[: diff.first - message.first_line]))
    return Patch(
        subject=subject or message.tag.title,
        position=position,
        total=total,
        revision=message.tag.revision,
        diff=diff.text,
        files=tuple([file.change for file in diff.files]),
        patch_id=patch_id(diff),
        author=author or message.author,
        date=message.date,
        message_id=message.message_id,
        body=body,
        trailers=read_trailers(body),
        where=message.where,
        diff_line=diff.first,
        notes=diff.notes,
    )


def _message(text: str) -> tuple[str, str, str]:
    """The commit message before `---`, and author and subject where the first lines name others."""
    lines = [line.rstrip() for line in text.split("\n")]
    # What stands above scissors is talk; b4 and git am --scissors leave it out, too.
    cut = next((at for at, line in enumerate(lines) if _SCISSORS.fullmatch(line)), -1)
    lines = lines[cut + 1 :]
    pasted = False
    while lines and (not lines[0] or _COMMIT_LINE.fullmatch(lines[0])):
        pasted = pasted or bool(lines[0])
        del lines[0]
    if pasted:
        lines = _without_mime(lines)
    named, used = _named(lines)
    end = next((at for at in range(used, len(lines)) if _ends_message(lines[at])), len(lines))
    return "\n".join(lines[used:end]).strip("\n"), named.get("from", ""), named.get("subject", "")


def _without_mime(lines: list[str]) -> list[str]:
    """The headers of a patch that was pasted as a file, without those that say how the file is encoded."""
    end = next((at for at, line in enumerate(lines) if not line), len(lines))
    return [*[line for line in lines[:end] if not _PASTED_HEADER.fullmatch(line)], *lines[end:]]


def _named(lines: list[str]) -> tuple[dict[str, str], int]:
    """The headers that begin the text, which may be folded as those of a mail; and how many lines they take."""
    named: dict[str, str] = {}
    last = ""
    used = 0
    for line in lines:
        match = _IN_BODY.fullmatch(line)
        if match is not None:
            last = match[1].lower()
            named[last] = match[2].strip()
        elif last and line[:1] in (" ", "\t") and line.strip():
            named[last] += f" {line.strip()}"
        else:
            break
        used += 1
    if "subject" in named:
        named["subject"] = read_subject(named["subject"]).title
    return named, used


def _ends_message(line: str) -> bool:
    """git's rule: `---`, `--- FILE`, or what begins a diff."""
    return line == "---" or line.startswith(("Index: ", "diff -")) or _NAMES_FILE.match(line) is not None


def read_trailers(body: str) -> tuple[Trailer, ...]:
    found = (_TRAILER.fullmatch(line.strip()) for line in body.split("\n"))
    return tuple([Trailer(match[1], match[2].strip()) for match in found if match])


def given_trailers(message: Message) -> tuple[Trailer, ...]:
    """What a reply adds in its own words (quoted lines begin with >).

    Of sign-offs, and of what is indented as in a range-diff, that of its sender alone.
    """
    lines = _without_commits([line.rstrip() for line in message.text.split("\n")], has_diff(message))
    found: dict[Trailer, None] = {}
    for match in filter(None, map(_GIVEN.fullmatch, lines)):
        one = Trailer(_capital(match[2]), _with_address(match[3].strip(), message), message.message_id)
        anybody = one.key != "Signed-off-by" and len(match[1]) <= _INDENT
        if anybody or _is_sender(one.value, message):
            found[one] = None
    return tuple(found)


def _is_sender(who: str, message: Message) -> bool:
    return parseaddr(who)[1].lower() == parseaddr(message.author)[1].lower()


def _without_commits(lines: list[str], patched: bool) -> list[str]:
    """Without the trailers of patches and commits that a reply shows: those are signed off, and a commit is indented.

    `patched` says that the reply has a diff of its own.
    """
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line:
            blocks.append([])
        blocks[-1].append(line)
    return [line for block in blocks if not _is_of_commit(block, patched) for line in block]


def _is_of_commit(block: list[str], patched: bool) -> bool:
    signed = [line for line in block if _SIGNED.match(line)]
    return bool(signed) and (patched or any(line[0].isspace() for line in signed))


def _with_address(name: str, message: Message) -> str:
    """Who leaves out his address wrote it in the head of the mail."""
    sender, address = parseaddr(message.author)
    same = address and " ".join(name.split()).casefold() == sender.casefold()
    return f"{sender} <{address}>" if same else name


def _capital(key: str) -> str:
    return key[:1].upper() + key[1:].lower()


def read_cover(message: Message) -> Cover:
    return Cover(message.tag.title, message.author, message.date, message.message_id, message.text.strip("\n"))


def follow_up_lines(message: Message) -> list[tuple[str, str]]:
    """`base-commit` and the prerequisites, which git writes behind the diff or the cover letter."""
    return [(match[1], match[2]) for match in _FOLLOWUP.finditer(message.text)]
