"""Answers that several gateways keep together: given by all of them, never to another tenant, and never wrong or
late, whatever becomes of the server between them."""
import itertools
import os
import signal
import socketserver
import threading

import pytest

from gateway import Gateway, Replica, key, service
from muster import COMMAND_S, wait_until
from test_gateway_shared import PROGRAM, redis  # noqa: F401

needs_redis = pytest.mark.skipif(not PROGRAM, reason="neither redis-server nor valkey-server")
CACHE = {"cache": {"ttl": "1h", "shared": True}}
SECRET = "a secret of all gateways, which is long enough"


def body(number=1):
    return {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [number]}]}


def counting(tmp_path, **more):
    replica = Replica(tmp_path, lambda h: h.reply(200, {"n": len(replica.requests)},
                                                  {"Content-Type": "application/json"}), **more)
    return replica


def secret_file(tmp_path, text=SECRET, mode=0o600):
    path = tmp_path / f"secret-{len(text)}-{mode}"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def start(tmp_path):
    """A function that starts one more gateway with the cache at this address."""
    started, numbers = [], itertools.count()

    def one(address, *options, workers=2, secret=SECRET):
        number = next(numbers)
        folder = tmp_path / f"of-{number}"
        folder.mkdir()
        gateway = Gateway(folder / "data")
        started.append(gateway)
        return gateway.start("--cache-redis", address, "--cache-secret", secret_file(folder, secret),
                             "--cache-wait", "5s", *options, workers=workers)

    try:
        yield one
    finally:
        for gateway in started:
            gateway.teardown()
            print(gateway.log())


@pytest.fixture
def pair(start, redis):  # noqa: F811
    both = [start(f"unix:{redis.path}"), start(f"unix:{redis.path}")]
    connected(redis, 4)
    return both


def connected(server, count):
    wait_until(lambda: sum(server.command("CLIENT", "LIST").count(f"cmd={word}")
                           for word in ("script", "evalsha")) >= count,
               COMMAND_S, "the gateways to be connected")


def said(gateway, name):
    return gateway.status()[f"cacheRedis{name}"]


def kept(gateway, count=1):
    wait_until(lambda: said(gateway, "Kept") >= count, COMMAND_S, "the answer to be kept")


@needs_redis
def test_what_one_gateway_was_answered_all_give(pair, tmp_path):
    replica = counting(tmp_path)
    one, two = pair
    for gateway in pair:
        gateway.put(service(replica, **CACHE))
    first = one.infer(body=body())
    kept(one)
    again = two.infer(body=body())
    assert (again.status, again.text) == (200, first.text)
    assert again.headers["x-cache"] == "hit"
    for name in ("etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    # From then on it is there itself, at all its workers.
    for _ in range(8):
        assert two.infer(body=body()).text == first.text
    assert len(replica.requests) == 1
    assert (said(two, "Hits"), said(two, "Misses"), said(one, "Misses")) == (1, 0, 1)
    assert two.infer(body=body(), headers={"Cache-Control": "no-cache"}).json == {"n": 2}
    assert two.infer(body=body(2)).headers["x-cache"] == "miss"


@needs_redis
def test_other_tenants_versions_and_secrets_share_nothing(pair, start, redis, tmp_path):  # noqa: F811
    replica, newer = counting(tmp_path), counting(tmp_path, version=2)
    keys = [key("a"), key("b", teams=("shop",)), key("c")]
    one, two = pair
    stranger = start(f"unix:{redis.path}", secret=SECRET + "!")
    connected(redis, 6)
    for gateway in (one, two, stranger):
        gateway.put(service(replica, access="known", **CACHE), keys=keys)
    assert one.infer(body=body(), key="a").json == {"n": 1}
    kept(one)
    assert two.infer(body=body(), key="b").json == {"n": 2}
    assert two.infer(body=body(), key="c").json == {"n": 1}
    assert stranger.infer(body=body(), key="a").json == {"n": 3}
    one.put(service(newer, access="known", **CACHE), keys=keys)
    assert one.infer(body=body(), key="a").headers["x-cache"] == "miss"
    # Nothing of requests and answers can be read there.
    names = redis.command("KEYS", "*")
    assert "vision" not in names and names.count("muster:cache:{") == 4


@needs_redis
def test_services_that_do_not_say_so_share_nothing(pair, redis, tmp_path):  # noqa: F811
    replica = counting(tmp_path)
    for gateway in pair:
        gateway.put(service(replica, cache={"ttl": "1h"}))
    assert [gateway.infer(body=body()).json["n"] for gateway in pair] == [1, 2]
    assert redis.command("DBSIZE") == ":0\r\n"


@needs_redis
def test_the_bound_and_the_time_hold(pair, redis, tmp_path):  # noqa: F811
    replica = Replica(tmp_path, lambda h: h.reply(200, {"text": "x" * 1000}))
    one, two = pair
    bounded = {"cache": {"ttl": "1h", "shared": True, "sharedBytesMax": 8192}}
    for gateway in pair:
        gateway.put(service(replica, **bounded))
    for number in range(40):
        one.infer(body=body(number))
    kept(one, 40)
    names = redis.command("KEYS", "*answers").split()[2]
    fields = int(redis.command("HLEN", names)[1:]) - 1
    bytes_there = int(redis.command("HGET", names, "bytes").split()[1])
    assert 3 <= fields <= 6 and 3000 < bytes_there <= 8192
    # The last that came is there, the first gave way.
    assert two.infer(body=body(39)).headers["x-cache"] == "hit"
    assert two.infer(body=body(0)).headers["x-cache"] == "miss"
    # One that alone is too large is dropped.
    large = Replica(tmp_path, lambda h: h.reply(200, {"text": "x" * 9000}))
    one.put(service(large, **bounded))
    dropped = said(one, "Dropped")
    assert one.infer(body=body(50)).status == 200
    wait_until(lambda: said(one, "Dropped") == dropped + 1, COMMAND_S, "the answer to be dropped")
    # What is over is not given, and goes.
    for gateway in pair:
        gateway.put(service(replica, route="brief", cache={"ttl": "50ms", "shared": True}))
    one.infer("brief", body=body())
    wait_until(lambda: two.infer("brief", body=body()).headers["x-cache"] == "miss", COMMAND_S, "it to be too old")
    wait_until(lambda: redis.command("KEYS", "*answers").count("answers") == 1, COMMAND_S, "it to be gone")


CHANGE = ("local fields = redis.call('HKEYS',KEYS[1]) local a,b "
          "for i = 1,#fields do if fields[i] ~= 'bytes' then a,b = b,fields[i] end end "
          "local x,y = redis.call('HGET',KEYS[1],a),redis.call('HGET',KEYS[1],b) %s return 'OK'")


@needs_redis
@pytest.mark.parametrize("change", ["redis.call('HSET',KEYS[1],a,y) redis.call('HSET',KEYS[1],b,x)",
                                    "redis.call('HSET',KEYS[1],a,string.sub(x,1,-2),b,'x')"],
                         ids=["exchanged", "cut"])
def test_what_was_cut_off_or_is_another_requests_is_no_answer(pair, redis, tmp_path, change):  # noqa: F811
    replica = counting(tmp_path)
    one, two = pair
    for gateway in pair:
        gateway.put(service(replica, **CACHE))
    for number in (1, 2):
        one.infer(body=body(number))
    kept(one, 2)
    name = redis.command("KEYS", "*answers").split()[2]
    assert "OK" in redis.command("EVAL", f'"{CHANGE % change}"', "1", name)
    fresh = [two.infer(body=body(number)) for number in (1, 2)]
    assert [answer.headers["x-cache"] for answer in fresh] == ["miss", "miss"]
    assert said(two, "Invalid") == 2


@needs_redis
def test_one_that_hangs_costs_the_wait_once_and_one_that_is_gone_nothing(start, redis, tmp_path):  # noqa: F811
    replica = counting(tmp_path)
    gateway = start(f"unix:{redis.path}", "--cache-wait", "300ms", workers=1)
    connected(redis, 1)
    gateway.put(service(replica, **CACHE))
    redis.process.send_signal(signal.SIGSTOP)
    assert [gateway.infer(body=body(number)).status for number in range(30)] == [200] * 30
    # Far fewer than thirty waited: after the first there is a pause.
    assert said(gateway, "Away") == 30
    assert said(gateway, "Kept") == 0
    assert gateway.infer(body=body(0)).headers["x-cache"] == "hit"
    redis.process.send_signal(signal.SIGCONT)
    redis.stop()
    assert [gateway.infer(body=body(number)).status for number in range(30, 40)] == [200] * 10
    # It is found again by itself.
    os.unlink(redis.path)
    redis.start()
    numbers = itertools.count(100)

    def is_kept():
        gateway.infer(body=body(next(numbers)))
        return said(gateway, "Kept") > 0
    wait_until(is_kept, COMMAND_S, "the cache to be used again")


class Garbage:
    """Takes connections and commands, and answers each EVALSHA with these bytes."""

    def __init__(self, folder, answer):
        self.path = os.path.join(str(folder), "garbage.sock")
        self.asked = 0
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while True:
                    line = self.rfile.readline()
                    if not line.startswith(b"*"):
                        return
                    words = []
                    for _ in range(int(line[1:])):
                        size = int(self.rfile.readline()[1:])
                        words.append(self.rfile.read(size + 2)[:-2])
                    if words[0] == b"SCRIPT":
                        self.wfile.write(b"$40\r\n" + b"a" * 40 + b"\r\n")
                    else:
                        outer.asked += 1
                        self.wfile.write(answer)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("answer", [
    b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b"-ERR no\r\n", b"-NOSCRIPT no\r\n",
    b"*2\r\n:1000\r\n$5\r\nhello\r\n", b"*2\r\n:-1\r\n$5\r\nhello\r\n", b"*3\r\n:1\r\n:2\r\n$2\r\nab\r\n",
    b"*1\r\n*1\r\n$2\r\nab\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0", b"$99999999999999\r\n",
    b"*2\r\n:1000\r\n$3000000\r\n" + b"x" * 3000000 + b"\r\n"], ids=range(15))
def test_one_that_speaks_garbage_is_as_none(start, tmp_path, answer):
    server, replica = Garbage(tmp_path, answer), counting(tmp_path)
    gateway = start(f"unix:{server.path}", "--cache-wait", "200ms", workers=1)
    gateway.put(service(replica, **CACHE))
    numbers = itertools.count()

    def is_asked():
        assert gateway.infer(body=body(next(numbers))).status == 200
        return server.asked > 0
    wait_until(is_asked, COMMAND_S, "it to be asked")
    before = len(replica.requests)
    for number in range(1000, 1010):
        first = gateway.infer(body=body(number))
        assert (first.status, first.headers["x-cache"]) == (200, "miss")
        assert gateway.infer(body=body(number)).text == first.text
    assert len(replica.requests) == before + 10
    assert (said(gateway, "Hits"), said(gateway, "Kept")) == (0, said(gateway, "Kept"))
    server.stop()


@needs_redis
def test_equal_requests_still_make_one_call_of_a_gateway(pair, tmp_path):
    go = threading.Event()

    def answer(handler):
        go.wait(COMMAND_S)
        handler.reply(200, {"n": 1})
    replica = Replica(tmp_path, answer)
    one = pair[0]
    one.put(service(replica, **CACHE))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(one.infer(body=body()))) for _ in range(40)]
    for thread in threads:
        thread.start()
    wait_until(lambda: one.status()["open"] == 40 and len(replica.requests) == 1, COMMAND_S, "all to have asked")
    go.set()
    for thread in threads:
        thread.join(COMMAND_S)
    assert [item.json for item in answers] == [{"n": 1}] * 40
    assert len(replica.requests) == 1 and said(one, "Misses") == 1


@needs_redis
def test_a_gateway_that_ends_while_it_asks_ends(start, redis, tmp_path):  # noqa: F811
    replica = counting(tmp_path)
    gateway = start(f"unix:{redis.path}", "--cache-wait", "10s", "--drain", "1ms", workers=2)
    connected(redis, 2)
    gateway.put(service(replica, **CACHE))
    redis.process.send_signal(signal.SIGSTOP)
    threads = [threading.Thread(target=lambda number=number: give_up(gateway, number)) for number in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: gateway.status()["open"] >= 10, COMMAND_S, "requests to wait")
    assert gateway.stop() == 0
    for thread in threads:
        thread.join(COMMAND_S)


def give_up(gateway, number):
    try:
        gateway.infer(body=body(number))
    except OSError:
        pass
    except Exception as error:  # http.client has many words for a connection that ends
        assert "http" in type(error).__module__, error


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    gateway = Gateway(tmp_path / "data")
    address = "unix:/run/nowhere.sock"
    for options, wanted in (
            (["--cache-redis", address], "belong together"),
            (["--cache-redis", address, "--cache-secret", secret_file(tmp_path, "short")], "expected at least 32"),
            (["--cache-redis", address, "--cache-secret", secret_file(tmp_path, mode=0o644)], "chmod 600"),
            (["--cache-redis", "redis://name.example", "--cache-secret", secret_file(tmp_path)],
             "expected unix:/PATH or redis://")):
        with pytest.raises(AssertionError, match=wanted):
            gateway.start(*options)
