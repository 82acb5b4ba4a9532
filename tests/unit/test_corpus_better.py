# SPDX-License-Identifier: GPL-2.0-only
"""The comparison with b4 and git calls nothing better that is a fault of the harness: each rule says no, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.corpus import better
from tests.corpus.facts import Facts, read_fact, read_facts
from tests.corpus.peers import read_with_git
from tests.unit.series_support import mail, plain_diff

ADA, BOB = "Ada <ada@x.org>", "Bob <bob@x.org>"
Reader = Callable[..., Facts]


def post(prefix: str, name: str, parent: str = "", day: int = 2, *, who: str = ADA, title: str = "") -> bytes:
    """A mail with a patch; `name` is its Message-ID."""
    diff = plain_diff(f"drivers/{name}.c", name[0])
    raw = mail(f"{prefix} gpu: {title or name[0]}", f"Because.\n---\n\n{diff}-- \n2.39.5\n", name, parent, who)
    return raw.replace(b"02 Jan", b"%02d Jan" % day)


def say(name: str, parent: str, text: str, who: str = BOB, *, subject: str = "Re: [PATCH] gpu: x") -> bytes:
    return mail(subject, text, name, parent, who).replace(b"02 Jan", b"05 Jan")


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """The facts of mails, with the real git to say which are patches."""

    def reader(*mails: bytes) -> Facts:
        raw = {read_fact(one).name: one for one in mails}
        return read_facts(mails, lambda name: read_with_git(raw[name], tmp_path).applies)

    return reader


TWO = (post("[PATCH 1/2]", "a"), post("[PATCH 2/2]", "b", "a"))
CUT = post("[PATCH 2/2]", "b", "a").replace(b" int line_b12;\n", b" int line_b12;\n+int lost;\n")
BROKEN = post("[PATCH 2/2]", "b", "a").replace(b" int line_b11;\n", b"int line_b11;\n")


def test_what_mails_say() -> None:
    fact = read_fact(post("[List] [PATCH v2.1 0.5/5]", "a"))
    assert (fact.position, fact.total, fact.stated, fact.title, fact.author) == (
        0.5,
        5,
        ((2, 1),),
        "gpu: a",
        "ada@x.org",
    )
    assert read_fact(post("[PATCHv3 01/12]", "a")).stated == ((3, 0),)
    assert read_fact(post("[PATCH v6.12 1/2]", "a")).stated == ()
    assert [read_fact(post(one, "a", "p")).reply for one in ("Re: [PATCH]", "[List] Re: [PATCH]", "[PATCH]")] == [
        1,
        1,
        0,
    ]
    assert not read_fact(post("Re: [PATCH]", "a")).reply  # it answers nothing, and quotes nothing


def test_git_drops_what_is_behind_a_full_hunk(read: Reader) -> None:
    facts = read(TWO[0], CUT)
    assert facts.applies("b")
    assert not facts.takes("b")
    assert facts.takes("a")


def test_a_whole_posting(read: Reader) -> None:
    assert better.is_posting(["a", "b"], read(*TWO))
    assert better.is_posting(["b"], read(TWO[1]))  # the archive has no more of it
    assert better.is_posting(["a"], read(TWO[0], BROKEN))
    assert better.is_posting(
        ["c", "d"], read(*TWO, post("[PATCH v2 1/2]", "c", day=3), post("[PATCH v2 2/2]", "d", day=3))
    )


@pytest.mark.parametrize(
    ("mine", "mails"),
    [
        ([], TWO),
        (["a", "x"], TWO),  # no mail of the thread
        (["b", "a"], TWO),  # the wrong order
        (["a"], TWO),  # one left out
        (["a", "b"], (*TWO, post("[PATCH v2 1/2]", "c", day=3), post("[PATCH v2 2/2]", "d", day=3))),  # an older one
        (["a", "b"], (*TWO, post("[PATCH 2/2]", "c", day=3))),  # sent again
        (["a", "b"], (*TWO, post("[PATCH]", "c", "b", day=3, title="b"))),  # replaced
        (["c"], (*TWO, post("[PATCH]", "c", "b", day=3, who=BOB))),  # somebody else's
        (["a", "c"], (TWO[0], post("[PATCH 2/2]", "c", "a", who=BOB))),  # two authors
        (["a", "r"], (TWO[0], post("Re: [PATCH 2/2]", "r", "a"))),  # an answer
        (["a", "b"], (TWO[0], CUT)),  # a damaged one
        (["a", "c"], (*TWO, post("[PATCH v2 2/2]", "c", "b", day=3))),  # two revisions
        (["a"], (post("[PATCH]", "a"), post("[PATCH]", "b"))),  # one of two
        (["a"], (post("[PATCH]", "a"), post("[PATCH v2]", "b", "a", day=3))),  # an older one
    ],
)
def test_no_whole_posting(read: Reader, mine: list[str], mails: tuple[bytes, ...]) -> None:
    facts = read(*mails)
    assert not better.is_posting(mine, facts)
    said = [f"not taken: <{name}>" for name in facts.mails]
    assert not better.mixes(mine, [*facts.mails, "r"], said, facts)
    assert not better.takes_replies(mine, [*mine, "r"], facts)


def test_b4_takes_a_reply(read: Reader) -> None:
    facts = read(*TWO, post("Re: [PATCH 2/2]", "r", "b", day=3, who=BOB))
    assert better.takes_replies(["a", "b"], ["a", "r"], facts)
    assert not better.takes_replies(["a"], ["a", "r"], facts)
    assert not better.takes_replies(["a", "b"], ["a", "b"], facts)
    # A second patch of the thread beside the answer, which is not ours.
    more = read(*TWO, post("Re: [PATCH 2/2]", "r", "b", day=3, who=BOB), post("[PATCH]", "o", "b", day=3, who=BOB))
    assert not better.takes_replies(["a", "b"], ["o", "r"], more)
    # A subject with Re in it that answers nothing is a patch like others.
    assert not better.takes_replies(["a", "b"], ["a", "r"], read(*TWO, post("Re: [PATCH 2/2]", "r", who=BOB, day=3)))


def test_b4_mixes_postings(read: Reader) -> None:
    facts = read(*TWO, post("[PATCH]", "o", "b", day=3, who=BOB))
    assert better.mixes(["a", "b"], ["a", "b", "o"], ["not taken: <o>"], facts)
    assert not better.mixes(["a", "b"], ["a", "b", "o"], ["also there: v1"], facts)  # nothing is said of it
    assert not better.mixes(["a", "b"], ["a", "b", "x"], ["not taken: <x>"], facts)  # no mail of the thread
    assert not better.mixes(["a", "b"], ["a", "b"], [], facts)
    newer = read(*TWO, post("[PATCH v2 1/2]", "c", day=3), post("[PATCH v2 2/2]", "d", day=3))
    assert better.mixes(["c", "d"], ["a", "d"], ["also there: v1; ask"], newer)
    assert not better.mixes(["c", "d"], ["a", "d"], ["also there: v3; ask"], newer)


def test_b4_leaves_out_patches(read: Reader) -> None:
    facts = read(*TWO, post("[PATCH]", "c", "b", day=3, title="b"))
    assert better.leaves_out(["a", "c"], ["c"], facts)
    assert not better.leaves_out(["a", "b"], ["a"], facts)
    assert not better.leaves_out(["a", "c"], ["c", "b"], facts)
    assert not better.leaves_out(["a", "c"], ["a", "c"], facts)


def test_numbers_that_were_lost(read: Reader) -> None:
    mails = (post("[PATCH]", "a"), post("[PATCH]", "b"), post("[PATCH 3/3]", "c"))
    said = ["by its place: <a>", "by its place: <b>"]
    assert better.completes(["a", "b", "c"], ["b"], said, read(*mails))
    assert not better.completes(["a", "b", "c"], ["b"], said[:1], read(*mails))
    assert not better.completes(["b", "a", "c"], ["b"], said, read(*mails))
    assert not better.completes(["a", "b", "c"], ["a", "b", "c"], said, read(*mails))
    assert not better.completes(["a", "b", "c"], ["b"], said, read(*mails, post("[PATCH]", "d")))
    for other in (post("[PATCH 2/3]", "c"), post("[PATCH 3/4]", "c"), post("[PATCH v2 3/3]", "c"), mails[0]):
        assert not better.completes(["a", "b", "c"], ["b"], said, read(*mails[:2], other))
    assert not better.completes(["a", "b", "c"], ["b"], said, read(*mails[:2], post("[PATCH 3/3]", "c", day=3)))


def test_refused_as_git_refuses_it(read: Reader) -> None:
    facts = read(TWO[0], BROKEN)
    assert better.refuses(["a"], ["a", "b"], ["<b> is damaged"], facts)
    assert not better.refuses(["a"], ["a", "b"], [], facts)  # it is left out without a word
    assert not better.refuses([], ["a", "b"], ["<a> <b>"], facts)  # git takes one of them
    assert not better.refuses(["a"], ["a", "b"], ["<b> is damaged"], read(*TWO))
    assert not better.refuses(["a"], ["a", "x"], ["<x> is damaged"], read(*TWO))
    assert not better.refuses([], ["b"], ["<b> is damaged"], facts)  # there is a patch, which is not ours
    assert better.refuses([], ["b"], [], read(BROKEN))
    assert better.refuses(["a"], ["a", "b"], ["<b> is damaged"], read(TWO[0], CUT))


def test_a_number_that_was_sent_twice(read: Reader) -> None:
    twins = ["2/2 is there 2 times: <b>, <c>"]
    facts = read(*TWO, post("[PATCH 2/2]", "c", "a"))
    assert better.names_twins(["a", "b"], ["a", "c"], twins, facts)
    assert not better.names_twins(["a", "b"], ["a", "c"], [], facts)
    assert better.names_twins(["a", "b"], ["a", "c", "b"], twins, facts)
    assert not better.names_twins(["a", "b"], ["c"], twins, facts)
    assert not better.names_twins(["b", "a"], ["a", "c"], twins, facts)
    assert not better.names_twins(["a", "b"], ["a", "b"], twins, facts)
    assert not better.names_twins(["b", "a"], ["c", "a"], twins, read(*TWO, post("[PATCH 2/2]", "c", "a", day=3)))
    assert not better.names_twins(["a", "b"], ["a", "c"], twins, read(*TWO, post("[PATCH v2 2/2]", "c", "a")))
    assert not better.names_twins(["a", "b"], ["a", "c"], twins, read(*TWO, post("[PATCH 2/2]", "c", "a", who=BOB)))


NOTE = ["1/2 is taken from v1: v2 has only what changed"]


def test_a_partial_reroll(read: Reader) -> None:
    facts = read(*TWO, post("[PATCH v2 2/2]", "c", "b", day=3))
    assert better.makes_whole(["a", "c"], NOTE, facts)
    assert not better.makes_whole(["a", "c"], [], facts)  # not said
    assert not better.makes_whole(["a", "b"], NOTE, facts)  # the older one of a number
    assert not better.makes_whole(["c"], NOTE, facts)
    assert not better.makes_whole(["c", "a"], NOTE, facts)
    assert not better.makes_whole(["a", "b"], [], read(*TWO))  # there is no newer one


@pytest.mark.parametrize(
    "newer",
    [
        (post("[PATCH v2 2/2]", "c", day=3),),  # a v2 of which the archive has lost a mail
        (mail("[PATCH v2 0/2] gpu: all", "Hello.\n", "k", "a", ADA), post("[PATCH v2 2/2]", "c", "k", day=3)),
        (post("[PATCH v2 2/3]", "c", "b", day=3),),
        (post("[PATCH v2 2/2]", "c", "b", day=3, who=BOB),),
        (post("[PATCH v2 2/2]", "c", "b", day=3), post("[PATCH v3 1/2]", "d", "a", day=4)),
    ],
)
def test_no_partial_reroll(read: Reader, newer: tuple[bytes, ...]) -> None:
    assert not better.makes_whole(["a", "c"], NOTE, read(*TWO, *newer))


def test_one_put_in_between(read: Reader) -> None:
    facts = read(*TWO, post("[PATCH 0.5/2]", "h", "a", day=3), post("[PATCH v2 1/2]", "c", "a", day=3))
    notes = ["1/3 is taken from v1", "3/3 is taken from v1"]
    assert better.makes_whole(["h", "c", "b"], notes, facts)
    assert not better.makes_whole(["c", "b"], notes[:1], facts)
    assert not better.makes_whole(["c", "h", "b"], notes, facts)


def test_the_revision_of_the_subjects(read: Reader) -> None:
    head = mail("[PATCH v2 0/2] gpu: all", "Hello.\n", "k")
    assert better.names_revision(2, 1, ["a", "b"], "k", read(head, *TWO))
    assert not better.names_revision(1, 2, ["a", "b"], "k", read(head, *TWO))
    assert not better.names_revision(2, 1, ["a", "b"], "", read(*TWO))  # nobody says so
    mixed = read(head, post("[PATCH v3 1/2]", "a", "k"), post("[PATCH v3 2/2]", "b", "k"))
    assert not better.names_revision(2, 4, ["a", "b"], "k", mixed)
    assert not better.names_revision(3, 2, ["a", "b"], "k", mixed)
    half = read(post("[PATCH v2 1/2]", "a"), TWO[1])
    assert not better.names_revision(2, 1, ["a", "b"], "", half)


def test_a_cover_letter_that_counts_wrong(read: Reader) -> None:
    head = mail("[PATCH 0/3] gpu: all", "Hello.\n", "k")
    said = ["its cover letter counts 3 patches, the patches 2"]
    assert better.counts_right(["a", "b"], "k", said, read(head, *TWO))
    assert not better.counts_right(["a", "b"], "k", [], read(head, *TWO))
    assert not better.counts_right(["a"], "k", said, read(head, TWO[0]))
    assert not better.counts_right(["a", "b"], "k", said, read(head, TWO[0], post("[PATCH 2/3]", "b", "a")))
    assert not better.counts_right(["a", "b"], "", said, read(*TWO))
    assert not better.counts_right(["a", "b"], "k", said, read(mail("[PATCH 0/2] gpu: all", "Hello.\n", "k"), *TWO))


def test_letters_in_the_charset_of_the_mail(tmp_path: Path) -> None:
    raw = TWO[0].replace(b"Because.", "Cc: Bób".encode("latin-1")).replace(b"utf-8", b"iso-8859-1")
    assert "iso-8859-1" in raw.decode("latin-1")
    assert "Bób" in read_with_git(raw, tmp_path).body


def test_a_pasted_from_line() -> None:
    line = f"From {'0123456789' * 4} Mon Sep 17 00:00:00 2001\n"
    assert better.pastes_from_line("Because.", f"{line}From: Ada\nDate: today\n\nBecause.")
    assert not better.pastes_from_line("", f"{line}Because.")
    assert not better.pastes_from_line("MIME-Version: 1.0\n\nBecause.", f"{line}MIME-Version: 1.0\n\nBecause.")
    assert not better.pastes_from_line("Because of that.", f"{line}Because.")
    assert not better.pastes_from_line("Because.", "Something.\n\nBecause.")


def test_a_diff_twice() -> None:
    assert better.is_diff_twice(["1\t0"], ["1\t0", "1\t0"], ["+a"], ["+a", "+a"])
    assert not better.is_diff_twice(["1\t0"], ["1\t0", "1\t0"], ["+a"], ["+a", "+b"])  # half of it is lost
    assert not better.is_diff_twice(["1\t0"], ["1\t0"], ["+a"], ["+a"])
    assert not better.is_diff_twice([], [], [], [])


OWN = "Or so?\n\nReported-by: Eve <eve@x>\nSigned-off-by: Bob <bob@x>\n---\n" + plain_diff("drivers/z.c")


def test_trailers_of_a_patch_in_a_reply(read: Reader) -> None:
    facts = read(*TWO, say("r", "b", OWN))
    signed = ["signed-off-by: bob@x"]
    assert better.belong_to_reply(signed, [], "b", "", facts)
    assert not better.belong_to_reply(signed, signed, "b", "", facts)  # it stands in the patch, and was lost there
    assert not better.belong_to_reply([*signed, "acked-by: eve@x"], [], "b", "", facts)
    assert not better.belong_to_reply([], [], "b", "", facts)
    plain = read(*TWO, say("r", "b", "I forgot:\n\nSigned-off-by: Bob <bob@x>\n"))
    assert not better.belong_to_reply(signed, [], "b", "", plain)  # no patch there that it could belong to
    log = "commit 0123456789\n\n    Acked-by: Eve <eve@x>\n    Signed-off-by: Bob <bob@x>\n"
    assert better.belong_to_reply([*signed, "acked-by: eve@x"], [], "b", "", read(*TWO, say("r", "b", log)))
    both = read(*TWO, say("r", "b", OWN), say("s", "b", "Signed-off-by: Bob <bob@x>\n"))
    assert not better.belong_to_reply(signed, [], "b", "", both)


def test_trailers_that_stand_elsewhere(read: Reader) -> None:
    facts = read(*TWO, say("r", "a", "Acked-by: Bob <bob@x>\n"), say("s", "r", "Tested-by: Eve <eve@x>\n"))
    assert better.stand_elsewhere(["acked-by: bob@x"], [], "b", "", facts)
    assert not better.stand_elsewhere(["acked-by: bob@x"], [], "a", "", facts)
    assert not better.stand_elsewhere(["tested-by: eve@x"], [], "a", "", facts)  # an answer to an answer
    assert not better.stand_elsewhere(["acked-by: bob@x"], ["acked-by: bob@x"], "b", "", facts)
    assert not better.stand_elsewhere(["acked-by: bob@x"], [], "b", "a", facts)  # of the cover letter
    assert not better.stand_elsewhere([], [], "b", "", facts)


def test_trailers_that_are_given(read: Reader) -> None:
    facts = read(*TWO, say("r", "b", f"Acked-By: Bob\n\n{OWN}"), say("q", "b", "> Tested-by: Eve <eve@x>\n"))
    assert better.are_given(["acked-by: bob@x.org"], "b", "", [], facts)
    assert better.are_given(["acked-by: bob@x.org"], "n", "", ["b"], facts)
    assert not better.are_given(["acked-by: bob@x.org"], "a", "", [], facts)  # of another patch
    assert not better.are_given(["reported-by: eve@x"], "b", "", [], facts)  # of the patch in the answer
    assert not better.are_given(["tested-by: eve@x"], "b", "", [], facts)  # quoted
