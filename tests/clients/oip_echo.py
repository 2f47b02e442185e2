"""A replica that gives back what it is given, in every way the Open Inference Protocol v2 knows: all
datatypes, as JSON and as bytes, compressed or not, a configuration, statistics, errors on demand."""
import gzip
import json
import struct
import zlib

import gateway
from openai_schema import DATATYPES, elements, flat

FORMATS = {"UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h",
           "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d", "BOOL": "?", "BF16": "H"}


class Refused(Exception):
    pass


def bytes_of(tensor):
    """A tensor's elements, in JSON, as the bytes that stand for them."""
    items = flat(tensor["data"])
    if tensor["datatype"] == "BYTES":
        texts = [item.encode() for item in items]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(items)}{FORMATS[tensor['datatype']]}", *items)


def data_of(datatype, raw):
    """The other way round."""
    if datatype != "BYTES":
        width = DATATYPES[datatype]
        return list(struct.unpack(f"<{len(raw) // width}{FORMATS[datatype]}", raw))
    items, at = [], 0
    while at < len(raw):
        size = struct.unpack_from("<I", raw, at)[0]
        items.append(raw[at + 4:at + 4 + size].decode())
        at += 4 + size
    return items


class Echo:
    """A replica for a gateway; requests are kept as they were understood."""

    def __init__(self, folder, name="echo"):
        self.name = name
        self.asked = []
        self.inferences = 0
        self.replica = gateway.Replica(folder, self.answer)

    def route(self, **more):
        return self.replica.route(**more)

    def answer(self, handler):
        rest = handler.path.partition("?")[0].removeprefix(f"/v2/models/{self.name}")
        fixed = {"": self.metadata(), "/config": self.config(), "/stats": self.stats()}
        try:
            if handler.command == "GET" and rest in fixed:
                self.say(handler, 200, json.dumps(fixed[rest]).encode())
            elif rest == "/infer":
                self.infer(handler)
            else:
                self.say(handler, 404, b'{"error":"there is nothing here"}')
        except Refused as fault:
            self.say(handler, 400, json.dumps({"error": str(fault)}).encode())

    def metadata(self):
        any_shape = {"name": "x", "datatype": "FP32", "shape": [-1, -1]}
        return {"name": self.name, "versions": ["1"], "platform": "echo", "inputs": [any_shape],
                "outputs": [any_shape]}

    def config(self):
        return {"name": self.name, "platform": "echo", "backend": "echo", "max_batch_size": 0,
                "input": [], "output": []}

    def stats(self):
        return {"model_stats": [{"name": self.name, "version": "1",
                                 "inference_count": self.inferences,
                                 "execution_count": self.inferences}]}

    @staticmethod
    def say(handler, status, body, headers=()):
        said = {"Content-Type": "application/json", **dict(headers)}
        accepted = handler.headers.get("Accept-Encoding", "")
        if "gzip" in accepted or "deflate" in accepted:
            name = "gzip" if "gzip" in accepted else "deflate"
            body = {"gzip": gzip.compress, "deflate": zlib.compress}[name](body)
            said["Content-Encoding"] = name
        handler.reply(status, body, said)

    # ---- inference ----

    def infer(self, handler):
        undo = {"gzip": gzip.decompress, "deflate": zlib.decompress}
        encoding = handler.headers.get("Content-Encoding")
        body = undo.get(encoding, bytes)(handler.body)
        length = handler.headers.get("Inference-Header-Content-Length")
        length = len(body) if length is None else int(length)
        request, rest = json.loads(body[:length]), body[length:]
        self.asked.append(request)
        if request.get("parameters", {}).get("refuse"):
            raise Refused("told to refuse")
        tensors = []
        for tensor in request["inputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            raw, rest = (bytes_of(tensor), rest) if size is None else (rest[:size], rest[size:])
            if size is not None and len(raw) != size:
                raise Refused("the bytes end too early")
            tensors.append((tensor, raw))
        if rest:
            raise Refused(f"{len(rest)} bytes too many")
        self.inferences += 1
        self.give(handler, request, tensors)

    def give(self, handler, request, tensors):
        wanted = {o["name"]: o.get("parameters", {}) for o in request.get("outputs", [])}
        if len(wanted) < len(request.get("outputs", [])):
            raise Refused("an output is asked for twice")
        if set(wanted) - {tensor["name"] for tensor, _ in tensors}:
            raise Refused("an output is asked for that is not there")
        everything = request.get("parameters", {}).get("binary_data_output", False)
        outputs, behind = [], b""
        for tensor, raw in tensors:
            if wanted and tensor["name"] not in wanted:
                continue
            output = {name: tensor[name] for name in ("name", "datatype", "shape")}
            if wanted.get(tensor["name"], {}).get("binary_data", everything):
                output["parameters"] = {"binary_data_size": len(raw)}
                behind += raw
            else:
                output["data"] = data_of(tensor["datatype"], raw)
                assert tensor["datatype"] == "BYTES" or len(output["data"]) == elements(tensor["shape"])
            outputs.append(output)
        answer = {"model_name": self.name, "model_version": "1", "outputs": outputs}
        answer.update({"id": request["id"]} if "id" in request else {})
        if own := {k: v for k, v in request.get("parameters", {}).items() if k.startswith("own_")}:
            answer["parameters"] = own
        head = json.dumps(answer).encode()
        length = {"Inference-Header-Content-Length": str(len(head))} if behind else {}
        self.say(handler, 200, head + behind, length)
