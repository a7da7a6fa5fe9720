"""Builds the wheel: configs, sweeps, cluster profiles and train.py go into it as birds/home.

They stay where they are in the repository; an editable installation reads them there.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOME = ("configs/**/*.yaml", "sweeps/*.yaml", "slurm/*.yaml", "train.py")


class BuildWithHome(build_py):
    """`build_py`, and the files that `birds.core.home` looks for."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        root = Path(__file__).resolve().parent
        for pattern in HOME:
            for file in sorted(root.glob(pattern)):
                target = Path(self.build_lib) / "birds" / "home" / file.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


setup(cmdclass={"build_py": BuildWithHome})
