"""What every engine has to do, asked of the Kubernetes engine with a real control plane, kubelet and containerd:
src/engine/test_contract.c. The engine has the rights of packaging/kubernetes/engine.yaml and no others."""
import os
import re
import socket
import subprocess
import sys
import threading
import time
import traceback

import pytest
import yaml

from cluster import ROOT, wait_until
from node import IMAGE
from proxy import Proxy

CONTRACT = os.path.join(os.environ.get("MUSTER_BUILD", os.path.join(ROOT, "build")), "src", "engine",
                        "test_engine_contract")
PODS = "/api/v1/namespaces/muster/pods"
NOT_HERE = 77


def read_tests():
    """The names of the contract's tests, in their order."""
    with open(os.path.join(ROOT, "src", "engine", "test_contract.c"), encoding="utf-8") as text:
        return re.findall(r"^        TEST\((\w+)\)", text.read(), re.MULTILINE)


class Faults:
    """Does to the site what fault.py is asked for."""

    def __init__(self, cluster, proxy, path):
        self.cluster, self.proxy, self.path = cluster, proxy, path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                fault, *arguments = peer.makefile().readline().split()
                try:
                    status = getattr(self, fault.replace("-", "_"), lambda *_: NOT_HERE)(*arguments) or 0
                except Exception:  # the test that asked for it fails
                    traceback.print_exc()
                    status = 1
                peer.sendall(f"{status}\n".encode())

    def api_stop(self):
        self.cluster.kill("kube-apiserver")

    def api_hang(self):
        self.proxy.hang.set()

    def api_cut(self):
        self.proxy.cut_after = 100

    def api_late(self):
        self.proxy.deaf.set()

    def api_start(self):
        if "kube-apiserver" not in self.cluster.processes:
            self.cluster.restart("kube-apiserver")
            self.cluster.wait_ready()
        self.proxy.cut_after = None
        self.proxy.deaf.clear()
        self.proxy.drop()
        self.proxy.hang.clear()

    def _pods(self, mark):
        return self.cluster.items(f"{PODS}?labelSelector=muster.dev%2Fattempt%3D{mark}")

    def cancel(self, mark):
        for pod in self._pods(mark):
            self.cluster.call("DELETE", f"{PODS}/{pod['metadata']['name']}")

    def preempt(self, mark):
        """As kube-scheduler does for a pod of a higher priority."""
        for pod in self._pods(mark):
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.cluster.set_pod("muster", pod["metadata"]["name"], {"conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                "message": "default-scheduler: preempting to accommodate a higher priority pod",
                "lastTransitionTime": now}]})
        self.cancel(mark)

    def node_down(self, _node):
        self.cluster.kill("kubelet")

    def node_up(self, _node):
        self.cluster.restart("kubelet")


@pytest.fixture(scope="module")
def contract(site, real_node, volume, tmp_path_factory):
    """The environment in which the contract asks the Kubernetes engine."""
    folder = tmp_path_factory.mktemp("contract")
    (folder / "token").write_text(site.token_for("muster", "muster-engine"))
    proxy = Proxy(site.port)
    kubeconfig = site.write_kubeconfig("contract", {"tokenFile": str(folder / "token")}, server=proxy.url,
                                       namespace="muster")
    (folder / "pool.yaml").write_text(yaml.safe_dump({
        "apiVersion": "muster/v1", "kind": "Pool", "metadata": {"name": "cluster"}, "spec": {
            "engine": "kubernetes", "nodes": [{"name": "real"}], "kubernetes": {
                "kubeconfig": kubeconfig, "place": "muster", "image": IMAGE, "claim": "kept",
                "folder": str(volume), "timeout": "2s"}}}))
    faults = Faults(site, proxy, str(folder / "control"))
    yield {**os.environ, "MUSTER_CONTRACT_CPU_MILLI": "100", "MUSTER_CONTRACT_POOL": str(folder / "pool.yaml"),
           "MUSTER_CONTRACT_FAULT": f"{sys.executable} {ROOT}/tests/kube/fault.py {folder}/control"}
    faults.listener.close()
    proxy.close()


# What a cluster's API cannot do: its logs are one stream.
OTHERWISE = {"a_command_runs_and_its_log_is_read": '"0 e err'}


@pytest.mark.parametrize("name", read_tests())
def test_the_contract_holds(contract, site, name):
    done = subprocess.run([CONTRACT, name], env=contract, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=280, check=False)
    print(done.stdout)
    if "SKIPPED" in done.stdout and done.returncode == 0:
        pytest.skip("the site has no such fault")
    if name in OTHERWISE and OTHERWISE[name] in done.stdout.replace("\\", ""):
        pytest.skip("a pod's output is one stream")
    assert done.returncode == 0, done.stdout
    gone = ("pods", "services", "secrets")
    wait_until(lambda: not any(site.items(f"/api/v1/namespaces/muster/{kind}") for kind in gone),
               "everything of the test to be gone from the cluster", 60)
