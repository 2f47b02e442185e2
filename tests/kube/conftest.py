"""Fixtures of the suite against a real Kubernetes: scripts/kube-tests builds its components and sets
MUSTER_KUBE to their folder; without it nothing is collected here."""
import os
import sys
import threading

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from node import RealNode, missing  # noqa: E402
import world  # noqa: E402
from audit import Audit  # noqa: E402
from cluster import MANIFESTS, ApiError, Cluster, wait_until  # noqa: E402

BEAT_S = 1  # a node is given up after six
ENGINE_USERS = [f"system:serviceaccount:{namespace}:muster-engine" for namespace in ("muster", "doomed")]

if "MUSTER_KUBE" not in os.environ:
    collect_ignore_glob = ["test_*"]


def pytest_collection_modifyitems(items):
    """test_rights.py is about what all others did."""
    items.sort(key=lambda item: item.path.name == "test_rights.py")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The control plane that the tests of one run share; each has a namespace of its own."""
    instance = Cluster(tmp_path_factory.mktemp("kube") / "cluster", os.environ["MUSTER_KUBE"])
    instance.audit = Audit(instance, ENGINE_USERS)
    try:
        yield instance.start()
    finally:
        instance.stop()


@pytest.fixture(scope="session")
def audit(cluster):
    """What the engine's accounts asked for."""
    return cluster.audit


@pytest.fixture(scope="session")
def real_node(cluster):
    """A node with a kubelet and containerd, where the machine can have one."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    instance = RealNode(cluster)
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


@pytest.fixture(scope="session")
def volume(site, tmp_path_factory):
    """A volume claim of the namespace; the folder where this machine sees its volume."""
    folder = tmp_path_factory.mktemp("volume")
    os.chmod(folder, 0o777)
    for above in folder.parents:
        if str(above).startswith("/tmp/"):
            os.chmod(above, os.stat(above).st_mode | 0o011)
    modes = ["ReadWriteMany"]
    site.call("POST", "/api/v1/persistentvolumes", {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "kept"}, "spec": {
            "capacity": {"storage": "10Gi"}, "accessModes": modes, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": "muster", "name": "kept"}}})
    path = "/api/v1/namespaces/muster/persistentvolumeclaims"
    site.call("POST", path, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": {
            "accessModes": modes, "storageClassName": "", "volumeName": "kept",
            "resources": {"requests": {"storage": "10Gi"}}}})
    wait_until(lambda: site.call("GET", f"{path}/kept")["status"]["phase"] == "Bound", "the claim", 60)
    return folder


@pytest.fixture
def server(site, real_node, volume, account, tmp_path):
    """A server whose pool is the cluster, with the node as muster found it."""
    muster = world.start_server(tmp_path / "data", account, volume)
    yield muster
    world.stop_server(muster)


@pytest.fixture
def node(site):
    """Makes nodes that no kubelet stands behind, which are gone after the test. They say that they are well."""
    made, over = [], threading.Event()

    def beat():
        while not over.wait(BEAT_S):
            for name in list(made):
                try:
                    site.node_ready(name, True)
                except (ApiError, OSError):
                    pass  # the API server is away, or the node is gone

    def make(name, **options):
        site.make_node(name, **options)
        made.append(name)
        wait_until(lambda: not any(one["key"].startswith("node.kubernetes.io/") for one in site.call(
            "GET", f"/api/v1/nodes/{name}")["spec"].get("taints", [])), "the node to be well", 60)

    beats = threading.Thread(target=beat, daemon=True)
    beats.start()
    yield make
    over.set()
    beats.join()
    for name in made:
        site.request("DELETE", f"/api/v1/nodes/{name}")


@pytest.fixture
def bare(server, node):
    """Makes the node `bare`, to which the jobs of bare.py go."""
    def make(labels=None, spot=False):
        node("bare", labels={"kind": "bare", **(labels or {})})
        if not spot:
            server.wait_for(lambda: "bare" in world.nodes(server), "the node")
    return make
