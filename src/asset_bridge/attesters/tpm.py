"""A TPM 2.0 by tpm2-tools: EK certificate, an attestation key, credential activation, quotes; and Azure's vTPM.

Source: TPM 2.0 Library; spec/attestation.md §8.4 to §8.6 and §11. What is run is `tpm2_…` with files in a private folder that dies with the
attester; none of them is a secret of this project. The TPM path runs in the tests against swtpm; Azure's has not met its hardware.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import utils

from asset_bridge.attestation import cbor, evidence
from asset_bridge.attestation.binding import Binding
from asset_bridge.attestation.tpm_credential import Credential
from asset_bridge.attesters.errors import broken, unavailable

EK_HANDLE, EK_CERTIFICATE = "0x81010001", "0x1c00002"
AZURE_AK_HANDLE, AZURE_HCL_REPORT = "0x81000003", "0x01400001"
PCRS = "sha256:" + ",".join(str(index) for index in range(24))
PCR_BYTES, PCR_COUNT = 32, 24
TOOL_SECONDS = 60
_QUOTE_TRIES = 3  # a register may grow between quote and reading
_CREDENTIAL_HEADER = b"\xba\xdc\xc0\xde\0\0\0\1"  # tpm2-tools' own file header, version 1
NO_AUX: Mapping[str, bytes] = {}


class Enroller(Protocol):
    """An enrolment authority (spec §8.6): it sends a credential that only this TPM can open, and certifies the key when it was opened."""

    def challenge(self, ek: bytes, ak_public: bytes) -> Credential: ...
    def certify(self, ek: bytes, ak_public: bytes, secret: bytes) -> Mapping[str, bytes]:
        """The aux items `ak`, `root` and, where there is one, `ek-issuer`."""
        ...


class Tools:
    """tpm2-tools on one TPM. `tcti` as the tools take it: device:/dev/tpmrm0, swtpm:host=…,port=…"""

    def __init__(self, tcti: str, folder: Path) -> None:
        self._tcti, self.folder = tcti, folder

    def run(self, tool: str, arguments: str) -> bytes:
        """What the tool printed; UnavailableError(attesters.device) when it is missing, fails or hangs."""
        command = [f"tpm2_{tool}", "-T", self._tcti, *arguments.split()]
        try:
            done = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=TOOL_SECONDS, check=False)
        except FileNotFoundError:
            raise unavailable("device", "tpm2-tools are not installed") from None
        except subprocess.TimeoutExpired:
            raise unavailable("device", f"the TPM did not answer tpm2_{tool} within {TOOL_SECONDS} s") from None
        if done.returncode:
            why = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[0]
            raise unavailable("device", f"tpm2_{tool} failed: {why[:160]}")
        return done.stdout

    def read(self, name: str) -> bytes:
        """A file that a tool wrote."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> str:
        """A file for a tool."""
        (self.folder / name).write_bytes(data)
        return name

    def flush(self) -> None:
        """Empty the slots for transient objects; a TPM without a resource manager has three."""
        self.run("flushcontext", "-t")

    def quote(self, key: str, qualifying: bytes) -> tuple[bytes, bytes, list[bytes]]:
        """TPMS_ATTEST, plain signature and the 24 values that belong to it; TamperedError(attesters.contract)."""
        for _ in range(_QUOTE_TRIES):
            before = self._pcrs()
            self.run("quote", f"-c {key} -l {PCRS} -q {qualifying.hex()} -m q.msg -s q.sig -g sha256 -f plain")
            if before == self._pcrs():
                return self.read("q.msg"), self.read("q.sig"), before
        raise broken("the TPM's registers change all the time")

    def _pcrs(self) -> list[bytes]:
        self.run("pcrread", f"-o pcrs {PCRS}")
        data = self.read("pcrs")
        if len(data) != PCR_BYTES * PCR_COUNT:
            raise broken("the TPM did not give 24 registers of SHA-256")
        return [data[at : at + PCR_BYTES] for at in range(0, len(data), PCR_BYTES)]


class TpmAttester:
    """Evidence of one TPM with an attestation key made at start and enrolled with `enroller`."""

    kind = "tpm2"

    def __init__(self, tcti: str, enroller: Enroller, *, simulated: bool) -> None:
        """Make the key and enrol it. `simulated` is only the word of the node's answers; verifiers judge by the root."""
        self.tee = "simulated" if simulated else "boot-only"
        self._folder = tempfile.TemporaryDirectory(prefix="asset-bridge-tpm-")
        self._tools = Tools(tcti, Path(self._folder.name))
        self._enrolled = self._enrol(enroller)

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = NO_AUX) -> bytes:
        """Evidence whose qualifying data binds `binding`; what `Tools` raises."""
        message, signature, pcrs = self._tools.quote("ak.ctx", binding.qualifying_data())
        self._tools.flush()
        blob = cbor.encode({1: message, 2: _plain(signature), 3: list(pcrs)})
        return evidence.build(self.kind, blob, {**self._enrolled, **aux}, binding)

    def _enrol(self, enroller: Enroller) -> Mapping[str, bytes]:
        tools = self._tools
        tools.flush()
        tools.run("nvread", f"{EK_CERTIFICATE} -C o -o ek.der")
        ek = tools.read("ek.der")
        tools.run("createak", f"-C {EK_HANDLE} -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -f tss -n ak.name")
        tools.flush()
        public = tools.read("ak.pub")[2:]  # TPM2B_PUBLIC: the size goes before
        credential = enroller.challenge(ek, public)
        tools.write("credential", _CREDENTIAL_HEADER + credential.blob + credential.secret)
        tools.run("startauthsession", "--policy-session -S s.ctx")
        tools.run("policysecret", "-S s.ctx -c e")
        tools.run("activatecredential", f"-c ak.ctx -C {EK_HANDLE} -i credential -o opened -P session:s.ctx")
        tools.run("flushcontext", "s.ctx")
        tools.flush()
        return {"ek": ek, "ak-public": public, **enroller.certify(ek, public, tools.read("opened"))}


class AzureAttester:
    """Azure's vTPM: the paravisor's report and a quote of the key it names. `cpu_aux` gives VCEK, ASK, ARK, or `td-quote`."""

    tee = "azure"

    def __init__(self, kind: str, tools: Tools, cpu_aux: Callable[[bytes], Mapping[str, bytes]]) -> None:
        self.kind, self._tools, self._cpu_aux = kind, tools, cpu_aux

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = NO_AUX) -> bytes:
        """Evidence whose qualifying data binds `binding`; what `Tools` raises."""
        self._tools.run("nvread", f"{AZURE_HCL_REPORT} -C o -o hcl")
        report = self._tools.read("hcl")
        message, signature, pcrs = self._tools.quote(AZURE_AK_HANDLE, binding.qualifying_data())
        blob = cbor.encode({1: report, 2: message, 3: signature, 4: list(pcrs)})
        return evidence.build(self.kind, blob, {**self._cpu_aux(report), **aux}, binding)


def _plain(signature: bytes) -> bytes:
    """tpm2-tools write an ECDSA signature as DER; evidence holds r ‖ s."""
    try:
        r, s = utils.decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError):
        raise broken("the TPM's signature is not one over P-256") from None


def td_quote_request(report: bytes) -> bytes:
    """The body with which Azure's quote service is asked for the quote of the TDREPORT in an HCL report."""
    return json.dumps({"report": base64.urlsafe_b64encode(report[32 : 32 + 1024]).decode().rstrip("=")}).encode()


def td_quote_of(answer: bytes) -> bytes:
    """The quote in that service's answer; TamperedError(attesters.contract)."""
    try:
        text = json.loads(answer)["quote"]
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise broken("the quote service answered something else") from None
