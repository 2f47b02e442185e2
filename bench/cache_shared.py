#!/usr/bin/python3
"""Measures what an answer of the shared cache costs: through Redis, against the local cache and the model.

    bench/cache_shared.py [REQUESTS [MICROSECONDS [BYTES]]]

Two gateways with one worker each share a Redis (a Unix socket, nothing written to disk) in front of an upstream
(busy.c) that takes MICROSECONDS (5000) for a request. REQUESTS (500) different requests with BYTES (200) of input go
one after the other over a kept connection, four times: to the first gateway (the model answers, and the answer is
kept), to the second (the answer comes through Redis), to the second again (its own cache), and to the second in a
service without a cache (the model). The counters of the gateways say that each answer was of its kind. Rounds are
interleaved by blocks of 50, so that whatever else the machine does falls on all of them.
"""
import http.client
import json
import os
import pathlib
import shutil
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import gateway  # noqa: E402
import measure  # noqa: E402

TARGETS = ("muster", "bench/bench_busy")
BLOCK = 50
KINDS = ("model, then kept", "through Redis", "local", "model, no cache")


def routes(upstream):
    def service(route, options):
        return {"route": route, "service": f"bench/{route}", "team": "bench", "protocols": ["oip"],
                "options": {"access": "public", **options},
                "replicas": [{"replica": 1, "version": 1, "address": f"unix:{upstream}",
                              "uid": os.getuid(), "draining": False}]}
    return {"generation": 1, "keys": [], "services": [
        service("cached", {"cache": {"ttl": "1h", "shared": True}}), service("plain", {})]}


class Client:
    """One connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, route, body):
        """Microseconds that it took."""
        began = time.perf_counter_ns()
        self.connection.request("POST", f"/v2/models/{route}/infer", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return (time.perf_counter_ns() - began) / 1000


def figure(control, name):
    for line in measure.get(control, "/metrics").splitlines():
        if line.startswith(name + " "):
            return int(line.rpartition(" ")[2])
    raise AssertionError(f"there is no {name}")


def body(number, size):
    return json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES",
                                   "data": [f"{number} ".ljust(size, "x")]}]})


def rounds(ports, requests, size):
    first, second = (Client(port) for port in ports)
    ways = ((first, "cached"), (second, "cached"), (second, "cached"), (second, "plain"))
    times = [[] for _ in KINDS]
    for begin in range(0, requests, BLOCK):
        bodies = [body(number, size) for number in range(begin, min(begin + BLOCK, requests))]
        for kind, (client, route) in enumerate(ways):
            times[kind] += [client.ask(route, text) for text in bodies]
            time.sleep(0.05)  # what is kept gets to Redis after its answer
    return times


def show(times):
    local = sorted(times[KINDS.index("local")])
    print(f"{'':>18} {'p50 us':>9} {'p99 us':>9} {'above local p50':>16}")
    for kind, values in zip(KINDS, times):
        values = sorted(values)
        middle = values[len(values) // 2]
        print(f"{kind:>18} {middle:9.0f} {values[len(values) * 99 // 100]:9.0f} {middle - local[len(local) // 2]:16.0f}")


def main():
    requests, each_us, size = (int(a) for a in (sys.argv[1:] + ["500", "5000", "200"][len(sys.argv) - 1:]))
    redis = shutil.which("redis-server") or shutil.which("valkey-server")
    if not redis:
        sys.exit("neither redis-server nor valkey-server is installed")
    measure.build(TARGETS)
    with measure.folder() as folder:
        upstream, store, secret = folder / "busy.sock", folder / "redis.sock", folder / "secret"
        secret.write_text("a secret of both gateways, which is long enough")
        secret.chmod(0o600)
        ports = [measure.free_port() for _ in range(2)]
        controls = [folder / f"data-{i}" / "gateway" / "control.sock" for i in range(2)]

        def command(i):
            return [measure.program("muster"), "gateway", "--data", folder / f"data-{i}", "--workers", 1,
                    "--listen", f"127.0.0.1:{ports[i]}", "--log", "warn", "--cache-redis", f"unix:{store}",
                    "--cache-secret", secret, "--cache-wait", "1s"]

        def ready(i):
            return lambda: gateway.port_answers(ports[i]) and controls[i].exists()

        with gateway.running([measure.program("bench/bench_busy"), upstream, 8, each_us], gateway.OTHER_CPU,
                             upstream.exists), \
                gateway.running([redis, "--port", "0", "--unixsocket", store, "--save", "", "--appendonly", "no",
                                 "--loglevel", "warning"],
                                gateway.OTHER_CPU, store.exists), \
                gateway.running(command(0), gateway.PROXY_CPU, ready(0)), \
                gateway.running(command(1), gateway.PROXY_CPU, ready(1)):
            for control in controls:
                gateway.push_routes(control, routes(upstream))
            show(rounds(ports, requests, size))
            came = figure(controls[1], "muster_gateway_cache_redis_hits_total")
            own = figure(controls[1], "muster_gateway_cache_hits_total")
            print(f"of {requests} answers through Redis {came} were, of {requests} local ones {own - came}")


if __name__ == "__main__":
    main()
