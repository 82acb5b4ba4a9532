# SPDX-License-Identifier: GPL-2.0-only
"""`python -m harness` is `ttm-harness`."""

from harness.cli import main

if __name__ == "__main__":
    main()
