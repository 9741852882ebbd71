"""The passwords of Metabase's logins; what the logins may do is in tests/contract/test_dashboards_marts.py."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.integrations.metabase.login import PASSWORD_FILE, kept_password


def test_two_first_calls_at_once_agree_on_one_password(tmp_path: Path) -> None:
    passwords: list[str] = []
    threads = [
        threading.Thread(target=lambda: passwords.append(kept_password(tmp_path / PASSWORD_FILE))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(passwords) == 8
    assert len(set(passwords)) == 1
    assert len(passwords[0]) >= 32
    assert [path.name for path in tmp_path.iterdir()] == [PASSWORD_FILE]
