"""Reading the catalogue of features: what each means, since when it is known, and whether its past was proven."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from warehouse import relations
from warehouse.prediction.feature_store import FeaturesNotBuilt


@dataclass(frozen=True)
class CatalogueRow:
    """One feature as the catalogue has it, of one company or over all. Shares are in [0, 1], None before any row."""

    feature: str
    label: str
    family: str
    model_name: str
    share_missing: float | None
    share_missing_on_newest_date: float | None
    first_date_available: date | None
    is_proven: bool | None
    proof_rows_compared: int | None
    proof_rows_differing: int | None
    proof_date: date | None


def read_catalogue(conn: psycopg.Connection[Any], company_id: int | None) -> list[CatalogueRow]:
    """The features of one company, or those that all companies share.

    Over all companies shares are means, and the proof is that of the company that fared worst. Raises
    FeaturesNotBuilt before the first dbt build.
    """
    query = sql.SQL(
        """
        select feature, min(label) as label, min(family) as family, min(model_name) as model_name,
            avg(share_missing) as share_missing,
            avg(share_missing_on_newest_date) as share_missing_on_newest_date,
            min(first_date_available) as first_date_available,
            bool_and(is_proven) as is_proven,
            sum(proof_rows_compared)::bigint as proof_rows_compared,
            sum(proof_rows_differing)::bigint as proof_rows_differing,
            min(proof_date) as proof_date
        from {}
        where company_id = %(company_id)s or (%(company_id)s::int is null and not starts_with(feature, 'attribute_'))
        group by feature
        """
    ).format(relations.FEATURE_CATALOGUE.identifier)
    try:
        with conn.cursor(row_factory=class_row(CatalogueRow)) as cursor:
            return cursor.execute(query, {"company_id": company_id}).fetchall()
    except psycopg.errors.UndefinedTable:
        raise FeaturesNotBuilt(f"{relations.FEATURE_CATALOGUE} does not exist yet.") from None
