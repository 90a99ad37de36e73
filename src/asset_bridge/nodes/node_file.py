"""The file that describes one node of an operator: `node.toml` in the node's own folder.

Source: spec/home.md ("node.toml"). It holds no secret: the operator's account stays in the operator's home, a TEE node's keys
are made at start and never written. Paths in it are relative to the file. Unknown keys are refused, so that a typing
mistake never becomes a silent default.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from asset_bridge.errors import InputError

FORMAT = "asset-bridge/node/1"
FILE_NAME = "node.toml"
KINDS = ("light", "storage", "tee")
_KEYS = {
    "format": str,
    "kind": str,
    "home": str,
    "account": str,
    "salt": str,
    "host": str,
    "port": int,
    "public_url": str,
    "behind_proxy": bool,
    "tls_certificate": str,
    "tls_key": str,
    "data": str,
    "stake_wei": str,
    "registration_seconds": int,
    "writers": list,
    "reserve_bytes": int,
    "replicas": int,
    "audit_seconds": int,
    "attester": str,
    "platform": str,
    "measurement": str,
    "replay": bool,
    "tpm": str,
    "webhooks": list,
    "kubo": bool,
    "kubo_api": str,
    "kubo_secret_file": str,
    "storage_max_bytes": int,
    "swarm_key": str,
    "swarm_listen": list,
}
_LISTS = ("writers", "webhooks", "swarm_listen")


@dataclass(frozen=True, slots=True)
class NodeFile:
    """One node's settings. `folder` is where the file lies; `writers` empty means: every registered light node's key."""

    folder: Path
    kind: str
    home: Path
    salt: bytes
    account: str = "default"
    host: str = "127.0.0.1"
    port: int = 0
    public_url: str = ""
    behind_proxy: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    data: str = "data"
    stake_wei: int = 0
    registration_seconds: int = 86_400
    writers: tuple[str, ...] = ()
    reserve_bytes: int = 64 * 1024 * 1024
    replicas: int = 3
    audit_seconds: int = 600
    attester: str = ""
    platform: str = ""
    measurement: str = ""
    replay: bool = False
    tpm: str = "device:/dev/tpmrm0"
    webhooks: tuple[str, ...] = ()
    kubo: bool = False
    kubo_api: str = ""
    kubo_secret_file: str = ""
    storage_max_bytes: int = 0
    swarm_key: str = ""
    swarm_listen: tuple[str, ...] = ()

    @property
    def data_folder(self) -> Path:
        """Where the node keeps what it stores."""
        return self.folder / self.data

    @property
    def port_file(self) -> Path:
        """Where the running node writes its URL."""
        return self.folder / "url"

    @property
    def record(self) -> Path:
        """Where whoever started the node in the background remembers its process."""
        return self.folder / "process.json"

    @property
    def log(self) -> Path:
        """The node's log when it runs in the background."""
        return self.folder / "node.log"

    def save(self) -> None:
        """Write the file into its folder, whole or not at all."""
        values: dict[str, Any] = {"format": FORMAT}
        for key in _KEYS:
            if key == "format":
                continue
            value = getattr(self, key)
            if key == "salt":
                value = "0x" + value.hex()
            elif isinstance(value, Path):
                value = str(value)
            elif isinstance(value, tuple):
                value = list(value)
            elif key == "stake_wei":
                value = str(value)
            values[key] = value
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self.folder / (FILE_NAME + ".part")
        part.write_text(tomli_w.dumps(values))
        part.replace(self.folder / FILE_NAME)

    @classmethod
    def load(cls, folder: Path) -> NodeFile:
        """Read `folder`/node.toml.

        Raises:
            InputError(nodes.file): missing, not TOML, another format, an unknown key or a value of the wrong type.
        """
        path = folder / FILE_NAME
        try:
            values = tomllib.loads(path.read_text())
        except FileNotFoundError:
            hint = "`asset-bridge node start --help` shows how to make one"
            raise InputError("nodes.file", f"there is no {path}", hint=hint) from None
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError("nodes.file", f"{path} cannot be read: {error}") from None
        if values.pop("format", None) != FORMAT:
            raise InputError("nodes.file", f'{path} does not say format = "{FORMAT}"')
        for key, value in values.items():
            if key not in _KEYS:
                raise InputError("nodes.file", f"{path} has an unknown key {key!r}")
            if type(value) is not _KEYS[key]:
                raise InputError("nodes.file", f"{path}: {key} must be {_KEYS[key].__name__}")
        try:
            kind, home, salt = values.pop("kind"), values.pop("home"), bytes.fromhex(values.pop("salt")[2:])
            stake_wei = int(values.pop("stake_wei", "0"))
            values.update({key: tuple(str(item) for item in values.get(key, [])) for key in _LISTS})
        except (KeyError, ValueError) as error:
            raise InputError("nodes.file", f"{path} lacks or misspells {error}") from None
        if kind not in KINDS or len(salt) != 32:
            raise InputError("nodes.file", f"{path}: kind must be one of {', '.join(KINDS)}, salt 32 bytes")
        home_path = Path(home) if Path(home).is_absolute() else folder / home
        return cls(folder, kind, home_path, salt, stake_wei=stake_wei, **values)
