"""The TorchScript runtime with real PyTorch: its protocol, its refusals, how it ends, scoring."""

import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / "runtimes/torchscript/torchscript.py"
PYTHON = "/usr/bin/python3"

MAKE_MODEL = """
import json, sys, torch
class Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        # What is trained wants gradients, unless it is told not to.
        self.weight = torch.nn.Parameter(torch.ones(3))
    def forward(self, x):
        return (x * self.weight).sum(dim=1), x.argmax(dim=1)
torch.jit.save(torch.jit.script(Sum()), sys.argv[1] + "/model.pt")
json.dump({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
           "outputs": [{"name": "sum", "datatype": "FP32", "shape": [-1]},
                       {"name": "best", "datatype": "INT64", "shape": [-1]}]},
          open(sys.argv[1] + "/model.json", "w"))
"""


# A model that says how often it was asked before.
MAKE_COUNTER = """
import json, sys, torch
class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
    def forward(self, x):
        before = self.seen.clone()
        self.seen += 1
        return before
torch.jit.save(torch.jit.script(Counter()), sys.argv[1] + "/model.pt")
"""


def make_model(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp("model")
    # TorchScript reads the source of what it compiles: it has to be a file.
    program = tmp_path_factory.mktemp("make") / "make.py"
    program.write_text(source)
    subprocess.run([PYTHON, program, folder], check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory, MAKE_MODEL)


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    return make_model(tmp_path_factory, MAKE_COUNTER)


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("replica", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


@contextlib.contextmanager
def served(model, path):
    process = subprocess.Popen(
        [PYTHON, PROGRAM, "serve", "--model", model, "--name", "sums", "--version", "4",
         "--socket", path], stdout=subprocess.PIPE, text=True)
    assert "is served" in process.stdout.readline()
    yield path
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def replica(model, tmp_path_factory):
    with served(model, tmp_path_factory.mktemp("serve") / "s") as path:
        yield path


def ask(path, method, target, body=None, headers=None):
    connection = Unix(path)
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    connection.request(method, target, data, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def infer(path, body, **headers):
    status, fields, content = ask(path, "POST", "/v2/models/sums/infer", body,
                                  {k.replace("_", "-"): v for k, v in headers.items()})
    return status, fields, content


def tensor(data, shape, **other):
    return {"name": "x", "datatype": "FP32", "shape": shape, "data": data, **other}


def test_says_what_it_is(replica):
    assert ask(replica, "GET", "/v2/health/ready")[0] == 200
    status, _, content = ask(replica, "GET", "/v2/models/sums/versions/4")
    assert status == 200
    said = json.loads(content)
    assert said["name"] == "sums" and said["versions"] == ["4"]
    assert said["inputs"][0]["shape"] == [-1, 3]
    assert ask(replica, "GET", "/v2/models/sums/versions/5")[0] == 404
    assert ask(replica, "GET", "/v2/models/other/ready")[0] == 404


def test_answers_json(replica):
    status, _, content = infer(replica, {"id": "7", "inputs": [tensor([1, 2, 3, 6, 5, 4], [2, 3])]})
    assert status == 200
    said = json.loads(content)
    assert said["id"] == "7" and said["model_version"] == "4"
    outputs = {o["name"]: o for o in said["outputs"]}
    assert outputs["sum"]["data"] == [6, 15] and outputs["sum"]["shape"] == [2]
    assert outputs["best"]["data"] == [2, 0] and outputs["best"]["datatype"] == "INT64"


def test_answers_only_the_outputs_asked_for(replica):
    body = {"inputs": [tensor([[1, 2, 3]], [1, 3])], "outputs": [{"name": "best"}]}
    said = json.loads(infer(replica, body)[2])
    assert [o["name"] for o in said["outputs"]] == ["best"]


def test_answers_binary_tensors(replica):
    raw = struct.pack("<6f", 1, 2, 3, 6, 5, 4)
    head = json.dumps({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3],
                    "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": "sum", "parameters": {"binary_data": True}}, {"name": "best"}],
    }).encode()
    status, fields, content = infer(replica, head + raw,
                                    Inference_Header_Content_Length=str(len(head)))
    assert status == 200
    length = int(fields["Inference-Header-Content-Length"])
    said = json.loads(content[:length])
    assert said["outputs"][0]["parameters"]["binary_data_size"] == 8
    assert struct.unpack("<2f", content[length:]) == (6, 15)
    assert said["outputs"][1]["data"] == [2, 0]


REFUSED = {
    "no JSON": (b"{", "not JSON"),
    "a list": (b"[]", "object"),
    "deep JSON": (b"[" * 200000, "not JSON"),
    "no inputs": ({"inputs": []}, "1 to 64"),
    "another name": ({"inputs": [{**tensor([1], [1]), "name": "y"}]}, "wants the inputs x"),
    "another shape": ({"inputs": [tensor([1, 2], [1, 2])]}, "the model wants [-1, 3]"),
    "another type": ({"inputs": [tensor([1], [1], datatype="INT8")]}, "the model wants FP32"),
    "an unknown type": ({"inputs": [tensor([1], [1], datatype="BF8")]}, "has to be one of"),
    "too few elements": ({"inputs": [tensor([1, 2], [1, 3])]}, "has 2 elements"),
    "text": ({"inputs": [tensor(["a", "b", "c"], [1, 3])]}, "has to be a list of FP32"),
    "a negative shape": ({"inputs": [tensor([], [-1, 3])]}, "whole numbers"),
    "a huge shape": ({"inputs": [tensor([], [2**40, 3])]}, "elements"),
    "a lying size": ({"inputs": [tensor(None, [1, 3], parameters={"binary_data_size": 8})]},
                     "binary_data_size has to be 12"),
    "an unknown output": ({"inputs": [tensor([1, 2, 3], [1, 3])], "outputs": [{"name": "z"}]},
                          "no output z"),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.replace(" ", "-"))
def test_refuses(replica, case):
    body, text = REFUSED[case]
    status, _, content = infer(replica, body)
    assert status in (400, 413)
    assert text in json.loads(content)["error"]
    # It lives on.
    assert ask(replica, "GET", "/v2/health/live")[0] == 200


def test_reads_a_chunked_body_and_keeps_the_connection(replica):
    connection = Unix(replica)
    body = json.dumps({"inputs": [tensor([1, 2, 3], [1, 3])]}).encode()
    for _ in range(3):
        connection.request("POST", "/v2/models/sums/infer", iter([body[:10], body[10:]]),
                           encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["outputs"][0]["data"] == [6]


def end(*arguments):
    done = subprocess.run([PYTHON, PROGRAM, "serve", *map(str, arguments)], capture_output=True,
                          text=True, timeout=120)
    return done.returncode, done.stderr


def test_each_way_to_fail_has_its_status(model, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.pt").write_bytes(b"not a model")
    socket_path = tmp_path / "s"
    status, said = end("--model", empty, "--socket", socket_path)
    assert status == 66 and "model.pt is not in" in said
    status, said = end("--model", tmp_path / "gone", "--socket", socket_path)
    assert status == 66 and "no folder" in said
    status, said = end("--model", broken, "--socket", socket_path)
    assert status == 65 and "wrong format" in said
    status, said = end("--model", model, "--socket", tmp_path / "no" / "folder")
    assert status == 73 and "bad port" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = end("--model", model, "--port", taken.getsockname()[1])
    assert status == 73 and "bad port" in said


def test_a_signature_that_is_wrong_is_said(model, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    os.link(model / "model.pt", folder / "model.pt")
    (folder / "model.json").write_text('{"inputs": [{"name": "x"}], "outputs": []}')
    status, said = end("--model", folder, "--socket", tmp_path / "s")
    assert status == 65 and "inputs has to be a list" in said


def score(model, data, output, *arguments):
    return subprocess.run([PYTHON, PROGRAM, "score", "--model", model, "--data", data, "--output",
                           output, *arguments], capture_output=True, text=True, timeout=120)


def test_scores_in_shards_and_resumes(model, tmp_path):
    data, output = tmp_path / "data", tmp_path / "output"
    data.mkdir()
    output.mkdir()
    rows = 10000
    (data / "rows.csv").write_text(
        "a,b,c\n" + "".join(f"{i},{i + 1},{i + 2}\n" for i in range(rows)))
    for shard in ("0", "1"):
        done = score(model, data, output, "--shard", shard, "--shards", "2")
        assert done.returncode == 0, done.stderr
    files = sorted(output.iterdir())
    assert [f.name for f in files] == [f"rows.csv.{i:06d}.csv" for i in range(3)]
    sums = [float(line) for f in files for line in f.read_text().split()]
    assert sums == [3 * i + 3 for i in range(rows)]
    # A block that is there is not done again, one that is missing is.
    files[0].write_text("kept\n")
    files[2].unlink()
    done = score(model, data, output)
    assert done.returncode == 0 and f"{rows - 8192} rows scored" in done.stdout
    assert files[0].read_text() == "kept\n" and files[2].exists()


def test_scoring_says_where_the_data_is_wrong(model, tmp_path):
    data, output = tmp_path / "data", tmp_path / "output"
    data.mkdir()
    output.mkdir()
    done = score(model, data, output)
    assert done.returncode == 66 and "no .csv or .npy" in done.stderr
    (data / "rows.csv").write_text("1,2,3\n1,x,3\n")
    done = score(model, data, output)
    assert done.returncode == 65 and "rows.csv:2 is not numbers" in done.stderr


@pytest.mark.parametrize("warmup, passes", [(None, 3), (7, 7), (0, 0)])
def test_is_warm_before_it_listens(counter, tmp_path, warmup, passes):
    declared = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "seen", "datatype": "FP32", "shape": [1]}]}
    (counter / "model.json").write_text(
        json.dumps(declared if warmup is None else declared | {"warmup": warmup}))
    with served(counter, tmp_path / "s") as path:
        status, _, content = infer(path, {"inputs": [tensor([0, 0], [1, 2])]})
    assert (status, json.loads(content)["outputs"][0]["data"]) == (200, [passes])


def test_a_model_that_cannot_be_warmed_up_is_served_all_the_same(counter, tmp_path):
    shape = [-1, 1 << 30]  # more than any request may have
    (counter / "model.json").write_text(json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape}],
         "outputs": [{"name": "seen", "datatype": "FP32", "shape": [1]}]}))
    with served(counter, tmp_path / "s") as path:
        assert ask(path, "GET", "/v2/health/ready")[0] == 200


@pytest.mark.parametrize("warmup", [-1, 101, True, "3"])
def test_passes_have_to_be_a_number(counter, tmp_path, warmup):
    (counter / "model.json").write_text(json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
         "outputs": [{"name": "seen", "datatype": "FP32", "shape": [1]}], "warmup": warmup}))
    status, said = end("--model", counter, "--socket", tmp_path / "s")
    assert status == 65 and "warmup has to be a whole number from 0 to 100" in said
