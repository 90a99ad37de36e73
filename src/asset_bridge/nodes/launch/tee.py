"""Start a TEE node. Source: protocol §6, spec/node-http-tee.md §1.

The attester is chosen by node.toml. The simulator lives in a distribution of its own; where that is not installed, a node.toml that asks
for it is refused, which is what a production image does.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation.verifiers import hardware, tpm
from asset_bridge.attestation.verify import VerifierSet
from asset_bridge.attesters import Attester
from asset_bridge.attesters.nsm import NsmAttester
from asset_bridge.attesters.tpm import AzureAttester, Tools, TpmAttester
from asset_bridge.attesters.tsm import TsmAttester
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.ipld.unixfs import FileDag, file_dag
from asset_bridge.nodes.launch.base import Started, StartNodes
from asset_bridge.nodes.launch.chain_pins import configuration
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.tee.ack_client import HttpAckSource
from asset_bridge.nodes.tee.app import build
from asset_bridge.nodes.tee.start import StartedTee, TeeSetup
from asset_bridge.trade.documents.profile import ack_address_of
from asset_bridge.trade.register import EndpointDocument

UPLOAD_ATTEMPTS, PAUSE_SECONDS = 240, 0.5
SIMULATED, SOFTWARE_TPM = "simulated", "tpm-simulated"
ATTESTERS = ("tsm", "nitro", "azure-snp", SOFTWARE_TPM, SIMULATED)
CARRIED = frozenset({"collateral.json", "event-log.json", "signer.der", "ask.der", "ark.der"})


def attester_of(file: NodeFile) -> tuple[Attester, VerifierSet]:
    """The attester that node.toml names, and the verifiers with which the node checks its own evidence first.

    Raises:
        InputError(nodes.attester): unknown attester, or a measurement that is not 32 bytes of hex.
        UnavailableError(nodes.no-simulator): simulated evidence is asked for and the simulator is not installed.
        UnavailableError(attesters.device | attesters.permission): this machine has no such TEE, or the node is not root.
    """
    if file.attester == "tsm":
        return TsmAttester(carried=lambda: carried(file)), hardware()
    if file.attester == "nitro":
        return NsmAttester(), hardware()
    if file.attester == "azure-snp":
        folder = Path(tempfile.mkdtemp(prefix="asset-bridge-vtpm-"))
        return AzureAttester("azure-snp-vtpm", Tools(file.tpm, folder), lambda _report: carried(file)), hardware()
    if file.attester not in (SIMULATED, SOFTWARE_TPM):
        raise InputError(
            "nodes.attester",
            f"node.toml names the attester {file.attester!r}; this release starts nodes with: {', '.join(ATTESTERS)}",
            hint="docs/explain/tee.md says what each needs and which has met hardware",
            actor="operator",
        )
    try:
        simulator = importlib.import_module("asset_bridge_simulator")
    except ImportError:
        raise UnavailableError(
            "nodes.no-simulator",
            "node.toml asks for simulated evidence, and the simulator is not installed",
            hint="install asset-bridge-simulator on a development machine; a production image does not carry it",
            actor="operator",
        ) from None
    platform = file.folder / file.platform
    root = (platform / "root.cert.pem").read_bytes()
    if file.attester == SOFTWARE_TPM:
        enrolment = simulator.Enrolment(platform, os.urandom, time.time)
        der = x509.load_pem_x509_certificate(root).public_bytes(Encoding.DER)
        return TpmAttester(file.tpm, enrolment, simulated=True), hardware().plus(tpm(simulated_roots=[der]))
    try:
        measurement = bytes.fromhex(file.measurement.removeprefix("0x"))
    except ValueError:
        measurement = b""
    if len(measurement) != 32:
        raise InputError("nodes.attester", "measurement in node.toml is not 32 bytes of hex", actor="operator")
    attester = simulator.SimAttester.load(platform, measurement, time.time)
    verifiers_of_own = hardware().plus(simulator.SimVerifier(root))
    return (simulator.ReplayingAttester(attester) if file.replay else attester), verifiers_of_own


def carried(file: NodeFile) -> dict[str, bytes]:
    """What the operator keeps in the platform folder to travel with the evidence: collateral, event log, certificates."""
    if not file.platform:
        return {}
    folder = file.folder / file.platform
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*")) if path.name in CARRIED}


def publish_document(node: Started, document: bytes, dag: FileDag) -> None:
    """Put the endpoint document on the storage nodes by way of a light node; waits a little for one that is just starting."""
    blocks = {dag.root.to_bytes(): document}
    last: UnavailableError | None = None
    for _ in range(UPLOAD_ATTEMPTS):
        for light in node.light_nodes():
            try:
                light.upload(dag.root.to_bytes(), len(document), blocks.__getitem__, "document", None)
                return
            except UnavailableError as error:
                last = error
        time.sleep(PAUSE_SECONDS)
    raise last or InputError("nodes.no-light-node", "network.toml names no light node", actor="operator")


def run(node: Started) -> None:
    """Make keys, show evidence, register, then serve until a signal. The keys end with the process."""
    attester, verifiers = attester_of(node.file)
    document = node.endpoint()
    dag = file_dag(document)
    publish_document(node, document, dag)
    started = StartedTee(
        TeeSetup(
            account=node.account,
            readers=node.chain.each(),
            attester=attester,
            verifiers=verifiers,
            salt=node.file.salt,
            endpoint=EndpointDocument(dag.root.digest, len(document)),
            stake_wei=node.file.stake_wei,
            lifetime_seconds=node.file.registration_seconds,
            acks=HttpAckSource(
                StartNodes(node), node.peer, node.network.chain_id, node.chain.registry, node.peer_of_a_provider
            ),
            clock=time.time,
            randbytes=os.urandom,
            ack_address_of=ack_address_of,
            configuration=configuration(node.file, node.chain),
        )
    )
    guard = node.guard()
    node.serve(build(started.core, guard, also=started.renew_if_due), guard)
