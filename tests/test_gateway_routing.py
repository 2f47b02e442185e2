"""Which replica is asked: affinity of prompts, replicas that fail again and again, retries."""
from gateway import Replica, service
from muster import COMMAND_S, wait_until


def chat(gateway, *texts):
    return gateway.ask("POST", "/v1/chat/completions", {
        "temperature": len(texts), "model": "digits",
        "messages": [{"role": "user", "content": text} for text in texts]})


def test_what_begins_alike_goes_to_the_same_replica(gateway, tmp_path):
    replicas = [Replica(tmp_path) for _ in range(4)]
    gateway.put(service(*replicas, routing={"affinity": "prefix", "blockBytes": 64}))
    homes = {}
    for name in "abcdefgh":
        homes[name] = chat(gateway, name * 400).json["replica"]
    for turn in range(3):
        for name, home in homes.items():
            assert chat(gateway, name * 400, *["more" * 40] * turn).json["replica"] == home
    assert len(set(homes.values())) > 1


def test_without_affinity_requests_go_around(gateway, tmp_path):
    replicas = [Replica(tmp_path) for _ in range(3)]
    gateway.put(service(*replicas))
    seen = {chat(gateway, "x" * 400).json["replica"] for _ in range(30)}
    assert seen == {replica.id for replica in replicas}


def test_who_fails_again_and_again_is_asked_less(gateway, tmp_path):
    good = Replica(tmp_path)
    bad = Replica(tmp_path, lambda h: h.reply(500, b"no"))
    gateway.put(service(good, bad, routing={"failures": 3}))
    statuses = [gateway.infer().status for _ in range(60)]
    assert statuses[-20:] == [200] * 20
    assert len(bad.requests) < 20
    assert set(statuses) == {200, 500}


def test_trying_again_has_a_budget(gateway, tmp_path):
    """Two replicas that cut every connection: at first each request is tried again, then a part."""
    broken = [Replica(tmp_path, raw=lambda c: (c.recv(65536), c.close())) for _ in range(2)]
    gateway.put(service(*broken, retry="safe", routing={"retryPercent": 10, "failures": 0}))
    for _ in range(200):
        assert gateway.infer().status == 502
    wait_until(lambda: gateway.status()["requests"] == 200, COMMAND_S, "the figures")
    # Each worker has ten to begin with, and a tenth of its requests.
    assert 10 <= gateway.status()["retried"] <= 2 * 10 + 20
