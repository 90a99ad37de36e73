"""The client's own rules: light nodes in turn, pins, policies without a default, networks from safe places only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asset_bridge.attestation.policy import NOBODY
from asset_bridge.chain.records import FetchSignature
from asset_bridge.client import consumer
from asset_bridge.client.homes import load_network, make_home
from asset_bridge.client.peers import LightNodes, reachable
from asset_bridge.client.verifiers import load_policy, verifiers_for
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.sealing.open import Opener
from asset_bridge.vault.envelope import Cost, cost_of
from asset_bridge.vault.files import walk
from asset_bridge.vault.files_sealed import SealedFile, seal_to_disk
from asset_bridge.vault.network import Contract, Network, Peer
from tests.unit.vault.test_home import make, refused

__all__ = ["refused"]


class Light:
    """A light node that answers with its name, or with an error."""

    def __init__(self, name: str, error: BridgeError | None = None) -> None:
        self.name, self._error, self.asked = name, error, 0

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def answer(*_: object) -> str:
            self.asked += 1
            if self._error is not None:
                raise self._error
            return self.name

        return answer


CALLS: list[Callable[[LightNodes], object]] = [
    lambda light: light.get_block(b""),
    lambda light: light.upload(b"", 0, lambda cid: b"", "body", None),
    lambda light: light.storage_receipt(b"", 0),
    lambda light: light.catalog(),
    lambda light: light.events(0),
    lambda light: light.reencrypt(b"", FetchSignature(1, b"")),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_light_node_that_is_down_is_passed_by_one_that_refuses_is_not(call: Callable[[LightNodes], object]) -> None:
    down, up = Light("a", UnavailableError("transport.down", "down")), Light("b")
    call(LightNodes([down, up]))  # type: ignore[list-item]
    assert (down.asked, up.asked) == (1, 1)
    with pytest.raises(UnavailableError):
        call(LightNodes([down, down]))  # type: ignore[list-item]
    refusing = Light("c", RefusedError("light.no", "no"))
    with pytest.raises(RefusedError):
        call(LightNodes([refusing, up]))  # type: ignore[list-item]
    assert up.asked == 1


def test_a_network_without_light_nodes() -> None:
    refused(InputError, "client.no-light-node", lambda: LightNodes([]))


def test_a_pinned_node_that_is_down_is_left_out() -> None:
    def connect(url: str, name: str, verify: object = True) -> str:
        return f"{name} {verify}"

    pinned, plain = Peer("https://127.0.0.1:1", bytes(32)), Peer("http://127.0.0.1:2")
    assert reachable([Peer("http://127.0.0.1:2", bytes(32))], "node", connect) == ["node http://127.0.0.1:2 True"]
    assert reachable([pinned, plain], "light node", connect) == ["light node http://127.0.0.1:2 True"]
    refused(UnavailableError, "transport.down", lambda: reachable([pinned], "light node", connect))
    assert reachable([], "light node", connect) == []


def test_no_policy_trusts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asset_bridge.vault import envelope
    from tests.unit.vault.test_home import QUICK

    monkeypatch.setattr(envelope, "MIN_COST", QUICK)
    home = make(tmp_path / "home", tmp_path / "second")
    assert load_policy(home, None) is NOBODY
    assert load_policy(home, NOBODY) is NOBODY
    refused(InputError, "client.policy", lambda: load_policy(home, tmp_path / "absent.toml"))
    assert verifiers_for(NOBODY) is not None


def test_a_simulated_root_needs_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import SimpleNamespace

    policy: Any = SimpleNamespace(simulated_root=b"PEM")
    monkeypatch.setitem(sys.modules, "asset_bridge_simulator.verifier", None)
    refused(UnavailableError, "client.no-simulator", lambda: verifiers_for(policy))


@pytest.mark.parametrize("url", ["http://example.com/network.toml", "ftp://example.com/x", "file:///etc/passwd"])
def test_a_network_is_taken_from_https_only(url: str) -> None:
    refused(InputError, "client.network-url", lambda: load_network(url))


def test_an_address_that_does_not_answer() -> None:
    refused(UnavailableError, "client.network-url", lambda: load_network("http://127.0.0.1:1/network.toml"))


def test_a_network_file_is_checked_against_its_chain(tmp_path: Path) -> None:
    from tests.unit.vault.test_home import NETWORK

    path = tmp_path / "network.toml"
    path.write_text(NETWORK.to_toml())
    with pytest.raises(BridgeError):  # it does not name the contracts that this release needs
        load_network(str(path))
    refused(InputError, "vault.network", lambda: load_network(str(tmp_path / "absent")))


def test_a_member_is_given_as_a_file_to_read_and_seek_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The opener is a real one, of a sealed file at hand; `trade.opening_part` finds it for an order."""
    data = os.urandom(3_000_000)
    (tmp_path / "a.dcm").write_bytes(data)
    key = {"file_key": bytes(32), "lister": bytes(20)}
    seal_to_disk(walk(tmp_path / "a.dcm"), tmp_path / "sealed", container_id=bytes(16), randbytes=os.urandom, **key)

    @contextlib.contextmanager
    def opened(*asked: object) -> Iterator[Opener]:
        assert asked == ("desk", b"order", "bodies", None)
        with SealedFile(tmp_path / "sealed") as sealed:
            length = sealed.body_length_bytes
            yield Opener(sealed.header, body_length_bytes=length, fetch_segment=sealed.segment, **key)

    monkeypatch.setattr(consumer, "opened_order", opened)
    ours: Any = SimpleNamespace(desk="desk", home=SimpleNamespace(bodies_folder="bodies"))
    with consumer.Consumer.member_file(ours, b"order", "a.dcm") as file:
        file.seek(1_048_000)
        assert file.read(5_000) + file.read() == data[1_048_000:]


@pytest.mark.parametrize(("chain_id", "cost"), [(31337, Cost(16, 8, 1)), (1337, Cost(16, 8, 1)), (1, Cost(16, 8, 4))])
def test_a_keystore_costs_less_on_a_development_chain_alone_and_keeps_its_cost(
    tmp_path: Path, chain_id: int, cost: Cost
) -> None:
    network = Network(
        "test", chain_id, ("http://127.0.0.1:1",), {"Exchange": Contract("0x" + "11" * 20, bytes(32))}, 0, (), ()
    )
    home = make_home(
        tmp_path / "home",
        network=network,
        second_place=tmp_path / "second",
        passphrase=lambda: "several words",
        randbytes=os.urandom,
        now_at=1,
    )
    assert cost_of((home.root / "keystore").read_bytes()) == cost
    home.unlock(lambda: "several words", os.urandom).add_account("ack", lambda: "several words")
    assert cost_of((home.root / "keystore").read_bytes()) == cost
