"""Fixtures of the suite against a real Kubernetes: scripts/kube-tests builds its components and sets
MUSTER_KUBE to their folder; without it nothing is collected here."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402
from cluster import Cluster  # noqa: E402

if "MUSTER_KUBE" not in os.environ:
    collect_ignore_glob = ["test_*"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The control plane that the tests of one run share; each has a namespace of its own."""
    instance = Cluster(tmp_path_factory.mktemp("kube") / "cluster", os.environ["MUSTER_KUBE"])
    try:
        yield instance.start()
    finally:
        instance.stop()


@pytest.fixture(scope="session")
def real_node(cluster):
    """A node with a kubelet and containerd, where the machine can have one."""
    reason = node.missing()
    if reason:
        pytest.skip(reason)
    instance = node.RealNode(cluster)
    try:
        yield instance.start()
    finally:
        instance.stop()
