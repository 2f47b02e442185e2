"""Why a pod ended, told apart: what kubelets write of evictions, images and limits, on nodes that none stands behind;
and what the real API server, controllers and scheduler do to pods: evictions, taints, preemption."""
import world
from bare import evict, first_attempt, leave, start, wait_deletion
from test_nodes import SPOT_LABELS
from world import PODS

PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
QUEUED = "queued"  # again: the job has a second attempt

# What a kubelet writes of a pod that has run, the engine's reason, what becomes of the job.
ENDED = {
    "memory of the node": ({"exit_code": 137, "pod_reason": "Evicted",
                            "message": "The node was low on resource: memory."}, "drained", QUEUED),
    "disk of the job": ({"exit_code": 137, "pod_reason": "Evicted", "message":
                         "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."},
                        "disk-quota", "failed"),
    "memory of the job": ({"exit_code": 137, "reason": "OOMKilled"}, "out-of-memory", "failed"),
    "time": ({"exit_code": 143, "pod_reason": "DeadlineExceeded", "message":
              "Pod was active on the node longer than the specified deadline"}, "time-limit", "failed"),
    "node goes down": ({"exit_code": 143, "pod_reason": "Terminated", "message":
                        "Pod was terminated in response to imminent node shutdown."}, "drained", QUEUED),
    "no room": ({"exit_code": 0, "pod_reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"},
                "preempted", QUEUED),
    "exit": ({"exit_code": 3}, "exited", "failed"),
    "signal": ({"exit_code": 139}, "signalled", "failed"),
}

# What it writes of one that waits for its image.
STUCK = {
    "ImagePullBackOff": 'Back-off pulling image "registry.invalid/train:3"',
    "InvalidImageName": 'Failed to apply default image tag "Train:3": couldn\'t parse image name',
    "ErrImageNeverPull": 'Container image "train:3" is not present with pull policy of Never',
    "CreateContainerError": "context deadline exceeded",
}


def expect(server, reference, reason, becomes):
    attempt = first_attempt(server, reference)
    assert attempt["engineReason"] == reason, attempt
    if becomes == QUEUED:
        server.wait_for(lambda: server.job(reference)["status"]["attempts"] == 2, "the second attempt")
    else:
        assert server.wait_ended(reference)["status"]["state"] == becomes
    return attempt


def test_ends_that_kubelets_write_are_told_apart(server, site, bare):
    bare()
    for name, (written, reason, becomes) in ENDED.items():
        reference, pod = start(server, site, name.replace(" ", "-"))
        site.end_pod("muster", pod, **written)
        attempt = expect(server, reference, reason, becomes)
        assert written.get("message", "") in attempt.get("detail", ""), attempt
        leave(server, site, reference)


def test_images_that_cannot_be_had_end_the_job_and_say_which(server, site, bare):
    bare()
    for reason, message in STUCK.items():
        reference, pod = start(server, site, reason.lower(), runs=False)
        site.set_pod("muster", pod, {"phase": "Pending", "containerStatuses": [{
            "name": "job", "ready": False, "restartCount": 0, "image": "x", "imageID": "",
            "state": {"waiting": {"reason": reason, "message": message}}}]})
        wait_deletion(site, pod)
        site.finish_deletion("muster", pod)
        attempt = expect(server, reference, "start-failed", "failed")
        assert reason in attempt["detail"] and message in attempt["detail"], attempt
        leave(server, site, reference)


def test_an_eviction_is_a_drain_and_on_a_spot_node_its_owner_taking_it_back(server, site, bare, account, volume):
    """What node termination handlers of clouds do with a notice: cordon, and evict."""
    server.apply(world.pool(account, volume, name="spare", spot=True))
    bare(labels=SPOT_LABELS, spot=True)
    server.wait_for(lambda: world.nodes(server).get("bare", {}).get("pool") == "spare", "the spot node")
    reference, pod = start(server, site, "noticed", pool="spare")
    site.call("PATCH", "/api/v1/nodes/bare", {"spec": {"unschedulable": True}},
              content_type="application/strategic-merge-patch+json")
    evict(site, pod)
    site.finish_deletion("muster", pod)
    attempt = first_attempt(server, reference)
    assert attempt["engineReason"] == "preempted" and "EvictionByEvictionAPI" in attempt["detail"], attempt
    assert server.job(reference)["status"]["state"] == "queued"  # the node is cordoned
    leave(server, site, reference)
    site.call("PATCH", "/api/v1/nodes/bare", {"spec": {"unschedulable": None}, "metadata": {"labels": {
        key: None for key in SPOT_LABELS}}}, content_type="application/strategic-merge-patch+json")
    server.wait_for(lambda: world.nodes(server).get("bare", {}).get("pool") == "cluster", "the node to be none")
    reference, pod = start(server, site, "drained")
    evict(site, pod)
    site.finish_deletion("muster", pod)
    expect(server, reference, "drained", QUEUED)
    leave(server, site, reference)


def test_a_taint_on_a_node_that_is_well_is_a_drain(server, site, bare):
    """The controller manager deletes what does not tolerate it, and muster, which sees the taint too, stops it."""
    bare()
    reference, pod = start(server, site, "tainted")
    site.call("PATCH", "/api/v1/nodes/bare", {"spec": {"taints": [{"key": "repair", "effect": "NoExecute"}]}},
              content_type="application/strategic-merge-patch+json")
    wait_deletion(site, pod)
    site.finish_deletion("muster", pod)
    attempt = first_attempt(server, reference)
    assert attempt["reason"] == "drained", attempt
    assert server.job(reference)["status"]["state"] == "queued"  # there is no other node, and it costs no retry
    leave(server, site, reference)


def test_a_pod_of_a_higher_priority_preempts(server, site, bare):
    """By a real kube-scheduler: the other pod fits no node as it is."""
    bare()
    site.call("POST", PRIORITIES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                                   "metadata": {"name": "urgent"}, "value": 1000})
    reference, pod = start(server, site, "lower", resources={"cpu": 6})
    site.start_scheduler()
    other = "/api/v1/namespaces/default/pods"
    try:
        site.call("POST", other, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "urgent"}, "spec": {
            "priorityClassName": "urgent", "nodeSelector": {"kind": "bare"}, "containers": [{
                "name": "urgent", "image": "x", "resources": {"requests": {"cpu": "6"}}}]}})
        wait_deletion(site, pod)
        site.finish_deletion("muster", pod)
        attempt = first_attempt(server, reference)
        assert attempt["engineReason"] == "preempted" and "PreemptionByScheduler" in attempt["detail"], attempt
    finally:
        site.kill("kube-scheduler")
        site.request("DELETE", f"{other}/urgent?gracePeriodSeconds=0")
        site.request("DELETE", f"{PRIORITIES}/urgent")
    leave(server, site, reference)
