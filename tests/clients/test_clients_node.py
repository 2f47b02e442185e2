"""The official client of the OpenAI API for Node.js, unchanged, against a real gateway. What it does is in
node_client.mjs."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import read_usage
from muster import COMMAND_S
from openai_upstream import Words, embedding_of

MODULES = os.environ.get("MUSTER_CLIENTS_NODE", "")
pytestmark = pytest.mark.skipif(not MODULES, reason=os.environ.get(
    "MUSTER_CLIENTS_NODE_REASON", "the client for Node.js is not installed"))

SAID = Words("words", "say some words", 0, 0, 12)


@pytest.fixture
def node(tap, upstream, tmp_path):
    """node(scenario): what the program prints. Modules are looked for from where a program is."""
    program = tmp_path / "node_client.mjs"
    shutil.copy(Path(__file__).parent / "node_client.mjs", program)
    os.symlink(MODULES, tmp_path / "node_modules")

    def run(scenario, api_key="ann"):
        done = subprocess.run(
            ["node", program, f"http://127.0.0.1:{tap.port}/v1", api_key, scenario],
            capture_output=True, text=True, timeout=COMMAND_S, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_models(node):
    said = node("models")
    assert said["ids"] == ["words"]
    assert said["one"] == {"id": "words", "object": "model", "created": 0, "owned_by": "vision"}


def test_a_chat(node):
    said = node("chat")
    assert said["text"] == SAID.text and said["tokens"] == SAID.tokens and said["id"]
    assert said["usage"] == {"prompt_tokens": 3, "completion_tokens": 12, "total_tokens": 15}


def test_completions(node):
    assert node("completions") == {"text": SAID.text, "streamed": SAID.text}


def test_embeddings(node, upstream):
    expected = [embedding_of("words", text, 8) for text in ("one", "two words")]
    assert node("embeddings") == [expected, expected]
    assert [body["encoding_format"] for body in upstream.bodies] == ["base64", "float"]


def test_a_stream(node, gateway):
    said = node("stream")
    assert said["texts"] == [SAID.text, SAID.text]
    assert [len(usages) for usages in said["usages"]] == [0, 1]
    assert said["usages"][1][0]["completion_tokens"] == 12
    assert sum(item["output_tokens"] for item in read_usage(gateway.data)) == 24


def test_the_streaming_helper_of_the_client(node):
    assert node("helper") == SAID.text


def test_many_streams_at_once(node):
    assert node("together") == [Words("words", f"number {i}", 0, 0, 12).text for i in range(40)]


def test_a_stream_that_is_aborted_is_cancelled(node, tap, gateway, upstream):
    tap.broken = True
    upstream.gate.close()
    upstream.gate.let(1)
    assert node("abort") == SAID.tokens[0]
    gateway.wait_access(lambda line: line["end"] == "cancelled", "the cancelled stream")
    upstream.gate.open()


@pytest.mark.parametrize("how", ["error", "cut"])
def test_a_stream_that_breaks_is_an_exception(node, tap, upstream, how):
    tap.broken = True
    upstream.fail_after, upstream.fail_how = 3, how
    said = node("broken")
    assert said is not None
    assert how == "cut" or "in the middle" in said["message"]


@pytest.mark.parametrize("status, kind", [
    (400, "BadRequestError"), (403, "PermissionDeniedError"), (404, "NotFoundError"),
    (422, "UnprocessableEntityError"), (429, "RateLimitError"), (500, "InternalServerError"),
    (503, "InternalServerError")])
def test_errors_of_the_replica_are_the_clients(node, upstream, status, kind):
    upstream.next_errors.append((status, {}))
    said = node("refused")
    assert (said["kind"], said["status"], said["type"]) == (kind, status, "server_error")


def test_errors_of_the_gateway_are_the_clients(node, upstream):
    said = node("refused", api_key="bob")
    assert (said["kind"], said["code"], said["status"]) == (
        "AuthenticationError", "invalid_api_key", 401)
    missing, entry, empty = node("missing")
    for one in (missing, entry):
        assert (one["kind"], one["code"], one["status"]) == ("NotFoundError", "model_not_found", 404)
    assert (empty["kind"], empty["code"]) == ("BadRequestError", "missing_required_parameter")


@pytest.mark.parametrize("status", [429, 503])
def test_the_client_tries_again(node, upstream, status):
    upstream.next_errors += [(status, {"Retry-After-Ms": "10"}), (status, {"Retry-After": "0.01"})]
    assert node("retries") == SAID.text
    assert len(upstream.requests) == 3
