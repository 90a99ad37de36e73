"""What a provider's and a consumer's session share: an open home, the chain, nodes, and the verbs of both sides.

Source: design §2 (FRONTS). Promises: an acting session holds the home's lock and first settles what an earlier process left pending;
no verb prints. Does not promise: thread safety; one session, one thread.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from asset_bridge.chain.account import RpcAccount
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey, address_bytes, checksum_address
from asset_bridge.chain.records import ZERO_ADDRESS, AccountChange, Asset, Node, NodeKind, ProviderAccount, Sent
from asset_bridge.chain.tokens import Token
from asset_bridge.client.peers import LightNodes, reachable, storage_sources, unpin_everywhere
from asset_bridge.client.results import CatalogEntry, Changed, Claimed, TokenBalance
from asset_bridge.client.signing import Signing
from asset_bridge.client.storage import Storage, storage_status
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.trade import challenge as challenge_story
from asset_bridge.trade import claim as claim_story
from asset_bridge.trade import refund as refund_story
from asset_bridge.trade.desk import Desk, no_progress
from asset_bridge.trade.directory import Directory
from asset_bridge.trade.documents.description import Description, decode_terms
from asset_bridge.trade.network import deployment_of, require_beside
from asset_bridge.trade.ports import ChainReader, Progress, RandBytes, TeeNode
from asset_bridge.trade.remote import RemoteLight, RemoteTee
from asset_bridge.trade.status import Status, status
from asset_bridge.trade.unpin import UnpinReceipt
from asset_bridge.transport.client import Peer
from asset_bridge.vault.home import Home, Vault
from asset_bridge.vault.network import Network
from asset_bridge.vault.passphrase import Passphrase

PAUSE_SECONDS = 1.0
CHANGE_SECONDS = 10.0


class Session(Signing):
    """An open home at work on its network. Make one with `open`."""

    def __init__(self, home: Home, desk: Desk, peers: Peers, lock: contextlib.ExitStack) -> None:
        self.home, self.desk, self._peers, self._lock = home, desk, peers, lock
        self._tokens: dict[str, Token] = {}
        self._network: Network | None = None
        self._beside: Callable[[], list[Desk]] = list

    @classmethod
    def open(
        cls,
        home: Path | str,
        passphrase: Passphrase,
        *,
        account: str = "default",
        progress: Progress | None = None,
        exclusive: bool = True,
        vault: Vault | None = None,
        network: Network | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        randbytes: RandBytes = os.urandom,
    ) -> Self:
        """Open a home and connect to its network.

        Args:
            exclusive: hold the home's lock and act; without it the session may only read.
            vault: this home's, unlocked already; then the passphrase is not looked at. For sessions that only read.
            network: work with this one, as that of an older or a newer Exchange, and not with the home's own.
        Raises:
            InputError(trade.other-network): `network` has another chain, AssetLedger or NodeRegistry than the home's.
            RefusedError(chain.exchange-unlisted): the home's AssetLedger does not list the Exchange of `network`.
            UnavailableError(vault.home-busy): another process works on this home.
            TamperedError(chain.code-hash): a contract is not the one of network.toml.
        """
        opened = Home.open(Path(home).expanduser())
        lock = contextlib.ExitStack()  # closed by the session, or here when it does not come about
        with contextlib.ExitStack() as failed:
            failed.callback(lock.close)
            if exclusive:
                lock.enter_context(opened.exclusive())
            vault = vault or opened.unlock(passphrase, randbytes)
            if exclusive:  # shredding reaches backups by this: the keys of periods whose retention is over
                vault.tweaks.destroy_old_periods(int(clock()))
            key = AccountKey(vault.account(account).reveal())
            used = opened.network if network is None else network
            own = opened.network
            require_beside(own, used)

            def connect(network: Network) -> tuple[Desk, Peers]:
                deployment = deployment_of(network)
                index_path = _index_of(opened, deployment.exchange) if exclusive else None
                chain = RpcChain(deployment, network.rpc_urls, index_path=index_path, clock=clock)
                lock.callback(chain.close)
                chain.check()
                if deployment.exchange != deployment_of(own).exchange:
                    chain.require_listed_exchange()
                journal = opened.chain_folder / f"{key.address.lower()}.sqlite"
                acting = RpcAccount(chain, key, journal, clock=clock, sleep=sleep)
                lock.callback(acting.close)
                if exclusive:
                    acting.resume()
                peers = Peers(network, acting.reader, key, clock=clock, sleep=sleep, randbytes=randbytes)
                desk = Desk(
                    account=acting,
                    signer=key,
                    vault=vault,
                    light=peers.light,
                    storage=peers.storage,
                    replicas=peers.replicas,
                    connect_tee=peers.tee,
                    clock=lambda: int(clock()),
                    randbytes=randbytes,
                    pause=lambda: sleep(PAUSE_SECONDS),
                    progress=progress or no_progress,
                )
                return desk, peers

            desk, peers = connect(used)

            def beside() -> list[Desk]:
                return [connect(one)[0] for one in opened.networks_beside(desk.reader.exchange).values()]

            made = cls(opened, desk, peers, lock)
            made._network, made._beside = used, beside
            failed.pop_all()
            return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the home."""
        self._lock.close()

    # reading

    @property
    def address(self) -> str:
        """This session's account."""
        return self.desk.address

    @property
    def chain(self) -> ChainReader:
        """The chain."""
        return self.desk.reader

    @property
    def network(self) -> Network:
        """The network this session works on."""
        return self._network or self.home.network

    def coins_wei(self) -> int:
        """The account's own coins."""
        return self.chain.coins_wei(self.address)

    def balance_wei(self, token: str = ZERO_ADDRESS) -> int:
        """What the account can claim."""
        return self.chain.balance_wei(self.address, token)

    def token(self, address: str) -> Token:
        """What prices in this token are counted in; the native coin for ZERO_ADDRESS. Raises InputError(chain.token)."""
        if address not in self._tokens:
            self._tokens[address] = self.chain.token(address)
        return self._tokens[address]

    def price(self, units: int, token: str) -> str:
        """An amount for people; in the token's smallest unit, with its address, where its decimals cannot be read now."""
        try:
            return self.token(token).text(units)
        except (InputError, UnavailableError):
            return f"{units} smallest units of token {token}"

    def token_balances(self) -> list[TokenBalance]:
        """Each token that may be a price, or of which something waits in the Exchange: what this account holds and can claim."""
        active, found = self.chain.tokens_active(), []
        for address in self.chain.tokens_listed():
            claimable = self.balance_wei(address)
            if not claimable and address not in active:
                continue
            try:
                kind = self.token(address)
            except (InputError, UnavailableError):
                kind = Token(address, address, 0)
            held = self.chain.token_units(self.address, address)
            found.append(TokenBalance(address, kind.symbol, kind.decimals, held, claimable))
        return found

    def nodes(self) -> list[Node]:
        """Every registered node."""
        return self.chain.nodes()

    def ask_node(self, node: Node) -> dict[str, Any]:
        """What a node says of itself (GET /v1/info), at the URL that its operator signed; unverified."""
        return self._peers.info(node)

    def storage(self) -> Storage:
        """The network's storage: each storage node, the bodies of this account's own ones, and what the light nodes' audits found."""
        return self._peers.storage_status(self.nodes(), self.address)

    def desks_beside(self) -> list[Desk]:
        """This account at the other Exchanges that the home has worked with (`network use` keeps their files)."""
        return self._beside()

    def withdraw_node(self, node_id: bytes) -> Sent:
        """Take a node of this account out of the registry, and its stake back once nothing rests on it."""
        return self.desk.account.withdraw_node(node_id)

    def catalog(self) -> list[CatalogEntry]:
        """Every listed asset, with its description."""
        return [self._entry(asset, with_terms=False) for asset in self.chain.assets()]

    def show(self, asset_id: bytes) -> CatalogEntry:
        """One asset, with description and terms."""
        return self._entry(self.chain.asset(asset_id), with_terms=True)

    def _entry(self, asset: Asset, *, with_terms: bool) -> CatalogEntry:
        try:
            description = Description.decode(self.desk.public_document(asset.listing.description_digest))
            terms = decode_terms(self.desk.public_document(asset.offer.terms_digest)) if with_terms else ""
        except BridgeError as error:
            return CatalogEntry(asset, None, "", error.message)
        return CatalogEntry(asset, description, terms, "")

    def status(self, order_id: bytes) -> Status:
        """Where an order stands."""
        return status(self.desk, order_id)

    def orders(self) -> list[Status]:
        """Every order of this account, as consumer or provider, newest first."""
        mine = {order.order_id: order for order in self.chain.orders(consumer=self.address)}
        mine |= {order.order_id: order for order in self.chain.orders(provider=self.address)}
        newest = sorted(mine.values(), key=lambda order: (order.requested_in.number, order.order_id), reverse=True)
        return [status(self.desk, order.order_id) for order in newest]

    def backup_warning(self) -> str | None:
        """A sentence when something is newer than the last backup."""
        assets = [asset.listed_in.timestamp for asset in self.chain.assets(provider=self.address)]
        orders = [order.requested_in.timestamp for order in self.chain.orders(consumer=self.address)]
        newest_at = max((*assets, *orders), default=0)
        return self.home.warn_backup(newest_at) if newest_at else None

    def is_my_turn(self, now: Status) -> bool:
        """Whether this account is waited for."""
        return now.who == now.role

    def wait_for_change(self, order_id: bytes | None = None) -> None:
        """Wait until the order, or anything of this account, may have changed; at most about CHANGE_SECONDS.

        A light node's event stream tells at once; where none answers, the chain is asked each second.
        """

        def look() -> object:
            if order_id is not None:
                return self.chain.order(order_id).state
            waiting = self.chain.orders(provider=self.address), self.chain.orders(consumer=self.address)
            return [[(order.order_id, order.state) for order in orders] for orders in waiting]

        def concerns(event: Mapping[str, object]) -> bool:
            args = event.get("args")
            values = list(args.values()) if isinstance(args, dict) else []
            mine = f"0x{order_id.hex()}" if order_id is not None else self.address
            return any(isinstance(value, str) and value.lower() == mine.lower() for value in values)

        ends_at = time.monotonic() + CHANGE_SECONDS
        after_block, before = self.chain.block().number, look()
        if self._peers.light.follow_until(after_block, concerns, CHANGE_SECONDS):
            return
        while time.monotonic() < ends_at and look() == before:
            self.desk.pause()

    # the account

    def account(self, provider: str | None = None) -> ProviderAccount:
        """Who acts for this account (or `provider`), who is paid, who can recover it, and the change that waits."""
        return self.chain.provider_account(provider or self.address)

    def propose_change(
        self, *, payee: str | None = None, recovery: str | None = None, provider: str | None = None
    ) -> Changed:
        """Ask for another payee or recovery account; it applies after the ledger's delay (7 days) with `apply_change`."""
        before = self._account_with_profile(provider)
        wanted = checksum_address(address_bytes(payee or before.payee))
        rescue = checksum_address(address_bytes(recovery or before.recovery))
        sent = self.desk.account.propose_change(before.provider, before.owner, wanted, rescue)
        return Changed(self.account(provider), sent)

    def cancel_change(self, provider: str | None = None) -> Changed:
        """Drop the change that waits, as the owner or the recovery account."""
        sent = self.desk.account.cancel_change(self._waiting(provider)[0].provider)
        return Changed(self.account(provider), sent)

    def apply_change(self, provider: str | None = None) -> Changed:
        """Make the change that waits take effect. Raises InputError(trade.too-early)."""
        before, change = self._waiting(provider)
        now_at = self.chain.block().timestamp
        if now_at < change.applies_at:
            raise InputError(
                "trade.too-early",
                f"the change applies in {change.applies_at - now_at} seconds, not before",
                hint="asset-bridge account shows when; until then it can be cancelled",
            )
        return Changed(self.account(provider), self.desk.account.apply_change(before.provider, change))

    def _account_with_profile(self, provider: str | None) -> ProviderAccount:
        address = provider or self.address
        if self.chain.profile(address) is None:
            raise InputError(
                "client.no-profile",
                f"the account {address} has no profile yet, so it has no payee or recovery account to change",
                hint="publish something first; the first publish makes the profile",
            )
        return self.account(provider)

    def _waiting(self, provider: str | None) -> tuple[ProviderAccount, AccountChange]:
        found = self.account(provider)
        if found.change is None:
            raise InputError("client.no-change", "no change of this account waits", hint="asset-bridge account")
        return found, found.change

    # verbs of both sides

    def claim(self, order_id: bytes | None = None, token: str | None = None) -> Claimed:
        """Settle what is due (or this order alone) and take the whole balance out, in `token` or what the order was paid in; else coins."""
        if token is None:
            token = self.chain.order(order_id).terms.offer.token if order_id is not None else ZERO_ADDRESS
        done = claim_story.claim(self.desk, token, order_id)
        profile = self.chain.profile(self.address)
        payee = profile.payee if profile is not None else self.address
        return Claimed(done.settled, done.amount_wei, payee, done.sent, done.unsettled, token)

    def agreement(self, order_id: bytes) -> str:
        """This side's signature under a refund, for the other side."""
        return "0x" + refund_story.agree(self.desk, order_id).hex()

    def agree_refund(self, order_id: bytes, other: str) -> Sent:
        """Refund with the other side's agreement and this side's own."""
        try:
            signature = bytes.fromhex(other.removeprefix("0x"))
        except ValueError:
            raise InputError(
                "client.agreement", "the agreement is not hex", hint="paste the text exactly as it was printed"
            ) from None
        return refund_story.refund_agreed(self.desk, order_id, signature)

    def challenge(self, order_id: bytes) -> Sent:
        """As the consumer: too few valid fragments came; the bond is sent along."""
        return challenge_story.challenge(self.desk, order_id)

    def answer_challenge(self, order_id: bytes) -> challenge_story.Answered:
        """As anyone: post the fragments that a challenge asks for; its bond pays for it."""
        return challenge_story.answer(self.desk, order_id)

    def close_challenge(self, order_id: bytes) -> tuple[Sent, ...]:
        """As anyone: end a challenge that was not answered in time; price and bond go back."""
        return challenge_story.close(self.desk, order_id)


def _index_of(home: Home, exchange: str) -> Path:
    """The index of an Exchange's events: the home's own Exchange, and others beside it, so that neither is built anew each time."""
    own = exchange == deployment_of(home.network).exchange
    return home.chain_folder / ("index.sqlite" if own else f"index-{exchange.lower()}.sqlite")


class Peers:
    """The nodes of a network: light nodes, storage nodes, and TEE nodes by their endpoint documents."""

    def __init__(
        self,
        network: Network,
        reader: ChainReader,
        key: AccountKey,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        randbytes: RandBytes,
    ) -> None:
        def peer(url: str, name: str, verify: ssl.SSLContext | bool = True) -> Peer:
            return Peer(
                url,
                name=name,
                chain_id=network.chain_id,
                signer=key,
                clock=clock,
                randbytes=randbytes,
                sleep=sleep,
                verify=verify,
            )

        def gateway(url: str, name: str, verify: ssl.SSLContext | bool = True) -> Gateway:
            return Gateway(url, name, verify=verify)

        lights = reachable(network.light_nodes, "light node", peer)
        self._lights = [RemoteLight(light) for light in lights]
        self.light = LightNodes(self._lights)
        start = reachable(network.storage_nodes, "storage node", gateway)
        self._directory = Directory(network.chain_id, reader.registry, lambda: [*start, self.light], peer)
        sources = storage_sources(reader, self._directory, start, gateway)
        self.storage = MultiSource(sources)
        self.replicas = MultiSource([*sources, self.light])

    def info(self, node: Node) -> dict[str, Any]:
        """What a node says of itself."""
        return self._directory.peer(node).get("/v1/info")

    def storage_status(self, nodes: list[Node], address: str) -> Storage:
        """See Session.storage."""
        return storage_status(nodes, address, self._directory.peer, self._lights)

    def unpin(self, root: bytes) -> tuple[list[UnpinReceipt], list[str]]:
        """Delete a body from the storage nodes of every light node."""
        return unpin_everywhere(self._lights, root)

    def tee(self, node: Node) -> TeeNode:
        """A TEE node at the URL that its operator signed."""
        if node.kind is not NodeKind.TEE:
            raise InputError("client.not-a-tee-node", "this node is not a TEE node", actor="operator")
        return RemoteTee(self._directory.peer(node))
