# SPDX-License-Identifier: GPL-2.0-only
"""Many mails -> one series: which revision, in which order, what is missing, what is there twice. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.inputs.series.letters import (
    follow_up_lines,
    given_trailers,
    has_diff,
    read_cover,
    read_patch,
)
from harness.inputs.series.mail import Letter
from harness.inputs.series.mbox import is_mail, read_letters
from harness.model.errors import UserError
from harness.model.series import Cover, Patch, Series, Trailer

PATCH_LIMIT = 256
_SHOWN = 8
_DEPTH = 200  # answers above an answer
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants of the mails. `ordered`: their order is that of the series, whatever subjects say.

    `partial`: what is missing, doubled or damaged is listed in the series instead of refused.
    """

    spec: str
    name: str = ""
    revision: int | None = None
    ordered: bool = False
    partial: bool = False


@dataclass(slots=True)
class _Group:
    """The mails of one revision."""

    revision: int
    rfc: bool
    covers: list[Letter] = field(default_factory=list)
    patches: list[Letter] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{'RFC ' if self.rfc else ''}v{self.revision}"


def assemble(letters: list[Letter], wish: Wish) -> Series:
    """The series in those mails; UserError names what stands in the way."""
    letters = _with_attached(letters)
    groups = _groups(letters, wish)
    if not any(group.patches or group.covers for group in groups):
        raise _no_patch(letters, wish)
    group = _choose(groups, wish)
    series = _Maker(group, letters, wish).make()
    others = sorted({one.label for one in groups if one is not group and one.patches})
    if others and wish.revision is None and not wish.ordered:
        series = replace(series, notes=(*series.notes, f"also there: {', '.join(others)}; ask for one with @vN"))
    if not series.whole and not wish.partial:
        raise _not_whole(series)
    return series


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


def _no_patch(letters: list[Letter], wish: Wish) -> UserError:
    replies = [letter for letter in letters if letter.tag.reply]
    if replies:
        what = f"{_count(len(replies), 'reply', 'replies')} ({replies[0].subject!r}) and no patch"
    else:
        what = f"{_count(len(letters), 'mail', 'mails')} and no patch"
        if letters:
            what += f": {letters[0]} has no diff"
    return UserError(
        f"{wish.spec} holds {what}", hint="fetch the thread from its cover letter or from one of its patches"
    )


def _with_attached(letters: list[Letter]) -> list[Letter]:
    """Attached patches take the place of their mail; its text is theirs where they have none."""
    found: list[Letter] = []
    for letter in letters:
        patches = [] if letter.tag.reply or has_diff(letter) else _attached(letter)
        if patches and letter.tag.cover:
            found.append(letter)
        found.extend(patches or [letter])
    return found


def _attached(letter: Letter) -> list[Letter]:
    found: list[Letter] = []
    for one in letter.attachments:
        where = f"{letter.where}, attachment {one.name}"
        if is_mail(one.data):
            mails = [mail for mail in read_letters(one.data, where) if not mail.tag.reply]
            found += [replace(mail, message_id=mail.message_id or letter.message_id) for mail in mails]
            continue
        text = one.data.decode("utf-8", "replace")
        lone = replace(letter, where=where, first_line=1, text=text, flowed=False, attachments=())
        if has_diff(lone):
            message = letter.text.rstrip("\n")
            lines = message.count("\n") + 2 if message else 0
            text = f"{message}\n\n{text}" if message else text
            found.append(replace(lone, text=text, first_line=1 - lines))
    return [mail for mail in found if has_diff(mail) or mail.tag.cover]


def _groups(letters: list[Letter], wish: Wish) -> list[_Group]:
    groups: dict[tuple[int, bool], _Group] = {}
    everything = _Group(wish.revision or 1, rfc=False)
    for letter in letters:
        tag = letter.tag
        if tag.reply:
            continue
        group = everything
        if not wish.ordered:
            group = groups.setdefault((tag.revision, tag.rfc), _Group(tag.revision, tag.rfc))
        if tag.cover:
            group.covers.append(letter)
        elif tag.numbered or has_diff(letter):
            group.patches.append(letter)
    if wish.ordered:
        everything.revision = max([letter.tag.revision for letter in everything.patches], default=1)
        return [everything]
    return [group for group in groups.values() if group.patches or group.covers]


def _choose(groups: list[_Group], wish: Wish) -> _Group:
    """The revision asked for, else the newest; one that is no RFC is newer than its RFC."""
    candidates = [group for group in groups if wish.revision in (None, group.revision) or wish.ordered]
    if not candidates:
        there = ", ".join(sorted({group.label for group in groups}))
        raise UserError(f"{wish.spec} holds no revision v{wish.revision}", hint=f"there is {there}")
    with_patches = [group for group in candidates if group.patches]
    return max(with_patches or candidates, key=lambda group: (group.revision, not group.rfc))


class _Maker:
    """Puts the mails of one revision in order."""

    def __init__(self, group: _Group, letters: list[Letter], wish: Wish) -> None:
        self._group = group
        self._letters = letters
        self._wish = wish
        self._problems: list[str] = []
        self._notes: list[str] = []

    def make(self) -> Series:
        placed, total = self._ordered() if self._wish.ordered else self._numbered()
        if total > PATCH_LIMIT:
            raise UserError(
                f"{self._wish.spec} is a series of {total} patches; {PATCH_LIMIT} is the most",
                hint="give a part of it: git:DIR@A..B",
            )
        patches = self._read(placed, total)
        cover = self._cover()
        replies = [letter for letter in self._letters if letter.tag.reply]
        patches = _with_given(patches, cover, self._letters)
        base, prerequisites = self._base(placed)
        name = self._wish.name or (cover.subject if cover else patches[0].subject if patches else "") or "series"
        return Series(
            name=name,
            revision=self._group.revision,
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
        letters = (*self._group.covers, *self._group.patches)
        return tuple(dict.fromkeys(word for letter in letters for word in letter.tag.others))

    def _ordered(self) -> tuple[dict[int, Letter], int]:
        letters = self._group.patches
        return dict(enumerate(letters, 1)), len(letters)

    def _numbered(self) -> tuple[dict[int, Letter], int]:
        numbered = [letter for letter in self._group.patches if letter.tag.numbered]
        loose = [letter for letter in self._group.patches if not letter.tag.numbered]
        if not numbered:
            if len(loose) > 1:
                self._notes.append("its patches carry no numbers; they are taken in the order of the mails")
            placed: dict[int, Letter] = dict(enumerate(self._once(loose), 1))
            return placed, max([len(placed), *[letter.tag.total for letter in self._group.covers]])
        for letter in loose:
            self._notes.append(f"not taken, as it has no number: {letter}")
        totals = sorted({letter.tag.total for letter in numbered})
        total = totals[-1]
        if len(totals) > 1:
            sizes = ", ".join(map(str, totals))
            self._problems.append(f"several series of {self._group.label} in one place, with {sizes} patches")
        placed = {}
        twice: dict[int, list[Letter]] = {}
        for letter in numbered:
            self._place(letter, total, placed, twice)
        for position, letters in sorted(twice.items()):
            names = ", ".join(str(letter) for letter in letters[:4])
            self._problems.append(f"patch {position}/{total} is there {len(letters)} times: {names}")
        return placed, total

    def _place(self, letter: Letter, total: int, placed: dict[int, Letter], twice: dict[int, list[Letter]]) -> None:
        tag = letter.tag
        if tag.total != total:
            return
        if tag.position > total:
            self._problems.append(f"{letter} says that it is {tag.position} of only {total}")
            return
        first = placed.setdefault(tag.position, letter)
        if first is letter or _same_mail(first, letter):
            return  # the same mail through two lists is one mail
        twice.setdefault(tag.position, [first]).append(letter)

    def _once(self, letters: list[Letter]) -> list[Letter]:
        found: list[Letter] = []
        known: set[str] = set()
        for letter in letters:
            if letter.message_id and letter.message_id in known:
                continue
            known.add(letter.message_id)
            found.append(letter)
        return found

    def _read(self, placed: dict[int, Letter], total: int) -> list[Patch]:
        patches: list[Patch] = []
        for position, letter in sorted(placed.items()):
            try:
                patches.append(read_patch(letter, position, total))
            except UserError as error:
                if not self._wish.partial:
                    raise
                self._problems.append(error.message)
        for patch in _repeated(patches):
            self._problems.append(f"{patch} makes the same change as an earlier patch of the series")
        return patches

    def _cover(self) -> Cover | None:
        covers = self._once(self._group.covers)
        if len(covers) > 1:
            self._notes.append(f"{len(covers)} cover letters; the last one is shown")
        return read_cover(covers[-1]) if covers else None

    def _base(self, placed: dict[int, Letter]) -> tuple[str | None, tuple[str, ...]]:
        base: str | None = None
        prerequisites: list[str] = []
        for letter in [*self._group.covers, *placed.values()]:
            for key, value in follow_up_lines(letter):
                if key != "base-commit":
                    prerequisites.append(value.strip("<>"))
                elif _COMMIT.fullmatch(value):
                    base = base or value
        return base, tuple(dict.fromkeys(prerequisites))


def _same_mail(first: Letter, second: Letter) -> bool:
    return bool(first.message_id) and first.message_id == second.message_id and _diff_of(first) == _diff_of(second)


def _diff_of(letter: Letter) -> str:
    """The text from its diff on; lists add footers, so only what comes before a signature."""
    return letter.text[letter.text.find("\ndiff --git ") :].partition("\n-- \n")[0].replace("\r", "")


def _repeated(patches: list[Patch]) -> list[Patch]:
    seen: set[str] = set()
    again: list[Patch] = []
    for patch in patches:
        if patch.patch_id in seen:
            again.append(patch)
        seen.add(patch.patch_id)
    return again


def _with_given(patches: list[Patch], cover: Cover | None, letters: list[Letter]) -> list[Patch]:
    """The patches with the trailers that replies gave them; one to the cover letter is for all."""
    at = {patch.message_id: number for number, patch in enumerate(patches) if patch.message_id}
    by_id = {letter.message_id: letter for letter in letters if letter.message_id}
    more: list[list[Trailer]] = [[] for _ in patches]
    for letter in letters:
        if not letter.tag.reply:
            continue
        given = given_trailers(letter)
        if not given:
            continue
        target = _answered(letter, by_id, lambda name: name in at or (cover is not None and name == cover.message_id))
        if target in at:
            more[at[target]].extend(given)
        elif target:
            for trailers in more:
                trailers.extend(given)
    return [
        replace(patch, trailers=_united(patch.trailers, added)) for patch, added in zip(patches, more, strict=True)
    ]


def _united(own: tuple[Trailer, ...], added: list[Trailer]) -> tuple[Trailer, ...]:
    """Each name and value once; the patch's own before what replies brought."""
    kept: dict[tuple[str, str], Trailer] = {}
    for one in added:
        kept.setdefault((one.key.lower(), one.value), one)
    known = {(one.key.lower(), one.value) for one in own}
    return (*own, *[one for key, one in kept.items() if key not in known])


def _answered(letter: Letter, by_id: dict[str, Letter], wanted: Callable[[str], bool]) -> str:
    """The nearest mail above that is wanted; '' when there is none, or another patch stands before it."""
    waiting = deque(letter.parents)
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
