"""The API key: where it comes from, and that no text of a server tells it."""

from __future__ import annotations

import base64
import os
import re
from urllib.parse import quote

from resources.engines.protocol import EngineUnavailableError

MAX_SHOWN_CHARACTERS = 300
LOOKED_AT_CHARACTERS = 64 * 1024
"""Of a text, before it is shortened."""
WITHHELD = "[withheld: the server's text repeats the API key]"
SHARED_CHARACTERS = 8
"""Of the key: a text that has so many of them in a row tells too much of it."""

_ESCAPED = re.compile(r"\\u00([0-7][0-9a-fA-F])")


def api_key(variable: str | None) -> str | None:
    """The key in an environment variable; None where no variable is named.

    Raises:
        EngineUnavailableError: the variable is not set, or no header can carry what it holds.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EngineUnavailableError(
            f"the environment variable {variable} with the API key is not set"
        )
    if not (key.isascii() and key.isprintable()):
        raise EngineUnavailableError(
            f"the API key in the environment variable {variable} holds characters that a header "
            "cannot carry"
        )
    return key


class Redaction:
    """Makes text of a server fit to be shown: without the key, on one line, short."""

    def __init__(self, key: str | None) -> None:
        """None: there is no key to hide."""
        size = min(SHARED_CHARACTERS, len(key or ""))
        self._size = size
        self._parts = {
            form[start : start + size]
            for form in (_forms(key) if key else ())
            for start in range(len(form) - size + 1)
        }

    def clean(self, text: str) -> str:
        """Text that may be shown. One that has a part of the key is withheld whole.

        A server may echo the request's header as it is, cut off, escaped, or in base64; what stands
        around the key there may be as secret.
        """
        text = text[:LOOKED_AT_CHARACTERS]
        if self._tells_key(text):
            return WITHHELD
        text = " ".join(text.split())
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        if len(text) > MAX_SHOWN_CHARACTERS:
            return text[:MAX_SHOWN_CHARACTERS] + "…"
        return text

    def _tells_key(self, text: str) -> bool:
        if not self._parts:
            return False
        unescaped = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
        plain = "".join(unescaped.split()).lower()
        return any(
            plain[start : start + self._size] in self._parts
            for start in range(len(plain) - self._size + 1)
        )


def _forms(key: str) -> list[str]:
    """The key as it may stand in a text, in lower case.

    In base64 three characters become four: what the key becomes depends on how many stand before
    it, but for its ends, which mix with what stands around it.
    """
    raw = key.encode()
    forms = [key, raw.hex(), quote(key, safe="")]
    for n_before in range(3):
        coded = base64.b64encode(bytes(n_before) + raw).decode()
        whole = coded[(4 * n_before + 2) // 3 : (n_before + len(raw)) * 8 // 6]
        forms += [whole, whole.replace("+", "-").replace("/", "_")]
    return [form.lower() for form in forms]
