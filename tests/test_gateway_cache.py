"""Answers that the gateway gives again: exactly the same request, version and tenant."""
import json
import threading

from gateway import Replica, key, service
from muster import COMMAND_S, wait_until

CACHE = {"cache": {"ttl": "1h"}}
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}


def figures(gateway):
    status = gateway.status()
    return {name: status[name] for name in status if name.startswith("cache")}


def test_the_same_request_is_answered_again_without_a_replica(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: h.reply(200, {"n": len(replica.requests)},
                                                  {"Content-Type": "application/json"}))
    gateway.put(service(replica, **CACHE))
    first = gateway.infer(body=BODY)
    assert first.headers["x-cache"] == "miss"
    # On connections of either worker, with other spaces and another order.
    for _ in range(8):
        again = gateway.infer(body=json.dumps(BODY, indent=2))
        assert (again.status, again.text) == (200, first.text)
        assert again.headers["x-cache"] == "hit"
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["content-type"] == "application/json"
        assert int(again.headers["age"]) >= 0
    same = gateway.infer(body=BODY, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status, same.text) == (304, "")
    other = dict(BODY, inputs=[dict(BODY["inputs"][0], data=[2])])
    assert gateway.infer(body=other).headers["x-cache"] == "miss"
    assert len(replica.requests) == 2
    assert figures(gateway)["cacheHits"] == 9
    assert figures(gateway)["cacheEntries"] == 2


def test_who_asks_for_a_new_answer_gets_one(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: h.reply(200, {"n": len(replica.requests)}))
    gateway.put(service(replica, **CACHE))
    gateway.infer(body=BODY)
    anew = gateway.infer(body=BODY, headers={"Cache-Control": "no-cache"})
    assert anew.json == {"n": 2}
    assert gateway.infer(body=BODY).json == {"n": 2}
    assert gateway.infer(body=BODY, headers={"Cache-Control": "no-store"}).json == {"n": 3}
    assert gateway.infer(body=BODY).json == {"n": 2}


def test_a_hundred_equal_requests_make_one_call(gateway, tmp_path):
    go = threading.Event()

    def answer(handler):
        go.wait(COMMAND_S)
        handler.reply(200, {"n": 1})

    replica = Replica(tmp_path, answer)
    gateway.put(service(replica, **CACHE))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.infer(body=BODY)))
               for _ in range(100)]
    for thread in threads:
        thread.start()
    wait_until(lambda: gateway.status()["open"] == 100, COMMAND_S, "all to have asked")
    wait_until(lambda: len(replica.requests) == 1, COMMAND_S, "the call")
    go.set()
    for thread in threads:
        thread.join(COMMAND_S)
    assert [item.json for item in answers] == [{"n": 1}] * 100
    assert len(replica.requests) == 1
    shown = figures(gateway)
    assert shown["cacheHits"] + shown["cacheShared"] == 99


def test_when_the_leader_leaves_another_asks(gateway, tmp_path):
    go = threading.Event()

    def answer(handler):
        if len(replica.requests) > 1:
            handler.reply(200, {"n": 2})
        else:
            go.wait(COMMAND_S)

    replica = Replica(tmp_path, answer)
    gateway.put(service(replica, **CACHE))
    leader = gateway.connect()
    leader.request("POST", "/v2/models/digits/infer", body=json.dumps(BODY))
    wait_until(lambda: replica.requests, COMMAND_S, "the first call")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(gateway.infer(body=BODY)))
    thread.start()
    wait_until(lambda: gateway.status()["open"] == 2, COMMAND_S, "the second to wait")
    leader.close()
    thread.join(COMMAND_S)
    go.set()
    assert answers[0].json == {"n": 2}


def test_errors_and_answers_that_say_so_are_not_kept(gateway, tmp_path):
    replies = [(500, {}), (200, {"Cache-Control": "no-store"}), (200, {"Set-Cookie": "a=b"}),
               (200, {"Vary": "Accept"})]
    replica = Replica(tmp_path, lambda h: h.reply(*(replies[len(replica.requests) - 1][:1]),
                                                  b"x", replies[len(replica.requests) - 1][1]))
    gateway.put(service(replica, **CACHE))
    for status, _ in replies:
        assert gateway.infer(body=BODY).status == status
    assert len(replica.requests) == len(replies)
    assert figures(gateway)["cacheEntries"] == 0


def test_nothing_crosses_tenants_and_versions(gateway, tmp_path):
    one = Replica(tmp_path, lambda h: h.reply(200, {"by": 1}), version=1)
    two = Replica(tmp_path, lambda h: h.reply(200, {"by": 2}), version=2)
    keys = [key("ann"), key("cat"), key("bob", teams=("vision", "speech"))]
    options = dict(access="team", **CACHE)
    gateway.put(service(one, **options), keys=keys)
    assert gateway.infer(body=BODY, key="ann").headers["x-cache"] == "miss"
    assert gateway.infer(body=BODY, key="cat").headers["x-cache"] == "hit"
    assert gateway.infer(body=BODY, key="bob").headers["x-cache"] == "miss"
    assert gateway.infer(body=BODY).status == 401
    gateway.put(service(two, **options), keys=keys)
    assert gateway.infer(body=BODY, key="ann").json == {"by": 2}
    gateway.put(service(one, **options), keys=[])
    assert gateway.infer(body=BODY, key="ann").status == 401


def stream(handler, complete=True):
    handler.begin()
    handler.piece(b'data: {"choices":[]}\n\n')
    if complete:
        handler.piece(b"data: [DONE]\n\n")
    handler.end()


def test_a_stream_is_kept_when_it_is_complete(gateway, tmp_path):
    broken = Replica(tmp_path, lambda h: stream(h, complete=len(broken.requests) > 1))
    gateway.put(service(broken, route="chat", **CACHE))
    body = {"model": "chat", "stream": True, "temperature": 0, "messages": []}
    answers = [gateway.ask("POST", "/v1/chat/completions", body) for _ in range(4)]
    assert [item.headers["x-cache"] for item in answers] == ["miss", "miss", "hit", "hit"]
    assert answers[3].text == answers[1].text
    assert answers[3].headers["content-type"] == "text/event-stream"
    assert len(broken.requests) == 2


def test_what_is_drawn_at_random_is_not_given_again_unless_asked_for(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: h.reply(200, {"n": len(replica.requests)}))
    body = {"model": "chat", "temperature": 0.7, "messages": []}
    gateway.put(service(replica, route="chat", **CACHE))
    for _ in range(2):
        answer = gateway.ask("POST", "/v1/chat/completions", body)
        assert "x-cache" not in answer.headers
    gateway.put(service(replica, route="chat", cache={"ttl": "1h", "sampled": True}))
    answers = [gateway.ask("POST", "/v1/chat/completions", body) for _ in range(2)]
    assert [item.headers["x-cache"] for item in answers] == ["miss", "hit"]


def test_an_answer_that_is_too_long_goes_through_and_is_not_kept(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: h.reply(200, b"x" * 5000))
    gateway.put(service(replica, cache={"ttl": "1h", "entryBytesMax": 4096}))
    for _ in range(2):
        assert len(gateway.infer(body=BODY).text) == 5000
    assert len(replica.requests) == 2
    chunked = Replica(tmp_path, lambda h: (h.begin("text/plain"), h.piece(b"y" * 5000), h.end()))
    gateway.put(service(chunked, cache={"ttl": "1h", "entryBytesMax": 4096}))
    for _ in range(2):
        assert len(gateway.infer(body=BODY).text) == 5000
    assert len(chunked.requests) == 2
    assert figures(gateway)["cacheEntries"] == 0
