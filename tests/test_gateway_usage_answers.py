"""What is counted of requests beside their outcome: for whom and what, waiting, batches, the cache."""
import json
import threading

import pytest

from gateway import Gateway, Replica, key, read_usage, service
from muster import COMMAND_S, wait_until

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
LABELS = {"labels": {"names": ["project", "stage"], "setsMax": 3}}


@pytest.fixture
def gateway(tmp_path):
    instance = Gateway(tmp_path / "data")
    try:
        yield instance.start(workers=2)
    finally:
        instance.teardown()
        print(instance.log())


def totals(gateway, names, **about):
    """Sums over the series that are about that."""
    found = [item for item in read_usage(gateway.data)
             if all(item[name] == value for name, value in about.items())]
    return tuple(sum(item[name] for item in found) for name in names)


def labelled(gateway, labels, **more):
    headers = {"X-Muster-Labels": labels} if labels is not None else {}
    return gateway.infer(body=BODY, headers=headers, **more)


def metric(gateway, name, **labels):
    """The value of a figure."""
    for line in gateway.control("GET", "/metrics").text.splitlines():
        if line.startswith(name + "{") and all(f'{key}="{value}"' in line
                                               for key, value in labels.items()):
            return float(line.rpartition(" ")[2])
    return None


def test_requests_are_told_apart_by_key_team_and_label(gateway, tmp_path):
    replica = Replica(tmp_path)
    keys = [dict(key("one"), team="vision"), dict(key("two"), team="speech")]
    gateway.put(service(replica, access="known", **LABELS), keys=keys)
    for who, labels in (("one", "stage=test, project=a"), ("one", "project=a,stage=test"),
                        ("two", "project=a"), ("two", None), ("two", "unknown=x")):
        assert labelled(gateway, labels, key=who).status == 200
    counts = {}
    for item in read_usage(gateway.data):  # each worker has series of its own
        who = item["key"], item["team"], item["labels"]
        counts[who] = counts.get(who, 0) + item["requests"]
    assert counts == {("id-one", "vision", "project=a,stage=test"): 2,
                      ("id-two", "speech", "project=a"): 1, ("id-two", "speech", ""): 2}


def test_labels_that_are_none_are_refused_with_what_is_wrong(gateway, tmp_path):
    replica = Replica(tmp_path)
    gateway.put(service(replica, **LABELS))
    for wrong in ("project", "project=", "project=a b", "project=a,project=b", "project=" + "x" * 40):
        refused = labelled(gateway, wrong)
        assert refused.status == 400 and "X-Muster-Labels" in refused.json["error"]
    assert not replica.requests
    # A Service that names none looks at none.
    gateway.put(service(replica))
    assert labelled(gateway, "project").status == 200


def test_labels_beyond_the_bound_count_as_other(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path), **LABELS))
    for number in range(10):
        assert labelled(gateway, f"project=p{number}").status == 200
    labels = {item["labels"] for item in read_usage(gateway.data)}
    assert labels == {"project=p0", "project=p1", "project=p2", "project=other"}
    assert totals(gateway, ["requests"], labels="project=other") == (7,)


def test_what_the_cache_gave_again_is_counted_with_what_it_saved(gateway, tmp_path):
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    replica = Replica(tmp_path, lambda h: h.reply(
        200, {"object": "list", "data": [], "usage": usage}, {"Content-Type": "application/json"}))
    gateway.put(service(replica, route="words", cache={"ttl": "1h"}))
    body = {"model": "words", "input": "hello"}
    for _ in range(4):
        assert gateway.ask("POST", "/v1/embeddings", body).status == 200
    assert len(replica.requests) == 1
    hits, saved_us, input_saved, output_saved, model_us = totals(
        gateway, ["cache_hits", "cache_saved_us", "cache_saved_input_tokens",
                  "cache_saved_output_tokens", "model_us"], replica=replica.id)
    assert (hits, input_saved, output_saved) == (3, 21, 15)
    assert saved_us == 3 * model_us > 0
    assert totals(gateway, ["requests", "succeeded", "input_tokens"]) == (4, 4, 7)
    # The version's own figures are of what the replica answered.
    assert metric(gateway, "muster_gateway_service_requests_total", service="vision/words",
                  version=1, outcome="succeeded") == 1
    assert metric(gateway, "muster_gateway_service_requests_total", service="vision/words",
                  version=0, outcome="succeeded") == 3


class Gate:
    """A replica whose answers wait until they are let go."""

    def __init__(self, folder):
        self.open, self.entered = threading.Event(), threading.Event()
        self.replica = Replica(folder, self.answer)

    def answer(self, handler):
        self.entered.set()
        assert self.open.wait(COMMAND_S)
        body = json.loads(handler.body)
        rows = body["inputs"][0]["shape"][0]
        handler.reply(200, {"model_name": "m", "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [rows], "data": [1.0] * rows}]},
                      {"Content-Type": "application/json"})


def ask_many(gateway, count):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.infer(body=BODY).status))
               for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def test_calls_of_batches_add_up_whoever_was_in_them(gateway, tmp_path):
    gate = Gate(tmp_path)
    gateway.put(service(gate.replica, batching={"max": 32, "delayMax": "1s"}))
    first, answers = ask_many(gateway, 1)
    assert gate.entered.wait(COMMAND_S)
    rest, more = ask_many(gateway, 9)
    wait_until(lambda: gateway.status()["open"] == 10, COMMAND_S, "ten requests to be there")
    gate.open.set()
    for thread in first + rest:
        thread.join()
    assert answers + more == [200] * 10
    batched, sizes, calls, queue_us, model_us, busy_us = totals(
        gateway, ["batched", "batch_sizes", "batch_calls_micro", "queue_us", "model_us", "busy_us"])
    made = len(gate.replica.requests)
    assert batched == 10 and made < 10 and calls == made * 1000000
    assert sizes >= 10 and queue_us > 0 and model_us >= busy_us > 0


def test_waiting_for_a_turn_is_time_in_the_queue(gateway, tmp_path):
    gate = Gate(tmp_path)
    gateway.put(service(gate.replica, queue={"concurrency": 1, "wait": "60s"}))
    first, answers = ask_many(gateway, 1)
    assert gate.entered.wait(COMMAND_S)
    assert totals(gateway, ["queue_us"]) == (0,)
    second, more = ask_many(gateway, 1)
    wait_until(lambda: gateway.status()["open"] == 2, COMMAND_S, "the second to wait")
    gate.open.set()
    for thread in first + second:
        thread.join()
    assert answers + more == [200, 200]
    assert totals(gateway, ["queue_us"])[0] > 0
    assert metric(gateway, "muster_gateway_queue_seconds_count", version=1) == 2
    assert metric(gateway, "muster_gateway_queue_seconds_quantile", quantile="0.99") > 0


def test_a_sigkill_loses_nothing_that_was_counted(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path), cache={"ttl": "1h"}, **LABELS))
    for _ in range(20):
        assert labelled(gateway, "project=a").status == 200
    gateway.kill9()
    assert totals(gateway, ["requests", "succeeded", "cache_hits"], labels="project=a") == (20, 20, 19)
    gateway.start()
    for _ in range(5):
        assert labelled(gateway, "project=a").status == 200
    assert totals(gateway, ["requests"], labels="project=a") == (25,)
    assert len({item["file"] for item in read_usage(gateway.data)}) >= 2


def test_figures_are_histograms_and_quantiles_by_service_and_version(gateway, tmp_path):
    gateway.put(service(Replica(tmp_path, version=1), Replica(tmp_path, version=2)))
    for _ in range(50):
        assert gateway.infer(body=BODY).status == 200
    text = gateway.control("GET", "/metrics").text
    for name in ("request", "first_byte", "queue", "model"):
        assert f"# TYPE muster_gateway_{name}_seconds histogram" in text
        counts = [metric(gateway, f"muster_gateway_{name}_seconds_count", version=version)
                  for version in (1, 2)]
        assert sum(counts) == 50, (name, counts)
        for version in (1, 2):
            about = {"service": "vision/digits", "version": version}
            half, most = (metric(gateway, f"muster_gateway_{name}_seconds_quantile",
                                 quantile=quantile, **about) for quantile in ("0.5", "0.99"))
            assert 0 <= half <= most
            assert metric(gateway, f"muster_gateway_{name}_seconds_bucket", le="+Inf",
                          **about) == counts[version - 1]
    assert "output_tokens_per_second_bucket" not in text, "nobody said how many tokens there were"
