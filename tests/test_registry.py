"""Versions of datasets and models: sent, fetched, read by jobs, made by jobs."""
import contextlib
import glob
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

import muster as helper
from manifests import job, manifest, pool, team


def dataset(name="digits", team="vision", **spec):
    return manifest("Dataset", name, spec, team=team)


def model(name="net", team="vision", **spec):
    return manifest("Model", name, spec, team=team)


@pytest.fixture
def site(muster):
    """A pool, a team, a Dataset and a Model in it."""
    muster.apply(team(), pool(), dataset(), model())
    return muster


def fill(folder, files):
    """Writes files (bytes by path) below a folder, which is returned."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def noise(size, seed=1):
    """Bytes that do not compress, the same for the same seed."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


def digest_of(files):
    """The digest of an artifact, made as its definition says."""
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n"
                    for path, content in sorted(files.items(), key=lambda item: item[0].encode()))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def read_folder(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def push(muster, folder, name="vision/digits", kind="dataset", *options, **more):
    return muster.cli(kind, "push", name, folder, *options, **more)


def version(muster, number="newest", name="vision:digits", kind="datasets"):
    return muster.call("GET", f"/v1/{kind}/{name}/versions/{number}")


def objects(muster):
    """Stored chunks and trees: their sizes by path."""
    found = {}
    for folder, _, names in os.walk(os.path.join(muster.data, "registry", "objects")):
        for name in names:
            path = os.path.join(folder, name)
            found[path] = os.path.getsize(path)
    return found


FILES = {"a.txt": b"one\n", "deep/er/b.bin": noise(3 << 20), "empty": b"", "zeros": bytes(1 << 20)}


# ---- sending and fetching ----------------------------------------------------------------------

def test_what_was_pushed_comes_back_byte_by_byte(site, tmp_path):
    source = fill(tmp_path / "in", FILES)
    assert push(site, source).stdout.startswith("dataset/vision/digits:1 sha256:")
    stored = version(site)
    assert stored["digest"] == digest_of(FILES)
    assert (stored["files"], stored["bytes"]) == (4, sum(map(len, FILES.values())))
    assert stored["source"] == {"kind": "upload", "from": str(source)}
    site.cli("dataset", "pull", "vision/digits:1", tmp_path / "out")
    assert read_folder(tmp_path / "out") == FILES


def test_the_same_content_is_the_same_version_and_only_changes_travel(site, tmp_path):
    source = fill(tmp_path / "in", FILES)
    push(site, source)
    assert "unchanged" in push(site, source).stdout
    before = sum(objects(site).values())
    fill(source, {"a.txt": b"two\n"})
    assert push(site, source).stdout.startswith("dataset/vision/digits:2 ")
    assert sum(objects(site).values()) - before < 10000
    listed = site.call("GET", "/v1/datasets/vision:digits/versions")["items"]
    assert [item["version"] for item in listed] == [1, 2]
    page = site.call("GET", "/v1/datasets/vision:digits/versions?limit=1")
    assert [item["version"] for item in page["items"]] == [1] and page["next"] == "1"
    page = site.call("GET", "/v1/datasets/vision:digits/versions?limit=1&after=1")
    assert [item["version"] for item in page["items"]] == [2] and "next" not in page


def test_a_push_needs_its_dataset_or_create(site, tmp_path):
    source = fill(tmp_path / "in", {"a": b"a"})
    assert push(site, source, "vision/new", ok=False).returncode == 4
    push(site, source, "vision/new", "dataset", "--create", "--jurisdiction", "eu", "--consent",
         "research-only", "--owner", "ann")
    stored = version(site, name="vision:new")
    assert stored["jurisdiction"] == "eu" and stored["consent"] == ["research-only"]
    assert site.call("GET", "/v1/datasets/vision:new")["spec"]["owner"] == "ann"


def test_a_pull_goes_on_where_it_broke_off_and_repairs_what_differs(site, tmp_path):
    push(site, fill(tmp_path / "in", FILES))
    out = tmp_path / "out"
    site.cli("dataset", "pull", "vision/digits", out)
    content = FILES["deep/er/b.bin"]
    hexes = hashlib.sha256(content).hexdigest()
    (out / "deep/er/b.bin").unlink()
    (out / f"deep/er/.muster-part-{hexes[:32]}").write_bytes(content[:2 << 20] + b"junk")
    (out / "a.txt").write_bytes(b"0ne\n")
    (out / "own").write_bytes(b"mine")
    done = site.cli("dataset", "pull", "vision/digits", out)
    assert read_folder(out) == {**FILES, "own": b"mine"}
    assert "were there" in done.stderr


def test_a_link_in_the_target_folder_is_not_followed(site, tmp_path):
    push(site, fill(tmp_path / "in", {"x/a": b"a"}))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").symlink_to(tmp_path / "elsewhere")
    assert site.cli("dataset", "pull", "vision/digits", tmp_path / "out", ok=False).returncode != 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_push_that_was_killed_goes_on(site, tmp_path):
    """Killed as soon as some chunks are there; the next one sends the rest only."""
    source = fill(tmp_path / "in", {f"f{i}": noise(1 << 20, i) for i in range(24)})
    process = subprocess.Popen([site.binary, "dataset", "push", "vision/digits", str(source)],
                               env=site.environment, stderr=subprocess.DEVNULL)
    site.wait_for(lambda: len(objects(site)) >= 3 or process.poll() is not None, "some chunks")
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = set(objects(site))
    push(site, source)
    assert before <= set(objects(site))
    assert version(site)["files"] == 24


def test_many_chunks_on_their_way_at_once_make_the_same_digest(site, tmp_path):
    """Chunks end in any order; two files of the same content are one chunk, sent once."""
    files = {f"part/{i:02}": noise(1000 + 7919 * i, i) for i in range(64)}
    files |= {"big": noise(24 << 20, "big"), "same": files["part/63"]}
    source = fill(tmp_path / "in", files)
    said = push(site, source).stderr
    sent, chunks = map(int, re.search(r"in (\d+) of (\d+) chunks", said).groups())
    assert sent == chunks > 64
    assert version(site)["digest"] == digest_of(files)
    site.cli("dataset", "verify", "vision/digits:1")
    site.cli("dataset", "pull", "vision/digits", tmp_path / "out")
    assert read_folder(tmp_path / "out") == files


def test_a_server_error_in_the_middle_ends_the_push_and_the_next_sends_the_rest(site, tmp_path):
    """A file stands where the folder of one chunk belongs, which no server can store then."""
    files = {f"f{i:02}": noise(200_000, i) for i in range(48)}
    source = fill(tmp_path / "in", files)
    hindrance = pathlib.Path(site.data, "registry", "objects",
                             hashlib.sha256(files["f24"]).hexdigest()[:2])
    hindrance.write_bytes(b"")
    failed = push(site, source, ok=False)
    assert failed.returncode != 0 and failed.stdout == ""
    assert len(failed.stderr.splitlines()) == 1 and "Not a directory" in failed.stderr
    there = len(objects(site)) - 1
    assert 0 < there < len(files)
    assert site.call("GET", "/v1/datasets/vision:digits/versions")["items"] == []
    hindrance.unlink()
    assert f"in {len(files) - there} of {len(files)} chunks" in push(site, source).stderr
    assert version(site)["digest"] == digest_of(files)


def test_a_server_that_was_killed_has_what_it_said(site, tmp_path):
    source = fill(tmp_path / "in", FILES)
    push(site, source)
    site.kill9()
    site.start()
    assert version(site)["digest"] == digest_of(FILES)
    site.cli("dataset", "verify", "vision/digits:1")
    assert "unchanged" in push(site, source).stdout


def test_a_push_over_a_restart_of_the_server(site, tmp_path):
    source = fill(tmp_path / "in", {f"f{i}": noise(1 << 20, i) for i in range(8)})
    process = subprocess.Popen([site.binary, "dataset", "push", "vision/digits", str(source)],
                               env=site.environment, stderr=subprocess.DEVNULL)
    site.wait_for(lambda: len(objects(site)) >= 1 or process.poll() is not None, "a chunk")
    site.kill9()
    process.wait(timeout=helper.COMMAND_S)
    site.start()
    push(site, source)
    site.cli("dataset", "verify", "vision/digits")
    assert version(site)["files"] == 8


def test_urls_are_downloaded_by_the_client_and_files_are_not_urls(site, tmp_path):
    done = push(site, "file:///etc/passwd", ok=False)
    assert done.returncode == 2 and "http" in done.stderr
    import http.server
    import threading
    content = noise(1 << 20)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved/data.bin?signature=s3cret":
                self.send_response(302)
                self.send_header("Location", "/data.bin")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{web.server_port}/moved/data.bin"
        push(site, f"{url}?signature=s3cret#part")
        web.shutdown()
    assert version(site)["digest"] == digest_of({"data.bin": content})
    # Whoever may read the version may not thereby read what the link allows.
    assert version(site)["source"]["from"] == url


# ---- files over HTTP ---------------------------------------------------------------------------

def test_a_file_is_streamed_with_ranges(site, tmp_path):
    content = noise(5 << 20)
    push(site, fill(tmp_path / "in", {"deep/b.bin": content, "empty": b""}))
    path = "/v1/datasets/vision:digits/versions/1/files"
    listed = site.call("GET", path)["items"]
    assert [(f["path"], f["size"]) for f in listed] == [("deep/b.bin", 5 << 20), ("empty", 0)]
    assert listed[0]["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()

    def get(name, **headers):
        connection = helper.UnixConnection(site.socket_path, helper.REQUEST_S)
        try:
            connection.request("GET", f"{path}/{name}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()
    status, body, headers = get("deep/b.bin")
    assert (status, body) == (200, content) and headers["ETag"] == f'"{listed[0]["digest"]}"'
    status, body, headers = get("deep/b.bin", Range="bytes=3000000-")
    assert (status, body) == (206, content[3000000:])
    assert headers["Content-Range"] == f"bytes 3000000-{len(content) - 1}/{len(content)}"
    for beyond in (len(content), 9000000):
        status, _, headers = get("deep/b.bin", Range=f"bytes={beyond}-")
        assert (status, headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert get("deep/b.bin", Range="bytes=0-10,20-30")[:2] == (200, content)
    assert get("empty")[:2] == (200, b"")
    assert get("nosuch")[0] == 404 and get("deep")[0] == 404


def test_a_changed_byte_on_the_disk_is_named(site, tmp_path):
    push(site, fill(tmp_path / "in", {"b.bin": noise(1 << 20), "c": b"fine"}))
    path, _ = max(objects(site).items(), key=lambda item: item[1])
    os.chmod(path, 0o600)
    with open(path, "r+b") as chunk:
        chunk.seek(1000)
        byte = chunk.read(1)
        chunk.seek(1000)
        chunk.write(bytes([byte[0] ^ 1]))
    url = "/v1/datasets/vision:digits/versions/1"
    answer = site.api("POST", url + "/verify")
    assert answer.status == 500 and answer.json["type"] == "muster:corrupt"
    assert "b.bin" in answer.json["detail"] and os.path.basename(path)[:8] in answer.json["detail"]
    answer = site.api("GET", url + "/files/b.bin")
    assert answer.status == 500 and "b.bin" in answer.json["detail"]
    assert site.api("GET", url + "/files/c").text == "fine"
    job_id = site.submit(job("reads", "true", inputs=[{"name": "data", "dataset": "digits"}]))
    status = site.wait_ended(job_id)["status"]
    assert status["state"] == "failed"
    assert "b.bin" in json.dumps(status), status


# ---- jobs --------------------------------------------------------------------------------------

TRAIN = """
cat "$MUSTER_INPUT_DATA/a.txt" > "$MUSTER_OUTPUT_NET/weights"
echo "$MUSTER_PARAMETER_LEARNING_RATE" >> "$MUSTER_OUTPUT_NET/weights"
echo '{"epoch": 1, "accuracy": 0.875, "note": "x"}' >> "$MUSTER_METRICS"
"""


def train(name="train", command=TRAIN, **more):
    return job(name, command, inputs=[{"name": "data", "dataset": "digits"}],
               outputs=[{"name": "net", "model": "net"}], parameters={"learning-rate": "0.1"},
               **more)


def collected(muster, reference):
    """The job's outputs once they were taken in, or could not be."""
    def done():
        outputs = muster.job(reference)["status"].get("outputs", {})
        return outputs if outputs.get("state") not in (None, "pending") else None
    return muster.wait_for(done, f"the outputs of {reference}")


def test_a_job_reads_a_version_and_makes_one_with_its_whole_source(site, tmp_path):
    push(site, fill(tmp_path / "in", {"a.txt": b"one\n"}))
    job_id = site.submit(train())
    manifest_ = site.job(job_id)
    assert manifest_["spec"]["inputs"] == [{"name": "data", "dataset": "vision/digits:1"}]
    site.wait_job(job_id, "succeeded")
    outputs = collected(site, job_id)
    assert outputs["state"] == "collected" and outputs["outputs"][0]["version"] == 1
    site.wait_for(lambda: not glob.glob(os.path.join(site.data, "jobs", "*", "output")),
                  "what is in the registry to go from the job's folder")
    made = version(site, 1, "vision:net", "models")
    assert made["digest"] == digest_of({"weights": b"one\n0.1\n"})
    assert made["stage"] == "candidate" and made["team"] == "vision"
    source = made["source"]
    assert (source["kind"], source["job"], source["jobName"]) == ("job", job_id, "train")
    assert source["inputs"] == [{"name": "data", "kind": "dataset", "team": "vision",
                                 "artifact": "digits", "version": 1,
                                 "digest": digest_of({"a.txt": b"one\n"})}]
    assert source["parameters"] == {"learning-rate": "0.1"}
    assert source["metrics"] == {"epoch": "1", "accuracy": "0.875"}
    assert source["command"][-1] == TRAIN and source["attempts"] == 1
    environment = source["environment"]
    assert environment["pools"] == ["site"] and environment["architecture"] == os.uname().machine
    assert environment["kernel"] == os.uname().release and environment["os"]
    assert environment["packages"].startswith("sha256:") and environment["muster"]
    assert source["startedAt"] <= source["endedAt"]
    actions = [e["action"] for e in site.audit() if e["kind"] in ("dataset", "model")]
    assert actions.count("version-add") == 2


def test_inputs_are_pinned_when_the_job_is_submitted(site, tmp_path):
    push(site, fill(tmp_path / "in", {"a.txt": b"one\n"}))
    job_id = site.submit(train(hold=True))
    push(site, fill(tmp_path / "in", {"a.txt": b"two\n"}))
    site.call("POST", f"/v1/jobs/{job_id}/release")
    site.wait_job(job_id, "succeeded")
    collected(site, job_id)
    made = version(site, 1, "vision:net", "models")
    assert made["digest"] == digest_of({"weights": b"one\n0.1\n"})


def test_inputs_are_read_only(site, tmp_path):
    push(site, fill(tmp_path / "in", {"a.txt": b"one\n"}))
    done = site.run(job("writes", 'echo x > "$MUSTER_INPUT_DATA/a.txt"',
                        inputs=[{"name": "data", "dataset": "digits"}]))
    assert done["status"]["state"] == "failed"
    site.cli("dataset", "verify", "vision/digits")


@pytest.mark.parametrize("reference, text", [
    ("nosuch", "no dataset vision/nosuch"), ("digits", "no version yet"),
    ("digits:7", "no version 7"), ("other/digits", "no dataset other/digits")])
def test_what_is_not_there_cannot_be_read(site, reference, text):
    answer = site.api("POST", "/v1/jobs",
                      job("j", "true", inputs=[{"name": "data", "dataset": reference}]))
    assert answer.status in (404, 422) and text in answer.text


def test_an_output_needs_its_model(site):
    answer = site.api("POST", "/v1/jobs",
                      job("j", "true", outputs=[{"name": "o", "model": "nosuch"}]))
    assert answer.status == 404 and "nosuch" in answer.text


def test_a_retried_job_makes_one_version(site, tmp_path):
    push(site, fill(tmp_path / "in", {"a.txt": b"one\n"}))
    command = 'echo "$MUSTER_ATTEMPT" >> "$MUSTER_OUTPUT_NET/w"; [ "$MUSTER_ATTEMPT" -ge 2 ]'
    job_id = site.submit(train(command=command, retries={"limit": 3, "backoff": "10ms"}))
    site.wait_job(job_id, "succeeded")
    collected(site, job_id)
    made = version(site, 1, "vision:net", "models")
    assert made["source"]["attempts"] == 2
    assert len(site.call("GET", "/v1/models/vision:net/versions")["items"]) == 1


def test_a_preempted_job_makes_one_version(site, tmp_path):
    """It is drained away from its node, and its output folder is the same in the next attempt."""
    push(site, fill(tmp_path / "in", {"a.txt": b"one\n"}))
    command = ('echo "$MUSTER_ATTEMPT" >> "$MUSTER_OUTPUT_NET/w"; echo "ready $MUSTER_ATTEMPT"; '
               'trap "exit 0" TERM; [ "$MUSTER_ATTEMPT" -ge 2 ] || while :; do sleep 0.05; done')
    job_id = site.submit(train(command=command))
    site.wait_log(job_id, "ready 1")
    site.call("POST", "/v1/nodes/site/n1/drain")
    site.wait_for(lambda: site.job(job_id)["status"]["state"] == "queued", "the end of its attempt")
    assert site.call("GET", "/v1/models/vision:net/versions")["items"] == []
    site.call("POST", "/v1/nodes/site/n1/uncordon")
    site.wait_job(job_id, "succeeded")
    collected(site, job_id)
    made = site.call("GET", "/v1/models/vision:net/versions")["items"]
    assert [(v["version"], v["digest"]) for v in made] == [(1, digest_of({"w": b"1\n2\n"}))]


def test_the_outputs_of_an_array_are_one_version(site):
    job_id = site.submit(job("many", 'echo "$MUSTER_ARRAY_INDEX" > "$MUSTER_OUTPUT_DATA/part"',
                             array={"count": 3}, outputs=[{"name": "data", "dataset": "digits"}]))
    outputs = collected(site, job_id)
    assert outputs["state"] == "collected", outputs
    files = site.call("GET", "/v1/datasets/vision:digits/versions/1/files")["items"]
    assert [f["path"] for f in files] == ["000000/part", "000001/part", "000002/part"]


def test_an_array_with_a_failure_makes_no_version(site):
    job_id = site.submit(job("many", 'echo x > "$MUSTER_OUTPUT_DATA/p"; [ "$MUSTER_ARRAY_INDEX" != 1 ]',
                             array={"count": 3}, outputs=[{"name": "data", "dataset": "digits"}]))
    outputs = collected(site, job_id)
    assert outputs["state"] == "skipped" and "1 of its 3" in outputs["text"]
    assert site.call("GET", "/v1/datasets/vision:digits/versions")["items"] == []


@pytest.mark.parametrize("command, text", [
    ("true", "no file"), ('ln -s /etc/passwd "$MUSTER_OUTPUT_DATA/l"', "l"),
    ('echo x > "$MUSTER_OUTPUT_DATA/a"; mkfifo "$MUSTER_OUTPUT_DATA/pipe"', "pipe")])
def test_a_hostile_or_empty_output_is_refused_and_said(site, command, text):
    job_id = site.submit(job("bad", command, outputs=[{"name": "data", "dataset": "digits"}]))
    site.wait_job(job_id, "succeeded")
    outputs = collected(site, job_id)
    assert outputs["state"] == "failed" and text in outputs["outputs"][0]["error"], outputs
    assert site.call("GET", "/v1/datasets/vision:digits/versions")["items"] == []


def test_outputs_are_taken_in_after_the_server_was_killed(site):
    """It is killed while the job runs; the job ends without it."""
    site.submit(job("slow", 'echo ready; while [ ! -e "$MUSTER_CHECKPOINT_DIR/go" ]; do sleep 0.05; done;'
                    ' echo x > "$MUSTER_OUTPUT_DATA/a"', outputs=[{"name": "data", "dataset": "digits"}]))
    site.wait_log("vision:slow", "ready")
    site.kill9()
    for folder, _, _ in os.walk(site.data):
        if os.path.basename(folder).startswith("checkpoint"):
            open(os.path.join(folder, "go"), "w", encoding="ascii").close()
    site.start()
    site.wait_job("vision:slow", "succeeded")
    assert collected(site, "vision:slow")["state"] == "collected"
    site.kill9()
    site.start()
    assert len(site.call("GET", "/v1/datasets/vision:digits/versions")["items"]) == 1


def test_a_job_is_not_forgotten_before_its_outputs_are_there(site):
    job_id = site.submit(job("makes", 'echo x > "$MUSTER_OUTPUT_DATA/a"',
                             outputs=[{"name": "data", "dataset": "digits"}]))
    site.wait_job(job_id, "succeeded")
    site.wait_for(lambda: site.api("DELETE", f"/v1/jobs/{job_id}").status == 200, "forgetting it")
    assert version(site)["version"] == 1


# ---- jurisdiction and consent ------------------------------------------------------------------

def test_jurisdiction_and_consent_follow_the_data(muster, tmp_path):
    muster.apply(team(), pool("here", jurisdiction="eu"), dataset("eu", jurisdiction="eu", consent="c1"),
                 dataset("us", jurisdiction="us"), dataset("any", consent="c2"), model())
    for name in ("eu", "us", "any"):
        push(muster, fill(tmp_path / name, {"a": name.encode()}), f"vision/{name}")
    def reads(*names, **more):
        return job("j", 'echo x > "$MUSTER_OUTPUT_NET/w"',
                   inputs=[{"name": name, "dataset": name} for name in names],
                   outputs=[{"name": "net", "model": "net"}], **more)
    for wrong in (reads("eu", "us"), reads("eu", placement={"jurisdiction": "us"})):
        answer = muster.api("POST", "/v1/jobs", wrong)
        assert answer.status in (409, 422) and "jurisdiction" in answer.text
    job_id = muster.submit(reads("eu", "any"))
    assert muster.job(job_id)["spec"]["placement"]["jurisdiction"] == "eu"
    muster.wait_job(job_id, "succeeded")
    collected(muster, job_id)
    made = version(muster, 1, "vision:net", "models")
    assert made["jurisdiction"] == "eu" and sorted(made["consent"]) == ["c1", "c2"]


# ---- who may -----------------------------------------------------------------------------------

def token_for(muster, user):
    return muster.call("POST", "/v1/tokens", {"user": user})["token"]


def test_other_teams_are_told_nothing(site, tmp_path):
    site.apply(team("speech", members=[{"user": "eve", "role": "admin"}]), dataset("own", "speech"))
    eve = token_for(site, "eve")
    source = fill(tmp_path / "in", {"b": noise(1 << 20)})
    push(site, source)
    tree = site.api("GET", "/v1/datasets/vision:digits/versions/1/tree").text
    chunk = next(line.split()[2] for line in tree.splitlines() if line.startswith("chunk"))
    ask = {"token": eve}
    assert site.api("POST", "/v1/artifacts/missing?team=vision", [chunk], **ask).status == 403
    assert site.call("POST", "/v1/artifacts/missing?team=speech", [chunk], **ask)["missing"] == [chunk]
    assert site.api("GET", f"/v1/artifacts/chunks/{chunk}?team=speech", **ask).status == 404
    assert site.api("POST", "/v1/datasets/speech:own/versions", tree, **ask).status == 404
    hidden = site.api("GET", "/v1/datasets/vision:digits/versions/1", **ask)
    absent = site.api("GET", "/v1/datasets/vision:nosuch/versions/1", **ask)
    assert hidden.status == absent.status == 404
    assert hidden.json["detail"].replace("digits", "X") == absent.json["detail"].replace("nosuch", "X")
    wants = job("j", "true", team="speech", inputs=[{"name": "d", "dataset": "vision/digits"}])
    answer = site.api("POST", "/v1/jobs", wants, **ask)
    assert answer.status in (404, 422) and "no dataset vision/digits" in answer.text


def test_a_viewer_reads_and_a_member_writes(site, tmp_path):
    site.apply(team(members=[{"user": "vic", "role": "viewer"}, {"user": "mel", "role": "member"}]))
    vic, mel = token_for(site, "vic"), token_for(site, "mel")
    source = fill(tmp_path / "in", {"a": b"a"})
    assert push(site, source, ok=False, MUSTER_TOKEN=vic).returncode == 3
    push(site, source, MUSTER_TOKEN=mel)
    site.cli("dataset", "pull", "vision/digits", tmp_path / "out", MUSTER_TOKEN=vic)
    assert version(site)["createdBy"] == "mel"
    assert site.api("DELETE", "/v1/datasets/vision:digits/versions/1", token=vic).status == 403


# ---- what clients may not do -------------------------------------------------------------------

def test_wrong_chunks_and_trees_are_refused(site):
    digest = hashlib.sha256(b"a").hexdigest()
    url = f"/v1/artifacts/chunks/{digest}?team=vision"
    assert site.api("PUT", url, b"not packed").status == 422
    assert site.api("PUT", "/v1/artifacts/chunks/..?team=vision", b"x").status in (400, 404, 422)
    assert site.api("PUT", f"/v1/artifacts/chunks/{digest}", b"x").status == 422
    assert site.api("POST", "/v1/artifacts/missing?team=vision", ["x"]).status == 422
    assert site.api("POST", "/v1/artifacts/missing?team=vision", [digest] * 10001).status in (413, 422)
    for tree in ("", "nonsense", f"muster-tree 1\nfile 1 {digest} ../a\nchunk 1 {digest}\n"):
        assert site.api("POST", "/v1/datasets/vision:digits/versions", tree).status == 422, tree
    fine = f"muster-tree 1\nfile 1 {digest} a\nchunk 1 {digest}\n"
    assert site.api("POST", "/v1/datasets/vision:digits/versions", fine).status == 404
    assert site.call("GET", "/v1/datasets/vision:digits/versions")["items"] == []


def test_a_team_that_sends_much_does_not_keep_others_out(site):
    """Begun chunks that never end fill the team's share: its next one is refused, another team's
    is looked at."""
    site.apply(team("speech"))
    path = f"/v1/artifacts/chunks/{hashlib.sha256(b'a').hexdigest()}"
    with contextlib.ExitStack() as begun:
        for _ in range(20):
            stream = begun.enter_context(socket.socket(socket.AF_UNIX))
            stream.connect(site.socket_path)
            stream.sendall(f"PUT {path}?team=vision HTTP/1.1\r\nHost: localhost\r\n"
                           "Content-Length: 100\r\n\r\nx".encode())
        site.wait_for(lambda: site.api("PUT", f"{path}?team=vision", b"x").status != 422,
                      "the team's share to be full")
        refused = site.api("PUT", f"{path}?team=vision", b"x")
        assert "chunks of the team vision" in refused.text
        assert site.api("PUT", f"{path}?team=speech", b"x").status == 422
    site.wait_for(lambda: site.api("PUT", f"{path}?team=vision", b"x").status == 422,
                  "the share to be free again")


# ---- deleting and collecting -------------------------------------------------------------------

def test_a_stage_of_several_is_its_newest_that_is_left(site, tmp_path):
    """Read from an index: it has to follow what is added and deleted."""
    def candidate():
        return version(site, "candidate", "vision:net", "models")["version"]
    for number in (1, 2, 3):
        push(site, fill(tmp_path / f"in{number}", {"a": b"%d" % number}), "vision/net", "model")
        assert candidate() == number
    for deleted, left in ((2, 3), (3, 1)):
        assert site.api("DELETE", f"/v1/models/vision:net/versions/{deleted}").status == 200
        assert candidate() == left
    site.restart()
    assert candidate() == 1
    assert site.api("GET", "/v1/models/vision:net/versions/archived").status == 404
    assert site.api("DELETE", "/v1/models/vision:net/versions/1").status == 200
    assert site.api("GET", "/v1/models/vision:net/versions/candidate").status == 404


def test_a_version_that_is_read_stays_and_others_go(site, tmp_path):
    source = fill(tmp_path / "in", {"a.txt": b"one\n"})
    push(site, source)
    job_id = site.submit(train(hold=True))
    answer = site.api("DELETE", "/v1/datasets/vision:digits/versions/1")
    assert answer.status == 409 and job_id in answer.text
    site.call("POST", f"/v1/jobs/{job_id}/cancel")
    site.wait_job(job_id, "cancelled")
    site.wait_for(lambda: site.api("DELETE", "/v1/datasets/vision:digits/versions/1").status == 200,
                  "the deletion")
    assert site.api("GET", "/v1/datasets/vision:digits/versions/1").status == 404
    fill(source, {"a.txt": b"two\n"})
    assert push(site, source).stdout.startswith("dataset/vision/digits:2 ")


def test_data_that_no_pool_may_hold_is_named_in_the_refusal(site, tmp_path):
    site.apply(dataset("far", jurisdiction="mars"))
    push(site, fill(tmp_path / "far", {"a": b"x"}), "vision/far")
    answer = site.api("POST", "/v1/jobs", job("go", "true", inputs=[{"name": "d", "dataset": "far"}]))
    assert answer.status == 422 and "jurisdiction mars" in answer.json["detail"], answer


def test_a_collection_removes_what_no_version_reaches(site, tmp_path):
    source = fill(tmp_path / "in", {"a": noise(1 << 20, 1)})
    push(site, source)
    fill(source, {"a": noise(1 << 20, 2)})
    push(site, source)
    site.call("DELETE", "/v1/datasets/vision:digits/versions/1")
    assert site.call("POST", "/v1/artifacts/collect")["objectsRemoved"] == 0  # too young
    result = site.call("POST", "/v1/artifacts/collect?grace=0")
    assert result["objectsRemoved"] >= 2 and result["bytesFreed"] >= 1 << 20
    site.cli("dataset", "verify", "vision/digits:2")
    assert site.call("POST", "/v1/artifacts/collect?grace=0")["objectsRemoved"] == 0
    said = site.cli("collect", "--grace", "0s").stdout
    assert "removed: 0 versions" in said and "kept: " in said
    assert json.loads(site.cli("collect", "-o", "json").stdout)["objectsKept"] >= 1


def test_retention_keeps_the_newest_and_what_they_are_made_of(site, tmp_path):
    site.apply(dataset(retention={"versions": 1}))
    source = tmp_path / "in"
    push(site, fill(source, {"a.txt": b"one\n"}))
    site.wait_job(site.submit(train()), "succeeded")
    collected(site, "vision:train")
    for text in (b"two\n", b"three\n"):
        push(site, fill(source, {"a.txt": text}))
    assert site.call("POST", "/v1/artifacts/collect?grace=0")["versionsRemoved"] == 1
    listed = site.call("GET", "/v1/datasets/vision:digits/versions")["items"]
    assert [item["version"] for item in listed] == [1, 3]


# ---- reproducing -------------------------------------------------------------------------------

def test_reproducing_says_equal_or_what_differs(site, tmp_path):
    push(site, fill(tmp_path / "in", {"a.txt": b"one\n"}))
    site.wait_job(site.submit(train()), "succeeded")
    collected(site, "vision:train")
    done = site.cli("reproduce", "vision/net:1")
    assert "equal" in done.stdout and "accuracy" in done.stdout
    other = TRAIN + 'head -c 16 /dev/urandom >> "$MUSTER_OUTPUT_NET/weights"'
    site.wait_job(site.submit(train("noisy", other)), "succeeded")
    collected(site, "vision:noisy")
    done = site.cli("reproduce", "vision/net:2", "-o", "json", ok=False)
    result = json.loads(done.stdout)
    assert done.returncode == 3 and not result["equal"] and result["metricsEqual"]
    assert [f["path"] for f in result["files"]["list"]] == ["weights"]
    worse = other + "\necho \"{\\\"accuracy\\\": 0.$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')1}\" >> $MUSTER_METRICS"
    site.wait_job(site.submit(train("worse", worse)), "succeeded")
    collected(site, "vision:worse")
    done = site.cli("reproduce", "vision/net:3", ok=False)
    assert done.returncode == 1 and "different" in done.stdout
    assert len(site.call("GET", "/v1/models/vision:net/versions")["items"]) == 3


def test_an_upload_cannot_be_reproduced(site, tmp_path):
    push(site, fill(tmp_path / "in", {"w": b"w"}), "vision/net", "model")
    done = site.cli("reproduce", "vision/net", ok=False)
    assert done.returncode == 5 and "not made by a job" in done.stderr
