"""A company with features to train and score."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.pipeline.prediction.two_features import ATTRIBUTES, NOW, write_features
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse


@pytest.fixture
def company(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company with six customers at three dates, all of one feature version."""
    company = add_company("acme", clock_at=NOW, custom_attributes=ATTRIBUTES)
    with warehouse.connect() as connection:
        write_features(connection, company.company_id)
    return company
