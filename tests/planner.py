"""A planner beside a server, for scenarios."""
import os
import signal
import subprocess

from muster import BINARY, COMMAND_S, STOP_S, wait_until


def figure(muster, name):
    """A figure of the planner as the server shows it."""
    for line in muster.api("GET", "/metrics").text.splitlines():
        if line.startswith(f"muster_planner_{name} "):
            return int(line.split()[1])
    raise AssertionError(f"no figure {name}")


class Planner:
    def __init__(self, muster):
        self.muster = muster
        self.log_path = muster.data.rstrip("/") + ".planner.log"
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "planner", "--data", self.muster.data, "--log", "debug"],
                env=self.muster.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def ready(self):
        """Waits until it has followed the server to its newest tick."""
        wait_until(lambda: figure(self.muster, "snapshots_total") > 0, COMMAND_S, "a planner")
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8") as text:
            return text.read()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_S)

    def kill9(self):
        self.process.kill()
        self.process.wait(timeout=STOP_S)

    def teardown(self):
        if self.process and self.process.poll() is None:
            self.kill9()
        if self.process:
            print(self.log())
