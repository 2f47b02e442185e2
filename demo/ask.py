#!/usr/bin/python3
"""A client of a served model: asks it for one digit after the other, on several connections at once,
and compares the answers with the labels.

    ask.py --url http://127.0.0.1:8080 --model digits --data FOLDER --key-file FILE --report FILE

With --rounds N it goes so many times over the data; without, until SIGTERM. The report is rewritten
every half second and at the end: requests, failures (each with what went wrong), how many answers
were right, by the version that gave them, and latencies. It asks again for nothing: what fails is
counted as lost.
"""
import argparse
import collections
import http.client
import json
import os
import signal
import threading
import time
import urllib.parse

import numpy

PROBLEMS_MAX = 20


class Tally:
    """What came back so far; shared by the connections."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = collections.Counter()  # by version
        self.right = collections.Counter()
        self.failed = 0
        self.problems = []
        self.milliseconds = []

    def answered(self, version, right, milliseconds):
        with self.lock:
            self.requests[version] += 1
            self.right[version] += right
            self.milliseconds.append(milliseconds)

    def lost(self, problem):
        with self.lock:
            self.failed += 1
            if len(self.problems) < PROBLEMS_MAX:
                self.problems.append(problem)

    def report(self):
        with self.lock:
            slow = sorted(self.milliseconds)
            total = sum(self.requests.values())
            return {
                "answered": total, "failed": self.failed, "problems": self.problems,
                "accuracy": sum(self.right.values()) / total if total else 0.0,
                "versions": {version: {"answered": count, "right": self.right[version]}
                             for version, count in sorted(self.requests.items())},
                "p50_ms": round(slow[len(slow) // 2], 2) if slow else None,
                "p99_ms": round(slow[len(slow) * 99 // 100], 2) if slow else None,
            }


def write(path, report):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(report, file)
    os.rename(path + ".new", path)


class Asker(threading.Thread):
    """One connection, kept; it asks for every `step`-th digit from `first` on."""

    def __init__(self, arguments, key, data, first, step, stop, tally):
        super().__init__(daemon=True)
        self.arguments, self.key, self.stop, self.tally = arguments, key, stop, tally
        self.pixels, self.labels = data
        self.first, self.step = first, step
        self.connection = None

    def ask(self, i):
        body = json.dumps({"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64],
                                       "data": self.pixels[i].tolist()}]})
        if not self.connection:
            url = urllib.parse.urlsplit(self.arguments.url)
            self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        began = time.monotonic()
        self.connection.request("POST", f"/v2/models/{self.arguments.model}/infer", body, {
            "Authorization": f"Bearer {self.key}", "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        passed = (time.monotonic() - began) * 1000
        if answer.status != 200:
            self.tally.lost(f"{answer.status}: {content[:200].decode(errors='replace')}")
            return
        said = json.loads(content)
        outputs = {output["name"]: output["data"] for output in said["outputs"]}
        right = outputs["class"][0] == int(self.labels[i])
        self.tally.answered(said["model_version"], right, passed)

    def run(self):
        done = 0
        while not self.arguments.rounds or done < self.arguments.rounds:
            for i in range(self.first, len(self.labels), self.step):
                if self.stop.is_set():
                    return
                try:
                    self.ask(i)
                except (OSError, http.client.HTTPException, ValueError, KeyError) as problem:
                    self.tally.lost(repr(problem))
                    self.connection = None
            done += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("url", "model", "data", "key-file", "report"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--connections", type=int, default=4)
    arguments = parser.parse_args()
    stop, tally = threading.Event(), Tally()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(arguments.key_file, encoding="utf-8") as file:
        key = file.read().strip()
    data = tuple(numpy.load(os.path.join(arguments.data, name + ".npy"))
                 for name in ("pixels", "labels"))
    askers = [Asker(arguments, key, data, i, arguments.connections, stop, tally)
              for i in range(arguments.connections)]
    for asker in askers:
        asker.start()
    while any(asker.is_alive() for asker in askers):
        askers[0].join(0.5)
        write(arguments.report, tally.report())
    write(arguments.report, tally.report())


if __name__ == "__main__":
    main()
