"""The XGBoost runtime with real models: its protocol, its refusals, how it ends, scoring."""

import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from muster import BINARY
from test_runtime_torchscript import Unix, ask

BUILD = Path(BINARY).parent
PROGRAM = BUILD / "runtimes/muster-xgboost"
TRAIN = BUILD / "runtimes/train-xgboost"


@pytest.fixture(scope="module", params=["ubj", "json", "model"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    subprocess.run([TRAIN, folder / f"model.{request.param}", "3", "20"], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def replica(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "s"
    process = subprocess.Popen(
        [PROGRAM, "serve", "--model", model, "--name", "sums", "--version", "2", "--socket", path],
        stdout=subprocess.PIPE, text=True)
    assert "is served" in process.stdout.readline()
    yield path
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def rows(data, shape):
    return {"inputs": [{"name": "input", "datatype": "FP32", "shape": shape, "data": data}]}


def test_says_what_it_is(replica):
    assert ask(replica, "GET", "/v2/health/live")[0] == 200
    said = json.loads(ask(replica, "GET", "/v2/models/sums/versions/2")[2])
    assert said["platform"] == "xgboost" and said["inputs"][0]["shape"] == [-1, 3]
    for path in ("/v2/models/sum", "/v2/models/sumss", "/v2/models/sums/versions/3", "/v1"):
        assert ask(replica, "GET", path)[0] == 404


def test_predicts_what_it_learned(replica):
    status, _, content = ask(replica, "POST", "/v2/models/sums/infer",
                             rows([[0.1, 0.2, 0.3], [0.9, 0.8, 0.9]], [2, 3]))
    assert status == 200
    output = json.loads(content)["outputs"][0]
    assert output["shape"] == [2, 1]
    low, high = output["data"]
    assert abs(low - 0.6) < 0.25 and abs(high - 2.6) < 0.25


def test_bytes_and_json_say_the_same(replica):
    numbers = [random.Random(7).random() for _ in range(300)]
    by_json = json.loads(ask(replica, "POST", "/v2/models/sums/infer",
                             rows(numbers, [100, 3]))[2])["outputs"][0]["data"]
    raw = struct.pack("<300f", *numbers)
    head = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [100, 3],
                                   "parameters": {"binary_data_size": len(raw)}}],
                       "parameters": {"binary_data_output": True}}).encode()
    status, fields, content = ask(replica, "POST", "/v2/models/sums/infer", head + raw,
                                  {"Inference-Header-Content-Length": str(len(head))})
    assert status == 200
    length = int(fields["Inference-Header-Content-Length"])
    by_bytes = struct.unpack("<100f", content[length:])
    assert [struct.pack("<f", x) for x in by_json] == [struct.pack("<f", x) for x in by_bytes]


def test_a_connection_is_kept_after_a_refusal(replica):
    connection = Unix(replica)
    for body, status in ((b"{", 400), (rows([1], [1, 1]), 400), (rows([1, 2, 3], [1, 3]), 200)):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request("POST", "/v2/models/sums/infer", data)
        answer = connection.getresponse()
        assert answer.status == status
        assert ("error" in json.loads(answer.read())) == (status == 400)


# A sanitizer shall let XGBoost crash as it does without one: that it may is what the program is
# prepared for, and no finding.
CRASHING = {"ASAN_OPTIONS": "handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:"
                            "allocator_may_return_null=1:log_path=stderr",
            "UBSAN_OPTIONS": "log_path=stderr"}


def end(*arguments, environment=None):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, env={**os.environ, **(environment or {})})
    return done.returncode, done.stderr


def peak():
    """The most memory in KiB that a process had which ended before."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_each_way_to_fail_has_its_status(model, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    status, said = end("serve", "--model", empty, "--socket", tmp_path / "s")
    assert status == 66 and "there is no model.ubj" in said
    status, said = end("serve", "--model", model, "--socket", tmp_path / "no" / "folder")
    assert status == 73 and "bad port" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = end("serve", "--model", model, "--port", taken.getsockname()[1])
    assert status == 73 and "bad port" in said
    assert end("serve", "--model", model, "--port", "70000")[0] == 64
    assert end("serve")[0] == 64


def test_a_mutated_model_is_a_wrong_format_or_served(model, tmp_path):
    """Whatever is in the file, the program says so or serves: it never ends by a signal, and never
    takes the machine's memory because a length in the file says so."""
    source = next(model.iterdir())
    good = source.read_bytes()
    prng = random.Random(3)
    refused = 0
    before = peak()
    for case in range(40):
        folder = tmp_path / str(case)
        folder.mkdir()
        bytes_ = bytearray(good)
        for _ in range(prng.choice([1, 4, 64])):
            bytes_[prng.randrange(len(bytes_))] = prng.randrange(256)
        (folder / source.name).write_bytes(bytes_[: prng.choice([len(bytes_), len(bytes_) // 2])])
        # A socket that cannot be made ends it once the model was loaded.
        status, said = end("serve", "--model", folder, "--socket", tmp_path / "no" / "folder",
                           environment=CRASHING)
        assert status in (65, 73), (case, status, said)
        refused += status == 65
    assert refused > 0
    assert peak() <= max(before, 2 << 20)


def test_scores_in_shards_and_resumes(model, tmp_path):
    data, output = tmp_path / "data", tmp_path / "output"
    data.mkdir()
    output.mkdir()
    count = 70000  # more than a block
    (data / "a.csv").write_text("x,y,z\n" + "".join(f"{i % 10 / 10},,0.5\n" for i in range(count)))
    header = str({"descr": "<f4", "fortran_order": False, "shape": (2, 3)}).encode() + b"\n"
    (data / "b.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header +
                                 struct.pack("<6f", *[0.5] * 6))
    arguments = ("score", "--model", model, "--data", data, "--output", output)
    for shard in ("0", "1"):
        status, said = end(*arguments, "--shard", shard, "--shards", "2")
        assert status == 0, said
    names = ["a.csv.000000.csv", "a.csv.000001.csv", "b.npy.000000.csv"]
    assert sorted(os.listdir(output)) == names
    scores = [(output / name).read_text().split() for name in names]
    assert [len(s) for s in scores] == [65536, count - 65536, 2]
    # What is there is kept, what is missing is done again, and to the same bytes.
    before = (output / names[1]).read_bytes()
    (output / names[1]).unlink()
    (output / names[0]).write_text("kept\n")
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0 and f"{count - 65536} rows scored" in done.stdout
    assert (output / names[1]).read_bytes() == before
    assert (output / names[0]).read_text() == "kept\n"


WRONG = {
    "words": ("rows.csv", b"1,2,3\n1,x,3\n", "rows.csv:2 is not 3 numbers"),
    "too many": ("rows.csv", b"1,2,3\n1,2,3,4\n", "rows.csv:2 is not 3 numbers"),
    "a NUL": ("rows.csv", b"1,2,3\n1,2,\x003\n", "rows.csv:2 has a NUL"),
    "no numpy": ("rows.npy", b"hello hello hello", "is not a .npy file"),
    "cut": ("rows.npy", b"\x93NUMPY\x01\x00\x50\x00{'descr'", "ends too early"),
    "objects": ("rows.npy", b"\x93NUMPY\x01\x00\x3c\x00" + b"{'descr': '|O', 'fortran_order': "
                b"False, 'shape': (2, 3), }".ljust(60), "float32 or float64"),
    "a lying shape": ("rows.npy", b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f4', "
                      b"'fortran_order': False, 'shape': (99999999, 3), }".ljust(70),
                      "ends too early"),
}


@pytest.mark.parametrize("case", WRONG, ids=lambda c: c.replace(" ", "-"))
def test_scoring_says_where_the_data_is_wrong(model, tmp_path, case):
    name, content, text = WRONG[case]
    (tmp_path / "data").mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "data" / name).write_bytes(content)
    status, said = end("score", "--model", model, "--data", tmp_path / "data", "--output",
                       tmp_path / "output")
    assert status == 65 and text in said
    assert os.listdir(tmp_path / "output") == []
