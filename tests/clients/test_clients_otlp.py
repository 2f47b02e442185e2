"""What the gateway exports, read by the published messages of OTLP (opentelemetry-proto)."""
import base64
import json

import pytest

from collector import Collector
from gateway import Gateway, Replica, service
from openai_upstream import Upstream

json_format = pytest.importorskip("google.protobuf.json_format")
trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
IDS = ("traceId", "spanId", "parentSpanId")


def with_plain_ids(body):
    """The general mapping of JSON has bytes in base64; OTLP's has ids in hexadecimal."""
    if isinstance(body, list):
        return [with_plain_ids(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {name: base64.b64encode(bytes.fromhex(item)).decode() if name in IDS else
            with_plain_ids(item) for name, item in body.items()}


def test_requests_are_those_of_the_published_protocol(tmp_path):
    collector, gateway = Collector(), Gateway(tmp_path / "data")
    try:
        gateway.start("--traces", collector.address, "--traces-period", "20ms", workers=1)
        gateway.put(service(Upstream(tmp_path), route="words", usage="ask"),
                    service(Replica(tmp_path, lambda h: h.reply(500, b"no")), route="broken"))
        chat = {"model": "words", "messages": [{"role": "user", "content": "say some words"}],
                "stream": True}
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "rojo=1"}
        assert gateway.ask("POST", "/v1/chat/completions", chat, headers=headers).status == 200
        assert gateway.infer("broken").status == 500
        collector.wait(4)
    finally:
        gateway.teardown()
        collector.stop()
    spans = []
    for body in collector.bodies:
        message = json_format.ParseDict(with_plain_ids(body),
                                        trace_service.ExportTraceServiceRequest(),
                                        ignore_unknown_fields=False)
        again = json_format.MessageToDict(message)
        assert json.dumps(again, sort_keys=True) == json.dumps(json_format.MessageToDict(
            trace_service.ExportTraceServiceRequest.FromString(message.SerializeToString())),
            sort_keys=True)
        for resource in message.resource_spans:
            assert {item.key for item in resource.resource.attributes} >= {"service.name"}
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    by_name = {span.name: span for span in spans}
    request, model = by_name["POST /v1/chat/completions"], by_name["chat words"]
    assert request.kind == request.SPAN_KIND_SERVER and model.kind == model.SPAN_KIND_CLIENT
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == SPAN
    assert model.parent_span_id == request.span_id and request.trace_state == "rojo=1"
    assert request.start_time_unix_nano <= model.start_time_unix_nano < model.end_time_unix_nano
    tokens = {item.key: item.value.int_value for item in model.attributes}
    assert tokens["gen_ai.usage.output_tokens"] == 12
    failed = by_name["POST /v2/models/{model}/infer"]
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
