# SPDX-License-Identifier: GPL-2.0-only
"""A test machine's last words: which of those that were heard are its own, and what it is told so that they are."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.kexec import MachineFacts
from harness.guest.last_words import netconsole_argument, ramoops_arguments, with_last_words
from harness.guest.netconsole import listening
from harness.model.errors import InfraError, UserError

BEGIN = b"[    0.000000] Linux version 7.3.4 (us) #1\n[    0.000000] BIOS-provided physical RAM map:\n"
LOG = BEGIN + b"[    1.000001] one\n[    2.000002] two\n"
PANIC = b"[    9.000009] Kernel panic - not syncing: on purpose\n[    9.000010] Call Trace:\n"
NET = """peer 192.0.2.7
route 192.0.2.7 dev eno1 src 192.0.2.9 uid 0 \\    cache
card lo 00:00:00:00:00:00
card eno1 52:54:00:12:34:56
neighbour IP HW
neighbour 192.0.2.7 52:54:00:aa:bb:cc
"""


def levelled(text: bytes) -> bytes:
    """As pstore keeps it."""
    return b"Panic#1 Part1\n" + b"".join(b"<4>" + line for line in text.splitlines(keepends=True))


@pytest.mark.parametrize("heard", [LOG + PANIC, levelled((LOG + PANIC).removeprefix(BEGIN))])
def test_what_others_heard_beyond_the_end_is_put_after_it(heard: bytes) -> None:
    assert with_last_words(LOG, (heard,), "7.3.4") == LOG + PANIC


def test_several_that_heard_each_add_what_the_others_did_not() -> None:
    pieces = (LOG + PANIC[:54], levelled(LOG + PANIC), LOG)
    assert with_last_words(LOG, pieces, "7.3.4") == LOG + PANIC


def test_a_line_that_was_cut_is_taken_whole() -> None:
    assert with_last_words(LOG + b"[    9.0000", (LOG + PANIC,), "7.3.4") == LOG + PANIC


@pytest.mark.parametrize(
    "heard",
    [
        b"",
        PANIC,  # no word of it is known
        BEGIN + PANIC,  # what all kernels say at 0
        BEGIN.replace(b"7.3.4", b"6.1.0") + b"[    1.000001] one\n" + PANIC,  # one line may be chance
    ],
)
def test_who_heard_somebody_else_is_left_out(heard: bytes) -> None:
    assert with_last_words(LOG, (heard,), "7.3.4") == LOG


def test_where_nothing_was_recorded_the_beginning_says_whose_words_they_are() -> None:
    assert with_last_words(b"", (b"junk\n" + LOG + PANIC,), "7.3.4") == LOG + PANIC
    assert with_last_words(b"", (LOG + PANIC,), "6.1.0") == b""
    assert with_last_words(b"", (PANIC, LOG), "7.3.4") == LOG


@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=3))
def test_nothing_that_was_recorded_whole_is_lost(recorded: bytes, heard: list[bytes]) -> None:
    whole = recorded[: recorded.rindex(b"\n") + 1] if b"\n" in recorded else recorded
    assert with_last_words(recorded, heard, "7.3.4").startswith(whole) or not recorded


def test_netconsole_goes_by_the_card_that_leads_here() -> None:
    facts = MachineFacts.parse(NET)
    wanted = "netconsole=@192.0.2.9/52:54:00:12:34:56,6666@192.0.2.7/52:54:00:aa:bb:cc"
    assert netconsole_argument(facts, "box", 6666) == wanted


def test_netconsole_goes_by_the_router() -> None:
    routed = NET.replace("192.0.2.7 dev", "192.0.2.7 via 192.0.2.1 dev").replace(
        "neighbour 192.0.2.7", "neighbour 192.0.2.1"
    )
    assert netconsole_argument(MachineFacts.parse(routed), "box", 1).endswith("/52:54:00:aa:bb:cc")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("route", "no"),
        ("peer", "no"),
        ("card eno1", "card eno2"),
        ("52:54:00:12:34:56", "52:54"),
        ("src 192.0.2.9", "src 192.0.2.9,1@x"),
    ],
)
def test_a_machine_that_does_not_say_how_it_reaches_here_is_told(old: str, new: str) -> None:
    with pytest.raises(UserError, match="which netconsole needs"):
        netconsole_argument(MachineFacts.parse(NET.replace(old, new)), "box", 6666)


def test_ramoops_is_where_the_machines_own_kernel_looks() -> None:
    said = "ramoops mem_address 939524096\nramoops mem_size 1048576\nramoops ecc 0\nramoops mem_name x y\n"
    assert ramoops_arguments(MachineFacts.parse(said)) == (
        "memmap=0x100000$0x38000000",
        "ramoops.mem_address=939524096",
        "ramoops.mem_size=1048576",
        "ramoops.ecc=0",
    )
    assert ramoops_arguments(MachineFacts.parse("ramoops mem_address 0\nramoops mem_size 0\n")) == ()
    assert ramoops_arguments(MachineFacts.parse("ramoops mem_address 1 quiet\nramoops mem_size 1\n")) == ()


def test_the_machine_alone_is_listened_to(tmp_path: Path) -> None:
    file = tmp_path / "network"
    limit = time.monotonic() + 30.0
    with listening("127.0.0.1", 0, file) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind(("127.0.0.2", 0))
        mouth.sendto(b"somebody else\n", ("127.0.0.1", port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(("127.0.0.1", 0))
            own.sendto(LOG, ("127.0.0.1", port))
        while (not file.is_file() or file.stat().st_size < len(LOG)) and time.monotonic() < limit:
            time.sleep(0.02)
        with pytest.raises(InfraError, match=f"listen to netconsole at UDP port {port}"), listening("", port, file):
            pass
    assert file.read_bytes() == LOG
