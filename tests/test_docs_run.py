"""The examples of the gateway's pages, executed: in the order of each page its Services are applied and its commands
run, against one real daemon with a small runtime. Commands succeed, and what the page shows of their output has the
members, labels and columns that come out.

A block is run, or is a sample that is compared with what comes out, or is in SKIPPED with the reason: a new one that is
none of these fails."""
import glob
import json
import os
import re
import shlex
import signal
import subprocess

import pytest
import yaml

import muster as helper
from manifests import manifest, model, team
from muster import BINARY, COMMAND_S, ROOT, START_S, STOP_S, Muster, wait_until
from test_gateway_shared import PROGRAM, Redis
from test_services import free_port

PAGES = sorted(glob.glob(os.path.join(ROOT, "docs", "gateway*.md")))
TEAMS = ("default", "vision", "language", "research", "shop")
MODELS = ("digits", "chat", "chat-small", "chat-spare", "light", "heavy", "assistant")

# Speaks both protocols, and knows how sure it is.
RUNTIME = r'''
import http.server, json, os, socketserver
name, version = os.environ["MUSTER_MODEL_NAME"], os.environ["MUSTER_MODEL_VERSION"]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "peer"
    def log_message(self, *a): pass
    def reply(self, data, kind="application/json"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if self.path == "/metrics": return self.reply(b"vllm:gpu_cache_usage_perc 0.5\n", "text/plain")
        self.reply(json.dumps({"name": name, "versions": [version], "platform": "x", "inputs": [], "outputs": []}).encode())
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "inputs" in body:
            answer = {"model_name": name, "model_version": version, "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1], "data": [float(version)]}]}
        else:
            said = [{"token": "yes", "logprob": -0.9 if "unsure" in str(body) else -0.1, "bytes": [121, 101, 115], "top_logprobs": []}]
            answer = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [
                {"index": 0, "finish_reason": "stop", "logprobs": {"content": said, "refusal": None},
                 "message": {"role": "assistant", "content": "yes", "refusal": None}}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
        self.reply(json.dumps(answer).encode())
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
Server(os.environ["MUSTER_SOCKET"], Handler).serve_forever(0.02)
'''
PROBES = {name: {"period": "100ms"} for name in ("startup", "readiness")}
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}
INFER = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3], "data": [0.1, 0.2, 0.3]}]}

# What a page's block begins with, and why it is not run.
SKIPPED = {
    "ninja -C build bench/": "a build and a benchmark of minutes, which bench/ is for",
    "$ ninja -C build bench/": "the same",
    "$ build/src/gateway/test_gateway_guard": "a unit test, which is run as such",
    "MUSTER_BUILD=build-release ROUNDS=9": "a benchmark of minutes",
    "(requests waiting + 1)": "a formula",
    "histogram_quantile(": "a query for a Prometheus server",
    "clients --HTTP(S)-->": "a picture",
    "data: {\"error\":": "a stream that breaks off: tests/test_gateway_fallback.py",
    "queue: {concurrency: 8": "a line of the manifest above it",
}
# Commands whose status says something of what they found.
OTHER_STATUS = {"gateway-record": 1}
WAIT_S = 8
# Pages that speak of a Service without one of their own.
WITHOUT_SERVICE = ("gateway", "gateway-trials")
PLAIN = """
apiVersion: muster/v1
kind: Service
metadata: {name: digits, team: vision}
spec: {model: digits@production}
"""
# Lines of output that come out only under a certain load.
BY_LOAD = ("replicas wanted", "Load:", "Sudden load:", "Goal of", "Replicas take", "The number was last changed")


def pieces_of(path):
    """(language, text) in their order: fenced blocks, and indented ones with the language ""."""
    found, fence, indented = [], None, []
    with open(path, encoding="utf-8") as file:
        for line in [*file.read().split("\n"), ""]:
            if fence is None and line.startswith("    "):
                indented.append(line[4:])
                continue
            if indented:
                if line == "" and fence is None and indented[-1] != "":
                    indented.append("")
                    continue
                found.append(("", "\n".join(indented).strip("\n")))
                indented = []
            if line.startswith("```"):
                if fence is not None:
                    found.append(fence)
                    fence = None
                else:
                    fence = (line[3:], "")
            elif fence is not None:
                fence = (fence[0], fence[1] + line + "\n")
    return [(language, text) for language, text in found if text]


def is_whole(words):
    try:
        shlex.split(words, comments=True)
        return not words.endswith("\\")
    except ValueError:
        return False


def steps_of(text):
    """(command, what it prints as the page shows it, or None)."""
    lines, steps = text.split("\n"), []
    session = lines[0].startswith("$ ")
    while lines:
        line = lines.pop(0)
        if not session or line.startswith("$ "):
            command = line.removeprefix("$ ")
            while not is_whole(command) and lines:
                command += "\n" + lines.pop(0)
            steps.append([command, None])
        elif line or steps[-1][1]:
            steps[-1][1] = (steps[-1][1] or "") + line + "\n"
    return [(command, shown) for command, shown in steps if command.strip()]


def shape(text):
    """The names in a text: of members, labels and columns."""
    names = set(re.findall(r'"([A-Za-z_]\w*)"\s*:', text))
    names |= {label.lower() for label in re.findall(r"^([A-Za-z][\w-]*):(?:\s|$)", text, re.M)}
    for line in text.split("\n"):
        if re.fullmatch(r"[A-Z][A-Z0-9<=-]+(\s+[A-Z][A-Z0-9<=-]+)+", line.strip()):
            names |= set(line.split())
    return names


def without_numbers(text):
    return re.sub(r"\d+(\.\d+)?", "#", text)


def sentences(text):
    """Lines that are neither of a table, nor of JSON, nor a label and its value, nor by load."""
    table = False
    for line in text.strip("\n").split("\n"):
        columns = re.fullmatch(r"[A-Z][A-Z0-9<=-]+(\s+[A-Z][A-Z0-9<=-]+)+", line.strip())
        row = table and re.search(r"\S {2,}\S", line)
        table = bool(columns or row)
        if not table and line.strip() and not line.startswith(" ") and line[0] not in "{[" and \
                not re.match(r"[A-Za-z][\w-]*:(\s|$)", line) and not any(words in line for words in BY_LOAD):
            yield without_numbers(line.strip())


class Site:
    """A daemon of `muster up`, and a folder in which commands run."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.muster = Muster(folder / "data")
        self.others = []
        self.redis = None
        self.key = None
        self.ports, self.versions = {}, {}

    def start(self):
        self.muster.start("--gateway", f"127.0.0.1:{self.port}", "--traces", "", verb="up")
        (self.folder / "bin").mkdir()
        os.symlink(BINARY, self.folder / "bin" / "muster")
        os.symlink(self.muster.socket_path, self.folder / "muster.sock")
        os.symlink(os.environ.get("MUSTER_BUILD") or os.path.dirname(BINARY), self.folder / "build")
        (self.folder / "one.json").write_text(json.dumps(INFER))
        (self.folder / "model").mkdir()
        self.muster.apply(
            manifest("Pool", "docs", {"engine": "local", "nodes": [
                {"name": "n1", "cpu": 100, "memory": "400Gi", "disk": "400Gi"}]}),
            *[manifest("Runtime", name, {"command": ["/usr/bin/python3", "-c", RUNTIME.replace("{", "{{")],
                                         "protocols": ["oip", "openai"], **PROBES}) for name in ("words", "vllm")],
            *[team(name, members=[{"user": "reader", "role": "viewer"}]) for name in TEAMS],
            *[model(name, team=whose, runtime="words", gates=[{"stage": "production", "approvals": 0}]) for whose in TEAMS for name in MODELS])
        if PROGRAM:
            self.redis = Redis(self.folder).start()
        self.key = self.muster.cli("token", "create", "reader", "--inference").stdout.strip()
        return self

    def push(self, name):
        """The next version of a model, in production."""
        with open(self.folder / "model" / "weights", "a", encoding="ascii") as weights:
            weights.write("more\n")
        self.muster.cli("model", "push", name, str(self.folder / "model"))
        self.muster.cli("promote", name, "--to", "production", "--wait")
        self.versions[name] = self.versions.get(name, 0) + 1

    def rewritten(self, text):
        for wrong, right in {
                "http://127.0.0.1:8080": f"http://127.0.0.1:{self.port}", " localhost:8080": f" localhost:{self.port}",
                "/run/redis/redis.sock": self.redis.path if self.redis else "", "/tmp/muster": f"{self.folder}/other",
                "redis://10.0.0.7:6379": f"unix:{self.redis.path}" if self.redis else "",
                "/srv/muster": f"{self.folder}/served", "10.0.0.9": "127.0.0.1"}.items():
            text = text.replace(wrong, right)
        for port in ("9000", "4318"):
            text = re.sub(rf"(?<=127\.0\.0\.1[:\"]){port}|(?<=127\.0\.0\.1\", ){port}", str(self.port_for(port)), text)
        version = self.versions.get("vision/digits", 0)
        return re.sub(r'(--version |"version": |, version )7\b', rf"\g<1>{version}", text)

    def port_for(self, name):
        return self.ports.setdefault(name, free_port())

    def environment(self):
        return {**self.muster.environment, "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "PYTHONUNBUFFERED": "1", "KEY": self.key, "key": self.key}

    def spawn(self, command, **options):
        log = open(self.folder / "output", "w+", encoding="utf-8")
        process = subprocess.Popen(["/bin/bash", "-c", f"exec {command}"] if "=" not in command.split()[0] else
                                   ["/bin/bash", "-c", re.sub(r"^((?:\w+=\S+ )+)", r"exec env \1", command)],
                                   cwd=self.folder, env={**self.environment(), **options}, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.others.append(process)
        return process, lambda: open(self.folder / "output", encoding="utf-8").read()

    def end_others(self, words=""):
        """Programs whose command has these words."""
        ended = [process for process in self.others if words in process.args[-1]]
        for process in ended:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in ended:
            process.wait(timeout=STOP_S)
            self.others.remove(process)

    def curl(self, path, body, headers=()):
        words = ["curl", "-si", f"http://127.0.0.1:{self.port}{path}", "-H", f"Authorization: Bearer {self.key}",
                 "-d", json.dumps(body)]
        for name in headers:
            words += ["-H", name]
        return subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=True).stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("docs"))
    try:
        made.start()
        yield made
    finally:
        made.end_others()
        if made.redis:
            made.redis.stop()
        made.muster.teardown()
        print(made.muster.log())


# ---- what comes out where a page shows a sample of it ----------------------------------------------------------------

def access_line(site):
    site.curl("/v2/models/digits/infer", INFER)
    path = os.path.join(site.muster.data, "gateway", "access.log")
    return wait_until(lambda: [line for line in open(path, encoding="utf-8") if '/infer"' in line and '"status":200' in line], COMMAND_S,
                      "a line of the access log")[-1]


SAMPLES = {
    ("gateway", '{"time":'): access_line,
    ("gateway-cascade", "X-Muster-Answered-By: chat-small"): lambda site: site.curl("/v1/chat/completions", CHAT),
    ("gateway-cascade", "X-Muster-Answered-By: chat\n"): lambda site: site.curl(
        "/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": "unsure"}]}),
    ("gateway-limits", "x-ratelimit-limit-requests"): lambda site: site.curl("/v1/chat/completions", CHAT),
}


# ---- what users do meanwhile -----------------------------------------------------------------------------------------

def record(site):
    """Some requests, and then another version to replay them against."""
    for _ in range(3):
        site.curl("/v2/models/digits/infer", INFER)
    site.push("vision/digits")
    wait_until(lambda: f'"{site.versions["vision/digits"]}"' in site.curl("/v2/models/digits/infer", INFER), COMMAND_S,
               "the next version")


def train(site):
    with open(site.folder / "model" / "weights", "a", encoding="ascii") as weights:
        weights.write("more\n")


USERS = {"$ muster replay": record, "$ muster model push": train,
         "$ curl -s --unix-socket muster.sock": lambda site: site.curl("/v2/models/light/infer", INFER),
         "$ python3 -c 'import http.server": lambda site: site.curl("/v2/models/light/infer", INFER)}


# ---- running ---------------------------------------------------------------------------------------------------------

def compare(shown, came):
    """Why what came out is not what the page shows; None: it is."""
    missing = {name for name in shape(shown) if name.lower() not in {known.lower() for known in shape(came)}}
    if not shape(shown) and not list(sentences(shown)):
        return None
    lines = without_numbers(came)
    gone = [line for line in sentences(shown) if line not in lines]
    return f"{sorted(missing)} and {gone} are not in:\n{came}" if missing or gone else None


def begins_one(text):
    """Whether there is a command that goes on."""
    return re.search(r"muster (up|gateway)\b|serve_forever|&$", text, re.M)


class Loader(yaml.SafeLoader):
    """`on` is a word, as in YAML 1.2."""
    yaml_implicit_resolvers = {first: [item for item in items if first not in "oO"]
                               for first, items in yaml.SafeLoader.yaml_implicit_resolvers.items()}


class Page:
    def __init__(self, site, path):
        self.site, self.name = site, os.path.basename(path).removesuffix(".md")
        self.services, self.manifests, self.last = [], [], None

    def apply(self, text):
        text = self.site.rewritten(text)
        for number, read in enumerate(yaml.load_all(text, Loader=Loader)):
            if number == 0 and "kind" in read:
                (self.site.folder / f"{read['metadata']['name']}.yaml").write_text(text)
            if "kind" not in read:
                whole = self.with_member(*read)
                read = {**whole, "spec": {**whole["spec"], "gateway": read}}
            if read["kind"] == "Service":
                self.last = read
                self.manifests.append(read)
                self.prepare(read)
            if read["kind"] == "HorizontalPodAutoscaler":
                plain = {key: value for key, value in self.last["spec"].items() if key not in ("autoscale", "metrics")}
                self.site.muster.apply({**self.last, "spec": plain})
            self.site.muster.cli("apply", "-f", "-", stdin=yaml.safe_dump(read))

    def with_member(self, name):
        """The page's last Service that has this option of the gateway: whose other value a fragment shows."""
        return [read for read in self.manifests if name in read["spec"].get("gateway", {})][-1]

    def prepare(self, service):
        """The version that it serves, which is in production; samples of few are samples of all."""
        name, whose = service["spec"]["model"].partition("@")[0].rpartition("/")[2], service["metadata"]["team"]
        if f"{whose}/{name}" not in self.services:
            self.site.push(f"{whose}/{name}")
        self.services.append(f"{whose}/{name}")
        for part in ("record", "secondary"):
            if part in service["spec"].get("gateway", {}):
                service["spec"]["gateway"][part]["sample"] = 1

    def ready(self):
        for route in {name.partition("/")[2] for name in self.services}:
            wait_until(lambda: "200 OK" in subprocess.run(
                ["curl", "-si", f"http://127.0.0.1:{self.site.port}/v2/models/{route}/ready", "-H",
                 f"X-API-Key: {self.site.key}"], capture_output=True, text=True, check=False).stdout, COMMAND_S,
                f"a replica of {route}")

    def run(self, command, shown):
        """Until what it prints is of the shape that is shown: what happens in between takes its time."""
        why = [None]

        def done():
            run = subprocess.run(["/bin/bash", "-c", f"set -o pipefail\n{command}"], cwd=self.site.folder, text=True,
                                 env=self.site.environment(), capture_output=True, timeout=COMMAND_S, check=False)
            came = run.stdout + run.stderr
            why[0] = compare(shown or "", came)
            if why[0] is None and run.returncode != OTHER_STATUS.get(self.name, 0):
                why[0] = f"status {run.returncode}: {came}"
            if shown is None:
                assert why[0] is None, f"{command}\n{why[0]}"
            return why[0] is None

        try:
            wait_until(done, WAIT_S, command)
        except AssertionError:
            raise AssertionError(f"{command}\n{why[0]}") from None

    def begin(self, command, shown):
        """A program that goes on: until it says that it is ready, or what is shown once it was asked."""
        server = re.search(r"muster (up|gateway)\b", command)
        if server:
            self.site.end_others("muster")
            port = free_port()
            command += f" --{'gateway' if server[1] == 'up' else 'listen'} 127.0.0.1:{port}"
            command += "" if "--data" in command else f" --data {self.site.folder}/other"
        process, came = self.site.spawn(command)

        def ready():
            assert process.poll() is None, f"{command}\n{came()}"
            return not server or "ready" in came()

        wait_until(ready, START_S, f"{command} to be ready")
        if shown:
            wait_until(lambda: self.users(command) or compare(shown, came()) is None, WAIT_S, f"{shown} of {command}")

    def users(self, command):
        """They see nothing of what comes out."""
        for begin, act in USERS.items():
            if f"$ {command}".startswith(begin):
                act(self.site)

    def api(self, lines):
        """A request and its answer, in turn; of the test that one opens the next one knows the id."""
        test = ""
        for request, answer in zip(lines[::2], lines[1::2]):
            method, path, body = re.fullmatch(r"(\w+) (\S+)\s+(\{.*\})", request).groups()
            body = body.replace('"{..}"', json.dumps(json.dumps(INFER)))
            came = self.site.muster.api(method, path.replace("5f0c..", test), body, headers={
                "Content-Type": "application/json"})
            assert f"{came.status} " == answer[:4] and compare(answer[4:], came.text) is None, (request, came)
            test = came.json.get("test")

    def block(self, text):
        if any(text.startswith(begin) for begin in SKIPPED):
            return
        for (page, begin), sample in SAMPLES.items():
            if page == self.name and text.startswith(begin):
                self.ready()
                assert compare(text, sample(self.site)) is None, compare(text, sample(self.site))
                return
        if re.match(r"(GET|POST) /", text):
            self.api(self.site.rewritten(text).split("\n"))
            return
        assert re.match(r"\$ |[a-z0-9_/]*(muster|curl|openssl|python3)\b|[A-Z_]+=\S+ ", text), f"neither run nor skipped: {text}"
        self.ready()
        if begins_one(text):
            self.site.end_others()
        for command, shown in steps_of(text):
            if begins_one(command):
                self.begin(self.site.rewritten(command).rstrip("& "), shown)
            else:
                self.users(command)
                self.run(self.site.rewritten(command), shown and self.site.rewritten(shown))


def test_what_is_skipped_is_there():
    blocks = [text for path in PAGES for language, text in pieces_of(path) if language in ("", "json")]
    for begin in [*SKIPPED, *[begin for _, begin in SAMPLES], *USERS]:
        assert any(begin in text for text in blocks), begin


@pytest.mark.parametrize("path", PAGES, ids=lambda path: os.path.basename(path).removesuffix(".md"))
def test_the_examples_of_a_page(site, path):
    page = Page(site, path)
    try:
        if page.name in WITHOUT_SERVICE:
            page.apply(PLAIN)
        for language, text in pieces_of(path):
            if language == "yaml":
                page.apply(text)
            elif language == "python":
                (site.folder / "collector.py").write_text(site.rewritten(text))
            elif language in ("", "json"):
                page.block(text)
    finally:
        site.end_others()
        for name in dict.fromkeys(page.services):
            site.muster.cli("delete", "service", name, ok=False)
        wait_until(lambda: not any(job["metadata"]["team"] in TEAMS for job in site.muster.call(
            "GET", "/v1/jobs?live=true")["items"]), COMMAND_S, "the replicas to be gone")
