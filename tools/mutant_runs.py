"""How tools/mutants.py runs mutants: which tests execute which lines is seen once, and then only those meet a changed line.

Most mutants change the body of a function that nothing calls before the first test. For these one process imports and
collects everything, and each mutant is a fork of it in which that function's code is exchanged. What runs at import
(constants, classes, defaults) is imported and collected anew, in a fork of a process that has loaded only other packages.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import re
import resource
import signal
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.mutant_kinds import Mutant, changed

LOADED_BEFORE_THE_FORKS = (
    "cbor2",
    "coincurve",
    "crypt4gh.lib",
    "cryptography.hazmat.primitives.asymmetric.mlkem",
    "cryptography.hazmat.primitives.asymmetric.x25519",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.hpke",
    "cryptography.hazmat.primitives.kdf.hkdf",
    "cryptography.hazmat.primitives.serialization",
    "eth_hash.auto",
    "httpx",
    "hypothesis",
    "pytest",
    "pytest_timeout",
    "umbral_pre",
)
Ended = Callable[[Mutant, int, str], None]
OPTIONS = ["-x", "-q", "-s", "-p", "pytest_timeout", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
LIVED, KILLED, FAILED, NOT_EXCHANGED = 0, 1, 2, 3  # a process's status; 2: the unchanged tests failed
STILL_SECONDS = 20  # no thread has run or wants to: a deadlock. An endless loop ends by its processor time, however busy the machine is
MOST_MEMORY_BYTES = 6 << 30  # of data: a list that grows without end is a failure, too
COUNTED = 20  # the quick counts are so many times those of DEPTH=spot


class Record:
    """What the unchanged tests did: seconds of each, which of them execute a line, and what ran before the first."""

    def __init__(self, path: Path) -> None:
        read = json.loads(path.read_text())
        self.times: dict[str, float] = read["times"]
        self.counted: set[str] = set(read["counted"])  # tests of files that read a count
        self._names = list(self.times)
        self._lines = {(file, line): tests for file, line, tests in read["lines"]}
        self._before = {(file, line) for file, line in read["before"]}
        self._called = {(file, name, line) for file, name, line in read["called"]}

    def at_import(self, mutant: Mutant) -> bool:
        """Whether what it changes has run before the first test."""
        return mutant.function is None or (str(mutant.source), *mutant.function) in self._called

    def tests(self, mutant: Mutant, depth: str = "spot") -> set[str]:
        """Node ids of the tests that its line can matter to; at the quick counts also all that are counted."""
        file, lines = str(mutant.source), range(mutant.lines[0], mutant.lines[1] + 1)
        if self.at_import(mutant) and any((file, line) in self._before for line in lines):
            return set(self.times)
        found = {self._names[at] for line in lines for at in self._lines.get((file, line), ())}
        return found | self.counted if found and depth == "quick" else found

    def cpu_seconds(self, test: str, depth: str) -> float:
        """A test that computes longer than this does not end by itself."""
        return 3 + 10 * self.times.get(test, 0.1) * (COUNTED if depth == "quick" and test in self.counted else 1)


class Recorder:
    """A plugin of pytest that makes the record. It must be there before anything of the room is imported."""

    def __init__(self, sources: list[Path], path: Path) -> None:
        self._files = {str(source) for source in sources}
        self._path = path
        self._now: set[tuple[str, int]] = set()
        self._called: set[tuple[str, str, int]] = set()
        self._at_import, self._before = True, self._now
        self._of_test: dict[str, set[tuple[str, int]]] = {}
        self._of_file: dict[str, set[tuple[str, int]]] = {}  # what fixtures of a file executed counts for all its tests
        self._times: dict[str, float] = {}
        self._counted: list[str] = []
        self._trace()

    def _trace(self) -> None:
        threading.settrace(self._call)
        sys.settrace(self._call)

    def _call(self, frame: types.FrameType, *_: object) -> object:
        code = frame.f_code
        if code.co_filename not in self._files:
            return None
        if self._at_import:
            self._called.add((code.co_filename, code.co_qualname, code.co_firstlineno))
        return self._line

    def _line(self, frame: types.FrameType, event: str, _: object) -> object:
        if event == "line":
            self._now.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def pytest_collection(self) -> None:
        without_shrinking()

    def pytest_collection_finish(self, session: object) -> None:
        self._at_import = False
        for item in session.items:
            self._times[item.nodeid] = 0.0
            if re.search(r"\bdepth\(", item.path.read_text()):
                self._counted.append(item.nodeid)
        gc.unfreeze()
        self._caches = [found for found in gc.get_objects() if isinstance(found, functools._lru_cache_wrapper)]

    def pytest_runtest_logstart(self) -> None:
        for cache in self._caches:  # what an earlier test left there this one would not execute
            cache.cache_clear()

    def pytest_runtest_setup(self, item: object) -> None:
        self._now = self._of_file.setdefault(str(item.path), set())
        self._trace()

    def pytest_runtest_call(self, item: object) -> None:
        self._now = self._of_test.setdefault(item.nodeid, set())
        self._trace()

    pytest_runtest_setup.tryfirst = pytest_runtest_call.tryfirst = True

    def pytest_runtest_teardown(self, item: object) -> None:
        self._now = self._of_file.setdefault(str(item.path), set())

    def pytest_runtest_logreport(self, report: object) -> None:
        self._times[report.nodeid] += report.duration

    def pytest_sessionfinish(self, session: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        lines: dict[tuple[str, int], list[int]] = {}
        for at, item in enumerate(session.items):
            for line in self._of_test.get(item.nodeid, set()) | self._of_file.get(str(item.path), set()):
                lines.setdefault(line, []).append(at)
        assert [item.nodeid for item in session.items] == list(self._times)
        kept = {
            "times": self._times,
            "counted": self._counted,
            "before": sorted(self._before),
            "called": sorted(self._called),
            "lines": [(*line, tests) for line, tests in lines.items()],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(kept))


class Chosen:
    """A plugin of pytest: only the tests that a mutant can matter to, the likeliest to fail soon first; the first failure is told."""

    def __init__(
        self, record: Record, mutant: Mutant | None, depth: str, order: Callable[[str], float], told: int
    ) -> None:
        self._record, self._depth, self._order, self._told = record, depth, order, told
        self._tests = set(record.times) if mutant is None else record.tests(mutant, depth)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))

    def pytest_collection(self) -> None:
        without_shrinking()

    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = self.among(items)

    def among(self, items: list) -> list:
        """The chosen tests; one that the record does not know, as of another depth, is taken."""
        chosen = [item for item in items if item.nodeid in self._tests or item.nodeid not in self._record.times]
        return sorted(chosen, key=lambda item: self._order(item.nodeid))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """An endless loop is a failure, too."""
        most = time.process_time() + self._record.cpu_seconds(nodeid, self._depth)
        resource.setrlimit(resource.RLIMIT_CPU, (int(most) + 1, resource.RLIM_INFINITY))

    def pytest_runtest_logreport(self, report: object) -> None:
        if report.failed:
            tell(self._told, report.nodeid)
            os._exit(KILLED)


def without_shrinking() -> None:
    """A property that fails need not look for the smallest example."""
    from hypothesis import Phase, settings

    shorter = settings(settings.get_profile("project"), phases=(Phase.explicit, Phase.generate))
    settings.register_profile("mutants", shorter)
    settings.load_profile("mutants")


def load() -> None:
    """Import what no room changes."""
    sys.dont_write_bytecode = False
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = (
        "1"  # some take seconds to load, and none is needed but pytest_timeout
    )
    for module in LOADED_BEFORE_THE_FORKS:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def alone(act: Callable[[], int], errors: bool = False) -> int:
    """A process of its own, which nothing leaves but its status, or `errors` too; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    status = KILLED
    with contextlib.suppress(BaseException):
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1) if errors else (0, 1, 2):
            os.dup2(nothing, number)
        status = act()
    os._exit(status)


def tell(told: int, nodeid: str) -> None:
    with contextlib.suppress(OSError):
        os.write(told, nodeid.encode()[:4000])


def record(sources: list[Path], tests: list[str], path: Path) -> bool:
    """The unchanged run, under a tracer; False when a test fails."""

    def act() -> int:
        import pytest

        os.environ["DEPTH"] = "spot"
        return int(pytest.main([*OPTIONS, *tests], plugins=[Recorder(sources, path)]))

    return os.waitstatus_to_exitcode(os.waitpid(alone(act), 0)[1]) == 0 and path.exists()


class Runs:
    """Runs mutants at one depth, `workers` at once; `ended(mutant, status, by which test)` is called for each."""

    def __init__(self, record: Record, tests: list[str], depth: str, workers: int) -> None:
        self._record, self._tests, self._depth, self._workers = record, tests, depth, workers
        self._kills: Counter[str] = Counter()

    def anew(self, mutants: list[Mutant], ended: Ended) -> None:
        """Everything of ours is imported and collected in each process."""

        def act(mutant: Mutant, told: int) -> int:
            import pytest

            code = compile(changed(mutant.source.read_text(), *mutant.place), str(mutant.source), "exec")
            sys.meta_path.insert(0, _Finder(mutant.module, code, mutant.source))
            os.environ["DEPTH"] = self._depth
            plugin = Chosen(self._record, mutant, self._depth, self._order, told)
            return LIVED if int(pytest.main([*OPTIONS, *self._tests], plugins=[plugin])) == 0 else KILLED

        self._pool(mutants, act, ended)

    def in_place(self, mutants: list[Mutant], ended: Ended, prove: bool) -> int:
        """One process collects; each mutant is a fork of it with one function exchanged. `prove` runs all tests unchanged first.

        Returns 0, or 2 when the unchanged tests fail. `ended` is called in that one process: what it keeps must be in a file.
        """

        def act() -> int:
            import pytest

            os.environ["DEPTH"] = self._depth
            session = _InPlace(self, mutants, ended, prove)
            pytest.main([*OPTIONS, *self._tests], plugins=[session])
            return session.status

        pid = alone(act, errors=True)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            raise

    def _order(self, test: str) -> float:
        return (self._record.times.get(test, 0.0) + 0.01) / (1 + self._kills[test])

    def _pool(self, mutants: list[Mutant], act: Callable[[Mutant, int], int], ended: Ended) -> None:
        running: dict[int, tuple[Mutant, int, float]] = {}
        waiting, used, look_at = list(reversed(mutants)), dict[int, tuple[float, float]](), 0.0
        try:
            while waiting or running:
                while waiting and len(running) < self._workers:
                    mutant = waiting.pop()
                    told, tell_at = os.pipe()
                    pid = alone(functools.partial(act, mutant, tell_at))
                    os.close(tell_at)
                    running[pid] = mutant, told, time.monotonic()
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid in running:
                    mutant, told, _ = running.pop(pid)
                    with os.fdopen(told, "rb") as pipe:
                        os.set_blocking(told, False)
                        killer = (pipe.read() or b"").decode()
                        self._kills[killer] += 1
                    code = os.waitstatus_to_exitcode(status)
                    ended(mutant, code if code in (LIVED, NOT_EXCHANGED) else KILLED, killer or f"status {code}")
                    continue
                if time.monotonic() > look_at:
                    look_at = time.monotonic() + 1
                    for late in [late for late in running if stands_still(late, used)]:
                        end(late)
                time.sleep(0.002)
        finally:
            for left in running:  # an interrupted run leaves no process behind
                end(left)


class _InPlace:
    """The plugin of the one process."""

    def __init__(self, runs: Runs, mutants: list[Mutant], ended: Ended, prove: bool) -> None:
        self._runs, self._mutants, self._ended, self._prove = runs, mutants, ended, prove
        self.status = FAILED

    def pytest_collection(self) -> None:
        without_shrinking()

    def pytest_runtestloop(self, session: object) -> bool:
        self._items = session.items
        self._functions = functions({str(mutant.source) for mutant in self._mutants})
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        unchanged = LIVED
        if self._prove:
            unchanged = os.waitstatus_to_exitcode(os.waitpid(alone(self._unchanged), 0)[1])
        if unchanged == LIVED:
            self._runs._pool(self._mutants, self._act, self._ended)
            self.status = LIVED  # not where a signal ended it
        return True

    def _act(self, mutant: Mutant, told: int) -> int:
        chosen = self._chosen(mutant, told)
        module = compile(changed(mutant.source.read_text(), *mutant.place), str(mutant.source), "exec")
        if not exchange(self._functions, module, (str(mutant.source), *mutant.function)):
            return NOT_EXCHANGED
        return self._run(chosen)

    def _unchanged(self) -> int:
        """Every function with the code of a file compiled anew: all tests must pass."""
        modules = {file: compile(Path(file).read_text(), file, "exec") for file, _, _ in self._functions}
        for key in self._functions:
            if "<locals>" not in key[1]:
                exchange(self._functions, modules[key[0]], key)
        return self._run(self._chosen(None, 2))

    def _chosen(self, mutant: Mutant | None, told: int) -> Chosen:
        return Chosen(self._runs._record, mutant, self._runs._depth, self._runs._order, told)

    def _run(self, chosen: Chosen) -> int:
        items = chosen.among(self._items)
        if items:
            items[0].config.pluginmanager.register(chosen)
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
        return LIVED


def functions(files: set[str]) -> dict[tuple[str, str, int], list[types.FunctionType]]:
    """The functions of these files that there are in this process."""
    gc.unfreeze()  # of what is frozen the collector does not tell
    found: dict[tuple[str, str, int], list[types.FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename in files:
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    gc.freeze()
    return found


def exchange(
    found: dict[tuple[str, str, int], list[types.FunctionType]], module: types.CodeType, key: tuple[str, str, int]
) -> bool:
    """Give the function of that file, name and line the code that it has in the compiled `module`; whether that was possible."""
    code = next((code for code in inner(module) if (code.co_qualname, code.co_firstlineno) == key[1:]), None)
    try:
        for function in found.get(key, []) if code else ():
            function.__code__ = code
    except ValueError:  # the changed code closes over other names
        return False
    return bool(code and key in found)


def inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """Every code object in another."""
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield part
            yield from inner(part)


def end(process: int) -> None:
    """Kill it and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def stands_still(process: int, used: dict[int, tuple[float, float]]) -> bool:
    """Whether it has done nothing for STILL_SECONDS and nothing of it waits for a processor; `used` is kept between calls."""
    try:
        stats = [path.read_text().rsplit(")", 1)[1].split() for path in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # it has ended, or this system does not tell
        return False
    now, ticks = time.monotonic(), float(sum(int(stat[11]) + int(stat[12]) for stat in stats))
    before, since = used.get(process, (-1.0, now))
    if not stats or ticks != before or any(stat[0] != "S" for stat in stats):
        used[process] = ticks, now
        return False
    return now - since > STILL_SECONDS


class _Finder:
    """Gives the mutant in place of the file."""

    def __init__(self, module: str, code: object, source: Path) -> None:
        self._module, self._code, self._source = module, code, source

    def find_spec(self, name: str, *_: object) -> object:
        import importlib.util

        if name != self._module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self._source))

    def create_module(self, _: object) -> None:
        return None

    def exec_module(self, module: object) -> None:
        module.__file__ = str(self._source)
        exec(self._code, module.__dict__)
