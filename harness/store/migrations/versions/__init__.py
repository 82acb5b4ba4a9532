# SPDX-License-Identifier: GPL-2.0-only
"""The steps. One that was released is never changed again."""
