"""What goes out: dashboards and notifications. No dagster here, and no connectors."""
