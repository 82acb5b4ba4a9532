# SPDX-License-Identifier: GPL-2.0-only
"""`--on`: the hosts that make the boots, where that is not this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.fleet.where import FleetPlace
from harness.model.errors import UserError

if TYPE_CHECKING:  # without --on nothing of Dask is imported
    from harness.flow.hosts import Hosts
    from harness.model.progress import FleetProgress
    from harness.store.layout import Layout


@contextmanager
def hosts_at(
    where: str, layout: Layout, progress: FleetProgress, share: str = "", parallel: int | None = None
) -> Iterator[Hosts | None]:
    """The fleet at that place, for the block; None where none is named."""
    if not where:
        if share:
            raise UserError("--share is for the hosts of --on, and there are none", hint="name them with --on")
        yield None
        return
    FleetPlace.parse(where)
    try:
        from harness.fleet.clusters import fleet
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("harness"):
            raise
        raise UserError(
            f"--on needs {error.name}, which is not installed", hint="pip install 'ttm-harness[fleet]' has it"
        ) from error
    with fleet(where, layout, progress, share, parallel or 0) as hosts:
        yield hosts
