# SPDX-License-Identifier: GPL-2.0-only
"""Other hosts that make boots and builds, by Dask distributed. Nothing of it is imported without `--on`."""
