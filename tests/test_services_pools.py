"""A service that comes to a priced pool for leases, within its budget, and goes home."""
import json

from manifests import TEAM, WAITING, job, pool
from test_services import answering, ready, served, status  # noqa: F401 (a fixture)

HOME_S = 180  # whether there is room at home is looked at once a minute


def details(site, action):
    return [json.loads(event["detail"]) if isinstance(event["detail"], str) else event["detail"]
            for event in site.audit() if event["action"] == action]


def places(site):
    """How many replicas are in each pool."""
    found = {}
    for replica in status(site).get("replicas", []):
        node = replica.get("node")
        if node:
            name = node.split("/")[0]
            found[name] = found.get(name, 0) + 1
    return found


def test_a_service_bursts_within_its_budget_and_comes_home(served):  # noqa: F811
    """Half a CPU for an hour is 0.5 and a little: the budget has one such lease and no second."""
    served.apply(pool("cloud", [{"name": "c1", "cpu": 4, "memory": "16Gi", "disk": "40Gi"}],
                      prices={"cpu": 1}, burst={"after": "0s", "budget": 0.9}))
    served.submit(job("fills", WAITING, resources={"cpu": 3.5}))
    served.wait_job(f"{TEAM}:fills", "running")
    served.apply(answering(replicas=3))
    served.wait_for(lambda: details(served, "burst-refused"), "a refusal")
    burst, = details(served, "burst")
    assert (burst["pool"], burst["currency"]) == ("cloud", "EUR")
    assert 0.5 < float(burst["costMost"]) < 0.51
    refused = details(served, "burst-refused")[-1]
    assert (refused["pool"], refused["because"]) == ("cloud", "over-budget")
    served.wait_for(lambda: status(served).get("ready") == 2, "two ready replicas")
    assert places(served) == {"site": 1, "cloud": 1}
    words = " ".join(served.call("GET", f"/v1/jobs/{refused['id']}/explain")["words"])
    assert "cloud may not take it: what it may cost at most is beyond its budget" in words
    assert "left of its budget: 0.399" in words
    # Room at home: for the one that waits at once, for the other when it is looked for.
    served.call("POST", f"/v1/jobs/{TEAM}:fills/cancel")
    ready(served, 3)
    served.wait_for(lambda: details(served, "burst-recall"), "a recall", HOME_S)
    served.wait_for(lambda: places(served) == {"site": 3}, "all at home")
    assert len(ready(served, 3)) == 3
    assert len(details(served, "burst-recall")) == 1 and len(details(served, "burst")) == 1
