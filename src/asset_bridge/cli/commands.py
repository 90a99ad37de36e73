"""Every command: its module in asset_bridge.cli, its attribute there, and one sentence for `--help`.

Modules are imported when their command is used, so that `--help` answers at once. Promises: each sentence is the first of its
command's own help (tests/unit/cli compares). Does not promise: an order; main.py groups them by role.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command is, and what it does."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "init": Entry(
        "init_cmd", "init", "Make a home: keys, settings, and a second place for what must never be in a backup."
    ),
    "backup": Entry(
        "backup_cmd",
        "backup",
        "Write the backup's two files into FOLDER: `keys` (kept for ever) and `tweaks` (useless without the second place).",
    ),
    "restore": Entry(
        "backup_cmd",
        "restore",
        "Make a home again from the two files of a backup, or from the tweaks file and recovery shares.",
    ),
    "account": Entry("account_cmd", "account", "Who is paid, and who can recover the account."),
    "balance": Entry("account_cmd", "balance", "What the account holds, and what waits for it in the Exchange."),
    "publish": Entry("publish_cmd", "publish", "Seal PATH (a file or folder) on this machine and list it for sale."),
    "assets": Entry("assets_cmd", "assets", "List your own assets, or change what future requests see."),
    "catalog": Entry(
        "catalog_cmd", "catalog", "List what is for sale, or show one ASSET with its terms and deadlines."
    ),
    "request": Entry("request_cmd", "request", "Apply for ASSET."),
    "inbox": Entry("inbox_cmd", "inbox", "Show the requests that wait for your answer."),
    "approve": Entry(
        "approve_cmd",
        "approve",
        "Approve ORDER: verify TEE nodes, make the proxy key, seal each share to one of them, record it.",
    ),
    "deny": Entry("approve_cmd", "deny", "Say no to ORDER."),
    "cancel": Entry("cancel_cmd", "cancel", "Withdraw ORDER before it is paid."),
    "pay": Entry("pay_cmd", "pay", "Pay for ORDER."),
    "fetch": Entry("fetch_cmd", "fetch", "Fetch the data of a paid ORDER into a new folder."),
    "open": Entry(
        "open_cmd",
        "open_",
        "Open the data of ORDER again from what this home keeps: no TEE node is asked, also after access has ended.",
    ),
    "accept": Entry(
        "settle_cmd",
        "accept",
        "Say that ORDER was delivered as promised: the escrow is settled at once instead of after the windows.",
    ),
    "refund": Entry(
        "settle_cmd",
        "refund",
        "Get the price of ORDER back after a missed delivery, or, with --agree, by consent of both.",
    ),
    "claim": Entry("settle_cmd", "claim", "Take out what is yours."),
    "challenge": Entry(
        "challenge_cmd",
        "challenge",
        "Say that ORDER was recorded as delivered but its fragments are missing or not valid.",
    ),
    "status": Entry("status_cmd", "status", "Show where ORDER stands, or all your orders."),
    "revoke": Entry("revoke_cmd", "revoke", "Stop serving ORDER: no further re-encryption."),
    "reseal": Entry(
        "revoke_cmd",
        "reseal",
        "Seal the lost shares of ORDER again, after TEE nodes restarted (a restart means new keys).",
    ),
    "regenerate": Entry(
        "regenerate_cmd",
        "regenerate",
        "Replace all shares of ORDER by new ones: for other TEE nodes, or another threshold.",
    ),
    "consent": Entry(
        "regenerate_cmd",
        "consent",
        "Agree to the new shares in FILE, which the provider of a paid order made; nothing is sent.",
    ),
    "retire": Entry("revoke_cmd", "retire", "Take no new requests for ASSET."),
    "submit": Entry(
        "submit_cmd", "submit", "Send what an account signed with --sign-only; this home's account pays the fee."
    ),
    "agent": Entry("agent_cmd", "agent", "Watch the inbox, seal lost shares again, record receipts."),
    "evidence": Entry("evidence_cmd", "evidence", "Look at attestation evidence offline."),
    "policy": Entry("policy_cmd", "policy", "Look at a policy: which TEE nodes may hold a share of your keys."),
    "node": Entry("node_cmd", "node", "Run a light, storage or TEE node, and look at those of the network."),
    "devnet": Entry(
        "devnet_cmd",
        "devnet",
        "A development network on this machine: chain, storage nodes, light node, TEE nodes (simulated attestation).",
    ),
    "tokens": Entry("tokens_cmd", "tokens", "Which tokens may be a price on this network."),
    "exchanges": Entry("exchanges_cmd", "exchanges", "Which Exchanges take orders for the assets of this network."),
    "governor": Entry(
        "governor_cmd", "governor", "Who keeps this network's lists, and which TEE nodes' evidence counts."
    ),
    "network": Entry("network_cmd", "network", "Which network this home works with."),
    "deploy": Entry("deploy_cmd", "deploy", "Deploy the contracts and write network.toml."),
    "demo": Entry(
        "demo_cmd", "demo", "Run a whole trade on this machine, and show that nobody else can read the data."
    ),
    "doctor": Entry(
        "doctor_cmd", "doctor", "Check this machine, this home and its network; say what is wrong and how to mend it."
    ),
}
