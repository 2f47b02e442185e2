"""Deadlines: of the service and of its clients, told to replicas, and kept wherever a request is;
what is cancelled when a client leaves."""
import json
import shutil
import subprocess
import threading

import pytest

from gateway import Replica, service
from muster import COMMAND_S, wait_until

CHAT = "/v1/chat/completions"
HEADER = "X-Request-Timeout-Ms"
BOTH = {"deadline": {"total": "10s", "header": True}}


@pytest.fixture
def hanging(tmp_path):
    """A replica that answers nothing until the end, and says when it is asked."""
    release = threading.Event()
    begun = threading.Semaphore(0)

    def hang(handler):
        begun.release()
        release.wait(COMMAND_S)

    replica = Replica(tmp_path, hang)
    replica.begun = begun
    yield replica
    release.set()


def left(replica, index=-1):
    return int(replica.requests[index].headers[HEADER])


def test_what_is_left_is_told_to_the_replica(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, **BOTH))
    assert gateway.infer().status == 200 and 5000 < left(replica) <= 10000
    assert gateway.infer(headers={HEADER: "4000"}).status == 200 and 0 < left(replica) <= 4000
    gateway.infer(headers={"grpc-timeout": "3S"})
    assert 0 < left(replica) <= 3000 and "grpc-timeout" not in replica.requests[-1].headers
    # The service's own is the longest.
    gateway.infer(headers={HEADER: "60000"})
    assert left(replica) <= 10000
    assert [name.lower() for name in replica.requests[-1].headers].count(HEADER.lower()) == 1


def test_a_service_that_says_nothing_passes_the_field_on(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica))
    assert gateway.infer(headers={HEADER: "0"}).status == 200 and left(replica) == 0
    gateway.put(service(replica, deadline={"total": "10s"}))
    assert gateway.infer(headers={HEADER: "1"}).status == 200 and left(replica) > 1


@pytest.mark.parametrize("name,value", [
    (HEADER, "soon"), (HEADER, "-1"), (HEADER, "1.5"), (HEADER, ""), ("grpc-timeout", "5"),
    ("grpc-timeout", "5s"), ("grpc-timeout", "123456789S")])
def test_a_deadline_that_cannot_be_read_is_refused(gateway, tmp_path, name, value):
    replica = Replica(tmp_path)
    gateway.put(service(replica, **BOTH))
    assert gateway.infer(headers={name: value}).status == 400
    assert not replica.requests


def test_one_that_has_passed_is_never_sent(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, **BOTH))
    for name, value in ((HEADER, "0"), ("grpc-timeout", "0m")):
        assert gateway.infer(headers={name: value}).status == 504
    assert not replica.requests
    assert gateway.status()["deadlinesPassed"] == 2


def test_a_request_under_way_is_cancelled(gateway, hanging):
    gateway.put(service(hanging, **BOTH))
    answer = gateway.infer(headers={HEADER: "50"})
    assert answer.status == 504 and "deadline" in answer.json["error"]
    wait_until(lambda: gateway.outstanding(hanging.id) == 0, COMMAND_S, "the cancellation")
    assert gateway.status()["deadlinesPassed"] == 1


def test_a_stream_ends_with_an_event(gateway, tmp_path):
    release = threading.Event()
    event = b'data: {"choices":[]}\n\n'
    replica = Replica(
        tmp_path, lambda h: (h.begin(), h.piece(event), release.wait(COMMAND_S)))
    gateway.put(service(replica, fallback={"brokenStreams": "event"}, **BOTH))
    try:
        answer = gateway.ask("POST", CHAT, {"model": "digits", "stream": True},
                             headers={HEADER: "100"})
    finally:
        release.set()
    events = answer.text.encode().split(b"\n\n")
    assert events[0] == event[:-2] and len(events) == 3
    assert json.loads(events[1][6:])["error"]["code"] == "deadline_exceeded"


def test_no_fallback_after_it(gateway, tmp_path, hanging):
    other = Replica(tmp_path)
    gateway.put(service(hanging, fallback={"to": ["other"]}, **BOTH),
                service(other, route="other"))
    assert gateway.infer(headers={HEADER: "50"}).status == 504
    assert not other.requests


def test_who_waits_for_a_turn_a_replica_or_a_batch_is_dropped(gateway, tmp_path, hanging):
    """One request holds the replica; what waits behind it in each way is told when it is over, and
    never reaches the replica."""
    ways = [{"queue": {"concurrency": 1, "length": 100, "wait": "30s"}},
            {"batching": {"max": 8, "delayMax": "5s"}}]
    body = json.dumps({"inputs": [
        {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [1]}]}).encode()
    for options in ways:
        gateway.put(service(hanging, **BOTH, **options))
        asked = len(hanging.requests)
        first = gateway.connect()
        first.request("POST", "/v2/models/digits/infer", body=body)
        assert hanging.begun.acquire(timeout=COMMAND_S)
        for _ in range(3):
            assert gateway.infer(body=body, headers={HEADER: "60"}).status == 504
        assert len(hanging.requests) == asked + 1 or "batching" in options
        first.close()
        wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "nothing under way")
    gateway.put(service(**BOTH))
    assert gateway.infer(headers={HEADER: "60"}).status == 504
    wait_until(lambda: gateway.status()["heldBytes"] == 0, COMMAND_S, "nothing to be held")
    assert gateway.status()["waiting"] == 0


# ---- clients that leave -----------------------------------------------------------------------

OPTIONS = {
    "plain": {},
    "everything": {**BOTH, "hedge": {"after": "10ms", "limit": 100, "safe": ["infer", "chat"]},
                   "fallback": {"to": ["other"], "firstByte": "30s"}, "circuit": {"failures": 3}},
    "batching": {"batching": {"max": 8}},
    "queue": {"queue": {"concurrency": 4}},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_who_leaves_cancels_what_is_under_way(gateway, tmp_path, hanging, options):
    other = Replica(tmp_path)
    twin = Replica(tmp_path, hanging.answer)
    gateway.put(service(hanging, twin, **options), service(other, route="other"))
    body = json.dumps({"inputs": [
        {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [1]}]}).encode()
    connections = []
    for number in range(3):
        connection = gateway.connect()
        connection.request("POST", "/v2/models/digits/infer", body=body)
        connections.append(connection)
        # With both replicas busy the third waits for its batch.
        assert (number == 2 and "batching" in options) or hanging.begun.acquire(timeout=COMMAND_S)
    if "hedge" in options:
        wait_until(lambda: gateway.status()["hedged"] > 0, COMMAND_S, "a hedge")
    for connection in connections:
        connection.close()
    wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "the end of the requests")
    wait_until(lambda: gateway.outstanding(hanging.id) + gateway.outstanding(twin.id) == 0,
               COMMAND_S, "the cancellation")
    assert gateway.status()["heldBytes"] == 0 and not other.requests


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("streams", [False, True], ids=["unanswered", "stream"])
def test_who_leaves_over_http2_does_too(gateway, tmp_path, hanging, streams):
    def begin(handler):
        handler.begin()
        handler.piece(b'data: {"choices":[]}\n\n')
        hang(handler)

    hang = hanging.answer
    if streams:
        hanging.answer = begin
    gateway.put(service(hanging, **OPTIONS["everything"]))
    client = subprocess.Popen(
        ["curl", "-sN", "--http2-prior-knowledge", "-d", '{"model":"digits","stream":true}',
         f"http://{gateway.address}{CHAT}"], stdout=subprocess.PIPE)
    assert hanging.begun.acquire(timeout=COMMAND_S)
    if streams:
        assert client.stdout.readline().startswith(b"data:")
    client.kill()
    client.wait()
    wait_until(lambda: gateway.outstanding(hanging.id) == 0, COMMAND_S, "the cancellation")
    wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "the end of the request")
