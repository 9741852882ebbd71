"""What a person writes about a company: a YAML file, or single fields in a command."""

from pathlib import Path
from typing import Any

import yaml

from orchestration.cli.terminal import CommandFailed
from warehouse.companies.plan import WantedCompany, parse_companies
from warehouse.errors import CompanyDefinitionError


def read_companies(file: Path) -> list[WantedCompany]:
    """The companies of a YAML file. Raises CommandFailed or CompanyDefinitionError, which say what is wrong where."""
    try:
        content = yaml.load(file.read_text(), _StrictLoader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise CommandFailed(f"Cannot read {file}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} is no YAML: {error}") from None
    try:
        return parse_companies(content)
    except CompanyDefinitionError as error:
        raise CompanyDefinitionError(f"{file} cannot be used.\n{error.message}") from None


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a field that stands twice is an error: the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} stands there twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_assignment(setting: str) -> tuple[str, Any]:
    """Field and value of ``field=value``, the value as in YAML. Raises CommandFailed."""
    field, sign, value = setting.partition("=")
    if not sign or not field:
        raise CommandFailed(f"{setting} is no FIELD=VALUE.")
    try:
        return field, yaml.safe_load(value)
    except yaml.YAMLError:
        raise CommandFailed(f"The value of {field} is no YAML; quote it.") from None
