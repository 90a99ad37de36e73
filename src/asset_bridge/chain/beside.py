"""Put a new Exchange beside an old one: Exchange, Grants and Challenges that name the AssetLedger and NodeRegistry that are there.

Source: protocol §7 ("Upgrade"), spec/contracts.md §9; decision record 0057. Promises: nothing is sent before every endpoint showed the
code that the old network names, the ledger that names this registry, and one development flag; the ReencryptionVerifier is used again
only where its code is this release's; where the deployer is a list's governor the Exchange is listed there, after `made` was told.
Does not promise: that a deployment which was cut short is taken up again. Run it anew; what it left is listed nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.compiled import artefact
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.deploy import deploying
from asset_bridge.chain.exchanges import LISTS
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.network import CONTRACTS, Deployment
from asset_bridge.chain.records import At
from asset_bridge.errors import RefusedError, TamperedError

PATIENT_SECONDS = 10**9  # a chain of one's own may make blocks only when there is work


@dataclass(frozen=True, slots=True)
class Ground:
    """What is there: the old deployment as its chain shows it. `governors` by contract of LISTS."""

    deployment: Deployment
    development: bool
    governors: dict[str, str]
    delays_seconds: dict[str, int]
    keeps_verifier: bool

    def config(self) -> DeployConfig:
        """What the new Exchange fixes: fees, margin, grace and deposit of this release, for the kind of deployment that is there."""
        make = DeployConfig if self.development else DeployConfig.production
        return make(self.governors["AssetLedger"])


@dataclass(frozen=True, slots=True)
class Beside:
    """The new deployment, and from when on each list counts its Exchange (Unix seconds, 0: not listed by this deployment)."""

    deployment: Deployment
    listed_from: dict[str, int]


def look(rpc_urls: Sequence[str], old: Deployment) -> Ground:
    """Check what a new Exchange will rest on; sends nothing.

    Raises:
        InputError(chain.wrong-chain, chain.one-endpoint): the endpoints are not those of the old network's chain.
        TamperedError(chain.code-hash): a contract of the old network has other code than its network.toml says.
        TamperedError(chain.beside): the ledger names another registry than the network does.
        RefusedError(chain.development): ledger and registry were deployed for different purposes.
    """
    chain = RpcChain(old, rpc_urls, max_head_age_seconds=PATIENT_SECONDS)
    try:
        chain.check()
        block, views = chain.block(At.FINAL), ("development", "governor", "delay_seconds")
        asked = [("AssetLedger", "registry", ()), *((contract, view, ()) for contract in LISTS for view in views)]
        registry, *answers = chain.source.calls(asked, block, At.FINAL)
        code = chain.source.code(old.address_of("ReencryptionVerifier"), At.FINAL)
    finally:
        chain.close()
    if registry != old.registry:
        raise TamperedError(
            "chain.beside",
            f"the AssetLedger {old.ledger} names the NodeRegistry {registry}, and the old network {old.registry}",
            hint="ask who gave you network.toml for a new one",
        )
    found = {contract: answers[3 * i : 3 * i + 3] for i, contract in enumerate(LISTS)}
    flags = {contract: bool(answer[0]) for contract, answer in found.items()}
    if len(set(flags.values())) != 1 or (flags["AssetLedger"] and not old.is_development):
        raise RefusedError(
            "chain.development",
            "AssetLedger and NodeRegistry of the old network were not deployed for the same purpose: one is for development only",
            hint="nothing can stand beside them; deploy a network of its own",
        )
    return Ground(
        old,
        flags["AssetLedger"],
        {contract: str(answer[1]) for contract, answer in found.items()},
        {contract: int(answer[2]) for contract, answer in found.items()},
        artefact("ReencryptionVerifier").is_code_of(code),
    )


def deploy_beside(
    rpc_urls: Sequence[str],
    deployer: AccountKey,
    ground: Ground,
    made: Callable[[Deployment], None],
    *,
    journal: Path | None = None,
) -> Beside:
    """Deploy the new Exchange over `ground`; where the deployer is a list's governor it is listed there too.

    Args:
        made: called when the contracts are there, before they are listed: what it keeps lets the governor list them later.
    Raises:
        InputError(chain.funds): the deployer cannot pay for it.
        UnavailableError(chain.deployer-busy): another transaction of the deployer came in between; run it anew.
    """
    old, config = ground.deployment, ground.config()
    with deploying(rpc_urls, deployer, old.chain_id, journal) as work:
        verifier = old.address_of("ReencryptionVerifier") if ground.keeps_verifier else work.verifier()
        exchange, grants, challenges = work.exchange(old.ledger, old.registry, verifier, config)
        addresses = dict(
            zip(CONTRACTS, (old.registry, old.ledger, verifier, exchange, grants, challenges), strict=True)
        )
        # The old first block: what was listed and registered before the new Exchange is read from events since then.
        new = Deployment(old.chain_id, addresses, work.code_hashes(addresses), old.deployed_block)
        made(new)
        for contract in LISTS:
            if ground.governors[contract] == deployer.address:
                work.list_exchange(contract, old.address_of(contract), exchange)
    chain = RpcChain(new, rpc_urls, max_head_age_seconds=PATIENT_SECONDS)
    try:
        listing = chain.exchange_listing(exchange)
    finally:
        chain.close()
    return Beside(new, {contract: listing.listed_from(contract) for contract in LISTS})
