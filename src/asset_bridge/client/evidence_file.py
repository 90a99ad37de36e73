"""Evidence in a file: ours, or a vendor's own bytes, with the collateral and certificates given beside it.

Source: spec/attestation.md §2 and §8. Promises: the same verifiers and the same closed list of refusals as in a trade; a vendor's own bytes
have no binding of ours, so only the vendor's part is verified and the result says so.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation import cbor, evidence, json_text
from asset_bridge.attestation.appraise import Expected, Rejected, appraise
from asset_bridge.attestation.binding import NO_CONFIGURATION, Binding
from asset_bridge.attestation.claims import (
    KINDS,
    Claims,
    Tier,
    VendorReport,
    evidence_digest,
    measurement_id,
    platform_id,
)
from asset_bridge.attestation.policy import Policy
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers.intel import fmspc_of
from asset_bridge.attestation.verify import Collateral, VerifierSet, verify
from asset_bridge.errors import InputError

MAX_FILE_BYTES = 1024 * 1024
UNBOUND = Binding(bytes(20), bytes(32), bytes(32), 0, bytes(20), bytes(32), 0, bytes(20), NO_CONFIGURATION)
_OURS = b"\xa6\x01\x01\x02"
_FROM_REGISTRY = frozenset({Refusal.NONCE, Refusal.STALE})  # what only a challenge can tell


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file's evidence says. `binding` is None for a vendor's own bytes; `policy_codes` is None without a policy."""

    kind: str
    tier: str
    report: VendorReport
    evidence_digest: bytes
    measurement_id: bytes
    platform_id: bytes
    binding: Binding | None
    policy_codes: tuple[Refusal, ...] | None = None


def read(path: Path) -> bytes:
    """A file's bytes; InputError(client.evidence-file) when it cannot be read or is larger than 1 MiB."""
    try:
        if path.stat().st_size <= MAX_FILE_BYTES:
            return path.read_bytes()
        reason = "it is larger than 1 MiB"
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    raise InputError("client.evidence-file", f"the file {path} cannot be used: {reason}")


def examine(
    data: bytes,
    verifiers: VerifierSet,
    *,
    now: int,
    kind: str = "",
    collateral: Sequence[bytes] = (),
    certificates: Sequence[bytes] = (),
    named: Collateral | None = None,
    policy: Policy | None = None,
) -> Examined:
    """Verify evidence from a file.

    Args:
        kind: the type tag of a vendor's own bytes; empty: as they look.
        collateral: Intel collateral (JSON); certificates: PEM or DER: for SEV-SNP the VCEK or VLEK, ASK and ARK.
        named: collateral by name, as a home keeps it.
    Raises: EvidenceRefused: any code of spec/attestation.md §5. InputError(client.evidence-kind): neither ours nor a vendor's.
    """
    items = dict(named.items) if named else {}
    if not kind and data[:4] == _OURS:
        claimed = evidence.parse(data)
        items |= _intel_items(claimed.kind, claimed.blob, claimed.aux, collateral)
        claims = verify(claimed, verifiers, now=now, collateral=Collateral(items))
        codes = None if policy is None else _judged(policy, claims, now)
        return Examined(
            claims.kind, claims.tier.name.lower(), claims.report, claims.evidence_digest, claims.measurement_id,
            claims.platform_id, claims.binding, codes,
        )  # fmt: skip
    claimed = _vendors_own(data, kind or _looks_like(data), certificates)
    items |= _intel_items(claimed.kind, claimed.blob, claimed.aux, collateral)
    report = verifiers.of(claimed.kind).verify(claimed, now=now, collateral=Collateral(items))
    tier = Tier(min(KINDS[claimed.kind].tier, report.tier))
    return Examined(
        claimed.kind, tier.name.lower(), report, evidence_digest(claimed.kind, report.signed_body),
        measurement_id(claimed.kind, report.measurements), platform_id(claimed.kind, report.platform), None,
    )  # fmt: skip


def claimed_in(data: bytes) -> evidence.ClaimedEvidence:
    """What a file of evidence claims to be, unverified; errors as of `examine`."""
    return evidence.parse(data) if data[:4] == _OURS else _vendors_own(data, _looks_like(data), ())


def _judged(policy: Policy, claims: Claims, now: int) -> tuple[Refusal, ...]:
    """What the policy says of it, taking the registry and the challenge as being what the evidence says."""
    bound = claims.binding
    expected = Expected(
        bound.node_id, bound.operator, bound.signing_address, bound.epoch, bound.chain_id, bound.registry, bound.nonce,
        claims.vendor, claims.measurement_id, claims.platform_id, True, now + 1, now,
    )  # fmt: skip
    found = appraise(policy, claims, expected, now=now)
    return tuple(code for code in found.codes if code not in _FROM_REGISTRY) if isinstance(found, Rejected) else ()


def _looks_like(data: bytes) -> str:
    version, key_type = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:4], "little")
    if data.lstrip()[:1] == b"{":
        return "azure"
    if len(data) == 1184:
        return "amd-sev-snp"
    if version in (3, 4, 5) and key_type == 2:
        return "intel-sgx" if version == 3 else "intel-tdx"
    if data[:1] == b"\x84":
        return "aws-nitro"
    raise InputError(
        "client.evidence-kind",
        "the file is neither evidence of this project nor a vendor's document that is known here",
        hint="--kind names it: " + ", ".join(KINDS),
    )


def _vendors_own(data: bytes, kind: str, certificates: Sequence[bytes]) -> evidence.ClaimedEvidence:
    aux = _amd(certificates)
    if kind.startswith("azure"):
        return _azure(data, aux)
    return evidence.ClaimedEvidence(kind, data, aux, UNBOUND, ())


def _amd(certificates: Sequence[bytes]) -> dict[str, bytes]:
    """Signer, ASK and ARK by their place in the chain: the last is issued by itself, the first issues nobody."""
    found: list[x509.Certificate] = []
    for data in certificates:
        try:
            found += (
                x509.load_pem_x509_certificates(data)
                if b"-----BEGIN" in data
                else [x509.load_der_x509_certificate(data)]
            )
        except ValueError:
            raise InputError("client.evidence-file", "a certificate file holds no certificate") from None
    ordered = sorted(found, key=lambda item: sum(item.subject == other.issuer for other in found))
    names = ("signer", "ask", "ark")
    return {name: item.public_bytes(Encoding.DER) for name, item in zip(names, ordered, strict=False)}


def _azure(data: bytes, aux: Mapping[str, bytes]) -> evidence.ClaimedEvidence:
    """The JSON that Azure attesters write: hcl_report, tpm_quote {message, signature, pcrs}, and vcek or td_quote."""
    found = json_text.load(data, "the file")
    try:
        quote = found["tpm_quote"]
        parts: dict[int | str, cbor.Value] = {
            1: _unpadded(found["hcl_report"]),
            2: bytes.fromhex(quote["message"]),
            3: bytes.fromhex(quote["signature"]),
            4: [bytes.fromhex(value) for value in quote["pcrs"]],
        }
        own = (
            {"td-quote": _unpadded(found["td_quote"])} if "td_quote" in found else {"signer": _unpadded(found["vcek"])}
        )
    except (KeyError, TypeError, ValueError):
        raise EvidenceRefused(Refusal.FORMAT, "not Azure's JSON") from None
    kind = "azure-tdx-vtpm" if "td-quote" in own else "azure-snp-vtpm"
    if "ark" not in aux and "ask" in aux:  # ASK and ARK alone: the VCEK is in the file
        aux = {"ask": aux["signer"], "ark": aux["ask"]}
    return evidence.ClaimedEvidence(kind, cbor.encode(parts), {**aux, **own}, UNBOUND, ())


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _intel_items(kind: str, blob: bytes, aux: Mapping[str, bytes], collateral: Sequence[bytes]) -> dict[str, bytes]:
    """Each given collateral under the name of this quote's platform; the verifier finds out whether it belongs to it."""
    if not collateral:
        return {}
    inner, quote = ("intel-tdx", aux.get("td-quote", b"")) if kind == "azure-tdx-vtpm" else (kind, blob)
    if not inner.startswith("intel"):
        return {}
    return {f"{inner}-{fmspc_of(quote).lower()}": data for data in collateral}


def as_json(found: Examined) -> dict[str, object]:
    """Everything for a script."""
    report = found.report
    return {
        "kind": found.kind, "tier": found.tier, "product": report.product, "signer": report.signer,
        "debug": report.debug, "migratable": report.migratable, "vmpl": report.vmpl,
        "tcb_status": report.tcb.status, "tcb": dict(report.tcb.components), "advisories": list(report.tcb.advisories),
        "measurements": dict(report.measurements), "report_data": report.report_data, "made_at": report.made_at,
        "not_after": report.not_after, "root": report.root, "evidence_digest": found.evidence_digest,
        "measurement_id": found.measurement_id, "platform_id": found.platform_id,
        "bound": found.binding is not None, "binding": found.binding,
        "policy": None if found.policy_codes is None else [code.value for code in found.policy_codes],
    }  # fmt: skip


def collateral_of(folder: Path) -> Collateral:
    """A home's collateral: files named as the verifiers ask for them (`intel-tdx-<fmspc>.json`, `amd-crl-genoa.der`)."""
    if not folder.is_dir():
        return Collateral()
    return Collateral({path.stem: read(path) for path in sorted(folder.iterdir()) if path.suffix in (".json", ".der")})
