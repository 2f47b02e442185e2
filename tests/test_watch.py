"""Watching changes as a stream of JSON lines."""
import json
import queue
import threading

import pytest

import manifests
import muster as helper
from manifests import job, team


class Watcher:
    """Reads GET /v1/watch on a thread of its own."""

    def __init__(self, muster, query="", token=None):
        self.connection = helper.UnixConnection(muster.socket_path, 120)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection.request("GET", f"/v1/watch{query}", headers=headers)
        self.response = self.connection.getresponse()
        self.events = queue.Queue()
        self.beats = 0  # empty lines, which say that the stream is still there
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for line in self.response:
                if line.strip():
                    self.events.put(json.loads(line))
                else:
                    self.beats += 1
        except (OSError, ValueError):
            pass
        self.events.put(None)

    def until(self, condition):
        """The events up to the first for which the condition holds."""
        seen = []
        while True:
            event = self.events.get(timeout=60)
            assert event is not None, f"the stream ended after {seen}"
            seen.append(event)
            if condition(event):
                return seen

    def close(self):
        self.connection.sock.shutdown(2)
        self.thread.join(timeout=60)


@pytest.fixture
def watch():
    opened = []

    def start(*arguments, **options):
        opened.append(Watcher(*arguments, **options))
        return opened[-1]

    yield start
    for watcher in opened:
        watcher.close()


def ended(event):
    return event["kind"] == "job" and event["change"] == "ended"


def test_a_watcher_sees_the_life_of_a_job_in_order(site, watch):
    watcher = watch(site)
    done = site.run(job("short", "true"))["status"]["id"]
    seen = [event for event in watcher.until(ended) if event["kind"] == "job"]
    assert {event["id"] for event in seen} == {done}
    states = list(dict.fromkeys(event["state"] for event in seen))
    assert states[-1] == "succeeded" and set(states[:-1]) <= {"queued", "starting", "running"}
    ticks = [event["tick"] for event in seen]
    assert ticks == sorted(ticks)
    assert (seen[-1]["team"], seen[-1]["name"], seen[-1]["reason"]) == (
        manifests.TEAM, "short", "succeeded")


def test_what_was_seen_is_committed(site, watch):
    """An event comes after its commit: a read that follows sees at least as much."""
    watcher = watch(site)
    done = site.submit(job("short", "true"))
    watcher.until(ended)
    assert site.job(done)["status"]["state"] == "succeeded"


def test_watching_after_a_tick_gives_what_came_since(site, watch):
    first = site.run(job("first", "true"))["status"]["id"]
    one = watch(site, "?after=0")
    last = [event for event in one.until(ended) if event.get("id") == first][-1]
    second = site.run(job("second", "true"))["status"]["id"]
    later = watch(site, f"?after={last['tick']}")
    events = later.until(lambda event: ended(event) and event["id"] == second)
    assert {event["id"] for event in events if event["kind"] == "job"} == {second}


def test_changes_from_before_a_restart_are_not_passed_over_in_silence(site, watch):
    watcher = watch(site)
    site.run(job("first", "true"))
    tick = watcher.until(ended)[0]["tick"]
    site.restart()
    answer = site.api("GET", f"/v1/watch?after={tick}")
    assert answer.status == 409 and "list again" in answer.json["detail"]


def test_a_watcher_that_was_away_gets_all_that_it_missed_at_once(site, watch):
    """More than one piece of a stream holds, and the beat of an idle one does not come between."""
    jobs = 300
    for number in range(jobs):
        site.call("POST", f"/v1/jobs/{site.submit(job(f'late-{number}', 'true', hold=True))}/cancel")
    watcher = watch(site, "?after=0")
    seen = watcher.until(lambda event: ended(event) and event["name"] == f"late-{jobs - 1}")
    assert sum(len(json.dumps(event)) for event in seen) > 1.2 * 65536
    assert watcher.beats == 0


def test_more_clients_than_may_watch_are_told_to_come_again(site):
    taken = []
    try:
        while len(taken) < 300:
            connection = helper.UnixConnection(site.socket_path, 120)
            connection.request("GET", "/v1/watch")
            taken.append(connection)
            answer = connection.getresponse()
            if answer.status != 200:
                break
        assert (len(taken), answer.status) == (257, 429)
        assert "try again later" in json.loads(answer.read())["detail"]
    finally:
        for connection in taken:
            connection.close()


def test_a_watcher_sees_only_what_its_roles_allow(site, watch):
    site.apply(team(members=[{"user": "ann", "role": "viewer"}]), team("speech"))
    token = site.call("POST", "/v1/tokens", {"user": "ann"})["token"]
    watcher = watch(site, token=token)
    site.run(job("hidden", "true", team="speech"))
    site.run(job("shown", "true"))
    seen = watcher.until(ended)
    assert {event["name"] for event in seen if event["kind"] == "job"} == {"shown"}


def test_the_stream_ends_with_the_server(site, watch):
    watcher = watch(site)
    assert site.stop() == 0
    watcher.thread.join(timeout=60)
    assert not watcher.thread.is_alive()
