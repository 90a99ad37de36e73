"""The golden files and cases of spec/sealed-file.md. What was released counts, also in failure."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.sealing.floe import FloeParameters
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.package import KeyPackage
from tools.vectors import sealed_file

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "sealed-file"
CASES = sorted((FOLDER / "cases").iterdir())
GOLDEN = json.loads((FOLDER / "golden.json").read_text())


def parse(path: Path) -> tuple[dict[str, str], bytes]:
    """Fields and bytes of a case."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    return dict(line.split(": ", 1) for line in head.decode().splitlines()), data


def opener_of(case: dict[str, str], data: bytes) -> Opener:
    """The product's opener with what the case gives."""
    parameters = FloeParameters(int(case["segment"]))
    size, body = parameters.segment_bytes, data[128:]
    return Opener(
        data[:128],
        file_key=bytes.fromhex(case["key"]),
        lister=bytes.fromhex(case["lister"]),
        body_length_bytes=len(body),
        fetch_segment=lambda i: body[i * size : (i + 1) * size],
        content_length_bytes=int(case["announced"]) if "announced" in case else None,
        parameters=parameters,
        workers=1,
    )


def open_container(case: dict[str, str], data: bytes) -> tuple[str, str]:
    """The outcome, and the hash of all content handed out."""
    released = hashlib.sha256()
    try:
        for _, chunk in opener_of(case, data).stream():
            released.update(chunk)
    except BridgeError as error:
        return error.code, released.hexdigest()
    return "success", released.hexdigest()


def open_package(data: bytes) -> str:
    """The outcome of reading a key package against the golden listing."""
    try:
        body = bytes.fromhex(GOLDEN["body"])
        KeyPackage.decode(data).check_against(
            header=bytes.fromhex(GOLDEN["header"]), body_digest=file_dag(body).root.digest, body_length_bytes=len(body)
        )
    except BridgeError as error:
        return error.code
    return "success"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case, data = parse(path)
    if case["object"] == "package":
        assert open_package(data) == case["expect"], case["comment"]
        return
    outcome, released = open_container(case, data)
    assert outcome == case["expect"], case["comment"]
    assert released == case["released"], "content handed out differs"
    scattered = []
    try:
        opener_of(case, data).scatter(lambda _, content: scattered.append(bytes(content)))
        outcome = "success"
    except BridgeError as error:
        outcome = error.code
    assert outcome == case["expect"], "opening at offsets differs"
    if outcome == "success":
        assert hashlib.sha256(b"".join(scattered)).hexdigest() == case["released"]


def test_every_documented_refusal_of_an_opener_has_a_case() -> None:
    text = (ROOT / "spec" / "sealed-file.md").read_text()
    documented = {
        code
        for code, kind in re.findall(r"^\| `(sealing\.[a-z-]+)` \| (\w+)", text, re.M)
        if kind in ("TamperedError", "RefusedError")
    }
    assert {parse(path)[0]["expect"] for path in CASES} == documented | {"success"}


def test_the_files_are_what_their_script_writes() -> None:
    for path, data in sealed_file.files().items():
        assert path.read_bytes() == data, path.name
    assert {path for path in sealed_file.files() if path.parent.name == "cases"} == set(CASES)


def test_golden_container_opens_with_the_product_s_parameters() -> None:
    body = bytes.fromhex(GOLDEN["body"])
    opener = Opener(
        bytes.fromhex(GOLDEN["header"]),
        file_key=bytes.fromhex(GOLDEN["file key"]),
        lister=bytes.fromhex(GOLDEN["lister"]),
        body_length_bytes=len(body),
        fetch_segment=lambda _: body,
    )
    assert {member.path: opener.read(member.path).hex() for member in opener.members} == GOLDEN["members"]
    assert str(file_dag(body).root) == GOLDEN["body cid"]
    package = KeyPackage.decode(bytes.fromhex(GOLDEN["key package"]))
    assert package.encode().hex() == GOLDEN["key package"]
    assert package.content_length_bytes == opener.content_length_bytes
