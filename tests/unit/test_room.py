# SPDX-License-Identifier: GPL-2.0-only
"""The guests of `exec` and `shell` take their share of the host as all others do, and say so when they wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.flow import live, recreate, schedule
from harness.flow.admission import Claim
from harness.flow.kept_boot import find_boot
from harness.flow.live import guest_of
from harness.flow.recreate import recreated_guest
from harness.flow.schedule import WAITS
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.errors import InfraError, UserError
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.store.claims import Claims
from harness.store.layout import Layout
from harness.store.runs import CELL_FILE
from tests.unit.results_support import Quiet
from tests.unit.stand_in.cells import kernel_in, root_in

MACHINE = Machine(ram=96 * MIB, cpus=1)
HUGE = Machine(ram=1 << 50)


@pytest.fixture
def ground(scratch_layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A kernel and a root that are there, and a guest that is not booted."""
    kernel, root = kernel_in(tmp_path), root_in(tmp_path)

    @contextmanager
    def live_guest(*_: object, **__: object) -> Iterator[str]:
        yield "guest"

    made_up = {
        "prepare": lambda *_: kernel,
        "prepare_root": lambda *_: root,
        "settle_accel": lambda asked, *_: asked,
        "live_guest": live_guest,
        "_kernel": lambda *_: (kernel, None),
    }
    for module in (live, recreate):
        for name, value in made_up.items():
            monkeypatch.setattr(module, name, value, raising=False)
    return scratch_layout


def held(layout: Layout) -> list[int]:
    return [one.ram - Claim.of(MACHINE).ram for one in Claims(layout).all()]


SPEC = KernelSpec(SourceSpec.parse("debian:6.12"))


def test_a_guest_of_options_holds_its_share(ground: Layout) -> None:
    with guest_of(SPEC, MACHINE, ground, Quiet()):
        assert held(ground) == [0]
    assert held(ground) == []


def test_a_guest_like_a_kept_boot_does_so_too(ground: Layout, tmp_path: Path) -> None:
    place = tmp_path / "boot"
    place.mkdir()
    (place / CELL_FILE).write_text(to_json(Cell("b" * 64, MACHINE, (), 1)))
    with recreated_guest(find_boot(ground, str(place)), ground, Quiet()):
        assert held(ground) == [0]
    assert held(ground) == []


def test_who_finds_no_room_says_so_and_gives_up_in_the_end(ground: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "room_for_guests", lambda: 300 * MIB)
    monkeypatch.setattr(schedule, "NO_ROOM_SECONDS", 0.2)
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.05)
    progress = Quiet()
    with (
        pytest.raises(InfraError, match=r"this host had no 352M of RAM to give"),
        guest_of(SPEC, MACHINE, ground, progress),
    ):
        pass
    assert progress.said.count(WAITS) == 1
    assert held(ground) == [] and list(ground.runs.iterdir()) == []


def test_what_the_host_can_never_carry_is_refused_before_anything_is_made(
    ground: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "prepare", lambda *_: pytest.fail("a kernel was made for it"))
    with pytest.raises(UserError, match="this host cannot carry a guest"), guest_of(SPEC, HUGE, ground, Quiet()):
        pass
