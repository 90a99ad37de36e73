"""P8: a cfrag that was delivered cannot be called back; what is promised is that no new one leaves a node (spec/reencryption.md)."""

from __future__ import annotations

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.reencryption import Capsule, CapsuleFrag, VerifiedCapsuleFrag
from tests.unit.tee.market import Market


def test_after_a_revocation_no_node_gives_a_cfrag_and_the_delivered_one_stays_good(market: Market) -> None:
    """P8."""
    order_id = market.paid()
    listing = market.twin.asset(market.asset_id).listing

    def verified(cfrag: bytes) -> VerifiedCapsuleFrag:
        return CapsuleFrag.from_bytes(cfrag).verify(
            capsule=Capsule.from_bytes(listing.capsule),
            signer=Point.from_bytes(listing.kfrag_signer),
            pk_a=Point.from_bytes(listing.pk_a),
            pk_b=market.receiving.public_key(),
        )

    delivered = market.tees[0].core.reencrypt(order_id, market.fetch(order_id))[0]
    before = verified(delivered)
    market.provider.revoke(order_id)
    for blocks in (0, 2, 100):  # at the head, when it is final, and later, when the keys are destroyed
        market.twin.mine(blocks)
        for tee in market.tees:
            with pytest.raises(BridgeError) as caught:
                tee.core.reencrypt(order_id, market.fetch(order_id))
            assert caught.value.code == "tee.revoked"
            tee.core.sweep()
    assert [tee.core.info()["order_keys"] for tee in market.tees] == [0, 0, 0]
    assert verified(delivered) == before  # what left before is out of reach, which is why the promise ends here
