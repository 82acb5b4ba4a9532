# SPDX-License-Identifier: GPL-2.0-only
"""Patch series: from mails, files, repositories and web pages to a Series, and from a Series to a Tree."""
