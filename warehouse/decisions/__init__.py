"""Programmes, decisions and their publication, as tables. What is decided, and why, belongs in `pipeline.decisions`."""
