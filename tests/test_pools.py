"""Many pools: which one a job goes to, bursting to a priced one, what is refused and audited, why."""
import json

import pytest

from manifests import WAITING, dataset, job, moment, pool, team
from planner import Planner


def of_four(name, **spec):
    """A pool of one node, which has the pool's name."""
    return pool(name, [{"name": name, "cpu": 4, "memory": "16Gi", "disk": "40Gi"}], **spec)


def priced(name, cents, **spec):
    """One whose CPUs cost so many hundredths an hour."""
    return of_four(name, prices={"cpu": cents / 100, **spec.pop("prices", {})}, **spec)


def place(muster, name):
    """The pool that the job runs in."""
    muster.wait_job(f"vision:{name}", "running")
    attempt = muster.job(f"vision:{name}")["status"]["attemptList"][-1]
    return attempt["placements"][0]["node"].split("/")[0]


def explain(muster, name):
    return muster.call("GET", f"/v1/jobs/vision:{name}/explain")


def pools_of(found):
    return {one["pool"]: one for one in found["pools"]}


def details(muster, action):
    return [json.loads(event["detail"]) if isinstance(event["detail"], str) else event["detail"]
            for event in muster.audit() if event["action"] == action]


@pytest.fixture
def planner(muster):
    planner = Planner(muster).start()
    try:
        yield planner.ready()
    finally:
        planner.teardown()


def test_a_job_goes_to_the_cheapest_pool_that_has_room(muster):
    muster.apply(team(), priced("dear", 30), priced("cheap", 10), priced("middle", 20))
    muster.submit(job("first", WAITING, resources={"cpu": 4}))
    muster.submit(job("second", WAITING, resources={"cpu": 4}))
    assert [place(muster, name) for name in ("first", "second")] == ["cheap", "middle"]
    found = pools_of(explain(muster, "first"))
    assert (found["cheap"]["verdict"], found["cheap"]["cost"]) == ("here", 0.4)
    assert found["dear"]["verdict"] == "behind" and found["middle"]["verdict"] == "no-room"
    words = " ".join(explain(muster, "first")["words"])
    assert "It is in the pool cheap, which costs 0.4 EUR" in words
    assert "dear goes after it: it costs 1.2 EUR; middle has no room: 0 of 1 ranks" in words


def test_what_a_job_reads_draws_it_to_where_it_lies(muster, tmp_path):
    """A MiB at 1,000,000 for a GiB is 976.56: more than any pool of this test costs."""
    muster.apply(team(), priced("cheap", 10, site="south"),
                 priced("home", 90, site="north", prices={"egressGiB": 1000000}),
                 dataset("tall", site="north"), dataset("anywhere"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files/data").write_bytes(b"x" * (1 << 20))
    for name in ("tall", "anywhere"):
        muster.cli("dataset", "push", f"vision/{name}", tmp_path / "files")
    for name, expected in (("tall", "home"), ("anywhere", "cheap")):
        muster.submit(job(f"reads-{name}", WAITING, inputs=[{"name": "in", "dataset": name}]))
        assert place(muster, f"reads-{name}") == expected
    found = pools_of(explain(muster, "reads-tall"))
    assert found["cheap"]["egress"] == 976.5625 and "egress" not in found["home"]
    assert "It reads dataset/vision/tall:1, which lies at north." in explain(
        muster, "reads-tall")["words"]


def test_a_deadline_says_on_which_sort_of_capacity(muster):
    """Time enough: on spot capacity. Hardly any: not there, though it would be cheaper."""
    muster.apply(team(), priced("stays", 100), priced("spot", 10, spot=True))
    muster.submit(job("patient", WAITING, deadline=moment(3600), duration="10m"))
    muster.submit(job("urgent", WAITING, deadline=moment(605), duration="10m"))
    assert (place(muster, "patient"), place(muster, "urgent")) == ("spot", "stays")
    found = explain(muster, "patient")
    assert (pools_of(found)["stays"]["lacks"], pools_of(found)["stays"]["hourPrice"]) == ("on-spot", 1)
    assert "stays is not for it now: by its deadline and the work that is left it is to run on spot " \
        "capacity" in " ".join(found["words"])
    found = explain(muster, "urgent")
    assert pools_of(found)["spot"]["lacks"] == "on-demand"
    assert "spot is not for it now: by its deadline and the work that is left it is to run on " \
        "capacity that is not spot" in " ".join(found["words"])


def test_what_was_brought_to_a_site_is_there_for_the_next(muster, tmp_path):
    """A MiB at 1000 for a GiB is 0.976563: less than what an hour at home costs more."""
    muster.apply(team(), priced("away", 10, site="south", keepInputs="1h"),
                 priced("home", 200, site="north", prices={"egressGiB": 1000}),
                 dataset("tall", site="north"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files/data").write_bytes(b"x" * (1 << 20))
    muster.cli("dataset", "push", "vision/tall", tmp_path / "files")
    reads = {"inputs": [{"name": "in", "dataset": "tall"}], "timeLimit": "1h"}
    assert muster.call("GET", "/v1/copies")["items"] == []
    muster.submit(job("first", WAITING, **reads))
    assert place(muster, "first") == "away"
    copy, = muster.call("GET", "/v1/copies")["items"]
    assert (copy["version"], copy["site"], copy["bytes"]) == ("dataset/vision/tall:1", "south", 1 << 20)
    assert copy["egress"] == 0.976563
    brought, = details(muster, "data-copy")
    assert (brought["site"], brought["pool"], brought["egress"]) == ("south", "away", "0.976563")
    words = " ".join(explain(muster, "first")["words"])
    assert "It reads dataset/vision/tall:1, which lies at north, and is at south since " in words
    muster.submit(job("second", WAITING, **reads))
    assert place(muster, "second") == "away"
    assert "egress" not in pools_of(explain(muster, "second"))["away"]
    assert len(details(muster, "data-copy")) == 1
    assert "dataset/vision/tall:1" in muster.cli("get", "copies").stdout
    # Who is of another team sees no copy of this one's, and a page that may have one behind it.
    muster.apply(team("speech", members=[{"user": "other", "role": "viewer"}]))
    token = muster.call("POST", "/v1/tokens", {"user": "other"})["token"]
    page = muster.api("GET", "/v1/copies?limit=1", token=token).json
    assert page["items"] == [] and "next" in page
    muster.stop()
    muster.start()
    assert [one["name"] for one in muster.call("GET", "/v1/copies")["items"]] == [
        "dataset/vision/tall:1@south"]


def test_bursting_has_a_reason_a_budget_and_refusals_that_are_audited(muster, tmp_path):
    muster.apply(team(), of_four("own", jurisdiction="eu"),
                 priced("cloud", 100, jurisdiction="us", burst={"after": "1m", "budget": 5}),
                 dataset("patients", jurisdiction="eu"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files/data").write_text("x")
    muster.cli("dataset", "push", "vision/patients", tmp_path / "files")
    muster.submit(job("own", WAITING, resources={"cpu": 4}, timeLimit="2h"))
    assert place(muster, "own") == "own"
    # Two hours are foreseen, and a minute is enough: four CPUs for an hour and a grace of 4.03.
    muster.submit(job("comes", WAITING, resources={"cpu": 4}, timeLimit="1h"))
    assert place(muster, "comes") == "cloud"
    burst, = details(muster, "burst")
    assert (burst["pool"], burst["because"], burst["currency"]) == ("cloud", "for-wait", "EUR")
    assert 4 <= float(burst["costMost"]) < 5 and burst["waitMs"] > 60 * 60 * 1000
    assert "takes it under its burst policy: it waits too long elsewhere" in " ".join(
        explain(muster, "comes")["words"])
    muster.call("POST", "/v1/jobs/vision:comes/cancel")
    muster.wait_ended("vision:comes")
    # It cost nearly nothing. One that costs 6 at most is beyond 5; one without a bound, and one
    # that reads what may not leave, do not come either.
    muster.submit(job("large", WAITING, resources={"cpu": 3}, timeLimit="2h"))
    muster.submit(job("endless", WAITING, resources={"cpu": 2}))
    muster.submit(job("bound", WAITING, timeLimit="1h",
                      inputs=[{"name": "in", "dataset": "patients"}]))
    refused = muster.wait_for(
        lambda: (lambda all_: all_ if len(all_) == 3 else None)(details(muster, "burst-refused")),
        "three refusals")
    assert sorted(one["because"] for one in refused) == [
        "jurisdiction", "over-budget", "unbounded"]
    for name, verdict in (("large", "over-budget"), ("endless", "unbounded"),
                          ("bound", "jurisdiction")):
        found = explain(muster, name)
        assert found["state"] == "queued"
        assert pools_of(found)["cloud"]["burst"] == verdict
        assert "cloud may not take it" in " ".join(found["words"])
    muster.apply(priced("cloud", 100, jurisdiction="us", burst={"after": "1m", "budget": 50}))
    assert place(muster, "large") == "cloud"


def test_what_runs_under_a_burst_policy_is_the_same_after_a_restart(muster):
    muster.apply(team(), priced("cloud", 100, burst={"after": "0s", "budget": 5}))
    muster.submit(job("one", WAITING, resources={"cpu": 2}, timeLimit="2h"))
    assert place(muster, "one") == "cloud"
    muster.stop()
    muster.start()
    muster.submit(job("two", WAITING, resources={"cpu": 1}, timeLimit="2h"))
    muster.wait_for(lambda: details(muster, "burst-refused"), "a refusal")
    assert muster.job("vision:one")["status"]["state"] == "running"
    assert len(details(muster, "burst")) == 1


def test_a_burst_policy_without_a_budget_is_refused(muster):
    answer = muster.api("POST", "/v1/apply", {"objects": [
        priced("cloud", 100, burst={"after": "1m"})]})
    assert answer.status == 422 and "burst.budget" in answer.text


def own_and_cloud(muster, after, limit):
    """One runs at home, which leaves no room for another."""
    muster.apply(team(), of_four("own"), priced("cloud", 1, burst={"after": after, "budget": 50}))
    muster.submit(job("runs", WAITING, resources={"cpu": 4}, **limit))
    assert place(muster, "runs") == "own"
    muster.submit(job("waits", WAITING, resources={"cpu": 4}, timeLimit="1h"))


NINE_OF_TEN = {"after": "9h", "limit": {"timeLimit": "10h"}}
NO_LIMIT = {"after": "5m", "limit": {}}


def test_a_forecast_keeps_a_job_that_time_limits_would_send(muster, planner):
    """What runs may take ten hours by its limit; few things take that long."""
    assert planner
    own_and_cloud(muster, **NINE_OF_TEN)

    def foretold():
        return pools_of(explain(muster, "waits"))["cloud"].get("forecast")
    muster.wait_for(foretold, "a forecast of the wait")
    found = explain(muster, "waits")
    assert pools_of(found)["cloud"]["burst"] == "soon" and found["state"] == "queued"
    assert "by the forecast of " in " ".join(found["words"])
    assert details(muster, "burst") == []
    # The same runs say when it would start in each pool; it starts where it is offered a place first.
    start = pools_of(found)["own"]["start"]
    assert start["of"] > 1 and start["known"] > start["of"] / 2 and start["in"]
    words = " ".join(found["words"])
    assert "own has no room: 0 of 1 ranks would fit, and would cost 0" in words, words
    assert ", foreseen to start it in " in words
    assert pools_of(found)["cloud"]["start"]["known"] == 0


def test_the_same_job_is_sent_without_a_planner(muster):
    own_and_cloud(muster, **NINE_OF_TEN)
    assert place(muster, "waits") == "cloud"
    assert "forecastAgeMs" not in details(muster, "burst")[0]


def test_a_forecast_sends_a_job_that_time_limits_would_keep(muster, planner):
    """Of what runs without a limit the bound knows nothing."""
    assert planner
    own_and_cloud(muster, **NO_LIMIT)
    assert place(muster, "waits") == "cloud"
    burst, = details(muster, "burst")
    assert burst["because"] == "for-wait" and 0 <= burst["forecastAgeMs"] <= 120000
    assert "by the forecast of " in " ".join(explain(muster, "waits")["words"])


def test_the_same_job_waits_without_a_planner(muster):
    own_and_cloud(muster, **NO_LIMIT)
    muster.wait_job("vision:waits", "queued")
    found = explain(muster, "waits")
    assert pools_of(found)["cloud"]["burst"] == "soon"
    assert "forecast" not in pools_of(found)["cloud"]


def test_what_may_be_in_none_of_its_pools_is_refused_at_submission(muster, tmp_path):
    muster.apply(team(), of_four("own", jurisdiction="ch"), of_four("cloud", jurisdiction="us"),
                 dataset("patients", jurisdiction="ch"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files/data").write_text("x")
    muster.cli("dataset", "push", "vision/patients", tmp_path / "files")
    reads = {"inputs": [{"name": "in", "dataset": "patients"}]}
    answer = muster.api("POST", "/v1/apply", {"objects": [
        job("sent", WAITING, placement={"pool": "cloud"}, **reads)]})
    assert answer.status == 422, answer.text
    for word in ("dataset/vision/patients:1", "jurisdiction ch", "cloud (us)"):
        assert word in answer.text
    refused, = details(muster, "job-refuse")
    assert refused["data"] == "dataset/vision/patients:1" and refused["pools"] == "cloud (us)"
    # It may run at home, and waits; then nobody is at home any more.
    muster.submit(job("fills", WAITING, resources={"cpu": 4}, placement={"pool": "own"}))
    muster.wait_job("vision:fills", "running")
    muster.submit(job("stays", WAITING, resources={"cpu": 4}, **reads))
    muster.wait_job("vision:stays", "queued")
    muster.apply(of_four("own", jurisdiction="de"))
    stranded, = details(muster, "job-stranded")
    assert stranded["jurisdiction"] == "ch" and "own (de), cloud (us)" in stranded["pools"]
    assert "is not in the jurisdiction where it, or what it reads, has to stay" in " ".join(
        explain(muster, "stays")["words"])


def test_a_jurisdiction_that_comes_later_holds_for_older_versions(muster, tmp_path):
    muster.apply(team(), of_four("cloud", jurisdiction="us"), dataset("scans"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files/data").write_text("x")
    muster.cli("dataset", "push", "vision/scans", tmp_path / "files")
    muster.apply(dataset("scans", jurisdiction="ch"))
    answer = muster.api("POST", "/v1/apply", {"objects": [
        job("late", WAITING, inputs=[{"name": "in", "dataset": "scans"}])]})
    assert answer.status == 422 and "dataset/vision/scans:1" in answer.text


def test_nodes_come_in_pages_and_each_once(muster):
    muster.apply(*(of_four(f"p{i}") for i in range(5)))
    whole = [node["name"] for node in muster.call("GET", "/v1/nodes")["items"]]
    assert {f"p{i}" for i in range(5)} <= {name.split("/")[-1] for name in whole}
    for limit in (1, 2, len(whole), len(whole) + 1):
        seen, after, pages = [], "", 0
        while after is not None and pages <= len(whole):
            page = muster.call("GET", f"/v1/nodes?limit={limit}{after}")
            assert len(page["items"]) <= limit
            seen += [node["name"] for node in page["items"]]
            after = f"&after={page['next']}" if "next" in page else None
            pages += 1
        assert after is None and seen == whole
    assert muster.api("GET", "/v1/nodes?limit=2&after=x").status == 422
