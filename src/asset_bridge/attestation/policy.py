"""A provider's policy: which TEE nodes it trusts with a share.

Implements spec/attestation.md §6. Pure values; the file form is in `policy_file`. Promises: the default, `NOBODY`, names nobody and so
accepts nothing; simulated evidence can be allowed for the named development chains only, whoever builds the value.
Does not promise: that the named operators deserve it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from asset_bridge.attestation.claims import KINDS
from asset_bridge.attestation.configuration import ATTESTED_VIEW, OPERATOR_VIEW, Endpoint
from asset_bridge.errors import InputError

DEVELOPMENT_CHAIN_IDS = frozenset({31337, 1337})
"""The chains on which simulated evidence can be allowed at all (spec/attestation.md §6): anvil's and geth's development ids."""
VENDOR_NAMES = frozenset(kind.vendor for kind in KINDS.values())
MAX_SHARES = 16  # protocol §4.2
DEFAULT_MAX_AGE_SECONDS = 3600
NOBODY_HINT = "name whom you trust in a file and run: asset-bridge approve ORDER --policy FILE"


@dataclass(frozen=True, slots=True)
class VendorRule:
    """A vendor that is accepted: its products (empty: any), the status words allowed, and the lowest patch level by component."""

    name: str
    products: frozenset[str] = frozenset()
    tcb_statuses: frozenset[str] = frozenset({"UpToDate"})
    tcb_floor: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spread:
    """Which of operator, platform and maker must each hold fewer than `t` shares. Off only where the policy says so."""

    operator: bool = True
    platform: bool = True
    vendor: bool = True


@dataclass(frozen=True, slots=True)
class AgentRules:
    """What the owner's daemon may do by itself. Approving and accepting only where the owner says so."""

    reseal: bool = True
    answer: bool = True
    approve: bool = False
    accept: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that `appraise` and `choose_nodes` ask. Ids have 32 bytes, addresses 20; `simulated_root` is PEM."""

    chain_id: int
    threshold: int = 2
    shares: int = 3
    max_age_seconds: int = DEFAULT_MAX_AGE_SECONDS
    chain_view: str = ATTESTED_VIEW
    allow_simulated: bool = False
    simulated_root: bytes | None = None
    allow_boot_only: bool = False
    any_platform: bool = False
    spread: Spread = field(default_factory=Spread)
    vendors: tuple[VendorRule, ...] = ()
    measurements: Mapping[bytes, str] = field(default_factory=dict)
    operators: Mapping[bytes, str] = field(default_factory=dict)
    platforms: Mapping[bytes, str] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    agent: AgentRules = field(default_factory=AgentRules)

    def __post_init__(self) -> None:
        """InputError(attestation.policy): a value that no policy may have."""
        if not 2 <= self.threshold <= self.shares <= MAX_SHARES:
            raise refused_policy("threshold and shares must be 2 <= threshold <= shares <= 16")
        if self.chain_view not in (ATTESTED_VIEW, OPERATOR_VIEW):
            raise refused_policy('chain_view must be "attested" or "operator"')
        if self.max_age_seconds < 1 or self.chain_id < 0:
            raise refused_policy("max_age_seconds must be positive and chain_id must not be negative")
        if self.allow_simulated and self.chain_id not in DEVELOPMENT_CHAIN_IDS:
            raise refused_policy("allow_simulated is for the development chains 31337 and 1337 only")
        if self.allow_simulated != (self.simulated_root is not None):
            raise refused_policy("[simulated] root_certificate belongs to allow_simulated = true, and only to it")
        if self.simulated_root is not None:
            _root_digest(self.simulated_root)
        names = [rule.name for rule in self.vendors]
        if len(set(names)) != len(names) or not set(names) <= VENDOR_NAMES:
            raise refused_policy("a vendor is named twice or unknown")

    @property
    def simulated_root_digest(self) -> bytes | None:
        """SHA-256 of the simulator's root certificate (DER), where simulated evidence is allowed."""
        return _root_digest(self.simulated_root) if self.simulated_root is not None else None

    @property
    def names_nobody(self) -> bool:
        """No operator, vendor or measurement is named: every node is refused."""
        return not (self.operators and self.vendors and self.measurements)

    def vendor(self, name: str) -> VendorRule | None:
        """The rule of a vendor, if it is named."""
        return next((rule for rule in self.vendors if rule.name == name), None)


def _root_digest(pem: bytes) -> bytes:
    try:
        return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())
    except ValueError:
        raise refused_policy("[simulated] root_certificate is not a certificate in PEM") from None


def refused_policy(reason: str) -> InputError:
    """The error of a policy that cannot be used."""
    return InputError("attestation.policy", f"the policy is not usable: {reason}", hint="see spec/attestation.md §6")


NOBODY = Policy(chain_id=0)
"""The policy without a file. It names nobody, so every node is refused and `choose_nodes` prints the way out."""


def development(
    chain_id: int,
    operators: Mapping[bytes, str],
    measurements: Mapping[bytes, str],
    simulated_root: bytes,
    *,
    threshold: int = 2,
    shares: int = 3,
) -> Policy:
    """What `devnet up` writes: simulated evidence under one root (PEM), these operators, the operator's chain view."""
    return Policy(
        chain_id=chain_id,
        threshold=threshold,
        shares=shares,
        chain_view=OPERATOR_VIEW,
        allow_simulated=True,
        simulated_root=simulated_root,
        any_platform=True,
        spread=Spread(vendor=False),
        vendors=(VendorRule("simulated", tcb_statuses=frozenset()),),
        measurements=measurements,
        operators=operators,
    )
