# SPDX-License-Identifier: GPL-2.0-only
"""Mails sorted into postings, and the one posting that is meant. Pure.

A posting is what somebody sent at once: a series, or single patches. A thread may hold several: revisions, the same
once more (RESEND), a newer version of one patch, backports for several trees, somebody else's fix. A file of mails
may hold several that have nothing to do with each other: families.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr

from harness.inputs.series.mail import Message
from harness.inputs.series.messages import has_diff
from harness.inputs.series.subject import Tag
from harness.model.errors import UserError

_DEPTH = 200  # answers above an answer
_AT_ONCE = timedelta(minutes=15)  # within which git send-email gets a series out
_SHOWN = 8
_KERNEL = re.compile(r"v?(\d+\.\d+)(?:\.\d+|\.y|-stable)?", re.IGNORECASE)

PICK = "pick one by a mail of it: mbox:FILE#MESSAGE-ID, or lore:MESSAGE-ID"


@dataclass(frozen=True, slots=True)
class Ident:
    """What the subjects of a posting have in common."""

    revision: int
    point: int = 0
    rfc: bool = False
    resend: bool = False
    trees: tuple[str, ...] = ()  # kernels that it is a backport for

    @property
    def label(self) -> str:
        point = f".{self.point}" if self.point else ""
        words = ["RFC"] * self.rfc + [f"v{self.revision}{point}"] + ["RESEND"] * self.resend
        return " ".join([*words, *[f"for {tree}" for tree in self.trees]])

    @property
    def rank(self) -> tuple[int, bool, int, bool]:
        """The newer, the greater; what is no RFC is newer than its RFC."""
        return (self.revision, not self.rfc, self.point, self.resend)


@dataclass(slots=True)
class Posting:
    """The mails of one; `patches` carry numbers unless `loose`."""

    ident: Ident
    covers: list[Message] = field(default_factory=list)
    patches: list[Message] = field(default_factory=list)
    loose: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.ident.label

    @property
    def total(self) -> int:
        """What the subjects of its patches say, else those of its cover letters; who says 3/2 has added a third."""
        said = (
            max([max(one.tag.total, one.tag.position) for one in mails], default=0)
            for mails in (self.patches, self.covers)
        )
        return next(filter(None, said), len(self.patches))

    @property
    def first(self) -> Message:
        return min((*self.covers, *self.patches), key=lambda one: (one.tag.numbered, one.tag.position))

    @property
    def date(self) -> datetime:
        return max(map(date_of, (*self.patches, *self.covers)))

    def holds(self, name: str) -> bool:
        return bool(name) and any(one.message_id == name for one in (*self.covers, *self.patches))

    def titles(self) -> set[str]:
        return {title_of(one) for one in (*self.covers, *self.patches)}

    def overlaps(self) -> bool:
        """Whether numbers are there twice, or several totals."""
        positions = [one.tag.position for one in self.patches]
        return not self.loose and (
            len(set(positions)) < len(positions) or len({t.tag.total for t in self.patches}) > 1
        )

    def __str__(self) -> str:
        count = f"{len(self.patches)} patch{'es' * (len(self.patches) != 1)}"
        return f"{self.first.tag.title!r} {self.label} by {self.first.author} ({count}, <{self.first.message_id}>)"


@dataclass(frozen=True, slots=True)
class ChosenPosting:
    """The posting that is meant; `older` ones of the same series, newest first; what is to be said of the others."""

    posting: Posting
    older: tuple[Posting, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PostingQuery:
    """What is asked for: a revision, a mail of the posting. `gathered`: who gave the mails put them together."""

    spec: str
    revision: int | None = None
    pick: str = ""
    gathered: bool = False


def author_of(message: Message) -> str:
    return parseaddr(message.author)[1].lower() or message.author.lower()


def date_of(message: Message) -> datetime:
    try:
        found = datetime.fromisoformat(message.date)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def title_of(message: Message) -> str:
    return " ".join(message.tag.title.lower().split())


class Links:
    """Things that belong together, named by anything."""

    def __init__(self) -> None:
        self._above: dict[object, object] = {}

    def find(self, name: object) -> object:
        above = self._above
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    def join(self, one: object, other: object) -> None:
        self._above[self.find(one)] = self.find(other)


def choose(messages: Sequence[Message], asked: PostingQuery) -> ChosenPosting | None:
    """The posting that is meant, None where no mail is a patch or a cover letter."""
    families = _families(messages, asked)
    if not families:
        return None
    if asked.pick:
        picked = [family for family in families if any(one.message_id == asked.pick for one in family)]
        if not picked:
            if "#" in asked.spec:
                raise UserError(f"{asked.spec}: no patch and no cover letter is <{asked.pick}>", hint=PICK)
            asked = replace(asked, pick="")
        families = picked or families
    if len(families) > 1 and asked.revision is not None:
        right = [family for family in families if any(ident_of(x).revision == asked.revision for x in family)]
        families = right or families
    return _several(families) if len(families) > 1 else _of_family(families[0], asked)


def families_of(messages: Sequence[Message]) -> list[list[Message]]:
    """The patches and cover letters of a heap of mails, those together that have to do with each other."""
    return _families(messages, PostingQuery(""))


def postings_of(family: list[Message]) -> list[Posting]:
    """What was posted of a family, the oldest first; a cover letter without patches is none."""
    family, _ = _renumbered(family)
    return sorted((one for one in _postings(family) if one.patches), key=lambda one: (one.date, one.ident.rank))


def _candidates(messages: Iterable[Message]) -> list[Message]:
    found = [one for one in messages if not one.tag.reply and (one.tag.numbered or has_diff(one))]
    if any(one.tag.patch and not one.tag.cover for one in found):
        # a report that quotes a diff, beside patches
        found = [one for one in found if one.tag.patch]
    return found


def _families(messages: Sequence[Message], asked: PostingQuery) -> list[list[Message]]:
    """The patches and cover letters, those together that have to do with each other."""
    links = Links()
    found = [one for one in messages if not one.tag.reply and (one.tag.numbered or has_diff(one))]
    for number, message in enumerate(messages):
        named = message.message_id and not message.message_id.startswith("commit ")
        own = ("id", message.message_id) if named else ("none",)
        links.join(("at", number), own)
        for above in message.parents:
            links.join(own, ("id", above))
    at = {id(message): ("at", number) for number, message in enumerate(messages)}
    for message in found:
        author, tag = author_of(message), message.tag
        if tag.patch:
            links.join(at[id(message)], ("title", author, title_of(message)))
        if tag.numbered and not message.parents:
            links.join(at[id(message)], ("numbered", author, ident_of(message), tag.total))
        if asked.gathered:
            links.join(at[id(message)], ("gathered",))
    families: dict[object, list[Message]] = {}
    for message in found:
        families.setdefault(links.find(at[id(message)]), []).append(message)
    return [found for family in families.values() if (found := _candidates(family))]


def _several(families: list[list[Message]]) -> ChosenPosting:
    """Several series that have nothing to do with each other: that is said, and the first one shown."""
    newest = [max(_postings(family), key=lambda one: (bool(one.patches), one.ident.rank)) for family in families]
    with_patches = [one for one in newest if one.patches] or newest
    if len(with_patches) == 1:
        return ChosenPosting(with_patches[0])
    names = "; ".join(map(str, with_patches[:_SHOWN]))
    more = f"; and {len(with_patches) - _SHOWN} more" if len(with_patches) > _SHOWN else ""
    return ChosenPosting(with_patches[0], problems=(f"it holds {len(with_patches)} series: {names}{more}; {PICK}",))


def _of_family(family: list[Message], asked: PostingQuery) -> ChosenPosting:
    family, between = _renumbered(family)
    postings = _postings(family, gathered=asked.gathered)
    main, asides = _of_main(postings, asked)
    line, problems, notes = _line(main, asked)
    notes += between
    wanted = [one for one in line if asked.revision in (None, one.ident.revision)]
    if not wanted:
        there = ", ".join(dict.fromkeys(one.label for one in sorted(line, key=lambda one: one.ident.rank)))
        raise UserError(f"{asked.spec} holds no revision v{asked.revision}", hint=f"there is {there}")
    best, more = _newest(wanted, asked)
    points = [one for one in (*asides, *wanted) if one.patches and (one.loose or one.total == 1)]
    if any(one is best for one in points):
        known = {id(one) for one in points if one.ident.point}
        whole = [one for one in wanted if id(one) not in known and _is_point(best, one, _places(one))]
        best, more = _newest(whole, asked) if whole else (best, more)
    full, used, said = _with_points(best, points)
    gone = set(map(id, used))
    asides, line = ([one for one in some if id(one) not in gone] for some in (asides, line))
    notes += said
    again = [one for one in wanted if one is not best and one.patches and one.ident.rank == best.ident.rank]
    if not more:
        notes += [f"posted again, and not taken: {one}" for one in again[:_SHOWN]]
    notes += _beside(wanted, best)
    older = [one for one in line if one is not best and one.patches and _is_older(one, best)]
    labels = sorted({one.label for one in line if one is not best and one.patches and one.label != best.label})
    if labels and asked.revision is None:
        notes.append(f"also there: {', '.join(labels)}; ask for one with @vN")
    return ChosenPosting(
        full,
        tuple(sorted(older, key=lambda one: (one.ident.rank, one.date), reverse=True)),
        (*notes, *best.notes, *(note for one in asides[:_SHOWN] for note in _aside(one))),
        (*problems, *more, *(_lone_cover(line, best) if asked.revision is None else [])),
    )


def _renumbered(family: list[Message]) -> tuple[list[Message], list[str]]:
    """With 0.5/5 the series has six patches: it is 1/6, and 1/5 is 2/6. A newer revision that has all five numbers
    has it no more.
    """
    messages = family
    notes: list[str] = []
    between = sorted((x for x in family if x.tag.between), key=lambda x: (x.tag.position, x.tag.between))
    for one in between[:_SHOWN]:
        author, total = author_of(one), one.tag.total
        numbers: dict[int, set[int]] = {}
        for x in family:
            if x.tag.numbered and x.tag.total == total and author_of(x) == author and not x.tag.between:
                numbers.setdefault(x.tag.revision, set()).add(x.tag.position)
        whole = [revision for revision, found in numbers.items() if set(range(1, total + 1)) <= found]
        done = {at for at, x in enumerate(family) if x.tag.revision in whole and x.tag.revision > one.tag.revision}
        place = next(x.tag.position for at, x in enumerate(messages) if family[at] is one) + 1
        messages = [
            x
            if at in done or author_of(family[at]) != author or family[at].tag.total != total
            else replace(x, tag=_moved(x.tag, place, own=family[at] is one))
            for at, x in enumerate(messages)
        ]
        notes.append(f"{one} is put between the others")
    return messages, notes


def _moved(tag: Tag, place: int, *, own: bool) -> Tag:
    """The tag of a mail after a patch was put in at `place`; that patch's own with `own`."""
    if own:
        return replace(tag, position=place, total=tag.total + 1, between=0)
    later = tag.position >= place or (tag.between > 0 and tag.position + 1 >= place)
    return replace(tag, position=tag.position + later, total=tag.total + 1)


_Titles = dict[tuple[str, str], list[int]]


def _places(whole: Posting) -> _Titles:
    """Where in a posting the patches with an author and a title are."""
    found: _Titles = {}
    for at, one in enumerate(whole.patches):
        found.setdefault((author_of(one), title_of(one)), []).append(at)
    return found


def _is_point(one: Posting, whole: Posting, places: _Titles) -> bool:
    """Whether single patches are newer ones of patches of a series: their titles tell of which.

    They were sent as v2.1 or so of the v2, or without a number in answer to the patch itself.
    """
    return one is not whole and all(_replaces(newer, one, whole, places) for newer in one.patches)


def _replaces(newer: Message, one: Posting, whole: Posting, places: _Titles) -> bool:
    same = places.get((author_of(newer), title_of(newer)), [])
    if len(same) != 1:
        return False
    older, mine, theirs = whole.patches[same[0]], one.ident, whole.ident
    point = mine.revision == theirs.revision and mine.point > theirs.point and one.total == 1
    answer = mine.revision in (1, theirs.revision) and older.message_id in newer.parents
    return point or (one.loose and not whole.loose and answer and date_of(newer) > date_of(older))


def _with_points(whole: Posting, points: list[Posting]) -> tuple[Posting, list[Posting], list[str]]:
    """The posting with the newer patches that replace some of it; which they are, and what is to be said."""
    used: list[Posting] = []
    notes: list[str] = []
    patches = list(whole.patches)
    places = _places(whole)
    for one in sorted(points, key=lambda one: (one.ident.point, one.date)):
        if not _is_point(one, whole, places):
            continue
        for newer in one.patches:
            at = places[author_of(newer), title_of(newer)][0]
            why = f"{one.label} of it" if one.ident.point else "which answers it"
            notes.append(f"{patches[at]} is replaced by {newer}, {why}")
            tag = replace(newer.tag, position=patches[at].tag.position, total=patches[at].tag.total)
            patches[at] = replace(newer, tag=tag)
        used.append(one)
    return Posting(whole.ident, whole.covers, patches, whole.loose), used, notes


def _beside(postings: list[Posting], best: Posting) -> list[str]:
    """Single patches of something else under the same number of revision, of which a label would say nothing."""
    titles = best.titles()
    found = [
        f"also there, and not taken: {one}"
        for one in postings
        if one.loose and best.loose and one.ident.revision == best.ident.revision
        if one.ident.rank != best.ident.rank and titles.isdisjoint(one.titles())
    ]
    return found[:_SHOWN]


def _is_older(one: Posting, best: Posting) -> bool:
    return one.ident.rank < best.ident.rank or (one.ident.rank == best.ident.rank and one.date < best.date)


def _aside(one: Posting) -> list[str]:
    if one.loose:
        return [f"not taken, as it has no number: {message}" for message in one.patches]
    return [f"also there, and not taken: {one}"]


def _lone_cover(line: list[Posting], best: Posting) -> list[str]:
    """A cover letter of a newer revision, whose patches are elsewhere."""
    lone = [one for one in line if not one.patches and one.ident.rank[:3] > best.ident.rank[:3]]
    if not lone or not best.patches:
        return []
    newest = max(lone, key=lambda one: one.ident.rank)
    hint = f"get them, or ask for {best.label} with @v{best.ident.revision}"
    return [f"the cover letter of a newer one is there, {newest.label}, without its patches: {hint}"]


def _of_main(postings: list[Posting], asked: PostingQuery) -> tuple[list[Posting], list[Posting]]:
    """The postings of the series; and single patches that came as answers to it, and what others posted beside it."""
    with_patches = [one for one in postings if one.patches] or postings
    mine = min(with_patches, key=lambda one: min(map(date_of, (*one.covers, *one.patches))))
    if asked.pick:
        mine = next((one for one in postings if one.holds(asked.pick)), mine)
    own = [one for one in with_patches if author_of(one.first) == author_of(mine.first)]
    newest = max(one.ident.revision for one in own)
    numbered = max([one.ident.revision for one in own if not one.loose], default=0)
    main: list[Posting] = []
    asides: list[Posting] = []
    for one in postings:
        foreign = one.patches and one not in own and (one.loose or one.ident.revision <= newest)
        beside = one.loose and one in own and one.ident.revision <= numbered
        aside = one is not mine and (foreign or beside) and not asked.gathered
        (asides if aside else main).append(one)
    return main, asides


def _line(postings: list[Posting], asked: PostingQuery) -> tuple[list[Posting], list[str], list[str]]:
    """The postings for one tree: backports for several are several series."""
    lines: dict[tuple[str, ...], list[Posting]] = {}
    for one in postings:
        lines.setdefault(one.ident.trees, []).append(one)
    full = {trees: line for trees, line in lines.items() if any(one.patches for one in line)}
    if len(full) < 2:
        return postings, [], []
    picked = [trees for trees, line in full.items() if any(one.holds(asked.pick) for one in line)]
    names = ", ".join(" ".join(trees) or "no tree named" for trees in full)
    if asked.pick and picked:
        return full[picked[0]], [], []
    first = next(iter(full))
    if not first:
        return full[first], [], [f"also there are series for other trees: {names}; {PICK}"]
    return full[first], [f"it holds series for several trees: {names}; {PICK}"], []


def _newest(postings: list[Posting], asked: PostingQuery) -> tuple[Posting, list[str]]:
    """The posting with the highest revision; a word where two could be meant."""
    full = [one for one in postings if one.patches] or postings
    plain = [one for one in full if not one.ident.rfc]
    rfcs = [one for one in full if one.ident.rfc]
    if plain and rfcs and max(one.date for one in plain) > max(one.date for one in rfcs):
        full = plain  # numbers begin anew when a series is no RFC any more
    top = max(one.ident.rank for one in full)
    same = [one for one in full if one.ident.rank == top]
    best = max(same, key=lambda one: one.date)
    others = [one for one in same if one is not best]
    if not others:
        return best, []
    if all(_repeats(best, one) for one in others):
        return best, []
    if picked := [one for one in same if one.holds(asked.pick)]:
        return picked[0], []
    best = same[0]
    sizes = ", ".join(str(total) for total in sorted({one.total for one in same}))
    return best, [f"several series of {best.label} in one place, with {sizes} patches; {PICK}"]


def _repeats(newer: Posting, older: Posting) -> bool:
    """It was posted again, without a new number: half of its patches have the same titles."""
    titles = newer.titles() & older.titles()
    alike = 2 * len(titles) >= min(len(newer.titles()), len(older.titles()))
    loose = newer.loose and older.loose and author_of(newer.first) == author_of(older.first)
    return (alike or loose) and newer.date > older.date


def ident_of(message: Message) -> Ident:
    tag = message.tag
    trees = tuple(match[1] for word in tag.others if (match := _KERNEL.fullmatch(word)))
    return Ident(tag.revision, tag.point, tag.rfc, tag.resend, trees)


def _idents(family: list[Message]) -> dict[int, Ident]:
    """Each mail's, by its place; a patch takes from its cover letter, or from patch 1, what it leaves out itself."""
    by_id = {one.message_id: (at, one) for at, one in enumerate(family) if one.message_id}
    idents = {at: ident_of(one) for at, one in enumerate(family)}
    for at, one in sorted(enumerate(family), key=lambda pair: pair[1].tag.position):
        above = by_id.get(one.parents[0]) if one.parents and one.tag.numbered else None
        if above is None or above[0] == at:
            continue
        parent, mine, tag = idents[above[0]], idents[at], above[1].tag
        fits = tag.total == one.tag.total and tag.position < min(2, one.tag.position)
        silent = (mine.revision, mine.point) in ((1, 0), (parent.revision, parent.point))
        silent = silent and not (mine.resend and not parent.resend) and mine.trees in ((), parent.trees)
        if fits and silent and author_of(above[1]) == author_of(one):
            idents[at] = parent
    return idents


def _postings(family: list[Message], *, gathered: bool = False) -> list[Posting]:
    groups: dict[Ident, list[Message]] = {}
    for at, ident in _idents(family).items():
        groups.setdefault(ident, []).append(family[at])
    found: list[Posting] = []
    for ident, messages in groups.items():
        covers = [one for one in messages if one.tag.cover]
        numbered = [one for one in messages if one.tag.numbered and not one.tag.cover]
        loose = [one for one in messages if not one.tag.numbered]
        if numbered or not loose:
            found += _numbered(ident, covers, numbered)
            covers = []
        if loose:
            batches = [loose] if gathered else _completing(found, _batches(loose))
            found += [Posting(ident, covers if at == 0 else [], one, True) for at, one in enumerate(batches)]
    return found


def _completing(found: list[Posting], batches: list[list[Message]]) -> list[list[Message]]:
    """The batches of patches without numbers that do not complete a series which was sent at the same time.

    Those that do are given the numbers that it lacks, if its own numbers fit the order in which all were sent.
    """
    lacking = [(one.total - len(one.patches), one) for one in found if one.patches and one.total > len(one.patches)]
    rest: list[list[Message]] = []
    for batch in batches:
        fits = [(at, one) for at, (count, one) in enumerate(lacking) if count == len(batch)]
        for at, one in fits:
            mails = sorted((*one.patches, *batch), key=date_of)
            if _are_in_order(mails):
                tags = [replace(x.tag, position=number, total=len(mails)) for number, x in enumerate(mails, 1)]
                one.notes += [f"taken by its place, as it has no number: {x}" for x in batch]
                one.patches = [replace(x, tag=tag) for x, tag in zip(mails, tags, strict=True)]
                del lacking[at]
                break
        else:
            rest.append(batch)
    return rest


def _are_in_order(mails: list[Message]) -> bool:
    """Mails of one author, sent at once, those with a number in their places."""
    fits = all(one.tag.position == at for at, one in enumerate(mails, 1) if one.tag.numbered)
    once = date_of(mails[-1]) - date_of(mails[0]) <= _AT_ONCE
    return fits and once and len(set(map(author_of, mails))) == 1


def _numbered(ident: Ident, covers: list[Message], patches: list[Message]) -> list[Posting]:
    """One posting if the numbers fit; else by what answers what."""
    whole = Posting(ident, covers, patches)
    if not whole.overlaps() and len({one.message_id for one in covers}) < 2:
        return [whole]
    links = Links()
    own = {one.message_id for one in (*covers, *patches)}
    for one in (*covers, *patches):
        for above in one.parents[:1]:
            if above in own or not one.tag.cover:
                links.join(one.message_id, above)
    groups: dict[object, list[Message]] = {}
    for one in patches:
        groups.setdefault((links.find(one.message_id), one.tag.total), []).append(one)
    parts = [Posting(ident, [], batch) for group in groups.values() for batch in _again(group)]
    for cover in covers:
        under = [one for one in parts if _is_under(one, cover, links)]
        free = [one for one in under if not one.covers]
        if under and not free:
            under[0].covers.append(cover)
        elif free:
            free[0].covers.append(cover)
        else:
            parts.append(Posting(ident, [cover]))
    return _joined(parts)


def _is_under(posting: Posting, cover: Message, links: Links) -> bool:
    first = posting.patches[0] if posting.patches else None
    if first is None or first.tag.total != cover.tag.total:
        return False
    return links.find(first.message_id) == links.find(cover.message_id)


def _again(messages: list[Message]) -> list[list[Message]]:
    """Numbers that come a second time, and later, are another posting; so are those of another author."""
    if len({one.tag.position for one in messages}) == len(messages):
        return [messages]
    batches: list[list[Message]] = []
    for one in sorted(messages, key=date_of):
        mine = [batch for batch in batches if author_of(batch[0]) == author_of(one)]
        last = mine[-1] if mine else None
        again = last is not None and any(x.tag.position == one.tag.position for x in last)
        if last is None or (again and date_of(one) - date_of(last[0]) > _AT_ONCE):
            batches.append([one])
        else:
            last.append(one)
    return batches


def _joined(parts: list[Posting]) -> list[Posting]:
    """Parts whose numbers complete each other are one."""
    found: list[Posting] = []
    for part in parts:
        for one in found:
            both = Posting(one.ident, [*one.covers, *part.covers], [*one.patches, *part.patches])
            totals = {x.tag.total for x in (*both.covers, *both.patches)}
            same = author_of(one.first) == author_of(part.first) and len(totals) == 1 and len(both.covers) < 2
            if same and not both.overlaps():
                one.covers, one.patches = both.covers, both.patches
                break
        else:
            found.append(part)
    return found


def _batches(messages: list[Message]) -> list[list[Message]]:
    """Patches without numbers that were sent at once by one person are one series, in the order of the mails."""
    found: list[list[Message]] = []
    said: list[tuple[str, datetime, set[str]]] = []  # of each: its author, the last date, its titles
    for one in messages:
        local = one.message_id.startswith("commit ") or not one.message_id
        author, date, title = author_of(one), date_of(one), title_of(one)
        for at, (by, last, titles) in enumerate(said):
            fits = author == by and title not in titles and abs(date - last) <= _AT_ONCE
            if local or fits or one.message_id == found[at][-1].message_id:
                found[at].append(one)
                titles.add(title)
                said[at] = (author, date, titles)
                break
        else:
            found.append([one])
            said.append((author, date, {title}))
    return found


def above(message: Message, by_id: dict[str, Message]) -> list[Message]:
    """The mails above it, nearest first, up to one that is not there: beyond that, nothing is known."""
    found: list[Message] = []
    seen = {message.message_id}
    at = message
    for _ in range(_DEPTH):
        if not at.parents or at.parents[0] not in by_id or at.parents[0] in seen:
            break
        at = by_id[at.parents[0]]
        seen.add(at.message_id)
        found.append(at)
    return found
