#!/usr/bin/python3
"""Jobs through muster onto a real Slurm, beside sbatch in a loop and beside a job array; what a job costs in requests
to slurmrestd and in time; how soon all goes on after slurmrestd or slurmctld was away; the server with very many jobs.

Usage: bench/slurm.py [queue] [run] [delay] [calls] [recovery] [many]

Needs root and Debian's packages of Slurm (scripts/deps test): tests/slurm.py starts four nodes of four processors in a
folder. `queue` hands jobs to a partition that starts none, so that only handing over is measured; `run` waits until
each job has run. MUSTER_BIN names the program (build-release/muster), JOBS how many jobs a round queues (300), RUNS how
many it runs (100), ROUNDS how many rounds there are (3), ONES how often a delay is taken (20), MANY how many jobs the
server has at once (10000), POLL the pool's `poll` (2s, as by default), REQUESTS its `requests`."""
import collections
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("MUSTER_BIN", os.path.join(ROOT, "build-release", "muster"))
sys.path[:0] = [os.path.join(ROOT, "tests")]

import manifests  # noqa: E402
from measure import memory_mib, processor_s  # noqa: E402
import slurm as slurm_module  # noqa: E402
from muster import Muster  # noqa: E402

JOBS = int(os.environ.get("JOBS", "300"))
RUNS = int(os.environ.get("RUNS", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ONES = int(os.environ.get("ONES", "20"))
MANY = int(os.environ.get("MANY", "10000"))
POLL = os.environ.get("POLL", "2s")
LONG_S = 1800
STEP_S = 0.002
MORE = """
MaxJobCount=60000
MaxArraySize=50001
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
"""
# Said to be there, so that muster hands over as much as there is: Slurm queues it.
LARGE = [{"name": f"large-{i}", "cpu": 4096, "memory": "1Ti", "disk": "1Ti"} for i in range(16)]


def wait_until(happened, step_s=STEP_S):
    end = time.monotonic() + LONG_S
    while not happened():
        if time.monotonic() > end:
            sys.exit("nothing happens any more")
        time.sleep(step_s)
    return time.monotonic()


def lines_of(path):
    try:
        with open(path, "rb") as text:
            return text.read().count(b"\n")
    except FileNotFoundError:
        return 0


class World:
    """A cluster, a server, and pools of it: `cluster`, which runs jobs, `closed`, which only queues them, and `queue`,
    which runs them and has Slurm queue them."""

    def __init__(self, folder):
        self.folder = folder
        self.slurm = slurm_module.Slurm(os.path.join(folder, "slurm"), more=MORE)
        self.muster = Muster(os.path.join(folder, "data"))
        self.rounds = 0
        os.makedirs(self.slurm.folder)
        os.chmod(folder, 0o755)

    def start(self):
        self.slurm.start()
        self.marks = os.path.join(self.folder, "marks")
        os.makedirs(self.marks)
        os.chmod(self.marks, 0o777)
        self.muster.start()
        options = {"poll": POLL, "endpoint": f"unix:{self.slurm.rest_socket}"}
        if os.environ.get("REQUESTS"):
            options["requests"] = int(os.environ["REQUESTS"])
        closed = self.slurm.pool("closed", partition="closed", **options)
        queue = self.slurm.pool("queue", **options)
        closed["spec"]["nodes"] = queue["spec"]["nodes"] = LARGE
        counted = self.slurm.pool("counted", **{**options, "endpoint": f"unix:{self.slurm.proxy_socket}"})
        counted["spec"]["nodes"] = LARGE
        self.muster.apply(manifests.team(), self.slurm.pool(**options), closed, queue, counted)
        wait_until(lambda: len(self.muster.call("GET", "/v1/nodes")["items"]) 
                   >= 3 * len(LARGE) + len(self.slurm.nodes), 0.05)

    def close(self):
        self.muster.teardown()
        self.slurm.run("scancel", "--user", slurm_module.USER, check=False)
        self.slurm.close()

    def mark(self):
        """A file of which each job of a round makes one line."""
        self.rounds += 1
        return os.path.join(self.marks, str(self.rounds))

    def submit(self, name, count, script, pool):
        """The names of the job, or of the elements of an array."""
        spec = {"array": {"count": count}} if count > 1 else {}
        self.muster.submit(manifests.job(name, script, placement={"pool": pool}, grace="1s", resources={
            "cpu": 1, "memory": "16Mi", "disk": "0"}, **spec))
        return [f"{name}[{index}]" for index in range(count)] if count > 1 else [name]

    def sbatch(self, script, *options):
        subprocess.run(["sbatch", "--quiet", "--partition=main", "--chdir=/", "--output=/dev/null", "--mem=16",
                        f"--uid={slurm_module.USER}", *options, f"--wrap={script}"], env=self.slurm.environment,
                       check=True)

    def queued(self):
        return self.slurm.run("squeue", "-h", "-r", "-o", "%i", "-t", "PD,R,CG").count("\n")

    def clear(self):
        """Of what muster has nothing to do with."""
        self.slurm.run("scancel", "--user", slurm_module.USER, check=False)
        wait_until(lambda: self.queued() == 0, 0.2)

    def cancel(self, name):
        """A job, or an array as one."""
        self.muster.call("POST", f"/v1/jobs/{manifests.TEAM}:{name}/cancel")
        wait_until(lambda: self.queued() == 0, 0.2)


def say(section, figures, unit):
    for name, values in figures.items():
        print(f"{section}: {name}: {statistics.median(values):.1f} {unit} ({min(values):.1f} to {max(values):.1f})",
              flush=True)


def timed(begin, done, step_s=STEP_S):
    began = time.monotonic()
    begin()
    return wait_until(done, step_s) - began


# ---- jobs a second ------------------------------------------------------------------------------


def queue(world):
    figures = collections.defaultdict(list)

    def arrived():
        return world.queued() >= JOBS

    for number in range(ROUNDS):
        took = timed(lambda: world.submit(f"queue-{number}", JOBS, "true", "closed"), arrived, 0.05)
        figures["muster, an array"].append(JOBS / took)
        world.cancel(f"queue-{number}")

        def loop():
            for _ in range(JOBS):
                world.sbatch("true", "--partition=closed")
        figures["sbatch in a loop"].append(JOBS / timed(loop, arrived, 0.05))
        world.clear()
        figures["sbatch --array"].append(JOBS / timed(
            lambda: world.sbatch("true", "--partition=closed", f"--array=1-{JOBS}"), arrived, 0.05))
        world.clear()
    say("queue", figures, "jobs/s")


def run(world):
    figures = collections.defaultdict(list)
    for number in range(ROUNDS):
        for name, begin in {
                "muster": lambda script: world.submit(f"run-{world.rounds}", RUNS, script, "cluster"),
                "muster, queued by Slurm": lambda script: world.submit(f"run-{world.rounds}", RUNS, script, "queue"),
                "sbatch in a loop": lambda script: [world.sbatch(script) for _ in range(RUNS)],
                "sbatch in a loop, with srun": lambda script: [
                    world.sbatch(f"srun --quiet sh -c '{script}'") for _ in range(RUNS)],
                "sbatch --array": lambda script: world.sbatch(script, f"--array=1-{RUNS}"),
        }.items():
            mark = world.mark()
            figures[name].append(RUNS / timed(lambda: begin(f"echo x >> {mark}"), lambda: lines_of(mark) >= RUNS))
            wait_until(lambda: world.queued() == 0, 0.1)
        del number
    say("run", figures, "jobs/s")


# ---- one job ------------------------------------------------------------------------------------


def delay(world):
    """From a request for one job until its command begins."""
    figures = collections.defaultdict(list)
    for _ in range(ONES):
        for name, begin in {
                "muster": lambda script: world.submit(f"one-{world.rounds}", 1, script, "cluster"),
                "sbatch": world.sbatch,
                "sbatch, with srun": lambda script: world.sbatch(f"srun --quiet sh -c '{script}'"),
        }.items():
            mark = world.mark()
            figures[name].append(1000 * timed(lambda: begin(f"echo x >> {mark}"), lambda: lines_of(mark) >= 1))
            wait_until(lambda: world.queued() == 0, 0.1)
    say("delay", figures, "ms")


def calls(world):
    """Requests to slurmrestd until all jobs have ended, and what of them is asked without any job."""
    proxy = world.slurm.proxy
    for count in (1, RUNS):
        proxy.seen.clear()
        began, mark = time.monotonic(), world.mark()
        names = world.submit(f"calls-{count}", count, f"echo x >> {mark}", "counted")
        for name in names:
            world.muster.wait_ended(f"{manifests.TEAM}:{name}", timeout_s=LONG_S)
        took = time.monotonic() - began
        for what, total in sorted(proxy.seen.items()):
            print(f"calls: {count} jobs in {took:.1f} s: {what}: {total}, {total / count:.2f} a job", flush=True)


# ---- after it was away --------------------------------------------------------------------------


def recovery(world):
    """From the return of slurmrestd, of slurmctld, until a job that came meanwhile begins."""
    figures = collections.defaultdict(list)
    for number in range(ROUNDS):
        for name, end, begin in (
                ("slurmrestd", lambda: world.slurm.stop("slurmrestd"), world.slurm.start_rest),
                ("slurmctld", lambda: world.slurm.stop("slurmctld"), world.slurm.start_controller)):
            end()
            mark = world.mark()
            world.submit(f"after-{name}-{number}", 1, f"echo x >> {mark}", "cluster")
            time.sleep(30)  # long enough that it is asked as seldom as it ever is
            begin()
            began = time.monotonic()
            figures[f"{name} answers, a job that waited begins"].append(
                wait_until(lambda: lines_of(mark) >= 1) - began)
            wait_until(lambda: world.queued() == 0, 0.1)
    say("recovery", figures, "s")


# ---- very many ----------------------------------------------------------------------------------


def many_in(world, what, pool, arrived):
    name = f"many-{pool}"
    rest = world.slurm.processes["slurmrestd"].pid
    proxy, first = world.slurm.proxy, memory_mib(world.muster.process.pid)

    def measured(step, action):
        """The server may be another one afterwards: that began with nothing used."""
        proxy.seen.clear()
        process = world.muster.process
        began, used, theirs = time.monotonic(), processor_s(process.pid), processor_s(rest)
        action()
        pid = world.muster.process.pid
        print(f"many: {what}: {step}: {time.monotonic() - began:.1f} s; processor time of the server "
              f"{processor_s(pid) - (used if world.muster.process is process else 0):.1f} s, of slurmrestd "
              f"{processor_s(rest) - theirs:.1f} s; memory of the server "
              f"{memory_mib(pid):.0f} MiB (before: {first:.0f}), of slurmrestd {memory_mib(rest):.0f} MiB; requests: "
              f"{dict(proxy.seen)}", flush=True)

    def arrive():
        world.submit(name, MANY, "sleep 3600", pool)
        wait_until(arrived, 0.5)

    def restart():
        world.muster.kill9()
        world.muster.start()

    def cancel():
        """Until muster, too, says of each that it is over."""
        world.cancel(name)
        wait_until(lambda: world.muster.job(f"{manifests.TEAM}:{name}")["status"]["state"] == "cancelled", 0.5)
    measured(f"{MANY} jobs", arrive)
    measured("a minute in which nothing happens", lambda: time.sleep(60))
    measured("the server killed, until another one answers", restart)
    measured("the minute after that", lambda: time.sleep(60))
    measured("cancelled", cancel)


def many(world):
    closed = world.slurm.pool("closed", partition="closed", poll=POLL)
    closed["spec"]["nodes"] = LARGE
    world.muster.apply(closed)
    many_in(world, "queued by Slurm", "closed", lambda: world.queued() >= MANY)


SECTIONS = {"queue": queue, "run": run, "delay": delay, "calls": calls, "recovery": recovery, "many": many}


def main():
    names = sys.argv[1:] or list(SECTIONS)
    if not set(names) <= set(SECTIONS):
        sys.exit(f"sections: {' '.join(SECTIONS)}")
    if slurm_module.why_not():
        sys.exit(slurm_module.why_not())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it started is stopped
    with tempfile.TemporaryDirectory(prefix="muster-slurm-bench-") as folder:
        world = World(folder)
        try:
            world.start()
            for name in names:
                SECTIONS[name](world)
        finally:
            world.close()


if __name__ == "__main__":
    main()
