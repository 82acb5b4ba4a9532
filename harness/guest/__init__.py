# SPDX-License-Identifier: GPL-2.0-only
"""Machine -> argv; boot; console; control channel; swap."""
