"""What Services name outside the cluster (classifiers, and hooks for verdicts): by name, over https, over kept
connections that are closed over there."""
import http.server
import json
import socket
import threading

import pytest

from gateway import Replica, self_signed, service
from muster import COMMAND_S, wait_until

BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}]}


class Outside:
    """Takes posts on one of the addresses of localhost; `once`: each connection is closed after an answer that
    promised to keep it."""

    def __init__(self, context=None, once=False):
        self.posts, self.once, self.lock = [], once, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.posts.append((self.path, self.headers, body))
                text = b'{"action": "allow"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                if outer.once:
                    # What comes next gets a reset in place of an answer.
                    self.connection.recv(1, socket.MSG_PEEK)
                    self.close_connection = True

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        self.scheme = "https" if context else "http"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, host="localhost"):
        return f"{self.scheme}://{host}:{self.port}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def outside():
    made = []

    def make(**options):
        made.append(Outside(**options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def guarded(replica, address):
    return service(replica, guard={"classifier": {"address": address, "timeout": "5s", "onFailure": "block"}})


def scored(light, heavy, url, **post):
    return (service(light, route="light", secondary={"route": "heavy", "post": {"url": url, "retries": 0, **post}}),
            service(heavy, route="heavy"))


def test_a_classifier_is_known_by_name(gateway, tmp_path, outside):
    judge = outside()
    gateway.put(guarded(Replica(tmp_path), judge.url()))
    assert [gateway.infer(body=BODY).status for _ in range(3)] == [200, 200, 200]
    path, headers, body = judge.posts[0]
    assert (path, headers["Host"], body) == ("/classify", f"localhost:{judge.port}", BODY)
    gateway.put(guarded(Replica(tmp_path), "http://no-such-host.invalid:1"))
    refused = gateway.infer(body=BODY)
    assert refused.status == 503 and "classifier" in refused.text


def test_a_classifier_over_https_has_to_be_trusted_and_to_be_the_one_that_is_named(gateway, tmp_path, outside):
    judge = outside(context=self_signed(tmp_path))
    gateway.put(guarded(Replica(tmp_path), judge.url()))
    assert gateway.infer(body=BODY).status == 503 and judge.posts == []
    gateway.stop()
    gateway.start("--trust", str(tmp_path / "cert.pem"))
    assert gateway.infer(body=BODY).status == 200 and len(judge.posts) == 1
    gateway.put(guarded(Replica(tmp_path), judge.url("127.0.0.1")))
    assert gateway.infer(body=BODY).status == 503 and len(judge.posts) == 1


def test_a_connection_that_the_classifier_closed_costs_no_request(gateway, tmp_path, outside):
    judge = outside(once=True)
    gateway.put(guarded(Replica(tmp_path), judge.url()))
    assert [gateway.infer(body=BODY).status for _ in range(20)] == [200] * 20
    assert len(judge.posts) == 20


def test_verdicts_are_posted_by_name_over_https(gateway, tmp_path, outside):
    hook = outside(context=self_signed(tmp_path))
    gateway.stop()
    gateway.start("--trust", str(tmp_path / "cert.pem"))
    gateway.put(*scored(Replica(tmp_path), Replica(tmp_path), f"{hook.url()}/verdicts?of=light"))
    for _ in range(3):
        assert gateway.infer("light", body=BODY).status == 200
    wait_until(lambda: len(hook.posts) == 3, COMMAND_S, "three verdicts")
    path, headers, body = hook.posts[0]
    assert (path, headers["Host"]) == ("/verdicts?of=light", f"localhost:{hook.port}")
    assert body["by"] == "vision/heavy"


def test_a_connection_that_the_hook_closed_loses_no_verdict(gateway, tmp_path, outside):
    hook = outside(once=True)
    gateway.put(*scored(Replica(tmp_path), Replica(tmp_path), f"{hook.url()}/verdicts"))
    for count in range(1, 11):
        assert gateway.infer("light", body=BODY).status == 200
        wait_until(lambda: len(hook.posts) == count, COMMAND_S, f"verdict {count}")
    assert "muster_gateway_secondary_post_unreached_total 0\n" in gateway.control("GET", "/metrics").text


def test_a_gateway_does_not_start_with_certificates_that_cannot_be_read(gateway, tmp_path):
    gateway.stop()
    with pytest.raises(AssertionError, match="--trust"):
        gateway.start("--trust", str(tmp_path / "none.pem"))
