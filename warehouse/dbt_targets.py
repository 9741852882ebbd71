"""dbt's targets in the profiles that we write: production, and the places of developers."""

DBT_PROFILE = "churn_warehouse"
DBT_TARGET = "prod"
"""What jobs build; a person asks for it by name."""
DBT_SCHEMA = "dbt"
DEVELOPMENT_TARGET = "dev"
"""The place that was started last; each has a target of its own too, which is called as its login is."""
NOBODY = "dev_nobody"
"""The user of the target `dev` while nobody has a place."""


def is_development(target: str) -> bool:
    """Whether a target is a developer's place, as the project's macro `is_development` has it."""
    return target.startswith(DEVELOPMENT_TARGET)
