"""Markdown that a company's own words cannot break."""


def cell(text: str) -> str:
    """What a company wrote stands in one cell of a table, and is nothing but text."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
