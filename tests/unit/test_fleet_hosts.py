# SPDX-License-Identifier: GPL-2.0-only
"""The file of `--on ssh:FILE`, and the places that are refused before anything is reached."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pytest

from harness.cli.hosts import hosts_at
from harness.fleet.clusters import _dashboard, fleet
from harness.fleet.join import Joining
from harness.fleet.ssh_hosts import SshHost, SshHosts, read_hosts
from harness.fleet.where import FleetPlace
from harness.model.errors import UserError
from harness.store.layout import Layout
from tests.unit.stand_in.cells import Told

GOOD = """\
listen = "192.0.2.1"
[[host]]
address = "me@lab3"
python = "/opt/ttm/bin/python"
store = "/var/cache/a b"
guests = 4
options = ["-p", "2222"]
[[host]]
address = "lab4"
"""


def test_the_hosts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts.toml"
    file.write_text(GOOD)
    one = SshHost("me@lab3", "/opt/ttm/bin/python", "/var/cache/a b", 4, ("-p", "2222"))
    assert read_hosts(file) == SshHosts("192.0.2.1", (one, SshHost("lab4")))
    assert one.argv()[-4:] == (
        "2222",
        "--",
        "me@lab3",
        "env 'TTM_HARNESS_STORE=/var/cache/a b' /opt/ttm/bin/python -m harness.fleet.join",
    )


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('listen = "192.0.2.1"', "", "where the scheduler listens"),
        ('address = "lab4"', "", "without its address"),
        ('address = "lab4"', 'address = "-oProxyCommand=x"', "is no host"),
        ("guests = 4", "guests = -4", "no number"),
        ("guests = 4", 'guests = "4"', "guests = '4'"),
        ("guests = 4", "guest = 4", "guest = 4"),
        ('["-p", "2222"]', "[2222]", "options"),
        ("listen", "nonsense = 1\nlisten", "'nonsense' is unknown"),
        ("[[host]]", "[[host", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, before: str, after: str, why: str) -> None:
    file = tmp_path / "hosts.toml"
    file.write_text(GOOD.replace(before, after))
    with pytest.raises(UserError, match=why):
        read_hosts(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_hosts(tmp_path / "hosts.toml")


def test_what_a_host_is_told_comes_as_it_was_said() -> None:
    told = Joining("tls://192.0.2.1:8786", "a\ncertificate\n", "a\nkey\n", 3)
    assert told.line.count(b"\n") == 1
    assert Joining.read(told.line) == told


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nowhere", "no place for a fleet"),
        ("ssh:", "no place for a fleet"),
        ("local:0", "how many workers"),
        ("local:many", "how many workers"),
        ("tcp://192.0.2.1:8786", "is not encrypted"),
        ("tcp://lab3:8786", "is not encrypted"),
        ("tcp://lab3", "no host and port"),
        ("tls://[::1:8786", "no host and port"),
        ("tls://lab3:many", "no host and port"),
    ],
)
def test_places_that_are_refused(where: str, why: str, scratch_layout: Layout) -> None:
    with pytest.raises(UserError, match=why), fleet(where, scratch_layout, Told()):
        pass


def test_a_wrong_place_is_told_where_there_is_no_dask(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "harness.fleet.clusters", None)
    with pytest.raises(UserError, match="no place for a fleet"), hosts_at("foo", scratch_layout, Told()):
        pass


def test_without_dask_it_is_said_what_to_install(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.fleet.clusters", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="--on needs distributed"), hosts_at("local:1", scratch_layout, Told()):
        pass


class Scheduler:
    """A client of a scheduler with that version of bokeh, or without any."""

    dashboard_link = "http://127.0.0.1:8787/status"

    def __init__(self, bokeh: str = "") -> None:
        self._bokeh = bokeh

    def run_on_scheduler(self, ask: object, package: str) -> str:
        assert ask is metadata.version
        if not self._bokeh:
            raise metadata.PackageNotFoundError(package)
        return self._bokeh


def test_no_dashboard_is_linked_that_does_not_open() -> None:
    assert _dashboard(cast("Any", Scheduler("3.9.2"))) == "the dashboard of Dask: http://127.0.0.1:8787/status"
    said = _dashboard(cast("Any", Scheduler()))
    assert said.startswith("no dashboard of Dask")
    assert "http" not in said


def test_a_place_is_what_it_says() -> None:
    assert FleetPlace.parse("tcp://127.0.0.1:8786").text == "tcp://127.0.0.1:8786"
    assert FleetPlace.parse("ssh:a:b") == FleetPlace("ssh", "a:b")
