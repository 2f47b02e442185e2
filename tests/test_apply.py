"""Applying manifests: what changes, what does not, and what is said of mistakes."""
import pytest

import manifests
from manifests import job, manifest, pool, team


def problem(muster, *objects, status=422):
    """The problem document of objects that are refused."""
    answer = muster.api("POST", "/v1/apply", {"objects": list(objects)})
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json


def errors(muster, *objects):
    return {item["path"]: item["detail"] for item in problem(muster, *objects)["errors"]}


def team_exists(muster, name):
    return muster.api("GET", f"/v1/teams/{name}").status == 200


def test_applying_twice_changes_nothing_the_second_time(muster):
    objects = [team(quota={"cpu": {"limit": 4}}), pool(), job("held", "true", hold=True)]
    assert muster.apply(*objects) == ["created"] * 3
    before = muster.audit()
    assert muster.apply(*objects) == ["unchanged"] * 3
    assert muster.audit() == before


def test_a_change_is_shown_with_its_path_and_both_values(site):
    body = {"objects": [team(weight=3)]}
    result, = site.call("POST", "/v1/apply", body)["results"]
    assert result["action"] == "changed"
    change, = result["changes"]
    assert change["path"] == "spec.weight"
    assert float(change["new"]) == 3
    assert float(site.call("GET", f"/v1/teams/{manifests.TEAM}")["spec"]["weight"]) == 3


def test_a_dry_run_says_what_would_change_and_changes_nothing(site):
    before = site.audit()
    actions = site.apply(team("speech"), team(weight=2), pool(), dry_run=True)
    assert actions == ["created", "changed", "unchanged"]
    assert not team_exists(site, "speech")
    assert site.audit() == before


def test_all_errors_of_all_objects_are_told_and_nothing_is_applied(muster):
    found = errors(muster, team(), team("Bad Name"), pool(nodes=[{"name": "n", "cpu": "two"}]))
    assert set(found) == {"objects[1].metadata.name", "objects[2].spec.nodes[0].cpu"}
    assert 'got "two"' in found["objects[2].spec.nodes[0].cpu"]
    assert not team_exists(muster, manifests.TEAM)


def test_a_refusal_by_the_core_takes_back_the_objects_before_it(muster):
    """The team would be fine; the pool asks for a job's place that no node has."""
    huge = job("huge", "true", resources={"cpu": 1000})
    problem(muster, team(), pool(), huge)
    assert not team_exists(muster, manifests.TEAM)
    assert muster.api("GET", "/v1/pools/site").status == 404
    assert muster.apply(team(), pool()) == ["created", "created"]


def test_an_unknown_field_gets_a_suggestion(site):
    detail = errors(site, job("j", "true", prority="high"))["objects[0].spec.prority"]
    assert "priority" in detail


def test_a_class_fills_in_what_the_job_does_not_say(site):
    quick = manifest("Class", "quick", {"template": {"priority": 650, "timeLimit": "90s",
                                                    "retries": {"limit": 2}}})
    site.apply(quick)
    held = site.submit(job("j", "true", hold=True, **{"class": "quick"}, timeLimit="5m"))
    spec = site.job(held)["spec"]
    assert (spec["priority"], spec["timeLimit"], spec["retries"]["limit"]) == (650, "5m", 2)


def test_a_class_and_the_job_that_uses_it_can_come_together(site):
    quick = manifest("Class", "quick", {"template": {"priority": 650}})
    assert site.apply(job("j", "true", hold=True, **{"class": "quick"}), quick) == ["created"] * 2
    assert site.job("vision:j")["spec"]["priority"] == 650


def test_an_unknown_class_is_named(site):
    assert "nosuch" in str(problem(site, job("j", "true", **{"class": "nosuch"})))


def test_a_built_in_class_can_be_changed_and_stays_changed(site):
    own = manifest("Class", "experiment", {"template": {"priority": 123}})
    assert site.apply(own) == ["changed"]
    site.restart()
    held = site.submit(job("j", "true", hold=True, **{"class": "experiment"}))
    assert site.job(held)["spec"]["priority"] == 123


def test_obligatory_labels_hold_for_the_team_and_those_below_it(site):
    site.apply(team("lab", requiredLabels=["model", "dataset"]), team("lab-a", parent="lab"))
    found = errors(site, job("j", "true", team="lab-a", labels={"model": "m"}))
    assert list(found) == ["objects[0].metadata.labels.dataset"]
    assert "lab" in found["objects[0].metadata.labels.dataset"]
    labels = {"model": "m", "dataset": "d"}
    assert site.apply(job("j", "true", team="lab-a", labels=labels)) == ["created"]


def test_the_owner_is_whoever_submits_unless_the_job_says_otherwise(site):
    one = site.submit(job("one", "true", hold=True))
    two = site.submit(job("two", "true", hold=True, labels={"owner": "ann"}))
    assert site.job(one)["metadata"]["labels"]["owner"] == "root"
    assert site.job(two)["metadata"]["labels"]["owner"] == "ann"


def test_teams_form_a_tree_without_cycles_and_guarantees_stay_below_the_parents(site):
    site.apply(team("a", quota={"cpu": {"guarantee": 2}}), team("b", parent="a"))
    problem(site, team("c", parent="nosuch"), status=404)
    answer = site.api("POST", "/v1/apply", {"objects": [
        team("a", parent="b", quota={"cpu": {"guarantee": 2}})]})
    assert answer.status in (409, 422), answer
    answer = site.api("POST", "/v1/apply", {"objects": [
        team("b", parent="a", quota={"cpu": {"guarantee": 3}})]})
    assert answer.status in (409, 422), answer


def test_a_pool_can_grow_and_shrink(site):
    grown = pool(nodes=[{"name": "n1", "cpu": 4, "memory": "16Gi", "disk": "40Gi"},
                        {"name": "big", "cpu": 32, "memory": "16Gi", "disk": "40Gi"}])
    wide = job("wide", "true", resources={"cpu": 16})
    problem(site, wide)
    assert site.apply(grown) == ["changed"]
    done = site.run(wide)["status"]
    assert done["attemptList"][0]["placements"][0]["node"] == "site/big"
    assert site.apply(pool()) == ["changed"]
    assert [node["name"] for node in site.call("GET", "/v1/nodes")["items"]] == ["n1"]


def test_a_node_without_figures_has_what_the_machine_has(muster):
    muster.apply(pool(nodes=[{"name": "here"}]))
    node = muster.call("GET", "/v1/nodes/site/here")
    assert float(node["capacity"]["cpu"]) > 0
    assert node["capacity"]["memory"] != "0"
    assert all({"name", "enforced", "text"} <= fact.keys() for fact in node["enforcement"])


@pytest.mark.parametrize("path", ["pools/site", f"teams/{manifests.TEAM}"])
def test_what_live_jobs_use_is_not_deleted(site, path):
    running = site.submit(job("busy", manifests.WAITING))
    site.wait_log(running, "ready")
    assert site.api("DELETE", f"/v1/{path}").status == 409
    site.call("POST", f"/v1/jobs/{running}/cancel")
    site.wait_job(running, "cancelled")
    site.call("DELETE", f"/v1/{path}")
    assert site.api("GET", f"/v1/{path}").status == 404


def test_a_team_with_teams_below_it_and_the_root_stay(site):
    site.apply(team("a"), team("b", parent="a"))
    assert site.api("DELETE", "/v1/teams/a").status == 409
    assert site.api("DELETE", "/v1/teams/root").status == 409
    site.call("DELETE", "/v1/teams/b")
    site.call("DELETE", "/v1/teams/a")
    assert not team_exists(site, "a")


def test_a_job_is_forgotten_once_it_has_ended_and_not_before(site):
    held = site.submit(job("j", "true", hold=True))
    assert site.api("DELETE", f"/v1/jobs/{held}").status == 409
    site.call("POST", f"/v1/jobs/{held}/release")
    site.wait_ended(held)
    site.call("DELETE", f"/v1/jobs/{held}")
    assert site.api("GET", f"/v1/jobs/{held}").status == 404
    assert site.call("GET", "/v1/jobs")["items"] == []


def test_lists_come_in_pages(site):
    ids = [site.submit(job(f"j{i}", "true", hold=True)) for i in range(7)]
    seen, after = [], ""
    while after is not None:
        page = site.call("GET", f"/v1/jobs?limit=3{after}")
        assert len(page["items"]) <= 3
        seen += [item["status"]["id"] for item in page["items"]]
        after = f"&after={page['next']}" if "next" in page else None
    assert seen == sorted(ids, reverse=True)


def test_jobs_are_listed_by_team_state_and_label(site):
    site.apply(team("speech"))
    site.submit(job("a", "true", hold=True, labels={"model": "m/1"}))
    site.submit(job("b", "true", team="speech", hold=True))
    site.run(job("c", "exit 1"))
    def listed(query):
        return sorted(item["metadata"]["name"]
                      for item in site.call("GET", f"/v1/jobs?{query}")["items"])
    assert listed("") == ["a", "b", "c"]
    assert listed("team=speech") == ["b"]
    assert listed("state=failed") == ["c"]
    assert listed("state=held") == ["a", "b"]
    assert listed("label=model%3Dm/1") == ["a"]
    assert listed("live=true") == ["a", "b"]
