# SPDX-License-Identifier: GPL-2.0-only
"""What a shell is offered after Tab, beyond the options' own names. Nothing is fetched, and no mistake is told."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from harness.model.errors import HarnessError

_SOURCES = ("debian", "kernel.org")  # bash ends a word at a colon, so no form with one


def suites(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names with commas between them, and folders of one's own."""
    from harness.suites.registry import registry

    before, comma, last = incomplete.rpartition(",")
    try:
        names = tuple(registry().suites)
    except HarnessError:
        names = ()
    if "/" in last:
        return [_path("dir", incomplete)]
    said = before.split(",")
    return _words((f"{before}{comma}{name}" for name in names if name not in said), incomplete)


def plans(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shipped plans, and files."""
    from harness.flow.plans import shipped_plans

    return [_path("file", incomplete), *_words(shipped_plans(), incomplete)]


def sources(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sources that are a name alone, and directories."""
    return [_path("dir", incomplete), *_words(_SOURCES, incomplete)]


def _words(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _path(kind: str, incomplete: str) -> CompletionItem:
    """Left to the shell. It comes first: bash forgets what came before it."""
    return CompletionItem(incomplete, type=kind)
