# SPDX-License-Identifier: GPL-2.0-only
"""The kernel and the guests of one pytest process, and what becomes of a test in which a kernel complains or dies."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Protocol

import pytest

from harness.evidence.recognisers import RECOGNISERS
from harness.flow.admission import check_machine
from harness.flow.boots import BootEnvironment
from harness.flow.live import GuestEnded, LiveGuest, Unannounced, live_guest
from harness.flow.prepare import Stopwatch, prepare, prepare_other, prepare_root, settle_accel
from harness.flow.schedule import CROWD, room_for
from harness.model.errors import HarnessError
from harness.model.event import Event
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel
from harness.model.visible import visible
from harness.pytest_plugin.options import GuestSpec, guest_spec, kernel_of, layout_of, plainly, told
from harness.pytest_plugin.progress import Lines
from harness.store.layout import Layout
from harness.store.runs import run_directory

_PACKAGE = str(Path(__file__).parent.parent)
_KINDS = frozenset(one.kind for one in RECOGNISERS)
_SHARED = ("guest_module", "guest_session")
_LAST_LINES = 25
_OUTCOMES = (Exception, pytest.skip.Exception, pytest.fail.Exception, pytest.xfail.Exception)
_SECTIONS = pytest.StashKey[list[tuple[str, str]]]()

GuestFixture = pytest.FixtureDef[object]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that was built: `release` as `uname -r` has it, `version` of the source, `source` where that
    came from. `path` has its image and System.map, `config` its options without CONFIG_ (`y`, `m`, numbers, and
    strings with their quotes), those alone that are set. `build_id` names it in the store, and is another where
    anything differs.

        assert "ZRAM" in kernel.config
    """

    release: str
    version: str
    source: str
    profile: str
    compiler: str
    build_id: str
    path: Path
    config: Mapping[str, str]

    @classmethod
    def of(cls, prepared: PreparedKernel) -> Kernel:
        build = prepared.build
        lines = build.config_path.read_text(encoding="utf-8").splitlines()
        pairs = (line.removeprefix("CONFIG_").partition("=") for line in lines if line.startswith("CONFIG_"))
        return cls(
            release=build.release,
            version=build.tree.version,
            source=build.tree.origin,
            profile=build.profile,
            compiler=build.compiler,
            build_id=build.id,
            path=build.path,
            config={name: value for name, _, value in pairs},
        )


class GuestFactory(Protocol):
    """`with guest_factory(ram="512M", swap="zram:1G") as guest:`. The keys are those of the mark `guest`, each with
    one value; what is not said is as the test's marks and the options have it.
    """

    def __call__(self, **machine: object) -> AbstractContextManager[LiveGuest]: ...


class Guests:
    """Made when the first test asks for one. A plugin itself: it looks at what kernels said after each test."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._progress = Lines(config)
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._open: list[LiveGuest] = []
        self._late: list[tuple[Path, tuple[Event, ...]]] = []  # of guests that are left, and not told yet
        self._shared: list[tuple[LiveGuest, GuestFixture, pytest.FixtureRequest]] = []
        self._made: PreparedKernel | HarnessError | None = None
        self._item: pytest.Item | None = None

    def close(self) -> None:
        self._stack.close()

    @cached_property
    def kernel(self) -> Kernel:
        with plainly():
            return Kernel.of(self._prepared)

    def of_fixture(self, request: pytest.FixtureRequest) -> Iterator[LiveGuest]:
        """A guest on the machine that the marks say."""
        with plainly(), self.boot(self._spec(request, {}), request.node.name or "session") as guest:
            yield guest

    def factory(self, request: pytest.FixtureRequest) -> GuestFactory:
        def boots(**machine: object) -> AbstractContextManager[LiveGuest]:
            return self.boot(self._spec(request, machine), request.node.name or "session")

        return boots

    @contextmanager
    def boot(self, spec: GuestSpec, name: str) -> Iterator[LiveGuest]:
        """A guest, once the host has room for it. What its kernel said is told with the test."""
        machine = spec.machine
        check_machine(machine)
        with self._lock:
            number = next(self._numbers)
            environment = self._environment
            other = prepare_other(spec.root, environment.root, self._layout, self._progress, Stopwatch())
            environment = replace(environment, other=other)
            machine = replace(machine, accel=self._accels(machine.accel))
            crowded = bool(self._open)  # who has a guest already would wait for itself
        place = f"{number:03d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}"
        with room_for(machine, self._layout, self._progress, crowded=crowded):
            try:
                with live_guest(environment, machine, self._layout, place) as guest, self._watched(guest):
                    yield guest
            except Unannounced as error:
                if left := self._not_allowed(error.events):
                    raise Unannounced(left, guest.directory) from None

    @contextmanager
    def _watched(self, guest: LiveGuest) -> Iterator[None]:
        self._open.append(guest)
        try:
            yield
        except _OUTCOMES:
            # Who leaves it with an exception is not asked for what its kernel said.
            with_events = _asked(guest)
            if isinstance(with_events, tuple):
                self._late.append((guest.directory, with_events))
            raise
        finally:
            self._open.remove(guest)

    @cached_property
    def _layout(self) -> Layout:
        return layout_of(self._config)

    @property
    def _prepared(self) -> PreparedKernel:
        """It is made once, and fails once."""
        if self._made is None:
            try:
                wanted = kernel_of(self._config, self._progress)
                self._made = prepare(wanted, {}, self._layout, self._progress, Stopwatch())
            except HarnessError as error:
                self._made = error
        if isinstance(self._made, HarnessError):
            raise self._made
        return self._made

    @cached_property
    def _environment(self) -> BootEnvironment:
        kernel = self._prepared
        root = prepare_root(self._layout, self._progress, Stopwatch())
        directory = self._stack.enter_context(run_directory(self._layout))
        return BootEnvironment(kernel, root, directory, self._progress, crowd=CROWD)

    def _accels(self, asked: Accel) -> Accel:
        environment = self._environment
        return settle_accel(asked, environment.kernel, environment.root, self._layout, self._progress, Stopwatch())

    def _spec(self, request: pytest.FixtureRequest, more: Mapping[str, object]) -> GuestSpec:
        marked = getattr(request, "param", None)
        return guest_spec(self._config, more, marked if isinstance(marked, GuestSpec) else None)

    # --- as a plugin

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: GuestFixture, request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        value = yield
        if fixturedef.argname in _SHARED and isinstance(value, LiveGuest):
            others = (one for one in self._shared if one[1] is not fixturedef)  # it has the one guest
            self._shared = [*others, (value, fixturedef, request)]
        return value

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        self._item = item
        caught: BaseException | None = None
        result = None
        try:
            result = yield
        except _OUTCOMES as error:
            caught = error
        said = self._look(item)
        if isinstance(caught, HarnessError):
            _add_section(item, "the guest", _evidence(caught))
            raise caught.with_traceback(_without_harness(caught.__traceback__)) from None
        if said and (caught is None or isinstance(caught, pytest.skip.Exception)):
            pytest.fail("\n".join(said), pytrace=False)
        if caught is not None:
            raise caught
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        self._item = item
        try:
            result = yield
        finally:
            said = self._look(item)
            for one in [one for one in self._shared if not one[0].lives]:
                self._shared.remove(one)
                _, fixture, request = one
                fixture.finish(request)  # type: ignore[arg-type]  # that with which it was set up
        if said:
            pytest.fail("\n".join(said), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        sections = item.stash.get(_SECTIONS, [])
        item.stash[_SECTIONS] = []
        for title, text in sections if not report.passed else ():
            # In the representation, and not in report.sections alone: JUnit XML has nothing else.
            if (add := getattr(report.longrepr, "addsection", None)) is not None:
                add(title, text, "-")
            elif isinstance(report.longrepr, str):
                report.longrepr = f"{report.longrepr}\n--- {title} ---\n{text}"
        return report

    def _look(self, item: pytest.Item) -> list[str]:
        """Sentences for what the kernels said and nobody announced, and for guests that ended unseen; their evidence
        goes into sections of the item's report.
        """
        said = []
        found: list[tuple[Path, tuple[Event, ...]]] = [*self._late]
        self._late.clear()
        for guest in list(self._open):
            answer = _asked(guest)
            if isinstance(answer, HarnessError):
                said.append(answer.message)
                _add_section(item, "the guest", _evidence(answer))
            else:
                found.append((guest.directory, answer))
        for directory, events in found:
            if others := self._not_allowed(events):
                said.append(Unannounced(others, directory).message)
                _add_section(item, "the kernel", _shown(others, directory))
        return said

    def _not_allowed(self, events: Sequence[Event]) -> tuple[Event, ...]:
        words = [] if self._item is None else [*_allowed(self._item)]
        return tuple(event for event in events if not any(_fits(word, event) for word in words))


def _asked(guest: LiveGuest) -> tuple[Event, ...] | HarnessError:
    try:
        return guest.take_unannounced()
    except HarnessError as error:
        return error


def _allowed(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("kernel_events"):
        allow = mark.kwargs.get("allow", ())
        if mark.args or set(mark.kwargs) - {"allow"}:
            pytest.fail("@pytest.mark.kernel_events takes one word, allow=[…]", pytrace=False)
        yield from [allow] if isinstance(allow, str) else allow


def _fits(word: str, event: Event) -> bool:
    if word in _KINDS:
        return event.kind == word
    try:
        pattern = re.compile(word)
    except re.error as error:
        pytest.fail(f"@pytest.mark.kernel_events: {word!r} is no regular expression: {error}", pytrace=False)
    return any(pattern.search(text) for text in (event.title, *event.lines))


def _add_section(item: pytest.Item, title: str, text: str) -> None:
    if text:
        item.stash.setdefault(_SECTIONS, []).append((title, text))


def _evidence(error: HarnessError) -> str:
    """What is known beside the sentence: what the kernel said, the end of its console, where the rest lies."""
    if isinstance(error, Unannounced):
        return _shown(error.events, error.log.parent if error.log is not None else Path())
    parts = [told(error).partition("\n")[2]]
    if isinstance(error, GuestEnded):
        parts = [f"ending: {error.ending}", *map(_event_text, error.unannounced)]
        if not error.unannounced:
            parts.append(_last_lines(error.directory / "console.log"))
        parts.append(f"all that it left: {error.directory}")
    return "\n".join(part for part in parts if part)


def _shown(events: Sequence[Event], directory: Path) -> str:
    return "\n\n".join([*map(_event_text, events), f"all that the guest left: {directory}"])


def _event_text(event: Event) -> str:
    return "\n".join((f"{event.kind}: {event.title}", *(f"    {line}" for line in event.lines)))


def _last_lines(console: Path) -> str:
    with console.open("rb") as file:
        file.seek(max(0, console.stat().st_size - (8 << 10)))
        lines = visible(file.read().decode("utf-8", "replace")).splitlines()
    return "\n".join(("the end of its console:", *(f"    {line}" for line in lines[-_LAST_LINES:])))


def _without_harness(trace: TracebackType | None) -> TracebackType | None:
    """The traceback up to where the test called the harness: what is below is no business of the test's author."""
    one, last = trace, None
    while one is not None:
        file = one.tb_frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and file != contextlib.__file__:
            last = one
        one = one.tb_next
    if last is not None:
        last.tb_next = None
    return trace
