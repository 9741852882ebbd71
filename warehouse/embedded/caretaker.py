"""Stops the embedded server when nobody uses it, however its users ended: a killed one can no longer do so itself.

``python -m warehouse.embedded.caretaker HOME``, one process per home, which the first lease starts. It ends with the
server, and leaves one that is pinned to `churn down`.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

from warehouse.embedded.home import HomeFolder
from warehouse.embedded.server import EmbeddedServer

_LOOK_SECONDS = 1.0


def main() -> None:
    """Wait until the server is nobody's, and stop it. A second caretaker of a home waits for the first, and looks."""
    home = Path(sys.argv[1])
    server = EmbeddedServer(home)
    # Who came while the caretaker ended is seen by the outer look.
    with suppress(FileNotFoundError):
        while not server.stop_if_left():
            with HomeFolder(home).as_caretaker():
                while not server.stop_if_left():
                    time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
