# SPDX-License-Identifier: GPL-2.0-only
"""`--on ssh:FILE`: hosts that are reached by ssh, for the time of a run. FILE is TOML:

listen = "192.0.2.1"       # an address of this host that the others reach; the scheduler listens there

[[host]]
address = "lab3"           # as ssh takes it
python = "/opt/ttm/bin/python"     # with ttm-harness[fleet]; python3 where it is not said
store = "/var/cache/ttm"   # TTM_HARNESS_STORE there; else the usual one
guests = 4                 # at most; else as many as its processors carry
options = ["-p", "2222"]   # more words for ssh
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.fleet.join import Joining
from harness.model.errors import UserError
from harness.proc import Process, spawn

_LARGEST = 1 << 20
_LAST_WORDS = 300
_SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")


@dataclass(frozen=True, slots=True)
class SshHost:
    """A host of the file."""

    address: str
    python: str = "python3"
    store: str = ""
    guests: int = 0
    options: tuple[str, ...] = ()

    def argv(self) -> tuple[str, ...]:
        """What starts a worker there; all that is secret goes by its standard input."""
        store = ("env", f"TTM_HARNESS_STORE={self.store}") if self.store else ()
        words = shlex.join((*store, self.python, "-m", "harness.fleet.join"))
        return (*_SSH, *self.options, "--", self.address, words)


@dataclass(frozen=True, slots=True)
class SshHosts:
    """The file: the address at which the scheduler listens, and the hosts."""

    listen: str
    hosts: tuple[SshHost, ...]


def read_hosts(path: Path) -> SshHosts:
    """UserError for a file that is not there, or not of that form."""
    try:
        with path.open("rb") as file:
            plain = tomllib.loads(file.read(_LARGEST).decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            f"the hosts of {path} cannot be read: {error}", hint="docs/fleet.md has such a file"
        ) from error
    listen, tables = plain.pop("listen", ""), plain.pop("host", [])
    if not isinstance(listen, str) or not listen:
        raise UserError(f"{path} says not where the scheduler listens", hint='listen = "an address of this host"')
    if plain or not isinstance(tables, list) or not tables:
        what = f"{next(iter(plain))!r} is unknown" if plain else "it has no [[host]]"
        raise UserError(f"{path}: {what}", hint="docs/fleet.md has such a file")
    return SshHosts(listen, tuple(_host(path, table) for table in tables))


def _host(path: Path, table: object) -> SshHost:
    known = {"address": str, "python": str, "store": str, "guests": int, "options": list}
    if not isinstance(table, dict) or not table.get("address"):
        raise UserError(f"{path}: a [[host]] is without its address", hint='address = "user@host"')
    for name, value in table.items():
        kind = known.get(name)
        strings = not isinstance(value, list) or all(isinstance(one, str) for one in value)
        if kind is None or not isinstance(value, kind) or isinstance(value, bool) or not strings:
            raise UserError(f"{path}: {name} = {value!r} is not what a [[host]] has")
    if table["address"].startswith("-") or table.get("guests", 0) < 0:
        raise UserError(f"{path}: {table['address']!r} is no host, or its guests are no number")
    return SshHost(**{**table, "options": tuple(table.get("options", ()))})


@contextmanager
def joined(hosts: Sequence[SshHost], told: Joining, logs: Path) -> Iterator[SshWorkers]:
    """Workers on all of them, for the block; what they say goes to files in `logs`."""
    with ExitStack() as stack:
        made = []
        for number, host in enumerate(hosts):
            log = logs / f"{number}.log"
            read_end, write_end = os.pipe()
            agent = {name: os.environ[name] for name in ("SSH_AUTH_SOCK", "HOME") if name in os.environ}
            with os.fdopen(read_end, "rb") as stdin, log.open("wb") as sink:
                ended = os.fdopen(write_end, "wb", buffering=0)
                process = stack.enter_context(
                    spawn(host.argv(), stdin=stdin, stdout=sink, stderr=sink, env=agent, reaped=False)
                )
            stack.callback(ended.close)  # first: then the worker there ends by itself
            ended.write(replace(told, guests=host.guests).line)
            made.append((host, process, log))
        yield SshWorkers(tuple(made))


@dataclass(frozen=True, slots=True)
class SshWorkers:
    """The connections, and where each one's words are."""

    connections: tuple[tuple[SshHost, Process, Path], ...]

    def lost(self) -> list[str]:
        """A sentence for each host whose connection has ended."""
        return [
            f"{host.address}: ssh ended with status {process.status}: {_last_words(log)}"
            for host, process, log in self.connections
            if process.status is not None
        ]


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[-_LAST_WORDS:] if lines else "it said nothing"
