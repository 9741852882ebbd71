"""Posts the change feed to a webhook in batches, and keeps its cursor in a file. Run it from cron.

    WAREHOUSE=postgresql://company_3_sync:...@host/churn python follow_with_webhook.py URL CURSOR_FILE [--estimate]

A body is {"starts_over": bool, "changes": [{"operation", "customer_id", ...}]}. Where starts_over is true the receiver
first clears what it holds: a snapshot follows. A batch that was not confirmed is posted again, and a snapshot that
was cut off starts again, so the receiver may see a change twice and applies it by customer_id.
"""

import argparse
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

PAGE = 10_000
COLUMNS = "customer_id, as_of_date::text, churn_probability, risk_level, reasons, model_version, row_hash"
SNAPSHOT = f"select 'upsert' as operation, {COLUMNS}, next_cursor from predictions.churn_snapshot_v1"
CHANGES = (
    f"select change_id, operation, change_reason, {COLUMNS} from predictions.churn_changes_v1"
    " where change_id > %s order by change_id limit %s"
)


def read_page(conn: psycopg.Connection[Any], cursor: int | None) -> tuple[bool, list[dict[str, Any]], int]:
    """Whether to start over, the rows to send, and the cursor that holds once they are sent."""
    rows = [] if cursor is None else conn.execute(CHANGES, [cursor, PAGE]).fetchall()
    # After the page, not before: compaction may come between the two.
    oldest = conn.execute("select coalesce(max(oldest_cursor), 0) as it from predictions.churn_cursors_v1").fetchone()
    if cursor is None or 0 < cursor < oldest["it"]:
        rows = conn.execute(SNAPSHOT).fetchall()
        following = max((row.pop("next_cursor") for row in rows), default=0)
        return True, rows, following
    return False, rows, max((row.pop("change_id") for row in rows), default=cursor)


def batches(rows: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """The newest change of each customer, ``size`` customers a batch."""
    newest = list({row["customer_id"]: row for row in rows}.values())
    for start in range(0, len(newest), size):
        yield newest[start : start + size]


def main() -> None:
    """Send what is new, page by page; the cursor moves after each page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("cursor_file", type=Path)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--estimate", action="store_true", help="say how many calls the next page needs; send nothing")
    options = parser.parse_args()
    cursor = int(options.cursor_file.read_text()) if options.cursor_file.exists() else None
    transport = httpx.HTTPTransport(retries=3)
    with (
        psycopg.connect(os.environ["WAREHOUSE"], autocommit=True, row_factory=dict_row) as conn,
        httpx.Client(transport=transport, timeout=30) as client,
    ):
        while True:
            starts_over, rows, following = read_page(conn, cursor)
            if options.estimate:
                customers = len({row["customer_id"] for row in rows})
                print(f"{customers} customers, {math.ceil(customers / options.batch_size)} calls")
                return
            bodies = [{"starts_over": False, "changes": changes} for changes in batches(rows, options.batch_size)]
            if starts_over:
                bodies = bodies or [{"changes": []}]
                bodies[0]["starts_over"] = True
            for body in bodies:
                client.post(
                    options.url, content=json.dumps(body), headers={"content-type": "application/json"}
                ).raise_for_status()
            if following == cursor:
                return
            cursor = following
            unfinished = options.cursor_file.with_suffix(".unfinished")
            unfinished.write_text(str(cursor))
            unfinished.replace(options.cursor_file)


if __name__ == "__main__":
    main()
