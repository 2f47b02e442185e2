"""Triton's own client for HTTP, unchanged, against a real gateway: a replica that gives back what it is
given, and the real runtimes for TorchScript and XGBoost."""
import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from gateway import key, service
from muster import BINARY, COMMAND_S
from oip_echo import Echo
from openai_schema import DATATYPES
from test_runtime_torchscript import MAKE_MODEL

RUNTIMES = Path(BINARY).parent / "runtimes"


@pytest.fixture
def client(tap):
    with triton.InferenceServerClient(f"127.0.0.1:{tap.port}", concurrency=8) as one:
        yield one


@pytest.fixture
def echo(gateway, tmp_path):
    one = Echo(tmp_path)
    gateway.put(service(one, route="echo"))
    return one


def tensor(name, values, binary=True):
    one = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    one.set_data_from_numpy(values, binary_data=binary)
    return one


# ---- what is said of it -----------------------------------------------------------------------


def test_server_and_model(client, gateway, echo):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("echo") and client.is_model_ready("echo", "1")
    assert not client.is_model_ready("echo", "2") and not client.is_model_ready("nosuch")
    server = client.get_server_metadata()
    assert server["name"] == "muster" and "binary_tensor_data" in server["extensions"]
    for version in ("", "1"):
        model = client.get_model_metadata("echo", version)
        assert (model["name"], model["versions"], model["platform"]) == ("echo", ["1"], "echo")
        assert client.get_model_config("echo", version)["max_batch_size"] == 0
        assert client.get_inference_statistics("echo", version)["model_stats"][0]["name"] == "echo"
    assert [(one["name"], one["state"]) for one in client.get_model_repository_index()] == [
        ("echo", "READY")]
    gateway.put(service(route="echo"))
    assert client.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
    assert not client.is_model_ready("echo")


def test_a_key(client, gateway, echo):
    gateway.put(service(echo, route="echo", access="team"), keys=[key("ann")])
    values = np.ones((1, 2), np.float32)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("echo", [tensor("x", values)])
    assert caught.value.status() == "401"
    given = client.infer("echo", [tensor("x", values)], headers={"Authorization": "Bearer ann"})
    assert (given.as_numpy("x") == values).all()


# ---- tensors ----------------------------------------------------------------------------------

SOME = {
    "BOOL": np.array([[True, False, True]]), "FP16": np.array([[0.5, -2, 65504]], np.float16),
    "FP32": np.array([[1.5, -3e38, 1e-38]], np.float32), "FP64": np.array([[1.5, -1e308, 5e-324]]),
    "BYTES": np.array([[b"", "é\u2028".encode(), b"x" * 70000]], object),
    **{f"{sign}INT{bits}": np.array([[info.min, info.max, 7]], info.dtype)
       for sign, kind in (("", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
       for info in [np.iinfo(f"{kind}{bits}")]}}
assert set(SOME) | {"BF16"} == set(DATATYPES)


# FP16 has no form in JSON that the client would send.
@pytest.mark.parametrize("datatype, given", [(name, how) for name in SOME for how in (True, False)
                                             if how or name != "FP16"])
@pytest.mark.parametrize("taken", [True, False])
def test_each_datatype_comes_back(client, echo, datatype, given, taken):
    values = SOME[datatype]
    result = client.infer("echo", [tensor("x", values, binary=given)], request_id="7",
                          outputs=[triton.InferRequestedOutput("x", binary_data=taken)])
    got = result.as_numpy("x")
    if datatype == "BYTES" and not taken:
        got = np.array([item.encode() if isinstance(item, str) else item for item in got.flat],
                       object).reshape(got.shape)
    assert got.shape == values.shape and (got == values).all()
    said = result.get_response()
    assert said["id"] == "7" and said["outputs"][0]["datatype"] == datatype
    assert ("parameters" in said["outputs"][0]) == taken


def test_empty_and_many_and_large_tensors(client, echo):
    tensors = {"empty": np.zeros((0, 3), np.float32), "scalar": np.array([7], np.int64),
               "deep": np.arange(64, dtype=np.uint8).reshape([2] * 6),
               # More than the gateway holds: it is passed on while it comes.
               "large": np.arange(1 << 20, dtype=np.float32).reshape(1, -1)}
    result = client.infer("echo", [tensor(name, values) for name, values in tensors.items()])
    for name, values in tensors.items():
        assert (result.as_numpy(name) == values).all() and result.as_numpy(name).shape == values.shape


@pytest.mark.parametrize("request_way", [None, "gzip", "deflate"])
@pytest.mark.parametrize("answer_way", [None, "gzip", "deflate"])
def test_compression(client, tap, echo, request_way, answer_way):
    values = np.zeros((1, 100000), np.float32)
    result = client.infer("echo", [tensor("x", values)], request_compression_algorithm=request_way,
                          response_compression_algorithm=answer_way)
    assert (result.as_numpy("x") == values).all()
    request, answer = tap.exchanges()[-1]
    assert request.headers.get("content-encoding") == request_way
    assert answer.headers.get("content-encoding") == answer_way
    assert (len(request.body) < 10000) == (request_way is not None)
    assert (len(answer.body) < 10000) == (answer_way is not None)


def test_parameters_are_passed_on(client, echo):
    result = client.infer("echo", [tensor("x", np.ones((1, 1), np.int8))], sequence_id=5,
                          sequence_start=True, priority=3, timeout=9,
                          parameters={"own_text": "é", "own_flag": True, "own_number": 1 << 53})
    asked = echo.asked[0]["parameters"]
    assert asked["sequence_id"] == 5 and asked["sequence_start"] is True and asked["priority"] == 3
    assert asked["timeout"] == 9
    assert result.get_response()["parameters"] == {
        "own_text": "é", "own_flag": True, "own_number": 1 << 53}


def test_many_at_once(client, echo):
    asks = [client.async_infer("echo", [tensor("x", np.full((1, 4), i, np.int32))])
            for i in range(40)]
    for i, ask in enumerate(asks):
        assert (ask.get_result(timeout=COMMAND_S).as_numpy("x") == i).all()


def test_errors(client, gateway, echo):
    x = tensor("x", np.ones((1, 1), np.float32))
    cases = [(lambda: client.infer("nosuch", [x]), "401", "valid key"),
             (lambda: client.infer("echo", [x], model_version="9"), "503", "no replica"),
             (lambda: client.infer("echo", [x], parameters={"refuse": True}), "400", "told to"),
             (lambda: client.infer("echo", [x], outputs=[triton.InferRequestedOutput("x")] * 2),
              "400", "twice"),
             (lambda: client.infer("echo", [x], outputs=[triton.InferRequestedOutput("y")]),
              "400", "not there"),
             (lambda: client.load_model("echo"), "403", "Service"),
             (lambda: client.unload_model("echo"), "403", "Service"),
             (client.get_system_shared_memory_status, "404", "no such path"),
             (client.get_log_settings, "404", "no such path"),
             (client.get_trace_settings, "404", "no such path"),
             (lambda: client.get_inference_statistics(), "401", "valid key")]
    for ask, status, text in cases:
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == status and text in caught.value.message()
    gateway.put(service(echo, route="echo", body_bytes_max=100))
    with pytest.raises(InferenceServerException) as caught:
        client.infer("echo", [tensor("x", np.ones((1, 100), np.float32))])
    assert caught.value.status() == "413"


@pytest.mark.parametrize("change", ["-1", "x", "100000"])
def test_an_end_of_the_json_that_is_none(client, echo, change):
    """The client's own field, changed on the way by a plug-in, as a broken proxy would."""
    class Change(InferenceServerClientPlugin):
        def __call__(self, request):
            if "Inference-Header-Content-Length" in request.headers:
                request.headers["Inference-Header-Content-Length"] = change

    client.register_plugin(Change())
    with pytest.raises(InferenceServerException) as caught:
        client.infer("echo", [tensor("x", np.ones((1, 1), np.float32))])
    assert caught.value.status() == "400" and change in caught.value.message()
    assert not echo.asked


# ---- real runtimes ----------------------------------------------------------------------------


@contextmanager
def serving(command, socket_path):
    process = subprocess.Popen([*map(str, command), "--socket", str(socket_path)],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert "is served" in process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=COMMAND_S) == 0


def torchscript(folder):
    program = folder / "make.py"
    program.write_text(MAKE_MODEL)
    (folder / "model").mkdir()
    subprocess.run(["/usr/bin/python3", program, folder / "model"], check=True, timeout=COMMAND_S)
    return ["/usr/bin/python3", RUNTIMES / "torchscript.py", "serve"], "x", "sum"


def xgboost(folder):
    (folder / "model").mkdir()
    subprocess.run([RUNTIMES / "train-xgboost", folder / "model/model.ubj", "3", "20"], check=True,
                   timeout=COMMAND_S)
    return [RUNTIMES / "muster-xgboost", "serve"], "input", "predict"


@pytest.fixture(scope="module", params=[torchscript, xgboost])
def runtime(request):
    """A replica of a real model whose answer is, or is near, the sum of three numbers."""
    with tempfile.TemporaryDirectory(prefix="muster-clients-") as name:
        folder = Path(name)
        command, source, result = request.param(folder)
        command += ["--model", folder / "model", "--name", "sums", "--version", "4"]
        path = folder / "s"
        with serving(command, path):
            yield path, source, result


@pytest.fixture
def sums(gateway, runtime, tmp_path):
    path, source, result = runtime
    gateway.put(service({"replica": 1, "version": 4, "address": f"unix:{path}", "uid": os.getuid(),
                         "draining": False}, route="sums"))
    return source, result


def test_a_real_model_says_what_it_is(client, sums):
    source, result = sums
    for version in ("", "4"):
        model = client.get_model_metadata("sums", version)
        assert (model["name"], model["versions"]) == ("sums", ["4"])
        assert model["inputs"][0] == {"name": source, "datatype": "FP32", "shape": [-1, 3]}
        assert model["outputs"][0]["name"] == result
        assert client.is_model_ready("sums", version)


@pytest.mark.parametrize("way", [None, "gzip", "deflate"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_a_real_model_infers(client, tap, sums, given, taken, way):
    source, result = sums
    rows = np.random.default_rng(3).random((50, 3), np.float32)
    said = client.infer("sums", [tensor(source, rows, binary=given)], request_id="r1",
                        outputs=[triton.InferRequestedOutput(result, binary_data=taken)],
                        request_compression_algorithm=way, response_compression_algorithm=way)
    got = said.as_numpy(result).reshape(-1)
    assert np.abs(got - rows.sum(axis=1)).mean() < 0.2 and got.dtype == np.float32
    assert said.get_response()["id"] == "r1" and said.get_response()["model_version"] == "4"
    assert tap.exchanges()[-1][1].headers.get("content-encoding") == way
    # One at a time the answers are the same.
    alone = client.infer("sums", [tensor(source, rows[7:8])]).as_numpy(result)
    assert abs(alone.reshape(-1)[0] - got[7]) < 1e-6


def test_a_real_model_refuses(client, sums):
    source, result = sums
    good = np.ones((1, 3), np.float32)
    cases = [[tensor("other", good)], [tensor(source, np.ones((1, 2), np.float32))],
             [tensor(source, np.ones((1, 3), np.int64))], [tensor(source, good), tensor(source, good)]]
    for inputs in cases:
        with pytest.raises(InferenceServerException) as caught:
            client.infer("sums", inputs)
        assert caught.value.status() == "400", caught.value
    for outputs in (["nosuch"], [result, result]):
        with pytest.raises(InferenceServerException) as caught:
            client.infer("sums", [tensor(source, good)],
                         outputs=[triton.InferRequestedOutput(name) for name in outputs])
        assert caught.value.status() == "400", caught.value
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_config("sums")
    assert caught.value.status() == "404"


def test_a_real_model_takes_many_at_once(client, sums):
    source, result = sums
    rows = np.random.default_rng(5).random((30, 3), np.float32)
    together = client.infer("sums", [tensor(source, rows)]).as_numpy(result).reshape(-1)
    asks = [client.async_infer("sums", [tensor(source, rows[i:i + 1])]) for i in range(30)]
    each = [ask.get_result(timeout=COMMAND_S).as_numpy(result).reshape(-1)[0] for ask in asks]
    assert np.allclose(each, together)
