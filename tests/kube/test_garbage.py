"""What stays in a cluster: nothing, whoever goes. Nothing that muster makes has a finalizer, which only muster could
take away again: what belongs together goes together by its owner, and what nobody owns is swept by its labels."""
import os

import pytest

import manifests
import world
from cluster import MANIFESTS, wait_until
from world import PODS, job, nothing_left

FOREVER = "echo ready; sleep 600"
OURS = "/api/v1/namespaces/{}/{}"


def items(site, kind, namespace="muster"):
    return site.items(OURS.format(namespace, kind))


def run(server, name, **options):
    reference = server.submit(job(name, FOREVER, retries={"limit": 0}, grace="1s", **options))
    server.wait_log(reference, "ready")
    return reference


def test_nothing_has_a_finalizer(server, site):
    server.call("PUT", f"/v1/secrets/{manifests.TEAM}/word", {"value": "hush"})
    reference = run(server, "gang", gang={"size": 2}, secrets=[{"name": "word", "env": "WORD"}])
    for kind in ("pods", "services", "secrets"):
        made = items(site, kind)
        assert made and not any(one["metadata"].get("finalizers") for one in made), kind
    server.cli("cancel", reference)
    server.wait_ended(reference)
    nothing_left(site)


def test_a_server_that_never_comes_back_leaves_what_one_command_removes(server, site):
    """As docs/kubernetes.md has it; the secret goes with the service that owns it."""
    server.call("PUT", f"/v1/secrets/{manifests.TEAM}/word", {"value": "hush"})
    run(server, "gang", gang={"size": 2}, secrets=[{"name": "word", "env": "WORD"}])
    run(server, "single")
    server.kill9()
    with open(os.path.join(server.data, "owner"), encoding="ascii") as text:
        mine = f"?labelSelector=muster.dev%2Fowner%3D{text.read().strip()}"
    policies = f"/apis/networking.k8s.io/v1/namespaces/muster/networkpolicies{mine}"
    assert len(site.items(policies)) == 2
    site.call("DELETE", policies)
    site.call("DELETE", PODS + mine)
    for one in items(site, "services"):
        site.call("DELETE", OURS.format("muster", f"services/{one['metadata']['name']}"))
    nothing_left(site)
    assert not site.items(policies)


def test_a_gang_goes_with_the_service_that_owns_it(server, site):
    reference = run(server, "owned", gang={"size": 2})
    service, = items(site, "services")
    site.call("DELETE", OURS.format("muster", f"services/{service['metadata']['name']}"))
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "failed" and "deleted in the cluster" in str(status), status
    nothing_left(site)


@pytest.fixture
def doomed(site, real_node, tmp_path):
    """A namespace with an account of its own, and the pool in it."""
    path = os.path.join(MANIFESTS, "engine.yaml")
    try:
        yield lambda: site.apply_file(path, "doomed")
    finally:
        site.request("DELETE", "/api/v1/namespaces/doomed")
        site.apply_file(path, "muster")  # the rights outside of namespaces name one account


def account_of(site, tmp_path):
    wait_until(lambda: site.find("/api/v1/namespaces/doomed/serviceaccounts/default"), "the namespace")
    token = tmp_path / "doomed-token"
    token.write_text(site.token_for("doomed", "muster-engine"))
    return site.write_kubeconfig("doomed", {"tokenFile": str(token)}, namespace="doomed")


def test_a_namespace_that_is_deleted_goes_and_can_be_made_again(server, site, doomed, tmp_path):
    doomed()
    kubeconfig = account_of(site, tmp_path)
    server.apply(manifests.manifest("Pool", "doomed", {"engine": "kubernetes", "kubernetes": {
        "kubeconfig": kubeconfig, "place": "muster", "image": world.IMAGE, "timeout": "3s"}}))
    server.wait_for(lambda: any(about["pool"] == "doomed" for about in world.nodes(server).values()), "the node")
    reference = run(server, "caught", pool="doomed")
    site.call("DELETE", "/api/v1/namespaces/doomed")
    status = server.wait_ended(reference)["status"]
    assert status["state"] == "failed" and "deleted in the cluster" in str(status), status
    wait_until(lambda: not site.find("/api/v1/namespaces/doomed"), "the namespace to be gone", 90)
    doomed()
    account_of(site, tmp_path)  # in the same file: read again when it is refused
    again = server.submit(job("again", "echo back", pool="doomed", retries={"limit": 20, "backoff": "1s"}))
    assert server.wait_ended(again)["status"]["state"] == "succeeded"
    wait_until(lambda: not items(site, "pods", "doomed"), "its pod to go", 60)
