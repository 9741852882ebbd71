"""Secrets and files as an operator puts them where a company may refer to them."""

from __future__ import annotations

from pathlib import Path


def put_secret(home: Path, slug: str, name: str, secret: str) -> str:
    """Write a company's secret as a file of the home folder; returns the reference to it."""
    path = home / "secrets" / slug / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(secret)
    return f"file:{name}"


def imports(home: Path, slug: str = "acme") -> Path:
    """The folder of a company's files, made where it is not there."""
    folder = home / "imports" / slug
    folder.mkdir(parents=True, exist_ok=True)
    return folder
