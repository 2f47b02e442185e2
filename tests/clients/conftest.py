"""Fixtures of the suite of official clients: scripts/client-tests installs them and sets MUSTER_CLIENTS;
without it nothing is collected here."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from gateway import Gateway, key, service  # noqa: E402
from openai_upstream import Upstream  # noqa: E402
from tap import Tap  # noqa: E402

if "MUSTER_CLIENTS" not in os.environ:
    collect_ignore_glob = ["test_*"]


@pytest.fixture
def gateway(tmp_path):
    instance = Gateway(tmp_path / "data")
    try:
        yield instance.start()
    finally:
        instance.teardown()
        print(instance.log())


@pytest.fixture
def tap(gateway):
    """What clients connect to; at the end of the test all that they were answered is checked."""
    one = Tap(gateway.address)
    yield one
    one.close()
    assert one.check() > 0


@pytest.fixture
def upstream(gateway, tmp_path):
    """The model "words", for the key "ann"."""
    one = Upstream(tmp_path)
    gateway.put(service(one, route="words", access="team", usage="ask"), keys=[key("ann")])
    return one
