"""Recovery shares: any threshold recovers, fewer tell nothing, and what is wrong is named (K21-K26)."""

from __future__ import annotations

import copy
import itertools
import os
import random
from dataclasses import replace

import pytest

from asset_bridge.errors import BridgeError, DefectError, InputError, RefusedError, TamperedError
from asset_bridge.keys import recovery
from asset_bridge.keys.recovery import RecoveryShare, recover, split
from tests.support.depth import depth
from tools.vectors.keys import fixed

SECRET = fixed("secret to split", 40)


def made(threshold: int = 2, shares: int = 3, label: str = "set") -> list[RecoveryShare]:
    calls = itertools.count()
    return split(SECRET, threshold, shares, lambda length: fixed(f"{label} {next(calls)}", length))


def refused(kind: type[BridgeError], code: str, given: list[RecoveryShare]) -> BridgeError:
    with pytest.raises(kind) as caught:
        recover(given)
    assert caught.value.code == code
    assert SECRET.hex() not in caught.value.message
    return caught.value


@pytest.mark.parametrize(("threshold", "shares"), [(2, 2), (2, 3), (3, 5), (16, 16), (2, 16)])
def test_any_threshold_of_the_shares_recovers(threshold: int, shares: int) -> None:
    all_shares = made(threshold, shares)
    assert recover(all_shares) == SECRET
    chosen = list(itertools.combinations(all_shares, threshold))
    for some in random.Random(1).sample(chosen, min(len(chosen), depth("keys_recovery_subsets"))):
        assert recover(list(reversed(some))) == SECRET
        assert recover([*some, some[0]]) == SECRET


def gf_multiply(left: int, right: int) -> int:
    """GF(2^8) of FIPS 197, the schoolbook way."""
    product = 0
    for bit in range(8):
        if right >> bit & 1:
            product ^= left << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << (bit - 8)
    return product


def test_a_plain_second_implementation_agrees() -> None:
    shares = made(3, 5)[1:4]
    inverse = {a: b for a in range(1, 256) for b in range(1, 256) if gf_multiply(a, b) == 1}
    found = bytearray()
    for at in range(len(SECRET) + 16):
        total = 0
        for share in shares:
            term = share.value[at]
            for other in shares:
                if other is not share:
                    term = gf_multiply(gf_multiply(term, other.number), inverse[other.number ^ share.number])
            total ^= term
        found.append(total)
    assert bytes(found[16:]) == SECRET


def test_one_share_fewer_fits_every_secret() -> None:
    """Shamir: whatever the secret, some polynomial goes through the shares of fewer than the threshold."""
    held = made(2, 3)[0]
    for guess in (0, 1, 255):
        slopes = {gf_multiply(slope, held.number) ^ guess for slope in range(256)}
        assert held.value[0] in slopes


def test_too_few_mixed_twice() -> None:
    first, second = made(3, 5), made(3, 5, "another set")
    refused(RefusedError, "keys.share-too-few", [])
    error = refused(RefusedError, "keys.share-too-few", [first[0], first[0], first[1]])
    assert "2 of the 3" in error.message
    error = refused(RefusedError, "keys.share-mixed", [first[0], first[1], second[2]])
    assert f"share 3 of set {second[2].set_id.hex()}" in error.message
    for change in ({"threshold": 2}, {"shares": 6}, {"value": first[1].value + b"\x00"}):
        refused(RefusedError, "keys.share-mixed", [first[0], replace(first[1], **change), first[2]])
    error = refused(TamperedError, "keys.share-wrong", [*first, replace(first[1], value=first[0].value)])
    assert "share 2 was given twice" in error.message


def test_a_changed_share_is_refused_and_named_where_it_can_be() -> None:
    for at in (0, 20, 39, 40, 55):
        shares = made(2, 4)
        value = shares[1].value
        shares[1] = replace(shares[1], value=value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :])
        refused(TamperedError, "keys.share-wrong", shares[:2])
        assert "share 2 was changed" in refused(TamperedError, "keys.share-wrong", shares).message
    shares = made(2, 4)
    swapped = [replace(shares[0], number=2), replace(shares[1], number=1)]
    refused(TamperedError, "keys.share-wrong", swapped)


def test_one_form_in_bytes_no_other_is_accepted() -> None:
    encoded = made()[1].to_bytes()
    assert RecoveryShare.from_bytes(encoded) == made()[1]
    others = [encoded[:at] + bytes([b ^ d]) + encoded[at + 1 :] for at, b in enumerate(encoded) for d in (1, 2, 128)]
    others += [encoded[:cut] for cut in range(len(encoded))] + [encoded + suffix for suffix in (b"\x00", b"a", encoded)]
    for changed in (*others, b"", bytes(5000), "text"):
        with pytest.raises(TamperedError) as caught:
            RecoveryShare.from_bytes(changed)
        assert caught.value.code == "keys.share-form"


@pytest.mark.parametrize(
    "numbers", [(1, 3, 1, 0), (4, 3, 1, 0), (2, 17, 1, 0), (2, 3, 0, 0), (2, 3, 4, 0), (2, 3, 1, 1)]
)
def test_numbers_out_of_range_with_a_right_checksum(numbers: tuple[int, int, int, int]) -> None:
    body = made()[0].to_bytes()[:-8]
    body = body[:16] + bytes(numbers) + body[20:]
    with pytest.raises(TamperedError) as caught:
        RecoveryShare.from_bytes(body + recovery._checksum(body))
    assert "numbers" in caught.value.message


def test_what_people_type() -> None:
    share = made()[2]
    text = share.to_text()
    assert text.startswith(f"# asset-bridge recovery share 3 of 3, any 2 recover; set {share.set_id.hex()}\n")
    letters = "".join(text.splitlines()[1:])
    for typed in (
        text,
        text.upper(),
        letters,
        " ".join(letters),
        "\n  # a note\n" + letters[:9] + "\r\n\t" + letters[9:],
    ):
        assert RecoveryShare.from_text(typed) == share
    spoiled = [letters[:-1] + ("b" if letters[-1] != "b" else "c"), letters[:-1], letters + "a", "1" + letters[1:]]
    spoiled += ["", "ä", "#", "a" * 20_000, letters.replace(letters[30], "0", 1), letters + "="]
    for typed in spoiled:
        with pytest.raises(TamperedError) as caught:
            RecoveryShare.from_text(typed)
        assert caught.value.code == "keys.share-form"


def test_a_second_spelling_of_the_last_letter() -> None:
    """Base32 leaves bits over; only zeros there are the one text."""
    letters = "".join(made()[0].to_text().splitlines()[1:])
    alphabet, spare = "abcdefghijklmnopqrstuvwxyz234567", -len(made()[0].to_bytes()) * 8 % 5
    assert spare
    other = alphabet[alphabet.index(letters[-1]) ^ 1]
    with pytest.raises(TamperedError) as caught:
        RecoveryShare.from_text(letters[:-1] + other)
    assert "spelling" in caught.value.message


@pytest.mark.parametrize(("threshold", "shares"), [(1, 1), (1, 3), (4, 3), (2, 17), (0, 0)])
def test_thresholds_out_of_range(threshold: int, shares: int) -> None:
    with pytest.raises(InputError) as caught:
        split(SECRET, threshold, shares, os.urandom)
    assert caught.value.code == "keys.threshold"


def test_lengths_and_randomness() -> None:
    for secret in (b"", bytes(4097), "text"):
        with pytest.raises(InputError) as caught:
            split(secret, 2, 3, os.urandom)
        assert caught.value.code == "keys.size"
    for calls in (0, 1):
        sizes = iter([0] * (1 - calls) + [8] * calls + [0])
        with pytest.raises(InputError):
            split(SECRET, 2, 3, lambda _, sizes=sizes: bytes(next(sizes)))
    longest = os.urandom(4096)
    shares = split(longest, 2, 2, os.urandom)
    texts = [share.to_text() for share in shares]
    assert recover([RecoveryShare.from_text(text) for text in texts]) == longest
    assert len(recover(split(b"\x07", 2, 2, os.urandom))) == 1


def test_a_share_does_not_show_or_copy() -> None:
    share = made()[0]
    assert share.value.hex() not in repr(share)
    assert share != made()[1]
    assert share != "share"
    with pytest.raises(DefectError):
        copy.copy(share)
    with pytest.raises(TypeError):
        hash(share)
