"""Gangs that wait for room get a promise of a place; racks; both with a real server."""
import pytest

import manifests

RACKS = [{"name": "a", "count": 4, "cpu": 1, "memory": "4Gi", "disk": "4Gi"}]


@pytest.fixture
def at_once(muster_stopped):
    """A server that promises a place to the first job that waits, with a pool of two CPUs."""
    muster_stopped.start("--reserve-after", "0s")
    muster_stopped.apply(manifests.team(), manifests.pool(nodes=[
        {"name": "n", "count": 2, "cpu": 1, "memory": "4Gi", "disk": "4Gi"}]))
    return muster_stopped


def why(muster, name, text):
    return muster.wait_for(
        lambda: text in (muster.job(f"vision:{name}")["status"].get("why") or ""),
        f"{name} to say: {text}")


def test_a_gang_is_promised_a_place_and_nothing_takes_it(at_once):
    at_once.submit(manifests.job("long", manifests.WAITING, timeLimit="2h"))
    at_once.wait_job("vision:long", "running")
    at_once.submit(manifests.job("gang", "true", gang={"size": 2}))
    why(at_once, "gang", "a place is kept for it on")
    at_once.submit(manifests.job("open", "true"))
    why(at_once, "open", "kept for gang")
    at_once.submit(manifests.job("late", "true", timeLimit="3h"))
    why(at_once, "late", "its own time limit does not end before that")
    # What ends before the promise starts at once, and ends.
    at_once.submit(manifests.job("short", "true", timeLimit="10m"))
    at_once.wait_job("vision:short", "succeeded")
    assert at_once.job("vision:open")["status"]["state"] == "queued"
    at_once.call("POST", "/v1/jobs/vision:long/cancel")
    at_once.wait_job("vision:gang", "succeeded")
    at_once.wait_job("vision:open", "succeeded")


def test_what_is_kept_for_another_team_is_not_named(at_once):
    at_once.apply(manifests.team("speech"))
    at_once.submit(manifests.job("long", manifests.WAITING, timeLimit="2h"))
    at_once.wait_job("vision:long", "running")
    at_once.submit(manifests.job("gang", "true", gang={"size": 2}))
    why(at_once, "gang", "a place is kept for it on")
    reference = at_once.submit(manifests.job("open", "true", team="speech"))
    said = at_once.wait_for(lambda: at_once.job(reference)["status"].get("why"), "a reason")
    assert "kept for another team's job from" in said and "gang" not in said


def test_a_promise_is_the_same_after_a_restart(at_once):
    at_once.submit(manifests.job("long", manifests.WAITING, timeLimit="2h"))
    at_once.wait_job("vision:long", "running")
    at_once.submit(manifests.job("gang", "true", gang={"size": 2}))
    why(at_once, "gang", "a place is kept for it on")
    before = at_once.job("vision:gang")["status"]["why"]
    at_once.stop()
    at_once.start("--reserve-after", "0s")
    assert at_once.job("vision:gang")["status"]["why"] == before


def test_a_gang_stays_within_a_rack(muster):
    muster.apply(manifests.team(), manifests.pool(
        nodes=RACKS, topology={"levels": [{"name": "rack", "nodes": 2}]}))
    muster.submit(manifests.job("one", manifests.WAITING))
    muster.wait_job("vision:one", "running")
    # Three nodes are free, two of them in one rack.
    muster.submit(manifests.job("pair", manifests.WAITING, gang={"size": 2},
                                topology={"within": "rack", "mode": "required"}))
    muster.wait_job("vision:pair", "running")
    muster.submit(manifests.job("next", "true", gang={"size": 2},
                                topology={"within": "rack", "mode": "required"}))
    why(muster, "next", "1 of its 2 ranks would fit")
    answer = muster.api("POST", "/v1/jobs", manifests.job(
        "three", "true", gang={"size": 3}, topology={"within": "rack", "mode": "required"}))
    assert answer.status == 422 or answer.status == 400
    assert "no rack holds 3 ranks, idle; the largest, a-rack-1, holds 2" in answer.text
    answer = muster.api("POST", "/v1/jobs", manifests.job(
        "typo", "true", topology={"within": "rak"}))
    assert "no pool has a level rak: expected one of rack, node, socket" in answer.text


def test_devices_of_a_rank_are_within_a_socket(muster):
    node = {"name": "n", "cpu": 8, "memory": "16Gi", "disk": "16Gi",
            "accelerators": {"type": "gpu", "count": 8}, "sockets": ["0-3", "4-7"]}
    muster.apply(manifests.team(), manifests.pool(nodes=[node]))

    def devices(name, count, **spec):
        muster.submit(manifests.job(name, "echo devices $CUDA_VISIBLE_DEVICES; " + manifests.WAITING,
                                    resources={"accelerator": {"type": "gpu", "count": count}},
                                    **spec))
        text = muster.wait_log(f"vision:{name}", "ready")
        return text.split("devices ")[1].split()[0]

    assert devices("three", 3) == "0,1,2"
    assert devices("two", 2) == "4,5"  # and not 3 and 4
    within = {"within": "socket", "mode": "required"}
    assert devices("pair", 2, topology=within) == "6,7"
    muster.submit(manifests.job("waits", "true", topology=within,
                                resources={"accelerator": {"type": "gpu", "count": 2}}))
    why(muster, "waits", "there is no room now: 0 of its 1 ranks would fit")
    answer = muster.api("POST", "/v1/jobs", manifests.job(
        "large", "true", topology=within, resources={"accelerator": {"type": "gpu", "count": 5}}))
    assert "no socket holds" in answer.text
    broken = manifests.pool(nodes=[{**node, "sockets": ["0-3", "3-7"]}])
    answer = muster.api("POST", "/v1/apply", {"objects": [broken]})
    assert "spec.nodes[0].sockets" in answer.text and "another socket" in answer.text
