"""Bad days at the level of HTTP: clients and replicas that are slow, gone, large, many, or wrong.
Whatever they do, the gateway answers the others, and its memory stays bounded."""
import gzip
import http.client
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from gateway import Gateway, Replica, read_to_end, send_raw, service
from muster import COMMAND_S, wait_until
from test_gateway_life import make_certificate

MIB = 1 << 20
POST = "POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
def gateway(tmp_path):
    instance = Gateway(tmp_path / "data")
    try:
        instance.start(workers=2)
        yield instance
    finally:
        instance.teardown()
        print(instance.log())


def memory_bytes(gateway, name):
    """VmRSS, or VmHWM: the most it ever was."""
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name + ":"))


def bounded(gateway, before, most):
    if not os.environ.get("MUSTER_SANITIZER"):
        assert memory_bytes(gateway, "VmHWM") - before < most


# ---- clients ---------------------------------------------------------------------------------


def test_clients_that_drip_hold_nobody_up(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica))
    heads = [send_raw(gateway.address, POST.encode()) for _ in range(200)]
    bodies = [send_raw(gateway.address, (POST + "Content-Length: 100\r\n\r\n{").encode())
              for _ in range(200)]
    wait_until(lambda: gateway.status()["open"] == 200, COMMAND_S, "the bodies' heads")
    for _ in range(3):
        for connection in heads:
            connection.sendall(b"X")
        for connection in bodies:
            connection.sendall(b" ")
        assert gateway.infer().status == 200
    # None of them has got as far as a replica.
    assert len(replica.requests) == 3
    for connection in heads + bodies:
        connection.close()
    wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "the end of all")


def test_clients_that_close_half_or_vanish_are_cancelled(gateway, tmp_path):
    gone, held = threading.Event(), threading.Event()

    def hang(connection):
        connection.recv(65536)
        held.set()
        while connection.recv(65536):
            pass
        gone.set()

    gateway.put(service(Replica(tmp_path, raw=hang), retry="never"))
    whole = (POST + "Content-Length: 2\r\n\r\n{}").encode()
    for end in ("half", "vanish"):
        held.clear(), gone.clear()
        connection = send_raw(gateway.address, whole)
        assert held.wait(COMMAND_S)
        if end == "half":
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert gone.wait(COMMAND_S), "the replica is told"
        connection.close()
    # One that ends within its body never reaches a replica.
    held.clear()
    connection = send_raw(gateway.address, whole[:-1])
    connection.shutdown(socket.SHUT_WR)
    assert read_to_end(connection) == b""
    assert not held.is_set()
    wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "the end of all")
    wait_until(lambda: len(gateway.access_lines()) == 3, COMMAND_S, "the lines")
    assert {line["end"] for line in gateway.access_lines()} == {"cancelled"}


def count_body(total):
    """A replica that reads a chunked or a counted body slowly enough to be felt, and counts it."""
    def read(handler):
        got, size = 0, handler.headers.get("Content-Length")
        if size:
            while got < int(size):
                got += len(handler.rfile.read(min(MIB, int(size) - got)))
        else:
            while True:
                length = int(handler.rfile.readline(), 16)
                got += len(handler.rfile.read(length))
                handler.rfile.readline()
                if length == 0:
                    break
        total.append(got)
        handler.reply(200, {"bytes": got})
    return read


def test_bodies_of_100_mib_pass_in_bounded_memory(gateway, tmp_path):
    total = []
    gateway.put(service(Replica(tmp_path, answer=count_body(total), read_body=False),
                        body_bytes_max=200 * MIB))
    assert gateway.infer(body=b"{}").status == 200
    before = memory_bytes(gateway, "VmRSS")
    piece = os.urandom(MIB)
    assert gateway.infer(body=(piece for _ in range(100)),
                         headers={"Content-Length": str(100 * MIB)}).status == 200
    # Packed bodies of the same size, which a replica gets unpacked.
    text = b"".join(b"%d " % (i * 7919 % 65537) for i in range(2500000))
    packed = gzip.compress(text, 1)
    answer = gateway.infer(body=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status == 200
    assert total[1:] == [100 * MIB, len(text)]
    bounded(gateway, before, 24 * MIB)


def test_bombs_are_refused_and_cost_little(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, body_bytes_max=1 << 30))
    before = memory_bytes(gateway, "VmRSS")
    bomb = gzip.compress(bytes(200 * MIB), 9)
    for encoding, body in (("gzip", bomb), ("zstd", zstd(bytes(200 * MIB)))):
        answer = gateway.infer(body=body, headers={"Content-Encoding": encoding})
        assert answer.status == 413
    assert gateway.infer(body=bomb[:1000], headers={"Content-Encoding": "gzip"}).status == 400
    assert gateway.infer(body=b"x", headers={"Content-Encoding": "br"}).status == 415
    assert gateway.infer().status == 200
    bounded(gateway, before, 24 * MIB)


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def test_packed_bodies_serve_both_protocols(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica))
    body = b'{"model": "digits", "messages": []}'
    for pack, name in ((gzip.compress, "gzip"), (zstd, "zstd")):
        for path in ("/v1/chat/completions", "/v2/models/digits/infer"):
            answer = gateway.ask("POST", path, pack(body), {"Content-Encoding": name})
            assert answer.status == 200
            got = replica.requests[-1]
            assert got.body == body
            assert "Content-Encoding" not in got.headers


def test_a_million_fields_are_cut_off(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path)))
    before = memory_bytes(gateway, "VmRSS")
    connection = send_raw(gateway.address, POST.encode())
    lines = b"".join(b"X-%d: 1\r\n" % i for i in range(1000))
    try:
        for _ in range(1000):
            connection.sendall(lines)
    except OSError:
        pass
    # The answer may be lost when the system sees bytes that nobody reads any more.
    answer = read_to_end(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    few = send_raw(gateway.address, POST.encode() + lines[:2000] + b"\r\n")
    assert read_to_end(few).startswith(b"HTTP/1.1 431 ")
    assert gateway.infer().status == 200
    bounded(gateway, before, 8 * MIB)


def test_pipelined_requests_are_answered_in_order(gateway, tmp_path):
    gateway.put(service(Replica(
        tmp_path, answer=lambda handler: handler.reply(200, handler.body))))
    count = 500
    sent = b"".join((POST + f"Content-Length: {len(str(i))}\r\n\r\n{i}").encode()
                    for i in range(count))
    connection = send_raw(gateway.address, sent)
    with connection.makefile("rb") as stream:
        for i in range(count):
            assert stream.readline().startswith(b"HTTP/1.1 200 ")
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert stream.read(length) == str(i).encode()
    connection.close()


def test_many_idle_connections_leave_room_for_others(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path)))
    host, _, port = gateway.address.rpartition(":")
    idle = [socket.create_connection((host, int(port)), source_address=(f"127.0.1.{i % 8 + 1}", 0))
            for i in range(800)]
    assert gateway.infer().status == 200
    for connection in idle[::100]:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
    for connection in idle:
        connection.close()


# ---- replicas --------------------------------------------------------------------------------


def sends(*pieces):
    def run(connection):
        connection.recv(65536)
        for piece in pieces:
            connection.sendall(piece)
    return run


HEAD = b"HTTP/1.1 200 OK\r\n"
BAD_ANSWERS = {
    "nothing": (sends(), 502),
    "garbage": (sends(b"\0\1\2garbage\r\n\r\n"), 502),
    "a head without an end": (sends(HEAD + b"X: 1\r\n"), 502),
    "an endless head": (sends(HEAD + b"X: 1\r\n" * 100000), 502),
    "two lengths": (sends(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 502),
    "a length and chunks": (sends(
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 502),
    "another protocol": (sends(b"SSH-2.0-x\r\n"), 502),
    "only an interim answer": (sends(b"HTTP/1.1 100 Continue\r\n\r\n"), 502),
    "half a body": (sends(HEAD + b"Content-Length: 10\r\n\r\nhalf"), None),
    "half a chunk": (sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf"), None),
    "no last chunk": (sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), None),
    "a chunk of no size": (sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhalf"), None),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_replicas_that_answer_wrongly(gateway, tmp_path, what):
    raw, status = BAD_ANSWERS[what]
    gateway.put(service(Replica(tmp_path, raw=raw), retry="connect"))
    if status:
        assert gateway.infer().status == status
    else:
        # Passed on so far, then cut: nobody takes the part for the whole.
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            gateway.infer()
    # With another replica to ask, a client of a service that may be asked again sees none of it.
    if status and what != "only an interim answer":
        gateway.put(service(Replica(tmp_path, raw=raw), Replica(tmp_path), retry="safe"))
        answers = [gateway.infer().status for _ in range(4)]
        assert 200 in answers


def test_replicas_that_hang_are_504_and_hold_nobody_up(gateway, tmp_path):
    ending = threading.Event()
    hanging = Replica(tmp_path, raw=lambda connection: ending.wait(COMMAND_S))
    gateway.put(service(hanging, timeout_ms=300, retry="never"),
                service(Replica(tmp_path), route="well"))
    asking = [send_raw(gateway.address, (POST + "Content-Length: 2\r\n\r\n{}").encode())
              for _ in range(50)]
    assert gateway.infer("well").status == 200
    for connection in asking:
        assert connection.recv(65536).startswith(b"HTTP/1.1 504 ")
        connection.close()
    ending.set()
    assert gateway.outstanding(hanging.id) == 0


# ---- HTTP/2 ----------------------------------------------------------------------------------


def curl(*arguments):
    return subprocess.run(["curl", "-sk", "--max-time", str(COMMAND_S), *arguments],
                          capture_output=True, check=False)


needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
needs_h2load = pytest.mark.skipif(not shutil.which("h2load"), reason="nghttp2-client is missing")


@needs_curl
def test_http2_of_curl(tmp_path):
    cert, key = make_certificate(tmp_path, "localhost")
    large = tmp_path / "large"
    large.write_bytes(os.urandom(5 * MIB))
    told = ("-o", os.devnull, "-w", "%{http_version} %{http_code} %{size_download}")
    for scheme, option, arguments in (("https", "--http2", ("--cert", cert, "--key", key)),
                                      ("http", "--http2-prior-knowledge", ())):
        gateway = Gateway(tmp_path / scheme)
        try:
            gateway.start(*arguments)
            gateway.put(service(Replica(
                tmp_path, answer=lambda handler: handler.reply(200, handler.body))))
            url = f"{scheme}://{gateway.address}/v2/models/digits/infer"
            done = curl(option, *told, "--data-binary", f"@{large}", url)
            assert done.stdout == f"2 200 {5 * MIB}".encode()
            done = curl("--http1.1", *told, "-d", "{}", url)
            assert done.stdout == b"1.1 200 2"
            done = curl(option, *told, "-d", "{}", url.replace("digits", "none"))
            assert done.stdout.startswith(b"2 401 ")
        finally:
            gateway.teardown()


@needs_h2load
def test_http2_with_many_streams(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path)))
    body = tmp_path / "body"
    body.write_bytes(b"{}" * 100)
    done = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "50", "-d", str(body),
         f"http://{gateway.address}/v2/models/digits/infer"],
        capture_output=True, text=True, timeout=COMMAND_S, check=True)
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert gateway.status()["open"] == 0
