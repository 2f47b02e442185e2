"""The audit log: complete, chained, and checked."""
import sqlite3

import pytest

import manifests
from manifests import WAITING, job, pool, team

pytestmark = pytest.mark.threaded  # commits, verification and copies have threads


def actions(muster, **wanted):
    return [event["action"] for event in muster.audit()
            if all(event[key] == value for key, value in wanted.items())]


def test_every_change_has_its_event_with_who_did_it(site):
    before = len(site.audit())
    site.apply(manifests.manifest("Team", "root", {"members": [{"user": "ann", "role": "admin"}]}))
    made = site.call("POST", "/v1/tokens", {"user": "ann"})
    token = made["token"]
    site.apply(team("speech"), pool("two"), token=token)
    site.apply(manifests.manifest("Class", "quick", {"template": {"priority": 1}}), token=token)
    held = site.submit(job("held", "true", hold=True), token=token)
    site.call("PUT", "/v1/secrets/vision/key", {"value": "v"}, token=token)
    for path in (f"jobs/{held}/release", "nodes/two/n1/cordon", "nodes/two/n1/uncordon"):
        site.call("POST", f"/v1/{path}", token=token)
    site.wait_ended(held)
    for path in ("secrets/vision/key", f"jobs/{held}", "teams/speech", "pools/two",
                 "classes/quick"):
        site.call("DELETE", f"/v1/{path}", token=token)
    site.call("DELETE", f"/v1/tokens/{made['id']}")
    events = site.audit()[before:]
    anns = [event["action"] for event in events if event["actor"] == "ann"]
    assert sorted(anns) == sorted([
        "team-put", "pool-put", "class-put", "job-submit", "secret-put", "job-release",
        "node-cordon", "node-uncordon", "secret-delete", "job-forget", "team-delete",
        "pool-delete", "class-delete"])
    roots = [event["action"] for event in events if event["actor"] == "root"]
    assert sorted(roots) == sorted(["team-put", "token-create", "token-revoke"])
    others = {event["action"]: event["actor"] for event in events
              if event["actor"] not in ("ann", "root")}
    assert {"admit", "start", "end", "job-end"} <= set(others)
    assert set(others.values()) <= {"scheduler", "engine"}
    sequence = [event["sequence"] for event in site.audit()]
    assert sequence == list(range(1, len(sequence) + 1))


def test_a_refused_command_leaves_no_event(site):
    before = site.audit()
    site.api("POST", "/v1/jobs", job("huge", "true", resources={"cpu": 1000}))
    site.api("DELETE", "/v1/teams/root")
    site.api("POST", "/v1/nodes/site/nosuch/cordon")
    assert site.audit() == before


def test_reading_leaves_no_event(site):
    before = site.audit()
    for path in ("jobs", "pools", "teams", "nodes", "cost", "top", "audit", "tokens"):
        site.call("GET", f"/v1/{path}")
    assert site.audit() == before


def test_the_chain_verifies_while_jobs_run_and_after_a_restart(site):
    running = site.submit(job("busy", WAITING))
    site.wait_log(running, "ready")
    good = site.call("POST", "/v1/audit/verify")
    assert good["ok"] and good["events"] >= len(site.audit())
    site.kill9()
    site.start()
    assert site.call("POST", "/v1/audit/verify")["ok"]
    assert site.cli("audit", "verify").returncode == 0


@pytest.mark.parametrize("change", [
    "UPDATE audit SET actor = 'mallory' WHERE sequence = 4",
    "UPDATE audit SET detail = coalesce(detail, '') || ' ' WHERE sequence = 4",
    "DELETE FROM audit WHERE sequence = 4",
    "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)",
    "UPDATE audit SET at_ms = at_ms + 1 WHERE sequence = 4"])
def test_an_event_that_was_changed_is_named(site, change):
    site.run(job("one", "true"))
    last = site.audit()[-1]["sequence"]
    site.stop()
    database = sqlite3.connect(f"{site.data}/muster.db")
    with database:
        changed = database.execute(change).rowcount
    database.close()
    assert changed == 1
    named = str(last if "max(" in change else 4)
    try:
        site.start()
    except AssertionError as refused:
        # The end of the chain is checked at every start.
        assert "audit" in str(refused)
        return
    found = site.call("POST", "/v1/audit/verify")
    assert not found["ok"] and named in found["detail"], found
    done = site.cli("audit", "verify", ok=False)
    assert done.returncode != 0 and named in done.stdout + done.stderr


def test_a_byte_changed_in_the_database_file_is_noticed(site):
    site.submit(job("needle", "true", hold=True))
    site.stop()
    path = f"{site.data}/muster.db"
    with open(path, "r+b") as database:
        content = database.read()
        at = content.rindex(b"job-submit")
        database.seek(at)
        database.write(b"job-submiT")
    try:
        site.start()
    except AssertionError as refused:
        assert "audit" in str(refused)
        return
    found = site.call("POST", "/v1/audit/verify")
    assert not found["ok"] and "audit" in found["detail"]
