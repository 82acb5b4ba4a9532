# SPDX-License-Identifier: GPL-2.0-only
"""Progress on standard error: a live bar on a terminal, lines with times elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.model.units import format_seconds

_PLAIN_EVERY_SECONDS = 30.0


class TerminalProgress:
    """`step` begins a stage and says how long the one before took; `advance` moves its bar."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal and not quiet
        self._began = time.monotonic()
        self._step_began = self._began
        self._last_plain = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        self._close_bar()
        self._step_began = time.monotonic()
        self._last_plain = self._step_began
        self._console.print(f"[dim]{self._clock()}[/] {escape(text)}")

    def advance(self, done: int, total: int, unit: str) -> None:
        if self._live:
            self._advance_bar(done, total, unit)
        elif time.monotonic() - self._last_plain > _PLAIN_EVERY_SECONDS:
            self._last_plain = time.monotonic()
            of_total = f" of about {total}" if total else ""
            self._console.print(f"{self._clock()}   {done}{of_total} {unit}{self._estimate(done, total)}")

    def close(self) -> None:
        self._close_bar()

    def _clock(self) -> str:
        whole = int(time.monotonic() - self._began)
        return f"[{whole // 60:02d}:{whole % 60:02d}]".replace("[", r"\[")

    def _estimate(self, done: int, total: int) -> str:
        spent = time.monotonic() - self._step_began
        if not total or done < total / 50 or done > total or spent < 5:
            return ""
        return f", about {format_seconds(spent * (total - done) / done)} left"

    def _advance_bar(self, done: int, total: int, unit: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("        "),
                BarColumn(bar_width=40),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(unit, total=total or None)
        if self._task is not None:
            of_total = f" of about {total}" if total else ""
            text = f"{done}{of_total} {unit}{self._estimate(done, total)}"
            self._bar.update(self._task, completed=min(done, total) if total else done, description=text)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._task = None
