#!/usr/bin/python3
"""The demo: a training is preempted by an urgent job, resumes from its checkpoint, finishes, and
everything has a price; in between the server is killed and nothing is lost.

Usage: demo/demo.py [--muster PROGRAM] [--work FOLDER] [--report FILE]

Works in a folder of its own (demo-work/, made anew), as root or as an ordinary user. Whatever
happens next is decided by what muster and the jobs report, never by the clock. Prints a timeline,
writes demo-report.json, and ends with 0 only when every step held. KEEP=1 leaves the server
running, to look around. Standard library only; the jobs need python3-torch and python3-sklearn.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MANIFESTS = os.path.join(HERE, "manifests")

LIMIT_S = 170          # for the whole demo; reaching it is a failure
RETRY_S = 0.1          # between two looks at a condition
KILL_AT_EPOCH = 2      # the server is killed once this epoch has been reported,
PREEMPT_AT_EPOCH = 6   # and the urgent job comes after this one
EPOCHS = 14            # as in manifests/train.yaml
ACCURACY_LEAST = 0.85
SOCKET_PATH_MAX = 100  # a Unix socket's path has 107 bytes at most

TRAINING = "research/digits"
URGENT = "fraud/score"


class StepFailed(Exception):
    """A step did not hold, and those after it cannot be tried."""


class Clock:
    """Time since the beginning, and the end that must not be reached."""

    def __init__(self):
        self.began = time.monotonic()

    def passed(self):
        return time.monotonic() - self.began

    def left(self):
        return LIMIT_S - self.passed()


class Report:
    """The timeline for people, and the report for programs."""

    def __init__(self, path, clock):
        self.path = path
        self.clock = clock
        self.steps = []
        self.prices = {}
        self.colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def _paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def tell(self, text):
        print(f"{self.clock.passed():6.1f} s  {text}", flush=True)

    def step(self, name, held, detail):
        """Records a step; a step that did not hold ends the demo."""
        self.steps.append({"name": name, "held": bool(held), "detail": detail,
                           "at_s": round(self.clock.passed(), 1)})
        mark = self._paint("32", "held  ") if held else self._paint("31", "FAILED")
        print(f"{self.clock.passed():6.1f} s  {mark} {name}: {detail}", flush=True)
        if not held:
            raise StepFailed(name)

    def write(self):
        ok = bool(self.steps) and all(step["held"] for step in self.steps)
        content = {"ok": ok, "seconds": round(self.clock.passed(), 1), "steps": self.steps,
                   "prices": self.prices, "root": os.geteuid() == 0}
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        return ok


class Muster:
    """The program: a server of our own, and the command line that asks it."""

    def __init__(self, program, folder, clock):
        self.program = program
        self.clock = clock
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "server.log")
        self.process = None
        self.socket_folder = None
        socket = os.path.join(self.data, "muster.sock")
        if len(socket) > SOCKET_PATH_MAX:
            self.socket_folder = tempfile.mkdtemp(prefix="muster-demo-")
            socket = os.path.join(self.socket_folder, "muster.sock")
        self.socket = socket
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("MUSTER_")}
        self.environment["MUSTER_ENDPOINT"] = "unix:" + socket
        # Found again in /proc by this, whoever became its parent.
        self.environment["MUSTER_DEMO"] = self.tag = f"demo-{os.getpid()}"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "up", "--data", self.data, "--socket", self.socket],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True)
        self.wait("the server answers", lambda: self.try_run("version", "--server") is not None)

    def kill(self):
        """SIGKILL: no warning, no tidying up."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.socket_folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _run(self, arguments):
        return subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=self.environment,
                              timeout=max(1.0, self.clock.left()), check=False)

    def run(self, *arguments):
        done = self._run(arguments)
        if done.returncode != 0:
            raise StepFailed(f"muster {' '.join(arguments)} ended with {done.returncode}: "
                             f"{done.stderr.strip()}")
        return done.stdout

    def try_run(self, *arguments):
        done = self._run(arguments)
        return done.stdout if done.returncode == 0 else None

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "-o", "json"))

    def job(self, name):
        return self.json("get", "job", name)["status"]

    def wait(self, what, condition):
        """Asks until condition gives something true, which is returned."""
        while True:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise StepFailed(f"the server ended while waiting until {what}: see {self.log}")
            if self.clock.left() <= 0:
                raise StepFailed(f"{LIMIT_S} s are over, waiting until {what}")
            time.sleep(RETRY_S)


def epoch_of(status):
    """The last epoch that a job reported."""
    return (status.get("progress") or {}).get("epoch", 0)


def wait_for_epoch(muster, name, epoch):
    def reached():
        status = muster.job(name)
        if status["state"] in ("succeeded", "failed", "cancelled"):
            raise StepFailed(f"{name} is {status['state']} ({status.get('reason')}) before epoch "
                             f"{epoch}:\n{log_of(muster, name, status['attempts'])}")
        return status if epoch_of(status) >= epoch else None
    return muster.wait(f"{name} has done epoch {epoch}", reached)


def wait_for_state(muster, name, *states):
    def reached():
        status = muster.job(name)
        if status["state"] in ("failed", "cancelled") and status["state"] not in states:
            raise StepFailed(f"{name} is {status['state']}: {status.get('reason')}\n"
                             f"{log_of(muster, name, status['attempts'])}")
        return status if status["state"] in states else None
    return muster.wait(f"{name} is {' or '.join(states)}", reached)


def log_of(muster, name, attempt):
    return muster.try_run("logs", "--attempt", str(attempt), name) or ""


def checkpoint_files(muster):
    """(path, time) of checkpoints on disk, seen without asking the server."""
    found = []
    for folder, _, files in os.walk(muster.data):
        for file in files:
            if file == "checkpoint.pt":
                path = os.path.join(folder, file)
                try:
                    found.append((path, os.stat(path).st_mtime_ns))
                except OSError:
                    pass  # replaced at this moment
    return sorted(found)


def read_process(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def living(muster):
    """Processes of this demo: those with our variable or our data directory, and all below them."""
    parents, found = {}, set()
    for entry in os.listdir("/proc"):
        stat = read_process(entry, "stat").rpartition(b") ")[2].split() if entry.isdigit() else []
        if len(stat) < 2 or stat[0] in (b"Z", b"X") or int(entry) == os.getpid():
            continue
        parents[int(entry)] = int(stat[1])
        if f"MUSTER_DEMO={muster.tag}".encode() in read_process(entry, "environ").split(b"\0") \
                or muster.data.encode() in read_process(entry, "cmdline"):
            found.add(int(entry))
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


# ---- the steps -----------------------------------------------------------------------------


def step_start(muster, report):
    muster.start()
    version = muster.run("version", "--server").split("\n")[0]
    who = "root: each team has a uid of its own" if os.geteuid() == 0 else \
        "an ordinary user: all jobs run as you, with less isolation"
    report.step("server", True, f"{version} answers, as {who}")
    for file in ("pool", "teams", "class"):
        muster.run("apply", "-f", os.path.join(MANIFESTS, file + ".yaml"))
    again = muster.json("apply", *(word for file in ("pool", "teams", "class")
                                   for word in ("-f", os.path.join(MANIFESTS, file + ".yaml"))))
    actions = sorted({result["action"] for result in again["results"]})
    report.step("manifests", actions == ["unchanged"],
                "pool local, teams research and fraud, class demo-training; applied twice, the "
                f"second time {', '.join(actions)}")
    facts = muster.json("get", "node", "local/here").get("enforcement", [])
    missing = [fact["name"] for fact in facts if not fact["enforced"]]
    report.tell(f"not enforced on this machine: {', '.join(missing) or 'nothing'}")


def step_submit(muster, report):
    muster.run("apply", "-f", os.path.join(MANIFESTS, "train.yaml"))
    report.tell(f"{TRAINING} is submitted: two ranks, each with a demo-gpu")
    status = wait_for_state(muster, TRAINING, "running")
    report.step("training starts", status["attempts"] == 1,
                f"attempt {status['attempts']}, {status['size']} ranks")


def step_kill(muster, report):
    before = wait_for_epoch(muster, TRAINING, KILL_AT_EPOCH)
    report.tell(f"epoch {epoch_of(before)} is done: SIGKILL for the server")
    muster.kill()
    at_kill = checkpoint_files(muster)
    killed = time.time()
    if at_kill:
        # The proof that the job goes on without a server: a checkpoint it writes meanwhile.
        while checkpoint_files(muster) == at_kill:
            if muster.clock.left() <= 0:
                raise StepFailed("the training stood still while the server was gone")
            time.sleep(RETRY_S)
        report.tell("the server is gone, and the training has written another checkpoint")
    restarted = time.time()
    muster.start()
    after = wait_for_epoch(muster, TRAINING, epoch_of(before) + 2)
    log = log_of(muster, TRAINING, after["attempts"])
    meanwhile = [float(moment) for moment in re.findall(r"^(\d+\.\d+) epoch \d+:", log, re.M)
                 if killed <= float(moment) <= restarted]
    same = after["attempts"] == before["attempts"] and after["id"] == before["id"]
    report.step("the server was killed", same and after["state"] == "running",
                f"restarted after {restarted - killed:.1f} s; the training is the same attempt "
                f"{after['attempts']}, at epoch {epoch_of(after)}; epochs it ended while no server "
                f"ran: {len(meanwhile)}")


def step_preempt(muster, report):
    before = wait_for_epoch(muster, TRAINING, PREEMPT_AT_EPOCH)
    report.tell(f"epoch {epoch_of(before)} is done: {URGENT} arrives and wants both accelerators")
    muster.run("apply", "-f", os.path.join(MANIFESTS, "urgent.yaml"))
    wait_for_state(muster, URGENT, "running", "succeeded")
    attempts = muster.job(TRAINING)["attemptList"]
    first = attempts[0]
    report.step("preempted", first["state"] == "ended" and first.get("reason") == "preempted",
                f"attempt 1 of {TRAINING} is {first['state']}, reason: {first.get('reason')}")
    urgent = wait_for_state(muster, URGENT, "succeeded")
    result = log_of(muster, URGENT, 1).strip().split("\n")[-1]
    report.step("urgent job", urgent["attempts"] == 1, f"{URGENT}: {result}")


SAVED = re.compile(r"saved epoch (\d+) after (\d+) of its passes as checkpoint (\w+)")
RESUMED = re.compile(r"resuming at epoch (\d+) after (\d+) of its passes, from checkpoint (\w+)")


def step_resume(muster, report):
    status = muster.wait(f"{TRAINING} has an attempt 2", lambda: (
        lambda now: now if now["attempts"] >= 2 else None)(muster.job(TRAINING)))
    resumed = muster.wait(f"attempt 2 of {TRAINING} says where it resumes",
                          lambda: RESUMED.search(log_of(muster, TRAINING, 2)))
    saved = SAVED.findall(log_of(muster, TRAINING, 1))
    held = bool(saved) and resumed.groups() == saved[-1] and int(resumed[1]) > 1
    report.step("resumed from its checkpoint", held,
                f"attempt 1 saved epoch {saved[-1][0]}, pass {saved[-1][1]} as {saved[-1][2]}; "
                f"attempt 2 says: \"{resumed[0]}\"" if saved else "attempt 1 saved nothing")
    left = status.get("retriesLeft")
    report.step("a preemption is no failure", status["preemptions"] == 1 and left == 1,
                f"preempted {status['preemptions']} time, retries left: {left} of 1")


def step_finish(muster, report):
    status = wait_for_state(muster, TRAINING, "succeeded")
    log = log_of(muster, TRAINING, status["attempts"])
    found = re.search(r"finished: accuracy (\d\.\d+)", log)
    accuracy = float(found[1]) if found else 0.0
    report.step("training ends", accuracy > ACCURACY_LEAST,
                f"accuracy {accuracy:.4f} on digits it has not seen, in {status['attempts']} "
                "attempts")
    lines = "".join(log_of(muster, TRAINING, number) for number in (1, 2))
    epochs = [int(number) for number in re.findall(r" epoch (\d+): loss", lines)]
    report.step("nothing was lost", epochs == list(range(1, EPOCHS + 1)),
                f"its logs have the epochs {epochs[0] if epochs else '-'} to "
                f"{epochs[-1] if epochs else '-'}, each once")


def step_audit(muster, report):
    said = muster.run("audit", "verify").strip()
    report.step("audit", True, said)


def step_price(muster, report):
    cost = muster.json("cost", "--by", "job")
    currency = cost.get("currency", "")
    jobs = {f"{item.get('team')}/{item.get('name')}": item for item in cost["items"]}
    for name in (TRAINING, URGENT):
        item = jobs.get(name, {})
        report.tell(f"{name}: {item.get('cost')} {currency} for {item.get('attempts')} run(s), of "
                    f"it wasted by preemption {item.get('wasted')}")
    epochs = muster.json("describe", "job", TRAINING)["progress"]["items"]
    for epoch in epochs:
        report.tell(f"  epoch {epoch['epoch']:2}  attempt {epoch['attempt']}  "
                    f"{epoch.get('milliseconds', 0) / 1000:5.1f} s  {epoch.get('cost')} {currency}"
                    f"  accuracy {epoch['data'].get('accuracy')}")
    sums = cost["total"]
    report.tell(f"idle: {cost.get('idle')} {currency} of a capacity worth {cost.get('capacity')}")
    total = float(sums["cost"])
    difference = abs(total - sum(float(item["cost"]) for item in cost["items"]))
    held = (total > 0 and "idle" in cost and difference < 0.00001 * len(cost["items"])
            and len(epochs) == EPOCHS and all("cost" in epoch for epoch in epochs)
            and all(float(jobs.get(name, {}).get("cost", 0)) > 0 for name in (TRAINING, URGENT)))
    report.prices = {"currency": currency, "jobs": jobs, "epochs": epochs, "total": sums,
                     "idle": cost.get("idle"), "capacity": cost.get("capacity")}
    report.step("prices", held, f"{total} {currency} for everything; the jobs' sum differs by "
                f"{difference:.6f}; {len(epochs)} epochs have a price")


STEPS = (step_start, step_submit, step_kill, step_preempt, step_resume, step_finish, step_audit,
         step_price)


def step_leave(muster, report):
    """Nothing of ours may be left running."""
    muster.stop()
    end = time.monotonic() + 10
    while living(muster) and time.monotonic() < end:
        time.sleep(RETRY_S)
    left = living(muster)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    report.step("nothing is left running", not left,
                "the server and all jobs have ended" if not left else f"killed: {left}")


def cancel_all(muster):
    """After a failure jobs may still run; they outlive their server by design."""
    for name in (TRAINING, URGENT):
        try:
            if muster.try_run("cancel", name) is not None:
                end = time.monotonic() + 25
                while time.monotonic() < end and \
                        (muster.job(name)["state"] not in ("succeeded", "failed", "cancelled")):
                    time.sleep(RETRY_S)
        except (StepFailed, subprocess.TimeoutExpired, ValueError, KeyError, OSError):
            pass


def show_where(muster):
    print(f"""
The server goes on, as process {muster.process.pid}. To look around:

    export MUSTER_ENDPOINT=unix:{muster.socket}
    muster get jobs --all
    muster describe job {TRAINING}
    muster cost
    muster top

To end it: kill {muster.process.pid}""")


def check_packages(report):
    """Told at once and by name, rather than as a job that fails."""
    done = subprocess.run(["/usr/bin/python3", "-c", "import torch, sklearn"],
                          capture_output=True, text=True, check=False)
    report.step("packages", done.returncode == 0, "python3-torch and python3-sklearn are there"
                if done.returncode == 0 else "apt-get install python3-torch python3-sklearn: "
                + done.stderr.strip().split("\n")[-1])


def run_steps(muster, report, keep):
    try:
        check_packages(report)
        for step in STEPS:
            step(muster, report)
    except StepFailed as failure:
        if not report.steps or report.steps[-1]["held"]:
            report.steps.append({"name": "the demo", "held": False, "detail": str(failure)})
        print(f"\n{failure}\nThe server's log is {muster.log}.", file=sys.stderr)
    except subprocess.TimeoutExpired as failure:
        report.steps.append({"name": "the demo", "held": False, "detail": str(failure)})
    finally:
        failed = not all(step["held"] for step in report.steps)
        if muster.process and keep and muster.process.poll() is None:
            show_where(muster)
        else:
            if failed and muster.process and muster.process.poll() is None:
                cancel_all(muster)
            try:
                step_leave(muster, report)
            except StepFailed:
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--muster", default=os.environ.get(
        "MUSTER_BIN", os.path.join(ROOT, "build", "muster")), help="the program")
    parser.add_argument("--work", default=os.path.join(ROOT, "demo-work"),
                        help="a folder of its own, made anew")
    parser.add_argument("--report", default=os.path.join(ROOT, "demo-report.json"))
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.muster)
    if not os.access(program, os.X_OK):
        print(f"{program} is not there: run make first", file=sys.stderr)
        return 2
    work = os.path.abspath(arguments.work)
    if os.path.isdir(work) and not os.path.exists(os.path.join(work, ".muster-demo")) \
            and os.listdir(work):
        print(f"{work} is not a folder of the demo: it is left alone", file=sys.stderr)
        return 2
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    with open(os.path.join(work, ".muster-demo"), "w", encoding="utf-8"):
        pass
    clock = Clock()
    report = Report(os.path.abspath(arguments.report), clock)
    muster = Muster(program, work, clock)
    # Ctrl-C and a supervisor's SIGTERM end the demo through the same door.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run_steps(muster, report, os.environ.get("KEEP") == "1")
    ok = report.write()
    held = sum(step["held"] for step in report.steps)
    print(f"\n{held} of {len(report.steps)} steps held, {clock.passed():.0f} s; {report.path}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
