# SPDX-License-Identifier: GPL-2.0-only
"""Where the data folders of this checkout lie: the harness runs from its checkout."""

from __future__ import annotations

from pathlib import Path

from harness.model.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def data_directory(name: str) -> Path:
    """`kernel-configs`, `guest-scripts` or `patches`; UserError when the package was torn from its checkout."""
    path = ROOT / name
    if not path.is_dir():
        raise UserError(
            f"the folder {name} is not beside the package in {ROOT}",
            hint="install with `pip install -e .` from a checkout",
        )
    return path
