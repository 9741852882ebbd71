#!/usr/bin/env bash
# Follows the change feed with plain SQL: one run brings a table in another Postgres up to date, and may be
# cut off anywhere. Run it from cron.
#
#   WAREHOUSE   address of the warehouse, as the company's login of churn_company_sync
#   TARGET      address of the Postgres that holds the copy
#   PAGE        rows a page (10000)
set -euo pipefail
: "${WAREHOUSE:?address of the warehouse}" "${TARGET:?address of the copy}"
PAGE=${PAGE:-10000}
warehouse() { psql "$WAREHOUSE" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
target() { psql "$TARGET" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

target <<'SQL'
set client_min_messages = warning;
create table if not exists churn_risk (
    customer_id text primary key, as_of_date date, churn_probability double precision, risk_level text, reasons json
);
create table if not exists churn_cursor (one boolean primary key default true check (one), cursor bigint not null);
SQL

page=$(mktemp)
trap 'rm -f "$page"' EXIT

start_over() {
    warehouse -c "\copy (select customer_id, as_of_date, churn_probability, risk_level, reasons, next_cursor
        from predictions.churn_snapshot_v1) to '$page' csv"
    target --single-transaction <<SQL
create temporary table page (
    customer_id text, as_of_date date, churn_probability double precision, risk_level text, reasons json, cursor bigint
);
\copy page from '$page' csv
delete from churn_risk;
insert into churn_risk select customer_id, as_of_date, churn_probability, risk_level, reasons from page;
insert into churn_cursor (cursor) select coalesce(max(cursor), 0) from page
on conflict (one) do update set cursor = excluded.cursor;
SQL
}

cursor=$(target -c "select cursor from churn_cursor")
if [ -z "$cursor" ]; then
    start_over
    cursor=$(target -c "select cursor from churn_cursor")
fi

while :; do
    warehouse -c "\copy (select change_id, operation, customer_id, as_of_date, churn_probability, risk_level, reasons
        from predictions.churn_changes_v1 where change_id > $cursor order by change_id limit $PAGE) to '$page' csv"
    # After the page, not before: compaction may come between the two.
    oldest=$(warehouse -c "select coalesce(max(oldest_cursor), 0) from predictions.churn_cursors_v1")
    if [ "$cursor" -gt 0 ] && [ "$cursor" -lt "$oldest" ]; then
        start_over
        cursor=$(target -c "select cursor from churn_cursor")
        continue
    fi
    [ -s "$page" ] || break
    target --single-transaction <<SQL
create temporary table page (
    change_id bigint, operation text, customer_id text, as_of_date date, churn_probability double precision,
    risk_level text, reasons json
);
\copy page from '$page' csv
create temporary table newest as
    select distinct on (customer_id) * from page order by customer_id, change_id desc;
delete from churn_risk using newest where churn_risk.customer_id = newest.customer_id;
insert into churn_risk
    select customer_id, as_of_date, churn_probability, risk_level, reasons from newest where operation = 'upsert';
update churn_cursor set cursor = (select max(change_id) from page);
SQL
    cursor=$(target -c "select cursor from churn_cursor")
done
echo "The copy stands at cursor $cursor."
