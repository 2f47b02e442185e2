"""muster as its users see it, with a pool that is a Kubernetes cluster: `muster apply`, `muster run`, a gang,
preemption to a checkpoint, a server that is killed, and a cluster in which nothing is left behind."""
import json
import os
import sys

import pytest

from cluster import ROOT, wait_until
from node import IMAGE

sys.path.insert(0, os.path.join(ROOT, "tests"))

import manifests  # noqa: E402
from muster import Muster  # noqa: E402

LEFT = ("pods", "services", "secrets")
TRAINS = """
step=$(cat $MUSTER_CHECKPOINT_DIR/step 2>/dev/null || echo 0); echo begins at $step
trap 'echo $step > $MUSTER_CHECKPOINT_DIR/new; mv $MUSTER_CHECKPOINT_DIR/new \
$MUSTER_CHECKPOINT_DIR/step; exit 0' TERM
[ $step -gt 0 ] && exit 0
step=7; echo ready; while :; do sleep 0.1; done
"""


@pytest.fixture
def server(site, real_node, volume, account, tmp_path):
    """A server whose pool is the cluster, with the node as muster found it."""
    muster = Muster(tmp_path / "data")
    try:
        muster.start()
        muster.apply(manifests.team(), manifests.manifest("Pool", "cluster", {
            "engine": "kubernetes", "kubernetes": {
                "kubeconfig": account, "namespace": "muster", "place": "muster", "image": IMAGE,
                "claim": "kept", "folder": str(volume), "timeout": "3s"}}))
        muster.wait_for(lambda: [node for node in muster.call("GET", "/v1/nodes")["items"]
                                 if node["name"] == "real"], "the cluster's node")
        yield muster
    finally:
        muster.teardown()
        print(muster.log())


def job(name, command, **spec):
    resources = {"cpu": 0.1, **spec.pop("resources", {})}
    return manifests.job(name, command, placement={"pool": "cluster"}, resources=resources, **spec)


def nothing_left(site):
    wait_until(lambda: not any(site.items(f"/api/v1/namespaces/muster/{kind}") for kind in LEFT),
               "the cluster to have nothing left", 90)


def test_a_gang_runs_in_the_cluster_and_leaves_nothing_there(server, site):
    reference = server.submit(job("gang", "echo rank $RANK of $WORLD_SIZE at $MASTER_ADDR", gang={"size": 3}))
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "succeeded", status
    log = server.cli("logs", reference).stdout
    for rank in range(3):
        assert f"rank {rank} of 3 at rank-0.muster-" in log
    nothing_left(site)


def test_a_command_of_the_command_line_runs_in_a_pod_with_its_work_directory(server, site, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.sh").write_text("echo trained as $(id -u) on $(hostname); touch mine\n")
    done = server.cli("run", "--team", "vision", "--pool", "cluster", "--cpu", "0.1", "--memory", "64Mi", "--disk",
                      "64Mi", "--workdir", str(tmp_path / "work"), "--", "/bin/sh", "train.sh")
    assert "on rank-0" in done.stdout and "trained as 0" not in done.stdout
    nothing_left(site)


def test_a_server_that_is_killed_finds_its_pods_and_ends_them(server, site):
    reference = server.submit(job("trains", TRAINS))
    server.wait_log(reference, "ready")
    pods = [pod["metadata"]["uid"] for pod in site.items("/api/v1/namespaces/muster/pods")]
    server.kill9()
    server.start()
    server.wait_log(reference, "ready")
    assert server.job(reference)["status"]["state"] == "running"
    assert [pod["metadata"]["uid"] for pod in site.items("/api/v1/namespaces/muster/pods")] == pods
    server.cli("cancel", reference)
    assert server.wait_ended(reference)["status"]["state"] == "cancelled"
    nothing_left(site)


def test_a_pod_that_the_cluster_evicts_goes_on_from_its_checkpoint(server, site):
    reference = server.submit(job("moved", TRAINS))
    server.wait_log(reference, "ready")
    name = site.items("/api/v1/namespaces/muster/pods")[0]["metadata"]["name"]
    site.call("POST", f"/api/v1/namespaces/muster/pods/{name}/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "muster"}})
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "succeeded" and status["attempts"] == 2, status
    assert "begins at 7" in server.cli("logs", reference).stdout
    nothing_left(site)


def test_an_image_that_cannot_be_had_is_said(server, site):
    pool = server.call("GET", "/v1/pools/cluster")
    pool["spec"]["kubernetes"]["image"] = "registry.invalid/nothing:1"
    server.apply(manifests.manifest("Pool", "cluster", pool["spec"]))
    reference = server.submit(job("imageless", "true"))
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "failed" and "registry.invalid" in json.dumps(status), status
    nothing_left(site)
