# SPDX-License-Identifier: GPL-2.0-only
"""One module a suite: what it needs, how it starts, what it must have executed."""
