"""Alembic's environment: runs the revisions in the transaction that `warehouse.migrate` opened."""

from alembic import context

from warehouse.relations import MIGRATIONS

context.configure(
    connection=context.config.attributes["connection"],
    version_table=MIGRATIONS.name,
    version_table_schema=MIGRATIONS.schema,
)
with context.begin_transaction():
    context.run_migrations()
