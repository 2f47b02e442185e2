"""What jobs use, as the cluster measures it: from the metrics API of a real metrics-server, or, in a cluster without
one and with the right to them, from the summaries of kubelets."""
import os

import pytest

import world
from cluster import MANIFESTS
from world import job, nothing_left

BUSY = "i=0; while [ ! -e $MUSTER_CHECKPOINT_DIR/stop ]; do i=$((i+1)); done; echo counted $i"


def usage(server, reference):
    """Of the job's last attempt."""
    attempts = server.job(reference)["status"]["attemptList"]
    return attempts[-1].get("usage", {}) if attempts else {}


def measured(server, site, what):
    """A job that computes has used some time and memory, which its record says after its end too."""
    reference = server.submit(job("busy", BUSY, grace="1s"))
    server.wait_job(reference, "running")
    server.wait_for(lambda: usage(server, reference).get("cpuSeconds", 0) > 1, f"usage from {what}", 180)
    said = usage(server, reference)
    assert said["memoryPeakBytes"] >= said["memoryBytes"] > 4096, said
    for one in (server.volume / "jobs").iterdir():
        if (one / "checkpoint").exists():
            (one / "checkpoint" / "stop").touch()
    ended = server.wait_ended(reference)
    assert ended["status"]["state"] == "succeeded", ended
    assert usage(server, reference)["cpuSeconds"] >= said["cpuSeconds"]
    nothing_left(site)


def test_usage_comes_from_the_metrics_api(server, site):
    if not os.path.exists(os.path.join(site.bin, "metrics-server")):
        pytest.skip("no metrics-server was built")
    site.start_metrics_server()
    try:
        measured(server, site, "the metrics API")
    finally:
        site.stop_metrics_server()


def test_usage_comes_from_summaries_where_there_is_no_metrics_api(server, site):
    site.apply_file(os.path.join(MANIFESTS, "summaries.yaml"), "muster")
    try:
        measured(server, site, "the summaries of kubelets")
    finally:
        for kind in ("clusterrolebindings", "clusterroles"):
            site.call("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{kind}/muster-engine-summaries")
