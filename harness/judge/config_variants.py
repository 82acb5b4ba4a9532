# SPDX-License-Identifier: GPL-2.0-only
"""A patch and a config -> the configs in which its objects should compile, too. Pure.

What the bots of the list find first: a patch that builds only with what its author had switched on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.model.arch import guest_arch
from harness.model.gate import ConfigVariant
from harness.model.series import Patch

_MOST = 8
_CHANGED = re.compile(r"^[+-](?![+-]{2} )(.*)$", re.MULTILINE)
_MENTIONED = re.compile(r"\bCONFIG_(?P<symbol>[A-Z0-9_]+)(?<!_MODULE)\b")
_KCONFIG = re.compile(r"\b(?:config|depends on|select|imply|if|&&|\|\|)\s+!?\(?(?P<symbol>[A-Z][A-Z0-9_]+)\b")
_OBJ = re.compile(r"^obj-\$\(CONFIG_(?P<symbol>\w+)\)", re.MULTILINE)
# What another structure is taken for: wrong where the layout of one of them is random.
_CAST = re.compile(r"^\+.*\((?:const )?struct \w+ \*+\)", re.MULTILINE)
# All at once: a symbol like DRM_TTM has no prompt and follows those that select it.
_TURNED = {
    "m": ConfigVariant("built in", target="mod2yesconfig"),
    "y": ConfigVariant("modules", target="yes2modconfig"),
}
# Calls whose header has an empty form, or none, when the symbol is off.
_IMPLIED = (
    (
        "FAULT_INJECTION",
        re.compile(r"\b(?:DECLARE_FAULT_ATTR|should_fail|struct fault_attr|fault_create_debugfs\w*)\b"),
    ),
    ("FAULT_INJECTION_DEBUG_FS", re.compile(r"\bfault_create_debugfs\w*\b")),
    ("SHMEM", re.compile(r"\bshmem_\w+")),
    ("SWAP", re.compile(r"\b(?:get_nr_swap_pages|total_swap_pages|swap_\w+|folio_\w*swap\w*)\b")),
    ("DEBUG_FS", re.compile(r"\b(?:debugfs_\w+|DEFINE_DEBUGFS_ATTRIBUTE)\b")),
    ("PM", re.compile(r"\bpm_runtime_\w+")),
    ("PROC_FS", re.compile(r"\bproc_create\w*\b")),
    ("MEMCG", re.compile(r"\b(?:mem_cgroup|memcg)_\w+")),
    ("SHRINKER_DEBUG", re.compile(r"\bshrinker_debugfs_\w+")),
    ("TRANSPARENT_HUGEPAGE", re.compile(r"\b(?:HPAGE_PMD_\w+|split_huge_page\w*|folio_split\w*)\b")),
)


def variants_of(
    patch: Patch, config: Mapping[str, str], makefiles: Iterable[str], clang: str
) -> tuple[ConfigVariant, ...]:
    """Every config that the patch's own lines ask for, and in how far the profile's config has something to turn.

    `config` maps symbols to y, m or other values; `makefiles` are the texts beside the touched files; `clang` is the
    name of that compiler, '' where there is none. 32 bits are asked for always: sizes and shifts differ.
    """
    lines = "\n".join(_CHANGED.findall(patch.diff))
    symbols = [match["symbol"] for match in _MENTIONED.finditer(lines)]
    for change in patch.files:
        if change.path.rpartition("/")[2].startswith("Kconfig"):
            symbols += [match["symbol"] for match in _KCONFIG.finditer(lines)]
    symbols += [symbol for symbol, pattern in _IMPLIED if pattern.search(lines)]
    variants = [
        ConfigVariant(f"{symbol}=n", symbol, "n")
        for symbol in dict.fromkeys(symbols)
        if config.get(symbol) in ("y", "m")
    ]
    others: list[ConfigVariant] = []
    for symbol in dict.fromkeys(match["symbol"] for text in makefiles for match in _OBJ.finditer(text)):
        state = config.get(symbol, "n")
        if state in _TURNED and _TURNED[state] not in others:
            others.append(_TURNED[state])
    if narrow := guest_arch().narrow:
        others.append(ConfigVariant(narrow, words=(f"ARCH={narrow}",)))
    if clang:
        words = (f"LLVM={clang.removeprefix('clang') or 1}", f"CC={clang}")
        others.append(ConfigVariant("clang", words=words))
        if _CAST.search(patch.diff):
            others.append(ConfigVariant("clang-randstruct", "RANDSTRUCT_FULL", "y", words=words))
    return (*variants[:_MOST], *others)
