"""Builds from a clean ``build/``; everything else about the distribution stands in pyproject.toml."""

import shutil

from setuptools import setup
from setuptools.command.build import build


class CleanBuild(build):
    """setuptools packs whatever lies in ``build/lib``: a rule that was moved or removed would be shipped again."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build": CleanBuild})
