"""Recovery shares of a home, and period keys that are erased only where they are (spec/home.md §5, §8)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from asset_bridge.cli import backup_cmd, init_cmd
from asset_bridge.client import homes
from asset_bridge.errors import InputError, RefusedError, TamperedError
from asset_bridge.vault import envelope
from asset_bridge.vault.backup import backup, restore
from asset_bridge.vault.home import Home
from asset_bridge.vault.recovery import make_shares, read_share, restore_from_shares, write_shares
from asset_bridge.vault.tweaks import RETENTION_SECONDS
from tests.unit.vault.test_home import CONTAINER, NETWORK, NOW_AT, PASSPHRASE, QUICK, make, refused, unlock

OTHER = bytes(range(16, 32))


@pytest.fixture(autouse=True)
def _quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MIN_COST", QUICK)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make(tmp_path / "home", tmp_path / "second")


def back_up(home: Home, folder: Path, name: str) -> tuple[Path, Path]:
    keys, tweaks = folder / f"{name}.keys", folder / f"{name}.tweaks"
    how = {"passphrase": lambda: PASSPHRASE, "randbytes": os.urandom, "now_at": NOW_AT, "cost": QUICK}
    with home.exclusive():
        backup(home, unlock(home), keys, tweaks, **how)
    return keys, tweaks


def recovered(root: Path, shares: list[Path], tweaks: Path, second: Path) -> Home:
    return restore_from_shares(
        root,
        [read_share(path) for path in shares],
        tweaks,
        network=NETWORK,
        second_place=second,
        passphrase=lambda: "another passphrase",
        randbytes=os.urandom,
        cost=QUICK,
    )


def test_two_of_three_holders_bring_a_home_back_without_its_passphrase(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    vault.add_account("second", lambda: PASSPHRASE)
    tweak = vault.tweaks.create(CONTAINER)
    paths = write_shares(tmp_path / "holders", make_shares(vault, 2, 3, os.urandom))
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600] * 3
    tweaks = back_up(home, tmp_path, "one")[1]
    again = recovered(tmp_path / "again", [paths[2], paths[0]], tweaks, tmp_path / "second")
    opened = again.unlock(lambda: "another passphrase", os.urandom)
    assert opened.contents == vault.contents
    assert opened.tweaks.get(CONTAINER) == tweak
    refused(RefusedError, "vault.passphrase", lambda: again.unlock(lambda: PASSPHRASE, os.urandom))


def test_what_does_not_fit_is_refused_and_nothing_is_written(home: Home, tmp_path: Path) -> None:
    mine = write_shares(tmp_path / "holders", make_shares(unlock(home), 2, 3, os.urandom))
    later = write_shares(tmp_path / "later", make_shares(unlock(home), 2, 3, os.urandom))
    stranger = make(tmp_path / "stranger", tmp_path / "stranger-second")
    tweaks, others = back_up(home, tmp_path, "mine")[1], back_up(stranger, tmp_path, "others")[1]
    target, second = tmp_path / "again", tmp_path / "second"
    refused(RefusedError, "keys.share-too-few", lambda: recovered(target, mine[:1], tweaks, second))
    refused(RefusedError, "keys.share-mixed", lambda: recovered(target, [mine[0], later[1]], tweaks, second))
    refused(RefusedError, "vault.backup-mismatch", lambda: recovered(target, mine[:2], others, second))
    refused(InputError, "vault.exists", lambda: write_shares(tmp_path / "holders", [read_share(mine[0])]))
    wrong = tmp_path / "wrong"
    for content in (b"", b"\xff\xfe", mine[0].read_bytes()[:-9] + b"a\n", b"a" * 20_000):
        wrong.write_bytes(content)
        wrong.chmod(0o600)
        refused(TamperedError, "keys.share-form", lambda: read_share(wrong))
    mine[1].chmod(0o644)
    refused(RefusedError, "vault.readable-by-others", lambda: recovered(target, mine[:2], tweaks, second))
    refused(InputError, "vault.missing", lambda: read_share(tmp_path / "absent"))
    refused(InputError, "keys.threshold", lambda: make_shares(unlock(home), 1, 3, os.urandom))
    assert not target.exists()


def test_shares_hold_no_tweak(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    tweak = vault.tweaks.create(CONTAINER)
    assert tweak.reveal() not in vault.contents.encode()
    vault.tweaks.destroy(CONTAINER)
    paths = write_shares(tmp_path / "holders", make_shares(vault, 2, 2, os.urandom))
    again = recovered(tmp_path / "again", paths, back_up(home, tmp_path, "late")[1], tmp_path / "second")
    opened = again.unlock(lambda: "another passphrase", os.urandom)
    refused(InputError, "vault.no-tweak", lambda: opened.tweaks.get(CONTAINER))


def test_restoring_leaves_shredded_tweaks_out(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    vault.tweaks.create(CONTAINER)
    kept = vault.tweaks.create(OTHER)
    old_tweaks = back_up(home, tmp_path, "before")[1]
    vault.tweaks.destroy(CONTAINER)
    vault.journal.put("shred-" + CONTAINER.hex(), b"certificate")
    keys = back_up(home, tmp_path, "after")[0]
    again = restore(
        tmp_path / "again",
        keys,
        old_tweaks,
        second_place=tmp_path / "second",
        passphrase=lambda: PASSPHRASE,
        randbytes=os.urandom,
        cost=QUICK,
    )
    opened = unlock(again)
    assert opened.tweaks.names() == [OTHER.hex()]
    assert opened.tweaks.get(OTHER) == kept


def test_a_period_key_on_a_disk_that_is_not_attached_is_not_forgotten(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    vault.tweaks.new_period(NOW_AT)
    due = NOW_AT + RETENTION_SECONDS
    assert vault.tweaks.ended_periods() == {1: due}
    (tmp_path / "second").rename(tmp_path / "unplugged")
    assert vault.tweaks.destroy_old_periods(due) == []
    assert vault.tweaks.ended_periods() == {1: due}
    (tmp_path / "unplugged").rename(tmp_path / "second")
    assert vault.tweaks.destroy_old_periods(due) == [1]
    assert vault.tweaks.ended_periods() == {}
    assert len(list((tmp_path / "second").iterdir())) == 1


def test_a_tweak_left_behind_by_a_crash_is_sealed_again_before_its_key_goes(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    tweak = vault.tweaks.create(CONTAINER)
    left = (home.root / "tweaks" / f"{CONTAINER.hex()}.tweak").read_bytes()
    vault.tweaks.new_period(NOW_AT)
    (home.root / "tweaks" / f"{CONTAINER.hex()}.tweak").write_bytes(left)  # as a crash leaves it
    assert vault.tweaks.destroy_old_periods(NOW_AT + RETENTION_SECONDS) == [1]
    assert vault.tweaks.get(CONTAINER) == tweak


def test_a_restored_home_does_not_overwrite_a_newer_period_key(home: Home, tmp_path: Path) -> None:
    vault = unlock(home)
    keys, tweaks = back_up(home, tmp_path, "old")
    vault.tweaks.new_period(NOW_AT)
    tweak = vault.tweaks.create(CONTAINER)
    how = {
        "second_place": tmp_path / "second",
        "passphrase": lambda: PASSPHRASE,
        "randbytes": os.urandom,
        "cost": QUICK,
    }
    again = unlock(restore(tmp_path / "again", keys, tweaks, **how))
    assert again.tweaks.new_period(NOW_AT) == 3
    assert vault.tweaks.get(CONTAINER) == tweak


def run(command: object, *arguments: object) -> tuple[int, str]:
    outcome = CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    code = getattr(outcome.exception, "code", "") if outcome.exception else ""
    return outcome.exit_code, f"{outcome.output}{code}"


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "check_network", lambda network: None)  # no chain in this test
    (tmp_path / "network.toml").write_text(NETWORK.to_toml())
    (tmp_path / "words").write_text(PASSPHRASE)
    usual = ("--passphrase-file", tmp_path / "words", "--home")
    network = ("--network", tmp_path / "network.toml", "--second-place", tmp_path / "second")
    status, output = run(init_cmd.init, *network, "--recovery-shares", "2/3", *usual, tmp_path / "home")
    assert status == 0, output
    assert "Any 2 of them" in output
    held = sorted((tmp_path / "home-recovery-shares").iterdir())
    assert len(held) == 3
    status, output = run(backup_cmd.backup, tmp_path / "backup", "--shares", "2/2", *usual, tmp_path / "home")
    assert status == 0, output
    tweaks = next((tmp_path / "backup").glob("*tweaks*"))
    keys = next((tmp_path / "backup").glob("*keys*"))
    assert len(list((tmp_path / "backup").glob("*.share"))) == 2
    given = ("--share", held[0], "--share", held[2], *network, *usual)
    assert "cli.restore-files" in run(backup_cmd.restore, keys, tweaks, *given, tmp_path / "again")[1]
    assert "cli.restore-files" in run(backup_cmd.restore, tweaks, *network, *usual, tmp_path / "again")[1]
    status, output = run(backup_cmd.restore, tweaks, *given, tmp_path / "again")
    assert status == 0, output
    assert Home.open(tmp_path / "again").info.home_id == Home.open(tmp_path / "home").info.home_id
    status, output = run(backup_cmd.restore, keys, tweaks, *network, *usual, tmp_path / "both")
    assert status == 0, output
    for wrong in ("3", "2/", "a/b", "200/300"):
        assert "cli.shares" in run(backup_cmd.backup, tmp_path / "x", "--shares", wrong, *usual, tmp_path / "home")[1]
    assert "keys.threshold" in run(backup_cmd.backup, tmp_path / "x", "--shares", "4/3", *usual, tmp_path / "home")[1]
