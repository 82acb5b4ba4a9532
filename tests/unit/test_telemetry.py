# SPDX-License-Identifier: GPL-2.0-only
"""The sampler's recordings: read, cut, broken and drawn."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evidence.telemetry import Telemetry, TimeSeries, metrics, parse
from harness.flow.observe import observe
from harness.guest.boot import Boot
from harness.kernel.decode import Objects
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.figure import Figure, Figures, Plot, Unit
from harness.model.machine import Machine
from harness.model.outcome import Ending
from harness.reports.plot import panels, plot_svg
from harness.suites.registry import suite_named
from tests.conftest import require_tool

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "telemetry"
HOG = (DATA / "hog-and-oom.tsv").read_text()
PANICKED = (DATA / "panicked.tsv").read_text()
MARKS = ((6.97, "anon"), (12.54, "hold"), (15.44, "hog"), (16.32, "release"), (20.38, "oom-kill"))
FIRST = "# ttm-sampler 1 interval_ms=100 page_bytes=4096 rss_kib=324\n"
PRESSURE = Figures(suite_named("pressure").figures)
END = "# end samples=3 missed=0 dropped=0 rss_kib=324 cpu_us=100\n"


def table(*rows: str, header: str = "time_ms MemFree:KiB pswpin:pages") -> str:
    """A recording, written with blanks for tabs."""
    return FIRST + "".join(line.replace(" ", "\t") + "\n" for line in (header, *rows))


def figures(telemetry: Telemetry) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics(telemetry)}


# What a good recording says


def test_a_recording_of_a_hog_and_an_oom_kill() -> None:
    telemetry = parse(HOG, PRESSURE)
    assert telemetry.problems == ()
    assert telemetry.ended
    assert telemetry.interval == 0.2
    assert len(telemetry.times) == 160
    found = figures(telemetry)
    assert found["oom_kill"] == 1
    assert found["stat.backed_up"] == found["stat.restored"] == 68608  # 268 MiB, each page once
    assert found["backed_up.max"] == 268 << 20
    assert found["swap_used.max"] == found["SwapTotal.max"] == pytest.approx(224 << 20, rel=0.01)
    assert found["GPUActive.max"] == pytest.approx(212 << 20, rel=0.01)
    assert found["stat.scan_ns_max.max"] == 143123175e-9
    assert 0 < found["psi_full_total"] <= found["psi_some_total"] < found["seconds"]
    assert found["backup_bytes_per_second"] == pytest.approx((268 << 20) / 2.261388996)
    assert found["longest_gap"] == telemetry.longest_gap == pytest.approx(0.657)


def test_the_statistics_of_a_module_come_and_go() -> None:
    telemetry = parse(HOG, PRESSURE)
    series = telemetry.get("stat.populated")
    assert series is not None
    assert series.unit == "pages"
    assert telemetry.times[0] < series.times[0]
    assert series.times[-1] < telemetry.times[-1]
    assert telemetry.get("stat.scan_ns_max") is not None
    assert telemetry.get("MemFree") is not None


def test_a_guest_that_panicked_leaves_all_but_the_last_second() -> None:
    telemetry = parse(PANICKED)
    assert not telemetry.ended
    assert telemetry.problems == ("the recording was cut off after 7.617 s",)
    assert 8.187 - telemetry.times[-1] < 1.1


def test_figures_of_a_counter_and_of_a_level() -> None:
    telemetry = parse(table("1000 50 7", "1100 20 9", "1300 90 9") + END)
    assert telemetry.problems == ()
    assert telemetry.delta("pswpin") == 2
    assert (telemetry.low("MemFree"), telemetry.peak("MemFree")) == (20, 90)
    rate = telemetry.rate("pswpin")
    assert rate is not None
    assert rate.unit == "pages/s"
    assert rate.times == (1.1, 1.3)
    assert rate.values == pytest.approx((20, 0))
    assert figures(telemetry) == pytest.approx(
        {
            "samples": 3,
            "seconds": 0.3,
            "longest_gap": 0.2,
            "MemFree.min": 20480,
            "MemFree.max": 92160,
            "pswpin": 2,
        }
    )


def test_what_is_not_there_is_none() -> None:
    telemetry = parse(table("1000 50 7"))
    assert telemetry.get("Shmem") is None
    assert telemetry.delta("Shmem") is telemetry.peak("Shmem") is telemetry.low("Shmem") is None
    assert telemetry.rate("Shmem") is telemetry.swap_used is telemetry.get("backed_up") is None
    assert telemetry.growth("Shmem") == ()


def test_absent_values_are_left_out() -> None:
    telemetry = parse(table("1000 - 7", "1100 - 8", "1200 5 -") + END)
    assert telemetry.get("MemFree") == TimeSeries("MemFree", "KiB", (1.2,), (5,))
    assert telemetry.delta("pswpin") == 1
    assert parse(table("1000 - 7")).get("MemFree") is None


def test_a_new_header_adds_a_column() -> None:
    text = table("1000 50 7") + table("1100 51 8 3", header="time_ms MemFree:KiB pswpin:pages stat.purged")
    telemetry = parse(text.replace(FIRST, "") + END, PRESSURE)
    assert telemetry.get("MemFree") == TimeSeries("MemFree", "KiB", (1.0, 1.1), (50, 51))
    assert telemetry.get("stat.purged") == TimeSeries("stat.purged", "pages", (1.1,), (3,))


def test_a_module_counts_from_zero_and_again_when_it_is_loaded_again() -> None:
    text = table("1000 -", "1100 5", "1200 9", "1300 -", "1400 2", "1500 3", header="time_ms stat.purged")
    telemetry = parse(text + END)
    assert telemetry.delta("stat.purged") == 9 + 3
    rate = telemetry.rate("stat.purged")
    assert rate is not None
    assert rate.times == (1.1, 1.2, 1.4, 1.5)
    assert rate.values == pytest.approx((50, 40, 10, 10))
    # What had been counted before the recording began is not the recording's.
    assert parse(table("1000 5", "1100 9", header="time_ms stat.purged")).delta("stat.purged") == 4


def backed_up(text: str) -> TimeSeries | None:
    return parse(text + END, PRESSURE).get("backed_up")


def test_backed_up_is_never_more_than_shmem_and_swap_hold() -> None:
    header = "time_ms Shmem:KiB stat.backed_up stat.restored"
    text = table("1000 0 0 0", "1100 400 100 0", "1200 200 100 50", "1300 40 100 50", "1400 80 110 50", header=header)
    times = (1.0, 1.1, 1.2, 1.3, 1.4)
    assert backed_up(text) == TimeSeries("backed_up", "KiB", times, (0, 400, 200, 40, 80))
    assert backed_up(text.replace("Shmem", "Slab")) is None  # nothing bounds it
    header = "time_ms Shmem:KiB SwapTotal:KiB SwapFree:KiB stat.backed_up"
    swapped = table("1000 0 80 80 0", "1100 8 80 60 30", header=header)
    assert backed_up(swapped) == TimeSeries("backed_up", "KiB", (1.0, 1.1), (0, 28))


def test_what_is_made_of_counters_is_made_of_any_suites() -> None:
    mine = Figures(
        (
            Figure("stat.in", Unit.KIB),
            Figure("stat.out", Unit.BYTES),
            Figure("stat.took", Unit.US),
            Figure("there", Unit.KIB, level=True, of="stat.in", less=("stat.out",)),
            Figure("speed", of="stat.in", over="stat.took"),
        )
    )
    header = "time_ms stat.in stat.out stat.took stat.full"
    text = table("1000 0 0 0 0", "1100 8 1024 500 7", "1200 8 9216 2000 3", header=header) + END
    found = figures(parse(text, mine))
    assert [found[name] for name in ("there.max", "speed", "stat.took", "stat.out")] == pytest.approx(
        [7 << 10, 8192 / 0.002, 0.002, 9216]
    )
    assert found["stat.full"] == 7 + 3  # of which nothing is said: a count, that began anew
    unknown = figures(parse(text))
    assert "there.max" not in unknown
    assert (unknown["stat.took"], unknown["stat.in"]) == (2000, 8)


def test_a_name_says_what_no_suite_says() -> None:
    header = "time_ms stat.a_ns stat.b_ns_max stat.c_p99 stat.d_now stat.e stat.gpu_active"
    found = parse(table("1000 1 2 3 4 5 6", "1100 1 1 1 1 9 1", header=header) + END)
    assert [series.unit for series in found.series] == ["ns", "ns", "count", "count", "count", "pages"]
    assert [found.counts(series) for series in found.series] == [True, False, False, False, True, False]


def test_what_a_suite_says_goes_before_what_the_name_does() -> None:
    header = "time_ms stat.a_ns stat.b_max"
    mine = Figures((Figure("stat.a_*", Unit.US, level=True), Figure("stat.b_max")))
    found = parse(table("1000 1 2", header=header) + END, mine)
    assert [(series.unit, found.counts(series)) for series in found.series] == [("us", False), ("count", True)]


def test_swap_used_needs_swap() -> None:
    header = "time_ms SwapTotal:KiB SwapFree:KiB"
    assert parse(table("1000 0 0", header=header)).swap_used is None
    series = parse(table("1000 100 60", header=header)).swap_used
    assert series is not None
    assert series.values == (40,)


def test_round_trip() -> None:
    telemetry = parse(HOG, PRESSURE)
    assert from_json(Telemetry, to_json(telemetry)) == telemetry


# What a bad one says


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the recording has no samples"),
        (FIRST, "the recording has no samples"),
        (table("1000 1 2", "1100 1") + END, "1 line is no part of a recording, the first is line 4"),
        (table("1000 1 2", "1100 1 2 3") + END, "1 line is no part of a recording, the first is line 4"),
        (table("1000 1 2", "1100 x 2", "rubbish") + END, "2 lines are no part of a recording, the first is line 4"),
        (table("1000 1 " + 5000 * "9", "1100 1 2") + END, "1 line is no part of a recording, the first is line 3"),
        (table("1000 1 2", "1100 1 ٣") + END, "1 line is no part of a recording, the first is line 4"),
        (table("1000 1 2", header="time_ms a a") + END, "2 lines are no part of a recording, the first is line 2"),
        (table("1000 1 2", "1100 1 2") + "time_ms\tMemFree:pages\n" + END, "1 line is no part of a recording, "),
        (
            table("1000 1 2", "900 1 2") + END,
            "1 line is not later than the one before, the first is line 4: 0.900 s ",
        ),
        (
            table("1000 1 2", "1000 1 2") + END,
            "1 line is not later than the one before, the first is line 4: 1.000 s ",
        ),
        (table("1000 1 2", "1600 1 2") + END, "no sample from 1.000 s to 1.600 s (0.6 s): the guest stood still"),
        (table("1000 1 2", "1100 1 2") + "1200\t1\t2", "the last line is cut"),
        (table("1000 1 2"), "the recording was cut off after 1.000 s"),
        (table("1000 1 2") + END.replace("dropped=0", "dropped=7"), "7 samples could not be written"),
        (table("1000 1 2").replace("sampler 1 ", "sampler 2 ") + END, "the recording is of format 2, this reads 1"),
    ],
)
def test_problems(text: str, problem: str) -> None:
    found = parse(text).problems
    assert any(sentence.startswith(problem) for sentence in found), found


def test_a_gap_is_only_what_is_longer_than_five_intervals() -> None:
    assert parse(table("1000 1 2", "1500 1 2") + END).problems == ()
    many = parse(table(*(f"{1000 * n} 1 2" for n in range(1, 31))) + END)
    assert len(many.problems) == 11
    assert many.problems[-1] == "19 more times the guest stood still"


def test_a_cut_number_is_not_believed() -> None:
    telemetry = parse(table("1000 123 2", "1100 123 45").removesuffix("5\n"))
    assert telemetry.times == (1.0,)


def test_no_samples_no_metrics() -> None:
    assert metrics(parse("")) == ()


# Any text at all

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [FIRST.strip(), END.strip(), "time_ms\tMemFree:KiB\tstat.a", "time_ms\tstat.b", "time_ms", "#"]
        ),
        st.lists(st.integers(-5, 3000).map(str) | st.just("-"), min_size=1, max_size=4).map("\t".join),
        st.text("0123456789-\t:#time_ms .\r\0é", max_size=20),
    ),
    max_size=30,
).map("\n".join)


@given(st.one_of(LINES, st.text()), st.floats(0, 1))
@settings(deadline=None)
def test_never_raises_and_a_prefix_never_has_more(text: str, share: float) -> None:
    whole, part = parse(text, PRESSURE), parse(text[: int(len(text) * share)], PRESSURE)
    metrics(whole)
    backed_up = whole.get("backed_up")
    assert backed_up is None or min(backed_up.values) >= 0
    for series in whole.series:
        assert whole.rate(series.name) is not None
        assert len(series.times) == len(series.values) > 0
    assert whole.times[: len(part.times)] == part.times
    assert all(earlier < later for earlier, later in pairwise(whole.times))


@given(st.integers(0, len(HOG)))
@settings(max_examples=30, deadline=None)
def test_a_prefix_of_a_real_recording(length: int) -> None:
    whole, part = parse(HOG), parse(HOG[:length])
    assert whole.times[: len(part.times)] == part.times
    for series in part.series:
        longer = whole.get(series.name)
        assert longer is not None
        assert longer.values[: len(series.values)] == series.values


def test_time_is_linear_in_the_size() -> None:
    rows = [f"{1000 + 100 * n} {n} {n}" for n in range(20000)]
    began = time.process_time()
    parse(table(*rows[:2000]))
    short = time.process_time() - began
    began = time.process_time()
    parse(table(*rows))
    assert time.process_time() - began < 40 * short + 0.5


# The picture


@pytest.fixture(scope="module")
def drawing() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        if os.environ.get("CI"):
            pytest.fail("matplotlib is not installed")
        pytest.skip("matplotlib is not installed (pip install matplotlib)")


def words(svg: str) -> list[str]:
    """The texts of a picture, in their order."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]


@pytest.mark.usefixtures("drawing")
def test_the_picture_of_a_recording() -> None:
    svg = plot_svg(parse(HOG, PRESSURE), "a <title> & $more$", MARKS)
    texts = words(svg)
    for wanted in (
        "a <title> & $more$",
        "memory",
        "swap",
        "waiting for memory (PSI)",
        "shrinker",
        "MiB",
        "% of time",
    ):
        assert wanted in texts
    for wanted in ("GPU objects", "backed up (estimate)", "OOM kill", "restored →", *(name for _, name in MARKS)):
        assert wanted in texts
    assert len(svg) < 300_000
    assert not {"backed up (estimate)", "restored →", "shrinker"} & set(words(plot_svg(parse(HOG), "x")))


def test_a_boot_is_read_as_its_suites_say(tmp_path: Path) -> None:
    boot = Boot(
        ending=Ending.FINISHED,
        phase="shutdown",
        facts=None,
        taint_end=0,
        suites=(),
        garbage=(),
        launcher="",
        stall=None,
        accel="tcg",
        ready_after=2.0,
        seconds=5.0,
    )
    (tmp_path / "console.log").write_bytes(b"")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "telemetry.tsv").write_text(HOG)
    cell = Cell("b" * 64, Machine(), ("pressure",), 1)
    for suites, there in ((("xe-fake", "pressure"), True), (("xe-fake",), False)):
        # Without facts of the guest there is nothing of a build to compare them with.
        found = observe(
            cell, [suite_named(name) for name in suites], cast(Build, None), boot, tmp_path, Objects(tmp_path, ())
        )
        assert ("backup_bytes_per_second" in {metric.name for metric in found.metrics}) is there


def test_what_a_suite_has_drawn_has_the_looks_that_it_always_had() -> None:
    memory, _, _, shrinker = panels(parse(HOG, PRESSURE))
    looks = [(one.look.label, one.look.color, one.look.filled, one.look.right) for one in shrinker.curves]
    assert looks == [
        ("scans by kswapd", "#56b4e9", True, False),
        ("scans by direct reclaim", "#e69f00", True, False),
        ("backed up", "#d55e00", False, True),
        ("restored", "#0072b2", False, True),
    ]
    last = memory.curves[-1].look
    assert (last.label, last.color, last.dashed) == ("backed up (estimate)", "#cc79a7", True)
    assert max(memory.curves[-1].values) == 268
    mine = Figures(
        (
            Figure("stat.held", Unit.PAGES, level=True, plot=Plot.MEMORY),
            Figure("stat.moved", Unit.KIB, plot=Plot.RATE, title="moved\n"),
        )
    )
    text = table("1000 256 0", "1200 512 512", "1400 512 1024", header="time_ms stat.held stat.moved") + END
    memory, *_, shrinker = panels(parse(text, mine))
    assert [(one.look.label, one.look.dashed, one.values) for one in memory.curves] == [("held", False, (1, 2, 2))]
    assert [one.look.label for one in shrinker.curves] == ["moved "]
    assert max(shrinker.curves[0].values) == pytest.approx(2.5)


@pytest.mark.usefixtures("drawing")
def test_the_same_recording_gives_the_same_bytes() -> None:
    program = (
        "import sys; from pathlib import Path; from harness.evidence.telemetry import parse;"
        "from harness.reports.plot import plot_svg; from harness.suites.registry import suite_named;"
        "from harness.model.figure import Figures; said = Figures(suite_named('pressure').figures);"
        f"text = Path({str(DATA / 'hog-and-oom.tsv')!r}).read_text();"
        f"sys.stdout.write(plot_svg(parse(text, said), 'x', {MARKS!r}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {plot_svg(parse(HOG, PRESSURE), "x", MARKS)}
    assert "dc:date" not in found.pop()


@pytest.mark.usefixtures("drawing")
def test_what_is_missing_is_left_out() -> None:
    texts = words(plot_svg(parse(PANICKED), "x"))
    assert "memory" in texts
    assert "shrinker" not in texts
    assert "OOM kill" not in texts
    some = parse(table("1000 5 2", "1100 6 3", "1200 6 4") + END)
    assert "anonymous" not in words(plot_svg(some, "x"))
    single = replace(some, times=(1.0,), series=(TimeSeries("MemFree", "KiB", (1.0,), (5,)),))
    assert "free" in words(plot_svg(single, "x", ((0.0, "a"),)))


@pytest.mark.usefixtures("drawing")
def test_labels_that_would_overlap_are_left_out() -> None:
    marks = [(6.0 + number / 100, f"case{number}") for number in range(300)]
    texts = words(plot_svg(parse(HOG), "x", [*marks, (1.0, "early"), (99.0, "late"), (30.0, "a\x01b" + 90 * "c")]))
    shown = [text for text in texts if text.startswith("case")]
    assert 2 <= len(shown) < 20
    assert "early" in texts
    assert "late" not in texts
    assert "a b" + 24 * "c" + "…" in texts


@pytest.mark.usefixtures("drawing")
def test_a_night_is_not_larger_than_can_be_seen() -> None:
    rows = [f"{1000 + 100 * n} {n * 7919 % 100000} {n * n}" for n in range(20000)]
    assert len(plot_svg(parse(table(*rows) + END), "x")) < 300_000


def test_no_samples_make_a_small_picture() -> None:
    svg = plot_svg(parse(""), "a <b>\x00")
    assert words(svg) == ["a <b> ", "there are no samples"]
    assert len(svg) < 1000


# The sampler itself, on the host


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("sampler") / "sampler"
    source = ROOT / "guest-scripts" / "load" / "sampler.c"
    compiled = subprocess.run(
        [require_tool("cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr
    return program


def until(path: Path, lines: int) -> None:
    """Waits until a file has that many lines."""
    limit = time.monotonic() + 30
    while not path.exists() or path.read_text().count("\n") < lines:
        assert time.monotonic() < limit, f"{path} does not grow"
        time.sleep(0.02)


def test_the_sampler_samples(sampler: Path, tmp_path: Path) -> None:
    out, stats = tmp_path / "out", tmp_path / "stats"
    stats.write_text("purged=3\nbad name=4\nhalf=1.5\nword=x\nbelow=-7\n")
    process = subprocess.Popen([sampler, out, "20", tmp_path / "absent", stats], stderr=subprocess.DEVNULL)
    try:
        until(out, 20)
        with stats.open("a") as file:
            file.write("new=1\n")
        seen = out.read_text().count("\n")
        until(out, seen + 60)
        stats.unlink()
        time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
    telemetry = parse(out.read_text())
    assert status == 0
    assert telemetry.ended
    assert not [sentence for sentence in telemetry.problems if "stood still" not in sentence]
    names = {series.name for series in telemetry.series}
    assert {"MemFree", "MemAvailable", "pswpin", "allocstall", "free_order0_3", "sampler_cpu"} <= names
    assert {name for name in names if name.startswith("stat.")} == {"stat.purged", "stat.below", "stat.new"}
    below, new = telemetry.get("stat.below"), telemetry.get("stat.new")
    assert below is not None and new is not None
    assert set(below.values) == {-7}
    assert telemetry.times[0] < new.times[0]
    assert new.times[-1] < telemetry.times[-1]


def test_the_sampler_keeps_its_schedule_and_does_not_invent_samples(sampler: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sampler, out, "20"], stderr=subprocess.DEVNULL)
    try:
        until(out, 10)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    telemetry = parse(out.read_text())
    assert telemetry.longest_gap > 0.4
    assert any("stood still" in sentence for sentence in telemetry.problems)
    assert min(later - earlier for earlier, later in pairwise(telemetry.times)) >= 0.009
    end = dict(word.split("=") for word in out.read_text().splitlines()[-1].split()[2:])
    span = telemetry.times[-1] - telemetry.times[0]
    assert int(end["samples"]) == len(telemetry.times)
    assert int(end["samples"]) + int(end["missed"]) == pytest.approx(span / 0.02 + 1, abs=2)


@pytest.mark.parametrize("words", [(), ("out",), ("out", "0"), ("out", "5"), ("out", "1x")])
def test_the_sampler_refuses_what_it_does_not_understand(
    sampler: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = subprocess.run([sampler, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr
    assert not list(tmp_path.iterdir())
