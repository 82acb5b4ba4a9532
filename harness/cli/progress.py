# SPDX-License-Identifier: GPL-2.0-only
"""Progress on standard error: live bars on a terminal, lines with times elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from harness.model.units import format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from harness.model.progress import HostDoing

_PLAIN_EVERY_SECONDS = 30.0
_STEP = 0  # boots count from 1
_SHOWN_WORKS = 6  # of a host


class TerminalProgress:
    """`step` begins a stage; `advance` moves its bar; each boot has a line of its own below it. Thread-safe.

    rich is imported when there is something to say: most verbs are over before.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._step_began = self._began
        self._last_plain = 0.0
        self._bars: Progress | None = None
        self._tasks: dict[int | str, TaskID] = {}  # of a boot, or of a host
        self._lanes: dict[int, str] = {}
        self._crowded = False  # several boots at once: each line says of which it is
        self._fleet = False  # each host has a line, and its boots none
        self._last_fleet = ""
        self._last_fleet_at = self._began

    @cached_property
    def _console(self) -> Console:
        from harness.reports.console import console_on

        return console_on(sys.stderr, quiet=self._quiet)

    @property
    def _live(self) -> bool:
        return not self._quiet and self._console.is_terminal

    def step(self, text: str) -> None:
        with self._lock:
            self._end_bar(_STEP)
            self._step_began = time.monotonic()
            self._last_plain = self._step_began
            self._print(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        with self._lock:
            about = "" if self._lanes else "about "  # boots are counted beforehand, objects are a guess
            of_total = f" of {about}{total}" if total else ""
            text = f"{done}{of_total} {unit}{self._estimate(done, total)}"
            if self._live:
                self._bar(_STEP, text, min(done, total) if total else done, total or None)
            elif time.monotonic() - self._last_plain > _PLAIN_EVERY_SECONDS:
                self._last_plain = time.monotonic()
                self._print(f"  {text}")

    def task(self, number: int, text: str) -> None:
        with self._lock:
            first = number not in self._lanes
            self._lanes.setdefault(number, text)
            self._crowded = self._crowded or len(self._lanes) > 1
            if self._live and not self._fleet:
                self._bar(number, text if first else f"{self._lanes[number]}:{text}", None, None)
            elif self._live:
                pass  # its host says it
            elif first:
                self._print(text)
            else:
                self._print(f"  boot {number}: {text.strip()}" if self._crowded else text)

    def task_ends(self, number: int, text: str) -> None:
        with self._lock:
            if self._live and number in self._lanes:
                text = f"{self._lanes[number]}: {text.partition(': ')[2]}"
            self._lanes.pop(number, None)
            self._end_bar(number)
            self._print(text)

    def hosts(self, doing: Sequence[HostDoing]) -> None:
        """A line for each host of a fleet; elsewhere than on a terminal all of them in one, now and then."""
        with self._lock:
            self._fleet = True
            if self._live:
                width = max(len(one.host) for one in doing) if doing else 0
                for one in doing:
                    self._bar(one.host, f"{one.host:{width}}  {_doing(one)}", None, None)
                for gone in [name for name in self._tasks if isinstance(name, str) and name not in _names(doing)]:
                    self._end_bar(gone)
                return
            text = "; ".join(f"{one.host}: {_doing(one)}" for one in doing)
            if text != self._last_fleet and time.monotonic() - self._last_fleet_at > _PLAIN_EVERY_SECONDS:
                self._last_fleet, self._last_fleet_at = text, time.monotonic()
                self._print(f"  {text}")

    def close(self) -> None:
        with self._lock:
            for number in list(self._tasks):
                self._end_bar(number)

    def _print(self, text: str) -> None:
        if self._quiet:
            return
        from harness.reports.console import plain

        self._console.print(f"[dim]{self._clock()}[/] {plain(text)}")

    def _clock(self) -> str:
        whole = int(time.monotonic() - self._began)
        return f"[{whole // 60:02d}:{whole % 60:02d}]".replace("[", r"\[")

    def _estimate(self, done: int, total: int) -> str:
        spent = time.monotonic() - self._step_began
        if not total or done < total / 50 or done >= total or spent < 5:
            return ""
        return f", about {format_seconds(spent * (total - done) / done)} left"

    def _bar(self, number: int | str, text: str, done: int | None, total: int | None) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from harness.reports.console import plain

        if self._bars is None:
            self._bars = Progress(
                TextColumn("        "),
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        if number not in self._tasks:
            self._tasks[number] = self._bars.add_task("", total=total)
        self._bars.update(self._tasks[number], completed=done, description=plain(text))

    def _end_bar(self, number: int | str) -> None:
        task = self._tasks.pop(number, None)
        if self._bars is None or task is None:
            return
        self._bars.remove_task(task)
        if not self._tasks:
            self._bars.stop()
            self._bars = None


def _names(doing: Sequence[HostDoing]) -> set[str]:
    return {one.host for one in doing}


def _doing(one: HostDoing) -> str:
    boots = [name.removeprefix("boot ") for name in one.works if name.startswith("boot ")]
    shown = ", ".join(boots[:_SHOWN_WORKS]) + (f" and {len(boots) - _SHOWN_WORKS} more" * (len(boots) > _SHOWN_WORKS))
    others = [name for name in one.works if not name.startswith("boot ")]
    now = "; ".join([*others, *([f"boots {shown}" if len(boots) > 1 else f"boot {shown}"] if boots else [])])
    return f"{now or 'nothing'}{f' ({one.ended} ended)' if one.ended else ''}"
