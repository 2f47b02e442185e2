"""Durability: the server is killed under load, again and again.

Clients submit jobs and change teams through the API, and try each request again, with its key,
until it is answered. Whatever was answered has to be there afterwards, whatever the moment of the
kill; every job has to end once, and no attempt may ever have run twice.
"""
import collections
import glob
import http.client
import os
import random
import threading

import pytest

import muster as helper
from manifests import job, pool, team

CLIENTS = 4
KILLS = 20
# So many jobs of a client have not ended at once: the load stays the same on a slow machine.
LIVE_MAX = 6

# Says which attempt ran, on a line that no other attempt can overwrite.
SCRIPT = 'echo "$MUSTER_JOB $MUSTER_ATTEMPT" >> $MUSTER_CHECKPOINT_DIR/attempts; sleep {}'


class Client(threading.Thread):
    """Submits one job after the other and now and then applies a team."""

    def __init__(self, muster, number, stop):
        super().__init__(daemon=True)
        self.muster, self.number, self.stop = muster, number, stop
        self.random = random.Random(number)
        self.jobs, self.teams = {}, []  # what was answered: name -> id, names
        self.live = []
        self.failure = None

    def run(self):
        try:
            count = 0
            while not self.stop.is_set():
                count += 1
                name = f"c{self.number}-{count}"
                if self.random.random() < 0.1:
                    self.ask("/v1/apply", {"objects": [team(name)]})
                    self.teams.append(name)
                else:
                    # Some live long enough to run on over a kill.
                    seconds = self.random.choice(("0", "0.05", "1"))
                    answer = self.ask("/v1/jobs", job(name, SCRIPT.format(seconds)), key=name)
                    self.jobs[name] = answer["id"]
                    self.live.append(answer["id"])
                if len(self.live) >= LIVE_MAX:
                    helper.wait_until(self.oldest_ended, helper.COMMAND_S, "the end of a job")
        except Exception as failure:  # handed over to the test
            self.failure = failure

    def oldest_ended(self):
        try:
            answer = self.muster.api("GET", f"/v1/jobs/{self.live[0]}")
        except (OSError, http.client.HTTPException):
            return self.stop.is_set()
        assert answer.status == 200, answer
        if answer.json["status"]["state"] not in helper.ENDED:
            return self.stop.is_set()
        return self.live.pop(0)

    def ask(self, path, body, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        def answered():
            try:
                answer = self.muster.api("POST", path, body, headers=headers)
            except (OSError, http.client.HTTPException):
                return None
            if answer.status in (429, 503, 504):
                return None
            assert answer.status in (200, 201), answer
            return answer.json
        return helper.wait_until(answered, helper.COMMAND_S, f"an answer to {path} {key}")


def kill_under_load(muster, kills):
    muster.apply(team(), pool(nodes=[{"name": "n1", "cpu": 8, "memory": "64Gi", "disk": "64Gi"}]))
    stop = threading.Event()
    clients = [Client(muster, number, stop) for number in range(CLIENTS)]
    moments = random.Random(7)
    answered = lambda: {name: id for client in clients for name, id in dict(client.jobs).items()}
    for client in clients:
        client.start()
    try:
        for _ in range(kills):
            wanted = len(answered()) + moments.randint(1, 12)
            helper.wait_until(lambda: len(answered()) >= wanted or dead(clients),
                              helper.COMMAND_S, "answers")
            muster.kill9()
            before = answered()
            muster.start()
            for name in list(before)[-20:]:
                assert muster.job(before[name])["metadata"]["name"] == name
    finally:
        stop.set()
        for client in clients:
            client.join(timeout=helper.COMMAND_S)
    assert [client.failure for client in clients if client.failure] == []
    check(muster, answered(), [name for client in clients for name in client.teams])


def dead(clients):
    return any(client.failure for client in clients)


def check(muster, jobs, teams):
    wanted = collections.Counter()
    for name, number in jobs.items():
        done = muster.wait_ended(number)
        status = done["status"]
        assert done["metadata"]["name"] == name
        assert status["state"] == "succeeded", (name, status)
        # A kill between accepting an attempt and starting it loses that one, which ran nothing.
        *lost, last = status["attemptList"]
        assert all(one["reason"] == "lost" and "started" not in one for one in lost), (name, status)
        wanted[name, str(last["number"])] = 1
    for name in teams:
        assert muster.api("GET", f"/v1/teams/{name}").status == 200
    listed, after = [], ""
    while after is not None:
        page = muster.call("GET", f"/v1/jobs?limit=1000{after}")
        listed += [item["metadata"]["name"] for item in page["items"]]
        after = f"&after={page['next']}" if "next" in page else None
    assert sorted(listed) == sorted(jobs), "a job was accepted twice, or was never answered"
    runs = collections.Counter()
    for path in glob.glob(os.path.join(glob.escape(muster.data), "jobs", "*", "checkpoint", "attempts")):
        with open(path, encoding="utf-8") as lines:
            runs.update(tuple(line.split()) for line in lines)
    assert runs == wanted
    ends = collections.Counter(event["detail"]["id"] for event in muster.audit()
                               if event["action"] == "job-end")
    assert ends == {number: 1 for number in jobs.values()}
    assert muster.call("POST", "/v1/audit/verify")["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read what the jobs of teams wrote")
@pytest.mark.limit_s(600)
def test_nothing_answered_is_lost_and_nothing_runs_twice_over_kills(muster):
    kill_under_load(muster, KILLS)


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read what the jobs of teams wrote")
@pytest.mark.limit_s(24 * 3600)
def test_soak_kills(muster):
    kill_under_load(muster, int(os.environ.get("MUSTER_SOAK_KILLS", "200")))
