# SPDX-License-Identifier: GPL-2.0-only
"""How the index's schema came to be, step by step, for alembic: versions/vNNNN_*.py is revision NNNN."""
