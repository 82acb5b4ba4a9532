# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of `harness.inputs.series` share: a tiny kernel in git, and mails made of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path

from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_messages
from harness.model.series import Series
from harness.model.tree import Tree

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada Ünit",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Ünit",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+00:00",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+00:00",
    "LC_ALL": "C.UTF-8",
}
MAKEFILE = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n"


def git(directory: Path, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
    environment = {"PATH": os.environ["PATH"], **_ENVIRONMENT, **(env or {})}
    argv = ["git", "-C", str(directory), *words]
    done = subprocess.run(argv, input=stdin, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def numbers(letter: str, count: int = 60) -> str:
    return "".join(f"int line_{letter}{number};\n" for number in range(1, count + 1))


class Repo:
    """A repository that looks like a kernel: `drivers/{a,b,c}.c`, `scripts/`, a top Makefile; tag `base`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        git(path, "init", "-q", "-b", "main")
        self.write("Makefile", MAKEFILE)
        for letter in "abc":
            self.write(f"drivers/{letter}.c", numbers(letter))
        self.write("scripts/run.sh", "#!/bin/sh\n")
        self.commit("base")
        self.git("tag", "base")

    def git(self, *words: str, stdin: bytes = b"") -> bytes:
        return git(self.path, *words, stdin=stdin)

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def three(self) -> None:
        """Three commits, each to a file of its own; tag `v1`."""
        for letter in "abc":
            name = f"drivers/{letter}.c"
            self.change(name, f"int line_{letter}10;\n", f"long line_{letter}10;\nint added_{letter};\n")
            self.change(name, f"int line_{letter}40;\n", "")
            self.commit(f"gpu: change {letter}\n\nBecause of {letter}.\n\nSigned-off-by: Ada Ünit <ada@example.org>")
        self.git("tag", "v1")

    def mbox(self, span: str = "base..v1", *words: str) -> bytes:
        return self.git("format-patch", "--stdout", "--cover-letter", "--thread", "--base=base", *words, span)

    def patch(self) -> bytes:
        """What is changed and not committed, as a mail."""
        self.commit("a change")
        return self.git("format-patch", "-1", "--stdout")


def plain_diff(name: str = "drivers/a.c", letter: str = "a") -> str:
    """A small diff of the tiny kernel, as git writes it."""
    return (
        f"diff --git a/{name} b/{name}\nindex 1111111..2222222 100644\n--- a/{name}\n+++ b/{name}\n"
        f"@@ -9,4 +9,5 @@ int line_{letter}8;\n int line_{letter}9;\n-int line_{letter}10;\n+long line_{letter}10;\n"
        f"+int added_{letter};\n int line_{letter}11;\n int line_{letter}12;\n"
    )


def mail(subject: str, text: str, message_id: str, parent: str = "", sender: str = "Ada <ada@x.org>") -> bytes:
    """A mail as bytes, without a From line before it."""
    message = EmailMessage()
    message["From"] = sender
    message["Subject"] = subject
    message["Date"] = "Fri, 02 Jan 2026 03:04:05 +0000"
    message["Message-ID"] = f"<{message_id}>"
    if parent:
        message["In-Reply-To"] = f"<{parent}>"
        message["References"] = f"<{parent}>"
    message.set_content(text, cte="8bit")
    return message.as_bytes()


def mbox(*mails: bytes) -> bytes:
    return b"".join(b"From mboxrd@z Thu Jan  1 00:00:00 1970\n" + one.rstrip(b"\n") + b"\n\n" for one in mails)


def read(data: bytes, revision: int | None = None, *, partial: bool = False) -> Series:
    wanted = Selection("mbox:t.mbox", revision=revision, partial=partial)
    return assemble(read_messages(data, "t.mbox"), wanted)


def tree_of(directory: Path, name: str = "tiny") -> Tree:
    return Tree("a" * 64, "7.3.4", f"{name} 7.3.4", directory, name)
