#!/usr/bin/python3
"""Measures what a gateway with a queue carries when more comes than its replicas can do.

    bench/overload.py [SECONDS [CONCURRENCY MICROSECONDS]]

The upstream (busy.c) works on CONCURRENCY (8) requests at once, MICROSECONDS (5000) on each: its peak
is known. Requests come in an open loop at 0.5, 1, 1.5, 2 and 3 times that peak, over 900 connections,
for SECONDS (5), to a service with `queue: {concurrency: 8, wait: 200ms}` and two workers. Printed for
each: the answers a second (2xx), their part of the peak (which 64 clients in a closed loop get out
of the upstream through the gateway without a queue), the time of all answers, and of those that were
refused, counted from when a request was due. The last line is three times the peak without a queue:
nothing is refused, and everybody waits for ever longer.
"""
import os
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import gateway  # noqa: E402
import measure  # noqa: E402

TARGETS = ("muster", "bench/bench_load", "bench/bench_busy")
CONNECTIONS = 900
PEAK_CONNECTIONS = 64
FACTORS = (0.5, 1, 1.5, 2, 3)


def routes(upstream, generation, queue):
    service = {"route": "model", "service": "bench/model", "team": "bench", "protocols": ["oip"],
               "options": {"access": "public", "queue": queue},
               "replicas": [{"replica": 1, "version": 1, "address": f"unix:{upstream}",
                             "uid": os.getuid(), "draining": False}]}
    return {"generation": generation, "keys": [], "services": [service]}


def load(port, seconds, connections, *options):
    return measure.run_json(measure.program("bench/bench_load"), "--port", port, "--post",
                            "/v2/models/model/infer", "--connections", connections, "--seconds",
                            seconds, *options)


def show(name, result, seconds, peak):
    good = (result["answered"] - result["refused"]) / max(seconds, result["seconds"])
    print(f"{name:>14} {good:9.0f} {good / peak:9.3f} {result['refused']:9d} "
          f"{result['p50_us'] / 1000:9.1f} {result['p99_us'] / 1000:9.1f} "
          f"{result['refused_p50_us'] / 1000:10.2f} {result['refused_p99_us'] / 1000:10.2f}")


def main():
    seconds, concurrency, each_us = (int(a) for a in (sys.argv[1:] + ["5", "8", "5000"][
        len(sys.argv) - 1:]))
    measure.build(TARGETS)
    with measure.folder() as folder:
        upstream, data, port = folder / "busy.sock", folder / "data", measure.free_port()
        control = data / "gateway" / "control.sock"
        busy = [measure.program("bench/bench_busy"), upstream, concurrency, each_us]
        command = [measure.program("muster"), "gateway", "--data", data, "--workers", 2, "--listen",
                   f"127.0.0.1:{port}", "--log", "warn"]
        with gateway.running(busy, gateway.OTHER_CPU, upstream.exists), gateway.running(
                command, gateway.PROXY_CPU,
                lambda: gateway.port_answers(port) and control.exists()):
            gateway.push_routes(control, routes(upstream, 1, {}))
            peak = load(port, seconds, PEAK_CONNECTIONS)["per_s"]
            queue = {"concurrency": concurrency, "wait": "200ms"}
            gateway.push_routes(control, routes(upstream, 2, queue))
            print(f"peak: {peak:.0f} a second of {concurrency * 1e6 / each_us:.0f} possible")
            print(f"{'offered':>14} {'good/s':>9} {'of peak':>9} {'refused':>9} {'p50 ms':>9} "
                  f"{'p99 ms':>9} {'no p50 ms':>10} {'no p99 ms':>10}")
            for factor in FACTORS:
                show(f"{factor} x", load(port, seconds, CONNECTIONS, "--rate", factor * peak),
                     seconds, peak)
            gateway.push_routes(control, routes(upstream, 3, {}))
            show("3 x, no queue", load(port, seconds, CONNECTIONS, "--rate", 3 * peak), seconds, peak)


if __name__ == "__main__":
    main()
