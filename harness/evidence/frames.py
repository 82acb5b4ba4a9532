# SPDX-License-Identifier: GPL-2.0-only
"""Which function a line of a trace names: the forms of the architectures, of older kernels, and of traces that
scripts/decode_stacktrace.sh has been over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FRAMES = 5
MOST_FRAMES = 64

_NAME = r"[A-Za-z_][\w.$]{0,120}"
_OFFSET = r"\+0x[0-9a-f]+/0x[0-9a-f]+"
# An address or two before the name: kernels up to 4.9, ppc, s390.
_ADDRESS = r"(?:\(?\[<?[0-9a-f]{8,16}>?\]\)? {0,2}){0,2}"
# `foo (drivers/a.c:6 (discriminator 1))`, with the places of inlined functions before.
_DECODED = r" \((?:[^\s():]+\.[chSs]:(?:\d+|\?)(?: \(discriminator \d+\))? ?){1,12}\)"
# What names the place that it happened at: x86 (not user space's segments), arm, mips and riscv, ppc, s390.
_POINTER = (
    r"(?:RIP: {1,2}(?!0033|002b|0023)[0-9a-f]{4}:|R?IP: (?!0)|RIP {1,2}|EIP: (?:[0-9a-f]{4}:)?|EIP is at |PC is at "
    r"|pc {0,3}: (?:[0-9a-f]{8,16} )?|epc {0,4}: (?:[0-9a-f]{8,16} )?|NIP |Krnl PSW : [0-9a-f]{16} [0-9a-f]{16} \()"
    + _ADDRESS
)
_MODULE = r" \[?(?P<bare>[\w-]{1,60})(?: [0-9a-f]{8,64})?\]?(?=$|,)"
_FUNCTION = re.compile(rf"^\s*{_ADDRESS}(\? )?({_NAME})(?:{_OFFSET}|{_DECODED})")
_AT = re.compile(rf"\b{_POINTER}({_NAME})(?:\+0x|{_DECODED})")
_FRAME = re.compile(
    rf"(?:\s*{_ADDRESS}|{_POINTER})(?P<frame>{_NAME}{_OFFSET}(?: \[(?P<module>\w{{1,60}})(?: [0-9a-f]{{8,64}})?\])?"
    rf"|{_NAME}{_DECODED}(?:{_MODULE})?)"
)
# arm32: ` foo from bar+0x1/0x2`, `[<c0010fb8>] (foo) from [<c000c0a4>] (bar+0x1/0x2)`; the caller is the frame.
_FROM = re.compile(
    rf"\s*{_ADDRESS}\(?(?P<callee>{_NAME})(?:{_OFFSET})?\)? from "
    rf"{_ADDRESS}\(?(?P<frame>(?P<name>{_NAME}){_OFFSET})"
)
_DECODED_PLACE = re.compile(rf"(?<![\w.$])({_NAME}){_DECODED}(?:{_MODULE})?")
_SUFFIX = re.compile(r"\.(?:constprop|isra|part|cold|llvm)\b.*$")
# What any report has on its stack, whatever went wrong.
_MACHINERY = re.compile(
    r"(?:__|asm_|exc_|do_)?(?:dump_stack\w*|show_stack\w*|v?panic|warn|report_bug|handle_bug|exc_invalid_op|invalid_op"
    r"|asm_exc_\w+|kasan_\w+|print_report|__kasan_\w+|dump_header|warn_slowpath\w*|warn_printk|die\w*|print_\w+_bug"
    r"|oops_\w+|nmi_\w+|lockdep_rcu_suspicious|lock_acquire|__lock_acquire|validate_chain|check_\w+)$"
)

# Between the scheduler and the function that waits.
WAITING = re.compile(
    r"_*(?:io_|preempt_|rt_mutex_)?schedule\w*|\w*_wait_common|(?:do_)?wait_for_\w+|\w*wait_on_\w+|bit_wait\w*"
    r"|\w*mutex_lock\w*|\w*rwsem_\w+|_*down(?:_\w+)?|_*(?:raw_)?(?:spin|read|write)_lock\w*|_*folio_(?:wait|lock)\w*"
    r"|synchronize_\w+|_*flush_\w+|msleep\w*"
)


def _may_name(text: str) -> bool:
    return "+0x" in text or (" (" in text and (".c:" in text or ".h:" in text or ".S:" in text))


def frames_of(texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The frames of a trace as printed, innermost first, without guesses, at most 64; and their modules."""
    frames: list[str] = []
    modules: dict[str, None] = {}
    for text in texts:
        match = (_FROM.match(text) or _FRAME.match(text)) if _may_name(text) else None
        if match is None:
            continue
        if match.re is _FROM and not (frames and frames[-1].startswith(match["callee"])):
            frames.append(match["callee"])
        frame = match["frame"]
        if frame not in frames[-1:]:
            frames.append(frame)
        module = match["module"] or match["bare"] if match.re is _FRAME else None
        if module is not None:
            modules[module] = None
        if len(frames) == MOST_FRAMES:
            break
    return tuple(frames), tuple(modules)


def function_of(text: str) -> str | None:
    """The function that a line of a trace names; None for a guess (`? foo`) and for any other line."""
    if not _may_name(text):
        return None
    at = _AT.search(text)
    if at is not None:
        return _SUFFIX.sub("", at[1])
    caller = _FROM.match(text) if " from " in text else None
    if caller is not None:
        return _SUFFIX.sub("", caller["name"])
    match = _FUNCTION.match(text)
    return None if match is None or match[1] is not None else _SUFFIX.sub("", match[2])


def functions(texts: Iterable[str], most: int = _FRAMES) -> tuple[str, ...]:
    """The functions of a trace that say where it was, innermost first, at most five."""
    names: list[str] = []
    for text in texts:
        name = function_of(text)
        if name is None:
            continue
        if name not in names[-1:] and not _MACHINERY.match(name):
            names.append(name)
        if len(names) == most:
            break
    return tuple(names)


def telling(text: str) -> bool:
    """Whether a line of a trace names a function that says where it was."""
    name = function_of(text)
    return name is not None and not _MACHINERY.match(name) and not WAITING.fullmatch(name)


def undecoded(text: str) -> str:
    """A headline without the places that a script put behind its functions: `foo (a.c:1) ttm` -> `foo [ttm]`."""
    if not _may_name(text):
        return text
    return _DECODED_PLACE.sub(lambda match: match[1] + (f" [{match['bare']}]" if match["bare"] else ""), text)
