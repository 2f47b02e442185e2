"""Placement, victims and spot capacity by other policies than the default, in a live server."""
import pytest

from manifests import WAITING, job, moment, pool, team

BIG_FIRST = [{"name": "big", "cpu": 4, "memory": "8Gi", "disk": "8Gi"},
             {"name": "small", "cpu": 2, "memory": "4Gi", "disk": "4Gi"}]


def node_of(server, name):
    server.wait_job(f"vision:{name}", "running")
    attempts = server.job(f"vision:{name}")["status"]["attemptList"]
    return attempts[-1]["placements"][0]["node"]


@pytest.mark.parametrize("arguments, node", [((), "small"), (("--placement", "first-fit"), "big")])
def test_the_node_is_the_placement_policys(muster_stopped, arguments, node):
    muster_stopped.start(*arguments)
    muster_stopped.apply(pool(nodes=BIG_FIRST), team())
    muster_stopped.submit(job("one", WAITING))
    assert node in node_of(muster_stopped, "one")


@pytest.mark.parametrize("arguments, stays", [((), "young"), (("--victims", "youngest-first"), "old")])
def test_who_gives_way_is_the_victims_policys(muster_stopped, arguments, stays):
    """The older one saves its work when it is told to stop: it loses nothing."""
    muster_stopped.start(*arguments)
    muster_stopped.apply(pool(nodes=[{"name": "n", "cpu": 2, "memory": "8Gi", "disk": "8Gi"}]),
                         team())
    for name, saves in (("old", True), ("young", False)):
        muster_stopped.submit(job(name, WAITING, checkpoint={"onStop": saves}))
        muster_stopped.wait_job(f"vision:{name}", "running")
    muster_stopped.submit(job("urgent", WAITING, priority="urgent"))
    muster_stopped.wait_job("vision:urgent", "running")
    states = {name: muster_stopped.job(f"vision:{name}")["status"]["state"]
              for name in ("old", "young")}
    assert [name for name, state in states.items() if state == "running"] == [stays], states


@pytest.mark.parametrize("arguments, taken", [((), "cheap"), (("--spot", "on-demand"), "dear")])
def test_who_uses_spot_capacity_is_the_spot_policys(muster_stopped, arguments, taken):
    node = [{"name": "n", "cpu": 2, "memory": "8Gi", "disk": "8Gi"}]
    muster_stopped.start(*arguments)
    muster_stopped.apply(team(), pool("cheap", nodes=node, spot=True), pool("dear", nodes=node))
    muster_stopped.submit(job("late", WAITING, deadline=moment(86400), duration="1h",
                              placement={"spot": "allowed"}))
    assert taken in node_of(muster_stopped, "late")


@pytest.mark.parametrize("option, first", [
    ("placement", "default"), ("victims", "least-loss"), ("spot", "slack")])
def test_a_policy_that_is_not_there_is_named(muster, tmp_path, option, first):
    said = muster.cli("server", "--data", str(tmp_path / "other"), f"--{option}", "best",
                      ok=False)
    assert said.returncode != 0
    assert f"--{option}: expected one of {first}, " in said.stderr and "got best" in said.stderr
