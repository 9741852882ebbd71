"""Models: a frame comes in, a frame or a model goes out.

Nothing here reads a database, a file, the network or the clock, and nothing knows dagster.
"""

import os

# The libraries' threads wait for each other many times per tree. By default they burn their core meanwhile, and a
# training beside other work took seven times as long. Read when a library is loaded, hence here, before any of them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
