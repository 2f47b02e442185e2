"""The life of a job: how it ends, when it starts, and what it is told."""
import json
import time

import pytest

import manifests
import muster as helper
from manifests import WAITING, job, moment, pool, team


def reasons(done):
    """Why each attempt ended."""
    return [attempt["reason"] for attempt in done["status"]["attemptList"]]


def milliseconds(text):
    """RFC 3339 in UTC, with or without a fraction, as milliseconds since the epoch."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = time.strptime(whole + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    return (int(time.mktime(seconds)) - time.timezone) * 1000 + int((fraction or "0").ljust(3, "0"))


# ---- how it ends ------------------------------------------------------------------------------

def test_a_job_that_exits_with_0_succeeds(site):
    done = site.run(job("fine", "echo out; echo err >&2"))
    status = done["status"]
    assert (status["state"], status["reason"], status["attempts"]) == ("succeeded", "succeeded", 1)
    assert sorted(site.logs(status["id"]).splitlines()) == ["err", "out"]
    attempt, = status["attemptList"]
    assert attempt["state"] == "ended"
    assert status["submitted"] <= attempt["admitted"] <= attempt["started"] <= attempt["ended"]


def test_a_job_that_fails_says_with_which_status_or_signal(site):
    failed = site.run(job("exits", "exit 7"))["status"]
    assert (failed["state"], failed["reason"], failed["exitStatus"]) == ("failed", "exit", 7)
    killed = site.run(job("killed", "kill -SEGV $$"))["status"]
    assert (killed["state"], killed["reason"], killed["signal"]) == ("failed", "signal", 11)


def test_a_command_that_does_not_exist_is_named(site):
    done = site.run(job("typo", ["/no/such/program", "--flag"]))
    assert (done["status"]["state"], reasons(done)) == ("failed", ["start-failed"])
    assert "/no/such/program" in done["status"]["attemptList"][0]["detail"]


def test_retries_wait_longer_and_longer_and_end(site):
    done = site.run(job("again", "exit $MUSTER_ATTEMPT",
                        retries={"limit": 2, "backoff": "100ms", "backoffMax": "1s"}))
    status = done["status"]
    assert (status["state"], status["attempts"], status["exitStatus"]) == ("failed", 3, 3)
    first, second, third = status["attemptList"]
    assert [a["exitStatus"] for a in (first, second, third)] == [1, 2, 3]
    waits = [milliseconds(later["admitted"]) - milliseconds(earlier["ended"])
             for earlier, later in ((first, second), (second, third))]
    assert waits[0] >= 100 and waits[1] >= 200


def test_a_retry_that_succeeds_is_a_success_and_finds_the_files_of_the_first(site):
    script = "cat $MUSTER_CHECKPOINT_DIR/note && exit 0; echo seen > $MUSTER_CHECKPOINT_DIR/note; exit 1"
    done = site.run(job("again", script, retries={"limit": 5, "backoff": "1ms"}))["status"]
    assert (done["state"], done["attempts"], done["retriesLeft"]) == ("succeeded", 2, 4)
    assert site.logs(done["id"], attempt=2) == "seen\n"


def test_a_cancelled_job_gets_sigterm_and_ends_as_cancelled(site):
    script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    running = site.submit(job("long", script))
    site.wait_log(running, "ready")
    site.call("POST", f"/v1/jobs/{running}/cancel")
    done = site.wait_ended(running)
    assert (done["status"]["state"], reasons(done)) == ("cancelled", ["cancelled"])
    assert "bye" in site.logs(running).splitlines()


def test_a_held_job_is_cancelled_without_an_attempt_and_only_once(site):
    held = site.submit(job("held", "true", hold=True))
    site.call("POST", f"/v1/jobs/{held}/cancel")
    done = site.wait_ended(held)["status"]
    assert (done["state"], done["attempts"]) == ("cancelled", 0)
    answer = site.api("POST", f"/v1/jobs/{held}/cancel")
    assert answer.status == 409 and "ended" in answer.json["detail"]


def test_the_time_limit_ends_an_attempt(site):
    done = site.run(job("slow", WAITING, timeLimit="300ms", grace="5s"))
    assert (done["status"]["state"], reasons(done)) == ("failed", ["time-limit"])


def test_a_job_that_misses_its_deadline_fails_and_one_that_never_started_too(site):
    running = site.submit(job("running", WAITING, deadline=moment(3)))
    waiting = site.submit(job("waiting", "true", deadline=moment(3), hold=True))
    assert reasons(site.wait_job(running, "failed")) == ["deadline"]
    done = site.wait_job(waiting, "failed")["status"]
    assert (done["reason"], done["attempts"]) == ("deadline", 0)


# ---- when it starts ---------------------------------------------------------------------------

def test_a_job_waits_for_what_it_depends_on(site):
    first = site.submit(job("first", "exit 0", hold=True))
    second = site.submit(job("second", "true", dependsOn=["first"]))
    assert site.job(second)["status"]["state"] == "waiting"
    site.call("POST", f"/v1/jobs/{first}/release")
    ends = [site.wait_ended(name)["status"] for name in (first, second)]
    assert [end["state"] for end in ends] == ["succeeded"] * 2
    assert ends[0]["ended"] <= ends[1]["attemptList"][0]["admitted"]


def test_a_failed_dependency_fails_its_dependants_unless_any_end_will_do(site):
    first = site.submit(job("first", "exit 1", hold=True))
    strict = site.submit(job("strict", "true", dependsOn=["first"]))
    after = site.submit(job("after", "true", dependsOn=[{"job": "first", "condition": "ended"}]))
    site.call("POST", f"/v1/jobs/{first}/release")
    assert site.wait_ended(after)["status"]["state"] == "succeeded"
    done = site.wait_ended(strict)["status"]
    assert (done["state"], done["reason"], done["attempts"]) == ("failed", "dependency", 0)


def test_a_dependency_on_a_job_that_has_ended_is_settled_at_once(site):
    site.run(job("good", "true"))
    site.run(job("bad", "false"))
    assert site.run(job("next", "true", dependsOn=["good"]))["status"]["state"] == "succeeded"
    answer = site.api("POST", "/v1/jobs", job("never", "true", dependsOn=["bad"]))
    assert answer.status == 409 and "bad" in answer.json["detail"]
    answer = site.api("POST", "/v1/jobs", job("lost", "true", dependsOn=["nosuch"]))
    assert answer.status == 404 and "nosuch" in answer.json["detail"]


def test_a_held_job_starts_when_it_is_released_and_a_queued_one_can_be_held(site):
    blocker = site.submit(job("blocker", WAITING, resources={"cpu": 4}))
    site.wait_log(blocker, "ready")
    queued = site.submit(job("queued", "true"))
    assert site.job(queued)["status"]["state"] == "queued"
    site.call("POST", f"/v1/jobs/{queued}/hold")
    site.call("POST", f"/v1/jobs/{blocker}/cancel")
    site.wait_ended(blocker)
    assert site.job(queued)["status"]["state"] == "held"
    site.call("POST", f"/v1/jobs/{queued}/release")
    assert site.wait_ended(queued)["status"]["state"] == "succeeded"


def test_a_job_starts_no_earlier_than_it_may(site):
    at = moment(2)
    done = site.run(job("later", "true", startAfter=at))["status"]
    assert milliseconds(done["attemptList"][0]["admitted"]) >= milliseconds(at)


def test_each_element_of_an_array_knows_its_index_and_only_so_many_run_at_once(site):
    first = site.submit(job("sweep", "echo element $MUSTER_ARRAY_INDEX; exit $MUSTER_ARRAY_INDEX",
                            array={"count": 4, "parallel": 2}))
    def ended():
        items = site.call("GET", "/v1/jobs")["items"]
        states = [item["status"]["state"] for item in items]
        return items if all(s in ("succeeded", "failed") for s in states) else None
    items = site.wait_for(ended, "the end of every element")
    assert len(items) == 4
    by_index = {item["status"].get("arrayIndex"): item for item in items}
    assert set(by_index) == {0, 1, 2, 3}
    assert by_index[0]["status"]["id"] == first
    assert by_index[3]["metadata"]["name"] == "sweep[3]"
    assert by_index[0]["status"]["state"] == "succeeded"
    assert by_index[3]["status"]["exitStatus"] == 3
    assert site.logs(by_index[2]["status"]["id"]) == "element 2\n"
    spans = sorted((a["admitted"], a["ended"]) for item in items
                   for a in site.job(item["status"]["id"])["status"]["attemptList"])
    for moment, _ in spans:
        assert sum(begin <= moment < end for begin, end in spans) <= 2


# ---- gangs ------------------------------------------------------------------------------------

def test_a_gang_of_two_sees_its_contract(site):
    script = ("echo rank=$RANK world=$WORLD_SIZE local=$LOCAL_RANK of=$LOCAL_WORLD_SIZE "
              "addr=$MASTER_ADDR port=$MASTER_PORT attempt=$MUSTER_ATTEMPT job=$MUSTER_JOB "
              "team=$MUSTER_TEAM; test -w $MUSTER_CHECKPOINT_DIR")
    done = site.run(job("gang", script, gang={"size": 2}))
    assert done["status"]["state"] == "succeeded", site.logs(done["status"]["id"])
    lines = sorted(site.logs(done["status"]["id"]).splitlines())
    said = [dict(word.split("=") for word in line.split()) for line in lines]
    assert [s["rank"] for s in said] == ["0", "1"]
    for one in said:
        assert (one["world"], one["attempt"], one["job"], one["team"]) == (
            "2", "1", "gang", manifests.TEAM)
        assert one["addr"] and int(one["port"]) > 0
    assert said[0]["port"] == said[1]["port"]


MEET = """
import os, socket
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if os.environ["RANK"] == "0":
    server = socket.create_server(address)
    peer, _ = server.accept()
    print("heard", peer.recv(100).decode(), flush=True)
else:
    while True:
        try:
            peer = socket.create_connection(address, timeout=1)
            break
        except OSError:
            pass
    peer.sendall(b"rank 1")
"""


def test_the_ranks_of_a_gang_reach_each_other_over_their_own_network(site):
    done = site.run(job("meet", ["/usr/bin/python3", "-c", MEET], gang={"size": 2}))
    assert done["status"]["state"] == "succeeded", site.logs(done["status"]["id"])
    assert "heard rank 1" in site.logs(done["status"]["id"], rank=0)


def test_a_gang_over_two_nodes_starts_with_all_its_ranks(muster):
    nodes = [{"name": n, "cpu": 2, "memory": "8Gi", "disk": "8Gi"} for n in ("n1", "n2")]
    muster.apply(team(), pool(nodes=nodes))
    done = muster.run(job("wide", ["/usr/bin/python3", "-c", MEET.replace("heard", "met")],
                          gang={"size": 2}, resources={"cpu": 2}))
    assert done["status"]["state"] == "succeeded", muster.logs(done["status"]["id"])
    places = done["status"]["attemptList"][0]["placements"]
    assert sorted(place["node"] for place in places) == ["site/n1", "site/n2"]


def test_one_rank_that_fails_ends_the_whole_gang(site):
    done = site.run(job("gang", f"test $RANK = 1 && exit 9; {WAITING}", gang={"size": 3}))
    assert (done["status"]["state"], done["status"]["exitStatus"]) == ("failed", 9)
    assert done["status"]["attemptList"][0]["rank"] == 1


def test_an_elastic_gang_starts_with_what_there_is_and_not_below_its_least(site):
    blocker = site.submit(job("blocker", WAITING, resources={"cpu": 2}))
    site.wait_log(blocker, "ready")
    done = site.run(job("elastic", "echo world=$WORLD_SIZE", gang={"size": 4, "min": 2}))
    assert "world=2" in site.logs(done["status"]["id"])
    stuck = site.submit(job("stuck", "true", gang={"size": 4, "min": 3}))
    assert site.job(stuck)["status"]["state"] == "queued"
    site.call("POST", f"/v1/jobs/{blocker}/cancel")
    assert site.wait_ended(stuck)["status"]["state"] == "succeeded"


def test_a_job_that_no_node_could_ever_hold_is_refused_with_the_reason(site):
    answer = site.api("POST", "/v1/jobs", job("huge", "true", resources={"cpu": 512}))
    assert answer.status == 422
    assert "no node of any pool" in answer.json["detail"]


# ---- preemption -------------------------------------------------------------------------------

TRAINING = """
trap 'echo stopping; exit 0' TERM
step=$(cat $MUSTER_CHECKPOINT_DIR/step 2>/dev/null || echo 0)
echo attempt $MUSTER_ATTEMPT from step $step
test $step -ge 3 && exit 0
echo $((step + 3)) > $MUSTER_CHECKPOINT_DIR/step
echo checkpoint
while :; do sleep 0.05; done
"""


def test_an_urgent_job_preempts_and_the_victim_resumes_from_its_checkpoint(site):
    site.apply(team("fraud"))
    victim = site.submit(job("train", TRAINING, resources={"cpu": 4}, priority="low", grace="30s"))
    site.wait_log(victim, "checkpoint")
    urgent = site.run(job("urgent", "echo quick", team="fraud", resources={"cpu": 2},
                          priority="urgent"))
    assert urgent["status"]["state"] == "succeeded"
    done = site.wait_ended(victim)
    status = done["status"]
    assert (status["state"], status["attempts"], status["preemptions"]) == ("succeeded", 2, 1)
    assert reasons(done) == ["preempted", "succeeded"]
    assert status["retriesLeft"] == 0
    assert "stopping" in site.logs(victim, attempt=1).splitlines()
    assert site.logs(victim, attempt=2) == "attempt 2 from step 3\n"
    stop = [e for e in site.audit() if e["action"] == "stop"]
    assert [(e["detail"]["id"], e["detail"]["for"]) for e in stop] == [
        (victim, urgent["status"]["id"])]


def test_a_job_that_may_not_be_preempted_is_left_alone(site):
    firm = site.submit(job("firm", WAITING, resources={"cpu": 4}, priority="low",
                           preemptible=False))
    site.wait_log(firm, "ready")
    urgent = site.submit(job("urgent", "true", priority="urgent"))
    assert site.job(urgent)["status"]["state"] == "queued"
    site.call("POST", f"/v1/jobs/{firm}/cancel")
    assert site.wait_ended(urgent)["status"]["state"] == "succeeded"
    assert site.job(firm)["status"]["preemptions"] == 0


def test_draining_a_node_requeues_what_runs_there(muster):
    nodes = [{"name": n, "cpu": 2, "memory": "8Gi", "disk": "8Gi"} for n in ("n1", "n2")]
    muster.apply(team(), pool(nodes=nodes))
    script = f"test $MUSTER_ATTEMPT = 2 && exit 0; {WAITING}"
    running = muster.submit(job("move", script))
    muster.wait_log(running, "ready")
    at = muster.job(running)["status"]["attemptList"][0]["placements"][0]["node"]
    muster.call("POST", f"/v1/nodes/{at}/drain")
    done = muster.wait_ended(running)
    assert (done["status"]["state"], reasons(done)) == ("succeeded", ["drained", "succeeded"])
    assert done["status"]["attemptList"][1]["placements"][0]["node"] != at
    assert muster.call("GET", f"/v1/nodes/{at}")["cordoned"]
    muster.call("POST", f"/v1/nodes/{at}/uncordon")
    assert not muster.call("GET", f"/v1/nodes/{at}")["cordoned"]


def test_a_cordoned_node_gets_nothing_new_and_a_reserved_one_only_what_ends_before(site):
    site.call("POST", "/v1/nodes/site/n1/cordon")
    waiting = site.submit(job("waiting", "true"))
    assert site.job(waiting)["status"]["state"] == "queued"
    site.call("POST", "/v1/nodes/site/n1/uncordon")
    assert site.wait_ended(waiting)["status"]["state"] == "succeeded"
    site.call("POST", "/v1/nodes/site/n1/reserve", {"begin": moment(3600), "end": moment(7200)})
    endless = site.submit(job("endless", "true"))
    assert site.run(job("brief", "true", timeLimit="1m"))["status"]["state"] == "succeeded"
    assert site.job(endless)["status"]["state"] == "queued"
    site.call("POST", "/v1/nodes/site/n1/reserve", {"clear": True})
    assert site.wait_ended(endless)["status"]["state"] == "succeeded"


# ---- submitting -------------------------------------------------------------------------------

def test_the_same_idempotency_key_gives_the_same_job_even_after_it_ended_and_a_restart(site):
    one = job("once", "true")
    first = site.api("POST", "/v1/jobs", one, headers={"Idempotency-Key": "k1"})
    site.wait_ended(first.json["id"])
    site.restart()
    again = site.api("POST", "/v1/jobs", one, headers={"Idempotency-Key": "k1"})
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert len(site.call("GET", "/v1/jobs")["items"]) == 1


def test_one_of_many_requests_with_the_same_key_at_once_makes_the_job(site):
    one = job("once", "true", hold=True)
    for number in range(10):
        body = json.dumps({**one, "metadata": {**one["metadata"], "name": f"once{number}"}})
        connections = [helper.UnixConnection(site.socket_path, 60) for _ in range(8)]
        for connection in connections:
            connection.request("POST", "/v1/jobs", body, {"Idempotency-Key": f"k{number}"})
        answers = [helper.Answer(connection.getresponse()) for connection in connections]
        for connection in connections:
            connection.close()
        assert sorted(answer.status for answer in answers) == [200] * 7 + [201], answers
        assert len({answer.json["id"] for answer in answers}) == 1


def test_an_idempotency_key_is_not_taken_for_another_job(site):
    site.submit(job("one", "true", hold=True), key="k1")
    answer = site.api("POST", "/v1/jobs", job("two", "true"), headers={"Idempotency-Key": "k1"})
    assert answer.status == 409 and "Idempotency-Key" in answer.json["detail"]


def test_a_live_job_keeps_its_name_and_an_ended_one_gives_it_back(site):
    held = site.submit(job("name", "true", hold=True))
    answer = site.api("POST", "/v1/jobs", job("name", "true", hold=True))
    assert answer.status == 409 and "name" in answer.json["detail"]
    answer = site.api("POST", "/v1/apply", {"objects": [job("name", "false", hold=True)]})
    assert answer.status in (409, 422) and "cancel it first" in answer.text
    site.call("POST", f"/v1/jobs/{held}/cancel")
    site.wait_ended(held)
    assert site.run(job("name", "true"))["status"]["id"] != held


@pytest.mark.parametrize("name,body", [("job", "{"), ("list", "[1]"), ("nothing", ""),
                                       ("deep", "[" * 5000)])
def test_what_is_no_manifest_is_refused(site, name, body):
    answer = site.api("POST", "/v1/jobs", body)
    assert answer.status == 422, (name, answer)
    assert answer.json["type"] == "muster:invalid"


def test_a_variable_of_the_job_does_not_hide_a_recorded_parameter(site):
    wanted = job("rates", "echo rate=$MUSTER_PARAMETER_LEARNING_RATE",
                 parameters={"learning-rate": "0.1"})
    hiding = job("hiding", "true", env={"MUSTER_PARAMETER_LEARNING_RATE": "0.2"})
    assert site.api("POST", "/v1/jobs", hiding).status == 422
    done = site.submit(wanted)
    site.wait_ended(done)
    assert "rate=0.1" in site.logs(done)
