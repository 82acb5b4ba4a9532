# SPDX-License-Identifier: GPL-2.0-only
"""Runs, boots, cases, and the names of cases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("store", sa.Column("id", sa.String(), primary_key=True))
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("stamp", sa.String(), nullable=False),
        sa.Column("trouble", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("kernels", sa.String(), nullable=False),
        sa.Column("series", sa.String(), nullable=False),
        sa.Column("suites", sa.String(), nullable=False),
        sa.Column("boots", sa.Integer(), nullable=False),
        sa.Column("executed", sa.Integer(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
    )
    op.create_table(
        "boots",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("kernel", sa.String(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("series", sa.String(), nullable=False),
        sa.Column("build_id", sa.String(), nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("suites", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("ending", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("sound", sa.Boolean(), nullable=False),
        sa.Column("executed", sa.Integer(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("kept_from", sa.String(), nullable=False),
    )
    op.create_table(
        "case_names",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("suite", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
    )
    op.create_index("ix_case_names_suite_name", "case_names", ["suite", "name"], unique=True)
    op.create_table(
        "cases",
        sa.Column("boot_id", sa.Integer(), sa.ForeignKey("boots.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("name_id", sa.Integer(), sa.ForeignKey("case_names.id"), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_cases_name_outcome_boot", "cases", ["name_id", "outcome", "boot_id"])


def downgrade() -> None:
    for table in ("cases", "case_names", "boots", "runs", "store"):
        op.drop_table(table)
