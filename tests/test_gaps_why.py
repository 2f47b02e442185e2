"""A job that waits says why."""
import manifests


def why(muster, name):
    return muster.wait_for(lambda: muster.job(f"vision:{name}")["status"].get("why"),
                           f"{name} to say why it waits")


def test_a_held_job_says_so(site):
    site.submit(manifests.job("j", "true", hold=True))
    assert "held" in why(site, "j")


def test_a_job_that_waits_for_another_names_it(site):
    site.submit(manifests.job("first", "true", hold=True))
    site.submit(manifests.job("second", "true", dependsOn=["first"]))
    assert why(site, "second") == "it waits for first"


def test_a_job_that_starts_later_says_when(site):
    later = manifests.moment(3600)
    site.submit(manifests.job("j", "true", startAfter=later))
    assert why(site, "j").startswith(f"it starts at {later[:16]}")


def test_a_limit_of_a_team_is_named(muster):
    muster.apply(manifests.team(quota={"cpu": {"limit": 1}}), manifests.pool())
    muster.submit(manifests.job("one", manifests.WAITING))
    muster.submit(manifests.job("two", "true"))
    assert why(muster, "two") == (
        "the team vision is at its limit: it holds 1 of 1 cpu, and this needs 1")


def test_a_full_pool_says_how_much_would_fit(site):
    site.submit(manifests.job("one", manifests.WAITING, resources={"cpu": 3}))
    site.submit(manifests.job("two", "true", gang={"size": 2}))
    assert why(site, "two") == "there is no room now: 1 of its 2 ranks would fit"


def test_cordoned_nodes_are_named(site):
    site.call("POST", "/v1/nodes/site/n1/cordon")
    site.submit(manifests.job("j", "true"))
    assert "cordoned" in why(site, "j")


def test_a_job_that_runs_has_nothing_to_say(site):
    site.submit(manifests.job("j", manifests.WAITING))
    site.wait_job("vision:j", "running")
    assert "why" not in site.job("vision:j")["status"]


def test_a_job_that_no_pool_could_hold_any_more_says_so(site):
    site.submit(manifests.job("one", manifests.WAITING, resources={"cpu": 3}))
    site.wait_job("vision:one", "running")
    site.submit(manifests.job("two", "true", resources={"cpu": 4}))
    site.wait_job("vision:two", "queued")
    site.apply(manifests.pool(
        nodes=[{"name": "n1", "cpu": 3, "memory": "16Gi", "disk": "40Gi"}]))
    assert why(site, "two").startswith("no pool could hold it any more")
