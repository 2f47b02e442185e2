"""Who may do what: every route with every role, tokens, and the socket."""
import json
import os
import subprocess

import pytest

import muster as helper
from manifests import job, manifest, model, moment, pool, team

# Callers. `outsider` has a token and no role; `other` administers another team; `above` has its
# role in the team above.
ROLES = ("nobody", "outsider", "viewer", "member", "approver", "admin", "other", "above", "root")

PUBLIC = set(ROLES)
KNOWN = PUBLIC - {"nobody"}
ANYWHERE = KNOWN - {"outsider"}
TEAM_VIEWER = ANYWHERE - {"other"}
TEAM_MEMBER = TEAM_VIEWER - {"viewer"}
TEAM_APPROVER = TEAM_MEMBER - {"member"}
TEAM_ADMIN = {"admin", "above", "root"}
ANYWHERE_MEMBER = ANYWHERE - {"viewer"}
ROOT = {"root"}

# Who gets past the check of each route; everybody else gets 401 without a token, and 403 or, where
# the thing may not even be seen, 404.
TABLE = {
    "GET /healthz": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "GET /metrics": ROOT,
    "POST /v1/apply": TEAM_MEMBER,
    "GET /v1/pools": ANYWHERE,
    "GET /v1/pools/{name}": ANYWHERE,
    "DELETE /v1/pools/{name}": ROOT,
    "GET /v1/teams": ANYWHERE,
    "GET /v1/teams/{name}": TEAM_VIEWER,
    "DELETE /v1/teams/{name}": ROOT,
    "GET /v1/classes": ANYWHERE,
    "GET /v1/classes/{name}": ANYWHERE,
    "DELETE /v1/classes/{name}": ROOT,
    "GET /v1/runtimes": ANYWHERE,
    "GET /v1/runtimes/{name}": ANYWHERE,
    "DELETE /v1/runtimes/{name}": ROOT,
    "GET /v1/datasets": ANYWHERE,
    "GET /v1/datasets?team=vision": TEAM_VIEWER,
    "GET /v1/datasets/{name}": TEAM_VIEWER,
    "DELETE /v1/datasets/{name}": TEAM_MEMBER,
    "GET /v1/models": ANYWHERE,
    "GET /v1/models?team=vision": TEAM_VIEWER,
    "GET /v1/models/{name}": TEAM_VIEWER,
    "DELETE /v1/models/{name}": TEAM_MEMBER,
    "GET /v1/horizontalpodautoscalers": ANYWHERE,
    "GET /v1/horizontalpodautoscalers?team=vision": TEAM_VIEWER,
    "GET /v1/horizontalpodautoscalers/{name}": TEAM_VIEWER,
    "DELETE /v1/horizontalpodautoscalers/{name}": TEAM_MEMBER,
    "GET /v1/services": ANYWHERE,
    "GET /v1/services?team=vision": TEAM_VIEWER,
    "GET /v1/services/{name}": TEAM_VIEWER,
    "DELETE /v1/services/{name}": TEAM_MEMBER,
    "GET /v1/services/{name}/recording": TEAM_MEMBER,
    "GET /v1/services/{name}/verdicts": TEAM_MEMBER,
    "POST /v1/services/{name}/tests": TEAM_MEMBER,
    "POST /v1/services/{name}/tests/{test}": TEAM_MEMBER,
    "GET /v1/services/{service}/rollout": TEAM_VIEWER,
    **{f"POST /v1/services/{{service}}/rollout/{act}": TEAM_MEMBER
       for act in ("pause", "resume", "promote", "abort")},
    **{f"{method} /v1/{kind}s/{{{kind}}}/versions{rest}": allowed
       for kind in ("dataset", "model") for method, rest, allowed in (
           ("GET", "", TEAM_VIEWER), ("POST", "", TEAM_MEMBER),
           ("GET", "/{version}", TEAM_VIEWER), ("DELETE", "/{version}", TEAM_MEMBER),
           ("POST", "/{version}/verify", TEAM_MEMBER),
           ("POST", "/{version}/reproduce", TEAM_MEMBER),
           ("GET", "/{version}/tree", TEAM_VIEWER), ("GET", "/{version}/files", TEAM_VIEWER),
           ("GET", "/{version}/files/{path}", TEAM_VIEWER))},
    "GET /v1/models/{model}/versions/{version}/variants": TEAM_VIEWER,
    "POST /v1/models/{model}/versions/{version}/promotions": TEAM_MEMBER,
    "POST /v1/models/{model}/versions/{version}/archive": TEAM_APPROVER,
    "POST /v1/models/{model}/versions/{version}/candidate": TEAM_APPROVER,
    "GET /v1/promotions": ANYWHERE,
    "GET /v1/promotions?team=vision": TEAM_VIEWER,
    "GET /v1/promotions/{promotion}": TEAM_VIEWER,
    "POST /v1/promotions/{promotion}/approve": TEAM_APPROVER,
    "POST /v1/promotions/{promotion}/refuse": TEAM_APPROVER,
    "POST /v1/promotions/{promotion}/withdraw": TEAM_MEMBER,
    "POST /v1/artifacts/missing?team=vision": TEAM_MEMBER,
    "PUT /v1/artifacts/chunks/{digest}?team=vision": TEAM_MEMBER,
    "GET /v1/artifacts/chunks/{digest}?team=vision": TEAM_VIEWER,
    "POST /v1/artifacts/collect": ROOT,
    "GET /v1/lineage/{kind}/{artifact}/{version}": TEAM_VIEWER,
    "POST /v1/jobs": TEAM_MEMBER,
    "GET /v1/jobs": ANYWHERE,
    "GET /v1/jobs?team=vision": TEAM_VIEWER,
    "GET /v1/jobs/{job}": TEAM_VIEWER,
    "DELETE /v1/jobs/{job}": TEAM_MEMBER,
    "POST /v1/jobs/{job}/cancel": TEAM_MEMBER,
    "POST /v1/jobs/{job}/hold": TEAM_MEMBER,
    "POST /v1/jobs/{job}/release": TEAM_MEMBER,
    "GET /v1/jobs/{job}/explain": TEAM_VIEWER,
    "POST /v1/whatif": ANYWHERE,
    "GET /v1/jobs/{job}/logs": TEAM_VIEWER,
    "GET /v1/jobs/{job}/progress": TEAM_VIEWER,
    "GET /v1/jobs/{job}/exec": TEAM_MEMBER,
    "GET /v1/copies": ANYWHERE,
    "GET /v1/nodes": ANYWHERE,
    "GET /v1/nodes/{pool}/{node}": ANYWHERE,
    "POST /v1/nodes/{pool}/{node}/cordon": ROOT,
    "POST /v1/nodes/{pool}/{node}/uncordon": ROOT,
    "POST /v1/nodes/{pool}/{node}/drain": ROOT,
    "POST /v1/nodes/{pool}/{node}/reserve": ROOT,
    "GET /v1/watch": ANYWHERE,
    "GET /v1/cost": ANYWHERE,
    "GET /v1/cost?team=vision": TEAM_VIEWER,
    "GET /v1/top": ANYWHERE,
    "GET /v1/top?team=vision": TEAM_VIEWER,
    "GET /v1/audit": ROOT,
    "GET /v1/audit?team=vision": TEAM_ADMIN,
    "POST /v1/audit/verify": ROOT,
    "POST /v1/tokens": ROOT,
    "GET /v1/tokens": KNOWN,
    "DELETE /v1/tokens/{id}": KNOWN,
    "GET /v1/secrets/{team}": TEAM_MEMBER,
    "PUT /v1/secrets/{team}/{name}": TEAM_MEMBER,
    "DELETE /v1/secrets/{team}/{name}": TEAM_MEMBER,
    "POST /v1/snapshots": ANYWHERE_MEMBER,
    "POST /v1/backup": ROOT,
}

# What is sent, so that a call which passes the check fails afterwards without harm, or does none.
BODIES = {
    "POST /v1/apply": {"objects": [job("bad", "true", resources={"cpu": 1000})]},
    "POST /v1/jobs": job("bad", "true", resources={"cpu": 1000}),
    "POST /v1/tokens": {"user": "bad name"},
    "PUT /v1/secrets/{team}/{name}": {"novalue": 1},
    "POST /v1/snapshots": "no work directory",
    "POST /v1/backup": {"path": "../no"},
    "POST /v1/whatif": {"objects": "none"},
    "POST /v1/artifacts/missing?team=vision": ["0" * 64],
    "PUT /v1/artifacts/chunks/{digest}?team=vision": "no chunk",
    "POST /v1/datasets/{dataset}/versions": "no tree",
    "POST /v1/models/{model}/versions": "no tree",
    "POST /v1/nodes/{pool}/{node}/reserve": {"clear": True},
}

OWNED = ("datasets", "models", "services", "horizontalpodautoscalers")

NAMES = {"DELETE /v1/pools/{name}": "nosuch", "DELETE /v1/teams/{name}": "root",
         "DELETE /v1/classes/{name}": "nosuch", "GET /v1/pools/{name}": "site",
         "GET /v1/teams/{name}": "vision", "GET /v1/classes/{name}": "experiment",
         "GET /v1/runtimes/{name}": "command", "DELETE /v1/runtimes/{name}": "nosuch",
         **{f"GET /v1/{kind}/{{name}}": "vision:nosuch" for kind in OWNED},
         **{f"DELETE /v1/{kind}/{{name}}": "vision:nosuch" for kind in OWNED},
         "GET /v1/services/{name}/recording": "vision:nosuch",
         "GET /v1/services/{name}/verdicts": "vision:nosuch",
         "POST /v1/services/{name}/tests": "vision:nosuch",
         "POST /v1/services/{name}/tests/{test}": "vision:nosuch"}


@pytest.fixture
def company(muster, tmp_path):
    """A company: dept above vision, and speech beside it; a token for each user."""
    def members(*users):
        return [{"user": user, "role": role} for user, role in users]
    muster.apply(manifest("Team", "root", {"members": members(("boss", "admin"))}),
                 team("dept", members=members(("above", "admin"))),
                 team("vision", "dept", members=members(*((r, r) for r in (
                     "viewer", "member", "approver", "admin")))),
                 team("speech", "dept", members=members(("other", "admin"))), pool())
    muster.over = muster.run(job("over", "true"))["status"]["id"]
    muster.held = muster.submit(job("held", "true", hold=True))
    # One that its gate has refused: there is nothing left to decide.
    muster.apply(model("net", gates=[{"stage": "staging", "owners": ["bill"]}]))
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "weights").write_text("1")
    muster.cli("model", "push", "vision/net", tmp_path / "net")
    muster.promotion = muster.call("POST", "/v1/models/vision:net/versions/1/promotions",
                                   {"stage": "staging"})["id"]
    users = {role: role for role in ROLES[1:]}
    users["root"] = "boss"
    muster.tokens = {"nobody": None}
    for role, user in users.items():
        muster.tokens[role] = muster.call("POST", "/v1/tokens", {"user": user})["token"]
    return muster


def asked(company, route):
    """The method, path and body for a route of the table."""
    method, path = route.split(" ")
    changes = method == "POST" and "{job}" in path  # a live job would change for the next caller
    values = {"name": NAMES.get(route, "nosuch"), "job": company.over if changes else company.held, "pool": "site",
              "node": "n1", "team": "vision", "id": "nosuch", "dataset": "vision:nosuch",
              "model": "vision:nosuch", "version": "1", "path": "nosuch", "digest": "0" * 64,
              "kind": "model", "artifact": "vision:nosuch", "promotion": company.promotion,
              "test": "nosuch", "service": "vision:nosuch"}
    return method, path.format(**values), BODIES.get(route)


def test_the_table_has_every_route(muster):
    document = muster.call("GET", "/openapi.json")
    routes = {f"{method.upper()} {path}" for path, operations in document["paths"].items()
              for method in operations if method in ("get", "put", "post", "delete", "patch")}
    assert routes == {route.partition("?")[0] for route in TABLE}


def test_every_route_asks_for_its_role(company):
    wrong = []
    for route, allowed in TABLE.items():
        method, path, body = asked(company, route)
        for role in ROLES:
            status = status_of(company, method, path, body, company.tokens[role])
            if role in allowed:
                fine = status not in (401, 403) and not (status == 404 and "{job}" in route)
            elif role == "nobody":
                fine = status == 401
            else:
                fine = status in (403, 404)
            if not fine:
                wrong.append(f"{route} as {role}: {status}")
    assert wrong == []


def status_of(muster, method, path, body, token):
    """The status alone: streams are not read to their end. Through a header that is no token where
    there is none, since the socket's own user needs none."""
    connection = helper.UnixConnection(muster.socket_path, helper.REQUEST_S)
    try:
        headers = {"Authorization": f"Bearer {token or 'none'}"}
        if body is not None and not isinstance(body, str):
            body = json.dumps(body)
        connection.request(method, path, body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_unknown_path_or_method_is_not_found_only_for_who_is_known(company):
    token = company.tokens["viewer"]
    assert status_of(company, "GET", "/v1/nosuch", None, None) == 401
    assert status_of(company, "GET", "/v1/nosuch", None, token) == 404
    assert status_of(company, "PATCH", "/v1/pools", None, token) in (404, 405)


def test_a_job_of_another_team_looks_as_if_it_did_not_exist(company):
    hidden = company.api("GET", f"/v1/jobs/{company.held}", token=company.tokens["other"])
    absent = company.api("GET", "/v1/jobs/j0000000000001", token=company.tokens["other"])
    assert hidden.status == absent.status == 404
    assert hidden.json["detail"].replace(company.held, "X") == absent.json["detail"].replace(
        "j0000000000001", "X")


def test_the_cost_of_a_job_does_not_tell_that_it_exists(company):
    ask = {"token": company.tokens["other"]}
    assert company.api("GET", "/v1/cost?job=vision:held", token=company.tokens["viewer"]).status == 200
    hidden = company.api("GET", "/v1/cost?job=vision:held", **ask)
    absent = company.api("GET", "/v1/cost?job=vision:lost", **ask)
    assert hidden.status == absent.status == 404
    assert hidden.json["detail"].replace("held", "lost") == absent.json["detail"]


def test_lists_show_only_the_teams_one_may_see(company):
    company.submit(job("theirs", "true", team="speech", hold=True))
    def jobs(role):
        items = company.call("GET", "/v1/jobs", token=company.tokens[role])["items"]
        return sorted(item["metadata"]["name"] for item in items)
    assert jobs("viewer") == ["held", "over"]
    assert jobs("other") == ["theirs"]
    assert jobs("above") == jobs("root") == ["held", "over", "theirs"]
    teams = company.call("GET", "/v1/teams", token=company.tokens["viewer"])["items"]
    assert [item["metadata"]["name"] for item in teams] == ["vision"]


def test_an_admin_of_a_team_makes_teams_below_it_and_nowhere_else(company):
    token = company.tokens["admin"]
    assert company.apply(team("vision-a", "vision"), token=token) == ["created"]
    for wrong in (team("mine", "dept"), team("vision", "dept", weight=5), pool(),
                  team("vision-a", "speech"), manifest("Class", "experiment", {"template": {}})):
        answer = company.api("POST", "/v1/apply", {"objects": [wrong]}, token=token)
        assert answer.status == 403, (wrong, answer)


def test_nobody_gives_themselves_a_role_in_the_root(company):
    grab = manifest("Team", "root", {"members": [{"user": "above", "role": "admin"}]})
    for role in ("admin", "above", "member"):
        answer = company.api("POST", "/v1/apply", {"objects": [grab]}, token=company.tokens[role])
        assert answer.status == 403


def test_a_job_cannot_be_submitted_for_another_team_or_use_its_secrets(company):
    company.call("PUT", "/v1/secrets/speech/key", {"value": "v"})
    token = company.tokens["member"]
    theirs = company.api("POST", "/v1/jobs", job("j", "true", team="speech"), token=token)
    assert theirs.status == 403
    use = job("j", "true", secrets=[{"name": "key", "env": "KEY"}])
    assert company.api("POST", "/v1/jobs", use, token=token).status == 422


# ---- tokens -----------------------------------------------------------------------------------

def test_a_revoked_token_is_refused_at_once(company):
    made = company.call("POST", "/v1/tokens", {"user": "viewer"})
    path = "/v1/jobs"
    assert company.api("GET", path, token=made["token"]).status == 200
    company.call("DELETE", f"/v1/tokens/{made['id']}")
    assert company.api("GET", path, token=made["token"]).status == 401
    company.restart()
    assert company.api("GET", path, token=made["token"]).status == 401
    assert company.api("GET", path, token=company.tokens["viewer"]).status == 200


def test_a_token_expires(company):
    made = company.call("POST", "/v1/tokens", {"user": "viewer", "expires": moment(2)})
    assert company.api("GET", "/v1/jobs", token=made["token"]).status == 200
    company.wait_for(lambda: company.api("GET", "/v1/jobs", token=made["token"]).status == 401,
                     "the token's end")
    answer = company.api("POST", "/v1/tokens", {"user": "viewer", "expires": moment(-10)})
    assert answer.status == 422


def test_one_sees_and_revokes_ones_own_tokens_only(company):
    mine = company.call("GET", "/v1/tokens", token=company.tokens["viewer"])["items"]
    assert {item["user"] for item in mine} == {"viewer"}
    everybodys = company.call("GET", "/v1/tokens")["items"]
    theirs = next(item["id"] for item in everybodys if item["user"] == "admin")
    answer = company.api("DELETE", f"/v1/tokens/{theirs}", token=company.tokens["viewer"])
    assert answer.status == 404
    company.call("DELETE", f"/v1/tokens/{mine[0]['id']}", token=company.tokens["viewer"])
    assert company.api("GET", "/v1/jobs", token=company.tokens["viewer"]).status == 401


def test_tokens_are_stored_as_hashes_only(company):
    tokens = [token for token in company.tokens.values() if token]
    shown = company.api("GET", "/v1/tokens").text + company.api("GET", "/v1/audit?limit=1000").text
    company.stop()
    files = b""
    for folder, _, names in os.walk(company.data):
        for name in names:
            if os.path.isfile(os.path.join(folder, name)):
                with open(os.path.join(folder, name), "rb") as content:
                    files += content.read()
    for token in tokens:
        assert token not in shown and token.encode() not in files
        assert token[-20:] not in shown and token[-20:].encode() not in files
    assert len(tokens) == len(ROLES) - 1


# ---- the socket -------------------------------------------------------------------------------

ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    s.connect(sys.argv[1])
    s.sendall(b"GET /v1/pools HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print(s.makefile().readline().split()[1])
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_of_the_machine_do_not_get_in_through_the_socket(muster, tmp_path):
    folder = tmp_path
    while folder != folder.parent:  # so that nothing but the socket itself keeps them out
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o011)
        folder = folder.parent
    command = ["/usr/bin/python3", "-c", ASK, muster.socket_path]
    ask = {"text": True, "capture_output": True, "timeout": 60, "check": True, "cwd": "/"}
    assert subprocess.run(command, user=65534, group=65534, extra_groups=[], **ask).stdout == "refused\n"
    os.chmod(muster.socket_path, 0o666)
    assert subprocess.run(command, user=65534, group=65534, extra_groups=[], **ask).stdout == "401\n"
    assert subprocess.run(command, **ask).stdout == "200\n"
