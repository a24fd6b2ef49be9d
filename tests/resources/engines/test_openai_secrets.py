"""No form in which a server may echo the key is shown."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest

from resources.engines.openai_secrets import MAX_SHOWN_CHARACTERS, WITHHELD, Redaction

KEY = "sk-proj/very+secret=0123456789"

ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a header": lambda key: f"Authorization: Bearer {key}",
    "the first part": lambda key: f"bad key {key[:12]}…",
    "the last part": lambda key: f"no key ends with {key[-9:]}",
    "upper case": str.upper,
    "over two lines": lambda key: f"{key[:9]}\n  {key[9:]}",
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a user": lambda key: base64.b64encode(f":{key}".encode()).decode(),
    "base64, one more before": lambda key: base64.b64encode(f"ab{key}!".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "percent": lambda key: quote(key, safe=""),
    "JSON escapes": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
}


@pytest.mark.parametrize("form", ECHOES)
def test_an_echo_is_withheld_whole(form: str) -> None:
    shown = Redaction(KEY).clean(f"request failed: {ECHOES[form](KEY)} (seen at gateway 7)")
    assert shown == WITHHELD


def test_other_text_is_shown_on_one_line_short_and_printable() -> None:
    clean = Redaction(KEY).clean
    assert clean("slow\n  down \x1b[31mred\ud800") == "slow down \N{REPLACEMENT CHARACTER}" + (
        "[31mred\N{REPLACEMENT CHARACTER}"
    )
    assert clean("x" * 1_000) == "x" * MAX_SHOWN_CHARACTERS + "…"
    assert clean("Incorrect API key provided: sk-p****6789") == (
        "Incorrect API key provided: sk-p****6789"
    )
    assert Redaction(None).clean(KEY) == KEY
    assert Redaction("abc").clean("the key abc") == WITHHELD
