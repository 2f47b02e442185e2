"""What every step of the demo needs: the clock, the report, and the program that it is about.

Steps ask muster through its command line, as a user would, and wait for conditions, never for time
to pass. A step that does not hold ends the demo.
"""
import fcntl
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PYTHON = "/usr/bin/python3"  # Debian's, which has the packages

LIMIT_S = 170          # for the whole demo; reaching it is a failure
RETRY_S = 0.1          # between two looks at a condition
STOP_S = 20            # for the server to end by itself
SOCKET_PATH_MAX = 100  # a Unix socket's path has 107 bytes at most
PORTS = range(20000, 32000)  # below those that the kernel gives to clients
ENDED = ("succeeded", "failed", "cancelled")


class StepFailed(Exception):
    """A step did not hold, and those after it cannot be tried."""


def manifest(name):
    return os.path.join(HERE, "manifests", name + ".yaml")


class Clock:
    """Time since the beginning, and the end that must not be reached."""

    def __init__(self, limit_s):
        self.limit_s = limit_s
        self.began = time.monotonic()

    def passed(self):
        return time.monotonic() - self.began

    def left(self):
        return self.limit_s - self.passed()


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

    def step(self, name, held, detail, **facts):
        """Records a step with the facts that it rests on; one that did not hold ends the demo."""
        self.steps.append({"name": name, "held": bool(held), "detail": detail,
                           "at_s": round(self.clock.passed(), 1), "facts": facts})
        mark = self._paint("32", "held  ") if held else self._paint("31", "FAILED")
        print(f"{self.clock.passed():6.1f} s  {mark} {name}: {detail}", flush=True)
        if not held:
            raise StepFailed(name)

    def failed(self, detail):
        """What ended the demo outside of any step."""
        self.steps.append({"name": "the demo", "held": False, "detail": str(detail),
                           "at_s": round(self.clock.passed(), 1), "facts": {}})

    def all_held(self):
        return bool(self.steps) and all(step["held"] for step in self.steps)

    def write(self):
        content = {"ok": self.all_held(), "seconds": round(self.clock.passed(), 1),
                   "root": os.geteuid() == 0, "steps": self.steps, "prices": self.prices}
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        return content["ok"]


class Folder:
    """The demo's own folder, made anew. Its lock keeps two demos out of one folder."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        mark = os.path.join(self.path, ".muster-demo")
        if os.path.isdir(self.path) and os.listdir(self.path) and not os.path.exists(mark):
            raise StepFailed(f"{self.path} is not a folder of the demo: it is left alone")
        os.makedirs(self.path, exist_ok=True)
        self.lock = open(mark, "w", encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StepFailed(f"another demo runs in {self.path}: give this one --work and "
                             "--report of its own") from None
        for entry in os.scandir(self.path):
            if entry.name == ".muster-demo":
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)

    def join(self, *names):
        return os.path.join(self.path, *names)


def free_port():
    """A port of this machine on which nobody listens: demos can run side by side."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise StepFailed("no port is free for the gateway")


class Muster:
    """The program: a server and a gateway of our own, and the command line that asks them."""

    def __init__(self, program, folder, clock):
        self.program = program
        self.folder = folder
        self.clock = clock
        self.data = folder.join("data")
        self.log = folder.join("server.log")
        self.gateway = f"127.0.0.1:{free_port()}"
        self.process = None
        self.socket_folder = None
        self.loads = []  # processes of clients
        path = os.path.join(self.data, "muster.sock")
        if len(path) > SOCKET_PATH_MAX:
            self.socket_folder = tempfile.mkdtemp(prefix="muster-demo-")
            path = os.path.join(self.socket_folder, "muster.sock")
        self.socket = path
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("MUSTER_")}
        self.environment["MUSTER_ENDPOINT"] = "unix:" + path
        # Found again in /proc by this, whoever became its parent.
        self.environment["MUSTER_DEMO"] = self.tag = f"demo-{os.getpid()}"

    # ---- its life -------------------------------------------------------------------------

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "up", "--data", self.data, "--socket", self.socket,
                 "--gateway", self.gateway],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True)
        self.wait("the server answers", lambda: self.try_run("version", "--server") is not None)

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: no warning, no tidying up."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.runs():
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.socket_folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    # ---- the command line -----------------------------------------------------------------

    def token_file(self, user):
        return self.folder.join(user + ".token")

    def call(self, *arguments, user=None):
        """Runs the command line as a user with a token, or as who owns the server."""
        environment = dict(self.environment)
        if user:
            environment["MUSTER_TOKEN_FILE"] = self.token_file(user)
        return subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=environment,
                              timeout=max(1.0, self.clock.left()), check=False)

    def run(self, *arguments, user=None):
        done = self.call(*arguments, user=user)
        if done.returncode != 0:
            raise StepFailed(f"muster {' '.join(arguments)} ended with {done.returncode}: "
                             f"{(done.stderr or done.stdout).strip()}")
        return done.stdout

    def try_run(self, *arguments):
        done = self.call(*arguments)
        return done.stdout if done.returncode == 0 else None

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "-o", "json"))

    def job(self, name):
        return self.json("get", "job", name)["status"]

    def log_of(self, job, attempt):
        return self.try_run("logs", "--attempt", str(attempt), job) or ""

    # ---- waiting --------------------------------------------------------------------------

    def wait(self, what, condition):
        """Asks until condition gives something true, which is returned."""
        while True:
            value = condition()
            if value:
                return value
            if not self.runs():
                raise StepFailed(f"the server ended while waiting until {what}: see {self.log}")
            if self.clock.left() <= 0:
                raise StepFailed(f"{self.clock.limit_s} s are over, waiting until {what}")
            time.sleep(RETRY_S)

    def wait_for_job(self, name, what, condition, *ends):
        """Until condition holds for the job's status; ends that are expected are no failure."""
        def reached():
            status = self.job(name)
            if condition(status):
                return status
            if status["state"] in ENDED and status["state"] not in ends:
                raise StepFailed(f"{name} is {status['state']} ({status.get('reason')}) before "
                                 f"{what}:\n{self.log_of(name, status['attempts'])}")
            return None
        return self.wait(f"{name}: {what}", reached)

    def wait_for_state(self, name, *states):
        return self.wait_for_job(name, "it is " + " or ".join(states),
                                 lambda status: status["state"] in states)


# ---- processes --------------------------------------------------------------------------------


def read_process(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def processes():
    """{process: its parent} of all that live."""
    parents = {}
    for entry in os.listdir("/proc"):
        stat = read_process(entry, "stat").rpartition(b") ")[2].split() if entry.isdigit() else []
        if len(stat) >= 2 and stat[0] not in (b"Z", b"X"):
            parents[int(entry)] = int(stat[1])
    return parents


def with_children(parents, found):
    """The processes found and all below them."""
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def living(muster):
    """Processes of this demo: those with our variable or our data directory, and all below them."""
    parents = processes()
    parents.pop(os.getpid(), None)
    return sorted(with_children(parents, {
        pid for pid in parents
        if f"MUSTER_DEMO={muster.tag}".encode() in read_process(pid, "environ").split(b"\0")
        or muster.data.encode() in read_process(pid, "cmdline")}))
