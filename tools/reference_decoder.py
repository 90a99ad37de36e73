"""A second decoder of the sealed file, written from spec/sealed-file.md alone: plain, slow, whole files in memory.

    python tools/reference_decoder.py spec/vectors/sealed-file/cases/*.case

It imports nothing of the product, which a test checks. It is there to show that the text suffices; open data with the product.
"""

import hashlib
import hmac
import json
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MEDIA_PART = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}"


class Refused(Exception):
    """The code of a refusal."""


def need(condition, code):
    if not condition:
        raise Refused(code)


def number(data):
    return int.from_bytes(data, "big")


def expand(key, info, size):  # HKDF-Expand with SHA-384, RFC 5869 §2.3
    out = block = b""
    while len(out) < size:
        block = hmac.digest(key, block + info + bytes([len(out) // 48 + 1]), "sha384")
        out += block
    return out[:size]


def read_header(header, segment):  # S1 to S5
    need(len(header) == 128 and header[:8] == bytes.fromhex("89414253460d0a1a"), "sealing.header")
    need(header[8] == 1 and header[9] == 1, "sealing.version")
    need(header[10] in (0, 1, 2), "sealing.header")
    need(not any(header[11:16]) and not any(header[106:]), "sealing.header")
    need(header[32:42] == b"\0\0" + segment.to_bytes(4, "big") + b"\0\0\0\x20", "sealing.header")
    return header[10], header[16:32]


def padded(mode, n):  # S24, S25
    if mode == 0 or n < 2:
        return n
    if mode == 1:
        e = n.bit_length() - 1
        low = 2 ** (e - e.bit_length())
        return -(-n // low) * low
    return next((size - 32 for size in (4096, 8192, 16384, 24576) if n <= size - 32), None)


class Body:
    """The opened segments of a container; the header, the key and the length are verified."""

    def __init__(self, header, body, key, lister, segment):
        self.mode, _ = read_header(header, segment)
        self.segment, self.body = segment, body
        aad = b"asset-bridge/file/1" + header[:32] + lister  # S6
        parameters_iv = header[32:74]
        tag = expand(key, parameters_iv + b"HEADER_TAG:" + aad, 32)  # S10
        need(hmac.compare_digest(tag, header[74:106]), "sealing.key")  # S15
        self.message_key = expand(key, parameters_iv + b"MESSAGE_KEY:" + aad, 48)
        self.info = lambda i: parameters_iv + b"DEK:" + (i >> 20 << 20).to_bytes(8, "big") + aad
        self.count = -(-len(body) // segment)
        need(body and len(body) - (self.count - 1) * segment > 32 and self.count <= 2**24, "sealing.length")  # S26
        need(self.mode != 2 or len(body) in (4096, 8192, 16384, 24576), "sealing.length")  # S25
        self.size = len(body) - 32 * self.count

    def open(self, i):  # S11, S13, S14, S16
        last = i == self.count - 1
        code = "sealing.final" if last else "sealing.segment"
        piece = self.body[i * self.segment : (i + 1) * self.segment]
        need(piece[:4] == (len(piece).to_bytes(4, "big") if last else b"\xff" * 4), code)
        aes = AESGCM(expand(self.message_key, self.info(i), 32))
        try:
            return aes.decrypt(piece[4:16], piece[16:], i.to_bytes(8, "big") + bytes([last]))
        except InvalidTag:
            raise Refused(code) from None

    def read(self, start, end):
        """Plaintext bytes, one segment after the other."""
        full = self.segment - 32
        pieces = (self.open(i) for i in range(start // full, -(-end // full)))
        return b"".join(pieces)[start % full :][: end - start] if end > start else b""


def read_cbor(data, at, depth=0):  # S18
    need(at < len(data) and depth <= 3, "sealing.index")
    major, value, at = data[at] >> 5, data[at] & 31, at + 1
    if value >= 24:
        need(value < 28 and at + 2 ** (value - 24) <= len(data), "sealing.index")
        width = 2 ** (value - 24)
        value = number(data[at : at + width])
        need(value >= (24 if width == 1 else 2 ** (4 * width)), "sealing.index")
        at += width
    if major == 0:
        return value, at
    need(major in (3, 4) and value <= len(data) - at, "sealing.index")
    if major == 3:
        try:
            return data[at : at + value].decode("utf-8"), at + value
        except UnicodeDecodeError:
            raise Refused("sealing.index") from None
    items = []
    for _ in range(value):
        item, at = read_cbor(data, at, depth + 1)
        items.append(item)
    return items, at


def read_index(data):  # S18 to S23
    index, end = read_cbor(data, 0)
    need(end == len(data) and type(index) is list and len(index) == 3, "sealing.index")
    need(index[0] == 1 and index[1] in (0, 1) and type(index[2]) is list, "sealing.index")
    kind, entries = index[1], index[2]
    for entry in entries:
        need(type(entry) is list and [type(x) for x in entry] in ([str, int, str, int], [str]), "sealing.index")
    files = [entry for entry in entries if len(entry) == 4]
    need(len(entries) <= 65536, "sealing.index")
    need(kind == 1 or (len(entries) == len(files) == 1 and "/" not in files[0][0]), "sealing.index")
    for _, size, media, time in files:
        need(size <= 2**44 and time < 2**40, "sealing.index")
        need(re.fullmatch(f"{MEDIA_PART}/{MEDIA_PART}", media), "sealing.index")
    order = []
    for path in (entry[0] for entry in entries):
        raw = path.encode()
        need(1 <= len(raw) <= 2048 and not re.search(r"[\x00-\x1f\x7f-\x9f\\]", path), "sealing.path")
        need(all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in path.split("/")), "sealing.path")
        order.append(raw.replace(b"/", b"\0"))
    need(len(set(order)) == len(order), "sealing.path")
    for raw in order:
        need(not any(raw[:at] in order for at in range(len(raw)) if raw[at] == 0), "sealing.path")
    need(order == sorted(order), "sealing.index")
    return files


def open_container(header, body, key, lister, segment=1048576, release=len, announced=None):
    """Members as (path, bytes). `release` gets the content as it is handed out."""
    it = Body(header, body, key, lister, segment)
    it.open(it.count - 1)  # S33
    need(it.size >= 12, "sealing.length")
    prologue = it.read(0, 12)
    content_bytes, index_bytes = number(prologue[:8]), number(prologue[8:])
    n = 12 + index_bytes + content_bytes
    need(index_bytes <= 8 * 2**20 and n <= it.size and padded(it.mode, n) == it.size, "sealing.length")  # S17, S27
    files = read_index(it.read(12, 12 + index_bytes))
    need(sum(entry[1] for entry in files) == content_bytes, "sealing.index")  # S17
    need(announced in (None, str(content_bytes)), "sealing.length")  # S38
    content, start, full = b"", 12 + index_bytes, segment - 32
    for i in range(it.count):
        plain = it.open(i)
        piece = plain[max(0, start - i * full) : max(0, n - i * full)]
        release(piece)
        content += piece
        need(not any(plain[max(0, n - i * full) :]), "sealing.padding")
    ends = [sum(entry[1] for entry in files[: i + 1]) for i in range(len(files))]
    return [(entry[0], content[end - entry[1] : end]) for entry, end in zip(files, ends, strict=True)]


def read_package(package, header, body_digest, body_length):  # S36, S37
    need(len(package) == 97 and package[0] == 1, "sealing.package")
    listed = read_header(header, 1048576)[1] + body_digest + body_length.to_bytes(8, "big")
    need(package[1:17] + package[49:89] == listed, "sealing.package-mismatch")


def run_case(data, golden):
    """What a case file expects, and what this decoder finds: outcome and hash of the released content."""
    head, _, rest = data.partition(b"\n\n")
    case = dict(line.split(": ", 1) for line in head.decode().splitlines())
    released, outcome = hashlib.sha256(), "success"
    try:
        if case["object"] == "package":
            body = bytes.fromhex(golden["body"])
            read_package(rest, bytes.fromhex(golden["header"]), hashlib.sha256(body).digest(), len(body))
        else:
            key, lister = bytes.fromhex(case["key"]), bytes.fromhex(case["lister"])
            open_container(
                rest[:128], rest[128:], key, lister, int(case["segment"]), released.update, case.get("announced")
            )
    except Refused as refused:
        outcome = str(refused)
    return (case["expect"], case["released"]), (outcome, released.hexdigest())


if __name__ == "__main__":
    GOLDEN = json.loads((Path(__file__).parents[1] / "spec/vectors/sealed-file/golden.json").read_text())
    for name in sys.argv[1:]:
        expected, found = run_case(Path(name).read_bytes(), GOLDEN)
        print("agrees " if expected == found else "DIFFERS", Path(name).name, found[0])
