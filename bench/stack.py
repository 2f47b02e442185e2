"""Figures of the whole stack, through the command line: artifacts to a real server and back, a
service from apply to its first answer, a million rows scored. bench/run calls them."""
import http.client
import json
import os
import pathlib
import random
import struct
import subprocess
import time

import measure

ARTIFACT_MIB = int(os.environ.get("ARTIFACT_MIB", "256"))
SMALL_MIB = 64       # beside it, to see whether memory grows with the file
LAYER_MIB = int(os.environ.get("LAYER_MIB", "4"))
LAYERS = 10
VERSIONS = 10
MODEL_MIB = 100
SCORE_ROWS = int(os.environ.get("SCORE_ROWS", "1000000"))
SCORE_FEATURES = 20
WAIT_S = 60
MIB = 1 << 20


# ---- artifacts -------------------------------------------------------------------------------------

def write_noise(path, mib):
    """A file that does not compress."""
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
        out.flush()
        os.fsync(out.fileno())


def change_one_percent(path):
    """New bytes in one place, as where a layer was trained on."""
    size = path.stat().st_size
    with open(path, "r+b") as out:
        out.seek(size // 2)
        out.write(os.urandom(size // 100))
        out.flush()
        os.fsync(out.fileno())


def seconds(*command):
    """How long a command takes."""
    begin = time.monotonic()
    subprocess.run([str(c) for c in command], check=True, capture_output=True, timeout=600)
    return time.monotonic() - begin


def peers(add, prefix, source, folder):
    """cp and zstd of the same file, each with its sync, right before what is compared with them."""
    copy = folder / "copy"
    megabytes = source.stat().st_size / 1e6
    add(f"{prefix}.cp", megabytes / seconds("sh", "-c", 'cp --reflink=never "$1" "$2" && sync "$2"', "-",
                                      source, copy))
    copy.unlink()
    add(f"{prefix}.zstd", megabytes / seconds("sh", "-c", 'zstd -q -1 -T1 "$1" -o "$2" && sync "$2"', "-",
                                        source, copy))
    copy.unlink()


class Client:
    """The command line at one server, with its time, its processor time and its peak memory."""

    def __init__(self, server):
        self.server = server

    def run(self, *arguments):
        command = [measure.program("muster"), *(str(a) for a in arguments)]
        with open(self.server.data.parent / "client", "wb") as said:
            begin = time.monotonic()
            pid = os.posix_spawn(command[0], command, self.server.environment, file_actions=[
                (os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)])
            _, status, usage = os.wait4(pid, 0)
        if status:
            raise RuntimeError((self.server.data.parent / "client").read_text())
        self.seconds = time.monotonic() - begin
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_mb = usage.ru_maxrss * 1024 / 1e6
        return self.seconds


def transfer(add, key, client, mib, *arguments):
    """One push or pull: its rate, and what it took."""
    before_s = client.server.cpu_s()
    add(f"artifact.{key}", mib * MIB / 1e6 / client.run(*arguments))
    add(f"artifact.{key}.cpu", (client.cpu_s + client.server.cpu_s() - before_s) / mib * 1e3)


def artifacts(add):
    with measure.daemon() as server:
        folder, client = server.data.parent, Client(server)
        model = folder / "model"
        model.mkdir()
        write_noise(model / "weights", SMALL_MIB)
        server.reset_peak()
        client.run("model", "push", "default/small", model, "--create")
        add("artifact.server.small", server.peak_mb())
        add("artifact.client.small", client.peak_mb)
        write_noise(model / "weights", ARTIFACT_MIB)
        peers(add, "artifact.peer", model / "weights", folder)
        server.reset_peak()
        transfer(add, "push", client, ARTIFACT_MIB, "model", "push", "default/big", model, "--create")
        add("artifact.client.big", client.peak_mb)
        transfer(add, "again", client, ARTIFACT_MIB, "model", "push", "default/big", model)
        change_one_percent(model / "weights")
        transfer(add, "changed", client, ARTIFACT_MIB, "model", "push", "default/big", model)
        peers(add, "artifact.peer2", model / "weights", folder)
        transfer(add, "pull", client, ARTIFACT_MIB, "model", "pull", "default/big", folder / "out")
        add("artifact.puller.big", client.peak_mb)
        transfer(add, "pull.again", client, ARTIFACT_MIB, "model", "pull", "default/big",
                 folder / "out")
        add("artifact.server.big", server.peak_mb())


def tree_bytes(folder):
    return sum(path.lstat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())


def versions(add):
    """Ten versions of a model in which one of ten layers is new."""
    with measure.daemon() as server:
        folder, client = server.data.parent, Client(server)
        model = folder / "model"
        model.mkdir()
        for layer in range(LAYERS):
            write_noise(model / f"layer-{layer}", LAYER_MIB)
        for version in range(VERSIONS):
            write_noise(model / f"layer-{version % LAYERS}", LAYER_MIB)
            client.run("model", "push", "default/net", model, "--create")
        raw = VERSIONS * LAYERS * LAYER_MIB * MIB
        add("artifact.dedup", raw / tree_bytes(server.data / "registry" / "objects"))


# ---- a service -------------------------------------------------------------------------------------

def ask(port, token, name, features):
    body = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, features],
                        "data": [0.5] * features}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", f"/v2/models/{name}/infer", json.dumps(body),
                           {"Authorization": f"Bearer {token}"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def first_answer_ms(server, port, token, name, features, model):
    """From before the apply of a service to its first answer through the gateway."""
    service = {"apiVersion": "muster/v1", "kind": "Service",
               "metadata": {"name": name, "team": "default"},
               "spec": {"model": model, "runtime": "xgboost",
                        "resources": {"cpu": 0.2, "memory": "256Mi", "disk": "64Mi"}}}
    begin = time.monotonic()
    server.muster("apply", "-f", "-", stdin=json.dumps(service))
    while not ask(port, token, name, features):
        if time.monotonic() - begin > WAIT_S:
            raise RuntimeError("the service does not answer: " + server.muster(
                "describe", "service", name, "--team", "default"))
        time.sleep(0.001)
    took = (time.monotonic() - begin) * 1e3
    server.muster("delete", "service", name, "--team", "default")
    return took


def service(add):
    port = measure.free_port()
    with measure.daemon("--gateway", f"127.0.0.1:{port}") as server:
        features = 20
        model = server.data.parent / "model"
        model.mkdir()
        subprocess.run([measure.program("runtimes/train-xgboost"), model / "model.ubj",
                        str(features), "50"], check=True)
        server.muster("model", "push", "default/sums", str(model), "--create", "--runtime", "xgboost")
        token = server.muster("token", "create", "bench").split()[-1]
        server.muster("apply", "-f", "-", stdin=json.dumps({
            "apiVersion": "muster/v1", "kind": "Team", "metadata": {"name": "default"},
            "spec": {"parent": "root", "members": [{"user": "bench", "role": "viewer"}]}}))

        def first(name, model):
            add(f"service.{name}", first_answer_ms(
                server, port, token, name, features, model))
        first("small", "sums:1")
        first("small.again", "sums:1")
        write_noise(model / "padding", MODEL_MIB)
        server.muster("model", "push", "default/sums", str(model))
        first("big", "sums:2")
        first("big.again", "sums:2")


# ---- batch scoring ---------------------------------------------------------------------------------

def write_rows(folder):
    """The same rows as CSV and as .npy; a table of ten thousand rows over and over."""
    random_of = random.Random(7)
    block = min(10000, SCORE_ROWS)
    rows = [[random_of.random() for _ in range(SCORE_FEATURES)] for _ in range(block)]
    text = "".join(",".join(f"{value:.6f}" for value in row) + "\n" for row in rows)
    data = b"".join(struct.pack(f"<{SCORE_FEATURES}f", *row) for row in rows)
    count = SCORE_ROWS // block
    head = str({"descr": "<f4", "fortran_order": False, "shape": (count * block, SCORE_FEATURES)})
    head = head.ljust(117) + "\n"
    for name in ("csv", "npy"):
        (folder / name).mkdir()
    with open(folder / "csv" / "rows.csv", "w", encoding="ascii") as out:
        for _ in range(count):
            out.write(text)
    with open(folder / "npy" / "rows.npy", "wb") as out:
        out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        for _ in range(count):
            out.write(data)
    return count * block


def scoring(add):
    with measure.folder() as folder:
        model = folder / "model"
        model.mkdir()
        subprocess.run([measure.program("runtimes/train-xgboost"), model / "model.ubj",
                        str(SCORE_FEATURES), "50"], check=True)
        rows = write_rows(folder)
        for name in ("csv", "npy"):
            for threads in (1, 2):
                output = folder / f"{name}-{threads}"
                output.mkdir()
                took = seconds(measure.program("runtimes/muster-xgboost"), "score", "--model", model,
                               "--data", folder / name, "--output", output, "--threads", threads)
                add(f"score.{name}.{threads}", rows / took)


def scoring_jobs(add):
    """The same through `muster score`: jobs, their sandboxes, and a dataset of what they wrote."""
    with measure.daemon() as server:
        folder, client = server.data.parent, Client(server)
        model = folder / "model"
        model.mkdir()
        subprocess.run([measure.program("runtimes/train-xgboost"), model / "model.ubj",
                        str(SCORE_FEATURES), "50"], check=True)
        rows = write_rows(folder)
        client.run("model", "push", "default/sums", model, "--create", "--runtime", "xgboost")
        client.run("dataset", "push", "default/rows", folder / "npy", "--create")
        for shards in (1, 2):
            server.muster("apply", "-f", "-", stdin=json.dumps({
                "apiVersion": "muster/v1", "kind": "Dataset",
                "metadata": {"name": f"scores-{shards}", "team": "default"}, "spec": {}}))
            took = client.run("score", "default/sums:1", "default/rows:1", "--output",
                              f"scores-{shards}", "--shards", shards, "--cpu", "0.5", "--memory",
                              "256Mi", "--disk", "256Mi", "--follow")
            add(f"score.jobs.{shards}", rows / took)
