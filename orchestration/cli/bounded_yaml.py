"""YAML that somebody else wrote, read within bounds: no aliases, no field twice, and limits of size and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LARGEST_FILE_BYTES = 4 * 2**20
DEEPEST = 20
LONGEST_NUMBER = 64
"""Characters of a number or a moment: as text Python would reckon with more for minutes."""


class _BoundedLoader(yaml.SafeLoader):
    """Plain YAML. A field that stands twice is an error too: the second would silently win."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        place = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here; write it out", place)
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"it is nested deeper than {DEEPEST} levels", place)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if not isinstance(name, str):
                continue
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} stands there twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag in _RECKONED and len(node.value) > LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"a number has more than {LONGEST_NUMBER} characters; quote it if it is text",
                node.start_mark,
            )
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, TypeError):
            raise yaml.constructor.ConstructorError(
                None, None, "a value is not what it looks like; quote it if it is text", node.start_mark
            ) from None


_RECKONED = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}


def parse_yaml(text: str) -> Any:
    """The content of a YAML text. Raises yaml.YAMLError, which says where it goes beyond what is allowed."""
    return yaml.load(text, _BoundedLoader)  # noqa: S506  (a SafeLoader)


def read_yaml(file: Path) -> Any:
    """The content of a YAML file. Raises yaml.YAMLError, OSError and UnicodeDecodeError."""
    with file.open("rb") as stored:
        content = stored.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise yaml.YAMLError(f"it is larger than {LARGEST_FILE_BYTES:,} bytes; split it")
    return parse_yaml(content.decode())
