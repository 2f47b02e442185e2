"""A real server in a data directory of its own, for scenarios."""
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from urllib.parse import quote, urlencode

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.abspath(os.environ.get("MUSTER_BIN", os.path.join(ROOT, "build", "muster")))

# Generous, since sanitizers are slow: reaching one is a failure, never the normal course.
START_S = 60
STOP_S = 60
COMMAND_S = 120
REQUEST_S = 60
RETRY_S = 0.02

# The states that a job does not leave.
ENDED = ("succeeded", "failed", "cancelled")

# Every process of an instance inherits this variable, which finds the ones that lost their parent.
TAG = "MUSTER_TEST_INSTANCE"


class Answer:
    """What the server said: status, headers (lower-case names), body, also as text."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()
        self.text = self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"<{self.status} {self.text[:500]}>"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout_s):
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def wait_until(condition, timeout_s, what):
    """Asks condition() again and again until it gives something true, which is returned."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(RETRY_S)


def read_proc(pid, name):
    """The bytes of /proc/PID/NAME, none when the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as content:
            return content.read()
    except OSError:
        return b""


def living_processes():
    """The parent of each process that is not a zombie, by process id."""
    parents = {}
    for entry in os.listdir("/proc"):
        state, _, rest = read_proc(entry, "stat").rpartition(b") ")[2].partition(b" ")
        if entry.isdigit() and state not in (b"", b"Z", b"X"):
            parents[int(entry)] = int(rest.split()[0])
    return parents


def processes_of(tag, path):
    """Processes that inherited the environment entry tag or were started with path among their
    arguments, and all that descend from those."""
    parents = living_processes()
    found = set()
    for pid in parents:
        if (tag.encode() in read_proc(pid, "environ").split(b"\0")
                or path.encode() in read_proc(pid, "cmdline")):
            found.add(pid)
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more


class Muster:
    """One instance. `data` is its data directory, `socket_path` the administrator's socket."""

    def __init__(self, data, environment=None, binary=BINARY):
        self.binary = binary
        self.data = str(data)
        self.socket_path = os.path.join(self.data, "muster.sock")
        self.log_path = self.data.rstrip("/") + ".log"
        self.id = uuid.uuid4().hex
        self.environment = dict(os.environ, **(environment or {}))
        self.environment[TAG] = self.id
        self.environment["MUSTER_ENDPOINT"] = f"unix:{self.socket_path}"
        self.process = None

    def start(self, *arguments, verb="server", timeout_s=START_S):
        """Starts the server and returns when it answers; fails with its log when it does not."""
        assert self.process is None or self.process.poll() is not None, "already running"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, verb, "--data", self.data, *arguments], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, timeout_s, "the server's first answer")
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"the server ended with status {self.process.returncode}:\n{self.log()}")
        try:
            return self.api("GET", "/healthz", timeout_s=2).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def log(self, most=8000):
        """The end of what the server wrote to standard error, over all its starts."""
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()[-most:]

    def api(self, method, path, body=None, token=None, headers=None, timeout_s=REQUEST_S):
        """One request over the Unix socket; a body that is not text or bytes is sent as JSON."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        connection = UnixConnection(self.socket_path, timeout_s)
        try:
            connection.request(method, path, body=body, headers=sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def call(self, method, path, body=None, **options):
        """As api, for what has to succeed: the answer's JSON."""
        answer = self.api(method, path, body, **options)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer}"
        return answer.json

    def apply(self, *objects, dry_run=False, **options):
        """Applies manifests, which has to succeed; the action for each, in their order."""
        body = {"objects": list(objects), "dryRun": dry_run}
        results = self.call("POST", "/v1/apply", body, **options)["results"]
        actions = {(r["kind"], r["name"]): r["action"] for r in results}
        return [actions[item["kind"], item["metadata"]["name"]] for item in objects]

    def submit(self, job, key=None, **options):
        """Submits a job, which has to be accepted; its id."""
        headers = {"Idempotency-Key": key} if key else None
        return self.call("POST", "/v1/jobs", job, headers=headers, **options)["id"]

    def job(self, reference):
        """A job by its id or as `team:name`: manifest and status."""
        return self.call("GET", f"/v1/jobs/{quote(reference)}")

    def wait_job(self, reference, *states, timeout_s=COMMAND_S):
        """The job once it is in one of the states; fails at once when it ended in another."""
        def reached():
            job = self.job(reference)
            state = job["status"]["state"]
            assert state in states or state not in ENDED, (
                f"waited for {states}: {json.dumps(job['status'], indent=1)}\n"
                f"{self.logs(reference)[-2000:]}")
            return job if state in states else None
        return self.wait_for(reached, f"{reference} to be {' or '.join(states)}", timeout_s)

    def wait_ended(self, reference, timeout_s=COMMAND_S):
        """The job once it has ended, however."""
        return self.wait_job(reference, *ENDED, timeout_s=timeout_s)

    def run(self, job, **options):
        """Submits a job and gives it once it has ended."""
        return self.wait_ended(self.submit(job, **options))

    def logs(self, reference, **query):
        """The log of a job as the API gives it."""
        answer = self.api("GET", f"/v1/jobs/{quote(reference)}/logs?{urlencode(query)}")
        assert answer.status == 200, answer
        return answer.text

    def wait_log(self, reference, text, **query):
        """The log once it contains the text and the job is known to have started, which may come
        later; fails at once when the job ended without it."""
        def seen():
            status = self.job(reference)["status"]
            log = self.logs(reference, **query)
            assert text in log or status["state"] not in ENDED, f"{json.dumps(status)}\n{log}"
            return log if text in log and status["state"] != "starting" else None
        return self.wait_for(seen, f"{text!r} in the log of {reference}")

    def audit(self):
        """Every audit event, oldest first."""
        events, after = [], 0
        while True:
            page = self.call("GET", f"/v1/audit?limit=1000&after={after}")["items"]
            if not page:
                return events
            events += page
            after = page[-1]["sequence"]

    def cli(self, *arguments, stdin=None, ok=True, timeout_s=COMMAND_S, **environment):
        """Runs a verb of the command line; with ok (the default) its failure fails the test.
        Returns the CompletedProcess with text output."""
        done = subprocess.run([self.binary, *map(str, arguments)], input=stdin, text=True,
                              capture_output=True, timeout=timeout_s, check=False,
                              env={**self.environment, **environment})
        if ok:
            assert done.returncode == 0, (
                f"muster {' '.join(map(str, arguments))}: status {done.returncode}\n"
                f"{done.stdout}{done.stderr}")
        return done

    def wait_for(self, condition, what, timeout_s=COMMAND_S):
        """wait_until that also fails at once when the server has died."""
        def alive_and_true():
            assert self.process.poll() is None, f"the server died:\n{self.log()}"
            return condition()
        return wait_until(alive_and_true, timeout_s, what)

    def kill9(self):
        """SIGKILL to the server alone; its shims and jobs live on."""
        self.process.kill()
        self.process.wait(timeout=STOP_S)

    def stop(self):
        """SIGTERM to the server; returns its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=STOP_S)

    def restart(self, *arguments, **options):
        """Stops it in order and starts it on the same data."""
        self.stop()
        return self.start(*arguments, **options)

    def teardown(self):
        """Ends the server, then kills what is left of it: shims, jobs, their children."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                self.kill9()
        wait_until(self._kill_leftovers, STOP_S, "the end of every process of this instance")

    def _kill_leftovers(self):
        """Kills what is left, true when nothing is. A sandbox clears the environment of a job, but
        the job descends from its shim and its process space ends with the shim's init."""
        left = processes_of(f"{TAG}={self.id}", self.data)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left
