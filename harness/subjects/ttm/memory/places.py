# SPDX-License-Identifier: GPL-2.0-only
"""What belongs on which of TTM's lists."""

from __future__ import annotations

from .values import BufferObject, Cursor


def wrong_cursor(cursor: Cursor, memory: int, priority: int) -> str:
    """Why a walk does not belong on the list of that memory type and priority; empty where it does."""
    if memory < 0:
        return f"a walk along memory {cursor.memory} stands on a list that no walk may go along"
    if cursor.memory not in (-1, memory):
        return f"a walk along memory {cursor.memory} stands on a list of memory {memory}"
    if cursor.priority != priority:
        return f"a walk at priority {cursor.priority} stands on the list of priority {priority}"
    return ""


def wrong_object(found: BufferObject, memory: int, priority: int, *, own: bool, moved_late: bool) -> str:
    """Why an object does not belong on a list; empty where it does. Not `own`: it has another resource by now.
    `moved_late`: the kernel leaves what is pinned on its list until it is next moved.
    """
    if memory < 0:
        return (
            "" if found.hidden or moved_late or not own else "it is neither pinned nor out, and no walk sees it here"
        )
    if found.memory != memory:
        return f"it lies in memory {found.memory}"
    if found.priority != priority:
        return f"its priority is {found.priority}"
    if found.hidden and not moved_late and own:
        return "it is pinned or out, and a walk sees it here"
    return ""
