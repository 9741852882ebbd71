"""The disk fills while dbt builds or a model is trained, and then there is room again.

Each stops in one sentence, and the same command then leaves what a run leaves that nothing stopped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.churn_home import CHURN, ROOT, ChurnHome
from tests.e2e.companies_of_files import NOW, customers, definition, payments, write_company, write_definitions
from tests.integration.warehouse.disks import fill, small_disk
from warehouse.disk_space import MIB

pytestmark = pytest.mark.nightly

RESERVE = 60
CUSTOMERS = 150
STAGES = ("dbt", "train churn")
"""How the steps begin that the terminal shows."""

RESULTS = (
    "select customer_id, created_at, updated_at, revision, known_at, country from raw.customers",
    "select payment_id, customer_id, amount, paid_at, updated_at, revision, known_at from raw.payments",
    "select to_jsonb(matrix) - 'built_at' from features.churn_feature_matrix as matrix",
    "select customer_id, as_of_date, churn_probability, risk_level, reasons from predictions.churn_current",
    "select change_id, operation, customer_id, churn_probability from predictions.churn_changes",
    "select to_jsonb(overview) from analytics.customer_overview as overview",
)


class Home(ChurnHome):
    """One company of files, registered."""

    def prepare(self) -> None:
        write_company(self.home, "acme", customers=customers(CUSTOMERS), payments=payments(CUSTOMERS))
        done = self.churn("company", "apply", str(write_definitions(self.home, [definition("acme")])), "--yes")
        assert done.returncode == 0, done.stderr

    def results(self) -> list[list[str]]:
        return [sorted(map(str, self.ask(query))) for query in RESULTS]

    def run_until_full(self, stage: str) -> tuple[int, str]:
        """`churn run`, whose disk fills as soon as the stage begins; its exit code, and what it said at the end."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
        environment |= {"CHURN_HOME": str(self.home), "CHURN_NOW": NOW.isoformat()}
        environment |= {"CHURN_DISK_RESERVE_MB": str(RESERVE), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [str(CHURN), "run"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().startswith("…") and stage in line:
                fill(self.home.parent, (RESERVE - 10) * MIB)
        said = process.communicate(timeout=120)[1]
        (self.home.parent / "filler").unlink(missing_ok=True)
        return process.returncode, said


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    home = Home(tmp_path_factory.mktemp("clean") / "home")
    home.prepare()
    done = home.churn("run", now=NOW)
    assert done.returncode == 0, done.stderr
    return home.results()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 700) as place:
        yield place


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fills_in_a_stage_stops_it_and_the_next_run_leaves_what_a_clean_one_does(
    stage: str, disk: Path, clean: list[list[str]]
) -> None:
    home = Home(disk / "home")
    home.prepare()
    code, said = home.run_until_full(stage)
    assert code != 0
    assert said.count("is almost full") == 1, said
    assert "Traceback" not in said
    done = home.churn("run", now=NOW)
    assert done.returncode == 0, done.stderr
    assert home.results() == clean
