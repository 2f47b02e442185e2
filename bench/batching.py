#!/usr/bin/python3
"""Measures batching in the gateway with real runtimes: the same requests to the same replica through
two services, one with `batching` and one without, right after each other in each round.

    bench/batching.py                # both runtimes; or: bench/batching.py torchscript
    ROUNDS=7 LOAD_S=2 bench/batching.py

- saturation: CONNECTIONS (64) clients, each asking again as soon as it was answered: requests a second,
  p50 and p99, and the processor time of gateway and replica for each, which a busy machine changes
  least;
- low load: requests that are due at a fixed rate, a fifth of what the replica answers without batching
  in the same round, over 16 connections: p50.

TorchScript: three layers, 64 to 256 to 256 to 10, tensors as JSON and as bytes. XGBoost: 200 trees over 16
features. One gateway with one worker; everything shares the machine's processors."""
import contextlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import gateway as data_plane  # noqa: E402
import measure  # noqa: E402

TARGETS = ("muster", "bench/bench_load", "runtimes/muster-xgboost", "runtimes/train-xgboost")
PYTHON = "/usr/bin/python3"
LOAD_S = float(os.environ.get("LOAD_S", "2"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "64"))
LOW_CONNECTIONS, LOW_PART = 16, 0.2
BATCHING = {"max": 64, "latencyGoal": os.environ.get("GOAL", "100ms"), "delayMax": "5ms"}
TORCH_FEATURES, TREE_FEATURES, TREES = 64, 16, 200

MAKE_MODEL = """
import json, sys, torch
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256),
                            torch.nn.ReLU(), torch.nn.Linear(256, 10))
torch.jit.save(torch.jit.trace(model.eval(), torch.zeros(1, 64)), sys.argv[1] + "/model.pt")
json.dump({"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 64]}],
           "outputs": [{"name": "output", "datatype": "FP32", "shape": [-1, 10]}]},
          open(sys.argv[1] + "/model.json", "w"))
"""


def json_body(features):
    values = [round(random.Random(7).random() * i, 3) for i in range(features)]
    return json.dumps({"inputs": [{"name": "input", "shape": [1, features], "datatype": "FP32",
                                   "data": values}]}, separators=(",", ":")).encode(), 0


def binary_body(features):
    tensor = {"name": "input", "shape": [1, features], "datatype": "FP32",
              "parameters": {"binary_data_size": 4 * features}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + struct.pack(f"<{features}f", *range(features)), len(head)


@contextlib.contextmanager
def torchscript(folder):
    (folder / "make.py").write_text(MAKE_MODEL)
    model = folder / "model"
    model.mkdir()
    subprocess.run([PYTHON, folder / "make.py", model], check=True)
    program = measure.ROOT / "runtimes/torchscript/torchscript.py"
    with serving([PYTHON, program, "serve", "--model", model], folder / "replica.sock") as made:
        yield made


@contextlib.contextmanager
def xgboost(folder):
    model = folder / "model"
    model.mkdir()
    subprocess.run([measure.program("runtimes/train-xgboost"), model / "model.ubj",
                    str(TREE_FEATURES), str(TREES)], check=True)
    command = [measure.program("runtimes/muster-xgboost"), "serve", "--model", model]
    with serving(command, folder / "replica.sock") as made:
        yield made


@contextlib.contextmanager
def serving(command, path):
    with subprocess.Popen([str(c) for c in command] +
                          ["--name", "plain", "--version", "1", "--socket", str(path)],
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            if "is served" not in process.stdout.readline():
                raise RuntimeError("the runtime does not serve")
            yield path, process.pid
        finally:
            process.terminate()


def routes_of(replica):
    """Both services have the one replica. It knows its model by one name, so the gateway has a socket
    for each: a service's route is what the replica is asked for."""
    def service(options):
        return {"route": "plain", "service": "bench/plain", "team": "bench", "protocols": ["oip"],
                "options": {"access": "public", **options},
                "replicas": [{"replica": 1, "version": 1, "address": f"unix:{replica}",
                              "uid": os.getuid(), "draining": False}]}
    return {"plain": service({}), "batched": service({"batching": BATCHING})}


def cpu_s(pid):
    """Processor time so far, of threads that have ended too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """A gateway before a replica; which service it has is pushed before each load."""

    def __init__(self, folder, replica, body):
        path, pid = replica
        self.folder, self.services, self.pids = folder, routes_of(path), [pid]
        self.body, self.json_length = body
        self.generation = 0
        self.port = measure.free_port()
        (folder / "body").write_bytes(self.body)
        self.control = folder / "gateway" / "gateway" / "control.sock"

    @contextlib.contextmanager
    def running(self):
        command = [measure.program("muster"), "gateway", "--data", self.folder / "gateway", "--workers",
                   "1", "--listen", f"127.0.0.1:{self.port}", "--log", "warn"]
        (self.folder / "gateway").mkdir(exist_ok=True)
        with subprocess.Popen([str(c) for c in command]) as process:
            try:
                self.pids.append(process.pid)
                data_plane.wait_for(
                    lambda: data_plane.port_answers(self.port) and self.control.exists())
                yield self
            finally:
                process.terminate()

    def load(self, way, connections, *options):
        self.generation += 1
        data_plane.push_routes(self.control, {"generation": self.generation, "keys": [],
                                              "services": [self.services[way]]})
        before_s = sum(map(cpu_s, self.pids))
        result = measure.run_json(
            measure.program("bench/bench_load"), "--port", self.port, "--post",
            "/v2/models/plain/infer", "--body", self.folder / "body", "--json-length",
            self.json_length, "--connections", connections, "--seconds", LOAD_S, *options)
        if result["refused"]:
            raise RuntimeError(f"{result['refused']} requests were refused")
        used_s = sum(map(cpu_s, self.pids)) - before_s
        result["cpu_us"] = used_s / result["answered"] * 1e6
        return result

    def status(self):
        text = measure.get(self.control, "/status")
        return json.loads(text[text.index("{"):])["batching"]


CASES = {"torchscript.json": (torchscript, json_body(TORCH_FEATURES)),
         "torchscript.binary": (torchscript, binary_body(TORCH_FEATURES)),
         "xgboost.json": (xgboost, json_body(TREE_FEATURES)),
         "xgboost.binary": (xgboost, binary_body(TREE_FEATURES))}


def one_round(bench, add):
    """add(key, value) with each figure."""
    rate = 0
    for way in ("plain", "batched"):
        result = bench.load(way, CONNECTIONS)
        rate = rate or result["per_s"]
        for figure in ("per_s", "p50_us", "p99_us", "cpu_us"):
            add(f"{way}.{figure}", result[figure])
    if os.environ.get("SHOW"):
        print(bench.status(), file=sys.stderr)
    for way in ("plain", "batched"):
        result = bench.load(way, LOW_CONNECTIONS, "--rate", int(rate * LOW_PART))
        add(f"{way}.low_p50_us", result["p50_us"])
        add(f"{way}.low_p99_us", result["p99_us"])


def measure_case(name, rounds):
    make, body = CASES[name]
    samples = {}
    with measure.folder() as folder, make(folder) as replica:
        with Bench(folder, replica, body).running() as bench:
            bench.load("plain", CONNECTIONS)
            for _ in range(rounds):
                one_round(bench, lambda key, value: samples.setdefault(
                    key, measure.Sample()).add(value))
    return samples


def main():
    measure.build(TARGETS)
    names = [name for name in CASES
             if len(sys.argv) == 1 or any(name.startswith(wanted) for wanted in sys.argv[1:])]
    for name in names:
        samples = measure_case(name, measure.ROUNDS)
        print(name, f"({measure.ROUNDS} rounds of {LOAD_S:g} s; load average "
                    f"{os.getloadavg()[0]:.1f})")
        for figure in ("per_s", "p50_us", "p99_us", "cpu_us", "low_p50_us", "low_p99_us"):
            plain, batched = samples[f"plain.{figure}"], samples[f"batched.{figure}"]
            print(f"  {figure:12} {plain.median():10.0f} -> {batched.median():10.0f}"
                  f"   ratio {batched.ratio(plain):.2f}", flush=True)


if __name__ == "__main__":
    main()
