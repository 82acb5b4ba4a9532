# SPDX-License-Identifier: GPL-2.0-only
"""History replayed: bugs of the past are brought back one by one, through the controls and through the gate.

What came of each is kept by all that went into it, as soon as it has ended: who is killed goes on where that was.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness import __version__
from harness.checkout import data_directory
from harness.flow.boots import BootEnvironment, boot_cell
from harness.flow.controls import Control, Detection, read_controls, try_control
from harness.flow.gate import Depth, GateJob, gate_series
from harness.flow.matrix import key_of
from harness.flow.plans import default_source
from harness.flow.prepare import Stopwatch, prepare, prepare_root, settle_accel
from harness.flow.resources import cores
from harness.inputs.series.resolve import resolve_series
from harness.inputs.source_cache import Work
from harness.kernel.fragments import read_profile
from harness.kernel.object_builder import newest_clang
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.errors import FindingError, StoreCorrupt, UserError
from harness.model.gate import Gate, GateCheck, Mark
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.outcome import Verdict
from harness.model.progress import Progress
from harness.model.regression import Regression, Replay, ReplayKind, ReplayOutcome, read_regressions
from harness.model.result import Run
from harness.model.series import SeriesSpec
from harness.model.subject import ControlSet
from harness.model.suite import Suite
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, find_tool
from harness.store.files import read_regular, write_atomically
from harness.store.layout import Layout
from harness.suites.registry import narrowed, registry, suite_named

_FOLDER = "history"
_LARGEST = 1 << 20
_GATE_SECONDS = 3600.0
_TURNS = 3  # of what cannot tell
_MOST_CROWD = 4.0
_OUTCOMES = {
    Detection.CAUGHT: ReplayOutcome.SEEN,
    Detection.MISSED: ReplayOutcome.NOT_SEEN,
    Detection.CANNOT_TELL: ReplayOutcome.CANNOT_TELL,
    Detection.MISAPPLIED: ReplayOutcome.CANNOT_TELL,
}


def history_folder() -> Path:
    """Where history.toml and its patches lie."""
    return data_directory("patches") / _FOLDER


def chosen_regressions(globs: Sequence[str]) -> tuple[Regression, ...]:
    """Those whose ids match one of the globs, all without any; UserError when none does."""
    every = read_regressions(history_folder() / "history.toml")
    if not globs:
        return every
    found = tuple(one for one in every if any(fnmatch.fnmatchcase(one.id, glob) for glob in globs))
    if not found:
        ids = ", ".join(one.id for one in every)
        raise UserError(f"no regression matches {', '.join(globs)}", hint=f"a glob over their ids: {ids}")
    return found


def suite_of(one: Regression) -> Suite | None:
    """The suite that is to see it, None for the gate's and for what cannot be replayed."""
    if one.kind not in (ReplayKind.CONTROL, ReplayKind.PATCH):
        return None
    return suite_named(_controls_of(one).suite)


def _controls_of(one: Regression) -> ControlSet:
    """The controls of the subject that it names, as the folder of harness/subjects."""
    name = one.subject or one.control.partition("/")[0]
    for subject in registry().subjects.values():
        if subject.folder.name == name and subject.controls is not None:
            return subject.controls
    raise UserError(f"the regression {one.id} names {name}, which is no subject with controls")


def control_of(one: Regression) -> Control:
    """The regression as a control: the one that it names, or its own patch."""
    if one.kind is ReplayKind.CONTROL:
        (control,) = read_controls(_controls_of(one).folder, (one.control.partition("/")[2],))
        return control
    return Control(
        name=one.patch.removesuffix(".patch"),
        patch=history_folder() / one.patch,
        kind="history",
        breaks=(),
        reaches=one.took,
        applies=(),
        neutral=False,
        note=one.note,
        functions=one.functions,
    )


def prepared_for(
    chosen: Sequence[Regression],
    source: SourceSpec | None,
    machine: Machine,
    directory: Path,
    layout: Layout,
    progress: Progress,
) -> tuple[BootEnvironment, Machine]:
    """The unbroken kernel with the modules of the suites that are needed; the machine as the host can have it."""
    watch = Stopwatch()
    suites = dict.fromkeys(filter(None, map(suite_of, chosen)), False)
    spec = default_source(progress) if source is None else source
    kernel = prepare(KernelSpec(spec), suites, layout, progress, watch)
    root = prepare_root(layout, progress, watch)
    accel = settle_accel(machine.accel, kernel, root, layout, progress, watch) if suites else machine.accel
    return BootEnvironment(kernel, root, directory, progress), replace(machine, accel=accel)


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """The unbroken kernel and its machine; `tools` names QEMU and vng. With `fresh` nothing kept is taken."""

    environment: BootEnvironment
    machine: Machine
    layout: Layout
    tools: str
    profile: str
    seed: int
    fresh: bool = False

    @property
    def progress(self) -> Progress:
        return self.environment.progress

    @property
    def tree(self) -> Tree:
        return self.environment.kernel.build.tree


def replay(
    chosen: Sequence[Regression], context: ReplayContext, done: Callable[[Replay], None]
) -> tuple[Replay, ...]:
    """Brings each back and looks at who sees it; `done` is told of each as it ends. In the order of `chosen`."""
    keys = {one.id: _key(one, context) for one in chosen}
    ended = {} if context.fresh else _kept(chosen, keys, context.layout)
    for one in ended.values():
        done(one)
    left = [one for one in chosen if one.id not in ended]
    for found in _by_gate(left, context):
        ended[found.id] = found
        done(_keep(found, keys[found.id], context.layout))
    for found in _by_boots(left, context):
        ended[found.id] = found
        done(_keep(found, keys[found.id], context.layout))
    return tuple(ended[one.id] for one in chosen)


def _by_boots(left: Sequence[Regression], context: ReplayContext) -> Iterator[Replay]:
    """Each bug, once the unbroken kernel was green in its cases. What cannot tell comes again when all had their
    turn: a host that was busy may be less so then.
    """
    waiting = [one for one in left if suite_of(one) is not None]
    boots = _Boots(context)
    for turn in range(1, _TURNS + 1):
        for suite in dict.fromkeys(map(_suite, waiting)) if turn == 1 else ():
            boots.look_at_unbroken(suite, [one for one in waiting if suite_of(one) is suite])
        again = []
        for one in waiting:
            found = boots.replay(one)
            if found.outcome is ReplayOutcome.CANNOT_TELL and found.directory and turn < _TURNS:
                again.append(one)
                context.progress.step(f"{one.id}: cannot tell, to be tried again: {'; '.join(found.reasons)}")
            else:
                yield found
        waiting = again


class _Boots:
    """The boots of one command, numbered; which bugs the unbroken kernel was green for."""

    def __init__(self, context: ReplayContext) -> None:
        self._context = context
        self._numbers = itertools.count()
        self._green: set[str] = set()

    def look_at_unbroken(self, suite: Suite, bugs: Sequence[Regression]) -> Run:
        """Boots the unbroken kernel with the cases of all the bugs."""
        cases = tuple(dict.fromkeys(glob for one in bugs for glob in one.cases))
        self._context.progress.step(f"{suite.name}: the unbroken kernel first")
        run = boot_cell(
            _cell(suite, cases, self._context), (narrowed(suite, cases),), self._place(), next(self._numbers)
        ).run
        if run.verdict is Verdict.GOOD:
            self._green.update(one.id for one in bugs)
        return run

    def replay(self, one: Regression) -> Replay:
        """One bug; for one for which the unbroken kernel was not green it is booted again, for this bug alone."""
        suite = _suite(one)
        if one.id not in self._green:
            clean = self.look_at_unbroken(suite, [one])
            if one.id not in self._green:
                why = ("the unbroken kernel is not green itself", *clean.reasons)
                return Replay(one.id, ReplayOutcome.CANNOT_TELL, reasons=why, directory=clean.directory)
        context = self._context
        context.progress.step(f"{one.id}: {one.what}")
        made = try_control(
            control_of(one),
            narrowed(suite, one.cases),
            _cell(suite, one.cases, context),
            self._place(),
            context.layout,
            next(self._numbers),
        )
        return Replay(one.id, _OUTCOMES[made.noticed], made.cases, made.reasons, made.seconds, made.directory)

    def _place(self) -> BootEnvironment:
        """On a host that others keep busy a guest gets as much longer as there are others."""
        crowd = min(_MOST_CROWD, max(1.0, os.getloadavg()[0] / cores()))
        return replace(self._context.environment, crowd=crowd)


def _suite(one: Regression) -> Suite:
    suite = suite_of(one)
    assert suite is not None
    return suite


def _cell(suite: Suite, cases: tuple[str, ...], context: ReplayContext) -> Cell:
    build = context.environment.kernel.build
    return Cell(build.id, context.machine, (suite.name,), context.seed, cases=cases)


def _by_gate(left: Sequence[Regression], context: ReplayContext) -> Iterator[Replay]:
    """The made-up patches through the gate, and what needs nothing to be run."""
    for one in left:
        if one.kind is ReplayKind.NONE:
            yield Replay(one.id, ReplayOutcome.NOT_POSSIBLE, reasons=(one.not_possible,))
        elif one.kind is ReplayKind.GATE:
            if one.tool and not _is_there(one.tool):
                yield Replay(one.id, ReplayOutcome.NOT_POSSIBLE, reasons=(f"this host has no {one.tool}",))
                continue
            context.progress.step(f"{one.id}: {one.what}")
            began = time.monotonic()
            try:
                found = _gate(one, context)
            except FindingError as error:
                yield Replay(one.id, ReplayOutcome.CANNOT_TELL, reasons=(error.message,))
                continue
            yield replace(judged(one, found), seconds=time.monotonic() - began)


def _is_there(tool: str) -> bool:
    return bool(newest_clang()) if tool == "clang" else find_tool(tool) is not None


def _gate(one: Regression, context: ReplayContext) -> Gate:
    work = Work(context.layout, Deadline(_GATE_SECONDS), context.progress)
    series = resolve_series(SeriesSpec.parse(f"mbox:{history_folder() / one.gate}"), work)
    profile = read_profile(context.profile, data_directory("kernel-configs"))
    depth = Depth.CONFIGS if one.config else Depth.TOUCHED
    candidate = GateJob(context.tree, series, profile, depth, None, config=one.config)
    return gate_series(candidate, context.layout, context.progress)


def judged(one: Regression, gate: Gate) -> Replay:
    """Seen is what the check that was named has against the patch, in the words that were named; nothing else is."""
    checks = [check for patch in gate.patches for check in patch.checks]
    for check in checks:
        line = _said(check, one.shows)
        if check.name == one.check and check.mark in (Mark.BAD, Mark.WARN) and line:
            return Replay(one.id, ReplayOutcome.SEEN, (f"gate: {check.name}",), (line,))
    refused = next((check for check in checks if check.name == "applies" and check.mark is Mark.BAD), None)
    mine = next((check for check in checks if check.name == one.check), refused)
    if refused is not None or mine is None or mine.mark is Mark.NOT_RUN:
        why = mine.message if mine is not None else f"the gate made no check {one.check}"
        return Replay(one.id, ReplayOutcome.CANNOT_TELL, reasons=(why,))
    return Replay(one.id, ReplayOutcome.NOT_SEEN, reasons=(f"{mine.name} is {mine.mark}: {mine.message}",))


def _said(check: GateCheck, words: str) -> str:
    return next((line for line in (check.message, *check.details) if words in line), "")


def _key(one: Regression, context: ReplayContext) -> str:
    """All that goes into a replay; while it is the same there is no reason to do it again."""
    words = [__version__, context.tree.id, context.profile, *one.cases, one.check, one.config, one.shows]
    suite = suite_of(one)
    if suite is not None:
        control = control_of(one)
        words += [key_of(_cell(suite, one.cases, context), (suite,), context.tools), *control.functions]
        words.append(control.patch.read_text(encoding="utf-8"))
    elif one.gate:
        words.append((history_folder() / one.gate).read_text(encoding="utf-8"))
    return hashlib.sha256("\0".join((one.id, *words)).encode()).hexdigest()


def _kept(chosen: Sequence[Regression], keys: dict[str, str], layout: Layout) -> dict[str, Replay]:
    """What ended before. What could not tell is tried again, and what was not seen by the gate, or could not be
    replayed: no key has the gate's code, or the tools of this host.
    """
    found = {}
    for one in chosen:
        path = layout.history / f"{keys[one.id]}.json"
        try:
            kept = from_json(Replay, read_regular(path, _LARGEST).decode("utf-8"))
        except (OSError, UnicodeDecodeError, StoreCorrupt):
            continue
        by_boot = one.kind in (ReplayKind.CONTROL, ReplayKind.PATCH) and kept.outcome is ReplayOutcome.NOT_SEEN
        if kept.id == one.id and (by_boot or kept.outcome is ReplayOutcome.SEEN):
            found[one.id] = kept
            with suppress(OSError):  # a store that can only be read
                os.utime(path)  # `results prune` goes by the time of the last use
    return found


def _keep(one: Replay, key: str, layout: Layout) -> Replay:
    write_atomically(layout.history / f"{key}.json", to_json(one))
    return one
