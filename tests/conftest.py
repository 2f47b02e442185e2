"""Fixtures of the scenarios. MUSTER_BIN names the program that is tested (default build/muster)."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from muster import Muster  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "threaded: starts threads; also runs under TSan")
    config.addinivalue_line("markers", "soak: kills the daemon over and over; only in `make soak`")


@pytest.fixture
def muster(tmp_path):
    """A server of its own, started; whatever it and its jobs leave running is killed at the end."""
    instance = Muster(tmp_path / "data")
    try:
        instance.start()
        yield instance
    finally:
        instance.teardown()


@pytest.fixture
def muster_stopped(tmp_path):
    """As muster, but the test starts it."""
    instance = Muster(tmp_path / "data")
    try:
        yield instance
    finally:
        instance.teardown()
