# SPDX-License-Identifier: GPL-2.0-only
"""A breakpoint by QEMU's stub for gdb: set, read at, passed; and a stub that does none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest import breakpoint as breakpoint_module
from harness.guest.breakpoint import Breakpoint
from harness.model.errors import InfraError
from tests.unit.gdb_stub import NAME, STOPPED, STRUCTURE, GdbStub, memory, registers

pytestmark = pytest.mark.timeout(30)
AT = 0xFFFF_FFFF_8122_A2C0
SET, UNSET = f"Z1,{AT:x},1", f"z1,{AT:x},1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gdb"


def set_at(path: Path) -> Breakpoint:
    one = Breakpoint(path, AT)
    one.attach()
    assert one.attached
    return one


@pytest.mark.parametrize("greeting", ["", STOPPED])
def test_it_is_set_and_the_guest_goes_on_past_it(path: Path, greeting: str) -> None:
    stub = GdbStub(path, greeting=greeting)
    one = set_at(path)
    assert one.name_in_argument(5) == "one_case"
    one.go_on()
    one.close()
    asked = [packet for packet in stub.asked if packet[0] not in "gm"]
    assert asked == [SET, "c", UNSET, "s", SET, "c"][: len(asked)]
    assert len(asked) >= 5  # the last one has no answer to wait for


@pytest.mark.parametrize(
    ("holds", "found"),
    [
        (memory(0, NAME), "one_case"),  # as in 6.12
        (memory(0, STRUCTURE, 0, 0, 0, 0, NAME), "one_case"),  # as in 7.3, with a parent
        (memory(0, NAME, name=b"\0"), ""),
        (memory(0, NAME, name=b"x" * 80), ""),
        (memory(0, NAME, name=b"../../etc\0"), ""),
        (memory(0, 0x1000), ""),
        ({}, ""),
    ],
)
def test_the_first_name_that_a_member_points_to(path: Path, holds: dict[int, bytes], found: str) -> None:
    GdbStub(path, holds)
    assert set_at(path).name_in_argument(5) == found


@pytest.mark.parametrize("said", ["", "E01", "xyz", registers(STRUCTURE)[:40]])
def test_registers_that_are_none(path: Path, said: str) -> None:
    GdbStub(path, met={"g": said})
    assert set_at(path).name_in_argument(5) == ""


@pytest.mark.parametrize("answer", ["", "E22", None])
def test_one_that_cannot_be_set(path: Path, answer: str | None) -> None:
    GdbStub(path, met={"Z1": answer})
    one = Breakpoint(path, AT)
    with pytest.raises(InfraError, match="QEMU sets no breakpoint"):
        one.attach()
    assert not one.attached


def test_nobody_listens(path: Path) -> None:
    with pytest.raises(InfraError, match="QEMU sets no breakpoint"):
        Breakpoint(path, AT).attach()


def test_one_that_nobody_set(path: Path) -> None:
    with pytest.raises(InfraError, match="nobody is connected"):
        Breakpoint(path, AT).go_on()


@pytest.mark.parametrize("met", [{"s": None}, {"s": "OK"}, {"z1": "E01"}])
def test_one_that_cannot_be_passed(path: Path, met: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakpoint_module, "_SECONDS", 0.3)
    GdbStub(path, met=met)
    one = set_at(path)
    with pytest.raises(InfraError):
        one.go_on()
