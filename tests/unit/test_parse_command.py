# SPDX-License-Identifier: GPL-2.0-only
"""`parse kmsg` and `parse ktap` on what is packed, cut, empty, or no log at all: never a silent 0."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from harness.cli import logfile
from harness.cli.parse import parse
from tests.unit.test_oom import golden
from tests.unit.test_prefixes import FORMS, written

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
OOPS = b"[    1.000000] BUG: kernel NULL pointer dereference, address: 8\n"
QUIET = b"[    1.000000] all is well\n"
KTAP = b"KTAP version 1\n1..1\nok 1 a\n"


def run(*words: str, data: bytes = b"") -> Result:
    result = CliRunner().invoke(parse, list(words), input=data)
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("packer", sorted(PACKERS))
def test_packed_logs_are_read(packer: str, tmp_path: Path) -> None:
    pack = PACKERS[packer]
    plain = golden("global-oom-kills-the-hog-on-7.3")
    path = tmp_path / "log"
    path.write_bytes(pack(plain))
    result = run("kmsg", str(path), "--json")
    assert result.exit_code == 1
    assert result.stdout == run("kmsg", "-", "--json", data=plain).stdout
    assert run("kmsg", "-", data=pack(QUIET)).exit_code == 0
    assert run("kmsg", "-", data=pack(QUIET) + pack(OOPS)).exit_code == 1  # two files joined
    assert run("ktap", "-", data=pack(KTAP)).exit_code == 0


@pytest.mark.parametrize("packer", sorted(PACKERS))
def test_a_packed_log_that_is_cut_is_no_evidence(packer: str) -> None:
    noise = random.Random(1)
    lines = b"".join(b"[%12.6f] %x\n" % (n, noise.getrandbits(256)) for n in range(9000))
    packed = PACKERS[packer](lines)
    result = run("kmsg", "-", data=packed[: len(packed) // 2])
    assert result.exit_code == 3
    assert f"standard input is not a whole {packer} file" in result.output
    assert run("kmsg", "-", data=PACKERS[packer](OOPS + lines)[: len(packed) // 2]).exit_code in (1, 3)
    assert run("ktap", "-", data=PACKERS[packer](KTAP + lines)[: len(packed) // 2]).exit_code == 3


@pytest.mark.parametrize("verb", ["kmsg", "ktap"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        random.Random(1).randbytes(20_000),
        b"\x7fELF" + bytes(4000),
        b"Dear all,\n\nplease find the log attached.\n\nRegards\n-- \nme\n",
        b"Title\n" + b"=" * 60 + b"\n\nSome text in reStructuredText.\n\n    an indented block\n",
        b'{"name": "json", "list": [1, 2, 3]}\n',
        gzip.compress(b"nothing of a kernel\n"),
        b"\x1f\x8b",
    ],
    ids=["empty", "blank", "noise", "ELF", "mail", "text", "JSON", "packed text", "gzip's magic alone"],
)
def test_what_is_no_kernel_log_ends_with_3(verb: str, data: bytes) -> None:
    result = run(verb, "-", data=data)
    assert result.exit_code == 3
    assert "problem" in result.output


def test_the_reason_is_said() -> None:
    assert "no line of it looks like a kernel's" in run("kmsg", "-", data=b"Dear all,\nhello\n").output
    assert "the log is empty" in run("kmsg", "-").output


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_log_with_a_splat_ends_with_1_whatever_its_prefix(form: str) -> None:
    assert run("kmsg", "-", data=written("splats", form)).exit_code == 1


def test_findings_of_both_parsers_end_with_1() -> None:
    assert run("kmsg", "-", data=OOPS).exit_code == 1
    loose = b"[    0.900000] KTAP version 1\n[    0.910000] 1..1\n[    0.920000] ok 1 a\n"
    assert run("ktap", "-", data=loose).exit_code == 0
    assert run("ktap", "-", data=loose + OOPS).exit_code == 1


def test_what_is_no_file(tmp_path: Path) -> None:
    for name, words in (("/dev/zero", "is no file, but a device"), (str(tmp_path), "is no file, but a directory")):
        for verb in ("kmsg", "ktap"):
            result = run(verb, name)
            assert result.exit_code == 2
            assert words in result.output


def test_a_pipe_is_read(tmp_path: Path) -> None:
    """As a shell's <(zcat x) gives it. A named pipe may wait for somebody who never comes."""
    end, other = os.pipe()
    os.write(other, OOPS)
    os.close(other)
    assert run("kmsg", f"/dev/fd/{end}").exit_code == 1
    os.close(end)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = run("kmsg", str(pipe))
    assert (refused.exit_code, "named pipe" in refused.output) == (2, True)


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "_MOST", 1 << 20)
    result = run("kmsg", "-", data=gzip.compress(QUIET * 200_000))
    assert result.exit_code == 3
    assert "only the first" in result.output
