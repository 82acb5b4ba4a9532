# SPDX-License-Identifier: GPL-2.0-only
"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path

import click

TREE_OPTION = click.option(
    "--tree",
    "trees",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A git repository in which to look for the base of the series.",
)
ON_OPTION = click.option(
    "--on",
    "where",
    metavar="WHERE",
    default="",
    help="Boots are made by a fleet: local:N, tls://HOST:PORT, ssh:FILE, slurm:FILE.",
)
SHARE_OPTION = click.option(
    "--share", metavar="URL", default="", help="With --on: where all its hosts find kernels, by fsspec."
)
