"""What answers cost whom: the cost of the replicas shared out over those who asked them."""
import http.client
import json

import pytest

from manifests import TEAM, team
from test_serving_cost import D, TINY, answering, item_of, near, priced, ready, report, status  # noqa: F401


def asked(site, name="digits", token=None, labels=None, said="hello"):
    connection = http.client.HTTPConnection("127.0.0.1", site.gateway.port, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    if labels:
        headers["X-Muster-Labels"] = labels
    body = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": [said]}]}
    connection.request("POST", f"/v2/models/{name}/infer", json.dumps(body), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def answered(priced):  # noqa: F811
    """Two users of two teams have asked for two projects; the replica is gone, so costs stand."""
    priced.apply(team("speech", members=[{"user": "eve", "role": "viewer"}]),
                 answering(gateway={"access": "known", "labels": {"names": ["project"]},
                                    "cache": {"ttl": "1h"}}))
    priced.eve = priced.call("POST", "/v1/tokens", {"user": "eve"})["token"]
    ready(priced)
    priced.wait_for(lambda: asked(priced, token=priced.token, said="first") == 200,
                    "the gateway to have routes")
    for number in range(6):
        assert asked(priced, token=priced.token, labels="project=search", said=f"a{number}") == 200
    for number in range(4):
        assert asked(priced, token=priced.eve, labels="project=ads", said=f"b{number}") == 200
    assert asked(priced, token=priced.eve, labels="project=ads", said="b0") == 200
    priced.apply(answering(replicas=0, gateway={"access": "known"}))
    priced.wait_for(lambda: not status(priced).get("replicas"), "the replica to go")
    return priced


def rows(site, query):
    return {item["key"]: item for item in report(site, query)["items"]}


def test_the_parts_are_the_whole_whatever_they_are_told_apart_by(answered):
    whole = report(answered, "by=service")["total"]
    for by in ("key", "team", "label:project", "service", "model", "version", "label:nobody"):
        found = report(answered, f"answers=true&by={by}")
        assert found["by"] == by and found["answers"] is True
        assert near(found["total"]["cost"], whole["cost"]), by
        assert near(sum(D(item["cost"]) for item in found["items"]), whole["cost"], 10 * TINY), by
        for figure in ("requests", "succeeded", "cacheHits"):
            assert found["total"][figure] == whole[figure], (by, figure)


def test_costs_are_shared_by_the_time_that_requests_took(answered):
    projects = rows(answered, "answers=true&by=label:project")
    assert set(projects) == {"search", "ads", ""}
    assert projects["search"]["succeeded"] == 6 and projects["ads"]["succeeded"] == 5
    assert all(D(item["cost"]) > 0 for item in projects.values())
    ads = projects["ads"]
    assert near(ads["costPer1000Succeeded"], D(ads["cost"]) * 1000 / 5, D("0.001"))
    teams = rows(answered, "answers=true&by=team")
    assert teams["speech"]["requests"] == 5 and teams[TEAM]["requests"] == 7
    assert near(teams["speech"]["cost"], ads["cost"], 10 * TINY)
    assert len(rows(answered, "by=key")) == 2


def test_what_the_cache_saved_has_a_price(answered):
    ads = rows(answered, "answers=true&by=label:project")["ads"]
    search = rows(answered, "answers=true&by=label:project")["search"]
    assert (ads["cacheHits"], search["cacheHits"]) == (1, 0)
    assert near(ads["cacheHitShare"], D("0.2")) and ads["cacheSaved"] > 0 == search["cacheSaved"]
    assert ads["modelMeanMs"] > 0 and ads["queueMeanMs"] >= 0
    version = item_of(answered, f"{TEAM}/digits:1", "by=version")
    assert version["cacheHits"] == 1, "what is given again is of the version that had answered"


def test_the_command_line_shows_them(answered):
    lines = answered.cli("cost", "--answers", "--by", "label:project").stdout.splitlines()
    assert lines[0].split()[:4] == ["NAME", "COST", "REQUESTS", "SUCCEEDED"]
    assert {line.split()[0] for line in lines[1:]} >= {"ads", "search", "total"}
    assert "PER-1000-OK" in lines[0]
    by_key = json.loads(answered.cli("cost", "--by", "key", "-o", "json").stdout)
    assert by_key["answers"] is True
    wrong = answered.api("GET", "/v1/cost?answers=true&by=pool")
    assert wrong.status == 422 and "label:NAME" in wrong.json["detail"]
    assert answered.api("GET", "/v1/cost?answers=perhaps").status == 422


def test_the_servers_metrics_have_the_gateways(answered):
    text = answered.api("GET", "/metrics").text
    assert "muster_uptime_seconds" in text
    assert 'muster_gateway_request_seconds_bucket{service="vision/digits"' in text
    answered.gateway.stop()
    text = answered.api("GET", "/metrics").text
    assert "muster_uptime_seconds" in text and "muster_gateway_request" not in text
