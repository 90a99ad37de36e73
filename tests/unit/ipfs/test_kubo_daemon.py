"""kubo as a process of ours: set up safely, alone on loopback, ended with us, started again when it ends, found or built once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.kubo import program
from asset_bridge.ipfs.kubo.daemon import KuboDaemon, KuboOptions
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.processes import start_mark
from tests.ports.test_blocks import code_of
from tests.support.kubo import ipfs

SWARM_KEY = "/key/swarm/psk/1.0.0/\n/base16/\n" + "5a" * 32 + "\n"


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in said.split()]


def wait(until: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def config_of(daemon: KuboDaemon) -> dict[str, object]:
    return json.loads((daemon.repo / "config").read_text())  # type: ignore[no-any-return]


@pytest.mark.needs_kubo
def test_it_listens_on_loopback_alone_behind_a_secret_and_announces_nothing(kubo_trio: list[KuboDaemon]) -> None:
    daemon = kubo_trio[0]
    config = json.loads((daemon.repo / "config").read_text())
    assert [config["Addresses"][name].split("/")[2] for name in ("API", "Gateway")] == ["127.0.0.1"] * 2
    assert config["Addresses"]["Swarm"] == config["Bootstrap"] == []
    assert config["Routing"]["Type"] == "none"
    assert (
        config["Provide"]["Enabled"] is config["AutoConf"]["Enabled"] is config["Discovery"]["MDNS"]["Enabled"] is False
    )
    assert config["Datastore"]["HashOnRead"] is True
    flatfs = [mount for mount in config["Datastore"]["Spec"]["mounts"] if mount["type"] == "flatfs"]
    assert [mount["sync"] for mount in flatfs] == [True]
    assert config["Import"]["UnixFSChunker"] == "size-1048576"
    for name in ("repo/config", "rpc.secret"):
        assert (daemon.folder / name).stat().st_mode & 0o077 == 0
    assert daemon.secret not in repr(daemon) + repr(daemon.rpc())
    # What the system says of its sockets: nothing but loopback.
    [kubo] = children(daemon._running.pid)  # type: ignore[union-attr]
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout.splitlines()
    ours = [line.split()[3] for line in listening if f"pid={kubo}," in line]
    assert all(address.startswith("127.0.0.1:") for address in ours)
    url = f"http://127.0.0.1:{daemon._ports[0]}"  # type: ignore[index]
    for secret in (None, "guessed"):
        assert code_of(lambda secret=secret: KuboRpc(url, secret=secret).version()) == "ipfs.kubo-authorization"
    absent = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyka"
    answer = httpx.get(f"{daemon.gateway_url}/ipfs/{absent}?format=raw", timeout=10)
    assert answer.status_code in (404, 410, 500)


@pytest.mark.needs_kubo
def test_other_settings_stay_the_operators(tmp_path: Path) -> None:
    daemon = KuboDaemon(tmp_path / "kubo", program.obtain_kubo(print), KuboOptions(storage_max_bytes=5_000_000_000))
    with daemon:
        assert daemon.rpc().repo_stat().storage_max_bytes == 5_000_000_000
        secret = daemon.secret
    config = json.loads((daemon.repo / "config").read_text())
    config["Internal"] = {"Bitswap": {"TaskWorkerCount": 3}}
    config["Datastore"]["HashOnRead"] = False
    (daemon.repo / "config").write_text(json.dumps(config))
    with daemon:
        now = json.loads((daemon.repo / "config").read_text())
        assert now["Internal"] == {"Bitswap": {"TaskWorkerCount": 3}}
        assert now["Datastore"]["HashOnRead"] is True
        assert daemon.secret == secret


@pytest.mark.needs_kubo
@pytest.mark.parametrize("victim", ["ours", "guard"])
def test_kill_9_leaves_no_kubo(tmp_path: Path, victim: str) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from asset_bridge.ipfs.kubo.daemon import KuboDaemon\n"
        "daemon = KuboDaemon(Path(sys.argv[1]), Path(sys.argv[2])); daemon.start()\n"
        "print(daemon._running.pid, flush=True); time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "kubo"), str(program.obtain_kubo(print))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        guard = int(process.stdout.readline())
        [kubo] = children(guard)
        os.kill(process.pid if victim == "ours" else guard, signal.SIGKILL)
        gone = wait(lambda: not start_mark(kubo))
        process.kill()
    assert gone
    assert wait(lambda: not start_mark(guard))


@pytest.mark.needs_kubo
def test_ended_by_itself_it_is_started_again_at_the_same_place(tmp_path: Path) -> None:
    said: list[str] = []
    with KuboDaemon(tmp_path / "kubo", program.obtain_kubo(print)) as daemon:
        rpc = daemon.rpc(timeout_seconds=2)
        daemon.watch(said.append)
        [kubo] = children(daemon._running.pid)  # type: ignore[union-attr]
        os.kill(kubo, signal.SIGKILL)

        def answers() -> bool:
            try:
                return bool(rpc.version()) and bool(said)
            except BridgeError:
                return False

        assert wait(answers)
        assert "starting it again" in said[0]
    with pytest.raises(BridgeError):
        rpc.version()


@pytest.mark.needs_kubo
def test_a_private_network_lets_in_only_its_key(tmp_path: Path) -> None:
    kubo = program.obtain_kubo(print)
    same, other, bad = (tmp_path / name for name in ("same.key", "other.key", "bad.key"))
    same.write_text(SWARM_KEY)
    other.write_text(SWARM_KEY.replace("5a", "5b"))
    bad.write_text(SWARM_KEY[:-9])
    daemons = []
    for number, key in enumerate((same, same, other)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listen = f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"
        daemons.append(KuboDaemon(tmp_path / f"k{number}", kubo, KuboOptions(swarm_key=key, swarm_listen=(listen,))))
    assert code_of(KuboDaemon(tmp_path / "k4", kubo, KuboOptions(swarm_key=bad)).start) == "ipfs.swarm-key"
    first, second, stranger = daemons
    with first, second, stranger:
        peer = json.loads(ipfs(first, "id"))["ID"]
        address = f"{first.options.swarm_listen[0]}/p2p/{peer}"
        assert b"success" in ipfs(second, "swarm", "connect", address)
        with pytest.raises(subprocess.CalledProcessError):
            ipfs(stranger, "--timeout=5s", "swarm", "connect", address)


@pytest.mark.needs_kubo
def test_a_kubo_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    daemon = KuboDaemon(tmp_path / "kubo", program.obtain_kubo(print))
    with daemon:
        pass
    (daemon.repo / "datastore_spec").write_text("{}")
    with pytest.raises(BridgeError) as caught:
        daemon.start()
    assert caught.value.code == "ipfs.kubo-start"
    assert str(daemon.log) in caught.value.hint
    assert daemon._running is None


# --- the program ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Path:
    """This machine's kubo; must stand before `bare`."""
    return program.obtain_kubo(print)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without kubo and Go; returns the folder on PATH."""
    monkeypatch.delenv("ASSET_BRIDGE_KUBO", raising=False)
    monkeypatch.setenv("ASSET_BRIDGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(program, "_go", lambda: None)
    return tmp_path / "bin"


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_without_kubo_and_go_the_error_says_what_to_do(bare: Path) -> None:
    with pytest.raises(BridgeError) as caught:
        program.obtain_kubo(print)
    assert caught.value.code == "ipfs.kubo-missing"
    assert "ASSET_BRIDGE_KUBO" in caught.value.hint


def test_a_script_on_path_is_not_taken_for_kubo(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = script(bare / "ipfs", "echo 0.42.0\n")
    assert program.find_kubo() is None
    monkeypatch.setenv("ASSET_BRIDGE_KUBO", str(wrapper))
    with pytest.raises(BridgeError) as caught:
        program.find_kubo()
    assert caught.value.code == "ipfs.kubo-program"
    assert "script" in caught.value.message


def test_an_old_kubo_is_passed_over(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "ipfs").write_bytes(b"\x7fELF")
    (bare / "ipfs").chmod(0o755)
    monkeypatch.setattr(program, "kubo_version", lambda _path: (0, 41, 9))
    assert program.find_kubo() is None
    monkeypatch.setattr(program, "kubo_version", lambda _path: (0, 42, 0))
    assert program.find_kubo() == bare / "ipfs"


@pytest.mark.needs_kubo
def test_it_is_built_once_from_its_module_with_progress(
    real: Path, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "module"
    (module / "cmd" / "ipfs").mkdir(parents=True)
    (module / "go.sum").write_text("sums")
    (module / "go.sum").chmod(0o444)
    go = script(
        bare / "go",
        f'if [ "$1" = mod ]; then test "$4" = github.com/ipfs/kubo@v0.42.0 && echo \'{{"Dir": "{module}"}}\'; exit; fi\n'
        f'test -w go.sum || exit 9; echo one >&2; echo two >&2; cp {real} "$7"\n',
    )
    monkeypatch.setattr(program, "_go", lambda: str(go))
    monkeypatch.setattr(program, "REPORT_SECONDS", -1.0)
    said: list[str] = []
    built = program.obtain_kubo(said.append)
    assert built == tmp_path / "cache" / "kubo" / "0.42.0" / "ipfs"
    assert any("2 of about" in line for line in said)
    assert sorted(path.name for path in built.parent.iterdir()) == ["ipfs", "lock"]
    go.unlink()
    assert program.obtain_kubo(said.append) == built


def test_a_build_that_fails_leaves_nothing_and_says_why(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = script(bare / "go", "echo no such module >&2; exit 1\n")
    monkeypatch.setattr(program, "_go", lambda: str(go))
    with pytest.raises(BridgeError) as caught:
        program.obtain_kubo(print)
    assert caught.value.code == "ipfs.kubo-build"
    assert "no such module" in caught.value.message
    assert [path.name for path in program.cached_kubo().parent.iterdir()] == ["lock"]
