"""Jobs that misbehave: each is reported as what it is, and nobody else is harmed."""
import os
import uuid

import pytest

import muster as helper
from manifests import WAITING, job, team

SANITIZED = os.environ.get("MUSTER_SANITIZER", "")


@pytest.fixture
def neighbour(site):
    """A job of another team that has to come through unharmed."""
    site.apply(team("speech"))
    secret = "echo theirs > $MUSTER_CHECKPOINT_DIR/secret; chmod 600 $MUSTER_CHECKPOINT_DIR/secret; "
    name = site.submit(job("quiet", secret + WAITING, team="speech"))
    site.wait_log(name, "ready")
    yield site
    status = site.job(name)["status"]
    assert (status["state"], status["attempts"]) == ("running", 1)
    assert site.cli("exec", "speech/quiet", "--", "/bin/sh", "-c",
                    "cat $MUSTER_CHECKPOINT_DIR/secret").stdout == "theirs\n"
    assert site.call("GET", "/healthz")["status"] == "ok"


def enforced(muster, name):
    facts = muster.call("GET", "/v1/nodes/site/n1")["enforcement"]
    fact = next((fact for fact in facts if fact["name"] == name), None)
    assert fact, f"no fact {name} among {[fact['name'] for fact in facts]}"
    return fact["enforced"]


def reason(done):
    return done["status"]["attemptList"][-1]["reason"]


def marked():
    """A number of seconds to sleep that finds a process again."""
    return f"1{uuid.uuid4().int % 10**12:012}"


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(neighbour):
    mark = marked()
    running = neighbour.submit(job("deaf", f"trap '' TERM; echo ready; while :; do sleep {mark}; done",
                                   grace="300ms"))
    neighbour.wait_log(running, "ready")
    neighbour.call("POST", f"/v1/jobs/{running}/cancel")
    done = neighbour.wait_ended(running)
    assert (done["status"]["state"], reason(done)) == ("cancelled", "cancelled")
    assert not helper.processes_of("-", mark)


def test_daemons_that_a_job_leaves_behind_end_with_it(neighbour):
    mark = marked()
    script = f"(setsid sleep {mark} &) ; (setsid setsid sleep {mark} &); nohup sleep {mark} & exit 0"
    done = neighbour.run(job("forks", script))
    assert done["status"]["state"] == "succeeded"
    assert not helper.processes_of("-", mark)


def test_a_job_that_fills_its_disk_is_told_so(neighbour):
    if not enforced(neighbour, "disk-limit"):
        pytest.skip("this machine enforces no disk quota")
    script = "i=0; while :; do i=$((i+1)); head -c 8000000 /dev/zero > file$i; sleep 0.02; done"
    done = neighbour.run(job("fills", script))
    assert (done["status"]["state"], reason(done)) == ("failed", "disk-quota")


def test_a_flooded_log_stays_within_its_bound_and_keeps_the_end(neighbour):
    flood = job("flood", "yes 'a line of the flood' | head -c 100000000; echo the end",
                log={"maxBytes": "64Ki", "files": 2})
    done = neighbour.run(flood)
    assert done["status"]["state"] == "succeeded"
    log = neighbour.logs(done["status"]["id"])
    assert log.endswith("the end\n") and len(log) <= 2 * 65536
    for folder, _, files in os.walk(os.path.join(neighbour.data, "jobs")):
        sizes = [os.path.getsize(os.path.join(folder, name)) for name in files]
        assert sum(sizes) <= 4 * 65536, folder


EAT = "hog = []\nwhile True:\n    hog.append(bytearray(8 << 20))"


@pytest.mark.skipif(bool(SANITIZED), reason="memory limits mean nothing under a sanitizer")
def test_a_job_that_eats_memory_ends_as_out_of_memory(neighbour):
    if not enforced(neighbour, "memory-limit"):
        pytest.skip("this machine enforces no memory limit")
    done = neighbour.run(job("eats", ["/usr/bin/python3", "-c", EAT], resources={"memory": "128Mi"}))
    assert (done["status"]["state"], reason(done)) == ("failed", "out-of-memory")


PEEK = r"""
fail() { echo "GOT $1"; exit 1; }
cat /etc/shadow && fail shadow
ls @data && fail data
cat @data/muster.db && fail database
for f in /proc/[0-9]*/root@data/muster.db; do cat $f && fail $f; done
find / -xdev -name secret -readable 2>/dev/null | grep . && fail secret
mount -o remount,rw / && fail remount
mount -t tmpfs none /work && fail mount
touch /etc/mine /usr/mine && fail system
kill -0 @pid && fail signal
echo clean
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="without root all teams are one user")
def test_a_job_sees_neither_the_machines_secrets_nor_the_data_nor_other_teams(neighbour):
    script = PEEK.replace("@data", neighbour.data).replace("@pid", str(neighbour.process.pid))
    done = neighbour.run(job("peeks", script))
    log = neighbour.logs(done["status"]["id"])
    assert log.splitlines()[-1] == "clean" and "GOT" not in log, log
    assert done["status"]["state"] == "succeeded"


def test_a_job_cannot_reach_the_network_unless_it_may(neighbour):
    alone = neighbour.run(job("alone", "ls /sys/class/net; cat /proc/net/route"))
    log = neighbour.logs(alone["status"]["id"])
    assert "eth" not in log and "Iface" in log, log
    assert len([line for line in log.splitlines() if "\t0003\t" in line]) == 0
    answer = neighbour.api("POST", "/v1/jobs", job("host", "true", network="host"))
    assert answer.status == 422 and "network" in answer.text


def test_a_job_that_writes_nonsense_as_progress_only_misses_its_progress(neighbour):
    script = ("printf '{\"epoch\": 1e999}\\n[1]\\n\\377\\n{\\n{\"epoch\": -4}\\n' >> $MUSTER_METRICS; "
              "head -c 300000 /dev/zero | tr '\\0' x >> $MUSTER_METRICS; "
              "echo '\\n{\"epoch\": 1}' >> $MUSTER_METRICS; sleep 0.3")
    done = neighbour.run(job("lies", script))
    assert done["status"]["state"] == "succeeded"
    items = neighbour.call("GET", f"/v1/jobs/{done['status']['id']}/progress")["items"]
    assert len(items) <= 1
