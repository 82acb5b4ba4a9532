# SPDX-License-Identifier: GPL-2.0-only
"""Two revisions compared: matched, changed, moved, added, dropped, merged, split; on the command line too."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.series import series as series_command
from harness.inputs.series.compare import compare_series
from harness.model.codec import from_json, to_json
from harness.model.series import Patch, Relation, Series, SeriesDiff, SeriesDiffOutput, SeriesOutput, Trailer
from tests.unit.series_support import Repo, mail, mbox, plain_diff, read


def patch(position: int, name: str, lines: list[str], total: int = 9) -> Patch:
    body = "".join(f"+{line}\n" for line in lines)
    diff = f"--- /dev/null\n+++ b/drivers/{name}.c\n@@ -0,0 +1,{len(lines)} @@\n{body}".replace("+1,1 @@", "+1 @@")
    found = read(mbox(mail("[PATCH 1/1] gpu: " + name, f"About {name}.\n---\n\n{diff}", f"{name}@x"))).patches[0]
    return replace(found, position=position, total=total)


def series(*patches: Patch) -> Series:
    return Series("gpu", 1, len(patches), patches, "test")


def lines(name: str, count: int = 10) -> list[str]:
    return [f"int {name}_{number};" for number in range(count)]


def relations(found: SeriesDiff) -> list[tuple[Relation, int, int]]:
    return [(pair.relation, pair.old, pair.new) for pair in found.pairs]


def test_the_same_series() -> None:
    one = series(patch(1, "a", lines("a")), patch(2, "b", lines("b")))
    found = compare_series(one, one)
    assert found.same
    assert relations(found) == [(Relation.SAME, 1, 1), (Relation.SAME, 2, 2)]
    assert from_json(SeriesDiff, to_json(found)) == found


def test_positions_do_not_matter_but_order_does() -> None:
    a, b, c = (patch(number, name, lines(name)) for number, name in enumerate("abc", 1))
    new = series(replace(c, position=1), replace(a, position=2), replace(b, position=3))
    found = compare_series(series(a, b, c), new)
    assert relations(found) == [(Relation.SAME, 3, 1), (Relation.SAME, 1, 2), (Relation.SAME, 2, 3)]
    assert [pair.moved for pair in found.pairs] == [True, False, False]
    assert not found.same
    inserted = series(
        patch(1, "n", lines("n")), replace(a, position=2), replace(b, position=3), replace(c, position=4)
    )
    assert not any(pair.moved for pair in compare_series(series(a, b, c), inserted).pairs)


def test_changed_by_subject_and_by_similarity() -> None:
    old = series(patch(1, "a", lines("a")), patch(2, "b", lines("b")))
    renamed = replace(patch(1, "b", [*lines("b")[:8], "int other;", "int more;"]), subject="gpu: another name")
    rewritten = patch(2, "a", lines("z"))
    found = compare_series(old, series(renamed, rewritten))
    assert relations(found) == [(Relation.CHANGED, 2, 1), (Relation.CHANGED, 1, 2)]
    assert found.pairs[0].changes == ("diff", "subject")
    assert found.pairs[0].similarity == 0.8
    assert "-+int b_8;" in found.pairs[0].diff
    assert "++int other;" in found.pairs[0].diff


def test_a_message_alone_and_trailers() -> None:
    old = patch(1, "a", lines("a"))
    told = replace(old, body="About a, in other words.", trailers=(Trailer("Acked-by", "Bob <b@x>"),))
    found = compare_series(series(old), series(told))
    assert found.pairs[0].relation is Relation.CHANGED
    assert found.pairs[0].similarity == 1.0
    assert found.pairs[0].changes == ("message", "+Acked-by: Bob <b@x>")


def test_an_absent_mail_is_not_dropped() -> None:
    a, b, c = (patch(number, name, lines(name)) for number, name in enumerate("abc", 1))
    old, short = series(a, b, c), series(a, b)
    new = replace(short, total=3, missing=(3,))
    assert relations(compare_series(old, new))[-1] == (Relation.ABSENT, 3, 0)
    assert relations(compare_series(new, old))[-1] == (Relation.ABSENT, 0, 3)
    assert compare_series(old, new).notes == (f"{new.label} is not whole: 3 of 3 missing",)
    assert relations(compare_series(old, short))[-1] == (Relation.DROPPED, 3, 0)


def test_dropped_added_merged_and_split() -> None:
    a, b, c = (patch(number, name, lines(name)) for number, name in enumerate("abc", 1))
    both = patch(1, "ab", lines("a") + lines("b"))
    joined = compare_series(series(a, b, c), series(both, replace(c, position=2)))
    # One of the two is what became the joint patch, the other one went into it.
    assert relations(joined) == [(Relation.CHANGED, 1, 1), (Relation.MERGED, 2, 0), (Relation.SAME, 3, 2)]
    assert (joined.pairs[1].other, joined.pairs[1].similarity) == (1, 1.0)
    parted = compare_series(series(both, replace(c, position=2)), series(a, b, c))
    assert (parted.pairs[1].relation, parted.pairs[1].other) == (Relation.SPLIT, 1)
    gone = compare_series(series(a, b), series(replace(b, position=1), patch(2, "n", lines("n"))))
    assert relations(gone) == [(Relation.DROPPED, 1, 0), (Relation.SAME, 2, 1), (Relation.ADDED, 0, 2)]


def test_the_empty_series() -> None:
    assert compare_series(series(), series()).pairs == ()
    assert relations(compare_series(series(), series(patch(1, "a", ["x"])))) == [(Relation.ADDED, 0, 1)]


def test_long_series_are_compared_in_seconds() -> None:
    old = series(*[patch(number, f"p{number}", lines(f"o{number}", 60)) for number in range(1, 121)])
    new = series(*[patch(number, f"q{number}", lines(f"n{number}", 60)) for number in range(1, 121)])
    began = time.perf_counter()
    assert len(compare_series(old, new).pairs) == 240
    assert time.perf_counter() - began < 20


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(tmp_path / "store"))
    repo = Repo(tmp_path / "k")
    repo.three()
    (tmp_path / "v1.mbox").write_bytes(repo.mbox())
    repo.git("checkout", "-q", "-b", "second", "base")
    repo.change("drivers/c.c", "int line_c10;\n", "long line_c10;\nint added_c;\n")
    repo.change("drivers/c.c", "int line_c40;\n", "")
    repo.commit("gpu: change c\n\nBecause of c.\n\nSigned-off-by: Ada Ünit <ada@example.org>")
    second = repo.mbox("base..second", "-v2")
    (tmp_path / "both.mbox").write_bytes((tmp_path / "v1.mbox").read_bytes() + second)
    return tmp_path


def invoke(*words: str) -> Result:
    return CliRunner().invoke(series_command, [*words, "--quiet"])


def test_show(files: Path) -> None:
    shown = invoke("show", f"mbox:{files}/v1.mbox", "--files")
    assert shown.exit_code == 0, shown.output
    assert "v1: 3 of 3 patches, 3 files, +6 -6" in shown.stdout
    assert "  1/3  " in shown.stdout
    assert "modified drivers/a.c  +2 -2" in shown.stdout
    assert "Signed-off-by: Ada Ünit <ada@example.org>" in shown.stdout
    output = from_json(SeriesOutput, invoke("show", f"mbox:{files}/v1.mbox", "--json").stdout)
    assert (output.whole, output.adds, output.dels) == (True, 6, 6)
    assert output.id == output.series.id


def test_show_lists_what_is_missing_and_what_would_be_refused(files: Path) -> None:
    mails = (files / "v1.mbox").read_bytes().split(b"\nFrom ")
    (files / "part.mbox").write_bytes(b"\nFrom ".join([mails[0], mails[1], mails[3]]))
    shown = invoke("show", f"{files}/part.mbox")
    assert shown.exit_code == 1
    assert "  2/3  missing" in shown.stdout
    bad = mail("[PATCH] gpu: it", plain_diff("../x.c"), "it@x")
    (files / "bad.mbox").write_bytes(mbox(bad))
    shown = invoke("show", f"{files}/bad.mbox")
    assert shown.exit_code == 1
    assert "problem: patch 1/1 'gpu: it' <it@x>, line 10 of bad.mbox: ../x.c leads out of the tree" in shown.stdout


def test_show_of_nothing(files: Path) -> None:
    shown = invoke("show", f"mbox:{files}/none.mbox")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "there is no file" in shown.stderr


def test_diff(files: Path) -> None:
    shown = invoke("diff", f"mbox:{files}/both.mbox@v1", "v2")
    assert shown.exit_code == 0, shown.output
    assert "   3 =     1  gpu: change c" in shown.stdout
    assert "   1 -     -  gpu: change a" in shown.stdout
    assert "1 same, 2 dropped" in shown.stdout
    plain = json.loads(invoke("diff", f"{files}/both.mbox@v1", f"git:{files}/k@base..v1", "--json").stdout)
    assert plain["same"] is True
    assert from_json(SeriesDiffOutput, json.dumps(plain)).diff.pairs[0].relation is Relation.SAME
