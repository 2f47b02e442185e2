"""Arrays and dependencies on a real Slurm: each element is a job of its own there, and what waits for another is
submitted when that has ended as it asks."""
import manifests
from test_slurm import cluster, ended, job, last_attempt, pytestmark, site  # noqa: F401

COUNT = 6
# Runs are counted where all attempts of an element see it; 2 fails for good, 4 at its first attempt.
ELEMENT = """
echo run >> $MUSTER_CHECKPOINT_DIR/runs
echo $MUSTER_ARRAY_INDEX of $MUSTER_ARRAY_COUNT, runs: $(wc -l < $MUSTER_CHECKPOINT_DIR/runs).
[ $MUSTER_ARRAY_INDEX = 2 ] && exit 3
[ $MUSTER_ARRAY_INDEX = 4 ] && [ $MUSTER_ATTEMPT = 1 ] && exit 4
exit 0
"""


def element(index):
    return f"{manifests.TEAM}:sweep[{index}]"


def test_an_array_that_fails_partly_and_what_waits_for_it(site, cluster):  # noqa: F811
    whole = f"{manifests.TEAM}:sweep"
    site.submit(job("sweep", ELEMENT, array={"count": COUNT}, retries={"limit": 1, "backoff": "0s"}, hold=True))
    good = site.submit(job("good", "echo good", dependsOn=["sweep[1]"]))
    strict = site.submit(job("strict", "echo never", dependsOn=["sweep[1]", "sweep[2]"]))
    after = site.submit(job("after", "echo after", dependsOn=[
        {"job": f"sweep[{index}]", "condition": "ended"} for index in range(COUNT)]))
    last = site.submit(job("last", "echo last", dependsOn=["after", "good"]))
    site.call("POST", f"/v1/jobs/{whole}/release")
    site.kill9()
    site.start()
    status = ended(site, whole, "failed")
    assert status["elementStates"] == {"succeeded": COUNT - 1, "failed": 1}
    numbers = []
    for index in range(COUNT):
        status = site.job(element(index))["status"]
        attempts = 2 if index in (2, 4) else 1
        assert len(status["attemptList"]) == attempts, status
        assert f"{index} of {COUNT}, runs: {attempts}.\n" in site.logs(element(index))
        numbers += [attempt["site"]["id"] for attempt in status["attemptList"]]
    assert len(set(numbers)) == COUNT + 2, "each attempt is a job of its own at the cluster"
    status = ended(site, strict, "failed")
    assert (status["reason"], status["attempts"]) == ("dependency", 0)
    for reference in (good, after, last):
        status = ended(site, reference)
        assert len(status["attemptList"]) == 1
    began = [last_attempt(site, reference)["started"] for reference in (after, last)]
    assert began == sorted(began)
    assert not cluster.run("squeue", "-h", "--name=strict"), "what never may begin is never submitted"


def test_elements_run_no_more_at_once_than_the_array_says(site, cluster):  # noqa: F811
    """And one that is cancelled alone leaves the others alone."""
    site.submit(job("narrow", manifests.WAITING, array={"count": 4, "parallel": 2}))
    first = [f"{manifests.TEAM}:narrow[{index}]" for index in range(2)]
    for reference in first:
        site.wait_log(reference, "ready")
    assert len(cluster.run("squeue", "-h", "--name=narrow,narrow[0],narrow[1],narrow[2],narrow[3]").splitlines()) == 2
    site.call("POST", f"/v1/jobs/{first[0]}/cancel")
    ended(site, first[0], "cancelled")
    site.wait_log(f"{manifests.TEAM}:narrow[2]", "ready")
    assert site.job(first[1])["status"]["state"] == "running"
    site.call("POST", f"/v1/jobs/{manifests.TEAM}:narrow/cancel")
    assert site.wait_ended(f"{manifests.TEAM}:narrow")["status"]["elementStates"] == {"cancelled": 4}
    site.wait_for(lambda: not cluster.run("squeue", "-h"), "the end of all jobs of the cluster")
