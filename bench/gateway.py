#!/usr/bin/python3
"""Measures `muster gateway` beside nginx, both with one worker before the same lean upstream.

    bench/gateway.py            # or: bench/run gateway, with goals and in the report
    bench/gateway.py proxy      # the smallest proxy of the HTTP layer in the gateway's place

The gateway does all it does: keys, routes, usage, metrics, access log. nginx runs twice, as a mere
proxy and with its access log as Debian sets it up; it checks no key and counts nothing. The proxies
have one processor to themselves, the client and the upstream share another. Each is measured right
after the other, ROUNDS (5) times for LOAD_S (1) seconds:

- the most requests a second, for answers of 200 B and 64 KiB over 1, 32 and 256 connections, and
  the proxy's processor time for each, which says how far it is from its limit where the other
  processor is the one that is full;
- the time of an answer at a fixed RATE (10,000 a second) over 64 connections, counted from when a
  request was due, less the time of an answer without a proxy.

Requests are POSTs of 200 bytes to /v2/models/NAME/infer with a key.
"""
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import measure  # noqa: E402
import nginx  # noqa: E402

SIZES = (200, 65536)
EVENTS = 100  # of a stream
ROUTES = tuple(f"answer-{size}" for size in SIZES) + (f"stream-{EVENTS}",)
CONNECTIONS = (1, 32, 256)
RATE = int(os.environ.get("RATE", "10000"))
RATE_CONNECTIONS = 64
RATE_SIZE = 200
TARGETS = ("muster", "bench/bench_load", "bench/bench_peers", "bench/bench_proxy",
           "bench/bench_upstream")
WAIT_S = 10
PROXY_CPU, OTHER_CPU = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)
KEY = "a-key-of-the-benchmark-that-is-as-long-as-others"

CONFIGURATION = """
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 32768; }}
worker_rlimit_nofile 65536;
http {{
    access_log {log};
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream lean {{
        server unix:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://lean;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffers 16 16k;
        }}
        location /v2/models/stream {{
            proxy_pass http://lean;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


HAPROXY = """
global
    nbthread 1
    maxconn 15000
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    http-reuse always
    option http-keep-alive
frontend clients
    bind 127.0.0.1:{port}
    default_backend lean
backend lean
    server lean unix@{upstream} pool-max-conn 1024
"""


def wait_for(answers):
    end = time.monotonic() + WAIT_S
    while not answers():
        if time.monotonic() > end:
            raise RuntimeError("a server does not answer")
        time.sleep(0.005)


def port_answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(command, cpu, answers):
    """The process of a command on one processor, once it answers."""
    process = subprocess.Popen([str(c) for c in command],
                               preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    try:
        wait_for(answers)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


# ---- the proxies: each yields its process and its port --------------------------------------------

@contextlib.contextmanager
def nginx_proxy(folder, upstream, log):
    folder.mkdir()
    port = measure.free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(
        folder=folder, upstream=upstream, port=port, log=folder / "access.log" if log else "off"))
    command = [nginx.find(), "-c", configuration, "-e", folder / "nginx.log"]
    with running(command, PROXY_CPU, lambda: port_answers(port)) as process:
        yield process, port


@contextlib.contextmanager
def haproxy_proxy(folder, upstream):
    folder.mkdir()
    port = measure.free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(port=port, upstream=upstream))
    command = ["haproxy", "-db", "-q", "-f", configuration]
    with running(command, PROXY_CPU, lambda: port_answers(port)) as process:
        yield process, port


@contextlib.contextmanager
def lean_proxy(upstream):
    port = measure.free_port()
    command = [measure.program("bench/bench_proxy"), port, f"unix:{upstream}"]
    with running(command, PROXY_CPU, lambda: port_answers(port)) as process:
        yield process, port


def routes_of(upstream):
    """A service for each kind of answer, for the one key there is."""
    services = [{"route": route, "service": f"bench/{route}", "team": "bench",
                 "protocols": ["oip"],
                 "options": {"access": "team", "bodyBytesMax": 1 << 20, "retry": "connect"},
                 "replicas": [{"replica": number, "version": 1, "address": f"unix:{upstream}",
                               "uid": os.getuid(), "draining": False}]}
                for number, route in enumerate(ROUTES, 1)]
    key = {"id": "k1", "hash": hashlib.sha256(KEY.encode()).hexdigest(), "user": "bench",
           "teams": ["bench"], "services": [], "expiresMs": 0}
    return {"generation": 1, "keys": [key], "services": services}


def push_routes(control, routes):
    connection = http.client.HTTPConnection("localhost", timeout=WAIT_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(control))
    connection.request("PUT", "/routes", json.dumps(routes))
    answer = connection.getresponse()
    if answer.status != 204:
        raise RuntimeError(f"the gateway refused the routes: {answer.read().decode()}")
    connection.close()


@contextlib.contextmanager
def gateway_proxy(folder, upstream):
    folder.mkdir()
    port = measure.free_port()
    command = [measure.program("muster"), "gateway", "--data", folder, "--workers", 1, "--listen",
               f"127.0.0.1:{port}", "--log", "warn"]
    control = folder / "gateway" / "control.sock"
    with running(command, PROXY_CPU, lambda: port_answers(port) and control.exists()) as process:
        push_routes(control, routes_of(upstream))
        yield process, port


@contextlib.contextmanager
def upstream_at(path):
    """Its process, listening there."""
    path.unlink(missing_ok=True)
    lean = [measure.program("bench/bench_upstream"), path]
    with running(lean, OTHER_CPU, path.exists) as process:
        yield process


@contextlib.contextmanager
def proxies(names, serve=True):
    """Those with these names, and the upstream's socket as "direct". serve: the upstream is there;
    else whoever needs one brings it (upstream_at, peers)."""
    with measure.folder() as folder, contextlib.ExitStack() as stack:
        upstream = folder / "upstream.sock"
        made = {"nginx": lambda: nginx_proxy(folder / "nginx", upstream, False),
                "nginx-log": lambda: nginx_proxy(folder / "nginx-log", upstream, True),
                "haproxy": lambda: haproxy_proxy(folder / "haproxy", upstream),
                "proxy": lambda: lean_proxy(upstream),
                "muster": lambda: gateway_proxy(folder / "muster", upstream)}
        process = stack.enter_context(upstream_at(upstream)) if serve else None
        yield {"direct": (process, upstream),
               **{name: stack.enter_context(made[name]()) for name in names}}


# ---- one round -------------------------------------------------------------------------------------

def cpu_s(pid):
    """Processor time so far of all threads of a process."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def load(proxy, size, connections, seconds, *options, method="--post"):
    """What the client says, and the proxy's processor time a request in us. size: of answers; or the
    name of a route."""
    process, where = proxy
    route = size if isinstance(size, str) else f"answer-{size}"
    path = f"/v2/models/{route}" + ("/infer" if method == "--post" else "")
    before_s = cpu_s(process.pid)
    result = measure.run_json(
        "taskset", "-c", OTHER_CPU, measure.program("bench/bench_load"),
        *(("--port", where) if isinstance(where, int) else ("--unix", where)), method, path,
        "--token", KEY, "--connections", connections, "--seconds", seconds, *options)
    if result["refused"]:
        raise RuntimeError(f"{result['refused']} requests were refused")
    result["cpu_us"] = (cpu_s(process.pid) - before_s) / result["answered"] * 1e6
    return result


def peers(up, name, size, connections, seconds, *options):
    """The same from clients that are the upstream, too (peers.c), in a process that never sleeps;
    "direct": from itself, without a proxy."""
    process, where = up[name]
    upstream = up["direct"][1]
    before_s = cpu_s(process.pid) if process else 0
    result = measure.run_json(
        "taskset", "-c", OTHER_CPU, measure.program("bench/bench_peers"), "--serve", upstream,
        *(("--port", where) if isinstance(where, int) else ("--direct",)),
        "--path", f"/v2/models/answer-{size}/infer", "--answer", size, "--token", KEY,
        "--connections", connections, "--seconds", seconds, *options)
    after_s = cpu_s(process.pid) if process else 0
    result["cpu_us"] = (after_s - before_s) / result["answered"] * 1e6
    return result


def one_round(names, seconds, add, method="--post"):
    """Measures all proxies once and gives each figure to add(KEY, VALUE)."""
    with proxies(names) as up:
        for size in SIZES:
            for connections in CONNECTIONS:
                for name in names:
                    result = load(up[name], size, connections, seconds, method=method)
                    add(f"{name}.{size}.{connections}", result["per_s"])
                    add(f"{name}.{size}.{connections}.cpu", result["cpu_us"])
        times = {name: load(up[name], RATE_SIZE, RATE_CONNECTIONS, seconds, "--rate", RATE,
                            method=method) for name in up}
    for part in ("p50_us", "p99_us"):
        add(f"direct.{part}", times["direct"][part])
        for name in names:
            add(f"{name}.{part}", times[name][part] - times["direct"][part])


# ---- on its own ------------------------------------------------------------------------------------

def print_table(names, samples):
    row = "{:<34}" + " {:>22}" * len(names)
    print(row.format("median (range)", *names))

    def line(what, key):
        cells = []
        for name in names:
            sample = samples.get(f"{name}.{key}")
            low, high = sample.range() if sample else (0, 0)
            cells.append(f"{sample.median():,.4g} ({low:,.4g}..{high:,.4g})" if sample else "")
        print(row.format(what, *cells))
    for size in SIZES:
        for connections in CONNECTIONS:
            line(f"{size} B, {connections} connections, 1/s", f"{size}.{connections}")
            line(f"{size} B, {connections} connections, CPU us", f"{size}.{connections}.cpu")
    for part in ("p50_us", "p99_us"):
        line(f"added at {RATE}/s: {part}", part)
        print(f"{'':<20}without a proxy: {samples[f'direct.{part}'].median():,.0f}")


def main():
    own = sys.argv[1] if len(sys.argv) > 1 else "muster"
    if own not in ("muster", "proxy"):
        sys.exit("usage: bench/gateway.py [muster|proxy]")
    measure.build(TARGETS)
    nginx.fetch()
    if not nginx.find():
        sys.exit("there is no nginx to compare with")
    names, samples = ("nginx", "nginx-log", own), {}
    for _ in range(measure.ROUNDS):
        one_round(names, float(os.environ.get("LOAD_S", "1")),
                  lambda key, value: samples.setdefault(key, measure.Sample()).add(value),
                  method="--get" if own == "proxy" else "--post")
    print_table(names, samples)


if __name__ == "__main__":
    main()
