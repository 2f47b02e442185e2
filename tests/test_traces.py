"""Traces: the context that is passed on, and the spans that a collector gets."""
import json
import re
import threading

import pytest

from collector import Collector, attributes
from gateway import Gateway, Replica, service
from muster import COMMAND_S, wait_until
from openai_upstream import Upstream

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT, INTERNAL = 2, 3, 1


def named(spans, name):
    span, = (span for span in spans if span["name"] == name)
    return span


def inside(child, parent):
    """A child by its id and within its parent's time."""
    return (child["parentSpanId"] == parent["spanId"] and child["traceId"] == parent["traceId"] and
            int(parent["startTimeUnixNano"]) <= int(child["startTimeUnixNano"]) and
            int(child["endTimeUnixNano"]) <= int(parent["endTimeUnixNano"]))


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.stop()


@pytest.fixture
def start(tmp_path):
    """Starts gateways that export to a collector."""
    made = []

    def one(address, *arguments, workers=1):
        gateway = Gateway(tmp_path / "data")
        made.append(gateway)
        return gateway.start("--traces", address, "--traces-period", "20ms", *arguments,
                             workers=workers)

    yield one
    for gateway in made:
        gateway.teardown()
        print(gateway.log())


def figure(gateway, name):
    for line in gateway.control("GET", "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return int(line.rpartition(" ")[2])
    return None


def test_a_trace_goes_on_with_a_new_span_for_the_replica(start, collector, tmp_path):
    gateway, replica = start(collector.address), Replica(tmp_path)
    gateway.put(service(replica))
    given = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "rojo=1, congo=t61rcWkgMzE"}
    assert gateway.infer(body=BODY, headers=given).status == 200
    seen, = replica.requests
    trace, span, flags = PARENT.fullmatch(seen.headers["traceparent"]).groups()
    assert (trace, flags) == (TRACE, "01") and span != SPAN
    assert seen.headers["tracestate"] == given["tracestate"]
    assert len(seen.headers.get_all("traceparent")) == 1
    spans = collector.wait(2)
    request, model = named(spans, "POST /v2/models/{model}/infer"), named(spans, "infer digits")
    assert request["traceId"] == TRACE and request["parentSpanId"] == SPAN
    assert request["kind"] == SERVER and request["flags"] == 0x301
    assert model["kind"] == CLIENT and model["flags"] == 0x101
    assert inside(model, request) and model["spanId"] == span
    assert request["traceState"] == given["tracestate"]
    about = attributes(request)
    assert about["http.request.method"] == "POST" and about["url.scheme"] == "http"
    assert about["url.path"] == "/v2/models/digits/infer" and about["client.address"] == "127.0.0.1"
    assert about["http.response.status_code"] == 200 and about["muster.service"] == "vision/digits"
    assert attributes(model)["muster.replica"] == replica.id
    assert "status" not in request and "status" not in model


def test_a_trace_begins_where_there_is_none_that_can_be_believed(start, collector, tmp_path):
    gateway, replica = start(collector.address), Replica(tmp_path)
    gateway.put(service(replica))
    wrong = [{}, {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01", "tracestate": "a=1"},
             {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, {"traceparent": f"00-{TRACE}-{SPAN}-01-"},
             {"traceparent": f"ff-{TRACE}-{SPAN}-01"}, {"tracestate": "a=1"}]
    for headers in wrong:
        assert gateway.infer(body=BODY, headers=headers).status == 200
    seen = [PARENT.fullmatch(request.headers["traceparent"]).groups()
            for request in replica.requests]
    assert len({trace for trace, _, _ in seen} | {TRACE}) == len(wrong) + 1
    assert all(request.headers["tracestate"] is None for request in replica.requests)
    assert all("parentSpanId" not in span for span in collector.wait(2 * len(wrong))
               if span["kind"] == SERVER)
    # A state that is none goes, the parent stays.
    gateway.infer(body=BODY, headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "A=1"})
    assert TRACE in replica.requests[-1].headers["traceparent"]
    assert replica.requests[-1].headers["tracestate"] is None


def test_the_sampled_flag_decides_and_the_ratio_only_for_new_traces(start, collector, tmp_path):
    gateway, replica = start(collector.address, "--traces-ratio", "0"), Replica(tmp_path)
    gateway.put(service(replica))
    for flags in ("00", "02"):
        gateway.infer(body=BODY, headers={"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
        trace, span, passed = PARENT.fullmatch(replica.requests[-1].headers["traceparent"]).groups()
        assert (trace, passed) == (TRACE, flags) and span != SPAN
    gateway.infer(body=BODY)
    assert PARENT.fullmatch(replica.requests[-1].headers["traceparent"]).group(3) == "02"
    gateway.infer(body=BODY, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert {span["traceId"] for span in collector.wait(2)} == {TRACE}


def test_language_models_are_told_by_the_conventions(start, collector, tmp_path):
    gateway, upstream = start(collector.address), Upstream(tmp_path)
    gateway.put(service(upstream, route="words", usage="ask"))
    body = {"model": "words", "messages": [{"role": "user", "content": "say some words"}],
            "stream": True}
    assert gateway.ask("POST", "/v1/chat/completions", body).status == 200
    spans = collector.wait(2)
    assert attributes(named(spans, "POST /v1/chat/completions"))["http.route"] == "/v1/chat/completions"
    about = attributes(named(spans, "chat words"))
    assert about["gen_ai.operation.name"] == "chat" and about["gen_ai.request.model"] == "words"
    assert about["gen_ai.provider.name"] == "muster"
    assert (about["gen_ai.usage.input_tokens"], about["gen_ai.usage.output_tokens"]) == (3, 12)


def test_failures_and_attempts_are_spans_of_their_own(start, collector, tmp_path):
    gateway = start(collector.address)
    broken = Replica(tmp_path, raw=lambda connection: (connection.recv(65536), connection.close()))
    fine = Replica(tmp_path, lambda handler: handler.reply(500, b"{}"))
    gateway.put(service(broken))
    assert gateway.infer(body=BODY).status == 502
    wait_until(lambda: any(span["kind"] == SERVER for span in collector.spans()), COMMAND_S, "spans")
    spans = collector.spans()
    request, = (span for span in spans if span["kind"] == SERVER)
    attempts = sorted((span for span in spans if span["kind"] == CLIENT),
                      key=lambda span: int(span["startTimeUnixNano"]))
    assert request["status"] == {"code": 2} and attributes(request)["error.type"] == "502"
    assert all(span["status"] == {"code": 2} and inside(span, request) for span in attempts)
    assert [attributes(span).get("http.request.resend_count", 0)
            for span in attempts] == list(range(len(attempts)))
    collector.bodies.clear()
    gateway.put(service(fine))
    assert gateway.infer(body=BODY).status == 500
    assert attributes(named(collector.wait(2), "infer digits"))["error.type"] == "500"


def test_waiting_in_the_queue_the_cache_and_a_batch_are_children(start, collector, tmp_path):
    gateway, go, entered = start(collector.address), threading.Event(), threading.Event()

    def answer(handler):
        entered.set()
        assert go.wait(COMMAND_S)
        rows = json.loads(handler.body)["inputs"][0]["shape"][0]
        handler.reply(200, {"model_name": "m", "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [rows], "data": [1.0] * rows}]},
                      {"Content-Type": "application/json"})

    for number, (option, child, count) in enumerate((
            ({"queue": {"concurrency": 1, "wait": "60s"}}, "queue", 5),
            ({"cache": {"ttl": "1h"}}, "cache", 4),
            ({"batching": {"max": 8, "delayMax": "1s"}}, "batch", 5))):
        replica = Replica(tmp_path, answer)
        go.clear(), entered.clear(), collector.bodies.clear()
        gateway.put(service(replica, route=f"m{number}", **option))
        threads = [threading.Thread(target=gateway.infer, args=(f"m{number}", BODY))
                   for _ in range(2)]
        threads[0].start()
        assert entered.wait(COMMAND_S)
        threads[1].start()
        wait_until(lambda: gateway.status()["open"] == 2, COMMAND_S, "both to be there")
        go.set()
        for thread in threads:
            thread.join()
        spans = collector.wait(count)
        waited = named(spans, child)
        request, = (span for span in spans if span["spanId"] == waited["parentSpanId"])
        assert waited["kind"] == INTERNAL and request["kind"] == SERVER and inside(waited, request)
        models = [span for span in spans if span["kind"] == CLIENT]
        if child == "batch":
            call = next(span for span in models if span["parentSpanId"] == waited["spanId"])
            assert inside(call, waited) and attributes(call)["muster.batch.size"] == 1
            assert call["spanId"] in replica.requests[-1].headers["traceparent"]
        if child == "cache":
            assert attributes(request)["muster.cache.hit"] is True and len(models) == 1


def test_a_collector_that_is_busy_gets_them_again(start, tmp_path):
    busy = Collector(lambda number: (503, b"") if number < 2 else (200, b"{}"))
    gateway = start(busy.address)
    gateway.put(service(Replica(tmp_path)))
    assert gateway.infer(body=BODY).status == 200
    assert {span["kind"] for span in busy.wait(2)} == {SERVER, CLIENT}
    wait_until(lambda: figure(gateway, "muster_gateway_spans_exported_total") == 2, COMMAND_S,
               "the export to be counted")
    busy.stop()


def dropped(gateway):
    return figure(gateway, 'muster_gateway_spans_dropped_total{reason="collector"}')


def test_what_no_collector_takes_is_counted_and_nobody_waits(start, tmp_path):
    refusing = Collector(lambda _: (400, b"no"))
    gateway = start(refusing.address)
    gateway.put(service(Replica(tmp_path)))
    for _ in range(5):
        assert gateway.infer(body=BODY).status == 200
    wait_until(lambda: dropped(gateway) == 10, COMMAND_S, "ten dropped spans")
    assert figure(gateway, "muster_gateway_spans_exported_total") == 0
    assert refusing.requests <= 5, "what is refused is not sent again"
    refusing.stop()
    # Nobody is there any more: they are tried again for a while.
    assert gateway.infer(body=BODY).status == 200
    wait_until(lambda: dropped(gateway) == 12, COMMAND_S, "two more")


def test_some_that_are_rejected_are_counted(start, tmp_path):
    text = json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no"}}).encode()
    partial = Collector(lambda _: (200, text))
    gateway = start(partial.address)
    gateway.put(service(Replica(tmp_path)))
    assert gateway.infer(body=BODY).status == 200
    wait_until(lambda: dropped(gateway) == 1, COMMAND_S, "one rejected span")
    assert figure(gateway, "muster_gateway_spans_exported_total") == 1
    partial.stop()


def test_what_is_left_is_sent_at_the_end(start, collector, tmp_path):
    gateway = start(collector.address, "--traces-period", "1h", workers=2)
    gateway.put(service(Replica(tmp_path)))
    for _ in range(20):
        assert gateway.infer(body=BODY).status == 200
    assert not collector.spans()
    assert gateway.stop() == 0
    assert len(collector.spans()) == 40


def test_without_a_collector_nothing_is_changed(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica))
    given = {"traceparent": "anything", "tracestate": "at all"}
    assert gateway.infer(body=BODY, headers=given).status == 200
    seen = replica.requests[0].headers
    assert (seen["traceparent"], seen["tracestate"]) == ("anything", "at all")
    gateway.infer(body=BODY)
    assert replica.requests[1].headers["traceparent"] is None
    assert "spans" not in gateway.control("GET", "/metrics").text


@pytest.mark.parametrize("arguments", [
    ("--traces", "ftp://127.0.0.1:4318"), ("--traces", "collector:4318"),
    ("--traces", "http://127.0.0.1:1", "--traces-ratio", "2"),
    ("--traces", "http://127.0.0.1:1", "--traces-ratio", "some")])
def test_options_that_make_no_sense_are_refused(tmp_path, arguments):
    gateway = Gateway(tmp_path / "data")
    with pytest.raises(AssertionError, match="collector's address|traces-ratio"):
        gateway.start(*arguments)
