# SPDX-License-Identifier: GPL-2.0-only
"""A place in a log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of a log, counted from 1, both ends included."""

    first: int
    last: int
