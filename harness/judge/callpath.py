# SPDX-License-Identifier: GPL-2.0-only
"""The trace of an allocation -> what kind of request it was, in words that do not differ over the versions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum


class CallPath(StrEnum):
    """What asked for memory."""

    DRIVER = "an ioctl"
    FORK = "fork"
    NETWORK = "the network"
    SHMEM = "shared memory"
    SWAP_IN = "a page that comes back from swap"
    PAGE_CACHE = "the page cache"
    FAULT = "a page fault"
    KERNEL = "a kernel allocation"
    UNKNOWN = "unknown"


# The first that fits: what is more special comes first.
_PATHS = (
    (CallPath.DRIVER, r"(?:__(?:x64|arm64|ia32|se|do)_(?:compat_)?)?(?:sys|vfs|do_vfs|unlocked|compat_sys)_ioctl"),
    (CallPath.FORK, r"copy_process|dup_task_struct|_do_fork|kernel_clone|dup_mm|copy_page_range"),
    (CallPath.NETWORK, r"__alloc_skb|alloc_skb_with_frags|sk_page_frag_refill|__netdev_alloc_skb|napi_alloc_skb"),
    (CallPath.SHMEM, r"shmem_(?:getpage|get_folio|alloc|fault|file_write|swapin|read_mapping)\w*"),
    (CallPath.SWAP_IN, r"do_swap_page|swapin_readahead|read_swap_cache_async|swap_cluster_readahead"),
    (
        CallPath.PAGE_CACHE,
        r"filemap_fault|pagecache_get_page|__page_cache_alloc|filemap_alloc_folio\w*|page_cache_ra_\w+|__filemap_get_folio"
        r"|\w*do_page_cache_readahead|filemap_get_pages|generic_perform_write",
    ),
    (CallPath.FAULT, r"handle_mm_fault|do_anonymous_page|do_wp_page|alloc_anon_folio|faultin_page|vma_alloc_folio"),
    (
        CallPath.KERNEL,
        r"__?kmalloc\w*|kmem_cache_alloc\w*|__?kvmalloc\w*|new_slab|allocate_slab|___slab_alloc|vmalloc\w*|__vmalloc\w*"
        r"|__get_free_pages|__pte_alloc|pte_alloc_one|__pmd_alloc|get_zeroed_page\w*",
    ),
)
_COMPILED = tuple((path, re.compile(f"(?:{pattern})(?:_noprof)?(?:\\.\\w+)*")) for path, pattern in _PATHS)


def call_path(functions: Iterable[str]) -> CallPath:
    """`functions` are a trace, innermost first."""
    names = tuple(functions)
    for path, pattern in _COMPILED:
        if any(pattern.fullmatch(name) for name in names):
            return path
    return CallPath.UNKNOWN
