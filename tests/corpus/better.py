# SPDX-License-Identifier: GPL-2.0-only
"""When is a difference from b4 or git better? Each rule proves what it says from the mails themselves. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tests.corpus.facts import Fact, Facts, Version, at_once, given, named_in

_FROM_LINE = re.compile(r">?From [0-9a-f]{40} .*")
_PASTED = re.compile(r"(?:From|Date|Subject|MIME-Version|Content-[\w-]+): .*|\s.*")


def is_posting(mine: Sequence[str], facts: Facts) -> bool:
    """Whether these mails are the newest posting of the thread's first author, whole as far as it is there, in order.

    Of one author, one version and one total; each is taken by git; no number comes twice. And no patch of his is left
    out: none of a newer version, none of a number that is lacking, none that came later for the same number.
    """
    ours = [facts.mails[name] for name in mine if name in facts.mails]
    patches = facts.patches()
    if not ours or len(ours) < len(mine) or any(one not in patches for one in ours):
        return False
    first = min(patches, key=lambda one: one.date)
    versions = {facts.version(one) for one in ours if one.total} or {max(map(facts.version, ours))}
    places = [facts.place(one) for one in ours]
    if any(one.author != first.author for one in ours) or len(versions) != 1 or len({n for _, n in places}) != 1:
        return False
    rivals = [one for one in patches if one not in ours and one.author == first.author]
    if not places[0][1]:
        return _in_order(ours) and not any(_left_out(one, ours, facts) for one in rivals)
    numbers = [number for number, _ in places]
    by_number = dict(zip(numbers, ours, strict=True))
    rising = numbers == sorted(by_number)
    return rising and not any(_supersedes(one, by_number, places[0][1], max(versions), facts) for one in rivals)


def _in_order(ours: Sequence[Fact]) -> bool:
    dates = [one.date for one in ours]
    return dates == sorted(dates) and at_once(ours[0], ours[-1])


def _left_out(rival: Fact, ours: Sequence[Fact], facts: Facts) -> bool:
    """A patch of the same author that belongs to patches without numbers, or is newer than they are."""
    if facts.place(rival)[1]:
        return True
    mine, other = max(map(facts.version, ours)), facts.version(rival)
    same = rival.title in [one.title for one in ours]
    return other > mine or (other == mine and (at_once(rival, ours[0]) or (same and rival.date > ours[-1].date)))


def _supersedes(rival: Fact, ours: dict[float, Fact], total: int, version: Version, facts: Facts) -> bool:
    """A patch of the same author that should have been taken instead of one of these, or with them."""
    number, of = facts.place(rival)
    other = facts.version(rival)
    if not of:
        return other > version
    if other != version:
        return other > version and (rival.total > 0 or number not in ours or rival.date > ours[number].date)
    return of == total and number > 0 and (number not in ours or rival.date > ours[number].date)


def takes_replies(mine: Sequence[str], theirs: Sequence[str], facts: Facts) -> bool:
    """b4 has answers among its patches. What else it has is ours, too, and ours is the posting."""
    replies = [name for name in theirs if name in facts.mails and facts.mails[name].reply]
    return bool(replies) and set(theirs) - set(replies) <= set(mine) and is_posting(mine, facts)


def mixes(mine: Sequence[str], theirs: Sequence[str], said: Sequence[str], facts: Facts) -> bool:
    """b4 has what is no part of the posting: answers; mails of another posting, or mails that git refuses, too, both
    named in what is said. Ours is the posting.
    """
    lacking = [name for name in theirs if name not in mine]
    return bool(lacking) and is_posting(mine, facts) and all(_is_foreign(name, mine, said, facts) for name in lacking)


def _is_foreign(name: str, mine: Sequence[str], said: Sequence[str], facts: Facts) -> bool:
    fact = facts.mails.get(name)
    if fact is None:
        return False
    version, best = facts.version(fact), facts.version(facts.mails[mine[-1]])
    # is_posting has shown that ours are newer; then the words for all of an older revision are enough.
    older = version < best and any(re.search(rf"\bv{version[0]}\b", one) for one in said)
    return fact.reply or older or named_in(name, said)


def leaves_out(mine: Sequence[str], theirs: Sequence[str], facts: Facts) -> bool:
    """b4 has a part of the posting only. Ours is the posting."""
    return set(theirs) < set(mine) and is_posting(mine, facts)


def completes(mine: Sequence[str], theirs: Sequence[str], notes: Sequence[str], facts: Facts) -> bool:
    """Some patches of a series lost their numbers: all that the author has in the thread was sent at once, as many
    patches as the numbers say, each number in its place by date. Those without one are named.
    """
    ours = [facts.mails[name] for name in mine if name in facts.mails]
    everything = [one for one in facts.patches() if ours and one.author == ours[0].author]
    totals = {one.total for one in ours if one.total}
    if not set(theirs) < set(mine) or ours != everything or totals != {len(mine)} or not at_once(ours[0], ours[-1]):
        return False
    right = all(one.position == at for at, one in enumerate(ours, 1) if one.total)
    versions = {facts.version(one) for one in ours}
    return right and len(versions) == 1 and all(one.total or named_in(one.name, notes) for one in ours)


def refuses(mine: Sequence[str], theirs: Sequence[str], problems: Sequence[str], facts: Facts) -> bool:
    """b4 has mails that git refuses. Each is named as refused; the others are ours, in the same order."""
    lacking = [name for name in theirs if name not in mine]
    if not lacking or any(name not in facts.mails or facts.takes(name) for name in lacking):
        return False
    if not mine and not facts.patches():
        return True  # nothing in the thread is a patch
    rest = [name for name in theirs if name in mine]
    return bool(mine) and rest == list(mine) and all(named_in(name, problems) for name in lacking)


def names_twins(mine: Sequence[str], theirs: Sequence[str], problems: Sequence[str], facts: Facts) -> bool:
    """A number was sent twice at once by one author: which is meant cannot be known. b4 takes one or both; ours names
    both as a problem, and takes all else as b4 does.
    """
    if not all(name in facts.mails for name in (*mine, *theirs)):
        return False
    twins = {
        name: next((one for one in mine if _are_twins(facts.mails[one], facts.mails[name], problems, facts)), "")
        for name in theirs
        if name not in mine
    }
    places = [facts.place(facts.mails[name]) for name in mine]
    rising = places == sorted(set(places))
    return bool(twins) and all(twins.values()) and rising and set(mine) - set(theirs) <= set(twins.values())


def _are_twins(one: Fact, other: Fact, problems: Sequence[str], facts: Facts) -> bool:
    same = (one.position, one.total, one.author) == (other.position, other.total, other.author) and one.total > 0
    once = at_once(one, other) and facts.version(one) == facts.version(other)
    return same and once and any(f"<{one.name}>" in said and f"<{other.name}>" in said for said in problems)


def makes_whole(mine: Sequence[str], notes: Sequence[str], facts: Facts) -> bool:
    """A partial reroll: each number is there once, in order, from the newest version that has it. What is from an
    older one is said; what is newer answers the older posting, and has no cover letter of its own.
    """
    ours = [facts.mails[name] for name in mine if name in facts.mails]
    patches = facts.patches()
    if not ours or len(ours) < len(mine) or any(one not in patches for one in ours):
        return False
    totals, authors = {facts.place(one)[1] for one in ours}, {one.author for one in ours}
    if len(totals) != 1 or len(authors) != 1 or 0 in totals:
        return False
    (total,) = totals
    newest: dict[float, Fact] = {}
    for one in sorted(patches, key=lambda one: (facts.version(one), one.date)):
        number, of = facts.place(one)
        if of == total and one.author in authors:
            newest[number] = one
    if not set(range(1, total + 1)) <= set(newest) or ours != [newest[number] for number in sorted(newest)]:
        return False
    top = max(map(facts.version, ours))
    older = [one for one in ours if facts.version(one) < top]
    said = sum(" is taken from " in note for note in notes) == len(older)
    return bool(older) and said and all(_continues(one, facts) for one in ours if facts.version(one) == top)


def _continues(patch: Fact, facts: Facts) -> bool:
    """It answers mails of an older version, by way of no cover letter of its own."""
    above = [one for one in facts.above(patch) if not one.reply]
    same = [one for one in above if one.total == patch.total and one.position == 0 and not facts.takes(one.name)]
    version = facts.version(patch)
    return bool(above) and all(max(one.stated, default=(1, 0)) < version for one in (above[-1], *same))


def names_revision(revision: int, other: int, mine: Sequence[str], cover: str, facts: Facts) -> bool:
    """Whether the revision is all that the subjects of these mails and of their cover letter state."""
    asked = [facts.mails[name] for name in (cover, *mine) if name in facts.mails]
    stated = {major for one in asked for major, _ in one.stated}
    head = facts.mails.get(cover)
    by_all = all(one.stated for one in asked if one.name != cover)
    return stated == {revision} and other != revision and (by_all or (head is not None and bool(head.stated)))


def counts_right(mine: Sequence[str], cover: str, notes: Sequence[str], facts: Facts) -> bool:
    """The cover letter counts other than all of the patches, which are 1 to n of n; that is said."""
    head = facts.mails.get(cover)
    ours = [facts.mails[name] for name in mine if name in facts.mails]
    if head is None or len(ours) < len(mine) or not ours:
        return False
    numbers = [(one.position, one.total) for one in ours]
    whole = numbers == [(at, len(ours)) for at in range(1, len(ours) + 1)]
    said = any("cover letter" in note and str(head.total) in note for note in notes)
    return whole and head.total != len(ours) and head.position == 0 and said and is_posting(mine, facts)


def pastes_from_line(ours: str, theirs: str) -> bool:
    """git has the From line of git format-patch in the message, maybe with headers; the rest is the same."""
    lines = theirs.split("\n")
    if not _FROM_LINE.fullmatch(lines[0]):
        return False
    del lines[0]
    while lines and _PASTED.fullmatch(lines[0]):
        del lines[0]
    return " ".join(lines).split() == ours.split()


def is_diff_twice(mine: Sequence[str], theirs: Sequence[str], ours: Sequence[str], others: Sequence[str]) -> bool:
    """git reads the same diff twice, as text and as an attachment: counts of files and changed lines are doubled."""
    return bool(mine) and sorted(theirs) == sorted([*mine, *mine]) and list(others) == [*ours, *ours]


def belong_to_reply(lost: Collection[str], own: Collection[str], patch: str, cover: str, facts: Facts) -> bool:
    """Trailers that b4 gives and we do not stand in the patch of somebody who answers, and nowhere else below it."""
    if not lost or set(lost) & set(own):
        return False
    gives, signs = _below(patch, cover, facts)
    return set(lost) <= signs and not set(lost) & gives


def stand_elsewhere(lost: Collection[str], own: Collection[str], patch: str, cover: str, facts: Facts) -> bool:
    """Trailers that b4 gives and we do not are neither in the patch nor in an answer to it or to its cover letter."""
    gives, signs = _below(patch, cover, facts)
    return bool(lost) and not set(lost) & (gives | signs | set(own))


def are_given(more: Collection[str], patch: str, cover: str, older: Collection[str], facts: Facts) -> bool:
    """Trailers that we give and b4 does not stand in answers to the patch, its cover letter or an older posting of
    it; and not as a part of a patch that the answer holds.
    """
    gives: set[str] = set()
    for name in (patch, *older):
        gives |= _below(name, cover, facts)[0]
    return set(more) <= gives


def _below(patch: str, cover: str, facts: Facts) -> tuple[set[str], set[str]]:
    """What answers to a patch or its cover letter give, and what they have as parts of patches of their own."""
    gives: set[str] = set()
    signs: set[str] = set()
    for fact in facts.mails.values():
        target = facts.answered(fact) if fact.reply or not fact.has_diff else None
        if target is not None and target.name in (patch, cover):
            words, own = given(fact)
            gives |= words
            signs |= own
    return gives, signs
