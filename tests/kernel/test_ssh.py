# SPDX-License-Identifier: GPL-2.0-only
"""A real guest by ssh, beside its agent: the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from harness.checkout import data_directory
from harness.flow.boots import BootEnvironment
from harness.flow.live import CommandTimedOut, LiveGuest, NotStarted, live_guest
from harness.flow.prepare import parts_of_root
from harness.guest.root import guest_root
from harness.inputs.resolve import resolve
from harness.kernel.build import obtain
from harness.kernel.fragments import read_profile
from harness.model.errors import InfraError, UserError
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.root import PreparedRoot
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.functional.conftest import Quiet
from tests.functional.conftest import debian as debian

SECONDS = 180.0
MACHINE = Machine(ram=256 * MIB, swap=Swap(), accel=Accel.TCG)
COMMANDS = (
    ("true",),
    ("sh", "-c", "echo out; echo err >&2; exit 3"),
    ("sh", "-c", "kill -9 $$"),
    ("sh", "-c", "kill -TERM $$"),
    ("cat", "/etc/os-release"),
    ("cat", "/proc/sys/kernel/osrelease", "/no/such/file"),
    ("printf", "%s|", "a b", "$HOME", "'", '"', "\\", "ä", ""),
    ("sh", "-c", 'echo "$PATH"'),
    ("pwd",),
    ("head", "-c", "300000", "/dev/zero"),
    ("sh", "-c", "ps -o pid= | wc -l >/dev/null; id -u; umask"),
)
Boots = Callable[[PreparedRoot | None], AbstractContextManager[LiveGuest]]


@pytest.fixture(scope="module", name="boots")
def fixture_boots(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Boots:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(1800), Quiet())
    build = obtain(tree, read_profile("lean", data_directory("kernel-configs")), layout, Deadline(7200), Quiet())
    own = guest_root(layout, parts_of_root(), Deadline(60))

    def boots(other: PreparedRoot | None) -> AbstractContextManager[LiveGuest]:
        place = tmp_path_factory.mktemp("ssh")
        environment = BootEnvironment(PreparedKernel(build, {}), own, place, Quiet(), other=other)
        return live_guest(environment, MACHINE, layout, ssh=True)

    return boots


@pytest.fixture(scope="module", name="guest")
def fixture_guest(boots: Boots, debian: PreparedRoot) -> Iterator[LiveGuest]:
    with boots(debian) as guest:
        yield guest


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_ssh_and_the_agent_give_the_same_answers(guest: LiveGuest, words: tuple[str, ...]) -> None:
    answers = [guest.run(words, timeout=SECONDS, over=over) for over in ("agent", "ssh")]
    assert len({(one.status, one.signal, one.out, one.err) for one in answers}) == 1, answers


@pytest.mark.parametrize("over", ["agent", "ssh"])
def test_what_does_not_end_well_is_the_same_too(guest: LiveGuest, over: str) -> None:
    with pytest.raises(NotStarted, match="no-such was not started in the guest"):
        guest.run(("no-such",), timeout=SECONDS, over=over)
    with pytest.raises(CommandTimedOut) as caught:
        guest.run("echo begun; sleep 1234 & sleep 1234", timeout=8, over=over)
    assert (caught.value.out, caught.value.gone) == (b"begun\n", True)
    assert guest.run("pgrep -c sleep || ps | grep -c '[s]leep 1234'", timeout=SECONDS).out.split()[-1:] == [b"0"]
    ended = guest.run(("cat",), input=b"x" * 200_000, timeout=SECONDS, over=over)
    assert ended.out == b"x" * 200_000
    assert guest.run("cat /proc/self/oom_score_adj", oom_score_adj=300, timeout=SECONDS, over=over).out == b"300\n"


def test_a_client_of_ones_own_has_files_and_no_way_out(guest: LiveGuest) -> None:
    with guest.ssh() as client:
        _, out, _ = client.exec_command("cat /etc/debian_version; ls /run/ssh")
        assert b"authorized" in out.read()
        files = client.open_sftp()
        with files.open("/tmp/by-sftp", "wb") as file:
            file.write(b"by sftp")
    assert guest.pull("/tmp/by-sftp", timeout=SECONDS) == b"by sftp"
    # The host, by the address that it has in the guest's network.
    try:
        assert not guest.run(("bash", "-c", "exec 3<>/dev/tcp/10.0.2.2/22"), timeout=5).good
    except CommandTimedOut:
        pass


def test_an_sshd_that_dies_is_told(boots: Boots, debian: PreparedRoot) -> None:
    with boots(debian) as guest:
        assert guest.run(("true",), timeout=SECONDS, over="ssh").good
        with pytest.raises(InfraError, match=r"the guest's sshd|connection by ssh ended"):
            guest.run("kill -9 $(cat /run/sshd.pid) $PPID; sleep 60", timeout=SECONDS, over="ssh")
        assert guest.run(("true",), timeout=SECONDS).good  # the agent's


def test_a_root_without_sshd_is_told(boots: Boots) -> None:
    with boots(None) as guest, pytest.raises(UserError, match="the guest's root has no sshd"):
        guest.ssh()
