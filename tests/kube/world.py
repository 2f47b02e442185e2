"""A server whose pool is the test cluster, and what tests ask of both."""
import manifests
from cluster import wait_until
from muster import Muster
from node import IMAGE

PODS = "/api/v1/namespaces/muster/pods"
LEFT = ("pods", "services", "secrets")


def pool(kubeconfig, volume, name="cluster", spot=False, **options):
    return manifests.manifest("Pool", name, {
        "engine": "kubernetes", "spot": spot, "kubernetes": {
            "kubeconfig": kubeconfig, "namespace": "muster", "place": "muster", "image": IMAGE,
            "claim": "kept", "folder": str(volume), "timeout": "3s", **options}})


def start_server(data, kubeconfig, volume, *objects):
    """A server with the pool, which has found its nodes. Stopped by its teardown."""
    muster = Muster(data)
    muster.volume = volume
    try:
        muster.start()
        muster.apply(manifests.team(), pool(kubeconfig, volume), *objects)
        muster.wait_for(lambda: "real" in nodes(muster), "the cluster's node")
    except BaseException:
        stop_server(muster)
        raise
    return muster


def stop_server(muster):
    muster.teardown()
    print(muster.log())


def nodes(muster):
    return {node["name"]: node for node in muster.call("GET", "/v1/nodes")["items"]}


def job(name, command, pool="cluster", **spec):
    # The kubelet of the tests measures no disks.
    resources = {"cpu": 0.1, "disk": "0", **spec.pop("resources", {})}
    placement = {"pool": pool, **spec.pop("placement", {})}
    return manifests.job(name, command, placement=placement, resources=resources, **spec)


def nothing_left(site):
    wait_until(lambda: not any(site.items(f"/api/v1/namespaces/muster/{kind}") for kind in LEFT),
               "the cluster to have nothing left", 90)
