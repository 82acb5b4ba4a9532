# SPDX-License-Identifier: GPL-2.0-only
"""Mails as other lists and other people send them: which of them are one series, and what is said of the others."""

from __future__ import annotations

import base64
import os
import quopri
from pathlib import Path

import pytest

from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_file, read_messages
from harness.inputs.series.subject import read_subject
from harness.model.errors import UserError
from harness.model.series import Series, SeriesForm, SeriesSpec
from tests.unit.series_support import mail, mbox, plain_diff, read

TEXT = "Because.\n---\n\n{diff}-- \n2.39.5\n"
DAYS = "Fri, 02 Jan 2026 03:04:05 +0000"


def post(
    prefix: str, name: str, parent: str = "", *, title: str = "", who: str = "Ada <ada@x.org>", day: int = 2
) -> bytes:
    """A mail with a patch to a file of its own; `name` is its Message-ID."""
    diff = plain_diff(f"drivers/{name.partition('@')[0]}.c", name[0])
    subject = f"{prefix} gpu: {title or name[0]}"
    raw = mail(subject, TEXT.format(diff=diff), name, parent, who)
    return raw.replace(DAYS.encode(), DAYS.replace("02 Jan", f"{day:02} Jan").encode())


def cover(prefix: str, name: str, parent: str = "", day: int = 2) -> bytes:
    raw = mail(f"{prefix} gpu: all", "Hello.\n", name, parent)
    return raw.replace(DAYS.encode(), DAYS.replace("02 Jan", f"{day:02} Jan").encode())


def ids(series: Series) -> list[str]:
    return [one.message_id for one in series.patches]


PREFIXES = [
    ("[Intel-gfx] [PATCH v3 2/2] x", (True, False, 3, 0, 2, 2, ())),
    ("[Intel-xe] [RFC] x", (True, False, 1, 0, 0, 0, ())),
    ("[RFT] x", (True, False, 1, 0, 0, 0, ())),
    ("[WIP] x", (True, False, 1, 0, 0, 0, ())),
    ("[[PATCH 2/3] x", (True, False, 1, 0, 2, 3, ())),
    ("[[PATCH v2 1/3]] x", (True, False, 2, 0, 1, 3, ())),
    ("[PATCH [v2] 1/3] x", (True, False, 2, 0, 1, 3, ())),
    ("[PATCH-v2 1/2] x", (True, False, 2, 0, 1, 2, ())),
    ("[PATCH 1/1]: x", (True, False, 1, 0, 1, 1, ())),
    ("[PATCH2/3] x", (True, False, 1, 0, 2, 3, ())),
    ("[PATCH 6.12.y] x", (True, False, 1, 0, 0, 0, ("6.12.y",))),
    ("[PATCH][next] x", (True, False, 1, 0, 0, 0, ("next",))),
    ("[PATCH v6.2 1/2] x", (True, False, 6, 2, 1, 2, ())),
    ("[PATCH v6.1 v2 1/2] x", (True, False, 2, 0, 1, 2, ("v6.1",))),
    ("[PATCH v6.12 1/2] x", (True, False, 1, 0, 1, 2, ("v6.12",))),
    ("[list] Re: [PATCH v8 3/11] x", (True, True, 8, 0, 3, 11, ())),
    ("Re: [list] [PATCH v8 3/11] x", (True, True, 8, 0, 3, 11, ())),
    ("回复: [PATCH] x", (True, True, 1, 0, 0, 0, ())),
    ("[list] 答复：[PATCH v2] x", (True, True, 2, 0, 0, 0, ())),
    ("Ang: [PATCH] x", (True, True, 1, 0, 0, 0, ())),
    ("Re[2]: [PATCH] x", (True, True, 1, 0, 0, 0, ())),
]


@pytest.mark.parametrize(("subject", "said"), PREFIXES)
def test_prefixes_of_lists_and_people(subject: str, said: tuple[object, ...]) -> None:
    tag = read_subject(subject)
    assert (tag.patch, tag.reply, tag.revision, tag.point, tag.position, tag.total, tag.others) == said
    assert tag.title == "x"


def test_a_list_that_puts_its_name_in_front() -> None:
    series = read(
        mbox(post("[Intel-gfx] [PATCH v3 2/2]", "b@x", "c@x"), post("[Intel-gfx] [PATCH v3 1/2]", "a@x", "c@x"))
    )
    assert (series.revision, series.total, ids(series), series.whole) == (3, 2, ["a@x", "b@x"], True)
    assert series.trees == ()


@pytest.mark.parametrize("answer", ["[list] Re: [PATCH 1/1]", "回复: [list] [PATCH 1/1]", "Re: [list] [PATCH 1/1]"])
def test_a_reviewers_diff_is_no_patch(answer: str) -> None:
    reply = post(answer, "r@x", "a@x", title="a").replace(b"Because.", b"Better so:\n\nAcked-by: Bob <b@x>")
    series = read(mbox(reply, post("[list] [PATCH 1/1]", "a@x")))
    assert (ids(series), series.replies) == (["a@x"], 1)
    assert [one.value for one in series.patches[0].trailers] == ["Bob <b@x>"]


def encoded(how: str, footer: str) -> bytes:
    body = TEXT.format(diff=plain_diff()).replace("\n", "\r\n").encode() + footer.encode()
    coded = base64.encodebytes(body) if how == "base64" else quopri.encodestring(body)
    head = f"From: Ada <a@x>\nSubject: [PATCH] x\nMessage-ID: <a@x>\nContent-Transfer-Encoding: {how}\n\n"
    return head.encode() + coded


@pytest.mark.parametrize("how", ["base64", "quoted-printable"])
@pytest.mark.parametrize("footer", ["_______\na list -- a@lists.x\n", "\nthe end\n"])
def test_decoded_crlf_with_a_footer_of_lf(how: str, footer: str) -> None:
    patch = read(encoded(how, footer)).patches[0]
    assert patch.diff == plain_diff()
    assert patch.files[0].new_mode == "100644"


FOOTERS = ["_", "---", "-- 2.43", "--", "This mail is for nobody but you.", "2.43.0", "_______________\nlist\n"]


@pytest.mark.parametrize("footer", FOOTERS)
def test_what_may_follow_the_last_hunk(footer: str) -> None:
    patch = read(mail("[PATCH] x", f"Because.\n---\n{plain_diff()}{footer}\n", "a@x")).patches[0]
    assert patch.diff == plain_diff()


@pytest.mark.parametrize("tail", ["+more();", "-less();", " line;", "name;", "{"])
def test_what_may_not_follow_it(tail: str) -> None:
    with pytest.raises(UserError, match=r"goes on with the hunk|as a wrapped line would"):
        read(mail("[PATCH] x", f"Because.\n---\n{plain_diff()}{tail}\n", "a@x"))


def test_a_long_last_line_that_was_wrapped() -> None:
    long = "int line_a12 = one_long_name_that_goes_on_and_on_until_it"
    text = plain_diff().replace("int line_a12;", f"{long}\nends here at last")
    with pytest.raises(UserError, match="as a wrapped line would"):
        read(mail("[PATCH] x", f"Because.\n---\n{text}", "a@x"))


def test_of_two_copies_the_one_that_is_whole() -> None:
    damaged = post("[list] [PATCH 1/1]", "a@x").replace(b"+int added_a;", b"+int\nadded_a;")
    series = read(mbox(damaged, post("[PATCH 1/1]", "a@x")))
    assert series.whole
    assert "of 2 copies" in series.notes[0]
    other = post("[PATCH 1/1]", "a@x").replace(b"+int added_a;", b"+int other_a;")
    with pytest.raises(UserError, match="2 times, and differs"):
        read(mbox(post("[PATCH 1/1]", "a@x"), other))


def test_a_resent_series_stands_for_the_first_one() -> None:
    first = [post("[PATCH v3 1/2]", "a@x"), post("[PATCH v3 2/2]", "b@x", "a@x")]
    again = [post("[PATCH v3 RESEND 1/2]", "a2@x", day=5), post("[PATCH v3 RESEND 2/2]", "b2@x", "a2@x", day=5)]
    series = read(mbox(*first, *again))
    assert (ids(series), series.whole) == (["a2@x", "b2@x"], True)
    assert "also there: v3" in series.notes[0]
    only_one = read(mbox(*first, post("[RESEND PATCH v3 2/2]", "b2@x", "a@x", day=5)))
    assert ids(only_one) == ["a@x", "b2@x"]


@pytest.mark.parametrize("parent", ["a@x", "b@x"])
def test_a_partial_reroll(parent: str) -> None:
    first = [post("[PATCH 1/2]", "a@x"), post("[PATCH 2/2]", "b@x", "a@x")]
    series = read(mbox(*first, post("[PATCH v2 2/2]", "b2@x", parent, day=5)))
    assert (ids(series), series.revision, series.whole) == (["a@x", "b2@x"], 2, True)
    assert "1/2 is taken from v1" in " ".join(series.notes)
    point = read(mbox(*first, post("[PATCH v1.1 2/2]", "b2@x", parent, day=5)))
    assert (ids(point), point.label) == (["a@x", "b2@x"], "gpu: a v1.1")


def test_a_new_revision_that_lacks_mails_is_no_partial_reroll() -> None:
    first = [cover("[PATCH 0/2]", "c@x"), post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    with pytest.raises(UserError, match="1 patch of 2 missing: 1"):
        read(mbox(*first, cover("[PATCH v2 0/2]", "c2@x", "c@x"), post("[PATCH v2 2/2]", "b2@x", "c2@x", day=5)))
    with pytest.raises(UserError, match="1 patch of 2 missing: 1"):
        read(mbox(*first, post("[PATCH v2 2/2]", "b2@x", "gone@x", day=5)))


def backports() -> list[bytes]:
    return [
        post(f"[PATCH {tree}.y]", f"{name}@x", "root@x") for tree, name in (("6.12", "a"), ("6.6", "b"), ("6.1", "c"))
    ]


def test_backports_for_several_trees_are_several_series() -> None:
    with pytest.raises(UserError, match=r"several trees: 6\.12, 6\.6, 6\.1; pick one by a mail of it: mbox:FILE#"):
        read(mbox(*backports()))
    messages = read_messages(mbox(*backports()), "t.mbox")
    assert ids(assemble(messages, Selection("mbox:t.mbox#b@x", pick="b@x"))) == ["b@x"]
    with pytest.raises(UserError, match="no patch and no cover letter is <z@x>"):
        assemble(messages, Selection("mbox:t.mbox#z@x", pick="z@x"))


def test_an_unrelated_fix_by_another_author() -> None:
    fix = post("[PATCH v2]", "z@x", "a@x", who="Bob <bob@x.org>", day=9)
    series = read(mbox(post("[PATCH]", "a@x"), fix))
    assert ids(series) == ["a@x"]
    assert "not taken, as it has no number: mail '[PATCH v2] gpu: z' <z@x>" in series.notes


def test_single_patches_in_one_file_are_several_series() -> None:
    data = mbox(post("[PATCH]", "a@x"), post("[PATCH]", "b@x", day=9), post("[PATCH]", "z@x", who="Bob <b@x.org>"))
    with pytest.raises(UserError, match="it holds 3 series: 'gpu: a' v1 by Ada"):
        read(data)
    shown = read(data, partial=True)
    assert (ids(shown), len(shown.problems)) == (["a@x"], 1)
    assert ids(assemble(read_messages(data, "t"), Selection("mbox:t#z@x", pick="z@x"))) == ["z@x"]
    assert len(assemble(read_messages(data, "t"), Selection("dir:t", gathered=True)).patches) == 3


def test_more_patches_than_were_announced() -> None:
    series = read(
        mbox(*[post(f"[PATCH {number}/2]", f"{name}@x", "c@x") for number, name in ((1, "a"), (2, "b"), (3, "d"))])
    )
    assert (series.total, ids(series), series.whole) == (3, ["a@x", "b@x", "d@x"], True)
    assert "added to a series of 2" in series.notes[0]


def test_a_newer_cover_letter_without_its_patches_is_said() -> None:
    data = mbox(post("[PATCH 1/1]", "a@x"), cover("[PATCH v9 0/3]", "c@x", "a@x", day=9))
    with pytest.raises(UserError, match=r"cover letter of a newer one is there, v9, .* with @v1"):
        read(data)
    assert ids(read(data, 1)) == ["a@x"]


def test_a_patch_sent_again_as_an_answer_to_itself_replaces_it() -> None:
    first = [post("[PATCH 1/2]", "a@x"), post("[PATCH 2/2]", "b@x", "a@x")]
    series = read(mbox(*first, post("[PATCH 2/2]", "b2@x", "b@x", title="b")))
    assert (ids(series), series.whole) == (["a@x", "b2@x"], True)
    assert "is replaced by" in series.notes[0]


@pytest.mark.parametrize("prefix", ["[PATCH v2.5]", "[PATCH v2.1 1/1]"])
def test_half_a_revision_of_one_patch_replaces_it(prefix: str) -> None:
    first = [post("[PATCH v2 1/2]", "a@x"), post("[PATCH v2 2/2]", "b@x", "a@x")]
    series = read(mbox(*first, post(prefix, "n@x", "b@x", title="b", day=3)))
    assert (ids(series), series.whole, series.missing) == (["a@x", "n@x"], True, ())
    assert len(series.notes) == 1
    assert "<b@x> is replaced by" in series.notes[0]


def test_half_a_revision_of_one_of_two_without_numbers() -> None:
    first = [post("[PATCH v2]", "a@x"), post("[PATCH v2]", "b@x", "a@x")]
    assert ids(read(mbox(*first, post("[PATCH v2.5]", "n@x", "b@x", title="b", day=3)))) == ["a@x", "n@x"]


@pytest.mark.parametrize(("title", "who"), [("other", "Ada <ada@x.org>"), ("b", "Bob <bob@x.org>")])
def test_half_a_revision_of_something_else_replaces_nothing(title: str, who: str) -> None:
    first = [post("[PATCH v2 1/2]", "a@x"), post("[PATCH v2 2/2]", "b@x", "a@x")]
    series = read(mbox(*first, post("[PATCH v2.5]", "n@x", "b@x", title=title, who=who, day=3)))
    assert ids(series) == ["a@x", "b@x"]


def test_a_patch_without_a_number_that_answers_its_older_one_replaces_it() -> None:
    first = [post("[PATCH v2 1/2]", "a@x", "c@x"), post("[PATCH v2 2/2]", "b@x", "c@x")]
    series = read(mbox(*first, post("[PATCH]", "n@x", "b@x", title="b", day=3)))
    assert (ids(series), series.revision, series.whole) == (["a@x", "n@x"], 2, True)
    assert (series.patches[1].position, series.patches[1].total) == (2, 2)
    assert any("<b@x> is replaced by" in note and "<n@x>, which answers it" in note for note in series.notes)


@pytest.mark.parametrize(
    ("title", "who", "parent"),
    [("other", "Ada <ada@x.org>", "b@x"), ("b", "Bob <bob@x.org>", "b@x"), ("b", "Ada <ada@x.org>", "c@x")],
)
def test_a_patch_without_a_number_that_replaces_nothing(title: str, who: str, parent: str) -> None:
    first = [post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    series = read(
        mbox(cover("[PATCH 0/2]", "c@x"), *first, post("[PATCH]", "n@x", parent, title=title, who=who, day=3))
    )
    assert ids(series) == ["a@x", "b@x"]
    assert any("not taken, as it has no number" in note and "<n@x>" in note for note in series.notes)


def test_a_patch_that_was_put_in_between() -> None:
    first = [cover("[PATCH 0/2]", "c@x"), post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    half = post("[PATCH 0.5/2]", "h@x", "c@x", day=3)
    series = read(mbox(*first, half))
    assert (ids(series), series.total, series.whole) == (["h@x", "a@x", "b@x"], 3, True)
    assert [one.position for one in series.patches] == [1, 2, 3]
    assert series.cover is not None
    assert any("[PATCH 0.5/2] gpu: h' <h@x> is put between the others" in note for note in series.notes)
    changed = read(mbox(*first, half, post("[PATCH v2 1/2]", "a2@x", "a@x", day=3)))
    assert (ids(changed), changed.whole) == (["h@x", "a2@x", "b@x"], True)
    two = read(mbox(*first, post("[PATCH 1.7/2]", "i@x", "c@x"), post("[PATCH 1.2/2]", "j@x", "c@x"), half))
    assert ids(two) == ["h@x", "a@x", "j@x", "i@x", "b@x"]


def test_a_newer_revision_has_what_was_put_in_between_no_more() -> None:
    first = [post("[PATCH 1/2]", "a@x"), post("[PATCH 2/2]", "b@x", "a@x"), post("[PATCH 0.5/2]", "h@x", "a@x")]
    series = read(
        mbox(*first, post("[PATCH v2 1/2]", "d@x", "a@x", day=4), post("[PATCH v2 2/2]", "e@x", "d@x", day=4))
    )
    assert (ids(series), series.total, series.whole) == (["d@x", "e@x"], 2, True)


def at(raw: bytes, second: int) -> bytes:
    return raw.replace(b"03:04:05", f"03:04:{second:02}".encode())


def test_patches_of_a_series_that_lost_their_numbers() -> None:
    mails = [post("[PATCH]", "a@x"), post("[PATCH]", "b@x", "a@x")]
    mails += [post("[PATCH 3/4]", "c@x", "a@x"), post("[PATCH 4/4]", "d@x", "a@x")]
    series = read(mbox(*[at(one, second) for second, one in enumerate(mails, 10)]))
    assert (ids(series), series.whole) == (["a@x", "b@x", "c@x", "d@x"], True)
    assert "taken by its place, as it has no number: mail '[PATCH] gpu: b' <b@x>" in series.notes


@pytest.mark.parametrize(("order", "total"), [("cbad", 4), ("abcd", 5)])
def test_patches_without_numbers_that_do_not_fit(order: str, total: int) -> None:
    prefixes = {"a": "[PATCH]", "b": "[PATCH]", "c": f"[PATCH 3/{total}]", "d": f"[PATCH 4/{total}]"}
    mails = [post(prefixes[name], f"{name}@x", "a@x" if name != "a" else "") for name in order]
    series = read(mbox(*[at(one, second) for second, one in enumerate(mails, 10)]), partial=True)
    assert not series.whole
    assert not any("by its place" in note for note in series.notes)


def test_a_revision_that_only_the_cover_letter_names() -> None:
    mails = [cover("[PATCH v2 0/2]", "c@x"), post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    assert read(mbox(*mails)).revision == 2


def test_a_cover_letter_without_a_number() -> None:
    series = read(mbox(mail("gpu: all of it", "Hello.\n", "c@x"), post("[PATCH 1/1]", "a@x", "c@x")))
    assert series.cover is not None
    assert series.cover.message_id == "c@x"


def test_an_answer_without_a_re() -> None:
    answer = mail("[drm] gpu: it crashes", "Reported-and-tested-by: Bot <bot@x>\n", "r@x", "a@x")
    series = read(mbox(post("[PATCH 1/1]", "a@x"), answer))
    assert [one.key for one in series.patches[0].trailers] == ["Reported-and-tested-by"]


def test_folded_headers_in_the_text() -> None:
    text = "From: Bob Long\n <bob@x>\nSubject: [PATCH] gpu: a title that\n is folded\nBecause.\n---\n" + plain_diff()
    patch = read(mail("[PATCH] cut…", text, "m@x")).patches[0]
    assert (patch.author, patch.subject) == ("Bob Long <bob@x>", "gpu: a title that is folded")
    assert patch.body == "Because."


def test_a_patch_file_pasted_into_a_mail() -> None:
    head = f">From {'0123456789' * 4} Mon Sep 17 00:00:00 2001\nFrom: Bob <bob@x>\nDate: today\nMIME-Version: 1.0\n"
    head += "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n"
    patch = read(mail("[PATCH] x", head + TEXT.format(diff=plain_diff()), "m@x")).patches[0]
    assert (patch.author, patch.body) == ("Bob <bob@x>", "Because.")
    plain = read(mail("[PATCH] x", "MIME-Version: 1.0\n\n" + TEXT.format(diff=plain_diff()), "m@x")).patches[0]
    assert plain.body == "MIME-Version: 1.0\n\nBecause."


def test_the_trailers_of_a_patch_in_a_reply_belong_to_that_patch() -> None:
    own = "Reviewed-by: Bob <bob@x>\n\nOr so?\n\nReported-by: Eve <eve@x>\nSigned-off-by: Bob <bob@x>\n---\n"
    reply = mail("Re: [PATCH 1/1] gpu: a", own + plain_diff("drivers/z.c"), "r@x", "a@x", "Bob <bob@x>")
    series = read(mbox(post("[PATCH 1/1]", "a@x"), reply))
    assert [str(one.value) for one in series.patches[0].trailers] == ["Bob <bob@x>"]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("Sure.\n\nSigned-off-by: Bob <bob@x>\n", ["Signed-off-by"]),
        ("Reported-by: Eve <eve@x>\nSigned-off-by: Eve <eve@x>\n", ["Reported-by"]),
        ("    fix b\n\n    Reviewed-by: Bob <bob@x>\n    Signed-off-by: Bob <bob@x>\n", []),
        ("Fine:\n\n        Reviewed-by: Bob <bob@x>\n", ["Reviewed-by"]),
        ("    @@ Commit message\n         Reviewed-by: Eve <eve@x>\n", []),
    ],
)
def test_sign_offs_in_a_reply(words: str, given: list[str]) -> None:
    """The sender's own counts; that of a commit which he shows, and of others, does not."""
    reply = mail("Re: [PATCH 1/1] gpu: a", words, "r@x", "a@x", "Bob <bob@x>")
    series = read(mbox(post("[PATCH 1/1]", "a@x"), reply))
    assert [one.key for one in series.patches[0].trailers] == given


def test_a_number_sent_again_later() -> None:
    first = [post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    again = post("[PATCH 2/2]", "n@x", "c@x", title="b")
    late = again.replace(b"03:04:05", b"03:06:05")
    series = read(mbox(*first, late))
    assert (ids(series), series.whole) == (["a@x", "n@x"], True)
    assert any("<b@x> is replaced by" in note and "<n@x>, which was sent later" in note for note in series.notes)
    for other in (again, late.replace(b"gpu: b", b"gpu: c"), late.replace(b"Ada <ada", b"Bob <bob")):
        assert "n@x" not in ids(read(mbox(*first, other), partial=True))
    assert any("is there 2 times" in one for one in read(mbox(*first, again), partial=True).problems)


def test_a_partial_reroll_has_the_cover_letter_of_what_it_is_a_part_of() -> None:
    first = [cover("[PATCH 0/2]", "c@x"), post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    series = read(mbox(*first, post("[PATCH v2 2/2]", "n@x", "b@x", day=3)))
    assert ids(series) == ["a@x", "n@x"]
    assert series.cover is not None
    assert series.cover.message_id == "c@x"


def test_a_fix_beside_a_patch_that_was_sent_again_is_named() -> None:
    series = read(mbox(post("[PATCH RESEND]", "a@x"), post("[PATCH]", "b@x", "a@x", day=4)))
    assert ids(series) == ["a@x"]
    assert any(note.startswith("also there, and not taken: 'gpu: b'") and "<b@x>" in note for note in series.notes)


def test_a_report_of_a_robot_is_no_patch() -> None:
    """Its brackets have a tree, a branch and the number of a commit."""
    tag = read_subject("[tj-cgroup:for-next 7/7] kernel/x.c:3: warning: y")
    assert (tag.patch, tag.numbered) == (False, False)
    assert read_subject("[PATCH for-next: 2/7] x").numbered
    report = mail("[tree:for-next 7/7] drivers/a.c:3: warning", "It warns.\n", "r@x", "", "Robot <bot@x>")
    series = read(mbox(report, post("[PATCH]", "a@x", "r@x")))
    assert (ids(series), series.whole) == (["a@x"], True)


def test_a_cover_letter_that_counts_wrong() -> None:
    mails = [cover("[PATCH 0/3]", "c@x"), post("[PATCH 1/2]", "a@x", "c@x"), post("[PATCH 2/2]", "b@x", "c@x")]
    series = read(mbox(*mails))
    assert (ids(series), series.total, series.whole) == (["a@x", "b@x"], 2, True)
    assert "its cover letter counts 3 patches, the patches 2" in series.notes


def test_talk_above_scissors() -> None:
    text = "So what about this?\n\n-- >8 --\nSubject: gpu: cut\n\nBecause.\n---\n" + plain_diff()
    patch = read(mail("[PATCH] x", text, "m@x")).patches[0]
    assert (patch.subject, patch.body) == ("gpu: cut", "Because.")


def test_prerequisites_by_change_id() -> None:
    text = TEXT.format(diff=plain_diff()) + "prerequisite-change-id: 20260101-x-abc:v2\n"
    assert read(mail("[PATCH] x", text, "m@x")).prerequisites == ("20260101-x-abc:v2",)


@pytest.mark.parametrize("prefix", ["[PATCH]", "[PATCH 1/1]"])
def test_html_alone_is_refused_as_that(prefix: str) -> None:
    data = mail(f"{prefix} x", TEXT.format(diff=plain_diff()), "m@x").replace(b"text/plain", b"text/html")
    with pytest.raises(UserError, match="only HTML"):
        read(data)


def test_a_mail_of_the_series_in_a_spec() -> None:
    spec = SeriesSpec.parse("mbox:/a/b.mbox#a@x.org@v2")
    assert (spec.form, spec.where, spec.what, spec.revision) == (SeriesForm.MBOX, "/a/b.mbox", "a@x.org", 2)
    assert SeriesSpec.parse(str(spec)) == spec
    assert SeriesSpec.parse("mbox:/a/b#c.mbox").where == "/a/b#c.mbox"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UserError, match="a pipe or a device"):
            read_file(name)


def test_a_part_of_a_long_series_can_be_seen() -> None:
    series = read(mbox(post("[PATCH 5.14 280/849]", "a@x")), partial=True)
    assert (ids(series), len(series.missing)) == (["a@x"], 848)
    with pytest.raises(UserError, match="256 is the most"):
        read(mbox(post("[PATCH 5.14 280/849]", "a@x")))
