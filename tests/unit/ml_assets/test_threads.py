"""How the libraries' threads wait: they must be told before a library is loaded."""

import os
import subprocess
import sys

ASK = "import ml_assets.training.train, os, sys; print(os.environ['OMP_WAIT_POLICY'], *sys.modules, sep=chr(10))"


def _policy_and_modules(**environment: str) -> list[str]:
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    asked = [sys.executable, "-c", ASK]
    return subprocess.run(asked, env=plain | environment, capture_output=True, text=True, check=True).stdout.split()


def test_threads_that_wait_are_told_to_sleep_before_any_library_is_loaded() -> None:
    policy, *modules = _policy_and_modules()
    assert policy == "passive"
    assert not {"sklearn", "xgboost", "lightgbm"} & {*modules}


def test_an_operators_own_word_on_waiting_threads_stands() -> None:
    assert _policy_and_modules(OMP_WAIT_POLICY="active")[0] == "active"
