"""Put the contracts on an EVM chain, once, in the order that lets them name each other.

Source: spec/contracts.md §9. Promises: every transaction goes through the journaled sender; the Exchange names the very contract that is
made next, or the deployment fails; the result holds the code hashes that the chain itself shows.
Does not promise: that a deployment which was cut short is taken up again; run it anew, nothing of the old one is listed anywhere.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from asset_bridge.chain.abi import encode_call
from asset_bridge.chain.compiled import artefact
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.encoding import rlp
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.endpoints import Endpoints
from asset_bridge.chain.journal import Journal
from asset_bridge.chain.keys import AccountKey, address_bytes, checksum_address
from asset_bridge.chain.network import CONTRACTS, Deployment, is_development
from asset_bridge.chain.packing import pack_periods
from asset_bridge.chain.records import Sent
from asset_bridge.chain.sender import Sender
from asset_bridge.errors import RefusedError, UnavailableError
from asset_bridge.keys.keccak import keccak


def chain_id_of(rpc_url: str) -> int:
    """What the chain behind an endpoint calls itself."""
    endpoint = Endpoint(rpc_url)
    return endpoint.as_int(endpoint.call("eth_chainId"))


def deploy(
    rpc_urls: str | Sequence[str], deployer: AccountKey, config: DeployConfig, *, journal: Path | None = None
) -> Deployment:
    """Deploy all contracts; where the deployer is the governor, the Exchange is listed too.

    Raises:
        RefusedError(chain.development): a development deployment outside a development chain.
        InputError(chain.funds): the deployer cannot pay for it.
        UnavailableError(chain.deployer-busy): another transaction of the deployer came in between; run it anew.
    """
    urls = [rpc_urls] if isinstance(rpc_urls, str) else list(rpc_urls)
    chain_id = chain_id_of(urls[0])
    if config.development and not is_development(chain_id):
        raise RefusedError(
            "chain.development",
            f"chain {chain_id} is no development chain: simulated nodes and short deadlines are not deployed there",
            hint="deploy with the production settings",
        )
    with deploying(urls, deployer, chain_id, journal) as work:
        return work.run(config)


@contextmanager
def deploying(urls: Sequence[str], deployer: AccountKey, chain_id: int, journal: Path | None) -> Iterator[Deploying]:
    """What makes contracts with this key. Without `journal` it is kept in a folder that goes with the work."""
    with tempfile.TemporaryDirectory() as folder:
        path = journal or Path(folder) / "deploy.sqlite"
        kept = Journal(path, chain_id=chain_id, address=deployer.address)
        try:
            endpoints = Endpoints(
                urls, chain_id, timeout_seconds=30.0, max_head_age_seconds=10**9, clock=time.time, single=True
            )
            yield Deploying(Sender(endpoints, deployer, kept), Endpoint(urls[0]), deployer, chain_id)
        finally:
            kept.close()


class Deploying:
    """A deployment under way."""

    def __init__(self, sender: Sender, endpoint: Endpoint, deployer: AccountKey, chain_id: int) -> None:
        self._sender, self._endpoint, self._deployer, self._chain_id = sender, endpoint, deployer, chain_id

    def run(self, c: DeployConfig) -> Deployment:
        """See `deploy`."""
        registry, first = self._create(
            "NodeRegistry",
            address_bytes(c.governor),
            c.development,
            c.minimum_stake_wei,
            c.delay_seconds,
            list(c.vendors),
            [list(entry) for entry in c.measurements],
        )
        ledger, _ = self._create(
            "AssetLedger",
            address_bytes(c.governor),
            c.development,
            address_bytes(registry),
            c.delay_seconds,
            c.change_seconds,
            pack_periods(c.minimum_periods),
            [address_bytes(token) for token in c.tokens],
        )
        verifier = self.verifier()
        exchange, grants, challenges = self.exchange(ledger, registry, verifier, c)
        if c.governor == self._deployer.address:
            for contract, address in (("AssetLedger", ledger), ("NodeRegistry", registry)):
                self.list_exchange(contract, address, exchange)
        made = (registry, ledger, verifier, exchange, grants, challenges)
        addresses = dict(zip(CONTRACTS, made, strict=True))
        return Deployment(self._chain_id, addresses, self.code_hashes(addresses), first.block.number)

    def verifier(self) -> str:
        """A new ReencryptionVerifier; its address."""
        return self._create("ReencryptionVerifier")[0]

    def exchange(self, ledger: str, registry: str, verifier: str, c: DeployConfig) -> tuple[str, str, str]:
        """A new Exchange over this ledger and registry, its Grants and its Challenges; their addresses."""
        expected = [self._address(self._nonce() + i) for i in (1, 2)]
        exchange, _ = self._create(
            "Exchange",
            address_bytes(ledger),
            address_bytes(registry),
            address_bytes(expected[0]),
            address_bytes(expected[1]),
            c.development,
            (c.fee_tee, c.fee_recorder, c.fee_light, c.fee_storage),
            c.margin_seconds,
            c.grace_seconds,
        )
        grants, _ = self._create("Grants", address_bytes(exchange))
        challenges, _ = self._create(
            "Challenges", address_bytes(exchange), address_bytes(verifier), c.liveness_deposit_wei
        )
        if [grants, challenges] != expected:
            raise self._busy()
        return exchange, grants, challenges

    def list_exchange(self, contract: str, address: str, exchange: str) -> None:
        """As the governor: put an Exchange on the list of the AssetLedger or NodeRegistry at `address`."""
        self._sender.send("list_exchange", address, encode_call(contract, "list_exchange", (exchange,)))

    def code_hashes(self, addresses: Mapping[str, str]) -> dict[str, bytes]:
        """Keccak of the code that the chain shows at each address."""
        return {name: keccak(self._code(address)) for name, address in addresses.items()}

    def _create(self, name: str, *args: object) -> tuple[str, Sent]:
        address = self._address(self._nonce())
        sent = self._sender.send(f"deploy {name}", "", artefact(name).creation(*args))
        if not self._code(address):
            raise self._busy()
        return address, sent

    def _nonce(self) -> int:
        return self._endpoint.as_int(self._endpoint.call("eth_getTransactionCount", self._deployer.address, "latest"))

    def _address(self, nonce: int) -> str:
        """What CREATE gives: the last 20 bytes of keccak(rlp([sender, nonce]))."""
        return checksum_address(keccak(rlp([address_bytes(self._deployer.address), nonce]))[-20:])

    def _code(self, address: str) -> bytes:
        return self._endpoint.as_bytes(self._endpoint.call("eth_getCode", address, "latest"))

    @staticmethod
    def _busy() -> UnavailableError:
        return UnavailableError(
            "chain.deployer-busy",
            "another transaction of the deployer came in between the contracts",
            hint="use an account of its own for the deployment, and run it again",
        )
