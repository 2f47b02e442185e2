"""Limits and turns of the gateway: never above, settled with what was used, over workers and kills."""
import collections
import json
import re
import threading

import pytest

from gateway import Gateway, Replica, key, read_to_end, send_raw, service
from muster import COMMAND_S, wait_until


@pytest.fixture
def gateway(tmp_path):
    instance = Gateway(tmp_path / "data")
    try:
        yield instance.start(workers=4)
    finally:
        instance.teardown()
        print(instance.log())


def limit(what, most, per=None):
    return {"what": what, "most": most, **({"per": per} if per else {})}


def chat(handler, input_tokens=10, output_tokens=5):
    handler.reply(200, {"choices": [], "usage": {
        "prompt_tokens": input_tokens, "completion_tokens": output_tokens}})


def at_once(count, ask):
    """The answers of that many clients that begin together."""
    barrier, answers, lock = threading.Barrier(count), [], threading.Lock()

    def client(number):
        barrier.wait()
        answer = ask(number)
        with lock:
            answers.append(answer)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def metrics(gateway):
    """What is counted by service: {(name, reason): value}."""
    found = {}
    for line in gateway.control("GET", "/metrics").text.splitlines():
        match = re.match(r'muster_gateway_service_(\w+)\{service="[^"]*"(?:,reason="(\w+)")?\} (\d+)',
                         line)
        if match:
            found[match[1], match[2]] = int(match[3])
    return found


def ask_chat(gateway, route="chat", who=None, **body):
    return gateway.ask("POST", "/v1/chat/completions", {"model": route, **body}, key=who)


# ---- requests -------------------------------------------------------------------------------

@pytest.mark.parametrize("whose", ["key", "address", "all", "team", "token"])
def test_64_clients_at_once_get_no_more_than_the_limit(gateway, tmp_path, whose):
    replica, limits = Replica(tmp_path), [limit("requests", 20, "hour")]
    holder, teams, options = key("k"), [], {}
    if whose in ("key", "address", "all"):
        options["limits"] = {whose: limits}
    elif whose == "token":
        holder["serving"] = {"limits": limits}
    else:
        teams = [{"team": "shop", "serving": {"limits": limits}}]
        holder["counts"] = ["shop"]
    gateway.put(service(replica, access="known", **options), keys=[holder], teams=teams)
    answers = at_once(64, lambda _: gateway.infer(key="k"))
    statuses = collections.Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 429} and statuses[200] <= 20
    # Where several met right at the limit all of them may have been refused.
    while gateway.infer(key="k").status == 200:
        statuses[200] += 1
    assert statuses[200] == 20 == len(replica.requests)
    counted = metrics(gateway)
    assert counted["admitted_total", None] == 20
    assert counted["refused_total", "requests"] == 64 + 1 - 20


def test_a_refusal_says_what_and_when_in_each_protocol(gateway, tmp_path):
    replica = Replica(tmp_path, chat)
    gateway.put(service(replica, route="chat", limits={"all": [limit("requests", 1, "hour")]}))
    first = ask_chat(gateway)
    assert first.status == 200
    assert first.headers["x-ratelimit-limit-requests"] == "1"
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"1h\dm\d+s|1h0m\d+s|59m\d+s", first.headers["x-ratelimit-reset-requests"])
    refused = ask_chat(gateway)
    assert refused.status == 429
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert "1 requests an hour" in refused.json["error"]["message"]
    assert 3600 - 1 <= int(refused.headers["retry-after"]) <= 3600 + 240
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    oip = gateway.infer("chat")
    assert oip.status == 429 and "1 requests an hour" in oip.json["error"]


def test_retry_after_is_honest(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path), limits={"all": [limit("requests", 3, "second")]}))
    statuses = [gateway.infer().status for _ in range(3)]
    assert statuses == [200] * 3
    refused = gateway.infer()
    if refused.status == 429:  # on a slow machine the second may be over
        assert refused.headers["retry-after"] in ("1", "2")
    wait_until(lambda: gateway.infer().status == 200, COMMAND_S, "the limit to admit again")


def test_what_has_no_limit_is_told_nothing(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path)))
    answer = gateway.infer()
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_concurrency_is_what_is_under_way(gateway, tmp_path):
    release = threading.Event()

    def answer(handler):
        release.wait(COMMAND_S)
        handler.reply(200, {})

    replica = Replica(tmp_path, answer)
    gateway.put(service(replica, limits={"all": [limit("concurrency", 5)]}))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.infer().status))
               for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(replica.requests) == 5, COMMAND_S, "five requests under way")
    refused = gateway.infer()
    assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
    assert "5 requests at once" in refused.json["error"]
    release.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * 5
    assert [gateway.infer().status for _ in range(10)] == [200] * 10


# ---- tokens and money -----------------------------------------------------------------------

def left(answer):
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_tokens_are_reserved_and_settled_with_what_was_reported(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: chat(h, 10, 5))
    gateway.put(service(replica, route="chat", access="known",
                        limits={"key": [limit("tokens", 1000, "hour")]}), keys=[key("k"), key("j")])
    first = ask_chat(gateway, who="k", max_tokens=900)
    # While it was under way all it might need was taken; afterwards what it did.
    assert first.status == 200 and left(first) <= 100
    second = ask_chat(gateway, who="k", max_tokens=900)
    assert second.status == 200
    assert 1000 - 15 - 900 - 60 <= left(second) <= 1000 - 15 - 900
    too_large = ask_chat(gateway, who="k", max_tokens=400, n=3)
    assert too_large.status == 429 and "ask for less" in too_large.json["error"]["message"]
    assert "retry-after" not in too_large.headers
    assert left(ask_chat(gateway, who="j", max_tokens=900)) > 50


def test_64_clients_at_once_stay_below_a_limit_of_tokens(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: chat(h, 10, 10))
    gateway.put(service(replica, route="chat",
                        limits={"all": [limit("outputTokens", 200, "hour")]}))
    at_once(64, lambda _: ask_chat(gateway, max_tokens=10))
    for _ in range(64):
        ask_chat(gateway, max_tokens=10)
    # Each used what it reserved: exactly so many fit.
    assert len(replica.requests) == 20


def stream(handler, events, usage=None, wait=None):
    handler.begin()
    for number in range(events):
        handler.piece(b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % number)
    if wait:
        wait.wait(COMMAND_S)
    if usage:
        handler.piece(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
    handler.piece(b"data: [DONE]\n\n")
    handler.end()


def test_64_streams_at_once_deliver_no_more_than_the_limit(gateway, tmp_path):
    delivered, lock = [0], threading.Lock()

    def answer(handler):
        wanted = json.loads(handler.body)["max_tokens"]
        stream(handler, wanted, {"prompt_tokens": 1, "completion_tokens": wanted})
        with lock:
            delivered[0] += wanted

    gateway.put(service(Replica(tmp_path, answer), route="chat",
                        limits={"all": [limit("outputTokens", 300, "hour")]}))
    answers = at_once(64, lambda number: ask_chat(gateway, stream=True, max_tokens=7 + number % 7))
    assert {answer.status for answer in answers} == {200, 429}
    for wanted in (13, 7, 3, 1, 1, 1):
        while ask_chat(gateway, stream=True, max_tokens=wanted).status == 200:
            pass
    assert delivered[0] == 300


def remaining_output(gateway):
    """What a limit of output tokens has left: the largest wish that it takes."""
    low, high = 0, 1001
    while high - low > 1:
        middle = (low + high) // 2
        answer = ask_chat(gateway, max_tokens=middle, nothing=True)
        low, high = (middle, high) if answer.status != 429 else (low, middle)
    return low


def test_streams_settle_with_usage_or_with_what_came(gateway, tmp_path):
    def answer(handler):
        body = json.loads(handler.body)
        if body.get("nothing"):
            handler.reply(400, {"error": "nothing"})  # costs no tokens
        else:
            usage = {"prompt_tokens": 1, "completion_tokens": 100} if body.get("usage") else None
            stream(handler, 30, usage)

    gateway.put(service(Replica(tmp_path, answer), route="chat",
                        limits={"all": [limit("outputTokens", 1000, "day")]}))
    assert ask_chat(gateway, stream=True, usage=True, max_tokens=500).status == 200
    assert remaining_output(gateway) == 900
    assert ask_chat(gateway, stream=True, max_tokens=500).status == 200
    # 30 events and [DONE].
    assert remaining_output(gateway) == 900 - 31


def test_a_client_that_goes_away_pays_for_what_it_got(gateway, tmp_path):
    gone, first = threading.Event(), threading.Event()

    def answer(handler):
        if json.loads(handler.body).get("nothing"):
            handler.reply(400, {})
            return
        first.set()
        stream(handler, 20, wait=gone)

    gateway.put(service(Replica(tmp_path, answer), route="chat",
                        limits={"all": [limit("outputTokens", 1000, "day")]}))
    body = b'{"model":"chat","stream":true,"max_tokens":800}'
    connection = send_raw(gateway.address, b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                          b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    data = b""
    while data.count(b"data: ") < 20:
        data += connection.recv(65536)
    assert remaining_output(gateway) == 200
    connection.close()
    wait_until(lambda: remaining_output(gateway) == 1000 - 20, COMMAND_S, "it to be settled")
    gone.set()


def test_money_goes_by_the_services_price(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: chat(h, 100, 100))
    price = {"requests": 1, "inputTokens": 2, "outputTokens": 8}
    gateway.put(service(replica, route="chat",
                        limits={"all": [limit("money", 2.1, "month")], "price": price}))
    # 0.001 + 0.2 + 0.8: two fit, and a third only if it asks for little.
    assert [ask_chat(gateway, max_tokens=100).status for _ in range(3)] == [200, 200, 429]
    refused = ask_chat(gateway, max_tokens=100)
    assert "2.100000 of the currency a month" in refused.json["error"]["message"]
    # A request by itself has a price too.
    gateway.put(service(replica, route="chat", limits={
        "key": [], "all": [limit("money", 0.01, "day")], "price": {"requests": 1}}))
    assert [gateway.infer("chat").status for _ in range(11)] == [200] * 10 + [429]


# ---- changes and ends -----------------------------------------------------------------------

def test_a_limit_that_changes_goes_on_with_its_count(gateway, tmp_path):
    replica = Replica(tmp_path)

    def put(most):
        gateway.put(service(replica, limits={"all": [limit("requests", most, "day")]}))

    put(5)
    assert [gateway.infer().status for _ in range(6)] == [200] * 5 + [429]
    put(7)
    assert [gateway.infer().status for _ in range(3)] == [200] * 2 + [429]
    put(3)
    assert gateway.infer().status == 429
    gateway.put(service(replica))
    assert gateway.infer().status == 200


def test_no_request_is_dropped_while_limits_change(gateway, tmp_path):
    replica, stop = Replica(tmp_path), threading.Event()
    statuses = collections.Counter()

    def ask():
        while not stop.is_set():
            statuses[gateway.infer().status] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    gateway.put(service(replica))
    for thread in threads:
        thread.start()
    for number in range(40):
        limits = {"all": [limit("requests", 100000 + number, "hour"), limit("concurrency", 100)]}
        queue = {"concurrency": number % 3}
        gateway.put(service(replica, **({"limits": limits, "queue": queue} if number % 4 else {})))
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}


def test_counts_survive_a_kill_but_nothing_is_under_way_then(gateway, tmp_path):
    release = threading.Event()

    def answer(handler):
        if handler.headers["X-Stay"]:
            release.wait(COMMAND_S)
        handler.reply(200, {})

    replica = Replica(tmp_path, answer)
    limits = {"all": [limit("requests", 5, "day"), limit("concurrency", 2)]}
    gateway.put(service(replica, limits=limits))
    assert [gateway.infer().status for _ in range(2)] == [200] * 2
    raw = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nX-Stay: 1\r\nContent-Length: 2\r\n\r\n{}"
    connections = [send_raw(gateway.address, raw) for _ in range(2)]
    wait_until(lambda: len(replica.requests) == 4, COMMAND_S, "two requests under way")
    gateway.kill9()
    release.set()
    for connection in connections:
        read_to_end(connection)
    gateway.start(workers=2)
    assert [gateway.infer().status for _ in range(2)] == [200, 429]


# ---- turns ----------------------------------------------------------------------------------

class Slow:
    """A replica that answers when it is told to, and knows who asked in which order."""

    def __init__(self, folder):
        self.order, self.under_way, self.most = [], 0, 0
        self.lock, self.turns = threading.Lock(), threading.Semaphore(0)
        self.replica = Replica(folder, self.answer)

    def answer(self, handler):
        with self.lock:
            self.order.append(handler.headers["X-Who"])
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.turns.acquire(timeout=COMMAND_S)
        with self.lock:
            self.under_way -= 1
        handler.reply(200, {})


def begin(gateway, who, count, answers, **options):
    def ask():
        answer = gateway.infer(headers={"X-Who": who, **options.get("headers", {})},
                               key=options.get("key"))
        answers.append((who, answer.status))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def waiting(gateway):
    return metrics(gateway).get(("waiting", None), 0)


def test_tenants_take_turns_whoever_came_first(gateway, tmp_path):
    slow, answers = Slow(tmp_path), []
    teams = [{"team": "big", "serving": {"weight": 2}}, {"team": "small", "serving": {"weight": 1.001}}]
    keys = [{**key("b"), "counts": ["big"]}, {**key("s"), "counts": ["small"]}, key("late")]
    gateway.put(service(slow.replica, access="known", queue={"concurrency": 1, "wait": "60s"}),
                keys=keys, teams=teams)
    threads = begin(gateway, "first", 1, answers, key="late")
    wait_until(lambda: slow.order == ["first"], COMMAND_S, "the first to be there")
    threads += begin(gateway, "small", 12, answers, key="s")
    wait_until(lambda: waiting(gateway) == 12, COMMAND_S, "the small to wait")
    threads += begin(gateway, "big", 12, answers, key="b")
    wait_until(lambda: waiting(gateway) == 24, COMMAND_S, "the big to wait")
    for done in range(1, 26):
        slow.turns.release()
        wait_until(lambda: len(slow.order) == min(25, done + 1), COMMAND_S, "the next")
    for thread in threads:
        thread.join()
    assert slow.most == 1 and {status for _, status in answers} == {200}
    shares = collections.Counter(slow.order[1:13])
    assert 7 <= shares["big"] <= 9


def test_priorities_go_first_within_what_a_key_may(gateway, tmp_path):
    slow, answers = Slow(tmp_path), []
    urgent = {**key("u"), "serving": {"priority": 1000}}
    gateway.put(service(slow.replica, access="known", queue={"concurrency": 1, "wait": "60s"}),
                keys=[key("k"), urgent])
    threads = begin(gateway, "first", 1, answers, key="k")
    wait_until(lambda: slow.order == ["first"], COMMAND_S, "the first to be there")
    steps = [("low", "u", {"X-Muster-Priority": "low"}), ("normal", "k", {}),
             ("no more than it may", "k", {"X-Muster-Priority": "urgent"}), ("urgent", "u", {})]
    for number, (who, its_key, headers) in enumerate(steps, 1):
        threads += begin(gateway, who, 1, answers, key=its_key, headers=headers)
        wait_until(lambda: waiting(gateway) == number, COMMAND_S, "it to wait")
    for _ in range(5):
        slow.turns.release()
    for thread in threads:
        thread.join()
    assert slow.order == ["first", "urgent", "normal", "no more than it may", "low"]


def test_who_would_wait_too_long_is_refused_and_who_waits_in_vain_is_told(gateway, tmp_path):
    slow, answers = Slow(tmp_path), []
    gateway.put(service(slow.replica, queue={"concurrency": 2, "length": 3, "wait": "300ms"}))
    threads = begin(gateway, "a", 2, answers)
    wait_until(lambda: len(slow.order) == 2, COMMAND_S, "both to be there")
    threads += begin(gateway, "b", 3, answers)
    answers_at_once = [gateway.infer().status for _ in range(1)]
    for thread in threads[2:]:
        thread.join()
    assert [status for who, status in answers if who == "b"] == [503] * 3
    assert answers_at_once == [503]
    slow.turns.release(2)
    for thread in threads:
        thread.join()
    assert slow.most == 2
    counted = metrics(gateway)
    assert counted["refused_total", "waited"] + counted.get(("refused_total", "busy"), 0) == 4
    assert waiting(gateway) == 0
    slow.turns.release(8)
    assert [gateway.infer().status for _ in range(8)] == [200] * 8


def test_a_client_that_goes_away_while_it_waits_leaves_its_turn_to_others(gateway, tmp_path):
    slow, answers = Slow(tmp_path), []
    gateway.put(service(slow.replica, queue={"concurrency": 1, "wait": "60s"}))
    threads = begin(gateway, "first", 1, answers)
    wait_until(lambda: slow.order == ["first"], COMMAND_S, "the first to be there")
    raw = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    connections = [send_raw(gateway.address, raw) for _ in range(6)]
    wait_until(lambda: waiting(gateway) == 6, COMMAND_S, "them to wait")
    for connection in connections:
        connection.close()
    wait_until(lambda: waiting(gateway) == 0, COMMAND_S, "them to have left")
    threads += begin(gateway, "second", 1, answers)
    slow.turns.release(2)
    for thread in threads:
        thread.join()
    assert slow.order == ["first", "second"]


def test_64_clients_never_are_more_than_the_replicas_take(gateway, tmp_path):
    under_way, most, lock = [0], [0], threading.Lock()

    def answer(handler):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        with lock:
            under_way[0] -= 1
        handler.reply(200, {})

    replicas = [Replica(tmp_path, answer) for _ in range(2)]
    gateway.put(service(*replicas, queue={"concurrency": 2, "wait": "60s", "length": 1000}))
    statuses = at_once(64, lambda _: [gateway.infer().status for _ in range(5)])
    assert {status for each in statuses for status in each} == {200}
    assert most[0] <= 4
