"""The control plane is away: for MUSTER_KUBE_OUTAGE_S seconds, which `make soak` has at ten minutes. Jobs run on, end, are
cancelled and submitted meanwhile, and the server is killed. No job is lost, and none runs twice."""
import glob
import os
import time

import pytest

from cluster import wait_until
from world import PODS, job, nothing_left

OUTAGE_S = float(os.environ.get("MUSTER_KUBE_OUTAGE_S", "10"))
RUN = ("echo began >> $MUSTER_CHECKPOINT_DIR/began-{0}; echo {0} begins; "
       "while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.1; done; echo {0} ends")


def folder(server, name):
    """The job's folder on the volume."""
    found = [one for one in (server.volume / "jobs").glob(f"*/checkpoint/began-{name}")]
    assert len(found) <= 1
    return found[0].parent if found else None


def submit(server, name):
    return server.submit(job(name, RUN.format(name), grace="1s"))


def go(server, name):
    (folder(server, name) / "go").touch()


@pytest.mark.limit_s(int(OUTAGE_S) + 300)
def test_nothing_is_lost_or_run_twice_while_the_api_is_away(server, site):
    names = ("goes-on", "ends", "cancelled", "submitted")
    jobs = {name: submit(server, name) for name in names[:3]}
    for name, reference in jobs.items():
        server.wait_log(reference, f"{name} begins")
    site.kill("kube-controller-manager")
    site.kill("kube-apiserver")
    began = time.monotonic()
    go(server, "ends")
    server.cli("cancel", jobs["cancelled"])
    jobs["submitted"] = submit(server, "submitted")
    server.kill9()
    server.start()
    time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - began)))
    states = {name: server.job(reference)["status"]["state"] for name, reference in jobs.items()}
    assert not {"succeeded", "failed"} & set(states.values()), states
    site.restart("kube-apiserver")
    site.wait_ready()
    back = time.monotonic()
    wait_until(lambda: folder(server, "submitted"), "the job that was submitted meanwhile to run", 120)
    server.wait_ended(jobs["ends"])
    server.wait_ended(jobs["cancelled"])
    print(f"all is as it should be {time.monotonic() - back:.1f} s after the API server was back; "
          f"it was away for {back - began:.0f} s")
    site.restart("kube-controller-manager")
    go(server, "goes-on")
    go(server, "submitted")
    for name, reference in jobs.items():
        status = server.wait_ended(reference)["status"]
        assert status["state"] == ("cancelled" if name == "cancelled" else "succeeded"), (name, status)
        assert status["attempts"] == 1, (name, status)
        assert (folder(server, name) / f"began-{name}").read_text() == "began\n"
        if name != "cancelled":
            assert server.cli("logs", reference).stdout.splitlines() == [f"{name} begins", f"{name} ends"]
    nothing_left(site)


# Says lines until it may go; how many, it leaves on the volume.
COUNTS = ("echo began >> $MUSTER_CHECKPOINT_DIR/began-counts; i=0; while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do "
          "echo line $i; i=$((i + 1)); sleep 0.01; done; echo $i > $MUSTER_CHECKPOINT_DIR/count; "
          "while [ ! -e $MUSTER_CHECKPOINT_DIR/end ]; do sleep 0.1; done")
NODE_LOGS = "/var/log/pods/muster_{}_*/job/0.log"  # of the kubelet, each line after a time and two words


def lines_of(server, reference):
    return server.cli("logs", reference).stdout.splitlines()


def wait_more(server, reference):
    """Until its log is some lines longer."""
    before = len(lines_of(server, reference))
    server.wait_for(lambda: len(lines_of(server, reference)) > before + 20, "more of the log", 120)


def test_each_line_is_there_once_although_all_that_brings_it_is_killed(server, site):
    """The API server, the server, both; and the API server is away when the job ends."""
    reference = server.submit(job("counts", COUNTS, grace="1s"))
    server.wait_log(reference, "line 5")
    pod = site.items(PODS)[0]["metadata"]["name"]
    for names in (("kube-apiserver",), ("server",), ("kube-apiserver", "server")):
        if "kube-apiserver" in names:
            site.kill("kube-apiserver")
        if "server" in names:
            server.kill9()
            server.start()
        if "kube-apiserver" in names:
            site.restart("kube-apiserver")
            site.wait_ready()
        wait_more(server, reference)
    site.kill("kube-apiserver")
    go(server, "counts")
    count = folder(server, "counts") / "count"
    wait_until(lambda: count.exists() and count.read_text(), "the job to have said all", 60)
    last = f"line {int(count.read_text()) - 1}"
    kept, = glob.glob(NODE_LOGS.format(pod))

    def on_node():
        with open(kept, encoding="ascii") as text:
            return [line.rstrip("\n").split(" ", 3)[3] for line in text]
    wait_until(lambda: on_node()[-1] == last, "the node to have all of it", 60)
    said = on_node()
    (folder(server, "counts") / "end").touch()
    site.restart("kube-apiserver")
    site.wait_ready()
    assert server.wait_ended(reference)["status"]["state"] == "succeeded"
    assert lines_of(server, reference) == said
    nothing_left(site)
