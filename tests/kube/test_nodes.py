"""What the cluster says of its nodes and what muster makes of it: accelerators by their resources' names, parts of
them, taints, spot nodes, images of jobs. The nodes are objects of the real API server that no kubelet stands
behind: the tests write what one would."""
import pytest

import world
from cluster import wait_until
from world import PODS, job

GONE = {"metadata": {"deletionTimestamp": "before it was looked for"}}
MIG = "nvidia.com/mig-1g.5gb"
SPOT_LABELS = {"cloud.google.com/gke-spot": "true"}
SPOT_TAINT = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@pytest.fixture
def node(site):
    """Makes nodes, which are gone after the test."""
    made = []

    def make(name, **options):
        made.append(name)
        site.make_node(name, **options)
        wait_until(lambda: not any(one["key"].startswith("node.kubernetes.io/") for one in site.call(
            "GET", f"/api/v1/nodes/{name}")["spec"].get("taints", [])), "the node to be well", 60)

    yield make
    for name in made:
        site.request("DELETE", f"/api/v1/nodes/{name}")


def pod_of(site):
    """The one pod, as muster made it."""
    return wait_until(lambda: site.items(PODS), "the pod", 60)[0]


def end(site, server, reference):
    """As a kubelet would: the pod runs and succeeds, and goes when it is deleted."""
    name = pod_of(site)["metadata"]["name"]
    site.run_pod("muster", name)
    site.end_pod("muster", name)
    assert server.wait_ended(reference)["status"]["state"] == "succeeded"
    wait_until(lambda: (site.find(f"{PODS}/{name}") or GONE)["metadata"].get("deletionTimestamp"),
               "the pod to be deleted", 60)
    site.finish_deletion("muster", name)
    world.nothing_left(site)


def refusal(server, manifest):
    """Why the job is not taken."""
    answer = server.api("POST", "/v1/jobs", manifest)
    assert answer.status == 422, answer
    return answer.json["detail"]


def devices(server, name):
    return world.nodes(server).get(name, {}).get("capacity", {}).get("accelerators")


def limits(pod):
    return pod["spec"]["containers"][0]["resources"]["limits"]


def test_accelerators_and_parts_of_them_are_asked_for_by_their_resource(server, site, node):
    node("gpus", more={"nvidia.com/gpu": "8"})
    node("parts", more={MIG: "7"})
    server.wait_for(lambda: {"gpus", "parts"} <= set(world.nodes(server)), "the nodes")
    for kind, name, count, resource in (("nvidia", "gpus", 4, "nvidia.com/gpu"), (MIG, "parts", 2, MIG)):
        reference = server.submit(job(name, "train", resources={"accelerator": {"type": kind, "count": count}}))
        pod = pod_of(site)
        assert pod["spec"]["nodeName"] == name and limits(pod)[resource] == str(count)
        end(site, server, reference)


def test_what_others_hold_of_a_node_is_not_given_away(server, site, node):
    node("gpus", more={"nvidia.com/gpu": "8"})
    path = "/api/v1/namespaces/default/pods"
    site.call("POST", path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": {
        "nodeName": "gpus", "containers": [{"name": "other", "image": "other", "resources": {
            "limits": {"nvidia.com/gpu": "6"}, "requests": {"nvidia.com/gpu": "6", "cpu": "1"}}}]}})
    wide = job("wide", "train", resources={"accelerator": {"type": "nvidia", "count": 4}})
    server.wait_for(lambda: devices(server, "gpus") == 2, "what is left of the node")
    assert "gpus of pool cluster, has 2" in refusal(server, wide)
    site.call("DELETE", f"{path}/other?gracePeriodSeconds=0")
    server.wait_for(lambda: devices(server, "gpus") == 8, "the node to be free again")
    end(site, server, server.submit(wide))


def test_taints_keep_jobs_away_that_do_not_tolerate_them(server, site, node):
    node("gpus", more={"nvidia.com/gpu": "8"}, taints=[GPU_TAINT])
    server.wait_for(lambda: "gpus" in world.nodes(server), "the node")
    asks = {"accelerator": {"type": "nvidia", "count": 1}}
    assert "has the taint nvidia.com/gpu" in refusal(server, job("kept-away", "train", resources=asks))
    let = server.submit(job("let-in", "train", resources=asks,
                            placement={"tolerations": [{"key": "nvidia.com/gpu", "value": "present"}]}))
    pod = pod_of(site)
    assert {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present"} in pod["spec"]["tolerations"]
    end(site, server, let)


def test_spot_nodes_are_for_spot_pools(server, site, node, account, volume):
    node("spot-1", labels=SPOT_LABELS, taints=[SPOT_TAINT])
    server.apply(world.pool(account, volume, name="spare", spot=True))
    server.wait_for(lambda: "spot-1" in world.nodes(server), "the spot node")
    pools = {name: about["pool"] for name, about in world.nodes(server).items()}
    assert pools["spot-1"] == "spare" and pools["real"] == "cluster"
    assert refusal(server, job("never", "train", pool="spare", placement={"spot": "never"}))
    reference = server.submit(job("cheap", "train", pool="spare"))
    pod = pod_of(site)
    assert pod["spec"]["nodeName"] == "spot-1"
    assert {"key": SPOT_TAINT["key"], "operator": "Exists"} in pod["spec"]["tolerations"]
    end(site, server, reference)


def test_the_clusters_own_scheduler_keeps_to_the_nodes_of_the_pool(server, site, node, account, volume):
    server.apply(world.pool(account, volume, name="left", place="site"))
    server.wait_for(lambda: any(about["pool"] == "left" for about in world.nodes(server).values()), "the nodes")
    reference = server.submit(job("placed", "train", pool="left", image="registry.example.com/own:2"))
    pod = pod_of(site)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert {"key": "cloud.google.com/gke-spot", "operator": "NotIn", "values": ["true"]} in \
        terms["nodeSelectorTerms"][0]["matchExpressions"]
    assert pod["spec"]["containers"][0]["image"] == "registry.example.com/own:2"
    server.cli("cancel", reference)
    server.wait_ended(reference)
    world.nothing_left(site)
