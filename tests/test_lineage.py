"""Lineage: from datasets over jobs and models to variants, services and scores, walked both ways."""
import pytest

from manifests import job, manifest, pool, service, team
from test_registry import (collected, dataset, fill, model, push, site, token_for,  # noqa: F401
                           version)


def graph(muster, reference, direction="both", **options):
    """Ids of nodes by kind, and edges as (from, to)."""
    kind, team_name, rest = reference.split("/")
    name, _, number = rest.partition(":")
    answer = muster.call("GET", f"/v1/lineage/{kind}/{team_name}:{name}/{number or 'newest'}"
                                f"?direction={direction}", **options)
    nodes = {node["id"]: node for node in answer["nodes"]}
    return nodes, {(edge["from"], edge["to"]) for edge in answer["edges"]}


def make(muster, name, inputs, output, kind="model", **more):
    """Runs a job that copies what it reads into a version; its id."""
    reads = [{"name": f"i{i}", which: artifact} for i, (which, artifact) in enumerate(inputs)]
    writes = {"name": "out", kind: output, **more}
    job_id = muster.submit(job(name, 'cat /inputs/*/* > "$MUSTER_OUTPUT_OUT/w"; echo ' + name +
                               ' >> "$MUSTER_OUTPUT_OUT/w"; echo \'{"accuracy": 0.5}\' >> $MUSTER_METRICS',
                               inputs=reads, outputs=[writes]))
    muster.wait_job(job_id, "succeeded")
    assert collected(muster, job_id)["state"] == "collected"
    return job_id


@pytest.fixture
def chain(site, tmp_path):  # noqa: F811
    """raw -> prepare -> digits:1 -> train -> net:1 -> quantize -> small:1, net:1 -> score -> scores."""
    site.apply(dataset("raw"), dataset("scores"), model("small"))
    push(site, fill(tmp_path / "raw", {"a": b"raw"}), "vision/raw")
    site.ids = {
        "prepare": make(site, "prepare", [("dataset", "raw")], "digits", "dataset"),
        "train": make(site, "train", [("dataset", "digits")], "net"),
        "quantize": make(site, "quantize", [("model", "net")], "small", relation="quantized",
                         parent="i0"),
        "score": make(site, "score", [("model", "net"), ("dataset", "digits")], "scores", "dataset"),
    }
    return site


def test_the_walk_up_ends_at_what_was_uploaded(chain):
    nodes, edges = graph(chain, "model/vision/small:1", "up")
    jobs = chain.ids
    assert set(nodes) == {
        "model/vision/small:1", f"job/{jobs['quantize']}", "model/vision/net:1",
        f"job/{jobs['train']}", "dataset/vision/digits:1", f"job/{jobs['prepare']}",
        "dataset/vision/raw:1"}
    assert (f"job/{jobs['train']}", "model/vision/net:1") in edges
    assert ("dataset/vision/digits:1", f"job/{jobs['train']}") in edges
    assert ("model/vision/net:1", "model/vision/small:1") in edges
    assert nodes["dataset/vision/raw:1"]["uploadedFrom"].endswith("/raw")


def test_the_walk_down_finds_models_variants_and_scores(chain):
    nodes, edges = graph(chain, "dataset/vision/raw:1", "down")
    for wanted in ("dataset/vision/digits:1", "model/vision/net:1", "model/vision/small:1",
                   "dataset/vision/scores:1", f"job/{chain.ids['score']}"):
        assert wanted in nodes, nodes
    assert ("model/vision/net:1", f"job/{chain.ids['score']}") in edges
    assert (f"job/{chain.ids['score']}", "dataset/vision/scores:1") in edges


def test_lineage_outlives_the_jobs(chain):
    for job_id in chain.ids.values():
        chain.call("DELETE", f"/v1/jobs/{job_id}")
    nodes, _ = graph(chain, "dataset/vision/raw:1", "down")
    assert "model/vision/small:1" in nodes and f"job/{chain.ids['train']}" in nodes
    chain.restart()
    nodes, _ = graph(chain, "model/vision/small:1", "up")
    assert "dataset/vision/raw:1" in nodes


def test_other_teams_stand_without_their_names(chain):
    chain.apply(team("speech", members=[{"user": "eve", "role": "admin"}]), model("theirs", "speech"))
    job_id = chain.submit(job("steal", 'cat /inputs/*/* > "$MUSTER_OUTPUT_OUT/w"', team="speech",
                              inputs=[{"name": "i", "model": "vision/net:1"}],
                              outputs=[{"name": "out", "model": "theirs"}]))
    chain.wait_job(job_id, "succeeded")
    collected(chain, job_id)
    eve = token_for(chain, "eve")
    nodes, _ = graph(chain, "model/speech/theirs:1", "up", token=eve)
    kinds = sorted(node["kind"] for node in nodes.values())
    assert kinds == ["hidden", "job", "model"] and "vision" not in str(nodes)
    assert chain.api("GET", "/v1/lineage/model/vision:net/1", token=eve).status == 404
    nodes, _ = graph(chain, "model/vision/net:1", "down")
    assert "model/speech/theirs:1" in nodes


def test_a_version_that_was_deleted_stays_in_the_lineage_of_others(chain):
    chain.call("DELETE", "/v1/datasets/vision:raw/versions/1")
    nodes, _ = graph(chain, "model/vision/net:1", "up")
    assert nodes["dataset/vision/raw:1"]["deleted"]


def test_the_tree_is_readable(chain):
    text = chain.cli("lineage", "model/vision/net:1").stdout
    above, _, below = text.partition("used for")
    assert "dataset/vision/raw:1" in above and "prepare" in above
    assert "model/vision/small:1" in below and "quantized" in below and "scores" in below
    assert chain.cli("lineage", "model/vision/net", "-o", "json").stdout.startswith("{")


def test_variants_stand_side_by_side(chain, tmp_path):
    push(chain, fill(tmp_path / "p", {"w": b"pruned"}), "vision/small", "model", "--parent", "net:1",
         "--relation", "pruned")
    for name in ("vision/net:1", "vision/small:1"):
        text = chain.cli("model", "variants", name).stdout
        assert "quantized" in text and "accuracy" in text and "original" in text, text
    items = chain.call("GET", "/v1/models/vision:net/versions/1/variants")["items"]
    assert [(v["name"], v["version"], v.get("parent", {}).get("relation")) for v in items] == [
        ("net", 1, None), ("small", 1, "quantized"), ("small", 2, "pruned")]


def test_a_wrong_question_is_answered(chain):
    for path, status in (("job/vision:net/1", 422), ("model/net/1", 422), ("model/vision:net/x", 422),
                         ("model/vision:net/9", 404), ("model/vision:net/1?direction=x", 422)):
        assert chain.api("GET", f"/v1/lineage/{path}").status == status, path


def test_services_stand_behind_the_version_they_serve_now(site, tmp_path):
    site.apply(model("net", runtime="command"))
    for number in (1, 2):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "a").write_text(str(number))
        site.cli("model", "push", "vision/net", tmp_path / "in")
    site.apply(*(service(name, reference, command=["true"], replicas=0) for name, reference in (
        ("first", "net:1"), ("newest", "net"), ("waiting", "vision/net@candidate"),
        ("nobody", "net@production"))))

    def serving(number):
        nodes = site.call("GET", f"/v1/lineage/model/vision:net/{number}")["nodes"]
        return {node["name"] for node in nodes if node["kind"] == "service"}
    assert (serving(1), serving(2)) == ({"first"}, {"newest", "waiting"})
    for number, reason in ((1, "first"), (2, "serves it")):
        answer = site.api("DELETE", f"/v1/models/vision:net/versions/{number}")
        assert answer.status == 409 and reason in answer.json["detail"]
