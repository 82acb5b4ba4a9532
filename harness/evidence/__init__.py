# SPDX-License-Identifier: GPL-2.0-only
"""Text -> facts: KTAP and kernel messages. Pure."""
