# SPDX-License-Identifier: GPL-2.0-only
"""What ccache gives back is what the compiler would make: the two things that it does not look at by itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.kernel.make import Make, prepare_place
from tests.conftest import require_tool


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two directories of headers, and a file that includes one of the second."""
    for name in ("first", "second"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    (tmp_path / "tree/second/x.h").write_text("#define X 1\n")
    (tmp_path / "tree/second/only.h").write_text("#define ONLY 1\n")
    (tmp_path / "tree/second/use.c").write_text("#include <x.h>\nint x = X;\n")
    return tmp_path / "tree"


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these tests run, it may be off."""
    monkeypatch.delenv("CCACHE_DISABLE", raising=False)


def compile_in(make: Make, source: str) -> tuple[bytes, bool]:
    """The object, and whether ccache had it."""
    require_tool("ccache")
    require_tool("gcc")
    log, out = make.place / "ccache.log", make.place / "out.o"
    log.unlink(missing_ok=True)
    env = {**os.environ, **make.environment, "CCACHE_LOGFILE": str(log), "CCACHE_SLOPPINESS": "include_file_ctime"}
    argv = ["ccache", "gcc", "-Ifirst", "-Isecond", "-Wp,-MMD,out.d", "-c", source, "-o", str(out)]
    subprocess.run(argv, cwd=make.place, env=env, check=True)
    return out.read_bytes(), "cache_hit" in log.read_text() or "cache hit" in log.read_text()


def test_what_is_taken_in_by_the_assembler_is_looked_at(tree: Path, tmp_path: Path) -> None:
    prepare_place(tmp_path / "place", tree)
    make = Make(tmp_path / "place", tmp_path / "cache")
    (tree / "second/piggy.S").write_text('.data\n.incbin "second/payload"\n')
    found = []
    for payload in (b"one", b"two"):  # as long as each other, as compressed kernels may be
        (tree / "second/payload").write_bytes(payload)
        found.append(compile_in(make, "second/piggy.S")[0])
    assert b"one" in found[0] and b"two" in found[1]


def test_a_header_that_hides_another_one_is_looked_at(tree: Path, tmp_path: Path) -> None:
    place, cache = tmp_path / "place", tmp_path / "cache"
    prepare_place(place, tree)
    one, _ = compile_in(Make(place, cache), "second/use.c")
    again, hit = compile_in(Make(place, cache), "second/use.c")
    assert hit and again == one
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", str(tree), str(other)], check=True)
    (other / "first/x.h").write_text("#define X 2\n")
    prepare_place(place, other)
    two, hit = compile_in(Make(place, cache), "second/use.c")
    assert two != one and not hit
    # A header with a name of its own is in nobody's way: all that was compiled is good still.
    third = tmp_path / "third"
    subprocess.run(["cp", "-a", str(tree), str(third)], check=True)
    (third / "first/new.h").write_text("#define X 3\n")
    prepare_place(place, third)
    assert compile_in(Make(place, cache), "second/use.c") == (one, True)


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Make(tmp_path, tmp_path / "cache")
    assert "CCACHE_DISABLE" not in make.environment
    monkeypatch.setenv("CCACHE_DISABLE", "1")
    assert make.environment["CCACHE_DISABLE"] == "1"
    assert make.argv() == Make(tmp_path, tmp_path / "cache").argv()  # the words, and so the objects, stay the same
