"""Recording of requests, with consent and without secrets, and their replay against a version."""
import json
import os
import subprocess

from manifests import TEAM
from test_services import answering, push, ready, said, served, status  # noqa: F401
import muster as helper

RECORD = {"record": {"sample": 1, "keep": "1h"}}


def recordings(site):
    return os.path.join(site.data, "gateway", "recordings")


def recorded(site, count):
    def found():
        answer = site.call("GET", f"/v1/services/{TEAM}:digits/recording?limit=1000")
        return answer if len(answer["items"]) >= count else None
    return site.wait_for(found, f"{count} records")


def replay(site, *words):
    return subprocess.run([helper.BINARY, "replay", f"{TEAM}/digits", *words], env=site.environment,
                          capture_output=True, text=True, timeout=100)


def everything_on_disk(site):
    text = b""
    for folder, _, names in os.walk(os.path.join(site.data, "gateway")):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    text += file.read()
    return text


def test_nothing_is_recorded_without_consent(served):  # noqa: F811
    served.apply(answering())
    ready(served)
    said(served)
    assert not os.path.exists(recordings(served))
    none = replay(served)
    assert none.returncode != 0 and "nothing is recorded" in none.stderr


def test_what_was_asked_is_kept_without_secrets_and_keys(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    said(served, "I am ann@mail.example")
    assert served.gateway.ask(f"my key is {served.token}", token=served.token)[0] == 200
    said(served, "plain")
    record, other = recorded(served, 2)["items"]
    assert json.loads(record["request"])["inputs"][0]["data"] == ["I am [REDACTED:email]"]
    assert json.loads(record["answer"])["outputs"][0]["data"] == ["one I am [REDACTED:email]"]
    assert json.loads(other["request"])["inputs"][0]["data"] == ["plain"]
    assert (record["status"], record["version"], record["path"]) == (200, 1, "/v2/models/digits/infer")
    disk = everything_on_disk(served)
    assert b"mail.example" not in disk and served.token.encode() not in disk
    folder = os.path.join(recordings(served), TEAM, "digits")
    modes = {os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in os.listdir(folder)}
    assert modes == {0o600}
    metrics = subprocess.run(
        ["curl", "-s", "--unix-socket", os.path.join(served.data, "gateway", "control.sock"),
         "http://gateway/metrics"], capture_output=True, text=True, check=True).stdout
    assert "\nmuster_gateway_recorded_total 2\n" in metrics
    assert "\nmuster_gateway_record_unfit_total 1\n" in metrics


def test_a_recording_is_replayed_against_a_version(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    for i in range(12):
        said(served, f"number {i}")
    said(served, "write to bob@mail.example")
    recorded(served, 13)
    same = replay(served, "--version", "1", "--parallel", "3")
    assert same.returncode == 0, same.stdout + same.stderr
    assert "13 same, 0 different, 0 without an answer" in same.stdout
    assert "latency ms: median" in same.stdout
    # Another version that says something else.
    push(served)
    served.apply(answering(mode="two", gateway=RECORD))
    served.wait_for(lambda: status(served).get("version") == 2 and status(served)["state"] == "ready",
                    "version 2")
    before = served.gateway.ask("x", token=served.token)[0]
    assert before == 200
    found = replay(served, "--version", "2", "--rate", "200", "-o", "json", "--limit", "13")
    assert found.returncode == 1, found.stderr
    document = json.loads(found.stdout)
    assert (document["same"], document["different"], document["no-answer"]) == (0, 13, 0)
    assert document["requests"][0]["difference"] == (
        'outputs[0].data[0]: "two number 0", was "one number 0"')
    assert {request["versionThen"] for request in document["requests"]} == {1}
    table = replay(served, "--version", "2", "--limit", "3", "--speed", "1000")
    assert table.returncode == 1 and "3 different" in table.stdout and "two number 1" in table.stdout
    ignored = replay(served, "--version", "2", "--limit", "3", "--ignore", "outputs")
    assert ignored.returncode == 0, ignored.stdout
    assert "version 1" in replay(served, "--version", "1").stderr
    # Nothing of it was recorded, or counted for users.
    assert len(recorded(served, 14)["items"]) == 14


def test_a_torn_tail_and_damage_are_skipped_and_said(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    for i in range(3):
        said(served, f"number {i}")
    recorded(served, 3)
    served.gateway.stop()  # killed
    folder = os.path.join(recordings(served), TEAM, "digits")
    path = os.path.join(folder, os.listdir(folder)[0])
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    with open(path, "wb") as file:
        file.write(lines[0] + lines[1][:30] + b"X" + lines[1][31:] + lines[2][:-20])
    served.gateway.start()
    said(served, "number 3")
    found = recorded(served, 2)
    assert (found["torn"], found["damaged"]) == (1, 1)
    result = replay(served)
    assert "1 torn and 1 damaged records were skipped" in result.stderr
    assert "2 same" in result.stdout


def test_times_pages_and_cursors(served):  # noqa: F811
    served.apply(answering(gateway=RECORD))
    ready(served)
    for i in range(5):
        said(served, f"number {i}")
    items = recorded(served, 5)["items"]
    path, after, seen = f"/v1/services/{TEAM}:digits/recording?limit=2", "", []
    while True:
        page = served.call("GET", path + (f"&after={after}" if after else ""))
        seen += page["items"]
        after = page.get("next")
        if not after:
            break
    assert seen == items
    assert served.call("GET", path + "&to=2000-01-01T00:00:00Z")["items"] == []
    for query in ("after=../../x:1", "from=soon", "limit=0"):
        assert served.api("GET", f"/v1/services/{TEAM}:digits/recording?{query}").status == 422
