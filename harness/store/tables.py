# SPDX-License-Identifier: GPL-2.0-only
"""The tables of the index. A change here needs a migration; a test compares the two.

Everything can be made again from the run directories, so nothing is kept here that is not there.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class StoreRow(Base):
    """One row: which store this is the index of."""

    __tablename__ = "store"

    id: Mapped[str] = mapped_column(primary_key=True)


class RunRow(Base):
    """A directory of the store's runs/. `stamp` changes with its content; with a `trouble` it is none of the others.

    `kernels`, `series` and `suites` have a line for each.
    """

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    stamp: Mapped[str]
    trouble: Mapped[str]
    state: Mapped[str]
    verdict: Mapped[str]
    plan: Mapped[str]
    kernels: Mapped[str]
    series: Mapped[str]
    suites: Mapped[str]
    boots: Mapped[int]
    executed: Mapped[int]
    bad: Mapped[int]
    seconds: Mapped[float] = mapped_column(Double)


class BootRow(Base):
    __tablename__ = "boots"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    leg: Mapped[str]
    kernel: Mapped[str]
    profile: Mapped[str]
    series: Mapped[str]
    build_id: Mapped[str]
    cell: Mapped[str]
    group: Mapped[str]
    machine: Mapped[str]
    suites: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    ending: Mapped[str]
    verdict: Mapped[str]
    sound: Mapped[bool]
    executed: Mapped[int]
    bad: Mapped[int]
    seconds: Mapped[float] = mapped_column(Double)
    kept_from: Mapped[str]


class NameRow(Base):
    """The name of a case, once: there are some thousands of them, and millions of cases."""

    __tablename__ = "case_names"

    id: Mapped[int] = mapped_column(primary_key=True)
    suite: Mapped[str]
    name: Mapped[str]

    __table_args__ = (Index("ix_case_names_suite_name", "suite", "name", unique=True),)


class CaseRow(Base):
    """A case of a boot, the `position`th. Both ways in are short: from the boot, and from the name."""

    __tablename__ = "cases"

    boot_id: Mapped[int] = mapped_column(ForeignKey("boots.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name_id: Mapped[int] = mapped_column(ForeignKey("case_names.id"))
    outcome: Mapped[str]
    seconds: Mapped[float | None] = mapped_column(Double)
    message: Mapped[str]

    __table_args__ = (
        Index("ix_cases_name_outcome_boot", "name_id", "outcome", "boot_id"),
        {"sqlite_with_rowid": False},
    )
