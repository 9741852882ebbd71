"""Our HTML pages: one look, no script, nothing from outside, every text escaped."""

from __future__ import annotations

from typing import Any

import jinja2

LOOK = "pipeline.telling"
"""The package that holds what all pages share: page.css, block.html.j2."""


def rendered(package: str, template: str, **values: Any) -> str:
    """The page that a template of the package makes of the values."""
    places = [jinja2.PackageLoader(name, "") for name in (package, LOOK)]
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.ChoiceLoader(places),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
