# SPDX-License-Identifier: GPL-2.0-only
"""What alembic runs for every migration: on the connection that it is handed, in its transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from harness.store.tables import Base

VERSION_TABLE = "ttm_harness_schema"

_connection: Connection = context.config.attributes["connection"]
context.configure(connection=_connection, target_metadata=Base.metadata, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
