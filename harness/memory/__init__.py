# SPDX-License-Identifier: GPL-2.0-only
"""A memory image, read by drgn in a process of its own (reader.py): what it has is hostile until it was looked at."""
