# SPDX-License-Identifier: GPL-2.0-only
"""A signal raises while a verb is at work, and at no other moment: there is nobody then to catch it."""

from __future__ import annotations

import pytest

from harness.cli.verbs import Interruption


def test_one_that_comes_while_a_verb_works_raises() -> None:
    handler = Interruption()
    with pytest.raises(KeyboardInterrupt), handler:
        handler(15, None)


def test_one_that_came_before_waits_for_the_verb() -> None:
    handler = Interruption()
    handler(15, None)
    begun = False
    with pytest.raises(KeyboardInterrupt), handler:
        begun = True
    assert not begun


def test_one_that_comes_afterwards_is_too_late() -> None:
    handler = Interruption()
    with handler:
        pass
    handler(15, None)


def test_a_second_one_cuts_nothing_short() -> None:
    handler = Interruption()
    with pytest.raises(KeyboardInterrupt), handler:
        try:
            handler(2, None)
        finally:
            handler(2, None)
            ended_politely = True
    assert ended_politely
