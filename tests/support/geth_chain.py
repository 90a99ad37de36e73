"""geth in development mode in the place of anvil: the same network, another EVM, another client."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from asset_bridge import processes
from asset_bridge.chain.devchain import DevChain
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.network import DEVELOPMENT_FINALITY_DEPTH
from asset_bridge.errors import BridgeError
from asset_bridge.nodes.devnet import Devnet

START_SECONDS = 60.0


class GethChain(DevChain):
    """One geth with a block a second, on loopback, ending with this process. Funds come from its own development account."""

    def __init__(self, folder: Path, geth: Path) -> None:
        super().__init__(folder)
        self._geth = geth

    def fund(self, address: str, wei: int) -> None:
        """See DevChain; waits until the coins are there."""
        endpoint = Endpoint(self.rpc_url)
        before = endpoint.as_int(endpoint.call("eth_getBalance", address, "latest"))
        (rich, *_) = endpoint.call("eth_accounts")
        endpoint.call("eth_sendTransaction", {"from": rich, "to": address, "value": hex(wei)})
        until = time.monotonic() + START_SECONDS
        while endpoint.as_int(endpoint.call("eth_getBalance", address, "latest")) < before + wei:
            assert time.monotonic() < until, f"geth did not fund {address}: see {self.log}"
            time.sleep(0.2)

    def make_final(self) -> None:
        """See DevChain; geth has no call that mines, so this waits for its blocks."""
        endpoint, until = Endpoint(self.rpc_url), time.monotonic() + START_SECONDS
        wanted = endpoint.as_int(endpoint.call("eth_blockNumber")) + DEVELOPMENT_FINALITY_DEPTH + 1
        while endpoint.as_int(endpoint.call("eth_blockNumber")) < wanted:
            assert time.monotonic() < until, f"geth makes no blocks: see {self.log}"
            time.sleep(0.2)

    def _launch(self) -> None:
        ports = processes.free_ports(2)
        (self.folder / "port.json").write_text(json.dumps(ports[0]))
        argv = [str(self._geth), "--dev", "--dev.period", "1", "--datadir", str(self.folder / "data"), "--ipcdisable"]
        argv += ["--http", "--http.addr", "127.0.0.1", "--http.port", str(ports[0]), "--http.api", "eth,net,web3"]
        argv += ["--authrpc.addr", "127.0.0.1", "--authrpc.port", str(ports[1]), "--nodiscover", "--maxpeers", "0"]
        argv += ["--port", "0", "--gcmode", "archive", "--verbosity", "2"]
        read, self._pipe = os.pipe()
        argv = processes.guarded(read, argv)
        processes.start("geth", argv, log=self.log, record=self.record, while_open=read)
        os.close(read)

    def _wait(self) -> None:
        endpoint, until = Endpoint(self.rpc_url), time.monotonic() + START_SECONDS
        while True:
            try:
                if endpoint.as_int(endpoint.call("eth_blockNumber")) > 2:
                    break
            except BridgeError:
                pass
            assert time.monotonic() < until, f"geth did not start: see {self.log}"
            time.sleep(0.2)
        self.fund(self.accounts[0].address, 1_000 * 10**18)


class GethNetwork(Devnet):
    """A whole network whose chain is geth."""

    def __init__(self, folder: Path, geth: Path) -> None:
        super().__init__(folder, report=lambda _: None)
        self._chain: DevChain = GethChain(self.folder / "chain", geth)
