# SPDX-License-Identifier: GPL-2.0-only
"""Runs killed at any moment of any stage, politely or not: what was finished stays, nothing goes on running, and the
next command makes of the store what it would have made without.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from tests.attack.forked import TRACES, Call, start, wait
from tests.attack.ground import Ground, processes_naming, tree_digest

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGINT)
_GONE_SECONDS = 60.0
_END_SECONDS = 300.0
# What is taken from the store so that the stage has something to do.
_STAGES = {
    "source": ("sources", "builds", "objects"),
    "build": ("builds", "objects"),
    "root": ("roots",),
    "boot": (),
    "resume": (),
    "index": (),
    "prune": (),
    "report": (),
}


def attack(ground: Ground, kills: int) -> None:
    """So many kills; after every fifth a look at all that was finished, after every thirtieth a whole run."""
    finished: dict[str, str] = {}
    _whole(ground, finished)
    usual = _measure(ground)
    for number in range(1, kills + 1):
        stage = ground.chance.choice(list(_STAGES))
        _kill(ground, stage, usual)
        if number % 5 == 0:
            _look(ground, finished)
        if number % 30 == 0:
            _whole(ground, finished)
        if number % 20 == 0:
            print(f"  {number} kills: {ground.tally.text()}", flush=True)
    _whole(ground, finished)
    _look(ground, finished)


def _measure(ground: Ground) -> float:
    """The seconds of a run with nothing but its boot to do."""
    began = time.monotonic()
    ground.command(*ground.run_words)
    return time.monotonic() - began


def _words(ground: Ground, stage: str) -> tuple[str, ...]:
    if stage == "resume":
        return ("run", "--resume", "--quiet")
    if stage == "index":
        (ground.store / "index.sqlite").unlink(missing_ok=True)
        return ("results", "list")
    if stage == "prune":
        return ("results", "prune", "--keep", "12", "--yes")
    return ("report", "latest", "--as", "html") if stage == "report" else ground.run_words


def _kill(ground: Ground, stage: str, usual: float) -> None:
    for folder in _STAGES[stage]:
        shutil.rmtree(ground.store / folder, ignore_errors=True)
    words = _words(ground, stage)
    quick = stage in ("index", "prune", "report")
    how = ground.chance.choice(_SIGNALS)
    errors = ground.place / "killed.err"
    child = start(Call(words, ground.environment(), cwd=str(ground.place)), str(errors))
    time.sleep(ground.chance.uniform(0, usual / 3 if quick else usual * (3 if stage in ("source", "build") else 1)))
    said = f"{how.name} in {stage}: {' '.join(words)}"
    _signal(child, how)
    if how is not signal.SIGKILL and ground.chance.random() < 0.4:  # impatient
        for _ in range(ground.chance.randint(1, 4)):
            time.sleep(ground.chance.uniform(0, 0.2))
            _signal(child, how)
    status = wait(child, _END_SECONDS)
    ground.tally.done["kills"] += 1
    ground.tally.done[f"kills in {stage}"] += 1
    told = errors.read_text(errors="replace")[-600:] if errors.is_file() else ""
    if status is None:
        ground.tally.fault("hang", said)
    elif how is signal.SIGKILL:
        if status not in (-signal.SIGKILL, 0, 2):
            ground.tally.fault("false red" if status == 1 else "odd status", f"{said} -> {status}: {told!r}")
    # Before main() has taken the signals, which is before it has done anything, they end it as they end any program.
    elif status not in (130, 0, 2, -how):
        ground.tally.fault("false red" if status == 1 else "odd status", f"{said} -> {status}: {told!r}")
    limit = time.monotonic() + (_GONE_SECONDS if how is signal.SIGKILL else 5.0)
    while (left := processes_naming(ground.store)) and time.monotonic() < limit:
        time.sleep(0.05)
    if left:
        ground.tally.fault("left running", f"{said}: {left}")
        for process in left:
            _signal(process, signal.SIGKILL)
    if any(word in told for word in TRACES):
        ground.tally.fault("traceback", f"{said} -> {status}: {told!r}")
    ground.look_at_canary(said)


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass


def _whole(ground: Ground, finished: dict[str, str]) -> None:
    """A run to its end, which must be good."""
    ended = ground.command(*ground.run_words)
    if ended.status != 0:
        kind = "false red" if ended.status == 1 else "odd status"
        ground.tally.fault(kind, f"{' '.join(ended.words)} -> {ended.status}: {(ended.output + ended.errors)[-500:]}")
    for run in (ground.store / "runs").iterdir():
        if (run / "report.json").is_file() and run.name not in finished:
            finished[run.name] = tree_digest(run)


def _look(ground: Ground, finished: dict[str, str]) -> None:
    """What was finished is as it was, unless a prune was told to take it: that keeps the newest dozen."""
    for name in sorted(finished, reverse=True)[:6]:
        run = ground.store / "runs" / name
        if not run.is_dir():
            newer = [path for path in (ground.store / "runs").iterdir() if path.name > name]
            if len(newer) < 12:
                ground.tally.fault("result lost", name)
            finished.pop(name)
        elif _without_marks(run) != finished[name]:
            ground.tally.fault("result lost", f"{name} is not what it was")
            finished[name] = _without_marks(run)
    if ground.command("results", "list").status != 0:
        ground.tally.fault("odd status", "results list after kills")


def _without_marks(run: Path) -> str:
    return tree_digest(run)
