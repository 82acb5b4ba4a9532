# SPDX-License-Identifier: GPL-2.0-only
"""What the mails of a thread say of themselves, read plainly and apart from the harness.

A rule that calls a difference better must not believe the harness: it looks here.
"""

from __future__ import annotations

import email
import email.utils
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.corpus.peers import header_of

_RE = re.compile(r"(?:\s*\[[^\]]*\])*\s*(?:re|aw|sv|回复|答复)\s*[:：]", re.IGNORECASE)
_BRACKETS = re.compile(r"(?:\s*\[+[^\]]*\]+)*\s*")
_COUNT = re.compile(r"(?<![\d./])(\d+(?:\.\d)?)/(\d+)")
_VERSION = re.compile(r"(?<![A-Za-z0-9./])(?:(?:RFC|PATCH)[-_ ]?)?v(\d+)(?:\.(\d))?(?![\w.])", re.IGNORECASE)
_OWN_DIFF = re.compile(r"^(?:diff --git |--- \S.*\n\+\+\+ \S)", re.MULTILINE)
_TAG = re.compile(r"\s{0,16}[A-Z][A-Za-z]*(?:-[A-Za-z]+)*: \S.*")
_QUOTE = re.compile(r"^\s*>", re.MULTILINE)
_TRAILER = re.compile(r"\s{0,16}([A-Za-z][A-Za-z]*(?:-[A-Za-z]+)*-by): (\S.*)", re.IGNORECASE)
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_CHANGE = re.compile(r"\+(?!\+\+ )|-(?!-)")
_ID = re.compile(r"<([^<>\s]+)>")
_AT_ONCE = timedelta(minutes=15)

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """One mail. `stated` are the versions that its brackets name; `total` is 0 where there is no k/n (0.5/5 is)."""

    name: str
    author: str
    sender: str
    date: datetime
    parents: tuple[str, ...]
    subject: str
    title: str
    reply: bool
    text: str
    position: float = 0
    total: int = 0
    stated: tuple[Version, ...] = ()

    @property
    def has_diff(self) -> bool:
        return _OWN_DIFF.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Facts:
    """The mails of a thread by their Message-IDs, oldest first; `applies` says whether git takes one as a patch."""

    mails: dict[str, Fact]
    applies: Callable[[str], bool]

    def takes(self, name: str) -> bool:
        """Whether git takes the whole of a mail's diff: behind a hunk that is too long it drops lines silently."""
        return name in self.mails and self.applies(name) and not is_cut(self.mails[name].text)

    def patches(self) -> list[Fact]:
        """The mails that are patches, as they say and as git says."""
        return [one for one in self.mails.values() if not one.reply and self.takes(one.name)]

    def above(self, fact: Fact) -> list[Fact]:
        """What it answers, nearest first, as far as mails are there."""
        found: list[Fact] = []
        at = fact
        while nearest := next((self.mails[name] for name in at.parents if name in self.mails), None):
            if nearest is fact or nearest in found:
                break
            found.append(nearest)
            at = nearest
        return found

    def answered(self, fact: Fact) -> Fact | None:
        """The patch or cover letter that an answer is for."""
        return next((one for one in self.above(fact) if not one.reply), None)

    def version(self, fact: Fact) -> Version:
        """What it states, else what its cover letter states, else 1."""
        if fact.stated:
            return max(fact.stated)
        cover = next((one for one in self.above(fact) if _is_cover_of(one, fact)), None)
        return max(cover.stated) if cover is not None and cover.stated else (1, 0)

    def place(self, fact: Fact) -> tuple[float, int]:
        """Its number and the total; a patch without one that answers its own older posting has that one's."""
        if fact.total:
            return fact.position, fact.total
        mine = (
            one for one in self.above(fact) if one.author == fact.author and one.title == fact.title and one.total
        )
        older = next(mine, None)
        return (older.position, older.total) if older is not None else (0, 0)


def _is_cover_of(one: Fact, patch: Fact) -> bool:
    numbered = one.total == patch.total and one.position == 0
    return numbered and bool(patch.total) and one.author == patch.author and not one.reply


def read_facts(mails: Sequence[bytes], applies: Callable[[str], bool]) -> Facts:
    found: dict[str, Fact] = {}
    for one in sorted(map(read_fact, mails), key=lambda one: one.date):
        found.setdefault(one.name, one)
    return Facts(found, applies)


def read_fact(raw: bytes) -> Fact:
    subject, text = header_of(raw, "Subject"), _text(raw)
    parents = (*_ID.findall(header_of(raw, "In-Reply-To")), *reversed(_ID.findall(header_of(raw, "References"))))
    brackets = _BRACKETS.match(subject)
    tags = brackets[0] if brackets else ""
    count = _COUNT.search(tags)
    sender, address = email.utils.parseaddr(header_of(raw, "From"))
    return Fact(
        name=header_of(raw, "Message-ID").strip("<> "),
        author=address.lower(),
        sender=sender,
        date=_date(header_of(raw, "Date")),
        parents=tuple(dict.fromkeys(parents)),
        subject=subject,
        title=" ".join(subject[len(tags) :].lower().split()),
        # A word in the subject alone makes no answer: it must answer a mail, or quote one.
        reply=is_reply(subject) and bool(parents or _QUOTE.search(text)),
        text=text,
        position=float(count[1]) if count else 0,
        total=int(count[2]) if count else 0,
        stated=tuple([(int(one[1]), int(one[2] or 0)) for one in _VERSION.finditer(tags)]),
    )


def is_cut(text: str) -> bool:
    """Whether a hunk has more changed lines than its header says."""
    lines = iter(text.split("\n"))
    for line in lines:
        match = _HUNK.match(line)
        if match is None:
            continue
        old, new = int(match[1] or 1), int(match[2] or 1)
        while (old > 0 or new > 0) and (line := next(lines, "@")) and line[0] in "+- \\":
            old -= line[0] in "- "
            new -= line[0] in "+ "
        if old == new == 0 and _CHANGE.match(next(lines, "")):
            return True
    return False


def is_reply(subject: str) -> bool:
    """By its subject alone."""
    return _RE.match(subject) is not None


def _date(text: str) -> datetime:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _text(raw: bytes) -> str:
    parts: list[str] = []
    for part in email.message_from_bytes(raw).walk():
        body = part.get_payload(decode=True)
        if part.get_content_maintype() == "text" and isinstance(body, bytes):
            parts.append(body.decode("utf-8", "replace").replace("\r\n", "\n"))
    return "\n".join(parts)


def trailer(text: str) -> str:
    """Name and address: how a person's name is spelt is no difference."""
    key, _, value = text.lower().partition(":")
    address = re.search(r"<([^<>\s]+)>", value) or re.search(r"(\S+@\S+)", value)
    return f"{key}: {address[1].strip('<>') if address else ''.join(value.split())}"


def given(fact: Fact) -> tuple[set[str], set[str]]:
    """The trailers in a mail's own words: those that it gives, and those of a patch or a commit that it shows.

    The latter are signed off beside a diff, or indented as git log does.
    """
    gives: set[str] = set()
    own: set[str] = set()
    block: set[str] = set()
    indented = False
    for line in (*fact.text.split("\n"), ""):
        match = _TRAILER.fullmatch(line.rstrip())
        if match is None and not _TAG.fullmatch(line.rstrip()):
            signed = any(one.startswith("signed-off-by:") for one in block)
            (own if signed and (fact.has_diff or indented) else gives).update(block)
            block, indented = set(), False
        elif match is not None:
            indented = indented or line[:1].isspace()
            block.add(trailer(f"{match[1]}: {_with_address(match[2], fact)}"))
    return gives, own


def _with_address(name: str, fact: Fact) -> str:
    """Who leaves out his address is the mail's sender."""
    return f"<{fact.author}>" if "@" not in name and name.split() == fact.sender.split() else name


def at_once(one: Fact, other: Fact) -> bool:
    return abs(one.date - other.date) <= _AT_ONCE


def named_in(name: str, said: Iterable[str]) -> bool:
    return any(f"<{name}>" in one for one in said)
