"""Jobs on a real Slurm: started in a folder of its own, with nodes that are slurmd's on this machine."""
import contextlib
import json
import os
import subprocess
import tempfile

import pytest

import manifests
from registry import make_version
import slurm as slurm_module
from muster import ROOT, Muster

pytestmark = [pytest.mark.skipif(slurm_module.why_not() is not None,
                                 reason=str(slurm_module.why_not())),
              pytest.mark.xdist_group("slurm"), pytest.mark.limit_s(600)]

BUILD = os.environ.get("MUSTER_BUILD", os.path.join(ROOT, "build"))
CONTRACT = os.path.join(BUILD, "src/engine/test_engine_contract")
TRAINS = """
step=$(cat $MUSTER_CHECKPOINT_DIR/step 2>/dev/null || echo 0); echo begins at $step
trap 'echo $step > $MUSTER_CHECKPOINT_DIR/new; mv $MUSTER_CHECKPOINT_DIR/new \
$MUSTER_CHECKPOINT_DIR/step; exit 0' TERM
[ $step -gt 0 ] && exit 0
step=7; echo ready; while :; do sleep 0.1; done
"""
COUNTS = "echo run >> $MUSTER_CHECKPOINT_DIR/runs; echo runs: $(wc -l < $MUSTER_CHECKPOINT_DIR/runs)."


@pytest.fixture(scope="module")
def cluster():
    # Not below pytest's own folder, which every run closes to all other users; and short: paths of
    # Unix sockets have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="muster-slurm-") as folder, \
            slurm_module.cluster(folder) as slurm:
        yield slurm


@pytest.fixture
def site(cluster, tmp_path):
    """A server with the cluster as its pool, beside a small one of this machine."""
    cluster.api("pass")
    muster = Muster(tmp_path / "data")
    try:
        muster.start()
        here = manifests.pool("here", [{"name": "h", "cpu": 1, "memory": "1Gi", "disk": "1Gi",
                                        "labels": {"here": "yes"}}])
        muster.apply(manifests.team(), here, cluster.pool())
        wait_nodes(muster, cluster, len(cluster.nodes))
        yield muster
    finally:
        muster.teardown()
        print(muster.log())


def wait_nodes(muster, cluster, count):
    def there():
        nodes = muster.call("GET", "/v1/nodes")["items"]
        return sum(node["pool"] == "cluster" and not node["cordoned"] for node in nodes) == count
    muster.wait_for(there, f"{count} nodes of the cluster")


def job(name, command, **spec):
    placement = {"pool": "cluster", **spec.pop("placement", {})}
    return manifests.job(name, command, placement=placement, **spec)


def last_attempt(muster, reference):
    return muster.job(reference)["status"]["attemptList"][-1]


def slurm_job(muster, reference):
    """Its number at the cluster, once it has one."""
    return muster.wait_for(lambda: last_attempt(muster, reference).get("site", {}).get("id"),
                           "a number at the cluster")


def ended(muster, reference, state="succeeded"):
    status = muster.wait_ended(reference)["status"]
    assert status["state"] == state, status
    return status


def test_the_contract_of_engines(cluster, tmp_path):
    pool = tmp_path / "pool.yaml"
    pool.write_text(json.dumps(cluster.pool()))
    fault = f"/usr/bin/python3 {slurm_module.__file__} {cluster.folder}"
    run = subprocess.run([CONTRACT], env=dict(os.environ, MUSTER_CONTRACT_POOL=str(pool),
                                              MUSTER_CONTRACT_FAULT=fault),
                         capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "SKIPPED" not in run.stdout, run.stdout


def test_a_job_runs_and_its_log_is_read(site):
    reference = site.submit(job("hello", "echo hello from $SLURMD_NODENAME; echo no >&2"))
    status = ended(site, reference)
    assert "hello from n" in site.logs(reference)
    assert status["attemptList"][0]["site"]["id"].isdigit()


def test_pools_of_both_engines_serve_one_queue(site):
    there = site.submit(job("there", "echo there"))
    here = site.submit(manifests.job("here", "echo here", placement={"pool": "here"}))
    ended(site, there), ended(site, here)
    assert "there" in site.logs(there) and "here" in site.logs(here)


def test_a_gang_of_four_over_four_nodes(site):
    script = "echo $RANK of $WORLD_SIZE on $SLURMD_NODENAME gpu $CUDA_VISIBLE_DEVICES"
    reference = site.submit(job("gang", script, gang={"size": 4}, resources={
        "cpu": 3, "accelerator": {"type": "toy", "count": 1}}))
    ended(site, reference)
    lines = sorted(site.logs(reference).splitlines())
    assert [line[:6] for line in lines] == [f"{rank} of 4" for rank in range(4)]
    assert len({line.split()[4] for line in lines}) == 4
    assert all(line.split()[6] in ("0", "1") for line in lines)


def test_preempted_by_the_cluster_it_goes_on_from_its_checkpoint(site, cluster):
    reference = site.submit(job("train", TRAINS))
    site.wait_log(reference, "ready")
    cluster.preempt()
    status = ended(site, reference)
    assert [item["reason"] for item in status["attemptList"]] == ["preempted", "succeeded"]
    assert "begins at 7" in site.logs(reference)


def test_what_a_job_uses_is_seen_while_it_runs(site):
    burns = ("import threading, time\nheld = bytearray(96 << 20)\nuntil = time.process_time() + 3\n"
             "while time.process_time() < until: pass\nprint('burnt', flush=True)\ntime.sleep(600)")
    reference = site.submit(job("burns", ["/usr/bin/python3", "-c", burns], resources={"memory": "512Mi"}))
    site.wait_log(reference, "burnt")
    used = site.wait_for(lambda: (last_attempt(site, reference).get("usage") or {}).get("cpuSeconds", 0) >= 3
                         and last_attempt(site, reference)["usage"], "what it used")
    assert 96 << 20 <= used["memoryBytes"] < 400 << 20, used
    site.call("POST", f"/v1/jobs/{reference}/cancel")
    ended(site, reference, "cancelled")


def test_cancelled_it_stops_at_the_cluster(site, cluster):
    reference = site.submit(job("long", "echo ready; sleep 600"))
    site.wait_log(reference, "ready")
    number = int(slurm_job(site, reference))
    site.call("POST", f"/v1/jobs/{reference}/cancel")
    ended(site, reference, "cancelled")
    site.wait_for(lambda: cluster.jobs().get(number, ["", "GONE"])[1] not in ("RUNNING", "PENDING"),
                  "the end of the job at the cluster")


def test_a_job_that_waits_is_cancelled_once(site, cluster):
    """However long it takes until a listing shows that it is gone."""
    pool = cluster.pool("queues", poll="6s")
    pool["spec"]["nodes"] = [{"name": "large", "cpu": 64, "memory": "1Ti", "disk": "1Ti"}]
    site.apply(pool)
    references = [site.submit(job(f"all-{i}", "sleep 600", placement={"pool": "queues"}, resources={
        "cpu": slurm_module.CPUS}, grace="1s")) for i in range(len(cluster.nodes) + 3)]
    def waiting():
        numbers = [slurm_job(site, reference) for reference in references]
        states = cluster.jobs()
        return [reference for reference, number in zip(references, numbers) if states[int(number)][1] == "PENDING"
                and last_attempt(site, reference)["site"].get("waits")]

    waits = site.wait_for(lambda: len(waiting()) == 3 and waiting(), "three that wait at the cluster")
    cluster.proxy.seen.clear()
    for reference in waits:
        site.call("POST", f"/v1/jobs/{reference}/cancel")
    for reference in waits:
        ended(site, reference, "cancelled")
    assert cluster.proxy.seen["DELETE /slurm/v0.0.38/job/N"] == 3, cluster.proxy.seen
    for reference in set(references) - set(waits):
        site.call("POST", f"/v1/jobs/{reference}/cancel")
        ended(site, reference, "cancelled")


def test_what_is_asked_of_all_jobs_waits_for_none(site, cluster):
    """Else nobody would see an end as long as very many are submitted or cancelled."""
    count = 40
    pool = cluster.pool("queues", requests=1)
    pool["spec"]["nodes"] = [{"name": "large", "cpu": 64, "memory": "1Ti", "disk": "1Ti"}]
    site.apply(pool)
    cluster.proxy.seen.clear()
    cluster.api("slow")
    site.submit(job("many", "sleep 600", array={"count": count}, placement={"pool": "queues"}, grace="1s"))
    reference = f"{manifests.TEAM}:many"
    site.wait_for(lambda: cluster.proxy.seen["POST /slurm/v0.0.38/job/submit"] == count, "all submissions")
    listings = cluster.proxy.seen["GET /slurm/v0.0.38/jobs"]
    cluster.api("pass")
    site.call("POST", f"/v1/jobs/{reference}/cancel")
    site.wait_for(lambda: site.job(reference)["status"]["state"] == "cancelled", "the end of all")
    assert listings >= 4, cluster.proxy.seen


def test_cancelled_behind_our_back_it_says_so(site, cluster):
    reference = site.submit(job("long", "echo ready; sleep 600"))
    site.wait_log(reference, "ready")
    cluster.run("scancel", slurm_job(site, reference))
    attempt = ended(site, reference, "failed")["attemptList"][0]
    assert attempt["engineReason"] == "cancelled" and "cancelled" in attempt["detail"]


def test_a_node_that_is_lost_takes_its_job_and_comes_back(site, cluster):
    reference = site.submit(job("long", "[ $MUSTER_ATTEMPT = 2 ] || { echo ready; sleep 600; }",
                                retries={"limit": 1, "backoff": "0s"}))
    site.wait_log(reference, "ready")
    node = last_attempt(site, reference)["site"]["nodes"]
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=trial")
    status = ended(site, reference)
    assert status["attemptList"][0]["reason"] == "node-lost"
    cluster.run("scontrol", "update", f"nodename={node}", "state=idle", check=False)
    wait_nodes(site, cluster, len(cluster.nodes))


def test_a_drained_node_takes_nothing_new(site, cluster):
    cluster.run("scontrol", "update", "nodename=n4", "state=drain", "reason=trial")
    try:
        wait_nodes(site, cluster, len(cluster.nodes) - 1)
    finally:
        cluster.run("scontrol", "update", "nodename=n4", "state=resume")
    wait_nodes(site, cluster, len(cluster.nodes))


def test_while_all_nodes_are_away_jobs_are_taken_and_wait(site, cluster):
    """As for some seconds after each start of slurmctld: what none holds now is not what none ever could."""
    try:
        cluster.run("scontrol", "update", "nodename=n[1-4]", "state=down", "reason=trial")
        wait_nodes(site, cluster, 0)
        reference = site.submit(job("came", "echo came"))
        nowhere = site.api("POST", "/v1/jobs", manifests.job("nowhere", "true", placement={"pool": "here"},
                                                             resources={"cpu": 64}))
        assert nowhere.status == 422, nowhere
    finally:
        cluster.run("scontrol", "update", "nodename=n[1-4]", "state=resume")
    ended(site, reference)
    wait_nodes(site, cluster, len(cluster.nodes))
    large = site.api("POST", "/v1/jobs", job("large", "true", resources={"cpu": 64}))
    assert large.status == 422, large


def test_killed_at_steps_of_submission_no_job_is_lost_and_none_runs_twice(site, cluster):
    references = []
    for i, mode in enumerate(["pass", "stop", "late", "cut", "pass"]):
        cluster.api(mode)
        references.append(site.submit(job(f"j{i}", COUNTS)))
        site.kill9()
        cluster.api("pass")
        site.start()
    for reference in references:
        ended(site, reference)
        assert site.logs(reference) == "runs: 1.\n"


def test_an_unreachable_cluster_is_waited_for(site, cluster):
    cluster.api("stop")
    reference = site.submit(job("patient", "echo came"))
    site.wait_for(lambda: "not at the site" in last_attempt(site, reference).get("detail", "")
                  if site.job(reference)["status"].get("attemptList") else False,
                  "saying that the site does not have it")
    cluster.api("pass")
    ended(site, reference)


def test_options_that_cannot_work_are_refused_at_once(site, cluster):
    def why(**options):
        pool = cluster.pool("wrong", **options)
        answer = site.api("POST", "/v1/apply", {"objects": [pool]})
        assert answer.status == 422, answer
        return answer.text

    assert "no user no-such-user" in why(user="no-such-user")
    assert "spec.slurm.endpoint" in why(endpoint="ftp://x")
    assert "spec.slurm.endpoint" in why(endpoint=None)


def test_what_slurm_refuses_is_said_in_its_words(site, cluster):
    nodes = [{"name": "n1", "cpu": 4, "memory": "1Gi", "disk": "1Gi"}]
    pool = cluster.pool("elsewhere", partition="nowhere")
    pool["spec"]["nodes"] = nodes
    site.apply(pool)
    reference = site.submit(job("lost", "echo never", placement={"pool": "elsewhere"}))
    attempt = ended(site, reference, "failed")["attemptList"][0]
    assert attempt["reason"] == "start-failed" and "partition" in attempt["detail"].lower()


def test_what_a_job_reads_is_brought_to_the_cluster(site, cluster):
    site.apply(manifests.dataset("rows"))
    make_version(site, "dataset", "rows", {"a.csv": "1,2,3\n", "b.csv": "4\n"})
    reads = job("reads", "cat $MUSTER_INPUT_ROWS/a.csv $MUSTER_INPUT_ROWS/b.csv; "
                "echo no > $MUSTER_INPUT_ROWS/a.csv; echo in $MUSTER_INPUT_ROWS; ls /inputs/rows/",
                inputs=[{"name": "rows", "dataset": "rows"}])
    references = [site.submit({**reads, "metadata": {**reads["metadata"], "name": f"reads{i}"}})
                  for i in range(2)]
    for reference in references:
        ended(site, reference)
        log = site.logs(reference)
        assert "1,2,3\n4\n" in log and cluster.shared in log and "b.csv" in log
        assert "ermission denied" in log, "what is read by many is written by nobody"


@contextlib.contextmanager
def server(tmp_path):
    muster = Muster(tmp_path / "data")
    try:
        muster.start()
        yield muster
    finally:
        muster.teardown()
        print(muster.log())


def test_explain_says_what_the_site_says(site, cluster):
    cluster.api("stop")
    reference = site.submit(job("patient", "echo hello"))
    site.wait_job(reference, "starting")

    def waits_there():
        words = site.call("GET", f"/v1/jobs/{reference}/explain")["words"]
        return "Its site does not have it yet: " in " ".join(words)
    site.wait_for(waits_there, "an explanation")
    cluster.api("pass")
    ended(site, reference)


def test_a_pool_that_places_gets_the_nodes_it_chose(cluster, tmp_path):
    with server(tmp_path) as muster:
        muster.apply(manifests.team(), cluster.pool(place="muster"))
        wait_nodes(muster, cluster, len(cluster.nodes))
        script = "echo $RANK is on $SLURMD_NODENAME; sleep 1"
        gangs = [muster.submit(job(f"gang{i}", script, gang={"size": 2}, resources={"cpu": 3}))
                 for i in range(2)]
        taken = []
        for reference in gangs:
            ended(muster, reference)
            placements = last_attempt(muster, reference)["placements"]
            chosen = {rank: placement["node"].removeprefix("cluster/") for placement in placements
                      for rank in range(placement["firstRank"],
                                        placement["firstRank"] + placement["ranks"])}
            log = muster.logs(reference)
            for rank, node in chosen.items():
                assert f"{rank} is on {node}\n" in log
            taken += chosen.values()
        assert sorted(taken) == cluster.nodes


def replace(path, text):
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def test_over_tls_with_a_token_that_is_renewed(cluster, tmp_path):
    token = tmp_path / "token"
    token.write_text(cluster.token())
    tls = slurm_module.TlsProxy(tmp_path, cluster.start_token_rest())
    pool = cluster.pool(endpoint=f"https://127.0.0.1:{tls.port}", caFile=tls.certificate,
                        serverName="slurm.test", tokenFile=str(token))
    with server(tmp_path) as muster:
        muster.apply(manifests.team(), pool)
        wait_nodes(muster, cluster, len(cluster.nodes))
        ended(muster, muster.submit(job("before", "echo before")))
        replace(token, "SLURM_JWT=of.nobody.known\n")
        said = muster.wait_for(lambda: not pool_site(muster)["answers"] and pool_site(muster)["text"],
                               "a token that is refused")
        assert "HTTP status" in said, said
        waiting = muster.submit(job("waits", "echo after"))
        replace(token, cluster.token())
        ended(muster, waiting)
        assert "after" in muster.logs(waiting)
    tls.close()


@pytest.mark.parametrize("change, said", [
    ({"serverName": "other.test"}, "certificate"),
    ({"caFile": "/etc/ssl/certs/ca-certificates.crt"}, "certificate"),
])
def test_an_endpoint_that_is_somebody_else_is_told_nothing(cluster, tmp_path, change, said):
    token = tmp_path / "token"
    token.write_text(cluster.token())
    tls = slurm_module.TlsProxy(tmp_path, cluster.rest_socket)
    with server(tmp_path) as muster:
        muster.apply(manifests.team(), cluster.pool(**{
            "endpoint": f"https://127.0.0.1:{tls.port}", "caFile": tls.certificate,
            "serverName": "slurm.test", "tokenFile": str(token), **change}))
        muster.wait_for(lambda: said in pool_site(muster)["text"], "a refusal of the certificate")
    tls.close()


def pool_site(muster):
    return muster.call("GET", "/v1/pools/cluster")["status"]["site"]
