"""Datasets, models, runtimes and services as objects: applying, reading, deleting, who may."""
import pytest

import manifests
from manifests import dataset, manifest, model, service, team


def refused(muster, *objects, status):
    answer = muster.api("POST", "/v1/apply", {"objects": list(objects)})
    assert answer.status == status, answer
    return answer.json["detail"]


def deleted(muster, path):
    answer = muster.api("DELETE", path)
    return answer.status if answer.status == 200 else (answer.status, answer.json["detail"])


def test_what_a_team_owns_is_applied_read_and_deleted(site):
    objects = [dataset("digits", jurisdiction="ch"), model("digits", runtime="xgboost")]
    assert site.apply(*objects) == ["created", "created"]
    before = site.audit()
    assert site.apply(*objects) == ["unchanged", "unchanged"]
    assert site.audit() == before
    assert site.apply(dataset("digits", jurisdiction="ch", owner="ann")) == ["changed"]
    found = site.call("GET", "/v1/datasets/vision:digits")
    assert found["metadata"] == {"name": "digits", "team": "vision"}
    assert found["spec"] == {"jurisdiction": "ch", "owner": "ann"}
    site.restart()
    assert [m["metadata"]["name"] for m in site.call("GET", "/v1/models?team=vision")["items"]] == ["digits"]
    assert deleted(site, "/v1/datasets/vision:digits") == 200
    assert deleted(site, "/v1/datasets/vision:digits")[0] == 404
    actions = [(event["action"], event["name"], event["team"]) for event in site.audit()]
    assert ("dataset-put", "digits", "vision") in actions
    assert ("dataset-delete", "digits", "vision") in actions


def test_the_same_name_may_stand_in_two_teams(site):
    site.apply(team("speech"), dataset("raw"), dataset("raw", team="speech", owner="bob"))
    assert "owner" not in site.call("GET", "/v1/datasets/vision:raw").get("spec", {})
    assert site.call("GET", "/v1/datasets/speech:raw")["spec"]["owner"] == "bob"
    names = [item["metadata"]["team"] for item in site.call("GET", "/v1/datasets")["items"]]
    assert sorted(names) == ["speech", "vision"]


def test_a_team_that_is_not_there_owns_nothing(site):
    assert "nosuch" in refused(site, dataset("d", team="nosuch"), status=404)


def test_a_team_has_so_many_services_and_no_more(site):
    """Each costs every tick something, and any member may apply them."""
    site.apply(model("digits", runtime="command"))
    many = [service(f"s{number}", "digits@production", command=["true"], replicas=0)
            for number in range(1001)]
    site.apply(*many[:500])
    site.apply(*many[500:1000])
    assert "1000 services" in refused(site, many[1000], status=409)
    assert site.apply(many[7]) == ["unchanged"]
    assert site.api("DELETE", "/v1/services/vision:s0").status in (200, 204)
    assert site.apply(many[1000]) == ["created"]


def test_obligatory_labels_hold_for_all_that_a_team_owns(site):
    site.apply(team("lab", requiredLabels=["cost"]))
    answer = site.api("POST", "/v1/apply", {"objects": [model("m", team="lab")]})
    assert [error["path"] for error in answer.json["errors"]] == ["objects[0].metadata.labels.cost"]
    assert site.apply(model("m", team="lab", labels={"cost": "1"})) == ["created"]


def test_only_members_apply_and_only_viewers_see(site):
    def members(*users):
        return [{"user": user, "role": user} for user in users]
    site.apply(team(members=members("viewer", "member")), team("speech"), dataset("d"))
    tokens = {user: site.call("POST", "/v1/tokens", {"user": user})["token"]
              for user in ("viewer", "member", "stranger")}
    body = {"objects": [dataset("e")]}
    assert site.api("POST", "/v1/apply", body, token=tokens["viewer"]).status == 403
    assert site.api("POST", "/v1/apply", body, token=tokens["member"]).status == 200
    other = {"objects": [dataset("e", team="speech")]}
    assert site.api("POST", "/v1/apply", other, token=tokens["member"]).status == 403
    assert site.api("GET", "/v1/datasets/vision:d", token=tokens["viewer"]).status == 200
    hidden = site.api("GET", "/v1/datasets/speech:d", token=tokens["viewer"])
    assert hidden.status == 404
    missing = site.api("GET", "/v1/datasets/vision:x", token=tokens["viewer"])
    assert missing.status == 404
    runtime = {"objects": [manifest("Runtime", "own", {"command": ["x"]})]}
    assert site.api("POST", "/v1/apply", runtime, token=tokens["member"]).status == 403


def test_built_in_runtimes_are_there_and_stay_as_they_were_changed(site):
    names = {item["metadata"]["name"] for item in site.call("GET", "/v1/runtimes")["items"]}
    assert {"xgboost", "torchscript", "vllm", "triton", "llama-cpp", "command"} <= names
    own = manifest("Runtime", "command", {"description": "ours", "protocols": ["oip"]})
    assert site.apply(own) == ["changed"]
    site.restart()
    assert site.call("GET", "/v1/runtimes/command")["spec"]["description"] == "ours"


def test_what_is_referred_to_is_not_deleted(site):
    site.apply(manifest("Runtime", "own", {"command": ["x"]}), model("m", runtime="own"))
    status, detail = deleted(site, "/v1/runtimes/own")
    assert status == 409 and "vision/m" in detail
    status, detail = deleted(site, f"/v1/teams/{manifests.TEAM}")
    assert status == 409 and "m" in detail
    assert deleted(site, "/v1/models/vision:m") == 200
    assert deleted(site, "/v1/runtimes/own") == 200
    assert deleted(site, f"/v1/teams/{manifests.TEAM}") == 200


@pytest.mark.parametrize("kind, made", [("dataset", dataset("d", owner="ann")),
                                        ("model", model("d", description="digits"))])
def test_the_command_line_gets_describes_and_deletes_them(site, tmp_path, kind, made):
    file = tmp_path / "d.json"
    file.write_text(__import__("json").dumps(made))
    assert f"{made['kind']} vision/d created" in site.cli("apply", "-f", str(file)).stdout
    assert "unchanged" in site.cli("plan", "-f", str(file)).stdout
    assert site.cli("get", kind + "s", "-o", "name").stdout == "vision/d\n"
    assert site.cli("get", kind + "s", "--team", "root", "-o", "name").stdout == ""
    assert f"kind: {made['kind']}" in site.cli("get", kind, "vision/d", "-o", "yaml").stdout
    assert "vision" in site.cli("describe", kind, "d", "--team", "vision").stdout
    site.cli("delete", "-f", str(file))
    assert site.cli("get", kind, "vision/d", ok=False).returncode != 0


def test_a_service_gets_nothing_new_of_a_team_whose_models_may_not_be_seen_any_more(site, tmp_path):
    """Whoever applied it could see the model then; what is made later is not for them."""
    def lender(*viewers):
        site.apply(team("lender", members=[{"user": user, "role": "viewer"} for user in viewers]))

    def push(content):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "a").write_text(content)
        site.cli("model", "push", "lender/net", tmp_path / "in")

    def served():
        nodes = site.call("GET", "/v1/services/vision:lent")["status"]
        return nodes.get("version")
    site.apply(team(members=[{"user": "mel", "role": "member"}]))
    lender("mel")
    site.apply(model("net", "lender", runtime="command"))
    push("one")
    mel = site.call("POST", "/v1/tokens", {"user": "mel"})["token"]
    lent = service("lent", "lender/net", command=["true"], replicas=0)
    site.apply(lent, token=mel)
    push("two")
    site.wait_for(lambda: served() == 2, "the service to follow")
    lender()
    push("three")
    site.apply(service("own", "lender/net", command=["true"], replicas=0))
    site.wait_for(lambda: "may not see" in site.log(), "the reason")
    site.restart()
    assert served() == 2
    lender("mel")
    push("four")
    site.wait_for(lambda: served() == 4, "the service to follow again")
