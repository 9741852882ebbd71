"""What is found about a change before it is built: contracts, the rule of time, features' words, style."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from pipeline.development import checking
from pipeline.development.building import state_directory
from pipeline.development.checking import Checked, check_change, edited_files
from pipeline.development.places import development_directory
from pipeline.development.rule_of_time import find_peeks
from pipeline.features import own_project
from tests.integration.conftest import TwoCompanies
from tests.integration.dbt_project.dbt_runs import copy_project
from warehouse.dbt_targets import DEVELOPMENT_TARGET
from warehouse.developers import drop_place, make_place, place_of
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("two_companies")

NAME = "checked"
MART = "models/features/ticket_features.sql"
WORDS = "models/features/_ticket_features.yml"
FEATURE = """      - name: {name}
        description: Something new.
        data_type: {type}
        config: {{meta: {{feature: {{label: New, unit: {unit}, family: tickets, kind: number, basis: event_times}}}}}}
      - name: feature_version
"""
LATER = """later as (

    select
        company_id,
        customer_id,
        max(resolved_at)::date as last_resolved_date
    from {{ ref('stg_crm__tickets') }}
    group by company_id, customer_id

),

comparisons as (
"""


@dataclass
class Project:
    """A copy of the project to change, and a place to check it in."""

    two: TwoCompanies
    settings: Settings
    folder: Path

    def check(self) -> Checked:
        with self.two.warehouse.connect() as connection:
            place = place_of(connection, NAME)
        return check_change(self.settings, self.two.warehouse, place)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    def add_feature(self, expression: str, name: str = "new_one", unit: str = "days") -> None:
        """A column of `comparisons` that is an integer, and its words."""
        star = "        *,\n        cardinality("
        self.edit(MART, star, star.replace("cardinality(", f"{expression} as {name},\n        cardinality("))
        self.edit(WORDS, "      - name: feature_version\n", FEATURE.format(name=name, type="integer", unit=unit))


@pytest.fixture
def project(two_companies: TwoCompanies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    settings = Settings(home=tmp_path / "home")
    state_directory(settings).mkdir(parents=True)
    shutil.copy(two_companies.dbt.folder / "target" / "manifest.json", state_directory(settings))
    folder = copy_project(tmp_path / "dbt_project")
    shutil.copy(Path(__file__).parents[4] / ".sqlfluff", tmp_path)
    for module in (own_project, checking):
        monkeypatch.setattr(module, "PACKAGE_DIRECTORY", folder)
    with two_companies.warehouse.connect() as connection:
        password = make_place(connection, NAME, two_companies.company_ids[:1], 2)
    two_companies.warehouse.write_dbt_profile(
        development_directory(settings), developers={f"dev_{NAME}": password}, default=DEVELOPMENT_TARGET
    )
    yield Project(two_companies, settings, folder)
    with two_companies.warehouse.connect() as connection:
        drop_place(connection, NAME)


def test_nothing_speaks_against_a_good_feature(project: Project) -> None:
    project.add_feature("tickets_opened_30d * 2")
    checked = project.check()
    assert checked.changed == ("ticket_features",)
    assert not checked.findings


def test_what_breaks_a_contract_is_named_with_who_reads_it(project: Project) -> None:
    project.add_feature("(tickets_opened_30d / 2.0)")
    for file, end in ((MART, ","), (WORDS, "")):
        mark = "as tickets_opened_7d" if end else "name: tickets_opened_7d"
        project.edit(file, f"{mark}{end}\n", f"{mark.replace('7d', '8d')}{end}\n")
    texts = {finding.text: finding.kind for finding in project.check().findings}
    assert texts["new_one is numeric, and the YAML promises integer"] == "fault"
    gone = [text for text in texts if text.startswith("contract: tickets_opened_7d is gone; read by ")]
    assert "features.churn_feature_matrix" in gone[0]
    assert texts[gone[0]] == "notice"


def test_a_feature_that_reads_the_future_is_caught_by_name(project: Project) -> None:
    project.edit(MART, "comparisons as (\n", LATER)
    project.edit(
        MART,
        "    from figures\n\n),\n\nfinal",
        "    from figures\n    left join later\n        using (company_id, customer_id)\n\n),\n\nfinal",
    )
    project.add_feature("(later.last_resolved_date - as_of_date)::integer", "days_to_last_resolution")
    faults = [finding for finding in project.check().findings if "days_to_last_resolution" in finding.text]
    assert [(fault.kind, fault.about) for fault in faults] == [("fault", "ticket_features")]
    assert "rests on stg_crm__tickets" in faults[0].text


def test_sql_that_does_not_run_and_words_that_nobody_knows_are_faults(project: Project) -> None:
    project.add_feature("tickets_opened_31d")
    assert [finding.text for finding in project.check().findings if finding.kind == "fault"] == [
        'column "tickets_opened_31d" does not exist'
    ]
    project.edit(WORDS, "unit: days, family: tickets, kind: number", "unit: fortnights, family: tickets, kind: number")
    (fault,) = project.check().findings
    assert "unit is 'fortnights'; use one of days" in fault.text


def test_nothing_of_ours_looks_ahead_and_only_edited_files_are_linted(project: Project) -> None:
    manifest = orjson.loads((state_directory(project.settings) / "manifest.json").read_bytes())
    assert find_peeks(manifest) == []
    assert edited_files(manifest, project.folder) == []
    project.edit(MART, "select", "select -- edited")
    (project.folder / "models" / "features" / "another.sql").write_text("select 1 as a")
    names = [file.name for file in edited_files(manifest, project.folder)]
    assert names == ["another.sql", "ticket_features.sql"]
