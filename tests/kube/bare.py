"""Jobs on the node `bare`, which no kubelet stands behind: the tests write what one would."""
import world
from cluster import wait_until
from world import PODS, job

GONE = {"metadata": {"deletionTimestamp": "before it was looked for"}}


def submit(server, spec):
    """Once it is taken: a job that no node could hold is refused, and a node loses a taint some time after what it was
    for."""
    def taken():
        answer = server.api("POST", "/v1/jobs", spec)
        assert answer.status in (201, 422), answer
        return answer.json["id"] if answer.status == 201 else None
    return server.wait_for(taken, "the job to be taken", 60)


def start(server, site, name="ends", runs=True, **spec):
    """A job whose pod runs; its reference and the pod's name."""
    reference = submit(server, job(name, "train", retries={"limit": 0},
                                   placement={"require": [{"key": "kind", "values": ["bare"]}]}, **spec))
    pod = wait_until(lambda: site.items(PODS), "the pod", 60)[0]["metadata"]["name"]
    if runs:
        site.run_pod("muster", pod)
        server.wait_job(reference, "running")
    return reference, pod


def wait_deletion(site, pod):
    """Until somebody has asked for it, or has done it."""
    wait_until(lambda: (site.find(f"{PODS}/{pod}") or GONE)["metadata"].get("deletionTimestamp"),
               "the deletion of the pod", 60)


def evict(site, pod):
    site.call("POST", f"{PODS}/{pod}/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "muster"}})


def first_attempt(server, reference):
    """Once it has ended."""
    def ended():
        attempt = server.job(reference)["status"]["attemptList"][0]
        return attempt if "engineReason" in attempt else None
    return server.wait_for(ended, "the end of the first attempt")


def leave(server, site, reference):
    """Cancels what may be queued or there again."""
    server.cli("cancel", reference, ok=False)
    wait_until(lambda: not [site.finish_deletion("muster", pod["metadata"]["name"]) for pod in site.items(PODS)],
               "the pods to go", 60)
    server.wait_ended(reference)
    world.nothing_left(site)
