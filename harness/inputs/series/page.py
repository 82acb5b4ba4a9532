# SPDX-License-Identifier: GPL-2.0-only
"""The last resort: a saved web page, or any text with a diff in it. What it lacks is said in the series' notes."""

from __future__ import annotations

import html
import re
from dataclasses import replace

from harness.inputs.series.diff import find_diff
from harness.inputs.series.mail import Message, decode
from harness.inputs.series.mbox import is_html
from harness.inputs.series.messages import read_patch
from harness.inputs.series.subject import Tag, read_subject
from harness.model.errors import UserError
from harness.model.series import Series

LAST_RESORT = "read from a web page or a text, the last resort: replies, other patches and damaged blanks go unseen"
_HEAD_LINES = 200
_BREAK = re.compile(r"</?(?:br|p|div|tr|td|th|li|h\d|table|hr|title)\b[^<>]{0,2000}>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,20000}>")
_SCRIPT = re.compile(r"<(script|style)\b", re.IGNORECASE)
_TITLE = re.compile(r"\s{0,40}(?:Subject:\s{0,40})?(\[[^\[\]]{1,100}\].{1,400})")
_ID = re.compile(r"\s{0,40}Message[ -]I[Dd]:?\s{1,40}<?([^\s<>@]{1,200}@[^\s<>]{1,200}?)>?(?:\s.{0,200})?")
_FROM = re.compile(r"\s{0,40}From:\s{1,40}(\S.{0,300})")
_DATED = re.compile(r"(\S.{0,100}?)\s+((?:[A-Z][a-z]{2,8}\.? \d{1,2}, \d{4}|\d{4}-\d\d-\d\d).{0,40})")
_MESSAGE = re.compile(r"\s{0,40}Commit Message\s{0,40}")


def read_page(data: bytes, where: str, spec: str) -> Series:
    """The one patch of the page; UserError when it has none, or several."""
    text = decode(data, "").replace("\r\n", "\n")
    if is_html(data):
        text = text_of_html(text)
    lines = text.split("\n")
    first = find_diff(lines)
    if first is None:
        raise UserError(f"{where} has no diff in it", hint="a series is an mbox, a directory of patches, a git range")
    _refuse_several(lines, first, where)
    message = _message(lines, where)
    tag = message.tag
    total = max(1, tag.total)
    position = tag.position if 1 <= tag.position <= total else 1
    patch = read_patch(message, position, total, lenient_end=True)
    return Series(
        name=patch.subject,
        revision=tag.revision,
        total=total,
        patches=(patch,),
        spec=spec,
        missing=tuple(number for number in range(1, min(total, 1000) + 1) if number != position),
        notes=(LAST_RESORT,),
    )


def text_of_html(page: str) -> str:
    """A page's words; tags are taken out one by one, so that no nesting can make it slow."""
    page = _without_scripts(page)
    return html.unescape(_TAG.sub("", _BREAK.sub("\n", page))).replace("\xa0", " ")


def _without_scripts(page: str) -> str:
    kept: list[str] = []
    at = 0
    low = page.lower()
    while match := _SCRIPT.search(page, at):
        kept.append(page[at : match.start()])
        end = low.find(f"</{match[1].lower()}", match.end())
        if end < 0:
            at = match.end()
            break
        at = end
    kept.append(page[at:])
    return "".join(kept)


def _refuse_several(lines: list[str], first: int, where: str) -> None:
    """A page of a whole thread has several subjects with numbers, and whose diff is whose cannot be told."""
    subjects = {line.strip() for line in lines if line.startswith("Subject: [")}
    numbered = {(tag.revision, tag.position) for tag in map(_tag_of_line, subjects) if tag.numbered and not tag.cover}
    if len(numbered) > 1:
        raise UserError(
            f"{where} is a page with {len(numbered)} patches, which cannot be told apart; the first diff is at "
            f"line {first + 1}",
            hint="take the thread's mbox (lore: t.mbox.gz; patchwork: series)",
        )


def _message(lines: list[str], where: str) -> Message:
    """What the page says around its diff, as if it were a mail."""
    first = find_diff(lines)
    assert first is not None
    subject = author = date = name = ""
    begin = 0
    for at, line in enumerate(lines[:first][:_HEAD_LINES]):
        if not subject and (match := _TITLE.fullmatch(line)) and _tag_of_line(line).patch:
            subject = match[1].strip()
        elif not name and (match := _ID.fullmatch(line)):
            name = match[1]
        elif not author and (match := _FROM.fullmatch(line)):
            author = match[1].strip()
        elif not begin and _MESSAGE.fullmatch(line):
            begin = at + 1
        elif begin and not author and (match := _DATED.fullmatch(line)):
            author, date, begin = match[1], match[2], at + 1
    body = _body(lines[begin:first]) if begin else []
    tag = read_subject(subject)
    message = Message(
        where=where,
        first_line=1,
        subject=subject,
        tag=tag if tag.title else replace(tag, title=where),
        text="\n".join(lines),
        author=author,
        date=date,
        message_id=name,
    )
    # The reader takes all before the diff for the message; of a page only its own words count, in as many lines.
    padded = [*body[:first], *[""] * (first - len(body[:first])), *lines[first:]]
    return replace(message, text="\n".join(padded))


def _body(lines: list[str]) -> list[str]:
    end = next((at for at, line in enumerate(lines) if line.rstrip() in ("---", "Comments", "Patch")), len(lines))
    return [*lines[:end], "---"]


def _tag_of_line(line: str) -> Tag:
    return read_subject(line.strip().removeprefix("Subject:"))
