# SPDX-License-Identifier: GPL-2.0-only
"""A fleet by ssh: hosts with networks, names, stores and sshd of their own, as far as namespaces make them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.checkout import ROOT
from harness.model.build import Build
from harness.store.layout import Layout
from tests.conftest import require_tool
from tests.processes import command_lines

pytestmark = [pytest.mark.functional, pytest.mark.timeout(900)]

NET = "10.213.77"
SETTINGS = """\
Port 22
HostKey {place}/host_key
AuthorizedKeysFile {place}/key.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
"""


def do(*words: str) -> None:
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)


def no_networks() -> str:
    """Why none can be made here; a container's root, and some kernels, may not."""
    if os.geteuid():
        return "only root makes networks"
    require_tool("ip")
    probe = "ip link add br0 type bridge && ip link add p2 type veth peer name eth0 && mount -t tmpfs none /mnt"
    done = subprocess.run(
        ("unshare", "-n", "-m", "-u", "sh", "-c", probe), capture_output=True, text=True, timeout=60, check=False
    )
    return f"this host makes no networks: {done.stderr.strip()}" if done.returncode else ""


@contextmanager
def networks(names: tuple[str, ...]) -> Iterator[None]:
    """The first is the asker's, with a bridge to the others; .1, .2 and so on are their addresses."""
    asker, *hosts = names
    with ExitStack() as stack:
        for name in names:
            do("ip", "netns", "add", name)
            stack.callback(subprocess.run, ("ip", "netns", "del", name), check=False, timeout=60)
            do("ip", "-n", name, "link", "set", "lo", "up")
        do("ip", "-n", asker, "link", "add", "br0", "type", "bridge")
        do("ip", "-n", asker, "addr", "add", f"{NET}.1/24", "dev", "br0")
        do("ip", "-n", asker, "link", "set", "br0", "up")
        for number, host in enumerate(hosts, 2):
            port = f"p{number}"
            do("ip", "-n", asker, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            do("ip", "-n", asker, "link", "set", port, "master", "br0", "up")
            do("ip", "-n", host, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
            do("ip", "-n", host, "link", "set", "eth0", "up")
        yield


@contextmanager
def sshd(name: str, place: Path) -> Iterator[None]:
    settings = place / "sshd_config"
    settings.write_text(SETTINGS.format(place=place))
    words = ("ip", "netns", "exec", name, "/usr/sbin/sshd", "-D", "-f", str(settings))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def wrapper(place: Path, name: str, hidden: Path) -> Path:
    """A python that has another host name, and in which the asker's store is empty."""
    path = place / f"python-{name}"
    inner = f'hostname {name} && mount -t tmpfs none {shlex.quote(str(hidden))} && exec {sys.executable} "$@"'
    path.write_text(f'#!/bin/sh\nexport PYTHONPATH={ROOT}\nexec unshare -m -u sh -c {shlex.quote(inner)} sh "$@"\n')
    path.chmod(0o755)
    return path


def hosts_file(place: Path, names: tuple[str, ...], layout: Layout) -> Path:
    tables = [f'listen = "{NET}.1"\n']
    options = ["-i", f"{place}/key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    for number, name in enumerate(names, 2):
        python = wrapper(place, name, layout.root)
        tables.append(
            f'[[host]]\naddress = "root@{NET}.{number}"\npython = "{python}"\nstore = "{place / name}"\nguests = 2\n'
            f"options = {json.dumps(options)}\n"
        )
    file = place / "hosts.toml"
    file.write_text("".join(tables))
    return file


def test_boots_on_two_hosts_that_have_nothing_of_the_kernel(tiny: Build, layout: Layout, tmp_path: Path) -> None:
    if why := no_networks():
        pytest.skip(why)
    for tool in ("sshd", "ssh", "ssh-keygen", "ip", "unshare"):
        require_tool(tool)
    for name in ("key", "host_key"):
        do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name))
    Path("/run/sshd").mkdir(exist_ok=True)
    mark = f"ttm{os.getpid()}"
    names = tuple(f"{mark}{end}" for end in ("x", "a", "b"))
    file = hosts_file(tmp_path, names[1:], layout)
    words = (
        "run",
        "--json",
        "--seed",
        "1",
        "--on",
        f"ssh:{file}",
        "--suite",
        "kunit-self",
        "--profile",
        "tiny",
        "--ram",
        "128M",
        "--swap",
        "none",
        "--repeat",
        "4",
    )
    with networks(names), sshd(names[1], tmp_path), sshd(names[2], tmp_path):
        done = subprocess.run(
            ("ip", "netns", "exec", names[0], sys.executable, "-m", "harness", *words),
            capture_output=True,
            text=True,
            timeout=600,
            cwd=ROOT,
            env={**os.environ, "TTM_HARNESS_STORE": str(layout.root), "TTM_HARNESS_RUNS": layout.runs_name},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        until_their_workers_are_gone(tmp_path)
    report = json.loads(done.stdout)
    assert report["verdict"] == "good"
    assert {run["host"] for run in report["runs"]} == set(names[1:]), done.stderr
    for name in names[1:]:
        assert len(list((tmp_path / name / "parcels").iterdir())) == 2  # the build and the guests' root, each once
        assert list((tmp_path / name / "scratch").iterdir()) == []


def until_their_workers_are_gone(place: Path) -> None:
    """Without the connection nothing of the run goes on there."""
    limit = time.monotonic() + 60.0
    while any(str(place).encode() in line and b"harness.fleet" in line for line in command_lines()):
        assert time.monotonic() < limit
        time.sleep(0.2)
