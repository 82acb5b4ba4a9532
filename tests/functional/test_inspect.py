# SPDX-License-Identifier: GPL-2.0-only
"""Images of the memory of real guests, of the tiny kernel: which endings leave one. It has no debug info, so what
they say is read in tests/kernel/test_inspect.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow.inspect import Image, inspect, unpack
from harness.guest.image import image_path
from harness.model.errors import UserError
from harness.model.outcome import Ending
from harness.store.layout import Layout
from tests.conftest import require_module
from tests.functional.conftest import TINY_MACHINE, Quiet, Runner
from tests.functional.test_endings import REST, SAY


def image_of(place: Path, name: str) -> Image:
    return Image(image_path(place, name), place)


def test_a_panic_and_a_kernel_without_debug_info(run_script: Runner, layout: Layout, tmp_path: Path) -> None:
    result = run_script(SAY + "echo c >/proc/sysrq-trigger", keep_state=True)
    assert result.run.ending is Ending.PANICKED
    image = image_of(tmp_path / "run" / result.run.directory, "panic")
    unpack(image.path, tmp_path / "memory.elf")
    assert (tmp_path / "memory.elf").stat().st_size > TINY_MACHINE.ram
    assert b"Linux version 7.3.4" in (tmp_path / "memory.elf").read_bytes()
    require_module("drgn", "inspect")
    with pytest.raises(UserError, match="built without debug info"):
        inspect(image, layout, Quiet())


def test_a_reboot_of_the_kernels_own_will(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(SAY + "echo b >/proc/sysrq-trigger", keep_state=True)
    assert result.run.ending is Ending.LOST
    assert image_of(tmp_path / "run" / result.run.directory, "end").path.is_file()


def test_a_good_run_is_as_it_was_and_leaves_none(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(SAY + REST, requires="mine.*", keep_state=True)
    assert (result.run.ending, result.run.reasons) == (Ending.FINISHED, ())
    assert not (tmp_path / "run" / result.run.directory / "memory").exists()
