# SPDX-License-Identifier: GPL-2.0-only
"""What is shown of a fleet: a line for each host on a terminal, one for all elsewhere."""

from __future__ import annotations

from io import StringIO

import pytest

from harness.cli import progress as progress_module
from harness.cli.progress import TerminalProgress
from harness.model.progress import HostDoing
from harness.reports.console import console_on

BUSY = HostDoing("lab3", tuple(f"boot {number}" for number in range(1, 9)), 12)
IDLE = HostDoing("lab10", (), 0)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(stream: StringIO, monkeypatch: pytest.MonkeyPatch) -> TerminalProgress:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    made = TerminalProgress()
    made.__dict__["_console"] = console_on(stream)
    return made


def test_a_line_for_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = shown_on(Terminal(), monkeypatch)
    progress.hosts([BUSY, IDLE])
    progress.task(1, "boot 1: 256M RAM, on lab3")  # which has no line of its own
    assert progress._bars is not None
    assert [task.description for task in progress._bars.tasks] == [
        "lab3   boots 1, 2, 3, 4, 5, 6 and 2 more (12 ended)",
        "lab10  nothing",
    ]
    progress.hosts([HostDoing("lab10", ("a kernel 7.3.4", "boot 9"), 0)])
    assert [task.description for task in progress._bars.tasks] == ["lab10  a kernel 7.3.4; boot 9"]
    progress.close()
    assert progress._bars is None


def test_one_line_for_all_and_only_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StringIO()
    progress = shown_on(stream, monkeypatch)
    progress.hosts([BUSY, IDLE])
    assert stream.getvalue() == ""  # too soon
    monkeypatch.setattr(progress_module, "_PLAIN_EVERY_SECONDS", -1.0)
    progress.hosts([BUSY, IDLE])
    progress.hosts([BUSY, IDLE])
    (line,) = stream.getvalue().splitlines()
    assert "lab3: boots 1, 2, 3, 4, 5, 6 and 2 more (12 ended); lab10: nothing" in line
