"""Programs of the tests that Debian's packages bring: installed where the system allows it, else the reason why they are missing.

Promises: nothing is installed unless a program is missing, and only as root where apt-get is. Does not promise: other systems.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

INSTALL_SECONDS = 500


def obtain(programs: Sequence[str], packages: Sequence[str]) -> str | None:
    """See to it that `programs` are on PATH; the reason why some still are not, or None."""

    def missing() -> list[str]:
        return [name for name in programs if shutil.which(name) is None]

    if not missing():
        return None
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"no {', '.join(missing())}: install {' '.join(packages)}"
    install = ["install", "-y", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (install, ["update"], install):
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *step]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if not missing():
            return None
    return f"apt-get could not install {' '.join(packages)}: {done.stderr.strip().splitlines()[-1:]}"
