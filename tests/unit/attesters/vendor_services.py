"""Stand-ins on loopback for Intel's PCS, a PCCS and AMD's KDS: the documented addresses, headers and forms, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

Answer = tuple[int, dict[str, str], bytes]
Change = Callable[[str, Answer], Answer]


class VendorServer:
    """Serves `routes` (path with sorted query → answer). `change` may alter an answer; `asked` lists what was asked for."""

    def __init__(self) -> None:
        self.routes: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.change: Change = lambda path, answer: answer
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = "&".join(f"{name}={values[0]}" for name, values in sorted(parse_qs(parts.query).items()))
                path = parts.path + (f"?{query}" if query else "")
                outer.asked.append(path)
                status, headers, body = outer.change(path, outer.routes.get(path, (404, {}, b"no such thing")))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def intel(self, kind: str, fmspc: str, parts: dict[str, str], *, authority: str, hexadecimal: bool) -> None:
        """Serve this collateral as a PCS does (lists in DER), or as a PCCS (in hex)."""

        def listed(name: str) -> bytes:
            return parts[name].encode() if hexadecimal else bytes.fromhex(parts[name])

        def signed(name: str, part: str) -> bytes:
            return f'{{"{name}":{parts[part]},"signature":"{parts[part + "_signature"]}"}}'.encode()

        def chained(header: str, part: str) -> dict[str, str]:
            return {header: quote(parts[part])}

        self.routes |= {
            f"/{kind}/certification/v4/tcb?fmspc={fmspc}": (
                200, chained("TCB-Info-Issuer-Chain", "tcb_info_issuer_chain"), signed("tcbInfo", "tcb_info"),
            ),
            f"/{kind}/certification/v4/qe/identity": (
                200, chained("SGX-Enclave-Identity-Issuer-Chain", "qe_identity_issuer_chain"),
                signed("enclaveIdentity", "qe_identity"),
            ),
            f"/sgx/certification/v4/pckcrl?ca={authority}&encoding=der": (
                200, chained("SGX-PCK-CRL-Issuer-Chain", "pck_crl_issuer_chain"), listed("pck_crl"),
            ),
            "/sgx/certification/v4/rootcacrl": (200, {}, listed("root_ca_crl")),
        }  # fmt: skip


def parts_of(data: bytes) -> dict[str, str]:
    """The nine parts of a collateral file; some of the recorded ones have a tenth, which no service gives."""
    found: dict[str, str] = json.loads(data)
    return {name: text for name, text in found.items() if name != "pck_certificate_chain"}
