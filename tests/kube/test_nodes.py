"""What the cluster says of its nodes and what muster makes of it: accelerators by their resources' names, parts of
them, taints, spot nodes, images of jobs. The nodes are objects of the real API server that no kubelet stands
behind: the tests write what one would."""
import pytest

import world
from bare import wait_deletion
from cluster import wait_until
from world import PODS, job

MIG = "nvidia.com/mig-1g.5gb"
SPOT_LABELS = {"cloud.google.com/gke-spot": "true"}
SPOT_TAINT = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def pod_of(site):
    """The one pod, as muster made it."""
    return wait_until(lambda: site.items(PODS), "the pod", 60)[0]


def end(site, server, reference):
    """As a kubelet would: the pod runs and succeeds, and goes when it is deleted."""
    name = pod_of(site)["metadata"]["name"]
    site.run_pod("muster", name)
    site.end_pod("muster", name)
    assert server.wait_ended(reference)["status"]["state"] == "succeeded"
    wait_deletion(site, name)
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


def pool_left_to_the_cluster(server, account, volume, **options):
    server.apply(world.pool(account, volume, name="left", place="site", **options))
    server.wait_for(lambda: any(about["pool"] == "left" for about in world.nodes(server).values()), "the nodes")


def cancel(server, site, *references):
    for reference in references:
        server.cli("cancel", reference)
        server.wait_ended(reference)
    world.nothing_left(site)


def node_terms(pod):
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [term["matchExpressions"] for term in required["nodeSelectorTerms"]]


def rules(pod, kind, which="requiredDuringSchedulingIgnoredDuringExecution"):
    return pod["spec"]["affinity"].get(kind, {}).get(which, [])


def keys(rule):
    """What a rule on other pods asks of their labels."""
    return [one["key"] for one in rule["labelSelector"]["matchExpressions"]]


def test_the_clusters_own_scheduler_keeps_to_the_nodes_of_the_pool(server, site, node, account, volume):
    pool_left_to_the_cluster(server, account, volume)
    reference = server.submit(job("placed", "train", pool="left", image="registry.example.com/own:2"))
    pod = pod_of(site)
    assert {"key": "cloud.google.com/gke-spot", "operator": "NotIn", "values": ["true"]} in node_terms(pod)[0]
    assert pod["spec"]["containers"][0]["image"] == "registry.example.com/own:2"
    cancel(server, site, reference)


def test_the_clusters_own_scheduler_is_told_what_a_job_asks_of_nodes(server, site, node, account, volume):
    """A real kube-scheduler, which puts the job where muster's rules have it, however full the others are."""
    fast = {"disk": "fast", "rack": "r1"}
    node("slow-1", labels={"disk": "slow"})
    node("fast-1", labels=fast, taints=[GPU_TAINT])
    pool_left_to_the_cluster(server, account, volume)
    server.wait_for(lambda: "fast-1" in world.nodes(server), "the node")
    site.start_scheduler()
    try:
        wants = [{"key": "disk", "operator": "in", "values": ["fast"]}, {"key": "gone", "operator": "absent"}]
        let_in = {"require": wants, "tolerations": [{"key": "nvidia.com/gpu", "value": "present"}]}
        reference = server.submit(job("told", "train", pool="left", placement=let_in))
        name = pod_of(site)["metadata"]["name"]
        wait_until(lambda: site.call("GET", f"{PODS}/{name}")["spec"].get("nodeName") == "fast-1", "its node", 60)
        assert {"key": "gone", "operator": "DoesNotExist"} in node_terms(pod_of(site))[0]
        cancel_pods(site, server, {reference: name})
    finally:
        site.kill("kube-scheduler")


def test_the_clusters_own_scheduler_is_told_who_may_be_near_whom(server, site, account, volume):
    pool_left_to_the_cluster(server, account, volume)
    loud = server.submit(job("loud", "train", pool="left", labels={"noise": "loud & clear"}))
    pod = pod_of(site)
    labels = {key for key in pod["metadata"]["labels"] if key.startswith("job.muster.dev/")}
    cancel(server, site, loud)
    quiet = server.submit(job("quiet", "train", pool="left", placement={
        "apart": {"noise": "loud & clear"}, "exclusive": True, "spread": "spread"}))
    pod = pod_of(site)
    exclusive, apart = (keys(rule)[0] for rule in rules(pod, "podAntiAffinity"))
    assert exclusive == "muster.dev/attempt" and apart in labels
    assert pod["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    cancel(server, site, quiet)


@pytest.mark.parametrize("place", ["muster", "site"])
def test_a_job_that_wants_to_be_near_another_gets_its_node(server, site, node, account, volume, place):
    """Two nodes alike; the other job is on one of them. Left to the cluster, a real kube-scheduler decides."""
    for name in ("here-1", "here-2"):
        node(name, labels={"kind": "here", "number": name[-1]})
    pool_name = "cluster"
    if place == "site":
        pool_left_to_the_cluster(server, account, volume)
        pool_name = "left"
        site.start_scheduler()
    try:
        server.wait_for(lambda: {"here-1", "here-2"} <= set(world.nodes(server)), "the nodes")
        for number in ("2", "1"):
            data = server.submit(job(f"data-{number}", "serve", pool=pool_name, labels={"has": f"data {number}"},
                                     placement={"require": [{"key": "number", "values": [number]}]}))
            first = placed(site, f"here-{number}")
            site.run_pod("muster", first)
            server.wait_job(data, "running")
            beside = server.submit(job(f"beside-{number}", "train", pool=pool_name, placement={
                "near": {"has": f"data {number}"}, "require": [{"key": "kind", "values": ["here"]}]}))
            second = placed(site, f"here-{number}", first)
            cancel_pods(site, server, {beside: second, data: first})
    finally:
        if place == "site":
            site.kill("kube-scheduler")


def test_near_what_is_nowhere_a_job_waits(server, site, node):
    node("here-1", labels={"kind": "here"})
    server.wait_for(lambda: "here-1" in world.nodes(server), "the node")
    alone = server.submit(job("alone", "train", placement={"near": {"has": "nothing"}}))
    other = server.submit(job("other", "train", placement={"require": [{"key": "kind", "values": ["here"]}]}))
    name = placed(site, "here-1")
    assert len(site.items(PODS)) == 1 and server.job(alone)["status"]["state"] == "queued"
    server.cli("cancel", alone)
    cancel_pods(site, server, {other: name})


def placed(site, node_name, *others):
    """The pod that is not one of the others, once it is on the node."""
    def found():
        pods = [pod for pod in site.items(PODS) if pod["metadata"]["name"] not in others]
        return pods[0] if pods and pods[0]["spec"].get("nodeName") else None
    pod = wait_until(found, "the pod to have a node", 60)
    assert pod["spec"]["nodeName"] == node_name, pod["spec"]
    return pod["metadata"]["name"]


def cancel_pods(site, server, pods):
    """Jobs on nodes that no kubelet stands behind, by their pods."""
    for reference, name in pods.items():
        server.cli("cancel", reference)
        wait_deletion(site, name)
        site.finish_deletion("muster", name)
        server.wait_ended(reference)
    world.nothing_left(site)


def test_ranks_of_a_gang_are_kept_together_by_the_clusters_own_scheduler(server, site, account, volume):
    pool_left_to_the_cluster(server, account, volume)
    for within, mode in (("node", "required"), ("node", "preferred")):
        gang = server.submit(job(f"gang-{mode}", "train", pool="left", gang={"size": 2},
                                 topology={"within": within, "mode": mode}))
        pod = pod_of(site)
        needed = rules(pod, "podAffinity")
        wished = rules(pod, "podAffinity", "preferredDuringSchedulingIgnoredDuringExecution")
        term = needed[0] if mode == "required" else wished[0]["podAffinityTerm"]
        assert term["topologyKey"] == "kubernetes.io/hostname" and bool(needed) == (mode == "required")
        assert term["labelSelector"]["matchLabels"] == {
            "muster.dev/attempt": pod["metadata"]["labels"]["muster.dev/attempt"]}
        cancel(server, site, gang)


def test_a_node_is_given_no_more_pods_than_it_takes(server, site, node):
    """Two nodes alike that take two pods each: what comes when one is full goes to the other."""
    for name in ("small-1", "small-2"):
        node(name, labels={"kind": "small"}, pods="2")
    server.wait_for(lambda: {"small-1", "small-2"} <= set(world.nodes(server)), "the nodes")
    small = {"require": [{"key": "kind", "values": ["small"]}]}
    made = []
    for number in range(4):
        made.append(server.submit(job(f"one-{number}", "train", placement=small)))
        wait_until(lambda: len(site.items(PODS)) == len(made), "its pod", 60)
    fifth = server.submit(job("fifth", "train", placement=small))
    places = [pod["spec"]["nodeName"] for pod in site.items(PODS)]
    assert sorted(places) == ["small-1", "small-1", "small-2", "small-2"], places
    name = site.items(PODS)[0]["metadata"]["name"]
    site.run_pod("muster", name)
    site.end_pod("muster", name)
    wait_until(lambda: len([pod for pod in site.items(PODS) if not pod["metadata"].get("deletionTimestamp")
                            and pod["metadata"]["name"] != name]) == 4, "the fifth to get its place", 90)
    for reference in (*made, fifth):
        server.cli("cancel", reference, ok=False)
    wait_until(lambda: not [site.finish_deletion("muster", pod["metadata"]["name"]) for pod in site.items(PODS)],
               "the pods to go", 90)
    world.nothing_left(site)
