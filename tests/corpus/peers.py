# SPDX-License-Identifier: GPL-2.0-only
"""What `b4 am` and `git mailinfo` make of mails: the programs themselves, with no network and no configuration."""

from __future__ import annotations

import email
import email.header
import email.policy
import email.utils
import importlib
import mailbox
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.corpus.archive import as_mbox

_TRAILER = re.compile(r"([A-Z][A-Za-z]+(?:-[A-Za-z]+)*-by): (\S.*)", re.IGNORECASE)
_LISTED_REPLY = re.compile(rb"^(Subject:\s+)(?:\[[^\]\n]*\]\s+)+(?=re:)", re.IGNORECASE | re.MULTILINE)
_IN_REPLY_TO = re.compile(rb"^In-Reply-To:[^\n]*(?:\n[ \t][^\n]*)*\n?", re.IGNORECASE | re.MULTILINE)
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True)
class GitMail:
    """What `git mailinfo` and `git patch-id` say of one mail; `applies` when `git apply --numstat` can read it."""

    author: str
    subject: str
    body: str
    patch: bytes
    applies: bool
    patch_id: str = ""
    numstat: tuple[str, ...] = ()
    charset: str = "utf-8"

    @property
    def diff(self) -> str:
        return _decode(self.patch, self.charset).replace("\r", "")


@dataclass(slots=True)
class B4Series:
    """`b4 am` of a thread: Message-IDs in the order in which it would apply them, each with its trailers."""

    names: list[str] = field(default_factory=list)
    trailers: dict[str, set[str]] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)
    said: str = ""
    status: int = 0
    cover: bool = False


def run_b4(thread: Path, room: Path, *more: str) -> B4Series:
    """b4's own command in a child, so that its start is paid once; `thread` is an mbox."""
    out = room / "am"
    out.mkdir()
    said = room / "said"
    command = importlib.import_module("b4.command")
    child = os.fork()
    if child == 0:
        _be_b4(command, thread, out, said, more)
    _, status = os.waitpid(child, 0)
    found = B4Series(said=said.read_text("utf-8", "replace"), status=os.waitstatus_to_exitcode(status))
    found.cover = any(out.glob("*.cover"))
    for file in sorted(out.glob("*.mbx")):
        for mail in mailbox.mbox(file, create=False):
            name = str(mail.get("Message-Id", "")).strip("<> \n")
            text = mail.get_payload(decode=True)
            body = text.decode("utf-8", "replace") if isinstance(text, bytes) else ""
            message = re.split(r"^---$|^diff --git ", body, maxsplit=1, flags=re.MULTILINE)[0]
            found.names.append(name)
            found.counters.append(str(mail.get("Subject", "")))
            found.trailers[name] = {
                f"{one[1]}: {one[2]}".lower() for line in message.split("\n") if (one := _TRAILER.fullmatch(line))
            }
    return found


def run_b4_helped(mails: Sequence[bytes], room: Path) -> B4Series:
    """`b4 am -S` once more, of the same mails with its hurdles taken away.

    b4 takes `[List] Re: …` without a trailer for a cover letter, and gives to it what its answers say. It drops an
    answer whose In-Reply-To is not in the thread, though its References name mails that are; without In-Reply-To it
    takes the first of the References, so what one patch was given goes to the cover letter, and to all. And it
    drops a reviewer's name without an address. What b4 itself finds then is what the mails say: no fault of the
    harness can hide behind this.
    """
    room.mkdir()
    thread = room / "thread.mbox"
    names = {name for mail in mails for name in _ids(mail, "Message-ID")[:1]}
    thread.write_bytes(as_mbox([_helped(mail, names) for mail in mails]))
    return run_b4(thread, room, "-S")


def _helped(mail: bytes, names: Collection[str]) -> bytes:
    head, blank, body = mail.partition(b"\n\n")
    head = _LISTED_REPLY.sub(rb"\1", head, count=1)
    above = [name for name in _ids(mail, "In-Reply-To") if name in names]
    near = [name for name in reversed(_ids(mail, "References")) if name in names]
    if near and not above:
        head = _IN_REPLY_TO.sub(b"", head) + b"\nIn-Reply-To: <" + near[0].encode() + b">"
    name, address = email.utils.parseaddr(header_of(mail, "From"))
    if name and address:
        given = rb"^(\w[\w-]*-by: " + re.escape(name.encode()) + rb")[ \t]*$"
        body = re.sub(given, rb"\1 <" + address.encode() + b">", body, flags=re.MULTILINE)
    return head + blank + body


def _ids(mail: bytes, name: str) -> list[str]:
    return re.findall(r"<([^<>\s]+)>", header_of(mail, name))


def _be_b4(command: object, thread: Path, out: Path, said: Path, more: Sequence[str]) -> None:
    """The child: never returns."""
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ.update(_ENVIRONMENT, HOME=str(out), XDG_CACHE_HOME=str(out), XDG_DATA_HOME=str(out))
        os.chdir(out)
        sys.argv = [
            "b4", "--offline-mode", "--no-stdin", "-c", "b4.attestation-policy=off",
            "am", "--use-local-mbox", str(thread), "--no-cache", "-o", str(out), *more,
        ]  # fmt: skip
        command.cmd()  # type: ignore[attr-defined]
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def read_with_git(raw: bytes, room: Path) -> GitMail:
    """`git mailsplit` and `git mailinfo`, as `git am` runs them."""
    single, message, patch = room / "mail", room / "message", room / "patch"
    # git am takes the CRs off before it looks, unless --keep-cr is given; mailsplit does that.
    single.write_bytes(raw.replace(b"\r\n", b"\n"))
    words: tuple[str, ...] = (
        "git", "mailinfo", "-b", "--encoding=UTF-8", "--quoted-cr=strip", str(message), str(patch),
    )  # fmt: skip
    if re.search(rb"^[- ]+(?:>8|8<|>%|%<)", raw, re.MULTILINE):
        words = (*words[:2], "--scissors", *words[2:])  # as b4 runs it
    with single.open("rb") as file:
        done = subprocess.run(words, stdin=file, capture_output=True, env=_ENVIRONMENT, cwd=room, check=False)
    if done.returncode:
        return GitMail("", "", "", b"", False)
    facts = dict(line.partition(": ")[::2] for line in done.stdout.decode("utf-8", "replace").splitlines())
    diff = patch.read_bytes()
    charset = str(email.message_from_bytes(raw).get_content_charset("utf-8"))
    numstat = ("git", "apply", "--numstat", "--whitespace=nowarn", str(patch))
    applied = subprocess.run(numstat, capture_output=True, env=_ENVIRONMENT, cwd=room, check=False)
    return GitMail(
        author=facts.get("Email", ""),
        subject=facts.get("Subject", ""),
        body=_decode(message.read_bytes(), charset).strip(),
        patch=diff,
        applies=applied.returncode == 0 and bool(applied.stdout.strip()),
        patch_id=_patch_id(diff),
        charset=charset,
        numstat=tuple(applied.stdout.decode("utf-8", "replace").splitlines()),
    )


def _decode(data: bytes, charset: str) -> str:
    """UTF-8, or what git left in the mail's charset."""
    for name in ("utf-8", charset):
        try:
            return data.decode(name)
        except (LookupError, ValueError):
            continue
    return data.decode("utf-8", "replace")


def _patch_id(diff: bytes) -> str:
    done = subprocess.run(
        ("git", "patch-id", "--stable"), input=diff, capture_output=True, env=_ENVIRONMENT, check=False
    )
    return done.stdout.decode().split(" ")[0].strip()


def header_of(raw: bytes, name: str) -> str:
    """A header of a mail, decoded."""
    value = email.message_from_bytes(raw, policy=email.policy.compat32).get(name, "")
    return " ".join(str(email.header.make_header(email.header.decode_header(str(value)))).split())
