"""What vendors publish beside evidence, fetched once and kept in files: Intel's PCS (or a PCCS), AMD's KDS.

Source: Intel, provisioning certification service API v4 (tcb, qe/identity, pckcrl; root list) and the PCCS form of the same; AMD, VCEK
certificate and KDS interface specification (57230). spec/attestation.md §13.
Promises: what comes back has the vendor's form, is bounded, and is stored whole or not at all; a file is never replaced by an older one.
Does not promise: that it is genuine: everything is signed by the vendor and judged by the verifiers, so the server is not trusted. It has
met stand-ins on loopback only, never the vendors' services.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.errors import BridgeError, TamperedError, UnavailableError

INTEL_URL = "https://api.trustedservices.intel.com"
INTEL_ROOT_CRL_URL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
AMD_URL = "https://kdsintf.amd.com"
MAX_ANSWER_BYTES = 512 * 1024
ATTEMPTS = 4
MOST_PAUSE_SECONDS = 20.0
_RETRY = frozenset({429, 500, 502, 503, 504})
_PREFIX = {"intel-tdx": "tdx", "intel-sgx": "sgx"}
_FMSPC, _PRODUCT = re.compile(r"[0-9a-f]{12}"), re.compile(r"Milan|Genoa|Turin")
# Where the levels stand in a report's TCB (byte) and what the KDS calls them.
_LEVELS = {"blSPL": 0, "teeSPL": 1, "snpSPL": 6, "ucodeSPL": 7}
_TURIN_LEVELS = {"fmcSPL": 0, "blSPL": 1, "teeSPL": 2, "snpSPL": 3, "ucodeSPL": 7}


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: body and headers, their names in lower case."""

    body: bytes
    headers: Mapping[str, str]


class Fetch(Protocol):
    """One GET. UnavailableError(attesters.collateral) when there is no answer to use."""

    def __call__(self, url: str) -> Fetched: ...


class HttpFetch:
    """GET over HTTP: bounded, without redirects, repeated when the server is busy. `sleep` waits between attempts."""

    def __init__(
        self,
        sleep: Callable[[float], None],
        *,
        timeout_seconds: float = 20.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._sleep = sleep
        self._client = httpx.Client(timeout=timeout_seconds, follow_redirects=False, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __call__(self, url: str) -> Fetched:
        """See Fetch."""
        for attempt in range(1, ATTEMPTS + 1):
            reason, pause, answer = self._once(url)
            if answer is not None:
                return answer
            if pause is None or attempt == ATTEMPTS:
                raise _unavailable(url, reason)
            self._sleep(min(pause * 2 ** (attempt - 1), MOST_PAUSE_SECONDS))
        raise _unavailable(url, "no attempt was made")

    def _once(self, url: str) -> tuple[str, float | None, Fetched | None]:
        """Why there is no answer, the seconds after which another try makes sense (None: never), and the answer."""
        try:
            with self._client.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
                if response.status_code != 200:
                    asked = response.headers.get("retry-after", "")
                    pause = float(asked) if asked.isdigit() else 1.0
                    return (
                        f"it answered {response.status_code}",
                        pause if response.status_code in _RETRY else None,
                        None,
                    )
                body = b""
                for part in response.iter_raw():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        return "its answer is larger than 512 KiB", None, None
                return "", None, Fetched(body, {name.lower(): value for name, value in response.headers.items()})
        except httpx.InvalidURL:
            return "its address is not a URL", None, None
        except httpx.HTTPError as error:
            return f"it was not reached ({type(error).__name__})", 1.0, None


class IntelService:
    """Intel's PCS or a PCCS near by. A PCCS has its own address for the root's list and gives lists in hex."""

    def __init__(self, fetch: Fetch, url: str = INTEL_URL, root_crl_url: str = "") -> None:
        self._fetch, self._url = fetch, url.rstrip("/")
        own = f"{self._url}/sgx/certification/v4/rootcacrl"
        self._root_crl_url = root_crl_url or (INTEL_ROOT_CRL_URL if self._url == INTEL_URL else own)

    def collateral(self, kind: str, fmspc: str, authority: str) -> bytes:
        """The nine parts that a quote of this kind and platform family is judged by, as the verifier takes them (JSON).

        Args:
            authority: "platform" or "processor": who issued the quote's PCK certificate.
        Raises: UnavailableError(attesters.collateral), TamperedError(attesters.collateral-form).
        """
        prefix, family = _PREFIX[kind], fmspc.lower()
        if not _FMSPC.fullmatch(family) or authority not in ("platform", "processor"):
            raise _malformed("the quote names no platform family or authority")
        tcb = self._fetch(f"{self._url}/{prefix}/certification/v4/tcb?fmspc={family}")
        identity = self._fetch(f"{self._url}/{prefix}/certification/v4/qe/identity")
        revoked = self._fetch(f"{self._url}/sgx/certification/v4/pckcrl?ca={authority}&encoding=der")
        tcb_text, tcb_signature = _signed_text(tcb.body, "tcbInfo")
        identity_text, identity_signature = _signed_text(identity.body, "enclaveIdentity")
        if str(json.loads(tcb_text).get("fmspc", "")).lower() != family:
            raise _malformed("the TCB info is another family's")
        parts = {
            "pck_crl_issuer_chain": _chain(revoked, "sgx-pck-crl-issuer-chain"),
            "root_ca_crl": _crl(self._fetch(self._root_crl_url).body).hex(),
            "pck_crl": _crl(revoked.body).hex(),
            "tcb_info_issuer_chain": _chain(tcb, "tcb-info-issuer-chain"),
            "tcb_info": tcb_text,
            "tcb_info_signature": tcb_signature,
            "qe_identity_issuer_chain": _chain(identity, "sgx-enclave-identity-issuer-chain"),
            "qe_identity": identity_text,
            "qe_identity_signature": identity_signature,
        }
        return json.dumps(parts).encode()


class AmdService:
    """AMD's key distribution service."""

    def __init__(self, fetch: Fetch, url: str = AMD_URL) -> None:
        self._fetch, self._url = fetch, url.rstrip("/")

    def revocations(self, product: str, key: str = "vcek") -> bytes:
        """The revocation list of a product, DER; `key` is "vcek" or "vlek"."""
        return _crl(self._fetch(f"{self._url}/{key}/v1/{_product(product)}/crl").body)

    def issuers(self, product: str, key: str = "vcek") -> tuple[bytes, bytes]:
        """ASK (or ASVK) and ARK of a product, DER."""
        try:
            found = x509.load_pem_x509_certificates(
                self._fetch(f"{self._url}/{key}/v1/{_product(product)}/cert_chain").body
            )
        except ValueError:
            raise _malformed("the chain is not two certificates") from None
        if len(found) != 2:
            raise _malformed("the chain is not two certificates")
        ask, ark = (item.public_bytes(Encoding.DER) for item in found)
        return ask, ark

    def vcek(self, product: str, report: bytes) -> bytes:
        """The VCEK of the chip and patch level that a report names, DER."""
        turin = _product(product) == "Turin"
        chip, level = report[0x1A0 : 0x1A8 if turin else 0x1E0], report[0x180:0x188]
        if len(report) != 1184 or not any(chip):
            raise _malformed("the report names no chip")
        query = "&".join(f"{name}={level[at]:02d}" for name, at in (_TURIN_LEVELS if turin else _LEVELS).items())
        der = self._fetch(f"{self._url}/vcek/v1/{product}/{chip.hex()}?{query}").body
        try:
            x509.load_der_x509_certificate(der)
        except ValueError:
            raise _malformed("the answer is no certificate") from None
        return der


def authority_of(quote: bytes) -> str:
    """Who issued the PCK certificate that is in a quote: "platform" or "processor"; TamperedError(attesters.collateral-form)."""
    begins = quote.find(b"-----BEGIN CERTIFICATE-----")
    ends = quote.find(b"-----END CERTIFICATE-----", begins)
    try:
        issuer = x509.load_pem_x509_certificate(quote[begins : ends + 25] + b"\n").issuer.rfc4514_string()
    except ValueError:
        raise _malformed("the quote carries no PCK certificate") from None
    return "platform" if "Platform CA" in issuer else "processor"


def is_older(known: bytes, found: bytes) -> bool:
    """Whether `found` is older than `known`: Intel's by evaluation number and dates, AMD's lists by their date."""
    return _age(found) < _age(known)


def _age(data: bytes) -> tuple[Any, ...]:
    try:
        if data[:1] == b"{":
            tcb, identity = (json.loads(json.loads(data)[name]) for name in ("tcb_info", "qe_identity"))
            return (tcb["tcbEvaluationDataNumber"], tcb["issueDate"], identity["issueDate"])
        return (x509.load_der_x509_crl(data).last_update_utc.timestamp(),)
    except (ValueError, KeyError, TypeError):
        raise _malformed("it has no date") from None


def _product(product: str) -> str:
    if not _PRODUCT.fullmatch(product):
        raise _malformed("a product that is not known here")
    return product


def _signed_text(body: bytes, name: str) -> tuple[str, str]:
    """The text that Intel signed, byte for byte, and its signature: {"name":TEXT,"signature":"hex"}."""
    try:
        text = body.decode("utf-8").strip()
        found = json.loads(text)
        signature = found["signature"]
        begins = text.index(f'"{name}"') + len(name) + 2
        begins = text.index("{", begins)
        ends = text.rindex("}", begins, text.rindex('"signature"')) + 1
        signed = text[begins:ends]
        if json.loads(signed) != found[name] or not re.fullmatch(r"[0-9a-fA-F]{128}", signature):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise _malformed(f"the answer is no signed {name}") from None
    return signed, signature


def _chain(answer: Fetched, header: str) -> str:
    """The issuers' certificates, PEM, which travel percent-encoded in a header."""
    chain = unquote(answer.headers.get(header, ""))
    try:
        x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        raise _malformed(f"the header {header} holds no certificates") from None
    return chain


def _crl(body: bytes) -> bytes:
    """A revocation list as DER, from DER, PEM or (as a PCCS gives it) hex."""
    text = body.strip()
    try:
        if text[:10] == b"-----BEGIN":
            return x509.load_pem_x509_crl(text).public_bytes(Encoding.DER)
        if re.fullmatch(rb'"?[0-9a-fA-F]+"?', text):
            body = binascii.unhexlify(text.strip(b'"'))
        x509.load_der_x509_crl(body)
    except ValueError:
        raise _malformed("the answer is no revocation list") from None
    return body


def _unavailable(url: str, reason: str) -> BridgeError:
    host = httpx.URL(url).host if "://" in url else "the vendor's server"
    return UnavailableError(
        "attesters.collateral",
        f"no collateral from {host or 'the vendor'}: {reason}",
        hint="try later, name another server, or carry the files from a machine that reaches one",
        actor="operator",
    )


def _malformed(why: str) -> BridgeError:
    return TamperedError(
        "attesters.collateral-form",
        f"the vendor's answer is not what it should be: {why}",
        hint="nothing was stored",
        actor="operator",
    )
