"""A real Kubernetes control plane on loopback: etcd, kube-apiserver with RBAC, kube-controller-manager and,
where asked for, kube-scheduler and a kubelet with containerd. Everything is in one folder and ends with it."""
import base64
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tarfile
import threading
import time

import yaml

import muster

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MANIFESTS = os.path.join(ROOT, "packaging", "kubernetes")
METRICS_API = "v1beta1.metrics.k8s.io"
START_S = 120
STOP_S = 20

# Who has which certificate: common name, organisation.
PEOPLE = {
    "admin": ("admin", "system:masters"),
    "apiserver-to-kubelet": ("apiserver-to-kubelet", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:real", "system:nodes"),
    "front-proxy": ("front-proxy", ""),
    "metrics-server": ("metrics-server", "system:masters"),
    "stranger": ("stranger", "nobody"),
}


def wait_until(condition, what, timeout_s=START_S):
    """As that of muster.py, for what takes as long as a component's start."""
    return muster.wait_until(condition, timeout_s, what)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class ApiError(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status} {text[:600]}")
        self.status = status


class Cluster:
    """`folder` is new and the cluster's own; `bin` is what scripts/kube-build printed."""

    def __init__(self, folder, bin_folder):
        self.folder, self.bin = str(folder), bin_folder
        os.makedirs(self.path("pki"))
        self.processes = {}
        self.commands = {}
        self.apiserver_more = []  # options
        self.node_grace_s = 6  # how long a node may be silent
        self.etcd_port, self.etcd_peer_port, self.port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._make_certificates()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def pki(self, name):
        return self.path("pki", name)

    # ---- certificates ----

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.path("pki"))

    def _make_certificates(self):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=muster-test-ca")
        self._openssl("genrsa", "-out", "service-accounts.key", "2048")
        self._openssl("rsa", "-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub")
        self.make_certificate("apiserver", "kube-apiserver", "",
                              "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes")
        for name, (common_name, organisation) in PEOPLE.items():
            self.make_certificate(name, common_name, organisation, "extendedKeyUsage=clientAuth")

    def make_certificate(self, name, common_name, organisation, extension):
        subject = (f"/O={organisation}" if organisation else "") + f"/CN={common_name}"
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        with open(self.pki(f"{name}.ext"), "w", encoding="utf-8") as text:
            text.write(extension + "\n")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "30", "-out", f"{name}.crt", "-extfile", f"{name}.ext")

    def read_base64(self, name):
        with open(self.pki(name), "rb") as content:
            return base64.b64encode(content.read()).decode()

    def write_kubeconfig(self, name, user, server=None, namespace=None):
        """Writes a kubeconfig whose one user is `user` (a map as kubeconfig has it); its path."""
        context = {"cluster": "test", "user": name, **({"namespace": namespace} if namespace else {})}
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": server or self.url, "certificate-authority-data": self.read_base64("ca.crt")}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": context}]}
        path = self.path(f"{name}.kubeconfig")
        with open(path, "w", encoding="utf-8") as text:
            yaml.safe_dump(config, text)
        return path

    def kubeconfig_of(self, person, **options):
        """A kubeconfig for one of PEOPLE by its certificate; its path."""
        return self.write_kubeconfig(person, {
            "client-certificate-data": self.read_base64(f"{person}.crt"),
            "client-key-data": self.read_base64(f"{person}.key")}, **options)

    # ---- processes ----

    def spawn(self, name, command):
        """Starts a component; its output is in NAME.log."""
        self.commands[name] = command
        with open(self.path(f"{name}.log"), "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)

    def log(self, name, most=4000):
        with open(self.path(f"{name}.log"), encoding="utf-8", errors="replace") as text:
            return text.read()[-most:]

    def kill(self, name, how=signal.SIGKILL):
        process = self.processes.pop(name)
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start_etcd(self):
        peer = f"http://127.0.0.1:{self.etcd_peer_port}"
        client = f"http://127.0.0.1:{self.etcd_port}"
        self.spawn("etcd", [
            "etcd", "--name", "test", "--data-dir", self.path("etcd"), "--log-level", "warn",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"test={peer}"])

    def _start_apiserver(self):
        self.spawn("kube-apiserver", [
            os.path.join(self.bin, "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}", "--bind-address=127.0.0.1",
            f"--secure-port={self.port}", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none", "--authorization-mode=Node,RBAC",
            f"--cert-dir={self.pki('')}", f"--tls-cert-file={self.pki('apiserver.crt')}",
            f"--tls-private-key-file={self.pki('apiserver.key')}", f"--client-ca-file={self.pki('ca.crt')}",
            f"--kubelet-client-certificate={self.pki('apiserver-to-kubelet.crt')}",
            f"--kubelet-client-key={self.pki('apiserver-to-kubelet.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pki('service-accounts.pub')}",
            f"--service-account-signing-key-file={self.pki('service-accounts.key')}",
            f"--requestheader-client-ca-file={self.pki('ca.crt')}", "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self.pki('front-proxy.crt')}",
            f"--proxy-client-key-file={self.pki('front-proxy.key')}",
            "--service-cluster-ip-range=10.96.0.0/24", "--enable-admission-plugins=NodeRestriction",
            "--default-not-ready-toleration-seconds=2", "--default-unreachable-toleration-seconds=2",
            *self.apiserver_more])

    def start(self):
        self._start_etcd()
        self._start_apiserver()
        self.wait_ready()
        self.spawn("kube-controller-manager", [
            os.path.join(self.bin, "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig_of('controller-manager')}", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--secure-port={free_port()}", f"--cert-dir={self.pki('')}",
            f"--root-ca-file={self.pki('ca.crt')}",
            f"--service-account-private-key-file={self.pki('service-accounts.key')}",
            "--use-service-account-credentials=true", f"--node-monitor-grace-period={self.node_grace_s}s",
            "--node-monitor-period=1s", "--concurrent-gc-syncs=4"])
        wait_until(lambda: self.find("/api/v1/namespaces/default/serviceaccounts/default"),
                   "the service account of the namespace default")
        return self

    def start_scheduler(self):
        self.spawn("kube-scheduler", [
            os.path.join(self.bin, "kube-scheduler"), f"--kubeconfig={self.kubeconfig_of('scheduler')}",
            "--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={free_port()}",
            f"--cert-dir={self.pki('')}"])

    def start_metrics_server(self):
        """Its API is served by the API server as if it were its own. A kubelet on a busy machine was seen to need more
        than five seconds for an answer to it."""
        port = free_port()
        kubeconfig = self.kubeconfig_of("metrics-server")
        self.spawn("metrics-server", [
            os.path.join(self.bin, "metrics-server"), f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={self.path('metrics-server')}",
            "--kubelet-insecure-tls", "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=InternalIP", "--metric-resolution=20s", "--kubelet-request-timeout=15s"])
        self.register_metrics(port)

    def register_metrics(self, port):
        """Has the metrics API served by what listens on that port of this machine, in TLS."""
        self.call("POST", "/api/v1/namespaces/kube-system/services", {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-server"},
            "spec": {"type": "ExternalName", "externalName": "localhost"}})
        self.call("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": METRICS_API}, "spec": {
                "service": {"name": "metrics-server", "namespace": "kube-system", "port": port},
                "group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100, "versionPriority": 100}})
        wait_until(lambda: self.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes").status == 200,
                   "the metrics API")

    def stop_metrics_server(self):
        self.unregister_metrics()
        self.kill("metrics-server")

    def unregister_metrics(self):
        self.call("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/{METRICS_API}")
        self.call("DELETE", "/api/v1/namespaces/kube-system/services/metrics-server")

    def restart(self, name):
        """Starts a component again that was killed, as it was."""
        self.spawn(name, self.commands[name])

    def _ready(self):
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with status {process.returncode}:\n{self.log(name)}")
        try:
            return self.request("GET", "/readyz").status == 200
        except OSError:
            return False

    def wait_ready(self):
        wait_until(self._ready, "the API server")

    def stop(self):
        for name in reversed(list(self.processes)):
            self.kill(name, signal.SIGTERM if name == "kubelet" else signal.SIGKILL)

    # ---- the API, as the administrator ----

    def connect(self, person="admin", timeout_s=30):
        context = ssl.create_default_context(cafile=self.pki("ca.crt"))
        context.load_cert_chain(self.pki(f"{person}.crt"), self.pki(f"{person}.key"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=timeout_s)

    def request(self, method, path, body=None, content_type="application/json", person="admin"):
        connection = self.connect(person)
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            connection.request(method, path, body and json.dumps(body), headers)
            response = connection.getresponse()
            response.text = response.read().decode()
            return response
        finally:
            connection.close()

    def call(self, method, path, body=None, **options):
        """As request, for what has to succeed: the object."""
        response = self.request(method, path, body, **options)
        if not 200 <= response.status < 300:
            raise ApiError(response.status, f"{method} {path}: {response.text}")
        return json.loads(response.text)

    def find(self, path):
        """The object, or None where there is none."""
        try:
            return self.call("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path):
        return self.call("GET", path)["items"]

    def apply_file(self, path, namespace):
        """Applies each object of a YAML file on the server's side, with `namespace` for muster's."""
        with open(path, encoding="utf-8") as text:
            for item in yaml.safe_load_all(text.read().replace("namespace: muster", f"namespace: {namespace}")
                                           .replace("name: muster # namespace", f"name: {namespace}")):
                self.apply(item)

    def apply(self, item):
        plural = {"NetworkPolicy": "networkpolicies"}.get(item["kind"], item["kind"].lower() + "s")
        group = "/api/v1" if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
        namespace = item["metadata"].get("namespace")
        scope = f"/namespaces/{namespace}" if namespace else ""
        return self.call("PATCH", f"{group}{scope}/{plural}/{item['metadata']['name']}"
                         "?fieldManager=tests&force=true", item, content_type="application/apply-patch+yaml")

    def token_for(self, namespace, account, seconds=3600):
        """A token of a service account, as the API gives it."""
        answer = self.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
                           {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                            "spec": {"expirationSeconds": seconds}})
        return answer["status"]["token"]

    # ---- nodes that nothing runs on ----

    def make_node(self, name, cpu="8", memory="16Gi", labels=None, taints=None, pods="110", more=None):
        """A node that is ready until the test says otherwise."""
        resources = {"cpu": cpu, "memory": memory, "pods": pods, "ephemeral-storage": "100Gi", **(more or {})}
        self.call("POST", "/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {"taints": taints or []}})
        self.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": {
            "capacity": resources, "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}},
            content_type="application/strategic-merge-patch+json")
        self.node_ready(name, True)

    def node_ready(self, name, ready, reason="Test"):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = "True" if ready is True else "Unknown" if ready is None else "False"
        self.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [{
            "type": "Ready", "status": status, "reason": reason, "message": "set by a test",
            "lastHeartbeatTime": now, "lastTransitionTime": now}]}},
            content_type="application/strategic-merge-patch+json")

    # ---- the life of pods on such nodes ----

    def set_pod(self, namespace, name, status):
        """Writes the status of a pod as a kubelet would."""
        return self.call("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status",
                         {"status": status}, content_type="application/strategic-merge-patch+json")

    def run_pod(self, namespace, name, ip="127.0.0.1"):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return self.set_pod(namespace, name, {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "job", "ready": True, "restartCount": 0, "image": "x",
                                   "imageID": "x", "state": {"running": {"startedAt": now}}}]})

    def end_pod(self, namespace, name, exit_code=0, reason=None, pod_reason=None, message="", signal_no=0):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ended = {"exitCode": exit_code, "signal": signal_no, "startedAt": now, "finishedAt": now,
                 "reason": reason or ("Completed" if exit_code == 0 else "Error")}
        status = {"phase": "Succeeded" if exit_code == 0 and not pod_reason else "Failed", "message": message,
                  "containerStatuses": [{"name": "job", "ready": False, "restartCount": 0, "image": "x",
                                         "imageID": "x", "state": {"terminated": ended}}]}
        if pod_reason:
            status["reason"] = pod_reason
        return self.set_pod(namespace, name, status)

    def finish_deletion(self, namespace, name):
        """What a kubelet does when a deleted pod's processes are gone."""
        self.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0")

    def compact(self):
        """Forgets all history of etcd, as happens every five minutes."""
        environment = dict(os.environ, ETCDCTL_API="3")
        endpoint = f"--endpoints=127.0.0.1:{self.etcd_port}"
        status = json.loads(subprocess.run(
            ["etcdctl", endpoint, "endpoint", "status", "-w", "json"], env=environment, check=True,
            capture_output=True, text=True).stdout)
        revision = status[0]["Status"]["header"]["revision"]
        subprocess.run(["etcdctl", endpoint, "compact", str(revision)], env=environment, check=True,
                       capture_output=True)
