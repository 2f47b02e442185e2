"""Price: what the server adds up against a ledger worked out by hand.

The only thing taken from the server are the moments at which each attempt got its place and gave
it back; what each of them costs is written here.
"""
import decimal

import pytest

import manifests
from manifests import job, moment, pool, team
from test_jobs import TRAINING, milliseconds

D = decimal.Decimal

# Per hour, large enough that a millisecond counts.
CPU, MEMORY_GIB, A100 = D(3600), D(7200), D(36000)
PRICES = {"currency": "EUR", "cpu": int(CPU), "memoryGiB": int(MEMORY_GIB),
          "accelerators": {"a100": int(A100)}}
NODES = [{"name": "n1", "cpu": 8, "memory": "8Gi", "disk": "40Gi",
          "accelerators": {"type": "a100", "count": 4}, "fractional": True}]
HOUR_MS = D(3_600_000)
TINY = D("0.000002")


def hour_price(cpu, gib, devices=0):
    return D(cpu) * CPU + D(gib) * MEMORY_GIB + D(devices) * A100


def held_ms(attempt):
    return D(milliseconds(attempt["ended"]) - milliseconds(attempt["admitted"]))


def near(amount, wanted):
    return abs(D(str(amount)) - wanted) <= TINY


@pytest.fixture
def ledger(muster):
    """Jobs of two teams that have ended, and what each should have cost, by name."""
    muster.apply(team(), team("speech"), pool(nodes=NODES, prices=PRICES))
    half = {"cpu": 1, "memory": "512Mi", "accelerator": {"type": "a100", "count": 0.5}}
    rates = {"plain": hour_price(1, D("0.0625")), "gang": 3 * hour_price(D("0.5"), D("0.25")),
             "device": hour_price(1, D("0.5"), D("0.5")), "failed": hour_price(2, D("0.0625"))}
    jobs = [job("plain", "sleep 0.2", labels={"model": "m1"}),
            job("gang", "sleep 0.1", gang={"size": 3}, labels={"model": "m1"},
                resources={"cpu": 0.5, "memory": "256Mi"}),
            job("device", "sleep 0.1", team="speech", labels={"model": "m2"}, resources=half),
            job("failed", "sleep 0.1; exit 1", resources={"cpu": 2},
                retries={"limit": 1, "backoff": "1ms"})]
    ids = [muster.submit(one) for one in jobs]
    ended = [muster.wait_ended(name) for name in ids]
    muster.entries = {}
    for one in ended:
        name = one["metadata"]["name"]
        held = sum(held_ms(attempt) for attempt in one["status"]["attemptList"])
        assert held > 0
        muster.entries[name] = {"id": one["status"]["id"], "team": one["metadata"]["team"],
                                "cost": rates[name] * held / HOUR_MS,
                                "model": one["metadata"]["labels"].get("model", "")}
    return muster


def report(muster, query):
    return muster.call("GET", f"/v1/cost?{query}")


def wanted(ledger, field):
    sums = {}
    for entry in ledger.entries.values():
        sums[entry[field]] = sums.get(entry[field], D(0)) + entry["cost"]
    return sums


@pytest.mark.parametrize("query,field", [("by=job", "id"), ("by=team", "team"),
                                         ("by=label:model", "model")])
def test_sums_equal_the_ledger(ledger, query, field):
    found = report(ledger, query)
    assert found["currency"] == "EUR"
    sums = wanted(ledger, field)
    assert {item["key"] for item in found["items"]} == set(sums)
    for item in found["items"]:
        assert near(item["cost"], sums[item["key"]]), (item, sums[item["key"]])
    assert near(found["total"]["cost"], sum(sums.values()))


def test_each_job_says_what_it_cost(ledger):
    for entry in ledger.entries.values():
        assert near(ledger.job(entry["id"])["status"]["cost"], entry["cost"]), entry


def test_work_that_failed_is_wasted_and_work_that_succeeded_is_not(ledger):
    failed = ledger.entries["failed"]
    assert near(ledger.job(failed["id"])["status"]["wasted"], failed["cost"])
    for name in ("plain", "gang", "device"):
        assert ledger.job(ledger.entries[name]["id"])["status"]["wasted"] == 0
    assert near(report(ledger, "by=team")["total"]["wasted"], failed["cost"])


def test_a_team_and_a_job_can_be_asked_for_alone(ledger):
    only = report(ledger, "by=job&team=speech")
    assert [item["name"] for item in only["items"]] == ["device"]
    one = report(ledger, f"by=job&job={ledger.entries['gang']['id']}")
    assert near(one["total"]["cost"], ledger.entries["gang"]["cost"])


def test_a_span_of_time_can_be_asked_for_and_spans_add_up(ledger):
    attempt = ledger.job(ledger.entries["plain"]["id"])["status"]["attemptList"][0]
    middle = attempt["started"]
    before = report(ledger, f"by=team&to={middle}")["total"]["cost"]
    after = report(ledger, f"by=team&from={middle}")["total"]["cost"]
    assert near(D(str(before)) + D(str(after)), sum(wanted(ledger, "id").values()))
    assert report(ledger, f"by=team&from={moment(3600)}")["total"]["cost"] == 0


def test_what_is_held_now_is_priced_to_now(ledger):
    running = ledger.submit(job("running", manifests.WAITING))
    ledger.wait_log(running, "ready")
    first = ledger.job(running)["status"]["cost"]
    ledger.wait_for(lambda: ledger.job(running)["status"]["cost"] > first, "a higher cost")


def test_capacity_is_what_is_held_and_what_is_idle(ledger):
    found = report(ledger, "by=team")
    assert near(D(str(found["capacity"])),
                D(str(found["total"]["cost"])) + D(str(found["idle"])))
    assert found["idle"] > 0


def test_prices_hold_from_when_they_were_set(ledger):
    before = report(ledger, "by=job")
    ledger.apply(pool(nodes=NODES, prices={**PRICES, "cpu": 1, "memoryGiB": 1}))
    assert report(ledger, "by=job")["items"] == before["items"]
    ledger.restart()
    assert report(ledger, "by=job")["items"] == before["items"]


def test_a_preemption_wastes_what_was_done_since_the_checkpoint(muster):
    muster.apply(team(), team("fraud"),
                 pool(nodes=[{**NODES[0], "cpu": 4}], prices={"currency": "EUR", "cpu": 3600}))
    victim = muster.submit(job("train", TRAINING, resources={"cpu": 4}, priority="low"))
    muster.wait_log(victim, "checkpoint")
    muster.wait_for(lambda: muster.job(victim)["status"].get("checkpoint"), "the checkpoint's report")
    muster.run(job("urgent", "true", team="fraud", priority="urgent"))
    status = muster.wait_ended(victim)["status"]
    first, second = status["attemptList"]
    lost_ms = milliseconds(first["ended"]) - milliseconds(first["checkpoint"])
    # Four CPUs at one unit a second each.
    assert near(status["cost"], 4 * (held_ms(first) + held_ms(second)) / 1000)
    assert near(status["wasted"], D(4 * lost_ms) / 1000), (status, lost_ms)


def test_the_command_line_gives_csv(ledger):
    lines = ledger.cli("cost", "--by", "team", "-o", "csv").stdout.splitlines()
    head = lines[0].lower().split(",")
    rows = [dict(zip(head, line.split(","))) for line in lines[1:]]
    sums = wanted(ledger, "team")
    for row in rows:
        if row[head[0]] in sums:
            assert near(row["cost"], sums[row[head[0]]])
    assert set(sums) <= {row[head[0]] for row in rows}
