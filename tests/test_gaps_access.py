"""What an administrator of a part of the tree of teams cannot take, and what a token is good for."""
import http.client

import pytest

import manifests
from muster import REQUEST_S, UnixConnection

ROLES = [{"user": "ada", "role": "admin"}]


def token(muster, user, **request):
    return muster.call("POST", "/v1/tokens", {"user": user, **request})


@pytest.fixture
def divided(muster):
    """A team with an administrator of its own, ada, whose token is `divided.ada`."""
    muster.apply(manifests.team(members=ROLES), manifests.team("speech"), manifests.pool())
    muster.ada = token(muster, "ada")["token"]
    return muster


def problem_of(muster, *objects, **options):
    answer = muster.api("POST", "/v1/apply", {"objects": list(objects)}, **options)
    return answer.status, answer.json


def test_an_admin_of_a_team_cannot_choose_the_uid_of_a_sub_team(divided):
    status, problem = problem_of(divided, manifests.team("sub", "vision", uid=1000),
                                 token=divided.ada)
    assert status == 403 and "spec.uid" in problem["detail"]
    assert divided.apply(manifests.team("sub", "vision"), token=divided.ada) == ["created"]


def test_an_admin_of_a_team_cannot_give_a_sub_team_the_hosts_network(divided):
    wanted = manifests.team("sub", "vision", hostNetwork=True)
    status, problem = problem_of(divided, wanted, token=divided.ada)
    assert status == 403 and "spec.hostNetwork" in problem["detail"]
    divided.apply(manifests.team(members=ROLES, hostNetwork=True))
    assert divided.apply(wanted, token=divided.ada) == ["created"]


def test_what_cannot_be_changed_later_stays(muster):
    muster.apply(manifests.team(uid=123456))
    status, problem = problem_of(muster, manifests.team(uid=123457))
    assert status == 422 or status == 400
    assert "objects[0].spec.uid" in str(problem["errors"])


def test_a_change_is_answered_with_what_was_before(muster):
    muster.apply(manifests.team(description="before"))
    answer = muster.call("POST", "/v1/apply", {"objects": [manifests.team(description="after")]})
    assert answer["results"][0]["changes"] == [
        {"path": "spec.description", "old": "before", "new": "after"}]


def test_every_missing_label_is_named_and_an_empty_one_is_missing(muster):
    muster.apply(manifests.team(requiredLabels=["model", "dataset"]), manifests.pool())
    answer = muster.api("POST", "/v1/jobs",
                        manifests.job("j", ["true"], labels={"dataset": ""}))
    assert [error["path"] for error in answer.json["errors"]] == [
        "metadata.labels.model", "metadata.labels.dataset"]


def test_secrets_go_with_their_team(divided):
    divided.call("PUT", "/v1/secrets/speech/hub", {"value": "of the first team"})
    divided.call("DELETE", "/v1/teams/speech")
    divided.apply(manifests.team("speech", "vision"), token=divided.ada)
    assert divided.call("GET", "/v1/secrets/speech", token=divided.ada)["items"] == []


def test_a_token_for_one_team_is_good_for_that_one_and_those_below(divided):
    divided.apply(manifests.team("root", None, members=[{"user": "eve", "role": "admin"}]),
                  manifests.team("sub", "vision"))
    narrow = token(divided, "eve", teams=["vision"])["token"]
    assert divided.api("GET", "/v1/teams/vision", token=narrow).status == 200
    assert divided.api("GET", "/v1/teams/sub", token=narrow).status == 200
    assert divided.api("GET", "/v1/teams/speech", token=narrow).status == 403
    assert divided.api("GET", "/metrics", token=narrow).status == 403
    names = [item["metadata"]["name"] for item in
             divided.call("GET", "/v1/teams", token=narrow)["items"]]
    assert names == ["sub", "vision"]
    listed = [item for item in divided.call("GET", "/v1/tokens")["items"] if "teams" in item]
    assert [item["teams"] for item in listed] == [["vision"]]


def test_a_token_for_one_team_survives_a_restart_as_what_it_is(divided):
    narrow = token(divided, "ada", teams=["speech"])["token"]
    divided.stop()
    divided.start()
    assert divided.api("GET", "/v1/teams/vision", token=narrow).status == 403


def test_a_token_for_a_team_that_is_not_there_is_refused(divided):
    answer = divided.api("POST", "/v1/tokens", {"user": "ada", "teams": ["nowhere"]})
    assert answer.status in (400, 422) and "nowhere" in answer.json["detail"]


def test_another_teams_job_cannot_be_depended_on_nor_learned_of(divided):
    other = divided.submit(manifests.job("hidden", ["true"], team="speech", hold=True))
    for named in (other, "j0000000000000"):
        answer = divided.api("POST", "/v1/jobs", manifests.job("mine", ["true"], dependsOn=[named]),
                             token=divided.ada)
        assert answer.status == 404
        assert answer.json["detail"] == f"spec.dependsOn[0]: there is no job {named} in the team"


def opened(muster, path, token):
    """An answer that goes on; its connection is the test's to close."""
    connection = UnixConnection(muster.socket_path, REQUEST_S)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    assert answer.status == 200
    return answer


def ends(answer):
    """Whether the stream ends; an abrupt end is one too."""
    try:
        while answer.read1(4096):
            pass
    except (http.client.IncompleteRead, ConnectionError):
        pass
    return True


def test_open_streams_end_with_their_token(divided):
    made = token(divided, "ada")
    job = divided.submit(manifests.job("j", manifests.WAITING))
    divided.wait_log(job, "ready")
    log = opened(divided, f"/v1/jobs/{job}/logs?follow=true", made["token"])
    watch = opened(divided, "/v1/watch", made["token"])
    divided.call("DELETE", f"/v1/tokens/{made['id']}")
    divided.submit(manifests.job("news", "true", hold=True))
    assert ends(log) and ends(watch)
    assert divided.job(job)["status"]["state"] == "running"


def test_going_into_a_job_is_audited_without_what_was_done_there(divided):
    job = divided.submit(manifests.job("j", manifests.WAITING))
    divided.wait_job(job, "running")
    divided.wait_log(job, "ready")
    divided.cli("exec", "vision/j", "--", "echo", "hidden-argument")
    events = divided.call("GET", "/v1/audit?limit=1000")["items"]
    assert [(e["actor"], e["name"]) for e in events if e["action"] == "job-exec"] == [("root", "j")]
    assert "hidden-argument" not in str(events)
