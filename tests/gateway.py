"""A real gateway in a data directory of its own, and replicas for it, for scenarios."""
import hashlib
import http.client
import http.server
import json
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
from types import SimpleNamespace

from muster import (BINARY, COMMAND_S, REQUEST_S, START_S, STOP_S, Answer, UnixConnection,
                    wait_until)


class Gateway:
    """One gateway. Routes are pushed through its control socket."""

    def __init__(self, data, binary=BINARY):
        self.binary = binary
        self.data = str(data)
        self.log_path = self.data.rstrip("/") + ".gateway.log"
        self.control_path = os.path.join(self.data, "gateway", "control.sock")
        self.generation = 0
        self.process = None
        self.address = None
        self.scheme = "http"

    def start(self, *arguments, workers=2, listen="127.0.0.1:0"):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "gateway", "--data", self.data, "--listen", listen,
                 "--workers", str(workers), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, START_S, "the gateway's first answer")
        self.address = self.status()["listen"]
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"the gateway ended with status {self.process.returncode}:\n{self.log()}")
        try:
            return self.status()["pid"] == self.process.pid
        except (OSError, http.client.HTTPException):
            return False

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()[-8000:]

    def control(self, method, path, body=None):
        connection = UnixConnection(self.control_path, REQUEST_S)
        try:
            connection.request(method, path, body=body)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def status(self):
        answer = self.control("GET", "/status")
        assert answer.status == 200, answer
        return answer.json

    def outstanding(self, replica):
        return sum(item["outstanding"] for item in self.status()["endpoints"]
                   if item["replica"] == replica)

    def put(self, *services, keys=(), teams=(), generation=None):
        """Pushes routes, which have to be taken."""
        self.generation = generation or self.generation + 1
        answer = self.control("PUT", "/routes", json.dumps(
            {"generation": self.generation, "keys": list(keys), "teams": list(teams),
             "services": list(services)}))
        assert answer.status == 204, answer

    def connect(self, timeout_s=REQUEST_S):
        host, _, port = self.address.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=timeout_s)

    def ask(self, method, path, body=None, headers=None, key=None):
        """One request on a connection of its own."""
        sent = dict(headers or {})
        if key:
            sent["Authorization"] = f"Bearer {key}"
        if isinstance(body, dict):
            body = json.dumps(body)
        connection = self.connect()
        try:
            connection.request(method, path, body=body, headers=sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def infer(self, route="digits", body=b"{}", **options):
        return self.ask("POST", f"/v2/models/{route}/infer", body, **options)

    def access_lines(self):
        path = os.path.join(self.data, "gateway", "access.log")
        with open(path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def wait_access(self, condition, what):
        """The first line of the access log that fulfils the condition."""
        return wait_until(lambda: next(filter(condition, self.access_lines()), None),
                          COMMAND_S, what)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill9(self):
        self.process.kill()
        self.process.wait(timeout=STOP_S)

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=STOP_S)

    def teardown(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                self.kill9()


def key(text, teams=("vision",), services=(), expires_ms=0):
    return {"id": f"id-{text}", "hash": hashlib.sha256(text.encode()).hexdigest(), "user": "ann",
            "teams": list(teams), "services": list(services), "expiresMs": expires_ms}


def service(*replicas, route="digits", access="public", retry="safe", body_bytes_max=16 << 20,
            timeout_ms=60000, team="vision", protocols=("oip", "openai"), **options):
    """More options are those of `spec.gateway` by their names there."""
    return {"route": route, "service": f"{team}/{route}", "team": team,
            "protocols": list(protocols),
            "options": {"access": access, "bodyBytesMax": body_bytes_max,
                        "timeout": f"{timeout_ms}ms", "retry": retry, **options},
            "replicas": [item if isinstance(item, dict) else item.route() for item in replicas]}


class Replica:
    """A replica on a Unix socket. answer(handler) is called for each request, with its body read
    into handler.body unless read_body is False."""
    ids = iter(range(1, 1 << 30))

    def __init__(self, folder, answer=None, version=1, read_body=True, raw=None):
        self.id = next(Replica.ids)
        self.version = version
        self.path = os.path.join(str(folder), f"r{self.id}.sock")
        self.requests = []
        self.lock = threading.Lock()
        self.answer = answer or (lambda handler: handler.reply(200, {"replica": self.id}))
        self.read_body = read_body
        self.raw = raw
        self.server = None
        self.start()

    def start(self):
        replica = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            body = b""

            def address_string(self):
                return "unix"

            def log_message(self, *_):
                pass

            def handle(self):
                if replica.raw:
                    replica.raw(self.connection)
                else:
                    try:
                        super().handle()
                    except OSError:
                        pass

            def take(self):
                if replica.read_body:
                    self.body = self.read_all()
                with replica.lock:
                    replica.requests.append(
                        SimpleNamespace(path=self.path, headers=self.headers, body=self.body))
                replica.answer(self)

            def read_all(self):
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                pieces = []
                while True:
                    size = int(self.rfile.readline(), 16)
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                    if size == 0:
                        return b"".join(pieces)

            def reply(self, status, body=b"", headers=()):
                if isinstance(body, (dict, list)):
                    body = json.dumps(body).encode()
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def begin(self, content_type="text/event-stream"):
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def piece(self, data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def end(self):
                self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = take

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """No connection is taken any more; the socket file stays, as after a crash."""
        self.server.shutdown()
        self.server.server_close()

    def route(self, **more):
        return {"replica": self.id, "version": self.version, "address": f"unix:{self.path}",
                "uid": os.getuid(), "draining": False, **more}


def self_signed(folder, host="localhost"):
    """A context of a server for that name alone, whose certificate is in folder/cert.pem."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


# A usage file: src/gateway/usage_format.h.
USAGE_HEADER = struct.Struct("<8sIIQ40sIIII")
USAGE_RECORD = struct.Struct("<Q160sqQ160s64s256s58Q")
USAGE_LATENCY = 24
USAGE_COUNTERS = ("requests", "succeeded", "refused", "failed", "cancelled", "retried", "bytes_in",
                  "bytes_out", "busy_us", "input_tokens", "output_tokens", "latency_us_sum")
USAGE_LATER = ("cache_hits", "cache_saved_us", "cache_saved_input_tokens",
               "cache_saved_output_tokens", "queue_us", "model_us", "batched", "batch_sizes",
               "batch_calls_micro", "compared", "differing")


def read_usage(data):
    """Every series of every file: a dict of what it is about and its counters."""
    series, folder = [], os.path.join(data, "gateway", "usage")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as content:
            text = content.read()
        for at in range(USAGE_HEADER.size, len(text) - USAGE_RECORD.size + 1, USAGE_RECORD.size):
            state, service_name, version, replica, key_id, team, labels, *counts = \
                USAGE_RECORD.unpack_from(text, at)
            if not state:
                break
            later = len(USAGE_COUNTERS) + USAGE_LATENCY
            item = dict(zip(USAGE_COUNTERS, counts), **dict(zip(USAGE_LATER, counts[later:])),
                        latency=counts[len(USAGE_COUNTERS):later],
                        service=service_name.rstrip(b"\0").decode(), version=version,
                        replica=replica, key=key_id.rstrip(b"\0").decode(),
                        team=team.rstrip(b"\0").decode(),
                        labels=labels.rstrip(b"\0").decode(), file=name)
            if item["requests"] or item["retried"]:
                series.append(item)
    return series


def send_raw(address, data):
    """A connection on which the bytes were sent."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=REQUEST_S)
    connection.sendall(data)
    return connection


def read_to_end(connection):
    data = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece
