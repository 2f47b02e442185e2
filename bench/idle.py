#!/usr/bin/python3
"""Memory of idle connections at the gateway: CONNECTIONS (10000) of each kind, one kind a gateway.

    bench/idle.py            # MUSTER_BUILD=build-release

Memory is the process's resident set (RSS) with them less without, each; the kernel's buffers are
not in it. Clients come from 16 loopback addresses, since one address may have 2,048 a worker."""
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))

from gateway import Gateway  # noqa: E402

CONNECTIONS = int(os.environ.get("CONNECTIONS", "10000"))
BINARY = ROOT / os.environ.get("MUSTER_BUILD", "build-release") / "muster"
REQUEST = b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


def certificate(folder):
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-out", cert, "-keyout", key], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return cert, key


def rss(gateway):
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


def connect(gateway, i, context, say):
    host, _, port = gateway.address.rpartition(":")
    sock = socket.create_connection((host, int(port)), source_address=(f"127.0.1.{i % 16 + 1}", 0))
    if context:
        sock = context.wrap_socket(sock)
    if say:
        sock.sendall(say)
        assert sock.recv(65536)
    return sock


def measure(folder, name, tls, protocol, say):
    context = None
    arguments = []
    if tls:
        cert, key = certificate(folder)
        arguments = ["--cert", cert, "--key", key]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
    gateway = Gateway(folder / "".join(filter(str.isalnum, name)), binary=str(BINARY))
    try:
        gateway.start(*arguments, workers=2)
        connect(gateway, 0, context, say).close()
        before = rss(gateway)
        socks = [connect(gateway, i, context, say) for i in range(CONNECTIONS)]
        begun = time.monotonic()
        gateway.status()
        each = (rss(gateway) - before) / CONNECTIONS
        print(f"{name}: {each:,.0f} bytes each of {CONNECTIONS:,}; "
              f"/status then answers in {(time.monotonic() - begun) * 1e3:.1f} ms", flush=True)
        for sock in socks:
            sock.close()
    finally:
        gateway.teardown()


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        measure(folder, "HTTP/1.1, nothing said", False, None, None)
        measure(folder, "HTTP/1.1, after a request", False, None, REQUEST)
        measure(folder, "HTTP/2, SETTINGS said", False, None, HTTP2)
        measure(folder, "HTTP/1.1 over TLS, after a request", True, "http/1.1", REQUEST)
        measure(folder, "HTTP/2 over TLS, SETTINGS said", True, "h2", HTTP2)


main()
