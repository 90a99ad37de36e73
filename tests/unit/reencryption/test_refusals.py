"""Each refusal of spec/reencryption.md, with its code, its class and the one who must act."""

from __future__ import annotations

import ast
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import DefectError, InputError, RefusedError, TamperedError
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import SecretScalar, secret_subtract
from asset_bridge.reencryption import dem, hashes, library_form, proof_of_check
from tests.unit.reencryption.scene import fixed, half, keys, opened, source, trade
from tools.vectors.reencryption import resigned, with_coefficients

ROOT = Path(__file__).resolve().parents[3]
T, OTHER = trade(), trade("another asset")
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def replace_binding(cfrag: pre.VerifiedCapsuleFrag, **changes: object) -> pre.VerifiedCapsuleFrag:
    """The same cfrag, as if it had been verified for another key."""
    return replace(cfrag, checked=proof_of_check.CHECKED, **changes)


SCALARS = [(0, False), (1, True), (ORDER - 1, True), (ORDER, False), (2**256 - 1, False)]


@pytest.mark.parametrize(("s", "in_range"), SCALARS)
def test_a_capsule_with_another_scalar(s: int, in_range: bool) -> None:
    with pytest.raises(TamperedError) as caught:
        pre.Capsule.from_bytes(T.capsule.to_bytes()[:66] + s.to_bytes(32, "big"))
    assert (caught.value.code, caught.value.actor) == ("reencryption.capsule", "provider")
    assert ("out of range" in str(caught.value)) is not in_range


@pytest.mark.parametrize(("z", "in_range"), SCALARS)
def test_a_cfrag_with_another_scalar(z: int, in_range: bool) -> None:
    encoded = T.cfrags[0].to_bytes()
    changed = encoded[:263] + z.to_bytes(32, "big") + encoded[295:]
    if in_range:
        assert pre.CapsuleFrag.from_bytes(changed).to_bytes() == changed
        return
    with pytest.raises(TamperedError, match="out of range") as caught:
        pre.CapsuleFrag.from_bytes(changed)
    assert (caught.value.code, caught.value.actor) == ("reencryption.cfrag-form", "tee node")


def test_the_length_is_what_a_capsule_is_refused_for() -> None:
    honest = T.capsule.to_bytes()
    for other in (honest[:-1], honest + b"\0", bytearray(honest)):
        with pytest.raises(TamperedError, match="exactly 98 bytes"):
            pre.Capsule.from_bytes(other)


def test_an_empty_package_is_one() -> None:
    sealed = dem.seal(b"point", fixed("nonce")[:24], b"", b"data")
    assert len(sealed) == dem.OVERHEAD_BYTES
    assert dem.open_sealed(b"point", sealed, b"data") == b""


def test_public_scalars_at_the_edge_of_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """R3: mod (n-1), plus 1; a digest of n or more comes once in 2^127."""
    for digest, scalar in (
        (0, 1),
        (ORDER - 2, ORDER - 1),
        (ORDER - 1, 1),
        (ORDER, 2),
        (2**256 - 1, 2**256 - ORDER + 1),
    ):
        monkeypatch.setattr(hashes, "_digest", lambda *_, value=digest: value.to_bytes(32, "big"))
        assert hashes.public_scalar(b"domain") == scalar


def test_a_package_of_another_capsule() -> None:
    for attempt in (
        lambda: pre.decrypt_package(T.keys.delegating, OTHER.capsule, T.sealed),
        lambda: pre.decrypt_package(OTHER.keys.delegating, T.capsule, T.sealed),
        lambda: opened(T, T.cfrags, sealed=OTHER.sealed),
        lambda: opened(T, T.cfrags, sealed=T.sealed[:39]),
    ):
        with pytest.raises(TamperedError) as caught:
            attempt()
        assert caught.value.code == "reencryption.package"


def test_thresholds_that_do_not_fit() -> None:
    randomness = T.randomness
    twice = replace(randomness, ids=(randomness.ids[0],) * 3)
    for threshold, chosen in ((1, randomness), (3, randomness), (0, randomness), (4, randomness), (2, twice)):
        with pytest.raises(InputError) as caught:
            pre.generate_shares(T.keys.delegating, T.pk_b, T.keys.signer, threshold, chosen)
        assert caught.value.code == "reencryption.threshold"
    with pytest.raises(InputError) as caught:
        opened(T, T.cfrags, threshold=0)
    assert caught.value.code == "reencryption.threshold"
    assert isinstance(randomness, ShareRandomness)


def test_a_share_that_is_not_what_was_published() -> None:
    kfrag = T.kfrags[0]
    with pytest.raises(TamperedError) as caught:
        pre.KeyFrag(T.kfrags[1].rk, kfrag.published()).verify(**keys(T))
    assert (caught.value.code, caught.value.actor) == ("reencryption.commitment", "provider")
    for other in ("pk_a", "pk_b", "signer"):
        with pytest.raises(TamperedError) as caught:
            pre.KeyFrag(kfrag.rk, kfrag.published()).verify(**{**keys(T), other: keys(OTHER)[other]})
        assert (caught.value.code, caught.value.actor) == ("reencryption.receiver-signature", "provider")
    for fields in ((bytes(31), kfrag.u1.to_bytes(), 65), (bytes(32), bytes(33), 65), (bytes(32), bytes(33), 64)):
        with pytest.raises(TamperedError) as caught:
            pre.PublishedShare.from_fields(fields[0], fields[1], kfrag.x_a.to_bytes(), bytes(fields[2]))
        assert caught.value.code == "reencryption.share"


def test_a_cfrag_of_another_order_or_asset_is_refused_and_named() -> None:
    """P6."""
    frag = T.cfrags[0].frag
    for changed in ({"capsule": OTHER.capsule}, {"signer": OTHER.signer}, {"pk_a": OTHER.pk_a}, {"pk_b": OTHER.pk_b}):
        with pytest.raises(TamperedError) as caught:
            frag.verify(**{"capsule": T.capsule, **keys(T), **changed})
        assert (caught.value.code, caught.value.actor) == ("reencryption.cfrag", "tee node")
        assert frag.kfrag_id.hex()[:8] in caught.value.message
    second = pre.encrypt_package(T.pk_a, T.package, source("second capsule"))[0]
    of_second = [pre.reencrypt(second, kfrag) for kfrag in T.kfrags]
    of_key_a = [replace_binding(cfrag, pk_a=OTHER.pk_a) for cfrag in T.cfrags]
    of_key_b = [replace_binding(cfrag, pk_b=OTHER.pk_b) for cfrag in T.cfrags]
    for cfrags in ([T.cfrags[0], OTHER.cfrags[1]], OTHER.cfrags, of_second, of_key_a, of_key_b):
        with pytest.raises(RefusedError) as refusal:
            opened(T, cfrags)
        assert refusal.value.code == "reencryption.other-set"


def test_of_cfrags_with_one_id_the_first_counts_and_every_one_must_belong() -> None:
    """R24: a cfrag that is not needed is refused all the same when it belongs elsewhere."""
    foreign = replace_binding(T.cfrags[0], pk_a=OTHER.pk_a)
    for cfrags in ([*T.cfrags[:2], foreign], [foreign, *T.cfrags[:2]], [*T.cfrags, *OTHER.cfrags[:1]]):
        with pytest.raises(RefusedError) as refusal:
            opened(T, cfrags)
        assert refusal.value.code == "reencryption.other-set"
    broken = T.cfrags[0].frag._replace(e1=T.pk_a)  # as a forger would have it: same id, other bytes
    forged = replace_binding(T.cfrags[0], frag=broken)
    assert opened(T, [*T.cfrags[:2], forged]) == T.package
    with pytest.raises(TamperedError) as caught:
        opened(T, [forged, *T.cfrags[:2]])
    assert caught.value.code == "reencryption.garbage-shares"


@pytest.mark.parametrize(
    ("field", "part"), [("u2", "U"), ("e2", "E"), ("v2", "V"), ("e1", "for U"), ("v1", "for U"), ("z", "for U")]
)
def test_each_part_of_the_proof_is_checked_and_named(field: str, part: str) -> None:
    frag = T.cfrags[0].frag
    value = frag.z % (ORDER - 1) + 1 if field == "z" else T.pk_a
    with pytest.raises(TamperedError) as caught:
        frag._replace(**{field: value}).verify(capsule=T.capsule, **keys(T))
    assert caught.value.code == "reencryption.cfrag"
    assert part in caught.value.message or "for U" in caught.value.message


def test_a_proof_whose_right_side_is_infinity_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of reach of a real challenge, which contains U2; shown with a fixed one."""
    monkeypatch.setattr(pre.cfrag, "cfrag_challenge", lambda *_: 5)
    frag = T.cfrags[0].frag
    u2 = pre.cfrag.multiply_public(frag.u1, ORDER - 5)
    with pytest.raises(TamperedError) as caught:
        frag._replace(u2=u2).verify(capsule=T.capsule, **keys(T))
    assert caught.value.code == "reencryption.cfrag"


def test_too_few_cfrags_is_not_a_bad_cfrag() -> None:
    """P9: below the threshold and tampered are two codes; the same share twice counts once."""
    for cfrags in ([], T.cfrags[:1], [T.cfrags[0]] * 3):
        with pytest.raises(RefusedError) as caught:
            opened(T, cfrags)
        assert caught.value.code == "reencryption.too-few"


def test_garbage_that_proves_itself_is_named_when_opening() -> None:
    """P10: every cfrag verifies, together they open nothing, and the provider is named."""
    garbage_key = SecretScalar.from_wide(fixed("garbage", 48))
    for secret in (garbage_key, OTHER.keys.delegating):
        made = with_coefficients(T, secret, *T.randomness.coefficients)
        accepted = [
            pre.accept_share(rk=kfrag.rk, share=share, capsule=T.capsule, **keys(T))
            for kfrag, share in zip(made, resigned(T, made), strict=True)
        ]
        cfrags = [pre.CapsuleFrag.from_bytes(pre.reencrypt(T.capsule, k).to_bytes()) for k in accepted]
        verified = [cfrag.verify(capsule=T.capsule, **keys(T)) for cfrag in cfrags]
        with pytest.raises(TamperedError) as caught:
            opened(T, verified)
        assert (caught.value.code, caught.value.actor) == ("reencryption.garbage-shares", "provider")


def test_shares_that_add_up_to_infinity_are_garbage() -> None:
    """The second share's value is chosen so that λ_1·rk_1 + λ_2·rk_2 = 0, which no honest set gives."""
    ids = [kfrag.kfrag_id for kfrag in T.kfrags]
    first, ratios = pre.opening.lagrange_at_zero([half(T).index(name) for name in ids[:2]])
    rk = [T.kfrags[0].rk, pre.kfrag.secret_multiply(T.kfrags[0].rk, pre.kfrag.secret_inverse(ratios[0]))]
    one = SecretScalar.from_bytes((1).to_bytes(32, "big"))
    minus_one = secret_subtract(one, SecretScalar.from_bytes((2).to_bytes(32, "big")))
    rk[1] = pre.kfrag.secret_multiply(rk[1], minus_one)
    shares = [replace(T.kfrags[i].published(), u1=pre.kfrag.shared_point(rk[i], pre.PARAMETER_U)) for i in range(2)]
    signed = [
        replace(
            share,
            receiver_signature=pre.kfrag.sign_digest(
                T.keys.signer, pre.receiver_digest(share.kfrag_id, share.u1, share.x_a, T.pk_a, T.pk_b)
            ),
        )
        for share in shares
    ]
    cfrags = [
        pre.reencrypt(T.capsule, pre.accept_share(rk=rk[i], share=signed[i], capsule=T.capsule, **keys(T)))
        for i in range(2)
    ]
    with pytest.raises(TamperedError) as caught:
        opened(T, cfrags)
    assert caught.value.code == "reencryption.garbage-shares"
    with pytest.raises(TamperedError) as caught:
        pre.pre_payment_check(**{**T.pre_payment(), "slots": signed})
    assert caught.value.code == "reencryption.garbage-shares"
    assert first is not None


def test_w_of_another_context() -> None:
    changes = (
        {"chain_id": 1},
        {"ledger": bytes(20)},
        {"provider": bytes(20)},
        {"container_id": bytes(16)},
    )
    pre.verify_commitment(T.pk_a, T.w, T.w_proof, T.context)
    for change in changes:
        with pytest.raises(TamperedError) as caught:
            pre.verify_commitment(T.pk_a, T.w, T.w_proof, replace(T.context, **change))
        assert (caught.value.code, caught.value.actor) == ("reencryption.w-proof", "provider")
    for pk_a, w in ((OTHER.pk_a, T.w), (T.pk_a, OTHER.w), (T.pk_a, T.pk_a)):
        with pytest.raises(TamperedError):
            pre.verify_commitment(pk_a, w, T.w_proof, T.context)


def test_a_verified_object_cannot_be_built_unchecked() -> None:
    """P5, R1."""
    kfrag, cfrag, capsule = T.kfrags[0], T.cfrags[0], T.capsule
    attempts = (
        lambda: pre.Capsule(capsule.e, capsule.v, capsule.s, capsule.to_bytes(), None),
        lambda: pre.VerifiedCapsuleFrag(cfrag.frag, capsule.to_bytes(), T.signer, T.pk_a, T.pk_b, object()),
        lambda: pre.VerifiedKeyFrag(kfrag.kfrag_id, kfrag.rk, kfrag.u1, kfrag.x_a, b"", T.pk_a, T.pk_b, T.signer, True),
    )
    for attempt in attempts:
        with pytest.raises(DefectError) as caught:
            attempt()
        assert caught.value.code == "reencryption.unchecked"
    for verified in (kfrag, cfrag, capsule):
        with pytest.raises((TypeError, ValueError)):  # the token is no field, so nothing carries it over
            replace(verified)
    with pytest.raises(FrozenInstanceError):
        kfrag.rk = T.kfrags[1].rk
    assert proof_of_check.CHECKED not in vars(pre).values()


def test_only_the_checking_functions_use_the_token() -> None:
    users = {
        path.name: path.read_text().count("CHECKED")
        for path in (ROOT / "src").rglob("*.py")
        if "CHECKED" in path.read_text()
    }
    # one import and one use for each function that checks or makes; a new user must be added here on purpose
    assert users == {"capsule.py": 3, "cfrag.py": 3, "kfrag.py": 3, "proof_of_check.py": 2}
    gate = "skip_" + "verification"
    assert not [path for path in (ROOT / "src").rglob("*.py") if gate in path.read_text()]


def test_a_library_kfrag_for_another_parameter_point_or_signer() -> None:
    encoded = library_form.kfrag_to_library(T.kfrags[0], T.keys.signer)
    other_point = encoded[:4] + T.pk_a.to_bytes() + encoded[37:]
    with pytest.raises(TamperedError) as caught:
        library_form.kfrag_from_library(other_point, **keys(T))
    assert caught.value.code == "reencryption.library-form"
    with pytest.raises(TamperedError) as caught:
        library_form.kfrag_from_library(encoded, **{**keys(T), "signer": OTHER.signer})
    assert caught.value.code == "keys.signature"


def test_both_recovery_values_of_library_kfrags_are_found() -> None:
    seen = {kfrag.receiver_signature[64] for kfrag in trade("10 of 16", 10, 16).kfrags}
    assert seen == {27, 28}
    big = trade("10 of 16", 10, 16)
    for kfrag in big.kfrags:
        encoded = library_form.kfrag_to_library(kfrag, big.keys.signer)
        assert library_form.kfrag_from_library(encoded, **keys(big)) == kfrag


def test_a_half_key_from_the_store() -> None:
    stored = half(T).to_secret_bytes()
    assert pre.HalfKey.from_secret_bytes(stored) == half(T)
    assert half(T) != half(OTHER)
    with pytest.raises(InputError):
        pre.HalfKey.from_secret_bytes(stored[:-1])
    with pytest.raises(TamperedError):
        pre.HalfKey.from_secret_bytes(bytes(99))
    with pytest.raises(DefectError):
        half(T).__reduce__()
    assert stored[66:].hex() not in repr(half(T))


def test_the_spec_lists_exactly_the_codes_that_are_raised() -> None:
    for room in ("reencryption", "keys"):
        source = "".join(path.read_text() for path in (ROOT / "src" / "asset_bridge" / room).glob("*.py"))
        raised = set(re.findall(rf'"({room}\.[a-z0-9-]+)"', source))
        page = (ROOT / "spec" / f"{room}.md").read_text()
        listed = set(re.findall(rf"^\| `({room}\.[a-z0-9-]+)`", page, re.MULTILINE))
        assert raised == listed


def test_every_pitfall_has_a_test_that_names_it() -> None:
    """P1 to P10 of spec/reencryption.md: the file of its table holds a test, or tests, whose text begins with the pitfall."""
    rows = re.findall(
        r"^\| (P\d+) .*?\| `(unit/\S+\.py)` \|", (ROOT / "spec" / "reencryption.md").read_text(), re.MULTILINE
    )
    assert [name for name, _ in rows] == [f"P{number}" for number in range(1, 11)]
    for name, file in rows:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        said = [ast.get_docstring(node) or "" for node in (tree, *tests)]
        assert tests
        assert any(re.match(rf"{name}\b", text) for text in said), f"{name} in {file}"
