#!/bin/sh
# Postgres runs this once, on an empty volume: the owner of the warehouse, who is no superuser (row-level
# security does not hold for those), and Metabase's own database.
set -eu

export CHURN_OWNER_PASSWORD="${CHURN_OWNER_PASSWORD:-$(cat /etc/churn/secrets/churn_owner_password)}"
export METABASE_DB_PASSWORD="${METABASE_DB_PASSWORD:-$(cat /etc/churn/secrets/metabase_db_password)}"

psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner_password CHURN_OWNER_PASSWORD
\getenv metabase_password METABASE_DB_PASSWORD
create role churn_owner login createrole password :'owner_password';
-- It sees companies' sessions and ends those that overstay, sets what they cannot lift, and connects in any case.
grant pg_read_all_stats, pg_signal_backend, pg_use_reserved_connections to churn_owner;
grant set on parameter temp_file_limit, log_min_error_statement, log_min_messages to churn_owner;
create database churn owner churn_owner;
create role metabase login password :'metabase_password';
create database metabase owner metabase;
revoke connect on database churn from public;
revoke connect on database postgres, template1 from public;
grant connect on database postgres, template1 to churn_owner;
revoke connect on database metabase from public;
\connect churn
-- By these a company's login could hold up everybody's publications, and fill the disk and the queue of notifications.
select
    format('revoke execute on function %s from public', oid::regprocedure),
    format('grant execute on function %s to churn_owner with grant option', oid::regprocedure)
from pg_proc
where
    pronamespace = 'pg_catalog'::regnamespace
    and proname ~ 'advisory|^(lo_creat|lo_create|lo_from_bytea|lo_put|lowrite|lo_truncate|lo_truncate64|pg_notify|pg_logical_emit_message)$'
\gexec
SQL
