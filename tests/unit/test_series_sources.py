# SPDX-License-Identifier: GPL-2.0-only
"""The forms in which a series can be named: directories, git ranges, lore, patchwork, descriptors, pages."""

from __future__ import annotations

import gzip
import html
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.inputs.series.descriptor import read_descriptor
from harness.inputs.series.lore import message_id
from harness.inputs.series.page import LAST_RESORT, read_page
from harness.inputs.series.resolve import FetchOptions, lone, resolve_series
from harness.model.errors import HarnessError, InfraError, UserError
from harness.model.series import Series, SeriesSpec
from harness.proc import find_tool
from tests.conftest import require_tool
from tests.unit.inputs_support import make_work, serving
from tests.unit.series_support import Repo, mbox, plain_diff

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "k")
    repo.three()
    return repo


def resolve(text: str, root: Path, means: FetchOptions | None = None) -> Series:
    work, _ = make_work(root)
    return resolve_series(SeriesSpec.parse(text), work, means or FetchOptions())


def test_every_form_of_a_file_gives_the_same_series(repo: Repo, tmp_path: Path) -> None:
    file = tmp_path / "t.mbox"
    file.write_bytes(repo.mbox())
    (tmp_path / "t.mbox.gz").write_bytes(gzip.compress(repo.mbox()))
    repo.git("format-patch", "-q", "-o", str(tmp_path / "dir"), "base..v1")
    texts = [
        f"mbox:{file}",
        str(file),
        f"{file}.gz",
        f"dir:{tmp_path}/dir",
        f"{tmp_path}/dir",
        f"git:{repo.path}@base..v1",
    ]
    found = [resolve(text, tmp_path) for text in texts]
    assert len({series.id for series in found}) == 1
    assert all(series.whole for series in found)
    assert [series.spec for series in found] == texts


def test_a_git_range_knows_its_base_and_its_commits(repo: Repo, tmp_path: Path) -> None:
    series = resolve(f"git:{repo.path}@base..v1", tmp_path)
    assert series.base_commit == repo.git("rev-parse", "base").decode().strip()
    head = repo.git("rev-parse", "v1").decode().strip()
    assert series.patches[2].message_id == f"commit {head[:12]}"
    assert series.patches[0].where == "git's 0001-gpu-change-a.patch"
    assert len(series.patches[0].files[0].old_blob) == 40


def test_the_repositorys_own_ways_have_no_say(repo: Repo, tmp_path: Path) -> None:
    wanted = resolve(f"git:{repo.path}@base..v1", tmp_path).id
    settings = {
        "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "diff.context": "9", "diff.external": "false",
        "diff.algorithm": "patience", "diff.orderFile": "/nowhere", "color.ui": "always", "format.attach": "x",
        "format.subjectPrefix": "[OOPS", "format.coverLetter": "true", "format.numbered": "false",
        "format.from": "x@y", "format.outputDirectory": "/nowhere", "format.headers": "X-Odd: 1\n",
        "format.signature": "+odd", "format.suffix": ".txt",
    }  # fmt: skip
    for key, value in settings.items():
        repo.git("config", key, value)
    assert resolve(f"git:{repo.path}@base..v1", tmp_path).id == wanted


def test_git_ranges_that_are_no_series(repo: Repo, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "-b", "side", "base")
    repo.write("drivers/side.c", "int side;\n")
    repo.commit("side")
    repo.git("merge", "-q", "--no-ff", "-m", "joined ways", "v1")
    for span, why in [
        ("base..side", "it has the merge '.* joined ways'"),
        ("v1..base", "has no commit"),
        ("base..nowhere", "no revision 'nowhere'"),
    ]:
        with pytest.raises(UserError, match=why):
            resolve(f"git:{repo.path}@{span}", tmp_path)
    with pytest.raises(UserError, match="not a git repository"):
        resolve(f"git:{tmp_path}@a..b", tmp_path)
    with pytest.raises(UserError, match="not a directory"):
        resolve(f"git:{tmp_path}/none@a..b", tmp_path)
    repo.git("commit", "-q", "--allow-empty", "-m", "nothing")
    with pytest.raises(UserError, match="has 1 commits, but only 0 of them change"):
        resolve(f"git:{repo.path}@HEAD^..HEAD", tmp_path)


def test_a_range_of_too_many_commits(repo: Repo, tmp_path: Path) -> None:
    stream = "".join(
        f"commit refs/heads/long\ncommitter A <a@x> {1700000000 + number} +0000\ndata 1\n{'x'}\n"
        + (f"from {repo.git('rev-parse', 'base').decode()}" if number == 0 else "")
        + f"M 100644 inline n\ndata {len(str(number))}\n{number}\n"
        for number in range(400)
    )
    repo.git("fast-import", "--quiet", stdin=stream.encode())
    with pytest.raises(UserError, match="has 400 commits; 256 are the most"):
        resolve(f"git:{repo.path}@base..long", tmp_path)


def test_quilt(repo: Repo, tmp_path: Path) -> None:
    folder = tmp_path / "q"
    repo.git("format-patch", "-q", "-N", "-o", str(folder), "base..v1")
    names = sorted(path.name for path in folder.iterdir())
    (folder / "bare.diff").write_text("Description: gpu: bare\n\n" + plain_diff("drivers/z.c"))
    (folder / "series").write_text(f"# mine\n{names[2]} -p1 # last first\n\n{names[0]}\nbare.diff\n")
    series = resolve(f"dir:{folder}", tmp_path)
    assert [patch.subject for patch in series.patches] == ["gpu: change c", "gpu: change a", "gpu: bare"]
    assert [patch.position for patch in series.patches] == [1, 2, 3]
    for line, why in [
        ("none.patch", "line 1: there is no file"),
        ("../t.mbox", "leads out"),
        ("bare.diff -p0", "-p0 is not"),
    ]:
        (folder / "series").write_text(line + "\n")
        with pytest.raises(UserError, match=why):
            resolve(f"dir:{folder}", tmp_path)


def test_directories_that_hold_no_series(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    with pytest.raises(UserError, match=r"no \.patch file"):
        resolve(f"dir:{folder}", tmp_path)
    (folder / "a.patch").write_text("words\n")
    with pytest.raises(UserError, match="neither a mail nor a diff"):
        resolve(f"dir:{folder}", tmp_path)
    with pytest.raises(UserError, match="is not a directory"):
        resolve(f"dir:{folder}/a.patch", tmp_path)
    with pytest.raises(UserError, match="there is no file"):
        resolve(f"{folder}/none", tmp_path)
    for number in range(600):
        (folder / f"{number}.patch").write_text(plain_diff())
    with pytest.raises(UserError, match="601 patch files"):
        resolve(f"dir:{folder}", tmp_path)


@pytest.mark.parametrize(
    "text", ["a;b@x", "a b@x", "$(x)@y z", "-rf@x", "a@x\ny", "`id`", "a@b;c", '"a"@x', "a<b@x", "", "@", "a@"]
)
def test_what_is_no_message_id(text: str) -> None:
    with pytest.raises(UserError, match="is not a Message-ID"):
        message_id(text)


def test_message_ids_may_look_odd() -> None:
    assert message_id("<20240101.1-a$b`c|d@x.org>") == "20240101.1-a$b`c|d@x.org"


def test_lore_through_b4(repo: Repo, tmp_path: Path) -> None:
    require_tool("b4")
    thread = repo.mbox()
    first = thread.partition(b"Message-Id: <")[2].partition(b">")[0].decode()
    with serving() as server:
        server.files[f"/all/{first}/t.mbox.gz"] = gzip.compress(thread)
        server.files[f"/all/{first.replace('@', '%40')}/t.mbox.gz"] = gzip.compress(thread)
        series = resolve(f"lore:{server.base}/all/{first}/", tmp_path)
        assert [patch.subject for patch in series.patches] == ["gpu: change a", "gpu: change b", "gpu: change c"]
        assert series.base_commit
        with pytest.raises(InfraError, match="b4 says") as raised:
            resolve(f"lore:{server.base}/all/other@x/", tmp_path)
        assert "mbox:FILE" in str(raised.value.hint)


def test_without_b4_there_is_a_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "harness.inputs.series.lore.find_tool", lambda name: None if name == "b4" else find_tool(name)
    )
    with pytest.raises(UserError, match="b4 is not installed") as raised:
        resolve("lore:a@x", tmp_path)
    assert "mbox:FILE" in str(raised.value.hint)


def split(thread: bytes) -> tuple[bytes, bytes]:
    """The cover letter's mail and those of the patches, as a patchwork gives them."""
    first, _, rest = thread.partition(b"\nFrom ")
    return first + b"\n", b"From " + rest


def test_patchwork_of_kernel_org(repo: Repo, tmp_path: Path) -> None:
    cover, patches = split(repo.mbox("base..v1", "-v3"))
    with serving() as server:
        facts = {
            "id": 77, "name": "gpu: change all", "version": 3, "total": 3, "received_total": 3, "received_all": True,
            "mbox": "https://elsewhere.invalid/series/77/mbox/",
            "cover_letter": {"id": 5, "mbox": "https://elsewhere.invalid/project/p/cover/c@x/mbox/"},
            "patches": [{"id": 1}],
        }  # fmt: skip
        server.files["/api/series/77/"] = json.dumps(facts).encode()
        server.files["/series/77/mbox/"] = patches
        server.files["/project/p/cover/c@x/mbox/"] = cover
        for path in ("/series/77/", "/project/p/list/?series=77", "/api/1.3/series/77/", "/series/77/mbox/"):
            series = resolve(f"patchwork:{server.base}{path}", tmp_path)
            assert (series.name, series.revision, len(series.patches)) == ("gpu: change all", 3, 3)
            assert series.cover is not None
        server.files["/api/series/77/"] = json.dumps({**facts, "received_all": False, "total": 4}).encode()
        assert "received only 3 of 4" in resolve(f"patchwork:{server.base}/series/77/", tmp_path).notes[-1]
        server.files["/api/series/77/"] = b"<html>"
        with pytest.raises(InfraError, match="is no JSON"):
            resolve(f"patchwork:{server.base}/series/77/", tmp_path)


def test_patchwork_of_freedesktop_counts_revisions_by_itself(repo: Repo, tmp_path: Path) -> None:
    with serving() as server:
        server.files["/api/1.0/series/9/"] = json.dumps({"id": 9, "name": "gpu: all", "version": 3}).encode()
        for count, words in ((1, ()), (2, ("-v2",)), (3, ("-v2",))):
            server.files[f"/api/1.0/series/9/revisions/{count}/mbox/"] = split(repo.mbox("base..v1", *words))[1]
        newest = resolve(f"patchwork:{server.base}/series/9/", tmp_path)
        assert (newest.name, newest.revision) == ("gpu: all", 2)
        assert "patchwork calls it revision 3, its subjects v2" in newest.notes
        assert resolve(f"patchwork:{server.base}/series/9/#rev1", tmp_path).revision == 1
        assert resolve(f"patchwork:{server.base}/series/9/@v1", tmp_path).revision == 1
        direct = resolve(f"patchwork:{server.base}/api/1.0/series/9/revisions/2/mbox/", tmp_path)
        assert direct.revision == 2
        for text, why in (
            ("series/9/#rev4", "no revision 4"),
            ("series/9/@v9", "has no v9"),
            ("series/8/", "no such series"),
        ):
            with pytest.raises(UserError, match=why):
                resolve(f"patchwork:{server.base}/{text}", tmp_path)


def test_one_patch_of_a_patchwork(repo: Repo, tmp_path: Path) -> None:
    mail = b"From " + repo.mbox().split(b"\nFrom ")[2]
    with serving() as server:
        server.files["/patch/123/mbox/"] = mail.replace(b"[PATCH 2/3]", b"[v8,2/3]")
        with pytest.raises(UserError, match="2 patches of 3 missing: 1, 3"):
            resolve(f"patchwork:{server.base}/patch/123/", tmp_path)
        part = resolve(f"patchwork:{server.base}/patch/123/", tmp_path, FetchOptions(partial=True))
        assert (part.revision, part.patches[0].position) == (8, 2)
        assert lone(part).whole
        with pytest.raises(UserError, match="no such patch"):
            resolve(f"patchwork:{server.base}/patch/124/", tmp_path)
        with pytest.raises(UserError, match="neither a series nor a patch"):
            resolve(f"patchwork:{server.base}/about/", tmp_path)


def test_without_a_network_patchwork_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harness.inputs.download._PAUSE", 0.01)
    with pytest.raises(InfraError, match="cannot download") as raised:
        resolve("patchwork:http://127.0.0.1:9/series/1/", tmp_path)
    assert "mbox:FILE" in str(raised.value.hint)


def describe(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "series.toml").write_text(text)


TOML = """name = "gpu"
subject = "gpu: change all"
[[revision]]
version = 1
patches = 3
cover = "{cover}"
base = "next-20260101"
[[revision]]
version = 2
patches = 9
directory = "v2"
"""


def test_descriptors(repo: Repo, tmp_path: Path) -> None:
    thread = repo.mbox()
    cover = thread.partition(b"Message-Id: <")[2].partition(b">")[0].decode()
    patches, mirror = tmp_path / "patches", tmp_path / "mirror"
    describe(patches / "gpu", TOML.format(cover=cover))
    repo.git("format-patch", "-q", "-v2", "-o", str(patches / "gpu" / "v2"), "base..v1")
    mirror.mkdir()
    (mirror / "other.mbox").write_bytes(mbox(b"Subject: x\n\nMessage-Id: y"))
    means = FetchOptions(patches=patches, mirror=mirror)
    own = resolve("gpu", tmp_path, means)
    assert (own.label, len(own.patches)) == ("gpu v2", 3)
    assert "series.toml says that v2 has 9 patches" in own.notes[0]
    with pytest.raises(UserError, match=r"the mirror .* has no mbox"):
        resolve("gpu@v1", tmp_path, means)
    (mirror / "thread.mbox.gz").write_bytes(gzip.compress(thread))
    first = resolve("gpu@v1", tmp_path, means)
    assert (first.label, first.notes) == ("gpu v1", ("base: next-20260101",))
    with pytest.raises(UserError, match="no revision v7") as raised:
        resolve("gpu@v7", tmp_path, means)
    assert raised.value.hint == "there is v1, v2"
    with pytest.raises(UserError, match="there is no series 'nope'"):
        resolve("nope", tmp_path, means)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("version = 2", "version = 1", "one twice"),
        ("patches = 9", 'patches = "many"', r"series\.toml:\d+: revision\[2\]\.patches: 'many' is not an integer"),
        ("patches = 9", "patchs = 9", r"did you mean patches\?"),
        ('directory = "v2"', "", "needs a cover or a directory"),
        ('directory = "v2"', 'cover = "a;b@x"', "is not a Message-ID"),
        ("[[revision]]", "[[revision", "is not TOML"),
    ],
)
def test_descriptors_that_are_wrong(old: str, new: str, why: str, tmp_path: Path) -> None:
    text = TOML.format(cover="a@x")
    head, _, tail = text.rpartition(old)
    describe(tmp_path, head + new + tail)
    with pytest.raises(UserError, match=why):
        read_descriptor(tmp_path / "series.toml")


def test_the_projects_descriptor_is_readable() -> None:
    found = read_descriptor(CHECKOUT / "patches" / "ttm-shrinker" / "series.toml")
    assert [one.version for one in found.revision] == list(range(1, 17))


PAGE = """Site name
[v8,2/6] gpu: change a

Message ID one-2@example.org (archive)
State New
Commit Message

Ada Ünit Jan. 2, 2026, 3:04 a.m. UTC
Because of <a> & b.

Signed-off-by: Ada Ünit <ada@example.org>
---
 drivers/a.c | 3 ++-

Comments

Bob Jan. 3, 2026, 1 p.m. UTC
> diff --git a/x b/x
> index 1..2

Patch

{diff}
A footer of the site
"""


def page_as_html(text: str) -> bytes:
    lines = "".join(f"<span class='x'>{html.escape(line)}</span>\n" for line in text.split("\n"))
    return (
        f"<!DOCTYPE html>\n<html><head><script>if (a < b) x('<p>')</script></head><pre>{lines}</pre></html>".encode()
    )


@pytest.mark.parametrize("saved_as", ["text", "html"])
def test_a_saved_page(saved_as: str, tmp_path: Path) -> None:
    text = PAGE.replace("{diff}", plain_diff())
    file = tmp_path / "page.txt"
    file.write_bytes(text.encode() if saved_as == "text" else page_as_html(text))
    series = resolve(str(file), tmp_path, FetchOptions(partial=True))
    patch = series.patches[0]
    assert (patch.subject, patch.position, patch.total, patch.revision) == ("gpu: change a", 2, 6, 8)
    assert (patch.author, patch.message_id) == ("Ada Ünit", "one-2@example.org")
    assert patch.body == "Because of <a> & b.\n\nSigned-off-by: Ada Ünit <ada@example.org>"
    assert patch.diff == plain_diff()
    assert series.missing == (1, 3, 4, 5, 6)
    assert LAST_RESORT in series.notes
    with pytest.raises(UserError, match="holds only patch 2 of 6 of v8"):
        resolve(str(file), tmp_path)


def test_any_text_with_a_diff_in_it(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("look at this\n\n" + plain_diff())
    series = resolve(str(file), tmp_path)
    assert (series.name, series.total, series.whole) == ("x.txt", 1, True)
    file.write_text("nothing\n")
    with pytest.raises(UserError, match="has no diff in it"):
        resolve(str(file), tmp_path)
    subjects = "".join(f"Subject: [PATCH {number}/2] x\n\n{plain_diff(f'drivers/{number}.c')}\n" for number in (1, 2))
    file.write_text("lore\n" + subjects)
    with pytest.raises(UserError, match="a page with 2 patches"):
        resolve(str(file), tmp_path)
    with pytest.raises(UserError, match="is not an mbox"):
        resolve(f"mbox:{file}", tmp_path)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<", ">", "<p", "<script>", "</script", "<!--", "&lt;", "\n", "[v1,1/2] x\n", plain_diff()]),
        max_size=40,
    )
)
def test_pages_bring_nothing_but_sentences(pieces: list[str]) -> None:
    for head in ("", "<!DOCTYPE html>\n"):
        try:
            read_page((head + "".join(pieces)).encode(), "p", "p")
        except HarnessError as error:
            assert error.message


def test_a_hostile_page_takes_no_time() -> None:
    for piece in ("<", "<a ", "<script>", "[", "Message ID ", "Subject: ["):
        with pytest.raises(UserError):
            read_page(("<!DOCTYPE html>\n" + piece * 200_000).encode(), "p", "p")
