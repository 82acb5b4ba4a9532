# SPDX-License-Identifier: GPL-2.0-only
"""`harness/guest/lend.py` with the kernel's part played on a bus of files: what a write to sysfs does there.

A device with a file `stuck` does not let its driver go; one with a file `waits` only when that is gone.
"""

import importlib.util
import sys
import time
from pathlib import Path

spec = importlib.util.spec_from_file_location("lend", Path(__file__).parents[2] / "harness/guest/lend.py")
assert spec is not None
assert spec.loader is not None
lend = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lend)


def write(file: Path, text: str) -> None:
    if file.name == "unbind":
        device = file.parents[1]
        while (device / "waits").exists():
            time.sleep(0.05)
        if not (device / "stuck").exists():
            (device / "driver").unlink()
    elif file.name == "drivers_probe":
        device = file.parent / "devices" / text
        override = (device / "driver_override").read_text().strip().replace("(null)", "")
        driver = override or (device / "own_driver").read_text()
        if driver and not (device / "driver").is_symlink():
            (device / "driver").symlink_to(f"../drivers/{driver}")
    else:
        file.write_text(text)


vars(lend)["write"] = write

if __name__ == "__main__":
    sys.exit(lend.main(sys.argv[1:]))
