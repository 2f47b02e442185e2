"""Times on a real Slurm: the end of a walltime, and clocks that are apart."""
import glob
import os
import re

import pytest

from test_slurm import COUNTS, TRAINS, cluster, ended, job, pytestmark, site, slurm_job  # noqa: F401


def test_before_its_walltime_is_over_it_saves_and_goes_on(site, cluster):  # noqa: F811
    site.apply(cluster.pool(walltime="1m"))
    reference = site.submit(job("train", TRAINS, retries={"limit": 0}))
    site.wait_log(reference, "ready")
    number = slurm_job(site, reference)
    assert "TimeLimit=00:01:00" in cluster.job(number)
    site.kill9()
    site.start()
    site.wait_for(lambda: len(site.job(reference)["status"]["attemptList"]) == 2, "the next attempt", 120)
    status = ended(site, reference)
    assert [item["reason"] for item in status["attemptList"]] == ["handed-over", "succeeded"]
    assert "begins at 7" in site.logs(reference)
    assert "TIMEOUT" not in cluster.job(number)


@pytest.mark.parametrize("skew_s", [600, -600])
def test_a_cluster_whose_clock_is_apart_hands_over_in_time(site, cluster, skew_s):  # noqa: F811
    """Not at once, and not too late: its job has the time that it was given by any clock."""
    cluster.proxy.skew_s = skew_s
    try:
        site.apply(cluster.pool(walltime="1m"))
        reference = site.submit(job("train", TRAINS, retries={"limit": 0}))
        site.wait_log(reference, "ready")
        number = slurm_job(site, reference)
        site.kill9()
        site.start()
        site.wait_for(lambda: len(site.job(reference)["status"]["attemptList"]) == 2, "the next attempt", 120)
        status = ended(site, reference)
        assert [item["reason"] for item in status["attemptList"]] == ["handed-over", "succeeded"]
        assert "begins at 7" in site.logs(reference)
        shown = cluster.job(number)
        assert "TIMEOUT" not in shown
        minutes, seconds = re.search(r"RunTime=00:(\d\d):(\d\d)", shown).groups()
        assert int(minutes) * 60 + int(seconds) >= 20, "half of a short time is kept"
    finally:
        cluster.proxy.skew_s = 0


@pytest.mark.parametrize("skew_s", [600, -600])
def test_jobs_of_a_cluster_whose_clock_is_apart_run_once(site, cluster, skew_s):  # noqa: F811
    cluster.proxy.skew_s = skew_s
    try:
        goes_on = site.submit(job("goes-on", f"touch $MUSTER_CHECKPOINT_DIR/goes-on.{skew_s}; echo ready; "
                                  "while [ ! -e $MUSTER_CHECKPOINT_DIR/end ]; do sleep 0.1; done; " + COUNTS))
        site.wait_log(goes_on, "ready")
        references = [site.submit(job(f"short{i}", COUNTS)) for i in range(3)]
        failing = site.submit(job("failing", "exit 3"))
        site.kill9()
        site.start()
        for reference in references:
            status = ended(site, reference)
            assert len(status["attemptList"]) == 1 and site.logs(reference) == "runs: 1.\n"
            attempt = status["attemptList"][0]
            assert attempt["admitted"] <= attempt["started"] <= attempt["ended"], attempt
        assert ended(site, failing, "failed")["attemptList"][0]["reason"] == "exit"
        path, = glob.glob(f"{cluster.shared}/*/jobs/*/checkpoint/goes-on.{skew_s}")
        with open(os.path.join(os.path.dirname(path), "end"), "w", encoding="ascii"):
            pass
        status = ended(site, goes_on)
        assert len(status["attemptList"]) == 1 and site.logs(goes_on).endswith("runs: 1.\n")
    finally:
        cluster.proxy.skew_s = 0
