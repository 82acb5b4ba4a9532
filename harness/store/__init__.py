# SPDX-License-Identifier: GPL-2.0-only
"""What is kept: sources, builds, run directories. Everything appears whole or not at all."""
