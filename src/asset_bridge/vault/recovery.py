"""Recovery shares of a home: k of n holders bring back the keystore's content, without the passphrase and without its file.

Source: spec/home.md §8, spec/keys.md K21-K26. Promises: the shares hold everything that the keystore held when they were made; nothing is
written before the shares fit together and to the tweaks file. Does not promise: anything about assets by itself. Shares hold no
tweak, so a shredded asset stays shredded whatever the holders do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asset_bridge.errors import RefusedError, TamperedError
from asset_bridge.keys.recovery import MAX_TEXT_CHARACTERS, RecoveryShare, recover, split
from asset_bridge.vault.backup import read_tweaks
from asset_bridge.vault.contents import Contents
from asset_bridge.vault.durable import make_private_folder, read_private, write_private
from asset_bridge.vault.envelope import DEFAULT_COST, Cost
from asset_bridge.vault.home import Home, RandBytes, Vault
from asset_bridge.vault.network import Network
from asset_bridge.vault.passphrase import Passphrase


def make_shares(vault: Vault, threshold: int, shares: int, randbytes: RandBytes) -> list[RecoveryShare]:
    """Split the keystore's content; InputError(keys.threshold) unless 2 <= threshold <= shares <= 16."""
    return split(vault.contents.encode(), threshold, shares, randbytes)


def write_shares(folder: Path, shares: Sequence[RecoveryShare]) -> list[Path]:
    """One private file a share. They belong to different people: move them away from each other, then erase these.

    Raises InputError(vault.exists) when a file of that name is there.
    """
    make_private_folder(folder)
    paths = []
    for share in shares:
        path = folder / f"recovery-{share.set_id.hex()}-{share.number}-of-{share.shares}.share"
        write_private(path, share.to_text().encode(), replace=False)
        paths.append(path)
    return paths


def read_share(path: Path) -> RecoveryShare:
    """A share from a holder's file.

    Raises:
        InputError(vault.missing), RefusedError(vault.readable-by-others): as for every private file.
        TamperedError(keys.share-form): it is not a share.
    """
    content = read_private(path)
    if len(content) > MAX_TEXT_CHARACTERS:
        raise TamperedError("keys.share-form", f"{path} is too long for a recovery share")
    return RecoveryShare.from_text(content.decode("utf-8", "replace"))


def restore_from_shares(
    root: Path,
    shares: Sequence[RecoveryShare],
    tweaks_file: Path,
    *,
    network: Network,
    second_place: Path,
    passphrase: Passphrase,
    randbytes: RandBytes,
    cost: Cost = DEFAULT_COST,
) -> Home:
    """Make a home from shares and the `tweaks` backup, under a new passphrase. Open orders and opened halves are not in shares.

    Raises:
        RefusedError, TamperedError (keys.share-…): the shares are too few, mixed or wrong.
        RefusedError(vault.backup-mismatch): the tweaks file is of another home.
    """
    contents = Contents.decode(recover(shares))
    tweaks = read_tweaks(tweaks_file)
    if tweaks["home_id"] != contents.home_id:
        raise RefusedError("vault.backup-mismatch", "the shares and the tweaks backup belong to different homes")
    home = Home.lay_out(root, contents, network=network, second_place=second_place)
    with home.exclusive():
        home.write_keystore(contents, passphrase, randbytes, cost)
        Vault(home, contents, randbytes).tweaks.restore(tweaks["tweaks"], tweaks["periods"])
    return home
