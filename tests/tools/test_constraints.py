"""Constraints hold tested versions and nothing else; what is resolved is compared with them."""

from __future__ import annotations

import pytest

from tools.constraints import FOLDER, GPU_BUILDS, extras, pins, untested

TESTED = pins((FOLDER / "cpu.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("extra", extras())
def test_a_file_has_versions_as_tested_and_no_address(extra: str) -> None:
    text = (FOLDER / f"{extra}.txt").read_text(encoding="utf-8")
    found = pins(text)
    assert len(found) == len(text.splitlines())
    assert {name: TESTED[name] for name in found} == found
    assert {"torch", "transformers", "dagster"} <= set(found)
    assert not set(GPU_BUILDS) & set(found)
    assert "://" not in text


def test_lines_of_uv_are_read() -> None:
    text = (
        "# made by uv\ntorch==2.13.0+cpu\nuvloop==0.23.0 ; sys_platform == 'linux'\n    # via x\n"
    )
    assert pins(text) == {"torch": "2.13.0", "uvloop": "0.23.0"}


def test_another_version_than_the_tested_is_named() -> None:
    found = {"torch": "2.14.0", "triton": "3.8.0", "numpy": "2.3.5", "not-in-cpu": "1"}
    assert untested(found, {"torch": "2.13.0", "triton": "3.9.0", "numpy": "2.3.5"}) == [
        "torch 2.14.0, tested with 2.13.0"
    ]
