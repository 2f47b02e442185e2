"""The helper that scenarios stand on, tried with a stand-in for the program."""
import pytest

import muster as helper

# Answers every request over the Unix socket, and leaves a child that has cleared its environment
# and a session of its own, as a job in a sandbox does.
STAND_IN = """#!/usr/bin/python3
import http.server, os, signal, socketserver, subprocess, sys, time
if sys.argv[1] != "server":
    print(" ".join(sys.argv[1:]), os.environ["MUSTER_ENDPOINT"], sys.stdin.read())
    sys.exit(0 if sys.argv[1] == "get" else 4)
data = sys.argv[3]
if "fail" in sys.argv:
    sys.exit("no luck")
os.makedirs(data, exist_ok=True)
path = os.path.join(data, "muster.sock")
if os.path.exists(path):
    os.unlink(path)
shim = subprocess.Popen(["/bin/sh", "-c", "env -i setsid sleep 1000 & exec sleep 1000"],
                        start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"path": "%s", "token": "%s", "sent": %s}' % (
            self.path.encode(), self.headers.get("Authorization", "").encode(), body or b"null"))
    do_POST = do_GET
    def address_string(self):
        return "-"
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
socketserver.UnixStreamServer(path, Handler).serve_forever()
"""


@pytest.fixture
def instance(tmp_path):
    program = tmp_path / "stand-in"
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    made = helper.Muster(tmp_path / "data", binary=str(program))
    try:
        yield made
    finally:
        made.teardown()


def leftovers(instance):
    return helper.processes_of(f"{helper.TAG}={instance.id}", instance.data)


def test_start_waits_for_the_first_answer_and_api_speaks_json(instance):
    instance.start()
    answer = instance.api("POST", "/v1/jobs", {"a": 1}, token="secret")
    assert answer.status == 200
    assert answer.json == {"path": "/v1/jobs", "token": "Bearer secret", "sent": {"a": 1}}


def test_a_server_that_ends_fails_the_start_with_its_log(instance):
    with pytest.raises(AssertionError, match="no luck"):
        instance.start("fail")


def test_kill9_restart_and_stop(instance):
    instance.start()
    first = instance.process.pid
    instance.kill9()
    instance.start()
    assert instance.process.pid != first
    instance.restart()
    assert instance.stop() == 0


def test_cli_gives_output_and_fails_the_test_on_failure(instance):
    done = instance.cli("get", "jobs", stdin="in")
    assert done.stdout.split() == ["get", "jobs", f"unix:{instance.socket_path}", "in"]
    assert instance.cli("bad", ok=False).returncode == 4
    with pytest.raises(AssertionError, match="status 4"):
        instance.cli("bad")


def test_teardown_leaves_no_process_even_of_a_killed_server(instance):
    instance.start()
    assert len(leftovers(instance)) >= 2
    instance.kill9()
    assert leftovers(instance)
    instance.teardown()
    assert not leftovers(instance)
