# SPDX-License-Identifier: GPL-2.0-only
"""One mail: its headers decoded, its text and its attached patches; what the text means is told elsewhere. Pure.

The standard library's parser does the MIME. It recurses by nesting and its words for damage are exceptions of a
dozen kinds, so nesting and headers are bounded before, and what it raises becomes one sentence.
"""

from __future__ import annotations

import binascii
import email.errors
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import re
from dataclasses import dataclass
from datetime import datetime

from harness.inputs.series.subject import Tag, read_subject
from harness.model.errors import UserError

_HEAD_LIMIT = 256 << 10
_HEADER_LIMIT = 8000
_NESTING_LIMIT = 16
_NESTED = re.compile(rb"^content-type:\s{0,80}(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_BLANK = re.compile(rb"\r?\n\r?\n")
_HALF = re.compile("[\ud800-\udfff]")
_ID = re.compile(r"<([^<>\s]{1,998})>")
_PATCH_TYPES = frozenset(("text/x-patch", "text/x-diff", "application/x-patch", "text/x-mbox"))
_PATCH_NAMES = (".patch", ".diff", ".mbox", ".patch.txt", ".diff.txt")
# Everything that email and the codecs are known to raise on what is no mail.
_MIME_ERRORS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, binascii.Error)


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A mail. `first_line` is what the first line of `text` counts as in `where`."""

    where: str
    first_line: int
    subject: str
    tag: Tag
    text: str
    author: str = ""
    date: str = ""
    message_id: str = ""
    parents: tuple[str, ...] = ()
    flowed: bool = False
    html_only: bool = False
    attachments: tuple[Attachment, ...] = ()

    def __str__(self) -> str:
        name = f"mail {self.subject!r}" if self.subject else f"the text of {self.where}"
        return f"{name} <{self.message_id}>" if self.message_id else name

    def at(self, line: int) -> str:
        """The words for a line of it."""
        return f"{self}, line {line} of {self.where}"


def read_message(raw: bytes, where: str, first_line: int = 1) -> Message:
    """A mail's bytes -> a Message; UserError when it cannot be taken apart."""
    split = _BLANK.search(raw, 0, _HEAD_LIMIT)
    if split is None and len(raw) > _HEAD_LIMIT:
        raise UserError(
            f"{where}, line {first_line}: a mail's headers do not end within {_HEAD_LIMIT >> 10} KiB",
            hint="is this an mbox?",
        )
    head, body = (raw, b"") if split is None else (raw[: split.start()], raw[split.end() :])
    headers = email.parser.HeaderParser().parsestr(decode(head, "").replace("\r\n", "\n"))
    subject = _header(headers, "Subject")
    try:
        content = _content(headers, raw, body)
    except _MIME_ERRORS as error:
        raise UserError(
            f"mail {subject!r} at line {first_line} of {where} cannot be taken apart: {error}",
            hint="fetch it again, as raw text",
        ) from error
    if content.encoded:
        where, first_line = f"{where} (its decoded text)", 1
    else:
        first_line += head.count(b"\n") + 2
    return Message(
        where=where,
        first_line=first_line,
        subject=subject,
        tag=read_subject(subject),
        text=content.text,
        author=_header(headers, "From"),
        date=_date(_header(headers, "Date")),
        message_id=_first_id(_header(headers, "Message-ID")),
        parents=_parents(headers),
        flowed=content.flowed,
        html_only=content.html_only,
        attachments=content.attachments,
    )


@dataclass(frozen=True, slots=True)
class _Content:
    text: str
    encoded: bool = False
    flowed: bool = False
    html_only: bool = False
    attachments: tuple[Attachment, ...] = ()


def _content(headers: email.message.Message, raw: bytes, body: bytes) -> _Content:
    if headers.get_content_maintype() == "multipart":
        if len(_NESTED.findall(raw)) > _NESTING_LIMIT:
            raise ValueError(f"it has more than {_NESTING_LIMIT} parts within parts")
        return _multipart(email.parser.BytesParser(policy=email.policy.compat32).parsebytes(raw))
    encoding = str(headers.get("Content-Transfer-Encoding", "")).strip().lower()
    encoded = encoding in ("base64", "quoted-printable")
    if encoded:
        holder = email.message.Message()
        holder["Content-Transfer-Encoding"] = encoding
        holder.set_payload(body.decode("ascii", "surrogateescape"))
        body = _payload(holder)
    html = headers.get_content_type() == "text/html"
    text = "" if html else decode(body, _charset(headers))
    return _Content(text, encoded, _is_flowed(headers), html)


def _multipart(message: email.message.Message) -> _Content:
    texts: list[str] = []
    attached: list[Attachment] = []
    flowed = html = False
    waiting = [message]
    while waiting:
        part = waiting.pop(0)
        kind = part.get_content_type()
        name = part.get_filename() or ""
        if part.get_content_maintype() == "multipart":
            payload = part.get_payload()
            waiting[:0] = [one for one in payload if isinstance(one, email.message.Message)]
        elif kind in _PATCH_TYPES or name.lower().endswith(_PATCH_NAMES):
            attached.append(Attachment(name or f"part {len(attached) + 1}", _recoded(part)))
        elif kind == "text/plain":
            # git-send-email's patches are in one text; a list's footer comes as another, behind it
            texts.append(decode(_payload(part), _charset(part)))
            flowed = flowed or _is_flowed(part)
        elif kind == "text/html":
            html = True
    return _Content("\n".join(texts), True, flowed, html and not texts, tuple(attached))


def _payload(part: email.message.Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _recoded(part: email.message.Message) -> bytes:
    """An attachment as UTF-8, if it says that it is something else."""
    data = _payload(part)
    return decode(data, _charset(part)).encode("utf-8", "replace") if _charset(part) else data


def _charset(part: email.message.Message) -> str:
    return part.get_content_charset("") or ""


def _is_flowed(part: email.message.Message) -> bool:
    word = part.get_param("format", "")
    return isinstance(word, str) and word.strip().lower() == "flowed"


def decode(data: bytes, charset: str) -> str:
    """Bytes -> text as git reads mails: in the charset named if that fits, else UTF-8, else Latin-1."""
    for name in (charset, "utf-8"):
        if not name or name.lower() in ("us-ascii", "ascii"):
            continue
        try:
            text = data.decode(name)
        except (LookupError, ValueError):
            continue
        # utf-7 and the like can bring forth halves of characters, which nothing can write down again
        if _HALF.search(text) is None:
            return text
    return data.decode("latin-1")


def _header(headers: email.message.Message, name: str) -> str:
    """A header in one line, its encoded words decoded; '' when there is none."""
    raw = headers.get(name)
    if raw is None:
        return ""
    value = " ".join(str(raw)[:_HEADER_LIMIT].split())
    if "=?" not in value:
        return _printable(value)
    try:
        value = str(email.header.make_header(email.header.decode_header(value)))
    except (*_MIME_ERRORS, email.errors.MessageError):
        pass  # shown as it came
    return _printable(" ".join(value.split()))


def _printable(text: str) -> str:
    """Without control characters and half characters: headers end up on terminals and in JSON."""
    return "".join([one if one.isprintable() else "\ufffd" for one in text])


def _date(text: str) -> str:
    """ISO 8601, or what the header says if that is no date."""
    try:
        when: datetime = email.utils.parsedate_to_datetime(text)
        return when.isoformat()
    except (ValueError, TypeError, OverflowError, IndexError):
        return text


def _first_id(text: str) -> str:
    match = _ID.search(text)
    return match[1] if match else ""


def _parents(headers: email.message.Message) -> tuple[str, ...]:
    """The Message-IDs above it, nearest first."""
    near = _ID.findall(_header(headers, "In-Reply-To"))
    far = _ID.findall(_header(headers, "References"))
    return tuple(dict.fromkeys([*near, *reversed(far)]))
