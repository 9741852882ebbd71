"""sqlfluff on what dbt compiles: every model, test and macro call as it reaches Postgres.

    python -m scripts.lint_sql [PATH ...]

dbt asks a database whether tables are there when it compiles: an embedded Postgres starts for that, empty, and goes
when the check is done. Without a path the whole of dbt_project is read.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer

SQLFLUFF = Path(sys.executable).with_name("sqlfluff")


def main(paths: list[str]) -> int:
    """sqlfluff's exit code."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "home").lease() as server:
        Warehouse(server.url()).write_dbt_profile(Path(folder))
        return subprocess.run(  # noqa: S603 - our own program
            # One process: each further one has dbt read the project from scratch.
            [SQLFLUFF, "lint", "--disable-progress-bar", "--processes", "1", *(paths or ["dbt_project"])],
            env={
                **os.environ,
                "DBT_PROFILES_DIR": folder,
                "DBT_TARGET_PATH": str(Path(folder) / "target"),
                "DBT_LOG_PATH": str(Path(folder) / "logs"),
            },
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
