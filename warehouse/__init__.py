"""Postgres: embedded server, settings, connection, migrations, roles, relations, companies."""
