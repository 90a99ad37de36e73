"""The policy as a file that a security officer can read and sign.

Implements spec/attestation.md §6 (format `asset-bridge/policy/1`, frozen). Promises: an unknown or misspelt key is refused, never
skipped, so that a rule that someone wrote is a rule that holds; `parse(render(p)) == p`.
Does not promise: to keep comments; sign the bytes of the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import tomli_w

from asset_bridge.attestation.configuration import Endpoint
from asset_bridge.attestation.policy import AgentRules, Policy, Spread, VendorRule, refused_policy

POLICY_FORMAT = "asset-bridge/policy/1"
MAX_POLICY_BYTES = 1024 * 1024
AGENT_KEYS = tuple(field.name for field in fields(AgentRules))
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_TOP: dict[str, type] = {
    "format": str,
    "chain_id": int,
    "threshold": int,
    "shares": int,
    "max_age_seconds": int,
    "chain_view": str,
    "allow_simulated": bool,
    "allow_boot_only": bool,
    "platforms": str,
    "spread": dict,
    "simulated": dict,
    "vendor": list,
    "measurement": list,
    "operator": list,
    "platform": list,
    "rpc": list,
    "agent": dict,
}
_REQUIRED = (
    "format",
    "chain_id",
    "threshold",
    "shares",
    "max_age_seconds",
    "chain_view",
    "allow_simulated",
    "platforms",
    "spread",
)
_HEADER = """\
# Whom this provider trusts to hold a share of its keys. Format and meaning: spec/attestation.md, section 6.
# Every rule here must hold for a node to be chosen; what is not named is refused.
"""


def parse(text: str) -> Policy:
    """The policy of a file's text; InputError(attestation.policy) names the first thing that is wrong."""
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise refused_policy("the file is larger than 1 MiB")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise refused_policy(f"not TOML: {error}") from None
    except RecursionError:
        raise refused_policy("nested too deep") from None
    _check(table, _TOP, "the file", _REQUIRED)
    if table["format"] != POLICY_FORMAT:
        raise refused_policy(f'format must be "{POLICY_FORMAT}"')
    if table["platforms"] not in ("listed", "any"):
        raise refused_policy('platforms must be "listed" or "any"')
    spread = table["spread"]
    _check(spread, {"operator": bool, "platform": bool, "vendor": bool}, "[spread]", ("operator", "platform", "vendor"))
    return Policy(
        chain_id=table["chain_id"],
        threshold=table["threshold"],
        shares=table["shares"],
        max_age_seconds=table["max_age_seconds"],
        chain_view=table["chain_view"],
        allow_simulated=table["allow_simulated"],
        allow_boot_only=table.get("allow_boot_only", False),
        simulated_root=_simulated(table.get("simulated")),
        any_platform=table["platforms"] == "any",
        spread=Spread(spread["operator"], spread["platform"], spread["vendor"]),
        vendors=tuple(_vendor(entry) for entry in table.get("vendor", [])),
        measurements=_named(table.get("measurement", []), "measurement", "id", 32, "build"),
        operators=_named(table.get("operator", []), "operator", "address", 20, "name"),
        platforms=_named(table.get("platform", []), "platform", "id", 32, "note"),
        endpoints=_endpoints(table.get("rpc", [])),
        agent=_agent(table.get("agent", {})),
    )


def render(policy: Policy) -> str:
    """The file of a policy: a header for people, then TOML in a fixed order."""
    table: dict[str, Any] = {
        "format": POLICY_FORMAT,
        "chain_id": policy.chain_id,
        "threshold": policy.threshold,
        "shares": policy.shares,
        "max_age_seconds": policy.max_age_seconds,
        "chain_view": policy.chain_view,
        "allow_simulated": policy.allow_simulated,
        "allow_boot_only": policy.allow_boot_only,
        "platforms": "any" if policy.any_platform else "listed",
        "spread": {
            "operator": policy.spread.operator,
            "platform": policy.spread.platform,
            "vendor": policy.spread.vendor,
        },
        "vendor": [
            {
                "name": rule.name,
                "products": sorted(rule.products),
                "tcb_statuses": sorted(rule.tcb_statuses),
                "tcb_floor": dict(sorted(rule.tcb_floor.items())),
            }
            for rule in policy.vendors
        ],
        "measurement": [{"id": _hex(key), "build": build} for key, build in policy.measurements.items()],
        "operator": [{"address": _hex(key), "name": name} for key, name in policy.operators.items()],
        "platform": [{"id": _hex(key), "note": note} for key, note in policy.platforms.items()],
        "rpc": [{"origin": endpoint.origin, "tls_key": _hex(endpoint.tls_key)} for endpoint in policy.endpoints],
    }
    if policy.simulated_root is not None:
        table["simulated"] = {"root_certificate": policy.simulated_root.decode()}
    if policy.agent != AgentRules():
        rules = policy.agent
        table["agent"] = {name: getattr(rules, name) for name in AGENT_KEYS}
    lists = ("vendor", "measurement", "operator", "platform", "rpc")
    return _HEADER + tomli_w.dumps(
        {key: value for key, value in table.items() if value or key not in lists}, multiline_strings=True
    )


def _check(table: Any, kinds: Mapping[str, type], where: str, required: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise refused_policy(f"{where} is not a table")
    for key, value in table.items():
        if key not in kinds:
            raise refused_policy(f"{where} has an unknown key {key[:40]!r}")
        if type(value) is not kinds[key]:
            raise refused_policy(f"{key} in {where} has the wrong type")
    for key in required:
        if key not in table:
            raise refused_policy(f"{where} lacks {key}")


def _simulated(entry: Any) -> bytes | None:
    if entry is None:
        return None
    _check(entry, {"root_certificate": str}, "[simulated]", ("root_certificate",))
    pem: str = entry["root_certificate"]
    return pem.encode()


def _agent(entry: Any) -> AgentRules:
    _check(entry, dict.fromkeys(AGENT_KEYS, bool), "[agent]", ())
    return AgentRules(**entry)


def _vendor(entry: Any) -> VendorRule:
    kinds = {"name": str, "products": list, "tcb_statuses": list, "tcb_floor": dict}
    _check(entry, kinds, "[[vendor]]", ("name", "products", "tcb_statuses", "tcb_floor"))
    for key in ("products", "tcb_statuses"):
        if not all(isinstance(item, str) for item in entry[key]):
            raise refused_policy(f"{key} in [[vendor]] must hold texts")
    if not all(type(value) is int for value in entry["tcb_floor"].values()):
        raise refused_policy("tcb_floor in [[vendor]] must hold numbers")
    return VendorRule(
        entry["name"], frozenset(entry["products"]), frozenset(entry["tcb_statuses"]), dict(entry["tcb_floor"])
    )


def _named(entries: list[Any], table: str, key: str, length_bytes: int, text: str) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for entry in entries:
        _check(entry, {key: str, text: str}, f"[[{table}]]", (key, text))
        value = _unhex(entry[key], f"{key} in [[{table}]]", length_bytes)
        if value in found:
            raise refused_policy(f"a {table} is named twice")
        found[value] = entry[text]
    return found


def _endpoints(entries: list[Any]) -> tuple[Endpoint, ...]:
    found = []
    for entry in entries:
        _check(entry, {"origin": str, "tls_key": str}, "[[rpc]]", ("origin", "tls_key"))
        found.append(Endpoint(entry["origin"], _unhex(entry["tls_key"], "tls_key in [[rpc]]", 32)))
    return tuple(found)


def _unhex(value: str, where: str, length_bytes: int) -> bytes:
    if len(value) != 2 + 2 * length_bytes or not _HEX.match(value):
        raise refused_policy(f"{where} must be 0x and {2 * length_bytes} hexadecimal digits")
    return bytes.fromhex(value[2:])


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
