"""Trained models in MLflow: what each training did, every version's files, and which version is champion.

MLflow's tables live in the warehouse's own Postgres (schema mlflow), the files under home/mlflow. Knows no
dagster. MLflow is imported inside functions, since that takes seconds.

A model's files are plain artefacts of its run and not an MLflow "flavour": `log_model` would infer an
environment for several seconds, and would load through a pickle.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from foundation.errors import ChurnError
from foundation.model_version import ModelVersion
from ml_assets.model.trained import TrainedModel
from ml_assets.task import PredictionTask
from ml_assets.training.train import TrainingResult
from pipeline.prediction.card import render_card
from pipeline.prediction.training_record import metrics_of, parameters_of, report_of
from warehouse.connection import Warehouse
from warehouse.relations import MLFLOW_SCHEMA

CHAMPION = "champion"
_DRIVER = "postgresql+psycopg"
_MODEL_FOLDER = "model"
_ALIASES = sql.Identifier(MLFLOW_SCHEMA, "registered_model_aliases")
_VERSION_TAGS = sql.Identifier(MLFLOW_SCHEMA, "model_version_tags")
_FEATURE_VERSION = "feature_version"
_RUNS = sql.Identifier(MLFLOW_SCHEMA, "runs")
_REPORT_FILE = "training.json"
_CARD_FILE = "card.html"
_STUDIES = "studies"
_LOCK = 7_231_001
ANSWER_SECONDS = 5
"""How long MLflow's store may take to answer a new connection; MLflow alone would try for minutes, or for ever."""

_QUIET = ("alembic", "mlflow.store.db.utils")


class RegistryError(ChurnError):
    """The model registry cannot be used, or holds no such model."""

    advice = "`churn model list --company SLUG` shows the models that there are."


class RegistryUnreachable(RegistryError):
    """MLflow's store refuses, or does not answer in time."""

    advice = "`churn status` says whether that Postgres answers; then run the command again."


class ModelFilesMissing(RegistryError):
    """The registry knows the version, but its files are gone."""

    advice = "Put them back, or `churn train --company SLUG` trains it again."


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a model in the registry, the MLflow run that made it, and the champion that it met."""

    version: ModelVersion
    run_id: str
    champion_before: ModelVersion | None = None


class ModelRegistry:
    """MLflow's tracking and registry for one warehouse. Opens no connection until it is used."""

    def __init__(self, warehouse: Warehouse, home: Path) -> None:
        """`home` is the settings' home folder; files go to `home/mlflow`."""
        self._warehouse = warehouse
        self._files = home / "mlflow"

    @property
    def tracking_uri(self) -> str:
        """The address of MLflow's store, with the password, for `mlflow ui` and the like."""
        return f"{self._warehouse.url(_DRIVER, MLFLOW_SCHEMA)}&connect_timeout={ANSWER_SECONDS}"

    def log_training(
        self,
        name: str,
        result: TrainingResult,
        task: PredictionTask,
        *,
        tags: Mapping[str, str] | None = None,
        promote: bool | None = None,
    ) -> RegisteredModel:
        """Log a training and register its model as the next version of `name` (as "churn-acme").

        The version becomes champion when the result's status is promoted or too_few_outcomes (its rule then
        publishes), or as `promote` says. `tags` are shown in MLflow: company, rung, Dagster run.
        """
        before = self.champion_version(name)
        with self._reported(f"model {name!r} could not be logged"):
            run_id = self._log_run(name, result, task, tags or {})
            registered = RegisteredModel(self._register(name, run_id, result), run_id, before)
            if promote if promote is not None else result.status != "kept_champion":
                self._client.set_registered_model_alias(name, CHAMPION, str(registered.version.number))
        return registered

    def set_champion(self, version: ModelVersion) -> None:
        """Let this version publish from now on. Raises `RegistryError` when there is no such version."""
        with self._reported(f"{version} could not be made champion"):
            self._client.get_model_version(version.name, str(version.number))
            self._client.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def champion(self, name: str) -> tuple[TrainedModel, ModelVersion] | None:
        """The champion of this name and its version; None where the name has no champion."""
        from mlflow.exceptions import MlflowException

        with self._reported(f"the champion of model {name!r} could not be read"):
            try:
                aliased = self._client.get_model_version_by_alias(name, CHAMPION)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        version = ModelVersion(name, int(aliased.version))
        return self._read(version, aliased.run_id), version

    def champion_version(self, name: str) -> ModelVersion | None:
        """The version that holds the champion's alias; None where the name has no champion.

        Read from MLflow's own table: importing MLflow takes seconds, and a day with nothing new needs no more.
        """
        query = sql.SQL("select version from {} where name = %s and alias = %s").format(_ALIASES)
        number = self._read_value(query, [name, CHAMPION])
        return None if number is None else ModelVersion(name, int(number))

    def champion_feature_version(self, name: str) -> str | None:
        """What made the features that the champion learned from; None where there is none, or it is not recorded.

        Read from MLflow's own tables, as `champion_version` is.
        """
        query = sql.SQL(
            "select tag.value from {} as alias inner join {} as tag"
            " on tag.name = alias.name and tag.version = alias.version and tag.key = %s"
            " where alias.name = %s and alias.alias = %s"
        ).format(_ALIASES, _VERSION_TAGS)
        return self._read_value(query, [_FEATURE_VERSION, name, CHAMPION])

    def load(self, version: ModelVersion) -> TrainedModel:
        """One version of a model. Raises `RegistryError` when it, or its files, are not there."""
        with self._reported(f"{version} could not be read"):
            registered = self._client.get_model_version(version.name, str(version.number))
        return self._read(version, registered.run_id)

    def card(self, version: ModelVersion) -> str:
        """The model card of a version, as an HTML page. Raises `RegistryError` when it is not there."""
        return self._artefact(version, _CARD_FILE).decode()

    def report(self, version: ModelVersion) -> dict[str, Any]:
        """What a version's training found (`training_record.report_of`). Raises RegistryError when it is not there."""
        report: dict[str, Any] = orjson.loads(self._artefact(version, _REPORT_FILE))
        return report

    def study_storage(self, name: str) -> Any:
        """Optuna's storage of the searches for a model: a journal in the home folder, which two may write at once."""
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        folder = self._files / _STUDIES
        folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(folder / f"{name}.log")))

    def forget(self, name: str) -> int:
        """Erase every version of a model, with its runs and files; returns how many runs there were."""
        (self._files / _STUDIES / f"{name}.log").unlink(missing_ok=True)
        query = sql.SQL("select run_uuid from {} where name = %s").format(_RUNS)
        with self._warehouse.connect() as connection:
            try:
                runs = [run_id for (run_id,) in connection.execute(query, [name])]
            except psycopg.errors.UndefinedTable:
                return 0
        if not runs:
            return 0
        with self._reported(f"model {name!r} could not be erased"):
            if self._client.search_registered_models(f"name = '{name}'"):
                self._client.delete_registered_model(name)
            for run_id in runs:
                # As `mlflow gc` does; delete_run alone only hides a run.
                self._client._tracking_client.store._hard_delete_run(run_id)
                for folder in self._files.glob(f"*/{run_id}"):
                    shutil.rmtree(folder)
        return len(runs)

    def _read_value(self, query: sql.Composed, parameters: Sequence[str]) -> str | None:
        """What MLflow's own tables say; None where they say nothing, or were never made."""
        try:
            with self._warehouse.connect() as connection:
                row = connection.execute(query, parameters).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
        except psycopg.Error as error:
            raise self._failed("its tables could not be read", error) from error
        return None if row is None else str(row[0])

    @cached_property
    def _client(self) -> Any:
        """MLflow's client on its tables, which the first call ever creates (some seconds).

        One process at a time: MLflow's own creation of tables does not bear two. Raises RegistryUnreachable.
        """
        self._knock()
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        from mlflow import MlflowClient

        with self._warehouse.connect() as connection, _quiet():
            connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
            client.search_registered_models(max_results=1)
            client.search_experiments(max_results=1)
        return client

    def _knock(self) -> None:
        """Fail at once where the store does not answer: MLflow would try ten times, each for as long as it takes."""
        address = self.tracking_uri.replace(_DRIVER, "postgresql")
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError as error:
            raise RegistryUnreachable(self._unreachable(error)) from error

    def _unreachable(self, error: Exception) -> str:
        store = make_url(self.tracking_uri)
        reason = str(error).strip().replace(str(store.password or self.tracking_uri), "***")
        place = f"{store.host}:{store.port}/{store.database}"
        return (
            f"the model registry (MLflow, schema {MLFLOW_SCHEMA} at {place}) cannot be reached: {reason}. Nothing was "
            "scored or trained with it, and what is published stands."
        )

    def _log_run(self, name: str, result: TrainingResult, task: PredictionTask, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(
            self._experiment(result.model.task_name),
            run_name=name,
            tags={
                "status": result.status,
                "rung": result.model.rung,
                "trained_at": result.model.facts.trained_at.isoformat(),
                "data_fingerprint": result.model.facts.fingerprint,
                **_feature_version_tag(result),
                **tags,
            },
        )
        run_id = str(run.info.run_id)
        try:
            self._log_figures(run_id, result)
            self._log_files(run_id, name, result, task)
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id)
        return run_id

    def _log_figures(self, run_id: str, result: TrainingResult) -> None:
        from mlflow.entities import Metric, Param

        created = int(result.model.facts.trained_at.timestamp() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, created, 0) for key, value in metrics_of(result).items()],
            params=[Param(key, value) for key, value in parameters_of(result).items()],
        )

    def _log_files(self, run_id: str, name: str, result: TrainingResult, task: PredictionTask) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / _MODEL_FOLDER).mkdir()
            for file, content in result.model.to_files().items():
                (folder / _MODEL_FOLDER / file).write_bytes(content)
            (folder / _REPORT_FILE).write_bytes(report_of(result))
            (folder / _CARD_FILE).write_text(render_card(name, result, task, parameters_of(result)))
            self._client.log_artifacts(run_id, temporary)

    def _register(self, name: str, run_id: str, result: TrainingResult) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name, tags={"task": result.model.task_name})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = self._folder(result.model.task_name, run_id).as_uri()
        created = self._client.create_model_version(
            name,
            source,
            run_id=run_id,
            tags={"rung": result.model.rung, "status": result.status, **_feature_version_tag(result)},
        )
        return ModelVersion(name, int(created.version))

    def _experiment(self, task_name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(task_name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(task_name, (self._files / task_name).as_uri()))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = self._client.get_experiment_by_name(task_name)
        return str(experiment.experiment_id)

    def _folder(self, task_name: str, run_id: str) -> Path:
        return self._files / task_name / run_id / "artifacts" / _MODEL_FOLDER

    def _artefact(self, version: ModelVersion, file: str) -> bytes:
        with self._reported(f"{version} could not be read"):
            run_id = self._client.get_model_version(version.name, str(version.number)).run_id
        paths = list(self._files.glob(f"*/{run_id}/artifacts/{file}"))
        if not paths:
            raise ModelFilesMissing(f"{version} has no {file} under {self._files}")
        return paths[0].read_bytes()

    def _read(self, version: ModelVersion, run_id: str) -> TrainedModel:
        """Files are looked up below today's home, so that the whole home folder may move."""
        folders = list(self._files.glob(f"*/{run_id}/artifacts/{_MODEL_FOLDER}"))
        if not folders:
            raise ModelFilesMissing(
                f"the files of {version} are not under {self._files}: they were "
                "trained with another home folder, or removed"
            )
        return TrainedModel.from_files({path.name: path.read_bytes() for path in folders[0].iterdir()})

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Turn MLflow's and the database's errors into one that says what could not be done; no secrets."""
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import OperationalError, SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, CommandError, psycopg.Error, OSError) as error:
            if isinstance(error.__cause__, OperationalError):
                raise RegistryUnreachable(self._unreachable(error)) from error
            raise self._failed(what, error) from error

    def _failed(self, what: str, error: Exception) -> RegistryError:
        reason = str(error).strip().replace(self.tracking_uri, self._warehouse.place)
        return RegistryError(
            f"{what} in the model registry (MLflow, schema {MLFLOW_SCHEMA} at {self._warehouse.place}): {reason}"
        )


def _feature_version_tag(result: TrainingResult) -> dict[str, str]:
    version = result.model.facts.feature_version
    return {} if version is None else {_FEATURE_VERSION: version}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep a migration's chatter out of the operator's terminal."""
    before = {name: logging.getLogger(name).level for name in _QUIET}
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
