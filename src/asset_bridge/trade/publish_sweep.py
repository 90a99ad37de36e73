"""What a publish that was killed while it sealed has left: a sealed file that no record knows, its key, blocks in the provider's own kubo.

Source: design §9.4; docs/decisions/0056. A sealing is never resumed, so all of it goes. Promises: what a record of a publication names is
not touched; what a kubo that is down still holds is remembered, and deleted the next time. Does not promise: to find blocks whose sealed
bytes are gone (the sentence says that `ipfs repo gc` takes them).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from asset_bridge.errors import BridgeError, InputError
from asset_bridge.ipfs.kubo.own import KuboPlace, forget_cut_off
from asset_bridge.ipfs.store import dag_of_file
from asset_bridge.sealing.header import HEADER_BYTES
from asset_bridge.trade.desk import Desk
from asset_bridge.vault.files import PARTIAL
from asset_bridge.vault.secret import unpack

JOURNAL, SEALING = "publish-", "sealing-"
"""Records of the journal, by container id: what is sealed and not listed yet; a sealing into a kubo that has begun."""
_ID_DIGITS = 32


def sweep(desk: Desk, work_folder: Path) -> list[str]:
    """Clean up; returns a sentence for people on each thing that was found. No other process publishes from this home meanwhile."""
    said: list[str] = []
    names = desk.vault.journal.names()
    known = {name[len(JOURNAL) :] for name in names if name.startswith(JOURNAL)}
    notes = {name[len(SEALING) :] for name in names if name.startswith(SEALING)}
    halves = {path.name[1 : 1 + _ID_DIGITS]: path for path in work_folder.glob(f".*.sealed{PARTIAL}*")}
    wholes = {path.stem: path for path in work_folder.glob("*.sealed") if path.stem not in known}
    for name in sorted((notes | halves.keys()) - known):
        file = halves.get(name) or wholes.get(name)
        if name in notes and not _clean_kubo(desk, name, file, said):
            wholes.pop(name, None)
            continue
        if file is not None and name not in notes:
            said.append("A publish was cut off while it sealed; the sealed file that it left is deleted.")
        if file is not None:  # not of a note alone: in a home restored from a backup its asset may be listed
            with contextlib.suppress(ValueError):
                desk.vault.tweaks.destroy(bytes.fromhex(name))  # nobody listed it, so it opens nothing
        for left in halves, wholes:
            if (path := left.pop(name, None)) is not None:
                path.unlink()
        desk.vault.journal.delete(SEALING + name)
    for name in notes & known:
        desk.vault.journal.delete(SEALING + name)
    for path in wholes.values():  # listed, and killed before it was deleted; or never recorded, and useless
        path.unlink()
    return said


def _clean_kubo(desk: Desk, name: str, file: Path | None, said: list[str]) -> bool:
    """Delete from kubo what the cut-off sealing sent; False when kubo must be asked again later."""
    note = unpack(desk.vault.journal.get(SEALING + name) or b"", "the note of a sealing")
    place = KuboPlace(str(note["kubo"]), str(note["secret_file"]))
    if file is None:
        said.append(
            f"A publish into the kubo at {place.where} was cut off, and what it sent is no longer here to be named;"
            " `ipfs repo gc` deletes the blocks there that nothing pins."
        )
        return True
    try:
        with contextlib.closing(place.rpc()) as rpc:
            if not file.name.startswith("."):  # sealed whole: then it may be pinned
                rpc.unpin(dag_of_file(file, HEADER_BYTES).root)
            sent_bytes = max(0, file.stat().st_size - HEADER_BYTES)
            forget_cut_off(
                rpc, file, HEADER_BYTES, sent_bytes, lambda done, all_: desk.progress("clean up", done, all_)
            )
    except InputError as error:  # no such kubo any more
        said.append(f"A publish into the kubo at {place.where} was cut off; what it left there stays: {error.message}.")
    except BridgeError as error:
        said.append(
            f"A publish into the kubo at {place.where} was cut off, and what it left there cannot be deleted now:"
            f" {error.message} It is tried again with the next publish."
        )
        return False
    else:
        said.append(f"A publish into the kubo at {place.where} was cut off; what it left there is deleted.")
    return True
