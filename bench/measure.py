"""What a benchmark needs: a daemon of its own, the clients, the disk, and figures with a spread."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("MUSTER_BUILD", "build-release")
WORK = pathlib.Path(os.environ.get("BENCH_DIR", tempfile.gettempdir()))
START_LIMIT_S = 20
ROUNDS = int(os.environ.get("ROUNDS", "5"))


class Sample:
    """Values of one figure over the rounds."""

    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(float(value))

    def median(self):
        return statistics.median(self.values)

    def ratio(self, peer):
        """To a peer of the same rounds: the median of what it was in each, since a machine that is
        slow for a round is slow for both. None where the peer was nothing."""
        if len(peer.values) == len(self.values) and all(peer.values):
            return statistics.median(own / its for own, its in zip(self.values, peer.values))
        return self.median() / peer.median() if peer.median() else None

    def range(self):
        return min(self.values), max(self.values)


def program(name):
    return str(BUILD / name)


def build(targets):
    """Builds what is measured; ends the program with the compiler's words when it cannot be."""
    built = subprocess.run(["ninja", "-C", str(BUILD), "--quiet", *targets], capture_output=True,
                           text=True, check=False)
    if built.returncode:
        sys.exit(built.stdout)


def run_json(*command):
    """The last line a program prints, which is JSON."""
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True,
                          timeout=300)
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextlib.contextmanager
def folder():
    """An empty folder on the file system under measurement (BENCH_DIR, else the system's)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="muster-bench-", dir=WORK))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def processor_s(pid):
    """What a process has used of processors, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as text:
        fields = text.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    """What is resident of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return int(text.read().split("VmRSS:")[1].split()[0]) / 1024


def get(path, target):
    """The answer to a GET over a Unix socket, head and body; "" while nobody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return ""
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n"
                       "Connection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def healthy(path):
    return get(path, "/healthz").startswith("HTTP/1.1 200")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """`muster up` on a data directory, without a gateway unless the options say where; stop() ends
    it and waits for it. Memory and processor time are those of the server, a child of `up`."""

    def __init__(self, data, *options):
        self.data = data
        self.options = options if "--gateway" in options else ("--gateway", "none", *options)
        self.socket = data / "muster.sock"
        self.environment = dict(os.environ, MUSTER_DATA=str(data))
        self.start()

    def start(self):
        """Starts it and waits until it answers."""
        log_path = self.data.parent / "log"
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        command = [program("muster"), "up", "--data", str(self.data), *self.options]
        begin = time.monotonic()
        self.pid = os.posix_spawn(command[0], command, os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)])
        os.close(log)
        while not healthy(self.socket):
            if time.monotonic() - begin > START_LIMIT_S:
                self.stop()
                raise RuntimeError("the server does not answer: " + log_path.read_text())
            time.sleep(0.0002)
        self.first_answer_ms = (time.monotonic() - begin) * 1000
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        self.server_pid = int(children[0]) if children else self.pid  # without a gateway

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)

    def muster(self, *arguments, stdin=None):
        done = subprocess.run([program("muster"), *arguments], env=self.environment, input=stdin,
                              capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"muster {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def live_jobs(self):
        text = get(self.socket, "/metrics")
        return int(re.search(r"^muster_jobs_live (\d+)$", text, re.MULTILINE).group(1))

    def memory_kb(self):
        """Resident and proportional size."""
        found = {}
        for line in pathlib.Path(f"/proc/{self.server_pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value = line.split(":")
            found[name] = int(value.split()[0])
        return found["Rss"], found["Pss"]

    def reset_peak(self):
        """What peak_mb says counts from here on."""
        pathlib.Path(f"/proc/{self.server_pid}/clear_refs").write_text("5")

    def peak_mb(self):
        """The most memory that the server had resident."""
        status = pathlib.Path(f"/proc/{self.server_pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE).group(1)) * 1024 / 1e6

    def log_text(self):
        return (self.data.parent / "log").read_text()

    def cpu_s(self):
        """Processor time of the server itself so far, user and system."""
        fields = pathlib.Path(f"/proc/{self.server_pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def daemon(*options):
    """A server with the embedded defaults on a new data directory."""
    with folder() as path:
        server = Daemon(path / "data", *options)
        try:
            yield server
        finally:
            server.stop()


def sync_us(path, rounds=100):
    """Mean time of a 4 KiB write and its fdatasync over a file that has its size already."""
    descriptor = os.open(path / "sync", os.O_RDWR | os.O_CREAT, 0o600)
    page = bytes(4096)
    os.pwrite(descriptor, bytes(4096 * rounds), 0)
    os.fsync(descriptor)
    begin = time.perf_counter_ns()
    for i in range(rounds):
        os.pwrite(descriptor, page, i * 4096)
        os.fdatasync(descriptor)
    took = time.perf_counter_ns() - begin
    os.close(descriptor)
    return took / rounds / 1000
