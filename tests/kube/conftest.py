"""Fixtures of the suite against a real Kubernetes: scripts/kube-tests builds its components and sets
MUSTER_KUBE to their folder; without it nothing is collected here."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402
from cluster import MANIFESTS, Cluster, wait_until  # noqa: E402

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


@pytest.fixture(scope="session")
def site(cluster):
    """What an administrator sets up for muster: packaging/kubernetes/engine.yaml."""
    cluster.apply_file(os.path.join(MANIFESTS, "engine.yaml"), "muster")
    wait_until(lambda: cluster.find("/api/v1/namespaces/muster/serviceaccounts/default"), "the namespace")
    return cluster


@pytest.fixture
def account(site, tmp_path):
    """A kubeconfig of the engine's service account, with its token in a file beside it."""
    token = tmp_path / "token"
    token.write_text(site.token_for("muster", "muster-engine"))
    return site.write_kubeconfig("muster-engine", {"tokenFile": str(token)}, namespace="muster")
