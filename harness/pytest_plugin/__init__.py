# SPDX-License-Identifier: GPL-2.0-only
"""pytest against real kernels: fixtures with a booted guest, marks, suites as items; see docs/writing-tests.md.

Every pytest of an environment that has the harness loads this, so it imports the rest only where that is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.flow.live import CommandBad as CommandBad
    from harness.flow.live import CommandTimedOut as CommandTimedOut
    from harness.flow.live import Ended as Ended
    from harness.flow.live import GuestEnded as GuestEnded
    from harness.flow.live import LiveGuest as Guest
    from harness.flow.live import NotSeen as NotSeen
    from harness.flow.live import NotStarted as NotStarted
    from harness.flow.live import Unannounced as Unannounced
    from harness.model.event import Event as Event
    from harness.pytest_plugin.guests import GuestFactory as GuestFactory
    from harness.pytest_plugin.guests import Guests
    from harness.pytest_plugin.guests import Kernel as Kernel

_LIVE = "harness.flow.live"
_OWN = "harness.pytest_plugin.guests"
# What a test may want for its annotations, and to catch.
_PUBLIC = {
    "Guest": (_LIVE, "LiveGuest"),
    **{
        name: (_LIVE, name)
        for name in ("CommandBad", "CommandTimedOut", "Ended", "GuestEnded", "NotSeen", "NotStarted", "Unannounced")
    },
    "Event": ("harness.model.event", "Event"),
    "GuestFactory": (_OWN, "GuestFactory"),
    "Kernel": (_OWN, "Kernel"),
}

GUEST_FIXTURES = ("guest", "guest_module", "guest_session", "guest_factory")

# Name, metavar, help: an option --ttm-NAME and, where it is not given, an ini key ttm_NAME.
_TEXTS = (
    ("source", "SOURCE", "the kernel's source, as `ttm-harness run --source` has it [default: that of `run`]"),
    ("series", "SERIES", "patches on top of it, as `run --series` has them"),
    ("profile", "NAME", "the profile of the kernel's config [default: lean]"),
    ("ram", "SIZE", "RAM of the guests [default: 256M]"),
    ("swap", "none|AREA", "swap of the guests, as `run --swap` has it [default: disk:1G]"),
    ("root", "ROOT", "what the guests' commands run in, as `exec --root` has it [default: busybox]"),
    ("accel", "auto|kvm|tcg", "what the guests run on [default: auto]"),
    ("store", "DIR", "where kernels and runs are kept [default: that of `run`]"),
)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ttm-harness", "kernels and guests (ttm-harness)")
    for name, metavar, text in _TEXTS:
        group.addoption(f"--ttm-{name}", default=None, metavar=metavar, help=text)
        parser.addini(f"ttm_{name}", text, default="")
    fragments = "your own Kconfig fragments, on top of the profile"
    group.addoption("--ttm-fragment", action="append", default=None, metavar="FILE", help=fragments)
    parser.addini("ttm_fragments", fragments, type="paths", default=[])
    group.addoption(
        "--ttm-suite",
        action="append",
        default=None,
        metavar="NAME[,…]",
        help="collect the cases of these suites, by name or by folder; without a path, nothing else is collected",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "guest(ram=…, swap=…, cpus=…, cmdline=…, root=…, …): the test's guest; a list makes a test of each",
    )
    config.addinivalue_line(
        "markers", "kernel_events(allow=[…]): kinds, or regular expressions, of what the kernel may say in the test"
    )
    if any(config.getoption(f"ttm_{name}") for name in (*(name for name, _, _ in _TEXTS), "fragment")):
        from harness.pytest_plugin.options import check_command_line

        check_command_line(config)
    if config.getoption("ttm_suite"):
        from harness.pytest_plugin.suites import SuiteHooks

        config.pluginmanager.register(SuiteHooks(config), "ttm-harness-suites")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name in GUEST_FIXTURES if name in metafunc.fixturenames]
    if names and metafunc.definition.get_closest_marker("guest") is not None:
        from harness.pytest_plugin.options import parametrize

        parametrize(metafunc, names)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """A worker of xdist that was killed leaves the disks of its guests behind."""
    if error:
        from harness.pytest_plugin.options import sweep

        sweep(getattr(node, "config"))  # noqa: B009  # xdist need not be installed


@pytest.fixture(scope="session")
def _ttm_guests(pytestconfig: pytest.Config) -> Iterator[Guests]:
    from harness.pytest_plugin.guests import Guests

    guests = Guests(pytestconfig)
    pytestconfig.pluginmanager.register(guests, "ttm-harness-guests")
    try:
        yield guests
    finally:
        pytestconfig.pluginmanager.unregister(guests)
        guests.close()


@pytest.fixture(scope="session")
def kernel(_ttm_guests: Guests) -> Kernel:
    """The kernel of the guests, which is built where the store has it not: its release, config, build."""
    return _ttm_guests.kernel


@pytest.fixture
def guest(request: pytest.FixtureRequest, _ttm_guests: Guests) -> Iterator[Guest]:
    """A guest of the kernel, booted for this test alone."""
    yield from _ttm_guests.of_fixture(request)


@pytest.fixture(scope="module")
def guest_module(request: pytest.FixtureRequest, _ttm_guests: Guests) -> Iterator[Guest]:
    """A guest for all tests of the module that ask for it; the next one gets another when it has ended."""
    yield from _ttm_guests.of_fixture(request)


@pytest.fixture(scope="session")
def guest_session(request: pytest.FixtureRequest, _ttm_guests: Guests) -> Iterator[Guest]:
    """A guest for all tests that ask for it; the next one gets another when it has ended."""
    yield from _ttm_guests.of_fixture(request)


@pytest.fixture
def guest_factory(request: pytest.FixtureRequest, _ttm_guests: Guests) -> GuestFactory:
    """`with guest_factory(ram="512M") as guest:`, as often as wanted; without a word the machine of the test."""
    return _ttm_guests.factory(request)
