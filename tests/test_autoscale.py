"""Services whose number of replicas follows what is asked of them: the real daemon, the real gateway
and a tiny runtime."""
import http.client
import http.server
import json
import os
import threading

import pytest

import muster as helper
from gateway import self_signed
from manifests import TEAM
from test_services import answering, ready, said, served, status  # noqa: F401

QUICK = {"stableWindow": "6s", "panicWindow": "1s", "down": "1s"}


def scaled(name="digits", autoscale=None, **spec):
    """A service of the tiny runtime that scales."""
    return answering(name, autoscale={"max": 3, "inFlight": 1, "use": 100, **QUICK, **(autoscale or {})}, **spec)


def scaling(site, name="digits"):
    """What was decided last."""
    return status(site, name).get("autoscale", {})


def wanted(site, count, name="digits"):
    site.wait_for(lambda: status(site, name).get("wanted") == count, f"{count} replicas of {name} are wanted")


class Load:
    """So many clients, each of which asks again as soon as it was answered."""

    def __init__(self, site, clients, text="slow"):
        self.going = True
        self.statuses = []
        self.threads = [threading.Thread(target=self.ask, args=(site, text)) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, site, text):
        while self.going:
            try:
                self.statuses.append(site.gateway.ask(text, token=site.token)[0])
            except OSError:
                self.statuses.append(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join()


class Metrics:
    """A Prometheus endpoint that says what it is told to, hangs, or says nonsense."""

    def __init__(self):
        self.text = ""
        self.hang = threading.Event()
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.asked += 1
                if outer.text is None:
                    outer.hang.wait(60)
                    return
                body = outer.text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def secure(self, folder):
        """From now on over TLS, as localhost; the port."""
        context = self_signed(folder)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        return self.server.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/metrics"

    def stop(self):
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def metrics():
    endpoint = Metrics()
    yield endpoint
    endpoint.stop()


def test_replicas_come_with_requests_and_go_with_them(served):
    served.apply(scaled())
    ready(served)
    with Load(served, 6) as load:
        wanted(served, 3)
        ready(served, 3)
        words = "\n".join(scaling(served)["words"])
        assert scaling(served)["asked"] >= 3 and "requests at once" in words, words
    assert set(load.statuses) == {200}
    wanted(served, 1)
    served.wait_for(lambda: scaling(served).get("bound") == "min", "it says that the minimum holds")
    explained = served.cli("explain", "service", f"{TEAM}/digits").stdout
    assert "1 replica wanted: that is the minimum." in explained
    assert "Replicas take" in explained
    events = served.audit()
    scales = [event for event in events if event["action"] == "service-scale"]
    assert scales, "each change is in the audit"


def test_the_last_replica_goes_and_comes_back_for_requests_that_are_held(served):
    served.apply(scaled(autoscale={"min": 0, "idle": "2s"}))
    ready(served)
    assert said(served) == "one hello"
    served.wait_for(lambda: status(served)["state"] == "idle", "nobody asks, and there is no replica")
    assert scaling(served)["reason"] == "idle"
    with Load(served, 3, "hello") as load:
        served.wait_for(lambda: load.statuses, "a held request is answered")
    assert set(load.statuses) == {200}


def test_beyond_the_bound_and_the_wait_clients_hear_when_to_come_back(served):
    """No replica of it ever gets ready."""
    held = {"hold": {"wait": "3s", "requests": 2}}
    served.apply(answering(autoscale={"min": 0, "max": 1, "inFlight": 1, "idle": "1s", **QUICK},
                           command=["/bin/sleep", "1000"], gateway=held))
    served.wait_for(lambda: load_of(served), "the gateway counts")
    answers = []

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", served.gateway.port, timeout=30)
        connection.request("POST", "/v2/models/digits/infer", "{}", {"Authorization": f"Bearer {served.token}"})
        answer = connection.getresponse()
        answers.append((answer.status, answer.getheader("Retry-After"), answer.read().decode()))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    served.wait_for(lambda: load_of(served)["held"] == 2, "two are held")
    ask()
    assert answers[0][:2] == (503, "3") and "as many requests as may be wait" in answers[0][2]
    for thread in threads:
        thread.join()
    assert [answer[:2] for answer in answers[1:]] == [(503, "3"), (503, "3")]
    assert "for as long as it may" in answers[1][2]
    served.wait_for(lambda: load_of(served)["held"] == 0, "none is held any more")


def load_of(site, name="digits"):
    """What the gateway counts of a service."""
    found = control(site, "/load")["services"]
    return next((item for item in found if item["service"] == f"{TEAM}/{name}"), None)


def control(site, path):
    connection = helper.UnixConnection(os.path.join(site.data, "gateway", "control.sock"), 20)
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def test_a_restart_of_the_server_takes_nothing_away(served):
    served.apply(scaled(autoscale={"down": "0s", "stableWindow": "10m"}))
    ready(served)
    with Load(served, 6):
        ready(served, 3)
        served.restart()
        served.wait_for(lambda: scaling(served).get("wanted") == 3, "it decides again")
        assert len(ready(served, 3)) == 3
    served.wait_for(lambda: scaling(served)["reason"] in ("no-data", "panic"), "it has not seen enough")
    assert status(served)["wanted"] == 3


def test_metrics_of_an_endpoint_and_none_when_it_hangs_or_talks_nonsense(served, metrics):
    metrics.text = '# TYPE depth gauge\ndepth{queue="a"} 25\ndepth{queue="b"} 900\n'
    served.apply(answering(
        metrics=[{"name": "depth", "url": metrics.url, "labels": {"queue": "a"}}],
        autoscale={"max": 5, "metrics": [{"name": "depth", "averageValue": 10}], **QUICK}))
    ready(served, 3)
    assert "Metric depth: 25, 10 for a replica is aimed at: 3 replicas." in scaling(served)["words"]
    metrics.text = "depth 7 and\n\x00<html>"
    served.wait_for(lambda: scaling(served)["reason"] == "no-data", "what it says now is nothing")
    assert status(served)["wanted"] == 3
    metrics.text = None
    served.wait_for(lambda: any("did not answer" in word for word in scaling(served)["words"]), "it hangs")
    assert status(served)["wanted"] == 3
    metrics.text = 'depth{queue="a"} 4\n'
    metrics.hang.set()
    wanted(served, 1)


def test_metrics_over_https_are_reached_by_name_and_only_where_they_are_trusted(served, metrics, tmp_path):
    """The endpoint listens on one of the addresses of localhost; its certificate is for that name alone."""
    port = metrics.secure(tmp_path)
    metrics.text = "depth 25\n"

    def by(host):
        served.apply(answering(
            metrics=[{"name": "depth", "url": f"https://{host}:{port}/metrics"}],
            autoscale={"max": 5, "metrics": [{"name": "depth", "averageValue": 10}], **QUICK}))

    def said_so(words):
        served.wait_for(lambda: any(words in line for line in scaling(served).get("words", [])), words)

    by("localhost")
    said_so("not trusted")
    served.restart("--trust", str(tmp_path / "cert.pem"))
    ready(served, 3)
    assert "Metric depth: 25, 10 for a replica is aimed at: 3 replicas." in scaling(served)["words"]
    by("127.0.0.1")
    said_so("not trusted")
    by("no-such-host.invalid")
    said_so("be resolved")
    metrics.text = "depth 1\n" * 3_000_000
    by("localhost")
    said_so("more than 16777216 bytes")
    assert status(served)["wanted"] == 3


HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: digits
  namespace: %s
  annotations: {kept: "yes"}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: digits}
  minReplicas: 2
  maxReplicas: 50
  metrics:
  - type: Pods
    pods:
      metric: {name: gpu_utilization, selector: {matchLabels: {a: b}}}
      target: {type: AverageValue, averageValue: 60}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 0}
""" % TEAM


def test_a_horizontal_pod_autoscaler_is_taken_as_it_stands(served, metrics, tmp_path):
    def each(count, value):
        return "".join(f'gpu_utilization{{pod="p{number}"}} {value}\n' for number in range(count))
    metrics.text = each(4, 90)
    served.apply(answering(replicas=4, metrics=[{"name": "gpu_utilization", "url": metrics.url}]))
    ready(served, 4)
    path = tmp_path / "hpa.yaml"
    path.write_text(HPA)
    out = served.cli("apply", "-f", str(path)).stdout
    assert "HorizontalPodAutoscaler" in out and "created" in out
    assert "spec.metrics[0].pods.metric.selector has no effect here" in out
    wanted(served, 6)
    metrics.text = each(6, 60)  # which is what it is for: it stays
    ready(served, 6)
    metrics.text = each(6, 64)  # within the tolerance
    assert served.cli("apply", "-f", str(path)).stdout.splitlines()[0].endswith("unchanged")
    served.wait_for(lambda: "Metric gpu_utilization: 64, its target is 60" in "\n".join(scaling(served)["words"]),
                    "the tolerance")
    assert "by Kubernetes' formula" in "\n".join(scaling(served)["words"]) and status(served)["wanted"] == 6
    described = served.cli("describe", "hpa", f"{TEAM}/digits").stdout
    assert "gpu_utilization" in described
    refused = served.cli("apply", "-f", "-", ok=False, stdin=json.dumps(
        answering(autoscale={"max": 3, "inFlight": 1}, metrics=[])))
    assert refused.returncode != 0 and "HorizontalPodAutoscaler digits scales this service" in refused.stderr
    metrics.text = each(6, 10)
    wanted(served, 2)
    served.cli("delete", "hpa", f"{TEAM}/digits")
    served.wait_for(lambda: "autoscale" not in status(served), "nothing scales it any more")
    assert status(served)["wanted"] == 2


def test_the_manifests_of_the_documentation_can_be_planned(served, tmp_path):
    with open(os.path.join(os.path.dirname(__file__), "..", "docs", "gateway-autoscaling.md"), encoding="utf-8") as page:
        blocks = [part.split("```")[0] for part in page.read().split("```yaml\n")[1:]]
    assert len(blocks) == 3
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.replace("default}", f"{TEAM}}}"))
        assert "would change" in served.cli("plan", "-f", str(path)).stdout
