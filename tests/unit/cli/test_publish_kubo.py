"""What `publish --kubo` names: a URL, a repository, a storage node's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.cli.publish_cmd import again_of, kubo_place
from asset_bridge.ipfs.kubo.own import KuboPlace
from asset_bridge.nodes.node_file import NodeFile
from tests.ports.test_blocks import code_of

URL = "http://127.0.0.1:5001"


def node_folder(folder: Path, **settings: object) -> Path:
    folder.mkdir()
    NodeFile(folder, "storage", folder.parent, bytes(32), **settings).save()  # type: ignore[arg-type]
    return folder


def test_a_url_or_a_repository_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    assert kubo_place(None, None) is None
    assert kubo_place(URL, None) == KuboPlace(URL)
    assert kubo_place(URL, Path("secret")) == KuboPlace(URL, str(secret))  # a resume may run in another folder
    assert kubo_place("repo", None) == KuboPlace(str(tmp_path / "repo"))
    assert code_of(lambda: kubo_place(None, secret)) == "cli.kubo-secret-file"


def test_a_storage_nodes_folder_names_its_kubo(tmp_path: Path) -> None:
    own = node_folder(tmp_path / "own", kubo=True)
    kubo = own / "data" / "kubo"
    assert kubo_place(str(own), None) == KuboPlace(str(kubo / "repo"), str(kubo / "rpc.secret"))
    external = node_folder(tmp_path / "external", kubo_api=URL, kubo_secret_file="token")
    assert kubo_place(str(external), None) == KuboPlace(URL, str(external / "token"))
    assert kubo_place(str(external), tmp_path / "other") == KuboPlace(URL, str(tmp_path / "other"))
    open_one = node_folder(tmp_path / "open", kubo_api=URL)
    assert kubo_place(str(open_one), None) == KuboPlace(URL)
    plain = node_folder(tmp_path / "plain")
    assert code_of(lambda: kubo_place(str(plain), None)) == "cli.no-kubo"


def test_the_command_that_begins_anew_names_it_again() -> None:
    shown = again_of(Path("a b"), "T", "0", None, URL, Path("token file"))
    assert shown == f"publish 'a b' --title T --price 0 --kubo {URL} --kubo-secret-file 'token file'"
