"""What both protocols say beyond the way that works: fields out of range, methods, errors, as the
published documents and Triton have them."""
import gzip
import json
import os

import pytest

from gateway import Replica, key, read_to_end, send_raw, service
from openai_schema import MODEL, SERVER, check, oip_answer, openai_answer
from openai_upstream import Upstream


@pytest.fixture
def replica(gateway, tmp_path):
    one = Replica(tmp_path)
    gateway.put(service(one))
    return one


HEAD_LENGTH = "Inference-Header-Content-Length"


@pytest.mark.parametrize("value, good", [
    ("0", True), ("2", True), ("10", True), ("000000000000000010", True),
    ("11", False), ("-1", False), ("+1", False), ("x", False), ("1x", False), ("0x2", False),
    ("1e1", False), ("2, 2", False), ("99999999999999999999", False), ("18446744073709551618", False)])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_end_of_the_json_is_within_the_body(gateway, replica, value, good, chunked):
    body = b"{}\x00\x01\x02\x03\x04\x05\x06\x07"
    sent = iter([body]) if chunked else body
    connection = gateway.connect()
    connection.request("POST", "/v2/models/digits/infer", sent, encode_chunked=chunked,
                       headers={HEAD_LENGTH: value, **({"Transfer-Encoding": "chunked"} if chunked else {})})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    if good:
        assert answer.status == 200 and replica.requests[0].headers[HEAD_LENGTH] == value
        return
    assert answer.status == 400 and HEAD_LENGTH in said["error"] and value[:40] in said["error"]
    assert not replica.requests


def test_the_end_of_the_json_is_said_once(gateway, replica):
    connection = send_raw(gateway.address, b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
                                           b"Content-Length: 4\r\nConnection: close\r\n"
                                           b"inference-header-content-length: 2\r\n"
                                           b"Inference-Header-Content-Length: 4\r\n\r\n{}{}")
    assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")
    connection.close()
    assert not replica.requests


def test_the_length_of_the_json_is_that_of_the_unpacked_body(gateway, replica):
    body = b"{}" + b"\0" * 498
    headers = {HEAD_LENGTH: "2", "Content-Encoding": "gzip"}
    packed = gzip.compress(body)
    assert len(packed) < 100
    assert gateway.infer(body=packed, headers=headers).status == 200
    assert replica.requests[0].headers["Content-Encoding"] is None
    assert replica.requests[0].body == body
    for length in ("501", "-1"):
        refused = gateway.infer(body=packed, headers={**headers, HEAD_LENGTH: length})
        assert refused.status == 400, length
    assert len(replica.requests) == 1


def test_a_long_body_is_refused_before_all_of_it_was_read(gateway, replica):
    size = 8 << 20
    connection = send_raw(gateway.address, (
        f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n"
        f"{HEAD_LENGTH}: {size + 1}\r\n\r\n").encode() + b"x" * (1 << 20))
    answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 400 ") and str(size) in answer
    assert not replica.requests


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/models/digits/ready", "/v1/models"])
def test_head_is_get_without_the_body(gateway, replica, path):
    asked, told = gateway.ask("HEAD", path), gateway.ask("GET", path)
    assert (asked.status, asked.text) == (told.status, "") == (200, "")
    assert asked.headers["content-length"] == told.headers["content-length"]


def test_head_at_a_replica(gateway, tmp_path):
    """What it announces is passed on, and the next answer is not taken for it."""
    def raw(connection):
        while data := connection.recv(65536):
            assert data.startswith(b"HEAD /v2/models/digits HTTP/1.1")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")

    gateway.put(service(Replica(tmp_path, raw=raw)))
    connection = send_raw(gateway.address, b"HEAD /v2/models/digits HTTP/1.1\r\nHost: a\r\n\r\n"
                                           b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n"
                                           b"Connection: close\r\n\r\n")
    said = read_to_end(connection)
    connection.close()
    assert said.count(b"HTTP/1.1 200 ") == 2 and b"Content-Length: 1234" in said
    assert said.endswith(b'{"live":true}\n')


@pytest.mark.parametrize("path, allowed", [
    ("/v2/models/digits", "GET, HEAD, OPTIONS"), ("/v1/chat/completions", "POST, OPTIONS")])
def test_options_says_what_may_be_done(gateway, replica, path, allowed):
    answer = gateway.ask("OPTIONS", path)
    assert (answer.status, answer.text, answer.headers["allow"]) == (204, "", allowed)
    assert "content-type" not in answer.headers
    wrong = gateway.ask("DELETE", path)
    assert (wrong.status, wrong.headers["allow"]) == (405, allowed)
    assert gateway.ask("OPTIONS", "/v1/else").status == 404


def test_configuration_and_statistics_are_the_replicas(gateway, replica):
    for verb in ("config", "stats"):
        assert gateway.ask("GET", f"/v2/models/digits/{verb}").json == {"replica": replica.id}
        assert gateway.ask("GET", f"/v2/models/digits/versions/1/{verb}").status == 200
        assert [request.path for request in replica.requests[-2:]] == [f"/v2/models/digits/{verb}"] * 2


def test_models_are_not_loaded_here(gateway, replica):
    gateway.put(service(replica, access="team"), keys=[key("ann")])
    for verb in ("load", "unload"):
        answer = gateway.ask("POST", f"/v2/repository/models/digits/{verb}", b"{}", key="ann")
        assert answer.status == 403 and "Service" in answer.json["error"]
        assert gateway.ask("POST", f"/v2/repository/models/none/{verb}", key="ann").status == 404
        assert gateway.ask("POST", f"/v2/repository/models/digits/{verb}").status == 401
    assert not replica.requests


def test_the_server_says_what_it_has(gateway, replica):
    """No more than it has: shared memory, traces and logs are refused as unknown paths."""
    server = check(SERVER, gateway.ask("GET", "/v2").json)
    assert server["extensions"] == ["binary_tensor_data", "model_repository"]
    for path in ("systemsharedmemory/status", "cudasharedmemory/status", "logging", "trace/setting"):
        answer = gateway.ask("GET", f"/v2/{path}")
        assert answer.status == 404
        oip_answer(f"/v2/{path}", 404, answer.headers, answer.text)


def test_errors_have_the_shape_of_openai(gateway, tmp_path):
    upstream = Upstream(tmp_path)
    gateway.put(service(upstream, route="words", access="team", body_bytes_max=300), keys=[key("ann")])
    ask = {"model": "words", "messages": []}
    cases = [("bob", ask, 401, "invalid_request_error", "invalid_api_key", None),
             ("ann", {**ask, "model": "no"}, 404, "invalid_request_error", "model_not_found", "model"),
             ("ann", "{", 400, "invalid_request_error", "invalid_body", None),
             ("ann", {**ask, "model": []}, 400, "invalid_request_error", "invalid_body", None),
             ("ann", {**ask, "x": "x" * 300}, 413, "invalid_request_error", "request_too_large", None),
             ("ann", ask, 400, "invalid_request_error", "missing_required_parameter", "messages")]
    for name, body, status, kind, code, param in cases:
        answer = gateway.ask("POST", "/v1/chat/completions", body, key=name)
        error = openai_answer("/v1/chat/completions", answer.status, answer.text)["error"]
        assert (answer.status, error["type"], error["code"], error["param"]) == (
            status, kind, code, param), body
    gone = Upstream(tmp_path)
    gone.replica.stop()
    gateway.put(service(gone, route="words", access="team"), keys=[key("ann")])
    answer = gateway.ask("POST", "/v1/chat/completions", ask, key="ann")
    error = openai_answer("/v1/chat/completions", answer.status, answer.text)["error"]
    assert (answer.status, error["type"], error["code"]) == (503, "server_error", "no_replica")
    check(MODEL, gateway.ask("GET", "/v1/models/words", key="ann").json)


def test_json_is_nested_within_bounds(gateway, tmp_path):
    upstream = Upstream(tmp_path)
    gateway.put(service(upstream, route="words"))

    def nested(depth):
        return '{"input":"a","x":%s%s,"model":"words"}' % ("[" * depth, "]" * depth)

    assert gateway.ask("POST", "/v1/embeddings", nested(63)).status == 200
    for depth in (64, 200, 100000):
        answer = gateway.ask("POST", "/v1/embeddings", nested(depth))
        assert answer.status == 400 and "nested too deep" in answer.json["error"]["message"]
    assert len(upstream.requests) == 1


# What is refused before any service is looked for: fields of the request, its body, the status.
BROKEN = {
    "a coding that is not known": ("Content-Encoding: br\r\nContent-Length: 1", b"x", 415),
    "damaged": ("Content-Encoding: gzip\r\nContent-Length: 30", gzip.compress(b"{}" * 99)[:5] + b"x" * 25, 400),
    "cut off": ("Content-Encoding: gzip\r\nContent-Length: 30", gzip.compress(os.urandom(500))[:30], 400),
    "a chunk that is none": ("Transfer-Encoding: chunked", b"zz\r\n", 400),
}


@pytest.mark.parametrize("fields, body, status", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v2/models/digits/infer"])
def test_broken_bodies_are_refused_in_the_protocols_shape(gateway, replica, path, fields, body, status):
    connection = send_raw(gateway.address,
                          f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n".encode() + body)
    head, _, text = read_to_end(connection).partition(b"\r\n\r\n")
    connection.close()
    error = json.loads(text)["error"]
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"Content-Type: application/json\r\n" in head + b"\r\n"
    if path.startswith("/v1"):
        assert error["message"] and error["type"] == "invalid_request_error" and error["code"]
    else:
        assert isinstance(error, str) and error
    assert not replica.requests


def test_what_has_no_path_yet_is_refused_as_a_problem(gateway):
    connection = send_raw(gateway.address, b"POST /v1/chat/completions HTTP/1.1\r\nno field\r\n\r\n")
    head, _, text = read_to_end(connection).partition(b"\r\n\r\n")
    connection.close()
    assert b"application/problem+json" in head and json.loads(text)["status"] == 400
