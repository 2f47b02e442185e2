"""Services from the first apply to the last drain, with the real daemon, the real gateway and a tiny
runtime: a Python program that answers on the replica's socket."""
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import manifests
import muster as helper
from manifests import TEAM, job, manifest, model, pool, service, team

# Answers requests of the Open Inference Protocol with what it was asked to do by its first argument.
# The files under /tmp are the replica's own.
RUNTIME = r'''
import http.server, json, os, socketserver, sys, time
mode = sys.argv[1] if len(sys.argv) > 1 else ""
name, version = os.environ["MUSTER_MODEL_NAME"], os.environ["MUSTER_MODEL_VERSION"]
print("starting", name, version, flush=True)
sick = False
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "peer"
    def log_message(self, *a): pass
    def reply(self, body, status=200):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if self.path == "/sick" and sick: return self.reply({}, 503)
        self.reply({"ready": True})
    def do_POST(self):
        global sick
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = body["inputs"][0]["data"][0]
        if said == "sick": sick = True
        if said == "die": os._exit(3)
        if said == "slow": time.sleep(1.5)
        self.reply({"model_name": name, "model_version": version, "outputs": [
            {"name": "said", "datatype": "BYTES", "shape": [1], "data": [f"{mode} {said}"]}]})
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False
    request_queue_size = 64
server = Server(os.environ["MUSTER_SOCKET"], Handler)
import signal, threading
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.02)
'''

FAST = {"startup": {"period": "100ms"}, "readiness": {"period": "100ms"},
        "liveness": {"path": "/sick", "period": "100ms", "failures": 2}}


def answering(name="digits", mode="one", reference="digits", **spec):
    """A service of the tiny runtime."""
    spec = {"runtime": "command", "command": ["/usr/bin/python3", "-c", RUNTIME.replace("{", "{{"), mode],
            **FAST, "drain": "20s", "grace": "2s",
            "restart": {"backoff": "100ms", "backoffMax": "2s"}, **spec}
    return service(name, reference, **spec)


class Gateway:
    """A gateway of the instance's data directory."""

    def __init__(self, site):
        self.site = site
        self.port = None
        self.start()

    def start(self):
        self.port = self.port or free_port()
        log = open(self.site.log_path, "ab")
        self.process = subprocess.Popen(
            [helper.BINARY, "gateway", "--data", self.site.data, "--listen", f"127.0.0.1:{self.port}",
             "--workers", "1"], env=self.site.environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True)
        helper.wait_until(self.listens, 20, "the gateway to listen")

    def listens(self):
        assert self.process.poll() is None, self.site.log()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", "/v2/health/live")
            return connection.getresponse().status > 0
        except OSError:
            return False

    def ask(self, said="hello", name="digits", token=None, timeout_s=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": [said]}]}
        connection.request("POST", f"/v2/models/{name}/infer", json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if answer.status == 200 else data

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def push(site, name="digits"):
    """Uploads the next version of a model."""
    folder = os.path.join(site.data + "-files")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "weights"), "a", encoding="ascii") as weights:
        weights.write("more\n")
    site.cli("model", "push", f"{TEAM}/{name}", folder)


def change_version(site, number, name="digits", index=None, **fields):
    """Writes fields of a version, and of the model's index, into the store of a stopped server."""
    site.stop()
    with sqlite3.connect(os.path.join(site.data, "muster.db")) as store:
        def change(collection, key, fields):
            found, = store.execute("SELECT json FROM document WHERE collection = ? AND key = ?",
                                   (collection, key)).fetchone()
            store.execute("UPDATE document SET json = ? WHERE collection = ? AND key = ?",
                          (json.dumps({**json.loads(found), **fields}), collection, key))
        change("model-version", f"{TEAM}/{name}/{number:08d}", fields)
        change("artifact-index", f"model/{TEAM}/{name}", index or {})
    site.start()


def set_stage(site, number, stage, name="digits"):
    """Puts a version into a stage, without its gates."""
    change_version(site, number, name, {stage: number}, stage=stage)


@pytest.fixture
def served(site):
    """A site with a model of one version in production, and a gateway."""
    site.apply(model("digits", runtime="command"))
    push(site)
    gateway = site.gateway = Gateway(site)
    site.token = site.call("POST", "/v1/tokens", {"user": "boss"})["token"]
    site.apply(team(members=[{"user": "boss", "role": "viewer"}]))
    yield site
    gateway.stop()


def status(site, name="digits"):
    return site.call("GET", f"/v1/services/{TEAM}:{name}")["status"]


def replicas(site, name="digits"):
    return status(site, name).get("replicas", [])


def ready(site, count=1, name="digits"):
    def settled():
        now = status(site, name)
        return now["state"] == "ready" and now["ready"] == count
    site.wait_for(settled, f"{count} ready replicas of {name}")
    return replicas(site, name)


def said(site, text="hello", **options):
    """What the service answers, once the gateway has its route."""
    found = []

    def answered():
        found[:] = site.gateway.ask(text, token=site.token, **options)
        return found[0] == 200
    site.wait_for(answered, "an answer")
    return found[1]["outputs"][0]["data"][0]


def test_a_service_answers_after_it_was_applied(served):
    assert served.apply(answering()) == ["created"]
    replica, = ready(served)
    assert (replica["state"], replica["restarts"], replica["version"]) == ("ready", 0, 1)
    assert said(served) == "one hello"
    assert served.gateway.ask(token=served.token)[1]["model_version"] == "1"
    assert served.apply(answering()) == ["unchanged"]


def test_it_is_scaled_without_replacing_what_is_there(served):
    served.apply(answering())
    before = {replica["id"] for replica in ready(served)}
    served.apply(answering(replicas=3))
    assert before < {replica["id"] for replica in ready(served, 3)}
    served.apply(answering(replicas=1))
    served.wait_for(lambda: len(replicas(served)) == 1, "two replicas to go")
    assert status(served)["revision"] == 1


class Load:
    """Clients that ask all the time; every answer but 200 is kept."""

    def __init__(self, site, clients=3, text="hello"):
        self.site, self.text, self.answers, self.wrong, self.over = site, text, [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.over.is_set():
            try:
                found, body = self.site.gateway.ask(self.text, token=self.site.token)
            except OSError as trouble:
                found, body = 0, repr(trouble)
            if found == 200:
                self.answers.append(body["outputs"][0]["data"][0])
            else:
                self.wrong.append((found, body))

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert not self.wrong, self.wrong[:5]
        return self.answers


def test_a_rolling_update_under_load_fails_no_request(served):
    served.apply(answering(replicas=2))
    ready(served, 2)
    said(served)
    load = Load(served)
    served.apply(answering(replicas=2, mode="two"))
    served.wait_for(lambda: status(served)["revision"] == 2, "the second revision")
    served.wait_for(lambda: {r["revision"] for r in ready(served, 2)} == {2}, "new replicas")
    count = len(load.answers)
    served.wait_for(lambda: len(load.answers) > count + 5, "more answers")
    answers = load.end()
    assert {"one hello", "two hello"} == set(answers)
    assert answers[-1] == "two hello"


def test_a_revision_that_never_gets_ready_leaves_the_old_one_alone(served):
    served.apply(answering())
    old, = ready(served)
    served.apply(answering(command=["/bin/sh", "-c", "echo no such luck; exit 9"]))
    served.wait_for(lambda: any(r["restarts"] > 1 for r in replicas(served)), "failures")
    now = status(served)
    assert now["state"] == "rolling" and now["ready"] == 1
    assert old["id"] in {r["id"] for r in now["replicas"] if r["state"] == "ready"}
    assert said(served) == "one hello"


def test_a_replica_that_dies_is_started_again(served):
    """Without retries: the gateway would kill the next one with the same request. Looked at so rarely that
    its end is known before it looks sick."""
    served.apply(answering(gateway={"retry": "never"}, liveness={"path": "/sick", "period": "1m", "failures": 2}))
    ready(served)
    said(served)
    assert served.gateway.ask("die", token=served.token)[0] >= 500
    served.wait_for(lambda: replicas(served)[0]["restarts"] == 1, "the restart")
    replica, = ready(served)
    assert replica["lastEnd"] == "failed (exit status 3)"
    assert said(served) == "one hello"


CAUSES = {
    "out-of-memory": "import sys; print('MemoryError: no room'); sys.exit(1)",
    "missing-file": "open('/inputs/model/model.bin')",
    "wrong-format": "import sys; print('bad magic'); sys.exit(65)",
    "bad-port": "import sys; print('OSError: Address already in use'); sys.exit(1)",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_crash_loop_backs_off_and_tells_the_cause(served, cause):
    served.apply(manifest("Runtime", "own", {
        "command": ["/usr/bin/python3", "-c", CAUSES[cause]], "protocols": ["oip"], "failures": [
            {"cause": "wrong-format", "exitStatus": 65},
            {"cause": "out-of-memory", "log": "MemoryError"},
            {"cause": "missing-file", "log": "No such file or directory"},
            {"cause": "bad-port", "log": "Address already in use"}]}))
    spec = answering()["spec"]
    broken = manifest("Service", "broken", {**spec, "runtime": "own", "command": None}, team=TEAM)
    served.apply(broken)
    served.wait_for(lambda: replicas(served, "broken") and replicas(served, "broken")[0]["restarts"] >= 2,
                    "two restarts")
    served.wait_for(lambda: replicas(served, "broken")[0]["state"] == "backoff", "a pause")
    replica, = replicas(served, "broken")
    assert replica["cause"] == cause, replica
    assert status(served, "broken")["state"] == "failing"
    text = served.cli("describe", "service", f"{TEAM}/broken").stdout
    assert "Because: " in served.cli("explain", "service", f"{TEAM}/broken").stdout
    assert cause in text


def test_a_replica_that_is_not_alive_is_started_again(served):
    served.apply(answering())
    first, = ready(served)
    said(served)
    served.gateway.ask("sick", token=served.token)
    served.wait_for(lambda: replicas(served)[0]["restarts"] == 1, "the restart")
    replica, = ready(served)
    assert replica["id"] == first["id"]
    assert replica["cause"] == "unhealthy"


def test_requests_under_way_are_finished_before_a_deleted_service_stops(served):
    served.apply(answering())
    ready(served)
    said(served)
    answers = []
    slow = threading.Thread(
        target=lambda: answers.append(served.gateway.ask("slow", token=served.token)))
    slow.start()
    under_way = lambda: any(e["outstanding"] for e in gateway_status(served)["endpoints"])
    served.wait_for(under_way, "the request to be under way")
    served.call("DELETE", f"/v1/services/{TEAM}:digits")
    slow.join()
    assert answers[0][0] == 200, answers
    served.wait_for(lambda: served.gateway.ask(token=served.token)[0] == 404, "the route to go")
    served.wait_for(lambda: served.apply(answering()) == ["created"] if gone(served) else False,
                    "a service of that name to be made again")
    assert ready(served)[0]["revision"] == 1


def stored_revisions(site):
    with sqlite3.connect(os.path.join(site.data, "muster.db")) as store:
        return [key for key, in store.execute(
            "SELECT key FROM document WHERE collection = 'service-revision' ORDER BY key")]


def test_revisions_go_with_their_service(served):
    """Also when the server is killed before it has removed them; those of others stay."""
    served.apply(answering(), answering("other", mode="other"))
    ready(served)
    ready(served, name="other")
    served.apply(answering(mode="again"))
    served.wait_for(lambda: {r["revision"] for r in ready(served)} == {2}, "the second revision")
    served.call("DELETE", f"/v1/services/{TEAM}:digits")
    served.wait_for(lambda: stored_revisions(served) == [f"{TEAM}/other/00000001"],
                    "the revisions to go")
    served.kill9()
    with sqlite3.connect(os.path.join(served.data, "muster.db")) as store:
        store.execute("INSERT INTO document SELECT collection, 'vision/digits/00000007', scope, revision, "
                      "at_ms, json FROM document WHERE collection = 'service-revision'")
    served.start()
    served.wait_for(lambda: stored_revisions(served) == [f"{TEAM}/other/00000001"],
                    "what an earlier server left to go")
    ready(served, name="other")


def gone(site):
    """Whether no job of the service is live any more: until then its name is taken."""
    jobs = site.call("GET", f"/v1/jobs?team={TEAM}&live=true")["items"]
    return not any(item["metadata"]["name"].startswith("digits-r") for item in jobs)


def test_a_drained_node_lets_requests_end_and_the_replica_moves(served):
    nodes = [{"name": "n1", "cpu": 4, "memory": "16Gi", "disk": "40Gi"},
             {"name": "n2", "cpu": 4, "memory": "16Gi", "disk": "40Gi"}]
    served.apply(pool(nodes=nodes), answering())
    node = ready(served)[0]["node"]
    said(served)
    load = Load(served, clients=2)
    served.call("POST", f"/v1/nodes/{node}/drain")
    served.wait_for(lambda: replicas(served)[0].get("node") not in (None, node), "another node")
    ready(served)
    load.over.set()
    for thread in load.threads:
        thread.join()
    # One replica only: while it moves nobody answers, but what was under way was answered in full.
    assert {found for found, _ in load.wrong} <= {503}, load.wrong[:3]


def gateway_status(site):
    connection = helper.UnixConnection(os.path.join(site.data, "gateway", "control.sock"), 5)
    connection.request("GET", "/status")
    return json.loads(connection.getresponse().read())


def test_a_preempted_replica_drains_and_comes_back(served):
    served.apply(answering(preemptible=True, priority=100, resources={"cpu": 3}))
    ready(served)
    said(served)
    urgent = served.submit(job("urgent", "true", priority=1000, resources={"cpu": 4}))
    served.wait_job(urgent, "succeeded")
    served.wait_for(lambda: replicas(served)[0]["restarts"] == 1, "the replica to come back")
    replica, = ready(served)
    assert replica.get("cause") is None
    assert said(served) == "one hello"


def test_the_gateway_serves_on_while_the_server_is_gone(served):
    served.apply(answering())
    before, = ready(served)
    said(served)
    load = Load(served, clients=1)
    served.kill9()
    count = len(load.answers)
    helper.wait_until(lambda: len(load.answers) > count + 5, 20, "answers without a server")
    served.start()
    after, = ready(served)
    assert (after["id"], after["restarts"]) == (before["id"], 0)
    load.end()


def test_a_new_gateway_gets_the_routes(served):
    served.apply(answering())
    ready(served)
    said(served)
    served.gateway.stop()
    served.gateway.start()
    assert said(served) == "one hello"


def test_a_stage_is_followed(served):
    set_stage(served, 1, "production")
    served.apply(answering(reference="digits@production"))
    ready(served)
    push(served)
    assert status(served)["version"] == 1
    set_stage(served, 2, "production")
    served.wait_for(lambda: status(served).get("version") == 2 and status(served)["state"] == "ready",
                    "version 2 to be served")
    said(served)
    served.wait_for(lambda: served.gateway.ask(token=served.token)[1]["model_version"] == "2",
                    "answers of version 2")


def test_the_newest_version_is_followed_as_soon_as_it_is_there(served):
    served.apply(answering())
    ready(served)
    said(served)
    load = Load(served, clients=1)
    push(served)
    served.wait_for(lambda: status(served).get("version") == 2 and status(served)["state"] == "ready",
                    "version 2 to be served")
    load.end()


def test_a_version_that_is_served_is_not_deleted(served):
    served.apply(answering(reference="digits:1"))
    ready(served)
    assert served.api("DELETE", f"/v1/models/{TEAM}:digits/versions/1").status == 409


def test_a_stage_that_nobody_holds_is_waited_for(served):
    served.apply(answering(reference="digits@staging"))
    served.wait_for(lambda: "refused" in status(served), "a reason")
    assert "digits@staging" in status(served)["refused"]
    explained = served.cli("explain", "service", f"{TEAM}/digits").stdout
    assert "Not made because: " in explained and "digits@staging" in explained
    assert status(served)["state"] == "waiting"
    set_stage(served, 1, "staging")
    assert ready(served)[0]["version"] == 1


def test_what_a_service_needs_has_to_be_there(served):
    def refused(made, found):
        answer = served.api("POST", "/v1/apply", {"objects": [made]})
        assert answer.status == found, answer
        return answer.json["detail"]
    assert "nosuch" in refused(answering(reference="nosuch"), 404)
    assert "nosuch" in refused(answering(runtime="nosuch"), 404)
    assert "version 9" in refused(answering(reference="digits:9"), 404)
    served.apply(answering())
    assert "route" in refused(answering("other", route="digits"), 409)
    answer = served.api("DELETE", f"/v1/models/{TEAM}:digits")
    assert answer.status == 409 and "digits" in answer.json["detail"]


def test_an_inference_token_is_good_for_its_service_only(served):
    served.apply(answering(), answering("other", mode="other"))
    ready(served)
    ready(served, name="other")
    body = {"user": "boss", "inference": True, "services": [f"{TEAM}/digits"]}
    token = served.call("POST", "/v1/tokens", body)["token"]
    assert served.api("GET", "/v1/services", token=token).status == 403
    said(served)
    served.wait_for(lambda: served.gateway.ask(token=token)[0] == 200, "the key to be known")
    assert served.gateway.ask(name="other", token=token)[0] in (403, 404)
    assert served.gateway.ask(token="mst_nosuch")[0] == 401


def test_a_token_for_a_service_by_name_needs_no_membership(served):
    """Given by an administrator, it is good for that service, and only within the token's teams."""
    served.apply(answering(), answering("other", mode="other"))
    ready(served)
    ready(served, name="other")

    def made(**more):
        body = {"user": "shop", "inference": True, "services": [f"{TEAM}/digits"], **more}
        return served.call("POST", "/v1/tokens", body)["token"]

    served.apply(team("elsewhere"))
    elsewhere, anybody = made(teams=["elsewhere"]), made()
    nameless = served.call("POST", "/v1/tokens", {"user": "shop", "inference": True})["token"]
    served.wait_for(lambda: served.gateway.ask(token=anybody)[0] == 200, "the key to be known")
    assert served.gateway.ask(name="other", token=anybody)[0] == 404
    assert served.gateway.ask(token=elsewhere)[0] == 404
    served.wait_for(lambda: served.gateway.ask(token=nameless)[0] == 404, "the key to be known")


def test_limits_of_services_teams_and_tokens_reach_the_gateway(served):
    def token(*options):
        made = served.cli("token", "create", "boss", "--inference", "--team", TEAM, *options)
        return made.stdout.strip()

    def statuses(count, key):
        served.wait_for(lambda: served.gateway.ask("warm", token=key)[0] in (200, 429),
                        "the key to be known")
        return [served.gateway.ask(token=key)[0] for _ in range(count)]

    served.apply(answering())
    ready(served)
    said(served)
    few = token("--limit", "requests=3/day", "--priority", "low")
    assert statuses(3, few) == [200, 200, 429]
    listed = served.call("GET", "/v1/tokens")["items"]
    assert {"limits": [{"what": "requests", "most": 3, "per": "day"}], "priority": "low"} in [
        item.get("serving") for item in listed]
    # A team's limit is for all keys made for it, and for those that are there already.
    members = [{"user": "boss", "role": "viewer"}]
    limits = [{"what": "requests", "most": 4, "per": "day"}]
    served.apply(team(members=members, serving={"limits": limits}))
    one, other = token(), token()
    assert statuses(2, one) == [200, 200]
    assert statuses(3, other) == [429] * 3
    served.apply(team(members=members, serving={}))
    # And a service's, of all together.
    served.apply(answering(gateway={"limits": {"all": [
        {"what": "requests", "most": 1, "per": "day"}]}}))
    served.wait_for(lambda: served.gateway.ask(token=served.token)[0] == 429, "the limit to hold")


@pytest.mark.parametrize("option, expected", [
    (["--limit", "requests"], "expected WHAT=MOST/PER"),
    (["--limit", "apples=3/day"], "what"),
    (["--limit", "requests=3"], "per"),
    (["--limit", "concurrency=3/day"], "per"),
    (["--limit", "requests=1.5/day"], "whole number"),
    (["--priority", "highest"], "--priority"),
])
def test_wrong_limits_of_tokens_are_refused(site, option, expected):
    made = site.cli("token", "create", "boss", "--inference", *option, ok=False)
    assert made.returncode != 0 and expected in made.stderr, made


def built(name):
    """A program of a runtime in the build tree."""
    return os.path.join(os.path.dirname(helper.BINARY), "runtimes", name)


def test_the_xgboost_runtime_serves_what_was_pushed(served, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    subprocess.run([built("train-xgboost"), str(folder / "model.ubj"), "3", "20"], check=True)
    served.apply(model("sums", runtime="xgboost"))
    served.cli("model", "push", f"{TEAM}/sums", str(folder))
    served.apply(service("sums", "sums", resources={"memory": "512Mi"}))
    ready(served, name="sums")
    rows = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3],
                        "data": [0.1, 0.2, 0.3]}]}
    connection = http.client.HTTPConnection("127.0.0.1", served.gateway.port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {served.token}"}

    def answered():
        connection.request("POST", "/v2/models/sums/infer", json.dumps(rows), headers)
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None
    served.wait_for(answered, "an answer of the model")
    assert abs(answered()["outputs"][0]["data"][0] - 0.6) < 0.3


def test_a_model_of_another_format_is_named_as_the_cause(served, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.ubj").write_bytes(b"this is no model")
    served.apply(model("sums", runtime="xgboost"))
    served.cli("model", "push", f"{TEAM}/sums", str(folder))
    served.apply(service("sums", "sums", resources={"memory": "512Mi"}))
    served.wait_for(lambda: status(served, "sums").get("state") == "failing", "a failure")
    assert "wrong-format" in status(served, "sums")["why"]
