# SPDX-License-Identifier: GPL-2.0-only
"""The word `--untrusted` of every verb that builds, and what is said on a host that contains nothing."""

from __future__ import annotations

import click

UNTRUSTED = click.option(
    "--untrusted", is_flag=True, help="Nobody has read these patches: refuse where builds cannot be contained."
)


def look_at_containment(untrusted: bool) -> None:
    """UserError for --untrusted on a host that cannot contain a build; without it such a host is told of once."""
    from harness.sandbox import containment, require_containment

    if untrusted:
        require_containment()
    elif not containment().backend:
        click.echo(f"ttm-harness: {containment().sentence}", err=True)
