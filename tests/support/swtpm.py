"""A software TPM for one test run: swtpm with an EK certificate under a simulator's root.

Where swtpm or tpm2-tools are missing they are taken from the system's packages, if this is a Debian-like machine and we are root; else the
test that asks is skipped with the reason (with CI=true that is a failure).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from asset_bridge.processes import free_ports
from tools import debian

TOOLS = ("swtpm", "swtpm_setup", "swtpm_localca", "tpm2_quote", "tpm2_createak")
PACKAGES = ("swtpm", "swtpm-tools", "tpm2-tools", "libtss2-tcti-swtpm0")
START_SECONDS = 20


def obtain() -> str | None:
    """Install what is missing; the reason why it is still missing, or None."""
    return debian.obtain(TOOLS, PACKAGES)


class SoftwareTpm:
    """One swtpm process; its EK certificate is issued by the root in `root` (root.key.pem, root.cert.pem)."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        self._process: subprocess.Popen[bytes] | None = None
        self._make()
        self.port = self._start()
        self.tcti = f"swtpm:host=127.0.0.1,port={self.port}"

    def _make(self) -> None:
        folder = self._folder
        for name in ("state", "ca"):
            (folder / name).mkdir(parents=True)
        root = self._root
        (folder / "localca.conf").write_text(
            f"statedir = {folder}/ca\nsigningkey = {root}/root.key.pem\nissuercert = {root}/root.cert.pem\n"
            f"certserial = {folder}/ca/serial\n"
        )
        (folder / "localca.options").write_text(
            "--platform-manufacturer TEST\n--platform-version 1\n--platform-model swtpm\n"
        )
        localca = shutil.which("swtpm_localca")
        (folder / "setup.conf").write_text(
            f"create_certs_tool={localca}\ncreate_certs_tool_config={folder}/localca.conf\n"
            f"create_certs_tool_options={folder}/localca.options\nactive_pcr_banks=sha256\n"
        )
        runas = ["--runas", "root"] if os.geteuid() == 0 else []
        command = ["swtpm_setup", "--tpm2", "--tpmstate", f"{folder}/state", "--config", f"{folder}/setup.conf"]
        command += ["--create-ek-cert", "--pcr-banks", "sha256", "--overwrite", *runas]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self) -> int:
        for _ in range(5):
            port = _free_pair()
            command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder}/state"]
            command += ["--server", f"type=tcp,port={port},bindaddr=127.0.0.1,disconnect"]
            command += [
                "--ctrl",
                f"type=tcp,port={port + 1},bindaddr=127.0.0.1",
                "--flags",
                "not-need-init,startup-clear",
            ]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ends = time.monotonic() + START_SECONDS
            while self._process.poll() is None and time.monotonic() < ends:
                try:
                    socket.create_connection(("127.0.0.1", port + 1), 0.2).close()
                    return port
                except OSError:
                    time.sleep(0.05)
            self.stop()
        raise AssertionError("swtpm does not start")

    def stop(self) -> None:
        """End the process that this object started."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def _free_pair() -> int:
    """A port whose follower is free too; the tools expect the control channel there."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            (port,) = free_ports(1)
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
