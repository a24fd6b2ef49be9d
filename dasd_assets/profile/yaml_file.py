"""YAML as a profile is written in: each key once, and no more of it than is written."""

from __future__ import annotations

from typing import Any

import yaml

MOST_NODES = 100_000
"""Values of a file with each alias counted as all that it stands for; ours have some hundred."""


class Only(dict[Any, Any]):
    """A mapping that was written with the tag `!only`: it takes nothing over from a base."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, and aliases that multiply."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node: Any = super().compose_node(parent, index)
        if is_alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(
                problem="an alias of what it stands in", problem_mark=node.start_mark
            )
        if id(node) not in self._sizes:
            inner: list[Any] = node.value if isinstance(node.value, list) else []
            # A mapping has pairs of nodes, a list nodes.
            pairs = (item if isinstance(item, tuple) else (item,) for item in inner)
            self._sizes[id(node)] = 1 + sum(
                self._sizes[id(each)] for pair in pairs for each in pair
            )
        if self._sizes[id(node)] > MOST_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST_NODES:,} values, aliases counted as what they stand for",
                problem_mark=node.start_mark,
            )
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            written = (key.tag, str(key.value))
            if written in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is there a second time",
                    problem_mark=key.start_mark,
                )
            seen.add(written)
        return super().construct_mapping(node, deep)


def _only(loader: _StrictLoader, node: yaml.MappingNode) -> Only:
    return Only(loader.construct_mapping(node, deep=True))


_StrictLoader.add_constructor("!only", _only)


def parse_yaml(text: str) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: no valid YAML, a key twice in one mapping, more aliases, levels or digits than
            can be read; the message says where.
    """
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("nested too deeply") from None
