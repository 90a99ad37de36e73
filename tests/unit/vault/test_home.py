"""The home folder: layout, keystore, records, tweaks, backup, lock (spec/home.md)."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.vault import backup as backup_module
from asset_bridge.vault import durable, envelope
from asset_bridge.vault.backup import backup, restore
from asset_bridge.vault.envelope import Cost, open_envelope, seal_envelope
from asset_bridge.vault.home import Home, Vault
from asset_bridge.vault.network import Contract, Network, Peer
from asset_bridge.vault.passphrase import passphrase_from_descriptor, passphrase_from_file
from asset_bridge.vault.sealed_store import open_record, seal_record
from asset_bridge.vault.secret import Secret, pack, unpack
from asset_bridge.vault.tweaks import RETENTION_SECONDS

QUICK = Cost(10, 1, 1)
NOW_AT = 1_800_000_000
PASSPHRASE = "correct horse battery"
CONTAINER = bytes(range(16))
NETWORK = Network(
    name="test",
    chain_id=31337,
    rpc_urls=("http://127.0.0.1:8545",),
    contracts={
        name: Contract(f"0x{number:040x}", bytes([number]) * 32)
        for number, name in enumerate(("NodeRegistry", "AssetLedger", "Exchange", "ReencryptionVerifier"), 1)
    },
    deployed_block=7,
    light_nodes=(Peer("https://light.example", bytes(32)),),
    storage_nodes=(Peer("http://127.0.0.1:9000"),),
)


@pytest.fixture(autouse=True)
def _quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MIN_COST", QUICK)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make(tmp_path / "home", tmp_path / "second")


def make(root: Path, second: Path) -> Home:
    return Home.init(
        root,
        network=NETWORK,
        second_place=second,
        passphrase=lambda: PASSPHRASE,
        randbytes=os.urandom,
        now_at=NOW_AT,
        cost=QUICK,
    )


def unlock(home: Home) -> Vault:
    return home.unlock(lambda: PASSPHRASE, os.urandom)


def refused(kind: type[BridgeError], code: str, call: Callable[[], object]) -> BridgeError:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert caught.value.code == code
    return caught.value


def test_a_home_opens_again_with_the_same_secrets(home: Home) -> None:
    first, second = unlock(home), unlock(Home.open(home.root))
    assert first.provider_seed == second.provider_seed
    assert first.consumer_seed == second.consumer_seed
    assert first.provider_seed != first.consumer_seed
    assert first.account() == second.account()
    assert Home.open(home.root).info.address.startswith("0x")


def test_every_file_is_private(home: Home) -> None:
    unlock(home).orders.put("a1", b"x")
    for path in [home.root, *home.root.rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path
    assert stat.S_IMODE((home.root / "keystore").lstat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["keystore", "home.toml", "."])
def test_what_others_can_read_is_refused(home: Home, name: str) -> None:
    path = home.root / name
    path.chmod(0o750 if path.is_dir() else 0o640)
    error = refused(RefusedError, "vault.readable-by-others", lambda: unlock(Home.open(home.root)))
    assert "chmod" in error.hint


def test_a_link_in_place_of_the_keystore_is_refused(home: Home, tmp_path: Path) -> None:
    (home.root / "keystore").rename(tmp_path / "elsewhere")
    (home.root / "keystore").symlink_to(tmp_path / "elsewhere")
    refused(RefusedError, "vault.readable-by-others", lambda: unlock(home))


def test_wrong_passphrase(home: Home) -> None:
    refused(RefusedError, "vault.passphrase", lambda: home.unlock(lambda: "another passphrase", os.urandom))


def test_passphrase_forms_of_unicode_are_one(tmp_path: Path) -> None:
    sealed = seal_envelope(b"x", "sch\u00f6ne Worte", purpose=b"p", randbytes=os.urandom, cost=QUICK)
    assert open_envelope(sealed, "scho\u0308ne Worte", purpose=b"p") == b"x"


def test_every_flipped_byte_of_an_envelope_is_refused() -> None:
    sealed = seal_envelope(b"secret content", PASSPHRASE, purpose=b"p", randbytes=os.urandom, cost=QUICK)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises((RefusedError, TamperedError)):
            open_envelope(bytes(changed), PASSPHRASE, purpose=b"p")
    refused(RefusedError, "vault.passphrase", lambda: open_envelope(sealed, PASSPHRASE, purpose=b"q"))
    refused(TamperedError, "vault.keystore", lambda: open_envelope(sealed[:40], PASSPHRASE, purpose=b"p"))


def test_parameters_outside_the_bounds_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal_envelope(b"x", PASSPHRASE, purpose=b"p", randbytes=os.urandom, cost=QUICK)
    huge = sealed[:10] + bytes([30]) + sealed[11:]
    refused(TamperedError, "vault.keystore", lambda: open_envelope(huge, PASSPHRASE, purpose=b"p"))
    monkeypatch.setattr(envelope, "MIN_COST", Cost(16, 8, 1))
    refused(TamperedError, "vault.keystore", lambda: open_envelope(sealed, PASSPHRASE, purpose=b"p"))
    newer = sealed[:8] + b"\x02" + sealed[9:]
    refused(RefusedError, "vault.version", lambda: open_envelope(newer, PASSPHRASE, purpose=b"p"))


def test_short_passphrase(tmp_path: Path) -> None:
    refused(
        InputError,
        "vault.passphrase-short",
        lambda: seal_envelope(b"", "1234567", purpose=b"p", randbytes=os.urandom, cost=QUICK),
    )


def test_no_secret_in_repr_or_pickle(home: Home) -> None:
    vault = unlock(home)
    shown = repr(vault) + repr(vault.contents) + str(vault.provider_seed)
    for secret in (vault.provider_seed, vault.consumer_seed, vault.account(), vault.contents.storage_key):
        assert secret.reveal().hex() not in shown
        assert repr(secret.reveal())[2:-1] not in shown
    refused(InputError, "vault.secret-pickled", lambda: pickle.dumps(vault.provider_seed))


def test_nothing_in_the_home_holds_a_seed_in_clear(home: Home) -> None:
    vault = unlock(home)
    tweak = vault.tweaks.create(CONTAINER)
    vault.halves.put("ab", b"a half of a key, 0123456789")
    secrets = [vault.provider_seed.reveal(), vault.consumer_seed.reveal(), vault.account().reveal(), tweak.reveal()]
    for path in home.root.parent.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert all(secret not in content for secret in secrets), path
            assert b"a half of a key" not in content


def test_two_processes_on_one_home(home: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from asset_bridge.vault.home import Home\n"
        "from asset_bridge.errors import BridgeError\n"
        "try:\n  with Home.open(Path(sys.argv[1])).exclusive(): print('entered')\n"
        "except BridgeError as error: print(error.code)"
    )
    environment = {"PYTHONPATH": "src", "PATH": os.environ["PATH"]}
    run = lambda: subprocess.run(  # noqa: E731
        [sys.executable, "-c", script, str(home.root)], capture_output=True, text=True, env=environment, check=True
    ).stdout.strip()
    with home.exclusive():
        assert run() == "vault.home-busy"
        refused(UnavailableError, "vault.home-busy", lambda: home.exclusive().__enter__())
    assert run() == "entered"


def test_init_refuses_a_folder_in_use_and_a_second_place_inside(home: Home, tmp_path: Path) -> None:
    refused(InputError, "vault.home-exists", lambda: make(home.root, tmp_path / "second"))
    refused(InputError, "vault.second-place-inside", lambda: make(tmp_path / "h", tmp_path / "h" / "keys"))
    assert not (tmp_path / "h").exists()
    refused(InputError, "vault.no-home", lambda: Home.open(tmp_path / "nowhere"))


def test_accounts(home: Home) -> None:
    vault = unlock(home)
    added = vault.add_account("fresh", lambda: PASSPHRASE)
    assert unlock(home).account("fresh") == added
    assert unlock(home).account_names == ["default", "fresh"]
    refused(InputError, "vault.exists", lambda: vault.add_account("fresh", lambda: PASSPHRASE))
    refused(InputError, "vault.no-account", lambda: vault.account("nobody"))
    refused(RefusedError, "vault.passphrase", lambda: vault.add_account("b", lambda: "wrong passphrase"))


def test_records_do_not_move(home: Home) -> None:
    vault = unlock(home)
    vault.orders.put("a1", b"one")
    vault.orders.put("a1", b"two")
    assert vault.orders.get("a1") == b"two"
    assert vault.orders.get("a2") is None
    (home.root / "orders" / "a1").rename(home.root / "orders" / "a2")
    refused(TamperedError, "vault.record", lambda: vault.orders.get("a2"))
    refused(InputError, "vault.record-name", lambda: vault.orders.put("../x", b""))
    vault.orders.delete("a2")
    assert vault.orders.names() == []


def test_every_flipped_byte_of_a_record_is_refused() -> None:
    key = Secret(bytes(32))
    sealed = seal_record(b"content", key, "orders", "a1", os.urandom(32))
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 0x80
        refused(TamperedError, "vault.record", lambda c=bytes(changed): open_record(c, key, "orders", "a1"))
    refused(TamperedError, "vault.record", lambda: open_record(sealed[:20], key, "orders", "a1"))


def test_a_tweak_needs_the_second_place(home: Home) -> None:
    vault = unlock(home)
    tweak = vault.tweaks.create(CONTAINER)
    assert unlock(home).tweaks.get(CONTAINER) == tweak
    refused(InputError, "vault.exists", lambda: vault.tweaks.create(CONTAINER))
    second = home.info.second_place
    second.rename(second.with_name("unplugged"))
    assert vault.tweaks.create(bytes(16)) is not None  # publishing needs the public half only
    error = refused(UnavailableError, "vault.second-place", lambda: vault.tweaks.get(CONTAINER))
    assert "attach" in error.hint
    refused(UnavailableError, "vault.second-place", lambda: vault.tweaks.new_period(NOW_AT))


def test_a_destroyed_tweak_is_gone_also_from_backups_after_the_retention(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    vault.tweaks.create(CONTAINER)
    kept = vault.tweaks.create(bytes(16))
    old_copy = (home.root / "tweaks" / f"{CONTAINER.hex()}.tweak").read_bytes()
    vault.tweaks.destroy(CONTAINER)
    refused(InputError, "vault.no-tweak", lambda: vault.tweaks.get(CONTAINER))
    assert vault.tweaks.new_period(NOW_AT) == 2
    assert vault.tweaks.get(bytes(16)) == kept
    assert vault.tweaks.destroy_old_periods(NOW_AT + RETENTION_SECONDS - 1) == []
    assert vault.tweaks.destroy_old_periods(NOW_AT + RETENTION_SECONDS) == [1]
    durable.write_private(home.root / "tweaks" / f"{CONTAINER.hex()}.tweak", old_copy)
    refused(UnavailableError, "vault.second-place", lambda: vault.tweaks.get(CONTAINER))
    assert vault.tweaks.get(bytes(16)) == kept


def test_changed_tweak_is_refused(home: Home) -> None:
    vault = unlock(home)
    vault.tweaks.create(CONTAINER)
    path = home.root / "tweaks" / f"{CONTAINER.hex()}.tweak"
    content = bytearray(path.read_bytes())
    for position in (0, len(content) - 1, 100):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        refused(TamperedError, "vault.tweak", lambda: vault.tweaks.get(CONTAINER))


def test_backup_and_restore(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    tweak = vault.tweaks.create(CONTAINER)
    vault.orders.put("a1", b"order")
    durable.write_private(home.policy_path, b"policy")
    assert home.warn_backup(0) is not None
    keys, tweaks = tmp_path / "b.keys", tmp_path / "b.tweaks"
    made = backup(
        home, vault, keys, tweaks, passphrase=lambda: PASSPHRASE, randbytes=os.urandom, now_at=NOW_AT, cost=QUICK
    )
    assert (made.tweaks, made.orders, made.accounts) == (1, 1, 1)
    assert home.warn_backup(NOW_AT) is None
    assert home.warn_backup(NOW_AT + 1) is not None
    again = restore(
        tmp_path / "again",
        keys,
        tweaks,
        second_place=tmp_path / "second",
        passphrase=lambda: PASSPHRASE,
        randbytes=os.urandom,
        cost=QUICK,
    )
    restored = unlock(again)
    assert restored.provider_seed == vault.provider_seed
    assert restored.orders.get("a1") == b"order"
    assert restored.tweaks.get(CONTAINER) == tweak
    assert again.network == NETWORK
    assert again.policy_path.read_bytes() == b"policy"
    refused(
        InputError,
        "vault.exists",
        lambda: backup(
            home, vault, keys, tweaks, passphrase=lambda: PASSPHRASE, randbytes=os.urandom, now_at=1, cost=QUICK
        ),
    )


def test_a_backup_brings_back_the_networks_of_other_exchanges(home: Home, tmp_path: Path) -> None:
    """Orders belong to their Exchange for ever, so the way to each comes back too, also where the home goes on with another one."""

    def at(number: int) -> Network:  # of digits only, which are the same in every case
        contract = Contract(f"0x{number:040x}", bytes(32))
        return replace(NETWORK, contracts={**NETWORK.contracts, "Exchange": contract})

    older, newer = at(0x21), at(0x22)
    home.keep_network(older)
    files = tmp_path / "b.keys", tmp_path / "b.tweaks"
    backup(home, unlock(home), *files, passphrase=lambda: PASSPHRASE, randbytes=os.urandom, now_at=NOW_AT, cost=QUICK)
    for name, given, expected in (("same", None, [older, NETWORK]), ("next", newer, [older, NETWORK, newer])):
        again = restore(
            tmp_path / name,
            *files,
            second_place=tmp_path / f"second {name}",
            passphrase=lambda: PASSPHRASE,
            randbytes=os.urandom,
            network=given,
            cost=QUICK,
        )
        assert again.network == expected[-1]
        beside = again.networks_beside(again.network.contracts["Exchange"].address)
        assert sorted(beside.values(), key=str) == sorted(expected[:-1], key=str)
        assert all(Network.load(path) == network for path, network in beside.items())


@pytest.mark.parametrize("networks", [[], [1], "text", None, ["not TOML ="]])
def test_a_backup_with_malformed_networks_is_refused_and_makes_nothing(
    home: Home, tmp_path: Path, networks: object
) -> None:
    files = tmp_path / "b.keys", tmp_path / "b.tweaks"
    backup(home, unlock(home), *files, passphrase=lambda: PASSPHRASE, randbytes=os.urandom, now_at=NOW_AT, cost=QUICK)
    keys = unpack(open_envelope(files[0].read_bytes(), PASSPHRASE, purpose=backup_module.PURPOSE), "it")
    sealed = pack({**keys, "networks": networks})
    changed = tmp_path / "changed.keys"
    durable.write_private(
        changed, seal_envelope(sealed, PASSPHRASE, purpose=backup_module.PURPOSE, randbytes=os.urandom, cost=QUICK)
    )
    with pytest.raises((TamperedError, InputError)) as caught:
        restore(
            tmp_path / "again",
            changed,
            files[1],
            second_place=tmp_path / "s",
            passphrase=lambda: PASSPHRASE,
            randbytes=os.urandom,
            cost=QUICK,
        )
    assert caught.value.code == ("vault.network" if networks == ["not TOML ="] else "vault.malformed")
    assert not (tmp_path / "again").exists()


def test_backup_files_of_two_homes_and_damaged_ones_are_refused(home: Home, tmp_path: Path) -> None:
    other = make(tmp_path / "other", tmp_path / "second2")
    for name, which in (("a", home), ("b", other)):
        backup(
            which,
            unlock(which),
            tmp_path / f"{name}.keys",
            tmp_path / f"{name}.tweaks",
            passphrase=lambda: PASSPHRASE,
            randbytes=os.urandom,
            now_at=NOW_AT,
            cost=QUICK,
        )

    def attempt(keys: str, tweaks: str, passphrase: str = PASSPHRASE) -> Home:
        return restore(
            tmp_path / "new",
            tmp_path / keys,
            tmp_path / tweaks,
            second_place=tmp_path / "s3",
            passphrase=lambda: passphrase,
            randbytes=os.urandom,
            cost=QUICK,
        )

    refused(RefusedError, "vault.backup-mismatch", lambda: attempt("a.keys", "b.tweaks"))
    refused(RefusedError, "vault.passphrase", lambda: attempt("a.keys", "a.tweaks", "not the passphrase"))
    refused(InputError, "vault.missing", lambda: attempt("a.keys", "none"))
    (tmp_path / "a.tweaks").write_bytes((tmp_path / "a.tweaks").read_bytes() + b"x")
    refused(TamperedError, "vault.malformed", lambda: attempt("a.keys", "a.tweaks"))
    assert not (tmp_path / "new").exists()
    beside = home.info.second_place / "x.keys"
    refused(
        InputError,
        "vault.second-place-inside",
        lambda: backup(
            home,
            unlock(home),
            beside,
            tmp_path / "t",
            passphrase=lambda: PASSPHRASE,
            randbytes=os.urandom,
            now_at=1,
            cost=QUICK,
        ),
    )


def test_a_full_disk_leaves_the_old_content(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = unlock(home)
    vault.orders.put("a1", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(UnavailableError, "vault.cannot-write", lambda: vault.orders.put("a1", b"new"))
    monkeypatch.undo()
    monkeypatch.setattr(envelope, "MIN_COST", QUICK)
    assert vault.orders.get("a1") == b"old"
    assert vault.orders.names() == ["a1"]


def test_passphrase_sources(tmp_path: Path) -> None:
    path = tmp_path / "pass"
    path.write_text(PASSPHRASE + "\n")
    refused(
        RefusedError, "vault.readable-by-others", passphrase_from_file(path)
    ) if path.stat().st_mode & 0o077 else None
    path.chmod(0o600)
    assert passphrase_from_file(path)() == PASSPHRASE
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE.encode() + b"\r\n")
    os.close(writer)
    assert passphrase_from_descriptor(reader)() == PASSPHRASE
    os.close(reader)
    refused(InputError, "vault.passphrase-source", passphrase_from_descriptor(reader))
    path.write_bytes(b"\xff\xfe12345678")
    refused(InputError, "vault.passphrase-source", passphrase_from_file(path))
    path.write_bytes(bytes(2000))
    refused(InputError, "vault.passphrase-source", passphrase_from_file(path))


def test_only_canonical_cbor_is_read() -> None:
    for content in (b"", b"\x18\x01", b"\x01\x01", b"\xbf\xff", b"\xff", b"\xa2\x61b\x01\x61a\x02"):
        refused(TamperedError, "vault.malformed", lambda c=content: unpack(c, "a file"))


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durable.write_private(tmp_path / "f", bytes(11))
    monkeypatch.setattr(durable, "MAX_PRIVATE_BYTES", 10)
    refused(RefusedError, "vault.too-large", lambda: durable.read_private(tmp_path / "f"))


def test_another_chain_is_refused(home: Home) -> None:
    refused(InputError, "vault.wrong-chain", lambda: home.set_network(replace(NETWORK, chain_id=1)))
    home.set_network(replace(NETWORK, name="renamed"))
    assert home.network.name == "renamed"
