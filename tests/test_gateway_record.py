"""Recording of requests, with consent and without secrets, and their replay against a version."""
import base64
import http.client
import json
import os
import struct
import subprocess

from manifests import TEAM
from test_services import RUNTIME, answering, push, ready, said, served, status  # noqa: F401
import muster as helper

RECORD = {"record": {"sample": 1, "keep": "1h"}}


def recordings(site):
    return os.path.join(site.data, "gateway", "recordings")


def recorded(site, count):
    def found():
        answer = site.call("GET", f"/v1/services/{TEAM}:digits/recording?limit=1000")
        return answer if len(answer["items"]) >= count else None
    return site.wait_for(found, f"{count} records")


def replay(site, *words):
    return subprocess.run([helper.BINARY, "replay", f"{TEAM}/digits", *words], env=site.environment,
                          capture_output=True, text=True, timeout=100)


def everything_on_disk(site):
    text = b""
    for folder, _, names in os.walk(os.path.join(site.data, "gateway")):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    text += file.read()
    return text


def test_nothing_is_recorded_without_consent(served):  # noqa: F811
    served.apply(answering())
    ready(served)
    said(served)
    assert not os.path.exists(recordings(served))
    none = replay(served)
    assert none.returncode == 4 and f"nothing is recorded of {TEAM}/digits in that time" in none.stderr
    nobody = served.cli("replay", f"{TEAM}/nobody", ok=False)
    assert nobody.returncode == 4 and f"there is no service {TEAM}/nobody" in nobody.stderr


def test_a_replay_within_its_bounds(served):  # noqa: F811
    for option, most in (("--limit", 1000000), ("--parallel", 8)):
        for value in (0, most + 1):
            refused = replay(served, option, str(value))
            assert refused.returncode == 2
            assert f"{option}: expected a number from 1 to {most}, got {value}" in refused.stderr


def test_what_was_asked_is_kept_without_secrets_and_keys(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    said(served, "I am ann@mail.example")
    assert served.gateway.ask(f"my key is {served.token}", token=served.token)[0] == 200
    said(served, "plain")
    record, other = recorded(served, 2)["items"]
    assert json.loads(record["request"])["inputs"][0]["data"] == ["I am [REDACTED:email]"]
    assert json.loads(record["answer"])["outputs"][0]["data"] == ["one I am [REDACTED:email]"]
    assert json.loads(other["request"])["inputs"][0]["data"] == ["plain"]
    assert (record["status"], record["version"], record["path"]) == (200, 1, "/v2/models/digits/infer")
    disk = everything_on_disk(served)
    assert b"mail.example" not in disk and served.token.encode() not in disk
    folder = os.path.join(recordings(served), TEAM, "digits")
    modes = {os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in os.listdir(folder)}
    assert modes == {0o600}
    metrics = subprocess.run(
        ["curl", "-s", "--unix-socket", os.path.join(served.data, "gateway", "control.sock"),
         "http://gateway/metrics"], capture_output=True, text=True, check=True).stdout
    assert "\nmuster_gateway_recorded_total 2\n" in metrics
    assert "\nmuster_gateway_record_unfit_total 1\n" in metrics


def test_a_recording_is_replayed_against_a_version(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    for i in range(12):
        said(served, f"number {i}")
    said(served, "write to bob@mail.example")
    recorded(served, 13)
    same = replay(served, "--version", "1", "--parallel", "3")
    assert same.returncode == 0, same.stdout + same.stderr
    assert "13 same, 0 different, 0 without an answer" in same.stdout
    assert "latency ms: median" in same.stdout
    # Another version that says something else.
    push(served)
    served.apply(answering(mode="two", gateway=RECORD))
    served.wait_for(lambda: status(served).get("version") == 2 and status(served)["state"] == "ready",
                    "version 2")
    before = served.gateway.ask("x", token=served.token)[0]
    assert before == 200
    found = replay(served, "--version", "2", "--rate", "200", "-o", "json", "--limit", "13")
    assert found.returncode == 1, found.stderr
    document = json.loads(found.stdout)
    assert (document["same"], document["different"], document["no-answer"]) == (0, 13, 0)
    assert document["requests"][0]["difference"] == (
        'outputs[0].data[0]: "two number 0", was "one number 0"')
    assert {request["versionThen"] for request in document["requests"]} == {1}
    table = replay(served, "--version", "2", "--limit", "3", "--speed", "1000")
    assert table.returncode == 1 and "3 different" in table.stdout and "two number 1" in table.stdout
    assert "\033" not in table.stdout, "no colours but on a terminal"
    ignored = replay(served, "--version", "2", "--limit", "3", "--ignore", "outputs")
    assert ignored.returncode == 0, ignored.stdout
    assert "version 1" in replay(served, "--version", "1").stderr
    # Nothing of it was recorded, or counted for users.
    assert len(recorded(served, 14)["items"]) == 14


def test_a_torn_tail_and_damage_are_skipped_and_said(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    for i in range(3):
        said(served, f"number {i}")
    recorded(served, 3)
    served.gateway.stop()  # killed
    folder = os.path.join(recordings(served), TEAM, "digits")
    path = os.path.join(folder, os.listdir(folder)[0])
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    with open(path, "wb") as file:
        file.write(lines[0] + lines[1][:30] + b"X" + lines[1][31:] + lines[2][:-20])
    served.gateway.start()
    said(served, "number 3")
    found = recorded(served, 2)
    assert (found["torn"], found["damaged"]) == (1, 1)
    result = replay(served)
    assert "1 torn and 1 damaged records were skipped" in result.stderr
    assert "2 same" in result.stdout


def test_times_pages_and_cursors(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    for i in range(5):
        said(served, f"number {i}")
    items = recorded(served, 5)["items"]
    path, after, seen = f"/v1/services/{TEAM}:digits/recording?limit=2", "", []
    while True:
        page = served.call("GET", path + (f"&after={after}" if after else ""))
        seen += page["items"]
        after = page.get("next")
        if not after:
            break
    assert seen == items
    assert served.call("GET", path + "&to=2000-01-01T00:00:00Z")["items"] == []
    for query in ("after=../../x:1", "from=soon", "limit=0"):
        assert served.api("GET", f"/v1/services/{TEAM}:digits/recording?{query}").status == 422


# Answers floats with their doubles, as binary tensors, and chats with a stream cut anywhere.
TENSORS = RUNTIME.replace("""        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
""", """        data = self.rfile.read(int(self.headers["Content-Length"]))
        if "messages" in self.path or self.path.endswith("completions"): return self.chat(json.loads(data))
        head = int(self.headers.get("Inference-Header-Content-Length", len(data)))
        body = json.loads(data[:head])
        if head < len(data) and body["inputs"][0]["datatype"] == "FP32": return self.double(data[head:])
        if head < len(data): return self.reply({"model_name": name, "outputs": []})
""").replace("""    def do_GET(self):""", """    def double(self, data):
        count, factor = len(data) // 4, 3.0 if mode == "two" else 2.0
        values = __import__("struct").unpack(f"<{count}f", data)
        out = __import__("struct").pack(f"<{count}f", *(value * factor for value in values))
        head = json.dumps({"model_name": name, "model_version": version, "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, count],
             "parameters": {"binary_data_size": len(out)}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Inference-Header-Content-Length", str(len(head)))
        self.send_header("Content-Length", str(len(head) + len(out)))
        self.end_headers()
        self.wfile.write(head + out)
    def chat(self, body):
        text, cut = f"{mode} says " + body["messages"][-1]["content"], 1 + int(time.time() * 1000) % 7
        pieces = [text[i:i + cut] for i in range(0, len(text), cut)]
        events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        data = "".join(f"data: {json.dumps(event)}\\n\\n" for event in events) + "data: [DONE]\\n\\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())
    def do_GET(self):""")


def post(site, path, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", site.gateway.port, timeout=30)
    headers = {"Authorization": f"Bearer {site.token}", **{name.replace("_", "-"): value
                                                           for name, value in headers.items()}}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    assert answer.status == 200, data
    return data


def tensors(site, datatype, data):
    head = json.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 1],
                                   "parameters": {"binary_data_size": len(data)}}]}).encode()
    return post(site, "/v2/models/digits/infer", head + data, Content_Type="application/octet-stream",
                Inference_Header_Content_Length=str(len(head)))


def chat(site, text):
    body = {"model": "digits", "stream": True, "messages": [{"role": "user", "content": text}]}
    return post(site, "/v1/chat/completions", json.dumps(body), Content_Type="application/json")


def serve(site, mode, version):
    site.apply(answering(command=["/usr/bin/python3", "-c", TENSORS.replace("{", "{{"), mode], gateway=RECORD))
    site.wait_for(lambda: status(site).get("version") == version and status(site)["state"] == "ready",
                  f"version {version}")


def test_binary_tensors_and_streams_are_recorded_and_replayed(served):  # noqa: F811
    serve(served, "one", 1)
    floats = struct.pack("<4f", 1, -2, 0.5, 3e20)
    assert struct.pack("<4f", 2, -4, 1, 6e20) in tensors(served, "FP32", floats)
    assert b"data:" in chat(served, "hello there, I am ann@mail.example")
    # A text of a tensor in which there is something to be taken out: the record is left out.
    text = b"write to bob@mail.example"
    tensors(served, "BYTES", struct.pack("<I", len(text)) + text)
    tensors(served, "BYTES", struct.pack("<I", 5) + b"plain")
    numbers, stream, plain = recorded(served, 3)["items"]
    assert base64.b64decode(numbers["requestTensors"]) == floats
    assert base64.b64decode(numbers["answerTensors"]) == struct.pack("<4f", 2, -4, 1, 6e20)
    assert base64.b64decode(plain["requestTensors"]).endswith(b"plain") and "answerTensors" not in plain
    assert stream["stream"] and json.loads(stream["answer"]) == {
        "text": "one says hello there, I am [REDACTED:email]\nstop"}
    assert b"mail.example" not in everything_on_disk(served)
    same = replay(served, "--version", "1")
    assert same.returncode == 0 and "3 same, 0 different" in same.stdout, same.stdout + same.stderr
    push(served)
    serve(served, "two", 2)
    found = json.loads(replay(served, "--version", "2", "--limit", "3", "-o", "json").stdout)
    why = [request.get("difference") for request in found["requests"]]
    assert [request["outcome"] for request in found["requests"]] == ["different", "different", "same"]
    assert why[0] == "tensors: byte 3 of 16" and why[1].startswith('text: "two says'), why
