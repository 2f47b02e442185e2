"""Clocks apart: kubelets and a metrics API whose time is ten minutes ahead of the server's, or behind it. What the
server says of a job is by its own clock, and nothing ends, or is counted, because of theirs."""
import datetime
import http.server
import json
import ssl
import threading
import time

import pytest

from bare import leave, start
from cluster import free_port, wait_until

APART_S = 600
CPUS = 0.5
SLACK_S = 90  # a sample's window, and a busy machine


def stamp(moment_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_s))


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Metrics:
    """A metrics API that knows one pod, at a time of its own."""

    def __init__(self, site, apart_s):
        self.apart_s, self.pod, self.asked = apart_s, None, 0
        port = free_port()
        metrics = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(metrics.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.pki("apiserver.crt"), site.pki("apiserver.key"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        site.register_metrics(port)

    def answer(self, path):
        if "/pods" not in path:
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1",
                    "resources": [{"name": "pods", "namespaced": True, "kind": "PodMetrics", "verbs": ["list"]}]}
        self.asked += self.pod is not None
        return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [{
            "metadata": {"name": self.pod, "namespace": "muster"}, "timestamp": stamp(time.time() + self.apart_s),
            "window": "15s", "containers": [{"name": "job", "usage": {
                "cpu": f"{int(CPUS * 1000)}m", "memory": "64Mi"}}]}] if self.pod else []}


@pytest.mark.parametrize("apart_s", [APART_S, -APART_S])
def test_clocks_that_are_apart_change_nothing(server, site, bare, apart_s):
    bare()
    metrics = Metrics(site, apart_s)
    try:
        wait_until(lambda: site.request("GET", "/apis/metrics.k8s.io/v1beta1/pods").status == 200, "the metrics API")
        began = time.time()
        reference, pod = start(server, site, "apart", runs=False)
        there = stamp(began + apart_s)
        site.set_pod("muster", pod, {"phase": "Running", "podIP": "127.0.0.1", "startTime": there, "containerStatuses": [{
            "name": "job", "ready": True, "restartCount": 0, "image": "x", "imageID": "x",
            "state": {"running": {"startedAt": there}}}]})
        metrics.pod = pod
        server.wait_job(reference, "running")
        server.wait_for(lambda: metrics.asked >= 2, "two samples", 90)
        used = server.wait_for(lambda: usage(server, reference).get("cpuSeconds"), "usage")
        assert 0 < used <= CPUS * (time.time() - began + SLACK_S), used
        assert server.job(reference)["status"]["state"] == "running"
        site.set_pod("muster", pod, {"phase": "Succeeded", "containerStatuses": [{
            "name": "job", "ready": False, "restartCount": 0, "image": "x", "imageID": "x", "state": {"terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": there, "finishedAt": there}}}]})
        status = server.wait_ended(reference)["status"]
        assert status["state"] == "succeeded" and status["attempts"] == 1, status
        attempt, = status["attemptList"]
        assert began - 1 <= seconds(attempt["started"]) <= seconds(attempt["ended"]) <= time.time() + 1, attempt
        leave(server, site, reference)
    finally:
        site.unregister_metrics()
        metrics.server.shutdown()
        metrics.server.server_close()


def usage(server, reference):
    return server.job(reference)["status"]["attemptList"][-1].get("usage", {})
