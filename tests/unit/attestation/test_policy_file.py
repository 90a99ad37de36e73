"""The policy file: what it says is what holds (spec/attestation.md §6)."""

from __future__ import annotations

import pytest

from asset_bridge.attestation import policy_file
from asset_bridge.attestation.policy import NOBODY, Policy, development
from asset_bridge.errors import InputError
from asset_bridge_simulator import make_root
from tools.vectors.attestation import FOLDER

GOLDEN = (FOLDER / "policy.toml").read_text()


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        policy_file.parse(text)
    assert caught.value.code == "attestation.policy"
    return caught.value.message


@pytest.fixture(scope="module")
def root_pem(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_root(tmp_path_factory.mktemp("root"), now=1_800_000_000).read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("threshold = 2", "threshold = 1"),
        ("threshold = 2", "threshold = 4"),
        ("shares = 3", "shares = 17"),
        ("threshold = 2", 'threshold = "2"'),
        ("threshold = 2", "threshold = true"),
        ("threshold = 2", ""),
        ("threshold = 2", "threshold = 2\ntreshold = 2"),
        ('format = "asset-bridge/policy/1"', 'format = "asset-bridge/policy/2"'),
        ("max_age_seconds = 3600", "max_age_seconds = 0"),
        ("chain_id = 1", "chain_id = -1"),
        ('chain_view = "attested"', 'chain_view = "any"'),
        ("allow_simulated = false", "allow_simulated = true"),
        ('platforms = "listed"', 'platforms = "all"'),
        ("vendor = true", "vendor = 1"),
        ("vendor = true", ""),
        ('name = "tdx"', 'name = "sev-snp"'),
        ('name = "tdx"', 'name = "acme"'),
        ("snp = 23", 'snp = "23"'),
        ('"Genoa",', "1,"),
        ('id = "0xa2', 'id = "0x'),
        ('id = "0xa2', 'id = "0xzz'),
        ('build = "build', 'biuld = "build'),
        ('origin = "https://rpc.first.example"', "origin = 1"),
        ("[spread]", "[[spread]]"),
        ("[spread]", "[spread"),
    ],
)
def test_every_change_that_matters_is_refused(old: str, new: str) -> None:
    assert old in GOLDEN
    refused(GOLDEN.replace(old, new, 1))


def test_an_entry_twice_is_refused() -> None:
    entry = GOLDEN[GOLDEN.index("[[measurement]]") : GOLDEN.index("[[platform]]")]
    refused(GOLDEN + "\n" + entry)


def test_a_huge_file_is_refused() -> None:
    refused("#" + "x" * policy_file.MAX_POLICY_BYTES)


def test_a_deeply_nested_file_is_refused() -> None:
    refused("a = " + "[" * 100_000)


def test_simulated_needs_a_development_chain_and_its_root(root_pem: bytes) -> None:
    allowed = GOLDEN.replace("allow_simulated = false", "allow_simulated = true")
    root = f'[simulated]\nroot_certificate = """\n{root_pem.decode()}"""\n'
    here = allowed.replace("chain_id = 1\n", "chain_id = 31337\n")
    assert policy_file.parse(here + root).simulated_root == root_pem
    assert "31337 and 1337 only" in refused(allowed + root)
    refused(here)
    refused(GOLDEN + root)
    refused(here + '[simulated]\nroot_certificate = "junk"\n')


@pytest.mark.parametrize("chain_id", [1, 11155111, 31338, 0])
def test_no_value_allows_simulated_on_another_chain(chain_id: int, root_pem: bytes) -> None:
    with pytest.raises(InputError):
        Policy(chain_id=chain_id, allow_simulated=True, simulated_root=root_pem)


def test_what_devnet_writes_is_read_back(root_pem: bytes) -> None:
    made = development(31337, {b"o" * 20: "operator 1"}, {b"m" * 32: "dev"}, root_pem)
    assert policy_file.parse(policy_file.render(made)) == made
    assert not made.names_nobody


def test_the_default_names_nobody() -> None:
    assert NOBODY.names_nobody
    assert not NOBODY.allow_simulated
    assert not NOBODY.allow_boot_only
