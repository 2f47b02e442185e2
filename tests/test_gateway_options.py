"""What a Service says of its gateway may change at any time, all features together: no request fails, and each gets
its own answer."""
import collections
import json
import random
import threading

import pytest

from gateway import Replica, service

FEATURES = {
    "batching": {"max": 8, "latencyGoal": "2s", "delayMax": "2ms"},
    "cache": {"ttl": "1m"},
    "limits": {"all": [{"what": "requests", "most": 1000000, "per": "hour"}, {"what": "concurrency", "most": 1000}]},
    "queue": {"concurrency": 6, "wait": "30s"},
    "hedge": {"after": "10ms", "limit": 100, "safe": ["infer"]},
    "guard": {"requests": {"secrets": "block"}, "answers": {"personal": "redact"}},
    "record": {"sample": 0.5},
    "routing": {"affinity": "prefix"},
    "fallback": {"to": [{"route": "spare"}]},
    "labels": {"names": ["team"]},
}


def twice(handler):
    body = json.loads(handler.body)
    handler.reply(200, {"model_name": "m", "outputs": [
        {"name": "y", "datatype": tensor["datatype"], "shape": tensor["shape"],
         "data": [2 * value for value in tensor["data"]]} for tensor in body["inputs"]]},
        {"Content-Type": "application/json"})


class Clients:
    """Each asks again as soon as it was answered; half of what they ask was asked before."""

    def __init__(self, gateway, count):
        self.gateway, self.stop, self.wrong = gateway, threading.Event(), []
        self.statuses = collections.Counter()
        self.threads = [threading.Thread(target=self.ask, args=(random.Random(n),)) for n in range(count)]

    def ask(self, chance):
        connection = self.gateway.connect()
        while not self.stop.is_set():
            number = chance.randrange(50) if chance.random() < 0.5 else chance.randrange(1 << 40)
            body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [number]}]}
            connection.request("POST", "/v2/models/digits/infer", json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            self.statuses[answer.status] += 1
            if answer.status != 200 or json.loads(text)["outputs"][0]["data"] != [2 * number]:
                self.wrong.append((answer.status, number, text[:200]))
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_request_fails_whatever_changes(gateway, tmp_path, seed):
    chance = random.Random(seed)
    replicas, spare = [Replica(tmp_path, twice) for _ in range(3)], Replica(tmp_path, twice)

    def put(names):
        some = chance.sample(replicas, chance.randint(1, len(replicas)))
        gateway.put(service(*some, **{name: FEATURES[name] for name in names}),
                    service(spare, route="spare"))

    put([])
    with Clients(gateway, 8) as clients:
        for _ in range(60):
            put(chance.sample(sorted(FEATURES), chance.randint(0, len(FEATURES))))
            before = sum(clients.statuses.values())
            while sum(clients.statuses.values()) < before + 40 and not clients.wrong:
                if not all(thread.is_alive() for thread in clients.threads):
                    break
    assert not clients.wrong, clients.wrong[:3]
    assert set(clients.statuses) == {200}
    assert sum(clients.statuses.values()) >= 60 * 40
