# SPDX-License-Identifier: GPL-2.0-only
"""Images of a guest's memory: when they are written, and that the boot ends as it would have without them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from harness.flow import inspect as inspect_module
from harness.flow.inspect import Image, build_of, find_image, unpack
from harness.guest import boot as boot_module
from harness.guest import image
from harness.guest.boot import Boot, boot
from harness.guest.image import MOST_IMAGES, Keeper, image_path
from harness.guest.liveness import GiveUp, Liveness
from harness.guest.stall import Stall
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.errors import CommandFailed, HarnessError, InfraError, UserError
from harness.model.machine import Machine
from harness.model.outcome import Ending
from harness.store.layout import Layout
from tests.unit.gdb_stub import GdbStub
from tests.unit.stand_in import LIMITS, StandIn, Step, frame, into_suite, launch_in, say, whole
from tests.unit.stand_in.cells import kernel_in

pytestmark = pytest.mark.timeout(30)

PANIC = say("Kernel panic - not syncing: Fatal exception")
FAILED: tuple[Step, ...] = (("stands", "guest-panicked"), ("until_asked", "cont"))
OFF: tuple[Step, ...] = (("stands", "shutdown"), ("hang",))


class Ground:
    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.stand_in = StandIn(place, monkeypatch)
        self.launch = replace(launch_in(place), keep_state=True)
        monkeypatch.setattr(image, "_EVERY_SECONDS", 0.01)

    def breaks(self, met: dict[str, str | None] | None = None) -> None:
        """A breakpoint, at which a stub for gdb plays along."""
        self.launch = replace(self.launch, breaks=0xFFFF_FFFF_8122_A2C0)
        self.stub = GdbStub(self.launch.gdb, met=met, goes_on=lambda times: self.stand_in.let(f"went-on-{times}"))

    def boot(self, *steps: Step, monitor: dict[str, object] | None = None) -> Boot:
        self.stand_in.plays(*steps, monitor=monitor)
        return boot(self.launch, self.place / "console.log", LIMITS)

    def content(self, name: str) -> bytes:
        into = self.place / "unpacked"
        unpack(image_path(self.launch.control.parent, name), into)
        return into.read_bytes()


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, monkeypatch)


def test_a_guest_that_ends_well_leaves_none_and_is_told_to_quit(ground: Ground) -> None:
    found = ground.boot(*whole(("mine",)), *OFF)
    assert (found.ending, found.images, found.image_troubles) == (Ending.FINISHED, (), ())


def test_a_case_that_failed_leaves_one_and_the_guest_goes_on(ground: Ground) -> None:
    failing = (frame("case", "mine one"), *FAILED, frame("cases-end", "mine"))
    found = ground.boot(*into_suite(), *failing, frame("result", "mine 0"), frame("exit", "1"), *OFF)
    assert (found.ending, found.images) == (Ending.FINISHED, ("memory/one.elf.zst",))
    assert ground.content("one") == b"what was in memory"
    assert not list((ground.launch.control.parent / "memory").glob("*.elf")), "the one that QEMU wrote is gone"


STANDS: tuple[Step, ...] = (("stands", "debug"), ("until", "went-on-2"), ("stands", "running"))
IN_CASE: tuple[Step, ...] = (("until", "went-on-1"), frame("case", "mine a_module"))
ENDS: tuple[Step, ...] = (frame("cases-end", "mine"), frame("result", "mine 0"), frame("exit", "1"), *OFF)


def test_a_guest_at_its_breakpoint_leaves_one_by_the_name_of_the_case_and_goes_on(ground: Ground) -> None:
    ground.breaks()
    found = ground.boot(*into_suite(*IN_CASE, *STANDS, *ENDS))
    assert (found.ending, found.image_troubles) == (Ending.FINISHED, ())
    assert found.images == ("memory/a_module.one_case.elf.zst",)
    assert ground.content("a_module.one_case") == b"what was in memory"


def test_a_breakpoint_that_cannot_be_set_is_said_and_the_guest_goes_on(ground: Ground) -> None:
    ground.breaks({"Z1": "E22"})
    found = ground.boot(*into_suite(("until", "went-on-1"), *ENDS))
    assert (found.ending, found.images) == (Ending.FINISHED, ())
    assert "no memory images of failed cases of kunit: QEMU sets no breakpoint" in found.image_troubles[0]


def test_a_breakpoint_that_cannot_be_passed_is_taken_away_and_the_guest_goes_on(ground: Ground) -> None:
    ground.breaks({"z1": "E01"})
    found = ground.boot(*into_suite(*IN_CASE, *STANDS, *ENDS))
    assert (found.ending, found.images) == (Ending.FINISHED, ("memory/a_module.one_case.elf.zst",))
    assert "no more memory images of failed cases of kunit" in found.image_troubles[0]


def test_a_guest_that_stops_at_one_that_stays_is_let_go_each_time(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Keeper, "tell", lambda _, command: told.append(command))
    ground.breaks({"Z1": "E22", "D": "E22"})
    keeper = Keeper(ground.launch)
    keeper._set_breakpoint()
    keeper.keep_at_breakpoint("a_module")
    assert told == ["cont", "cont"]
    assert len(keeper.troubles) == 1


def test_a_check_that_fails_without_an_end_does_not_stop_the_guest_without_an_end(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stop costs it some of its time: a case that only fails would be one that does not end."""
    monkeypatch.setattr(image, "_MOST_STOPS", 3)
    ground.breaks()
    stops = [(("stands", "debug"), ("until", f"went-on-{number}"), ("stands", "running")) for number in (2, 3, 4)]
    found = ground.boot(*into_suite(*IN_CASE, *(step for stop in stops for step in stop), *ENDS))
    assert (found.ending, found.images) == (Ending.FINISHED, ("memory/a_module.one_case.elf.zst",))
    assert found.image_troubles == ("the guest stood still 3 times where a check of kunit failed, and no more",)
    assert ground.stub.asked[-1] == "D"


def test_a_panic_leaves_one(ground: Ground) -> None:
    found = ground.boot(*into_suite(), frame("case", "mine one"), PANIC, *OFF)
    assert (found.ending, found.case, found.images) == (Ending.PANICKED, "one", ("memory/panic.elf.zst",))


def test_a_kernel_that_tells_qemu_of_its_panic_does_not_go_on(ground: Ground) -> None:
    found = ground.boot(*into_suite(), PANIC, ("stands", "guest-panicked"), ("hang",))
    assert (found.ending, found.images) == (Ending.PANICKED, ("memory/panic.elf.zst",))


def test_a_guest_that_is_lost_leaves_one(ground: Ground) -> None:
    found = ground.boot(*into_suite(), *OFF)
    assert (found.ending, found.images) == (Ending.LOST, ("memory/end.elf.zst",))


def test_a_guest_that_is_given_up_leaves_one_before_it_is_asked(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []

    def interrogate(*_: object) -> Stall:
        there.append(image_path(ground.launch.control.parent, "stall").is_file())
        return Stall("it is silent", "running", True, 0, "")

    monkeypatch.setattr(boot_module, "interrogate", interrogate)
    given_up = GiveUp(Ending.HUNG, "it is silent")
    monkeypatch.setattr(Liveness, "look", lambda self: given_up if self._ready else None)
    found = ground.boot(*into_suite(("hang",)))
    assert (found.ending, found.images, there) == (Ending.HUNG, ("memory/stall.elf.zst",), [True])


def test_what_does_not_work_is_said_and_ends_nothing(ground: Ground) -> None:
    refused: dict[str, object] = {"dump-guest-memory": "refuses"}
    found = ground.boot(*into_suite(), PANIC, *OFF, monitor=refused)
    assert (found.ending, found.images) == (Ending.PANICKED, ())
    assert found.image_troubles == ("no memory image of panic: QEMU refused dump-guest-memory: not now",)


def test_a_disk_without_room_is_told_before(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def full(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=1, f_frsize=real(path).f_frsize)

    monkeypatch.setattr(image, "os", SimpleNamespace(statvfs=full))
    found = ground.boot(*into_suite(), PANIC, *OFF)
    assert found.images == ()
    assert "has 4.0 KiB free, and a memory image needs" in found.image_troubles[0]


def test_there_is_a_limit(ground: Ground) -> None:
    steps = [
        step for number in range(MOST_IMAGES + 2) for step in (frame("case", f"mine c{number}"), *_again(number))
    ]
    found = ground.boot(*into_suite(), *steps, frame("result", "mine 0"), frame("exit", "1"), *OFF)
    assert found.ending is Ending.FINISHED
    assert len(found.images) == MOST_IMAGES
    assert found.image_troubles == (
        f"{MOST_IMAGES} memory images are the most of a boot; there are none of what came later",
    )


def _again(number: int) -> tuple[Step, ...]:
    return (("stands", "guest-panicked"), ("until_asked_again", "cont", number + 1))


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", ".hidden", "", "x" * 300, "a\nb"])
def test_a_guest_chooses_no_path(tmp_path: Path, name: str) -> None:
    path = image_path(tmp_path, name)
    assert path.parent == tmp_path / "memory"
    assert not path.name.startswith(".")
    assert len(path.name) < 100
    assert "\n" not in path.name


class TestUnpack:
    @staticmethod
    def packed(place: Path, data: bytes) -> Path:
        path = place / "x.elf.zst"
        path.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(data))
        return path

    def test_zeroes_take_no_room(self, tmp_path: Path) -> None:
        data = b"begin" + bytes(8 << 20) + b"end" + bytes(3 << 20)
        unpack(self.packed(tmp_path, data), tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert (tmp_path / "out").stat().st_blocks * 512 < 4 << 20

    def test_one_that_is_cut_off(self, tmp_path: Path) -> None:
        path = self.packed(tmp_path, os.urandom(1 << 20))
        path.write_bytes(path.read_bytes()[:500_000])
        with pytest.raises(UserError, match=r"is cut off: \d+ of 1048576 bytes are there"):
            unpack(path, tmp_path / "out")

    def test_one_that_is_damaged(self, tmp_path: Path) -> None:
        path = self.packed(tmp_path, os.urandom(1 << 20))
        data = bytearray(path.read_bytes())
        data[700_000] ^= 1
        path.write_bytes(data)
        with pytest.raises(UserError, match="a damaged one"):
            unpack(path, tmp_path / "out")

    @pytest.mark.parametrize("data", [b"", b"no image", bytes(100), zstandard.MAGIC_NUMBER.to_bytes(4, "little")])
    def test_a_foreign_file(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(UserError, match="is no memory image"):
            unpack(tmp_path / "x", tmp_path / "out")

    def test_one_that_does_not_say_how_large_it_is(self, tmp_path: Path) -> None:
        stream = zstandard.ZstdCompressor().compressobj()
        (tmp_path / "x").write_bytes(stream.compress(b"data") + stream.flush())
        with pytest.raises(UserError, match="does not say how large it is"):
            unpack(tmp_path / "x", tmp_path / "out")

    def test_one_that_the_disk_has_no_room_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image, "_RESERVE", 1 << 60)
        with pytest.raises(InfraError, match="free, and a memory image needs"):
            unpack(self.packed(tmp_path, b"data"), tmp_path / "out")


class TestFind:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Layout:
        layout = Layout(tmp_path)
        run = layout.runs / "20261130T120000-abcdef"
        for place in ("001-aa/memory/one", "001-aa/memory/two", "012-bb/rest-1/memory/panic"):
            path = run / f"{place}.elf.zst"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (run / "001-aa" / "memory" / "link.elf.zst").symlink_to("/etc/passwd")
        (layout.runs / "20261130T120000-fedcba").mkdir()
        return layout

    @pytest.mark.parametrize(
        ("target", "found"),
        [
            ("abcdef/1/one", "001-aa/memory/one"),
            ("20261130T120000-abcdef/001-aa/two", "001-aa/memory/two"),
            ("abcdef/12", "012-bb/rest-1/memory/panic"),
            ("abcdef/012-bb/panic", "012-bb/rest-1/memory/panic"),
            ("abcdef/rest-1", "012-bb/rest-1/memory/panic"),
        ],
    )
    def test_by_run_boot_and_name(self, layout: Layout, target: str, found: str) -> None:
        image = find_image(layout, target)
        assert str(image.path).endswith(f"abcdef/{found}.elf.zst")
        assert image.place == image.path.parent.parent

    def test_by_its_path(self, layout: Layout) -> None:
        path = layout.runs / "20261130T120000-abcdef" / "001-aa" / "memory" / "one.elf.zst"
        assert find_image(layout, str(path)).name == "one"

    @pytest.mark.parametrize("target", ["abcdef", "abcdef/1"])
    def test_more_than_one(self, layout: Layout, target: str) -> None:
        with pytest.raises(UserError, match=r"has [23] memory images") as caught:
            find_image(layout, target)
        assert "20261130T120000-abcdef/001-aa/one" in (caught.value.hint or "")

    @pytest.mark.parametrize("target", ["fedcba", "abcdef/2", "abcdef/1/three", "abcdef/1/link"])
    def test_none(self, layout: Layout, target: str) -> None:
        with pytest.raises(UserError, match="has no memory image"):
            find_image(layout, target)

    def test_a_run_that_there_is_not(self, layout: Layout) -> None:
        with pytest.raises(UserError, match="there is no run"):
            find_image(layout, "nosuch/1")


class TestBuild:
    """Which build an image is of, and that it is still there."""

    @pytest.fixture
    def image(self, tmp_path: Path) -> Image:
        path = tmp_path / "run" / "001-aa" / "memory" / "panic.elf.zst"
        path.parent.mkdir(parents=True)
        path.touch()
        return Image(path, path.parent.parent)

    def test_no_boot(self, image: Image, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="does not lie in the directory of a boot"):
            build_of(image, Layout(tmp_path))

    def test_what_is_no_cell(self, image: Image, tmp_path: Path) -> None:
        (image.place / "cell.json").write_text("{}")
        with pytest.raises(UserError, match="it cannot be told which build"):
            build_of(image, Layout(tmp_path))

    def test_a_build_that_is_gone(self, image: Image, tmp_path: Path) -> None:
        (image.place / "cell.json").write_text(to_json(Cell("b" * 64, Machine(), (), 1)))
        with pytest.raises(UserError, match=r"the build b{16} that .* is no longer in the store") as caught:
            build_of(image, Layout(tmp_path))
        assert "run it again" in (caught.value.hint or "")

    def test_objects_that_are_gone(self, image: Image, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        (image.place / "cell.json").write_text(to_json(Cell("b" * 64, Machine(), (), 1)))
        build = kernel_in(tmp_path).build
        (layout.builds / ("b" * 16)).mkdir()
        (layout.builds / ("b" * 16) / "build.json").write_text(to_json(build))
        with pytest.raises(UserError, match="and its vmlinux with them"):
            build_of(image, layout)
        (build.objects / "vmlinux").touch()
        assert build_of(image, layout) == build


def test_without_drgn_the_reader_says_so() -> None:
    words = "import sys; sys.modules['drgn'] = None; import harness.memory.reader"
    done = subprocess.run((sys.executable, "-c", words), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (4, b"drgn is not there")


def test_what_the_reader_says_is_whose_fault_it_is(tmp_path: Path) -> None:
    image = Image(tmp_path / "x.elf.zst", tmp_path)

    def explained(status: int, said: str) -> HarnessError:
        return inspect_module._explained(CommandFailed(("python",), status, said), image)

    missing = explained(4, "drgn is not there")
    assert isinstance(missing, UserError)
    assert missing.hint == "pip install 'ttm-harness[inspect]'"
    refused = explained(3, "a warning\nthe image is another kernel's")
    assert isinstance(refused, UserError)
    assert refused.message.endswith("x.elf.zst: the image is another kernel's")
    assert isinstance(explained(1, "Traceback"), InfraError)
    assert isinstance(explained(-9, ""), InfraError)
