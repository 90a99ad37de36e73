"""Every link between files resolves, and every `make` target and `asset-bridge` command that a page names exists."""

from __future__ import annotations

import re
from pathlib import Path

from asset_bridge.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("spec/**/*.md")]


def test_every_link_resolves() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"(?:`|^ {4})make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "check", "setup"} <= named <= targets


def test_every_command_exists() -> None:
    named = set()
    for page in PAGES:
        # In indented code and in `code`, not in prose: "asset-bridge is …".
        found = re.findall(r"(?:^ {4}|`)asset-bridge ([a-z]+)", page.read_text(), re.MULTILINE)
        named |= {(page.relative_to(ROOT), name) for name in found}
    assert len({name for _, name in named}) > 15
    assert not {(str(page), name) for page, name in named if name not in COMMANDS}


def test_every_page_that_the_program_names_exists() -> None:
    named = {
        (str(path.relative_to(ROOT)), page)
        for path in (ROOT / "src").rglob("*.py")
        for page in re.findall(r"(?<!kubo 0\.42\.0 )\b((?:docs|spec)/[a-z0-9/-]+\.md)", path.read_text())
    }
    assert len(named) > 50
    assert not [(path, page) for path, page in named if not (ROOT / page).exists()]
