# SPDX-License-Identifier: GPL-2.0-only
"""The walls of the house: who may import whom (design.md, "The rooms")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

PACKAGE = Path(harness.__file__).parent

# Room -> the rooms it may import. `base` is what lies at the top: proc, checkout, the version.
ALLOWED = {
    "model": set[str](),
    "evidence": {"model"},
    "judge": {"model"},
    "base": {"model"},
    "store": {"model", "base"},
    "inputs": {"model", "base", "store"},
    "kernel": {"model", "base", "store"},
    "guest": {"model", "base", "store"},
    "suites": {"model", "base"},
    "memory": {"model"},  # a process of its own, which flow starts and does not import
    "subjects": {"model", "memory"},  # what reads their part of an image, in that process
    "reports": {"model"},
    "flow": {"model", "base", "store", "inputs", "kernel", "guest", "suites", "evidence", "judge", "reports"},
    "fleet": {"model", "base", "store", "kernel", "guest", "flow"},
    "cli": {"model", "base", "store", "suites", "evidence", "reports", "flow", "fleet"},
    "pytest_plugin": {"model", "base", "store", "suites", "evidence", "reports", "flow"},
}
PURE = ("model", "evidence", "judge", "suites")
EFFECTS = {"os", "subprocess", "socket", "shutil", "tempfile", "urllib", "http", "threading", "paramiko", "signal"}
ONLY_IN = {
    "subprocess": "harness.proc",
    "junitparser": "harness.reports.junit",
    "jinja2": "harness.reports.html",
    "drgn": "harness.memory.kernel",
    "paramiko": "harness.guest.ssh",
}


def modules() -> Iterator[tuple[str, str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0] if len(parts) > 1 else "base"
        name = ".".join(("harness", *(part for part in parts if part != "__init__")))
        yield name, room, path


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


ONLY_BELOW = dict.fromkeys(("dask", "dask_jobqueue", "distributed", "fsspec"), "fleet")


def breaches(name: str, room: str, tree: ast.AST) -> list[str]:
    found = []
    for imported in imports(tree):
        top = imported.split(".")[0]
        owner = ONLY_IN.get(top)
        if owner is not None and owner != name:
            found.append(f"{name} imports {top}, which is {owner}'s")
        if ONLY_BELOW.get(top, room) != room:
            found.append(f"{name} imports {top}, which is the room {ONLY_BELOW[top]}'s")
        if room in PURE and top in EFFECTS:
            found.append(f"{name} is pure but imports {top}")
        if top != "harness":
            continue
        parts = imported.split(".")
        target = parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "base"
        if target != room and target not in ALLOWED[room] and imported != "harness.__version__":
            found.append(f"{name} ({room}) imports {imported} ({target})")
    return found


@pytest.mark.parametrize(("name", "room", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_imports_follow_the_flow(name: str, room: str, path: Path) -> None:
    if name == "harness.__main__":
        return
    assert breaches(name, room, ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("model", "from harness.proc import run"),
        ("evidence", "import socket"),
        ("kernel", "import subprocess"),
        ("guest", "from harness.flow.run import execute"),
        ("reports", "from harness.store.runs import load_report"),
        ("judge", "import paramiko"),
        ("flow", "from harness.memory.kernel import Kernel"),
        ("memory", "import drgn"),
        ("cli", "from distributed import Client"),
        ("memory", "from harness.subjects.ttm.memory import read"),
        ("subjects", "from harness.flow.run import execute"),
    ],
)
def test_a_breach_is_seen(room: str, line: str) -> None:
    assert breaches(f"harness.{room}.x", room, ast.parse(line))


def test_a_class_name_stands_for_one_thing() -> None:
    """Names with an underscore are a file's own."""
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert len(places) > 300
    assert {name: at for name, at in places.items() if len(at) > 1} == {}
