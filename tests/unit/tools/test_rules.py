"""tools/rules.py: each rule finds what breaks it and leaves the rest alone."""

from __future__ import annotations

from tools.rules import LINES_MAX, ROOT, foreign_names, missing_names, registry_hosts, stubs, too_long


def test_a_source_file_of_the_limit_passes_and_one_line_more_fails() -> None:
    assert not list(too_long({"src/a.py": "\n" * LINES_MAX, "docs/a.md": "\n" * 9999}))
    assert list(too_long({"contracts/a.vy": "\n" * (LINES_MAX + 1)}))


def test_a_registry_host_is_found_wherever_it_stands() -> None:
    hosts = registry_hosts()
    assert hosts
    for host in hosts:
        assert list(foreign_names({"docs/a.md": f"see https://{host}/x"}))
    assert not list(foreign_names({"docs/a.md": "see the package index"}))


def test_the_path_of_the_checkout_is_found() -> None:
    assert list(foreign_names({"docs/a.md": f"cd {ROOT}/src"}))


def test_a_stub_is_found_in_the_product_only() -> None:
    stub = "raise Not" + "ImplementedError"
    assert list(stubs({"src/a.py": stub}))
    assert not list(stubs({"docs/a.md": stub}))


def test_a_name_that_its_module_does_not_have_is_found_and_the_others_are_not() -> None:
    module = "import os\nif os:\n    ONE = 1\nfor two in ():\n    pass\ndef three(): inner = 1\n"
    asking = "from asset_bridge.a import {}\nfrom asset_bridge import a\nfrom os import nothing\n"
    files = {"src/asset_bridge/__init__.py": "", "src/asset_bridge/a.py": module}
    for name in ("os", "ONE", "two", "three"):
        assert not list(missing_names({**files, "tests/b.py": asking.format(name)}))
    assert list(missing_names({**files, "tests/b.py": asking.format("inner")})) == [
        "tests/b.py:1 imports inner, which src/asset_bridge/a.py does not have"
    ]
