# SPDX-License-Identifier: GPL-2.0-only
"""The page: all that is in a report, nothing that loads, no script but its own, whatever was written into it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import harness.reports
from harness.flow.comparison import contrasted
from harness.flow.run_loader import read_plots
from harness.model.compare import Change, Leg
from harness.model.comparison import COMPARE_SCHEMA, ComparedSide, CompareOutput
from harness.model.gate import GATE_SCHEMA, Gate, GateCheck, Mark, PatchGate
from harness.model.known import KnownState, KnownUse
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Report
from harness.reports.html import compare_html, report_html
from harness.reports.text import origins
from tests.unit.compare_support import OOM, SPLAT, booted, case, report, side
from tests.unit.test_reports import REPORT

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}</pre></table>&amp;"
MORE = Path(harness.reports.__file__).parent / "templates" / "more.js"
_VOID = {"meta", "img", "br", "line", "rect"}
# What may stand in the page; all else would be somebody else's.
_TAG = re.compile(
    "html|head|meta|title|style|body|h[123]|p|ul|li|span|code|pre|table|t[rhd]|div|details|summary|img|svg|g|rect|line|noscript"
)
_ATTRIBUTE = re.compile(
    "lang|charset|http-equiv|content|name|class|scope|alt|src|open|width|height|role|aria-label|[xy][12]?|stroke-width"
    "|data-(of|boot|what)"
)


class Page(HTMLParser):
    """The text of a page, checked as it is read: known tags in order, no address but data, no script but the one that
    the policy names, and what that unfolds.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[str] = []
        self.scripts: list[str] = []
        self.packed: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        policies = re.findall(r"script-src '(sha256-[^']+)'", text)
        assert policies == [
            f"sha256-{base64.b64encode(sha256(one.encode()).digest()).decode()}" for one in self.scripts
        ]
        assert self.scripts in ([], [MORE.read_text("utf-8")])
        self.more = json.loads(gzip.decompress(base64.b64decode(self.packed[0]))) if self.packed else []
        for boot in self.more:
            for row in boot["cases"]:
                self.text += row
            if boot["plot"]:
                self.images.append(boot["plot"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            assert attrs in ([], [("type", "application/octet-stream"), ("id", "more")])
            self.open.append("packed" if attrs else tag)
            return
        assert _TAG.fullmatch(tag), tag
        assert all(_ATTRIBUTE.fullmatch(name) for name, _ in attrs), attrs
        for name, value in attrs:
            if name == "src":
                assert value is not None
                assert value.startswith("data:image/svg+xml;base64,")
                self.images.append(value.partition(",")[2])
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            last = self.open.pop()
            assert last == tag or (last == "packed" and tag == "script")

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] == ["packed"]:
            assert re.fullmatch(r"[A-Za-z0-9+/=]+", data)
            self.packed.append(data)
        elif self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def page(one: Report, plots: dict[str, str] | None = None) -> Page:
    return Page(report_html(one, Path("/runs/x"), plots))


def test_a_page_has_what_a_report_has() -> None:
    words = page(
        replace(REPORT, known=(KnownUse("k", KnownState.STALE, "a reason", "somebody", "2027-01-01", 0, 0),))
    ).words
    for said in (
        "20261120T000000-abcdef",
        "bad",
        "001-x: 1 case FAIL",
        "7.3.4",
        "linux-source-7.3 7.3.4-1",
        "sh /runs/x/001-x/reproduce.sh",
        "FAIL s a.fail",
        "why [FAIL]",
        "PASS good s a.pass",
        "WARNING: at f",
        "trace",
        "console.log:10",
        "225M free at start",
        "known issue k is stale",
        "seed 5",
    ):
        assert said in words, said


def hostile(word: str) -> Report:
    """A report in which whatever a guest, a series or another host can write is `word`."""
    event = replace(SPLAT, title=word, kind=word, fingerprint=word, lines=(word, word), task=word, known=word)
    odd = replace(case(Outcome.FAIL, event, name=word), message=word, diagnostics=(word,), suite=word)
    run, cases, events = booted(1, (odd,), loose=(event,))
    run = replace(run, problems=(word,), reasons=(word,), directory=word, group=word, kept_from=word, accel=word)
    whole = report(word, (run, cases, events), version=word)
    return replace(
        whole,
        plan=word,
        reasons=(word,),
        base=replace(whole.provenance, tree_origin=word, compiler=word, build_id=word),
        known=(KnownUse(word, KnownState.EXPIRED, word, word, word, 1, 1),),
        gates=(gate_of(word),),
    )


def gate_of(word: str) -> Gate:
    check = GateCheck(word, Mark.BAD, word, (word,))
    return Gate(
        GATE_SCHEMA, Verdict.BAD, (word,), word, "a" * 64, word, 1, (PatchGate(1, 1, word, "b" * 40, (check,)),)
    )


def test_a_page_has_the_gate() -> None:
    words = page(replace(REPORT, gates=(gate_of("drm/ttm: x"),))).words
    for said in (
        "The gate: drm/ttm: x on drm/ttm: x",
        "the first bad patch is 1/1",
        "1/1 drm/ttm: x bad : drm/ttm: x",
    ):
        assert said in words, said
    assert "The gate" not in page(REPORT).words


def test_a_kernel_that_was_not_booted_is_not_called_the_one_on_trial() -> None:
    alone = replace(REPORT, gates=(gate_of("x"),), runs=(), cases=(), events=())
    assert [word for word, _ in origins(alone)] == ["built"]
    several = replace(alone, kernels=(alone.provenance, replace(alone.provenance, build_id="c" * 64)))
    assert [word for word, _ in origins(several)] == ["built", "built"]
    assert [word for word, _ in origins(REPORT)] == ["kernel"]


def test_hostile_words_are_shown_and_do_nothing() -> None:
    text = report_html(hostile(HOSTILE), Path("/runs") / "x")
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in text  # as it was written: it is data, no template
    assert HOSTILE in Page(text).words


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_words_make_a_page(word: str) -> None:
    Page(report_html(hostile(word), Path("/runs/x")))


def test_control_characters_do_not_come_through() -> None:
    text = report_html(hostile("\x1b[2J\x00\ud800"), Path("/runs/x"))
    text.encode("utf-8")
    assert "\x1b" not in text
    assert "\x00" not in text


def test_nothing_is_loaded_and_nothing_of_others_runs() -> None:
    text = report_html(REPORT, Path("/runs/x"), {"001-x": "<svg/>"})
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text
    assert " href=" not in text


def test_a_plot_is_an_image() -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    (image,) = page(REPORT, {"001-x": svg}).images
    assert image == svg
    assert "<script>alert" not in report_html(REPORT, Path("/runs/x"), {"001-x": svg})


def test_plots_of_others_are_not_read(tmp_path: Path) -> None:
    mine, other = tmp_path / "run", tmp_path / "other"
    for place in (mine / "001-x", other):
        place.mkdir(parents=True)
        (place / "telemetry.svg").write_text("<svg/>")
    assert read_plots(REPORT, mine) == {"001-x": "<svg/>"}
    away = tuple(replace(run, directory="../other") for run in REPORT.runs)
    assert read_plots(replace(REPORT, runs=away), mine) == {}
    absolute = tuple(replace(run, directory=str(other)) for run in REPORT.runs)
    assert read_plots(replace(REPORT, runs=absolute), mine) == {}
    (mine / "001-x" / "telemetry.svg").unlink()
    (mine / "001-x" / "telemetry.svg").symlink_to(other / "telemetry.svg")
    assert read_plots(REPORT, mine) == {}
    (mine / "001-x" / "telemetry.svg").unlink()
    (mine / "001-x" / "telemetry.svg").write_text("x" * (3 << 20))
    assert read_plots(REPORT, mine) == {}


def test_a_thousand_boots_are_counted_and_not_all_shown() -> None:
    boots = [booted(number, (case(Outcome.FAIL if number == 999 else Outcome.PASS),)) for number in range(1000)]
    failed = [(replace(run, verdict=Verdict.BAD) if run.id == "999-tip" else run, cs, es) for run, cs, es in boots]
    words = page(report("many", *failed)).words
    assert "and 800 more boots" in words
    assert "999-tip" in words


def two_sides(word: str = "t.a") -> CompareOutput:
    base = side(*(booted(n, (case(name=word, figures={word: 10.0 + n}),)) for n in range(5)))
    tip = side(
        *(booted(n, (case(Outcome.WARN, replace(SPLAT, title=word), OOM, name=word),)) for n in range(3)),
        *(booted(n, (case(name=word, figures={word: 30.0 + n}),)) for n in range(3, 9)),
    )
    contrast = contrasted(base, tip)
    assert contrast.metrics is not None
    return CompareOutput(
        COMPARE_SCHEMA,
        Verdict.BAD,
        (word,),
        ComparedSide(word, (word,), 5, 0, (REPORT.provenance,)),
        ComparedSide(word, (word,), 9, 1, (replace(REPORT.provenance, tree_origin=word),)),
        contrast.cases,
        contrast.events,
        contrast.metrics,
        (KnownUse(word, KnownState.STALE, word, word, word, 0, 0),),
        (word,),
    )


def test_a_comparison_has_cases_events_figures_and_known_issues() -> None:
    output = two_sides()
    assert {one.change for one in output.comparisons} == {Change.FLAKY, Change.SAME}
    words = Page(compare_html(output)).words
    for said in ("FLAKY", "5/5 -> 6/9", "+196%", "1 left out", "STALE", "OOM with 1023 MiB"):
        assert said in words, said
    assert "<svg" in compare_html(output)


def test_a_hostile_comparison() -> None:
    text = compare_html(two_sides(HOSTILE))
    assert "<script>alert" not in text
    assert "<img" not in text
    assert HOSTILE in Page(text).words


def test_figures_that_are_no_numbers() -> None:
    """JSON of another tool may have them."""
    output = two_sides()
    metrics = output.metric_changes
    one = metrics.changes[0]
    odd = replace(one, base=replace(one.base, least=float("nan"), median=float("inf")))
    Page(compare_html(replace(output, metric_changes=replace(metrics, changes=(odd,)))))


def test_a_run_against_its_base_is_compared_on_its_page() -> None:
    base, tip = booted(1, (case(),), Leg.BASE), booted(2, (case(Outcome.WARN, SPLAT),))
    contrast = contrasted(side(base), side(tip))
    whole = replace(
        report("r", base, tip),
        base=REPORT.provenance,
        comparisons=contrast.cases,
        event_changes=contrast.events,
        metric_changes=contrast.metrics,
    )
    words = page(whole).words
    assert "REGRESSED s t.a PASS WARN 1/1 -> 0/1" in words
    assert f"REGRESSED warning WARNING: at f 0/1 -> 1/1 s t.a {SPLAT.fingerprint}" in words


def test_results_come_first_then_events_then_where_it_comes_from() -> None:
    text = report_html(REPORT, Path("/runs/x"))
    places = [text.index(word) for word in ("Findings and gaps", "<h2>Boots", "<h2>Events", "Where it comes from")]
    assert places == sorted(places)


def test_what_failed_is_there_without_the_script() -> None:
    text = report_html(REPORT, Path("/runs/x"))
    still = text[: text.index('id="more"')]
    assert "a.fail" in still
    assert "a.pass" not in still


def test_a_note_of_a_good_run_is_not_said_to_count() -> None:
    note = replace(SPLAT, kind="taint", title="a taint", fingerprint="ffffff")
    good = replace(REPORT, verdict=Verdict.GOOD, cases=REPORT.cases[:1], events=(note,))
    assert "no: a note" in page(good).words
    assert "counts yes" not in report_html(good, Path("/runs/x")).replace('data-of="counts">', "counts ")
    assert 'data-of="counts">yes' in report_html(REPORT, Path("/runs/x"))


def test_a_page_of_many_cases_is_small() -> None:
    cases = tuple(
        Case("pressure", f"pressure.case_{number}", Outcome.PASS, seconds=number / 7, run=REPORT.runs[0].id)
        for number in range(1000)
    )
    svg = "<svg>" + "".join(f'<path d="M{number}.{number * 7 % 1000} 0"/>' for number in range(20_000)) + "</svg>"
    text = report_html(replace(REPORT, cases=cases), Path("/runs/x"), {REPORT.runs[0].id: svg})
    assert len(text) < 200_000
    assert len(Page(text).more[0]["cases"]) == 1000


def test_every_cell_of_a_table_with_a_head_says_of_what_it_is() -> None:
    """On a narrow screen the heads are not there: a figure without its word would say nothing."""
    base, tip = booted(1, (case(),), Leg.BASE), booted(2, (case(Outcome.WARN, SPLAT),))
    contrast = contrasted(side(base), side(tip))
    whole = replace(report("r", base, tip), base=REPORT.provenance, comparisons=contrast.cases)
    for text in (report_html(whole, Path("/runs/x")), compare_html(two_sides())):
        assert '<td class="n">' not in text
        assert "<tr><th>" not in text  # a head that stays would be cut
        assert "white-space: nowrap" not in text.partition("max-width: 48rem")[2].partition("</style>")[0]
