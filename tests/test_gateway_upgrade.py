"""A gateway is replaced by another one while clients ask: none of them notices."""
import http.client
import os
import signal
import socket
import subprocess
import threading

import pytest

from gateway import Gateway, Replica, read_usage, service
from muster import BINARY, COMMAND_S, STOP_S, wait_until


class Load:
    """Clients that ask all the time, on connections of their own and on ones they keep."""

    def __init__(self, gateway, short=2, kept=4):
        self.gateway = gateway
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.answers, self.faults = 0, []
        self.threads = [threading.Thread(target=self.run, args=(kind,), daemon=True)
                        for kind in [False] * short + [True] * kept]
        for thread in self.threads:
            thread.start()

    def run(self, keep):
        connection = self.gateway.connect()
        while not self.ending.is_set():
            try:
                connection.request("POST", "/v2/models/digits/infer", b"{}")
                answer = connection.getresponse()
                body = answer.read()
                with self.lock:
                    self.answers += 1
                    if answer.status != 200:
                        self.faults.append((answer.status, body))
                # http.client opens a connection anew after Connection: close.
                if not keep:
                    connection.close()
            except (OSError, http.client.HTTPException) as fault:
                with self.lock:
                    self.faults.append(repr(fault))
                connection.close()
        connection.close()

    def asked(self, more):
        """So many more requests are answered."""
        target = self.answers + more
        wait_until(lambda: self.answers >= target or self.faults, COMMAND_S, "more answers")

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(STOP_S)


@pytest.fixture
def gateway(tmp_path):
    instance = Gateway(tmp_path / "data")
    try:
        instance.start(workers=2)
        instance.put(service(Replica(tmp_path)))
        yield instance
    finally:
        instance.teardown()
        print(instance.log())


def replace(gateway, *arguments, workers=2):
    """Another gateway takes over; the process that ran before, which may take its time."""
    before = gateway.process
    gateway.start("--replace", *arguments, workers=workers, listen=gateway.address)
    return before


def test_an_upgrade_under_load_fails_no_request(gateway):
    load, olds = Load(gateway), []
    address = gateway.address
    try:
        load.asked(200)
        for workers in (2, 3, 1, 2):
            olds.append(replace(gateway, workers=workers))
            load.asked(200)
    finally:
        load.end()
    assert load.faults == []
    assert gateway.address == address
    for old in olds:
        assert old.wait(timeout=STOP_S) == 0
    # The last connections are closed: all is counted, and each request has its line.
    assert sum(item["requests"] for item in read_usage(gateway.data)) == load.answers
    wait_until(lambda: len(gateway.access_lines()) == load.answers, COMMAND_S, "every line")


def test_what_is_under_way_ends_at_the_old_one(gateway, tmp_path):
    going, goes_on = threading.Event(), threading.Event()

    def slow(handler):
        handler.begin()
        handler.piece(b"data: one\n\n")
        going.set()
        goes_on.wait(COMMAND_S)
        handler.piece(b"data: two\n\n")
        handler.end()

    slow_one = Replica(tmp_path, answer=slow)
    gateway.put(service(slow_one))
    connection = gateway.connect()
    connection.request("POST", "/v2/models/digits/infer", b"{}")
    answer = connection.getresponse()
    assert going.wait(COMMAND_S)
    idle = socket.create_connection((gateway.address.split(":")[0],
                                     int(gateway.address.split(":")[1])), timeout=COMMAND_S)
    wait_until(lambda: gateway.status()["open"] == 1, COMMAND_S, "the request")
    old = replace(gateway)
    # Whoever wants to stop the replica learns from the new one that it is still needed.
    assert gateway.outstanding(slow_one.id) == 1
    gateway.put(service(Replica(tmp_path)))
    assert gateway.infer().status == 200
    assert gateway.outstanding(slow_one.id) == 1
    assert old.poll() is None
    goes_on.set()
    wait_until(lambda: gateway.outstanding(slow_one.id) == 0, COMMAND_S, "its end")
    assert answer.read() == b"data: one\n\ndata: two\n\n"
    # A connection that had said nothing yet may ask once, and is told that it was the last time.
    idle.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
    told = idle.makefile("rb").read()
    assert told.startswith(b"HTTP/1.1 200 ") and b"\r\nConnection: close\r\n" in told
    idle.close()
    connection.close()
    assert old.wait(timeout=STOP_S) == 0


def test_routes_and_control_go_on(gateway, tmp_path):
    first = gateway.status()
    old = replace(gateway)
    second = gateway.status()
    assert second["generation"] == first["generation"]
    assert second["incarnation"] != first["incarnation"]
    assert gateway.infer().status == 200
    gateway.put(service(Replica(tmp_path), route="other"))
    assert gateway.infer("other").status == 200
    assert old.wait(timeout=STOP_S) == 0
    assert gateway.stop() == 0
    assert not os.path.exists(gateway.control_path)


def test_one_that_cannot_begin_changes_nothing(gateway, tmp_path):
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    broken.chmod(0o600)
    done = subprocess.run(
        [BINARY, "gateway", "--data", gateway.data, "--replace", "--cert", str(broken),
         "--key", str(broken)], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode != 0 and "certificate" in done.stderr
    assert gateway.process.poll() is None
    assert gateway.infer().status == 200
    # And the next one that can, may.
    old = replace(gateway)
    assert gateway.infer().status == 200
    assert old.wait(timeout=STOP_S) == 0


def test_replace_without_a_gateway_is_a_start(tmp_path):
    gateway = Gateway(tmp_path / "data")
    try:
        gateway.start("--replace")
        gateway.put(service(Replica(tmp_path)))
        assert gateway.infer().status == 200
    finally:
        gateway.teardown()


def test_sigusr2_starts_the_program_anew(gateway):
    load = Load(gateway)
    pid = gateway.process.pid
    try:
        load.asked(100)
        gateway.signal(signal.SIGUSR2)
        gateway.process.wait(timeout=STOP_S)
        load.asked(100)
        taken_over = gateway.status()["pid"]
        assert taken_over != pid
    finally:
        load.end()
        try:
            os.kill(gateway.status()["pid"], signal.SIGTERM)
        except (OSError, http.client.HTTPException):
            pass
    assert load.faults == []
    wait_until(lambda: not os.path.exists(f"/proc/{taken_over}"), STOP_S, "its end")


def test_sockets_of_systemd_are_used(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    data = tmp_path / "data"

    def inherit():
        os.dup2(listener.fileno(), 3)
        os.environ["LISTEN_PID"] = str(os.getpid())
    gateway = Gateway(data)
    with open(gateway.log_path, "ab") as log:
        gateway.process = subprocess.Popen(
            ["sh", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "{BINARY}" gateway --data "{data}" '
             "--workers 2"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            pass_fds=(3,) if listener.fileno() == 3 else (), close_fds=False,
            preexec_fn=inherit)
    try:
        # A client that comes before the gateway waits for it.
        early = socket.create_connection(("127.0.0.1", port), timeout=COMMAND_S)
        early.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert early.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
        early.close()
        wait_until(gateway._answers, COMMAND_S, "the gateway")
        assert gateway.status()["listen"] == f"127.0.0.1:{port}"
    finally:
        gateway.teardown()
        listener.close()
        print(gateway.log())


def test_systemd_is_told_which_process_answers(gateway, tmp_path):
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(COMMAND_S)
    os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    try:
        replace(gateway)
    finally:
        del os.environ["NOTIFY_SOCKET"]
    assert told.recv(100).decode() == f"MAINPID={gateway.process.pid}\nREADY=1"
    told.close()
