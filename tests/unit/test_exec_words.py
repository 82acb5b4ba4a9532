# SPDX-License-Identifier: GPL-2.0-only
"""What of the words of `ttm-harness exec` is the run, and what the command."""

from __future__ import annotations

import click
import pytest

from harness.cli.exec import exec as exec_command


def read(*words: str) -> tuple[str, tuple[str, ...]]:
    context = exec_command.make_context("exec", list(words))
    return context.params["run"], context.params["command"]


@pytest.mark.parametrize(
    ("words", "run", "command"),
    [
        ("a", "", "a"),
        ("-- a", "", "a"),
        ("ls -l -- x", "", "ls -l -- x"),
        ("-- sh -- z", "", "sh -- z"),
        ("latest -- sh -c x", "latest", "sh -c x"),
        ("latest/2 -- -x", "latest/2", "-x"),
        ("--quiet r/1 -- grep -- -x", "r/1", "grep -- -x"),
        ("--timeout 3 -- a b", "", "a b"),
        ("--timeout 3 r -- a b", "r", "a b"),
    ],
)
def test_words(words: str, run: str, command: str) -> None:
    assert read(*words.split()) == (run, tuple(command.split()))


@pytest.mark.parametrize("words", ["", "--", "--nosuch a", "--timeout r -- a"])
def test_what_is_no_command_is_a_mistake(words: str) -> None:
    with pytest.raises(click.UsageError):
        read(*words.split())
