"""Jobs at a cluster as the users they belong to: those of two teams are two real users of this machine, which Debian's
packages have made."""
import glob
import json
import os
import pwd
import tempfile

import pytest

import manifests
from registry import make_version
import slurm as slurm_module
from muster import Muster

ANN, BOB = "nobody", "slurm"


def why_not():
    missing = [name for name in (ANN, BOB) if name not in [entry.pw_name for entry in pwd.getpwall()]]
    return slurm_module.why_not() or (f"no user {' '.join(missing)}" if missing else None)


pytestmark = [pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
              pytest.mark.xdist_group("slurm"), pytest.mark.limit_s(600)]


def team_of(user):
    return manifests.team(f"team-{user}", uid=pwd.getpwnam(user).pw_uid)


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="muster-slurm-") as folder, \
            slurm_module.cluster(folder) as slurm:
        slurm.tokens = slurm.start_token_rest()
        yield slurm


@pytest.fixture
def server(tmp_path):
    muster = Muster(tmp_path / "data")
    try:
        muster.start()
        muster.apply(team_of(ANN), team_of(BOB), manifests.team("strangers"))
        yield muster
    finally:
        muster.teardown()
        print(muster.log())


def tokens_of(cluster, tmp_path, **users):
    """A folder with a token for each, and a file with one of root."""
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    for user, whose in users.items():
        (folder / user).write_text(cluster.token(whose))
    root = tmp_path / "root-token"
    root.write_text(cluster.token("root"))
    return str(folder), str(root)


def pool(cluster, **options):
    return cluster.pool(endpoint=f"unix:{cluster.tokens}", users="team", **options)


def add_pool(muster, cluster, manifest):
    muster.apply(manifest)
    muster.wait_for(lambda: len(muster.call("GET", "/v1/nodes")["items"]) == len(cluster.nodes),
                    "the nodes of the cluster")


def submit(muster, user, name, command, **spec):
    return muster.submit(manifests.job(name, command, team=f"team-{user}", placement={"pool": "cluster"}, **spec))


def one_user_each(muster, cluster):
    references = [submit(muster, user, f"who-{user}", "id -un; stat -c %U:%a .") for user in (ANN, BOB)]
    for user, reference in zip((ANN, BOB), references):
        status = muster.wait_ended(reference)["status"]
        assert status["state"] == "succeeded", status
        assert muster.logs(reference) == f"{user}\n{user}:700\n"
        number = status["attemptList"][0]["site"]["id"]
        assert f"UserId={user}(" in cluster.job(number)


def test_jobs_are_those_of_their_teams_users_by_roots_token(server, cluster, tmp_path):
    _, root = tokens_of(cluster, tmp_path)
    add_pool(server, cluster, pool(cluster, tokenFile=root, user="root"))
    one_user_each(server, cluster)


def test_jobs_are_those_of_their_teams_users_by_their_own_tokens(server, cluster, tmp_path):
    folder, _ = tokens_of(cluster, tmp_path, **{ANN: ANN, BOB: BOB})
    add_pool(server, cluster, pool(cluster, tokenFolder=folder, user=ANN))
    one_user_each(server, cluster)


def test_what_is_one_users_no_other_reads_or_writes(server, cluster, tmp_path):
    _, root = tokens_of(cluster, tmp_path)
    add_pool(server, cluster, pool(cluster, tokenFile=root, user="root"))
    server.apply(manifests.dataset("rows", team=f"team-{ANN}"))
    make_version(server, "dataset", "rows", {"a.csv": "1,2,3\n"}, team=f"team-{ANN}")
    first = submit(server, ANN, "first", "echo mine > $MUSTER_CHECKPOINT_DIR/a; cat $MUSTER_INPUT_ROWS/a.csv; "
                   "echo $MUSTER_CHECKPOINT_DIR; echo ready; while [ ! -e $MUSTER_CHECKPOINT_DIR/end ]; do "
                   "sleep 0.1; done", inputs=[{"name": "rows", "dataset": "rows"}])
    rows, checkpoint, _ = server.wait_log(first, "ready").split()
    assert rows == "1,2,3"
    root_of_all = checkpoint.split("/jobs/")[0]
    attempt, = [path for path in glob.glob(f"{root_of_all}/*/out/claim")
                if os.stat(path).st_uid == pwd.getpwnam(ANN).pw_uid]
    attempt = os.path.dirname(os.path.dirname(attempt))
    tries = [f"cat {checkpoint}/a", f"echo x > {checkpoint}/a", f"echo 1 > {attempt}/out/claim",
             f"cat {attempt}/rank", f"ls {attempt}/work", f"echo stop > {attempt}/control", f"ls {root_of_all}", f"ls {root_of_all}/inputs-cluster"]
    second = submit(server, BOB, "second", "; ".join(f"({what}) && echo DONE" for what in tries) + "; echo end")
    assert server.wait_ended(second)["status"]["state"] == "succeeded", server.logs(second)
    log = server.logs(second)
    assert "end" in log and "DONE" not in log, log
    with open(f"{checkpoint}/end", "w", encoding="ascii"):
        pass
    assert server.wait_ended(first)["status"]["state"] == "succeeded", server.logs(first)


def test_a_team_without_a_user_there_is_told_so(server, cluster, tmp_path):
    folder, _ = tokens_of(cluster, tmp_path, **{ANN: ANN})
    add_pool(server, cluster, pool(cluster, tokenFolder=folder, user=ANN))
    lost = server.submit(manifests.job("lost", "echo never", team="strangers", placement={"pool": "cluster"}))
    other = submit(server, BOB, "other", "echo never")
    for reference, said in ((lost, "no user with the id"), (other, f"no token by which {BOB} could ask")):
        status = server.wait_ended(reference)["status"]
        assert status["attemptList"][0]["reason"] == "start-failed", status
        assert said in json.dumps(status["attemptList"][0]), status


def test_a_pool_that_cannot_name_others_is_refused(server, cluster, tmp_path):
    def why(**options):
        answer = server.api("POST", "/v1/apply", {"objects": [cluster.pool("wrong", **options)]})
        assert answer.status == 422, answer
        return answer.text

    assert "takes who connects to its socket" in why(users="team")
    assert "only with users: team" in why(tokenFolder=str(tmp_path))
