# SPDX-License-Identifier: GPL-2.0-only
"""The site: every page is whole and links to what is there, obeys nobody's words, and is made anew if need be."""

from __future__ import annotations

import json
import re
import shutil
import xml.dom.minidom
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evidence.telemetry import Telemetry, parse
from harness.flow.site import SiteOutcome, _alike, _Likes, write_site
from harness.flow.site_lists import ListContext, _diff
from harness.model.compare import Leg
from harness.model.errors import UserError
from harness.model.event import Case, Event, Span
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.results import Tally
from harness.model.swap import Swap
from harness.reports.site.console import sections
from harness.reports.site.grids import grid_of, heat_of
from harness.reports.site.timeline import timeline_svg
from harness.reports.site.values import CaseSpan, Moment, NightNote, SiteBoot, SiteRun, cut, page_name, slug
from harness.store.layout import Layout
from tests.unit.results_support import Quiet, keep, plain_report
from tests.unit.series_support import Repo
from tests.unit.site_support import TELEMETRY, made_kernel, some_runs

_VOID = {"meta", "link", "input", "line", "rect", "path", "circle", "img", "br"}


class Page(HTMLParser):
    """A page of the site: its tags in order, its links, its anchors; AssertionError where it runs anything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert tag != "img" and not any(name.startswith("on") or name == "style" for name in values), (tag, attrs)
        if tag not in _VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]  # a tag began
            self.open.append(tag)
        if tag == "a":
            self.links.append(values["href"])
        if tag == "script":
            self.loaded.append(values["src"])
        if tag == "link" and values["rel"] == "stylesheet":
            self.loaded.append(values["href"])
        if "id" in values:
            assert values["id"] not in self.anchors, values["id"]
            self.anchors.add(values["id"])

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Path, SiteOutcome]:
    root = tmp_path_factory.mktemp("site")
    layout = Layout(root / "store")
    layout.root.mkdir()
    some_runs(layout)
    note = NightNote(
        "2026-11-20", Verdict.CANNOT_TELL, ("the control boot stayed green",), (("the mail", "../mail.txt"),)
    )
    (root / "site").mkdir()
    outcome = write_site(layout, root / "site", Quiet(), notes=[note])
    (root / "site" / "mail.txt").write_text("a mail\n")
    return layout, root / "site", outcome


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_whole_and_every_link_leads_somewhere(made: tuple[Layout, Path, SiteOutcome]) -> None:
    _, site, outcome = made
    assert outcome.runs == outcome.made == 4 and not outcome.skipped
    found = pages(site)
    assert len(found) > 100
    for path, page in found.items():
        for link in page.links + page.loaded:
            address, anchor = urldefrag(link)
            target = (path.parent / unquote(address)).resolve() if address else path
            assert target.is_relative_to(site.resolve()) and target.is_file(), (path, link)
            if anchor and target.suffix == ".html":
                assert anchor in found[target].anchors, (path, link)


def test_nothing_is_obeyed_that_others_wrote(made: tuple[Layout, Path, SiteOutcome]) -> None:
    _, site, _ = made
    words = "\n".join(text for page in pages(site).values() for text in page.text)
    assert "<script>alert(1)</script>" in words and "{{ 7 * 7 }}" in words
    for path, page in pages(site).items():
        text = path.read_text("utf-8")
        assert page.loaded in (
            ["../" * (len(path.relative_to(site).parts) - 1) + "style.css"],
            ["style.css", "search.js"],
        )
        assert "\x1b" not in text and "\u202e" not in text
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
        assert policy is not None and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]


def test_the_search_index_is_data_in_a_call(made: tuple[Layout, Path, SiteOutcome]) -> None:
    _, site, _ = made
    shards = list((site / "search").glob("*.js"))
    entries = [entry for path in shards for entry in json.loads(path.read_text().removeprefix("ttmIndex(")[:-3])]
    assert {kind for kind, *_ in entries} == {"run", "case", "finding", "event"}
    assert all((site / urldefrag(path)[0]).is_file() for _, _, path, _ in entries)
    assert all(path.read_text().isascii() for path in shards)


def test_a_boot_shows_what_its_directory_has(made: tuple[Layout, Path, SiteOutcome]) -> None:
    layout, site, _ = made
    run = sorted((site / "runs").iterdir())[0]
    page = Page((run / "0001-002-boot.html").read_text())
    words = "".join(page.text)
    assert "OOM report 1" in words and "zones and watermarks" in words and "query-status" in words
    assert "ttm-harness run --suite ttm-kunit,pressure --ram 96M" in words
    assert f"sh {layout.runs / run.name}/002-boot/reproduce.sh" in words
    assert any("-console.html#case-" in link for link in page.links)
    console = Page((run / "0001-002-boot-console.html").read_text())
    assert {link.rpartition("#")[2] for link in page.links if "-console.html#" in link} <= console.anchors


def test_a_night_has_what_the_nightly_said(made: tuple[Layout, Path, SiteOutcome]) -> None:
    _, site, _ = made
    page = Page((site / "nights" / "2026-11-20.html").read_text())
    assert "the control boot stayed green" in "".join(page.text) and "../mail.txt" in page.links


def test_only_what_changed_is_made_again(scratch_layout: Layout, tmp_path: Path) -> None:
    some_runs(scratch_layout)
    target = tmp_path / "site"
    assert write_site(scratch_layout, target, Quiet()).made == 4
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.html")}
    again = write_site(scratch_layout, target, Quiet())
    assert (again.made, again.written, again.removed) == (0, 0, 0)
    new = keep(scratch_layout, -1, plain_report(a=Outcome.FAIL), number=20)
    third = write_site(scratch_layout, target, Quiet())
    assert third.made == 1
    changed = {path.relative_to(target).parts[0] for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert "runs" not in changed and "index.html" in changed
    shutil.rmtree(new)
    fourth = write_site(scratch_layout, target, Quiet())
    assert fourth.made == 0 and not (target / "runs" / new.name).exists()
    assert set(target.rglob("*.html")) == set(before)


def test_a_killed_generation_goes_on(scratch_layout: Layout, tmp_path: Path) -> None:
    some_runs(scratch_layout)
    target = tmp_path / "site"
    write_site(scratch_layout, target, Quiet())
    whole = {path: path.read_bytes() for path in target.rglob("*.html")}
    (target / "data" / "state.json").write_text("{}\n")
    newest = max((target / "runs").iterdir())
    (target / "data" / f"{newest.name}.json").write_text('{"torn')
    (newest / "index.html").unlink()
    assert write_site(scratch_layout, target, Quiet()).made == 1
    assert {path: path.read_bytes() for path in target.rglob("*.html")} == whole


def test_a_directory_with_something_else_is_left_alone(scratch_layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        write_site(scratch_layout, tmp_path, Quiet())
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["thesis.txt"]


def test_an_empty_store_has_a_site(scratch_layout: Layout, tmp_path: Path) -> None:
    write_site(scratch_layout, tmp_path / "site", Quiet())
    assert all(Page(path.read_text()).open == [] for path in (tmp_path / "site").rglob("*.html"))


@given(st.text(max_size=120), st.text(max_size=120))
def test_a_name_for_a_file_stays_where_it_is_and_is_its_own(one: str, other: str) -> None:
    for text in (one, other):
        assert (
            re.fullmatch(r"[A-Za-z0-9._-]*", slug(text)) and not slug(text).startswith(".") and len(slug(text)) < 100
        )
        assert slug(text) != ""
    assert one == other or slug(one) != slug(other)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), max_size=12),
    st.integers(0, 50),
    st.lists(st.integers(1, 60), max_size=5),
)
@settings(deadline=None)
def test_each_line_of_a_console_is_in_one_section(
    spans: list[tuple[int, int]], count: int, events: list[int]
) -> None:
    cases = [Case("s", f"c{first}", Outcome.PASS, span=Span(first, first + more)) for first, more in spans]
    said = [Event("oops", "o", "f", Span(first, first + 2)) for first in events]
    found = sections([f"line {number}" for number in range(1, count + 1)], cases, said, said[:1])
    assert [line.number for section in found for line in section.lines] == list(range(1, count + 1))


@given(st.lists(st.tuples(st.text(max_size=40), st.floats(0, 1e6), st.floats(0, 1e5)), max_size=8), st.booleans())
@settings(deadline=None)
def test_a_timeline_is_xml_whatever_the_cases_are_called(
    bars: list[tuple[str, float, float]], recorded: bool
) -> None:
    recording = parse(TELEMETRY.read_text()) if recorded else Telemetry()
    spans = [
        CaseSpan(name, Outcome.FAIL, start, start + more, f"case-{n}") for n, (name, start, more) in enumerate(bars)
    ]
    text = timeline_svg(recording, spans, [Moment(name, time, "L1", True) for name, time, _ in bars], "c.html")
    if text:
        xml.dom.minidom.parseString(text)
    else:
        assert not recorded


def test_a_timeline_of_next_to_no_time_ends() -> None:
    bars = [CaseSpan("c", Outcome.PASS, 1e6, 1e6 + 1e-7, "case-0")]
    assert timeline_svg(Telemetry(), bars, [], "c.html").count("<line") < 20


def site_boot(ram: int, swap: str, verdict: Verdict, leg: Leg = Leg.TIP, kills: int = 0) -> SiteBoot:
    return replace(_BOOT, verdict=verdict, leg=leg, ram=ram << 20, swap=Swap.parse(swap), kills=kills)


_BOOT = SiteBoot(
    id="b",
    place=0,
    leg=Leg.TIP,
    kernel="7.3.4",
    series="",
    machine="m",
    ram=1 << 28,
    swap=Swap.parse("none"),
    suites=("pressure",),
    seed=1,
    ending=Ending.FINISHED,
    verdict=Verdict.GOOD,
    executed=1,
    bad=0,
    seconds=1.0,
    kills=None,
    kept_from="",
    figures={},
)


def test_a_map_says_where_it_went_wrong_on_base_and_tip() -> None:
    heat = heat_of(
        [
            ("a.html", site_boot(96, "none", Verdict.GOOD)),
            ("b.html", site_boot(96, "none", Verdict.BAD, kills=2)),
            ("c.html", site_boot(256, "disk:1G", Verdict.GOOD, Leg.BASE)),
        ]
    )
    assert heat is not None and heat.swaps == (("none", (Leg.TIP,)), ("disk:1G", (Leg.BASE,)))
    (small, cells), (large, others) = heat.rows
    assert (small, large) == ("96M", "256M")
    assert (
        cells[0][0] is not None and cells[0][0].words == "1 of 2 good, 2 OOM kills" and cells[0][0].page == "b.html"
    )
    assert cells[0][0].color == "bad" and cells[1][0] is None
    assert others[1][0] is not None and others[1][0].color == "good"
    assert heat_of([("a.html", site_boot(96, "none", Verdict.GOOD))]) is None


def test_a_grid_puts_first_what_differs() -> None:
    def tally(name: str, series: str, outcome: Outcome, times: int = 1) -> Tally:
        return Tally("r", Leg.TIP, "7.3.4", series, "s", name, outcome, times)

    tallies = [
        tally("same", "v1", Outcome.PASS, 3),
        tally("same", "v2", Outcome.PASS, 2),
        tally("worse", "v1", Outcome.PASS, 3),
        tally("worse", "v2", Outcome.PASS, 2),
        tally("worse", "v2", Outcome.FAIL, 1),
        tally("gone", "v1", Outcome.NOT_RUN),
        tally("new", "v2", Outcome.PASS),
    ]
    grid = grid_of((((one.name,), one.series, one) for one in tallies), ["v1", "v2"])
    assert [row for row, _ in grid.everywhere] == [("same",)] and [row for row, _ in grid.somewhere] == [("new",)]
    assert [row for row, _ in grid.quiet] == [("same",), ("new",)] and [row for row, _ in grid.loud] == [
        ("worse",),
        ("gone",),
    ]
    words = {row[0]: [cell.words if cell else None for cell in cells] for row, cells in (*grid.loud, *grid.quiet)}
    assert words == {"same": ["3", "2"], "worse": ["3", "1/3 FAIL"], "gone": ["NOT_RUN", None], "new": [None, "1"]}


def test_a_long_list_is_cut_into_pages() -> None:
    assert list(cut(range(5), 2)) == [(1, range(2)), (2, range(2, 4)), (3, range(4, 5))]
    assert list(cut([])) == [(1, [])]
    assert [page_name("index", number) for number in (1, 2)] == ["index.html", "index-2.html"]


def test_two_revisions_beside_their_results(scratch_layout: Layout, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    repo.three()
    repo.change("drivers/a.c", "int line_a20;\n", "long line_a20;\n")
    repo.commit("gpu: one more")
    repo.git("tag", "v2")

    def run(revision: int) -> SiteRun:
        kernel, label = made_kernel("7.3.4", f"mine v{revision}", str(revision)), f"mine v{revision}"
        spec = f"git:{repo.path}@base..v{revision}"
        return SiteRun(
            "r", "2026", Verdict.GOOD, True, "", (), (kernel,), (label,), (spec,), (), (), (), (), 1.0
        )  # fmt: skip

    data = tmp_path / "data"
    data.mkdir()
    context = ListContext(scratch_layout, Quiet(), data, ())
    runs = {"mine v1": run(1), "mine v2": run(2)}
    words, found = _diff("mine v1", "mine v2", runs, context)
    assert words == "3 same, 1 added" and found is not None
    shutil.rmtree(repo.path)  # it is remembered
    assert _diff("mine v1", "mine v2", runs, context) == (words, found)
    lost = {**runs, "mine v2": replace(runs["mine v2"], specs=("git:/nowhere@a..b",))}
    words, found = _diff("mine v1", "mine v2", lost, context)
    assert words.startswith("cannot be told") and found is None
    elsewhere = {**runs, "mine v2": replace(runs["mine v2"], specs=("lore:a@b",))}
    words, found = _diff("mine v1", "mine v2", elsewhere, context)
    assert words.startswith("ttm-harness series diff") and found is None


def test_a_job_of_a_nightly_is_compared_with_its_like() -> None:
    kernel = made_kernel("7.3.4", "", "1")
    boots = (site_boot(96, "none", Verdict.GOOD),)
    plain = SiteRun(
        "r", "2026", Verdict.GOOD, True, "tree 7.3.4", (), (kernel,), (), (), (), boots, (), (), 1.0, watched_by="n"
    )
    other = replace(plain, plan="tree 7.3.5")
    assert list(_alike(plain)) == list(_alike(other)) and len(list(_alike(plain))) == 1
    old, new = (replace(plain, series=(f"mine v{number}",)) for number in (9, 10))
    assert list(_alike(old)) == list(_alike(new)) and len(list(_alike(old))) == 2
    assert list(_alike(replace(plain, watched_by=""))) != list(_alike(replace(other, watched_by="")))


def test_a_revision_is_compared_with_the_one_before_whichever_was_run_first() -> None:
    boots = (site_boot(96, "none", Verdict.GOOD),)

    def run(name: str, revision: int) -> SiteRun:
        labels = (f"mine v{revision}",) if revision else ()
        return SiteRun(
            name, "2026", Verdict.GOOD, True, "p", (), (made_kernel("7.3.4"),), labels, (), (), boots, (), (), 1.0
        )  # fmt: skip

    runs = {name: run(name, revision) for name, revision in (("1", 10), ("2", 9), ("3", 0), ("4", 0), ("5", 10))}
    likes = _Likes()
    for one in runs.values():
        likes.add(one)
    before = {name: likes.name_before(one) for name, one in runs.items()}
    assert before == {"1": "2", "2": "", "3": "", "4": "3", "5": "1"}


def test_a_revision_that_was_run_first_gets_its_comparison_later(scratch_layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "site"

    def kept(revision: int, days: float, outcome: Outcome) -> Path:
        one = plain_report(a=outcome)
        kernel = made_kernel("7.3.4", f"mine v{revision}", str(revision))
        runs = tuple(replace(run, cell=replace(run.cell, build_id=kernel.build_id)) for run in one.runs)
        return keep(scratch_layout, days, replace(one, provenance=kernel, runs=runs), number=revision)

    second = kept(2, 2, Outcome.PASS)
    assert write_site(scratch_layout, target, Quiet()).made == 1
    page = target / "runs" / second.name
    assert not (page / "against.html").exists()
    first = kept(1, 1, Outcome.FAIL)
    assert write_site(scratch_layout, target, Quiet()).made == 2
    assert f"compared with mine v1, {first.name}" in (page / "index.html").read_text()
    assert "FIXED" in (page / "against.html").read_text()
    assert not (target / "runs" / first.name / "against.html").exists()
    assert write_site(scratch_layout, target, Quiet()).made == 0
    shutil.rmtree(first)  # what is gone is no more compared with
    assert write_site(scratch_layout, target, Quiet()).made == 1
    assert not (page / "against.html").exists()
