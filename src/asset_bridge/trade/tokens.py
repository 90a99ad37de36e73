"""The network's list of tokens that may be a price, and the governor's two verbs about it.

Source: protocol §7, spec/contracts.md §4 (AssetLedger). Promises: nothing is sent that the contract would refuse; what is so already is
left alone; each refusal says who could do it. Does not promise: that a token is worth its price, or that its issuer cannot freeze it.
"""

from __future__ import annotations

from asset_bridge.chain.records import ZERO_ADDRESS, Sent
from asset_bridge.errors import InputError
from asset_bridge.trade.exchanges import governed
from asset_bridge.trade.ports import ChainAccount


def allow_token(account: ChainAccount, token: str) -> tuple[Sent, ...]:
    """Let a token be a price, after the network's delay.

    Raises:
        InputError(trade.token-listed): it is the native coin, which is always a price.
        InputError(chain.token): no token that tells its decimals is there.
        RefusedError(trade.not-governor): the account is not the AssetLedger's governor.
    """
    if token == ZERO_ADDRESS:
        raise InputError("trade.token-listed", "The chain's own coin may always be a price.", hint="name a token")
    if account.reader.token_times().get(token):
        return ()
    governed(account, ["AssetLedger"])
    account.reader.token(token)  # one that tells its decimals
    return (account.govern("AssetLedger", "list_token", token),)


def forbid_token(account: ChainAccount, token: str) -> tuple[Sent, ...]:
    """Let a token be no price from now on; open orders go on.

    Raises:
        InputError(trade.token-listed): it was never on the list.
        RefusedError(trade.not-governor): the account is not the AssetLedger's governor.
    """
    listed = account.reader.token_times()
    if token not in listed:
        raise InputError(
            "trade.token-listed", f"The token {token} was never on the list.", hint="asset-bridge tokens shows it"
        )
    if not listed[token]:
        return ()
    governed(account, ["AssetLedger"])
    return (account.govern("AssetLedger", "remove_token", token),)
