"""A folder of thousands of files: sealed and written out again with few files open at once, and a member found without the others."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asset_bridge.vault.files_opened import write_members
from tests.support.depth import depth
from tests.unit.vault.test_files import make, opened, seal

MORE_FILES_OPEN = 40


@contextmanager
def few_open_files() -> Iterator[None]:
    """The system allows so many more than are open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(__file__).open() as lowest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno() + MORE_FILES_OPEN, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_files_come_back(tmp_path: Path) -> None:
    count = depth("sealing-folder-files")
    contents = {f"ward {n % 40:02}/visit {n:05}.json": str(n).encode() * (n % 97) for n in range(count)}
    data = make(tmp_path / "data", contents)
    with few_open_files():
        seal(data, tmp_path / "sealed")
        with opened(tmp_path / "sealed") as opener:
            assert len(opener.members) == count
            some = list(contents)[count * 2 // 3]
            assert opener.read(some) == contents[some]
            write_members(opener, tmp_path / "out")
    out = tmp_path / "out"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.glob("*/*")} == contents
