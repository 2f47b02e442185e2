"""A collector of spans for scenarios: it takes OTLP/HTTP in the JSON encoding and checks its form."""
import http.server
import json
import re
import socketserver
import threading

from muster import COMMAND_S, wait_until

# What OTLP's JSON encoding has in an ExportTraceServiceRequest: member, then what it may be.
ID16, ID8, NANOS = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}"), re.compile("[1-9][0-9]*")
VALUES = {"stringValue": str, "intValue": re.compile("-?[0-9]+"), "boolValue": bool,
          "doubleValue": float}
ATTRIBUTE = {"key": str, "value": lambda value: check(value, {}, VALUES) or len(value) == 1}
SPAN_FIELDS = {"traceId": ID16, "spanId": ID8, "name": str, "kind": int,
               "startTimeUnixNano": NANOS, "endTimeUnixNano": NANOS, "attributes": [ATTRIBUTE]}
SPAN_MORE = {"parentSpanId": ID8, "traceState": str, "flags": int, "status": {"code": int}}
REQUEST = {"resourceSpans": [{
    "resource": {"attributes": [ATTRIBUTE]},
    "scopeSpans": [{"scope": {"name": str}, "spans": [(SPAN_FIELDS, SPAN_MORE)]}]}]}


def check(value, needed, optional=None):
    """Every member is known, of its type, and those that have to be there are."""
    assert isinstance(value, dict), value
    known = {**needed, **(optional or {})}
    assert set(needed) <= set(value) <= set(known), (sorted(value), sorted(known))
    for name, item in value.items():
        check_value(item, known[name])


def check_value(value, form):
    if isinstance(form, list):
        assert isinstance(value, list)
        for item in value:
            check_value(item, form[0])
    elif isinstance(form, tuple):
        check(value, *form)
    elif isinstance(form, dict):
        check(value, form)
    elif isinstance(form, re.Pattern):
        assert isinstance(value, str) and form.fullmatch(value), (value, form)
    elif isinstance(form, type):
        assert type(value) is form, (value, form)
    else:
        assert form(value), value


class Collector:
    """Takes spans over OTLP/HTTP. `answer(number)` gives the status of the n-th request."""

    def __init__(self, answer=lambda _: (200, b"{}"), program="muster-gateway"):
        self.program = program
        self.bodies, self.lock, self.requests = [], threading.Lock(), 0
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                with collector.lock:
                    status, text = answer(collector.requests)
                    collector.requests += 1
                    if status == 200:
                        collector.bodies.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def spans(self):
        with self.lock:
            bodies = list(self.bodies)
        found = []
        for body in bodies:
            check_value(body, REQUEST)
            for resource in body["resourceSpans"]:
                about = attributes(resource["resource"])
                assert about["service.name"] == self.program and about["service.instance.id"]
                found += [span for scope in resource["scopeSpans"] for span in scope["spans"]]
        return found

    def wait(self, count):
        """The spans by name, once there are so many."""
        wait_until(lambda: len(self.spans()) >= count, COMMAND_S, f"{count} spans")
        spans = self.spans()
        assert len(spans) == count, [span["name"] for span in spans]
        assert len({span["spanId"] for span in spans}) == count
        assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in spans)
        return spans

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def attributes(of):
    found = {}
    for item in of["attributes"]:
        (kind, value), = item["value"].items()
        assert item["key"] not in found
        found[item["key"]] = int(value) if kind == "intValue" else value
    return found
