"""The official Python client of the OpenAI API, unchanged, against a real gateway: its calls, its
exceptions, its retries; each with the client that waits and the one that does not."""
import asyncio
import struct
import threading

import openai
import pytest

from gateway import key, read_usage, service
from muster import COMMAND_S, wait_until
from openai_upstream import CREATED, Upstream, Words, embedding_of

MESSAGES = [{"role": "user", "content": "say some words"}]
SAID = Words("words", "say some words", 0, 0, 12)


class Plain:
    """The client that waits."""

    def __init__(self, port, **options):
        self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", **options)

    def run(self, ask):
        return ask(self.client)

    def read(self, ask, count=None):
        chunks = []
        with ask(self.client) as stream:
            for chunk in stream:
                chunks.append(chunk)
                if len(chunks) == count:
                    break
        return chunks

    def list(self, ask):
        return list(ask(self.client))

    def close(self):
        self.client.close()


class Async:
    """The one that does not, on a loop of its own."""

    def __init__(self, port, **options):
        self.loop = asyncio.new_event_loop()
        self.client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", **options)

    def run(self, ask):
        async def go():
            return await ask(self.client)
        return self.loop.run_until_complete(go())

    def read(self, ask, count=None):
        async def go():
            chunks = []
            async with await ask(self.client) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if len(chunks) == count:
                        break
            return chunks
        return self.loop.run_until_complete(go())

    def list(self, ask):
        async def go():
            return [item async for item in ask(self.client)]
        return self.loop.run_until_complete(go())

    def close(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.fixture(params=[Plain, Async])
def connect(request, tap):
    """connect(api_key, max_retries): a client of either kind."""
    made = []

    def make(api_key="ann", max_retries=0):
        made.append(request.param(tap.port, api_key=api_key, max_retries=max_retries, timeout=60))
        return made[-1]

    yield make
    for one in made:
        one.close()


def chat(**more):
    return lambda c: c.chat.completions.create(**{"model": "words", "messages": MESSAGES, **more})


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


# ---- calls ------------------------------------------------------------------------------------


def test_models(connect, upstream):
    client = connect()
    assert [model.id for model in client.list(lambda c: c.models.list())] == ["words"]
    model = client.run(lambda c: c.models.retrieve("words"))
    assert (model.id, model.object, model.owned_by) == ("words", "model", "vision")
    assert isinstance(model.created, int)
    with pytest.raises(openai.NotFoundError) as caught:
        client.run(lambda c: c.models.retrieve("nosuch"))
    assert caught.value.code == "model_not_found"


def test_a_chat(connect, upstream):
    client = connect()
    answer = client.run(chat(logprobs=True, top_logprobs=2, seed=0))
    choice = answer.choices[0]
    assert choice.message.content == SAID.text and choice.finish_reason == "stop"
    assert [one.token for one in choice.logprobs.content] == SAID.tokens
    assert len(choice.logprobs.content[0].top_logprobs) == 2
    assert answer.usage.total_tokens == 15 and answer.created == CREATED
    short = client.run(chat(max_tokens=3, n=2))
    assert [choice.finish_reason for choice in short.choices] == ["length", "length"]
    assert short.choices[0].message.content == "".join(SAID.tokens[:3])
    assert answer._request_id and answer._request_id != short._request_id


def test_what_the_gateway_does_not_know_is_passed_on(connect, upstream):
    more = {"top_k": 7, "guided_json": {"type": "object", "deep": [[[{"model": "other"}]]]}}
    connect().run(chat(extra_body=more, extra_headers={"X-Own": "1"}, metadata={"a": "é\u2028\"\\"}))
    body = upstream.bodies[0]
    assert {name: body[name] for name in more} == more and body["metadata"] == {"a": "é\u2028\"\\"}
    assert upstream.requests[0].headers["X-Own"] == "1"
    assert upstream.requests[0].headers["Authorization"] is None


def test_completions(connect, upstream):
    client = connect()
    answer = client.run(lambda c: c.completions.create(
        model="words", prompt="say some words", logprobs=1))
    assert answer.choices[0].text == SAID.text
    assert answer.choices[0].logprobs.tokens == SAID.tokens
    chunks = client.read(lambda c: c.completions.create(
        model="words", prompt="say some words", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == SAID.text


def test_embeddings(connect, upstream):
    client = connect()
    texts = ["one", "two words"]
    # The client asks for base64 by itself, and decodes it.
    packed = client.run(lambda c: c.embeddings.create(model="words", input=texts))
    assert upstream.bodies[-1]["encoding_format"] == "base64"
    plain = client.run(lambda c: c.embeddings.create(
        model="words", input=texts, encoding_format="float"))
    expected = [embedding_of("words", text, 8) for text in texts]
    for answer in (packed, plain):
        assert [one.embedding for one in answer.data] == expected
        assert answer.usage.prompt_tokens == 3
    text = client.run(lambda c: c.embeddings.create(
        model="words", input="one", dimensions=3, encoding_format="base64"))
    assert len(text.data[0].embedding) in (3, len(struct.pack("<3f", 0, 0, 0)) // 3 * 4)


# ---- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("per_chunk", [1, 5, 100])
def test_a_stream(connect, gateway, upstream, per_chunk):
    upstream.tokens_per_chunk = per_chunk
    client = connect()
    chunks = client.read(chat(stream=True))
    assert text_of(chunks) == SAID.text and chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    chunks = client.read(chat(stream=True, stream_options={"include_usage": True}, logprobs=True))
    assert text_of(chunks) == SAID.text and chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 12
    # Both count, with the usage that only one was given.
    assert sum(item["output_tokens"] for item in read_usage(gateway.data)) == 24


def test_the_streaming_helper_of_the_client(connect, upstream):
    client = connect()
    if isinstance(client, Async):
        async def go(c):
            async with c.chat.completions.stream(model="words", messages=MESSAGES) as stream:
                return await stream.get_final_completion()
    else:
        def go(c):
            with c.chat.completions.stream(model="words", messages=MESSAGES) as stream:
                return stream.get_final_completion()
    assert client.run(go).choices[0].message.content == SAID.text


def test_chunks_come_as_they_are_said(tap, upstream):
    upstream.gate.close()
    client = Plain(tap.port, api_key="ann", max_retries=0, timeout=60)
    upstream.gate.let(1)
    stream = iter(client.run(chat(stream=True)))
    for i in range(4):
        assert next(stream).choices[0].delta.content == SAID.tokens[i]
        upstream.gate.let(1)
    upstream.gate.open()
    assert len(list(stream)) == 9
    client.close()


def test_a_stream_that_is_closed_early_is_cancelled(connect, tap, gateway, upstream):
    tap.broken = True
    upstream.gate.close()
    upstream.gate.let(2)
    client = connect()
    assert len(client.read(chat(stream=True), count=2)) == 2
    client.close()
    gateway.wait_access(lambda line: line["end"] == "cancelled", "the cancelled stream")
    upstream.gate.open()
    client.close = lambda: None


def test_many_streams_at_once(tap, gateway, upstream):
    """Each has its own words, whole and in order."""
    client = Async(tap.port, api_key="ann", max_retries=0, timeout=60)

    async def one(c, i):
        stream = await c.chat.completions.create(
            model="words", messages=[{"role": "user", "content": f"number {i}"}], stream=True)
        return text_of([chunk async for chunk in stream])

    async def go(c):
        return await asyncio.gather(*(one(c, i) for i in range(60)))

    said = client.run(go)
    assert said == [Words("words", f"number {i}", 0, 0, 12).text for i in range(60)]
    assert sum(item["output_tokens"] for item in read_usage(gateway.data)) == 60 * 12
    client.close()


@pytest.mark.parametrize("how", ["error", "cut"])
def test_a_stream_that_breaks_is_an_exception(connect, tap, upstream, how):
    tap.broken = True
    upstream.fail_after, upstream.fail_how = 3, how
    with pytest.raises(Exception) as caught:
        connect().read(chat(stream=True))
    if how == "error":
        assert isinstance(caught.value, openai.APIError)
        assert "in the middle" in str(caught.value)
    else:
        assert "peer closed" in str(caught.value) or isinstance(caught.value, openai.APIConnectionError)


# ---- errors -----------------------------------------------------------------------------------


def raised(client, ask, kind):
    with pytest.raises(kind) as caught:
        client.run(ask)
    assert type(caught.value) is kind
    return caught.value


def test_a_wrong_key(connect, upstream):
    error = raised(connect("bob"), chat(), openai.AuthenticationError)
    assert (error.code, error.type, error.status_code) == (
        "invalid_api_key", "invalid_request_error", 401)
    raised(connect("bob"), lambda c: c.models.retrieve("words"), openai.AuthenticationError)


def test_a_model_that_is_not_there(connect, gateway, upstream):
    error = raised(connect(), chat(model="nosuch"), openai.NotFoundError)
    assert (error.code, error.type, error.param) == ("model_not_found", "invalid_request_error", "model")
    # One that may not be known is told in the same words.
    gateway.put(service(upstream, route="words", access="team", team="speech"), keys=[key("ann")])
    hidden = raised(connect(), chat(), openai.NotFoundError)
    assert hidden.message.replace("words", "nosuch") == error.message


@pytest.mark.parametrize("change, code, param", [
    ({"messages": []}, "missing_required_parameter", "messages"),
    ({"messages": [{"role": "user", "content": "x " * 5000}]}, "context_length_exceeded", "messages"),
    ({"n": "two"}, "invalid_type", "n")])
def test_what_the_replica_refuses(connect, upstream, change, code, param):
    error = raised(connect(), chat(**change), openai.BadRequestError)
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")


def test_what_the_gateway_refuses(connect, gateway, upstream):
    client = connect()
    error = raised(client, chat(model=""), openai.NotFoundError)
    assert error.code == "model_not_found"
    error = raised(client, chat(model=7), openai.BadRequestError)
    assert (error.type, error.code) == ("invalid_request_error", "invalid_body")
    gateway.put(service(upstream, route="words", access="team", body_bytes_max=500), keys=[key("ann")])
    error = raised(client, chat(messages=[{"role": "user", "content": "x" * 600}]), openai.APIStatusError)
    assert (error.status_code, error.code) == (413, "request_too_large")


@pytest.mark.parametrize("status, kind", [
    (400, openai.BadRequestError), (403, openai.PermissionDeniedError), (404, openai.NotFoundError),
    (409, openai.ConflictError), (422, openai.UnprocessableEntityError),
    (429, openai.RateLimitError), (500, openai.InternalServerError),
    (503, openai.InternalServerError)])
def test_errors_of_the_replica_are_the_clients(connect, upstream, status, kind):
    upstream.next_errors.append((status, {}))
    error = raised(connect(), chat(), kind)
    assert error.type == "server_error" and error.message.endswith(f"told to answer {status}"
                                                                   ) or str(status) in error.message


def test_no_replica_and_a_broken_one(connect, gateway, upstream):
    client = connect()
    upstream.replica.stop()
    error = raised(client, chat(), openai.InternalServerError)
    assert (error.status_code, error.code, error.type) == (503, "no_replica", "server_error")
    assert error.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_client_tries_again(connect, upstream, status):
    """The replica says when, in both of the ways that clients know."""
    upstream.next_errors += [(status, {"Retry-After-Ms": "10"}), (status, {"Retry-After": "0.01"})]
    answer = connect(max_retries=2).run(chat())
    assert answer.choices[0].message.content == SAID.text
    assert [request.headers["X-Stainless-Retry-Count"] for request in upstream.requests] == [
        "0", "1", "2"]


def test_the_client_tries_again_until_there_is_a_replica(connect, gateway, upstream, tmp_path):
    """503 with Retry-After is the gateway's own here."""
    gateway.put(service(route="words", access="team"), keys=[key("ann")])
    client = connect(max_retries=1)

    def bring_one():
        gateway.wait_access(lambda line: line["status"] == 503, "the first answer")
        gateway.put(service(Upstream(tmp_path), route="words", access="team"), keys=[key("ann")])

    later = threading.Thread(target=bring_one)
    later.start()
    assert client.run(chat()).choices[0].message.content == SAID.text
    later.join(COMMAND_S)


def test_a_limit_of_the_service(connect, gateway, upstream):
    limits = {"all": [{"what": "requests", "most": 2, "per": "hour"}]}
    gateway.put(service(upstream, route="words", access="team", limits=limits), keys=[key("ann")])
    client = connect()
    for _ in range(2):
        client.run(chat())
    error = raised(client, chat(), openai.RateLimitError)
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert int(error.response.headers["retry-after"]) >= 1


def test_an_address_that_asks_too_often(tmp_path, tap, gateway, upstream):
    """The limit of the whole address answers before anybody knows what is asked for."""
    gateway.stop()
    gateway.start("--requests-per-second", "1", workers=1, listen=gateway.address)
    wait_until(lambda: gateway.status()["generation"] > 0, COMMAND_S, "the routes")
    client = Plain(tap.port, api_key="ann", max_retries=0, timeout=60)
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(20):
            client.run(chat())
    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert "too many requests from this address" in str(error)
    assert int(error.response.headers["retry-after"]) >= 1
    client.close()
