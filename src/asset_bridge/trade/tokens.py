"""The network's list of tokens that may be a price, and the governor's two verbs about it.

Source: protocol §7, spec/contracts.md §4 (AssetLedger). Promises: nothing is sent that the contract would refuse, and each refusal says
who could do it. Does not promise: that a token is worth its price, or that its issuer cannot freeze it.
"""

from __future__ import annotations

from asset_bridge.chain.records import ZERO_ADDRESS, Sent
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.ports import ChainAccount


def allow_token(account: ChainAccount, token: str) -> Sent:
    """Let a token be a price, after the network's delay.

    Raises:
        InputError(trade.token-listed): it is on the list already, or is the native coin.
        InputError(chain.token): no token that tells its decimals is there.
        RefusedError(trade.not-governor): the account is not the governor.
    """
    _governed(account)
    account.reader.token(token)  # one that tells its decimals
    if token == ZERO_ADDRESS or account.reader.token_times().get(token):
        raise InputError(
            "trade.token-listed", f"The token {token} may be a price already.", hint="asset-bridge tokens lists them"
        )
    return account.govern("AssetLedger", "list_token", token)


def forbid_token(account: ChainAccount, token: str) -> Sent:
    """Let a token be no price from now on; open orders go on.

    Raises:
        InputError(trade.token-listed): it is not on the list.
        RefusedError(trade.not-governor): the account is not the governor.
    """
    _governed(account)
    if not account.reader.token_times().get(token):
        raise InputError(
            "trade.token-listed", f"The token {token} is not on the list.", hint="asset-bridge tokens shows it"
        )
    return account.govern("AssetLedger", "remove_token", token)


def _governed(account: ChainAccount) -> None:
    if account.address != (governor := account.reader.governor_of("AssetLedger")):
        raise RefusedError(
            "trade.not-governor",
            f"Only the governor {governor} changes the list of tokens, and this account is {account.address}.",
            hint="use the governor's home with --home",
        )
