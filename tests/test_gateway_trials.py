"""Tests of a service beside its users' requests: what they answer, who may, and that nothing else counts
them."""
import json
import subprocess

from manifests import TEAM, manifest, team
from test_services import answering, gateway_status, push, ready, replicas, said, served, status  # noqa: F401
import muster as helper


def body(text="hello"):
    return json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": [text]}]})


def opened(site, fields=None, token=None, name="digits"):
    answer = site.api("POST", f"/v1/services/{TEAM}:{name}/tests", fields or {}, token=token)
    return answer


def asked(site, test, text=None, token=None, **fields):
    request = {"path": "/v2/models/digits/infer", "text": body() if text is None else text, **fields}
    return site.api("POST", f"/v1/services/{TEAM}:digits/tests/{test}", request, token=token)


def test_cli(site, tmp_path, *words, text="hello"):
    request = tmp_path / "one.json"
    request.write_text(body(text))
    return subprocess.run([helper.BINARY, "test", f"{TEAM}/digits", "--request", request, *words],
                          env=site.environment, capture_output=True, text=True, timeout=60)


test_cli.__test__ = False


def test_a_replica_is_asked_and_nobody_counts_it(served, tmp_path):  # noqa: F811
    served.apply(answering(gateway={"limits": {"key": [{"what": "requests", "most": 3, "per": "hour"}]}}))
    replica, = ready(served)
    said(served)
    before = gateway_status(served)
    for _ in range(5):
        found = test_cli(served, tmp_path)
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)["outputs"][0]["data"] == ["one hello"]
        assert replica["name"] in found.stderr and "version 1: status 200" in found.stderr
    after = gateway_status(served)
    assert [e["requests"] for e in after["endpoints"]] == [e["requests"] for e in before["endpoints"]]
    assert after["requests"] == before["requests"] and after["cacheMisses"] == before["cacheMisses"]
    assert served.gateway.ask(token=served.token)[0] == 200
    metrics = served.api("GET", "/metrics").text
    assert "\nmuster_trial_requests_total 5\n" in metrics


def test_what_came_is_said_in_full(served, tmp_path):  # noqa: F811
    served.apply(answering())
    replica, = ready(served)
    found = json.loads(test_cli(served, tmp_path, "-o", "json").stdout)
    assert (found["replica"], found["version"], found["ready"], found["status"]) == (
        replica["name"], 1, True, 200)
    assert found["fields"]["Content-Type"] == "application/json"
    assert 0 < found["firstUs"] <= found["totalUs"] and not found["cut"]
    assert json.loads(found["text"])["model_version"] == "1"
    died = test_cli(served, tmp_path, "-o", "json", text="die")
    assert died.returncode == 1 and json.loads(died.stdout)["failure"]


def test_a_version_and_a_replica_are_chosen(served):  # noqa: F811
    served.apply(answering(replicas=2, reference="digits:1"))
    names = {replica["name"] for replica in ready(served, 2)}
    for name in names:
        test = opened(served, {"replica": name, "version": 1}).json["test"]
        assert {asked(served, test).json["replica"] for _ in range(3)} == {name}
    turns = opened(served).json["test"]
    assert {asked(served, turns).json["replica"] for _ in range(4)} == names
    for fields, status_found, words in (({"version": 2}, 404, "version 2"),
                                        ({"replica": "nosuch"}, 404, "nosuch"),
                                        ({"version": "x"}, 422, "version"),
                                        ({"note": "n" * 300}, 422, "note")):
        answer = opened(served, fields)
        assert (answer.status, words in answer.json["detail"]) == (status_found, True), answer


def test_a_replica_that_its_checks_took_out_is_asked_when_that_is_said(served):  # noqa: F811
    served.apply(answering(liveness={"path": "/", "period": "10s"},
                           readiness={"path": "/sick", "period": "100ms", "failures": 1}))
    ready(served)
    test = opened(served).json["test"]
    assert asked(served, test, body("sick")).status == 200
    served.wait_for(lambda: replicas(served)[0]["state"] == "unready", "the check to fail")
    refused = asked(served, test)
    assert refused.status == 503 and "ready" in refused.json["detail"]
    found = asked(served, opened(served, {"unready": True}).json["test"]).json
    assert (found["status"], found["ready"]) == (200, False)


def test_it_takes_a_right_of_its_own_and_is_audited(served):  # noqa: F811
    served.apply(answering())
    ready(served)
    served.apply(team(members=[{"user": "boss", "role": "viewer"}, {"user": "ann", "role": "member"},
                               {"user": "bob", "role": "member"}]),
                 manifest("Team", "root", {"members": [{"user": "root-boss", "role": "admin"}]}))
    tokens = {user: served.call("POST", "/v1/tokens", {"user": user})["token"]
              for user in ("boss", "ann", "bob")}
    assert opened(served, token=tokens["boss"]).status == 403
    test = opened(served, {"version": 1, "note": "complaint 17"}, tokens["ann"]).json["test"]
    assert asked(served, test, token=tokens["ann"]).status == 200
    assert asked(served, test, token=tokens["bob"]).status == 404
    assert asked(served, "0" * 32, token=tokens["ann"]).status == 404
    events = [event for event in served.call("GET", "/v1/audit?limit=1000")["items"]
              if event["action"] == "service-test"]
    assert [(event["actor"], event["name"], event["detail"]) for event in events] == [
        ("ann", "digits", {"version": 1, "note": "complaint 17"})]


def test_what_is_no_request_is_refused(served):  # noqa: F811
    served.apply(answering())
    ready(served)
    test = opened(served).json["test"]
    for fields, word in (({"path": "infer"}, "path"), ({"method": "DELETE"}, "method"),
                         ({"fields": {"Authorization": "x"}}, "Authorization"),
                         ({"fields": {"Connection": "x"}}, "Connection"),
                         ({"fields": {"X": 1}}, "fields.X"), ({"base64": "AA=="}, "text or as base64"),
                         ({"timeout": "1h"}, "timeout"), ({"timeout": "soon"}, "timeout")):
        answer = asked(served, test, **fields)
        assert answer.status == 422 and word in answer.json["detail"], (fields, answer)
    for fields in ({"path": "/x\r\nHost: y"}, {"fields": {"X": "a\r\nb: c"}}, {"fields": {"X y": "a"}}):
        answer = asked(served, test, **fields)
        assert answer.status == 200 and answer.json["failure"], (fields, answer)
    slow = asked(served, test, body("slow"), timeout="100ms")
    assert slow.status == 200 and "time" in slow.json["failure"]
