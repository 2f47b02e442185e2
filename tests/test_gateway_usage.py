"""The usage of streams whose clients do not ask for it, and what clients see of it: nothing."""
import json

import pytest

from gateway import Replica, key, read_usage, send_raw, service
from muster import COMMAND_S, wait_until
from openai_schema import events, openai_stream
from openai_upstream import Upstream

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


@pytest.fixture
def upstream(gateway, tmp_path):
    one = Upstream(tmp_path)
    gateway.put(asking(one))
    return one


def asking(*replicas, **more):
    return service(*replicas, route="words", usage="ask", **more)


def body_of(path, **more):
    what = {"messages": [{"role": "user", "content": "say some words"}]} if path == CHAT else \
        {"prompt": "say some words"}
    return {"model": "words", **what, "stream": True, **more}


def tokens(gateway):
    """Counted so far: (input, output)."""
    series = read_usage(gateway.data)
    return tuple(sum(item[name] for item in series) for name in ("input_tokens", "output_tokens"))


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_is_counted_and_shows_nothing_of_it(gateway, upstream, path):
    body = body_of(path)
    answer = gateway.ask("POST", path, body)
    chunks = openai_stream(path, answer.text.encode(), include_usage=False)
    assert len(chunks) == 13 and tokens(gateway) == (3, 12)
    assert upstream.bodies == [{**body, "stream_options": {"include_usage": True}}]
    # Whoever asks sees it.
    asked = body_of(path, stream_options={"include_usage": True})
    answer = gateway.ask("POST", path, asked)
    openai_stream(path, answer.text.encode(), include_usage=True)
    assert upstream.bodies[-1] == asked and tokens(gateway) == (6, 24)


def test_what_is_no_stream_of_tokens_is_passed_on_as_it_is(gateway, upstream):
    raw = '{ "model" : "words","stream":false, "messages":[{"role":"user","content":"a"}] }'
    gateway.ask("POST", CHAT, raw)
    gateway.ask("POST", "/v1/embeddings", '{"model":"words","input":"a","stream":true}')
    assert [request.body.decode() for request in upstream.requests] == [
        raw, '{"model":"words","input":"a","stream":true}']


def test_nothing_is_asked_by_default(gateway, tmp_path):
    upstream = Upstream(tmp_path, knows_stream_options=False)
    gateway.put(service(upstream, route="words"))
    answer = gateway.ask("POST", CHAT, body_of(CHAT))
    openai_stream(CHAT, answer.text.encode(), include_usage=False)
    assert tokens(gateway) == (0, 0)
    # One that does not know the option says so to a service that asks: with its own words.
    gateway.put(asking(upstream))
    answer = gateway.ask("POST", CHAT, body_of(CHAT))
    assert answer.status == 400 and answer.json["error"]["param"] == "stream_options"


def test_one_that_ignores_the_option_is_passed_on_to_the_byte(gateway, tmp_path):
    stream = b": hi\r\n\r\ndata: {\"choices\":[{}],\"usage\":null}\n\ndata: [DONE]\n\ndata: rest"

    def answer(handler):
        handler.begin()
        for i in range(len(stream)):
            handler.piece(stream[i:i + 1])
        handler.end()

    gateway.put(asking(Replica(tmp_path, answer)))
    assert gateway.ask("POST", CHAT, body_of(CHAT)).text.encode() == stream


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_stream_that_comes_byte_for_byte(gateway, tmp_path, line_end):
    end = line_end * 2
    kept = "".join(f"data: {text}{end}" for text in (
        '{"choices":[{"delta":{"content":"\\"usage\\":{"}}],"usage":null}', "[DONE]"))
    usage = '{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}'
    first, done = kept.split("data: [DONE]")
    stream = f"{first}data: {usage}{end}data: [DONE]{done}".encode()

    def answer(handler):
        handler.begin()
        for i in range(len(stream)):
            handler.piece(stream[i:i + 1])
        handler.end()

    gateway.put(asking(Replica(tmp_path, answer)))
    connection = gateway.connect()
    connection.request("POST", CHAT, json.dumps(body_of(CHAT)))
    assert connection.getresponse().read().decode() == kept
    connection.close()
    assert tokens(gateway) == (5, 6)


def test_events_are_not_held_back(gateway, upstream):
    upstream.gate.close()
    connection = gateway.connect()
    connection.request("POST", CHAT, json.dumps(body_of(CHAT)))
    response = connection.getresponse()
    for i in range(13):
        upstream.gate.let(1)
        assert response.readline().startswith(b"data: {"), i
        assert response.readline() == b"\n"
    upstream.gate.open()
    assert response.read() == b"data: [DONE]\n\n"
    connection.close()


def test_a_stream_that_breaks_is_cut_and_one_that_says_an_error_is_not(gateway, upstream):
    upstream.fail_after, upstream.fail_how = 3, "error"
    answer = gateway.ask("POST", CHAT, body_of(CHAT))
    assert len(openai_stream(CHAT, answer.text.encode(), False, whole_stream=False)) == 3
    assert json.loads(events(answer.text.encode())[-1])["error"]["type"] == "server_error"
    upstream.fail_how = "cut"
    body = json.dumps(body_of(CHAT)).encode()
    connection = send_raw(gateway.address, b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
                          % (CHAT.encode(), len(body), body))
    data = b""
    while piece := connection.recv(65536):
        data += piece
    connection.close()
    assert data.count(b"data: ") == 3 and not data.endswith(b"0\r\n\r\n")
    gateway.wait_access(lambda line: line["end"] == "broken", "the broken stream")


def test_what_is_tried_again_asks_as_well(gateway, tmp_path):
    def hang_up(handler):
        handler.close_connection = True
        handler.connection.shutdown(2)

    bad, good = Replica(tmp_path, hang_up), Upstream(tmp_path)
    gateway.put(asking(bad, good))
    for _ in range(4):
        answer = gateway.ask("POST", CHAT, body_of(CHAT))
        openai_stream(CHAT, answer.text.encode(), include_usage=False)
    assert bad.requests and tokens(gateway) == (12, 48)
    options = {"include_usage": True}
    assert all(json.loads(request.body)["stream_options"] == options for request in bad.requests)
    assert [body["stream_options"] for body in good.bodies] == [options] * 4


LARGE = "x" * (3 << 20)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("more, counted", [
    ({}, True), ({"stream": False}, True), ({"stream_options": {"include_usage": True}}, True),
    ({"stream_options": {}}, False)])
def test_a_body_that_is_not_held(gateway, upstream, more, counted, chunked):
    """What is asked for stands after what is passed on already."""
    body = {"model": "words", "messages": [{"role": "user", "content": LARGE}], "stream": True, **more}
    text = json.dumps(body).encode()
    connection = gateway.connect()
    if chunked:
        pieces = [text[at:at + 65536] for at in range(0, len(text), 65536)]
        connection.request("POST", CHAT, iter(pieces), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
    else:
        connection.request("POST", CHAT, text)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status == 200, answer
    if body["stream"]:
        openai_stream(CHAT, answer, include_usage=bool(more.get("stream_options")))
    assert tokens(gateway) == ((1, 12) if counted else (0, 0))
    asked = {} if more else {"stream_options": {"include_usage": True}}
    assert upstream.bodies == [{**body, **asked}]


def test_compression_is_not_asked_for_where_tokens_are_counted(gateway, upstream):
    gateway.ask("POST", CHAT, body_of(CHAT), headers={"Accept-Encoding": "gzip"})
    gateway.ask("POST", "/v2/models/words/infer", b"{}", headers={"Accept-Encoding": "gzip"})
    assert [request.headers["Accept-Encoding"] for request in upstream.requests] == [None, "gzip"]


def test_the_tokens_are_the_keys(gateway, upstream):
    gateway.put(asking(upstream, access="team"), keys=[key("ann")])
    gateway.ask("POST", CHAT, body_of(CHAT), key="ann")
    counted = [item for item in read_usage(gateway.data) if item["output_tokens"]]
    assert [(item["key"], item["output_tokens"]) for item in counted] == [("id-ann", 12)]
    wait_until(lambda: gateway.status()["open"] == 0, COMMAND_S, "no request under way")
