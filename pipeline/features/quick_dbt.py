"""dbt's program, as `python -m pipeline.features.quick_dbt`, with Python's collector of garbage mostly out of its way.

A project is some hundred thousand objects, all of which dbt needs until its end; looking through them again and again
was a sixth of what a start of dbt cost.
"""

import gc

from foundation.imports import lasting_imports

OBJECTS_BETWEEN_LOOKS = 50_000
"""Python's own 700 suit programs that live long and hold little. Garbage is still found, so that memory stays flat."""


def main() -> None:
    """Run dbt with the arguments of this process, and exit as it does."""
    with lasting_imports():
        from dbt.cli.main import cli
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, 20, 20)
    cli()


if __name__ == "__main__":
    main()
