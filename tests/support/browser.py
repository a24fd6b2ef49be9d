"""Looking at pages in Debian's Chromium: starting it, finding things, keeping screenshots."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Final

from playwright.sync_api import Locator, Page, expect

from dasd_assets.profile import PROJECT_ROOT

CHROMIUM: Final = shutil.which("chromium") or "chromium"
FLAGS: Final = [
    f"--{flag}"
    for flag in (
        "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update",
    )
]  # fmt: skip
SCREENSHOTS: Final = PROJECT_ROOT / "build" / "screenshots"
"""Where tests leave what they saw; ignored by git."""

MILLISECONDS: Final = 60_000
"""How long a page may take on a busy machine before a test gives up."""

FAILED_SHARD: Final = "damaged"
MISSING_SHARD: Final = "waiting"

Shoot = Callable[..., None]
"""`shoot(page, "what")` keeps what a page shows, under the test's name."""


def left(box: Locator) -> float:
    """How far to the right a thing begins, in pixels."""
    found = box.bounding_box()
    assert found is not None
    return found["x"]


def line_of(page: Page, name: str) -> Locator:
    """The line of a table whose first words are a name."""
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).first


def opened(page: Page, name: str) -> Locator:
    """What the UI shows when the Markdown of a metadata entry is asked for."""
    line_of(page, name).get_by_text("[Show Markdown]").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(name)
    return dialog


def closed(dialog: Locator) -> None:
    """Close what `opened` has opened."""
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
