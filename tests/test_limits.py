"""The network side: TLS, and what is refused before it can do harm."""
import http.client
import json
import re
import socket
import ssl
import subprocess

import pytest

import muster as helper


class Network:
    """A server that listens on TLS, seen from the network."""

    def __init__(self, muster):
        self.muster = muster
        self.port = int(re.findall(r"https port (\d+)", muster.log())[-1])
        self.token = muster.call("POST", "/v1/tokens", {"user": "boss"})["token"]

    def connect(self, context=None):
        """A TLS connection; the server has to have the certificate in its data directory."""
        context = context or ssl.create_default_context(cafile=f"{self.muster.data}/tls/cert.pem")
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=helper.REQUEST_S)
        return context.wrap_socket(plain, server_hostname="localhost")

    def ask(self, method, path, body=None, headers=None, token=True):
        context = ssl.create_default_context(cafile=f"{self.muster.data}/tls/cert.pem")
        connection = http.client.HTTPSConnection("localhost", self.port, context=context,
                                                 timeout=helper.REQUEST_S)
        try:
            sent = {"Authorization": f"Bearer {self.token}"} if token else {}
            connection.request(method, path, body=body, headers={**sent, **(headers or {})})
            return helper.Answer(connection.getresponse())
        finally:
            connection.close()


@pytest.fixture
def network(muster_stopped):
    muster_stopped.start("--listen", "127.0.0.1:0")
    muster_stopped.apply({"apiVersion": "muster/v1", "kind": "Team", "metadata": {"name": "root"},
                          "spec": {"members": [{"user": "boss", "role": "admin"}]}})
    return Network(muster_stopped)


def test_the_network_needs_a_token_and_the_machines_own_certificate(network):
    assert network.ask("GET", "/healthz", token=False).status == 200
    refused = network.ask("GET", "/v1/pools", token=False)
    assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Bearer")
    assert network.ask("GET", "/v1/pools").status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        network.connect(ssl.create_default_context())


def test_plain_http_is_not_answered_on_the_tls_port(network):
    with socket.create_connection(("127.0.0.1", network.port), timeout=helper.REQUEST_S) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"200" not in plain.recv(1000)
        except ConnectionResetError:
            pass


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(network):
    context = ssl.create_default_context(cafile=f"{network.muster.data}/tls/cert.pem")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        network.connect(context)


@pytest.mark.parametrize("path,size", [("/v1/jobs", 300_000), ("/v1/apply", 1_100_000),
                                       ("/v1/tokens", 5_000)])
def test_a_body_that_is_too_large_is_refused(network, path, size):
    answer = network.ask("POST", path, body=b" " * size)
    assert answer.status == 413, answer
    assert network.ask("GET", "/healthz").status == 200


def test_a_head_that_is_too_large_is_refused(network):
    assert network.ask("GET", "/healthz", headers={"X-Long": "x" * 40_000}).status == 431
    assert network.ask("GET", "/healthz?" + "x" * 10_000).status == 414


def test_deep_nesting_is_refused(network):
    for text in ("[" * 100_000, '{"a":' * 10_000, "[" * 500 + "]" * 500):
        answer = network.ask("POST", "/v1/apply", body=text)
        assert answer.status == 422, answer


@pytest.mark.parametrize("head", [
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\nHost: x\n\n",
    b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n Folded: y\r\n\r\n"])
def test_what_is_not_strict_http_is_refused_and_the_connection_closed(network, head):
    with network.connect() as secure:
        secure.sendall(head)
        answer = secure.recv(65536)
        assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer
        try:
            while secure.recv(65536):
                pass
        except (ssl.SSLError, ConnectionResetError):
            pass


def test_too_many_connections_of_one_address_are_turned_away_and_others_go_on(network):
    opened = []
    try:
        for _ in range(600):
            opened.append(socket.create_connection(("127.0.0.1", network.port), timeout=60))
        network.muster.wait_for(
            lambda: int(figures(network.muster)["muster_http_connections"]) == 512 + 1,
            "512 connections of the one address and the one that asks")
        assert network.muster.call("GET", "/healthz")["status"] == "ok"
    finally:
        for one in opened:
            one.close()
    def again():
        try:
            return network.ask("GET", "/healthz").status == 200
        except OSError:
            return False
    network.muster.wait_for(again, "an answer after the others had gone")


def figures(muster):
    text = muster.api("GET", "/metrics").text
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_who_asks_too_fast_is_told_to_wait_and_the_socket_is_not_limited(muster_stopped):
    muster_stopped.start("--listen", "127.0.0.1:0", "--requests-per-second", "5")
    network = Network(muster_stopped)
    with network.connect() as secure:
        secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 50
                       + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = b""
        while True:
            piece = secure.recv(65536)
            if not piece:
                break
            answers += piece
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answers)
    assert b"200" in statuses and b"429" in statuses
    assert b"Retry-After" in answers
    for _ in range(50):
        assert muster_stopped.api("GET", "/healthz").status == 200
    assert int(figures(muster_stopped)["muster_http_throttled_total"]) > 0


def serial(network):
    with network.connect(unverified()) as secure:
        return secure.getpeercert(binary_form=True)


def unverified():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_sighup_takes_a_new_certificate_and_a_broken_one_changes_nothing(network):
    folder = f"{network.muster.data}/tls"
    before = serial(network)
    with network.connect(unverified()) as open_before:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
                       check=True, capture_output=True)
        network.muster.process.send_signal(1)
        network.muster.wait_for(lambda: serial(network) != before, "the new certificate")
        open_before.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in open_before.recv(1000)
    assert network.ask("GET", "/v1/pools").status == 200
    after = serial(network)
    with open(f"{folder}/cert.pem", "w", encoding="utf-8") as broken:
        broken.write("no certificate")
    network.muster.process.send_signal(1)
    network.muster.wait_for(lambda: "stay as they were" in network.muster.log(), "the refusal")
    assert serial(network) == after


def test_answers_forbid_what_browsers_would_guess(network):
    headers = network.ask("GET", "/v1/pools").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "application/json"


def test_an_openapi_document_describes_the_kinds(network):
    document = json.loads(network.ask("GET", "/openapi.json", token=False).text)
    assert document["openapi"].startswith("3.1")
    assert {"Job", "Pool", "Team", "Class", "Problem"} <= set(document["components"]["schemas"])
    text = json.dumps(document)
    for reference in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert reference in document["components"]["schemas"], reference
