# SPDX-License-Identifier: GPL-2.0-only
"""Lint and types are tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_tool

ROOT = Path(__file__).parents[2]


def check(*argv: str) -> None:
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_check() -> None:
    check(require_tool("ruff"), "check", ".")


def test_ruff_format() -> None:
    check(require_tool("ruff"), "format", "--check", ".")


def test_mypy() -> None:
    check(sys.executable, "-m", "mypy")


def shell_scripts() -> list[Path]:
    found = []
    for folder in ("guest-scripts", ".ci", "harness"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.read_bytes().startswith(b"#!"):
                found.append(path.relative_to(ROOT))
    return found


@pytest.mark.parametrize("script", shell_scripts(), ids=str)
def test_shellcheck(script: Path) -> None:
    check(require_tool("shellcheck"), str(script))


def test_guest_scripts_are_posix_sh() -> None:
    scripts = [script for script in shell_scripts() if script.parts[0] == "guest-scripts"]
    assert len(scripts) >= 3
    for script in scripts:
        assert (ROOT / script).read_text().startswith("#!/bin/sh\n"), script


def test_every_source_file_names_its_licence() -> None:
    paths = [path for folder in ("harness", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 40
    for path in paths:
        text = path.read_text()
        assert not text or "SPDX-License-Identifier: GPL-2.0-only" in text.splitlines()[0], path
