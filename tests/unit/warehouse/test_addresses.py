"""Addresses that the warehouse hands out: URLs for other tools, the dbt profile, names of logins."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from warehouse.connection import Warehouse
from warehouse.relations import Relation
from warehouse.roles import Role, company_login

HARD_PASSWORD = "p@ss/wörd :%+?#&"
URL = "postgres://owner:p%40ss%2Fw%C3%B6rd%20%3A%25%2B%3F%23%26@db.example.com:6543/churn?sslmode=require"


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_a_schemas_url_says_the_same_to_libpq_and_to_sqlalchemy(driver: str) -> None:
    url = Warehouse(URL).url(driver, schema="mlflow")
    for_sqlalchemy = make_url(url)
    for_libpq = conninfo_to_dict(url.replace(driver, "postgresql", 1))
    assert for_sqlalchemy.drivername == driver
    assert for_sqlalchemy.password == for_libpq["password"] == HARD_PASSWORD
    assert for_sqlalchemy.query["options"] == for_libpq["options"]
    assert "-c search_path=mlflow" in for_libpq["options"]
    assert for_sqlalchemy.query["sslmode"] == for_libpq["sslmode"] == "require"


def test_options_of_the_given_url_are_kept() -> None:
    warehouse = Warehouse("postgresql://owner@db/churn?options=-cstatement_timeout%3D5000")
    options = conninfo_to_dict(warehouse.url("postgresql", schema="dagster"))["options"]
    assert options.startswith("-cstatement_timeout=5000 -c TimeZone=UTC ")
    assert "-c search_path=dagster" in options
    assert options.count("statement_timeout") == 1


def test_the_dbt_profile_is_for_its_owner_only_and_holds_what_dbt_asks_for(tmp_path: Path) -> None:
    path = Warehouse(URL, threads=3).write_dbt_profile(tmp_path / "made")
    assert path == tmp_path / "made" / "profiles.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server = {"type": "postgres", "host": "db.example.com", "port": 6543, "dbname": "churn", "sslmode": "require"}
    assert yaml.safe_load(path.read_text()) == {
        "churn_warehouse": {
            "target": "prod",
            "outputs": {
                "prod": {**server, "user": "owner", "pass": HARD_PASSWORD, "schema": "dbt", "threads": 3},
                "dev": {**server, "user": "dev_nobody", "pass": "", "schema": "dev_nobody", "threads": 3},
            },
        }
    }


def test_developers_have_a_target_each_and_the_first_is_dev(tmp_path: Path) -> None:
    path = Warehouse(URL).write_dbt_profile(tmp_path, developers={"dev_b": "x", "dev_a": "y"}, default="dev")
    profile = yaml.safe_load(path.read_text())["churn_warehouse"]
    assert profile["target"] == "dev"
    logins = {
        target: (output["user"], output["pass"], output["schema"]) for target, output in profile["outputs"].items()
    }
    assert logins["dev"] == logins["dev_b"] == ("dev_b", "x", "dev_b")
    assert logins["dev_a"] == ("dev_a", "y", "dev_a")
    assert logins["prod"][0] == "owner"


def test_an_open_profile_of_old_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text("old")
    (tmp_path / "profiles.yml").chmod(0o644)
    path = Warehouse(URL).write_dbt_profile(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_password_is_not_shown() -> None:
    assert "p%40ss" not in repr(Warehouse(URL))
    assert HARD_PASSWORD not in repr(Warehouse(URL))
    assert Warehouse(URL).place == "db.example.com:6543/churn"


def test_a_companys_logins_carry_its_id_in_second_place() -> None:
    assert company_login(3, Role.company) == "company_3"
    assert company_login(3, Role.company_sync) == "company_3_sync"
    with pytest.raises(ValueError, match="churn_loader is no role of a company"):
        company_login(3, Role.loader)


def test_a_relation_reads_as_a_person_writes_it() -> None:
    scores = Relation("predictions", "churn_scores")
    assert str(scores) == "predictions.churn_scores"
    assert scores.identifier.as_string() == '"predictions"."churn_scores"'
