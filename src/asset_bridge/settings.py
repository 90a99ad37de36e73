"""Settings that come from the environment, in one place. Only doors and fronts read them (design §2).

Source: design §7: precedence is flag, `ASSET_BRIDGE_*`, file. A passphrase is never among them; the *path* of a passphrase file may be.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOME, NETWORK, PASSPHRASE_FILE = "ASSET_BRIDGE_HOME", "ASSET_BRIDGE_NETWORK", "ASSET_BRIDGE_PASSPHRASE_FILE"


def home_folder(flag: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The home: the flag, else ASSET_BRIDGE_HOME, else ~/.asset-bridge; absolute."""
    named = flag or Path(environment.get(HOME) or Path.home() / ".asset-bridge")
    return named.expanduser().absolute()


def network_source(flag: str | None = None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The network.toml to take: the flag, else ASSET_BRIDGE_NETWORK, else None (the home's own)."""
    return flag or environment.get(NETWORK) or None


def passphrase_file(flag: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file that holds the passphrase: the flag, else ASSET_BRIDGE_PASSPHRASE_FILE, else None (ask)."""
    named = environment.get(PASSPHRASE_FILE)
    return flag or (Path(named) if named else None)
