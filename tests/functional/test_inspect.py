# SPDX-License-Identifier: GPL-2.0-only
"""Images of the memory of real guests, of the tiny kernel: which endings leave one. It has no debug info, so what
they say is read in tests/kernel/test_inspect.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.flow.inspect import Image, inspect, unpack
from harness.guest.image import image_path
from harness.kernel.module import build_module
from harness.model.build import Build
from harness.model.errors import UserError
from harness.model.outcome import Ending, Outcome
from harness.proc import Deadline
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


FAILING = """// SPDX-License-Identifier: GPL-2.0-only
#include <kunit/test.h>
#include <linux/module.h>

static void adds(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 2, 1 + 1);
}

static void falls_short(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 3, 1 + 1);
	KUNIT_EXPECT_EQ(test, 4, 1 + 1);
}

static void gives_up(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 3, 1 + 1);
}

static struct kunit_case failing_cases[] = {
	KUNIT_CASE(adds), KUNIT_CASE(falls_short), KUNIT_CASE(gives_up), KUNIT_CASE(adds), {}
};

static struct kunit_suite failing_suite = {
	.name = "failing",
	.test_cases = failing_cases,
};
kunit_test_suite(failing_suite);

MODULE_DESCRIPTION("kunit cases that fail");
MODULE_LICENSE("GPL");
"""


def test_each_case_of_kunit_that_fails_leaves_one_of_that_moment(
    run_script: Runner, tiny: Build, layout: Layout, tmp_path: Path
) -> None:
    source, extra = tmp_path / "failing", tmp_path / "extra"
    source.mkdir()
    (source / "failing.c").write_text(FAILING)
    (source / "Kbuild").write_text("obj-m := failing.o\n")
    shutil.copytree(build_module(tiny, source, layout, Deadline(300), Quiet()), extra)
    result = run_script("insmod /extra/failing.ko", keep_state=True)
    assert [one.name for one in result.cases if one.outcome is Outcome.FAIL] == [
        "failing.falls_short",
        "failing.gives_up",
    ]
    assert "failing.adds" in {one.name for one in result.cases if one.outcome is Outcome.PASS}
    memory = tmp_path / "run" / result.run.directory / "memory"
    assert {path.name for path in memory.iterdir()} == {
        f"script.{name}.elf.zst" for name in ("falls_short", "gives_up")
    }
    assert result.run.notes == ()
    unpack(memory / "script.falls_short.elf.zst", tmp_path / "memory.elf")
    held = (tmp_path / "memory.elf").read_bytes()
    assert b"ok 1 adds" in held
    assert b"not ok 2 falls_short" not in held  # of the moment of the failure: it is in the middle of the case
