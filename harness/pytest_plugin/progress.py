# SPDX-License-Identifier: GPL-2.0-only
"""Progress as lines of pytest's terminal."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

_QUIET_SECONDS = 3.0  # what a kernel takes that is built
_EVERY_SECONDS = 30.0


class Lines:
    """Of what takes long, or with -v of all."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._all = config.get_verbosity() > 0
        self._began = time.monotonic()
        self._told = 0.0

    def step(self, text: str) -> None:
        if self._all or text.startswith("waiting"):
            self._write(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if now - max(self._told, self._began + _QUIET_SECONDS - _EVERY_SECONDS) > _EVERY_SECONDS:
            self._told = now
            self._write(f"the kernel is being built: {done}{f' of about {total}' if total else ''} {unit}")

    def task(self, number: int, text: str) -> None:
        if self._all:
            self._write(text)

    def task_ends(self, number: int, text: str) -> None:
        if self._all:
            self._write(text)

    def _write(self, text: str) -> None:
        if self._terminal is None:
            return  # a worker of xdist
        with self._capture.global_and_fixture_disabled() if self._capture is not None else ExitStack():
            self._terminal.ensure_newline()
            self._terminal.write_line(f"ttm-harness: {text}")
