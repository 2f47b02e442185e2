"""Shares of an accelerator on a real Slurm: gres/shard, eight of them on a node of two GPUs."""
import tempfile

import pytest

import manifests
import slurm as slurm_module

pytestmark = [pytest.mark.skipif(slurm_module.why_not() is not None,
                                 reason=str(slurm_module.why_not())),
              pytest.mark.xdist_group("slurm"), pytest.mark.limit_s(600)]

SHARDS = 8
SAYS = "echo device $CUDA_VISIBLE_DEVICES, shards $SLURM_SHARDS_ON_NODE; while [ ! -e $MUSTER_CHECKPOINT_DIR/end ]; do sleep 0.1; done"


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="muster-slurm-") as folder, \
            slurm_module.cluster(folder, nodes=1, shards=SHARDS) as slurm:
        yield slurm


@pytest.fixture
def site(cluster, tmp_path):
    with slurm_module.muster_on(cluster, tmp_path / "data") as muster:
        yield muster


def shares(site, name, share, pool="cluster", sort="toy"):
    return site.submit(manifests.job(name, SAYS, placement={"pool": pool}, resources={
        "accelerator": {"type": sort, "count": share}}))


def test_jobs_share_a_device_and_have_no_other(site):
    """A GPU has four shards: a half is two of them, and three tenths are, for it is never less than that."""
    halves = [shares(site, f"half-{i}", 0.5) for i in range(3)]
    third = shares(site, "third", 0.3)
    seen = []
    for reference in [*halves, third]:
        site.wait_log(reference, "shards")
        seen.append(site.logs(reference).split())
    assert [words[3] for words in seen] == ["2", "2", "2", "2"], seen
    devices = [words[1] for words in seen]
    assert sorted(devices) == ["0,", "0,", "1,", "1,"], seen


def test_what_the_cluster_has_no_shares_of_is_refused(site, cluster):
    """A pool that says so itself, against what Slurm has."""
    pool = cluster.pool("claims", endpoint=f"unix:{cluster.rest_socket}")
    pool["spec"]["nodes"] = [{"name": "n1", "cpu": 4, "memory": "2Gi", "disk": "10Gi", "fractional": True,
                              "accelerators": {"type": "other", "count": 2}}]
    site.apply(pool)
    reference = shares(site, "half", 0.5, pool="claims", sort="other")
    status = site.wait_ended(reference)["status"]
    assert status["state"] == "failed" and status["attemptList"][0]["reason"] == "start-failed", status
    assert "no shares of accelerators of type other" in status["attemptList"][0]["detail"], status
    gang = site.submit(manifests.job("gang", "true", gang={"size": 2}, placement={"pool": "cluster"}, resources={
        "accelerator": {"type": "toy", "count": 0.5}}))
    status = site.wait_ended(gang)["status"]
    assert "whole accelerators" in status["attemptList"][0]["detail"], status
