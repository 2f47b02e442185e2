"""Batch scoring: both runtimes over real models, in shards, through preemption and kills."""
import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from manifests import dataset, job, manifest, model, pool, team
from muster import BINARY
from registry import make_version, wait_outputs
from test_runtime_torchscript import MAKE_MODEL, PYTHON

TRAIN = Path(BINARY).parent / "runtimes/train-xgboost"
BLOCK_ROWS = 65536
RUNTIMES = ("xgboost", "torchscript")


def make_xgboost(folder):
    subprocess.run([TRAIN, folder / "model.ubj", "3", "20"], check=True, timeout=60)


def make_torchscript(folder):
    # TorchScript reads the source of what it compiles: it has to be a file.
    program = folder.parent / "make.py"
    program.write_text(MAKE_MODEL)
    subprocess.run([PYTHON, program, folder], check=True, timeout=120)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a model for each runtime."""
    folders = {}
    for runtime, make in (("xgboost", make_xgboost), ("torchscript", make_torchscript)):
        folders[runtime] = tmp_path_factory.mktemp("make") / runtime
        folders[runtime].mkdir()
        make(folders[runtime])
    return folders


def write_rows(folder, files, seed=1):
    """CSV files of three columns, so many rows each; the sum of every row in their order."""
    numbers, sums = random.Random(seed), []
    folder.mkdir()
    for index, rows in enumerate(files):
        values = [[round(numbers.random(), 3) for _ in range(3)] for _ in range(rows)]
        (folder / f"part-{index}.csv").write_text(
            "".join(",".join(map(str, row)) + "\n" for row in values))
        sums += [sum(row) for row in values]
    return sums


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder with three blocks of data, and the sum of each row."""
    folder = tmp_path_factory.mktemp("data") / "rows"
    return folder, write_rows(folder, [1000, BLOCK_ROWS + 10])


@pytest.fixture
def site(muster, models, rows):
    """A team with a model of each runtime, three blocks of data, and a dataset for the scores."""
    muster.apply(team(), pool(), dataset("rows", consent="open"), dataset("scores"),
                 *(model(f"sums-{runtime}", runtime=runtime) for runtime in RUNTIMES))
    for runtime in RUNTIMES:
        muster.cli("model", "push", f"vision/sums-{runtime}", models[runtime])
    folder, muster.sums = rows
    muster.cli("dataset", "push", "vision/rows", folder)
    return muster


def scoring(name="score", runtime="xgboost", shards=2, resources=None, **spec):
    """A scoring job as somebody would write it."""
    return manifest("Job", name, {
        "class": "batch-scoring", "score": {"runtime": runtime},
        "inputs": [{"name": "model", "model": f"sums-{runtime}"},
                   {"name": "data", "dataset": "rows"}],
        "outputs": [{"name": "scores", "dataset": "scores"}], "array": {"count": shards},
        "resources": {"cpu": 1, "memory": "1Gi", "disk": "256Mi", **(resources or {})}, **spec},
        team="vision")


def scores_of(site, tmp_path, version="newest"):
    """Every row of scores in the order of the rows they are of: first columns."""
    folder = tmp_path / f"scores-{random.random()}"
    site.cli("dataset", "pull", f"vision/scores{'' if version == 'newest' else f':{version}'}", folder)
    blocks = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.name)
    return [float(line.split(",")[0]) for block in blocks
            for line in block.read_text().splitlines() if line[0].isdigit() or line[0] == "-"]


def close(site, scores):
    """Whether the scores are what the models learned: the sum of each row."""
    assert len(scores) == len(site.sums)
    wrong = sum(abs(a - b) > 0.5 for a, b in zip(scores, site.sums))
    return wrong < len(scores) / 100


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_scores_in_shards(site, tmp_path, runtime):
    done = site.cli("score", f"sums-{runtime}:1", "rows", "--output", "scores", "--shards", "2",
                    "--cpu", "1", "--memory", "1Gi", "--disk", "256Mi", "--team", "vision",
                    "--follow")
    assert done.stdout == "vision/scores:1\n"
    assert close(site, scores_of(site, tmp_path))
    lineage = site.call("GET", "/v1/lineage/dataset/vision:scores/1")
    nodes = {node["id"] for node in lineage["nodes"]}
    assert {f"model/vision/sums-{runtime}:1", "dataset/vision/rows:1"} <= nodes
    version = site.call("GET", "/v1/datasets/vision:scores/versions/1")
    assert version["consent"] == ["open"]
    assert [(one["artifact"], one["version"]) for one in version["source"]["inputs"]] == [
        (f"sums-{runtime}", 1), ("rows", 1)]


def test_any_number_of_shards_gives_the_same(site, tmp_path):
    results = []
    for shards in (1, 3, 5):
        name = f"score-{shards}"
        site.submit(scoring(name, shards=shards))
        wait_array(site, name)
        results.append(scores_of(site, tmp_path))
    assert results[0] == results[1] == results[2] and close(site, results[0])


def wait_array(site, name):
    """The array once its scores are there."""
    def over():
        status = site.job(f"vision:{name}")["status"]
        assert status.get("outputs", {}).get("state") not in ("skipped", "failed"), status
        return status if status.get("outputs", {}).get("state") == "collected" else None
    return site.wait_for(over, f"the scores of {name}")


def test_a_job_without_an_array_scores_all(site, tmp_path):
    whole = scoring()
    del whole["spec"]["array"], whole["spec"]["class"]
    reference = site.submit(whole)
    site.wait_job(reference, "succeeded")
    wait_outputs(site, reference)
    assert close(site, scores_of(site, tmp_path))


def test_the_command_is_the_runtimes_of_that_moment(site):
    site.submit(scoring(hold=True))
    spec = site.job("vision:score")["spec"]
    assert spec["command"][0] == "{runtimes}/muster-xgboost" and "--shard={shard}" in spec["command"]
    # The Runtime changes: what was submitted stays, and is the same again when it is applied.
    runtime = site.call("GET", "/v1/runtimes/xgboost")
    runtime.pop("status", None)
    runtime["spec"]["env"] = {"MODEL": "{name}-{version}", "OMP_NUM_THREADS": "{cpus}"}
    assert site.apply(scoring(hold=True)) == ["unchanged"]
    site.apply(runtime)
    site.submit(scoring("later", env={"MODEL": "own"}, hold=True, resources={"cpu": "1500m"}))
    assert site.job("vision:later")["spec"]["env"] == {"MODEL": "own", "OMP_NUM_THREADS": "2"}


def test_a_command_of_the_jobs_own_has_the_placeholders(site):
    script = "echo {shard}/{shards} {model} {data} {output} {name}:{version} {cpus}; ls {runtimes} {model}"
    own = scoring(command=["/bin/sh", "-c", script], shards=3)
    site.submit(own)
    site.wait_job("vision:score[2]", "succeeded")
    log = site.logs("vision:score[2]")
    assert "2/3 /inputs/model /inputs/data /outputs/scores sums-xgboost:1 1\n" in log
    assert "muster-xgboost" in log and "torchscript.py" in log and "model.ubj" in log


@pytest.mark.parametrize("change, said", [
    ({"score": {"runtime": "nosuch"}}, "there is no Runtime nosuch"),
    ({"score": {"runtime": "llama-cpp"}}, "cannot score"),
    ({"command": ["{socket}"]}, "{socket}"),
    ({"command": ["{nosuch}"]}, "nosuch"),
    ({"inputs": [{"name": "model", "model": "sums-xgboost"}, {"name": "data", "dataset": "rows"},
                 {"name": "runtimes", "dataset": "rows"}]}, "runtimes"),
    ({"inputs": [{"name": "model", "model": "sums-xgboost"}]}, 'an input "data"'),
    ({"outputs": []}, 'an output "scores"'),
    ({"outputs": [{"name": "scores", "dataset": "nosuch"}]}, "no dataset nosuch"),
])
def test_what_cannot_score_is_refused(site, change, said):
    answer = site.api("POST", "/v1/jobs", scoring(**change))
    assert answer.status in (404, 422) and said in json.dumps(answer.json).replace('\\"', '"'), answer


def test_what_cannot_score_is_refused_on_the_command_line(site):
    site.apply(model("bare"))
    for arguments, said in ((("bare", "rows", "-o", "scores"), "names no runtime"),
                            (("bare", "rows"), "--output"),
                            (("nosuch", "rows", "-o", "scores"), "nosuch"),
                            (("bare", "rows", "-o", "scores", "--runtime", "xgboost"), "no version")):
        done = site.cli("score", *arguments, "--team", "vision", ok=False)
        assert done.returncode != 0 and said in done.stderr, done


def test_scores_that_cannot_be_made_are_no_version(site, tmp_path):
    site.apply(dataset("words"))
    make_version(site, "dataset", "words", {"words.csv": "a,b,c\nd,e,f\n"})
    done = site.cli("score", "sums-xgboost", "words", "--output", "scores", "--shards", "1",
                    "--memory", "1Gi", "--team", "vision", "--follow", ok=False)
    assert done.returncode == 1 and "there are no scores" in done.stderr
    assert site.call("GET", "/v1/datasets/vision:scores/versions")["items"] == []


SLOW = """
import os, sys, time
# As the runtimes do: a block is put in place when it is whole, and one that is there is not made
# again. The first attempt stays at its second block.
out, shard, shards = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for block in range(6):
    if block % shards != shard:
        continue
    path = f"{out}/{block:08}.csv"
    if os.path.exists(path):
        print("kept", block, flush=True)
        continue
    with open(path + ".part", "w") as file:
        file.write(f"{block}\\n")
    os.rename(path + ".part", path)
    print("made", block, flush=True)
    while block // shards == 1 and os.environ["MUSTER_ATTEMPT"] == "1":
        time.sleep(0.05)
"""


def test_a_shard_that_was_preempted_goes_on_with_its_next_block(muster, tmp_path):
    muster.apply(team(), pool(nodes=[{"name": "n1", "cpu": 2, "memory": "16Gi", "disk": "40Gi"}]),
                 dataset("rows"), dataset("scores"), model("sums"),
                 manifest("Runtime", "slow", {
                     "command": ["/bin/true"],
                     "scoreCommand": ["/usr/bin/python3", "-c", SLOW.replace("{", "{{"), "{output}", "{shard}",
                                      "{shards}"]}))
    make_version(muster, "model", "sums")
    make_version(muster, "dataset", "rows")
    shards = scoring(runtime="slow", resources={"memory": "64Mi"})
    shards["spec"]["inputs"][0]["model"] = "sums"
    muster.submit(shards)
    for shard in (0, 1):
        muster.wait_log(f"vision:score[{shard}]", f"made {shard + 2}")
    muster.run(job("urgent", "true", priority="urgent", resources={"cpu": 2}))
    wait_array(muster, "score")
    logs = [muster.logs(f"vision:score[{shard}]", attempt=2) for shard in (0, 1)]
    attempts = [muster.job(f"vision:score[{shard}]")["status"]["attempts"] for shard in (0, 1)]
    assert attempts == [2, 2]
    for shard, log in enumerate(logs):
        assert f"kept {shard}\n" in log and f"made {shard}\n" not in log
    folder = tmp_path / "pulled"
    muster.cli("dataset", "pull", "vision/scores", folder)
    blocks = sorted(path.name for path in folder.rglob("*.csv"))
    assert blocks == [f"{block:08}.csv" for block in range(6)]


def has_written(data):
    """Whether a block is among the outputs; folders may go while they are looked at."""
    return any(name.endswith(".csv") for folder, _, names in os.walk(data)
               for name in names if "outputs" in Path(folder).parts)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_real_shard_that_was_killed_goes_on(site, tmp_path, runtime):
    """SIGKILL to the server in the midst of it: the shards go on, and their scores are taken in."""
    site.submit(scoring(runtime=runtime, retries={"limit": 3, "backoff": "100ms"}))
    site.wait_for(lambda: has_written(site.data)
                  or site.job("vision:score")["status"]["state"] == "succeeded", "the first block")
    site.kill9()
    site.start()
    wait_array(site, "score")
    assert close(site, scores_of(site, tmp_path))
    assert [one["version"] for one in
            site.call("GET", "/v1/datasets/vision:scores/versions")["items"]] == [1]
