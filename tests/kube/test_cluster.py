"""The control plane itself: what the other tests rely on."""
from cluster import wait_until
from node import IMAGE



def test_the_control_plane_answers_and_knows_who_asks(cluster):
    assert cluster.call("GET", "/version")["gitVersion"].startswith("v1.29")
    assert cluster.request("GET", "/api/v1/nodes", person="stranger").status == 403


def test_a_real_node_runs_a_pod(cluster, real_node):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello"}, "spec": {
        "nodeName": "real", "restartPolicy": "Never", "containers": [{
            "name": "job", "image": IMAGE, "command": ["sh", "-c", "echo hello from $(hostname)"]}]}}
    cluster.call("POST", "/api/v1/namespaces/default/pods", pod)
    path = "/api/v1/namespaces/default/pods/hello"
    wait_until(lambda: cluster.call("GET", path)["status"]["phase"] == "Succeeded", "the pod to succeed", 60)
    assert cluster.request("GET", path + "/log").text == "hello from hello\n"
    cluster.call("DELETE", path)
    wait_until(lambda: not cluster.find(path), "the pod to be gone", 60)
