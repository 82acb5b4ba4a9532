# SPDX-License-Identifier: GPL-2.0-only
"""`lore:MSGID` and addresses of list archives: the whole thread, fetched by the b4 command.

b4 runs with a home of its own and none of the user's configuration, so that the same Message-ID brings the same
mails everywhere.
"""

from __future__ import annotations

import re
import tempfile
import urllib.parse
from dataclasses import replace
from pathlib import Path

from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_file, read_messages
from harness.inputs.source_cache import Work
from harness.model.errors import CommandFailed, DeadlineExceeded, InfraError, UserError
from harness.model.series import Series
from harness.proc import find_tool, run

# RFC 5322's atext and the dot; what is left out (blanks, quotes, brackets, ; and the like) has no place in an
# address either. No shell ever sees it: the point is to refuse what cannot be a Message-ID before asking a server.
_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,200}@[A-Za-z0-9._\[\]:-]{1,200}")
_SECONDS = 300.0
_SAID = 160
_HINT = "without a network, fetch the thread elsewhere (lore: t.mbox.gz, or b4 mbox MSGID) and give it as mbox:FILE"


def message_id(text: str) -> str:
    """The Message-ID without its <>; UserError for anything that is not one."""
    name = text.strip().removeprefix("<").removesuffix(">")
    if name.startswith("-") or not _ID.fullmatch(name):
        odd = sorted(set(re.findall(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]", name)))
        why = f" ({' '.join(map(repr, odd[:5]))} cannot stand in one)" if odd else ""
        raise UserError(f"{text!r} is not a Message-ID{why}", hint="write lore:20240101120000.1-1-name@example.org")
    return name


def read_lore(where: str, work: Work, wanted: Selection) -> Series:
    """The thread of a Message-ID or of an archive's address."""
    if not where.startswith(("http://", "https://")):
        return fetch_thread(message_id(where), work, replace(wanted, pick=message_id(where)))
    parts = urllib.parse.urlsplit(where)
    names = [urllib.parse.unquote(part) for part in parts.path.split("/") if "@" in urllib.parse.unquote(part)]
    if not names:
        raise UserError(f"{where} has no Message-ID in it", hint="open one mail of the thread and take its address")
    before = parts.path.partition(urllib.parse.quote(names[0], safe="@"))[0].strip("/") or "all"
    name = urllib.parse.quote(message_id(names[0]), safe="@")
    wanted = replace(wanted, pick=message_id(names[0]))
    return fetch_thread(f"{parts.scheme}://{parts.netloc}/{before.split('/')[0]}/{name}", work, wanted)


def fetch_thread(target: str, work: Work, wanted: Selection) -> Series:
    """b4's mbox of the thread, read."""
    return assemble(read_messages(fetch_mbox(target, work), f"the thread of {target}"), wanted)


def fetch_mbox(target: str, work: Work, *, newer: bool = False) -> bytes:
    """b4's mbox of a thread; with `newer` it searches for the threads of newer revisions, too."""
    if find_tool("b4") is None:
        raise UserError("b4 is not installed, which fetches threads from lore", hint=f"pip install b4; or {_HINT}")
    work.reach_out(f"the thread of {target}")
    work.progress.step(f"fetching the thread of {target}")
    with tempfile.TemporaryDirectory(prefix="harness-lore-") as directory:
        home = Path(directory)
        more = ("--check-newer-revisions",) if newer else ()
        words = ("--no-stdin", "mbox", *more, "--no-cache", "--outdir", str(home), "--mbox-name", "thread.mbox")
        deadline = work.deadline.at_most(_SECONDS)
        try:
            run(("b4", *words, target), deadline=deadline, cwd=home, env=_environment(home), reaped=True)
        except CommandFailed as error:
            said = [line for line in error.tail.splitlines() if line.strip() and not line.startswith(("---", " "))]
            raise InfraError(
                f"cannot fetch the thread of {target}: b4 says {' '.join(said[-2:])!r}", hint=_HINT
            ) from error
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"fetching the thread of {target}", error.seconds, hint=_HINT) from error
        found = sorted(home.glob("thread*.mbox")) + sorted(home.glob("*.mbx"))
        if not found:
            raise InfraError(f"b4 brought no mail for {target}", hint=_HINT)
        return read_file(found[0])


def _environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CEILING_DIRECTORIES": str(home.parent),
    }
