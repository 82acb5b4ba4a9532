# SPDX-License-Identifier: GPL-2.0-only
"""A clock that stands still while its guest does."""

from __future__ import annotations

import time
from collections.abc import Callable


class HeldClock:
    """Seconds, which do not go on while it is held."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left_out = 0.0
        self._held: float | None = None

    def __call__(self) -> float:
        held = self._held
        return (self._clock() if held is None else held) - self._left_out

    @property
    def held(self) -> bool:
        return self._held is not None

    def hold(self) -> None:
        if self._held is None:
            self._held = self._clock()

    def go_on(self) -> None:
        if self._held is not None:
            self._left_out += self._clock() - self._held
            self._held = None
