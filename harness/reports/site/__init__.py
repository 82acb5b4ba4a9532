# SPDX-License-Identifier: GPL-2.0-only
"""Static pages over many runs: values -> HTML, SVG and the search index. Nothing here reads or writes a file."""
