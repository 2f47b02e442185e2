"""The gateway with TLS, and under `muster up` beside a server."""
import http.client
import json
import os
import signal
import ssl
import subprocess

import pytest

from gateway import Gateway, Replica, service
from muster import BINARY, COMMAND_S, Muster, UnixConnection, living_processes, read_proc, \
    wait_until


def make_certificate(folder, name):
    """A certificate of its own for localhost: the paths of chain and key."""
    paths = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    os.chmod(paths[1], 0o600)
    return paths


def common_name(address):
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_certificates_are_read_again_at_sighup(tmp_path):
    cert, key = make_certificate(tmp_path, "first")
    gateway = Gateway(tmp_path / "data")
    try:
        gateway.start("--cert", cert, "--key", key, workers=4)
        gateway.put(service(Replica(tmp_path)))
        first = common_name(gateway.address)
        host, _, port = gateway.address.rpartition(":")
        context = ssl.create_default_context(cafile=cert)
        context.check_hostname = False
        connection = http.client.HTTPSConnection(host, int(port), context=context)
        connection.request("POST", "/v2/models/digits/infer", b"{}")
        assert connection.getresponse().read()
        make_certificate(tmp_path, "second")
        gateway.signal(signal.SIGHUP)
        # Each worker reads them: ask until all connections of a row have the new one.
        wait_until(lambda: all(common_name(gateway.address) != first for _ in range(16)),
                   COMMAND_S, "the new certificate")
        connection.request("POST", "/v2/models/digits/infer", b"{}")
        assert connection.getresponse().status == 200
        connection.close()
        # What cannot be used leaves the certificate in use as it is.
        with open(cert, "w", encoding="ascii") as text:
            text.write("no certificate")
        second = common_name(gateway.address)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: gateway.log().count("stay as they were") == 4, COMMAND_S, "the word")
        assert common_name(gateway.address) == second
    finally:
        gateway.teardown()


@pytest.fixture
def up(tmp_path):
    """`muster up`, its gateway on a port of its own."""
    instance = Muster(tmp_path / "data")
    try:
        instance.start("--gateway", "127.0.0.1:0", verb="up")
        yield instance
    finally:
        instance.teardown()
        print(instance.log())


def gateway_status(instance):
    connection = UnixConnection(os.path.join(instance.data, "gateway", "control.sock"), COMMAND_S)
    try:
        connection.request("GET", "/status")
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def children_of(instance):
    return [pid for pid, parent in living_processes().items() if parent == instance.process.pid]


def server_pid(instance):
    """The child that is neither the gateway nor the planner."""
    return next((pid for pid in children_of(instance)
                 if not {b"gateway", b"planner"} & set(read_proc(pid, "cmdline").split(b"\0"))),
                None)


def test_what_works_in_the_background_interrupts_no_worker(tmp_path):
    """Log, recorder, hooks and traces are patient; the main thread and the workers are not."""
    gateway = Gateway(tmp_path / "data")
    try:
        gateway.start("--traces", "http://127.0.0.1:9", workers=2)
        threads = os.listdir(f"/proc/{gateway.process.pid}/task")
        policies = sorted(os.sched_getscheduler(int(thread)) for thread in threads)
        assert policies == [os.SCHED_OTHER] * 3 + [os.SCHED_BATCH] * 4
    finally:
        gateway.teardown()


def test_as_many_workers_as_processors_that_it_may_use(tmp_path):
    gateway = Gateway(tmp_path / "data")
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        gateway.start(workers=0)
        assert gateway.status()["workers"] == 1
    finally:
        os.sched_setaffinity(0, allowed)
        gateway.teardown()


def test_up_runs_a_gateway_that_outlives_the_server(up):
    before = wait_until(lambda: gateway_status(up), COMMAND_S, "the gateway")
    server = server_pid(up)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: server_pid(up) not in (None, server), COMMAND_S, "another server")
    wait_until(up._answers, COMMAND_S, "the server to answer again")
    after = gateway_status(up)
    assert (after["pid"], after["incarnation"]) == (before["pid"], before["incarnation"])
    assert up.stop() == 0
    assert gateway_status(up) is None


def test_up_starts_its_gateway_again(up):
    before = wait_until(lambda: gateway_status(up), COMMAND_S, "the gateway")
    os.kill(before["pid"], signal.SIGKILL)
    after = wait_until(lambda: gateway_status(up), COMMAND_S, "another gateway")
    assert after["pid"] != before["pid"]
    assert up._answers()


def test_a_gateway_left_by_a_killed_up_is_ended_by_the_next(up):
    before = wait_until(lambda: gateway_status(up), COMMAND_S, "the gateway")
    up.kill9()
    wait_until(lambda: server_pid(up) is None, COMMAND_S, "the server to be gone")
    assert gateway_status(up)["pid"] == before["pid"]
    up.start("--gateway", "127.0.0.1:0", verb="up")
    assert gateway_status(up)["pid"] == before["pid"]
    assert up.stop() == 0
    wait_until(lambda: gateway_status(up) is None, COMMAND_S, "the gateway to end")


def test_a_gateway_left_by_a_killed_up_is_waited_for_quietly(up):
    before = wait_until(lambda: gateway_status(up), COMMAND_S, "the gateway")
    up.kill9()
    wait_until(lambda: server_pid(up) is None, COMMAND_S, "the server to be gone")
    up.start("--gateway", "127.0.0.1:0", verb="up")
    wait_until(lambda: "of an earlier start goes on" in up.log(), COMMAND_S, "a word about it")
    os.kill(before["pid"], signal.SIGKILL)
    after = wait_until(lambda: gateway_status(up), COMMAND_S, "a gateway in its place")
    assert after["pid"] != before["pid"]
    assert up.log().count("of an earlier start goes on") == 1
    assert "is started again" not in up.log()


def test_up_ends_with_the_status_of_a_server_that_cannot_start(tmp_path):
    done = subprocess.run([BINARY, "up", "--data", str(tmp_path / "data"), "--listen", "nonsense",
                           "--gateway", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 2, done.stderr
    assert "nonsense" in done.stderr
