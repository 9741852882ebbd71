"""Models: a frame comes in, a frame or a model goes out.

Nothing here reads a database, a file, the network or the clock, and nothing knows dagster.
"""
