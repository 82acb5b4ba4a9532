# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs in the user's store, apart from the user's own."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def apart(own_runs: None) -> None:
    """For commands that no fixture gave a store to."""
