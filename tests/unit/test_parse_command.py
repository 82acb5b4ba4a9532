# SPDX-License-Identifier: GPL-2.0-only
"""`parse kmsg` and `parse ktap` on what is packed, cut, empty, or no log at all: never a silent 0."""

from __future__ import annotations

import bz2
import gzip
import json
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


MEM_INFO = b"""[    1.000001] x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0
[    1.000002] Mem-Info:
[    1.000003] active_anon:1 inactive_anon:2 isolated_anon:0
                active_file:3 inactive_file:4
                free:5
[    1.000004] Total swap = 8kB
[    1.000005] Out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB
"""


@pytest.mark.parametrize(
    ("verb", "data", "status", "words"),
    [
        (
            "kmsg",
            b"<4> [525.831095] BUG: kernel NULL pointer dereference, address: 08\n",
            1,
            ["oops ", "line 1: BUG: kernel NULL pointer dereference, address: 08\n", "1 lines, 1 events"],
        ),
        (
            "kmsg",
            b"[   12.345679] [   T1234] WARNING: possible recursive locking detected\n",
            1,
            ["lockdep ", "line 1: WARNING: possible recursive locking detected\n", "1 lines, 1 events"],
        ),
        (
            "kmsg",
            b"[ 1.000001] ------------[ cut here ]------------\n[ 1.000002] kernel BUG at a.c:9!\n"
            b"[ 1.000003] r8169 eth0: Link is Up\n[ 1.000004] Oops: invalid opcode: 0000 [#1] SMP\n",
            1,
            ["bug ", "line 1: kernel BUG at a.c:9!\n", "4 lines, 1 events"],
        ),
        ("kmsg", MEM_INFO, 1, ["x (pid 7) was killed", "7 lines, 1 events, 1 OOM reports"]),
        ("ktap", b"KTAP version 1\n1..1\nok 1 a", 0, ["1 PASS\n"]),
    ],
    ids=["Intel CI", "caller", "a line of others", "blanks alone", "no last newline"],
)
def test_small_logs_of_others(verb: str, data: bytes, status: int, words: list[str]) -> None:
    result = run(verb, "-", data=data)
    assert (result.exit_code, [word for word in words if word not in result.output]) == (status, []), result.output


def test_what_follows_mem_info_by_blanks_alone_is_read() -> None:
    memory = json.loads(run("kmsg", "-", "--json", data=MEM_INFO).stdout)["ooms"][0]["report"]["memory"]
    assert {one["name"]: one["size"] for one in memory["totals"]}["free"] == 5 * 4096
