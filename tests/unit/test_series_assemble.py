# SPDX-License-Identifier: GPL-2.0-only
"""Many mails, one series: revisions, gaps, doubles, and the trailers that replies bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.codec import from_json, to_json
from harness.model.errors import UserError
from harness.model.series import Series, SeriesForm, SeriesSpec
from tests.unit.series_support import Repo, mail, mbox, plain_diff, read

TEXT = "Because.\n---\n\n{diff}-- \n2.39.5\n"


def patch(number: int, total: int, *, revision: int = 1, name: str = "", parent: str = "") -> bytes:
    letter = "abcdefgh"[number - 1]
    version = f" v{revision}" if revision > 1 else ""
    diff = plain_diff(f"drivers/{name or letter}.c", letter)
    subject = f"[PATCH{version} {number}/{total}] gpu: {letter}"
    return mail(subject, TEXT.format(diff=diff), f"v{revision}-{number}-{name}@x", parent or f"v{revision}-0@x")


def cover(total: int, revision: int = 1) -> bytes:
    version = f" v{revision}" if revision > 1 else ""
    return mail(
        f"[PATCH{version} 0/{total}] gpu: all", "Hello.\n\nbase-commit: " + "ab" * 20 + "\n", f"v{revision}-0@x"
    )


def test_a_thread_of_git_format_patch(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    repo.three()
    series = read(repo.mbox())
    assert [one.subject for one in series.patches] == ["gpu: change a", "gpu: change b", "gpu: change c"]
    assert (series.revision, series.total, series.missing, series.problems) == (1, 3, (), ())
    assert series.base_commit == repo.git("rev-parse", "base").decode().strip()
    assert series.cover is not None
    assert all(one.author == "Ada Ünit <ada@example.org>" for one in series.patches)
    assert from_json(Series, to_json(series)) == series
    ids = repo.git("patch-id", "--stable", stdin=repo.mbox()).decode().split("\n")
    assert [one.patch_id for one in series.patches] == [line.split()[0] for line in ids if line]


def test_the_identity_is_the_patches_in_their_order() -> None:
    one = read(mbox(cover(2), patch(1, 2), patch(2, 2)))
    shuffled = read(mbox(patch(2, 2), cover(2), patch(1, 2)))
    assert [one.position for one in shuffled.patches] == [1, 2]
    assert one.id == shuffled.id
    assert one.id != read(mbox(patch(1, 1))).id
    assert len(one.id) == 64


def test_the_newest_revision_or_the_one_asked_for() -> None:
    data = mbox(cover(2, 2), patch(1, 2, revision=2), patch(2, 2, revision=2), cover(1), patch(1, 1))
    assert read(data).revision == 2
    assert "also there: v1" in read(data).notes[0]
    old = read(data, 1)
    assert (old.revision, old.total, len(old.patches)) == (1, 1, 1)
    with pytest.raises(UserError, match="no revision v7") as raised:
        read(data, 7)
    assert raised.value.hint == "there is v1, v2"


def test_what_is_missing_is_refused_with_the_list() -> None:
    data = mbox(cover(5), patch(1, 5), patch(4, 5))
    with pytest.raises(UserError, match="3 patches of 5 missing: 2, 3, 5"):
        read(data)
    shown = read(data, partial=True)
    assert shown.missing == (2, 3, 5)
    assert not shown.whole


def test_doubles_are_refused_but_the_same_mail_twice_is_one_mail() -> None:
    footer = patch(1, 2).rstrip() + b"\n_______\na list\n"
    assert read(mbox(patch(1, 2), footer, patch(2, 2))).whole
    data = mbox(patch(1, 2), patch(1, 2, name="other"), patch(2, 2))
    with pytest.raises(UserError, match=r"patch 1/2 is there 2 times: .*<v1-1-@x>.*<v1-1-other@x>"):
        read(data)
    assert len(read(data, partial=True).patches) == 2
    same = mbox(patch(1, 2), patch(1, 2).replace(b"1/2", b"2/2").replace(b"v1-1-", b"v1-2-"))
    with pytest.raises(UserError, match="same change as an earlier patch"):
        read(same)


def test_two_series_in_one_place() -> None:
    with pytest.raises(UserError, match="several series of v1 in one place, with 1, 2 patches"):
        read(mbox(patch(1, 2), patch(2, 2), patch(1, 1, name="z")))
    more = read(mbox(patch(1, 2), patch(2, 2), patch(3, 2)))
    assert (more.total, len(more.patches), more.whole) == (3, 3, True)
    assert "added to a series of 2" in more.notes[0]


def test_a_patch_without_a_number_beside_numbered_ones_is_not_taken() -> None:
    loose = mail("[PATCH] fixup", TEXT.format(diff=plain_diff("drivers/z.c")), "loose@x", "v1-1-@x")
    series = read(mbox(patch(1, 1), loose))
    assert len(series.patches) == 1
    assert "not taken, as it has no number: mail '[PATCH] fixup' <loose@x>" in series.notes


def test_patches_without_numbers_come_in_the_order_of_the_mails() -> None:
    mails = [patch(number, 2).replace(f" {number}/2".encode(), b"") for number in (2, 1)]
    series = read(mbox(*mails))
    assert [one.subject for one in series.patches] == ["gpu: b", "gpu: a"]
    assert "order of the mails" in series.notes[0]


def test_a_damaged_mail_is_listed_when_the_caller_wants_to_see() -> None:
    data = mbox(patch(1, 2), patch(2, 2).replace(b"+int added_b;", b"+int\nadded_b;"))
    with pytest.raises(UserError, match="wrapped"):
        read(data)
    shown = read(data, partial=True)
    assert shown.missing == (2,)
    assert "wrapped" in shown.problems[0]


def test_trailers_from_replies_go_to_what_they_answer() -> None:
    mails = [
        cover(2),
        patch(1, 2),
        patch(2, 2),
        mail(
            "Re: [PATCH 1/2] gpu: a",
            "> Because.\nReviewed-by: Bob <bob@x>\n> Acked-by: E <e@x>\n",
            "r1@x",
            "v1-1-@x",
        ),
        mail("Re: [PATCH 1/2] gpu: a", "reviewed-by: Bob <bob@x>\nTested-by: Cyn <c@x>\n", "r2@x", "r1@x"),
        mail("Re: [PATCH 0/2] gpu: all", "Acked-by: Dan <d@x>\nSigned-off-by: Dan <d@x>\n", "r3@x", "v1-0@x"),
        mail("Re: [PATCH 1/2] other", "Acked-by: Eve <e@x>\n", "r4@x", "elsewhere@x"),
    ]
    series = read(mbox(*mails))
    given = [[(one.key, one.value, one.source) for one in patch.trailers] for patch in series.patches]
    dan = ("Acked-by", "Dan <d@x>", "r3@x")
    assert given[0] == [("Reviewed-by", "Bob <bob@x>", "r1@x"), ("Tested-by", "Cyn <c@x>", "r2@x"), dan]
    assert given[1] == [dan]
    assert series.replies == 4


def test_a_reply_to_a_later_revision_says_nothing_of_this_one() -> None:
    later = patch(1, 1, revision=2, parent="v1-1-@x")
    reply = mail("Re: [PATCH v2 1/1] gpu: a", "Reviewed-by: Bob <bob@x>\n", "r1@x", "v2-1-@x")
    assert read(mbox(patch(1, 1), later, reply), 1).patches[0].trailers == ()
    assert len(read(mbox(patch(1, 1), later, reply), 2).patches[0].trailers) == 1


def test_a_patch_that_did_not_change_keeps_what_it_was_given() -> None:
    reply = mail("Re: [PATCH 1/1] gpu: a", "Reviewed-by: Bob <bob@x>\n", "r1@x", "v1-1-@x")
    same = read(mbox(patch(1, 1), patch(1, 1, revision=2), reply))
    assert [one.value for one in same.patches[0].trailers] == ["Bob <bob@x>"]
    changed = patch(1, 1, revision=2).replace(b"+int added_", b"+int other_")
    assert read(mbox(patch(1, 1), changed, reply)).patches[0].trailers == ()


def test_a_reviewer_who_leaves_out_his_address() -> None:
    text = "Acked-by: Bob Ross\nTested-by: Eve\n"
    reply = mail("Re: [PATCH 1/1] gpu: a", text, "r1@x", "v1-1-@x", "Bob Ross <bob@x.org>")
    given = read(mbox(patch(1, 1), reply)).patches[0].trailers
    assert [one.value for one in given] == ["Bob Ross <bob@x.org>", "Eve"]


def test_an_rfc_is_older_than_the_series_of_the_same_number() -> None:
    rfc = patch(1, 1, name="z").replace(b"[PATCH 1/1]", b"[RFC PATCH 1/1]")
    assert read(mbox(patch(1, 1), rfc)).patches[0].subject == "gpu: a"
    assert read(mbox(patch(1, 1), rfc)).patches[0].paths == ("drivers/a.c",)
    assert read(mbox(rfc)).whole


SPECS = [
    ("mbox:/a/b.mbox", SeriesForm.MBOX, "/a/b.mbox", "", None),
    ("mbox:b.mbox@v3", SeriesForm.MBOX, "b.mbox", "", 3),
    ("dir:patches/x", SeriesForm.DIRECTORY, "patches/x", "", None),
    ("git:/r@a..b", SeriesForm.GIT, "/r", "a..b", None),
    ("git:/home/u@h/r@v1..v2", SeriesForm.GIT, "/home/u@h/r", "v1..v2", None),
    ("lore:20240101.1-2-a@x.org", SeriesForm.LORE, "20240101.1-2-a@x.org", "", None),
    ("lore:a@x.org@v2", SeriesForm.LORE, "a@x.org", "", 2),
    ("lore:a@v2", SeriesForm.LORE, "a@v2", "", None),
    ("https://lore.kernel.org/all/a@x/", SeriesForm.LORE, "https://lore.kernel.org/all/a@x/", "", None),
    ("https://patchwork.x.org/series/1/@v4", SeriesForm.PATCHWORK, "https://patchwork.x.org/series/1/", "", 4),
    ("http://127.0.0.1:1/series/1/", SeriesForm.PATCHWORK, "http://127.0.0.1:1/series/1/", "", None),
    ("ttm-shrinker@v12", SeriesForm.NAME, "ttm-shrinker", "", 12),
    ("ttm-shrinker", SeriesForm.NAME, "ttm-shrinker", "", None),
    ("./x", SeriesForm.FILE, "./x", "", None),
    ("x.patch", SeriesForm.FILE, "x.patch", "", None),
    ("t.mbox.gz@v2", SeriesForm.FILE, "t.mbox.gz", "", 2),
]


@pytest.mark.parametrize(("text", "form", "where", "what", "revision"), SPECS)
def test_specs(text: str, form: SeriesForm, where: str, what: str, revision: int | None) -> None:
    spec = SeriesSpec.parse(text)
    assert (spec.form, spec.where, spec.what, spec.revision) == (form, where, what, revision)
    assert SeriesSpec.parse(str(spec)) == spec
    assert from_json(SeriesSpec, to_json(spec)) == spec


@pytest.mark.parametrize(
    "text",
    ["", " ", "a\nb", "mbox:", "git:/r", "git:/r@a", "git:/r@a..", "git:/r@a...b", "git:/r@--x..b", "https://x/y"],
)
def test_what_is_no_spec(text: str) -> None:
    with pytest.raises(UserError) as raised:
        SeriesSpec.parse(text)
    assert raised.value.hint
