"""The server's life: starting, a second server, ending, coming back."""
import os
import stat
import subprocess

import manifests
import muster as helper


def test_a_fresh_server_is_healthy_and_has_the_root_team_and_the_classes_only(muster):
    health = muster.call("GET", "/healthz")
    assert health["status"] == "ok"
    assert muster.cli("version").stdout.split()[1] == health["version"]
    assert names(muster, "teams") == ["root"]
    assert names(muster, "pools") == []
    assert "experiment" in names(muster, "classes")


def test_up_makes_a_pool_and_a_team_that_jobs_run_with(muster_stopped):
    muster_stopped.start(verb="up")
    assert names(muster_stopped, "teams") == ["default", "root"]
    assert names(muster_stopped, "pools") == ["local"]
    done = muster_stopped.run(manifests.job("first", "echo hello", team="default"))
    assert done["status"]["state"] == "succeeded"


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(muster):
    second = subprocess.run([muster.binary, "server", "--data", muster.data], text=True,
                            env=muster.environment, capture_output=True, timeout=helper.START_S,
                            check=False)
    assert second.returncode != 0
    assert "in use" in second.stderr or "another" in second.stderr, second.stderr
    assert muster.call("GET", "/healthz")["status"] == "ok"


def test_a_restart_keeps_everything(site):
    site.apply(manifests.team("speech", jobsMax=7))
    done = site.run(manifests.job("over", "echo kept"))
    held = site.submit(manifests.job("held", "true", hold=True))
    before = content(site)
    site.restart()
    assert content(site) == before
    assert site.job(done["status"]["id"]) == done
    assert site.logs(done["status"]["id"]) == "kept\n"
    site.call("POST", f"/v1/jobs/{held}/release")
    assert site.wait_ended(held)["status"]["state"] == "succeeded"


def test_sigterm_ends_the_server_in_order_and_its_jobs_go_on(site):
    marker = "while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.05; done; echo went on"
    job = site.submit(manifests.job("long", f"echo ready; {marker}"))
    site.wait_log(job, "ready")
    running = shells(marker)
    assert running and site.stop() == 0
    assert shells(marker) == running
    site.start()
    assert site.wait_job(job, "running")["status"]["attempts"] == 1
    # What it tells may end the job, and the command with it, before the command is done.
    site.cli("exec", f"{manifests.TEAM}/long", "--", "/bin/sh", "-c",
             "touch $MUSTER_CHECKPOINT_DIR/go", ok=False)
    done = site.wait_ended(job)["status"]
    assert (done["state"], done["attempts"]) == ("succeeded", 1)
    assert site.logs(job) == "ready\nwent on\n"


def test_a_job_that_ends_while_no_server_runs_is_found_ended(site):
    job = site.submit(manifests.job("short", "echo ready; sleep 0.5; exit 3"))
    site.wait_log(job, "ready")
    site.kill9()
    # The shim stays until a server has taken the end; the job itself goes.
    helper.wait_until(lambda: not helper.processes_of("-", "sleep 0.5; exit 3"), 60,
                      "the end of the job")
    site.start()
    done = site.wait_ended(job)["status"]
    assert (done["state"], done["reason"], done["exitStatus"]) == ("failed", "exit", 3)


def test_only_the_servers_user_gets_at_its_files(site):
    site.run(manifests.job("one", "true"))
    socket = os.stat(site.socket_path)
    assert stat.S_IMODE(socket.st_mode) == 0o600
    for folder, _, files in os.walk(site.data):
        for name in files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            assert not mode & 0o007 or closed_above(path, site.data), (path, oct(mode))


def closed_above(path, top):
    """Whether a folder on the way to path is closed to others."""
    while path != top:
        path = os.path.dirname(path)
        if path != top and not os.stat(path).st_mode & 0o007:
            return True
    return False


def shells(text):
    """The processes whose arguments have the text, without those that descend from them."""
    return {pid for pid in helper.processes_of("-", text)
            if text.encode() in helper.read_proc(pid, "cmdline")}


def names(muster, kind):
    return sorted(item["metadata"]["name"] for item in muster.call("GET", f"/v1/{kind}")["items"])


def content(muster):
    """Everything that lists show."""
    paths = ("teams", "pools", "classes", "jobs", "nodes", "audit?limit=1000")
    return {path: muster.call("GET", f"/v1/{path}") for path in paths}
