"""The client layer from outside: build/src/engine/kube_probe, as a process."""
import json
import os
import subprocess
import threading

from cluster import ROOT, wait_until

PROBE = os.path.join(os.environ.get("MUSTER_BUILD", os.path.join(ROOT, "build")), "src", "engine", "kube_probe")


def run(kubeconfig, *arguments, body=None, environment=None):
    """What the probe prints."""
    return subprocess.run([PROBE, kubeconfig, *arguments], input=body and json.dumps(body), text=True,
                          stdout=subprocess.PIPE, timeout=120, check=False,
                          env={**os.environ, **(environment or {})}).stdout


def call(kubeconfig, method, target, body=None, content_type=None):
    """The status and the body of one request."""
    more = [content_type or "application/json"] if body is not None else []
    status, _, text = run(kubeconfig, "call", method, target, *more, body=body).partition("\n")
    return int(status), text.strip()


class Watch:
    """A watch that runs, and the lines it has printed."""

    def __init__(self, kubeconfig, path, query=None, timeout_ms=2000):
        self.lines = []
        self.process = subprocess.Popen(
            [PROBE, kubeconfig, "watch", path, *([query] if query else [])], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TIMEOUT_MS": str(timeout_ms)})
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def wait_for(self, beginning, after=0):
        """Waits for a line that begins so, after so many lines; how many there are up to it."""
        def find():
            for at, line in enumerate(self.lines[after:], after + 1):
                if line.startswith(beginning):
                    return at
            return None
        try:
            return wait_until(find, f"the watch to say {beginning!r}", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.lines}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
