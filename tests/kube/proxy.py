"""A proxy in front of the API server that passes bytes on, until a test wants otherwise: it hangs, cuts
answers short, or answers late. TLS goes through it untouched, so a cut is one in the middle of a record."""
import select
import socket
import threading
import time


class Proxy:
    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.hang = threading.Event()   # nothing is passed on in either direction
        self.cut_after = None           # bytes of answers, then both ends are closed
        self.deaf = threading.Event()   # requests arrive, their answers do not
        self.closing = False
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.closing:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                continue
            self.pairs.append((client, server))
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client, server):
        try:
            while True:
                if self.hang.is_set():
                    time.sleep(0.02)
                    continue
                ready, _, _ = select.select([client, server], [], [], 0.05)
                if self.hang.is_set():
                    continue
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is server:
                        if self.deaf.is_set():
                            continue
                        if self.cut_after is not None and len(data) > self.cut_after:
                            client.sendall(data[:self.cut_after])
                            return
                    (server if one is client else client).sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def drop(self):
        """Closes every connection that is there."""
        for pair in self.pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs.clear()

    def close(self):
        self.closing = True
        self.listener.close()
        self.drop()
