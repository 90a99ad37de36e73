"""The small parts of the chain's room: what a revert becomes, network facts, endpoints' names, headers, the journal's rules."""

from __future__ import annotations

import ast
import re
import sqlite3
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.header import read_header
from asset_bridge.chain.journal import Attempt, Journal
from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.network import CONTRACTS, Deployment, is_development
from asset_bridge.chain.reasons import ERROR_STRING, reason_of, refused
from asset_bridge.chain.records import At, OrderState
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.errors import InputError, RefusedError, TamperedError, UnavailableError
from tests.ports.chain_scene import MEASUREMENT
from tests.ports.chain_worlds import TwinWorld

ADDRESS = checksum_address(keccak(b"someone")[12:])


def deployment(chain_id: int = 31337) -> Deployment:
    addresses = {name: checksum_address(keccak(name.encode())[12:]) for name in CONTRACTS}
    return Deployment(chain_id, addresses, {name: keccak(name.encode()) for name in CONTRACTS}, 7)


# ── reverts ──
def test_a_reason_becomes_a_code() -> None:
    error = refused("exchange: deadline has passed")
    assert isinstance(error, RefusedError)
    assert error.code == "chain.exchange.deadline-has-passed"


@pytest.mark.parametrize(
    "reason", ["", "pay 1 ETH to http://evil", "exchange: <script>", "exchange: " + "x" * 200, "Exchange: A"]
)
def test_text_that_no_contract_gives_is_not_shown(reason: str) -> None:
    error = refused(reason)
    assert error.code == "chain.reverted"
    assert not reason or reason not in error.message


def test_every_reason_of_the_specification_has_a_code_of_its_own() -> None:
    page = (Path(__file__).parents[3] / "spec" / "contracts.md").read_text().split("## 10. Refusals")[1]
    reasons = re.findall(r"^\| `([a-z]+: [^`]+)` \|", page, re.MULTILINE)
    codes = {refused(reason).code for reason in reasons}
    assert len(reasons) > 60
    assert len(codes) == len(reasons)
    assert "chain.reverted" not in codes


def test_the_twin_gives_no_reason_that_the_specification_lacks() -> None:
    page = (Path(__file__).parents[3] / "spec" / "contracts.md").read_text().split("## 10. Refusals")[1]
    reasons = {r.split(": ", 1)[1] for r in re.findall(r"^\| `([a-z]+: [^`]+)` \|", page, re.MULTILINE)}
    said: set[str] = set()
    for path in (Path(__file__).parents[3] / "src" / "asset_bridge" / "chain" / "twin").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("check", "fail")
            ):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                said |= set(texts[:1])
    assert len(said) > 50
    assert sorted(said - reasons) == []


def test_only_an_error_string_has_a_reason() -> None:
    assert reason_of(ERROR_STRING + encode(["string"], ["ledger: not listed"])) == "ledger: not listed"
    for data in (b"", ERROR_STRING, ERROR_STRING + b"\xff" * 64, keccak(b"panic")):
        assert reason_of(data) == ""


# ── network facts ──
def test_network_facts_round_trip_and_malformed_ones_are_refused() -> None:
    good = deployment()
    assert Deployment.from_json(good.to_json()) == good
    assert (is_development(31337), is_development(1337), is_development(1)) == (True, True, False)
    for path, value in (
        (("chain_id",), "1"),
        (("chain_id",), 0),
        (("deployed_block",), -1),
        (("contracts",), {}),
        (("contracts", "Exchange", "address"), "0x12"),
        (("contracts", "Exchange", "code_hash"), "0x12"),
        (("contracts", "Stranger"), {}),
    ):
        made: dict[str, object] = good.to_json()
        at: dict[str, object] = made
        for key in path[:-1]:
            at = at[key]  # type: ignore[assignment]
        at[path[-1]] = value
        with pytest.raises(InputError) as error:
            Deployment.from_json(made)
        assert error.value.code == "chain.network-file"


# ── endpoints ──
def test_outside_a_development_chain_two_endpoints_are_needed() -> None:
    with pytest.raises(InputError) as error:
        RpcChain(deployment(1), ["http://127.0.0.1:9"])
    assert error.value.code == "chain.one-endpoint"
    with pytest.raises(InputError):
        RpcChain(deployment(1), ["http://127.0.0.1:9", "http://127.0.0.1:9"])
    RpcChain(deployment(1), ["http://127.0.0.1:9", "http://127.0.0.1:8"]).close()


def test_an_endpoints_name_holds_no_key() -> None:
    assert Endpoint("https://user:secret@rpc.example.org:8545/v3/secret").name == "https://rpc.example.org:8545"
    for bad in ("ftp://x", "rpc.example.org", "http://"):
        with pytest.raises(InputError) as error:
            Endpoint(bad)
        assert error.value.code == "chain.rpc-url"


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(UnavailableError) as error:
        Endpoint("http://127.0.0.1:9", timeout_seconds=1.0).call("eth_chainId")
    assert error.value.code == "chain.endpoint-down"


def test_a_header_must_have_the_hash_of_its_fields() -> None:
    endpoint, zero = Endpoint("http://127.0.0.1:9"), "0x" + "00" * 32
    block = {
        **dict.fromkeys(("parentHash", "sha3Uncles", "stateRoot", "transactionsRoot", "receiptsRoot", "mixHash"), zero),
        **dict.fromkeys(("difficulty", "number", "gasLimit", "gasUsed", "timestamp"), "0x1"),
        "miner": "0x" + "00" * 20,
        "logsBloom": "0x" + "00" * 256,
        "extraData": "0x",
        "nonce": "0x" + "00" * 8,
        "hash": zero,
    }
    assert read_header(endpoint, block, 424242).ref.timestamp == 1  # another chain's header has its own form
    with pytest.raises(TamperedError) as error:
        read_header(endpoint, block, 1)
    assert error.value.code == "chain.lying-endpoint"
    for wrong in ({}, block | {"timestamp": "soon"}, block | {"hash": "0x12"}, None):
        with pytest.raises(UnavailableError):
            read_header(endpoint, wrong, 1)


# ── journal ──
def attempt(nonce: int) -> Attempt:
    return Attempt(keccak(b"hash %d" % nonce), b"raw", 2, 1, 3)


def begin(journal: Journal, key: bytes, *, chain_nonce: int = 0, once: bool = True) -> int:
    return journal.begin(
        key=key,
        verb="pay",
        to=ADDRESS,
        data=b"data",
        value_wei=2**100,
        gas_limit=1,
        chain_nonce=chain_nonce,
        now_at=5,
        once=once,
        sign=attempt,
    ).nonce


def test_a_nonce_is_given_once_and_a_key_has_one_open_intent(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", chain_id=1, address=ADDRESS)
    assert [begin(journal, b"a"), begin(journal, b"b"), begin(journal, b"a")] == [0, 1, 0]
    journal.close()
    journal = Journal(tmp_path / "j", chain_id=1, address=ADDRESS)
    assert begin(journal, b"c", chain_nonce=1) == 2
    first, second, third = journal.pending()
    assert first.value_wei == 2**100
    assert journal.attempts(first) == [attempt(0)]
    journal.set_state(first, "mined", answered=True)
    assert begin(journal, b"a", chain_nonce=1) == 0
    assert begin(journal, b"a", chain_nonce=1, once=False) == 3
    journal.set_state(second, "displaced")
    assert begin(journal, b"b", chain_nonce=3) == 4
    assert [i.nonce for i in journal.done_from(0)] == [0]
    assert third.nonce == 2
    journal.close()


def test_a_journal_is_private_durable_and_tells_when_it_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "j"
    journal = Journal(path, chain_id=1, address=ADDRESS)
    assert path.stat().st_mode & 0o077 == 0
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()
    with pytest.raises(InputError) as wrong:
        Journal(path, chain_id=2, address=ADDRESS)
    assert wrong.value.code == "chain.journal-owner"
    path.write_bytes(b"garbage" * 1000)
    Path(f"{path}-wal").unlink(missing_ok=True)
    with pytest.raises(UnavailableError) as error:
        Journal(path, chain_id=1, address=ADDRESS)
    assert error.value.code == "chain.journal"
    assert isinstance(error.value.__cause__, sqlite3.Error)


# ── twin ──
def test_the_twins_clock_blocks_and_reorgs() -> None:
    twin = ChainTwin(now_at=1_000)
    assert twin.block().number == 0
    assert twin.mine(3).number == 3
    assert twin.block(At.FINAL).number == 1
    assert twin.advance_to(5_000).timestamp == 5_000
    before = twin.block().hash
    twin.reorg(2)
    assert (twin.block().number, twin.block().hash == before) == (4, False)


def test_the_twin_divides_tokens_like_coins() -> None:
    world, token = TwinWorld(((255, MEASUREMENT),)), checksum_address(keccak(b"token")[12:])
    governor = world.twin.account(world.governor)
    governor.govern("AssetLedger", "list_token", token)
    scene = world.scene("tokens")
    world.twin.fund_token(token, scene.consumer.address, 10**9)
    order = scene.delivered(token=token)
    scene.consumer.accept_delivery(order.order_id)
    scene.provider.claim(token)
    assert world.twin.order(order.order_id).state == OrderState.SETTLED
    got = world.twin.world.table("", "tokens")[token, scene.provider.address]
    assert got + world.twin.world.table("", "tokens")[token, world.twin.exchange] == order.terms.offer.price_wei


def test_a_signed_authority_acts_for_its_account_once() -> None:
    scene = TwinWorld(((255, MEASUREMENT),)).scene("authority")
    order, reader = scene.requested(), scene.provider.reader
    facts = reader.facts(order.order_id)
    nonce = keccak(b"nonce")
    authority = scene.consumer.authority(reader.exchange_domain, "Cancel", (order.order_id,), nonce)
    args = (order.order_id, facts.terms, facts.card, facts.table_hash)
    wrong = scene.recorder.authority(reader.exchange_domain, "Cancel", (order.order_id,), nonce)
    forged = authority[:-65] + wrong[-65:]
    for bad, reason in ((wrong, "exchange.not-the-consumer"), (forged, "authority.signature-is-not-the-account-s")):
        with pytest.raises(RefusedError) as error:
            scene.recorder._transact("cancel", "Exchange", "cancel", (*args, bad))
        assert error.value.code == f"chain.{reason}"
    scene.recorder._transact("cancel", "Exchange", "cancel", (*args, authority))
    assert reader.order(order.order_id).state == OrderState.CANCELLED
