# SPDX-License-Identifier: GPL-2.0-only
"""Suites as pytest items: a node a suite, an item a case; the boots in which they run are those of flow/run.py."""

from __future__ import annotations

import fnmatch
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from harness.flow.matrix import share_boots
from harness.flow.names import are_listed, keep_names, kept_names, known_kernel, listed_names, seen_names, short_name
from harness.flow.prepare import Stopwatch, prepare
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute
from harness.model.build import Build
from harness.model.errors import HarnessError
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.outcome import Outcome, worst
from harness.model.result import Case, Report
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.pytest_plugin.options import guest_spec, kernel_of, layout_of, plainly, told
from harness.pytest_plugin.progress import Lines
from harness.store.files import locked
from harness.store.layout import Layout
from harness.suites.descriptor import SUITE_FILE
from harness.suites.registry import suite_named

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling

_BOOT = "boot"  # the boot itself among the cases of a report
_UNKNOWN = "*"  # in place of names that nobody knows yet
_LISTING_SECONDS = 3600.0
_MISSING = (Outcome.NOT_RUN, Outcome.INCOMPLETE)
_CALM = (Outcome.PASS, Outcome.SKIP, Outcome.XFAIL)


class CaseFailed(Exception):
    """A case that did not end well; the text has all that is known."""


@dataclass
class Group:
    """Suites that share a boot; `report` and `directory` are what came of it, once it was made."""

    suites: tuple[Suite, ...]
    report: Report | None = None
    directory: Path = Path()
    nodes: list[SuiteNode] = field(default_factory=list)
    outside_told: bool = False

    @property
    def name(self) -> str:
        return "+".join(one.name for one in self.suites)


class SuiteNode(pytest.Collector):
    """A suite. Its boot is made when the first of its cases is set up."""

    hooks: SuiteHooks
    suite: Suite
    group: Group
    names: tuple[str, ...] = ()

    def collect(self) -> Iterator[CaseItem]:
        try:
            self.names = self.hooks.names(self)
        except HarnessError as error:
            raise self.CollectError(told(error)) from None
        for name in self.hooks.chosen(self):
            yield CaseItem.from_parent(self, name=name)

    def setup(self) -> None:
        with plainly():
            self.hooks.boot(self.group)

    def teardown(self) -> None:
        """What happened outside of all cases is lost on none of them."""
        if not self.group.outside_told and (said := list(_outside(self.group))):
            self.group.outside_told = True
            pytest.fail("\n".join((*said, f"run directory: {self.group.directory}")), pytrace=False)


class CaseItem(pytest.Item):
    """A case; its result is that of the boot. Set up once more (by a rerun), it is booted once more."""

    parent: SuiteNode
    case: Case | None = None

    def setup(self) -> None:
        node = self.parent
        if self.case is not None:
            with plainly():
                self.case = node.hooks.again(self)
        else:
            assert node.group.report is not None
            self.case = result_of(self, node.group.report)
        self.user_properties[:] = [("outcome", str(self.case.outcome)), ("run", str(node.group.directory))]
        assert node.group.report is not None
        problems = _problems(node.group.report, self.case.run)
        if self.case.outcome in _MISSING:
            pytest.fail("\n".join((self._told(), *problems)), pytrace=False)
        if problems:
            pytest.fail("\n".join((f"{self.case.outcome}, but its boot is no evidence:", *problems)), pytrace=False)

    def runtest(self) -> None:
        assert self.case is not None
        if self.case.outcome is Outcome.SKIP:
            pytest.skip(self.case.message or "without a reason")
        if self.case.outcome is Outcome.XFAIL:
            pytest.xfail(self.case.message)
        if self.case.outcome is not Outcome.PASS:
            raise CaseFailed(self._told())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> object:  # type: ignore[override]
        return str(excinfo.value) if isinstance(excinfo.value, CaseFailed) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.parent.name} {self.name}"  # not the node id, of which pytest cuts the dots

    def _told(self) -> str:
        case, group = self.case, self.parent.group
        assert case is not None
        lines = [f"{case.outcome} {self.nodeid}: {case.message or 'without a word'}"]
        lines += [f"    {line}" for line in case.diagnostics]
        for event in case.events:
            lines += [f"{event.kind}: {event.title}", *(f"    {line}" for line in event.lines)]
        where = group.directory / case.run / case.boot if case.run else group.directory
        line = f":{case.span.first}" if case.span is not None else ""
        return "\n".join((*lines, f"log: {where}/console.log{line}" if case.run else f"run directory: {where}"))


class SuiteHooks:
    """What --ttm-suite adds to a session."""

    _NOTE: ClassVar = "names from the manifest of {}: it has not run on this kernel yet"

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._progress = Lines(config)
        self._notes: list[str] = []
        words = [word for text in config.getoption("ttm_suite") for word in text.split(",") if word.strip()]
        try:
            suites = tuple(dict.fromkeys(suite_named(word.strip()) for word in words))
        except HarnessError as error:
            raise pytest.UsageError(f"--ttm-suite: {told(error)}") from None
        if not suites:
            raise pytest.UsageError("--ttm-suite: no suite is named")
        self._groups = [Group(group) for group in share_boots(suites)]
        self._chosen = self._take_arguments({one.name for one in suites})

    def _take_arguments(self, suites: set[str]) -> list[str]:
        """The node ids of suites among the arguments. Without a path there is nothing else to be collected."""
        config = self._config
        paths = list(config.args) if config.args_source is pytest.Config.ArgsSource.ARGS else []
        ours = [one for one in paths if one.partition("::")[0] in suites and "::" in one]
        config.args[:] = [one for one in paths if one not in ours]
        # A worker of xdist is given the options of its controller, and the arguments that are left.
        config.option.ttm_chosen = ours or getattr(config.option, "ttm_chosen", [])
        return list(config.option.ttm_chosen)

    # --- collection

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result = [*(report.result or ()), *self._nodes(collector)]
        return report

    def _nodes(self, session: pytest.Session) -> Iterator[SuiteNode]:
        for group in self._groups:
            group.nodes.clear()
            for suite in group.suites:
                if self._chosen and not any(one.startswith(f"{suite.name}::") for one in self._chosen):
                    continue
                node = SuiteNode.from_parent(session, name=suite.name, nodeid=suite.name, path=suite.folder)
                node.hooks, node.suite, node.group = self, suite, group
                group.nodes.append(node)
                yield node

    def pytest_report_collectionfinish(self) -> list[str]:
        return [f"ttm-harness: {note}" for note in self._notes]

    def chosen(self, node: SuiteNode) -> tuple[str, ...]:
        """The cases of the suite that the arguments name, or all."""
        wanted = [one.partition("::")[2] for one in self._chosen if one.startswith(f"{node.suite.name}::")]
        if unknown := [name for name in wanted if name not in node.names]:
            raise node.CollectError(f"not found: {node.suite.name}::{unknown[0]}")
        return tuple(wanted) or node.names

    def names(self, node: SuiteNode) -> tuple[str, ...]:
        """The cases of the suite on this kernel. Where nobody knows them, the suite is run for them; its results are
        good for this session as well. With --collect-only nothing is built, fetched or booted.
        """
        suite, group = node.suite, node.group
        if self._config.option.collectonly:
            tree, build = self._known
        else:
            tree = self._build(group).tree
            build = self._build(group)
        if are_listed(suite):
            return listed_names(suite, tree)
        if group.report is not None:
            return seen_names(suite, group.report.cases) or listed_names(suite, tree)
        if build is not None and (names := kept_names(suite, build, self._layout)):
            return names
        if self._config.option.collectonly:
            self._notes.append(self._NOTE.format(suite.name))
            return listed_names(suite, tree) or (_UNKNOWN,)
        assert build is not None
        return self._names_by_a_boot(node, build)

    def _names_by_a_boot(self, node: SuiteNode, build: Build) -> tuple[str, ...]:
        lock = self._layout.locks / f"listing-{build.id[:16]}"
        with locked(lock, Deadline(_LISTING_SECONDS)):  # one worker for all
            if names := kept_names(node.suite, build, self._layout):
                return names
            self._progress.step(f"the names of the cases of {node.suite.name} are not known: they are run for them")
            self._run(node.group, {one.suite: () for one in node.group.nodes})
        assert node.group.report is not None
        return seen_names(node.suite, node.group.report.cases) or listed_names(node.suite, build.tree) or (_UNKNOWN,)

    # --- the boots

    def boot(self, group: Group) -> None:
        """Makes the group's boot with the cases that are selected, where it was not made yet."""
        if group.report is None:
            parts = {node.suite: cases for node in group.nodes if (cases := self._cases(node)) is not None}
            self._run(group, parts)

    def again(self, item: CaseItem) -> Case:
        """The result of another boot, with that case alone where the suite can run a part of its cases."""
        node = item.parent
        short = short_name(node.suite, item.name)
        cases = (short,) if node.suite.selectable and short else ()
        report, node.group.directory = self._execute({node.suite: cases})
        return result_of(item, report)

    def _cases(self, node: SuiteNode) -> tuple[str, ...] | None:
        """What --case would be given; nothing where all of the suite runs, None where nothing of it is selected."""
        selected = {item.name for item in node.session.items if isinstance(item, CaseItem) and item.parent is node}
        if not selected:
            return None
        if selected >= set(node.names) or not node.suite.selectable:
            return ()
        return tuple(dict.fromkeys(short for name in sorted(selected) if (short := short_name(node.suite, name))))

    def _run(self, group: Group, parts: Mapping[Suite, tuple[str, ...]]) -> None:
        group.report, group.directory = self._execute(parts)
        for suite, cases in parts.items():
            if not cases and not are_listed(suite):
                keep_names(suite, self._build(group), self._layout, group.report)

    def _execute(self, parts: Mapping[Suite, tuple[str, ...]]) -> tuple[Report, Path]:
        """Those that run whole share a boot; each of the others has its own."""
        words = {suite: self._words[suite.name] for suite in parts}
        whole = tuple(words[suite] for suite, cases in parts.items() if not cases)
        wanted = [
            *([(whole, ())] if whole else []),
            *(((words[one],), cases) for one, cases in parts.items() if cases),
        ]
        requests = [Request(self._spec, self._machine, suites, cases=cases) for suites, cases in wanted]
        return execute(requests, self._layout, self._progress, RunOptions(gate=False))

    @cached_property
    def _words(self) -> dict[str, str]:
        """How each suite is named: one of the user's by its folder."""
        texts = [word.strip() for text in self._config.getoption("ttm_suite") for word in text.split(",")]
        return {suite_named(text).name: text for text in texts if text}

    @cached_property
    def _layout(self) -> Layout:
        return layout_of(self._config)

    @cached_property
    def _spec(self) -> KernelSpec:
        return kernel_of(self._config, self._progress)

    @cached_property
    def _machine(self) -> Machine:
        return guest_spec(self._config, {}).machine

    def _build(self, group: Group) -> Build:
        if group.name not in self._builds:
            suites = dict.fromkeys((node.suite for node in group.nodes), False)
            made = prepare(self._spec, suites, self._layout, self._progress, Stopwatch())
            self._builds[group.name] = made.build
        return self._builds[group.name]

    @cached_property
    def _builds(self) -> dict[str, Build]:
        return {}

    @cached_property
    def _known(self) -> tuple[Tree | None, Build | None]:
        """What the store has of the kernel."""
        try:
            return known_kernel(self._spec, self._layout, self._progress)
        except HarnessError as error:
            self._notes.append(error.message)
            return None, None

    # --- reports, xdist

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if isinstance(item, CaseItem) and item.case is not None and report.when == "call":
            report.duration = item.case.seconds or report.duration
            if isinstance(report.longrepr, tuple):  # a skip: not of this file
                report.longrepr = (str(item.path / SUITE_FILE), 1, report.longrepr[2])
        return report

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> Scheduling | None:
        """The cases of a boot go to one worker, as if they were an xdist_group; the rest is shared out as ever."""
        if config.getoption("dist") not in ("load", "loadgroup"):
            return None
        from xdist.scheduler import LoadGroupScheduling

        boots = {suite.name: group.name for group in self._groups for suite in group.suites}

        class ByBoot(LoadGroupScheduling):  # type: ignore[misc]
            def _split_scope(self, nodeid: str) -> str:
                return boots.get(nodeid.partition("::")[0]) or str(super()._split_scope(nodeid))

        return ByBoot(config, log)


def result_of(item: CaseItem, report: Report) -> Case:
    """What a boot says of a case: of its parameters the worst, where only the case is known by name."""
    suite, name = item.parent.suite.name, item.name
    own = [case for case in report.cases if case.suite == suite]
    found = [case for case in own if case.name == name] or [
        case for case in own if case.name.startswith(f"{name}.") or name == _UNKNOWN
    ]
    if not found:
        return Case(suite, name, Outcome.NOT_RUN, message="the boot has no result for it")
    gravest = worst(case.outcome for case in found)
    return next(case for case in found if case.outcome is gravest)


def _problems(report: Report, boot: str) -> list[str]:
    """Why that boot, or any where nobody knows in which it was, is no evidence, whatever its cases said."""
    runs = [run for run in report.runs if boot in ("", run.id)]
    return [word for run in runs for word in (*run.problems, *map(str, run.differences), *_ended(report, run.id))]


def _ended(report: Report, boot: str) -> Iterator[str]:
    """How the boot ended, where nothing more than that can be said."""
    ends = (case for case in report.cases if case.suite == _BOOT and case.run == boot)
    return (case.message for case in ends if case.outcome is Outcome.INCOMPLETE)


def _outside(group: Group) -> Iterator[str]:
    """Sentences for what no item stands for: the boot itself, and cases that no list has."""
    if group.report is None:
        return
    yield from (left.why for left in group.report.left_out)
    known = {node.suite.name: node.names for node in group.nodes}
    for case in group.report.cases:
        if case.outcome in _CALM:
            continue
        if case.suite == _BOOT:
            if case.events or not any(_crashed(item) for item in group.nodes[0].session.items):
                yield f"{case.outcome}: {case.message}"
        elif not _is_known(case.name, known.get(case.suite, ())) and not _told_already(case, group):
            yield f"{case.outcome} {case.suite}::{case.name}: {case.message}"


def _told_already(case: Case, group: Group) -> bool:
    """A floor that was not reached, as a case that an item stands for did not run."""
    items = (item for item in group.nodes[0].session.items if isinstance(item, CaseItem))
    return any(
        item.case is not None and item.case.outcome in _MISSING and fnmatch.fnmatchcase(item.name, case.name)
        for item in items
        if item.parent.name == case.suite
    )


def _crashed(item: pytest.Item) -> bool:
    """A case that says already how its boot ended."""
    return isinstance(item, CaseItem) and item.case is not None and item.case.outcome is Outcome.CRASH


def _is_known(name: str, names: Iterable[str]) -> bool:
    return any(one == _UNKNOWN or name == one or name.startswith(f"{one}.") for one in names)
