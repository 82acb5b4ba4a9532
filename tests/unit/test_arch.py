# SPDX-License-Identifier: GPL-2.0-only
"""What is another word on another architecture stands in one table, and general code goes by that."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.checkout import data_directory
from harness.guest import stall
from harness.guest.argv import Launch, kernel_cmdline, vng_argv
from harness.guest.root import guest_root
from harness.kernel.fragments import all_asks, read_profile
from harness.kernel.make import Make, compiler_version, variables
from harness.model import arch
from harness.model.arch import ARCHES, ARM64, X86_64, Arch
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.units import MIB
from harness.proc import Deadline
from harness.store.layout import Layout

PACKAGE = Path(harness.__file__).parent
TABLE = PACKAGE / "model" / "arch.py"
# Words of one architecture, in code that is for all of them.
WORDS = re.compile(r"bzImage|arch/(?:x86|arm64)|x86_64|i386|aarch64|qemu-system-\w|tty(?:S|AMA)\d|isa-serial|pl011")
EXCEPTIONS = {
    # The number of a system call of the host, in a program that imports nothing of the harness.
    "contain.py": re.compile(r"_SYS_PIVOT_ROOT = .*"),
}
LAUNCH = Launch(
    image=Path("/b/image"),
    root=Path("/s/root"),
    machine=Machine(ram=128 * MIB, swap=Swap()),
    accel=Accel.TCG,
    shares=(),
    swap_disks=(),
    control=Path("/r/control"),
    qmp=Path("/r/qmp"),
)


def named(text: str, name: str) -> list[str]:
    allowed = EXCEPTIONS.get(name)
    return [
        line.strip() for line in text.splitlines() if WORDS.search(line) and not (allowed and allowed.search(line))
    ]


def general_files() -> list[Path]:
    scripts = data_directory("guest-scripts")
    python = [path for path in PACKAGE.rglob("*.py") if path != TABLE]
    return sorted([*python, *(path for path in scripts.rglob("*") if path.is_file() and path.suffix != ".md")])


def test_only_the_table_names_what_is_one_architecture_s() -> None:
    found = {str(path): lines for path in general_files() if (lines := named(path.read_text("utf-8"), path.name))}
    assert found == {}


@pytest.mark.parametrize("word", ["arch/x86/boot/bzImage", "qemu-system-x86_64", "console=ttyS0", "ARCH=i386"])
def test_such_a_word_is_seen(word: str) -> None:
    assert named(f"x = '{word}'\n", "contain.py")


def test_rows_differ_in_their_names() -> None:
    for name in ("name", "machine", "folder", "triplet", "qemu", "vng"):
        assert len({getattr(row, name) for row in ARCHES}) == len(ARCHES), name


@pytest.mark.parametrize("row", ARCHES, ids=lambda row: row.name)
def test_a_row_has_its_part_of_the_fragments(row: Arch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arch, "_chosen", row)
    folder = data_directory("kernel-configs")
    asks = all_asks(read_profile("tiny", folder))
    own = {ask.symbol for ask in asks if ask.fragment.endswith(f".{row.name}")}
    assert any(symbol.endswith("_CONSOLE") for symbol in own)
    assert not {ask.fragment for ask in asks if ask.fragment.partition(".")[2] not in ("", row.name)}
    assert not row.attributes or row.attributes in own


@pytest.mark.parametrize("row", ARCHES, ids=lambda row: row.name)
def test_the_modules_read_attributes_where_the_table_says_so(row: Arch) -> None:
    text = (data_directory("guest-scripts") / "module" / "attributes.c").read_text("utf-8")
    assert (f"CONFIG_{row.name.upper()}\n" in text) == bool(row.attributes)


def test_the_host_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arch, "_chosen", None)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert arch.guest_arch() is X86_64 and X86_64.native and X86_64.prefix == ""
    arch.require_guest_arch()
    monkeypatch.setattr(arch, "ARCHES", (X86_64, replace(ARM64, works=True)))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert arch.guest_arch().name == "arm64" and arch.guest_arch().native
    arch.require_guest_arch()


@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_a_host_whose_row_does_not_work_builds_nothing(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arch, "_chosen", None)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(UserError, match=f"for x86-64, and this host is {machine}"):
        compiler_version(Deadline(10))
    arch.choose(ARM64)
    arch.require_guest_arch()


def test_kbuild_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert variables()[0] == "ARCH=x86_64" and not any("CROSS" in word for word in variables())
    monkeypatch.setattr(arch, "_chosen", ARM64)
    assert variables()[:2] == ("ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-")
    words = Make(tmp_path, tmp_path / "cache").argv("modules")
    assert "CC=ccache aarch64-linux-gnu-gcc" in words


@pytest.mark.parametrize(
    ("there", "named"), [(("mawk", "gawk", "awk"), "mawk"), (("gawk", "awk"), "gawk"), (("awk",), "awk")]
)
def test_awk_is_named_as_another_one_makes_another_header(
    there: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr("harness.proc.search_path", lambda: (str(tmp_path),))
    assert f"AWK={named}" in variables()
    assert f"AWK={named}" in Make(tmp_path).argv("modules")


def test_a_foreign_guest_is_asked_of_vng(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "--arch" not in vng_argv(LAUNCH)
    monkeypatch.setattr(arch, "_chosen", ARM64)
    words = vng_argv(LAUNCH)
    assert words[words.index("--arch") + 1] == "arm64"
    cmdline = kernel_cmdline(LAUNCH.machine, Accel.TCG)
    assert cmdline[:2] == ("console=ttyAMA0", "earlycon")
    assert not {"unknown_nmi_panic", "no_timer_check", "tsc=nowatchdog"} & set(cmdline)


def test_a_foreign_root_is_made_by_foreign_tools(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(arch, "_chosen", ARM64)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    scripts = {
        "aarch64-linux-gnu-gcc": 'while [ "$1" != -o ]; do shift; done; echo foreign >"$2"',
        "aarch64-linux-gnu-busybox": "exit 1",
        "busybox": "echo sh",
    }
    for name, text in scripts.items():
        if name == "aarch64-linux-gnu-busybox":
            with pytest.raises(UserError, match=f"{name} is not installed"):
                guest_root(scratch_layout, (), Deadline(60))
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    root = guest_root(scratch_layout, (), Deadline(60))
    assert (root / "tools" / "heart").read_text() == "foreign\n"
    assert (root / "bin" / "busybox").read_text() == (tmp_path / "aarch64-linux-gnu-busybox").read_text()
    assert (root / "bin" / "sh").readlink() == Path("busybox")


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("RIP=ffffffff81000123 RFL=00000046 [---Z-P-]", "ffffffff81000123"),
        ("CPU#0\n PC=ffff800078660334 X00=0000000000000001 X01=ffff00000223a1c0", "ffff800078660334"),
    ],
)
def test_where_a_cpu_is_by_the_registers_of_qemu(said: str, place: str) -> None:
    assert stall._RIP.findall(said) == [place]
