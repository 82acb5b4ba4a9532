# SPDX-License-Identifier: GPL-2.0-only
"""Where the data folders lie, and of which commit this is: in the checkout, or in the `_data` of an installed
package, where setup.py puts both.
"""

from __future__ import annotations

from pathlib import Path

from harness.model.errors import HarnessError, UserError
from harness.proc import Deadline, run

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("guest-scripts", "kernel-configs", "patches")
INSTALLED = Path(__file__).resolve().parent / "_data"
COMMIT_FILE = "commit"
_UNKNOWN = "unknown"
_GIT_SECONDS = 10.0


def data_directory(name: str) -> Path:
    """One of FOLDERS; UserError when the package was torn from its checkout, or has lost some of itself."""
    # First its own: what lies beside an installed package is not ours.
    found = next((path for path in (INSTALLED / name, ROOT / name) if path.is_dir()), None)
    if found is None:
        raise UserError(
            f"the folder {name} is neither in {INSTALLED} nor in {ROOT}",
            hint="install ttm-harness anew: `pip install .` or `pip install -e .` in a checkout",
        )
    return found


def commit() -> str:
    """Twelve hex digits, with `-dirty` where a file differs from that commit; `unknown` where nothing tells."""
    try:
        return (INSTALLED / COMMIT_FILE).read_text("utf-8").strip() or _UNKNOWN
    except (OSError, UnicodeDecodeError):
        pass
    if not (ROOT / ".git").exists():  # git would take a repository around it for ours
        return _UNKNOWN
    safe = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")
    words = ("describe", "--always", "--exclude=*", "--abbrev=12", "--dirty")
    try:
        done = run(
            ("git", *safe, "-C", str(ROOT), *words),
            deadline=Deadline(_GIT_SECONDS),
            env={"GIT_OPTIONAL_LOCKS": "0"},
        )
    except HarnessError:
        return _UNKNOWN
    return done.output.strip() or _UNKNOWN
