"""Secondary scoring: the light answer goes out at once, the heavy one's verdict is recorded later."""
import glob
import http.server
import json
import os
import re
import threading

from gateway import Replica, key, service
from muster import COMMAND_S, wait_until

BODY = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["I am ann@mail.example"]}]}
CHAT = {"model": "light", "messages": [{"role": "user", "content": "hello"}], "temperature": 0.10}


def verdicts(gateway, count=None, name="vision/light"):
    def read():
        found = []
        for path in sorted(glob.glob(os.path.join(gateway.data, "gateway", "verdicts", name, "*.rec"))):
            assert os.stat(path).st_mode & 0o777 == 0o600
            with open(path, encoding="utf-8") as lines:
                found += [json.loads(line[17:]) for line in lines]
        return found if count is None or len(found) >= count else None
    return read() if count is None else wait_until(read, COMMAND_S, f"{count} verdicts")


def light(*replicas, **options):
    return service(*replicas, route="light", secondary={"route": "heavy", **options})


def answers(value):
    return lambda handler: handler.reply(200, {"says": value})


def test_the_light_answer_goes_out_at_once_and_the_verdict_comes_later(gateway, tmp_path):
    go = threading.Event()

    def slow(handler):
        go.wait(COMMAND_S)
        handler.reply(200, {"says": "heavy"})

    one, two = Replica(tmp_path, answers("light"), version=4), Replica(tmp_path, slow, version=9)
    gateway.put(light(one), service(two, route="heavy"))
    answer = gateway.infer("light", BODY, headers={"X-Request-ID": "one"})
    assert answer.json == {"says": "light"} and verdicts(gateway) == []
    go.set()
    found, = verdicts(gateway, 1)
    assert (found["id"], found["by"], found["version"], found["status"]) == ("one", "vision/heavy", 9, 200)
    assert (found["lightVersion"], found["lightStatus"]) == (4, 200)
    assert (json.loads(found["answer"]), json.loads(found["light"])) == ({"says": "heavy"}, {"says": "light"})
    assert json.loads(found["request"])["inputs"][0]["data"] == ["I am [REDACTED:email]"]
    request, = two.requests
    assert request.path == "/v2/models/heavy/infer" and json.loads(request.body) == BODY
    assert request.headers["X-Request-ID"] == "one" and "Authorization" not in request.headers


def test_a_body_that_names_its_model_names_the_other(gateway, tmp_path):
    one, two = Replica(tmp_path, answers("light")), Replica(tmp_path, answers("heavy"))
    gateway.put(light(one), service(two, route="heavy"))
    text = json.dumps(CHAT).replace("0.1", "0.10")
    assert gateway.ask("POST", "/v1/chat/completions", text).status == 200
    verdicts(gateway, 1)
    assert two.requests[0].body.decode() == text.replace('"light"', '"heavy"')


def test_who_cannot_be_asked_is_said(gateway, tmp_path):
    one, other = Replica(tmp_path, answers("light")), Replica(tmp_path, answers("heavy"))
    foreign = service(other, route="heavy", access="team", team="speech")
    for made in ((), (service(route="heavy"),), (foreign,), (service(other, route="heavy", protocols=["openai"]),)):
        gateway.put(light(one), *made)
        assert gateway.infer("light", BODY).status == 200
    found = verdicts(gateway, 4)
    assert [record["without"] for record in found] == [
        "no such service", "no replica is ready", "no such service", "no such service"]
    assert other.requests == [] and gateway.status()["secondaryFailed"] == 4


def test_a_heavy_one_that_breaks_or_hangs_costs_nobody_else_anything(gateway, tmp_path):
    def broken(handler):
        handler.close_connection = True

    one, two = Replica(tmp_path, answers("light")), Replica(tmp_path, broken)
    gateway.put(light(one), service(two, route="heavy"))
    assert gateway.infer("light", BODY).json == {"says": "light"}
    assert verdicts(gateway, 1)[0]["without"] == "no answer"
    over = threading.Event()
    two.answer = lambda handler: over.wait(COMMAND_S)
    gateway.put(light(one), service(two, route="heavy", timeout_ms=200))
    assert gateway.infer("light", BODY).json == {"says": "light"}
    assert verdicts(gateway, 2)[1]["without"] == "timeout"
    over.set()


def test_budget_and_queue_bound_it(gateway, tmp_path):
    over = threading.Event()

    def held(handler):
        over.wait(COMMAND_S)
        handler.reply(200, {})

    one, two = Replica(tmp_path, answers("light")), Replica(tmp_path, held)
    gateway.put(light(one, perMinute=40, concurrency=1, queue=0), service(two, route="heavy"))
    for _ in range(100):
        assert gateway.infer("light", BODY).status == 200
    wait_until(lambda: len(two.requests) >= 1, COMMAND_S, "the first question")
    # Each worker has one under way and one that may begin; a new minute may have begun meanwhile.
    assert gateway.status()["secondaryDropped"] >= 20 and len(two.requests) <= 4
    over.set()
    verdicts(gateway, len(two.requests))


def test_streams_errors_and_keys_get_no_second_question(gateway, tmp_path):
    def mixed(handler):
        if b"stream" in handler.body:
            handler.send_response(200)
            handler.send_header("Content-Type", "text/event-stream")
            handler.send_header("Content-Length", "14")
            handler.end_headers()
            handler.wfile.write(b"data: [DONE]\n\n")
        else:
            handler.reply(500 if b"error" in handler.body else 200, {})

    one, two = Replica(tmp_path, mixed), Replica(tmp_path, answers("heavy"))
    gateway.put(light(one), service(two, route="heavy"), keys=[key("the-key")])
    assert gateway.infer("light", b'{"stream": 1}').status == 200
    assert gateway.infer("light", b'{"error": 1}').status == 500
    assert gateway.infer("light", b'{"it": "the-key"}', key="the-key").status == 200
    assert gateway.infer("light", b'{"last": 1}').status == 200
    assert [json.loads(record["request"]) for record in verdicts(gateway, 1)] == [{"last": 1}]
    assert len(two.requests) == 1


def test_a_gateway_that_ends_gives_up_what_is_under_way(gateway, tmp_path):
    over = threading.Event()
    one = Replica(tmp_path, answers("light"))
    two = Replica(tmp_path, lambda handler: over.wait(COMMAND_S))
    gateway.put(light(one), service(two, route="heavy"))
    assert gateway.infer("light", BODY).status == 200
    wait_until(lambda: two.requests, COMMAND_S, "the question")
    assert gateway.stop() == 0
    over.set()


class Judge:
    """Takes what is posted, and answers as it is told."""

    def __init__(self, *statuses):
        self.posts, self.statuses, self.lock = [], list(statuses), threading.Lock()
        self.go = threading.Event()
        self.go.set()
        judge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with judge.lock:
                    judge.posts.append((self.path, self.headers, body))
                    status = judge.statuses.pop(0) if judge.statuses else 204
                judge.go.wait(COMMAND_S)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/verdicts?of=light"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


def posted(gateway, name):
    text = gateway.control("GET", "/metrics").text
    return int(re.search(rf"^muster_gateway_secondary_{name} (\d+)$", text, re.M).group(1))


def test_a_verdict_is_posted_as_it_is_recorded(gateway, tmp_path):
    one, two, judge = Replica(tmp_path, answers("light")), Replica(tmp_path, answers("heavy")), Judge()
    gateway.put(light(one, post={"url": judge.url}), service(two, route="heavy"))
    assert gateway.infer("light", BODY, headers={"X-Request-ID": "one"}).status == 200
    record, = verdicts(gateway, 1)
    wait_until(lambda: posted(gateway, "posted_total") == 1, COMMAND_S, "the post")
    (path, headers, body), = judge.posts
    assert path == "/verdicts?of=light" and headers["Content-Type"] == "application/json"
    assert body == {"service": "vision/light", **record}
    assert "ann@mail.example" not in json.dumps(body) and headers["X-Muster-Post"]
    judge.stop()


def test_what_is_not_taken_is_posted_again_a_bounded_number_of_times(gateway, tmp_path):
    one, two = Replica(tmp_path, answers("light")), Replica(tmp_path, answers("heavy"))
    judge = Judge(503, 204, 404, 500, 500)
    for retries, name, count in ((3, "posted_total", 1), (3, "post_refused_total", 1), (1, "post_unreached_total", 1)):
        gateway.put(light(one, post={"url": judge.url, "retries": retries}), service(two, route="heavy"))
        assert gateway.infer("light", BODY).status == 200
        wait_until(lambda: posted(gateway, name) == count, COMMAND_S, name)
    names = [headers["X-Muster-Post"] for _, headers, _ in judge.posts]
    assert len(names) == 5 and names[0] == names[1] and names[3] == names[4] and len(set(names)) == 3
    assert posted(gateway, "post_retried_total") == 2
    judge.stop()
    gateway.put(light(one, post={"url": judge.url, "retries": 0}), service(two, route="heavy"))
    assert gateway.infer("light", BODY).status == 200
    wait_until(lambda: posted(gateway, "post_unreached_total") == 2, COMMAND_S, "no connection")


def test_one_that_hangs_delays_no_client_and_bounds_hold(gateway, tmp_path):
    one, two, judge = Replica(tmp_path, answers("light")), Replica(tmp_path, answers("heavy")), Judge()
    judge.go.clear()
    gateway.put(light(one, queue=1000, concurrency=8, post={"url": judge.url, "timeout": "60s"}),
                service(two, route="heavy"))
    for _ in range(150):
        assert gateway.infer("light", BODY).status == 200
    verdicts(gateway, 150)
    wait_until(lambda: posted(gateway, "post_dropped_total") == 150 - 128, COMMAND_S, "the rest to be dropped")
    assert posted(gateway, "posts") == 128 and len(judge.posts) <= 4
    assert gateway.stop() == 0
    judge.stop()


def test_only_urls_over_http_are_taken(gateway, tmp_path):
    one = Replica(tmp_path, answers("light"))
    for url in ("unix:/run/muster.sock", "http://", "https:///x", "http://127.0.0.1:x/", "http://judge.example:0/",
                "http://127.0.0.1:1/a b", "http://user@127.0.0.1:1/", "http://127.0.0.1:1?x", "ftp://127.0.0.1/",
                "https://judge.example/#a", "https://judge%2eexample/", "http://judge.example/\r\nHost: a"):
        answer = gateway.control("PUT", "/routes", json.dumps(
            {"generation": 99, "keys": [], "teams": [], "services": [light(one, post={"url": url})]}))
        assert answer.status in (400, 422) and "expected a URL" in answer.text, (url, answer)
    for url in ("http://127.0.0.1", "http://[::1]:9000/x/y?z=1", "http://10.0.0.9:9000/"):
        gateway.put(light(one, post={"url": url}))
