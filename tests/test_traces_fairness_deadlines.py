"""Published results on public traces as bands: Shockwave's fairness over time, ElasticFlow's
deadlines. The traces are not part of this repository: MUSTER_TRACES is the folder that has
shockwave-nsdi23, elasticflow-asplos23 and philly-2017. docs/scheduling.md has the whole tables."""
import csv
import gzip
import json
import os
import pathlib
import random
import subprocess
from datetime import datetime

import pytest
from muster import BINARY

TRACES = os.environ.get("MUSTER_TRACES")
RUN_S = 580

pytestmark = pytest.mark.published


def mean(*arguments):
    done = subprocess.run([BINARY, "simulate", *map(str, arguments), "-o", "json"],
                          capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["mean"]


def shockwave(trace, cluster, speeds, policy):
    folder = pathlib.Path(TRACES) / "shockwave-nsdi23"
    return mean("--format", "shockwave", "--jobs", folder / f"{trace}.trace", "--cluster", cluster,
                "--speeds", folder / f"{speeds}_throughputs.json.gz", "--policy", policy)


def test_shockwaves_row_is_reached():
    ours = shockwave("tacc_32gpus_120jobs", "8x4", "tacc", "fairness")
    assert ours["makespan_seconds"] <= 24197
    assert ours["jct_mean_seconds"] <= 9958
    assert ours["share_fairness_worst"] <= 1.78
    assert ours["share_unfair_percent"] <= 5.0


def test_gandiva_fairs_row_is_reproduced():
    theirs = shockwave("tacc_32gpus_120jobs", "8x4", "tacc", "gandiva-fair")
    assert theirs["makespan_seconds"] == pytest.approx(32367, rel=0.04)
    assert theirs["jct_mean_seconds"] == pytest.approx(12574, rel=0.06)
    assert theirs["share_fairness_worst"] == pytest.approx(1.85, rel=0.12)


def test_max_mins_row_is_reproduced():
    theirs = shockwave("tacc_32gpus_120jobs", "8x4", "tacc", "max-min")
    assert theirs["makespan_seconds"] == pytest.approx(33208, rel=0.05)
    assert theirs["jct_mean_seconds"] == pytest.approx(11274, rel=0.05)
    assert theirs["share_fairness_worst"] == pytest.approx(2.95, rel=0.06)
    assert theirs["share_unfair_percent"] == pytest.approx(25.0, abs=6)


@pytest.mark.parametrize("trace,cluster", [
    ("scale_64gpus_220jobs", "16x4"), ("scale_128gpus_460jobs", "32x4"),
    ("scale_256gpus_900jobs", "64x4"), ("scale_256gpus_900jobs_maxdur1000", "64x4")])
def test_larger_traces_are_fairer_and_sooner_done_than_with_the_baselines(trace, cluster):
    ours = shockwave(trace, cluster, "wisr", "fairness")
    for policy in ("gandiva-fair", "max-min", "tiresias"):
        theirs = shockwave(trace, cluster, "wisr", policy)
        for name in ("makespan_seconds", "jct_mean_seconds", "share_fairness_worst"):
            assert ours[name] < theirs[name], (policy, name)


# Of ElasticFlow itself, and the nodes of eight accelerators.
PUBLISHED = {"01": (64, 78.8), "02": (64, 82.2), "03": (64, 45.5), "04": (128, 63.1),
             "05": (64, 83.2), "06": (64, 60.7), "07": (128, 66.5), "08": (128, 89.6),
             "09": (128, 93.8), "10": (32, 98.1)}


def elasticflow(jobs, nodes, policy, share):
    return mean("--format", "elasticflow", "--jobs", jobs, "--cluster", f"{nodes}x8", "--speeds",
                share, "--policy", policy)["deadlines_met_percent"]


def cluster_jobs(cluster):
    path = pathlib.Path(TRACES) / f"elasticflow-asplos23/elasticflow/cluster{cluster}.csv.gz"
    if not path.exists():
        pytest.skip(f"there is no {path.name}")
    return path


@pytest.mark.parametrize("cluster", PUBLISHED)
def test_more_deadlines_are_met_than_elasticflow_published(cluster):
    nodes, published = PUBLISHED[cluster]
    assert elasticflow(cluster_jobs(cluster), nodes, "deadline", 0.1) >= published


@pytest.mark.parametrize("share", [0.045, 0.1, 0.134])
@pytest.mark.parametrize("cluster", ["01", "02", "03", "05"])
def test_more_deadlines_are_met_than_by_elasticflow_with_the_same_curve(cluster, share):
    jobs = cluster_jobs(cluster)
    ours = elasticflow(jobs, PUBLISHED[cluster][0], "deadline", share)
    assert ours >= elasticflow(jobs, PUBLISHED[cluster][0], "elasticflow", share)


@pytest.mark.parametrize("cluster,published", [("01", 18.2), ("05", 37.5)])
def test_edfs_row_is_reproduced(cluster, published):
    theirs = elasticflow(cluster_jobs(cluster), PUBLISHED[cluster][0], "edf", 0.134)
    assert theirs == pytest.approx(published, abs=2)


def philly_with_deadlines(path, seed):
    """Philly's virtual cluster 103959 as ElasticFlow's authors made it: to be done within 0.5 to
    1.5 times its duration, uniformly."""
    with gzip.open(pathlib.Path(TRACES) / "philly-2017/philly.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["cluster"] == "103959"]
    rows.sort(key=lambda row: row["timestamp"])
    begin = datetime.fromisoformat(rows[0]["timestamp"])
    draw = random.Random(seed)
    with open(path, "w") as file:
        file.write("job_id,submission_time,num_iteration,model_name,deadline,batch_size,num_gpu,"
                   "duration\n")
        for i, row in enumerate(rows):
            submit = (datetime.fromisoformat(row["timestamp"]) - begin).total_seconds()
            duration = max(1.0, float(row["duration"]))
            due = submit + draw.uniform(0.5, 1.5) * duration
            file.write(f"{i},{submit:.0f},1,any,{due:.0f},64,{row['num_gpus']},{duration:.0f}\n")


def test_phillys_virtual_cluster(tmp_path):
    path = tmp_path / "philly.csv"
    philly_with_deadlines(path, 42)
    ours = elasticflow(path, 32, "deadline", 0.1)
    assert ours >= 87  # ElasticFlow's own
    assert ours >= elasticflow(path, 32, "elasticflow", 0.1) - 0.3
