# SPDX-License-Identifier: GPL-2.0-only
"""What a build can see, change and take: every attack is one that a Makefile of a patch could make.

Both ways of making namespaces are tried; a host that allows neither skips (and on CI fails).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.kernel.buildlog import host_trouble
from harness.kernel.checkers import checkpatch, kernel_doc
from harness.kernel.make import Make, prepare_place
from harness.model.errors import CommandFailed, DeadlineExceeded, InfraError, UserError
from harness.model.tree import Tree
from harness.proc import Deadline, clean_environment, run, spawn
from harness.sandbox import BACKENDS, CHOICE, Confines, SandboxLimits, containment, require_containment, within
from tests.conftest import require_tool

SECONDS = 60
MIB = 1 << 20


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "bwrap":
        require_tool("bwrap")
    monkeypatch.setenv(CHOICE, request.param)
    if not containment().backend:
        message = f"this host does not allow {request.param}: {containment().why}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "objects").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.c").write_text("int a;\n")
    return tmp_path


def sh(place: Path, script: str, limits: SandboxLimits | None = None, seconds: float = SECONDS) -> str:
    """What the script says, contained as a build is; its failures do not matter."""
    confines = Confines(
        writes=(place / "objects",),
        reads=(place / "source",),
        empty=(place / "home",),
        limits=limits or SandboxLimits(),
    )
    (place / "home").mkdir(exist_ok=True)
    words = within(confines)
    assert words  # the attacks are meant for the inside
    done = run(
        ("sh", "-c", script),
        deadline=Deadline(seconds),
        cwd=place / "objects",
        env={"HOME": str(place / "home"), "S": str(place / "source"), "O": str(place / "objects"), "P": str(place)},
        allowed=tuple(range(128)),
        reaped=True,
        within=words,
    )
    return done.output


def test_a_build_is_nobody_and_can_do_nothing_that_needs_root(backend: str, place: Path) -> None:
    said = sh(place, "id -u; grep -E '^(Cap|NoNew)' /proc/self/status; mount -t tmpfs x /tmp; chown 7 .; echo end")
    lines = dict(line.split(":\t") for line in said.splitlines() if ":\t" in line)
    assert said.split()[0] == "65534"
    assert lines.pop("NoNewPrivs") == "1"
    assert set(lines.values()) == {"0" * 16} and len(lines) == 5
    assert said.endswith("end\n")


def test_what_it_makes_belongs_to_the_caller(backend: str, place: Path) -> None:
    """So that a later build, contained or not, by the same user can go on, and an older one's objects can be used."""
    (place / "objects" / "old.o").write_text("old")
    sh(place, "mkdir new; echo x > new/x.o; echo more >> old.o; chmod 600 old.o")
    made = place / "objects" / "new" / "x.o"
    assert (made.stat().st_uid, made.stat().st_gid) == (os.geteuid(), os.getegid())
    made.write_text("again")
    assert (place / "objects" / "old.o").read_text() == "oldmore\n"


def test_the_source_cannot_be_changed_by_any_name_that_it_has(backend: str, place: Path) -> None:
    (place / "objects" / "link").symlink_to(place / "source")
    said = sh(
        place,
        "echo evil >> $S/a.c; rm -f $S/a.c; mv $S/a.c $S/b.c; touch $S/new.h; chmod 777 $S/a.c; touch -d 1 $S/a.c;"
        "ln $S/a.c $O/again && echo evil >> $O/again; echo evil >> link/a.c; mount -o remount,rw $S; umount $S; "
        "ls $S",
    )
    assert (place / "source" / "a.c").read_text() == "int a;\n"
    assert [path.name for path in (place / "source").iterdir()] == ["a.c"]
    assert said.endswith("a.c\n") and "Read-only" in said


def test_home_and_tmp_are_empty_and_what_is_written_there_is_gone(backend: str, place: Path, tmp_path: Path) -> None:
    marker = Path(f"/tmp/ttm-test-{os.getpid()}")
    (place / "home").mkdir()
    (place / "home" / ".netrc").write_text("secret")
    said = sh(place, f"ls -A ~; echo evil > ~/.profile; echo evil > {marker}; ls -A ~; cat {marker}; echo $TMPDIR")
    assert said.split() == [".profile", "evil", "/tmp"]
    assert not marker.exists()
    assert [path.name for path in (place / "home").iterdir()] == [".netrc"]


def test_a_device_is_there_for_who_names_it(backend: str, place: Path) -> None:
    """As /dev/kvm is for a guest."""
    plain = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    device = next(path for path in sorted(Path("/dev").iterdir()) if path.is_char_device() and path.name not in plain)
    for devices, status in (((), 1), ((device,), 0)):
        words = within(Confines(writes=(place / "objects",), devices=devices))
        done = run(
            ("test", "-c", str(device)), deadline=Deadline(SECONDS), cwd=Path("/"), within=words, allowed=(0, 1)
        )
        assert done.status == status


def test_the_rest_of_the_host_is_not_there(backend: str, place: Path) -> None:
    (place / "secret").write_text("secret")
    home = Path.home()
    said = sh(
        place,
        f"cat $P/secret; echo evil > $P/secret; cat /etc/shadow /etc/passwd; ls -A {home}/.ssh {home}/.cache; "
        # Harmless if they did get through: what is there already, and sysrq's help.
        "cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness; echo h > /proc/sysrq-trigger; cat /dev/kmsg; "
        "echo x > /usr/x; echo x > /x; ls /var /run /home /sys /boot /dev/vda /dev/sda /dev/kvm",
    )
    assert (place / "secret").read_text() == "secret"
    assert "secret\n" not in said and "root:" not in said
    kinds = ("No such file", "Read-only", "Permission denied", "nonexistent", "cannot")
    others = [line for line in said.splitlines() if not line.startswith("nobody:x:")]
    assert all(any(kind in line for kind in kinds) for line in others), said


def test_a_build_sees_no_other_process_and_cannot_signal_one(backend: str, place: Path) -> None:
    with spawn(("sleep", "60")) as victim:
        said = sh(place, f"ps -e -o comm= 2>/dev/null | sort -u; kill -9 {victim.pid}; true")
        assert "sleep" not in said
        assert victim.status is None


def test_the_hosts_network_is_there_for_who_asks(backend: str, place: Path) -> None:
    """As a guest with ssh needs it."""
    own = str(Path("/proc/self/ns/net").readlink())
    for network in (False, True):
        words = within(Confines(writes=(place / "objects",), network=network))
        done = run(("readlink", "/proc/self/ns/net"), deadline=Deadline(SECONDS), cwd=Path("/"), within=words)
        assert (done.output.strip() == own) == network


def test_there_is_no_network(backend: str, place: Path) -> None:
    """A server of this test on this machine, which a socket of the host reaches and the build's does not."""
    script = (
        "import socket, sys\n"
        "s = socket.socket(); s.settimeout(3)\n"
        "try: s.connect(('127.0.0.1', int(sys.argv[1]))); print('connected')\n"
        "except OSError as error: print('refused')\n"
    )
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        said = subprocess.run([sys.executable, "-c", script, port], capture_output=True, text=True, check=True).stdout
        assert said == "connected\n"
        (place / "source" / "net.py").write_text(script)
        assert sh(place, f"python3 $S/net.py {port}; cat /proc/net/route | wc -l") in ("refused\n0\n", "refused\n1\n")


def test_the_environment_of_a_build_has_no_proxy_and_no_place_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:password@proxy")
    monkeypatch.setenv("all_proxy", "http://me:password@proxy")
    monkeypatch.setenv("CURL_CA_BUNDLE", "/etc/mine.pem")
    monkeypatch.setenv("TMPDIR", "/home/me/tmp")
    monkeypatch.setenv("SECRET", "secret")
    download, build = clean_environment(), clean_environment(contained=True)
    assert download["HTTPS_PROXY"] == download["all_proxy"] == "http://me:password@proxy"
    assert (download["CURL_CA_BUNDLE"], download["TMPDIR"]) == ("/etc/mine.pem", "/home/me/tmp")
    assert "SECRET" not in download
    assert set(build) == {"PATH", "LC_ALL", "LANG", "TMPDIR"} and build["TMPDIR"] == "/tmp"


def refused(place: Path, script: str, limits: SandboxLimits, seconds: float = SECONDS) -> str:
    with pytest.raises(CommandFailed) as caught:
        run(
            ("sh", "-c", script),
            deadline=Deadline(seconds),
            cwd=place / "objects",
            within=within(Confines(writes=(place / "objects",), limits=limits)),
            reaped=True,
        )
    return caught.value.tail


def leftovers(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_build_that_forks_without_end_is_ended(backend: str, place: Path) -> None:
    script = "while :; do setsid sleep 4747 & done"
    assert "more than 60 processes at once" in refused(place, script, SandboxLimits(processes=60)) or not leftovers(
        "4747"
    )
    assert leftovers("4747") == []


def test_nothing_of_a_build_outlives_it(backend: str, place: Path) -> None:
    sh(place, "setsid sleep 4848 & (setsid sleep 4848 &) ; sleep 0.2; echo done")
    assert leftovers("4848") == []


def test_a_build_has_a_deadline_and_its_end_is_the_end_of_all_of_it(backend: str, place: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        sh(place, "trap '' TERM; setsid sleep 4949 & sleep 4949", seconds=2)
    limit = time.monotonic() + 10
    while leftovers("4949") and time.monotonic() < limit:
        time.sleep(0.1)
    assert leftovers("4949") == []


def test_a_file_has_a_largest_size(backend: str, place: Path) -> None:
    sh(place, "head -c 50000000 /dev/zero > big", SandboxLimits(file_size=MIB))
    assert (place / "objects" / "big").stat().st_size == MIB


def test_a_build_that_fills_the_disk_is_ended(backend: str, place: Path) -> None:
    """The limit lies just below what is free, and the attack is bounded by itself."""
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    script = "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); head -c 10000000 /dev/zero > $i; sleep 0.05; done"
    said = refused(place, script, SandboxLimits(reserve=free - 100 * MIB))
    assert "MiB free on the disk" in said
    for path in (place / "objects").iterdir():
        path.unlink()


def test_tmp_is_no_way_to_fill_memory(backend: str, place: Path) -> None:
    said = sh(place, "head -c 50000000 /dev/zero > /tmp/big; stat -c %s /tmp/big", SandboxLimits(scratch=MIB))
    assert int(said.split()[-1]) <= MIB


def test_a_build_that_takes_too_much_memory_is_ended(backend: str, place: Path) -> None:
    """Each process keeps the limit of one; all together do not."""
    script = "for i in 1 2 3 4 5 6; do python3 -c 'import time; x = bytearray(60 << 20); time.sleep(20)' & done; wait"
    assert "MiB of memory" in refused(place, script, SandboxLimits(memory=300 * MIB))


@contextmanager
def kbuild(place: Path, makefile: str) -> Iterator[Callable[[], str]]:
    """A tree with that Makefile, whose source it names $(srctree) as kbuild does, and its build."""
    tree = place / "tree"
    (tree / "drivers").mkdir(parents=True)
    (tree / "drivers" / "a.c").write_text("int a;\n")
    (tree / "Makefile").write_text(f"srctree := {tree}\n{makefile}\nall:\n\t@echo '  CC      a.o' > $(O)/a.o\n")
    prepare_place(place / "place", tree)
    make = Make(place / "place")
    log = make.objects / "build.log"

    def build() -> str:
        make.run("all", deadline=Deadline(SECONDS), log=log)
        return log.read_text()

    yield build


@pytest.mark.parametrize(
    "line",
    [
        "$(shell echo evil >> $(srctree)/drivers/a.c)",
        "$(shell echo evil > $(srctree)/drivers/new.h)",
        "$(shell echo evil >> $(O)/../drivers/a.c)",
        "$(shell echo evil >> $(O)/../headers)",
        "$(shell rm -rf $(srctree)/drivers)",
        "$(shell cp /bin/sh $(O)/../home/.profile)",
    ],
)
def test_a_makefile_changes_nothing_but_its_objects(backend: str, place: Path, line: str) -> None:
    with kbuild(place, line) as build:
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        build()
        after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    objects = place / "place" / "objects"
    assert {path for path in after if path not in before} == {objects / "a.o", objects / "build.log"}
    assert {path: after[path] for path in before} == before


def test_a_store_behind_a_link_is_built_in(backend: str, place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real")
    with kbuild(place / "link", "") as build:
        build()
    assert (place / "real" / "place" / "objects" / "a.o").is_file()


def test_more_jobs_may_have_more_processes(backend: str) -> None:
    def most(confines: Confines) -> int:
        words = within(confines)
        return int(words[words.index(backend) + 1].split(",")[2])

    assert most(Confines(jobs=1024)) > 1024 * 8 > most(Confines())


def test_a_log_is_never_written_through_a_link_that_a_build_left(backend: str, place: Path) -> None:
    victim = place / "victim"
    victim.write_text("mine\n")
    with kbuild(place, f"$(shell ln -sf {victim} $(O)/build.log)") as build:
        build()
        with pytest.raises((InfraError, OSError)):
            build()
    assert victim.read_text() == "mine\n"


def test_a_build_that_breaks_a_limit_is_no_word_about_the_sources(
    backend: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.kernel.make.LIMITS", SandboxLimits(memory=200 * MIB))
    attack = "python3 -c 'import time; x = bytearray(90 << 20); time.sleep(20)' &"
    with kbuild(place, f"$(shell {attack * 4} wait)") as build:
        with pytest.raises(CommandFailed) as caught:
            build()
    lines = caught.value.tail.splitlines()
    trouble = host_trouble(lines)
    assert trouble is not None and "its sandbox says: it took more than 200 MiB of memory" in trouble


def test_the_checkers_of_a_tree_can_write_nowhere(backend: str, place: Path) -> None:
    """They read what a stranger wrote; and a checker of the base may be a stranger's, too."""
    tree = Tree("a" * 64, "7.3.4", "t", place / "tree", "t")
    (tree.path / "scripts").mkdir(parents=True)
    (tree.path / "a.c").write_text("int a;\n")
    marks = [place / "mark", tree.path / "mark", Path(f"/tmp/ttm-test-{os.getpid()}")]
    writes = "".join(f"(echo evil > {mark}) 2>/dev/null; " for mark in marks)
    (tree.path / "scripts" / "checkpatch.pl").write_text(f"system('{writes}'); print \"f:1: WARNING: said\\n\";")
    (tree.path / "scripts" / "kernel-doc").write_text(f"#!/bin/sh\n{writes}\necho said; cat a.c\n")
    (tree.path / "scripts" / "kernel-doc").chmod(0o755)
    assert "WARNING: said" in checkpatch(tree, "a mail", True, Deadline(SECONDS))
    assert kernel_doc(tree, tree, ["a.c"], Deadline(SECONDS)).split() == ["said", "int", "a;"]
    assert [mark for mark in marks if mark.exists()] == []


def test_a_pipe_in_the_place_of_a_log_stops_nobody(place: Path) -> None:
    os.mkfifo(place / "log")
    with pytest.raises(OSError):
        run(("true",), deadline=Deadline(SECONDS), log=place / "log")


def test_without_containment_it_is_said_and_untrusted_refuses(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.containment import look_at_containment

    monkeypatch.setenv(CHOICE, "none")
    assert within(Confines()) == ()
    look_at_containment(untrusted=False)
    said = capfd.readouterr().err
    assert "builds are not contained on this host" in said and said.count("\n") == 1
    with pytest.raises(UserError, match="--untrusted"):
        require_containment()


def test_with_containment_nothing_is_said(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    from harness.cli.containment import look_at_containment

    look_at_containment(untrusted=True)
    look_at_containment(untrusted=False)
    assert capfd.readouterr().err == ""


def test_an_unknown_choice_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "firejail")
    with pytest.raises(UserError, match="firejail"):
        containment()
