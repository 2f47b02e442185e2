#!/usr/bin/python3
"""What the planner costs, and how good its ETAs are. Prints JSON lines.

    bench/planner.py [cost] [eta]

cost: a server with JOBS (100000) live jobs: reading the snapshot, how far the copy is behind, fork,
      a whole answer, memory; and the server's processor time for each job submitted, with and
      without a planner, turn by turn.
eta:  held-out parts of public traces, in the folder MUSTER_TRACES; see bench/eta.c."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("MUSTER_BUILD", "build")
os.environ.setdefault("MUSTER_BIN", str(BUILD / "muster"))
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))

import manifests  # noqa: E402
from muster import Muster  # noqa: E402
from planner import Planner, figure  # noqa: E402

JOBS = int(os.environ.get("JOBS", "100000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
BATCH = 400
ARRAY = 10000
# Loads at which jobs wait, from a few per cent of the time to always.
ETA_RUNS = (
    ("philly", "philly-2017/philly.csv.gz", "50x8", ["--jobs-max", "40000"]),
    ("philly", "philly-2017/philly.csv.gz", "60x8", []),
    ("gaia", "gaia-asplos24/pai-100k.csv.gz", "3x0/48", ["--jobs-max", "20000"]),
)


def say(name, value, unit):
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit}), flush=True)


def cpu_ms(pid):
    """Processor time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def rss_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def submit_batch(muster, number):
    """So many jobs in requests of their own; the server's processor time for each."""
    before = cpu_ms(muster.process.pid)
    for i in range(BATCH):
        muster.submit(manifests.job(f"b{number}-{i}", "true", resources={"cpu": 1}))
    return (cpu_ms(muster.process.pid) - before) / BATCH


def wait_followed(muster):
    def there():
        ticks = [int(line.split()[1]) for line in muster.api("GET", "/metrics").text.splitlines()
                 if line.startswith(("muster_tick ", "muster_planner_tick "))]
        return len(ticks) == 2 and ticks[0] == ticks[1]
    muster.wait_for(there, "the planner to have seen it all")


def measure_turns(muster, planner):
    """With and without, turn by turn, so that whatever else the machine does meets both."""
    sides, lags = {True: [], False: []}, []
    for number in range(2 * ROUNDS):
        there = number % 2 == 0
        if there:
            if planner.process.poll() is not None:
                planner.start().ready()
            wait_followed(muster)
        elif planner.process and planner.process.poll() is None:
            planner.kill9()
            muster.wait_for(lambda: figure(muster, "up") == 0, "it to be gone")
        sides[there].append(submit_batch(muster, number))
        if there:
            wait_followed(muster)
            time.sleep(1.2)  # until it has told its figures
            lags.append(figure(muster, "lag_most_nanoseconds") / 1e6)
    say("server's processor time a job, without a planner", statistics.median(sides[False]), "ms")
    say("the same, with a planner", statistics.median(sides[True]), "ms")
    say("ratio of turns", statistics.median(
        a / b for a, b in zip(sides[True], sides[False]) if b), "")
    say("longest lag of a round, median", statistics.median(lags), "ms")


def ask(muster, name):
    begin = time.monotonic()
    found = muster.call("GET", f"/v1/jobs/vision:{name}/explain", timeout_s=120)
    return (time.monotonic() - begin) * 1000, found


def measure_answers(muster, planner):
    last = JOBS - 1
    for name, job in (("an early job", "bulk0[40]"),
                      ("the last job", f"bulk{last // ARRAY}[{last % ARRAY}]")):
        took, found = ask(muster, job)
        say(f"explain, {name} of {JOBS}", took, "ms")
        start = found.get("start", {})
        print(json.dumps({"start": start, "words": found["words"][:1]}), flush=True)
    begin = time.monotonic()
    muster.call("POST", "/v1/whatif", {"objects": []}, timeout_s=120)
    say("whatif without a change", (time.monotonic() - begin) * 1000, "ms")
    time.sleep(1.2)
    say("fork", figure(muster, "fork_nanoseconds") / 1e6, "ms")
    say("rows of the copy", figure(muster, "bytes") / 1e6, "MB")
    say("planner, resident memory", rss_mb(planner.process.pid), "MB")
    say("slices compared", figure(muster, "slices_total"), "")
    say("slices that differed", figure(muster, "mismatches_total"), "")


def measure_cost():
    with tempfile.TemporaryDirectory() as folder:
        muster = Muster(pathlib.Path(folder) / "data")
        planner = Planner(muster)
        try:
            muster.start("--requests-per-second", "100000")
            muster.apply(manifests.team(jobsMax=10 * JOBS), manifests.pool(
                nodes=[{"name": "n", "count": 8, "cpu": 1, "memory": "16Gi", "disk": "40Gi"}]))
            for i in range(8):
                muster.submit(manifests.job(f"first{i}", manifests.WAITING))
            for at in range(0, JOBS, ARRAY):
                muster.submit(manifests.job(f"bulk{at // ARRAY}", "true", array={
                    "count": min(ARRAY, JOBS - at)}), timeout_s=300)
            begin = time.monotonic()
            planner.start().ready()
            say(f"a planner follows {JOBS} jobs after", (time.monotonic() - begin) * 1000, "ms")
            measure_answers(muster, planner)
            measure_turns(muster, planner)
            print(planner.log()[-600:])
        finally:
            planner.teardown()
            muster.teardown()


def measure_eta():
    traces = os.environ.get("MUSTER_TRACES")
    if not traces:
        print("eta: skipped: public traces are not part of this repository; MUSTER_TRACES=FOLDER")
        return
    subprocess.run(["ninja", "-C", str(BUILD), "bench/bench_eta"], check=True,
                   stdout=subprocess.DEVNULL)
    for name, path, cluster, more in ETA_RUNS:
        done = subprocess.run(
            [BUILD / "bench/bench_eta", "--format", name, "--jobs", os.path.join(traces, path),
             "--cluster", cluster, *more], check=True, capture_output=True, text=True)
        print(json.dumps({"cluster": cluster, **json.loads(done.stdout)}), flush=True)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["cost", "eta"]
    if "cost" in wanted:
        measure_cost()
    if "eta" in wanted:
        measure_eta()
