"""Services whose replicas are jobs of a real Slurm: each on a port of its own, at the address that the
controller gives its node, checked by the server and asked through the real gateway."""
import http.client
import json
import socket

import pytest

import manifests
from manifests import manifest, model, service
from test_services import Gateway, push, ready, replicas, status
from test_slurm import cluster, last_attempt, pytestmark, site  # noqa: F401: fixtures

# Answers the Open Inference Protocol with which node and port it is, and says what is asked of it.
REPLICA = r'''
import http.server, json, os, signal, socketserver, sys, threading
port = int(sys.argv[1])
assert port == int(os.environ["MUSTER_PORT"]) == int(os.environ["SAID_PORT"]), "three ports"
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def reply(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self): self.reply({"ready": True})
    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"][0]["data"][0]
        lines = len(open(os.environ["MUSTER_INPUT_MODEL"] + "/weights").readlines())
        self.reply({"model_name": os.environ["MUSTER_MODEL_NAME"],
                    "model_version": os.environ["MUSTER_MODEL_VERSION"], "outputs": [
            {"name": "said", "datatype": "BYTES", "shape": [1],
             "data": [f"{said} {port} {os.environ['SLURM_JOB_ID']} {lines}"]}]})
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer): pass
server = Server(("0.0.0.0", port), Handler)
print("listening on", port, flush=True)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.05)
'''
FAST = {"startup": {"path": "/live", "period": "200ms"}, "readiness": {"path": "/ready", "period": "200ms"},
        "liveness": {"path": "/live", "period": "1s"}}


def runtime(**spec):
    return manifest("Runtime", "porter", {
        "listen": "port", "port": 8080, "protocols": ["oip"], "env": {"SAID_PORT": "{port}"},
        "command": ["/usr/bin/python3", "-c", REPLICA.replace("{", "{{"), "{port}"],
        **FAST, **spec})


def digits(**spec):
    return service("digits", "digits", **{
        "placement": {"pool": "cluster"}, "grace": "5s", "drain": "5s",
        "resources": {"cpu": 1, "memory": "128Mi"},
        "restart": {"backoff": "100ms", "backoffMax": "1s"}, **spec})


@pytest.fixture
def served(site):  # noqa: F811
    site.apply(runtime(), model("digits", runtime="porter"))
    push(site)
    site.token = site.call("POST", "/v1/tokens", {"user": "boss"})["token"]
    site.apply(manifests.team(members=[{"user": "boss", "role": "viewer"}]))
    gateway = Gateway(site)
    try:
        yield site, gateway
    finally:
        gateway.stop()
        if site.api("GET", f"/v1/services/{manifests.TEAM}:digits").status == 200:
            site.apply(digits(replicas=0))
            site.wait_for(lambda: not replicas(site), "the replicas to go")


def ask(site, gateway, text="hello"):  # noqa: F811
    """What a replica said: text, port, job's number, lines of the model; None: not answered yet."""
    code, body = gateway.ask(text, token=site.token)
    return body["outputs"][0]["data"][0].split() if code == 200 else None


def job_asked(site, gateway):  # noqa: F811
    """The job that answered; None where it was cancelled meanwhile, in the middle of its answer perhaps."""
    try:
        said = ask(site, gateway)
    except http.client.IncompleteRead:
        return None
    return said and said[2]


def test_requests_reach_jobs_through_the_gateway(served, cluster):  # noqa: F811
    site, gateway = served  # noqa: F811
    site.apply(digits(replicas=4, resources={"cpu": 3, "memory": "128Mi"}))  # one a node
    ready(site, 4)
    site.wait_for(lambda: ask(site, gateway), "the route")
    said = set()
    site.wait_for(lambda: said.add(tuple(ask(site, gateway))) or len({one[2] for one in said}) == 4,
                  "each to be asked")
    assert len({one[1] for one in said}) == 4, "each replica has a port of its own"
    assert all(one[0] == "hello" and 61000 <= int(one[1]) <= 64999 and one[3] == "1" for one in said)
    jobs = {one[2] for one in said}
    site.kill9()
    assert ask(site, gateway)[2] in jobs, "the gateway goes on without the server"
    site.start()
    ready(site, 4)
    assert {ask(site, gateway)[2] for _ in range(24)} <= jobs, "the server finds them again"
    site.wait_for(lambda: ask(site, gateway)[2] == max(jobs), "each to be asked")
    cluster.run("scancel", sorted(jobs)[0])
    site.wait_for(lambda: status(site)["ready"] == 4 and
                  {job_asked(site, gateway) for _ in range(24)} - jobs - {None},
                  "the replica that was cancelled at the cluster to be replaced")


def listen(port):
    """The ports here are above those that the system gives to whoever connects, and above the pool's own."""
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stranger.bind(("127.0.0.1", port))
    stranger.listen()
    return stranger


def at_ports(site, cluster, first, last):  # noqa: F811
    site.apply(cluster.pool(ports={"first": first, "last": last}))


def test_a_port_that_is_taken_is_said_and_another_is_tried(served, cluster):  # noqa: F811
    site, gateway = served  # noqa: F811
    at_ports(site, cluster, 65090, 65090)
    with listen(65090):
        site.apply(digits(replicas=1))
        site.wait_for(lambda: any("bad-port" in str(one) for one in status(site)["replicas"]), "the cause")
        (one,) = replicas(site)
        attempts = site.job(one["id"])["status"]["attemptList"]
        assert any("port 65090" in item.get("detail", "") and item["reason"] == "start-failed"
                   for item in attempts), attempts
        at_ports(site, cluster, 65090, 65097)
        ready(site, 1)
        site.wait_for(lambda: ask(site, gateway), "the route")
        assert 65091 <= int(ask(site, gateway)[1]) <= 65097


def test_a_stranger_on_the_port_is_never_asked(served, cluster):  # noqa: F811
    """The replica does not listen; somebody else of the node does, after it has begun."""
    site, _ = served  # noqa: F811
    at_ports(site, cluster, 65080, 65080)
    site.apply(runtime(command=["/bin/sh", "-c", "echo begun; sleep 600"]), digits(replicas=1))
    (one,) = site.wait_for(lambda: replicas(site), "a replica")
    site.wait_log(one["id"], "begun")
    with listen(65080) as stranger:
        site.wait_for(lambda: "port 65080" in str(site.job(one["id"])["status"]), "the reason")
        stranger.settimeout(0)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    assert status(site)["ready"] == 0


def test_a_replica_that_never_listens_is_started_again(served):
    site, _ = served  # noqa: F811
    site.apply(runtime(command=["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
                       startup={"path": "/live", "period": "100ms", "failures": 5}),
               digits(replicas=1))
    site.wait_for(lambda: "unhealthy" in str(status(site)["replicas"]), "the cause")


def test_what_listens_on_a_socket_is_refused(served):
    site, _ = served  # noqa: F811
    site.apply(runtime(listen="socket", port=None), digits(replicas=1))
    site.wait_for(lambda: any("listen: port" in str(site.job(one["id"])["status"])
                              for one in replicas(site)), "the reason")


def test_another_replica_is_ready_before_slurm_ends_one(served, cluster):  # noqa: F811
    """The partition gives a minute: after a part of it another replica takes over, and no request fails."""
    site, gateway = served  # noqa: F811
    site.apply(cluster.pool(partition="short"), digits(replicas=1, grace="1s"))
    ready(site, 1)
    site.wait_for(lambda: ask(site, gateway), "the route")
    first = ask(site, gateway)[2]
    said = []

    def answered_by_another():
        said.append(ask(site, gateway))
        return said[-1] is None or said[-1][2] != first
    site.wait_for(answered_by_another, "another replica", 120)
    assert None not in said, "a request failed"
    site.wait_for(lambda: len(replicas(site)) == 1, "the first to be gone", 60)
    assert "TIMEOUT" not in cluster.job(first), "muster ended it, not Slurm"
    assert ask(site, gateway)[2] != first
