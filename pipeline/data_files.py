"""Where the SQL and YAML stand that the code runs by: beside the packages in a checkout, in this one when installed.

The wheel carries ``dbt_project/`` and ``dashboards/`` below ``pipeline/data/``, so that site-packages gets no folders
of such names. Whoever runs an installed wheel may not be allowed to write there.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import yaml

PACKAGE = "churn_warehouse"
"""Our dbt project's name, by which a project of somebody's own takes it as a package."""

_INSTALLED = Path(__file__).with_name("data")
_CHECKOUT = Path(__file__).resolve().parents[1]


def is_checkout() -> bool:
    """Whether the code runs from a checkout, whose files are there to be edited."""
    return not _INSTALLED.is_dir()


def data_directory(name: Literal["dbt_project", "dashboards"]) -> Path:
    """The folder of this name, to be read from."""
    return (_CHECKOUT if is_checkout() else _INSTALLED) / name


@functools.cache
def package_variables() -> dict[str, Any]:
    """What our dbt_project.yml sets; a Dagster that loads every table's version reads it once."""
    variables: dict[str, Any] = yaml.safe_load((data_directory("dbt_project") / "dbt_project.yml").read_text())["vars"]
    return variables
