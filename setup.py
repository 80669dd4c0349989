"""Stamps the time of the build into the package; everything else about it is in pyproject.toml.

A Raspberry Pi has no battery-backed clock: it boots in the past, finds its certificates "not yet valid"
and stays mute. The start step raises the clock to the newest time it can trust, and the time at which the
installed software was built is one of those. It is stamped into the build's output only: a checkout has none
and needs none.
"""

import os
import subprocess
import time
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STAMP = "edge/_build.py"


def build_time_utc() -> int:
    """Seconds since 1970: SOURCE_DATE_EPOCH (reproducible builds), else the commit's time, else now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch:
        return int(epoch)
    try:
        told = subprocess.run(
            ["git", "log", "-1", "--format=%ct"],
            cwd=Path(__file__).resolve().parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(told.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return int(time.time())


class StampedBuild(build_py):
    """build_py that adds edge/_build.py to what it built."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # it "builds" in the source tree
            return
        path = Path(self.build_lib) / STAMP
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            '"""When this software was built, in seconds since 1970; written by setup.py."""\n\n'
            f"BUILD_TIME_UTC = {build_time_utc()}\n"
        )

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What was built, the stamp with it, so that an uninstall takes it away."""
        stamp = [] if self.editable_mode else [str(Path(self.build_lib) / STAMP)]
        return [*super().get_outputs(include_bytecode), *stamp]


setup(cmdclass={"build_py": StampedBuild})
