# SPDX-License-Identifier: GPL-2.0-only
"""How lists are walked along that may have been torn. Knows nothing of drgn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
