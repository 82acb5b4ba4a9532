# SPDX-License-Identifier: GPL-2.0-only
"""How little a verb imports before it works, and that its help is the one that `--help` shows."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli import machine_axes
from harness.cli.verbs import VERBS, cli
from harness.flow.doctor import Status
from harness.flow.planfile import MACHINE_KEYS
from harness.model.series import Relation

doctor, series = (importlib.import_module(f"harness.cli.{verb}") for verb in ("doctor", "series"))
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


def imported_by(*words: str) -> set[str]:
    """The modules that the command line imports, whatever comes of it."""
    argv = [sys.executable, "-X", "importtime", "-m", "harness", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time"))
    return {line.rsplit("|", 1)[-1].strip() for line in lines}


@pytest.mark.parametrize("words", [*([verb, "--help"] for verb in sorted(VERBS)), ["series", "gate", "--help"]])
def test_help_waits_for_no_room_that_works(words: list[str]) -> None:
    imported = imported_by(*words)
    assert "harness.cli.plainly" in imported
    rooms = ["flow", "inputs", "kernel", "guest", "suites", "judge", "reports"]
    rooms += [] if words[0] == "parse" else ["evidence"]
    assert not [name for name in imported for room in rooms if f"{name}.".startswith(f"harness.{room}.")]
    assert not imported & {"cattrs", "http.client", "rich.table", "harness.sandbox", "harness.model.result"}


def test_a_series_in_a_file_needs_nothing_that_fetches(tmp_path: Path) -> None:
    patch = tmp_path / "0001-a.patch"
    patch.write_text(PATCH)
    imported = imported_by("series", "show", "--quiet", str(patch))
    assert "harness.inputs.series.assemble" in imported
    unwanted = {f"harness.inputs.series.{name}" for name in ("lore", "patchwork", "gitrange", "descriptor", "base")}
    unwanted |= {"harness.inputs.download", "harness.inputs.debian", "harness.inputs.apt", "harness.flow.gate"}
    unwanted |= {"harness.model.result", "harness.model.gate", "harness.sandbox", "http.client", "urllib.request"}
    assert not imported & (unwanted | {"cattrs", "ssl", "concurrent.futures", "asyncio"})


def test_names_that_the_help_has_of_its_own_are_those_of_the_rooms() -> None:
    assert tuple(machine_axes._HELP) == tuple(MACHINE_KEYS)
    assert list(series._MARKS) == list(Relation)
    assert list(doctor._MARK) == list(Status)


def test_the_parsers_need_no_more_of_the_model_than_what_a_log_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    imported = imported_by("parse", "kmsg", str(log))
    assert "harness.model.event" in imported
    assert not imported & {"cattrs", "harness.model.result", "harness.model.series", "harness.model.gate"}
