"""Fixtures of the scenarios. MUSTER_BIN names the program that is tested (default build/muster)."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import manifests  # noqa: E402
from gateway import Gateway
from muster import Muster  # noqa: E402


# No test may hang the run. Sanitizers are slow; a test that needs longer says so with its mark.
LIMIT_S = 300


def pytest_configure(config):
    config.addinivalue_line("markers", "threaded: starts threads; also runs under TSan")
    config.addinivalue_line("markers", "soak: takes long, as kills over and over; only in `make soak`")
    config.addinivalue_line("markers", "published: results on public traces; only in `make published`")
    config.addinivalue_line("markers", "limit_s(seconds): fails after this long instead of 300 s")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    mark = item.get_closest_marker("limit_s")
    seconds = mark.args[0] if mark else LIMIT_S

    def expire(_signal, _frame):
        raise TimeoutError(f"the test was still running after {seconds} s")

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


@pytest.fixture
def muster(tmp_path):
    """A server of its own, started; whatever it and its jobs leave running is killed at the end."""
    instance = Muster(tmp_path / "data")
    try:
        instance.start()
        yield instance
    finally:
        instance.teardown()
        print(instance.log())  # pytest shows it when the test failed


@pytest.fixture
def muster_stopped(tmp_path):
    """As muster, but the test starts it."""
    instance = Muster(tmp_path / "data")
    try:
        yield instance
    finally:
        instance.teardown()
        print(instance.log())  # pytest shows it when the test failed


@pytest.fixture
def site(muster):
    """As muster, with a pool of four CPUs and a team to run jobs for."""
    muster.apply(manifests.team(), manifests.pool())
    return muster


@pytest.fixture
def gateway(tmp_path):
    """A started gateway of its own, without a server; its log is shown when the test fails."""
    instance = Gateway(tmp_path / "data")
    try:
        yield instance.start()
    finally:
        instance.teardown()
        print(instance.log())
