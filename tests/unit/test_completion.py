# SPDX-License-Identifier: GPL-2.0-only
"""What a shell is offered after Tab; that the three shells get their scripts is in test_installed.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.checkout import ROOT
from harness.flow.plans import shipped_plans
from harness.model.errors import UserError
from harness.suites.registry import registry
from tests.conftest import require_tool


def offered(*words: str) -> list[str]:
    """What bash would be told for the last of these words: kind and word."""
    line = " ".join(("ttm-harness", *words))
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(words)), "_TTM_HARNESS_COMPLETE": "bash_complete"}
    argv = [sys.executable, "-m", "harness"]
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["par"], ["plain,parse"]),
        (["run", "--suite", "xe-l"], ["plain,xe-live"]),
        (["controls", "--suite", "drm-shmem-"], ["plain,drm-shmem-checks"]),
        (["results", "list", "--suite", "ttm"], ["plain,ttm-kunit"]),
        (["run", "--suite", "pressure,xe-k"], ["plain,pressure,xe-kunit"]),
        (["run", "--suite", "xe-kunit,xe-k"], []),
        (["run", "--suite", "./my"], ["dir,./my"]),
        (["run", "--source", "d"], ["dir,d", "plain,debian"]),
        (["run", "--base", "k"], ["dir,k", "plain,kernel.org"]),
        (["run", "qu"], ["file,qu", "plain,quick"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_what_is_offered(words: list[str], wanted: list[str]) -> None:
    assert offered(*words) == wanted


def test_all_suites_and_all_plans_are_offered() -> None:
    assert {word.removeprefix("plain,") for word in offered("run", "--suite", "''")} == set(registry().suites)
    assert {f"plain,{plan}" for plan in shipped_plans()} < set(offered("run", "''"))


def test_a_subject_that_cannot_be_read_leaves_the_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cli import completion
    from harness.cli.run import run

    def refuse() -> None:
        raise UserError("there is a mistake in somebody's suite.toml")

    monkeypatch.setattr("harness.suites.registry.registry", refuse)
    (option,) = (one for one in run.params if one.name == "suites")
    assert completion.suites(run.make_context("run", [], resilient_parsing=True), option, "") == []


def test_bash_takes_the_script_and_what_it_is_told(tmp_path: Path) -> None:
    """A comma is part of a word for it."""
    (tmp_path / "ttm-harness").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    (tmp_path / "ttm-harness").chmod(0o755)
    program = (
        'eval "$(_TTM_HARNESS_COMPLETE=bash_source ttm-harness)"\n'
        "COMP_WORDS=(ttm-harness run --suite pressure,xe-k); COMP_CWORD=3\n"
        "_ttm_harness_completion ttm-harness\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [require_tool("bash"), "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("pressure,xe-kunit\n", "")
