"""A page taken apart: its elements and its text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "wbr", "br", "img", "link", "input"}


class Page(HTMLParser):
    """Elements and text of a page; fails on tags that do not balance.

    `between` is put before each run of text.
    """

    def __init__(self, html: str, between: str = "") -> None:
        super().__init__()
        self._between = between
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += self._between + data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]

    def cut_on_a_phone(self) -> list[dict[str, str | None]]:
        """Tables, and cells of them, whose columns' names a narrow page could not show."""
        return [
            attrs
            for tag, attrs in self.elements
            if (tag == "table" and "stacked" not in (attrs.get("class") or "").split())
            or (tag == "td" and not attrs.get("data-label"))
        ]
