"""The gateway between clients and replicas: protocols, streaming, retries, keys, routes."""
import http.client
import json
import os
import queue
import subprocess
import threading

import pytest

from gateway import (USAGE_COUNTERS, Gateway, Replica, key, read_to_end, read_usage, send_raw,
                     service)
from muster import BINARY, COMMAND_S, wait_until

SANITIZED = os.environ.get("MUSTER_SANITIZER", "")


# ---- protocols ------------------------------------------------------------------------------

def test_a_request_reaches_its_replica_and_the_answer_comes_back(gateway, tmp_path):
    replica = Replica(tmp_path, lambda h: h.reply(
        200, b"\x00\x01binary", {"Inference-Header-Content-Length": "7", "X-Own": "1"}))
    gateway.put(service(replica))
    answer = gateway.infer(body=b'{"a":1}\x00\xff', headers={
        "Inference-Header-Content-Length": "7", "X-Request-ID": "mine", "traceparent": "00-a-b-01",
        "Authorization": "Bearer secret", "X-API-Key": "secret", "Connection": "X-Hop",
        "X-Hop": "1", "TE": "trailers"})
    assert (answer.status, answer.text) == (200, "\x00\x01binary")
    assert answer.headers["inference-header-content-length"] == "7"
    assert answer.headers["x-request-id"] == "mine"
    seen = replica.requests[0]
    assert seen.path == "/v2/models/digits/infer"
    assert seen.body == b'{"a":1}\x00\xff'
    assert seen.headers["Inference-Header-Content-Length"] == "7"
    assert seen.headers["X-Request-ID"] == "mine"
    assert seen.headers["traceparent"] == "00-a-b-01"
    for name in ("Authorization", "X-API-Key", "X-Hop", "TE"):
        assert seen.headers[name] is None


def test_the_open_inference_protocol(gateway, tmp_path):
    one, two = Replica(tmp_path), Replica(tmp_path, version=2)
    gateway.put(service(one, two), service(route="chat", protocols=["openai"]))
    assert gateway.ask("GET", "/v2").json["name"] == "muster"
    assert gateway.ask("GET", "/v2/health/live").status == 200
    assert gateway.ask("GET", "/v2/health/ready").status == 200
    assert gateway.ask("GET", "/v2/models/digits/ready").status == 200
    assert gateway.ask("GET", "/v2/models/digits/versions/2/ready").status == 200
    assert gateway.ask("GET", "/v2/models/digits/versions/3/ready").status == 503
    gone = gateway.ask("POST", "/v2/models/digits/versions/3/infer", b"{}")
    assert (gone.status, gone.json["error"]) == (503, 'no replica of "digits" with version 3 is ready')
    for _ in range(4):
        answer = gateway.ask("POST", "/v2/models/digits/versions/2/infer?a=b", b"{}")
        assert answer.json == {"replica": two.id}
    assert two.requests[0].path == "/v2/models/digits/infer?a=b"
    assert gateway.ask("GET", "/v2/models/digits/versions/1").json == {"replica": one.id}
    assert [m["name"] for m in gateway.ask("POST", "/v2/repository/index").json] == ["digits"]
    missing = gateway.ask("POST", "/v2/models/none/infer", b"{}")
    assert missing.status == 401 and "error" in missing.json
    wrong = gateway.ask("GET", "/v2/models/digits/infer")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST, OPTIONS")
    assert gateway.ask("GET", "/v2/else").json["error"]
    assert gateway.ask("GET", "/other").json["status"] == 404


def test_the_openai_api_finds_the_model_in_the_body(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, route="chat"), keys=[key("k")])
    for path in ("chat/completions", "completions", "embeddings", "responses"):
        body = {"messages": [{"model": "no"}], "model": "chat"}
        assert gateway.ask("POST", f"/v1/{path}", body, key="unknown").status == 200
        assert replica.requests[-1].path == f"/v1/{path}"
        assert json.loads(replica.requests[-1].body) == body
    missing = gateway.ask("POST", "/v1/completions", {"model": "none"}, key="k")
    assert missing.status == 404
    assert missing.json["error"]["code"] == "model_not_found"
    for body in ({}, [], {"model": 7}, "nonsense"):
        body = body if isinstance(body, str) else json.dumps(body)
        answer = gateway.ask("POST", "/v1/completions", body, key="k")
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    models = gateway.ask("GET", "/v1/models").json
    assert [model["id"] for model in models["data"]] == ["chat"]
    assert gateway.ask("GET", "/v1/models/chat").json["id"] == "chat"
    assert len(replica.requests) == 4


# ---- keys -----------------------------------------------------------------------------------

def test_keys_and_access(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, route="team", access="team"),
                service(replica, route="known", access="known"),
                service(replica, route="public", access="public"),
                keys=[key("ann"), key("bob", teams=["speech"]), key("old", expires_ms=1),
                      key("few", services=["vision/known"])])
    expected = {"ann": (200, 200, 200), "bob": (404, 200, 200), "few": (404, 200, 200),
                "old": (401, 401, 200), "wrong": (401, 401, 200), None: (401, 401, 200)}
    for text, statuses in expected.items():
        for route, status in zip(("team", "known", "public"), statuses):
            answer = gateway.infer(route, key=text)
            assert answer.status == status, (text, route, answer)
    # A name that is not there and one that may not be known are told in the same words.
    hidden, absent = gateway.infer("team", key="bob"), gateway.infer("none", key="bob")
    assert hidden.status == absent.status == 404
    assert hidden.text.replace("team", "none") == absent.text
    assert gateway.infer("team").headers["www-authenticate"].startswith("Bearer")
    assert gateway.infer("team", headers={"X-API-Key": "ann"}).status == 200
    # What is listed is what may be asked, in both protocols.
    for text in ("ann", "bob", "few", None):
        may = [route for route, status in zip(("team", "known", "public"), expected[text]) if status == 200]
        listed = gateway.ask("GET", "/v1/models", key=text)
        index = gateway.ask("POST", "/v2/repository/index", key=text)
        assert [model["id"] for model in listed.json["data"]] == [entry["name"] for entry in index.json] == may
    gateway.put(service(replica, route="team", access="team"))
    assert gateway.infer("team", key="ann").status == 401


# ---- streaming ------------------------------------------------------------------------------

def test_events_arrive_before_the_end(gateway, tmp_path):
    go_on = threading.Semaphore(0)

    def answer(handler):
        handler.begin()
        for i in range(3):
            handler.piece(b"data: %d\n\n" % i)
            assert go_on.acquire(timeout=COMMAND_S)
        handler.piece(b'data: {"usage":{"prompt_tokens":7,"completion_tokens":12}}\n\n')
        handler.end()

    gateway.put(service(Replica(tmp_path, answer)))
    connection = gateway.connect()
    connection.request("POST", "/v1/completions", json.dumps({"model": "digits", "stream": True}))
    response = connection.getresponse()
    for i in range(3):
        assert response.readline() == b"data: %d\n" % i
        assert response.readline() == b"\n"
        go_on.release()
    assert b"usage" in response.read()
    connection.close()
    gateway.wait_access(lambda line: line["status"] == 200, "the line of the request")


def test_silence_in_a_stream_is_filled_between_events_only(tmp_path):
    go_on = threading.Event()

    def answer(handler):
        handler.begin()
        handler.piece(b"data: whole\n\n")
        assert go_on.wait(COMMAND_S)
        handler.piece(b"data: half")
        handler.piece(b" and half\n\n")
        handler.end()

    gateway = Gateway(tmp_path / "data")
    try:
        gateway.start("--event-keep-alive", "1s")
        gateway.put(service(Replica(tmp_path, answer)))
        connection = gateway.connect()
        connection.request("POST", "/v2/models/digits/infer", b"{}")
        response = connection.getresponse()
        assert response.readline() == b"data: whole\n"
        assert response.readline() == b"\n"
        assert response.readline() == b": keep-alive\n"
        go_on.set()
        rest = response.read().replace(b": keep-alive\n\n", b"").strip()
        assert rest == b"data: half and half"
        connection.close()
    finally:
        gateway.teardown()


def test_a_large_body_streams_both_ways_with_bounded_memory(gateway, tmp_path):
    size = 64 << 20

    def answer(handler):
        handler.begin("application/octet-stream")
        left = int(handler.headers["Content-Length"])
        while left > 0:
            data = handler.rfile.read(min(left, 1 << 16))
            left -= len(data)
            handler.piece(data)
        handler.end()

    gateway.put(service(Replica(tmp_path, answer, read_body=False), body_bytes_max=size))
    connection = gateway.connect()

    def send():
        connection.putrequest("POST", "/v2/models/digits/infer")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        for _ in range(size >> 20):
            connection.send(b"x" * (1 << 20))

    sender = threading.Thread(target=send)
    sender.start()
    # The client takes nothing until the sender is held back: the gateway holds little of it.
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as status:
        before = int(status.read().split("VmRSS:")[1].split()[0])
    wait_until(lambda: gateway.outstanding(gateway.status()["endpoints"][0]["replica"]) == 1,
               COMMAND_S, "the request to be under way")
    response = http.client.HTTPResponse(connection.sock, method="POST")
    response.begin()
    received = sum(iter(lambda: len(response.read(1 << 20)), 0))
    sender.join(COMMAND_S)
    assert (response.status, received) == (200, size)
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as status:
        peak = int(status.read().split("VmHWM:")[1].split()[0])
    # A sanitizer's own memory is no figure of ours.
    assert SANITIZED or peak - before < 24 << 10
    connection.close()


def test_a_client_that_goes_away_cancels_the_request_at_the_replica(gateway, tmp_path):
    gone = threading.Event()

    def answer(handler):
        handler.begin()
        handler.piece(b"data: 1\n\n")
        if handler.rfile.read(1) == b"":
            gone.set()

    replica = Replica(tmp_path, answer)
    gateway.put(service(replica))
    connection = send_raw(gateway.address, b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
                                           b"Content-Length: 2\r\n\r\n{}")
    while b"data: 1" not in connection.recv(65536):
        pass
    connection.close()
    assert gone.wait(COMMAND_S)
    line = gateway.wait_access(lambda line: line["end"] == "cancelled", "a cancelled request")
    assert line["replica"] == replica.id
    wait_until(lambda: gateway.outstanding(replica.id) == 0, COMMAND_S, "no request outstanding")


def test_a_replica_that_breaks_off_is_not_taken_for_complete(gateway, tmp_path):
    def answer(handler):
        handler.begin()
        handler.piece(b"data: 1\n\n")
        handler.connection.shutdown(2)

    replica, other = Replica(tmp_path, answer), Replica(tmp_path, answer)
    gateway.put(service(replica, other))
    connection = send_raw(gateway.address, b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
                                           b"Content-Length: 2\r\n\r\n{}")
    data = read_to_end(connection)
    assert b"data: 1" in data and b"\r\n0\r\n\r\n" not in data
    assert gateway.wait_access(lambda line: line["end"] == "broken", "a broken answer")
    assert len(replica.requests) + len(other.requests) == 1


# ---- retries --------------------------------------------------------------------------------

def hang_up(handler):
    handler.connection.shutdown(2)
    handler.close_connection = True


@pytest.mark.parametrize("retry, status", [("safe", 200), ("connect", 502), ("never", 502)])
def test_a_replica_that_dies_before_answering(gateway, tmp_path, retry, status):
    bad = Replica(tmp_path, hang_up)
    good = Replica(tmp_path)
    gateway.put(service(bad, good, retry=retry))
    statuses = [gateway.infer(body=b"same").status for _ in range(8)]
    assert set(statuses) == ({200} if status == 200 else {200, 502})
    assert bad.requests
    assert all(request.body == b"same" for request in good.requests)


def test_no_more_than_three_attempts_are_made(gateway, tmp_path):
    replicas = [Replica(tmp_path, hang_up) for _ in range(5)]
    gateway.put(service(*replicas))
    assert gateway.infer().status == 502
    assert sorted(len(replica.requests) for replica in replicas) == [0, 0, 1, 1, 1]
    line = gateway.wait_access(lambda line: line["status"] == 502, "the line")
    assert line["retries"] == 2


def test_a_replica_that_refuses_connections_is_avoided(gateway, tmp_path):
    bad, good = Replica(tmp_path), Replica(tmp_path)
    bad.stop()
    gateway.put(service(bad, good, retry="connect"))
    for _ in range(20):
        assert gateway.infer().json == {"replica": good.id}


def test_the_crash_of_the_only_replica_does_not_show(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, retry="connect"))
    replica.stop()
    answers = queue.Queue()
    thread = threading.Thread(target=lambda: answers.put(gateway.infer().status))
    thread.start()
    wait_until(lambda: gateway.status()["waiting"] == 1, COMMAND_S, "the request to wait")
    replica.start()
    thread.join(COMMAND_S)
    assert answers.get_nowait() == 200


def test_without_any_replica_a_request_waits_and_is_told_when_to_come_again(gateway, tmp_path):
    gateway.put(service())
    answers = queue.Queue()
    thread = threading.Thread(target=lambda: answers.put(gateway.infer().status))
    thread.start()
    wait_until(lambda: gateway.status()["waiting"] == 1, COMMAND_S, "the request to wait")
    gateway.put(service(Replica(tmp_path)))
    thread.join(COMMAND_S)
    assert answers.get_nowait() == 200
    gateway.put(service())
    answer = gateway.infer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_slow_replica_is_a_timeout(gateway, tmp_path):
    end = threading.Event()
    gateway.put(service(Replica(tmp_path, lambda handler: end.wait(COMMAND_S)), timeout_ms=200))
    assert gateway.infer().status == 504
    end.set()


# ---- balancing and routes -------------------------------------------------------------------

def test_requests_go_to_the_replica_with_the_fewest_outstanding(gateway, tmp_path):
    end = threading.Event()

    def wait(handler):
        assert end.wait(COMMAND_S)
        handler.reply(200)

    replicas = [Replica(tmp_path, wait) for _ in range(3)]
    gateway.put(service(*replicas))
    threads = [threading.Thread(target=gateway.infer) for _ in range(12)]
    for count, thread in enumerate(threads, 1):
        thread.start()
        wait_until(lambda: sum(len(r.requests) for r in replicas) == count, COMMAND_S, "a request")
    assert [len(replica.requests) for replica in replicas] == [4, 4, 4]
    end.set()
    for thread in threads:
        thread.join(COMMAND_S)


def test_after_the_204_no_request_goes_to_a_replica_that_drains_or_is_gone(gateway, tmp_path):
    old, new = Replica(tmp_path), Replica(tmp_path)
    stop = threading.Event()
    statuses = []

    def ask_for_ever(_):
        count = 0
        connection = gateway.connect()
        while not stop.is_set():
            connection.request("POST", "/v2/models/digits/infer", b"{}")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            count += 1
        connection.close()
        return count

    gateway.put(service(old))
    threads = [threading.Thread(target=ask_for_ever, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for round_ in range(10):
        wait_until(lambda: old.requests, COMMAND_S, "requests at the old replica")
        gateway.put(service(new, old.route(draining=True)) if round_ % 2 else service(new))
        wait_until(lambda: gateway.outstanding(old.id) == 0, COMMAND_S, "the old one to be idle")
        wait_until(lambda: new.requests, COMMAND_S, "requests at the new replica")
        with old.lock:
            seen = len(old.requests)
        new.requests.clear()
        wait_until(lambda: len(new.requests) > 20, COMMAND_S, "more requests at the new replica")
        assert len(old.requests) == seen
        old, new = new, old
        new.requests.clear()
    stop.set()
    for thread in threads:
        thread.join(COMMAND_S)
    assert set(statuses) == {200}


def test_generations_and_refused_documents(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica), generation=7)
    older = json.dumps({"generation": 6, "keys": [], "services": []})
    assert gateway.control("PUT", "/routes", older).status == 409
    wrong = gateway.control("PUT", "/routes", '{"generation":8,"keys":[],"services":[{}]}')
    assert wrong.status == 400
    assert "services[0].route" in wrong.json["detail"]
    gateway.put(service(replica), generation=7)
    assert gateway.status()["generation"] == 7
    assert gateway.infer().status == 200
    assert gateway.control("GET", "/else").status == 404
    assert "muster_gateway_requests_total 1\n" in gateway.control("GET", "/metrics").text


def test_a_restart_goes_on_with_the_routes_on_disk(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path), access="team"), keys=[key("ann")])
    gateway.kill9()
    gateway.start()
    assert gateway.status()["generation"] == 1
    assert gateway.infer(key="ann").status == 200
    assert gateway.infer().status == 401
    assert gateway.stop() == 0
    path = os.path.join(gateway.data, "gateway", "routes.json")
    with open(path, "w", encoding="ascii") as routes:
        routes.write("{broken")
    gateway.start()
    assert "not used" in gateway.log()
    assert gateway.ask("GET", "/v2/health/ready").status == 503
    gateway.put(service(Replica(tmp_path)))
    assert gateway.infer().status == 200


def test_a_second_gateway_on_the_same_data_is_refused(gateway):
    done = subprocess.run([BINARY, "gateway", "--data", gateway.data, "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 5
    assert "another gateway" in done.stderr


def test_an_address_is_not_shared_with_another_gateway(gateway, tmp_path):
    done = subprocess.run(
        [BINARY, "gateway", "--data", str(tmp_path / "other"), "--listen", gateway.address],
        capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert (done.returncode, "listens on" in done.stderr) == (5, True)
    done = subprocess.run(
        [BINARY, "gateway", "--data", str(tmp_path / "other"), "--listen", "0.0.0.0:0"],
        capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert (done.returncode, "certificate" in done.stderr) == (2, True)


def test_the_end_waits_for_requests_under_way(gateway, tmp_path):
    begun, end = threading.Event(), threading.Event()

    def wait(handler):
        begun.set()
        assert end.wait(COMMAND_S)
        handler.reply(200)

    gateway.put(service(Replica(tmp_path, wait)))
    answers = queue.Queue()
    thread = threading.Thread(target=lambda: answers.put(gateway.infer().status))
    thread.start()
    assert begun.wait(COMMAND_S)
    gateway.process.terminate()
    wait_until(lambda: gateway.status()["draining"], COMMAND_S, "the gateway to drain")
    end.set()
    thread.join(COMMAND_S)
    assert answers.get_nowait() == 200
    assert gateway.process.wait(timeout=COMMAND_S) == 0


# ---- limits and hostility -------------------------------------------------------------------

def test_bodies_have_a_bound(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, body_bytes_max=1000))
    assert gateway.infer(body=b"x" * 1000).status == 200
    assert gateway.infer(body=b"x" * 1001).status == 413
    chunked = send_raw(gateway.address, b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
                                        b"Transfer-Encoding: chunked\r\n\r\n"
                                        b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")
    answer = read_to_end(chunked)
    assert answer.startswith(b"HTTP/1.1 413 ") and b'"error"' in answer
    big = json.dumps({"pad": "x" * 2000, "model": "digits"})
    assert gateway.ask("POST", "/v1/completions", big).status == 413
    assert len(replica.requests) == 1


HOSTILE = {
    "nothing": b"",
    "garbage": b"SSH-2.0-OpenSSH\r\n",
    "status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * (1 << 20),
    "endless heads": b"HTTP/1.1 100 Continue\r\n\r\n" * 100000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_replica_that_answers_with_nonsense_is_a_bad_gateway(gateway, tmp_path, name):
    def raw(connection):
        try:
            connection.recv(65536)
            connection.sendall(HOSTILE[name])
            connection.shutdown(1)
            connection.recv(65536)
        except OSError:
            pass

    gateway.put(service(Replica(tmp_path, raw=raw), Replica(tmp_path, raw=raw)))
    assert gateway.infer().status == 502
    assert gateway.ask("GET", "/v2/health/live").status == 200


def test_what_follows_an_answer_is_no_answer_to_the_next_request(gateway, tmp_path):
    def raw(connection):
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"
                               b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")

    gateway.put(service(Replica(tmp_path, raw=raw)))
    connection = gateway.connect()
    for _ in range(20):
        connection.request("POST", "/v2/models/digits/infer", b"{}")
        assert connection.getresponse().read() == b"true"
    connection.close()


def test_a_socket_that_is_a_link_or_somebody_elses_is_not_used(gateway, tmp_path):
    replica = Replica(tmp_path)
    link = str(tmp_path / "link.sock")
    os.symlink(replica.path, link)
    gateway.put(service(replica.route(address=f"unix:{link}")))
    assert gateway.infer().status == 503
    gateway.put(service(replica.route(uid=os.getuid() + 1)))
    assert gateway.infer().status == 503
    assert not replica.requests


def test_a_replica_says_nothing_about_the_whole_address(gateway, tmp_path):
    """Others' services are asked at the same one."""
    fields = {"Alt-Svc": 'h3="evil:443"', "Strict-Transport-Security": "max-age=9", "X-Own": "1",
              "Clear-Site-Data": "*"}
    gateway.put(service(Replica(tmp_path, lambda h: h.reply(200, b"{}", fields))))
    answer = gateway.infer()
    assert [name for name in fields if name.lower() in answer.headers] == ["X-Own"]


def test_a_slow_client_does_not_hold_a_replica(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica))
    slow = send_raw(gateway.address, b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
                                     b"Content-Length: 10\r\n\r\n{")
    wait_until(lambda: gateway.status()["open"] == 1, COMMAND_S, "the request to be open")
    assert gateway.infer().status == 200
    assert len(replica.requests) == 1 and gateway.outstanding(replica.id) == 0
    slow.close()
    wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "the request to be gone")


def test_requests_are_not_smuggled_past_the_keys(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica))
    smuggled = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    for head in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                 b"Content-Length: 5\r\nContent-Length: 6\r\n",
                 b"Transfer-Encoding: chunked, identity\r\n", b"Content-Length : 0\r\n"):
        connection = send_raw(gateway.address, b"POST /v2/models/digits/infer HTTP/1.1\r\n"
                                               b"Host: a\r\n" + head + b"\r\n" + smuggled)
        assert read_to_end(connection).startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert not replica.requests


# ---- files ----------------------------------------------------------------------------------

def test_the_access_log_has_a_line_for_each_request_and_no_secret(gateway, tmp_path):
    replica = Replica(tmp_path, version=3)
    gateway.put(service(replica, access="team"), keys=[key("topsecret")])
    gateway.infer(body=b"bodysecret", key="topsecret", headers={"X-Request-ID": "r1"})
    gateway.ask("POST", "/v2/models/digits/infer?q=querysecret", b"{}", key="keysecret")
    line = gateway.wait_access(lambda line: line["id"] == "r1", "the line")
    assert (line["key"], line["route"], line["version"], line["replica"], line["status"]) == (
        "id-topsecret", "digits", 3, replica.id, 200)
    assert line["bytesIn"] == 10 and line["bytesOut"] > 0 and line["retries"] == 0
    assert 0 <= line["firstMs"] <= line["totalMs"]
    gateway.wait_access(lambda line: line["status"] == 401, "the refused one")
    with open(os.path.join(gateway.data, "gateway", "access.log"), encoding="utf-8") as log:
        text = log.read()
    for secret in ("bodysecret", "querysecret", "keysecret", '"topsecret'):
        assert secret not in text


def test_sighup_opens_the_access_log_anew(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path)))
    path = os.path.join(gateway.data, "gateway", "access.log")
    gateway.infer(headers={"X-Request-ID": "before"})
    gateway.wait_access(lambda line: line["id"] == "before", "the first line")
    os.rename(path, path + ".moved")
    gateway.signal(1)
    wait_until(lambda: os.path.exists(path), COMMAND_S, "a new file")
    gateway.infer(headers={"X-Request-ID": "after"})
    gateway.wait_access(lambda line: line["id"] == "after", "the second line")


# ---- usage ----------------------------------------------------------------------------------

def usage_when(gateway, requests):
    """The usage over all workers. So many requests are in it: they count before they are answered."""
    totals = {}
    for item in read_usage(gateway.data):
        about = tuple(item[name] for name in ("service", "version", "replica", "key"))
        total = totals.setdefault(about, dict(item, **dict.fromkeys(USAGE_COUNTERS, 0), latency=0))
        for name in USAGE_COUNTERS:
            total[name] += item[name]
        total["latency"] += sum(item["latency"])
    assert sum(total["requests"] for total in totals.values()) == requests
    return list(totals.values())


def test_usage_counts_what_was_asked_and_answered(gateway, tmp_path):
    answers = {"ok": (200, {"usage": {"prompt_tokens": 7, "completion_tokens": 12}}),
               "no": (400, {}), "broken": (500, {})}
    replica = Replica(tmp_path, lambda h: h.reply(*answers[json.loads(h.body)["prompt"]]), version=3)
    gateway.put(service(replica, access="team", body_bytes_max=100), keys=[key("ann")])
    for prompt in ("ok", "ok", "no", "broken"):
        gateway.ask("POST", "/v1/completions", {"model": "digits", "prompt": prompt}, key="ann")
    gateway.infer(body=b"x" * 101, key="ann")
    gateway.infer(route="none", key="ann")
    gateway.infer(key="wrong")
    asked, local = sorted(usage_when(gateway, 5), key=lambda item: -item["replica"])
    assert (asked["service"], asked["version"], asked["replica"], asked["key"]) == (
        "vision/digits", 3, replica.id, "id-ann")
    assert [asked[name] for name in ("requests", "succeeded", "refused", "failed")] == [4, 2, 1, 1]
    assert (asked["input_tokens"], asked["output_tokens"]) == (14, 24)
    assert asked["latency"] == 4 and asked["busy_us"] > 0
    assert asked["bytes_in"] == sum(len(request.body) for request in replica.requests)
    assert (local["replica"], local["refused"]) == (0, 1)


def test_tokens_of_a_stream_and_attempts_that_were_made_again(gateway, tmp_path):
    def stream(handler):
        handler.begin()
        for text in (b'{"usage":null}', b'{"choices":[],"usage":{"prompt_tokens":3,', b'[DONE]'):
            handler.piece(b"data: " + text)
            handler.piece(b'"completion_tokens":4}}\n\n' if b"choices" in text else b"\n\n")
        handler.end()

    good, bad = Replica(tmp_path, stream), Replica(tmp_path, hang_up)
    gateway.put(service(good, bad))
    for _ in range(4):
        assert gateway.ask("POST", "/v1/completions", {"model": "digits"}).status == 200
    series = {item["replica"]: item for item in usage_when(gateway, 4)}
    assert (series[good.id]["input_tokens"], series[good.id]["output_tokens"]) == (12, 16)
    assert series[bad.id]["retried"] == len(bad.requests) > 0
    assert series[bad.id]["requests"] == 0


def test_a_sigkill_under_load_loses_and_doubles_no_usage(gateway, tmp_path):
    threads_max = 16
    gateway.put(service(Replica(tmp_path), Replica(tmp_path)))
    answered = [0] * threads_max

    def ask_until_it_is_gone(i):
        connection = gateway.connect()
        try:
            while True:
                connection.request("POST", "/v2/models/digits/infer", b"{}")
                assert connection.getresponse().read()
                answered[i] += 1
        except (OSError, http.client.HTTPException):
            connection.close()

    threads = [threading.Thread(target=ask_until_it_is_gone, args=(i,)) for i in range(threads_max)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(answered) > 500, COMMAND_S, "some answers")
    gateway.kill9()
    for thread in threads:
        thread.join(COMMAND_S)
    counted = sum(item["requests"] for item in read_usage(gateway.data))
    assert sum(answered) <= counted <= sum(answered) + threads_max
    # The next gateway has files of its own; what was counted stays until the server has stored it.
    gateway.start()
    assert gateway.infer().status == 200
    series = read_usage(gateway.data)
    assert sum(item["requests"] for item in series) == counted + 1
    assert len({item["file"].partition("-")[0] for item in series}) == 2
