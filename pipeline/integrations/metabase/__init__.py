"""Metabase dashboards as code: files under `dashboards/`, applied through the HTTP API."""
