"""What setup.cfg cannot say: folders at the top of a checkout that are folders of the installed package."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("recipes", "accelerate_configs", "examples")  # as in src/midalign/shipped.py


class BuildWithShipped(build_py):
    def run(self):
        super().run()
        for folder in SHIPPED if not self.editable_mode else ():  # an editable install reads them where they are
            target, ignored = Path(self.build_lib, "midalign", folder), ignore_patterns("__pycache__")
            copytree(folder, target, ignore=ignored, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithShipped})
