"""Rollouts with the real daemon and the real gateway: a new revision is tried beside a fresh baseline,
and what clients got decides."""
import http.client
import json

import pytest

import test_services
from manifests import TEAM
from planner import Planner, figure
from test_services import Load, answering, ready, replicas, said, served, status  # noqa: F401

# As the services' tiny runtime, and what a bad version does.
RUNTIME = test_services.RUNTIME.replace('        if said == "sick"', '''        if mode == "failing": return self.reply({"error": "no"}, 500)
        if mode == "dropping":
            self.close_connection = True
            return
        if mode == "late": time.sleep(0.05)
        if said == "sick"''')


def trying(mode="one", strategy="canary", steps=({"weight": 50},), requests=60, gateway=None, env=None,
           **rollout):
    """A service whose rollouts are short."""
    command = ["/usr/bin/python3", "-c", RUNTIME.replace("{", "{{"), mode]
    margins = {"errors": 0.2, "latency": 0.5}
    return answering(command=command, replicas=2, gateway=gateway or {}, env=env or {}, rollout={
        "strategy": strategy, "steps": list(steps), "requests": requests, "margins": margins,
        "guard": {"errors": 1}, **rollout})


def rollout(site):
    return json.loads(site.cli("rollout", "status", f"{TEAM}/digits", "-o", "json").stdout)


def state(site):
    return rollout(site)["state"]


def arms(site):
    return {arm["arm"]: arm for arm in rollout(site)["arms"]}


@pytest.fixture
def stable(served):
    """A service whose first revision is ready, and clients that ask it."""
    served.apply(trying())
    ready(served, 2)
    assert state(served) == "idle"
    said(served)
    return served


class Clients(Load):
    """Those that take errors as they come, too."""

    def end(self, fine=True):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert not fine or not self.wrong, self.wrong[:5]
        return self.answers


@pytest.fixture
def clients(stable):
    load = Clients(stable)
    yield load
    load.end(fine=False)


def decisions(site):
    """What the audit has of rollouts, oldest first."""
    return [(entry["action"], (entry.get("detail") or {}).get("because")) for entry in site.audit()
            if entry["action"].startswith("rollout-")]


def test_a_good_canary_is_promoted_and_no_request_is_lost(stable, clients):
    stable.apply(trying("two"))
    stable.wait_for(lambda: state(stable) == "testing", "the test to begin")
    found = arms(stable)
    assert (found["main"]["revision"], found["baseline"]["revision"], found["canary"]["revision"]) == (1, 1, 2)
    stable.wait_for(lambda: state(stable) == "promoted", "the promotion", timeout_s=120)
    stable.wait_for(lambda: {r["revision"] for r in ready(stable, 2)} == {2}, "new replicas")
    answers = clients.end()
    assert {"one hello", "two hello"} == set(answers)
    assert said(stable) == "two hello"
    assert arms(stable)["canary"]["requests"] >= 60
    assert decisions(stable) == [("rollout-begin", None), ("rollout-step", None), ("rollout-promote", "passed")]


def test_a_planner_follows_it(stable, clients):
    planner = Planner(stable).start()
    try:
        planner.ready()
        begun = figure(stable, "snapshots_total")
        stable.apply(trying("two"))
        stable.wait_for(lambda: state(stable) == "promoted", "the promotion", timeout_s=120)
        assert planner.process.poll() is None
        assert figure(stable, "snapshots_total") == begun  # it has not had to begin again
    finally:
        planner.teardown()


@pytest.mark.parametrize("mode, because", [("failing", "errors"), ("dropping", "errors"), ("late", "latency")])
def test_a_bad_canary_is_taken_back(stable, clients, mode, because):
    stable.apply(trying(mode, requests=100000, gateway={"routing": {"retryPercent": 100}}))
    stable.wait_for(lambda: state(stable) == "aborted", "the abort", timeout_s=120)
    stable.wait_for(lambda: len(replicas(stable)) == 2, "its arms to go")
    count = len(clients.answers)
    stable.wait_for(lambda: len(clients.answers) > count + 20, "more answers")
    # What a canary drops is asked of another; what it answers is its answer.
    answers = clients.end(fine=mode != "failing")
    assert set(answers[-20:]) == {"one hello"}
    assert rollout(stable)["because"] == because
    assert {r["revision"] for r in replicas(stable)} == {1}
    assert decisions(stable)[-1] == ("rollout-abort", because)
    assert "aborted" in stable.cli("describe", "service", f"{TEAM}/digits").stdout


def test_the_guard_aborts_before_any_test_can(stable, clients):
    stable.apply(trying("failing", requests=100000, alpha="0.000001", guard={"errors": 0.5, "requests": 5}))
    stable.wait_for(lambda: state(stable) == "aborted", "the abort", timeout_s=120)
    assert rollout(stable)["because"] == "guard-errors"
    clients.end(fine=False)


def test_no_data_is_never_a_pass(stable):
    """Nobody asks: out of patience it stands still, and somebody has to decide."""
    stable.apply(trying("two", patience="3s"))
    stable.wait_for(lambda: state(stable) == "paused", "the end of patience")
    found = rollout(stable)
    assert found["because"] == "patience" and found["arms"][2]["requests"] == 0
    assert said(stable) in ("one hello", "two hello")
    stable.cli("rollout", "promote", f"{TEAM}/digits")
    stable.wait_for(lambda: {r["revision"] for r in ready(stable, 2)} == {2}, "new replicas")
    assert decisions(stable)[-2:] == [("rollout-pause", "patience"), ("rollout-promote", "command")]


def test_it_is_paused_and_goes_on_over_a_killed_server(stable, clients):
    stable.apply(trying("two", requests=200))
    stable.wait_for(lambda: state(stable) == "testing", "the test to begin")
    stable.cli("rollout", "pause", f"{TEAM}/digits")
    stable.wait_for(lambda: arms(stable)["canary"]["requests"] >= 200, "enough requests", timeout_s=120)
    before = arms(stable)
    stable.kill9()
    stable.start()
    assert state(stable) == "paused"
    after = arms(stable)
    assert all(after[arm]["requests"] >= before[arm]["requests"] for arm in ("baseline", "canary"))
    refused = stable.cli("rollout", "pause", f"{TEAM}/digits", ok=False)
    assert "paused already" in refused.stderr
    stable.cli("rollout", "resume", f"{TEAM}/digits")
    stable.wait_for(lambda: state(stable) == "promoted", "the promotion", timeout_s=120)
    assert {"one hello", "two hello"} == set(clients.end())


def test_what_is_seen_is_what_clients_got(stable):
    """Over a kill of the gateway and of the server no request is lost or counted twice."""
    stable.apply(trying("two", requests=100000))
    stable.wait_for(lambda: state(stable) == "testing", "the test to begin")
    answers = []

    def both():
        answers.append(said(stable))
        return set(answers) == {"one hello", "two hello"}
    stable.wait_for(both, "the split")
    answers += [said(stable) for _ in range(60)]
    stable.kill9()
    stable.gateway.stop()
    stable.start()
    stable.gateway.start()
    count = answers.count("two hello")
    assert 10 < count < 55
    stable.wait_for(lambda: arms(stable)["canary"]["requests"] == count, "all that were counted")
    with open(f"{stable.data}/gateway/access.log", encoding="utf-8") as log:
        assert {json.loads(line).get("arm") for line in log} == {None, "baseline", "canary"}


def test_abort_needs_a_member(stable):
    stable.apply(trying("two"))
    stable.wait_for(lambda: state(stable) == "testing", "the test to begin")
    viewer = stable.call("POST", "/v1/tokens", {"user": "boss"})["token"]
    path = f"/v1/services/{TEAM}:digits/rollout"
    assert stable.api("GET", path, token=viewer).status == 200
    assert stable.api("POST", f"{path}/abort", token=viewer).status == 403
    stable.cli("rollout", "abort", f"{TEAM}/digits")
    stable.wait_for(lambda: len(replicas(stable)) == 2, "its arms to go")
    again = stable.cli("rollout", "abort", f"{TEAM}/digits", ok=False)
    assert "aborted" in again.stderr


def test_green_takes_over_when_all_of_it_is_ready(stable, clients):
    stable.apply(trying("two", strategy="blue-green"))
    stable.wait_for(lambda: state(stable) == "promoted", "the promotion", timeout_s=120)
    stable.wait_for(lambda: {r["revision"] for r in ready(stable, 2)} == {2}, "new replicas")
    assert {"one hello", "two hello"} == set(clients.end())


@pytest.mark.parametrize("strategy, share", [
    ("blue-green", "1 of 1, all of the requests once all of its replicas are ready\n"),
    ("shadow", "1 of 1, copies of 50% of the requests\n"), ("canary", "1 of 1, 50% of the requests\n")])
def test_a_step_says_what_the_new_revision_gets(stable, strategy, share):
    stable.apply(trying("two", strategy=strategy, requests=100000))
    stable.wait_for(lambda: state(stable) == "testing", "the rollout")
    assert "Step:     " + share in stable.cli("rollout", "status", f"{TEAM}/digits").stdout


def test_copies_are_compared_and_their_answers_reach_nobody(stable, clients):
    """The same answers: promoted by them; others: taken back, and no client ever saw one."""
    margins = {"differences": 0.2}
    stable.apply(trying(strategy="shadow", env={"A": "1"}, margins=margins))
    stable.wait_for(lambda: state(stable) == "promoted", "the promotion", timeout_s=120)
    canary = arms(stable)["canary"]
    assert canary["compared"] >= 60 and canary["differing"] == 0 and canary["requests"] == 0
    stable.wait_for(lambda: {r["revision"] for r in ready(stable, 2)} == {2}, "new replicas")
    stable.apply(trying("two", strategy="shadow", env={"A": "1"}, margins=margins, requests=100000))
    stable.wait_for(lambda: state(stable) == "aborted", "the abort", timeout_s=120)
    canary = arms(stable)["canary"]
    assert rollout(stable)["because"] == "differences" and canary["differing"] == canary["compared"] > 0
    assert set(clients.end()) == {"one hello"}


def ask_and_score(site, request_id, scores):
    """Asks once, and posts the score of what was answered; returns the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", site.gateway.port, timeout=30)
    headers = {"Authorization": f"Bearer {site.token}", "X-Request-ID": request_id}
    body = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["hello"]}]}
    connection.request("POST", "/v2/models/digits/infer", json.dumps(body), headers)
    answer = json.loads(connection.getresponse().read())["outputs"][0]["data"][0]
    score = {"request_id": request_id, "score": scores[answer]}
    connection.request("POST", "/v1/feedback", json.dumps(score), headers)
    found = connection.getresponse()
    assert found.status == 202, found.read()
    found.read()
    connection.close()
    return answer


def test_scores_of_clients_decide(stable):
    margins = {"errors": 0.2, "latency": 0.5, "quality": 0.1}
    stable.apply(trying("two", requests=100000, margins=margins))
    stable.wait_for(lambda: state(stable) == "testing", "the test to begin")
    asked = []

    def aborted():
        asked.append(ask_and_score(stable, f"r{len(asked)}", {"one hello": 0.9, "two hello": 0.4}))
        return len(asked) % 20 == 0 and state(stable) == "aborted"
    stable.wait_for(aborted, "the abort", timeout_s=120)
    assert rollout(stable)["because"] == "quality"
    scored = arms(stable)
    assert scored["canary"]["scoreMean"] == 0.4 and scored["baseline"]["scoreMean"] == 0.9
    assert scored["canary"]["scores"] <= asked.count("two hello")


def test_wrong_scores_are_refused(stable):
    bodies = ["", "[]", "{}", '{"request_id": "x"}', '{"request_id": "x", "score": 1.01}',
              '{"request_id": "x", "score": "1"}', '{"request_id": "", "score": 1}',
              '{"request_id": "x", "score": 1' + " " * 5000 + "}"]
    connection = http.client.HTTPConnection("127.0.0.1", stable.gateway.port, timeout=30)
    for body in bodies:
        for token, status_of in (("wrong", 401), (stable.token, 413 if len(body) > 4096 else 400)):
            connection.request("POST", "/v1/feedback", body, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            assert answer.status == status_of and answer.read()
