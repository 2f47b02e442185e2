"""What comes out of a job and goes into it: logs, commands, progress, secrets, work directories."""
import contextlib
import os
import socket
import threading

import manifests
from manifests import WAITING, job, pool

LINES = "i=1; while [ $i -le 50 ]; do echo line $i; i=$((i+1)); done"


# ---- logs -------------------------------------------------------------------------------------

def test_the_tail_of_a_log_is_its_last_lines(site):
    done = site.run(job("talk", LINES))["status"]["id"]
    assert site.logs(done, tail=3) == "line 48\nline 49\nline 50\n"
    assert site.logs(done, tail=0) == ""
    assert len(site.logs(done).splitlines()) == 50


def test_the_log_of_one_rank_or_one_attempt(site):
    # Only rank 0 fails, and has written by then: the first that fails ends the others wherever they are.
    script = "echo rank $RANK attempt $MUSTER_ATTEMPT; test $MUSTER_ATTEMPT = 2 || test $RANK = 1"
    done = site.run(job("talk", script, gang={"size": 2}, retries={"limit": 1, "backoff": "1ms"}))
    name = done["status"]["id"]
    assert site.logs(name, attempt=2, rank=1) == "rank 1 attempt 2\n"
    assert "rank 0 attempt 1" in site.logs(name, attempt=1, rank=0)
    assert "attempt 1" not in site.logs(name)


def test_timestamps_say_when_which_rank_wrote_on_which_stream(site):
    done = site.run(job("talk", "echo oops >&2"))["status"]["id"]
    at, rank, stream, text = site.logs(done, timestamps="true").rstrip("\n").split(" ", 3)
    assert int(at) > 1_600_000_000_000 and (rank, stream, text) == ("0", "e", "oops")


def test_following_a_log_goes_on_over_attempts_and_ends_with_the_job(site):
    script = "echo attempt $MUSTER_ATTEMPT; test $MUSTER_ATTEMPT = 3"
    held = site.submit(job("talk", script, hold=True, retries={"limit": 5, "backoff": "1ms"}))
    followed = []
    follower = threading.Thread(target=lambda: followed.append(site.logs(held, follow="true")))
    follower.start()
    site.call("POST", f"/v1/jobs/{held}/release")
    site.wait_ended(held)
    follower.join(timeout=60)
    assert not follower.is_alive()
    assert followed[0] == "attempt 1\nattempt 2\nattempt 3\n"


def test_a_line_without_an_end_and_bytes_that_are_no_text_are_kept(site):
    done = site.run(job("talk", r"printf 'a\377b\nno end'"))["status"]["id"]
    assert site.logs(done) == "a\ufffdb\nno end\n"


# ---- commands in a running job ----------------------------------------------------------------

def test_exec_runs_inside_the_job_and_passes_input_output_and_status(site):
    running = site.submit(job("busy", WAITING, env={"COLOUR": "blue"}))
    site.wait_log(running, "ready")
    # What it tells may end the job, and the command with it, before the command is done.
    done = site.cli("exec", "vision/busy", "--", "/bin/sh", "-c",
                    "cat; echo $COLOUR $RANK; echo oops >&2; exit 5", stdin="from outside\n", ok=False)
    assert done.returncode == 5, done
    assert done.stdout == "from outside\nblue 0\n"
    assert "oops" in done.stderr
    inside = site.cli("exec", "vision/busy", "--", "id", "-u").stdout
    assert int(inside) != 0 or os.geteuid() != 0


def test_a_client_of_a_command_that_has_gone_away_is_let_go_although_nothing_is_printed(site):
    running = site.submit(job("quiet", WAITING))
    site.wait_log(running, "ready")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(60)
        client.connect(site.socket_path)
        client.sendall(f"GET /v1/jobs/{running}/exec?command=sleep&command=600 HTTP/1.1\r\nHost: localhost\r\n"
                       "Connection: Upgrade\r\nUpgrade: muster-exec\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        client.shutdown(socket.SHUT_WR)  # all that a server sees of a client over TCP that was killed
        assert client.recv(4096) == b""


def test_exec_into_a_job_that_does_not_run_is_refused(site):
    site.run(job("over", "true"))
    done = site.cli("exec", "vision/over", "--", "true", ok=False)
    assert done.returncode not in (0, 1) and "run" in done.stderr


# ---- progress ---------------------------------------------------------------------------------

EPOCHS = """
for e in 0 1 2; do
    echo "{\\"epoch\\": $e, \\"loss\\": 0.$e}" >> $MUSTER_METRICS
    sleep 0.3
done
echo 'no json' >> $MUSTER_METRICS
"""


def test_progress_lines_show_and_give_each_epoch_a_price(site):
    site.apply(pool(prices={"currency": "EUR", "cpu": 3600}))
    done = site.run(job("train", EPOCHS))
    name = done["status"]["id"]
    progress = site.call("GET", f"/v1/jobs/{name}/progress")
    epochs = progress["items"]
    assert [(e["epoch"], e["attempt"], e["data"]["loss"]) for e in epochs] == [
        (0, 1, 0.0), (1, 1, 0.1), (2, 1, 0.2)]
    # One CPU costs a unit a second: a thousandth for each millisecond.
    for epoch in epochs:
        assert abs(epoch["cost"] - epoch["milliseconds"] / 1000) < 0.0011, epoch
    assert progress["last"]["data"] == {"epoch": 2, "loss": 0.2}
    assert site.job(name)["status"]["progress"] == {"epoch": 2, "loss": 0.2}


def test_progress_is_kept_over_a_restart_and_told_once(site):
    go = "while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.05; done"
    script = f"echo '{{\"epoch\": 0}}' >> $MUSTER_METRICS; {go}; echo '{{\"epoch\": 1}}' >> $MUSTER_METRICS"
    running = site.submit(job("train", script))
    path = f"/v1/jobs/{running}/progress"
    first = site.wait_for(lambda: site.call("GET", path)["items"], "the first epoch")
    site.kill9()
    site.start()
    site.wait_job(running, "running")
    site.cli("exec", "vision/train", "--", "/bin/sh", "-c", "touch $MUSTER_CHECKPOINT_DIR/go", ok=False)
    site.wait_ended(running)
    both = site.call("GET", path)["items"]
    assert [item["epoch"] for item in both] == [0, 1]
    assert both[0]["at"] == first[0]["at"]


# ---- secrets ----------------------------------------------------------------------------------

VALUE = "correct-horse-battery-staple"


def test_a_secret_reaches_the_job_as_variable_and_file(site):
    site.call("PUT", "/v1/secrets/vision/api-key", {"value": VALUE})
    script = 'test "$KEY" = "$(cat /run/secrets/key.txt)" && printf %s "$KEY" | wc -c'
    done = site.run(job("use", script, secrets=[{"name": "api-key", "env": "KEY"},
                                                {"name": "api-key", "file": "key.txt"}]))
    assert done["status"]["state"] == "succeeded", site.logs(done["status"]["id"])
    assert int(site.logs(done["status"]["id"])) == len(VALUE)


def test_a_secret_shows_up_nowhere_but_in_the_job(site):
    site.call("PUT", "/v1/secrets/vision/api-key", {"value": VALUE})
    running = site.submit(job("use", WAITING, secrets=[{"name": "api-key", "env": "KEY"},
                                                       {"name": "api-key", "file": "key.txt"}]))
    site.wait_log(running, "ready")
    inside = site.cli("exec", "vision/use", "--", "/bin/sh", "-c", "cat /run/secrets/key.txt")
    assert inside.stdout == VALUE
    for path in ("secrets/vision", "jobs", f"jobs/{running}", "audit?limit=1000", "top"):
        assert VALUE not in site.api("GET", f"/v1/{path}").text
    assert VALUE not in site.log(10**7)
    site.call("POST", f"/v1/jobs/{running}/cancel")
    site.wait_ended(running)
    assert files_with(site.data, VALUE.encode()) == []
    site.stop()
    assert files_with(site.data, VALUE.encode()) == []


def test_secrets_are_listed_by_name_and_go_when_they_are_deleted(site):
    site.call("PUT", "/v1/secrets/vision/one", {"value": "1"})
    site.call("PUT", "/v1/secrets/vision/two", {"value": "2"})
    listed = site.call("GET", "/v1/secrets/vision")["items"]
    assert [item["name"] for item in listed] == ["one", "two"]
    site.call("DELETE", "/v1/secrets/vision/one")
    answer = site.api("POST", "/v1/jobs", job("use", "true", secrets=[{"name": "one", "env": "K"}]))
    assert answer.status == 422 and "one" in answer.text
    assert site.api("DELETE", "/v1/secrets/vision/one").status == 404


def test_a_team_has_a_bounded_number_of_secrets(site):
    for number in range(1000):
        site.call("PUT", f"/v1/secrets/vision/s{number}", {"value": "x"})
    answer = site.api("PUT", "/v1/secrets/vision/more", {"value": "x"})
    assert answer.status == 409 and "delete one" in answer.json["detail"]
    site.call("PUT", "/v1/secrets/vision/s0", {"value": "another"})
    site.call("DELETE", "/v1/secrets/vision/s1")
    site.call("PUT", "/v1/secrets/vision/more", {"value": "x"})


def test_a_secret_survives_a_restart_and_a_change_holds_for_the_next_attempt(site):
    site.call("PUT", "/v1/secrets/vision/key", {"value": "old"})
    held = site.submit(job("use", "echo $KEY | tr a-z A-Z", hold=True,
                           secrets=[{"name": "key", "env": "KEY"}]))
    site.restart()
    site.call("PUT", "/v1/secrets/vision/key", {"value": "new"})
    site.call("POST", f"/v1/jobs/{held}/release")
    site.wait_ended(held)
    assert site.logs(held) == "NEW\n"


def files_with(top, text):
    found = []
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as content:
                    if text in content.read():
                        found.append(path)
    return found


# ---- work directories -------------------------------------------------------------------------

def test_a_job_starts_in_a_copy_of_the_work_directory_as_it_was(site, tmp_path):
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "src" / "data.txt").write_text("as it was", encoding="utf-8")
    (work / "run.sh").write_text("#!/bin/sh\ncat src/data.txt\n", encoding="utf-8")
    (work / "run.sh").chmod(0o755)
    site.cli("run", "--detach", "--name", "copy", "--team", manifests.TEAM, "--workdir", work,
             "--cpu", "1", "--memory", "64Mi", "--disk", "64Mi", "--", "./run.sh")
    (work / "src" / "data.txt").write_text("changed later", encoding="utf-8")
    done = site.wait_ended("vision:copy")
    assert done["spec"]["workdir"].startswith("sha256:")
    assert site.logs("vision:copy") == "as it was\n"


def test_a_work_directory_that_was_not_uploaded_is_named(site):
    answer = site.api("POST", "/v1/jobs", job("j", "true", workdir="sha256:" + "0" * 64))
    assert answer.status == 422 and "workdir" in answer.text


def test_bytes_that_are_no_work_directory_are_refused_and_nothing_is_kept(site):
    answer = site.api("POST", "/v1/snapshots", b"x" * 5000)
    assert answer.status == 422, answer
    assert os.listdir(os.path.join(site.data, "snapshots")) == []


def test_run_follows_the_log_and_exits_as_the_job_does(site):
    done = site.cli("run", "--team", manifests.TEAM, "--cpu", "1", "--memory", "64Mi", "--disk",
                    "64Mi", "--", "/bin/sh", "-c", "echo out; exit 3", ok=False)
    assert "out" in done.stdout.splitlines()
    assert done.returncode == 3, done
