#!/usr/bin/python3
"""An upstream that speaks the OpenAI API, for scenarios and demos: it says the same words to the same
request at any time, counts its tokens honestly, and streams, waits and fails when it is told to.

    tests/openai_upstream.py --port 8000 [--model words]

In a scenario it is a replica of a gateway (see gateway.py):

    upstream = Upstream(tmp_path)
    gateway.put(service(upstream, route="words"))
    upstream.gate.close()         # streams wait before each chunk ..
    upstream.gate.let(2)          # .. and go on for two
    upstream.next_errors.append((429, {"Retry-After": "1"}))

A token is a word with the space before it. What a model says is chosen by a hash of its name, the
conversation and the seed, so that nothing has to be stored to know it: see `Words`."""
import argparse
import base64
import hashlib
import http.server
import json
import os
import re
import struct
import threading

WORDS = ("time", "year", "river", "stone", "light", "house", "hand", "word", "night", "water",
         "road", "tree", "book", "glass", "field", "wind")
ANSWER_TOKENS = 12
CONTEXT_TOKENS = 4096
CREATED = 1700000000
EMBEDDING_NUMBERS = 8
WAIT_S = 60  # for a gate: longer is a test that never opens it


class Gate:
    """Open at first. Once closed, each chunk of a stream waits for one let()."""

    def __init__(self):
        self.condition = threading.Condition()
        self.allowed = None
        self.waiting = 0

    def close(self):
        with self.condition:
            self.allowed = 0

    def let(self, count):
        with self.condition:
            self.allowed += count
            self.condition.notify_all()

    def open(self):
        with self.condition:
            self.allowed = None
            self.condition.notify_all()

    def pass_one(self):
        with self.condition:
            self.waiting += 1
            self.condition.notify_all()
            came = self.condition.wait_for(lambda: self.allowed is None or self.allowed > 0, WAIT_S)
            self.waiting -= 1
            if self.allowed:
                self.allowed -= 1
            return came


class Fault(Exception):
    """An error in the shape of the API."""

    def __init__(self, status, text, kind="invalid_request_error", code=None, param=None):
        super().__init__(text)
        self.status = status
        self.body = {"error": {"message": text, "type": kind, "param": param, "code": code}}


# ---- what is said -----------------------------------------------------------------------------


def tokens_of(text):
    """The text cut into tokens; together they are the text again."""
    return re.findall(r"\s*\S+|\s+$", text)


def hashed(*parts):
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


class Words:
    """What the model says, as a function of what it is asked."""

    def __init__(self, model, prompt, seed, index, count):
        self.prompt = prompt
        self.tokens = []
        for i in range(count):
            number = hashed(model, prompt, seed, index, i)
            self.tokens.append((" " if i else "") + WORDS[number[0] % len(WORDS)])

    @property
    def text(self):
        return "".join(self.tokens)

    def logprob(self, i, rank=0):
        return -round((hashed(self.prompt, i)[0] + 1) / 512 + rank, 6)

    def entry(self, i, top):
        """A token's probability, as chats say it."""
        def one(text, rank):
            return {"token": text, "logprob": self.logprob(i, rank), "bytes": list(text.encode())}

        others = [word for word in WORDS if word != self.tokens[i].strip()]
        ranked = [self.tokens[i], *others[:max(0, top - 1)]][:top]
        return {**one(self.tokens[i], 0),
                "top_logprobs": [one(text, rank) for rank, text in enumerate(ranked)]}

    def chat_logprobs(self, begin, end, top):
        return {"content": [self.entry(i, top) for i in range(begin, end)], "refusal": None}

    def text_logprobs(self, begin, end, top):
        """The older form, of completions."""
        offsets, at = [], len("".join(self.tokens[:begin]))
        for token in self.tokens[begin:end]:
            offsets.append(at)
            at += len(token)
        return {"tokens": self.tokens[begin:end],
                "token_logprobs": [self.logprob(i) for i in range(begin, end)],
                "top_logprobs": [{e["token"]: e["logprob"] for e in self.entry(i, top)["top_logprobs"]}
                                 for i in range(begin, end)],
                "text_offset": offsets}


# ---- what is asked ----------------------------------------------------------------------------


def need(request, name, kinds, default=None):
    """A member of the request of one of these types; None counts as absent."""
    value = request.get(name)
    if value is None:
        return default
    wrong = not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)
    if wrong:
        raise Fault(400, f"Invalid type for '{name}'", code="invalid_type", param=name)
    return value


def content_text(content):
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content or ""


def chat_prompt(request):
    messages = need(request, "messages", list)
    if not messages:
        raise Fault(400, "'messages' has to be a list with at least one message", param="messages",
                    code="missing_required_parameter")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Fault(400, "a message has to have a role", param=f"messages[{i}]")
    return "\n".join(content_text(message.get("content")) for message in messages)


def text_prompt(request):
    prompt = need(request, "prompt", (str, list), "")
    return prompt if isinstance(prompt, str) else "\n".join(map(str, prompt))


class Ask:
    """A request for tokens, checked."""

    def __init__(self, upstream, request, chat):
        self.chat = chat
        self.model = need(request, "model", str, upstream.model)
        self.prompt = chat_prompt(request) if chat else text_prompt(request)
        self.stream = need(request, "stream", bool, False)
        self.n = need(request, "n", int, 1)
        self.top = need(request, "top_logprobs" if chat else "logprobs", int, 0)
        self.logprobs = need(request, "logprobs", bool, False) if chat else "logprobs" in request
        seed = need(request, "seed", int, 0)
        asked = need(request, "max_completion_tokens", int) or need(request, "max_tokens", int)
        self.finish = "length" if asked is not None and asked < ANSWER_TOKENS else "stop"
        count = min(asked or ANSWER_TOKENS, ANSWER_TOKENS)
        self.include_usage = self.read_options(upstream, request)
        self.answers = [Words(self.model, self.prompt, seed, i, count) for i in range(self.n)]
        self.prompt_tokens = len(tokens_of(self.prompt))
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{hashed(self.model, self.prompt, seed).hex()[:24]}"
        if self.prompt_tokens + count > CONTEXT_TOKENS:
            raise Fault(400, f"This model's maximum context length is {CONTEXT_TOKENS} tokens, you asked "
                        f"for {self.prompt_tokens + count}.", code="context_length_exceeded",
                        param="messages" if chat else "prompt")

    def read_options(self, upstream, request):
        if "stream_options" not in request:
            return False
        if not upstream.knows_stream_options:
            raise Fault(400, "Unrecognized request argument supplied: stream_options",
                        param="stream_options", code="unknown_parameter")
        options = need(request, "stream_options", dict, {})
        if not self.stream and options:
            raise Fault(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                        param="stream_options")
        return need(options, "include_usage", bool, False)

    def usage(self):
        completion = sum(len(answer.tokens) for answer in self.answers)
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": completion,
                "total_tokens": self.prompt_tokens + completion}

    def head(self, kind):
        return {"id": self.id, "object": kind, "created": CREATED, "model": self.model,
                "system_fingerprint": "fp_words"}

    # ---- a whole answer ----

    def choice(self, index, answer):
        end = len(answer.tokens)
        if self.chat:
            logprobs = answer.chat_logprobs(0, end, self.top) if self.logprobs else None
            return {"index": index, "finish_reason": self.finish, "logprobs": logprobs,
                    "message": {"role": "assistant", "content": answer.text, "refusal": None}}
        logprobs = answer.text_logprobs(0, end, self.top) if self.logprobs else None
        return {"index": index, "finish_reason": self.finish, "logprobs": logprobs,
                "text": answer.text}

    def reply(self):
        return {**self.head("chat.completion" if self.chat else "text_completion"),
                "choices": [self.choice(i, answer) for i, answer in enumerate(self.answers)],
                "usage": self.usage()}

    # ---- a stream ----

    def piece(self, index, begin, end, finish):
        """The tokens begin..end of an answer as a choice of a chunk."""
        answer, some = self.answers[index], end > begin
        text = "".join(answer.tokens[begin:end])
        choice = {"index": index, "finish_reason": finish, "logprobs": None}
        if self.chat:
            choice["delta"] = {"content": text} if some else {}
            if begin == 0 and some:
                choice["delta"] = {"role": "assistant", "content": text, "refusal": None}
            if self.logprobs and some:
                choice["logprobs"] = answer.chat_logprobs(begin, end, self.top)
        else:
            choice["text"] = text
            if self.logprobs and some:
                choice["logprobs"] = answer.text_logprobs(begin, end, self.top)
        return choice

    def chunks(self, tokens_per_chunk):
        head = self.head("chat.completion.chunk" if self.chat else "text_completion")
        if self.include_usage:
            head["usage"] = None
        for index, answer in enumerate(self.answers):
            for begin in range(0, len(answer.tokens), tokens_per_chunk):
                end = min(begin + tokens_per_chunk, len(answer.tokens))
                yield {**head, "choices": [self.piece(index, begin, end, None)]}
            yield {**head, "choices": [self.piece(index, 0, 0, self.finish)]}
        if self.include_usage:
            yield {**head, "choices": [], "usage": self.usage()}


def embeddings(upstream, request):
    model = need(request, "model", str, upstream.model)
    texts = need(request, "input", (str, list))
    if not texts:
        raise Fault(400, "'input' must not be empty", param="input", code="missing_required_parameter")
    texts = [texts] if isinstance(texts, str) or isinstance(texts[0], int) else texts
    numbers = need(request, "dimensions", int, EMBEDDING_NUMBERS)
    form = need(request, "encoding_format", str, "float")
    if form not in ("float", "base64"):
        raise Fault(400, "'encoding_format' has to be float or base64", param="encoding_format")
    data = []
    for index, text in enumerate(texts):
        values = embedding_of(model, text, numbers)
        encoded = base64.b64encode(struct.pack(f"<{numbers}f", *values)).decode()
        data.append({"object": "embedding", "index": index,
                     "embedding": values if form == "float" else encoded})
    count = sum(len(tokens_of(text)) if isinstance(text, str) else len(text) for text in texts)
    return {"object": "list", "data": data, "model": model,
            "usage": {"prompt_tokens": count, "total_tokens": count}}


def embedding_of(model, text, numbers):
    """Numbers that FP32 has exactly."""
    return [(hashed(model, text, i)[0] - 128) / 128 for i in range(numbers)]


# ---- the server -------------------------------------------------------------------------------


class Upstream:
    """Options may be changed at any time; a request is answered with those at its beginning.

    knows_stream_options  False: refuses what it does not know, as some servers do
    tokens_per_chunk      of streams
    fail_after            chunks of a stream, after which it breaks: None never
    fail_how              "cut" the connection, or send an "error" event
    line_end              of events
    next_errors           (status, headers) of the next requests, instead of an answer"""

    def __init__(self, folder=None, model="words", version=1, **options):
        self.model = model
        self.gate = Gate()
        self.knows_stream_options = True
        self.tokens_per_chunk = 1
        self.fail_after = None
        self.fail_how = "cut"
        self.line_end = "\n"
        self.next_errors = []
        self.streams_ended = 0
        self.lock = threading.Lock()
        self.replica = None
        for name, value in options.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        if folder is not None:
            import gateway  # the helper beside this file; a demo does without it
            self.replica = gateway.Replica(folder, self.answer, version=version)

    @property
    def requests(self):
        return self.replica.requests

    @property
    def bodies(self):
        return [json.loads(request.body) for request in self.replica.requests if request.body]

    def route(self, **more):
        return self.replica.route(**more)

    def answer(self, handler):
        """For a handler with path, body, headers and reply(), begin(), piece(), end()."""
        with self.lock:
            error = self.next_errors.pop(0) if self.next_errors else None
        try:
            if error:
                raise Fault(error[0], f"told to answer {error[0]}", kind="server_error")
            self.dispatch(handler)
        except Fault as fault:
            handler.reply(fault.status, fault.body,
                          {"Content-Type": "application/json", **(error[1] if error else {})})

    def dispatch(self, handler):
        path = handler.path.partition("?")[0]
        if path == "/v1/models":
            one = {"id": self.model, "object": "model", "created": CREATED, "owned_by": "tests"}
            self.reply(handler, {"object": "list", "data": [one]})
            return
        try:
            request = json.loads(handler.body)
        except ValueError:
            raise Fault(400, "the body is not JSON") from None
        if not isinstance(request, dict):
            raise Fault(400, "the body is no JSON object")
        if path == "/v1/embeddings":
            self.reply(handler, embeddings(self, request))
        elif path in ("/v1/chat/completions", "/v1/completions"):
            ask = Ask(self, request, path == "/v1/chat/completions")
            if ask.stream:
                self.stream(handler, ask)
            else:
                self.reply(handler, ask.reply())
        else:
            raise Fault(404, f"Invalid URL ({path})", code="unknown_url")

    @staticmethod
    def reply(handler, value):
        handler.reply(200, value, {"Content-Type": "application/json"})

    def event(self, text):
        return f"data: {text}{self.line_end * 2}".encode()

    def stream(self, handler, ask):
        handler.begin("text/event-stream; charset=utf-8")
        for count, chunk in enumerate(ask.chunks(self.tokens_per_chunk)):
            self.gate.pass_one()
            if self.fail_after is not None and count >= self.fail_after:
                self.fail(handler)
                return
            handler.piece(self.event(json.dumps(chunk, separators=(",", ":"))))
        handler.piece(self.event("[DONE]"))
        handler.end()
        with self.lock:
            self.streams_ended += 1

    def fail(self, handler):
        if self.fail_how == "error":
            fault = Fault(500, "the model failed in the middle of it", kind="server_error")
            handler.piece(self.event(json.dumps(fault.body)))
            handler.end()
        else:
            handler.close_connection = True
            handler.connection.shutdown(2)


class Handler(http.server.BaseHTTPRequestHandler):
    """For the program: a scenario has the one of gateway.py."""
    protocol_version = "HTTP/1.1"
    upstream = None
    body = b""

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.upstream.answer(self)

    do_GET = do_POST

    def reply(self, status, body, headers=()):
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def begin(self, content_type):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def end(self):
        self.wfile.write(b"0\r\n\r\n")


def main():
    parser = argparse.ArgumentParser(description="An upstream that speaks the OpenAI API, for demos.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("MUSTER_PORT", "8000")))
    parser.add_argument("--model", default="words")
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    options = parser.parse_args()
    Handler.upstream = Upstream(model=options.model, tokens_per_chunk=options.tokens_per_chunk)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
