# SPDX-License-Identifier: GPL-2.0-only
"""Lists of cases in files: `--case @FILE` runs those, `--case '!@FILE'` leaves them out.

A line a case, or a glob; `#` begins a comment. IGT's own test lists and block lists are taken as they are, as far as
their patterns are globs in other words: `igt@` at the beginning is left out, and `.*` is `*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.model.errors import UserError
from harness.store.files import read_regular

_LARGEST = 1 << 20
_MOST = 100_000  # characters of all globs together: the guest gets them as one word


def read_lists(texts: Iterable[str]) -> list[str]:
    """What --case says, with what stands in files in their place. UserError for one that cannot be read."""
    found = [glob for text in texts for part in text.split(",") for glob in _globs(part.strip())]
    if sum(map(len, found)) + len(found) > _MOST:
        raise UserError(f"--case names more than {_MOST} characters of cases", hint="a glob stands for many of them")
    return found


def _globs(part: str) -> Iterator[str]:
    sign = "!" if part.startswith("!@") else ""
    name = part[len(sign) + 1 :]
    if not part.startswith(("@", "!@")):
        yield part
        return
    try:
        lines = read_regular(Path(name).expanduser(), _LARGEST).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"--case {part}: the list cannot be read: {why}") from error
    before = 0
    for line in lines:
        glob = line.partition("#")[0].strip().removeprefix("^").removesuffix("$").removeprefix("igt@")
        if glob:
            before += 1
            yield sign + glob.replace(".*", "*")
    if not before:
        raise UserError(f"--case {part}: there is no case in it", hint="a line a case, as --case calls them")
