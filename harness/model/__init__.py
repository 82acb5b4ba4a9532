# SPDX-License-Identifier: GPL-2.0-only
"""The values that flow through the rooms, and nothing else: pure, frozen, each with a JSON round trip."""
