"""Other services in place of one that fails, before a stream's first event and after it; circuits."""
import collections
import json
import socket
import threading

import pytest

from gateway import Replica, key, read_to_end, read_usage, send_raw, service
from muster import COMMAND_S, wait_until

CHAT = "/v1/chat/completions"
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def ask_chat(gateway, route="chat", key_text=None, headers=None, **more):
    return gateway.ask("POST", CHAT, {"temperature": 0.5, "model": route, **more}, key=key_text,
                       headers=headers)


def failing(status):
    return lambda handler: handler.reply(status, b"no")


def model_of(handler):
    handler.reply(200, {"model": json.loads(handler.body)["model"]})


def pair(tmp_path, answer, fallback=None, **options):
    """A service whose replica answers so, and another that says which model it was asked for."""
    first, second = Replica(tmp_path, answer), Replica(tmp_path, model_of)
    fallback = fallback or {"to": ["small"]}
    return first, second, [
        service(first, route="chat", fallback=fallback, **options),
        service(second, route="small")]


@pytest.mark.parametrize("status,why", [(500, "error"), (503, "overload"), (429, "overload"),
                                        (504, "timeout")])
def test_an_error_is_answered_by_the_next(gateway, tmp_path, status, why):
    first, second, services = pair(tmp_path, failing(status))
    gateway.put(*services)
    answer = ask_chat(gateway)
    assert (answer.status, answer.json) == (200, {"model": "small"})
    assert answer.headers["x-muster-tried"] == f"chat={why}"
    assert answer.headers["x-muster-answered-by"] == "small"
    sent = json.loads(second.requests[0].body)
    assert sent == {"temperature": 0.5, "model": "small"}
    assert len(first.requests) == len(second.requests) == 1
    line = gateway.wait_access(lambda line: True, "the line of the request")
    assert (line["route"], line["asked"], line["tried"], line["answeredBy"], line["status"]) == (
        "small", "chat", f"chat={why}", "small", 200)
    status = gateway.status()
    assert (status["requests"], status["fellBack"], status["failed"]) == (1, 1, 0)


def test_the_open_inference_protocol_too(gateway, tmp_path):
    first, second, services = pair(tmp_path, failing(500))
    second.answer = lambda handler: handler.reply(200, {"path": handler.path})
    gateway.put(*services)
    answer = gateway.infer("chat", b'{"inputs":[]}')
    assert answer.json == {"path": "/v2/models/small/infer"}
    assert second.requests[0].body == b'{"inputs":[]}'
    # What is no inference is this service's own affair.
    assert gateway.ask("GET", "/v2/models/chat").status == 500


def test_each_service_counts_what_it_was_asked(gateway, tmp_path):
    _, _, services = pair(tmp_path, failing(500))
    gateway.put(*services, keys=[key("k")])
    assert ask_chat(gateway, key_text="k").status == 200
    series = {item["service"]: item for item in read_usage(gateway.data)}
    assert (series["vision/chat"]["requests"], series["vision/chat"]["failed"]) == (1, 1)
    assert (series["vision/small"]["requests"], series["vision/small"]["succeeded"]) == (1, 1)
    assert {item["key"] for item in series.values()} == {"id-k"}


def test_conditions_are_those_of_the_list(gateway, tmp_path):
    busy = Replica(tmp_path, failing(429))
    _, second, services = pair(tmp_path, failing(500), {"to": [
        {"route": "busy", "on": ["timeout"]}, {"route": "small", "on": ["error"]}]})
    gateway.put(*services, service(busy, route="busy"))
    assert ask_chat(gateway).json == {"model": "small"}
    assert not busy.requests
    first = Replica(tmp_path, failing(429))
    gateway.put(service(first, route="chat", fallback={"to": [{"route": "small", "on": ["error"]}]}),
                services[1])
    answer = ask_chat(gateway)
    assert (answer.status, answer.text) == (429, "no")
    assert "x-muster-tried" not in answer.headers


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_clients_own_faults_are_not_tried_elsewhere(gateway, tmp_path, status):
    _, second, services = pair(tmp_path, failing(status))
    gateway.put(*services)
    assert ask_chat(gateway).status == status
    assert not second.requests


def test_a_chain_goes_on_and_ends_with_the_last_answer(gateway, tmp_path):
    replicas = [Replica(tmp_path, failing(500 + i)) for i in range(3)]
    gateway.put(service(replicas[0], route="a", fallback={"to": ["b", "gone", "c"]}),
                service(replicas[1], route="b", fallback={"to": ["a"]}),
                service(replicas[2], route="c"))
    answer = ask_chat(gateway, "a")
    # Its own body, as without any fallback; those before are told.
    assert (answer.status, answer.text) == (502, "no")
    assert answer.headers["x-muster-tried"] == "a=error, b=error"
    assert [len(replica.requests) for replica in replicas] == [1, 1, 1]


def test_no_replica_no_connection_and_silence(gateway, tmp_path):
    release = threading.Event()
    first, second, services = pair(
        tmp_path, lambda handler: release.wait(COMMAND_S),
        {"to": ["small"], "firstByte": "100ms"})
    gateway.put(*services)
    try:
        assert ask_chat(gateway).headers["x-muster-tried"] == "chat=timeout"
        wait_until(lambda: gateway.outstanding(first.id) == 0, COMMAND_S,
                   "the end of the attempt that was too slow")
    finally:
        release.set()
    first.stop()
    assert ask_chat(gateway).headers["x-muster-tried"] == "chat=connection"
    gateway.put(service(route="chat", fallback={"to": ["small"]}), services[1])
    assert ask_chat(gateway).headers["x-muster-tried"] == "chat=connection"


def test_replicas_are_tried_before_services(gateway, tmp_path):
    broken = Replica(tmp_path, raw=lambda c: (c.recv(65536), c.close()))
    good = Replica(tmp_path, model_of)
    other = Replica(tmp_path, model_of)
    gateway.put(service(broken, good, route="chat", fallback={"to": ["small"]}),
                service(other, route="small"))
    for _ in range(8):
        assert ask_chat(gateway).json == {"model": "chat"}
    assert not other.requests


# ---- who may ----------------------------------------------------------------------------------


def test_the_owner_gives_its_own_services_away_and_no_others(gateway, tmp_path):
    first = Replica(tmp_path, failing(500))
    own, others = Replica(tmp_path, model_of), Replica(tmp_path, model_of)
    keys = [key("limited", services=["vision/chat"]), key("both", teams=("vision", "speech"))]
    options = {"access": "team"}
    # Another team's: only who may ask it anyhow.
    gateway.put(service(first, route="chat", fallback={"to": ["theirs"]}, **options),
                service(others, route="theirs", team="speech", **options), keys=keys)
    assert ask_chat(gateway, key_text="limited").status == 500
    assert not others.requests
    assert ask_chat(gateway, key_text="both").json == {"model": "theirs"}
    # The team's own, also with a key for the first service alone.
    gateway.put(service(first, route="chat", fallback={"to": ["ours"]}, **options),
                service(own, route="ours", **options), keys=keys)
    assert ask_chat(gateway, key_text="limited").json == {"model": "ours"}
    assert ask_chat(gateway, "ours", key_text="limited").status == 404


def test_limits_settle_once_where_it_was_answered(gateway, tmp_path):
    limit = {"what": "requests", "most": 1, "per": "minute"}
    _, second, services = pair(tmp_path, failing(500), limits={"all": [limit]})
    services[1]["options"]["limits"] = {"all": [{**limit, "most": 2}]}
    gateway.put(*services)
    # What failed is given back: the first service's own limit is never reached.
    assert [ask_chat(gateway).status for _ in range(2)] == [200, 200]
    answer = ask_chat(gateway)
    assert answer.status == 429 and answer.headers["x-muster-tried"] == (
        "chat=error, small=overload")
    assert len(second.requests) == 2


def test_a_clients_own_limit_is_no_reason_to_ask_elsewhere(gateway, tmp_path):
    _, second, services = pair(tmp_path, model_of,
                               limits={"all": [{"what": "requests", "most": 1, "per": "minute"}]})
    gateway.put(*services)
    assert [ask_chat(gateway).status for _ in range(2)] == [200, 429]
    assert not second.requests


# ---- streams ----------------------------------------------------------------------------------


def broken_after(count, part=b""):
    def answer(handler):
        handler.begin()
        for _ in range(count):
            handler.piece(EVENT)
        if part:
            handler.piece(part)
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
    return answer


def stream_well(handler):
    handler.begin()
    handler.piece(EVENT)
    handler.piece(b"data: [DONE]\n\n")
    handler.end()


@pytest.mark.parametrize("answer", [
    broken_after(0), broken_after(0, b": ping\n\n"), broken_after(0, EVENT[:20]),
    lambda h: (h.begin(), h.piece(b'data: {"error":{"message":"out of memory"}}\n\n'), h.end()),
    lambda h: (h.begin(), h.end())],
    ids=["nothing", "comment", "half", "error", "empty"])
def test_a_stream_that_has_sent_nothing_is_taken_over_silently(gateway, tmp_path, answer):
    first, second, services = pair(tmp_path, answer)
    second.answer = stream_well
    gateway.put(*services)
    answer = ask_chat(gateway, stream=True)
    assert answer.status == 200
    assert answer.text.encode() == EVENT + b"data: [DONE]\n\n"
    assert answer.headers["x-muster-tried"] == "chat=error"


def test_a_stream_that_is_slow_to_begin_is_taken_over(gateway, tmp_path):
    release = threading.Event()
    _, second, services = pair(
        tmp_path, lambda h: (h.begin(), release.wait(COMMAND_S)),
        {"to": ["small"], "firstByte": "100ms"})
    second.answer = stream_well
    gateway.put(*services)
    try:
        answer = ask_chat(gateway, stream=True)
    finally:
        release.set()
    assert answer.headers["x-muster-tried"] == "chat=timeout"
    assert answer.text.endswith("[DONE]\n\n")


@pytest.mark.parametrize("part", [b"", EVENT[:20]], ids=["between", "within"])
def test_a_stream_that_breaks_off_ends_with_an_honest_event(gateway, tmp_path, part):
    _, second, services = pair(tmp_path, broken_after(2, part))
    gateway.put(*services)
    answer = ask_chat(gateway, stream=True)
    events = answer.text.encode().split(b"\n\n")
    assert events[:2] == [EVENT[:-2]] * 2 and events[3] == b"" and len(events) == 4
    error = json.loads(events[2][len(b"data: "):])["error"]
    assert (error["type"], error["code"]) == ("server_error", "stream_broken")
    assert not second.requests
    line = gateway.wait_access(lambda line: True, "the line of the request")
    assert line["end"] == "broken"
    assert gateway.status()["streamsBroken"] == 1


def test_without_the_option_a_broken_stream_is_cut(gateway, tmp_path):
    replica = Replica(tmp_path, broken_after(1))
    gateway.put(service(replica, route="chat"))
    body = b'{"model":"chat","stream":true}'
    with send_raw(gateway.address, b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (
            CHAT.encode(), len(body), body)) as connection:
        data = read_to_end(connection)
    assert EVENT in data and not data.endswith(b"0\r\n\r\n") and b"error" not in data


def until_close(data, content_type="text/event-stream"):
    """Only the end of its connection ends this answer, as with servers that speak HTTP/1.0."""
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True
    return answer


@pytest.mark.parametrize("part", [b"", EVENT[:20], b"data: [DO"], ids=["between", "within", "almost"])
def test_a_stream_that_its_connection_alone_ends_is_whole_only_when_it_says_so(gateway, tmp_path, part):
    _, second, services = pair(tmp_path, until_close(EVENT * 2 + part))
    gateway.put(*services)
    events = ask_chat(gateway, stream=True).text.encode().split(b"\n\n")
    assert events[:2] == [EVENT[:-2]] * 2 and events[3] == b"" and len(events) == 4
    assert json.loads(events[2][len(b"data: "):])["error"]["code"] == "stream_broken"
    assert not second.requests
    assert gateway.wait_access(lambda line: True, "the line of the request")["end"] == "broken"


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]\n"])
@pytest.mark.parametrize("fallback", [True, False])
def test_one_that_says_so_is_whole(gateway, tmp_path, end, fallback):
    first, _, services = pair(tmp_path, until_close(EVENT * 2 + end))
    gateway.put(*(services if fallback else [service(first, route="chat")]))
    assert ask_chat(gateway, stream=True).text.encode() == EVENT * 2 + end
    assert gateway.wait_access(lambda line: True, "the line of the request")["end"] == "complete"


def test_one_that_was_closed_before_its_first_event_is_taken_over(gateway, tmp_path):
    _, second, services = pair(tmp_path, until_close(b""))
    second.answer = stream_well
    gateway.put(*services)
    answer = ask_chat(gateway, stream=True)
    assert (answer.headers["x-muster-tried"], answer.text.endswith("[DONE]\n\n")) == ("chat=error", True)


def test_without_the_option_one_that_was_closed_too_early_is_cut(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path, until_close(EVENT)), route="chat"))
    body = b'{"model":"chat","stream":true}'
    with send_raw(gateway.address, b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (
            CHAT.encode(), len(body), body)) as connection:
        data = read_to_end(connection)
    assert EVENT in data and not data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("data, end", [(b"data: 1\n\n", "complete"), (b"data: 1\n\ndata: 2\n", "broken")])
def test_streams_without_a_last_event_of_their_own_end_between_events(gateway, tmp_path, data, end):
    gateway.put(service(Replica(tmp_path, until_close(data))))
    request = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with send_raw(gateway.address, request) as connection:
        assert read_to_end(connection).endswith(b"0\r\n\r\n") == (end == "complete")
    line = gateway.wait_access(lambda line: True, "the line of the request")
    assert line["end"] == end


def test_events_in_any_pieces_arrive_whole(gateway, tmp_path):
    stream = b": hi\r\n\r\n" + EVENT * 3 + b"data: [DONE]\n\n"

    def answer(handler):
        handler.begin()
        for at in range(len(stream)):
            handler.piece(stream[at:at + 1])
        handler.end()

    _, _, services = pair(tmp_path, answer)
    gateway.put(*services)
    assert ask_chat(gateway, stream=True).text.encode() == stream


# ---- under load -------------------------------------------------------------------------------


@pytest.mark.threaded
def test_killing_replicas_under_load_answers_each_request_once(gateway, tmp_path):
    """The first service's replicas die while requests are under way: each request has one answer,
    its own, and each is counted once by the gateway."""
    def echo(handler):
        body = json.loads(handler.body)
        handler.reply(200, {"model": body["model"], "number": body["number"]})

    firsts = [Replica(tmp_path, echo) for _ in range(2)]
    second = Replica(tmp_path, echo)
    gateway.put(service(*firsts, route="chat", fallback={"to": ["small"]},
                        circuit={"failures": 3, "open": "100ms", "openMax": "400ms"}),
                service(second, route="small"))
    answers, count, clients = [], 120, 8

    def client(first):
        for number in range(first, count, clients):
            answers.append((number, ask_chat(gateway, number=number)))

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > count // 4, COMMAND_S, "a quarter of the answers")
    for replica in firsts:
        replica.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
        replica.stop()
    for thread in threads:
        thread.join()
    assert [answer.status for _, answer in answers] == [200] * count
    assert sorted(answer.json["number"] for _, answer in answers) == list(range(count))
    assert all(answer.json["number"] == number for number, answer in answers)
    assert {answer.json["model"] for _, answer in answers} == {"chat", "small"}
    wait_until(lambda: gateway.status()["requests"] == count, COMMAND_S, "the figures")
    status = gateway.status()
    assert (status["failed"], status["open"], status["heldBytes"]) == (0, 0, 0)
    assert all(item["outstanding"] == 0 for item in status["endpoints"])


# ---- circuits ---------------------------------------------------------------------------------


def circuit_of(gateway):
    return gateway.status()["circuits"][0]


def test_a_circuit_opens_refuses_at_once_and_closes_after_one_probe(gateway, tmp_path):
    fails = [True]

    def answer(handler):
        handler.reply(500 if fails[0] else 200, b"x")

    replicas = [Replica(tmp_path, answer) for _ in range(2)]
    gateway.put(service(*replicas, circuit={"failures": 4, "open": "200ms", "openMax": "400ms"}))
    seen = lambda: sum(len(replica.requests) for replica in replicas)
    wait_until(lambda: gateway.infer().status == 503, COMMAND_S, "an open circuit")
    before = seen()
    answer = gateway.infer()
    assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
    assert "fail" in answer.json["error"] and seen() == before
    assert (circuit_of(gateway)["state"], circuit_of(gateway)["opened"]) == ("open", 1)
    # A probe that fails: others are still refused.
    wait_until(lambda: gateway.infer().status == 500, COMMAND_S, "a probe")
    assert gateway.infer().status == 503
    fails[0] = False
    wait_until(lambda: gateway.infer().status == 200, COMMAND_S, "a probe that succeeds")
    assert [gateway.infer().status for _ in range(5)] == [200] * 5
    assert circuit_of(gateway)["state"] == "closed"
    metrics = gateway.control("GET", "/metrics").text
    assert "muster_gateway_circuits_opened_total 1\n" in metrics


def test_a_circuit_stays_closed_while_one_replica_answers(gateway, tmp_path):
    good, bad = Replica(tmp_path), Replica(tmp_path, failing(500))
    gateway.put(service(good, bad, routing={"failures": 0}, circuit={"failures": 2}))
    assert {gateway.infer().status for _ in range(40)} == {200, 500}
    assert circuit_of(gateway)["opened"] == 0


def test_an_open_circuit_goes_to_the_fallback_at_once(gateway, tmp_path):
    first, second, services = pair(tmp_path, failing(500),
                                   circuit={"failures": 2, "open": "1h", "openMax": "1h"})
    gateway.put(*services)
    wait_until(lambda: ask_chat(gateway).headers["x-muster-tried"] == "chat=circuit", COMMAND_S,
               "an open circuit")
    asked = len(first.requests)
    assert [ask_chat(gateway).json["model"] for _ in range(5)] == ["small"] * 5
    assert len(first.requests) == asked


def test_clients_that_give_no_time_open_no_circuit(gateway, tmp_path):
    release = threading.Event()
    replica = Replica(tmp_path, lambda handler: (release.wait(0.2), handler.reply(200, b"x")))
    gateway.put(service(replica, deadline={"header": True}, circuit={"failures": 1}))
    for _ in range(5):
        assert gateway.infer(headers={"X-Request-Timeout-Ms": "20"}).status == 504
    release.set()
    assert gateway.infer().status == 200
    assert circuit_of(gateway)["opened"] == 0


def by_labels(gateway):
    sums = collections.defaultdict(lambda: (0, 0, 0))  # of both workers
    for item in read_usage(gateway.data):
        counts = (item["requests"], item["succeeded"], item["failed"])
        of = item["service"], item["labels"]
        sums[of] = tuple(map(sum, zip(sums[of], counts)))
    return sums


def test_labels_are_counted_as_each_service_names_them(gateway, tmp_path):
    first, second = Replica(tmp_path, failing(500)), Replica(tmp_path, model_of)
    gateway.put(service(first, route="chat", fallback={"to": ["small"]}, labels={"names": ["project"]}),
                service(second, route="small", labels={"names": ["stage"]}))
    both = {"X-Muster-Labels": "project=a,stage=test"}
    for _ in range(3):
        assert ask_chat(gateway, headers=both).status == 200
    assert by_labels(gateway) == {("vision/chat", "project=a"): (3, 0, 3),
                                  ("vision/small", "stage=test"): (3, 3, 0)}
    # One that takes none, before and after one that does.
    gateway.put(service(first, route="chat", fallback={"to": ["small"]}),
                service(second, route="small", labels={"names": ["stage"]}))
    assert ask_chat(gateway, headers=both).status == 200
    gateway.put(service(first, route="chat", fallback={"to": ["small"]}, labels={"names": ["project"]}),
                service(second, route="small"))
    assert ask_chat(gateway, headers=both).status == 200
    assert by_labels(gateway) == {
        ("vision/chat", "project=a"): (4, 0, 4), ("vision/chat", ""): (1, 0, 1),
        ("vision/small", "stage=test"): (4, 4, 0), ("vision/small", ""): (1, 1, 0)}
