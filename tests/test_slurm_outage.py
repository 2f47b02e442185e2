"""Slurm away for as long as it takes: slurmrestd stopped, slurmctld stopped, the server killed meanwhile. In `make test`
for some seconds, in `make soak` for ten minutes, which is longer than any timer of either side."""
import glob
import os
import tempfile

import pytest

import manifests
import slurm as slurm_module

pytestmark = [pytest.mark.skipif(slurm_module.why_not() is not None,
                                 reason=str(slurm_module.why_not())),
              pytest.mark.xdist_group("slurm")]

A_SECOND = 10  # beats of a job that runs
BEATS = """
echo run >> $MUSTER_CHECKPOINT_DIR/runs; i=0; echo ready
while [ ! -e $MUSTER_CHECKPOINT_DIR/end ]; do
    i=$((i + 1)); echo $i > $MUSTER_CHECKPOINT_DIR/new; mv $MUSTER_CHECKPOINT_DIR/new $MUSTER_CHECKPOINT_DIR/NAME.beats
    sleep 0.1
done
echo runs: $(wc -l < $MUSTER_CHECKPOINT_DIR/runs).
"""
COUNTS = "echo run >> $MUSTER_CHECKPOINT_DIR/runs; echo runs: $(wc -l < $MUSTER_CHECKPOINT_DIR/runs)."
PARTS = {"slurmrestd": slurm_module.Slurm.start_rest, "slurmctld": slurm_module.Slurm.start_controller}


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="muster-slurm-") as folder, \
            slurm_module.cluster(folder) as slurm:
        yield slurm


@pytest.fixture
def site(cluster, tmp_path):
    with slurm_module.muster_on(cluster, tmp_path / "data") as muster:
        yield muster


class Beating:
    """A job that runs until it is told to end, and what it does meanwhile, as its checkpoint says."""

    def __init__(self, site, cluster, name):
        self.site, self.cluster, self.name = site, cluster, name
        self.reference = site.submit(manifests.job(name, BEATS.replace("NAME", name),
                                                   placement={"pool": "cluster"}))
        site.wait_log(self.reference, "ready")
        self.path, = site.wait_for(
            lambda: glob.glob(f"{cluster.shared}/*/jobs/*/checkpoint/{name}.beats"), "its first beat")

    def beats(self):
        with open(self.path, encoding="ascii") as text:
            return int(text.read())

    def wait_beats(self, count, seconds):
        until = self.beats() + count
        self.site.wait_for(lambda: self.beats() >= until, f"{count} beats of {self.name}", seconds)

    def end(self):
        with open(os.path.join(os.path.dirname(self.path), "end"), "w", encoding="ascii"):
            pass


def small(site, name):
    return site.submit(manifests.job(name, COUNTS, placement={"pool": "cluster"}))


def away(site, cluster, part, seconds):
    """Everything that a job can do while its cluster is away: go on, end, come, be cancelled. The storage of a
    cluster outlives the server of a test: names are those of this scenario alone."""
    goes_on = Beating(site, cluster, f"{part}-{seconds}-goes-on")
    ends = Beating(site, cluster, f"{part}-{seconds}-ends")
    unwanted = Beating(site, cluster, f"{part}-{seconds}-unwanted")
    cluster.stop(part)
    came = [small(site, "came-1")]
    ends.end()
    site.call("POST", f"/v1/jobs/{unwanted.reference}/cancel")
    goes_on.wait_beats(seconds * A_SECOND // 2, seconds * 10 + 120)
    site.kill9()
    site.start()
    came.append(small(site, "came-2"))
    goes_on.wait_beats(seconds * A_SECOND // 2, seconds * 10 + 120)
    PARTS[part](cluster)
    for reference in [ends.reference, *came]:
        status = site.wait_ended(reference, timeout_s=300)["status"]
        assert status["state"] == "succeeded" and len(status["attemptList"]) == 1, status
        assert site.logs(reference).endswith("runs: 1.\n")
    assert site.wait_ended(unwanted.reference, timeout_s=300)["status"]["state"] == "cancelled"
    goes_on.wait_beats(1, 120)
    goes_on.end()
    status = site.wait_ended(goes_on.reference, timeout_s=300)["status"]
    assert status["state"] == "succeeded" and len(status["attemptList"]) == 1, status
    assert site.logs(goes_on.reference).endswith("runs: 1.\n")
    site.wait_for(lambda: not cluster.run("squeue", "-h"), "the end of all jobs of the cluster")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.limit_s(600)
def test_jobs_outlive_a_while_without(site, cluster, part):
    away(site, cluster, part, 4)


@pytest.mark.soak
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.limit_s(3 * 3600)
def test_soak_ten_minutes_without(site, cluster, part):
    away(site, cluster, part, 600)
