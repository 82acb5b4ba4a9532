# SPDX-License-Identifier: GPL-2.0-only
"""Words of a report that tell which architecture its kernel was for."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What tells an architecture: functions of its entry code, zones, words of a release.
_ARCHES = (
    (
        "32-bit x86",
        re.compile(r"do_syscall_32|do_fast_syscall_32|entry_SYSENTER_32|entry_INT80_32|sysenter_past_esp"),
    ),
    ("x86-64", re.compile(r"entry_SYSCALL_64|do_syscall_64|__x64_sys_|asm_exc_page_fault|exc_page_fault")),
    ("arm64", re.compile(r"el0t?_|__arm64_sys_|do_el0_svc|el0_svc")),
    ("arm", re.compile(r"ret_fast_syscall|__irq_svc|do_PrefetchAbort|do_DataAbort|v7_")),
    ("powerpc", re.compile(r"system_call_exception|interrupt_return_srr|system_call_vectored|handle_page_fault$")),
    ("s390", re.compile(r"__s390x?_sys_|pgm_check_handler|do_dat_exception")),
    ("riscv", re.compile(r"do_trap_ecall_u|handle_exception|__riscv_sys_")),
)
_RELEASES = (
    ("x86-64", re.compile(r"x86[_-]64|amd64")),
    ("arm64", re.compile(r"aarch\d\d|arm64|-v8\b|-v8\+")),
    ("32-bit x86", re.compile(r"i[3-6]86|-686|-pae")),
    ("arm", re.compile(r"armv7|armhf|-v7")),
    ("powerpc", re.compile(r"ppc64|powerpc")),
    ("s390", re.compile(r"s390")),
    ("riscv", re.compile(r"riscv")),
)
# What only one architecture prints in its registers.
_REGISTERS = (
    ("arm64", re.compile(r"pstate: [0-9a-f]{8}|Mem abort info:")),
    ("arm", re.compile(r"PC is at |pc : \[<[0-9a-f]{8}>\]")),
    ("32-bit x86", re.compile(r"EIP: ")),
    ("powerpc", re.compile(r"NIP:  ?[0-9a-fc]|MSR:  ?[0-9a-f]{8}")),
    ("riscv", re.compile(r"epc ?: [0-9a-f]{8}")),
    ("s390", re.compile(r"Krnl PSW|User PSW")),
    ("x86-64", re.compile(r"RIP: ")),
)


def arch_of(functions: Iterable[str], release: str) -> str:
    """The architecture that a report speaks of, as people call it; empty where nothing tells."""
    names = tuple(functions)
    for name, pattern in _ARCHES:
        if any(pattern.search(function) for function in names):
            return name
    return next((name for name, pattern in _RELEASES if pattern.search(release)), "")


def arch_of_registers(lines: Iterable[str]) -> str:
    """The one whose registers a splat shows; empty where nothing tells."""
    for line in lines:
        for name, pattern in _REGISTERS:
            if pattern.search(line):
                return name
    return ""
