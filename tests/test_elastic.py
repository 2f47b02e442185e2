"""Jobs that can have more or fewer ranks, under an allotment that decides in rounds."""
import json

import pytest

from manifests import WAITING, job, pool, team
from planner import Planner

ARGUMENTS = ("--allotment", "elastic", "--round", "1s")


@pytest.fixture
def elastic(muster_stopped):
    """A site of four accelerators whose rounds are a second apart."""
    muster_stopped.start(*ARGUMENTS)
    muster_stopped.apply(
        pool(nodes=[{"name": "n1", "cpu": 8, "memory": "16Gi", "disk": "40Gi",
                     "accelerators": {"type": "gpu", "count": 4}}]),
        team())
    return muster_stopped


@pytest.fixture
def foretold(elastic):
    """The same with a planner, which is told what the server's core was made with."""
    planner = Planner(elastic).start()
    try:
        yield planner.ready().muster
    finally:
        planner.teardown()


def gang(name, script, low=1, high=4, **spec):
    return job(name, script, gang={"size": low, "min": low, "max": high},
               resources={"accelerator": {"type": "gpu", "count": 1}}, **spec)


# Says how far it is and how fast it would be with how many ranks, then waits to be stopped.
REPORTING = """
trap 'exit 0' TERM
echo "ranks $WORLD_SIZE"
[ "$RANK" = 0 ] && echo '{"done": 10, "total": 1000000, "speeds": {"1": 10, "2": 20, "4": 40}}' \
    >> $MUSTER_METRICS
while :; do sleep 0.05; done
"""


def ranks(server, reference):
    """Of the attempt that runs; 0: none."""
    status = server.job(reference)["status"]
    live = [a for a in status.get("attemptList", []) if a["state"] == "started"]
    return live[0]["size"] if live else 0


def test_a_job_alone_gets_all_and_gives_half_to_one_that_comes(elastic):
    first = elastic.submit(gang("first", REPORTING))
    elastic.wait_for(lambda: ranks(elastic, first) == 4, "the first has all four")
    second = elastic.submit(gang("second", REPORTING))
    elastic.wait_for(lambda: ranks(elastic, first) == ranks(elastic, second) == 2, "both have two")
    ended = [a for a in elastic.job(first)["status"]["attemptList"] if a["state"] == "ended"]
    assert ended and {a["reason"] for a in ended} <= {"resized", "preempted"}
    assert "ranks 2" in elastic.wait_log(first, "ranks 2")
    elastic.call("POST", f"/v1/jobs/{second}/cancel")
    elastic.wait_for(lambda: ranks(elastic, first) == 4, "the first has all four again")


def test_a_job_of_one_size_and_one_without_accelerators_run_beside(elastic):
    fixed = elastic.submit(gang("fixed", WAITING, low=2, high=2))
    plain = elastic.submit(job("plain", WAITING))
    elastic.wait_for(lambda: ranks(elastic, fixed) == 2, "the gang of one size runs")
    elastic.wait_for(lambda: ranks(elastic, plain) == 1, "what asks for no accelerator runs")
    grown = elastic.submit(gang("grown", REPORTING))
    elastic.wait_for(lambda: ranks(elastic, grown) == 2, "the rest goes to who can use it")


def test_rounds_go_on_after_a_restart(elastic):
    first = elastic.submit(gang("first", REPORTING))
    elastic.wait_for(lambda: ranks(elastic, first) == 4, "it has all four")
    elastic.kill9()
    elastic.start(*ARGUMENTS)
    second = elastic.submit(gang("second", REPORTING))
    elastic.wait_for(lambda: ranks(elastic, second) > 0, "the second runs")


def test_an_allotment_that_is_not_there_is_named(muster, tmp_path):
    said = muster.cli("server", "--data", str(tmp_path / "other"), "--allotment", "none", ok=False)
    assert "expected one of fair, tiresias" in said.stderr


def explained(server, name, kind):
    def seen():
        found = server.call("GET", f"/v1/jobs/vision:{name}/explain")
        told = found.get("waits", {}).get("kind") == kind and "noForecast" not in found
        return found if told else None
    return server.wait_for(seen, f"{name} to wait for {kind}")


def test_what_a_round_gave_nothing_is_told_so_and_when_it_starts(foretold):
    """Four fixed ranks run, as many wait: the policy's rounds, and a forecast by the same rounds."""
    first = foretold.submit(gang("first", WAITING, low=4, high=4, preemptible=False,
                                 timeLimit="30m"))
    foretold.wait_for(lambda: ranks(foretold, first) == 4, "the first has all four")
    foretold.submit(gang("second", WAITING, low=4, high=4))
    found = explained(foretold, "second", "round")
    waits = found["waits"]
    assert (waits["policy"], waits["target"], waits["held"], waits["need"]) == ("elastic", 0, 0, 4)
    assert waits["until"] > found["asOf"]
    assert found["words"][0].startswith("The allotment elastic decides in rounds who runs")
    assert [holder["name"] for holder in found["holders"]["items"]] == ["first"]
    assert found["start"]["runs"] == 9 and found["start"]["known"] > 0
    assert found["start"]["earliest"] > found["asOf"]
    assert "elastic" in foretold.job("vision:second")["status"]["why"]


def test_a_forecast_lets_two_share_what_one_has(foretold):
    """One job that may shrink has all four: whoever comes starts at the next round, not at its end.
    Under fair nobody shrinks, and it starts when the first has ended, half an hour from now or more."""
    first = foretold.submit(gang("first", REPORTING))
    foretold.wait_for(lambda: ranks(foretold, first) == 4, "the first has all four")
    foretold.apply(team("none"))
    foretold.submit(job("held", WAITING, team="none", gang={"size": 2}, hold=True,
                        resources={"accelerator": {"type": "gpu", "count": 1}}))
    foretold.apply(team("none", quota={"gpu": {"limit": 0}}))
    foretold.call("POST", "/v1/jobs/none:held/release")
    raised = json.dumps(team("none", quota={"gpu": {"limit": 4}}))
    starts = {}
    for policy in ("elastic", "fair"):
        answer = json.loads(foretold.cli("whatif", "-f", "-", "--policy", policy, "--job",
                                         "none/held", "-o", "json", stdin=raised).stdout)
        assert answer["runs"] == 5 and answer["total"]["waiting"] == 1
        assert answer["total"]["today"]["notStarted"] == 1
        starts[policy] = answer["jobs"]["items"][0]["changed"]
        assert starts[policy]["known"] == 5
    assert starts["elastic"]["latest"] < starts["fair"]["earliest"]
    assert foretold.job("none:held")["status"]["state"] == "queued"  # nothing was changed
