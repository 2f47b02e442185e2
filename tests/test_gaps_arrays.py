"""Arrays as a whole, and what stays of jobs that were forgotten."""
import pytest

import manifests

ECHO = "echo $MUSTER_ARRAY_INDEX of $MUSTER_ARRAY_COUNT"


def array(name, command, count, **spec):
    return manifests.job(name, command, array={"count": count}, **spec)


def test_an_element_knows_its_index_and_how_many_there_are(site):
    site.submit(array("sweep", ECHO, 3))
    for index in range(3):
        site.wait_ended(f"vision:sweep[{index}]")
        assert site.logs(f"vision:sweep[{index}]").strip() == f"{index} of 3"


def test_an_array_is_seen_as_one(site):
    site.submit(array("sweep", "exit $MUSTER_ARRAY_INDEX", 2))
    status = site.wait_ended("vision:sweep")["status"]
    assert status["state"] == "failed"
    assert status["elements"] == 2
    assert status["elementStates"] == {"succeeded": 1, "failed": 1}


def test_applying_an_array_again_changes_nothing(site):
    sweep = array("sweep", "true", 2, hold=True)
    assert site.apply(sweep) == ["created"]
    assert site.apply(sweep) == ["unchanged"]


def test_an_array_is_held_released_and_cancelled_as_one(site):
    site.submit(array("sweep", manifests.WAITING, 3, hold=True))
    assert site.job("vision:sweep")["status"]["elementStates"] == {"held": 3}
    site.call("POST", "/v1/jobs/vision:sweep/release")
    site.wait_job("vision:sweep", "running")
    site.call("POST", "/v1/jobs/vision:sweep/cancel")
    assert site.wait_ended("vision:sweep")["status"]["elementStates"] == {"cancelled": 3}
    assert site.api("POST", "/v1/jobs/vision:sweep/cancel").status == 409


@pytest.mark.parametrize("what", ["logs"])
def test_what_only_an_element_has_is_asked_of_an_element(site, what):
    site.submit(array("sweep", "true", 2, hold=True))
    answer = site.api("GET", f"/v1/jobs/vision:sweep/{what}")
    assert answer.status in (400, 422) and "vision:sweep[0]" in answer.json["detail"]


def test_the_manifest_of_an_array_outlives_its_first_element(site):
    site.submit(array("sweep", "sleep $MUSTER_ARRAY_INDEX", 2))
    site.wait_ended("vision:sweep[0]")
    assert site.api("DELETE", "/v1/jobs/vision:sweep[0]").status == 409
    site.wait_ended("vision:sweep")
    site.call("DELETE", "/v1/jobs/vision:sweep")
    assert site.api("GET", "/v1/jobs/vision:sweep[1]").status == 404


def costs(muster, by, **query):
    text = "".join(f"&{key}={value}" for key, value in query.items())
    report = muster.call("GET", f"/v1/cost?by={by}{text}")
    return {item["key"]: item for item in report["items"]}


def test_costs_of_forgotten_jobs_and_of_arrays_stay_attributed(muster):
    muster.apply(manifests.team(), manifests.pool(prices={"cpu": 3600}))
    muster.run(manifests.job("one", "sleep 0.1", labels={"model": "m1"}))
    muster.submit(manifests.job("sweep", "sleep 0.1", labels={"model": "m2"}, array={"count": 2}))
    muster.wait_ended("vision:sweep")
    before = costs(muster, "label:model")
    assert set(before) == {"m1", "m2"}
    assert before["m2"]["attempts"] == 2
    for job in ("one", "sweep"):
        muster.call("DELETE", f"/v1/jobs/vision:{job}")
    assert costs(muster, "label:model") == before
    assert {item["name"] for item in costs(muster, "job").values()} == {
        "one", "sweep[0]", "sweep[1]"}
    assert set(costs(muster, "user")) == {"root"}


def test_the_cost_of_a_team_includes_the_teams_below_it(muster):
    muster.apply(manifests.team(), manifests.team("sub", "vision"), manifests.team("other"),
                 manifests.pool(prices={"cpu": 3600}))
    for team in ("vision", "sub", "other"):
        muster.run(manifests.job("j", "sleep 0.05", team=team))
    assert set(costs(muster, "team", team="vision")) == {"vision", "sub"}


def test_pages_of_a_list_that_is_filtered_reach_its_end(site):
    site.submit(array("many", "true", 2100, hold=True))
    site.submit(manifests.job("last", "true", hold=True, labels={"mark": "x"}))
    site.submit(array("later", "true", 2100, hold=True))
    found, after = [], ""
    for _page in range(10):
        answer = site.call("GET", f"/v1/jobs?label=mark=x{after}")
        found += [item["metadata"]["name"] for item in answer["items"]]
        if "next" not in answer:
            break
        after = f"&after={answer['next']}"
    assert found == ["last"]
