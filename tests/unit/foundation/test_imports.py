"""What is imported once lasts, and the collector works as before."""

import gc
import importlib
import sys
from types import ModuleType

import pytest

from foundation.imports import lasting_imports


def test_what_is_made_within_is_never_looked_through_again_and_what_is_garbage_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen_before = gc.get_freeze_count()
    try:
        with lasting_imports():
            assert not gc.isenabled()
            monkeypatch.setitem(sys.modules, "imported_just_now", ModuleType("imported_just_now"))
            kept: list[object] = [[]]
            circle: list[object] = []
            circle.append(circle)
            number = id(circle)
            del circle
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen_before
        assert not any(each is kept for each in gc.get_objects())
        gc.unfreeze()
        assert any(each is kept for each in gc.get_objects())
        assert not any(id(each) == number and each == [each] for each in gc.get_objects() if type(each) is list)
    finally:
        gc.unfreeze()


def test_where_nothing_is_imported_nothing_is_kept() -> None:
    frozen_before = gc.get_freeze_count()
    with lasting_imports():
        pass
    assert gc.get_freeze_count() == frozen_before
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), lasting_imports():
        importlib.import_module("foundation.no_such_module")
    assert gc.isenabled()
