# SPDX-License-Identifier: GPL-2.0-only
"""Streams that break under every verb, and mails that mean no good."""

from __future__ import annotations

import itertools

from tests.attack.damage import Model
from tests.attack.forked import Streams
from tests.attack.ground import Ground

_STREAMS = (
    Streams(errors="/dev/full"),
    Streams(closed=(2,)),
    Streams(broken=(2,)),
    Streams(output="/dev/full"),
    Streams(output="/dev/full", errors="/dev/full"),
    Streams(closed=(1,)),
    Streams(broken=(1,)),
    Streams(broken=(1, 2)),
    Streams(closed=(0, 1, 2)),
)


def attack_streams(ground: Ground, model: Model, commands: int) -> None:
    """The status is that without the break; where the output is lost, 141, 3, or 2 of help."""
    verbs = [
        ("--help",), ("--version",), ("run", "--help"), ("nonsense",), ("report", "nonsense"),
        ("run", "--profile", "nonsense"), ("report", model.good), ("report", model.bad),
        ("report", "--as", "json", model.good), ("report", "--as", "html", model.bad), ("results", "list"),
        ("results", "show", model.good), ("compare", model.good, model.bad), ("doctor", "--json"),
        ("results", "prune", "--keep", "0"), ("series", "show", "/nowhere"), ("parse", "kmsg", "/dev/zero"),
        (*ground.run_words, "--list"), ground.run_words,
    ]  # fmt: skip
    usual: dict[tuple[str, ...], int | None] = {}
    for words, streams in itertools.islice(itertools.cycle(itertools.product(verbs, _STREAMS)), commands):
        if words not in usual:
            usual[words] = ground.command(*words, store=model.store).status
        ended = ground.command(*words, store=model.store, streams=streams)
        ground.tally.done["commands with broken streams"] += 1
        fine = {usual[words]}
        if 1 in streams.broken:
            fine.add(-13)
        if 1 in streams.closed or streams.output is not None:
            fine.add(2 if "--help" in words or "--version" in words else 3)
        if ended.status not in fine:
            kind = "false red" if ended.status == 1 else "odd status"
            ground.tally.fault(kind, f"{' '.join(words)} with {streams} -> {ended.status}, not {fine}")


def attack_mails(ground: Ground, mails: int) -> None:
    file = ground.place / "hostile.mbox"
    for _ in range(mails):
        file.write_bytes(hostile(ground))
        ended = ground.command("series", "show", "--quiet", f"mbox:{file}", seconds=60)
        ground.tally.done["hostile mails"] += 1
        if "\x1b" in ended.output + ended.errors:
            ground.tally.notes["escapes printed raw"] += 1
        if ended.traced or ended.status is None:
            kept = ground.place / f"hostile-{ground.tally.done['hostile mails']}.mbox"
            kept.write_bytes(file.read_bytes())
        ground.look_at_canary("series show")


_PATHS = (
    "a.c", "../../../canary/file", "/etc/passwd", "a/../../b", "\x1b[2Jx", "x" * 5000, ".git/config", "a\\b", "con",
    "\u202egnp.c", "dev/null", "\"q\\303\\251\"", "a b", "",
)  # fmt: skip
_HEADS = (
    "@@ -1,3 +1,3 @@", "@@ -0,0 +1,99999999999999999999 @@", "@@ -1 +1 @@", "@@ -4294967296,1 +1,1 @@",
    "@@ -1,3 +1,3 @@" + "x" * 9000, "@@ -", "GIT binary patch\nliteral 99999999999999", "@@ -1,0 +1,0 @@",
)  # fmt: skip


def hostile(ground: Ground) -> bytes:
    """A mail with a patch, with some of its parts exchanged for odd ones."""
    chance = ground.chance
    path, other = chance.choice(_PATHS), chance.choice(_PATHS)
    number, total = (
        chance.choice(("1", "0", "99999999999", "-1", "2")),
        chance.choice(("1", "0", "10000", "99999999999")),
    )
    version = chance.choice(("", " v2", " v99999999999", " v1.1", " RFC"))
    subject = f"[PATCH{version} {number}/{total}] " + chance.choice(
        ("ok", "\x1b[31mred", "=?utf-8?q?=00=1b[2J?=", "", "x" * 9000)
    )
    mode = chance.choice(
        ("", "new file mode 120000\n", "old mode 100644\nnew mode 104755\n", "new file mode 160000\n")
    )
    rename = chance.choice(("", f"rename from {path}\nrename to {other}\n", "deleted file mode 100644\n"))
    body = chance.choice((" a\n-b\n+c\n d\n", "-" * 3 + "\n", "+x\n" * 3, "\\ No newline at end of file\n", ""))
    diff = (
        f"diff --git a/{path} b/{other}\n{mode}{rename}--- a/{path}\n+++ b/{other}\n{chance.choice(_HEADS)}\n{body}"
    )
    headers = [
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001", "From: Ada <ada@example.org>", f"Subject: {subject}",
        "Date: " + chance.choice(("Mon, 1 Jan 2024 00:00:00 +0000", "never", "1 Jan 99999 00:00:00 +9999")),
        f"Message-Id: {chance.choice(('<a@b>', '<>', 'x' * 3000, '<a@b> <c@d>'))}",
    ]  # fmt: skip
    kind = chance.choice(
        ("", "text/plain; charset=nonsense", "multipart/mixed; boundary=b", "text/plain; charset=utf-7")
    )
    if kind:
        headers.append(f"Content-Type: {kind}")
    coding = chance.choice(("", "base64", "quoted-printable", "x-uuencode", "8bit"))
    if coding:
        headers.append(f"Content-Transfer-Encoding: {coding}")
    if kind.startswith("multipart"):
        diff = (
            "--b\n"
            + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" * chance.choice((1, 10, 2000))
            + "\n"
            + diff
        )
    text = "\n".join(headers) + "\n\nbecause\n---\n" + diff + "-- \n2.43.0\n"
    data = bytearray(text.encode("utf-8", "replace") * chance.choice((1, 1, 1, 2, 50)))
    for _ in range(chance.choice((0, 0, 0, 1, 20))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.choice((len(data), len(data), len(data), len(data) // 2))])
