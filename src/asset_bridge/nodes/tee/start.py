"""From nothing to a registered TEE node: a fresh key, evidence that binds it, an epoch in the registry, the core.

Source: protocol §2 and §6 ("a restart means new keys and a new epoch"), spec/node-http-tee.md §1. Promises: the signing key is made here,
written nowhere; a second start with the same salt is a new epoch of the same node_id; renewals keep the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asset_bridge.attestation.configuration import ChainConfiguration
from asset_bridge.attestation.verify import NO_COLLATERAL, Collateral, VerifierSet
from asset_bridge.attesters import Attester
from asset_bridge.errors import BridgeError
from asset_bridge.nodes.tee.acks import AckSource
from asset_bridge.nodes.tee.core import TeeNodeCore, TeeParts, no_ack_address
from asset_bridge.nodes.tee.identity import NodeIdentity, fresh_signing_key
from asset_bridge.nodes.tee.order_keys import Limits
from asset_bridge.trade.ports import ChainAccount, ChainReader
from asset_bridge.trade.register import EndpointDocument, Registered, TeeRegistration, announce_tee

RENEW_BEFORE_SECONDS = 4 * 3600


@dataclass(frozen=True, slots=True)
class TeeSetup:
    """Everything a start needs. `account` is the operator's; it pays and is not kept by the core."""

    account: ChainAccount
    readers: Sequence[ChainReader]
    attester: Attester
    verifiers: VerifierSet
    salt: bytes
    endpoint: EndpointDocument
    stake_wei: int
    lifetime_seconds: int
    acks: AckSource
    clock: Callable[[], float]
    randbytes: Callable[[int], bytes]
    configuration: ChainConfiguration | None = None
    collateral: Collateral = NO_COLLATERAL
    ack_address_of: Callable[[bytes], str] = no_ack_address
    limits: Limits = field(default_factory=Limits)


class StartedTee:
    """A registered node: its core, its registration, and the renewal of it."""

    def __init__(self, setup: TeeSetup) -> None:
        """Make the key, collect and check evidence, register. Raises what `announce_tee` raises."""
        key = fresh_signing_key(setup.randbytes)
        self._setup = setup
        self._registration = TeeRegistration(
            attester=setup.attester,
            verifiers=setup.verifiers,
            collateral=setup.collateral,
            configuration=setup.configuration,
            signing_address=key.address,
            salt=setup.salt,
            endpoint=setup.endpoint,
            stake_wei=setup.stake_wei,
            lifetime_seconds=setup.lifetime_seconds,
        )
        self.registered, claims = announce_tee(setup.account, self._registration, setup.clock)
        self._identity = NodeIdentity(
            self.registered.node_id, setup.account.address, key, claims.measurement_id, [self.registered.epoch]
        )
        self.core = TeeNodeCore(
            TeeParts(
                readers=setup.readers,
                identity=self._identity,
                attester=setup.attester,
                configuration=setup.configuration,
                acks=setup.acks,
                clock=setup.clock,
                randbytes=setup.randbytes,
                ack_address_of=setup.ack_address_of,
                limits=setup.limits,
            )
        )

    def renew_if_due(self) -> Registered | None:
        """Renew with the same key when the registration ends soon; None when it is not time, or it failed and is tried again later."""
        reader = self._setup.account.reader
        try:
            expires_at = reader.node(self.registered.node_id).current.expires_at
            margin = min(RENEW_BEFORE_SECONDS, self._setup.lifetime_seconds // 3)
            if self._setup.clock() < expires_at - margin:
                return None
            self.registered, _claims = announce_tee(self._setup.account, self._registration, self._setup.clock)
        except BridgeError:
            return None
        self._identity.adopt(self.registered.epoch)
        return self.registered
