# SPDX-License-Identifier: GPL-2.0-only
"""The process that reads an image: started by flow/inspect.py, contained, with limits and a deadline.

Its one argument is its directory, with what it is asked in asked.json. It leaves the Memory there as memory.json,
runs a script, or is a prompt; in the last two `program` is drgn's own, `kernel` ours, `memory` all that was read, and
`readers` what the subjects read with.
"""

from __future__ import annotations

import code
import json
import re
import sys
from pathlib import Path

try:
    from harness.memory.kernel import Files, KernelImage, NotOpened, open_kernel
except ImportError as error:  # the harness itself needs no drgn
    if (error.name or "").partition(".")[0] != "drgn":
        raise
    sys.stdout.write("drgn is not there")
    sys.exit(4)
from harness.memory.parts import Readers
from harness.memory.tasks import shrinkers, tasks
from harness.model.codec import to_json
from harness.model.memory import SCHEMA, Memory

NOT_OPENED, NO_DRGN = 3, 4
_SYMBOL = re.compile(r"^([0-9a-f]{16}) \S (\S+)$", re.MULTILINE)


def read(kernel: KernelImage, release: str, readers: Readers) -> Memory:
    """All that an image says."""
    parts = readers.parts(kernel)
    own_shrinkers, no_shrinkers = shrinkers(kernel, readers.counts())
    own_tasks, no_tasks = tasks(kernel)
    problems = tuple(filter(None, (*readers.problems, no_shrinkers, no_tasks)))
    return Memory(SCHEMA, release, own_shrinkers, own_tasks, parts, problems)


def main(directory: str) -> int:
    asked = json.loads(Path(directory, "asked.json").read_text("utf-8"))
    symbols = {name: int(at, 16) for at, name in _SYMBOL.findall(Path(asked["symbols"]).read_text("utf-8"))}
    modules = {name: tuple(map(Path, paths)) for name, paths in asked["modules"].items()}
    types = tuple(map(Path, asked["types"]))
    try:
        files = Files(Path(asked["image"]), Path(asked["vmlinux"]), types, symbols, modules, asked["release"])
        kernel = open_kernel(files)
    except NotOpened as error:
        sys.stdout.write(str(error))
        return NOT_OPENED
    readers = Readers(asked["readers"], asked["problems"])
    memory = read(kernel, asked["release"], readers)
    names = {
        "__name__": "__main__",
        "kernel": kernel,
        "program": kernel.program,
        "memory": memory,
        "readers": readers.modules,
    }
    if asked["mode"] == "json":
        Path(directory, "memory.json").write_text(to_json(memory), "utf-8")
    elif asked["mode"] == "script":
        path = asked["script"]
        exec(compile(Path(path).read_bytes(), path, "exec"), names)
    else:
        code.interact(banner=asked["banner"], local=names, exitmsg="")
    return 0
