# SPDX-License-Identifier: GPL-2.0-only
"""Host processes: deadlines, statuses, what is passed on, and that nothing outlives the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import proc
from harness.model.errors import CommandFailed, DeadlineExceeded, InfraError, UserError
from harness.proc import Deadline, clean_environment, find_tool, hurry, run, spawn

SOON = 10.0


def gone(pid: int, within: float = 8.0) -> bool:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def wait_for(path: Path) -> str:
    limit = time.monotonic() + 8.0
    while time.monotonic() < limit:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")


def test_output_and_status() -> None:
    assert run(("sh", "-c", "echo a; echo b >&2"), deadline=Deadline(SOON)).output == "a\nb\n"


def test_a_status_that_is_not_allowed_carries_the_last_words() -> None:
    with pytest.raises(CommandFailed) as failure:
        run(("sh", "-c", "echo cause; exit 7"), deadline=Deadline(SOON))
    assert (failure.value.status, failure.value.tail) == (7, "cause")


def test_an_allowed_status() -> None:
    assert run(("sh", "-c", "exit 7"), deadline=Deadline(SOON), allowed=(0, 7)).status == 7


@pytest.mark.parametrize("way", [(), ("nice", "-n", "5")])
def test_a_deadline_names_the_program_that_did_not_end(way: tuple[str, ...]) -> None:
    with pytest.raises(DeadlineExceeded, match=r"^sleep did not end"):
        run((*way, "sleep", "60"), deadline=Deadline(0.3))
    with spawn((*way, "sleep", "60")) as process:
        with pytest.raises(DeadlineExceeded, match=r"^sleep did not end"):
            process.wait(Deadline(0.1))


def test_a_deadline_ends_the_command() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run(("sh", "-c", "sleep 60 & sleep 60"), deadline=Deadline(0.3))
    assert time.monotonic() - began < 8


def test_a_deadline_counts_while_output_flows() -> None:
    with pytest.raises(DeadlineExceeded):
        run(("sh", "-c", "while :; do echo x; done"), deadline=Deadline(0.3))


def test_a_deadline_counts_without_a_pause_in_the_output() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run(("yes",), deadline=Deadline(0.5))
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("reaped", [True, False])
def test_what_ignores_term_is_killed_after_its_leader_has_gone(tmp_path: Path, reaped: bool) -> None:
    note = tmp_path / "pid"
    script = f"(trap '' TERM; sh -c 'echo $PPID' > {note}; exec sleep 60) & sleep 0.3"
    with spawn(("sh", "-c", script), reaped=reaped) as process:
        stubborn = int(wait_for(note))
        process.wait(Deadline(SOON))
    assert gone(stubborn)


def test_a_program_that_is_not_there_is_the_users() -> None:
    with pytest.raises(UserError, match="not installed"):
        run(("no-such-program-here",), deadline=Deadline(SOON))


def test_the_log_has_the_command_and_all_it_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(("echo", "two words"), deadline=Deadline(SOON), log=log)
    assert log.read_text() == "+ echo 'two words'\ntwo words\n"


def test_the_environment_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("MAKEFLAGS", "-k")
    monkeypatch.setenv("LC_ALL", "de_DE")
    printed = run(("env",), deadline=Deadline(SOON), env={"EXTRA": "1"}).output
    assert "SECRET_TOKEN" not in printed
    assert "MAKEFLAGS" not in printed
    assert "HOME" not in printed
    assert "LC_ALL=C.UTF-8\n" in printed
    assert "EXTRA=1\n" in printed
    assert "PATH" in clean_environment()


def test_standard_input_is_closed() -> None:
    assert run(("cat",), deadline=Deadline(SOON)).output == ""


@pytest.mark.parametrize("status", [0, 3])
def test_a_reaped_command_keeps_its_status(status: int) -> None:
    done = run(("sh", "-c", f"exit {status}"), deadline=Deadline(SOON), reaped=True, allowed=(0, 3))
    assert done.status == status


def test_a_reaped_command_ended_by_a_signal() -> None:
    with pytest.raises(CommandFailed) as failure:
        run(("sh", "-c", "kill -9 $$"), deadline=Deadline(SOON), reaped=True)
    assert failure.value.status == -9


def test_leaving_the_block_ends_the_whole_group(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with spawn(("sh", "-c", f"sh -c 'echo $$ > {note}; exec sleep 60' & wait")):
        grandchild = int(wait_for(note))
    assert gone(grandchild)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_harness(tmp_path: Path, how: signal.Signals) -> None:
    note = tmp_path / "pid"
    program = (
        "from harness.proc import run, Deadline\n"
        f"run(('sh', '-c', 'trap \"\" TERM; sh -c \"echo \\\\$\\\\$ > {note}; exec sleep 60\" & wait'),"
        " deadline=Deadline(50), reaped=True)\n"
    )
    harness = subprocess.Popen([sys.executable, "-c", program])
    grandchild = int(wait_for(note))
    os.kill(harness.pid, how)
    harness.wait(10)
    assert gone(grandchild)


def test_a_pipeline_of_a_child_ends_quietly() -> None:
    """An interpreter ignores SIGPIPE and SIGXFSZ; what it starts must not."""
    shown = run(("sh", "-c", "yes | head -n 1; grep SigIgn /proc/self/status"), deadline=Deadline(SOON), reaped=True)
    assert shown.output.split("\n")[0] == "y"
    assert "Broken pipe" not in shown.output
    assert int(shown.output.split()[-1], 16) & (1 << 12 | 1 << 24) == 0


def test_a_child_that_ends_before_its_reaper_looks(tmp_path: Path) -> None:
    """Neither may wait for a group that the other was to make: many times, as it is a race."""
    for _ in range(30):
        began = time.monotonic()
        with spawn(("true",)):
            pass
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("reaped", [True, False])
def test_who_is_in_a_hurry_waits_for_no_grace(tmp_path: Path, reaped: bool) -> None:
    note = tmp_path / "pid"
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {note}; sleep 60' & sleep 60"
    with spawn(("sh", "-c", script), reaped=reaped):
        stubborn = int(wait_for(note))
        began = time.monotonic()
        hurry()
        assert gone(stubborn)
        assert time.monotonic() - began < 2.5


def test_a_directory_of_somebody_else_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_file(path: Path) -> bool:
        if path.parent == Path("/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return path.exists()

    monkeypatch.setattr(Path, "is_file", is_file)
    monkeypatch.setenv("PATH", "/closed:/usr/bin:/bin")
    assert find_tool("sh") is not None


def test_who_never_stops_talking_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(proc, "_MOST_KEPT", 1 << 20)
    monkeypatch.setattr(proc, "_MOST_LOGGED", 2 << 20)
    with pytest.raises(InfraError, match=r"yes said more than 1\.0 MiB"):
        run(("yes",), deadline=Deadline(SOON))
    with pytest.raises(InfraError, match=r"yes said more than 2\.0 MiB"):
        run(("yes", "x" * 1000), deadline=Deadline(SOON), log=tmp_path / "log")
    assert (tmp_path / "log").stat().st_size < 3 << 20


def test_a_line_without_an_end_comes_in_pieces() -> None:
    found: list[int] = []
    run(("head", "-c", "5000000", "/dev/zero"), deadline=Deadline(SOON), on_line=lambda line: found.append(len(line)))
    assert sum(found) == 5_000_000
    assert max(found) < 1_300_000


def test_proxies_and_authorities_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, f"/{name}")
    assert {name: clean_environment()[name] for name in ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE")} == {
        "HTTPS_PROXY": "/HTTPS_PROXY",
        "https_proxy": "/https_proxy",
        "SSL_CERT_FILE": "/SSL_CERT_FILE",
    }


@pytest.mark.parametrize("reaped", [False, True])
def test_every_process_has_limits(reaped: bool) -> None:
    """Memory and the size of a file: `ulimit` says so from inside, once it had the time to be bound from outside."""
    words = ("sh", "-c", "sleep 0.2; ulimit -v; ulimit -f")
    memory, file = run(words, deadline=Deadline(20), reaped=reaped).output.split()
    assert int(memory) >= 16 << 20
    assert int(file) in (64 << 21, 64 << 20)  # in blocks of 512 bytes or of 1024


def test_a_lower_limit_is_not_raised() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "from harness.proc import Deadline, run\n"
        "print(run(('sh', '-c', 'sleep 0.2; ulimit -f'), deadline=Deadline(20), reaped=True).output)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(told.stdout) in (1 << 10, 1 << 11)
