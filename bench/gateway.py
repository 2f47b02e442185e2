#!/usr/bin/python3
"""Measures a proxy of ours beside nginx, both with one worker before the same lean upstream.

    bench/gateway [PROGRAM [ARGUMENT...]]

PROGRAM takes a port of the loopback address and "unix:/path" after its arguments; without one it is
bench_proxy, the smallest proxy of the HTTP layer. ROUNDS (5) rounds of LOAD_S (1) seconds each; in
each round both are measured one right after the other, and the ratio of the two is what counts. The
proxy has a processor to itself, the client and the upstream share another. Processor time a request
says how far a proxy is from its limit where the other processor is the one that is full.

Prints a table of medians; a ratio above 1 means that ours did more, or took more time.
"""
import contextlib
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import measure  # noqa: E402
import nginx  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "5"))
LOAD_S = float(os.environ.get("LOAD_S", "1"))
SIZES = (200, 65536)
CONNECTIONS = (1, 32, 256)
TARGETS = ("bench/bench_load", "bench/bench_proxy", "bench/bench_upstream")
WAIT_S = 10
PROXY_CPU, OTHER_CPU = 0, 1

CONFIGURATION = """
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream lean {{
        server unix:{upstream};
        keepalive 512;
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
    }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


@contextlib.contextmanager
def nginx_proxy(folder, upstream):
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, upstream=upstream, port=port))
    command = [nginx.find(), "-c", configuration, "-e", folder / "nginx.log"]
    with running(command, PROXY_CPU, lambda: port_answers(port)) as process:
        yield process, port


@contextlib.contextmanager
def own_proxy(command, upstream):
    port = free_port()
    command = [*command, port, f"unix:{upstream}"]
    with running(command, PROXY_CPU, lambda: port_answers(port)) as process:
        yield process, port


def cpu_s(pid):
    """Processor time of a process so far."""
    ticks = pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ticks[0]) / 1e9


def load(process, port, size, connections):
    """Requests a second, and the proxy's processor time a request in us."""
    before_s = cpu_s(process.pid)
    result = measure.run_json("taskset", "-c", OTHER_CPU, measure.program("bench/bench_load"), "--port",
                              port, "--get", f"/{size}", "--connections", connections, "--seconds",
                              LOAD_S)
    if result["refused"]:
        raise RuntimeError(f"{result['refused']} requests were refused")
    return result["per_s"], (cpu_s(process.pid) - before_s) / result["answered"] * 1e6


def main():
    built = subprocess.run(["ninja", "-C", str(measure.BUILD), "--quiet", *TARGETS],
                           capture_output=True, text=True, check=False)
    if built.returncode:
        sys.exit(built.stdout)
    nginx.fetch()
    if not nginx.find():
        sys.exit("there is no nginx to compare with")
    command = sys.argv[1:] or [measure.program("bench/bench_proxy")]
    samples = {}
    with measure.folder() as folder:
        upstream = folder / "upstream.sock"
        lean = [measure.program("bench/bench_upstream"), upstream]
        with running(lean, OTHER_CPU, upstream.exists), \
                nginx_proxy(folder, upstream) as peer, own_proxy(command, upstream) as own:
            for _ in range(ROUNDS):
                for size in SIZES:
                    for connections in CONNECTIONS:
                        sample = samples.setdefault((size, connections), [])
                        sample.append((*load(*peer, size, connections),
                                       *load(*own, size, connections)))
    row = "{:>6} {:>5} {:>10} {:>10} {:>6} {:>12} {:>9} {:>9} {:>6}"
    print(row.format("bytes", "conns", "nginx 1/s", "own 1/s", "ratio", "range", "nginx us", "own us",
                     "ratio"))
    for (size, connections), sample in samples.items():
        ratios = [own_rate / peer_rate for peer_rate, _, own_rate, _ in sample]
        costs = [own_us / peer_us for _, peer_us, _, own_us in sample]
        medians = [statistics.median(column) for column in zip(*sample)]
        print(row.format(size, connections, f"{medians[0]:.0f}", f"{medians[2]:.0f}",
                         f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}..{max(ratios):.2f}",
                         f"{medians[1]:.2f}", f"{medians[3]:.2f}", f"{statistics.median(costs):.2f}"))


if __name__ == "__main__":
    main()
