"""A small model first, the large one where the small one is not sure."""
import collections
import json
import threading

import pytest

from gateway import Replica, key, read_usage, service
from muster import COMMAND_S, wait_until

CHAT = "/v1/chat/completions"


def by_output(confidence):
    """An answer of the Open Inference Protocol that states its confidence."""
    return lambda handler: handler.reply(200, {"model_name": "small", "outputs": [
        {"name": "label", "shape": [1], "datatype": "INT64", "data": [3]},
        {"name": "sure", "shape": [1], "datatype": "FP32", "data": [confidence]}]})


def large_answer(handler):
    handler.reply(200, {"by": "large", "usage": {"prompt_tokens": 5, "completion_tokens": 7}})


def both(tmp_path, small, large=large_answer, small_options=None, **options):
    small, large = Replica(tmp_path, small), Replica(tmp_path, large)
    cascade = {"first": "small", "confidence": "output", "name": "sure", "threshold": 0.8}
    cascade.update(options.pop("cascade", {}))
    return small, large, [service(small, route="small", **(small_options or {})),
                          service(large, route="large", cascade=cascade, **options)]


def by_logprobs(*values, tokens=(3, 4)):
    def answer(handler):
        body = json.loads(handler.body)
        choices = [{"index": i, "message": {"role": "assistant", "content": "hi"}, "logprobs": {
            "content": [{"token": "hi", "logprob": value, "top_logprobs": []}]} if
            body.get("logprobs") else None} for i, value in enumerate(values)]
        handler.reply(200, {"id": "x", "object": "chat.completion", "created": 1, "choices": choices,
                            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}},
                      {"Content-Type": "application/json"})
    return answer


def counted(gateway):
    """What was counted of each service by all workers."""
    sums = {}
    for item in read_usage(gateway.data):
        of = sums.setdefault(item["service"], collections.Counter())
        of.update({name: value for name, value in item.items() if isinstance(value, int)})
    return sums


LOGPROBS = {"confidence": "logprobs", "name": None}


def ask_chat(gateway, key_text=None, **more):
    return gateway.ask("POST", CHAT, {"temperature": 0, "model": "large", **more}, key=key_text)


def test_who_is_sure_answers(gateway, tmp_path):
    small, large, services = both(tmp_path, by_output(0.93))
    gateway.put(*services)
    answer = gateway.infer("large", b'{"inputs":[]}')
    assert answer.status == 200 and answer.json["model_name"] == "small"
    assert answer.headers["x-muster-answered-by"] == "small"
    assert answer.headers["x-muster-confidence"] == "0.930000"
    assert small.requests[0].path == "/v2/models/small/infer" and not large.requests
    line = gateway.wait_access(lambda line: True, "the line of the request")
    assert (line["route"], line["asked"], line["answeredBy"]) == ("small", "large", "small")
    status = gateway.status()
    assert (status["cascadeSmall"], status["cascadeLarge"], status["requests"]) == (1, 0, 1)


def test_who_is_not_sure_does_not(gateway, tmp_path):
    small, large, services = both(tmp_path, by_output(0.41))
    gateway.put(*services)
    answer = gateway.infer("large", b'{"inputs":[]}')
    assert answer.json["by"] == "large"
    assert answer.headers["x-muster-answered-by"] == "large"
    assert answer.headers["x-muster-tried"] == "small=confidence:0.410000"
    assert "x-muster-confidence" not in answer.headers
    assert large.requests[0].path == "/v2/models/large/infer"
    assert large.requests[0].body == b'{"inputs":[]}'
    status = gateway.status()
    assert (status["cascadeSmall"], status["cascadeLarge"], status["requests"]) == (0, 1, 1)
    wait_until(lambda: gateway.status()["heldBytes"] == 0, COMMAND_S, "nothing to be held")


@pytest.mark.parametrize("answer,why", [
    (lambda h: h.reply(200, {"outputs": []}), "unstated"),
    (lambda h: h.reply(200, b"no json"), "unstated"),
    (lambda h: h.reply(200, {"outputs": [{"name": "sure", "data": [-1]}]}), "unstated"),
    (lambda h: h.reply(400, {"error": "too long"}), "error"),
    (lambda h: h.reply(500, b""), "error"),
    (lambda h: h.reply(200, b" " * (1 << 20) + b"{}"), "too-large"),
    (lambda h: h.connection.close() or h.wfile.close(), "bad_gateway"),
], ids=["nothing", "nonsense", "negative", "refused", "failed", "large", "cut"])
def test_what_states_no_confidence_is_not_sure(gateway, tmp_path, answer, why):
    _, large, services = both(tmp_path, answer, small_options={"retry": "never"})
    gateway.put(*services)
    answer = gateway.infer("large", b'{"inputs":[]}')
    assert answer.json["by"] == "large" and len(large.requests) == 1
    assert answer.headers["x-muster-tried"] == f"small={why}"


def test_a_small_model_that_is_slow_or_gone_is_passed_over(gateway, tmp_path):
    release = threading.Event()
    small, _, services = both(tmp_path, lambda handler: release.wait(COMMAND_S),
                              cascade={"timeout": "100ms"})
    gateway.put(*services)
    try:
        assert gateway.infer("large").headers["x-muster-tried"] == "small=timeout"
    finally:
        release.set()
    small.stop()
    assert gateway.infer("large").headers["x-muster-tried"] == "small=no_replica"
    gateway.put(services[1])
    answer = gateway.infer("large")
    assert answer.json["by"] == "large" and "x-muster-tried" not in answer.headers


def test_by_header_and_by_pointer(gateway, tmp_path):
    small, _, services = both(
        tmp_path, lambda h: h.reply(200, {"by": "small"}, {"X-Sure": h.headers["X-Test"]}),
        cascade={"confidence": "header", "name": "X-Sure"})
    gateway.put(*services)
    by = {sure: gateway.infer("large", headers={"X-Test": sure}).json["by"]
          for sure in ("0.8", "1", "0.799999", "sure", "nan")}
    assert by == {"0.8": "small", "1": "small", "0.799999": "large", "sure": "large",
                  "nan": "large"}
    small.answer = lambda h: h.reply(200, {"by": "small", "choices": [{"sure": 0.9}]})
    services[1]["options"]["cascade"].update(confidence="pointer", name="/choices/0/sure")
    gateway.put(*services)
    assert gateway.infer("large").json["by"] == "small"


# ---- the OpenAI API ---------------------------------------------------------------------------


def test_logprobs_are_asked_for_and_taken_out_again(gateway, tmp_path):
    small, large, services = both(tmp_path, by_logprobs(-0.01, -0.02), cascade=LOGPROBS)
    gateway.put(*services)
    answer = ask_chat(gateway)
    assert answer.headers["x-muster-answered-by"] == "small"
    assert answer.headers["x-muster-confidence"].startswith("0.98019")
    assert [choice["logprobs"] for choice in answer.json["choices"]] == [None, None]
    assert json.loads(small.requests[0].body) == {
        "logprobs": True, "temperature": 0, "model": "small"}
    # Who asks for them gets them.
    assert ask_chat(gateway, logprobs=True).json["choices"][0]["logprobs"]["content"]
    small.answer = by_logprobs(-0.01, -2)
    answer = ask_chat(gateway)
    assert answer.json["by"] == "large"
    assert json.loads(large.requests[0].body) == {"temperature": 0, "model": "large"}


def test_streams_go_straight_to_the_large_one(gateway, tmp_path):
    small, large, services = both(
        tmp_path, by_logprobs(0),
        lambda h: (h.begin(), h.piece(b"data: {}\n\ndata: [DONE]\n\n"), h.end()), cascade=LOGPROBS)
    gateway.put(*services)
    answer = ask_chat(gateway, stream=True)
    assert answer.text.endswith("[DONE]\n\n") and not small.requests
    assert json.loads(large.requests[0].body)["model"] == "large"


def test_a_version_is_that_of_the_service_that_was_asked(gateway, tmp_path):
    small, large, services = both(tmp_path, by_output(1))
    gateway.put(*services)
    assert gateway.ask("POST", "/v2/models/large/versions/1/infer", b"{}").json["by"] == "large"
    assert not small.requests


# ---- counted and priced -----------------------------------------------------------------------


def test_both_are_counted_and_priced_each_for_its_service(gateway, tmp_path):
    """Tokens of the small one at its price, of the large one at its own, for the same key."""
    def limits(price):
        return {"price": {"inputTokens": price, "outputTokens": price},
                "all": [{"what": "money", "most": 1000, "per": "day"},
                        {"what": "requests", "most": 50, "per": "day"}]}

    _, _, services = both(tmp_path, by_logprobs(-1), cascade=LOGPROBS, limits=limits(1),
                          small_options={"limits": limits(0.1)})
    gateway.put(*services, keys=[key("k")])
    assert [ask_chat(gateway, "k").json["by"] for _ in range(3)] == ["large"] * 3
    assert {item["key"] for item in read_usage(gateway.data)} == {"id-k"}
    series = counted(gateway)
    assert [(series[name]["requests"], series[name]["input_tokens"], series[name]["output_tokens"])
            for name in ("vision/small", "vision/large")] == [(3, 9, 12), (3, 15, 21)]
    assert series["vision/small"]["succeeded"] == series["vision/large"]["succeeded"] == 3


def test_what_the_small_one_answers_is_the_small_ones_alone(gateway, tmp_path):
    _, _, services = both(tmp_path, by_logprobs(0), cascade=LOGPROBS,
                          limits={"all": [{"what": "requests", "most": 1, "per": "day"}]})
    gateway.put(*services)
    assert [ask_chat(gateway).status for _ in range(3)] == [200] * 3
    assert {name: (of["requests"], of["output_tokens"])
            for name, of in counted(gateway).items()} == {"vision/small": (3, 12)}


@pytest.mark.parametrize("how", ["limit", "error", "gone"])
def test_an_unsure_answer_is_better_than_none(gateway, tmp_path, how):
    _, large, services = both(tmp_path, by_output(0.3), lambda h: h.reply(500, b"no"),
                              limits={"all": [{"what": "requests", "most": 1, "per": "day"}]}
                              if how == "limit" else {})
    if how == "limit":
        large.answer = large_answer
    if how == "gone":
        services[1]["replicas"] = []
    gateway.put(*services)
    if how == "limit":
        assert gateway.infer("large").json["by"] == "large"
    answer = gateway.infer("large")
    assert answer.status == 200 and answer.json["model_name"] == "small"
    assert answer.headers["x-muster-answered-by"] == "small"
    assert answer.headers["x-muster-confidence"] == "0.300000"
    why = {"limit": "rate_limit_exceeded", "error": "error", "gone": "connection"}[how]
    assert answer.headers["x-muster-tried"] == f"small=confidence:0.300000, large={why}"
    series = counted(gateway)
    assert series["vision/small"]["succeeded"] == series["vision/small"]["requests"]
    assert series["vision/large"]["failed"] + series["vision/large"]["refused"] == 1
    wait_until(lambda: gateway.status()["heldBytes"] == 0, COMMAND_S, "nothing to be held")


def test_a_fallback_comes_before_an_unsure_answer(gateway, tmp_path):
    third = Replica(tmp_path, lambda h: h.reply(200, {"by": "third", "path": h.path}))
    _, _, services = both(tmp_path, by_output(0.3), lambda h: h.reply(500, b"no"),
                          fallback={"to": ["third"]})
    gateway.put(*services, service(third, route="third"))
    answer = gateway.infer("large")
    assert answer.json == {"by": "third", "path": "/v2/models/third/infer"}
    assert answer.headers["x-muster-tried"] == "small=confidence:0.300000, large=error"


def test_a_key_for_the_large_one_reaches_the_teams_own_small_one_only(gateway, tmp_path):
    small, _, services = both(tmp_path, by_output(1), access="team",
                              small_options={"access": "team"})
    keys = [key("k", services=["vision/large"])]
    gateway.put(*services, keys=keys)
    assert gateway.infer("large", key="k").json["model_name"] == "small"
    services[0].update(team="speech", service="speech/small")
    gateway.put(*services, keys=keys)
    assert gateway.infer("large", key="k").json["by"] == "large"


def test_a_client_that_goes_away_cancels_either(gateway, tmp_path):
    begun = threading.Semaphore(0)
    release = threading.Event()

    def hang(handler):
        begun.release()
        release.wait(COMMAND_S)

    small, large, services = both(tmp_path, hang, hang)
    gateway.put(*services)
    try:
        for replica, answer in ((small, None), (large, by_output(0.1))):
            if answer:
                small.answer = answer
            connection = gateway.connect()
            connection.request("POST", "/v2/models/large/infer", body=b"{}")
            assert begun.acquire(timeout=COMMAND_S)
            assert gateway.outstanding(replica.id) == 1
            connection.close()
            wait_until(lambda: gateway.outstanding(replica.id) == 0, COMMAND_S, "the cancellation")
    finally:
        release.set()
    status = gateway.status()
    assert (status["open"], status["heldBytes"]) == (0, 0)


def test_labels_are_counted_as_each_model_names_them(gateway, tmp_path):
    small, large, services = both(tmp_path, by_output(0.1), labels={"names": ["project"]},
                                  small_options={"labels": {"names": ["stage"]}})
    gateway.put(*services)
    headers = {"X-Muster-Labels": "project=a,stage=test"}
    assert gateway.infer("large", b'{"inputs":[]}', headers=headers).status == 200
    small.answer = by_output(0.9)
    assert gateway.infer("large", b'{"inputs":[]}', headers=headers).status == 200
    found = collections.Counter()
    for item in read_usage(gateway.data):
        found[item["service"], item["labels"]] += item["requests"]
    assert found == {("vision/small", "stage=test"): 2, ("vision/large", "project=a"): 1}
