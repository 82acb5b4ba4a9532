# SPDX-License-Identifier: GPL-2.0-only
"""Where the searches have their boots made, one question at a time: each is a run like any other.

A search keeps no results of its own. What it asks again is answered by the run that has it, so that one which was
killed goes on; only what no run keeps (kernels that do not build, boots that could not tell) is in its small file.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.collect import CellResult
from harness.flow.comparison import is_note
from harness.flow.history import read_history
from harness.flow.matrix import matrix_of, plan_boots
from harness.flow.prepare import profile_of, tree_of
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute, tools
from harness.guest import accel
from harness.judge.predicate import look
from harness.kernel.build import build_id, kept_build
from harness.kernel.make import compiler_version
from harness.model.codec import from_json, to_json
from harness.model.errors import ConfigUnmet, FindingError, InfraError, StoreCorrupt, SuiteUnfit, UserError
from harness.model.kernel import KernelSpec
from harness.model.outcome import Verdict
from harness.model.progress import MultiProgress, Progress
from harness.model.result import LeftOut, Report
from harness.model.search import Answer, Predicate, Sight
from harness.proc import Deadline
from harness.store.files import read_regular, write_atomically
from harness.store.layout import Layout

STATE_FILE = "search.json"
_TOOL_SECONDS = 60.0
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What no run is asked for again: that a kernel cannot be had, or the answer of a boot whose verdict is that it
    cannot tell (which may be enough for a question about one of its cases). `key` names its inputs.
    """

    key: str
    why: str
    answer: Answer = Answer.NOTHING
    run: str = ""
    boot: str = ""


@dataclass(frozen=True, slots=True)
class SearchState:
    """The small file of a search: its question in words, and what it noted."""

    question: str
    noted: tuple[KeptAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownKernel:
    """A kernel, as far as it must be known to find results of it: it need not be built."""

    build_id: str
    profile: str
    version: str
    left_out: tuple[LeftOut, ...] = ()


class Unfit(Exception):
    """A kernel that cannot be had: the sentence says why. Nothing is said about the others by that."""


class Laboratory:
    """Answers of boots. Each request of a search stands for one boot: one suite, one seed, no base."""

    def __init__(self, question: str, layout: Layout, progress: MultiProgress, jobs: int | None = None) -> None:
        self._layout = layout
        self._progress = progress
        self._jobs = jobs
        self._history = read_history(layout)
        self._kernels: dict[KernelSpec, KnownKernel | str] = {}
        self._booted: set[KernelSpec] = set()
        self._compiler = ""
        name = hashlib.sha256(question.encode()).hexdigest()[:12]
        self.place = layout.searches / name
        self.place.mkdir(parents=True, exist_ok=True)
        os.utime(self.place)  # it is in use, for `results prune`
        self._state = self._read(question)
        self._noted = {one.key: one for one in self._state.noted}
        self._beneath = Beneath(progress)

    def kernel(self, wanted: KernelSpec) -> KnownKernel:
        """What is known of the kernel, its source fetched and patched; Unfit when it cannot be had."""
        if wanted not in self._kernels:
            self._kernels[wanted] = self._known(wanted)
        known = self._kernels[wanted]
        if isinstance(known, str):
            raise Unfit(known)
        return known

    def sight(self, request: Request, predicate: Predicate) -> Sight:
        """The answer of the boot that the request stands for: a run has it, or it is made. Unfit as `kernel`."""
        known = self.kernel(request.kernel)
        key = self._key(request, known)
        if (kept := self._kept(key)) is not None:
            name, place, result = kept
            return self._sight(result, predicate, request, name, place, kept=True)
        if (noted := self._noted.get(key)) is not None:
            return Sight(noted.answer, noted.why, seed=request.seed or 0, run=noted.run, boot=noted.boot, kept=True)
        report, directory = self._execute(request)
        result = CellResult(report.runs[0], report.cases, report.events)
        sight = self._sight(result, predicate, request, directory.name, report.runs[0].directory, kept=False)
        if report.runs[0].verdict is Verdict.CANNOT_TELL:
            self._note(KeptAnswer(key, sight.why, sight.answer, sight.run, sight.boot))
        return sight

    def _execute(self, request: Request) -> tuple[Report, Path]:
        """Makes the boot. Only the first of a kernel tells of its steps, and looks at its source and its patches: the
        others take the build by its id.
        """
        progress, wanted = self._progress, request.kernel
        if wanted in self._booted:
            progress = self._beneath
            request = replace(request, kernel=replace(wanted, build=self.kernel(wanted).build_id))
        options = RunOptions(fresh=False, gate=False, jobs=self._jobs, parallel=1)
        try:
            made = execute((request,), self._layout, progress, options)
        except (FindingError, ConfigUnmet, SuiteUnfit) as error:
            self._note(KeptAnswer(self.kernel(wanted).build_id, error.message))
            self._kernels[wanted] = error.message
            raise Unfit(error.message) from error
        self._booted.add(wanted)
        return made

    def _known(self, wanted: KernelSpec) -> KnownKernel | str:
        if wanted.build and (made := kept_build(wanted.build, self._layout)) is not None:
            return KnownKernel(made.id, made.profile, made.tree.version)
        try:
            tree, profile = tree_of(wanted, self._layout, self._progress), profile_of(wanted)
        except (FindingError, SuiteUnfit) as error:
            return error.message
        self._compiler = self._compiler or compiler_version(Deadline(_TOOL_SECONDS))
        identity = build_id(tree, profile, self._compiler)
        if (noted := self._noted.get(identity)) is not None:
            return noted.why
        return KnownKernel(identity, profile.name, tree.version)

    def _key(self, request: Request, known: KnownKernel) -> str:
        matrix = matrix_of((request,))
        asked = request.machine.accel
        accels = {asked: accel.expected(asked, self._layout)}
        planned = plan_boots(matrix, {request.kernel: known}, accels, tools())
        if len(planned) != 1:
            raise UserError("a search asks one boot at a time", hint="name one suite")
        return planned[0].key

    def _kept(self, key: str) -> tuple[str, str, CellResult] | None:
        kept = self._history.kept.get(key)
        if kept is None:
            return None
        try:
            return kept.run.name, kept.entry.place, kept.load()
        except InfraError:
            return None

    def _sight(
        self, result: CellResult, predicate: Predicate, request: Request, run: str, boot: str, kept: bool
    ) -> Sight:
        seconds = sum(stage.seconds for stage in result.run.stages if stage.name == "boot")
        seen = look(result.run, result.cases, result.events, predicate, is_note)
        return replace(seen, seed=request.seed or 0, run=run, boot=boot, seconds=seconds, kept=kept)

    def _read(self, question: str) -> SearchState:
        path = self.place / STATE_FILE
        try:
            return from_json(SearchState, read_regular(path, _LARGEST).decode("utf-8"), str(path))
        except (OSError, UnicodeDecodeError, StoreCorrupt):
            return SearchState(question)  # what is lost with it is asked again

    def _note(self, noted: KeptAnswer) -> None:
        self._noted[noted.key] = noted
        self._state = replace(self._state, noted=tuple(self._noted.values()))
        write_atomically(self.place / STATE_FILE, to_json(self._state))


class Beneath:
    """The progress of a boot that is one of many: its steps are not told, only how far a long one is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, text: str) -> None:
        pass

    def advance(self, done: int, total: int, unit: str) -> None:
        self._progress.advance(done, total, unit)

    def task(self, number: int, text: str) -> None:
        pass

    def task_ends(self, number: int, text: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a search may take, in seconds of the host's clock; None: no limit."""

    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0

    @classmethod
    def of(cls, seconds: float | None) -> Budget:
        return cls(seconds, began=time.monotonic())

    @property
    def spent(self) -> bool:
        return self.seconds is not None and self.clock() - self.began >= self.seconds
