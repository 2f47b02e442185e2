"""muster explain and muster whatif: what a job waits for, who holds it, when it starts, what if."""
import calendar
import json
import signal
import time

import pytest

import manifests
from planner import Planner, figure
from muster import COMMAND_S, wait_until


@pytest.fixture
def planner(site):
    planner = Planner(site).start()
    try:
        yield planner.ready()
    finally:
        planner.teardown()


@pytest.fixture
def foretold(site, planner):
    """A server with a pool of four CPUs, a team, and a planner."""
    site.planner = planner
    return site


def explain(muster, name, **options):
    return muster.call("GET", f"/v1/jobs/vision:{name}/explain", **options)


def waits(muster, name, kind):
    """The explanation once the planner has seen the job wait for that."""
    def seen():
        found = explain(muster, name)
        return found if found.get("waits", {}).get("kind") == kind and (
            "noForecast" not in found) else None
    return muster.wait_for(seen, f"{name} to wait for {kind}: {explain(muster, name)}")


def run_for_ever(muster, name, **spec):
    muster.submit(manifests.job(name, manifests.WAITING, **spec))
    muster.wait_job(f"{spec.get('team', 'vision')}:{name}", "running")


def seconds(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def test_room_is_explained_with_who_holds_it_and_when_it_ends(foretold):
    run_for_ever(foretold, "one", resources={"cpu": 3})
    foretold.submit(manifests.job("two", "true", gang={"size": 2}))
    foretold.submit(manifests.job("three", "true", resources={"cpu": 4}))
    found = waits(foretold, "two", "room")
    assert (found["waits"]["held"], found["waits"]["need"]) == (1, 2)
    assert found["words"][0] == (
        "There is no room now: 1 of its 2 ranks would fit; 1 node could hold one.")
    holder = found["holders"]["items"][0]
    assert (holder["name"], holder["team"], holder["holds"]) == ("one", "vision", "3")
    assert found["start"]["runs"] == found["start"]["known"] == 9
    assert found["start"]["earliest"] <= found["start"]["median"] <= found["start"]["latest"]
    assert found["start"]["median"][:16] == holder["end"]["median"][:16]
    third = waits(foretold, "three", "room")
    assert third["start"]["median"] >= found["start"]["median"]
    shown = foretold.cli("explain", "vision/two").stdout
    assert "There is no room now" in shown and "HELD BY" in shown
    assert json.loads(foretold.cli("explain", "two", "--team", "vision", "-o", "json").stdout)[
        "waits"]["kind"] == "room"


def test_a_limit_names_the_team_and_its_figures(foretold):
    foretold.apply(manifests.team(quota={"cpu": {"limit": 2}}))
    run_for_ever(foretold, "one", resources={"cpu": 2})
    foretold.submit(manifests.job("two", "true"))
    found = waits(foretold, "two", "limit")
    assert found["waits"] == {"kind": "limit", "team": "vision", "resource": "cpu", "held": "2",
                              "need": "1", "limit": "2"}
    assert [item["name"] for item in found["holders"]["items"]] == ["one"]
    assert found["words"][0] == (
        "The team vision is at its limit: it holds 2 of 2 cpu, and this needs 1.")


def test_what_is_waited_for_is_told_apart(foretold):
    foretold.submit(manifests.job("held", "true", hold=True))
    foretold.submit(manifests.job("after", "true", dependsOn=["held"]))
    later = manifests.moment(3600)
    foretold.submit(manifests.job("later", "true", startAfter=later))
    found = waits(foretold, "held", "held")
    assert "start" not in found and "held until somebody releases" in found["words"][0]
    found = waits(foretold, "after", "dependency")
    assert found["waits"]["job"]["name"] == "held" and found["start"]["known"] == 0
    found = waits(foretold, "later", "moment")
    assert abs(seconds(found["start"]["median"]) - seconds(later)) <= 1


def test_a_job_that_failed_says_when_it_is_tried_again(foretold):
    foretold.submit(manifests.job("again", "exit 1", retries={"limit": 3, "backoff": "1h"}))
    found = waits(foretold, "again", "moment")
    assert found["waits"]["retry"] and "is tried again at" in found["words"][0]
    assert 3000 < seconds(found["start"]["median"]) - time.time() <= 3601


def test_a_checkpoint_that_is_waited_for_is_told(foretold):
    """A millisecond of the large job is worth more than ten minutes of the small one."""
    foretold.apply(manifests.pool(
        nodes=[{"name": "n1", "cpu": 1024, "memory": "16Ti", "disk": "16Ti"}]))
    foretold.submit(manifests.job("low", manifests.WAITING, resources={"cpu": 1024},
                                  priority="low", checkpoint={"interval": "10m"}))
    foretold.wait_log("vision:low", "ready")
    foretold.submit(manifests.job("normal", "true", resources={
        "cpu": 0.001, "memory": "1Mi", "disk": "1Mi"}))
    found = waits(foretold, "normal", "checkpoint")
    seen = found["waits"]
    assert (seen["job"]["name"], seen["more"]) == ("low", 0)
    assert (seen["held"], seen["need"]) == (0, 1)
    now = seconds(found["asOf"])
    assert now < seconds(seen["due"]) <= now + 600 < seconds(seen["until"]) <= now + 21 * 60
    assert found["words"][0] == (
        f"It lets vision/low go on to its next checkpoint, due at {seen['due']}, and then takes "
        f"its place; it waits for such until {seen['until']} at the latest.")
    assert [item["name"] for item in found["holders"]["items"]] == ["low"]
    why = foretold.job("vision:normal")["status"]["why"]
    assert why.startswith("it lets low go on to the next checkpoint, due at ")
    foretold.planner.stop()
    assert explain(foretold, "normal")["waits"] == seen
    assert foretold.job("vision:low")["status"]["state"] == "running"


def test_nodes_that_take_no_work_are_named(foretold):
    foretold.call("POST", "/v1/nodes/site/n1/cordon")
    foretold.submit(manifests.job("j", "true"))
    found = waits(foretold, "j", "closed")
    assert found["waits"]["nodes"]["closed"] == [{"node": "n1", "pool": "site", "why": "cordoned"}]
    assert "n1 of the pool site is cordoned" in found["words"][0]


def test_an_array_at_its_bound(foretold):
    foretold.submit(manifests.job("a", manifests.WAITING, array={"count": 3, "parallel": 1}))
    foretold.wait_job("vision:a[0]", "running")
    found = waits(foretold, "a[1]", "array")
    assert (found["waits"]["held"], found["waits"]["limit"]) == (1, 1)


def test_a_job_that_no_pool_holds_any_more_is_told_the_nearest(foretold):
    run_for_ever(foretold, "one", resources={"cpu": 3})
    foretold.submit(manifests.job("two", "true", resources={"cpu": 4}))
    foretold.wait_job("vision:two", "queued")
    foretold.apply(manifests.pool(
        nodes=[{"name": "n1", "cpu": 3, "memory": "16Gi", "disk": "40Gi"}]))
    found = waits(foretold, "two", "impossible")
    assert found["waits"]["nearest"] == {"node": "n1", "pool": "site",
                                         "lacks": [{"what": "cpu", "need": "4", "has": "3"}]}
    assert "It asks 4 cpu a rank; the nearest node, n1 of the pool site, has 3." in (
        found["words"][0])


def test_a_job_that_can_never_run_is_told_so_at_submission(site):
    answer = site.api("POST", "/v1/jobs", manifests.job("j", "true", resources={"cpu": 16}))
    assert answer.status in (400, 422)
    assert "it asks 16 cpu, and the nearest node, n1 of pool site, has 4" in answer.json["detail"]


def test_a_job_above_its_teams_limit_is_told_so_at_submission(site):
    site.apply(manifests.team(quota={"cpu": {"limit": 2}}))
    answer = site.api("POST", "/v1/jobs", manifests.job("j", "true", gang={"size": 3}))
    assert answer.status == 422
    assert "team vision may hold 2 cpu at most, and this needs 3 at once" in answer.json["detail"]
    site.submit(manifests.job("j", "true", gang={"size": 3, "min": 2}))


def test_a_deadline_that_can_not_be_met_is_told(foretold):
    run_for_ever(foretold, "one", resources={"cpu": 4})
    foretold.submit(manifests.job("j", "true", deadline=manifests.moment(100),
                                  dependsOn=["one"]))
    found = waits(foretold, "j", "dependency")
    assert found["deadline"]["runs"] == 9 and found["deadline"]["late"] >= 1
    assert "deadline" in " ".join(found["words"])


def test_jobs_that_run_and_that_ended_answer_too(foretold):
    run_for_ever(foretold, "one")
    found = foretold.wait_for(
        lambda: (lambda e: e if "end" in e else None)(explain(foretold, "one")), "its end")
    assert found["state"] == "running" and "waits" not in found
    foretold.run(manifests.job("over", "true"))
    found = explain(foretold, "over")
    assert found["state"] == "succeeded" and "It ended at" in found["words"][0]
    assert foretold.api("GET", "/v1/jobs/vision:nosuch/explain").status == 404


def test_lengths_are_learned_from_what_ended(foretold):
    for i in range(4):
        foretold.run(manifests.job(f"short-{i}", "true"))
    run_for_ever(foretold, "short-9", resources={"cpu": 1})
    foretold.submit(manifests.job("short-10", "true", resources={"cpu": 4}))
    found = waits(foretold, "short-10", "room")
    assert found["basis"]["samples"] >= 4
    # Also by a planner that was not there.
    foretold.planner.stop()
    foretold.planner.start().ready()
    assert waits(foretold, "short-10", "room")["basis"]["samples"] >= 4


def test_names_of_teams_that_one_may_not_see_are_hidden(foretold):
    foretold.apply(manifests.team("speech", members=[{"user": "eve", "role": "member"}]))
    token = foretold.call("POST", "/v1/tokens", {"user": "eve"})["token"]
    run_for_ever(foretold, "secret-name", resources={"cpu": 4})
    foretold.submit(manifests.job("mine", "true", team="speech"), token=token)
    def seen():
        found = foretold.call("GET", "/v1/jobs/speech:mine/explain", token=token)
        return found if "holders" in found else None
    found = foretold.wait_for(seen, "the holders")
    assert found["holders"]["items"][0]["hidden"] is True
    assert "secret-name" not in json.dumps(found) and "another team's job" in " ".join(
        found["words"])
    assert foretold.api("GET", "/v1/jobs/vision:secret-name/explain", token=token).status == 404
    answer = foretold.call("POST", "/v1/whatif", {"objects": []}, token=token)
    assert [team["team"] for team in answer["teams"]] == ["speech"]
    assert [item["name"] for item in answer["jobs"]["items"]] == ["mine"]
    assert foretold.api("POST", "/v1/whatif", {"objects": [], "job": "vision:secret-name"},
                        token=token).status == 404


def test_whatif_shows_a_raised_quota_beside_today(foretold, tmp_path):
    foretold.apply(manifests.team(quota={"cpu": {"limit": 2}}))
    run_for_ever(foretold, "one", resources={"cpu": 2})
    foretold.submit(manifests.job("two", "true"))
    waits(foretold, "two", "limit")
    before = foretold.call("GET", "/v1/teams/vision")
    (tmp_path / "team.json").write_text(json.dumps(
        manifests.team(quota={"cpu": {"limit": 4}})))
    answer = json.loads(foretold.cli("whatif", "-f", tmp_path / "team.json", "--job", "vision/two",
                                     "-o", "json").stdout)
    job = answer["jobs"]["items"][0]
    assert job["name"] == "two" and job["changed"]["median"] < job["today"]["median"]
    assert abs(seconds(job["changed"]["median"]) - seconds(answer["asOf"])) <= 1
    assert answer["total"]["waiting"] == 1
    assert foretold.call("GET", "/v1/teams/vision") == before
    assert foretold.job("vision:two")["status"]["state"] == "queued"
    table = foretold.cli("whatif", "-f", tmp_path / "team.json").stdout
    assert "MEAN WAIT" in table and "two" in table


def test_whatif_tries_other_policies(foretold):
    run_for_ever(foretold, "one", resources={"cpu": 4})
    foretold.submit(manifests.job("two", "true"))
    waits(foretold, "two", "room")
    for policy in ("tight", "tiresias", "tight+tiresias", "youngest-first+on-demand"):
        answer = json.loads(foretold.cli("whatif", "--policy", policy, "-o", "json").stdout)
        assert answer["total"]["waiting"] == 1 and answer["runs"] == 5


def test_whatif_refuses_what_can_not_be_tried(foretold, tmp_path):
    answer = foretold.api("POST", "/v1/whatif", {"objects": [manifests.job("j", "true")]})
    assert answer.status in (400, 422) and "expected Pool or Team" in answer.text
    answer = foretold.api("POST", "/v1/whatif", {"policy": "nonsense"})
    assert answer.status in (400, 422) and "nonsense" in answer.json["detail"]
    (tmp_path / "bad.yaml").write_text("apiVersion: muster/v1\nkind: Team\nmetadata: {name: vision}\n"
                                       "spec: {weight: none}\n")
    bad = foretold.cli("whatif", "-f", tmp_path / "bad.yaml", ok=False)
    assert bad.returncode != 0 and "bad.yaml:4" in bad.stderr


def test_without_a_planner_the_reason_is_there_and_no_forecast(site):
    run_for_ever(site, "one", resources={"cpu": 4})
    site.submit(manifests.job("two", "true"))
    site.wait_job("vision:two", "queued")
    found = explain(site, "two")
    assert found["waits"]["kind"] == "room" and "start" not in found
    assert found["noForecast"] == "there is no planner now"
    assert "can not be said" in found["words"][-1]
    assert site.api("POST", "/v1/whatif", {"objects": []}).status == 503


def test_a_planner_that_dies_while_it_is_asked_keeps_nobody(foretold):
    run_for_ever(foretold, "one", resources={"cpu": 4})
    foretold.submit(manifests.job("two", "true"))
    waits(foretold, "two", "room")
    foretold.submit(manifests.job("three", "true"))
    foretold.wait_job("vision:three", "queued")
    foretold.planner.signal(signal.SIGSTOP)
    connection = helper_ask(foretold, "/v1/jobs/vision:three/explain")
    foretold.planner.kill9()
    answer = connection.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200 and found["waits"]["kind"] == "room" and "noForecast" in found
    foretold.planner.start().ready()
    assert "start" in waits(foretold, "three", "room")


def helper_ask(muster, path):
    """Sends a request and does not wait for the answer."""
    from muster import UnixConnection
    connection = UnixConnection(muster.socket_path, COMMAND_S)
    connection.request("GET", path)
    return connection


def test_a_planner_finds_a_server_that_came_back(foretold):
    run_for_ever(foretold, "one", resources={"cpu": 4})
    foretold.submit(manifests.job("two", "true"))
    waits(foretold, "two", "room")
    foretold.kill9()
    foretold.start()
    foretold.planner.ready()
    assert "start" in waits(foretold, "two", "room")
    assert foretold.planner.process.poll() is None
    assert foretold.planner.stop() == 0


def test_the_copy_is_the_live_state_over_thousands_of_changes(foretold):
    objects = [manifests.job(f"j{i}", "true", resources={"cpu": 1}) for i in range(300)]
    for i in range(0, 300, 60):
        foretold.apply(*objects[i:i + 60])
    for i in range(40):
        foretold.submit(manifests.job(f"held{i}", "true", hold=True))
        foretold.call("POST", f"/v1/jobs/vision:held{i}/cancel")
    foretold.wait_for(lambda: foretold.call("GET", "/v1/jobs?live=1")["items"] == [],
                      "all jobs to end", timeout_s=240)
    tick = lambda: int(next(line.split()[1] for line in foretold.api("GET", "/metrics").text
                            .splitlines() if line.startswith("muster_tick ")))
    foretold.wait_for(lambda: figure(foretold, "tick") == tick(), "the planner to have seen it all")
    assert figure(foretold, "slices_total") > 20
    assert figure(foretold, "mismatches_total") == 0
    assert figure(foretold, "snapshots_total") <= 2
    assert "differs" not in foretold.planner.log()


def test_up_starts_a_planner_and_starts_it_again(muster_stopped):
    up = muster_stopped
    up.start("--gateway", "none", verb="up")
    wait_until(lambda: figure(up, "snapshots_total") > 0, COMMAND_S, "a planner")
    from muster import living_processes, read_proc
    pid = next(pid for pid, parent in living_processes().items() if parent == up.process.pid
               and b"planner" in read_proc(pid, "cmdline").split(b"\0"))
    import os
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: figure(up, "up") == 0, COMMAND_S, "it to be gone")
    wait_until(lambda: figure(up, "snapshots_total") > 0, COMMAND_S, "another planner")
    assert up.stop() == 0
    assert "following from tick" in up.log()
    assert pid not in living_processes()


def test_nobody_else_may_connect_to_the_planners_socket(site):
    import os
    import stat
    mode = os.stat(os.path.join(site.data, "planner.sock")).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
