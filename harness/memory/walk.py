# SPDX-License-Identifier: GPL-2.0-only
"""How lists are walked along that may have been torn, and what belongs on which of TTM's. Knows nothing of drgn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.model.memory import BufferObject, Cursor

MOST_NODES = 1 << 16  # of one list


@dataclass(frozen=True, slots=True)
class Ring:
    """The addresses of a list's nodes, but for its head, and why there are not more of them."""

    nodes: tuple[int, ...]
    problem: str = ""


def ring(head: int, links: Callable[[int], Sequence[int]], most: int = MOST_NODES) -> Ring:
    """A struct list_head from its head on; `links` gives the next and the previous one of a node, or LookupError."""
    nodes: list[int] = []
    seen = {head}
    at = head
    try:
        if not any(links(head)):
            return Ring(())  # it was never made a list, or is no longer one
        while True:
            following = links(at)[0]
            back = links(following)[1]
            if back != at:
                why = f"the list is torn behind {at:#x}: {following:#x} does not point back"
                return Ring(tuple(nodes), why)
            if following == head:
                return Ring(tuple(nodes))
            if following in seen:
                return Ring(tuple(nodes), f"the list goes round from {following:#x} and does not come to its head")
            if len(nodes) >= most:
                return Ring(tuple(nodes), f"the list is longer than {most}; the rest was not read")
            seen.add(following)
            nodes.append(following)
            at = following
    except LookupError:
        return Ring(tuple(nodes), f"the list leads from {at:#x} to nowhere")


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
