"""Commands inside jobs that run on a real Slurm."""
import contextlib
import glob
import os
import subprocess

import pytest

from test_slurm import cluster, ended, job, pytestmark, site, slurm_job  # noqa: F401


@pytest.mark.parametrize("ranks", [1, 2])
def test_commands_run_inside_a_job(site, cluster, ranks):  # noqa: F811
    """In the environment of the first rank, with input, output, errors and exit status of their own."""
    reference = site.submit(job("inside", "echo ready; sleep 600", gang={"size": ranks}))
    site.wait_log(reference, "ready")
    site.wait_for(lambda: site.job(reference)["status"]["state"] == "running", "the start")
    done = site.cli("exec", reference, "--", "sh", "-c", "echo $RANK of $WORLD_SIZE; pwd; echo oh >&2; exit 7", ok=False)
    assert done.returncode == 7 and done.stderr == "oh\n", done
    first, folder = done.stdout.splitlines()
    assert first == f"0 of {ranks}" and folder.startswith(cluster.shared) and folder.endswith("/work")
    text = "".join(f"line {i}\n" for i in range(40000))
    assert site.cli("exec", reference, "--", "cat", stdin=text).stdout == text
    assert site.cli("exec", reference, "--", "sh", "-c", "kill -TERM $$", ok=False).returncode == 128 + 15
    assert site.cli("exec", reference, "--", "no-such-command", ok=False).returncode == 127
    left = glob.glob(f"{cluster.shared}/*/*/exec-*") + glob.glob(f"{cluster.shared}/*/*/out/exec-*")
    assert not left, left
    controller, terminal = os.openpty()
    answer = subprocess.run([site.binary, "exec", "--tty", reference, "--", "true"], env=site.environment,
                            stdin=terminal, capture_output=True, text=True, check=False)
    os.close(controller), os.close(terminal)
    assert f"--jobid={slurm_job(site, reference)}" in answer.stderr, answer
    site.call("POST", f"/v1/jobs/{reference}/cancel")
    ended(site, reference, "cancelled")


TALKS = "trap '' PIPE; echo $$; while sleep 0.1; do echo more; done"
READS_NOTHING = "echo $$; exec sleep 600"


@contextlib.contextmanager
def runs_inside(site, reference, command):  # noqa: F811
    """A command that says its process first, and would go on: its client, and that process."""
    with subprocess.Popen([site.binary, "exec", reference, "--", "sh", "-c", command],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=site.environment) as client:
        try:
            yield client, int(client.stdout.readline())
        finally:
            client.kill()


def sizes(pattern):
    for path in glob.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            yield os.path.getsize(path)


def test_commands_inside_a_job_end_with_whoever_wants_them(site, cluster):  # noqa: F811
    def gone(process):
        site.wait_for(lambda: not os.path.exists(f"/proc/{process}"), "the end of the command")

    reference = site.submit(job("inside", "echo ready; sleep 600"))
    site.wait_log(reference, "ready")
    site.wait_for(lambda: site.job(reference)["status"]["state"] == "running", "the start")
    for command in (TALKS, READS_NOTHING):
        with runs_inside(site, reference, command) as (client, process):
            client.kill()
            gone(process)
    with runs_inside(site, reference, TALKS) as (client, process):
        site.kill9()
        site.start()
        gone(process)
    site.wait_for(lambda: site.job(reference)["status"]["state"] == "running", "the job after a restart")
    with runs_inside(site, reference, READS_NOTHING) as (client, process):
        client.stdin.write(b"x" * 300000)  # more than a pipe holds
        client.stdin.close()
        site.wait_for(lambda: 300000 in sizes(f"{cluster.shared}/*/*/exec-*.in"), "all of its input")
        site.kill9()
        site.start()
        gone(process)
    site.wait_for(lambda: site.job(reference)["status"]["state"] == "running", "the job after another")
    assert site.cli("exec", reference, "--", "echo", "again").stdout == "again\n"
    with runs_inside(site, reference, TALKS) as (client, process):
        site.call("POST", f"/v1/jobs/{reference}/cancel")
        client.stdout.read()
        assert client.wait() == 127
        gone(process)
    ended(site, reference, "cancelled")
