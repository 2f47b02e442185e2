"""A tap between a client and the gateway: it passes bytes on both ways, keeps them, and checks every
answer and every event of a stream against the tables of openai_schema.py."""
import gzip
import json
import socket
import threading
import zlib
from types import SimpleNamespace

from openai_schema import check, count, text, openai_answer, openai_stream, oip_answer

PROBLEM = {"type": text, "title": text, "status": count, "detail": text}


class Tap:
    """Between clients and an address. broken: streams may be cut, or end with an error."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.conversations = []
        self.broken = False
        self.lock = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            kept = SimpleNamespace(asked=bytearray(), said=bytearray(), left=False, over=False)
            with self.lock:
                self.conversations.append(kept)
            for source, sink, which, end in ((client, server, "asked", "left"), (server, client, "said", "over")):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(source, sink, kept, which, end), daemon=True).start()

    def _pass(self, source, sink, kept, which, end):
        record = getattr(kept, which)
        try:
            while data := source.recv(65536):
                with self.lock:
                    record += data
                    self.lock.notify_all()
                sink.sendall(data)
        except OSError:
            pass
        with self.lock:
            setattr(kept, end, True)
            self.lock.notify_all()
        # The other way may still have something to say.
        for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                end.shutdown(how)
            except OSError:
                pass

    def exchanges(self):
        """Every request with its answer, in the order of each connection. A client may be done before the
        last bytes of its answer are here: they are waited for, until the gateway has said all."""
        with self.lock:
            assert self.lock.wait_for(lambda: all(one.over or settled(one) for one in self.conversations), 30)
            kept = [(bytes(one.asked), bytes(one.said), one.left) for one in self.conversations]
        return [exchange for asked, said, left in kept for exchange in pair(asked, said, left)]

    def check(self):
        """Every answer so far; how many those were."""
        exchanges = self.exchanges()
        for request, answer in exchanges:
            check_exchange(request, answer, self.broken)
        return len(exchanges)

    def close(self):
        self.listener.close()


# ---- HTTP as it was said ----------------------------------------------------------------------


def settled(conversation):
    return all(answer.whole for _, answer in pair(conversation.asked, conversation.said, False))


def pair(asked, said, left):
    """left: the client went away, perhaps within the last answer."""
    found, at = [], 0
    while True:
        request, at = take_message(asked, at)
        if request is None:
            return found
        answer, rest = take_message(said, 0, request.first.split(" ")[0])
        if answer is None:
            return found
        said = said[rest:]
        answer.left = left
        found.append((request, answer))


def take_message(data, at, method=None):
    """The message that begins there, None when not even its head is there. method: of the request
    that it answers."""
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None, at
    first, *lines = data[at:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if method and first.split(" ")[1] == "100":
        return take_message(data, end + 4, method)
    message = SimpleNamespace(first=first, headers=headers, body=b"", whole=True)
    if method == "HEAD":
        return message, end + 4
    if headers.get("transfer-encoding") == "chunked":
        return message, take_chunks(data, end + 4, message)
    length = int(headers.get("content-length", 0))
    message.body = data[end + 4:end + 4 + length]
    message.whole = len(message.body) == length
    return message, end + 4 + length


def take_chunks(data, at, message):
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            message.whole = False
            return len(data)
        size = int(data[at:end].split(b";")[0], 16)
        message.body += data[end + 2:end + 2 + size]
        at = end + 2 + size + 2
        if size == 0:
            return at
        if at > len(data):
            message.whole = False
            return len(data)


def plain_body(message):
    undo = {"gzip": gzip.decompress, "deflate": zlib.decompress}
    return undo.get(message.headers.get("content-encoding"), bytes)(message.body)


# ---- what it has to be ------------------------------------------------------------------------


def check_exchange(request, answer, broken):
    method, target, _ = request.first.split(" ")
    path, status = target.partition("?")[0], int(answer.first.split(" ")[1])
    if answer.headers.get("content-type") == "application/problem+json":
        # What is refused before it is known what was asked for has no shape of either protocol.
        check(PROBLEM, json.loads(answer.body))
        return
    assert answer.headers["x-request-id"], answer.first
    if method == "HEAD":
        assert answer.body == b""
        return
    # Who has read the end of a stream may leave before the end of its last chunk was sent.
    said_all = answer.whole or answer.left and answer.body.endswith(b"data: [DONE]\n\n")
    assert said_all or broken, f"{request.first}: the answer is not whole"
    if path.startswith("/v2"):
        oip_answer(path, status, answer.headers, plain_body(answer))
    elif answer.headers["content-type"].startswith("text/event-stream"):
        options = json.loads(plain_body(request)).get("stream_options") or {}
        openai_stream(path, answer.body, bool(options.get("include_usage")),
                      whole_stream=said_all and not broken)
    elif answer.whole:
        openai_answer(path, status, plain_body(answer))
