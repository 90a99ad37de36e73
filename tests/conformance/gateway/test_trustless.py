"""The embedded node against the trustless gateway specification, blocks and CAR, on DAGs that no part of the product made."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx
import pytest

from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipld.murmur import murmur3_x64_64
from tests.conformance.gateway.dags import CBOR, JSON, PB, RAW, Dag, cbor_link, cid0, names_in, pb, text, unixfs
from tests.support.storage import StorageNode

CAR = "application/vnd.ipld.car"
CONTENT = random.Random(6).randbytes(1283)  # six leaves of 256, two levels
DAG = Dag()
FILE = DAG.file(CONTENT)
LEAVES = [name for name in DAG.blocks if name[1] == RAW]
HALVES = [name for name in DAG.blocks if name[1] == PB and name != FILE]
SMALL = DAG.add(RAW, b"small file\n")
SUB = DAG.folder({"big": FILE, "small.txt": SMALL})
DOCUMENT = DAG.add(CBOR, b"\xa2\x63one" + b"\xa1\x64list\x82\x01" + cbor_link(SUB) + b"\x63two\xf5")
NOTE = DAG.add(JSON, f'{{"at": {{"/": "{text(SMALL)}"}}, "n": 1}}'.encode())
OLD = pb([(FILE, "big", 1)], unixfs(1), data_first=True)
OLD_NAME = cid0(OLD)
DAG.blocks[OLD_NAME] = OLD
ROOT = DAG.folder({"again.txt": SMALL, "document": DOCUMENT, "note": NOTE, "old": OLD_NAME, "sub": SUB})


def shard(members: dict[str, bytes], depth: int = 0) -> bytes:
    """A HAMT of fanout 256 in which one name shares its first byte with another."""
    by_byte: dict[int, dict[str, bytes]] = {}
    for label, name in members.items():
        by_byte.setdefault(murmur3_x64_64(label.encode())[depth], {})[label] = name
    links = []
    for byte, found in sorted(by_byte.items()):
        if len(found) == 1:
            links += [(name, f"{byte:02X}{label}", 1) for label, name in found.items()]
        else:
            links.append((shard(found, depth + 1), f"{byte:02X}", 1))
    bitmap = sum(1 << byte for byte in by_byte).to_bytes(32, "big")
    return DAG.add(PB, pb(links, unixfs(5, data=bitmap, fanout=256)))


PAIR = DAG.folder({"a": SMALL, "b": SMALL})
TWICE = DAG.folder({"one": PAIR, "two": PAIR})
INLINE = text(b"\x01\x55\x00\x05" + b"inner")
NAMES = [f"{number}.txt" for number in range(60)]
HAMT = shard(dict.fromkeys(NAMES, FILE))
SHARDS = [name for name in DAG.blocks if name[1] == PB and DAG.blocks[name].endswith(b"\x28\x22\x30\x80\x02")]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    store = EmbeddedStore(tmp_path_factory.mktemp("gateway"), reserve_bytes=0)
    node = StorageNode(1, store)
    answer = node.peer().put_bytes("/v1/archives", DAG.car([ROOT, HAMT, TWICE], without=(LEAVES[4],)))
    assert answer["roots"] == [text(ROOT), text(HAMT), text(TWICE)]
    assert answer["blocks"] == len(DAG.blocks) - 1
    yield httpx.Client(transport=node.transport, base_url=f"http://{node.host}")
    store.close()


def car(http: httpx.Client, path: str, **query: str) -> list[bytes]:
    answer = http.get(f"/ipfs/{path}", params={"format": "car", **query})
    assert answer.status_code == 200
    assert answer.headers["accept-ranges"] == "none"
    by_accept = http.get(f"/ipfs/{path}", params=query, headers={"accept": CAR})
    assert (by_accept.content, by_accept.headers["etag"]) == (answer.content, answer.headers["etag"])
    return names_in(answer.content)


def test_murmur_is_that_of_the_reference() -> None:
    assert murmur3_x64_64(b"").hex() == "0" * 16
    assert murmur3_x64_64(b"hello").hex() == "cbd8a7b341bd9b02"
    assert murmur3_x64_64(b"The quick brown fox jumps over the lazy dog").hex() == "e34bbc7bbc071b6c"


@pytest.mark.parametrize("name", [SMALL, SUB, DOCUMENT, NOTE, OLD_NAME, HAMT])
def test_a_raw_block_with_its_headers(http: httpx.Client, name: bytes) -> None:
    answer = http.get(f"/ipfs/{text(name)}", headers={"accept": "application/vnd.ipld.raw"})
    assert (answer.status_code, answer.content) == (200, DAG.blocks[name])
    assert answer.headers["content-length"] == str(len(DAG.blocks[name]))
    assert answer.headers["content-disposition"] == f'attachment; filename="{text(name)}.bin"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-ipfs-path"] == f"/ipfs/{text(name)}"
    assert answer.headers["cache-control"] == "public, max-age=29030400, immutable"
    head = http.head(f"/ipfs/{text(name)}?format=raw")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    assert head.headers["content-length"] == str(len(DAG.blocks[name]))
    for given in (answer.headers["etag"], "W/" + answer.headers["etag"], f'"x", {answer.headers["etag"]}', "*"):
        again = http.get(f"/ipfs/{text(name)}?format=raw", headers={"if-none-match": given})
        assert (again.status_code, again.content) == (304, b"")
    assert http.get(f"/ipfs/{text(name)}?format=raw", headers={"if-none-match": '"x"'}).status_code == 200


def test_every_spelling_of_an_id_names_the_same_block(http: httpx.Client) -> None:
    number = int.from_bytes(SMALL, "big")
    base36 = ""
    while number:
        number, place = divmod(number, 36)
        base36 = "0123456789abcdefghijklmnopqrstuvwxyz"[place] + base36
    wrong_codec = b"\x01\x70" + SMALL[2:]
    for spelling in ("f" + SMALL.hex(), "k" + base36, text(SMALL).upper(), text(wrong_codec)):
        assert http.get(f"/ipfs/{spelling}?format=raw").content == DAG.blocks[SMALL]
    assert http.get("/ipfs/bafkqaaa?format=raw").content == b""
    assert http.get(f"/ipfs/{text(SMALL)}?format=raw&filename=é.bin").headers["content-disposition"] == (
        "attachment; filename=\"_.bin\"; filename*=UTF-8''%C3%A9.bin"
    )


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        *[("0-4", 206, 0, 4), ("3-", 206, 3, 10), ("-4", 206, 7, 10), ("0-99", 206, 0, 10), ("1-2,4-5", 200, 0, 10)],
        *[("11-", 416, 0, 0), ("-0", 416, 0, 0), ("5-2", 200, 0, 10), ("x", 200, 0, 10)],
    ],
)
def test_ranges_of_a_block(http: httpx.Client, asked: str, status: int, first: int, last: int) -> None:
    path = f"/ipfs/{text(SMALL)}?format=raw"
    answer = http.get(path, headers={"range": f"bytes={asked}"})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */11"
        return
    assert answer.content == DAG.blocks[SMALL][first : last + 1]
    assert answer.headers.get("content-range") == (f"bytes {first}-{last}/11" if status == 206 else None)
    head = http.head(path, headers={"range": f"bytes={asked}"})
    assert (head.status_code, head.headers["content-length"]) == (status, answer.headers["content-length"])
    other = http.get(path, headers={"range": f"bytes={asked}", "if-range": '"other"'})
    assert (other.status_code, other.content) == (200, DAG.blocks[SMALL])


def test_scopes(http: httpx.Client) -> None:
    root = text(ROOT)
    assert car(http, root, **{"dag-scope": "block"}) == [ROOT]
    assert car(http, root, **{"dag-scope": "entity"}) == [ROOT]
    assert car(http, f"{root}/sub/small.txt") == [ROOT, SUB, SMALL]
    assert car(http, f"{root}/sub", **{"dag-scope": "block"}) == [ROOT, SUB]
    assert car(http, f"{root}/document", **{"dag-scope": "entity"}) == [ROOT, DOCUMENT]
    assert car(http, f"{root}/document/one/list/1/small.txt") == [ROOT, DOCUMENT, SUB, SMALL]
    assert car(http, f"{root}/note/at") == [ROOT, NOTE, SMALL]
    assert car(http, f"{root}/old/big", **{"dag-scope": "block"}) == [ROOT, OLD_NAME, FILE]
    assert car(http, text(HAMT), **{"dag-scope": "entity"})[0] == HAMT
    assert set(car(http, text(HAMT), **{"dag-scope": "entity"})) == set(SHARDS)
    assert len(SHARDS) > 1
    for label in NAMES:
        names = car(http, f"{text(HAMT)}/{label}", **{"dag-scope": "block"})
        assert (names[0], names[-1], set(names[:-1]) <= set(SHARDS)) == (HAMT, FILE, True)
    assert http.get(f"/ipfs/{root}/sub/small.txt?format=raw").content == DAG.blocks[SMALL]
    assert http.head(f"/ipfs/{root}/sub?format=raw").headers["x-ipfs-roots"] == f"{root},{text(SUB)}"


@pytest.mark.parametrize(
    ("asked", "leaves"),
    [
        *[("0:0", [0]), ("0:255", [0]), ("255:256", [0, 1]), ("512:-517", [2]), ("1280:*", [5]), ("-3:*", [5])],
        *[("-9999:5", [0]), ("9999:*", []), ("300:300", [1]), ("-9999:-1100", [0])],
    ],
)
def test_entity_bytes(http: httpx.Client, asked: str, leaves: list[int]) -> None:
    """Leaf 4 is not here, and the answers do not need it."""
    names = car(http, f"{text(SUB)}/big", **{"dag-scope": "entity", "entity-bytes": asked})
    assert names[:2] == [SUB, FILE]
    assert [name for name in names if name[1] == RAW] == [LEAVES[number] for number in leaves]
    assert set(names) - {SUB, FILE} - set(LEAVES) == {HALVES[number // 3] for number in leaves}
    folder = car(http, text(ROOT), **{"dag-scope": "entity", "entity-bytes": asked})
    assert folder == [ROOT]  # of what is no file, all is needed


def test_order_and_duplicates(http: httpx.Client) -> None:
    path = text(TWICE)
    assert car(http, path, **{"car-dups": "y"}) == [TWICE, PAIR, SMALL, SMALL, PAIR, SMALL, SMALL]
    assert car(http, path, **{"car-dups": "n"}) == [TWICE, PAIR, SMALL] == car(http, path)
    assert car(http, path, **{"car-order": "unk"})[0] == TWICE
    inline = http.get(f"/ipfs/{INLINE}?format=car&car-dups=y")
    assert (inline.status_code, names_in(inline.content)) == (200, [])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ipfs/nothing?format=raw", 400),
        (f"/ipfs/{text(SMALL)}", 400),
        (f"/ipfs/{text(SMALL)}?format=tar", 406),
        (f"/ipfs/{text(SMALL)}?format=car&dag-scope=most", 400),
        (f"/ipfs/{text(SMALL)}?format=car&entity-bytes=a:b", 400),
        (f"/ipfs/{text(LEAVES[4])}?format=raw", 404),
        (f"/ipfs/{text(LEAVES[4])}?format=car", 404),
        (f"/ipfs/{text(ROOT)}/sub/none?format=car", 404),
        (f"/ipfs/{text(ROOT)}/sub/small.txt/more?format=car", 404),
        (f"/ipfs/{text(ROOT)}/document/two/more?format=car", 404),
        (f"/ipfs/{text(HAMT)}/none?format=car", 404),
        (f"/ipns/{text(ROOT)}?format=car", 404),
    ],
)
def test_refusals(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message", "hint", "actor"}
    assert answer.headers["cache-control"] == "no-store"
    assert http.head(path).status_code == status
    if status == 404 and "ipfs" in path:
        assert http.get(path, headers={"cache-control": "only-if-cached"}).status_code == 412


def test_a_walk_that_comes_to_a_missing_block_is_cut_off(http: httpx.Client) -> None:
    with pytest.raises((httpx.HTTPError, ConnectionError)):
        http.get(f"/ipfs/{text(FILE)}?format=car")


def test_accept_is_read_by_weight_and_the_url_goes_first(http: httpx.Client) -> None:
    path = f"/ipfs/{text(SMALL)}"
    raw = "application/vnd.ipld.raw"
    for accept, query, kind in (
        (f"{CAR};q=0.5, {raw}", "", raw),
        (f"{raw};q=0.1, {CAR}; dups=y", "", f"{CAR}; version=1; order=dfs; dups=y"),
        (raw, "?format=car", f"{CAR}; version=1; order=dfs; dups=n"),
        (f"{CAR}; order=unk; dups=n", "?format=car&car-dups=y", f"{CAR}; version=1; order=dfs; dups=y"),
    ):
        assert http.get(path + query, headers={"accept": accept}).headers["content-type"] == kind
    assert http.get(path, headers={"accept": "text/html"}).status_code == 406
