"""Batching in the gateway: requests of many clients become one call, and its answer is taken apart."""
import json
import struct
import threading

import pytest

from gateway import Gateway, Replica, key, service
from muster import COMMAND_S, wait_until


@pytest.fixture
def gateway(tmp_path):
    instance = Gateway(tmp_path / "data")
    try:
        yield instance.start(workers=1)
    finally:
        instance.teardown()
        print(instance.log())


def batched(*replicas, limit=32, **more):
    made = service(*replicas, **more)
    made["options"]["batching"] = {"max": limit, "delayMax": "1s"}
    return made


def rows_of(body):
    return body["inputs"][0]["shape"][0]


class Model:
    """Replicas that double each element and record what they got. The first call is held until
    `release`, so that what comes meanwhile gathers."""

    def __init__(self, folder, replicas=1):
        self.calls = []
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.replicas = [Replica(folder, self.answer) for _ in range(replicas)]

    def answer(self, handler):
        head = handler.headers["Inference-Header-Content-Length"]
        text = handler.body[:int(head)] if head else handler.body
        with self.lock:
            self.calls.append(handler.body)
        self.entered.set()
        assert self.gate.wait(COMMAND_S)
        if handler.path == "/v1/embeddings":
            return handler.reply(200, self.embed(json.loads(text)))
        status, body, tail = self.infer(json.loads(text), handler.body[len(text):])
        whole = json.dumps(body).encode()
        fields = {"Inference-Header-Content-Length": str(len(whole))} if tail else {}
        return handler.reply(status, whole + tail, fields)

    def infer(self, body, binary):
        outputs, tail = [], b""
        for tensor in body["inputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            output = {"name": "twice-" + tensor["name"], "datatype": tensor["datatype"],
                      "shape": tensor["shape"]}
            if size is None:
                if -1 in tensor["data"]:
                    return 400, {"error": "no negative numbers"}, b""
                output["data"] = [2 * x for x in tensor["data"]]
            else:
                values = struct.unpack(f"<{size // 4}f", binary[:size])
                binary = binary[size:]
                output["parameters"] = {"binary_data_size": size}
                tail += struct.pack(f"<{size // 4}f", *(2 * x for x in values))
            outputs.append(output)
        answer = {"model_name": "m", "model_version": "1", "outputs": outputs}
        if "id" in body:
            answer["id"] = body["id"]
        return 200, answer, tail

    def embed(self, body):
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": i, "embedding": [len(text)]}
                for i, text in enumerate(texts)]
        return {"object": "list", "model": body["model"], "data": data,
                "usage": {"prompt_tokens": 10 * len(texts), "total_tokens": 10 * len(texts)}}

    def bodies(self):
        return [json.loads(call[:call.rindex(b"}") + 1]) for call in self.calls]


class Clients:
    """Requests at the same time, each with a thread of its own."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.threads = []
        self.answers = {}

    def ask(self, name, body, path="/v2/models/digits/infer", **options):
        def run():
            self.answers[name] = self.gateway.ask("POST", path, body, **options)
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)

    def join(self):
        for thread in self.threads:
            thread.join(COMMAND_S)
            assert not thread.is_alive()
        return self.answers


def tensor(values, name="x", **more):
    return {"name": name, "datatype": "INT64", "shape": [len(values)], "data": values, **more}


def batching(gateway):
    return gateway.status()["batching"][0]


def gather(gateway, count):
    wait_until(lambda: batching(gateway)["waiting"] == count, COMMAND_S,
               f"{count} requests that wait for a batch")


def occupy(clients, model):
    """The first request passes by and keeps the replica busy."""
    clients.ask("first", {"inputs": [tensor([0])]})
    assert model.entered.wait(COMMAND_S)


def test_requests_of_many_clients_are_one_call(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas))
    occupy(clients, model)
    for i in range(8):
        clients.ask(i, {"id": f"request-{i}", "inputs": [tensor([i, 10 * i][:1 + i % 2])]})
    gather(gateway, 8)
    model.gate.set()
    answers = clients.join()
    for i in range(8):
        assert answers[i].status == 200
        assert answers[i].json == {
            "id": f"request-{i}", "model_name": "m", "model_version": "1",
            "outputs": [{"name": "twice-x", "datatype": "INT64", "shape": [1 + i % 2],
                         "data": [2 * i, 20 * i][:1 + i % 2]}]}
    assert len(model.calls) == 2
    assert model.bodies()[1]["inputs"][0]["shape"] == [12]
    assert "id" not in model.bodies()[1]
    said = batching(gateway)
    assert (said["calls"], said["requests"], said["rows"], said["waiting"]) == (1, 8, 12, 0)
    assert said["sizes"][3] == 1
    metrics = gateway.control("GET", "/metrics").text
    assert 'muster_gateway_batch_requests_total{service="vision/digits"} 8' in metrics
    assert 'muster_gateway_batch_size_bucket{service="vision/digits",le="8"} 1' in metrics


def test_binary_and_json_and_shapes_do_not_mix(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas))
    occupy(clients, model)
    for i in range(3):
        raw = struct.pack("<2f", i, 0.1)
        head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2],
                                       "parameters": {"binary_data_size": 8}}]}).encode()
        clients.ask(f"binary-{i}", head + raw,
                    headers={"Inference-Header-Content-Length": str(len(head))})
        clients.ask(f"json-{i}", {"inputs": [tensor([i])]})
        clients.ask(f"other-{i}", {"inputs": [tensor([i], name="y")]})
        clients.ask(f"asks-{i}", {"inputs": [tensor([i])], "parameters": {"a": 1}})
        clients.ask(f"wide-{i}", {"inputs": [{**tensor([i, i]), "shape": [1, 2]}]})
    gather(gateway, 15)
    model.gate.set()
    answers = clients.join()
    assert len(model.calls) == 6
    for i in range(3):
        binary = answers[f"binary-{i}"]
        length = int(binary.headers["inference-header-content-length"])
        assert binary.body[length:] == struct.pack("<2f", 2 * i, 2 * struct.unpack(
            "<f", struct.pack("<f", 0.1))[0])
        for kind, name in (("json", "x"), ("other", "y"), ("asks", "x")):
            output = answers[f"{kind}-{i}"].json["outputs"][0]
            assert (output["name"], output["data"]) == (f"twice-{name}", [2 * i])
        assert answers[f"wide-{i}"].json["outputs"][0]["shape"] == [1, 2]


def test_one_bad_request_of_eight_hurts_nobody_else(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas))
    occupy(clients, model)
    for i in range(8):
        clients.ask(i, {"inputs": [tensor([-1 if i == 5 else i])]})
    gather(gateway, 8)
    model.gate.set()
    answers = clients.join()
    for i in range(8):
        if i == 5:
            assert (answers[i].status, answers[i].json) == (400, {"error": "no negative numbers"})
        else:
            assert answers[i].json["outputs"][0]["data"] == [2 * i]
    assert batching(gateway)["again"] == 8


def test_what_cannot_be_batched_goes_through_unchanged(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    seen = []
    plain = Replica(tmp_path, lambda h: (seen.append(h.body), h.reply(200, b"as it was")))
    gateway.put(batched(*model.replicas), batched(plain, route="plain"))
    model.gate.set()
    odd = [b"", b"not json", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1]}]}',
           b'{"inputs": [ ], "other": 1}']
    for body in odd:
        assert gateway.infer("plain", body).text == "as it was"
    assert seen == odd
    occupy(clients, model)
    answers = clients.join()
    assert answers["first"].status == 200


def test_a_client_that_leaves_is_not_in_the_batch(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas))
    occupy(clients, model)
    gone = gateway.connect()
    gone.request("POST", "/v2/models/digits/infer", json.dumps({"inputs": [tensor([7])]}))
    clients.ask("stays", {"inputs": [tensor([1])]})
    gather(gateway, 2)
    gone.close()
    gather(gateway, 1)
    model.gate.set()
    assert clients.join()["stays"].json["outputs"][0]["data"] == [2]
    assert model.bodies()[1]["inputs"][0]["data"] == [1]
    line = gateway.wait_access(lambda l: l["end"] == "cancelled", "the cancelled request's line")
    assert line["status"] == 499


def test_a_client_that_leaves_a_batch_under_way_hurts_nobody(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas))
    occupy(clients, model)
    gone = gateway.connect()
    gone.request("POST", "/v2/models/digits/infer", json.dumps({"inputs": [tensor([7])]}))
    clients.ask("stays", {"inputs": [tensor([1])]})
    gather(gateway, 2)
    second = threading.Event()
    first_gate, model.gate = model.gate, second
    first_gate.set()
    wait_until(lambda: len(model.calls) == 2, COMMAND_S, "the batch's call")
    gone.close()
    gateway.wait_access(lambda l: l["end"] == "cancelled", "the cancelled request's line")
    second.set()
    assert clients.join()["stays"].json["outputs"][0]["data"] == [2]


def test_a_replica_killed_in_the_middle_of_a_batch(gateway, tmp_path):
    held = threading.Event()
    first = []

    def die(handler):
        first.append(handler.body)
        if len(first) == 1:
            assert held.wait(COMMAND_S)
            return handler.reply(200, {"outputs": []})
        handler.close_connection = True
        return handler.connection.close()

    dying, clients = Replica(tmp_path, die), Clients(gateway)
    model = Model(tmp_path)
    gateway.put(batched(dying))
    clients.ask("first", {"inputs": [tensor([0])]})
    wait_until(lambda: first, COMMAND_S, "the first call")
    for i in range(6):
        clients.ask(i, {"inputs": [tensor([i])]})
    gather(gateway, 6)
    # The survivor is busy, so that the batch goes to the one that dies.
    gateway.put(batched(dying, *model.replicas))
    model.gate.set()
    held.set()
    answers = clients.join()
    for i in range(6):
        assert answers[i].json["outputs"][0]["data"] == [2 * i], answers[i]


def test_an_answer_that_cannot_be_taken_apart_is_asked_for_again(gateway, tmp_path):
    gate, seen = threading.Event(), []

    def fixed(handler):
        seen.append(handler.body)
        assert gate.wait(COMMAND_S)
        handler.reply(200, {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1],
                                         "data": [1]}]})

    replica, clients = Replica(tmp_path, fixed), Clients(gateway)
    gateway.put(batched(replica))
    clients.ask("first", {"inputs": [tensor([0])]})
    wait_until(lambda: seen, COMMAND_S, "the first call")
    for i in range(3):
        clients.ask(i, {"inputs": [tensor([i])]})
    gather(gateway, 3)
    gate.set()
    answers = clients.join()
    assert all(answers[i].json["outputs"][0]["data"] == [1] for i in range(3))
    assert len(seen) == 1 + 1 + 3


def test_a_requests_own_batch_counts(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas, limit=8))
    occupy(clients, model)
    for i in range(6):
        clients.ask(i, {"inputs": [tensor([i] * 3)]})
    clients.ask("large", {"inputs": [tensor([9] * 20)]})
    gather(gateway, 7)
    model.gate.set()
    answers = clients.join()
    assert answers["large"].json["outputs"][0]["data"] == [18] * 20
    sizes = sorted(rows_of(body) for body in model.bodies()[1:])
    assert sizes[-1] == 20 and max(sizes[:-1]) <= 8
    assert sum(sizes) == 38


def test_embeddings(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas))
    path = "/v1/embeddings"
    clients.ask("first", {"model": "digits", "input": "x"}, path)
    assert model.entered.wait(COMMAND_S)
    for i in range(4):
        texts = ["a" * (i + 1), "b"]
        clients.ask(i, {"model": "digits", "input": texts if i % 2 else texts[0]}, path)
    gather(gateway, 4)
    model.gate.set()
    answers = clients.join()
    tokens = 0
    for i in range(4):
        said = answers[i].json
        assert [item["index"] for item in said["data"]] == list(range(1 + i % 2))
        assert [item["embedding"] for item in said["data"]] == [[i + 1], [1]][:1 + i % 2]
        assert (said["object"], said["model"]) == ("list", "digits")
        tokens += said["usage"]["prompt_tokens"]
    assert tokens == 60
    assert len(model.calls) == 2


def test_long_answers_of_another_kind_hold_no_batch_up(gateway, tmp_path):
    gate, entered = threading.Event(), threading.Event()
    model = Model(tmp_path)

    def answer(handler):
        if handler.path == "/v1/chat/completions":
            entered.set()
            assert gate.wait(COMMAND_S)
            return handler.reply(200, {"choices": []})
        return handler.reply(200, model.embed(json.loads(handler.body)))

    clients = Clients(gateway)
    gateway.put(batched(Replica(tmp_path, answer)))
    clients.ask("long", {"model": "digits"}, "/v1/chat/completions")
    assert entered.wait(COMMAND_S)
    for i in range(4):
        said = gateway.ask("POST", "/v1/embeddings", {"model": "digits", "input": "a" * i})
        assert said.json["data"][0]["embedding"] == [i]
    gate.set()
    assert clients.join()["long"].status == 200


def test_higher_priorities_go_first(gateway, tmp_path):
    model, clients = Model(tmp_path), Clients(gateway)
    gateway.put(batched(*model.replicas, limit=2),
                keys=[{**key("low"), "serving": {"priority": 100}},
                      {**key("high"), "serving": {"priority": 900}}])
    occupy(clients, model)
    for i in range(2):
        clients.ask(f"low-{i}", {"inputs": [tensor([i])]}, key="low")
    gather(gateway, 2)
    for i in range(2):
        clients.ask(f"high-{i}", {"inputs": [tensor([10 + i])]}, key="high")
    gather(gateway, 4)
    model.gate.set()
    clients.join()
    assert [sorted(body["inputs"][0]["data"]) for body in model.bodies()[1:]] == [[10, 11], [0, 1]]


def test_several_workers_have_one_batch(tmp_path):
    gateway = Gateway(tmp_path / "data")
    try:
        gateway.start(workers=4)
        model, clients = Model(tmp_path), Clients(gateway)
        gateway.put(batched(*model.replicas))
        occupy(clients, model)
        for i in range(24):
            clients.ask(i, {"inputs": [tensor([i])]})
        leavers = [gateway.connect() for _ in range(8)]
        for leaver in leavers:
            leaver.request("POST", "/v2/models/digits/infer",
                           json.dumps({"inputs": [tensor([1000])]}))
        gather(gateway, 32)
        for leaver in leavers:
            leaver.close()
        gather(gateway, 24)
        model.gate.set()
        answers = clients.join()
        for i in range(24):
            assert answers[i].json["outputs"][0]["data"] == [2 * i]
        assert len(model.calls) == 2
        assert 1000 not in model.bodies()[1]["inputs"][0]["data"]
        assert gateway.stop() == 0
    finally:
        gateway.teardown()
        print(gateway.log())


def test_each_of_many_answers_is_its_own_whoever_leaves(tmp_path):
    """Clients of several workers that ask again and again, some of which do not wait for answers."""
    gateway = Gateway(tmp_path / "data")
    wrong = []

    def run(number):
        connection = gateway.connect()
        for i in range(30):
            values = [1000 * number + i + k for k in range(1 + (number + i) % 3)]
            connection.request("POST", "/v2/models/digits/infer",
                               json.dumps({"id": f"{number}-{i}", "inputs": [tensor(values)]}))
            if (number + i) % 7 == 0:
                connection.close()
                continue
            said = json.loads(connection.getresponse().read())
            if said["id"] != f"{number}-{i}" or \
                    said["outputs"][0]["data"] != [2 * value for value in values]:
                wrong.append(said)
        connection.close()

    try:
        gateway.start(workers=3)
        model = Model(tmp_path, replicas=2)
        model.gate.set()
        gateway.put(batched(*model.replicas, limit=16))
        threads = [threading.Thread(target=run, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(COMMAND_S)
            assert not thread.is_alive()
        assert not wrong
        assert batching(gateway)["requests"] > 0
        assert batching(gateway)["waiting"] == 0
        assert gateway.stop() == 0
    finally:
        gateway.teardown()
        print(gateway.log())


def test_a_call_has_the_deadline_of_the_request_with_the_least_time(gateway, tmp_path):
    seen = []
    model = Model(tmp_path)
    plain = model.replicas[0].answer

    def answer(handler):
        seen.append(handler.headers["X-Request-Timeout-Ms"])
        plain(handler)
    model.replicas[0].answer = answer
    gateway.put(batched(model.replicas[0], deadline={"total": "50s", "header": True}))
    answers, held = [], ["40000", "20000", "30000", None]

    def ask(number, left):
        body = json.dumps({"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [number]}]})
        headers = {"X-Request-Timeout-Ms": left} if left else {}
        answers.append((number, gateway.infer(body=body, headers=headers)))
    threads = [threading.Thread(target=ask, args=(0, "45000"))]
    threads[0].start()
    assert model.entered.wait(COMMAND_S)
    threads += [threading.Thread(target=ask, args=(i + 1, left)) for i, left in enumerate(held)]
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: gateway.status()["open"] == 5, COMMAND_S, "all to wait")
    wait_until(lambda: gateway.status()["batching"][0]["waiting"] == 4, COMMAND_S, "a batch of four")
    model.gate.set()
    for thread in threads:
        thread.join(COMMAND_S)
    assert {number: answer.json["outputs"][0]["data"] for number, answer in answers} == {
        number: [2 * number] for number in range(5)}
    assert len(seen) == 2 and 0 < int(seen[0]) <= 45000 and 0 < int(seen[1]) <= 20000
