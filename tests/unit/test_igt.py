# SPDX-License-Identifier: GPL-2.0-only
"""IGT's results: what the real igt_runner left, both ways of reading it, and what nobody should send.

`python -m tests.unit.test_igt --update` writes expected.json anew; read the difference before it is kept.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli.parse import parse
from harness.evidence import igt
from harness.evidence.igt import VERSIONS, WORDS, IgtLog, parse_igt_results
from harness.evidence.igt_comms import Packet, PacketType, read_packets, told_anything
from harness.evidence.igt_directory import parse_igt_directory
from harness.flow.igt_results import RESULTS, carry_over, read_igt
from harness.model.outcome import Outcome

GOLDEN = Path(__file__).parent.parent / "data" / "igt"
SCENARIOS = sorted(path.name for path in GOLDEN.iterdir())
EVERY = GOLDEN / "every-result" / "input"


def plain(log: IgtLog) -> dict[str, object]:
    return {
        "cases": [[case.name, str(case.outcome), case.raw, case.seconds, case.message] for case in log.cases],
        "problems": list(log.problems),
        "version": log.version,
        "uname": log.uname,
    }


def files_of(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def words(log: IgtLog) -> dict[str, str]:
    return {case.name: case.raw for case in log.cases}


def results(tests: object, version: object = 10) -> bytes:
    return json.dumps({"results_version": version, "tests": tests}).encode()


def job(out: str = "", journal: str = "", err: str = "", dmesg: str = "", line: str = "t a") -> dict[str, bytes]:
    texts = {"out.txt": out, "journal.txt": journal, "err.txt": err, "dmesg.txt": dmesg}
    return {"joblist.txt": f"{line}\n".encode(), **{f"0/{name}": text.encode() for name, text in texts.items()}}


def run(*arguments: str, data: bytes = b"") -> Result:
    result = CliRunner().invoke(parse, ["igt", *arguments], input=data)
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_golden(scenario: str) -> None:
    expected = json.loads((GOLDEN / scenario / "expected.json").read_text())
    assert json.loads(json.dumps(plain(read_igt(GOLDEN / scenario / "input")))) == expected


def test_every_word_of_igt_comes_out_of_the_golden_files_or_has_a_meaning() -> None:
    seen = {case.raw for case in read_igt(EVERY).cases}
    assert set(WORDS) == seen
    log = parse_igt_results(results({f"igt@t@{word}": {"result": word} for word in WORDS}))
    assert {case.raw: case.outcome for case in log.cases} == dict(WORDS)
    assert not log.problems


def test_a_directory_says_what_igt_results_says() -> None:
    files = files_of(EVERY)
    theirs = parse_igt_results(files.pop(RESULTS))
    mine = parse_igt_directory(files)
    assert words(mine) == words(theirs)
    assert {case.name: case.message for case in mine.cases} == {case.name: case.message for case in theirs.cases}
    assert (mine.version, mine.uname) == (theirs.version, theirs.uname)


def test_a_run_that_a_panic_cut_lists_what_did_not_run() -> None:
    """What lay there when the kernel had died in the sixth test."""
    there = {name: data for name, data in files_of(EVERY).items() if name not in (RESULTS, "aborted.txt")}
    late = {str(number) for number in range(6, 20)}
    log = parse_igt_directory({name: data for name, data in there.items() if name.split("/")[0] not in late})
    assert len(log.cases) == 17
    assert [case.name for case in log.cases if case.outcome is Outcome.INCOMPLETE] == ["igt@igt_words@panic"]
    left = [case.name.rpartition("@")[2] for case in log.cases if case.outcome is Outcome.NOT_RUN]
    assert left[0] == "dynamic-mixed" and left[-1] == "igt_plain" and len(left) == 9
    nothing = parse_igt_directory({"joblist.txt": there["joblist.txt"]})
    assert {case.outcome for case in nothing.cases} == {Outcome.NOT_RUN} and len(nothing.cases) == 15


def test_a_run_that_is_cut_never_says_more() -> None:
    """Whatever part of what a test printed is there: nothing gets better by less of it."""
    files = {name: data for name, data in files_of(EVERY).items() if name != RESULTS}
    good = {case.name for case in parse_igt_directory(files).cases if case.outcome is Outcome.PASS}
    for name in sorted(files):
        if name.endswith(("out.txt", "journal.txt")):
            for cut in range(0, len(files[name]), 11):
                log = parse_igt_directory({**files, name: files[name][:cut]})
                assert {case.name for case in log.cases if case.outcome is Outcome.PASS} <= good, (name, cut)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_in_use(version: int) -> None:
    """8 and 9 are piglit's: times of day, and subtests within their test."""
    test = {
        "result": "dmesg-warn",
        "time": {"__type__": "TimeAttribute", "start": 1000.5, "end": 1002.0},
        "dmesg-warnings": "<4> [1.5] a warning\n",
        "subtests": {"__type__": "Subtests", "one": "pass", "two": "fail"},
    }
    log = parse_igt_results(results({"igt@a": test}, version))
    assert words(log) == {"igt@a": "dmesg-warn", "igt@a@one": "pass", "igt@a@two": "fail"}
    assert log.cases[0].seconds == 1.5
    assert log.cases[0].message == "the kernel said: <4> [1.5] a warning"
    assert not log.problems


def test_what_is_not_known_is_said_and_is_no_pass() -> None:
    log = parse_igt_results(results({"igt@a": {"result": "splendid"}, "igt@b": {}, "igt@c": 7}, 11))
    assert {case.outcome for case in log.cases} == {Outcome.INCOMPLETE}
    assert [case.raw for case in log.cases] == ["splendid", "", ""]
    assert len(log.problems) == 4 and "11" in log.problems[0] and "'splendid'" in log.problems[1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"[]", "no IGT results"),
        (b'{"tests": []}', "no IGT results"),
        (b'{"results_version": 10, "tests": {}}', "no test"),
        (b"[" * 100_000, "no JSON"),
        (b'{"tests": {"igt@a": {"time": {"start": 0, "end": ' + b"9" * 5000 + b"}}}}", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
    ],
)
def test_what_is_no_result_has_no_case(data: bytes, said: str) -> None:
    log = parse_igt_results(data)
    assert not log.cases
    assert said in log.problems[0]


def test_times_that_are_none_are_none() -> None:
    spans: list[object] = [{"start": 0, "end": 1e999}, {"start": 5, "end": 1}, {"end": 1}, {"start": "a", "end": 3}]
    for span in (*spans, [], 3):
        log = parse_igt_results(results({"igt@a": {"result": "pass", "time": span}}))
        assert log.cases[0].seconds is None


def test_there_are_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(igt, "MOST_ENTRIES", 3)
    log = parse_igt_results(results({f"igt@{n}\n\x1b[31m": {"result": "pass"} for n in range(5)}))
    assert [case.name for case in log.cases] == [f"igt@{n}??[31m" for n in range(3)]
    assert "more than 3 tests" in log.problems[0]
    monkeypatch.setattr(igt, "LARGEST_RESULTS", 10)
    assert "longer" in parse_igt_results(results({})).problems[0]


TEXT = st.text(alphabet="aT:- \n0\x00(S)_@,", max_size=40)
PIECES = st.lists(
    st.sampled_from(
        [
            *("Starting subtest: a\n", "Subtest a: SUCCESS (0.1s)\n", "Starting dynamic subtest: d\n"),
            *("Dynamic subtest d: FAIL (1.000s)\n", "Subtest b: SKIP\n", "Starting subtest: b\n", "exit:0 (1.0s)\n"),
            *("a\n", "b\n", "timeout:-15 (3.0s)\n", "4,1,1,-;x: starting subtest a\n", "4,1,1,-;oh\n", "noise"),
        ]
    )
    | TEXT,
    max_size=12,
).map("".join)


@given(PIECES, PIECES, PIECES, PIECES, st.binary(max_size=60), PIECES, PIECES)
@settings(max_examples=100, deadline=None)
def test_any_directory_is_read(
    out: str, journal: str, err: str, dmesg: str, comms: bytes, joblist: str, metadata: str
) -> None:
    files = {**job(out, journal, err, dmesg), "0/comms": comms, "metadata.txt": metadata.encode()}
    for lines in (joblist, "t a,b", "t a@d", "t"):
        log = parse_igt_directory({**files, "joblist.txt": lines.encode()})
        assert log.cases or log.problems
        assert all(case.raw in WORDS for case in log.cases)


KEYS = st.sampled_from(["result", "time", "start", "end", "out", "err", "subtests", "igt@a"]) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_any_json_is_read(tests: object) -> None:
    log = parse_igt_results(results(tests))
    assert log.cases or log.problems


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    assert parse_igt_results(data).problems
    list(read_packets(data))


# ---- what a test printed ----


def test_a_warning_on_standard_error_is_a_warn() -> None:
    out = "Starting subtest: a\nSubtest a: SUCCESS (0.5s)\n"
    quiet = parse_igt_directory(job(out, "a\nexit:0 (1.0s)\n", out))
    assert words(quiet) == {"igt@t@a": "pass"} and quiet.cases[0].seconds == 0.5
    loud = parse_igt_directory(job(out, "a\nexit:0 (1.0s)\n", out.replace("\n", "\nodd\n", 1)))
    assert words(loud) == {"igt@t@a": "warn"} and loud.cases[0].message == "odd"


def test_how_a_test_ended_counts_where_it_said_no_result() -> None:
    begun = "Starting subtest: a\n"
    for journal, word in (
        ("a\n", "incomplete"),
        ("a\nexit:0 (1s)\n", "incomplete"),
        ("a\nexit:112 (1s)\n", "abort"),
        ("a\nexit:-1 (1s)\n", "notrun"),
        ("a\ntimeout:-15 (3s)\n", "timeout"),
        ("exit:77 (1s)\n", "skip"),
        ("exit:79 (1s)\n", "skip"),
        ("exit:98 (1s)\n", "fail"),
        ("exit:139 (1s)\n", "fail"),
        ("", "incomplete"),
    ):
        assert words(parse_igt_directory(job(begun, journal))) == {"igt@t@a": word}, journal


def test_a_name_that_begins_like_another_has_its_own_result() -> None:
    out = "Starting subtest: a-b\nSubtest a-b: FAIL (0s)\nStarting subtest: a\nSubtest a: SUCCESS (0s)\n"
    log = parse_igt_directory(job(out, "a-b\na\nexit:98 (1s)\n", line="t a-b,a,c"))
    assert words(log) == {"igt@t@a-b": "fail", "igt@t@a": "pass", "igt@t@c": "notrun"}


def test_what_the_kernel_says_is_its_whose_turn_it_was() -> None:
    out = "".join(f"Starting subtest: {one}\nSubtest {one}: SUCCESS (0s)\n" for one in "ab")
    dmesg = "6,1,1,-;[IGT] t: starting subtest a\n6,2,2,-;quiet\n6,3,3,-;[IGT] t: starting subtest b\n"
    journal = "a\nb\nexit:0 (1s)\n"
    log = parse_igt_directory(job(out, journal, dmesg=dmesg + "3,4,1500000,-;loud\\x21\n k=v\n", line="t a,b"))
    assert words(log) == {"igt@t@a": "pass", "igt@t@b": "dmesg-warn"}
    assert log.cases[1].message == "the kernel said: <3> [1.500000] loud!"
    above = {**job(out, journal, dmesg=dmesg + "4,4,4,-;x\n"), "metadata.txt": b"dmesg_warn_level : 3\n"}
    assert words(parse_igt_directory(above))["igt@t@b"] == "pass"


# ---- what a test said over the socket ----


def packet(kind: PacketType, *texts: str, head: bytes = b"") -> bytes:
    body = head + b"".join(text.encode() + b"\0" for text in texts)
    return b"1TGI" + struct.pack("<IIii", 16 + len(body), kind, 1, 1) + body


def said(*packets: bytes) -> dict[str, bytes]:
    return {**job(line="t a,b"), "0/comms": b"".join(packets)}


def test_packets() -> None:
    dump = [
        packet(PacketType.EXEC, "t --run-subtest a,b"),
        packet(PacketType.VERSION, "IGT-Version: 2.5\n"),
        packet(PacketType.SUBTEST_START, "a"),
        packet(PacketType.DYNAMIC_START, "one"),
        packet(PacketType.LOG, "odd\n", head=b"\2"),
        packet(PacketType.DYNAMIC_RESULT, "one", "SUCCESS", "0.25"),
        packet(PacketType.DYNAMIC_START, "two"),
        packet(PacketType.DYNAMIC_RESULT, "two", "SKIP", "0.0", "no device"),
        packet(PacketType.SUBTEST_RESULT, "a", "FAIL", "1.5"),
        packet(PacketType.SUBTEST_START, "b"),
    ]
    log = parse_igt_directory(said(*dump))
    assert words(log) == {
        "igt@t@a": "fail",
        "igt@t@a@one": "warn",
        "igt@t@a@two": "skip",
        "igt@t@b": "incomplete",
    }
    assert log.cases[0].seconds == 1.5 and log.version.startswith("IGT-Version: 2.5")
    late = parse_igt_directory(said(*dump, packet(PacketType.OVERRIDE, "timeout")))
    assert words(late)["igt@t@b"] == "timeout"
    abort = parse_igt_directory(said(*dump, packet(PacketType.EXIT, "2.0", head=struct.pack("<i", 112))))
    assert words(abort)["igt@t@b"] == "abort"
    told = packet(PacketType.LOG, "no device\n", head=b"\1")
    skipped = said(*dump[:2], told, packet(PacketType.EXIT, "0.1", head=struct.pack("<i", 77)))
    assert words(parse_igt_directory(skipped)) == {"igt@t@a": "skip", "igt@t@b": "notrun"}


def test_what_begins_and_does_not_end() -> None:
    inner = [packet(PacketType.SUBTEST_START, "a"), packet(PacketType.DYNAMIC_START, "one")]
    ended = packet(PacketType.SUBTEST_RESULT, "a", "SUCCESS", "1.0")
    log = parse_igt_directory(said(*inner, ended))
    assert words(log) == {"igt@t@a": "warn", "igt@t@a@one": "incomplete", "igt@t@b": "notrun"}
    assert log.cases[0].message == "the subtest one had no result"
    two = [packet(PacketType.DYNAMIC_START, "two"), packet(PacketType.DYNAMIC_RESULT, "two", "SUCCESS", "0.1")]
    assert words(parse_igt_directory(said(*inner, *two, ended)))["igt@t@a"] == "warn"
    late = [packet(PacketType.SUBTEST_START, "b"), packet(PacketType.SUBTEST_RESULT, "b", "SUCCESS", "1.0")]
    assert words(parse_igt_directory(said(inner[0], *late))) == {"igt@t@a": "incomplete", "igt@t@b": "warn"}


def test_a_test_that_says_nothing_at_all_is_incomplete() -> None:
    assert words(parse_igt_directory(job(journal="exit:0 (1s)\n", line="t"))) == {"igt@t": "incomplete"}
    assert words(parse_igt_directory(job("x\n", "exit:0 (1s)\n", line="t"))) == {"igt@t": "pass"}
    both = "Starting subtest: a\nSubtest a: SUCCESS (0s)\n"
    assert words(parse_igt_directory(job(both, "a\nexit:0 (1s)\n", line="t"))) == {"igt@t@a": "pass"}
    heard = job(journal="exit:0 (1s)\n", dmesg="6,1,1,-;x\n", line="t")
    assert words(parse_igt_directory(heard)) == {"igt@t": "pass"}


def test_packets_that_are_cut_or_damaged_are_said() -> None:
    whole = packet(PacketType.SUBTEST_START, "a") + packet(PacketType.SUBTEST_RESULT, "a", "SUCCESS", "0.1")
    for cut in range(len(whole)):
        found = list(read_packets(whole[:cut]))
        assert all(isinstance(one, Packet) for one in found[:-1])
        log = parse_igt_directory(said(whole[:cut]))
        assert words(log)["igt@t@a"] in ("incomplete", "notrun")
    assert "damaged" in parse_igt_directory(said(whole + b"rubbish!")).problems[0]
    assert not told_anything(packet(PacketType.EXEC, "t")) and told_anything(whole)


# ---- as files, by the command ----


def test_the_command_reads_files_and_directories(tmp_path: Path) -> None:
    assert run(str(EVERY)).exit_code == 1
    whole = run(str(EVERY / RESULTS), "--json")
    assert whole.exit_code == 1
    assert json.loads(whole.stdout)["cases"][0]["raw"] == "pass"
    assert run("-", data=results({"igt@a": {"result": "pass"}})).exit_code == 0
    assert run("-", data=results({"igt@a": {"result": "skip"}})).exit_code == 3
    mixed = results({"igt@a": {"result": "pass"}, "igt@b": {"result": "notrun"}})
    assert run("-", data=mixed).exit_code == 3
    assert run("-", data=b"").exit_code == 3
    assert run(str(tmp_path)).exit_code == 3
    assert run(str(tmp_path / "none")).exit_code == 2
    (tmp_path / RESULTS).write_bytes(b'{"tests": {"igt@a"')  # the runner died while it wrote
    (tmp_path / "joblist.txt").write_text("t a\n")
    assert "NOT_RUN    igt@t@a" in run(str(tmp_path)).stdout


def test_the_version_is_a_line_without_its_end() -> None:
    """As a real IGT writes it."""
    tests = {"igt@a": {"result": "pass", "igt-version": "IGT-Version: 2.2 (x86_64)\n"}}
    text = json.dumps({"results_version": 10, "uname": "Linux", "tests": tests})
    assert parse_igt_results(text.encode()).version == "IGT-Version: 2.2 (x86_64)"


def test_a_runner_that_never_began_left_nothing(tmp_path: Path) -> None:
    found = read_igt(tmp_path / "results")
    assert (found.cases, found.problems) == ((), ("igt_runner left nothing",))
    carry_over(tmp_path / "results", tmp_path / "after")
    assert not (tmp_path / "after").exists()


def test_nothing_is_followed_out_of_a_directory(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Starting subtest: a\nSubtest a: SUCCESS (0s)\n")
    place = tmp_path / "results"
    (place / "0").mkdir(parents=True)
    (place / "joblist.txt").write_text("t a\n")
    (place / "0" / "out.txt").symlink_to(secret)
    (place / "0" / "journal.txt").write_text("a\n")
    (place / "1").symlink_to(tmp_path)
    os.mkfifo(place / "0" / "err.txt")
    assert words(read_igt(place)) == {"igt@t@a": "incomplete"}
    carry_over(place, tmp_path / "after")
    assert sorted(files_of(tmp_path / "after")) == ["0/journal.txt", "joblist.txt"]


def update(scenarios: Iterable[str]) -> None:
    for scenario in scenarios:
        text = json.dumps(plain(read_igt(GOLDEN / scenario / "input")), indent=1)
        (GOLDEN / scenario / "expected.json").write_text(f"{text}\n")


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    update(SCENARIOS)
