"""A data directory whose disk fills up: what is refused, what goes on, and that nothing is lost."""
import errno
import os
import subprocess

import pytest

import muster as helper
from manifests import job, manifest, pool, team

MEGABYTES = 24


@pytest.fixture
def small(tmp_path):
    """A server on a small file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small file system that this fills")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "none", disk],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    instance = helper.Muster(disk / "data")
    instance.log_path = str(tmp_path / "server.log")
    try:
        instance.start()
        instance.apply(team(), pool())
        yield instance
    finally:
        instance.teardown()
        print(instance.log())
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(muster):
    """Takes all the room there is; gives the file to remove."""
    path = os.path.join(os.path.dirname(muster.data), "filler")
    with open(path, "wb", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


def submit_until_refused(muster):
    """Submits jobs until one is refused: what was answered, by name, and the refusal."""
    answered = {}
    for number in range(3000):
        name = f"j{number}"
        answer = muster.api("POST", "/v1/jobs", job(name, "true", hold=True, env={"PAD": "x" * 8000}))
        if answer.status != 201:
            return answered, answer
        answered[name] = answer.json["id"]
    raise AssertionError("a full disk was not noticed")


def test_a_full_disk_refuses_changes_and_loses_nothing(small):
    running = small.submit(job("running", "echo ready; while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; "
                                          "do sleep 0.05; done"))
    small.wait_log(running, "ready")
    filler = fill(small)
    answered, refusal = submit_until_refused(small)
    assert refusal.status == 507, refusal
    assert refusal.json["type"] == "muster:storage-full"
    health = small.api("GET", "/healthz")
    assert health.status == 503 and "full" in health.text, health
    for name, number in answered.items():
        assert small.job(number)["metadata"]["name"] == name
    assert small.job(running)["status"]["state"] == "running"
    assert small.api("GET", "/v1/audit?limit=1000").status == 200

    os.unlink(filler)
    small.wait_for(lambda: small.api("GET", "/healthz").status == 200, "health once there is room")
    assert small.run(job("after", "true"))["status"]["state"] == "succeeded"
    # What it tells may end the job, and the command with it, before the command is done.
    small.cli("exec", "vision/running", "--", "/bin/sh", "-c", "touch $MUSTER_CHECKPOINT_DIR/go", ok=False)
    done = small.wait_ended(running)["status"]
    assert (done["state"], done["attempts"]) == ("succeeded", 1)
    check_kept(small, answered)


def check_kept(muster, answered):
    """The same before and after a restart: every job that was answered, and no other."""
    for _ in range(2):
        names = {item["metadata"]["name"] for item in held(muster)}
        assert names == set(answered)
        assert muster.call("POST", "/v1/audit/verify")["ok"]
        muster.restart()


def held(muster):
    return muster.call("GET", "/v1/jobs?state=held&limit=1000")["items"]


def test_a_job_that_ends_while_the_disk_is_full_is_found_ended_afterwards(small):
    running = small.submit(job("running", "echo ready; sleep 1; exit 4"))
    small.wait_log(running, "ready")
    filler = fill(small)
    submit_until_refused(small)
    helper.wait_until(lambda: not helper.processes_of("-", "sleep 1; exit 4"), 60, "the job's end")
    assert small.job(running)["status"]["state"] in ("running", "failed")
    os.unlink(filler)
    done = small.wait_ended(running)["status"]
    assert (done["state"], done["attempts"]) == ("failed", 1)
    assert (done["reason"], done.get("exitStatus")) == ("exit", 4)


def test_a_server_starts_on_a_full_disk_or_says_why_it_does_not(small):
    small.run(job("over", "true"))
    small.stop()
    filler = fill(small)
    try:
        small.start()
        assert small.job("vision:over")["status"]["state"] == "succeeded"
        small.stop()
    except AssertionError as refused:
        assert "full" in str(refused) or "No space left" in str(refused), refused
    os.unlink(filler)
    small.start()
    assert small.run(job("after", "true"))["status"]["state"] == "succeeded"


def leave_little(muster):
    """Takes room until less than a tenth of it is free; gives the file to remove."""
    path = os.path.join(os.path.dirname(muster.data), "filler")
    volume = os.statvfs(muster.data)
    with open(path, "wb", buffering=0) as filler:
        filler.write(b"x" * (volume.f_bavail * volume.f_frsize - (volume.f_blocks * volume.f_frsize) // 16))
    return path


def test_artifacts_are_not_taken_in_while_little_room_is_left(small, tmp_path):
    """An upload is refused; what a job wrote waits, says why, and is taken in once there is room."""
    small.apply(manifest("Dataset", "data", {}, team="vision"))
    script = ('echo ready; while [ ! -e "$MUSTER_CHECKPOINT_DIR/go" ]; do sleep 0.05; done; '
              'echo x > "$MUSTER_OUTPUT_OUT/a"')
    job_id = small.submit(job("makes", script, outputs=[{"name": "out", "dataset": "data"}]))
    small.wait_log(job_id, "ready")
    filler = leave_little(small)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"a" * 100000)
    refused = small.cli("dataset", "push", "vision/data", tmp_path / "in", ok=False)
    assert refused.returncode == 6 and "tenth" in refused.stderr
    # The job may end before the status of what let it go on has come back.
    small.cli("exec", "vision/makes", "--", "/bin/sh", "-c", 'touch "$MUSTER_CHECKPOINT_DIR/go"',
              ok=False)
    small.wait_job(job_id, "succeeded")
    small.wait_for(lambda: "tenth" in str(small.job(job_id)["status"]["outputs"]), "the reason")
    assert small.job(job_id)["status"]["outputs"]["state"] == "pending"
    os.unlink(filler)
    small.wait_for(lambda: small.job(job_id)["status"]["outputs"]["state"] == "collected", "the version")
    assert small.cli("dataset", "push", "vision/data", tmp_path / "in").stdout.startswith(
        "dataset/vision/data:2 ")


def test_what_packs_well_does_not_fill_the_disk_when_it_is_laid_out(small, tmp_path):
    """Small to send and large as plain files: the job that reads it waits, and the store has room."""
    small.apply(manifest("Dataset", "data", {}, team="vision"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "zeros").write_bytes(bytes(12 << 20))
    small.cli("dataset", "push", "vision/data", tmp_path / "in")
    path = os.path.join(os.path.dirname(small.data), "filler")
    volume = os.statvfs(small.data)
    with open(path, "wb", buffering=0) as filler:
        filler.write(b"x" * (volume.f_bavail * volume.f_frsize - (8 << 20)))
    reads = small.submit(job("reads", "wc -c /inputs/d/zeros", inputs=[{"name": "d", "dataset": "data"}]))
    small.wait_for(lambda: "twentieth" in str(small.job(reads)["status"]), "the reason")
    assert small.run(job("other", "true"))["status"]["state"] == "succeeded"
    os.unlink(path)
    small.wait_job(reads, "succeeded")
    assert str(12 << 20) in small.logs(reads)


def test_files_with_holes_are_not_read_beyond_the_size_of_the_disk(small):
    """Each is within the job's bound, all of them would keep the server reading for days."""
    small.apply(manifest("Dataset", "data", {}, team="vision"))
    script = 'for i in 1 2 3; do truncate -s 10M "$MUSTER_OUTPUT_OUT/$i"; done'
    job_id = small.submit(job("holes", script, outputs=[{"name": "out", "dataset": "data"}]))
    small.wait_job(job_id, "succeeded")
    small.wait_for(lambda: small.job(job_id)["status"]["outputs"]["state"] != "pending", "its end")
    outputs = small.job(job_id)["status"]["outputs"]
    assert outputs["state"] == "failed" and "more than" in outputs["outputs"][0]["error"], outputs
