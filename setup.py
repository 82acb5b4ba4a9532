# SPDX-License-Identifier: GPL-2.0-only
"""What pyproject.toml cannot say: a wheel has the data folders in its package; it and the sdist have the commit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

sys.path.insert(0, str(Path(__file__).parent))
from harness.checkout import COMMIT_FILE, FOLDERS, INSTALLED, ROOT, commit


def write_commit(top: Path) -> None:
    data = top / INSTALLED.relative_to(ROOT)
    data.mkdir(parents=True, exist_ok=True)
    (data / COMMIT_FILE).write_text(f"{commit()}\n", encoding="utf-8")


class BuildWithData(build_py):
    def run(self) -> None:
        if self.editable_mode:  # runs from the checkout, which has it all
            super().run()
            return
        top = Path(self.build_lib)
        # What an earlier build left there would be in the wheel, too.
        shutil.rmtree(top / "harness", ignore_errors=True)
        super().run()
        for name in FOLDERS:
            shutil.copytree(ROOT / name, top / INSTALLED.relative_to(ROOT) / name)
        write_commit(top)


class SdistWithCommit(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir))


setup(cmdclass={"build_py": BuildWithData, "sdist": SdistWithCommit})
