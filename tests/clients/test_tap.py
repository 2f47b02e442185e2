"""The tap itself: what is whole, what a client may leave, what is a fault."""
import socket
import threading

import pytest

from tap import Tap

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
HEAD = (b"HTTP/1.1 200 OK\r\nX-Request-Id: 1\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n")
DONE = b"data: [DONE]\n\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*pieces):
    """What the tap says of a client that leaves as soon as it has read these."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tap = Tap("127.0.0.1:%d" % listener.getsockname()[1])
        said = HEAD + b"".join(chunk(one) for one in pieces)

        def serve():
            server, _ = listener.accept()
            with server:
                server.recv(4096)
                server.sendall(said)
                while server.recv(4096):
                    pass

        serving = threading.Thread(target=serve)
        serving.start()
        with socket.create_connection(("127.0.0.1", tap.port)) as client:
            client.sendall(REQUEST)
            got = b""
            while len(got) < len(said):
                got += client.recv(4096)
        serving.join()
        try:
            return tap.check()
        finally:
            tap.close()


def test_who_has_read_the_end_may_leave_before_the_last_chunk():
    assert stream(DONE) == 1


def test_a_stream_without_its_end_is_not_whole():
    with pytest.raises(AssertionError, match="not whole"):
        stream(b"data: {")
