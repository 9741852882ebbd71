"""What assets are handed. A resource returns a plain domain object; domain code never sees Dagster."""

import logging
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime, time

import dagster as dg
from pydantic import PrivateAttr

from foundation.parent import adopt_children
from foundation.private_files import make_home
from orchestration.stopping import ends_in_time
from warehouse.connection import Warehouse
from warehouse.disk_space import refuse_without_room, watched
from warehouse.one_writer import one_writer
from warehouse.settings import Settings, load_settings


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The warehouse that the settings name: the embedded server, or ``CHURN_DATABASE_URL``."""

    _until_the_run_ends: ExitStack = PrivateAttr(default_factory=ExitStack)
    _run_began: datetime | None = PrivateAttr(default=None)

    def settings(self) -> Settings:
        """The settings of this process, read again so that a test may change them between runs.

        Their clock stays in the day on which the run began: what features were built for is what is scored and
        published, though midnight passes in between.
        """
        settings = load_settings()
        if self._run_began is None or settings.now is not None:
            return settings
        return settings.model_copy(update={"now": end_of_day_passed(self._run_began, datetime.now(UTC))})

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """A request to stop ends the run's process in time, and so does a disk that fills.

        What the process started ends with it. Raises DiskAlmostFull.
        """
        adopt_children()
        self._until_the_run_ends.enter_context(ends_in_time(signal.SIGTERM, signal.SIGINT))
        if context.run is not None:
            self._run_began = _beginning(context.instance, context.run.run_id)
            settings, job = self.settings(), context.run.job_name
            make_home(settings.home)
            refuse_without_room(settings, job, (context.log or logging.getLogger(__name__)).warning)
            self._until_the_run_ends.enter_context(watched(settings, job))

    def open(self) -> AbstractContextManager[Warehouse]:
        """The warehouse, started if it is embedded and down, held until the context ends."""
        return Warehouse.open(self.settings())

    def write_alone(self, command: str, say: Callable[[str], None]) -> None:
        """Be the warehouse's one writer from here to the end of this process's part of the run.

        ``say`` is told whom it waits for. Raises WarehouseBusy.
        """
        warehouse = self._until_the_run_ends.enter_context(self.open())
        self._until_the_run_ends.enter_context(one_writer(warehouse, command, say=say))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster's own
        """Let the next writer in."""
        self._until_the_run_ends.close()


def end_of_day_passed(began: datetime, now: datetime) -> datetime | None:
    """The last moment of the day, in UTC, on which a run ``began``, once that has passed; None while it is that day."""
    day: date = began.astimezone(UTC).date()
    return None if now.astimezone(UTC).date() <= day else datetime.combine(day, time.max, UTC)


def _beginning(instance: dg.DagsterInstance | None, run_id: str) -> datetime | None:
    """When the run began, aware; None where no instance has kept it."""
    record = instance.get_run_record_by_id(run_id) if instance else None
    if record is None:
        return None
    return record.create_timestamp if record.start_time is None else datetime.fromtimestamp(record.start_time, UTC)
