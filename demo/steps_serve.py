"""The second half of the demo: the version passes its gate and is served; another one replaces it
while clients ask; a replica is killed; and what all of it cost."""
import json
import os
import signal
import subprocess
import urllib.request

from steps_train import (MODEL, SEED, TRAINING, URGENT, EPOCHS, check_lineage, save_token, version_of,
                         wait_for_version)
from story import (HERE, PYTHON, StepFailed, living, manifest, processes, read_process,
                   with_children)

SERVICE = "research/digits"
ROUTE = "digits"
RETRAINING = "research/digits-again"
RETRAINING_SEED, RETRAINING_EPOCHS = "12", 3  # as in manifests/retrain.yaml
REPLICAS = 2          # as in manifests/service.yaml
CLIENT = "shop"       # the user behind the inference key
ASKED_LEAST = 100     # answers that have to come before something is called steady
CONNECTIONS = 2       # of the load: the replicas share two processors with it
ROUNDING = 0.00005    # of the accuracies that are compared: they are written with four places
SAME_PRICE = 0.00001  # prices are rounded to a millionth, one by one


# ---- the gate ---------------------------------------------------------------------------------


def ask_for_production(muster, report, number):
    """ann asks; the gate evaluates. Returns the promotion once approvers decide."""
    said = muster.run("promote", f"{MODEL}:{number}", "--to", "production", "--note",
                      "more right answers", user="ann").strip()
    report.tell(f"ann: {said}")

    def evaluated():
        promotion = next(item for item in muster.json("promotions")["items"]
                         if item["version"] == number)
        if promotion["state"] in ("refused", "withdrawn"):
            raise StepFailed(f"the gate refused {MODEL}:{number}: {promotion['reasons']}")
        return promotion if promotion["state"] == "waiting" else None
    return muster.wait(f"{MODEL}:{number} is evaluated", evaluated)


def evaluation_of(muster, number):
    """What the gate measured, as it is recorded with the version."""
    evaluations = version_of(muster, "model", MODEL, number).get("evaluations") or [{}]
    return float(evaluations[-1].get("metrics", {}).get("accuracy", 0))


def approve(muster, report, promotion):
    """ann may not approve what she asked for; bob may. Returns what was wrong with that, or ""."""
    own = muster.call("approve", promotion["id"], user="ann")
    refusal = own.stderr.strip()
    report.tell(f"ann approves it herself: {refusal}")
    if own.returncode == 0 or "asked for this promotion" not in refusal:
        return "ann could approve what she had asked for"
    said = muster.run("approve", promotion["id"], "--note", "measured and compared", user="bob")
    report.tell(f"bob: {said.strip()}")
    version = version_of(muster, "model", MODEL, promotion["version"])
    return "" if (version["stage"], version["stageBy"]) == ("production", "bob") \
        else f"the version is in the stage {version['stage']}"


def step_gate(muster, report):
    promotion = ask_for_production(muster, report, 1)
    measured = evaluation_of(muster, 1)
    report.step("evaluated by the gate", measured >= 0.95,
                f"a job of the gate measured accuracy {measured:.4f} on {promotion['dataset']}; it "
                "asks for 0.95", accuracy=measured, job=promotion["evaluationJob"])
    wrong = approve(muster, report, promotion)
    report.step("four eyes", not wrong, wrong or f"{MODEL}:1 is in production: asked for by ann, "
                "refused to ann, approved by bob", promotion=promotion["id"])


# ---- serving ----------------------------------------------------------------------------------


def service(muster):
    return muster.json("get", "service", SERVICE)["status"]


def wait_for_replicas(muster, what, version):
    """Until as many replicas as wanted are ready, all of that version, and no others are left."""
    def steady():
        status = service(muster)
        replicas = status.get("replicas", [])
        return status if len(replicas) == REPLICAS and all(
            replica["state"] == "ready" and replica["version"] == version
            for replica in replicas) else None
    return muster.wait(what, steady)


class Load:
    """Clients that ask the model through the gateway, in a process of their own: see ask.py."""

    def __init__(self, muster, name, *options):
        self.muster = muster
        self.path = muster.folder.join(name + ".json")
        self.process = subprocess.Popen(
            [PYTHON, os.path.join(HERE, "ask.py"), "--url", "http://" + muster.gateway,
             "--model", ROUTE, "--data", muster.folder.join("digits", "test"),
             "--key-file", muster.token_file(CLIENT), "--report", self.path, *options],
            stdin=subprocess.DEVNULL, env=muster.environment)
        muster.loads.append(self.process)

    def report(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {"answered": 0, "failed": 0, "problems": [], "versions": {}}

    def answered(self, version):
        return self.report()["versions"].get(str(version), {}).get("answered", 0)

    def wait_for_more(self, version):
        """Until so many more answers of the version came."""
        least = self.answered(version) + ASKED_LEAST

        def came():
            if self.process.poll() is not None:
                raise StepFailed(f"the clients ended with {self.process.returncode}")
            return self.answered(version) >= least
        self.muster.wait(f"{ASKED_LEAST} more answers of version {version}", came)

    def end(self):
        """Its last report."""
        try:
            self.process.wait(timeout=max(1.0, self.muster.clock.left()))
        except subprocess.TimeoutExpired:
            raise StepFailed("the clients do not end") from None
        if self.process.returncode != 0:
            raise StepFailed(f"the clients ended with {self.process.returncode}")
        return self.report()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.end()


def reachable(muster):
    """Whether the gateway knows the service and the key, as a client sees it."""
    with open(muster.token_file(CLIENT), encoding="utf-8") as file:
        key = file.read().strip()
    request = urllib.request.Request(f"http://{muster.gateway}/v2/models/{ROUTE}/ready",
                                     headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status == 200
    except OSError:  # also what is no 200
        return False


def step_serve(muster, report):
    save_token(muster, CLIENT, "token", "create", CLIENT, "--inference", "--service", SERVICE)
    muster.run("apply", "-f", manifest("service"), user="ann")
    # While the replicas load PyTorch, ann trains anew: what she makes is no more than a candidate.
    muster.run("apply", "-f", manifest("retrain"), user="ann")
    report.tell(f"{SERVICE} is to have {REPLICAS} replicas of what holds production; meanwhile "
                f"{RETRAINING} trains with another seed")
    status = wait_for_replicas(muster, f"{REPLICAS} replicas are ready", 1)
    muster.wait("the gateway takes requests", lambda: reachable(muster))
    report.step("served", status["state"] == "ready",
                f"{status['ready']} replicas of version {status['version']} by the runtime "
                f"{status['runtime']}; the gateway {status['gateway']}")


def step_ask(muster, report):
    said = Load(muster, "asked", "--rounds", "1").end()
    measured = evaluation_of(muster, 1)
    held = (said["failed"] == 0 and said["answered"] == 360 and list(said["versions"]) == ["1"]
            and abs(said["accuracy"] - measured) <= ROUNDING)
    report.step("asked through the gateway", held,
                f"{said['answered']} digits, {said['failed']} failures; accuracy of the answers "
                f"{said['accuracy']:.4f}, of the evaluation {measured:.4f}; p50 {said['p50_ms']} ms, "
                f"p99 {said['p99_ms']} ms" + "".join(f"; {text}" for text in said["problems"][:3]),
                **said, evaluation=measured)


# ---- another version --------------------------------------------------------------------------


def step_retrain(muster, report):
    muster.wait_for_state(RETRAINING, "succeeded")
    second = wait_for_version(muster, 2)
    first = version_of(muster, "model", MODEL, 1)
    wrong = check_lineage(muster, second, RETRAINING,
                          {"seed": RETRAINING_SEED, "epochs": RETRAINING_EPOCHS})
    differs = first["digest"] != second["digest"] and \
        first["source"]["parameters"] == {"seed": SEED} and \
        int(first["source"]["metrics"]["epoch"]) == EPOCHS
    report.step("trained anew", not wrong and differs,
                f"wrong: {', '.join(wrong)}" if wrong else
                f"{MODEL}:2 with seed {RETRAINING_SEED} and {RETRAINING_EPOCHS} epochs, accuracy "
                f"{second['source']['metrics']['accuracy']}; still a {second['stage']}",
                version=second)


def step_roll(muster, report):
    load = muster.load = Load(muster, "load", "--connections", str(CONNECTIONS))
    load.wait_for_more(1)
    report.tell(f"{CONNECTIONS} clients ask without a pause; {MODEL}:2 goes through the gate")
    promotion = ask_for_production(muster, report, 2)
    wrong = approve(muster, report, promotion)
    status = wait_for_replicas(muster, "version 2 has replaced version 1", 2)
    load.wait_for_more(2)
    settled = load.report()
    load.wait_for_more(2)
    said = load.report()
    before, after = (said["versions"].get(number, {}).get("answered", 0) for number in "12")
    stale = before - settled["versions"]["1"]["answered"]
    report.step("rolled to version 2 under load",
                not wrong and said["failed"] == 0 and before and after and not stale,
                wrong or f"{before} answers of version 1, {after} of version 2, {stale} of version 1 "
                f"once {status['ready']} replicas of version 2 were ready; lost: {said['failed']}"
                + "".join(f"; {text}" for text in said["problems"][:3]), **said)


def process_of(muster, replica):
    """The process that serves, as one who looks at the machine finds it: a sandbox has its
    replica's name as its host name."""
    parents = processes()
    for pid in living(muster):
        words = read_process(pid, "cmdline").split(b"\0")
        if b"--hostname" not in words or \
                words[words.index(b"--hostname") + 1] != replica["name"].encode():
            continue
        for below in sorted(with_children(parents, {pid})):
            if any(word.endswith(b"torchscript.py")
                   for word in read_process(below, "cmdline").split(b"\0")[:2]):
                return below
    raise StepFailed(f"the process of the replica {replica['name']} is not found")


def step_crash(muster, report):
    victim = service(muster)["replicas"][0]
    pid = process_of(muster, victim)
    os.kill(pid, signal.SIGKILL)
    report.tell(f"SIGKILL for process {pid}, the replica {victim['name']}")

    def noticed():
        for replica in service(muster).get("replicas", []):
            if replica["id"] == victim["id"]:
                return replica if replica["restarts"] > victim["restarts"] or \
                    replica["state"] != "ready" else None
        return victim
    muster.wait("the death of the replica is noticed", noticed)
    status = wait_for_replicas(muster, "there are two replicas again", 2)
    muster.load.wait_for_more(2)
    said = muster.load.stop()
    back = next((replica for replica in status["replicas"] if replica["id"] == victim["id"]), {})
    report.step("a replica was killed under load", said["failed"] == 0 and status["state"] == "ready",
                f"{back.get('name')} ended: {back.get('lastEnd')}; {status['ready']} are ready again. "
                f"{said['answered']} requests of the load, lost: {said['failed']}; p50 "
                f"{said['p50_ms']} ms, p99 {said['p99_ms']} ms"
                + "".join(f"; {text}" for text in said["problems"][:3]), pid=pid, replica=back, **said)


# ---- the end of the story ---------------------------------------------------------------------


def step_lineage(muster, report):
    said = muster.run("lineage", f"model/{MODEL}:2")
    for line in filter(None, said.splitlines()):
        report.tell("  " + line)
    stages = [version_of(muster, "model", MODEL, number)["stage"] for number in (1, 2)]
    wanted = (f"model/{MODEL}:2", "digits-again", "dataset/research/digits:1",
              "dataset/research/digits-test:1", "production")
    report.step("lineage", all(text in said for text in wanted) and
                stages == ["archived", "production"],
                "version 2 is in production and names its job and data; version 1 is archived",
                graph=muster.json("lineage", f"model/{MODEL}:2"))


def step_audit(muster, report):
    said = muster.run("audit", "verify").strip()
    report.step("audit", True, said)


def step_price(muster, report):
    cost = muster.json("cost", "--by", "job")
    currency = cost.get("currency", "")
    jobs = {f"{item.get('team')}/{item.get('name')}": item for item in cost["items"]}
    for name in (TRAINING, RETRAINING, URGENT):
        item = jobs.get(name, {})
        report.tell(f"{name}: {item.get('cost')} {currency} for {item.get('attempts')} run(s), of "
                    f"it wasted by preemption {item.get('wasted')}")
    epochs = muster.json("describe", "job", TRAINING)["progress"]["items"]
    for epoch in epochs:
        report.tell(f"  epoch {epoch['epoch']:2}  attempt {epoch['attempt']}  "
                    f"{epoch.get('milliseconds', 0) / 1000:5.1f} s  {epoch.get('cost')} {currency}"
                    f"  accuracy {epoch['data'].get('accuracy')}")
    sums = cost["total"]
    report.tell(f"idle: {cost.get('idle')} {currency} of a capacity worth {cost.get('capacity')}")
    total = float(sums["cost"])
    difference = abs(total - sum(float(item["cost"]) for item in cost["items"]))
    held = (total > 0 and "idle" in cost and difference < SAME_PRICE * len(cost["items"])
            and len(epochs) == EPOCHS and all("cost" in epoch for epoch in epochs)
            and all(float(jobs.get(name, {}).get("cost", 0)) > 0
                    for name in (TRAINING, RETRAINING, URGENT)))
    report.prices = {"currency": currency, "jobs": jobs, "epochs": epochs, "total": sums,
                     "idle": cost.get("idle"), "capacity": cost.get("capacity")}
    report.step("prices", held, f"{total} {currency} for everything; the jobs' sum differs by "
                f"{difference:.6f}; {len(epochs)} epochs have a price")


def money(value):
    """Prices of single answers are small: no exponents."""
    return "unknown" if value is None else f"{float(value):.6f}"


def step_serving_price(muster, report):
    costs = {by: muster.json("cost", "--by", by) for by in ("service", "model", "version")}
    currency = costs["service"]["currency"]
    items = {by: {item["key"]: item for item in costs[by]["items"]} for by in costs}
    served = items["service"].get(SERVICE, {})
    model = items["model"].get(MODEL, {})
    versions = {number: items["version"].get(f"{MODEL}:{number}", {}) for number in (1, 2)}
    for number, item in versions.items():
        report.tell(f"{MODEL}:{number}: training {money(item.get('training'))} {currency}, "
                    f"evaluation {money(item.get('evaluation'))}, serving "
                    f"{money(item.get('servingToDate'))}; {item.get('succeeded')} inferences, 1,000 "
                    f"for {money(item.get('costPer1000'))}")
    idle = served.get("idleReplicas", [])
    report.tell(f"{SERVICE}: {served.get('replicas')} replicas were held for "
                f"{served.get('heldSeconds')} s, idle for at least {served.get('idleSecondsAtLeast')} "
                f"s of it; never asked: {', '.join(one['name'] for one in idle) or 'none'}")
    report.prices["serving"] = costs
    asked = served.get("succeeded") or 0
    parts = sum(item.get("succeeded") or 0 for item in versions.values())
    seen = sum(step["facts"].get("answered", 0) for step in report.steps
               if step["name"] in ("asked through the gateway", "a replica was killed under load"))
    held = (asked == seen == parts == model.get("succeeded") and (served.get("costPer1000") or 0) > 0
            and all((item.get(part) or 0) > 0 for item in versions.values()
                    for part in ("training", "evaluation", "servingToDate", "costPer1000"))
            and 0 < (model.get("servingShare") or 0) < 1)
    report.step("the price of an answer", held,
                f"1,000 inferences for {money(served.get('costPer1000'))} {currency}; the clients counted "
                f"{seen}, muster {asked}; of what the model cost, serving is "
                f"{100 * (model.get('servingShare') or 0):.1f} %, training and evaluation the rest")
