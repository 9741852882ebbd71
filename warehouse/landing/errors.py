"""What can go wrong while landing."""

from __future__ import annotations

from warehouse.errors import WarehouseError


class VersionLogError(WarehouseError):
    """Base of what can go wrong while landing."""


class LoadInProgress(VersionLogError):
    """Another load of the same company and entity is running."""


class RejectLimitExceeded(VersionLogError):
    """More of a load's records broke the contract than the settings allow."""
