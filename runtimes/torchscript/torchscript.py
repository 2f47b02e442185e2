#!/usr/bin/python3
"""A runtime for TorchScript models: serves one over the Open Inference Protocol v2, or scores a
dataset with it.

    torchscript.py serve --model DIR --name NAME [--version N] (--socket PATH | --port N)
    torchscript.py score --model DIR --data DIR --output DIR [--shard I --shards N]

The folder of a model has `model.pt`, as torch.jit.save writes it, and may have `model.json`:

    {"inputs":  [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}],
     "outputs": [{"name": "class", "datatype": "INT64", "shape": [-1]}]}

Without it there is one input, "input", of any shape, and outputs are "output", "output-1", ...

A model's first passes take a hundred times as long as later ones: PyTorch watches them and makes code of
what it saw. So a model that declares its inputs is asked WARMUP_PASSES times with zeros before it listens;
`"warmup": N` in model.json is another number of passes, 0 for none (a model that counts what it is asked).

How it ends says what is wrong, so that whoever runs it can tell without reading a log: 65 the model
is not of this format, 66 a file is missing, 71 out of memory, 73 the socket or port cannot be had.
It needs Python and PyTorch, and nothing else.
"""
import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

EXIT_WRONG_FORMAT = 65
EXIT_MISSING_FILE = 66
EXIT_OUT_OF_MEMORY = 71
EXIT_BAD_PORT = 73

BODY_BYTES_MAX = 64 << 20
CONNECTIONS_MAX = 256
ELEMENTS_MAX = 16 << 20  # of a tensor
DIMENSIONS_MAX = 16
LINE_BYTES_MAX = 1 << 20
WARMUP_PASSES = 3  # one that is watched, one in which the code is made, one that uses it
WARMUP_PASSES_MAX = 100


class Refused(Exception):
    """A request that cannot be answered, with the status that says why."""

    def __init__(self, text, status=HTTPStatus.BAD_REQUEST):
        super().__init__(text)
        self.status = status


def leave(status, text):
    """Ends the program at once, from whatever thread, with one line that says why."""
    print(f"torchscript: {text}", file=sys.stderr, flush=True)
    os._exit(status)


# torch is slow to import, so that a wrong argument or a missing file is said before.
torch = None
np = None

# OIP's name: NumPy's name, bytes an element.
DATATYPES = {
    "BOOL": ("bool", 1),
    "UINT8": ("uint8", 1),
    "INT8": ("int8", 1),
    "INT16": ("int16", 2),
    "INT32": ("int32", 4),
    "INT64": ("int64", 8),
    "FP16": ("float16", 2),
    "FP32": ("float32", 4),
    "FP64": ("float64", 8),
}
NAMES = {numpy_name: name for name, (numpy_name, _) in DATATYPES.items()}


def import_torch(threads):
    global torch, np
    import numpy
    import torch as pytorch

    torch, np = pytorch, numpy
    torch.set_num_threads(max(1, threads))


# ---- the model --------------------------------------------------------------------------------


class Model:
    """A loaded model and what it says of its inputs and outputs."""

    def __init__(self, folder, name, version):
        self.name = name
        self.version = version
        self.inputs, self.outputs, self.warmup = read_declared(os.path.join(folder, "model.json"))
        path = os.path.join(folder, "model.pt")
        if not os.path.exists(path):
            leave(EXIT_MISSING_FILE, f"model.pt is not in {folder}: "
                  f"there are {sorted(os.listdir(folder)) if os.path.isdir(folder) else 'no files'}")
        try:
            self.module = torch.jit.load(path, map_location="cpu").eval()
        except MemoryError:
            leave(EXIT_OUT_OF_MEMORY, f"out of memory while loading {path}")
        except Exception as problem:
            leave(EXIT_WRONG_FORMAT, f"wrong format: {path} is no TorchScript model: "
                  f"{str(problem).strip().splitlines()[0][:200]}")

    def describe(self):
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "pytorch_torchscript",
            "inputs": self.inputs or [],
            "outputs": self.outputs or [],
        }

    def run(self, tensors):
        """Arrays in the order of the inputs; gives (name, array) for each output."""
        # Whether gradients are kept is each thread's own setting.
        with torch.inference_mode():
            result = self.module(*[torch.from_numpy(tensor) for tensor in tensors])
        results = result if isinstance(result, (tuple, list)) else [result]
        return [(self.output_name(i), one.contiguous().numpy()) for i, one in enumerate(results)]

    def warm_up(self):
        """Passes of zeros, so that no client waits for what PyTorch does at the first. What the model
        says of them is none of a client's business: it may well want other numbers than zeros."""
        if not self.inputs:
            return
        shapes = [[1 if n == -1 else n for n in declared["shape"]] for declared in self.inputs]
        try:
            for tensor, shape in zip(self.inputs, shapes):
                check_shape({"name": tensor["name"], "shape": shape})
            for _ in range(self.warmup):
                self.run([np.zeros(shape, DATATYPES[declared["datatype"]][0])
                          for declared, shape in zip(self.inputs, shapes)])
        except (Refused, RuntimeError, MemoryError) as problem:
            print("torchscript: the model was not warmed up: "
                  f"{str(problem).strip().splitlines()[-1][:200]}", file=sys.stderr, flush=True)

    def output_name(self, i):
        if self.outputs and i < len(self.outputs):
            return self.outputs[i]["name"]
        return f"output-{i}" if i else "output"


def read_declared(path):
    """What model.json declares: the lists of inputs and outputs, and how many passes warm the model
    up; (None, None, 0) without the file."""
    try:
        with open(path, encoding="utf-8") as file:
            declared = json.load(file)
    except FileNotFoundError:
        return None, None, 0
    except (OSError, ValueError, RecursionError) as problem:
        leave(EXIT_WRONG_FORMAT, f"wrong format: {path}: {problem}")
    lists = []
    for side in ("inputs", "outputs"):
        items = declared.get(side) if isinstance(declared, dict) else None
        right = isinstance(items, list) and items and all(
            isinstance(item, dict) and isinstance(item.get("name"), str) and
            item.get("datatype") in DATATYPES and isinstance(item.get("shape"), list)
            for item in items)
        if not right:
            leave(EXIT_WRONG_FORMAT, f"wrong format: {path}: {side} has to be a list of "
                  '{"name", "datatype", "shape"}')
        lists.append(items)
    passes = declared.get("warmup", WARMUP_PASSES)
    if not isinstance(passes, int) or isinstance(passes, bool) or not 0 <= passes <= WARMUP_PASSES_MAX:
        leave(EXIT_WRONG_FORMAT, f"wrong format: {path}: warmup has to be a whole number from 0 to "
              f"{WARMUP_PASSES_MAX}")
    return *lists, passes


# ---- tensors ----------------------------------------------------------------------------------


def check_shape(tensor):
    """The shape that a request gives a tensor, bounded."""
    shape = tensor.get("shape")
    good = (isinstance(shape, list) and len(shape) <= DIMENSIONS_MAX and
            all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape))
    if not good:
        raise Refused(f'input "{tensor["name"]}": shape has to be a list of whole numbers >= 0')
    elements = 1
    for n in shape:
        elements *= n
        if elements > ELEMENTS_MAX:
            raise Refused(f'input "{tensor["name"]}": more than {ELEMENTS_MAX} elements',
                          HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return shape, elements


def check_declared(tensor, declared, shape):
    """A tensor has to be what the model declares, where it declares anything."""
    if tensor["datatype"] != declared["datatype"]:
        raise Refused(f'input "{tensor["name"]}": datatype is {tensor["datatype"]}, the model wants '
                      f'{declared["datatype"]}')
    wanted = declared["shape"]
    fits = len(shape) == len(wanted) and all(w in (-1, n) for n, w in zip(shape, wanted))
    if not fits:
        raise Refused(f'input "{tensor["name"]}": shape is {shape}, the model wants {wanted}')


def decode_tensor(tensor, declared, binary):
    """One input of a request as an array; binary is what is left of the bytes behind the JSON."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise Refused("an input has to be an object with a name")
    name = tensor["name"]
    if tensor.get("datatype") not in DATATYPES:
        raise Refused(f'input "{name}": datatype has to be one of {", ".join(DATATYPES)}')
    shape, elements = check_shape(tensor)
    if declared:
        check_declared(tensor, declared, shape)
    numpy_name, width = DATATYPES[tensor["datatype"]]
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None:
        if size != elements * width or len(binary) < size:
            raise Refused(f'input "{name}": binary_data_size has to be {elements * width}, and that '
                          "many bytes have to follow")
        array = np.frombuffer(binary[:size], dtype=np.dtype(numpy_name).newbyteorder("<"))
        return array.astype(numpy_name).reshape(shape), binary[size:]
    try:
        array = np.asarray(tensor.get("data"), dtype=numpy_name).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f'input "{name}": data has to be a list of {tensor["datatype"]}') from None
    if array.size != elements:
        raise Refused(f'input "{name}": data has {array.size} elements, its shape {elements}')
    return np.ascontiguousarray(array).reshape(shape), binary


def order_inputs(model, request):
    """A request's inputs in the order of the model's, with what is declared of each."""
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs or len(inputs) > 64:
        raise Refused("inputs has to be a list of 1 to 64 tensors")
    if not model.inputs:
        return [(tensor, None) for tensor in inputs]
    by_name = {t.get("name"): t for t in inputs if isinstance(t, dict)}
    names = [declared["name"] for declared in model.inputs]
    if set(by_name) != set(names) or len(inputs) != len(names):
        raise Refused(f'the model wants the inputs {", ".join(names)}')
    return [(by_name[declared["name"]], declared) for declared in model.inputs]


def infer(model, body, head_length):
    """Answers an inference request: (JSON, bytes that follow it)."""
    head, binary = (body, b"") if head_length is None else (body[:head_length], body[head_length:])
    try:
        request = json.loads(head)
    except (ValueError, RecursionError):
        raise Refused("the body is not JSON") from None
    if not isinstance(request, dict):
        raise Refused("the body has to be a JSON object")
    arrays = {}
    # The bytes stand in the order of the request, the model's arguments in its own.
    ordered = order_inputs(model, request)
    declared = {id(tensor): how for tensor, how in ordered}
    for tensor in request["inputs"]:
        arrays[id(tensor)], binary = decode_tensor(tensor, declared[id(tensor)], binary)
    try:
        results = model.run([arrays[id(tensor)] for tensor, _ in ordered])
    except MemoryError:
        raise Refused("out of memory", HTTPStatus.INSUFFICIENT_STORAGE) from None
    except RuntimeError as problem:
        raise Refused(f"the model refused the input: {str(problem).strip().splitlines()[-1][:300]}")
    return encode_outputs(model, request, results)


def encode_outputs(model, request, results):
    wanted = request.get("outputs")
    options = {o.get("name"): o.get("parameters") or {} for o in wanted if isinstance(o, dict)} \
        if isinstance(wanted, list) else None
    parameters = request.get("parameters")
    all_binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    if options is not None:
        if len(options) < len(wanted):
            raise Refused("an output is asked for twice, or without a name")
        unknown = set(options) - {name for name, _ in results}
        if unknown:
            raise Refused(f'the model has no output {", ".join(sorted(map(str, unknown)))}')
    outputs, pieces = [], []
    for name, array in results:
        if options is not None and name not in options:
            continue
        datatype = NAMES.get(array.dtype.name)
        if not datatype:
            raise Refused(f"output {name} is of type {array.dtype.name}, which has no name in the "
                          "protocol", HTTPStatus.INTERNAL_SERVER_ERROR)
        output = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        binary = options[name].get("binary_data", all_binary) if options is not None else all_binary
        if binary is True:
            piece = array.astype(array.dtype.newbyteorder("<")).tobytes()
            output["parameters"] = {"binary_data_size": len(piece)}
            pieces.append(piece)
        else:
            output["data"] = array.reshape(-1).tolist()
        outputs.append(output)
    answer = {"model_name": model.name, "model_version": model.version, "outputs": outputs}
    if isinstance(request.get("id"), str):
        answer["id"] = request["id"]
    return answer, b"".join(pieces)


# ---- compression ------------------------------------------------------------------------------

# zlib's number for the format. What HTTP calls deflate is zlib's own format.
ENCODINGS = {"gzip": 31, "deflate": 15}


def decode_body(body, encoding):
    """A body as it was before its Content-Encoding, bounded: a few bytes can stand for gigabytes."""
    if encoding.lower() == "identity":
        return body
    if encoding.lower() not in ENCODINGS:
        raise Refused("Content-Encoding has to be gzip or deflate",
                      HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    undo = zlib.decompressobj(ENCODINGS[encoding.lower()])
    try:
        plain = undo.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error:
        raise Refused(f"the body is no {encoding}") from None
    if len(plain) > BODY_BYTES_MAX:
        raise Refused(f"the body is larger than {BODY_BYTES_MAX} bytes",
                      HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if not undo.eof or undo.unused_data:
        raise Refused(f"the body is no whole {encoding}")
    return plain


def encode_body(body, accept):
    """The body in the first encoding that Accept-Encoding names and that is known here."""
    for item in accept.lower().split(","):
        name, _, weight = (part.strip() for part in item.partition(";"))
        refused = weight.startswith("q=0") and not weight[3:].strip(".0")
        if name in ENCODINGS and not refused:
            pack = zlib.compressobj(1, wbits=ENCODINGS[name])
            return pack.compress(body) + pack.flush(), name
    return body, None


# ---- serving ----------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 90  # of an idle connection, s
    wbufsize = -1  # head and body leave together
    model = None
    server_version = "muster-torchscript"

    def address_string(self):
        return "client"

    def log_message(self, *arguments):
        pass  # the gateway keeps the access log

    def answer(self, status, value, binary=None):
        head = json.dumps(value, separators=(",", ":")).encode()
        body, encoding = encode_body(head + (binary or b""), self.headers.get("Accept-Encoding", ""))
        self.send_response(status)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        if binary:
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Inference-Header-Content-Length", str(len(head)))
        else:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def refuse(self, problem):
        self.answer(problem.status, {"error": str(problem)})

    def model_path(self):
        """What follows /v2/models/NAME[/versions/V] in the path; refuses another model."""
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] != ["v2", "models"] or len(parts) < 3:
            raise Refused(f"there is nothing at {self.path[:100]}", HTTPStatus.NOT_FOUND)
        rest = parts[3:]
        version = rest[1] if rest[:1] == ["versions"] and len(rest) > 1 else self.model.version
        if parts[2] != self.model.name or version != self.model.version:
            raise Refused(f"there is no model {'/'.join(parts[2:5])[:100]}", HTTPStatus.NOT_FOUND)
        return "/".join(rest[2:] if rest[:1] == ["versions"] else rest)

    def do_GET(self):
        fixed = {
            "/v2": {"name": "muster-torchscript", "version": torch.__version__,
                    "extensions": ["binary_tensor_data"]},
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
        }
        try:
            if self.path in fixed:
                return self.answer(HTTPStatus.OK, fixed[self.path])
            rest = self.model_path()
            if rest == "":
                return self.answer(HTTPStatus.OK, self.model.describe())
            if rest == "ready":
                return self.answer(HTTPStatus.OK, {"name": self.model.name, "ready": True})
            raise Refused(f"there is nothing at {self.path[:100]}", HTTPStatus.NOT_FOUND)
        except Refused as problem:
            self.refuse(problem)

    def read_body(self):
        length = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked" and length is None:
            return self.read_chunks()
        if length is None or not length.isdigit():
            self.close_connection = True
            raise Refused("Content-Length is missing", HTTPStatus.LENGTH_REQUIRED)
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise Refused(f"the body is larger than {BODY_BYTES_MAX} bytes",
                          HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.rfile.read(int(length))

    def read_chunks(self):
        pieces, total = [], 0
        while True:
            line = self.rfile.readline(64).strip()
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                size = -1
            total += size
            if size < 0 or total > BODY_BYTES_MAX:
                self.close_connection = True
                raise Refused("the chunks of the body are malformed or too many")
            if size == 0:
                while self.rfile.readline(LINE_BYTES_MAX).strip():
                    pass
                return b"".join(pieces)
            pieces.append(self.rfile.read(size))
            self.rfile.readline(8)

    def do_POST(self):
        try:
            body = self.read_body()
            if self.model_path() != "infer":
                raise Refused(f"there is nothing at {self.path[:100]}", HTTPStatus.NOT_FOUND)
            body = decode_body(body, self.headers.get("Content-Encoding", "identity"))
            length = self.headers.get("Inference-Header-Content-Length")
            if length is not None and (not length.isdigit() or int(length) > len(body)):
                raise Refused("Inference-Header-Content-Length is not a length within the body")
            answer, binary = infer(self.model, body, None if length is None else int(length))
            self.answer(HTTPStatus.OK, answer, binary)
        except Refused as problem:
            self.refuse(problem)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on a socket that was bound already; a thread for each connection, bounded."""

    daemon_threads = True

    def __init__(self, listener):
        super().__init__(None, Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.room = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("client", 0)

    def process_request(self, request, client_address):
        self.room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, request, client_address):
        problem = sys.exc_info()[1]
        if not isinstance(problem, (ConnectionError, TimeoutError)):
            print(f"torchscript: a request failed: {problem!r}", file=sys.stderr, flush=True)


def bind(arguments):
    """The listening socket; what cannot be bound ends the program."""
    try:
        if arguments.socket:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            if os.path.exists(arguments.socket):
                os.unlink(arguments.socket)
            listener.bind(arguments.socket)
        else:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", arguments.port))
        return listener
    except (OSError, OverflowError) as problem:
        where = arguments.socket or f"port {arguments.port}"
        leave(EXIT_BAD_PORT, f"bad port: cannot listen on {where}: {problem}")


def serve(arguments):
    # What is wrong is said in the order of what it costs to find out.
    if not os.path.isdir(arguments.model):
        leave(EXIT_MISSING_FILE, f"there is no folder {arguments.model}")
    listener = bind(arguments)
    import_torch(arguments.threads)
    Handler.model = Model(arguments.model, arguments.name, str(arguments.version))
    Handler.model.warm_up()
    listener.listen(CONNECTIONS_MAX)
    server = Server(listener)
    # shutdown waits for the loop that runs in this thread: another one has to call it.
    signal.signal(signal.SIGTERM,
                  lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    print(f"torchscript: {arguments.name} version {arguments.version} is served", flush=True)
    server.serve_forever(poll_interval=0.1)
    for _ in range(CONNECTIONS_MAX):
        # A connection that is idle holds its room until its client closes: whoever stops us has
        # drained us before, so that waiting a little for answers under way is enough.
        if not server.room.acquire(timeout=0.02):
            break


# ---- scoring ----------------------------------------------------------------------------------

ROWS_AT_ONCE = 4096


def rows_of(path):
    """The rows of a .npy or .csv file, ROWS_AT_ONCE at a time, as arrays of float32."""
    if path.endswith(".npy"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        for at in range(0, len(array), ROWS_AT_ONCE):
            yield np.ascontiguousarray(array[at:at + ROWS_AT_ONCE], dtype="float32")
        return
    with open(path, encoding="utf-8") as file:
        rows = []
        for number, line in enumerate(file):
            try:
                rows.append([float(cell) for cell in line.split(",")])
            except ValueError:
                if number == 0:
                    continue  # a line of names
                leave(EXIT_WRONG_FORMAT, f"wrong format: {path}:{number + 1} is not numbers")
            if len(rows) == ROWS_AT_ONCE:
                yield np.asarray(rows, dtype="float32")
                rows = []
        if rows:
            yield np.asarray(rows, dtype="float32")


def score(arguments):
    """Scores a share of a dataset's files: the blocks of rows whose number is `shard` modulo
    `shards`. Every block is a file of its own, put in place when it is complete, so that a run that
    was stopped goes on with the block it was at."""
    import_torch(arguments.threads)
    model = Model(arguments.model, "model", "1")
    names = sorted(name for name in os.listdir(arguments.data) if name.endswith((".csv", ".npy")))
    if not names:
        leave(EXIT_MISSING_FILE, f"there is no .csv or .npy file in {arguments.data}")
    block, scored = 0, 0
    for name in names:
        for i, rows in enumerate(rows_of(os.path.join(arguments.data, name))):
            block += 1
            out = os.path.join(arguments.output, f"{name}.{i:06d}.csv")
            if (block - 1) % arguments.shards != arguments.shard or os.path.exists(out):
                continue
            _, result = model.run([rows])[0]
            np.savetxt(out + ".new", result.reshape(len(rows), -1), delimiter=",", fmt="%.9g")
            os.replace(out + ".new", out)
            scored += len(rows)
    print(f"torchscript: {scored} rows scored", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Serves or scores with a TorchScript model.")
    parser.add_argument("mode", choices=["serve", "score"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", default="model")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--socket", default=os.environ.get("MUSTER_SOCKET"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", default=os.environ.get("MUSTER_INPUT_DATA"))
    parser.add_argument("--output", default=os.environ.get("MUSTER_OUTPUT_SCORES"))
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.port:
        arguments.socket = None
    elif arguments.mode == "serve" and not arguments.socket:
        parser.error("--socket or --port is needed")
    try:
        (serve if arguments.mode == "serve" else score)(arguments)
    except MemoryError:
        leave(EXIT_OUT_OF_MEMORY, "out of memory")


if __name__ == "__main__":
    main()
