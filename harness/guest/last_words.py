# SPDX-License-Identifier: GPL-2.0-only
"""What a test machine's kernel said last, from wherever somebody heard it. Pure.

What it writes to the disk ends before a panic does. Others may have heard more: who listens on the network
(netconsole), and memory that a restart leaves alone (ramoops), which the machine's own kernel reads afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from harness.guest.kexec import MachineFacts, of_test_kernel
from harness.model.errors import UserError

_LEVEL = re.compile(rb"<\d{1,3}>")  # before each line of what pstore keeps
_STAMPED = re.compile(rb"\[ *(?!0\.0{1,9}\])\d{1,12}\.\d{1,9}\]")  # at 0 all kernels say much the same
_WORD = re.compile(r"[0-9A-Za-z.:_-]{1,64}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_AREA = ("mem_address", "mem_size", "record_size", "console_size", "ftrace_size", "pmsg_size", "mem_type", "ecc")
_NUMBER = re.compile(r"\d{1,20}")
_LEAST_COMMON = 2  # one may be chance


def with_last_words(recorded: bytes, heard: Iterable[bytes], release: str) -> bytes:
    """What was recorded, and after it what others heard beyond its end. Who has no line of it heard somebody else,
    and is left out; where nothing was recorded, who heard the beginning is believed.
    """
    whole = recorded
    for piece in heard:
        lines = [_LEVEL.sub(b"", line, count=1) for line in piece.splitlines()]
        if not whole:
            whole = of_test_kernel(b"".join(line + b"\n" for line in lines if line), release)
            continue
        known = {line for line in whole.splitlines() if _STAMPED.match(line)}
        common = [number for number, line in enumerate(lines) if line in known]
        if len(common) >= _LEAST_COMMON:
            whole = _ended(whole) + b"".join(line + b"\n" for line in lines[common[-1] + 1 :] if line)
    return whole


def _ended(text: bytes) -> bytes:
    """Without a line that is not whole: who heard more has it."""
    return text if text.endswith(b"\n") or b"\n" not in text else text[: text.rindex(b"\n") + 1]


def netconsole_argument(facts: MachineFacts, whom: str, port: int) -> str:
    """What makes the test kernel send what it says to this host, by the card that leads here. UserError where that
    cannot be known.
    """
    here = facts.get("peer")
    route = facts.get("route").split()
    after = dict(pairwise(route))
    card, source = after.get("dev", ""), after.get("src", "")
    own = _mac(facts.all("card"), card)
    next_one = _mac(facts.all("neighbour"), after.get("via", here))
    if not all(_WORD.fullmatch(word) for word in (here, source, card)) or not own:
        raise UserError(
            f"{whom} does not say by which card it reaches this host over IPv4, which netconsole needs",
            hint="iproute2 is to be installed there; --machine-console takes a command, too",
        )
    return f"netconsole=@{source}/{own},{port}@{here}/{next_one}"


def _mac(pairs: Iterable[str], name: str) -> str:
    found = (words for words in map(str.split, pairs) if len(words) == 2 and words[0] == name)
    return next((mac for _, mac in found if _MAC.fullmatch(mac)), "")


def ramoops_arguments(facts: MachineFacts) -> tuple[str, ...]:
    """What makes the test kernel leave its last words where the machine's own kernel looks for some; nothing where it
    does not look.
    """
    said = (line.partition(" ") for line in facts.all("ramoops"))
    given = {name: value for name, _, value in said if name in _AREA and _NUMBER.fullmatch(value)}
    address, size = int(given.get("mem_address", "0")), int(given.get("mem_size", "0"))
    if not address or not size:
        return ()
    return (f"memmap={size:#x}${address:#x}", *(f"ramoops.{name}={value}" for name, value in given.items()))
