"""muster as its users see it, with a pool that is a Kubernetes cluster: `muster apply`, `muster run`, a gang,
preemption to a checkpoint, a server that is killed, and a cluster in which nothing is left behind."""
import json
import os

import pytest

import manifests
import world
from audit import moment, resource
from cluster import ApiError, wait_until
from muster import ENDED
from proxy import Proxy
from world import PODS, job, nothing_left

QUOTAS = "/api/v1/namespaces/muster/resourcequotas"
TRY_MAP = "/api/v1/namespaces/muster/configmaps?dryRun=All"
TRAINS = """
step=$(cat $MUSTER_CHECKPOINT_DIR/step 2>/dev/null || echo 0); echo begins at $step
trap 'echo $step > $MUSTER_CHECKPOINT_DIR/new; mv $MUSTER_CHECKPOINT_DIR/new \
$MUSTER_CHECKPOINT_DIR/step; exit 0' TERM
[ $step -gt 0 ] && exit 0
step=7; echo ready; while :; do sleep 0.1; done
"""


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
                      "0", "--workdir", str(tmp_path / "work"), "--", "/bin/sh", "train.sh")
    assert "on rank-0" in done.stdout and "trained as 0" not in done.stdout
    nothing_left(site)


def test_a_server_that_is_killed_finds_its_pods_and_ends_them(server, site):
    reference = server.submit(job("trains", TRAINS))
    server.wait_log(reference, "ready")
    pods = [pod["metadata"]["uid"] for pod in site.items(PODS)]
    server.kill9()
    server.start()
    server.wait_log(reference, "ready")
    assert server.job(reference)["status"]["state"] == "running"
    assert [pod["metadata"]["uid"] for pod in site.items(PODS)] == pods
    server.cli("cancel", reference)
    assert server.wait_ended(reference)["status"]["state"] == "cancelled"
    nothing_left(site)


def test_a_pod_that_the_cluster_evicts_goes_on_from_its_checkpoint(server, site):
    reference = server.submit(job("moved", TRAINS))
    server.wait_log(reference, "ready")
    name = site.items(PODS)[0]["metadata"]["name"]
    site.call("POST", f"{PODS}/{name}/eviction", {
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


def test_a_log_that_ends_before_its_pod_does_is_not_asked_for_over_and_over(server, site, audit):
    reference = server.submit(job("short", "echo one; sleep 2; echo two"))
    assert server.wait_ended(reference)["status"]["state"] == "succeeded"
    assert server.cli("logs", reference).stdout.split() == ["one", "two"]
    nothing_left(site)
    pods = [event["objectRef"]["name"] for event in audit.events() if resource(event) == "pods" and
            event["verb"] == "delete"]
    asked = [(moment(event["requestReceivedTimestamp"]), moment(event["stageTimestamp"])) for event in audit.events()
             if resource(event) == "pods/log" and event["objectRef"]["name"] == pods[-1]]
    assert len(asked) >= 2  # while it ran, and all of it at its end
    assert all(begun - ended >= 1.9 for (_, ended), (begun, _) in zip(asked[:-1], asked[1:-1])), asked


def test_a_gang_whose_service_was_made_unheard_runs_once(site, real_node, volume, tmp_path):
    """The answer is lost. A second creation is a conflict, and what is there is looked at."""
    (tmp_path / "token").write_text(site.token_for("muster", "muster-engine"))
    proxy = Proxy(site.port)
    server = world.start_server(tmp_path / "data", site.write_kubeconfig(
        "proxied", {"tokenFile": str(tmp_path / "token")}, server=proxy.url, namespace="muster"), volume)
    try:
        server.wait_ended(server.submit(job("first", "true")))  # its team's policies are there
        nothing_left(site)
        proxy.deaf.set()
        reference = server.submit(job("gang", "echo rank $RANK", gang={"size": 2}))
        wait_until(lambda: site.items("/api/v1/namespaces/muster/services"), "the service", 60)
        proxy.deaf.clear()
        proxy.drop()
        status = server.wait_ended(reference)["status"]
        assert status["state"] == "succeeded" and status["attempts"] == 1, status
        assert sorted(server.cli("logs", reference).stdout.splitlines()) == ["rank 0", "rank 1"]
        nothing_left(site)
    finally:
        world.stop_server(server)
        proxy.close()


# ---- while the server is away ----

def test_what_ended_while_the_server_was_away_is_told_and_taken_away(server, site):
    reference = server.submit(job("ends", "echo early; while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.1; "
                                          "done; echo late"))
    server.wait_log(reference, "early")
    name = site.items(PODS)[0]["metadata"]["name"]
    server.kill9()
    folder = server.volume / "jobs"
    for one in folder.iterdir():
        if (one / "checkpoint").exists():
            (one / "checkpoint" / "go").touch()
    wait_until(lambda: site.call("GET", f"{PODS}/{name}")["status"]["phase"] == "Succeeded", "the pod to end", 60)
    server.start()
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "succeeded" and status["attempts"] == 1, status
    assert server.cli("logs", reference).stdout.split() == ["early", "late"]
    nothing_left(site)


def test_a_pod_that_somebody_deletes_while_the_server_is_away_ends_its_job(server, site):
    reference = server.submit(job("deleted", "echo ready; sleep 600", retries={"limit": 0}))
    server.wait_log(reference, "ready")
    name = site.items(PODS)[0]["metadata"]["name"]
    server.kill9()
    site.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=1")
    wait_until(lambda: not site.find(f"{PODS}/{name}"), "the pod to be gone", 60)
    server.start()
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "failed" and "deleted in the cluster" in json.dumps(status), status
    nothing_left(site)


@pytest.mark.parametrize("how", ["killed", "data"])
def test_a_job_that_is_cancelled_as_the_server_goes_leaves_nothing(server, site, how):
    """`data`: nobody remembers it; its pod and service are found by the owner that they bear."""
    reference = server.submit(job("cancelled", "echo ready; sleep 600"))
    server.wait_log(reference, "ready")
    if how == "killed":
        server.cli("cancel", reference)
    server.kill9()
    if how == "data":
        for entry in os.scandir(os.path.join(server.data, "sites", "cluster", "run")):
            os.unlink(entry.path)
    server.start()
    server.wait_ended(reference)
    nothing_left(site)


# ---- quotas of the namespace ----

@pytest.fixture
def quota(site):
    """Puts a quota of so many pods into the namespace; gone after the test. What the API server admits follows its
    own watch of quotas, a moment behind what it answers: that no more maps may be made shows that it has got there."""
    def admits(status):
        return site.request("POST", TRY_MAP, {"metadata": {"name": "one-more"}}).status == status

    def put(pods):
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
                "spec": {"hard": {"pods": str(pods), "count/configmaps": "0"}}}
        try:
            site.call("POST", QUOTAS, body)
        except ApiError as error:
            assert error.status == 409
            site.call("PATCH", f"{QUOTAS}/few", body, content_type="application/merge-patch+json")
        wait_until(lambda: site.call("GET", f"{QUOTAS}/few")["status"].get("hard", {}).get("pods") == str(pods),
                   "the quota to count", 30)
        wait_until(lambda: admits(403), "the quota to hold", 30)
    yield put
    site.request("DELETE", f"{QUOTAS}/few")
    wait_until(lambda: admits(201), "the quota to be gone", 30)


def says_quota(server, reference):
    return lambda: "exceeded quota" in json.dumps(server.job(reference))


def tried_again(server, reference):
    status = server.job(reference)["status"]
    assert status["state"] not in ENDED, status
    return status["attempts"] >= 2


def test_a_quota_that_is_used_up_is_waited_for(server, site, quota):
    quota(0)
    reference = server.submit(job("patient", "echo done"))
    server.wait_for(says_quota(server, reference), "the quota to be named")
    quota(5)
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "succeeded" and status["attempts"] == 1, status
    nothing_left(site)


def test_a_gang_that_gets_a_part_of_its_pods_gives_them_back_and_comes_again(server, site, quota):
    quota(2)
    reference = server.submit(job("gang", "echo rank $RANK", gang={"size": 3}))
    server.wait_for(lambda: tried_again(server, reference), "the gang to be tried again")
    quota(3)
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "succeeded", status
    nothing_left(site)


def test_a_gang_whose_server_is_killed_before_it_was_made_comes_again(server, site, quota):
    quota(2)
    reference = server.submit(job("gang", "echo rank $RANK", gang={"size": 3}))
    wait_until(lambda: len(site.items(PODS)) >= 2, "a part of the gang", 30)
    server.kill9()
    site.call("DELETE", f"{QUOTAS}/few")
    server.start()
    status = server.wait_ended(reference)["status"]
    # The same attempt where the server had not been told yet that it was made, else another one.
    assert status["state"] == "succeeded", status
    said = server.cli("logs", reference).stdout
    assert [said.count(f"rank {rank}") for rank in range(3)] == [1, 1, 1], said
    nothing_left(site)
