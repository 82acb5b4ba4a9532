# SPDX-License-Identifier: GPL-2.0-only
"""How the command ends: exit 1 is a finding and nothing else, whatever becomes of its streams and whoever ends it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.model.outcome import Outcome
from harness.store.layout import Layout
from harness.store.runs import REPORT_FILE
from tests.attack.forked import PLAIN, Call, Ended, Streams, call, ready
from tests.unit.inputs_support import make_kernel
from tests.unit.results_support import keep, plain_report, run_name

ROOT = Path(__file__).parents[2]
GOOD, BAD = run_name(1), run_name(2)


@pytest.fixture
def store(scratch_layout: Layout) -> Path:
    """A good run and a bad one."""
    keep(scratch_layout, 1, plain_report())
    keep(scratch_layout, 2, plain_report(a=Outcome.FAIL))
    return scratch_layout.root


@pytest.fixture(autouse=True, scope="module")
def _modules() -> None:
    ready()


def run(store: Path, *words: str, streams: Streams = PLAIN, cwd: Path = ROOT, **more: str) -> Ended:
    done = call(Call(words, {"TTM_HARNESS_STORE": str(store), **more}, streams, str(cwd)))
    assert not done.traced, done.output + done.errors
    return done


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (f"report {GOOD}", 0),
        (f"report {BAD}", 1),
        ("report nonsense", 2),
        ("run --profile nonsense", 2),
        ("--nonsense", 2),
        ("run --repeat many", 2),
        ("exec", 2),
        ("shell", 2),
        ("exec --profile nonsense true", 2),
        ("exec --ram 96M --ram 97M true", 2),
        ("results show nonsense", 2),
        ("--help", 0),
        ("--version", 0),
    ],
)
@pytest.mark.parametrize(
    "streams",
    [PLAIN, Streams(errors="/dev/full"), Streams(closed=(2,)), Streams(broken=(2,)), Streams(closed=(0, 2))],
)
def test_messages_that_cannot_be_written_change_no_status(
    store: Path, words: str, status: int, streams: Streams
) -> None:
    assert run(store, *words.split(), streams=streams).status == status


@pytest.mark.parametrize("words", [f"report {GOOD}", f"report {BAD}", "--help", "results list", "run --help"])
def test_a_reader_that_went_away_ends_it_as_any_program(store: Path, words: str) -> None:
    done = run(store, *words.split(), streams=Streams(broken=(1,)))
    assert (done.status, done.errors) == (-signal.SIGPIPE, "")
    assert run(store, *words.split(), streams=Streams(broken=(1, 2))).status == -signal.SIGPIPE


def test_a_mistake_stays_one_without_a_reader(store: Path) -> None:
    assert run(store, "report", "nonsense", streams=Streams(broken=(1, 2))).status == 2


@pytest.mark.parametrize(
    ("words", "status"), [(f"report {GOOD}", 3), (f"report {BAD}", 3), ("results list --json", 3), ("--help", 2)]
)
@pytest.mark.parametrize("streams", [Streams(output="/dev/full"), Streams(closed=(1,))])
def test_output_that_cannot_be_written_is_said_to_be_lost(
    store: Path, words: str, status: int, streams: Streams
) -> None:
    done = run(store, *words.split(), streams=streams)
    assert done.status == status
    assert "standard output cannot be written" in done.errors
    assert "TTM_HARNESS_STORE" not in done.errors


def test_a_pipe_of_a_shell(store: Path) -> None:
    script = f'"{sys.executable}" -m harness report {GOOD} | true; exit ${{PIPESTATUS[0]}}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TTM_HARNESS_STORE": str(store)}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("results", "show", "\udcff"), "is not UTF-8"),
        (("results", "list", "--machine", "\udcff"), "is not UTF-8"),
        (("report", "\udcff"), "no run"),
        (("report", "x" * 5000), "no run"),
        (("run", "deep.toml", "--list"), "nested too deep"),
        (("run", "long.toml", "--list"), "is not TOML"),
        (("run", ".", "--list"), "a directory and no plain file"),
        (("run", "/dev/zero", "--list"), "a device and no plain file"),
        (("run", "pipe", "--list"), "a named pipe and no plain file"),
        (("run", "socket", "--list"), "cannot be read"),
        (("run", "large.toml", "--list"), "larger than"),
        (("run", "--fragment", "/dev/zero"), "a device and no plain file"),
        (("run", "--fragment", "pipe"), "a named pipe and no plain file"),
        (("run", "--known", "pipe"), "a named pipe and no plain file"),
        (("parse", "ktap", "/dev/zero"), "no file, but a device"),
        (("parse", "ktap", "pipe"), "no file, but a named pipe"),
        (("parse", "kmsg", "/dev/zero"), "no file, but a device"),
        (("parse", "kmsg", "."), "no file, but a directory"),
        (("run", "--ram", "9" * 400 + "G"), "is larger than"),
        (("run", "--ram", "9999999999T"), "is larger than"),
        (("run", "--suite", ""), "no suite is named"),
        (("run", "--suite", ","), "no suite is named"),
        (("run", "--mirror", "/nonexistent"), "/nonexistent"),
        (("run", "million.toml", "--list"), "1000000 cells (100 of seeds x 100 of ram x 100 of swappiness)"),
        (("run", "doubled0.toml", "--list"), "cells"),
    ],
)
def test_odd_input_is_a_sentence(store: Path, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "deep.toml").write_text("ram = " + "[" * 3000)
    (tmp_path / "long.toml").write_text("repeat = " + "9" * 5000)
    (tmp_path / "large.toml").write_text("# x\n" * 300_000)
    ram = [f"{256 + number}M" for number in range(100)]
    axes = f"ram = {ram}\nswappiness = {list(range(100))}\n"
    (tmp_path / "million.toml").write_text(f"seeds = {list(range(100))}\n[machine]\n{axes}")
    for number in range(40):
        twice = [f"doubled{number + 1}.toml"] * 2
        (tmp_path / f"doubled{number}.toml").write_text(f"include = {twice}\n")
    (tmp_path / "doubled40.toml").write_text("seeds = [1]\n")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(os.path.relpath(tmp_path / "socket"))
        done = run(store, *words, cwd=tmp_path)
    assert (done.status, sentence in done.errors) == (2, True), done.errors
    assert done.seconds < 30


def test_half_of_a_surrogate_pair_is_printed_as_json_has_it(store: Path) -> None:
    path = store / "runs" / GOOD / REPORT_FILE
    path.write_text(path.read_text().replace('"it is PASS"', r'"it is \ud800"'))
    plain = json.loads(run(store, "report", GOOD, "--as", "json").output)
    assert plain["cases"][0]["message"] == "it is \ud800"
    for form in ("text", "junit", "html"):
        assert run(store, "report", GOOD, "--as", form).status == 0


@pytest.mark.parametrize("name", ["~nosuch-user-here", "~nosuch-user-here/store"])
def test_a_store_in_the_home_of_nobody(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, "report", "latest", TTM_HARNESS_STORE=name)
    assert (done.status, "there is no telling where the store is" in done.errors) == (2, True)


def test_nothing_is_made_in_a_store_of_somebody_else(store: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    before = sorted(store.rglob("*"))
    for words, status in (
        (f"report {GOOD}", 0),
        (f"report {BAD}", 1),
        ("results list", 0),
        (f"compare {GOOD} {BAD}", 1),
    ):
        done = as_nobody(store, words)
        assert (done, sorted(store.rglob("*")) == before) == (status, True), words
    assert as_nobody(store, "run --list") == 2


def as_nobody(store: Path, words: str) -> int:
    """The exit status of the command as a user who may read the store, and not the directory first in PATH."""
    secret = store.parent / "secret"
    secret.mkdir(exist_ok=True, mode=0o700)
    child = os.fork()
    if child == 0:
        handle = os.open(store, os.O_RDONLY)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        path = f"{secret}:{os.environ['PATH']}"
        place = f"/proc/self/fd/{handle}"  # pytest's directories are closed to others
        done = call(Call(tuple(words.split()), {"TTM_HARNESS_STORE": place, "PATH": path, "HOME": "/"}))
        if done.traced or done.status is None:
            os.write(2, done.errors.encode())
            os._exit(99)
        os._exit(done.status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def begun(store: Path, *words: str, input: bool = False) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TTM_HARNESS_STORE": str(store)}
    argv = [sys.executable, "-m", "harness", *words]
    given = subprocess.PIPE if input else subprocess.DEVNULL
    return subprocess.Popen(
        argv, env=environment, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_modules_are_imported(store: Path, number: signal.Signals) -> None:
    """At moments from the first on in which the module that takes signals can have been read."""
    for moment in (0.1, 0.2, 0.4):
        command = begun(store, "run", "--list", "--source", "/nowhere")
        time.sleep(moment)
        command.send_signal(number)
        _, errors = command.communicate(timeout=60)
        before = any(word in errors for word in ("<frozen site>", "<frozen runpy>", "harness/__main__.py"))
        before = before or command.returncode == -number
        assert before or (command.returncode in (2, 130) and "Traceback" not in errors), errors


def test_a_hangup_that_is_ignored_stays_ignored(store: Path) -> None:
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = begun(store, "parse", "kmsg", "-", input=True)
    finally:
        signal.signal(signal.SIGHUP, kept)
    assert command.stdin is not None
    time.sleep(1.5)
    command.send_signal(signal.SIGHUP)
    assert command.communicate("[    1.000000] nothing bad\n", timeout=60)[1] == ""
    assert command.returncode == 0


@pytest.mark.parametrize("answer", ["end of file", "interruption"])
def test_a_question_that_is_not_answered(store: Path, answer: str) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TTM_HARNESS_STORE": str(store)}
    # Who starts the tests in the background has them ignore Ctrl-C, which is another case.
    argv = ["env", "--default-signal=INT", sys.executable, "-m", "harness", "run", "--repeat", "600"]
    with subprocess.Popen(argv, env=environment, stdin=slave, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        asked = ""
        while not asked.endswith("Go on?"):
            letter = command.stderr.read(1)
            assert letter, asked
            asked += letter
        time.sleep(0.3)
        if answer == "end of file":
            os.write(master, b"\x04")
        else:
            command.send_signal(signal.SIGINT)
        errors = command.stderr.read()
    os.close(master)
    os.close(slave)
    assert (command.returncode, "Traceback" in errors, "a bug of" in errors) == (130, False, False), errors


def test_cases_may_be_given_again(store: Path, tmp_path: Path) -> None:
    argv = ["run", "--list", "--json", "--source", str(make_kernel(tmp_path / "linux")), "--suite", "pressure"]
    argv += ["--case", "hog_beside,map_*", "--case", "map_*", "--case", "pool_*"]
    done = call(Call(tuple(argv), {"TTM_HARNESS_STORE": str(store)}))
    assert done.status == 0, done.errors
    cases = json.loads(done.output)["boots"][0]["cases"]
    assert cases == ["hog_beside", "map_*", "pool_*"]


def test_a_list_is_of_one_case(store: Path) -> None:
    done = call(Call(("results", "list", "--case", "a", "--case", "b"), {"TTM_HARNESS_STORE": str(store)}))
    assert done.status == 2
    assert "--case of a list is one glob" in done.errors
