# SPDX-License-Identifier: GPL-2.0-only
"""ttm-harness: does this kernel patch series survive memory pressure?"""

__version__ = "0.1.0"
