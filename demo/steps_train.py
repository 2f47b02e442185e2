"""The first half of the demo: data becomes versions, and a training on them is killed under its
server, preempted, resumed from its checkpoint, and makes a version of a model."""
import json
import os
import re
import subprocess
import time

from story import PYTHON, HERE, RETRY_S, StepFailed, manifest

KILL_AT_EPOCH = 2      # the server is killed once this epoch has been reported,
PREEMPT_AT_EPOCH = 6   # and the urgent job comes after this one
EPOCHS = 14            # as in manifests/train.yaml
SEED = "11"            # as there
ACCURACY_LEAST = 0.85  # as the gate of manifests/registry.yaml asks for

TRAINING = "research/digits"
URGENT = "fraud/score"
MODEL = "research/digits"
DATASETS = {"research/digits": "train", "research/digits-test": "test"}
USERS = ("ann", "bob")


def epoch_of(status):
    """The last epoch that a job reported."""
    return (status.get("progress") or {}).get("epoch", 0)


def wait_for_epoch(muster, name, epoch):
    return muster.wait_for_job(name, f"epoch {epoch} is done",
                               lambda status: epoch_of(status) >= epoch)


def checkpoint_files(muster):
    """(path, time) of checkpoints on disk, seen without asking the server."""
    found = []
    for folder, _, files in os.walk(muster.data):
        for file in files:
            if file == "checkpoint.pt":
                path = os.path.join(folder, file)
                try:
                    found.append((path, os.stat(path).st_mtime_ns))
                except OSError:
                    pass  # replaced at this moment
    return sorted(found)


def version_of(muster, kind, name, number):
    """What is recorded with a version of a dataset or model; None when there is no such."""
    for item in muster.json(kind, "versions", name)["items"]:
        if item["version"] == number:
            return item
    return None


# ---- before the training ----------------------------------------------------------------------


def step_start(muster, report):
    muster.start()
    version = muster.run("version", "--server").split("\n")[0]
    who = "root: each team has a uid of its own" if os.geteuid() == 0 else \
        "an ordinary user: all jobs run as you, with less isolation"
    report.step("server", True, f"{version} answers, as {who}", gateway=muster.gateway)
    files = [word for file in ("pool", "teams", "class", "registry")
             for word in ("-f", manifest(file))]
    muster.run("apply", *files)
    again = muster.json("apply", *files)
    actions = sorted({result["action"] for result in again["results"]})
    report.step("manifests", actions == ["unchanged"],
                f"{len(again['results'])} objects (pool, teams, class, datasets, model with its "
                f"gate); applied twice, the second time {', '.join(actions)}")
    facts = muster.json("get", "node", "local/here").get("enforcement", [])
    missing = [fact["name"] for fact in facts if not fact["enforced"]]
    report.tell(f"not enforced on this machine: {', '.join(missing) or 'nothing'}")
    for user in USERS:
        save_token(muster, user, "token", "create", user)


def save_token(muster, name, *command):
    """What a user keeps: a token in a file that nobody else may read."""
    descriptor = os.open(muster.token_file(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(muster.run(*command))


def step_data(muster, report):
    folder = muster.folder.join("digits")
    done = subprocess.run([PYTHON, os.path.join(HERE, "data.py"), folder], text=True,
                          capture_output=True, timeout=max(1.0, muster.clock.left()), check=False)
    if done.returncode != 0:
        raise StepFailed(f"data.py: {done.stderr}")
    digests = {}
    for name, part in DATASETS.items():
        for _ in range(2):
            muster.run("dataset", "push", name, os.path.join(folder, part), user="ann")
        version = version_of(muster, "dataset", name, 1)
        digests[name] = version["digest"]
        report.tell(f"{name}:1 is {version['files']} files, {version['bytes'] // 1024} KiB, "
                    f"{version['digest'][:19]}.., pushed by {version['createdBy']}")
    single = all(version_of(muster, "dataset", name, 2) is None for name in DATASETS)
    report.step("datasets", single and len(set(digests.values())) == len(DATASETS),
                f"{', '.join(done.stdout.strip().splitlines())}; the same content pushed again is "
                "no new version", digests=digests)


# ---- the training -----------------------------------------------------------------------------


def step_submit(muster, report):
    muster.run("apply", "-f", manifest("train"), user="ann")
    report.tell(f"{TRAINING} is submitted by ann: two ranks, each with a demo-gpu")
    status = muster.wait_for_state(TRAINING, "running")
    report.step("training starts", status["attempts"] == 1,
                f"attempt {status['attempts']}, {status['size']} ranks")


def step_kill(muster, report):
    before = wait_for_epoch(muster, TRAINING, KILL_AT_EPOCH)
    report.tell(f"epoch {epoch_of(before)} is done: SIGKILL for the server")
    muster.kill()
    at_kill = checkpoint_files(muster)
    killed = time.time()
    if at_kill:
        # The proof that the job goes on without a server: a checkpoint it writes meanwhile.
        while checkpoint_files(muster) == at_kill:
            if muster.clock.left() <= 0:
                raise StepFailed("the training stood still while the server was gone")
            time.sleep(RETRY_S)
        report.tell("the server is gone, and the training has written another checkpoint")
    restarted = time.time()
    muster.start()
    after = wait_for_epoch(muster, TRAINING, epoch_of(before) + 2)
    log = muster.log_of(TRAINING, after["attempts"])
    meanwhile = [float(moment) for moment in re.findall(r"^(\d+\.\d+) epoch \d+:", log, re.M)
                 if killed <= float(moment) <= restarted]
    same = after["attempts"] == before["attempts"] and after["id"] == before["id"]
    report.step("the server was killed", same and after["state"] == "running",
                f"restarted after {restarted - killed:.1f} s; the training is the same attempt "
                f"{after['attempts']}, at epoch {epoch_of(after)}; epochs it ended while no server "
                f"ran: {len(meanwhile)}")


def step_preempt(muster, report):
    before = wait_for_epoch(muster, TRAINING, PREEMPT_AT_EPOCH)
    report.tell(f"epoch {epoch_of(before)} is done: {URGENT} arrives and wants both accelerators")
    muster.run("apply", "-f", manifest("urgent"))
    muster.wait_for_state(URGENT, "running", "succeeded")
    attempts = muster.job(TRAINING)["attemptList"]
    first = attempts[0]
    report.step("preempted", first["state"] == "ended" and first.get("reason") == "preempted",
                f"attempt 1 of {TRAINING} is {first['state']}, reason: {first.get('reason')}")
    urgent = muster.wait_for_state(URGENT, "succeeded")
    result = muster.log_of(URGENT, 1).strip().split("\n")[-1]
    report.step("urgent job", urgent["attempts"] == 1, f"{URGENT}: {result}")


SAVED = re.compile(r"saved epoch (\d+) after (\d+) of its passes as checkpoint (\w+)")
RESUMED = re.compile(r"resuming at epoch (\d+) after (\d+) of its passes, from checkpoint (\w+)")


def step_resume(muster, report):
    status = muster.wait_for_job(TRAINING, "there is an attempt 2",
                                 lambda status: status["attempts"] >= 2)
    resumed = muster.wait(f"attempt 2 of {TRAINING} says where it resumes",
                          lambda: RESUMED.search(muster.log_of(TRAINING, 2)))
    saved = SAVED.findall(muster.log_of(TRAINING, 1))
    held = bool(saved) and resumed.groups() == saved[-1] and int(resumed[1]) > 1
    report.step("resumed from its checkpoint", held,
                f"attempt 1 saved epoch {saved[-1][0]}, pass {saved[-1][1]} as {saved[-1][2]}; "
                f"attempt 2 says: \"{resumed[0]}\"" if saved else "attempt 1 saved nothing")
    left = status.get("retriesLeft")
    report.step("a preemption is no failure", status["preemptions"] == 1 and left == 1,
                f"preempted {status['preemptions']} time, retries left: {left} of 1")


def step_finish(muster, report):
    status = muster.wait_for_state(TRAINING, "succeeded")
    log = muster.log_of(TRAINING, status["attempts"])
    found = re.search(r"finished: accuracy (\d\.\d+)", log)
    accuracy = float(found[1]) if found else 0.0
    report.step("training ends", accuracy > ACCURACY_LEAST,
                f"accuracy {accuracy:.4f} on digits it has not seen, in {status['attempts']} "
                "attempts", accuracy=accuracy)
    lines = "".join(muster.log_of(TRAINING, number) for number in (1, 2))
    epochs = [int(number) for number in re.findall(r" epoch (\d+): loss", lines)]
    report.step("nothing was lost", epochs == list(range(1, EPOCHS + 1)),
                f"its logs have the epochs {epochs[0] if epochs else '-'} to "
                f"{epochs[-1] if epochs else '-'}, each once")


# ---- what it made -----------------------------------------------------------------------------


def wait_for_version(muster, number):
    return muster.wait(f"{MODEL} has a version {number}",
                       lambda: version_of(muster, "model", MODEL, number))


def check_lineage(muster, version, job, expected):
    """What is wrong with what a version says of where it comes from: a list of words."""
    source = version["source"]
    status = muster.job(job)
    inputs = {f"{item['team']}/{item['artifact']}": (item["version"], item["digest"])
              for item in source["inputs"]}
    pushed = {name: (1, version_of(muster, "dataset", name, 1)["digest"]) for name in DATASETS}
    environment = source["environment"]
    graph = muster.json("lineage", f"model/{MODEL}:{version['version']}", "-d", "up")
    edges = {(edge["from"], edge["to"]) for edge in graph["edges"]}
    node = "job/" + status["id"]
    wanted = {(f"dataset/{name}:1", node) for name in DATASETS}
    wanted.add((node, f"model/{MODEL}:{version['version']}"))
    checks = {
        "the job": source["job"] == status["id"] and source["jobName"] == job.split("/")[1],
        "its attempts": source["attempts"] == status["attempts"],
        "the datasets and their digests": inputs == pushed,
        "the parameters": source["parameters"] == {"seed": expected["seed"]},
        "the metrics": float(source["metrics"]["accuracy"]) == status["progress"]["accuracy"]
                       and int(source["metrics"]["epoch"]) == expected["epochs"],
        "the environment": environment["kernel"] == os.uname().release
                           and environment["packages"].startswith("sha256:")
                           and environment["accelerators"] == ["demo-gpu"],
        "consent and jurisdiction": version["consent"] == ["any-purpose"]
                                    and version["jurisdiction"] == "eu",
        "who": version["createdBy"] == "ann",
        "the graph": edges == wanted,
    }
    return [what for what, held in checks.items() if not held]


def step_version(muster, report):
    version = wait_for_version(muster, 1)
    wrong = check_lineage(muster, version, TRAINING, {"seed": SEED, "epochs": EPOCHS})
    environment = version["source"]["environment"]
    report.tell(f"{MODEL}:1 is {version['files']} files, {version['bytes'] // 1024} KiB, "
                f"{version['digest'][:19]}..")
    report.step("a version with its lineage", not wrong,
                f"wrong: {', '.join(wrong)}" if wrong else
                f"job {version['source']['job']}, 2 datasets with their digests, seed {SEED}, accuracy "
                f"{version['source']['metrics']['accuracy']}, {environment['os']}, packages "
                f"{environment['packages'][:19]}..: as recorded, as it was", version=version)
    verified = muster.run("model", "verify", f"{MODEL}:1").strip()
    folder = muster.folder.join("model")
    muster.run("model", "pull", f"{MODEL}:1", folder, user="bob")
    with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
        signature = json.load(file)
    report.step("every byte is there", signature["inputs"][0]["name"] == "pixels",
                f"{verified}; pulled by bob: {', '.join(sorted(os.listdir(folder)))}")
