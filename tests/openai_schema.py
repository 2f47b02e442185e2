"""What the OpenAI API and the Open Inference Protocol v2 promise of their answers, as tables of
fields: which are there, of which type, with which values. Every answer and every event of a scenario
goes through them.

A table is a dict from a field to what it has to be; a name with "?" may be missing. What it has to be
is a function that returns nothing, or what is wrong, or another table, or one of

    [what]         a list of such values
    {"a", "b"}     one of these texts
    (what, None)   such a value, or null

Fields that no table names are allowed: both protocols say so."""
import json


def text(value):
    return None if isinstance(value, str) else "is no text"


def whole(value):
    good = isinstance(value, int) and not isinstance(value, bool)
    return None if good else "is no whole number"


def count(value):
    return whole(value) or (None if value >= 0 else "is negative")


def number(value):
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    return None if good else "is no number"


def flag(value):
    return None if isinstance(value, bool) else "is neither true nor false"


def anything(_):
    return None


def faults(what, value, path="$"):
    """Every way in which the value is not what it has to be."""
    if isinstance(what, tuple):
        return [] if value is None else faults(what[0], value, path)
    if isinstance(what, list):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [fault for i, one in enumerate(value) for fault in faults(what[0], one, f"{path}[{i}]")]
    if isinstance(what, set):
        return [] if isinstance(value, str) and value in what else [f"{path} is {value!r}, not one of "
                                                                    f"{sorted(what)}"]
    if isinstance(what, dict):
        return table_faults(what, value, path)
    fault = what(value)
    return [f"{path} {fault}: {value!r}"] if fault else []


def table_faults(table, value, path):
    if not isinstance(value, dict):
        return [f"{path} is no object"]
    found = []
    for field, what in table.items():
        name = field.rstrip("?")
        if name in value:
            found += faults(what, value[name], f"{path}.{name}")
        elif not field.endswith("?"):
            found.append(f"{path}.{name} is missing")
    return found


def check(what, value):
    found = faults(what, value)
    assert not found, f"{'; '.join(found)} in {json.dumps(value)[:2000]}"
    return value


# ---- OpenAI -----------------------------------------------------------------------------------

USAGE = {"prompt_tokens": count, "completion_tokens": count, "total_tokens": count,
         "prompt_tokens_details?": ({"cached_tokens?": count, "audio_tokens?": count}, None),
         "completion_tokens_details?": ({"reasoning_tokens?": count}, None)}

TOKEN = {"token": text, "logprob": number, "bytes": ([whole], None)}
LOGPROBS = {"content": ([{**TOKEN, "top_logprobs": [TOKEN]}], None),
            "refusal": ([{**TOKEN, "top_logprobs": [TOKEN]}], None)}
OLD_LOGPROBS = {"tokens?": [text], "token_logprobs?": [(number, None)], "text_offset?": [count],
                "top_logprobs?": ([(anything, None)], None)}

FINISH = {"stop", "length", "tool_calls", "content_filter", "function_call"}
OLD_FINISH = {"stop", "length", "content_filter"}
ROLES = {"developer", "system", "user", "assistant", "tool"}
TOOL_CALL = {"id": text, "type": {"function"}, "function": {"name": text, "arguments": text}}

MESSAGE = {"role": {"assistant"}, "content": (text, None), "refusal": (text, None),
           "tool_calls?": [TOOL_CALL]}
HEAD = {"id": text, "created": count, "model": text, "system_fingerprint?": (text, None),
        "service_tier?": ({"auto", "default", "flex", "scale", "priority"}, None)}

CHAT = {**HEAD, "object": {"chat.completion"}, "usage?": USAGE,
        "choices": [{"index": count, "message": MESSAGE, "finish_reason": FINISH,
                     "logprobs": (LOGPROBS, None)}]}

DELTA = {"role?": ROLES, "content?": (text, None), "refusal?": (text, None),
         "tool_calls?": [{"index": count, "id?": text, "type?": {"function"},
                          "function?": {"name?": text, "arguments?": text}}]}
CHAT_CHUNK = {**HEAD, "object": {"chat.completion.chunk"}, "usage?": (USAGE, None),
              "choices": [{"index": count, "delta": DELTA, "finish_reason": (FINISH, None),
                           "logprobs?": (LOGPROBS, None)}]}

# A completion and its chunks have one table; only a chunk has no reason to have finished yet.
COMPLETION = {**HEAD, "object": {"text_completion"}, "usage?": USAGE,
              "choices": [{"index": count, "text": text, "finish_reason": OLD_FINISH,
                           "logprobs": (OLD_LOGPROBS, None)}]}
COMPLETION_CHUNK = {**COMPLETION, "usage?": (USAGE, None),
                    "choices": [{"index": count, "text": text, "finish_reason": (OLD_FINISH, None),
                                 "logprobs": (OLD_LOGPROBS, None)}]}


def embedding(value):
    """A list of numbers, or base64 of them as FP32."""
    if isinstance(value, str):
        return None if len(value) % 4 == 0 else "is no base64"
    return None if not faults([number], value) else "is neither numbers nor base64"


EMBEDDINGS = {"object": {"list"}, "model": text,
              "usage": {"prompt_tokens": count, "total_tokens": count},
              "data": [{"object": {"embedding"}, "index": count, "embedding": embedding}]}
MODEL = {"id": text, "object": {"model"}, "created": count, "owned_by": text}
MODELS = {"object": {"list"}, "data": [MODEL]}
ERROR = {"error": {"message": text, "type": text, "param": (text, None), "code": (text, None)}}

# path: (whole answer, chunk of a stream)
OPENAI = {"/v1/chat/completions": (CHAT, CHAT_CHUNK),
          "/v1/completions": (COMPLETION, COMPLETION_CHUNK),
          "/v1/embeddings": (EMBEDDINGS, None), "/v1/models": (MODELS, None),
          "/v1/responses": ({"id": text, "object": {"response"}, "output": [anything]}, None)}


def openai_answer(path, status, body):
    """Checks a whole answer of the API; gives it decoded."""
    value = json.loads(body)
    if status >= 400:
        return check(ERROR, value)
    what = MODEL if path.startswith("/v1/models/") else OPENAI[path][0]
    check(what, value)
    if isinstance(value.get("usage"), dict) and "completion_tokens" in value["usage"]:
        check_sum(value["usage"])
    if "choices" in value:
        assert [choice["index"] for choice in value["choices"]] == list(range(len(value["choices"])))
    return value


def check_sum(usage):
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage


def events(body):
    """The data of each event; comments and the ends of lines do not matter."""
    lines = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    found = []
    for event in lines.split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:")]
        if data:
            found.append("\n".join(data))
    return found


def openai_stream(path, body, include_usage, whole_stream=True):
    """Checks a stream; gives its chunks decoded. whole_stream: it was not cut or ended by an error."""
    said = events(body)
    if whole_stream:
        assert said and said[-1] == "[DONE]", said[-3:]
    chunks = [json.loads(one) for one in said if one != "[DONE]"]
    errors = [chunk for chunk in chunks if "error" in chunk]
    for error in errors:
        check(ERROR, error)
    chunks = [chunk for chunk in chunks if "error" not in chunk]
    for chunk in chunks:
        check(OPENAI[path][1], chunk)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) <= 1
    check_usage_of_stream(chunks, include_usage, whole_stream and not errors)
    if whole_stream and not errors:
        check_finish(chunks)
    return chunks


def check_usage_of_stream(chunks, include_usage, whole_stream):
    """With include_usage each chunk has it: null but in the last, which has nothing else."""
    with_usage = [chunk for chunk in chunks if chunk.get("usage") is not None]
    if not include_usage:
        assert not with_usage, with_usage
        assert all(chunk["choices"] for chunk in chunks)
        return
    assert all("usage" in chunk for chunk in chunks)
    if whole_stream:
        assert with_usage == chunks[-1:] and chunks[-1]["choices"] == [], chunks[-1]
        check_sum(chunks[-1]["usage"])


def check_finish(chunks):
    """Each choice says once, and last, why it ends."""
    ended = set()
    for chunk in chunks:
        for choice in chunk["choices"]:
            assert choice["index"] not in ended, choice
            if choice["finish_reason"] is not None:
                ended.add(choice["index"])
    assert ended == {choice["index"] for chunk in chunks for choice in chunk["choices"]}


# ---- the Open Inference Protocol v2 -----------------------------------------------------------

# Bytes of an element; None: each says its own length.
DATATYPES = {"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2,
             "INT32": 4, "INT64": 8, "FP16": 2, "FP32": 4, "FP64": 8, "BF16": 2, "BYTES": None}

SERVER = {"name": text, "version": text, "extensions": [text]}
TENSOR_OF_MODEL = {"name": text, "datatype": set(DATATYPES), "shape": [whole]}
# The schema wants name and platform, Triton gives all of them.
MODEL_OF_SERVER = {"name": text, "platform": text, "versions?": [text], "inputs": [TENSOR_OF_MODEL],
                   "outputs": [TENSOR_OF_MODEL]}
INDEX = [{"name": text, "version?": text, "state?": {"READY", "UNAVAILABLE", "UNKNOWN", "LOADING",
                                                     "UNLOADING"}, "reason?": text}]
# In prose an output has data; of a binary one Triton gives binary_data_size instead.
OUTPUT = {"name": text, "shape": [count], "datatype": set(DATATYPES), "data?": [anything],
          "parameters?": {"binary_data_size?": count}}
INFER = {"model_name": text, "model_version?": text, "id?": text, "parameters?": {}, "outputs": [OUTPUT]}
OIP_ERROR = {"error": text}


def elements(shape):
    product = 1
    for n in shape:
        product *= n
    return product


def flat(data):
    return [x for item in data for x in flat(item)] if isinstance(data, list) else [data]


def check_output(output):
    size = output.get("parameters", {}).get("binary_data_size")
    width = DATATYPES[output["datatype"]]
    assert (size is None) != ("data" not in output), "an output has data or bytes"
    if size is None:
        assert len(flat(output["data"])) == elements(output["shape"]), output["name"]
        return 0
    assert width is None or size == width * elements(output["shape"]), output["name"]
    return size


def oip_infer(body, head_length):
    """Checks the answer to an inference, with its bytes; gives its JSON decoded."""
    head = body if head_length is None else body[:head_length]
    value = check(INFER, json.loads(head))
    binary = sum(check_output(output) for output in value["outputs"])
    assert binary == len(body) - len(head), "other bytes follow than were announced"
    return value


def oip_answer(path, status, headers, body):
    """Checks an answer below /v2. headers: names in lower case."""
    if status >= 400:
        # Health says it with its status; what else it says is nobody's to prescribe.
        return None if path.endswith(("/ready", "/live")) else check(OIP_ERROR, json.loads(body))
    if path.endswith("/infer"):
        length = headers.get("inference-header-content-length")
        return oip_infer(body, None if length is None else int(length))
    if path.endswith(("/ready", "/live", "/config", "/stats")):
        return None
    table = SERVER if path in ("/v2", "/v2/") else INDEX if path == "/v2/repository/index" \
        else MODEL_OF_SERVER
    return check(table, json.loads(body))
