"""A project of somebody's own: what dbt makes of it and of ours, and what is refused before anything is built."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from pipeline.data_files import PACKAGE
from pipeline.development.new_project import InitRefused, make_project, usual_project_name
from pipeline.features import own_project
from pipeline.features.catalogue import read_features, state_manifest_path
from pipeline.features.dbt import DbtFailed, dbt_environment, prepare_manifest
from pipeline.features.own_project import (
    PACKAGE_DIRECTORY,
    OwnProjectRefused,
    link_package,
    overridden_models,
    packages_directory,
    refuse_faults,
    variables_of,
)
from pipeline.features.own_project_models import contract_changes, refuse_faulty_models
from pipeline.features.versions import sql_version
from pipeline.prediction.tasks import task_named
from warehouse.connection import Warehouse
from warehouse.errors import SettingsError
from warehouse.settings import Settings, load_settings

MATRIX = f"model.{PACKAGE}.customer_feature_matrix"
MART = "model.shop.shop_features"


def new_project(folder: Path) -> Settings:
    """A project as `churn init` makes it, with a profile that reaches no server."""
    make_project(folder, "shop")
    settings = Settings(home=folder / ".churn", project=folder)
    Warehouse("postgresql://nobody@localhost/churn").write_dbt_profile(settings.home / "dbt")
    return settings


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """dbt's manifest of a new project, parsed once."""
    settings = new_project(tmp_path_factory.mktemp("own") / "shop")
    manifest: dict[str, Any] = orjson.loads(prepare_manifest(settings).read_bytes())
    return manifest


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_project(tmp_path / "shop")


@pytest.fixture
def edit(settings: Settings) -> Callable[[Callable[[dict[str, Any]], object]], None]:
    """Changes what dbt_project.yml says."""
    file = _yaml_of(settings)

    def change(by: Callable[[dict[str, Any]], object]) -> None:
        said = yaml.safe_load(file.read_text())
        by(said)
        file.write_text(yaml.safe_dump(said))

    return change


def _yaml_of(settings: Settings) -> Path:
    assert settings.project is not None
    return settings.project / "dbt_project.yml"


def test_a_new_project_is_parsed_and_its_feature_is_one_of_the_matrix(parsed: dict[str, Any], tmp_path: Path) -> None:
    assert MART in parsed["nodes"][MATRIX]["depends_on"]["nodes"]
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(orjson.dumps(parsed))
    matrix = task_named("churn").relations.matrix
    (feature,) = [each for each in read_features(manifest, matrix) if each.name == "payments_60d"]
    assert (feature.label, feature.family) == ("Payments in the last 60 days", "payments")
    assert parsed["nodes"][MART]["schema"] == "features"
    assert parsed["nodes"][MART]["config"]["contract"]["enforced"]


def test_a_test_of_ours_that_reads_several_models_says_in_which_package_its_own_is(parsed: dict[str, Any]) -> None:
    named = {
        name: node["config"]["meta"]["dagster"]["ref"]
        for name, node in parsed["nodes"].items()
        if node["resource_type"] == "test" and node["config"]["meta"].get("dagster", {}).get("ref")
    }
    assert len(named) > 5
    # Else Dagster looks in the root project, finds none, and runs the test before its models are built.
    assert {
        name for name, ref in named.items() if f"model.{ref.get('package')}.{ref['name']}" not in parsed["nodes"]
    } == set()


def test_ours_have_the_versions_that_they_have_without_it_and_theirs_change_with_their_macros(
    parsed: dict[str, Any],
) -> None:
    alone = copy.deepcopy(parsed)
    alone["macros"] = {name: macro for name, macro in alone["macros"].items() if macro["package_name"] != "shop"}
    ours = f"model.{PACKAGE}.payment_features"
    assert sql_version(parsed, ours) == sql_version(alone, ours)
    changed = copy.deepcopy(parsed)
    changed["macros"]["macro.shop.count_where"]["macro_sql"] += "{# another #}"
    assert sql_version(changed, MART) != sql_version(parsed, MART)
    assert sql_version(changed, ours) == sql_version(parsed, ours)


def test_no_file_of_a_new_project_names_a_path_of_this_machine(settings: Settings) -> None:
    assert settings.project is not None
    link_package(settings)
    texts = [path.read_text() for path in settings.project.rglob("*") if path.is_file() and ".churn" not in path.parts]
    assert len(texts) > 5
    assert not any(str(place) in text for text in texts for place in (PACKAGE_DIRECTORY, settings.project))


def test_two_homes_of_one_project_find_each_their_own_installation(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Settings(home=tmp_path / "server", project=settings.project)
    dbt_environment(settings, tmp_path, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    with monkeypatch.context() as moved:
        moved.setattr(own_project, "PACKAGE_DIRECTORY", elsewhere)
        link_package(other)
    assert (packages_directory(settings) / PACKAGE).readlink() == PACKAGE_DIRECTORY
    assert (packages_directory(other) / PACKAGE).readlink() == elsewhere
    link_package(other)
    assert (packages_directory(other) / PACKAGE).readlink() == PACKAGE_DIRECTORY


def test_a_project_is_never_written_over_and_its_name_is_no_name_of_ours(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InitRefused, match=r"has README\.md"):
        make_project(tmp_path, "shop")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    for name in ("payment", PACKAGE, "dbt", "Shop", "4u", "a-b", ""):
        with pytest.raises(InitRefused):
            make_project(tmp_path / "new", name)
    assert usual_project_name(Path("/srv/4 My-Shop!")) == "my_shop"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(name=PACKAGE), "give your project another name"),
        (lambda said: said.pop("name"), "give your project another name"),
        (lambda said: said.update(profile="other"), "profile: is other; write churn_warehouse"),
        (lambda said: said.update({"macro-paths": ["macros"]}), "our macros are missing"),
        (lambda said: said.update({"packages-install-path": "elsewhere"}), "packages-install-path: it is not ours"),
        (lambda said: said["vars"].update({PACKAGE: {"lookback_days": 90}}), f"stand under {PACKAGE}"),
        (lambda said: said["vars"].update(feature_marts="shop_features"), "feature_marts is a list"),
        (lambda said: said["models"]["shop"]["analytics"].pop("+post-hook"), "analytics.+post-hook: this release has"),
        (lambda said: said["models"].pop("shop"), "features.+incremental_strategy: this release has"),
    ],
)
def test_settings_that_do_not_fit_ours_are_named_before_dbt_runs(
    settings: Settings, edit: Callable[[Any], None], change: Callable[[dict[str, Any]], object], message: str
) -> None:
    refuse_faults(settings)
    edit(change)
    with pytest.raises(OwnProjectRefused) as refused:
        prepare_manifest(settings)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["name: [", "just words", "", "- a\n- b", "\x00"])
def test_a_dbt_project_that_cannot_be_read_is_named(settings: Settings, text: str) -> None:
    _yaml_of(settings).write_text(text)
    with pytest.raises(OwnProjectRefused, match=r"dbt_project\.yml is no"):
        refuse_faults(settings)


def test_what_is_no_project_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_PROJECT", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"CHURN_PROJECT: .*nowhere has no dbt_project\.yml; `churn init"):
        load_settings()
    (tmp_path / "dbt_project.yml").write_text("name: another\n")
    monkeypatch.setenv("CHURN_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match="does not take ours as a package"):
        load_settings()


def test_a_project_is_found_from_any_folder_inside_it_and_by_its_home(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.project is not None
    monkeypatch.chdir(settings.project / "models" / "features")
    assert (load_settings().project, load_settings().home) == (settings.project, settings.home)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    assert load_settings().project == settings.project
    monkeypatch.delenv("CHURN_HOME")
    monkeypatch.setenv("CHURN_PROJECT", str(settings.project))
    assert load_settings().home == settings.home


def test_a_model_or_a_macro_with_a_name_of_ours_is_refused_and_one_in_its_place_is_not(
    settings: Settings, edit: Callable[[Any], None]
) -> None:
    assert settings.project is not None
    (settings.project / "models" / "features" / "payment_features.sql").write_text("select 1")
    (settings.project / "macros" / "mine.sql").write_text("{% macro ratio(a, b) %}{% endmacro %}")
    with pytest.raises(OwnProjectRefused) as refused:
        refuse_faults(settings)
    assert "ours has a model payment_features" in str(refused.value)
    assert "ours has a macro ratio" in str(refused.value)
    (settings.project / "macros" / "mine.sql").unlink()
    edit(lambda said: said["models"].update({PACKAGE: {"features": {"payment_features": {"+enabled": False}}}}))
    refuse_faults(settings)


def test_yaml_of_a_model_that_is_none_ends_with_dbts_own_words(settings: Settings) -> None:
    assert settings.project is not None
    (settings.project / "models" / "features" / "_bad.yml").write_text("models: [")
    with pytest.raises(DbtFailed, match=r"_bad\.yml"):
        prepare_manifest(settings)


def _faults(settings: Settings, manifest: dict[str, Any]) -> str:
    with pytest.raises(OwnProjectRefused) as refused:
        refuse_faulty_models(settings, manifest)
    return str(refused.value)


@pytest.mark.parametrize("column", ["company_id", "customer_id", "as_of_date", "feature_version"])
def test_a_mart_needs_each_of_its_keys_in_their_type(settings: Settings, parsed: dict[str, Any], column: str) -> None:
    refuse_faulty_models(settings, parsed)
    without, other = copy.deepcopy(parsed), copy.deepcopy(parsed)
    del without["nodes"][MART]["columns"][column]
    assert f"shop_features: its YAML has no column {column}" in _faults(settings, without)
    other["nodes"][MART]["columns"][column]["data_type"] = "bigint"
    assert f"shop_features.{column}: its YAML says bigint" in _faults(settings, other)


def test_features_that_nobody_would_learn_from_or_that_ours_has_are_named(
    settings: Settings, parsed: dict[str, Any]
) -> None:
    forgotten, taken, twice = (copy.deepcopy(parsed) for _ in range(3))
    forgotten["metadata"]["env"] = {}
    assert "add it to `feature_marts`" in _faults(settings, forgotten)
    columns = taken["nodes"][MART]["columns"]
    columns["payments_30d"] = columns.pop("payments_60d")
    assert "payments_30d: payment_features of ours has a feature of this name" in _faults(settings, taken)
    twice["nodes"]["model.shop.second"] = {**twice["nodes"][MART], "name": "second"}
    assert "payments_60d: second and shop_features have a feature of this name" in _faults(settings, twice)
    report = copy.deepcopy(parsed)
    config = {**report["nodes"][MART]["config"], "schema": "analytics"}
    report["nodes"]["model.shop.page"] = {**report["nodes"][MART], "name": "page", "config": config, "columns": {}}
    assert "page: its YAML has no column company_id" in _faults(settings, report)


def test_an_upgrade_names_what_it_takes_from_their_models_before_anything_is_built(
    settings: Settings, parsed: dict[str, Any]
) -> None:
    before = copy.deepcopy(parsed)
    columns = before["nodes"]["model.churn_warehouse.int_payments__charges"]["columns"]
    columns["days_since_charge"] = {"name": "days_since_charge", "data_type": "bigint"}
    state_manifest_path(settings).parent.mkdir(parents=True)
    state_manifest_path(settings).write_bytes(orjson.dumps(before))
    now = copy.deepcopy(parsed)
    now["nodes"]["model.churn_warehouse.int_payments__charges"]["columns"]["days_since_charge"] = {
        "name": "days_since_charge",
        "data_type": "integer",
    }
    (change,) = contract_changes(settings, now)
    assert change.sentence == (
        "int_payments__charges.days_since_charge was bigint and is integer, and your shop_features reads it."
    )
    refuse_faulty_models(settings, now)
    del now["nodes"]["model.churn_warehouse.int_payments__charges"]["columns"]["days_since_charge"]
    assert "int_payments__charges.days_since_charge is gone, and your shop_features reads it." in _faults(settings, now)


def test_what_replaces_a_model_of_ours_is_told(parsed: dict[str, Any]) -> None:
    assert overridden_models(parsed) == []
    ours = parsed["nodes"]["model.churn_warehouse.payment_features"]
    replaced = {
        "nodes": {**parsed["nodes"], "model.shop.payment_features": {**ours, "package_name": "shop"}},
        "disabled": {"model.churn_warehouse.payment_features": [ours]},
    }
    assert overridden_models(replaced) == ["payment_features"]


def test_variables_of_a_project_are_those_that_python_goes_by(parsed: dict[str, Any]) -> None:
    assert variables_of(parsed)["feature_marts"] == ["shop_features"]
    assert variables_of(parsed)["lookback_days"] == 365
    other = copy.deepcopy(parsed)
    other["metadata"]["env"]["CHURN_VARIABLES"] = '{"lookback_days": 90}'
    assert sql_version(other, MATRIX) != sql_version(parsed, MATRIX)
