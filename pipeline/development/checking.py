"""What can be said of a change before it is built: from the project as dbt compiles it, in some seconds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
import psycopg
from psycopg import sql

from foundation.counting import agreeing
from pipeline.data_files import PACKAGE, is_checkout
from pipeline.development.building import (
    CHANGED,
    checksum_of,
    compile_models,
    compiled_directory,
    manifest_of,
    place_environment,
    state_directory,
)
from pipeline.development.rule_of_time import find_peeks, models_that_know_by_date
from pipeline.features.catalogue import all_features, deprecated_features, target_directory
from pipeline.features.dbt import DbtFailed
from pipeline.features.dbt_macros import MacroRefused, call_macro
from pipeline.features.impact import find_impact
from pipeline.features.own_project import PACKAGE_DIRECTORY, project_directory, project_name
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.retiring import champions_that_read
from pipeline.prediction.tasks import TASKS
from warehouse.connection import Warehouse
from warehouse.developers import Developer
from warehouse.settings import Settings

Kind = Literal["fault", "notice"]
Node = Mapping[str, Any]
_REF = re.compile(r"""\bref\(\s*['"](\w+)['"]\s*\)""")
_COMMENT = re.compile(r"--[^\n]*|\{#.*?#\}", re.DOTALL)
_SQLFLUFF = Path(sys.executable).with_name("sqlfluff")


@dataclass(frozen=True)
class Finding:
    """Something about a change: a fault, which must not be built, or what its author should know."""

    kind: Kind
    about: str
    text: str


@dataclass(frozen=True)
class Checked:
    """The models that differ from production, and what was found about them."""

    changed: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def has_faults(self) -> bool:
        """Whether something must be mended before it is built."""
        return any(finding.kind == "fault" for finding in self.findings)


def check_change(settings: Settings, warehouse: Warehouse, place: Developer) -> Checked:
    """Compile what differs from production and look at it: meta of features, contracts, the rule of time, style.

    Nothing is built. Style is that of the files that differ, where sqlfluff is installed. Raises NoState where
    production's manifest is not there.
    """
    state: dict[str, Any] = orjson.loads((state_directory(settings) / "manifest.json").read_bytes())
    linting = _start_linting(settings, edited_files(state, project_directory(settings), project_name(settings)))
    try:
        compile_models(settings, place, [CHANGED.removesuffix("+")])
    except DbtFailed as error:
        _end(linting)
        return Checked((), (Finding("fault", "the project", str(error)),))
    manifest = manifest_of(settings)
    changed = [manifest["nodes"][unique_id] for unique_id in _compiled_last(settings, manifest)]
    findings = [
        *_meta_faults(manifest),
        *unit_test_faults(manifest, changed),
        *_contract_faults(warehouse, place, changed),
        *_contract_changes(settings, state, changed),
        *_models_in_need(settings, warehouse, state, manifest),
        *_peeks(settings, manifest, changed),
        *_lint_findings(linting),
    ]
    return Checked(tuple(str(node["name"]) for node in changed), tuple(findings))


def edited_files(state: Mapping[str, Any], project: Path, name: str = PACKAGE) -> list[Path]:
    """The SQL files of a project's models that production's manifest does not have, or has with other text."""
    built = {
        str(node["original_file_path"]): node["checksum"]["checksum"]
        for node in state["nodes"].values()
        if node["resource_type"] == "model" and node["package_name"] == name
    }
    files = sorted((project / "models").rglob("*.sql"))
    return [file for file in files if built.get(str(file.relative_to(project))) != checksum_of(file)]


def _compiled_last(settings: Settings, manifest: Mapping[str, Any]) -> list[str]:
    results = orjson.loads((compiled_directory(settings).parent / "run_results.json").read_bytes())["results"]
    return [
        str(result["unique_id"])
        for result in results
        if manifest["nodes"].get(result["unique_id"], {}).get("resource_type") == "model"
    ]


def _meta_faults(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        call_macro(manifest, "refuse_unknown_words_of_features")
    except MacroRefused as error:
        yield Finding("fault", "meta.feature", str(error))


def unit_test_faults(manifest: Mapping[str, Any], changed: Sequence[Node]) -> Iterator[Finding]:
    """Unit tests of the changed models that give no rows of a model which the SQL reads: dbt cannot run those."""
    for node in changed:
        read = set(_REF.findall(_COMMENT.sub("", str(node["raw_code"]))))
        for test in manifest["unit_tests"].values():
            if (test["model"], test["package_name"]) != (node["name"], node["package_name"]):
                continue
            missing = sorted(read - {name for given in test["given"] for name in _REF.findall(given["input"])})
            if missing:
                names = ", ".join(f"ref('{name}')" for name in missing)
                yield Finding(
                    "fault",
                    str(node["name"]),
                    f"its unit test {test['name']} gives no {names}, which the SQL reads; "
                    "add `input` and `rows` of it, or the test cannot run",
                )


def _contract_faults(warehouse: Warehouse, place: Developer, changed: Sequence[Node]) -> Iterator[Finding]:
    """Each changed model's SQL, asked for no row as the developer, against the columns that its YAML promises."""
    new = {str(node["relation_name"]) for node in changed}
    with warehouse.connect() as conn:
        conn.execute(sql.SQL("set role {}").format(sql.Identifier(place.login)))
        for node in changed:
            try:
                with conn.transaction(force_rollback=True):
                    yield from _differing_columns(conn, node)
            except psycopg.errors.UndefinedTable as error:
                unbuilt = sorted(name for name in new if _is_read(node, name) and name != node["relation_name"])
                kind: Kind = "notice" if unbuilt else "fault"
                names = [name.split(".")[-1].strip('"') for name in unbuilt]
                why = f" `churn dev build {' '.join(names)}` builds what it reads." if unbuilt else ""
                yield Finding(kind, str(node["name"]), f"{error.diag.message_primary}.{why}")
            except psycopg.Error as error:
                yield Finding("fault", str(node["name"]), str(error.diag.message_primary or error))


def _is_read(node: Node, relation: str) -> bool:
    return relation in str(node.get("compiled_code"))


def _differing_columns(conn: psycopg.Connection[Any], node: Node) -> Iterator[Finding]:
    query = sql.SQL("select * from (\n{}\n) as built limit 0").format(sql.SQL(str(node["compiled_code"])))
    described = conn.execute(query).description or []
    built = {column.name: column.type_code for column in described}
    if not node["config"].get("contract", {}).get("enforced"):
        return
    promised = {str(name): str(column["data_type"]) for name, column in node["columns"].items()}
    for name, data_type in promised.items():
        if name not in built:
            yield Finding("fault", str(node["name"]), f"the YAML promises {name}, and the SQL has no such column")
            continue
        is_same, actual = conn.execute(
            "select to_regtype(%s)::oid = %s::oid, format_type(%s::oid, null)", [data_type, built[name], built[name]]
        ).fetchone() or (False, "")
        if not is_same:
            yield Finding("fault", str(node["name"]), f"{name} is {actual}, and the YAML promises {data_type}")
    for name in built.keys() - promised.keys():
        yield Finding("fault", str(node["name"]), f"the YAML does not describe {name}, which the SQL has")


def _contract_changes(settings: Settings, state: Mapping[str, Any], changed: Sequence[Node]) -> Iterator[Finding]:
    """Columns that production has and the change has not, or of another type, and who reads them."""
    compiled = target_directory(settings) / "compiled"
    for node in changed:
        before = state["nodes"].get(node["unique_id"])
        if before is None or not before["config"].get("contract", {}).get("enforced"):
            continue
        for name, column in before["columns"].items():
            after = node["columns"].get(name)
            if after is not None and after["data_type"] == column["data_type"]:
                continue
            what = "is gone" if after is None else f"was {column['data_type']}, and is {after['data_type']}"
            readers = find_impact(state, f"{node['name']}.{name}", compiled)
            models = [model.partition(":")[0] for model in readers.models]
            read_by = f"; read by {', '.join([*models, *readers.exposures])}" if models or readers.exposures else ""
            yield Finding("notice", str(node["name"]), f"contract: {name} {what}{read_by}")


def _models_in_need(
    settings: Settings, warehouse: Warehouse, state: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[Finding]:
    """Champions that read a feature which goes, or is newly deprecated: the next training makes others."""
    before, after = (set(all_features(each)) for each in (state, manifest))
    newly = deprecated_features(manifest).keys() - deprecated_features(state).keys()
    for binding in TASKS:
        if (feature := binding.task.rule_feature) in (before - after) | newly:
            yield Finding("fault", feature, f"the rule of {binding.name} reads it, and cannot do without")
    leaving = (before - after) | newly
    for feature, champions in champions_that_read(warehouse, ModelRegistry(warehouse, settings.home), leaving).items():
        if champions:
            what = "is gone" if feature in before - after else "is deprecated"
            yield Finding("notice", feature, f"{what}, and {', '.join(champions)} read it: they are trained again")


def _peeks(settings: Settings, manifest: Mapping[str, Any], changed: Sequence[Node]) -> Iterator[Finding]:
    for peek in find_peeks(manifest, compiled_directory(settings), target_directory(settings) / "compiled"):
        number = len(peek.features)
        yield Finding("fault", peek.mart, f"{', '.join(peek.features)} {peek.reason_of(number)}")
    vouching = models_that_know_by_date(manifest)
    touched = sorted(str(node["name"]) for node in changed if node["name"] in vouching)
    if touched:
        yield Finding(
            "notice",
            ", ".join(touched),
            f"{agreeing(len(touched), 'vouch')} for what a date may know. Whether that still holds is proved on rows: "
            "`churn features prove` after the change is live",
        )


def _start_linting(settings: Settings, files: Sequence[Path]) -> subprocess.Popen[str] | None:
    """sqlfluff on these files, in a process of its own; None without files, or without sqlfluff."""
    if not files or not _SQLFLUFF.exists() or not is_checkout() or settings.project:
        return None
    return subprocess.Popen(  # noqa: S603 - our own program
        [_SQLFLUFF, "lint", "--disable-progress-bar", "--processes", "1", "--format", "json", *map(str, files)],
        cwd=PACKAGE_DIRECTORY.parent,
        env=place_environment(settings, "lint"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(linting: subprocess.Popen[str] | None) -> None:
    if linting is not None:
        linting.kill()
        linting.communicate()


def _lint_findings(linting: subprocess.Popen[str] | None) -> Iterator[Finding]:
    if linting is None:
        return
    said, complaints = linting.communicate()
    try:
        files = orjson.loads(said[said.index("[{") :]) if "[{" in said else []
    except orjson.JSONDecodeError:
        files = []
    if linting.returncode not in (0, 1) or (linting.returncode and not files):
        yield Finding("notice", "style", f"sqlfluff could not lint: {complaints.strip() or said.strip()}")
    for file in files:
        for violation in file["violations"]:
            place = f"{Path(file['filepath']).name}:{violation['start_line_no']}"
            yield Finding("fault", place, f"{violation['description']} ({violation['code']})")
