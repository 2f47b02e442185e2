"""What an API server of Kubernetes may answer that it should not: the client layer (build/src/engine/kube_probe) is
asked of a server that lies. Each is bounded, and said."""
import http.server
import json
import os
import socketserver
import ssl
import subprocess
import sys
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(ROOT, "tests", "kube"))

import probe  # noqa: E402

PODS = "/api/v1/pods"


def listed(items=(), version="7", **metadata):
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version, **metadata},
            "items": list(items)}


def pod(name):
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": "5"}}


class Liar(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """answer(path) gives the bytes of a 200, pieces of them, or a status and bytes."""
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked, self.answer = folder, [], None
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             "key", "-out", "certificate", "-days", "2", "-subj", "/CN=liar", "-addext",
             "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, cwd=folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "certificate", folder / "key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.server_address[1]}",
                                                   "certificate-authority": "certificate"}}],
            "users": [{"name": "u", "user": {"token": "none"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what is tested."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece

    def do_GET(self):  # pylint: disable=invalid-name
        self.server.asked.append((time.monotonic(), self.path))
        said = self.server.answer(self.path)
        status, said = said if isinstance(said, tuple) else (200, said)
        said = json.dumps(said).encode() if isinstance(said, dict) else said
        self.send_response(status)
        if isinstance(said, bytes):
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for piece in said:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):  # pylint: disable=arguments-differ
        """Nothing."""


@pytest.fixture
def liar(tmp_path):
    server = Liar(tmp_path)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_a_list_without_a_version_is_asked_for_again_and_not_at_once(liar):
    good = threading.Event()
    liar.answer = lambda path: (iter([]) if "watch=" in path else listed([pod("a")], "7" if good.is_set() else ""))
    with probe.Watch(str(liar.kubeconfig), PODS) as watch:
        at = watch.wait_for(f"{PODS}: the list has no resourceVersion")
        good.set()
        watch.wait_for("synced", at)
        assert "synced" not in watch.lines[:at]


def test_a_list_that_never_ends_is_given_up(liar):
    liar.answer = lambda path: listed([], "7", **{"continue": "more"})
    with probe.Watch(str(liar.kubeconfig), PODS) as watch:
        watch.wait_for(f"{PODS}: the list has more than 4096 pages")


def test_versions_that_are_always_too_old_are_asked_for_ever_more_seldom(liar):
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
    liar.answer = lambda path: (
        iter([json.dumps(gone).encode() + b"\n"]) if "watch=" in path else listed([pod("a")]))
    with probe.Watch(str(liar.kubeconfig), PODS) as watch:
        at = 0
        for _ in range(7):
            at = watch.wait_for("synced", at)
    lists = [when for when, path in liar.asked if "watch=" not in path]
    waits = [later - earlier for earlier, later in zip(lists, lists[1:])]
    for doubled, waited in enumerate(waits[:6]):
        assert waited >= 0.1 * 2 ** doubled * 0.75 - 0.01, waits  # a busy machine only makes them longer


def test_a_watch_that_never_says_anything_is_begun_again(liar):
    def silent():
        time.sleep(3600)
        yield b""
    liar.answer = lambda path: silent() if "watch=" in path else listed([pod("a")])
    with probe.Watch(str(liar.kubeconfig), PODS, timeout_ms=200) as watch:
        at = watch.wait_for("synced")
        watch.wait_for(f"{PODS}: ", at)
        assert len([path for _, path in liar.asked if "watch=" in path]) >= 1


def test_what_is_too_large_too_deep_or_no_json_is_said(liar):
    def endless():
        while True:
            yield b" " * (1 << 20)
    for said, text in ((lambda: endless(), "the answer is larger than 16 MiB"),
                       (lambda: b"[" * 100000, None), (lambda: b"{\"items\":", None), (lambda: b"", None)):
        liar.answer = lambda path, said=said: said()
        with probe.Watch(str(liar.kubeconfig), PODS) as watch:
            at = watch.wait_for(f"{PODS}: ")
            assert text is None or text in watch.lines[at - 1], watch.lines
            assert "synced" not in watch.lines


def test_values_of_other_types_are_passed_over(liar):
    odd = [pod("a"), None, 7, "text", [], {}, {"metadata": 7}, {"metadata": {"name": {"a": 1}}}, pod("b")]
    liar.answer = lambda path: (
        iter([b'{"type":"MODIFIED","object":{"metadata":{"resourceVersion":-1}}}\n', b"\n"])
        if "watch=" in path else listed(odd))
    with probe.Watch(str(liar.kubeconfig), PODS) as watch:
        watch.wait_for("synced")
        assert [line for line in watch.lines if line.startswith(("listed a", "listed b"))] == [
            "listed a 5", "listed b 5"]
    for items in ("text", 7, {"a": 1}):
        liar.answer = lambda path, items=items: (
            iter([]) if "watch=" in path else {"metadata": {"resourceVersion": "7"}, "items": items})
        with probe.Watch(str(liar.kubeconfig), PODS) as watch:
            watch.wait_for("synced")
