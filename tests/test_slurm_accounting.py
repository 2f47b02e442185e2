"""What slurmdbd knows of jobs that the controller has forgotten: a real one with a MariaDB in a folder. It takes the
controller a minute to forget a job, so that this is for `make soak`."""
import os
import shutil
import tempfile

import pytest

import manifests
import slurm as slurm_module

PROGRAMS = ["mariadbd", "mariadb-install-db", "slurmdbd"]
FORGETS_S = 300


def why_not():
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    return slurm_module.why_not() or (f"not installed: {' '.join(missing)}" if missing else None)


pytestmark = [pytest.mark.skipif(why_not() is not None, reason=str(why_not())), pytest.mark.soak,
              pytest.mark.xdist_group("slurm"), pytest.mark.limit_s(1800)]

WORKS = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo ready; sleep 1000"


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="muster-slurm-") as folder:
        slurm = slurm_module.Slurm(folder, accounting=True)
        try:
            yield slurm.start()
        finally:
            slurm.close()


@pytest.fixture
def site(cluster, tmp_path):
    with slurm_module.muster_on(cluster, tmp_path / "data") as muster:
        yield muster


@pytest.mark.parametrize("count", [1, 6])
def test_why_a_forgotten_job_ended_and_what_it_used(site, cluster, count):
    """One is asked for by its number, many are by their time."""
    references = [site.submit(manifests.job(f"long-{count}-{i}", WORKS, placement={"pool": "cluster"}))
                  for i in range(count)]
    numbers = []
    for reference in references:
        site.wait_log(reference, "ready")
        numbers.append(site.job(reference)["status"]["attemptList"][-1]["site"]["id"])
    cluster.stop("slurmrestd")
    cluster.run("scancel", *numbers)
    site.wait_for(lambda: not set(map(int, numbers)) & set(cluster.jobs()), "the controller to forget them", FORGETS_S)
    cluster.start_rest()
    for reference in references:
        attempt = site.wait_ended(reference, timeout_s=300)["status"]["attemptList"][0]
        assert attempt["engineReason"] == "cancelled", attempt
        assert attempt["usage"]["cpuSeconds"] > 0, attempt
