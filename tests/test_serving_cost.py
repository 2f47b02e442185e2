"""What answers cost: usage is counted once whoever is killed, and every figure is worked out again here
from the answers that were given and from what the server says each job cost."""
import decimal
import json
import os
import random
import sqlite3

import pytest

import manifests
from manifests import TEAM, job, model, pool, team
from test_cost import TINY
from test_registry import collected, fill, push
from test_services import Gateway, ready, said, status
import test_services

D = decimal.Decimal
PRICES = {"currency": "EUR", "cpu": 3600, "memoryGiB": 7200}


def report(site, query):
    return json.loads(site.api("GET", f"/v1/cost?{query}").text, parse_float=D)


def item_of(site, key, query="by=service"):
    found = report(site, query)
    return next((item for item in found["items"] if item["key"] == key), None)


def near(amount, wanted, by=TINY):
    return abs(D(amount) - D(wanted)) <= by


def answering(name="digits", reference="digits:1", **spec):
    return test_services.answering(name, reference=reference, **spec)


def push_version(site, folder, content):
    push(site, fill(folder, {"weights": content}), f"{TEAM}/digits", "model")


@pytest.fixture
def priced(site, tmp_path):
    """A site with prices, a model of one version, and a gateway."""
    site.apply(pool(prices=PRICES), model("digits", runtime="command"),
               team(members=[{"user": "boss", "role": "viewer"}]))
    push_version(site, tmp_path / "one", b"1")
    site.token = site.call("POST", "/v1/tokens", {"user": "boss"})["token"]
    site.gateway = Gateway(site)
    yield site
    site.gateway.stop()


def counted(site, at_least, key=f"{TEAM}/digits"):
    """The service's figures once all that clients have in full is counted."""
    return site.wait_for(
        lambda: (found := item_of(site, key)) and found["requests"] >= at_least and found,
        f"{at_least} requests to be counted")


def by_job(site):
    return {item["key"]: item for item in report(site, "by=job")["items"]}


def test_requests_are_counted_once_through_kills_of_the_gateway_and_of_the_server(priced):
    priced.apply(answering())
    ready(priced)
    said(priced)
    before = counted(priced, 1)["requests"]
    choose, asked = random.Random(1), 0
    for _ in range(12):
        for _ in range(choose.randrange(1, 12)):
            assert priced.gateway.ask(token=priced.token)[0] == 200
            asked += 1
        who = choose.randrange(3)
        if who in (0, 2):
            priced.gateway.stop()
        if who in (1, 2):
            priced.kill9()
            priced.start()
        if who in (0, 2):
            priced.gateway.start()
    found = counted(priced, before + asked)
    assert (found["requests"], found["succeeded"]) == (before + asked,) * 2
    # Files of gateways that are gone go once they are stored, and only theirs.
    folder = os.path.join(priced.data, "gateway", "usage")
    priced.wait_for(lambda: len(os.listdir(folder)) == 1, "the dead gateways' files to go")
    assert counted(priced, before + asked)["requests"] == before + asked


def test_prices_are_costs_by_answers(priced):
    priced.apply(answering(replicas=2))
    replicas = {replica["id"] for replica in ready(priced, 2)}
    said(priced)
    for number in range(9):
        priced.gateway.ask(f"n{number}", token=priced.token)
    assert priced.gateway.ask("n", name="digits", token="wrong")[0] == 401
    counted(priced, 10)
    priced.apply(answering(replicas=0))
    priced.wait_for(lambda: not status(priced).get("replicas"), "the replicas to go")
    jobs, found = by_job(priced), report(priced, "by=service")
    item, = found["items"]
    cost = sum(D(jobs[replica]["cost"]) for replica in replicas)
    assert near(item["cost"], cost) and cost > 0
    assert near(found["total"]["cost"], cost)
    assert item["succeeded"] == 10 and item["replicas"] == 2
    assert near(item["costPer1000"], D(item["cost"]) * 1000 / item["answered"], D("0.001"))
    assert near(item["costPerSuccess"], D(item["cost"]) / 10)
    assert item["outputTokens"] == 0 and item["costPerOutputToken"] is None
    assert item["answered"] == item["requests"] - item["cancelled"]


def test_a_variant_stands_beside_its_parent_with_latency_and_price(priced, tmp_path):
    """Latency as the gateway counted it, the price as `muster cost --by version` says."""
    push(priced, fill(tmp_path / "small", {"weights": b"s"}), f"{TEAM}/digits", "model", "--parent",
         f"{TEAM}/digits:1", "--relation", "quantized")
    priced.apply(answering())
    ready(priced)
    said(priced)
    for number in range(20):
        assert priced.gateway.ask(f"n{number}", token=priced.token)[0] == 200
    counted(priced, 21)
    whole, small = json.loads(priced.api(
        "GET", f"/v1/models/{TEAM}:digits/versions/2/variants").text, parse_float=D)["items"]
    assert whole["version"] == 1 and small["parent"]["relation"] == "quantized"
    assert small["serving"] is None, "nobody serves it"
    serving = whole["serving"]
    assert serving["requests"] >= 21 and serving["costPer1000"] > 0
    assert 0 < serving["latencyMedianMsAtMost"] <= serving["latencyP95MsAtMost"]
    assert serving["latencyMeanMs"] > 0
    priced_alone = item_of(priced, f"{TEAM}/digits:1", "by=version")
    assert priced_alone["latencyP95MsAtMost"] >= serving["latencyMedianMsAtMost"]
    table = priced.cli("model", "variants", f"{TEAM}/digits:2").stdout.splitlines()
    assert "PER-1000" in table[0] and "P95-MS<=" in table[0]
    assert " 21" in table[1] or str(serving["requests"]) in table[1]


def test_both_models_of_a_cascade_are_priced(priced):
    """What the small one is sure of costs its replica alone; else both were asked, and both are counted."""
    sure = test_services.RUNTIME.replace('"outputs": [', """"outputs": [
            {"name": "sure", "datatype": "FP32", "shape": [1], "data": [0.9 if said == "easy" else 0.1]},""")
    assert sure != test_services.RUNTIME
    small = answering("small", command=["/usr/bin/python3", "-c", sure.replace("{", "{{"), "small"])
    cascade = {"first": "small", "confidence": "output", "name": "sure", "threshold": 0.8}
    priced.apply(small, answering("large", mode="large", gateway={"cascade": cascade}))
    ready(priced, name="small")
    ready(priced, name="large")

    def ask(text):
        status, answer = priced.gateway.ask(text, name="large", token=priced.token)
        return answer["outputs"][-1]["data"][0] if status == 200 else None

    priced.wait_for(lambda: ask("easy") == "small easy" and ask("hard") == "large hard", "both to answer")
    before = {name: (item_of(priced, f"{TEAM}/{name}") or {"requests": 0})["requests"] for name in ("small", "large")}
    assert [ask("easy") for _ in range(6)] == ["small easy"] * 6
    assert [ask("hard") for _ in range(3)] == ["large hard"] * 3
    found = {"small": counted(priced, before["small"] + 9, f"{TEAM}/small"),
             "large": counted(priced, before["large"] + 3, f"{TEAM}/large")}
    assert found["small"]["requests"] > found["large"]["requests"] >= 3
    for item in found.values():
        assert item["cost"] > 0 and item["costPer1000"] > 0
    table = priced.cli("cost", "--by", "service").stdout
    assert f"{TEAM}/small" in table and f"{TEAM}/large" in table


def test_services_models_and_versions_add_up_to_the_jobs(priced, tmp_path):
    push_version(priced, tmp_path / "two", b"2")
    priced.apply(answering(), answering("next", reference="digits:2"),
                 service_without_requests())
    ready(priced), ready(priced, name="next"), ready(priced, name="quiet")
    said(priced), said(priced, name="next")
    other = priced.run(job("other", "true"))["status"]["id"]
    for name in ("digits", "next", "quiet"):
        priced.apply(scaled_down(name))
    priced.wait_for(lambda: not any(status(priced, name).get("replicas")
                                    for name in ("digits", "next", "quiet")), "all replicas to go")
    jobs = by_job(priced)
    serving = sum(D(item["cost"]) for key, item in jobs.items() if key != other)
    for by, keys in (("service", {"vision/digits", "vision/next", "vision/quiet"}),
                     ("version", {"vision/digits:1", "vision/digits:2"}),
                     ("model", {"vision/digits"})):
        found = report(priced, f"by={by}")
        assert {item["key"] for item in found["items"]} - {""} == keys
        assert near(found["total"]["cost"], serving, 10 * TINY), (by, found)
        assert near(sum(D(item["cost"]) for item in found["items"]), serving, 10 * TINY)
    quiet = item_of(priced, "vision/quiet")
    assert quiet["requests"] == 0 and quiet["costPer1000"] is None
    assert [one["id"] for one in quiet["idleReplicas"]] == [
        key for key, one in jobs.items() if one["name"].startswith("quiet")]
    assert quiet["idleShareAtLeast"] == 1
    assert item_of(priced, "vision/digits")["idleReplicas"] == []
    # Narrowed: by service, by version, and any other report for the replicas of one.
    only = report(priced, "service=vision/next")
    assert [item["key"] for item in only["items"]] == ["vision/next"]
    assert [item["key"] for item in report(priced, "model=digits:2")["items"]] == ["vision/digits:2"]
    of_next = report(priced, "by=job&service=next")
    assert near(of_next["total"]["cost"], only["total"]["cost"])
    # What is forgotten stays in the report.
    before = report(priced, "by=version")["items"]
    for key in jobs:
        priced.call("DELETE", f"/v1/jobs/{key}")
    priced.call("DELETE", "/v1/services/vision:next")
    after = report(priced, "by=version")["items"]
    assert {item["key"]: item["cost"] for item in after} == {
        item["key"]: item["cost"] for item in before}
    assert item_of(priced, "vision/next")["requests"] >= 1
    priced.restart()
    assert item_of(priced, "vision/next")["cost"] == only["items"][0]["cost"]


def service_without_requests():
    return answering("quiet")


def scaled_down(name):
    return answering(name, reference="digits:2" if name == "next" else "digits:1", replicas=0)


def note_evaluation(site, number, job_id):
    """Notes in a version's document that a job measured it: the server is stopped meanwhile."""
    where = ("model-version", f"{TEAM}/digits/{number:08d}")
    with sqlite3.connect(os.path.join(site.data, "muster.db")) as store:
        found, = store.execute("SELECT json FROM document WHERE collection = ? AND key = ?",
                               where).fetchone()
        document = {**json.loads(found), "evaluations": [{"promotion": "p1", "job": job_id}]}
        store.execute("UPDATE document SET json = ? WHERE collection = ? AND key = ?",
                      (json.dumps(document), *where))


def test_training_stands_beside_serving(priced):
    trained = priced.submit(job("train", 'sleep 0.3; echo 2 > "$MUSTER_OUTPUT_OUT/w"',
                                outputs=[{"name": "out", "model": "digits"}]))
    measured = priced.run(job("measure", "sleep 0.2"))["status"]["id"]
    priced.wait_job(trained, "succeeded")
    assert collected(priced, trained)["outputs"][0]["version"] == 2
    priced.stop()
    note_evaluation(priced, 2, measured)
    priced.start()
    priced.apply(answering(reference="digits:2"))
    ready(priced)
    said(priced)
    priced.apply(answering(reference="digits:2", replicas=0))
    priced.wait_for(lambda: not status(priced).get("replicas"), "the replica to go")
    jobs = by_job(priced)
    item = item_of(priced, "vision/digits:2", "by=version")
    assert near(item["training"], jobs[trained]["cost"]) and item["training"] > 0
    assert near(item["evaluation"], jobs[measured]["cost"])
    assert near(item["servingToDate"], item["cost"])
    made = D(item["training"]) + D(item["evaluation"])
    assert near(item["servingShare"], item["cost"] / (item["cost"] + made), D("0.00001"))
    later = item_of(priced, "vision/digits:2", f"by=version&from={manifests.moment(7200)}")
    assert later["cost"] == 0 and near(later["servingToDate"], item["cost"])
    assert near(later["training"], item["training"])


def test_only_teams_that_one_may_see_are_counted(priced):
    priced.apply(answering(), team("speech", members=[{"user": "eve", "role": "viewer"}]))
    ready(priced)
    said(priced)
    counted(priced, 1)
    eve = priced.call("POST", "/v1/tokens", {"user": "eve"})["token"]
    for by in ("service", "model", "version"):
        hidden = priced.call("GET", f"/v1/cost?by={by}", token=eve)
        assert hidden["items"] == [] and hidden["total"]["requests"] == 0
        seen = priced.call("GET", f"/v1/cost?by={by}", token=priced.token)
        assert seen["total"]["requests"] >= 1
    refused = priced.api("GET", "/v1/cost?by=service&team=vision", token=eve)
    assert refused.status in (403, 404)
    wrong = priced.api("GET", "/v1/cost?model=digits@production")
    assert wrong.status == 422 and "stage" in wrong.json["detail"]


def test_the_command_line_says_dash_where_nothing_was_answered(priced):
    priced.apply(service_without_requests())
    ready(priced, name="quiet")
    lines = priced.cli("cost", "--by", "service").stdout.splitlines()
    row = dict(zip(lines[0].split(), lines[1].split()))
    assert row["NAME"] == "vision/quiet" and row["IDLE"] == "1"
    assert row["PER-1000"] == "-" and row["PER-SUCCESS"] == "-" and row["REQUESTS"] == "0"
    assert lines[-1].startswith("total EUR")
    only = json.loads(priced.cli("cost", "--service", "vision/quiet", "-o", "json").stdout)
    assert only["by"] == "service" and only["items"][0]["costPer1000"] is None
    assert json.loads(priced.cli("cost", "--model", "digits:1", "-o", "json").stdout)["by"] == "version"
