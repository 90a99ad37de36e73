"""Write docs/reference/cli.md from the commands themselves: what `--help` says, for each command.

`python tools/cli_reference.py` writes it; `--check` (and tests/docs) compares. The page has the width of a terminal of 100 columns.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "cli.md"
HEAD = """# Commands

Written by `tools/cli_reference.py` from the commands themselves. What a script may rely on (exit statuses, `--json`, the `next:` line) is
in [spec/cli.md](../../spec/cli.md).

Every command that works on a home takes `--home`, `--network`, `--json`, `--passphrase-file` and `--passphrase-fd`; they are listed
here and left out below.

- `--home PATH`: folder with keys and settings; else `ASSET_BRIDGE_HOME`, else `~/.asset-bridge`
- `--network FILE|URL`: the network.toml to work with; else `ASSET_BRIDGE_NETWORK`, else the home's own
- `--json`: print one JSON object instead of text, and ask nothing
- `--passphrase-file PATH`, `--passphrase-fd N`: where the passphrase comes from; without them it is asked for
"""
COMMON = ("home", "network", "as_json", "passphrase_file", "passphrase_fd")


def render() -> str:
    """The page."""
    sys.path[:0] = [str(ROOT / "src")]
    from asset_bridge.cli.main import GROUPS, main

    parts = [HEAD]
    for title, names in GROUPS:
        parts.append(f"## {title}\n")
        for name in names:
            command = main.get_command(click.Context(main), name)
            assert command is not None
            parts += _sections(f"asset-bridge {name}", command)
    return "\n".join(parts)


def _sections(path: str, command: click.Command) -> list[str]:
    command.params = [parameter for parameter in command.params if parameter.name not in COMMON]
    context = click.Context(command, info_name=path, terminal_width=100, max_content_width=100)
    text = re.sub(r"[ \t]+$", "", command.get_help(context), flags=re.MULTILINE)
    parts = [f"### {path}\n\n```text\n{text.rstrip()}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            parts += _sections(f"{path} {name}", inner)
    return parts


def main() -> int:
    """Write the page, or with --check compare."""
    page = render()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
