"""Challenges and ReencryptionVerifier, as the specification says them (spec/contracts.md §5, §11, §12; protocol §7).

Does not promise: a market for gas; the base fee is a fixed figure. A capsule is checked whole here, on chain its points only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from asset_bridge.chain import packing
from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.messages import fetch_digest, receipt_digest
from asset_bridge.chain.packing import (
    SERVING_STOPPED,
    WAS_PAID,
    KeyParts,
    Progress,
    Row,
    Table,
    TermsArgs,
    signer_address,
)
from asset_bridge.chain.records import ZERO_ADDRESS, DeliveryReceipt
from asset_bridge.chain.twin.exchange import OLD_ROW_BIT, Exchange
from asset_bridge.chain.twin.world import Contract, Message, World, zero
from asset_bridge.errors import BridgeError
from asset_bridge.keys.keccak import keccak
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.keys.signing import recover_digest
from asset_bridge.reencryption import Capsule, receiver_digest
from asset_bridge.reencryption.chain_proof import CHAIN_PROOF_BYTES, from_chain_proof, to_chain_proof

ANSWER_GAS, BASE_FEE_WEI = 120_000, 10**9
OPEN, MET, FAILED = 1, 2, 3
MAX_STAKE = 2**256 - 1


@dataclass(frozen=True, slots=True)
class ChallengeState:
    """What is kept of a challenge."""

    challenger: str = ZERO_ADDRESS
    bond: int = 0
    answer_by: int = 0
    answered: int = 0
    generation: int = 0
    threshold: int = 0
    state: int = 0


class ReencryptionVerifier(Contract):
    """The model of contracts/ReencryptionVerifier.vy."""

    NAME = "ReencryptionVerifier"
    PREFIX = "verifier"

    @staticmethod
    def view_verify(
        capsule: bytes, pk_a: bytes, signer: str, pk_b: bytes, kfrag_id: bytes, u1: bytes, x_a: bytes, proof: bytes
    ) -> bool:
        """Whether the proof is the one form of a cfrag that verifies."""
        try:
            frag = from_chain_proof(proof, kfrag_id=kfrag_id, u1=u1, x_a=x_a)
            a, b = Point.from_bytes(pk_a), Point.from_bytes(pk_b)
            digest = receiver_digest(kfrag_id, frag.u1, frag.x_a, a, b)
            key = recover_digest(digest, frag.signature + bytes([27 + (proof[130] >> 7)]))
            verified = frag.verify(capsule=Capsule.from_bytes(capsule), signer=key, pk_a=a, pk_b=b)
        except BridgeError:
            return False
        return signer_address(key.to_bytes()) == signer and to_chain_proof(verified) == proof


class Challenges(Contract):
    """The model of contracts/Challenges.vy."""

    NAME = "Challenges"
    PREFIX = "challenges"

    def __init__(self, world: World, exchange: Exchange) -> None:
        super().__init__(world)
        self.exchange = exchange

    def construct(self, deposit: int) -> None:
        """The constructor."""
        self.table("fixed")["liveness_deposit"] = deposit

    def _of(self, order_id: bytes) -> ChallengeState:
        found = self.table("challenges").get(order_id)
        return found if isinstance(found, ChallengeState) else ChallengeState()

    def _owe(self, account: str, amount: int) -> None:
        owed = self.table("owed")
        owed[account] = owed.get(account, 0) + amount

    def _inner(self, message: Message) -> Message:
        return replace(message, sender=self.address, value_wei=0)

    def challenge(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        progress_hash: bytes,
        authority: bytes,
    ) -> None:
        """The consumer cannot open; the value is the bond."""
        terms = TermsArgs(*terms)
        actor = self.authorised(message, authority, "Challenge", order_id)
        self.check(actor == terms.consumer, "not the consumer")
        table_hash = keccak(terms.pk_b + table)
        answer_by = self.exchange.open_challenge(self._inner(message), order_id, terms, card, table_hash, progress_hash)
        parsed = Table.parse(table)
        self.check(message.value_wei >= self.view_bond_of(parsed.threshold), "bond is too small")
        self.table("challenges")[order_id] = ChallengeState(
            actor, message.value_wei, answer_by, 0, parsed.generation, parsed.threshold, OPEN
        )
        self.log("Challenged", order_id=order_id, bond=message.value_wei, answer_by=answer_by)

    def answer(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        parts: KeyParts,
        capsule: bytes,
        table: bytes,
        current_table: bytes,
        progress_hash: bytes,
        proofs: bytes,
        account: str,
    ) -> None:
        """Fragments of the challenged generation; t of them meet it."""
        terms, parts, now = TermsArgs(*terms), KeyParts(*parts), self._of(order_id)
        self.check(now.state == OPEN, "no open challenge")
        self.check(message.now_at < now.answer_by, "deadline has passed")
        self.check(int.from_bytes(table[1:5], "big") == now.generation, "another generation was challenged")
        table_hash, parsed = self._order(order_id, terms, parts, table, current_table, progress_hash)
        size = CHAIN_PROOF_BYTES + 1
        self.check(len(proofs) % size == 0 and len(capsule) == 98, "wrong length")
        receiver = message.sender if account == ZERO_ADDRESS else account
        answered, earned = now.answered, 0
        for entry in (proofs[i : i + size] for i in range(0, len(proofs), size)):
            slot, given = entry[0], answered.bit_count()
            row = self.exchange.row(parsed, slot)
            if given == now.threshold or answered >> slot & 1:
                continue
            self.check(self._verified(terms, parts, capsule, parsed, row, entry[1:]), "proof does not hold")
            answered |= 1 << slot
            share = now.bond // now.threshold
            reward = share if given + 1 < now.threshold else now.bond - share * (now.threshold - 1)
            earned += reward
            self.log("Answered", order_id=order_id, slot=slot, account=receiver, reward=reward, proof=entry[1:])
        self.check(answered != now.answered, "nothing new")
        met = answered.bit_count() == now.threshold
        self.table("challenges")[order_id] = replace(now, answered=answered, state=MET if met else OPEN)
        self._owe(receiver, earned)
        if met:
            card = packing.card_of(parts)
            self.exchange.close_challenge(self._inner(message), order_id, terms, card, table_hash, progress_hash, True)

    def close(
        self, message: Message, order_id: bytes, terms: TermsArgs, card: bytes, table: bytes, progress: bytes
    ) -> None:
        """Not met in time: price and the rest of the bond go back, who owed an answer pays."""
        terms, now = TermsArgs(*terms), self._of(order_id)
        self.check(now.state == OPEN, "no open challenge")
        self.check(message.now_at >= now.answer_by, "deadline is not reached")
        stopped = bool(self.exchange.status_of(order_id).flags & SERVING_STOPPED)
        paid = now.bond // now.threshold * now.answered.bit_count()
        self.table("challenges")[order_id] = replace(now, state=FAILED)
        self._owe(now.challenger, now.bond - paid)
        self.log("Failed", order_id=order_id)
        inner = self._inner(message)
        self.exchange.close_challenge(inner, order_id, terms, card, keccak(terms.pk_b + table), keccak(progress), False)
        parsed, done = Table.parse(table), Progress.parse(progress)
        registry = self.exchange.registry
        if parsed.generation == now.generation and registry.exchange_active(message, self.exchange.address):
            recorded = [done.delivery[i : i + 32] for i in range(32, len(done.delivery), 32)]
            owing = [
                row.node_id
                for slot, row in enumerate(parsed.rows)
                if done.accepted >> slot & 1
                and not now.answered >> slot & 1
                and (not stopped or row.node_id in recorded)
            ]
            registry.slash(inner, self.exchange.address, owing, self.view_liveness_deposit(), now.challenger)

    def contradict(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        parts: KeyParts,
        capsule: bytes,
        table: bytes,
        current_table: bytes,
        progress_hash: bytes,
        old_row: bytes,
        fetch: bytes,
        receipt: bytes,
        proof: bytes,
        beneficiary: str,
    ) -> None:
        """A receipt beside a proof of another fragment."""
        terms, parts = TermsArgs(*terms), KeyParts(*parts)
        _, parsed = self._order(order_id, terms, parts, table, current_table, progress_hash)
        sizes = (len(fetch), len(receipt), len(proof), len(capsule))
        self.check(sizes == (64, packing.RECEIPT_BYTES, CHAIN_PROOF_BYTES, 98), "wrong length")
        slot = receipt[0] & ~OLD_ROW_BIT
        row = self.exchange.row(parsed, slot)
        if old_row:
            known = len(old_row) == packing.ROW_BYTES
            row = Row.parse(old_row) if known else row
            digest = packing.row_hash(parsed.generation, slot, row)
            self.check(known and self.exchange.view_past(order_id, digest), "not a row of this order")
        signed = fetch_digest(self.exchange.domain, order_id, parsed.generation)
        self.check(self.signed(terms.fetch_signer, signed, fetch), "fetch is not the consumer's")
        said = DeliveryReceipt(
            parsed.generation,
            slot,
            row.kfrag_id,
            receipt[1:33],
            signed,
            int.from_bytes(receipt[33:41], "big"),
            receipt[41:73],
            row.node_id,
            row.epoch,
            b"",
        )
        digest = receipt_digest(self.exchange.domain, order_id, said)
        self.check(self.signed(row.signing_address, digest, receipt[73:]), "receipt is not the node's", "exchange")
        self.check(self._verified(terms, parts, capsule, parsed, row, proof), "proof does not hold")
        self.check(cfrag_digest(row.kfrag_id, proof[:33], proof[33:66]) != receipt[1:33], "receipt is true")
        done = self.table("contradicted")
        self.check((order_id, row.node_id) not in done, "node was contradicted")
        done[order_id, row.node_id] = True
        self.log("Contradicted", order_id=order_id, node_id=row.node_id)
        registry, inner = self.exchange.registry, self._inner(message)
        half = registry.view_node(message, row.node_id).stake // 2
        registry.slash(inner, self.exchange.address, [row.node_id], half, beneficiary)
        registry.slash(inner, self.exchange.address, [row.node_id], MAX_STAKE, terms.consumer)

    def withdraw(self, message: Message, account: str) -> None:  # noqa: ARG002
        """Rewards and returned bonds."""
        amount = self.table("owed").pop(account, 0)
        self.check(amount > 0, "nothing to withdraw")
        self.log("Withdrawn", account=account, amount=amount)
        self.world.move_coins(self.address, account, amount)

    def _order(
        self,
        order_id: bytes,
        terms: TermsArgs,
        parts: KeyParts,
        table: bytes,
        current_table: bytes,
        progress_hash: bytes,
    ) -> tuple[bytes, Table]:
        table_hash = keccak(terms.pk_b + table)
        if not zero(current_table):
            self.check(self.exchange.view_past(order_id, table_hash), "not a table of this order")
            table_hash = current_table
        basis = packing.basis(terms, packing.card_of(parts))
        self.exchange.check_core(order_id, basis, table_hash, progress_hash)
        self.check(bool(self.exchange.status_of(order_id).flags & WAS_PAID), "order is not paid")
        return table_hash, Table.parse(table)

    def _verified(
        self, terms: TermsArgs, parts: KeyParts, capsule: bytes, table: Table, row: Row, proof: bytes
    ) -> bool:
        self.check(keccak(capsule[:66]) == parts.points, "not the asset's capsule")
        pk_a = bytes([parts.pk_a_sign]) + parts.pk_a_x
        return ReencryptionVerifier.view_verify(
            capsule, pk_a, parts.signer, terms.pk_b, row.kfrag_id, row.u1, table.precursor, proof
        )

    # ── views ──
    @staticmethod
    def view_bond_of(threshold: int) -> int:
        """View."""
        return threshold * ANSWER_GAS * 2 * BASE_FEE_WEI

    def view_challenge_of(self, order_id: bytes) -> tuple[str, int, int, int, bool]:
        """View."""
        now = self._of(order_id)
        return now.challenger, now.bond, now.answer_by, now.answered, now.state == MET

    def view_withdrawable(self, account: str) -> int:
        """View."""
        return int(self.table("owed").get(account, 0))

    def view_liveness_deposit(self) -> int:
        """View."""
        return int(self.table("fixed")["liveness_deposit"])
