"""A second request to another replica when the first is slow: the first to answer wins."""
import json
import threading

import pytest

from gateway import Replica, read_usage, service
from muster import COMMAND_S, wait_until

CHAT = "/v1/chat/completions"
HEDGE = {"after": "30ms", "limit": 100, "safe": ["infer", "chat"]}


@pytest.fixture
def slow(tmp_path):
    """A replica that holds each request while slow.holds, as long as the test runs."""
    release = threading.Event()

    def answer(handler):
        if replica.holds:
            release.wait(COMMAND_S)
        handler.reply(200, {"replica": replica.id})

    replica = Replica(tmp_path, answer)
    replica.holds, replica.release = True, release
    yield replica
    release.set()


def ask_until_slow(gateway, slow, ask=None):
    """Asks until the slow replica was among those asked: the last answer."""
    for _ in range(100):
        answer = (ask or gateway.infer)()
        if slow.requests:
            return answer
    raise AssertionError("the slow replica was never asked")


def idle(gateway):
    return all(item["outstanding"] == 0 for item in gateway.status()["endpoints"])


def test_the_first_to_answer_wins_and_the_other_is_cancelled(gateway, tmp_path, slow):
    fast = Replica(tmp_path)
    gateway.put(service(slow, fast, hedge=HEDGE))
    answer = ask_until_slow(gateway, slow)
    assert answer.status == 200 and answer.json == {"replica": fast.id}
    wait_until(lambda: idle(gateway), COMMAND_S, "the end of the slow attempt")
    status = gateway.status()
    assert (status["hedged"], status["hedgesWon"], status["retried"]) == (1, 1, 0)
    # Counted once, for who answered.
    series = [item for item in read_usage(gateway.data) if item["replica"] == slow.id]
    assert sum(item["requests"] for item in series) == 0
    assert status["requests"] == sum(item["requests"] for item in read_usage(gateway.data))


def test_streams_that_have_not_begun_too(gateway, tmp_path, slow):
    event = b"data: {}\n\n"
    fast = Replica(tmp_path, lambda h: (h.begin(), h.piece(event), h.piece(event), h.end()))
    gateway.put(service(slow, fast, hedge=HEDGE))
    answer = ask_until_slow(gateway, slow, lambda: gateway.ask(
        "POST", CHAT, {"model": "digits", "stream": True}))
    assert answer.text.encode() == event * 2
    wait_until(lambda: idle(gateway), COMMAND_S, "the end of the slow attempt")


def test_a_stream_that_has_begun_is_left_alone(gateway, tmp_path):
    """Its first event comes at once, the next one long after the hedge would have been made."""
    goes_on = threading.Event()

    def answer(handler):
        handler.begin()
        handler.piece(b"data: 1\n\n")
        goes_on.wait(COMMAND_S)
        handler.piece(b"data: 2\n\n")
        handler.end()

    replicas = [Replica(tmp_path, answer) for _ in range(2)]
    gateway.put(service(*replicas, hedge=dict(HEDGE, after="1ms")))
    connection = gateway.connect()
    connection.request("POST", CHAT, body='{"model":"digits","stream":true}')
    response = connection.getresponse()
    assert response.readline() == b"data: 1\n"
    # Others that are asked meanwhile come and go; nothing more happens to this one.
    hedged = gateway.status()["hedged"]
    for _ in range(5):
        gateway.ask("GET", "/v2/health/live")
    assert gateway.status()["hedged"] == hedged
    goes_on.set()
    assert response.read() == b"\ndata: 2\n\n"
    connection.close()


@pytest.mark.parametrize("hedge", [
    dict(HEDGE, safe=["embeddings"]), dict(HEDGE, after="1h")], ids=["unsafe", "later"])
def test_only_what_is_called_safe_and_only_after_the_time(gateway, tmp_path, slow, hedge):
    fast = Replica(tmp_path)
    gateway.put(service(slow, fast, hedge=hedge, timeout_ms=300, retry="never"))
    assert ask_until_slow(gateway, slow).status == 504
    assert gateway.status()["hedged"] == 0


def test_without_another_replica_there_is_none(gateway, slow):
    gateway.put(service(slow, hedge=HEDGE, timeout_ms=300, retry="never"))
    assert gateway.infer().status == 504
    assert gateway.status()["hedged"] == 0 and len(slow.requests) == 1


@pytest.mark.parametrize("answer", [
    lambda h: h.reply(500, b""), lambda h: h.reply(429, b""),
    lambda h: (h.wfile.flush(), h.connection.close(), h.wfile.close())],
    ids=["500", "429", "cut"])
def test_a_hedge_that_fails_does_not_answer(gateway, tmp_path, slow, answer):
    """The first one is slow but well: who fails beside it is no answer."""
    bad = Replica(tmp_path, answer)
    gateway.put(service(slow, bad, hedge=HEDGE, retry="never", routing={"failures": 0}))
    answers = []

    def client():
        answers.append(gateway.infer())

    for _ in range(10):
        thread = threading.Thread(target=client)
        thread.start()
        wait_until(lambda: not thread.is_alive() or gateway.status()["hedged"] > 0, COMMAND_S,
                   "an answer or a hedge")
        if gateway.status()["hedged"] > 0:
            break
        thread.join()
    wait_until(lambda: gateway.outstanding(bad.id) == 0, COMMAND_S, "the end of the hedge")
    assert gateway.outstanding(slow.id) == 1
    slow.release.set()
    thread.join(COMMAND_S)
    assert not thread.is_alive() and idle(gateway)
    assert answers[-1].status == 200 and answers[-1].json == {"replica": slow.id}


def test_the_first_that_fails_leaves_the_hedge_to_answer(gateway, tmp_path):
    hedged, cut = threading.Event(), []

    def first_or_second(handler):
        if not cut:
            cut.append(handler)
            hedged.wait(COMMAND_S)
            handler.reply(500, b"no")
            return
        hedged.set()
        wait_until(lambda: gateway.status()["endpoints"] and sum(
            item["outstanding"] for item in gateway.status()["endpoints"]) == 1, COMMAND_S,
            "the end of the first")
        handler.reply(200, b"second")

    replicas = [Replica(tmp_path, first_or_second) for _ in range(2)]
    gateway.put(service(*replicas, hedge=HEDGE, retry="never"))
    answer = gateway.infer()
    assert (answer.status, answer.text) == (200, "second")
    status = gateway.status()
    assert (status["hedged"], status["requests"], status["failed"]) == (1, 1, 0)


def test_hedges_have_a_budget(gateway, tmp_path, slow):
    """One of a hundred: two workers have one each to begin with."""
    fast = Replica(tmp_path)
    gateway.put(service(slow, fast, hedge=dict(HEDGE, limit=1), timeout_ms=100, retry="never",
                        routing={"failures": 0}))
    statuses = [gateway.infer().status for _ in range(40)]
    assert gateway.status()["hedged"] <= 2 and set(statuses) <= {200, 504}


def test_after_a_percentile_that_was_measured(gateway, tmp_path):
    """Once it is known how long answers take: whoever is asked first then answers nothing."""
    release, held, known = threading.Event(), [], []

    def answer(handler):
        if known and not held:
            held.append(handler)
            release.wait(COMMAND_S)
        handler.reply(200, b"x")

    replicas = [Replica(tmp_path, answer) for _ in range(2)]
    gateway.put(service(*replicas, hedge=dict(HEDGE, after="p95")))
    assert gateway.status()["hedged"] == 0
    for _ in range(60):
        assert gateway.infer().status == 200
    known.append(True)
    before = gateway.status()["hedgesWon"]
    try:
        assert gateway.infer().status == 200
        assert held and gateway.status()["hedgesWon"] == before + 1
    finally:
        release.set()


@pytest.mark.threaded
def test_under_load_each_request_has_one_answer(gateway, tmp_path):
    """Every fourth request is slow at whichever replica it comes to first; each number is answered
    once, with its own answer, and counted once."""
    seen, lock = {}, threading.Lock()

    def answer(handler):
        number = json.loads(handler.body)["number"]
        with lock:
            seen[number] = seen.get(number, 0) + 1
            first = seen[number] == 1
        if first and number % 4 == 0:
            threading.Event().wait(0.2)
        handler.reply(200, {"number": number})

    replicas = [Replica(tmp_path, answer) for _ in range(3)]
    gateway.put(service(*replicas, hedge=dict(HEDGE, after="20ms")))
    answers, count, clients = [], 120, 8

    def client(first):
        for number in range(first, count, clients):
            answers.append((number, gateway.infer(body=b'{"number":%d}' % number)))

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number, _ in answers) == list(range(count))
    assert all(answer.status == 200 and answer.json == {"number": number}
               for number, answer in answers)
    wait_until(lambda: gateway.status()["requests"] == count, COMMAND_S, "the figures")
    wait_until(lambda: idle(gateway), COMMAND_S, "nothing under way")
    status = gateway.status()
    assert 0 < status["hedgesWon"] <= status["hedged"] and status["failed"] == 0
    assert sum(item["requests"] for item in read_usage(gateway.data)) == count
