# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources (and, later, patch series) -> Tree."""
