"""Which accepted nodes hold a share: the threshold and spread rules.

Implements spec/attestation.md §7. Promises: distinct nodes and operators (the contract asks for that), and fewer than `t` shares per
operator, platform and maker of silicon, unless the policy turns a rule off; the first choice in the given order that obeys, if there is one
within the step limit. Does not promise: to find the cheapest or nearest; the caller orders the nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from asset_bridge.attestation.appraise import Accepted, Appraisal, Rejected
from asset_bridge.attestation.policy import NOBODY_HINT, Policy
from asset_bridge.errors import InputError, RefusedError

MAX_STEPS = 20_000
"""Bound on the search; real deployments have tens of nodes, and a choice is found in about n steps."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The nodes of the slots, in order; who was refused, and who was left over."""

    chosen: tuple[Accepted, ...]
    refused: tuple[Rejected, ...]
    spare: tuple[Accepted, ...]


def choose_nodes(policy: Policy, appraisals: Sequence[Appraisal], t: int, n: int) -> Choice:
    """Choose `n` nodes for a threshold of `t`.

    Raises:
        InputError(attestation.threshold): t or n is outside 2 <= t <= n <= 16, or t is below the policy's.
        RefusedError(attestation.policy-nobody): the policy names nobody.
        RefusedError(attestation.too-few): no choice obeys; the message names each refused node with its reasons.
    """
    if not policy.threshold <= t <= n <= 16:
        raise InputError(
            "attestation.threshold",
            f"{t} of {n} shares are not possible: the policy asks for {policy.threshold} <= threshold <= shares <= 16",
        )
    if policy.names_nobody:
        raise RefusedError(
            "attestation.policy-nobody", "no policy names a TEE node that may hold a share", hint=NOBODY_HINT
        )
    refused = tuple(item for item in appraisals if isinstance(item, Rejected))
    accepted = [item for item in appraisals if isinstance(item, Accepted)]
    chosen = _Search(policy, accepted, t, n).run()
    if chosen is None:
        told = " ".join(item.sentence() + "." for item in refused)
        raise RefusedError(
            "attestation.too-few",
            f"{len(accepted)} accepted nodes do not give {n} shares with fewer than {t} on one operator, platform or "
            f"vendor. {told}".rstrip(),
            hint="name more operators in the policy, or ask for fewer shares; `asset-bridge node list tee` shows every node",
            actor="provider",
        )
    taken = {item.node_id for item in chosen}
    return Choice(tuple(chosen), refused, tuple(item for item in accepted if item.node_id not in taken))


class _Search:
    """Depth-first over the candidates in the given order, with the counts of what is taken."""

    def __init__(self, policy: Policy, candidates: list[Accepted], t: int, n: int) -> None:
        self._spread, self._candidates, self._t, self._n = policy.spread, candidates, t, n
        self._steps = 0

    def run(self) -> list[Accepted] | None:
        return self._extend(0, [])

    def _extend(self, start: int, taken: list[Accepted]) -> list[Accepted] | None:
        if len(taken) == self._n:
            return taken
        for index in range(start, len(self._candidates) - (self._n - len(taken)) + 1):
            self._steps += 1
            if self._steps > MAX_STEPS:
                return None
            if self._fits(self._candidates[index], taken):
                found = self._extend(index + 1, [*taken, self._candidates[index]])
                if found is not None:
                    return found
        return None

    def _fits(self, item: Accepted, taken: list[Accepted]) -> bool:
        if any(item.node_id == other.node_id or item.operator == other.operator for other in taken):
            return False
        platforms = Counter(other.claims.platform_id for other in taken)
        makers = Counter(other.claims.maker for other in taken)
        if self._spread.platform and platforms[item.claims.platform_id] + 1 >= self._t:
            return False
        return not (self._spread.vendor and makers[item.claims.maker] + 1 >= self._t)
