# SPDX-License-Identifier: GPL-2.0-only
"""Many mails -> one series: which revision, in which order, what is missing, what is there twice. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from harness.inputs.series.mail import Message
from harness.inputs.series.mbox import is_mail, read_messages
from harness.inputs.series.messages import (
    follow_up_lines,
    given_trailers,
    has_diff,
    read_cover,
    read_patch,
)
from harness.inputs.series.postings import (
    ChosenPosting,
    Ident,
    Posting,
    PostingQuery,
    above,
    author_of,
    choose,
    date_of,
    title_of,
)
from harness.model.errors import UserError
from harness.model.series import Cover, Patch, Series, Trailer

PATCH_LIMIT = 256
_SHOWN = 8
_DEPTH = 200  # answers above an answer
_SENT_AGAIN = timedelta(seconds=30)  # what is sent sooner comes from one folder, in which one of both is stale
_LONGEST = 8  # times PATCH_LIMIT: no series that people post is longer
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class Selection:
    """What the caller wants of the mails. `ordered`: their order is that of the series, whatever subjects say.

    `partial`: what is missing, doubled or damaged is listed in the series instead of refused. `pick`: a Message-ID of
    the posting that is meant. `gathered`: the mails were put together by somebody who meant one series.
    """

    spec: str
    name: str = ""
    revision: int | None = None
    ordered: bool = False
    partial: bool = False
    pick: str = ""
    gathered: bool = False


def assemble(messages: list[Message], wanted: Selection) -> Series:
    """The series in those mails; UserError names what stands in the way."""
    messages, copies = _once(messages)
    messages = _with_attached([_answering(message) for message in messages])
    choice = _in_their_order(messages) if wanted.ordered else choose(messages, _asked(wanted))
    if choice is None or not (choice.posting.patches or choice.posting.covers):
        raise _no_patch(messages, wanted)
    series = _Maker(choice, messages, copies, wanted).make()
    if not series.whole and not wanted.partial:
        raise _not_whole(series)
    return series


def _asked(wanted: Selection) -> PostingQuery:
    return PostingQuery(wanted.spec, wanted.revision, wanted.pick, wanted.gathered)


def _in_their_order(messages: list[Message]) -> ChosenPosting | None:
    """The mails of a directory in quilt's order, or of a range of commits."""
    own = [message for message in messages if not message.tag.reply]
    patches = [one for one in own if not one.tag.cover and (one.tag.numbered or has_diff(one))]
    covers = [one for one in own if one.tag.cover]
    if not patches and not covers:
        return None
    return ChosenPosting(
        Posting(Ident(max([one.tag.revision for one in patches], default=1)), covers, patches, loose=True)
    )


def _once(messages: list[Message]) -> tuple[list[Message], dict[str, list[Message]]]:
    """Each mail once, and the other copies of each that are not the same: lists damage some on the way."""
    found: list[Message] = []
    first: dict[str, Message] = {}
    copies: dict[str, list[Message]] = {}
    for message in messages:
        name = message.message_id
        if not name or name.startswith("commit ") or name not in first:
            found.append(message)
            if name:
                first[name] = message
        elif _diff_of(first[name]) != _diff_of(message):
            copies.setdefault(name, []).append(message)
    return found, copies


def _answering(message: Message) -> Message:
    """A mail with trailers, without a diff, below another one is an answer, though its subject has no Re."""
    tag = message.tag
    if tag.reply or tag.numbered or not message.parents or not given_trailers(message) or has_diff(message):
        return message
    return replace(message, tag=replace(tag, reply=True))


def _not_whole(series: Series) -> UserError:
    found = list(series.problems)
    if series.missing:
        numbers = ", ".join(map(str, series.missing[:40])) + (", …" if len(series.missing) > 40 else "")
        found.insert(0, f"{_count(len(series.missing), 'patch', 'patches')} of {series.total} missing: {numbers}")
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return UserError(
        f"series {series.label} from {series.spec} is not whole: {'; '.join(found[:_SHOWN])}{more}",
        hint="ttm-harness series show lists what there is; fetch the whole thread",
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _no_patch(messages: list[Message], wanted: Selection) -> UserError:
    replies = [message for message in messages if message.tag.reply]
    html = [message for message in messages if message.html_only and not message.tag.reply]
    if html:
        what = f"{_count(len(messages), 'mail', 'mails')} and no patch: {html[0]} is only HTML, without plain text"
    elif replies:
        what = f"{_count(len(replies), 'reply', 'replies')} ({replies[0].subject!r}) and no patch"
    else:
        what = f"{_count(len(messages), 'mail', 'mails')} and no patch"
        if messages:
            what += f": {messages[0]} has no diff"
    return UserError(
        f"{wanted.spec} holds {what}", hint="fetch the thread from its cover letter or from one of its patches"
    )


def _with_attached(messages: list[Message]) -> list[Message]:
    """Attached patches take the place of their mail; its text is theirs where they have none."""
    found: list[Message] = []
    for message in messages:
        patches = [] if message.tag.reply or has_diff(message) else _attached(message)
        if patches and message.tag.cover:
            found.append(message)
        found.extend(patches or [message])
    return found


def _attached(message: Message) -> list[Message]:
    found: list[Message] = []
    for one in message.attachments:
        where = f"{message.where}, attachment {one.name}"
        if is_mail(one.data):
            mails = [mail for mail in read_messages(one.data, where) if not mail.tag.reply]
            found += [replace(mail, message_id=mail.message_id or message.message_id) for mail in mails]
            continue
        text = one.data.decode("utf-8", "replace")
        lone = replace(message, where=where, first_line=1, text=text, flowed=False, attachments=())
        if has_diff(lone):
            words = message.text.rstrip("\n")
            lines = words.count("\n") + 2 if words else 0
            text = f"{words}\n\n{text}" if words else text
            found.append(replace(lone, text=text, first_line=1 - lines))
    return [mail for mail in found if has_diff(mail) or mail.tag.cover]


class _Maker:
    """Puts the mails of one posting in order."""

    def __init__(
        self, choice: ChosenPosting, messages: list[Message], copies: dict[str, list[Message]], wanted: Selection
    ) -> None:
        self._choice = choice
        self._posting = choice.posting
        self._messages = messages
        self._copies = copies
        self._wish = wanted
        self._problems: list[str] = list(choice.problems)
        self._notes: list[str] = list(choice.notes)
        self._older_covers: list[Message] = []

    def make(self) -> Series:
        placed, total = self._loose() if self._posting.loose else self._numbered()
        # A part of a long series can be looked at.
        if max(len(placed), total if not self._wish.partial else total // _LONGEST) > PATCH_LIMIT:
            raise UserError(
                f"{self._wish.spec} is a series of {total} patches; {PATCH_LIMIT} is the most",
                hint="give a part of it: git:DIR@A..B",
            )
        patches = self._read(placed, total)
        cover = self._cover()
        replies = [message for message in self._messages if message.tag.reply]
        older = {one.message_id: one for posting in self._choice.older for one in posting.patches if one.message_id}
        patches = _with_given(patches, cover, self._messages, older)
        base, prerequisites = self._base(placed)
        name = self._wish.name or (cover.subject if cover else patches[0].subject if patches else "") or "series"
        return Series(
            name=name,
            revision=self._posting.ident.revision,
            point=self._posting.ident.point,
            total=total,
            patches=tuple(patches),
            spec=self._wish.spec,
            cover=cover,
            base_commit=base,
            prerequisites=prerequisites,
            missing=tuple(sorted(set(range(1, total + 1)) - {patch.position for patch in patches})),
            problems=tuple(self._problems),
            notes=tuple(self._notes),
            replies=len(replies),
            trees=self._trees(),
        )

    def _trees(self) -> tuple[str, ...]:
        messages = (*self._posting.covers, *self._posting.patches)
        return tuple(dict.fromkeys(word for message in messages for word in message.tag.others))

    def _loose(self) -> tuple[dict[int, Message], int]:
        messages = self._posting.patches
        if len(messages) > 1 and not self._wish.ordered:
            self._notes.append("its patches carry no numbers; they are taken in the order of the mails")
        totals = [] if self._wish.ordered else [message.tag.total for message in self._posting.covers]
        return dict(enumerate(messages, 1)), max([len(messages), *totals])

    def _numbered(self) -> tuple[dict[int, Message], int]:
        patches = self._posting.patches
        covers = [message.tag.total for message in self._posting.covers]
        total = max([message.tag.total for message in patches] or covers, default=0)
        if patches and covers and max(covers) != total:
            self._notes.append(f"its cover letter counts {max(covers)} patches, the patches {total}")
        placed: dict[int, Message] = {}
        twice: dict[int, list[Message]] = {}
        for message in patches:
            self._place(message, placed, twice)
        for position, messages in sorted(twice.items()):
            names = ", ".join(str(message) for message in messages[:4])
            self._problems.append(f"patch {position}/{total} is there {len(messages)} times: {names}")
        beyond = [message for position, message in sorted(placed.items()) if position > total]
        if beyond:
            self._notes.append(f"added to a series of {total}: {', '.join(map(str, beyond[:4]))}")
        total = max([total, *placed])
        if total <= PATCH_LIMIT:
            self._fill(placed, total)
        return placed, total

    def _place(self, message: Message, placed: dict[int, Message], twice: dict[int, list[Message]]) -> None:
        """A patch at its number; who answers his own patch with another one of that number means the latter."""
        position = message.tag.position
        first = placed.setdefault(position, message)
        if first is message:
            return
        by_id = {one.message_id: one for one in self._messages if one.message_id}
        for newer, older in ((message, first), (first, message)):
            if older in above(newer, by_id) and author_of(newer) == author_of(older):
                placed[position] = newer
                self._notes.append(f"{older} is replaced by {newer}, which answers it")
                return
        older, newer = sorted((first, message), key=date_of)
        same = author_of(older) == author_of(newer) and title_of(older) == title_of(newer)
        if same and date_of(newer) - date_of(older) > _SENT_AGAIN:
            placed[position] = newer
            self._notes.append(f"{older} is replaced by {newer}, which was sent later")
            return
        twice.setdefault(position, [first]).append(message)

    def _fill(self, placed: dict[int, Message], total: int) -> None:
        """A partial reroll: only what changed was sent again, as answers to the posting before."""
        lacking = set(range(1, total + 1)) - set(placed)
        resent = self._posting.ident.resend
        if not lacking or not placed or (self._posting.covers and not resent):
            return
        older = [one for one in self._choice.older if not one.loose and one.total == total]
        by_id = {one.message_id: one for one in self._messages if one.message_id}
        before = {one.message_id: one for posting in older for one in posting.patches}
        for message in placed.values():
            known = [one for one in above(message, by_id) if one.message_id in before]
            same = any(one.tag.position == message.tag.position for one in known)
            if not (resent or same or (known and len(placed) == 1)):
                return
        self._older_covers = next((one.covers for one in older if one.covers), [])
        for posting in older:
            for message in posting.patches:
                if message.tag.position in lacking:
                    placed[message.tag.position] = message
                    lacking.discard(message.tag.position)
                    self._notes.append(
                        f"{message.tag.position}/{total} is taken from {posting.label}: {self._posting.label} has "
                        "only what changed"
                    )

    def _read(self, placed: dict[int, Message], total: int) -> list[Patch]:
        patches: list[Patch] = []
        for position, message in sorted(placed.items()):
            try:
                patches.append(self._read_copies(message, position, total))
            except UserError as error:
                if not self._wish.partial:
                    raise
                self._problems.append(error.message)
        for patch in _repeated(patches):
            self._problems.append(f"{patch} makes the same change as an earlier patch of the series")
        return patches

    def _read_copies(self, message: Message, position: int, total: int) -> Patch:
        """The patch of a mail, from the first copy that is not damaged."""
        copies = [message, *self._copies.get(message.message_id, ())]
        found: list[Patch] = []
        errors: list[UserError] = []
        for copy in copies:
            try:
                found.append(read_patch(copy, position, total))
            except UserError as error:
                errors.append(error)
        if not found:
            raise errors[0]
        if len({patch.patch_id for patch in found}) > 1:
            self._problems.append(f"patch {position}/{total} is there {len(found)} times, and differs: {message}")
        if errors:
            self._notes.append(f"of {len(copies)} copies of {message} the first that is whole was taken")
        return found[0]

    def _cover(self) -> Cover | None:
        covers = self._posting.covers or self._bare_cover() or self._older_covers
        if len(covers) > 1:
            self._notes.append(f"{len(covers)} cover letters; the last one is shown")
        return read_cover(covers[-1]) if covers else None

    def _bare_cover(self) -> list[Message]:
        """A mail without a number that the patches of the same author answer."""
        by_id = {one.message_id: one for one in self._messages if one.message_id}
        for patch in self._posting.patches:
            parent = by_id.get(patch.parents[0]) if patch.parents else None
            if parent is None or parent.tag.reply or author_of(parent) != author_of(patch) or has_diff(parent):
                continue
            if parent.tag.patch or not any(name in by_id for name in parent.parents):
                return [parent]
        return []

    def _base(self, placed: dict[int, Message]) -> tuple[str | None, tuple[str, ...]]:
        base: str | None = None
        prerequisites: list[str] = []
        for message in [*self._posting.covers, *placed.values()]:
            for key, value in follow_up_lines(message):
                if key != "base-commit":
                    prerequisites.append(value.strip("<>"))
                elif _COMMIT.fullmatch(value):
                    base = base or value
        return base, tuple(dict.fromkeys(prerequisites))


def _diff_of(message: Message) -> str:
    """The text from its diff on; lists add footers, so only what comes before a signature."""
    return message.text[message.text.find("\ndiff --git ") :].partition("\n-- \n")[0].replace("\r", "")


def _repeated(patches: list[Patch]) -> list[Patch]:
    seen: set[str] = set()
    again: list[Patch] = []
    for patch in patches:
        if patch.patch_id in seen:
            again.append(patch)
        seen.add(patch.patch_id)
    return again


def _with_given(
    patches: list[Patch], cover: Cover | None, messages: list[Message], older: Mapping[str, Message]
) -> list[Patch]:
    """The patches with the trailers that replies gave them; one to the cover letter is for all.

    What a patch of an older posting was given stays with a patch that makes the same change.
    """
    same = {patch.patch_id: patch.message_id for patch in patches}
    at = {patch.message_id: number for number, patch in enumerate(patches) if patch.message_id}
    by_id = {message.message_id: message for message in messages if message.message_id}
    above_all = cover.message_id if cover is not None else None
    more: list[list[Trailer]] = [[] for _ in patches]
    for message in messages:
        if not message.tag.reply:
            continue
        given = given_trailers(message)
        if not given:
            continue
        target = _answered(message, by_id, lambda name: name in at or name in older or name == above_all)
        if target not in at and target in older:
            target = same.get(_patch_id_of(older[target]), "")
        if target in at:
            more[at[target]].extend(given)
        elif target:
            for trailers in more:
                trailers.extend(given)
    return [
        replace(patch, trailers=_united(patch.trailers, added)) for patch, added in zip(patches, more, strict=True)
    ]


def _patch_id_of(message: Message) -> str:
    """'' for one that is damaged."""
    try:
        return read_patch(message, 1, 1).patch_id
    except UserError:
        return ""


def _united(own: tuple[Trailer, ...], added: list[Trailer]) -> tuple[Trailer, ...]:
    """Each name and value once; the patch's own before what replies brought."""
    kept: dict[tuple[str, str], Trailer] = {}
    for one in added:
        kept.setdefault((one.key.lower(), one.value), one)
    known = {(one.key.lower(), one.value) for one in own}
    return (*own, *[one for key, one in kept.items() if key not in known])


def _answered(message: Message, by_id: dict[str, Message], wanted: Callable[[str], bool]) -> str:
    """The nearest mail above that is wanted; '' when there is none, or another patch stands before it."""
    waiting = deque(message.parents)
    for _ in range(_DEPTH):
        if not waiting:
            break
        name = waiting.popleft()
        if wanted(name):
            return name
        above = by_id.get(name)
        if above is not None:
            if not above.tag.reply:
                break  # it answers another revision, of which this one is only an ancestor
            waiting.extendleft(reversed(above.parents[:1]))
    return ""
