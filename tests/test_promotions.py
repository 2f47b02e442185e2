"""Promotions: gates, evaluations, approvals, and that a stage moves in no other way."""
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manifests import dataset, manifest, model, pool, service, team
from muster import wait_until
from registry import make_version

PRODUCTION = "production"
USERS = ("mia", "ann", "bob", "eve", "vic")


def members(**roles):
    return [{"user": user, "role": role} for user, role in roles.items()]


def gate(stage=PRODUCTION, **fields):
    return {"stage": stage, **fields}


def metric(name="accuracy", **fields):
    return {"name": name, **fields}


@pytest.fixture
def company(muster):
    """mia asks; ann, bob and eve approve; vic only looks; ops administers all; zoe is elsewhere."""
    muster.apply(
        manifest("Team", "root", {"members": members(ops="admin")}),
        team(members=members(mia="member", ann="approver", bob="approver", eve="approver",
                             vic="viewer", adm="admin")),
        team("speech", members=members(zoe="admin")), pool())
    muster.token = {user: muster.call("POST", "/v1/tokens", {"user": user})["token"]
                    for user in (*USERS, "adm", "ops", "zoe")}
    return muster


def digits(company, *gates, **spec):
    company.apply(model("digits", gates=list(gates), **spec))


def version(company, number, name="digits"):
    return company.call("GET", f"/v1/models/vision:{name}/versions/{number}")


def stage(company, number):
    return version(company, number)["stage"]


def holder(company, of=PRODUCTION):
    answer = company.api("GET", f"/v1/models/vision:digits/versions/{of}")
    return answer.json["version"] if answer.status == 200 else None


def ask(company, number, by="mia", to=PRODUCTION, expected=201, **body):
    answer = company.api("POST", f"/v1/models/vision:digits/versions/{number}/promotions",
                         {"stage": to, **body}, token=company.token[by])
    assert answer.status == expected, answer
    return answer.json


def decide(company, promotion, what, by, expected=200, **body):
    answer = company.api("POST", f"/v1/promotions/{promotion['id']}/{what}", body or None,
                         token=company.token[by])
    assert answer.status == expected, answer
    return answer.json


def approve(company, promotion, by, expected=200, **body):
    return decide(company, promotion, "approve", by, expected, **body)


def get(company, promotion):
    return company.call("GET", f"/v1/promotions/{promotion['id']}")


def settled(company, promotion):
    """The promotion once its evaluation is over."""
    def over():
        now = get(company, promotion)
        return now if now["state"] != "evaluating" else None
    return company.wait_for(over, f"the evaluation of {promotion['id']}")


def promoted(company, number, to=PRODUCTION):
    """A version that holds the stage, approved by ann."""
    asked = ask(company, number, to=to)
    assert approve(company, asked, "ann")["state"] == "granted"
    return asked


def events(company, promotion):
    return [event["action"] for event in company.audit()
            if event["kind"] == "promotion" and event["name"] == promotion["id"]]


# ---- conditions --------------------------------------------------------------------------------


def test_without_a_gate_somebody_has_to_approve(company):
    digits(company)
    make_version(company, "model", "digits")
    asked = ask(company, 1, note="the first")
    assert asked["state"] == "waiting" and asked["askedBy"] == "mia" and asked["reasons"] == []
    assert asked["note"] == "the first" and stage(company, 1) == "candidate"
    granted = approve(company, asked, "ann", note="looks right")
    assert granted["state"] == "granted" and granted["decidedBy"] == "ann"
    assert granted["approvals"][0]["note"] == "looks right"
    now = version(company, 1)
    assert now["stage"] == PRODUCTION and now["stageBy"] == "ann" and now["stageSince"]
    assert events(company, asked) == ["promotion-ask", "promotion-approve", "promotion-grant"]


def test_every_reason_is_said_at_once_and_recorded(company):
    digits(company, gate(metrics=[metric(min=0.9), metric("loss", max=0.1), metric("recall", min=0)],
                         owners=["bill"], consent=["open"], approvals=0))
    company.apply(dataset("scans", consent="research-only"))
    make_version(company, "dataset", "scans")
    make_version(company, "model", "digits", metrics={"accuracy": 0.89, "loss": 0.11},
                 inputs=[{"name": "data", "dataset": "scans"}])
    refused = ask(company, 1)
    assert refused["state"] == "refused" and refused["decidedBy"] == "gate"
    for part in ("accuracy is 0.89, below 0.9", "loss is 0.11, above 0.1", "recall is not among",
                 "spec.owners.bill", "research-only"):
        assert any(part in reason for reason in refused["reasons"]), refused["reasons"]
    assert len(refused["reasons"]) == 5 and stage(company, 1) == "candidate"
    assert get(company, refused) == refused
    assert events(company, refused) == ["promotion-ask", "promotion-refuse"]
    # What was refused is over: the next one is looked at anew.
    digits(company, gate(metrics=[metric(min=0.8)], approvals=0))
    assert ask(company, 1)["state"] == "granted" and holder(company) == 1


def test_a_new_holder_is_what_counts_when_it_is_approved(company):
    digits(company, gate(metrics=[metric(notWorse=True)]))
    for accuracy in (0.8, 0.85, 0.9):
        make_version(company, "model", "digits", metrics={"accuracy": accuracy})
    promoted(company, 1)
    second, third = ask(company, 2), ask(company, 3)
    assert approve(company, third, "ann")["state"] == "granted"
    assert (stage(company, 1), stage(company, 3), holder(company)) == ("archived", PRODUCTION, 3)
    refused = approve(company, second, "ann")
    assert refused["state"] == "refused" and "worse than the 0.9 " in refused["reasons"][0]
    assert holder(company) == 3 and stage(company, 2) == "candidate"


def test_a_gate_that_changed_is_the_one_that_counts(company):
    digits(company, gate(approvals=1))
    make_version(company, "model", "digits", metrics={"accuracy": 0.8})
    asked = ask(company, 1)
    digits(company, gate(approvals=2, metrics=[metric(min=0.9)]))
    assert approve(company, asked, "ann")["state"] == "waiting"
    assert "below 0.9" in approve(company, asked, "bob")["reasons"][0]


def test_asking_for_what_is_not_there(company):
    digits(company)
    make_version(company, "model", "digits")
    for number, to, expected in ((2, PRODUCTION, 404), (1, "archived", 422), (1, "candidate", 422),
                                 (1, "", 422), ("staging", PRODUCTION, 404), ("x", "staging", 422)):
        ask(company, number, to=to, expected=expected)
    ask(company, 1, note=7, expected=422)
    ask(company, 1, note="x" * 3000, expected=422)
    promoted(company, 1)
    assert "is in the stage" in ask(company, 1, expected=409)["detail"]
    assert ask(company, "newest", to="staging")["version"] == 1
    assert company.api("GET", "/v1/promotions/p0000000000000").status == 404
    assert company.api("POST", "/v1/promotions/../approve").status in (400, 404)


def test_one_open_promotion_for_a_version_and_stage(company):
    digits(company)
    make_version(company, "model", "digits")
    make_version(company, "model", "digits")
    with ThreadPoolExecutor(8) as pool_of_threads:
        answers = list(pool_of_threads.map(
            lambda _: company.api("POST", "/v1/models/vision:digits/versions/1/promotions",
                                  {"stage": PRODUCTION}, token=company.token["mia"]), range(8)))
    assert sorted(answer.status for answer in answers) == [201] + 7 * [409]
    first = next(answer.json for answer in answers if answer.status == 201)
    ask(company, 1, to="staging")
    ask(company, 2)
    assert decide(company, first, "withdraw", "mia")["state"] == "withdrawn"
    assert ask(company, 1)["state"] == "waiting"


# ---- approvals ---------------------------------------------------------------------------------


def test_four_eyes(company):
    digits(company, gate(approvals=2))
    make_version(company, "model", "digits")
    asked = ask(company, 1, by="ann")
    refusal = approve(company, asked, "ann", expected=403)["detail"]
    assert "ann asked for this promotion" in refusal and "separateApproval" in refusal
    for user in ("mia", "vic"):
        assert "approver" in approve(company, asked, user, expected=403)["detail"]
    approve(company, asked, "zoe", expected=404)
    assert approve(company, asked, "bob")["state"] == "waiting"
    assert "already" in approve(company, asked, "bob", expected=409)["detail"]
    granted = approve(company, asked, "eve")
    assert granted["state"] == "granted"
    assert [approval["by"] for approval in granted["approvals"]] == ["bob", "eve"]
    assert "is granted" in approve(company, asked, "adm", expected=409)["detail"]


def test_approvals_at_the_same_time_count_once_each(company):
    digits(company, gate(approvals=3))
    make_version(company, "model", "digits")
    asked = ask(company, 1)
    users = ["ann", "bob"] * 4
    with ThreadPoolExecutor(8) as pool_of_threads:
        statuses = list(pool_of_threads.map(
            lambda user: company.api("POST", f"/v1/promotions/{asked['id']}/approve",
                                     token=company.token[user]).status, users))
    assert sorted(statuses) == [200, 200] + 6 * [409]
    assert len(get(company, asked)["approvals"]) == 2 and holder(company) is None
    assert approve(company, asked, "eve")["state"] == "granted"


def test_two_versions_approved_at_once_leave_one_holder(company):
    digits(company)
    for _ in range(6):
        make_version(company, "model", "digits")
    asked = [ask(company, number) for number in range(1, 7)]
    with ThreadPoolExecutor(6) as pool_of_threads:
        states = list(pool_of_threads.map(
            lambda one: approve(company, one, "ann")["state"], asked))
    assert states == 6 * ["granted"]
    stages = [stage(company, number) for number in range(1, 7)]
    assert sorted(stages) == 5 * ["archived"] + [PRODUCTION]
    assert stages[holder(company) - 1] == PRODUCTION


def test_a_team_may_let_people_approve_their_own(company):
    company.apply(team(separateApproval=False, members=members(ann="approver", mia="member")))
    digits(company)
    make_version(company, "model", "digits")
    assert approve(company, ask(company, 1, by="ann"), "ann")["state"] == "granted"


def test_the_owner_that_the_model_names_approves(company):
    digits(company, owners={"approval": "bob"})
    make_version(company, "model", "digits")
    make_version(company, "model", "digits")
    asked = ask(company, 1)
    assert "names bob" in approve(company, asked, "ann", expected=403)["detail"]
    approve(company, asked, "adm", expected=403)
    assert approve(company, asked, "bob")["approvals"][0]["as"] == "owner"
    # An administrator of all teams may, so that nobody has to wait for who is away.
    asked = ask(company, 2)
    assert approve(company, asked, "ops")["approvals"][0]["as"] == "administrator"
    # A group that is nobody's user name binds nobody; with two approvals one has to be theirs.
    digits(company, owners={"approval": "the board"})
    assert approve(company, ask(company, 1), "ann")["state"] == "granted"
    digits(company, gate(approvals=2), owners={"approval": "bob"})
    asked = ask(company, 2)
    assert approve(company, asked, "ann")["state"] == "waiting"
    approve(company, asked, "eve", expected=403)
    assert approve(company, asked, "bob")["state"] == "granted"


def test_refusing_and_withdrawing(company):
    digits(company)
    make_version(company, "model", "digits")
    asked = ask(company, 1)
    decide(company, asked, "refuse", "mia", 403)
    refused = decide(company, asked, "refuse", "ann", note="not yet")
    assert (refused["state"], refused["decidedBy"], refused["decisionNote"]) == (
        "refused", "ann", "not yet")
    for what in ("approve", "refuse", "withdraw"):
        assert "is refused" in decide(company, asked, what, "adm", 409)["detail"]
    asked = ask(company, 1)
    assert "mia" in decide(company, asked, "withdraw", "ann", 403)["detail"]
    assert decide(company, asked, "withdraw", "mia")["state"] == "withdrawn"
    asked = ask(company, 1)
    assert decide(company, asked, "withdraw", "adm")["decidedBy"] == "adm"
    assert stage(company, 1) == "candidate"


def test_those_whom_a_gate_holds_back_cannot_change_it(company):
    def applied(by, *gates, **spec):
        return company.api("POST", "/v1/apply", {"objects": [
            model("digits", gates=list(gates), **spec)]}, token=company.token[by])
    assert applied("mia", gate(approvals=0)).status == 403
    assert applied("mia", gate(approvals=2), owners={"approval": "bob"}).status == 200
    assert applied("mia", gate(approvals=2), owners={"approval": "bob"},
                   description="of digits").status == 200
    for gates, spec in (((gate(approvals=1),), {"owners": {"approval": "bob"}}),
                        ((), {"owners": {"approval": "bob"}}), ((gate(approvals=2),), {})):
        refusal = applied("mia", *gates, description="of digits", **spec)
        assert refusal.status == 403 and "approver" in refusal.json["detail"]
        dry = company.api("POST", "/v1/apply", {"dryRun": True, "objects": [
            model("digits", gates=list(gates), **spec)]}, token=company.token["mia"])
        assert dry.status == 403
    assert applied("ann", gate(approvals=1)).status == 200
    assert "admin" in applied("ann", gate(approvals=0)).json["detail"]
    assert applied("adm", gate(approvals=0)).status == 200
    assert applied("mia", gate(approvals=0), description="as it was").status == 200


# ---- evaluations -------------------------------------------------------------------------------

REPORT = "cat $MUSTER_INPUT_MODEL/data $MUSTER_INPUT_DATA/data; echo '{\"f1\": 0.7}' >> $MUSTER_METRICS"
HELD = "echo started; while :; do sleep 0.05; done"


def evaluation(script=REPORT, **fields):
    return {"dataset": "test", "command": ["/bin/sh", "-c", script],
            "resources": {"cpu": 1, "memory": "64Mi", "disk": "64Mi"}, **fields}


def evaluated(company, script=REPORT, metrics=None, approvals=1, **fields):
    """The model with a gate that evaluates, a test set and a version."""
    company.apply(dataset("test"))
    make_version(company, "dataset", "test")
    wanted = metrics or [metric("f1", source="evaluation", min=0.5)]
    digits(company, gate(metrics=wanted, evaluation=evaluation(script, **fields),
                         approvals=approvals))
    make_version(company, "model", "digits", metrics={"accuracy": 0.9})


def test_an_evaluation_that_passes(company):
    evaluated(company)
    company.apply(model("digits", labels={"cost": "7"}, gates=[gate(
        metrics=[metric("f1", source="evaluation", min=0.5)], evaluation=evaluation())]))
    asked = ask(company, 1)
    assert asked["state"] == "evaluating" and asked["dataset"] == "vision/test:1"
    assert "is evaluating" in approve(company, asked, "ann", expected=409)["detail"]
    waiting = settled(company, asked)
    assert waiting["state"] == "waiting", waiting
    job = company.job(asked["evaluationJob"])
    assert job["metadata"]["labels"] == {"muster/promotion": asked["id"], "owner": "mia",
                                         "cost": "7"}
    assert job["metadata"]["name"].startswith("evaluate-digits-1-")
    assert [one.get("model") or one["dataset"] for one in job["spec"]["inputs"]] == [
        "vision/digits:1", "vision/test:1"]
    assert version(company, 1)["evaluations"] == [
        {"promotion": asked["id"], "job": asked["evaluationJob"], "dataset": "vision/test:1",
         "metrics": {"f1": "0.7"}}]
    assert approve(company, asked, "ann")["state"] == "granted" and holder(company) == 1
    assert events(company, asked) == ["promotion-ask", "promotion-evaluate", "promotion-approve",
                                      "promotion-grant"]


def test_an_evaluation_may_be_all_that_is_asked_for(company):
    evaluated(company, approvals=0)
    granted = settled(company, ask(company, 1))
    assert granted["state"] == "granted" and granted["decidedBy"] == "mia"
    assert holder(company) == 1


def test_an_evaluation_below_the_bound(company):
    evaluated(company, metrics=[metric("f1", source="evaluation", min=0.71),
                                metric("auc", source="evaluation", min=0)])
    refused = settled(company, ask(company, 1))
    assert refused["state"] == "refused" and refused["reasons"] == [
        "metric f1 is 0.7, below 0.71", "metric auc is not among those of its evaluation"]
    assert version(company, 1)["evaluations"][0]["metrics"] == {"f1": "0.7"}


def test_the_holder_is_compared_on_the_same_data(company):
    evaluated(company, metrics=[metric("f1", source="evaluation", notWorse=True)])
    asked = ask(company, 1)
    settled(company, asked)
    approve(company, asked, "ann")
    worse = evaluation("echo '{\"f1\": 0.69}' >> $MUSTER_METRICS")
    digits(company, gate(metrics=[metric("f1", source="evaluation", notWorse=True)],
                         evaluation=worse))
    make_version(company, "model", "digits")
    assert "worse than the 0.7 " in settled(company, ask(company, 2))["reasons"][0]
    # On other data the holder sets no bar: nobody measured it there.
    make_version(company, "dataset", "test")
    assert settled(company, ask(company, 2))["state"] == "waiting"


def test_an_evaluation_that_fails(company):
    evaluated(company, "exit 3")
    refused = settled(company, ask(company, 1))
    assert refused["state"] == "refused" and "failed: exit with status 3" in refused["reasons"][0]
    assert "evaluations" not in version(company, 1)


def test_whoever_asks_does_not_write_what_the_evaluation_measures(company):
    evaluated(company, "echo ready; while :; do sleep 0.05; done")
    asked = ask(company, 1)
    job_id = get(company, asked)["evaluationJob"]
    company.wait_log(job_id, "ready")
    forge = ("exec", job_id, "--", "/bin/sh", "-c", 'echo forged >> "$MUSTER_METRICS"')
    for user in ("mia", "ann"):
        refused = company.cli(*forge, ok=False, MUSTER_TOKEN=company.token[user])
        assert refused.returncode == 3 and "evaluates a version" in refused.stderr, refused
    company.cli(*forge, MUSTER_TOKEN=company.token["adm"])


def test_an_evaluation_that_somebody_cancels(company):
    evaluated(company, HELD)
    asked = ask(company, 1)
    company.wait_log(asked["evaluationJob"], "started")
    company.call("POST", f"/v1/jobs/{asked['evaluationJob']}/cancel")
    refused = settled(company, asked)
    assert refused["state"] == "refused" and "was cancelled" in refused["reasons"][0]


def test_withdrawing_ends_the_evaluation(company):
    evaluated(company, HELD)
    for what, by, state in (("withdraw", "mia", "withdrawn"), ("refuse", "ann", "refused")):
        asked = ask(company, 1)
        company.wait_log(asked["evaluationJob"], "started")
        assert decide(company, asked, what, by)["state"] == state
        company.wait_job(asked["evaluationJob"], "cancelled")
        assert get(company, asked)["state"] == state


def test_what_is_against_it_already_costs_no_evaluation(company):
    evaluated(company, metrics=[metric(min=0.95), metric("f1", source="evaluation", min=0)])
    refused = ask(company, 1)
    assert refused["state"] == "refused" and "evaluationJob" not in refused
    assert refused["reasons"] == ["metric accuracy is 0.9, below 0.95"]


def test_an_evaluation_that_cannot_be_submitted_leaves_nothing(company):
    evaluated(company, dataset="nosuch")
    assert "there is no dataset" in ask(company, 1, expected=422)["detail"]
    digits(company, gate(evaluation=evaluation(resources={"cpu": 1000})))
    ask(company, 1, expected=422)
    assert company.call("GET", "/v1/promotions")["items"] == []


@pytest.mark.parametrize("down_while", ["running", "ending"])
def test_a_server_that_was_killed_goes_on_with_the_evaluation(company, down_while):
    # The job waits for a file in its checkpoint folder, which the test can write.
    evaluated(company, "touch $MUSTER_CHECKPOINT_DIR/here; echo started; while ! test -e "
                       "$MUSTER_CHECKPOINT_DIR/go; do sleep 0.05; done; " + REPORT +
                       "; touch $MUSTER_CHECKPOINT_DIR/done")
    asked = ask(company, 1)
    company.wait_log(asked["evaluationJob"], "started")
    (here,) = Path(company.data).rglob("here")
    company.kill9()
    if down_while == "ending":
        (here.parent / "go").touch()
        wait_until((here.parent / "done").exists, 60, "the end of the evaluation")
    company.start()
    assert get(company, asked)["state"] == "evaluating" or down_while == "ending"
    if down_while == "running":
        (here.parent / "go").touch()
    waiting = settled(company, asked)
    assert waiting["state"] == "waiting", waiting
    assert len(version(company, 1)["evaluations"]) == 1
    assert approve(company, asked, "ann")["state"] == "granted"


def test_killed_at_any_moment_a_promotion_is_decided_once(company):
    evaluated(company, approvals=0)
    for number in range(2, 6):
        make_version(company, "model", "digits")
    asked = [ask(company, number) for number in range(1, 6)]
    company.kill9()
    company.start()
    company.kill9()
    company.start()
    for one in asked:
        assert settled(company, one)["state"] == "granted"
        assert events(company, one).count("promotion-grant") == 1
    stages = [stage(company, number) for number in range(1, 6)]
    assert sorted(stages) == 4 * ["archived"] + [PRODUCTION]


# ---- stages ------------------------------------------------------------------------------------


def test_out_of_a_stage(company):
    digits(company)
    make_version(company, "model", "digits")
    promoted(company, 1)
    path = "/v1/models/vision:digits/versions/1"
    assert company.api("POST", f"{path}/archive", token=company.token["mia"]).status == 403
    assert company.call("POST", f"{path}/archive", token=company.token["ann"])["stage"] == "archived"
    assert holder(company) is None and version(company, 1)["stageBy"] == "ann"
    assert company.call("POST", f"{path}/candidate", token=company.token["ann"])["stage"] == (
        "candidate")
    before = len(company.audit())
    company.call("POST", f"{path}/candidate", token=company.token["ann"])
    assert len(company.audit()) == before
    asked = ask(company, 1)
    refusal = company.api("POST", f"{path}/archive", token=company.token["ann"])
    assert refusal.status == 409 and asked["id"] in refusal.json["detail"]
    # A version that was archived may come back.
    decide(company, asked, "withdraw", "mia")
    company.call("POST", f"{path}/archive", token=company.token["ann"])
    promoted(company, 1)
    assert holder(company) == 1


def test_a_stage_that_a_service_follows_is_not_left_empty(company):
    digits(company)
    make_version(company, "model", "digits")
    make_version(company, "model", "digits")
    promoted(company, 1)
    company.apply(service("front", f"digits@{PRODUCTION}", runtime="xgboost"))
    for what in ("archive", "candidate"):
        refusal = company.api("POST", f"/v1/models/vision:digits/versions/1/{what}")
        assert refusal.status == 409 and "vision/front" in refusal.json["detail"]
    promoted(company, 2)
    assert (stage(company, 1), stage(company, 2)) == ("archived", PRODUCTION)
    company.wait_for(lambda: company.call("GET", "/v1/services/vision:front")["status"].get(
        "version") == 2, "the service to follow")


def test_from_staging_to_production(company):
    digits(company)
    make_version(company, "model", "digits")
    promoted(company, 1, "staging")
    assert holder(company, "staging") == 1
    asked = ask(company, "staging")
    approve(company, asked, "ann")
    assert holder(company) == 1 and holder(company, "staging") is None


def test_nothing_else_changes_a_stage(company):
    digits(company)
    make_version(company, "model", "digits")
    before = version(company, 1)
    path = "/v1/models/vision:digits/versions/1"
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for route in (path, f"{path}/stage", "/v1/models/vision:digits/versions/production",
                      f"{path}/promotions" if method != "POST" else f"{path}/production"):
            if (method, route) == ("DELETE", path):
                continue
            assert company.api(method, route, {"stage": PRODUCTION}).status >= 400
    company.call("POST", f"{path}/verify", {"stage": PRODUCTION})
    created = company.api("POST", "/v1/models/vision:digits/versions",
                          {"stage": PRODUCTION, "tree": "x"})
    assert created.status >= 400
    manifest_with_stage = model("digits")
    manifest_with_stage["status"] = {"stage": PRODUCTION}
    company.apply(manifest_with_stage)
    assert version(company, 1) == before
    # Only these four kinds of route speak of stages at all.
    document = company.call("GET", "/openapi.json")["paths"]
    changing = {route for route, operations in document.items() if "post" in operations
                and route.startswith("/v1/models/{model}/versions/{version}/")}
    assert changing == {f"/v1/models/{{model}}/versions/{{version}}/{name}" for name in (
        "promotions", "archive", "candidate", "verify", "reproduce")}


def test_a_version_in_a_stage_is_not_deleted(company):
    digits(company)
    make_version(company, "model", "digits")
    make_version(company, "model", "digits")
    promoted(company, 1)
    assert company.api("DELETE", "/v1/models/vision:digits/versions/1").status == 409
    asked = ask(company, 2)
    refusal = company.api("DELETE", "/v1/models/vision:digits/versions/2")
    assert refusal.status == 409 and asked["id"] in refusal.json["detail"]
    decide(company, asked, "withdraw", "mia")
    assert company.api("DELETE", "/v1/models/vision:digits/versions/2").status < 300


# ---- reading -----------------------------------------------------------------------------------


def test_who_may_see_the_model_sees_its_promotions(company):
    digits(company)
    make_version(company, "model", "digits")
    make_version(company, "model", "digits")
    first, second = ask(company, 1), ask(company, 2, to="staging")
    approve(company, first, "ann")

    def listed(by, query=""):
        answer = company.api("GET", f"/v1/promotions{query}", token=company.token[by])
        return [item["id"] for item in answer.json["items"]] if answer.status == 200 else None
    assert listed("vic") == [first["id"], second["id"]] == listed("vic", "?team=vision")
    assert listed("vic", "?state=waiting") == [second["id"]]
    assert listed("vic", "?model=other") == []
    assert listed("zoe") == [] and listed("zoe", "?team=vision") is None
    assert company.api("GET", f"/v1/promotions/{first['id']}",
                       token=company.token["zoe"]).status == 404
    page = company.call("GET", "/v1/promotions?limit=1")
    assert [item["id"] for item in page["items"]] == [first["id"]]
    rest = company.call("GET", f"/v1/promotions?limit=1&after={page['next']}")
    assert [item["id"] for item in rest["items"]] == [second["id"]]


# ---- the command line --------------------------------------------------------------------------


def test_the_command_line(company):
    digits(company, gate(metrics=[metric(min=0.9), metric("loss", max=1)]))
    make_version(company, "model", "digits", metrics={"accuracy": 0.5})
    make_version(company, "model", "digits", metrics={"accuracy": 0.95, "loss": 0})
    refused = company.cli("promote", "vision/digits:1", "--to", PRODUCTION, ok=False,
                          MUSTER_TOKEN=company.token["mia"])
    assert refused.returncode == 1
    assert "is refused" in refused.stdout and "below 0.9" in refused.stdout
    assert "loss is not among" in refused.stdout
    asked = company.cli("promote", "digits", "--team", "vision", "--to", PRODUCTION, "--note", "go")
    assert "is waiting" in asked.stdout
    listed = json.loads(company.cli("promotions", "--state", "waiting", "-o", "json").stdout)
    waiting = (listed["items"] if isinstance(listed, dict) else listed)[0]
    assert waiting["note"] == "go"
    described = company.cli("describe", "model", "vision/digits").stdout
    assert waiting["id"] in described
    own = company.cli("approve", waiting["id"], ok=False)
    assert own.returncode != 0 and "asked for this promotion" in own.stderr
    approve(company, waiting, "ann")
    assert "production" in company.cli("describe", "model", "vision/digits").stdout
    assert "granted" in company.cli("promotions", "--team", "vision").stdout
    asked = company.cli("promote", "vision/digits:1", "--to", "staging").stdout.split()[1]
    assert "is withdrawn" in company.cli("withdraw", asked).stdout
    asked = company.cli("promote", "vision/digits:1", "--to", "staging").stdout.split()[1]
    assert "is refused" in company.cli("refuse", asked, "--note", "no").stdout
    company.cli("promote", "vision/digits:2", "--to", "archived")
    assert stage(company, 2) == "archived"
    assert company.cli("promote", "vision/digits:2", "--to", "moon", ok=False).returncode != 0


def test_waiting_on_the_command_line(company):
    digits(company)
    make_version(company, "model", "digits")
    with ThreadPoolExecutor(1) as pool_of_threads:
        waits = pool_of_threads.submit(
            company.cli, "promote", "vision/digits:1", "--to", PRODUCTION, "--wait")
        asked = company.wait_for(
            lambda: company.call("GET", "/v1/promotions?state=waiting")["items"], "the promotion")
        approve(company, asked[0], "ann")
        assert "is granted" in waits.result().stdout
