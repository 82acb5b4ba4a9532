# SPDX-License-Identifier: GPL-2.0-only
"""How little a verb imports before it works, and that its help is the one that `--help` shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli.verbs import VERBS, cli

HEAVY = ("sqlalchemy", "alembic", "rich", "jinja2", "matplotlib", "junitparser", "virtme", "kconfiglib")
LOG = "[    1.000000] all is well\n"
PATCH = """From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: A <a@example.org>
Date: Mon, 1 Jan 2024 00:00:00 +0000
Subject: [PATCH] a: b

Signed-off-by: A <a@example.org>
---
 a | 1 +
 1 file changed, 1 insertion(+)

diff --git a/a b/a
index 1..2 100644
--- a/a
+++ b/a
@@ -1 +1,2 @@
 a
+b
--
2.43.0
"""


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_help_of_a_verb_is_what_the_list_says(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    assert command.get_short_help_str(limit=90) == VERBS[verb]


def test_every_verb_is_in_the_help() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"\n  {verb} " in output for verb in VERBS)


def test_a_verb_that_is_none() -> None:
    result = CliRunner().invoke(cli, ["pares"])
    assert result.exit_code == 2
    assert "No such command 'pares'" in result.output


@pytest.mark.parametrize(
    "words",
    [["--help"], ["parse", "kmsg", "{log}"], ["parse", "ktap", "{log}"], ["series", "show", "--quiet", "{patch}"]],
    ids=" ".join,
)
def test_what_is_not_needed_is_not_imported(words: list[str], tmp_path: Path) -> None:
    log, patch = tmp_path / "log", tmp_path / "0001-a.patch"
    log.write_text(LOG)
    patch.write_text(PATCH)
    argv = [word.format(log=log, patch=patch) for word in words]
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['ttm-harness', *{argv!r}]\n"
        "from harness.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert not set(done.stderr.split()) & set(HEAVY), done.stderr


def test_the_parsers_need_no_more_of_the_model_than_what_a_log_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    argv = [sys.executable, "-X", "importtime", "-m", "harness", "parse", "kmsg", str(log)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    imported = {
        line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")
    }
    assert "harness.model.event" in imported
    assert not imported & {"cattrs", "harness.model.result", "harness.model.series", "harness.model.gate"}
