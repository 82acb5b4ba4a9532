# SPDX-License-Identifier: GPL-2.0-only
"""The suites of emulated devices: their program, their runner, and a pass that saw nothing go out."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence.parse import parse_ktap_text
from harness.flow.collect import with_figures
from harness.guest.root import compile_static
from harness.judge.expectations import require
from harness.judge.proofs import proved
from harness.model.event import Case
from harness.model.outcome import Outcome
from harness.model.suite import Ground
from harness.proc import Deadline
from harness.suites.registry import SHIPPED, suite_named

HOME = SHIPPED / "dumb-buffers"
SUITES = ("qxl", "vkms", "virtio-gpu")
GROUND = Ground((7, 3, 4))
PROGRAM = """\
#!/bin/sh
case $2 in
list) printf 'create\\nlimit\\nshared\\nhog\\n' ;;
limit) echo "# a page is not as it was written" && exit 1 ;;
hog) echo "skip: needs swap space" && exit 77 ;;
shared) kill -SEGV $$ ;;
*) echo "pswpout=7 $1 $3" ;;
esac
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tools") / "dumb_buffers"
    compile_static(HOME / "tools" / "dumb_buffers.c", path, Deadline(60))
    return path


@pytest.mark.parametrize("name", SUITES)
def test_the_manifest_has_the_cases_of_the_program(name: str, program: Path) -> None:
    suite = suite_named(name)
    assert suite.manifest is not None
    argv = (program, suite.arguments[0], "list")
    listed = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout.split()
    assert [case.name for case in suite.manifest.cases] == [f"{name}.{one}" for one in (*listed, "unload")]


@pytest.mark.skipif(Path("/dev/dri").exists(), reason="needs a host without a card")
@pytest.mark.parametrize("driver", ["qxl", "vkms", "virtio_gpu"])
def test_without_a_card_it_skips_and_says_why(driver: str, program: Path) -> None:
    done = subprocess.run((program, driver, "create", "1"), capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (77, "skip: there is no card of this driver\n")


@pytest.mark.parametrize("words", [(), ("qxl",), ("none", "list"), ("qxl", "create"), ("vkms", "vram", "1")])
def test_what_it_does_not_know_is_refused(words: tuple[str, ...], program: Path) -> None:
    assert subprocess.run((program, *words), capture_output=True, check=False, timeout=10).returncode == 2


MEMORY = "MemTotal: 1024 kB\nMemFree: {free} kB\nSwapTotal: 0 kB\nSwapFree: {free} kB\n"
PLAYED = """\
#include <sys/ioctl.h>
#include <string.h>
#include <unistd.h>
static const char *played;
static int play(int file, unsigned long request, void *asked);
#define ioctl play
#define main whole
%s
#undef main
static int play(int file, unsigned long request, void *asked)
{
	if (request != VERSION)
		return -1;
	strcpy(((struct version *)asked)->name, played);
	return 0;
}
static void finds(int to, long number)
{
	fail("a page is not as it was written");
	tell(to);
	pause();
}
static void killed(void)
{
	int ends[2];
	pid_t pid;

	need(!pipe(ends), "pipe");
	pid = child(finds, ends[1], 0);
	told(ends[0]);
	kill(pid, SIGKILL);
	expect_end(pid, SIGKILL);
}
static void nothing(void)
{
}
int main(int argc, char **argv)
{
	static const struct one_case own[] = {
		{ .name = "killed", .run = killed },
		{ .name = "nothing", .run = nothing },
		{ .name = "hog", .run = case_hog },
	};

	driver = &drivers[atoi(argv[1])];
	played = driver->name;
	setvbuf(stdout, NULL, _IOLBF, 0);
	return run(&own[atoi(argv[2])]);
}
"""


def played(tmp_path: Path, driver: int, number: int, free: int = 512) -> tuple[int, str]:
    """A case of the program's frame on a card and a kernel that are played: its status and what it said."""
    text = (HOME / "tools" / "dumb_buffers.c").read_text()
    for name in ("vmstat", "meminfo", "zoneinfo"):
        text = text.replace(f'"/proc/{name}"', f'"{tmp_path}/{name}"')
    text = text.replace('"/dev/dri/card%d", i', '"card"').replace('"/sys/', f'"{tmp_path}/sys/')
    (tmp_path / "card").touch()
    (tmp_path / "meminfo").write_text(MEMORY.format(free=free))
    (tmp_path / "vmstat").write_text("nr_shmem 1\npswpin 1\npswpout 1\n")
    (tmp_path / "zoneinfo").write_text("")
    (tmp_path / "played.c").write_text(PLAYED % text)
    compile_static(tmp_path / "played.c", tmp_path / "played", Deadline(60))
    argv = (tmp_path / "played", str(driver), str(number))
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


QXL, VKMS = 0, 2


def test_what_a_process_found_before_it_was_killed_is_no_green(tmp_path: Path) -> None:
    assert played(tmp_path, VKMS, 0) == (1, "# a page is not as it was written\npswpout=0\npswpin=0\n")


def test_objects_that_cannot_be_counted_are_no_green(tmp_path: Path) -> None:
    assert played(tmp_path, VKMS, 1)[0] == 0
    status, said = played(tmp_path, QXL, 1)
    assert status == 1
    assert "ttm/buffer_objects cannot be read" in said
    (tmp_path / "sys/kernel/debug/ttm").mkdir(parents=True)
    (tmp_path / "sys/kernel/debug/ttm/buffer_objects").write_text("4\n")
    assert played(tmp_path, QXL, 1)[0] == 0


def test_more_ram_than_buffers_can_fill_is_a_skip_and_no_finding(tmp_path: Path) -> None:
    status, said = played(tmp_path, VKMS, 2, 64 << 20)
    assert status == 77
    assert said.startswith("skip: has more buffers to make in this RAM")


def outcome(suite: str, *lines: str) -> Outcome:
    text = (
        "KTAP version 1",
        "1..1",
        "    KTAP version 1",
        f"    # Subtest: {suite}",
        "    1..1",
        *lines,
        f"ok 1 {suite}",
    )
    log = "".join(f"[{at:5d}.000000] {line}\n" for at, line in enumerate(text, 1)).encode()
    name = f"{suite}.{lines[-1].split()[-1]}"
    cases = require(suite_named(suite), GROUND, [replace(one, suite=suite) for one in parse_ktap_text(log).cases])
    return next(case.outcome for case in cases if case.name == name)


@pytest.mark.parametrize("suite", SUITES)
def test_a_green_that_saw_nothing_go_out_is_none(suite: str) -> None:
    assert outcome(suite, "    # hog: swapped_out=812", "    ok 1 hog") is Outcome.PASS
    assert outcome(suite, "    # hog: swapped_out=0", "    ok 1 hog") is Outcome.INCOMPLETE
    assert outcome(suite, "    ok 1 hog") is Outcome.INCOMPLETE
    assert outcome(suite, "    ok 1 create") is Outcome.PASS
    assert outcome(suite, "    ok 1 limit") is (Outcome.INCOMPLETE if suite == "qxl" else Outcome.PASS)


def run_with_stand_ins(tmp_path: Path, cases: str = "", *, stop: bool = False, modules: int = 1) -> tuple[int, str]:
    """The runner with a program, modules and a kernel's log of the test's; its status and what it said."""
    (tmp_path / "bin").mkdir()
    for name, text in {"dumb_buffers": PROGRAM, "modinfo": "#!/bin/sh\necho one,two\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
    for name in ("modprobe", "insmod", "rmmod"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"$LOG"\n')
    for path in (tmp_path / "bin").iterdir():
        path.chmod(0o755)
    for number in range(modules):
        (tmp_path / f"some-gpu{number}.ko").touch()
    (tmp_path / "loaded").write_text("drm 1 1 - Live 0x0\n")
    script = (HOME / "qxl" / "run").read_text().replace(">/dev/kmsg", f">>{tmp_path}/log")
    (tmp_path / "run").write_text(script.replace("/proc/modules", f"{tmp_path}/loaded").replace("sleep 1", ":"))
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "HARNESS_SUITE": "qxl",
        "HARNESS_MODULES": str(tmp_path),
        "HARNESS_TOOLS": str(tmp_path / "bin"),
        "HARNESS_RESULTS": str(tmp_path / "results"),
        "HARNESS_SEED": "5",
        "HARNESS_CASES": cases,
        "HARNESS_STOP_AT_FIRST": "1" if stop else "",
    }
    shell = shutil.which("sh") or "/bin/sh"
    argv = (shell, tmp_path / "run", "qxl")
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=30)
    said = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    return done.returncode, said.replace("<5>", "")


def test_the_runner_tells_what_the_program_made_of_each_case(tmp_path: Path) -> None:
    status, said = run_with_stand_ins(tmp_path)
    assert status == 0
    announced = (tmp_path / "results" / "qxl.announced").read_text().split()
    assert announced == ["qxl.create", "qxl.limit", "qxl.shared", "qxl.hog", "qxl.unload"]
    assert said.startswith(f"modprobe one\nmodprobe two\ninsmod {tmp_path}/some-gpu0.ko\nKTAP version 1\n")
    found = {case.name: case for case in parse_ktap_text(said.encode()).cases}
    assert {name: case.outcome for name, case in found.items()} == {
        "qxl.create": Outcome.PASS,
        "qxl.limit": Outcome.FAIL,
        "qxl.shared": Outcome.FAIL,
        "qxl.hog": Outcome.SKIP,
        "qxl.unload": Outcome.PASS,
    }
    assert "    # create: pswpout=7 qxl 5\n" in said
    assert "    # limit: a page is not as it was written\n" in said
    assert "rmmod some_gpu0\n" in said


def test_the_runner_ends_at_the_first_red_case_where_it_is_told_to(tmp_path: Path) -> None:
    status, said = run_with_stand_ins(tmp_path, "limit,s*", stop=True)
    assert status == 0
    assert "not ok 1 limit" in said
    assert "case qxl shared" not in said


@pytest.mark.parametrize(("cases", "modules", "why"), [("none", 1, "no case matches none"), ("", 2, "more than one")])
def test_the_runner_cannot_tell(tmp_path: Path, cases: str, modules: int, why: str) -> None:
    status, said = run_with_stand_ins(tmp_path, cases, modules=modules)
    assert status == 1
    assert f"Bail out! {'there is no module, or ' if modules == 2 else ''}{why}" in said
    assert "ok 1" not in said


def test_a_figure_that_is_a_proof_is_there_once() -> None:
    said = ("# qxl.limit: swapped_out=7", "# qxl.limit: pswpin=3")
    case = Case("qxl", "qxl.limit", Outcome.PASS, diagnostics=said)
    proven = proved(case, suite_named("qxl"), GROUND)
    assert [(one.name, one.value) for one in with_figures(proven).metrics] == [("swapped_out", 7.0), ("pswpin", 3.0)]
