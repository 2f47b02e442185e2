"""Limits over several gateways: the total holds, whatever becomes of the server between them."""
import collections
import os
import shutil
import signal
import socket
import subprocess

import pytest

from gateway import Gateway, Replica, service
from muster import COMMAND_S, START_S, STOP_S, wait_until
from test_gateway_limits import at_once, chat, left, limit, metrics

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="neither redis-server nor valkey-server")


class Redis:
    def __init__(self, folder):
        self.folder, self.path = folder, os.path.join(str(folder), "redis.sock")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [PROGRAM, "--port", "0", "--unixsocket", self.path, "--save", "", "--dir",
             str(self.folder)], stdout=subprocess.DEVNULL)
        wait_until(self.answers, START_S, "redis to answer")
        return self

    def answers(self):
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(self.path):
                return False
            client.sendall(b"PING\r\n")
            return client.recv(100) == b"+PONG\r\n"

    def command(self, *words):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            client.sendall((" ".join(words) + "\r\n").encode())
            return client.recv(65536).decode()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(timeout=STOP_S)


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def gateways(tmp_path, redis):
    """A function that starts three gateways with these options."""
    started = []

    def start(*options):
        for number in range(3):
            gateway = Gateway(tmp_path / f"data-{number}")
            started.append(gateway)
            gateway.start("--limits-redis", f"unix:{redis.path}", "--limits-gateways", "3",
                          "--limits-wait", "5s", *options, workers=2)
        return started

    try:
        yield start
    finally:
        for gateway in started:
            gateway.teardown()
            print(gateway.log())


def put(gateways, *services):
    for gateway in gateways:
        gateway.put(*services)


def connected(redis, count):
    """Each worker has a connection and both scripts."""
    def all_there():
        clients = redis.command("CLIENT", "LIST")
        return clients.count("cmd=script") + clients.count("cmd=evalsha") >= count
    wait_until(all_there, COMMAND_S, "the gateways to be connected")


def test_the_total_over_gateways_holds(gateways, redis, tmp_path):
    all_of_them, replica = gateways(), Replica(tmp_path)
    connected(redis, 6)
    put(all_of_them, service(replica, limits={"all": [limit("requests", 40, "hour")]}))
    answers = at_once(64, lambda number: all_of_them[number % 3].infer())
    statuses = collections.Counter(answer.status for answer in answers)
    # Asked one after the other in one place: the limit is met exactly.
    assert statuses == {200: 40, 429: 24}
    assert len(replica.requests) == 40
    refused = all_of_them[0].infer()
    assert 3600 - 1 <= int(refused.headers["retry-after"]) <= 3600 + 240


def test_tokens_are_settled_for_all(gateways, redis, tmp_path):
    all_of_them, replica = gateways(), Replica(tmp_path, lambda h: chat(h, 10, 5))
    connected(redis, 6)
    put(all_of_them, service(replica, route="chat",
                             limits={"all": [limit("tokens", 1000, "hour")]}))
    first, second = all_of_them[:2]
    body = {"model": "chat", "max_tokens": 500}
    assert first.ask("POST", "/v1/chat/completions", body).status == 200

    def settled():
        answer = second.ask("POST", "/v1/chat/completions", {**body, "max_tokens": 1})
        return left(answer) >= 900
    wait_until(settled, COMMAND_S, "what was not used to be given back")


@pytest.mark.parametrize("away, admitted", [("local", 12), ("share", 4), ("refuse", 0)])
def test_what_holds_while_it_is_away(gateways, redis, tmp_path, away, admitted):
    all_of_them, replica = gateways("--limits-away", away), Replica(tmp_path)
    connected(redis, 6)
    put(all_of_them, service(replica, limits={"all": [limit("requests", 12, "hour")]}))
    redis.stop()
    gateway = all_of_them[0]
    statuses = collections.Counter(gateway.infer().status for _ in range(20))
    assert statuses[200] == admitted
    assert set(statuses) == {200, 429} - ({200, 429} if away == "refuse" else set()) | (
        {503} if away == "refuse" else set())
    if away == "refuse":
        assert metrics(gateway)["refused_total", "sharedAway"] == 20
    # It is found again by itself, and asked.
    os.unlink(redis.path)
    redis.start()
    connected(redis, 6)
    put(all_of_them, service(replica, route="other", limits={"all": [limit("requests", 2, "hour")]}))
    assert [each.infer("other").status for each in all_of_them] == [200, 200, 429]


def test_one_that_does_not_answer_is_waited_for_no_longer_than_said(tmp_path, redis):
    gateway, replica = Gateway(tmp_path / "data"), Replica(tmp_path)
    try:
        gateway.start("--limits-redis", f"unix:{redis.path}", "--limits-away", "local",
                      "--limits-wait", "50ms", workers=1)
        connected(redis, 1)
        gateway.put(service(replica, limits={"all": [limit("requests", 5, "hour")]}))
        redis.process.send_signal(signal.SIGSTOP)
        assert [gateway.infer().status for _ in range(6)] == [200] * 5 + [429]
        redis.process.send_signal(signal.SIGCONT)
        connected(redis, 1)
        assert gateway.infer().status == 429
    finally:
        gateway.teardown()
        print(gateway.log())


def test_one_that_hangs_is_given_up_with_all_it_was_asked(tmp_path, redis):
    """It would hold whatever it is asked, and each request for the whole wait: three that were late are enough."""
    gateway, replica = Gateway(tmp_path / "data"), Replica(tmp_path)
    try:
        gateway.start("--limits-redis", f"unix:{redis.path}", "--limits-away", "local",
                      "--limits-wait", "2s", workers=1)
        connected(redis, 1)
        gateway.put(service(replica, limits={"all": [limit("requests", 100000, "hour")]}))
        assert gateway.infer().status == 200
        redis.process.send_signal(signal.SIGSTOP)
        assert [answer.status for answer in at_once(3, lambda number: gateway.infer())] == [200] * 3
        wait_until(lambda: "cannot be used: it does not answer in time" in gateway.log(), COMMAND_S, "a word of it")
        assert {gateway.infer().status for _ in range(50)} == {200}
        assert gateway.status()["limitsRedisAway"] == 53
        redis.process.send_signal(signal.SIGCONT)

        def asked_again():
            away = gateway.status()["limitsRedisAway"]
            return gateway.infer().status == 200 and gateway.status()["limitsRedisAway"] == away
        wait_until(asked_again, COMMAND_S, "it to be asked again")
        assert "is used again" in gateway.log()
    finally:
        gateway.teardown()
        print(gateway.log())


def test_scripts_that_were_forgotten_are_loaded_again(gateways, redis, tmp_path):
    all_of_them, replica = gateways("--limits-away", "refuse"), Replica(tmp_path)
    connected(redis, 6)
    put(all_of_them, service(replica, limits={"all": [limit("requests", 1000, "hour")]}))
    redis.command("SCRIPT", "FLUSH")
    wait_until(lambda: all(gateway.infer().status == 200 for gateway in all_of_them), COMMAND_S,
               "the scripts to be there again")


def test_a_wrong_address_is_refused_at_the_start(tmp_path):
    gateway = Gateway(tmp_path / "data")
    for address in ("redis://name.example:1", "http://127.0.0.1:1", "redis://127.0.0.1:x"):
        with pytest.raises(AssertionError, match="expected unix:/PATH or redis://"):
            gateway.start("--limits-redis", address)
