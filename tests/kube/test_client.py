"""The client layer against a real API server: identities, lists, watches, and servers that misbehave."""
import json
import os
import shutil

import pytest
import yaml

import probe
from cluster import wait_until
from proxy import Proxy

PODS = "/api/v1/namespaces/muster/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name, value="1"):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}


@pytest.fixture(scope="module")
def token(site):
    """Of an account with the rights of the engine's, whose requests are not told for the engine's (test_rights.py)."""
    name, rbac = "muster-engine-probe", "/apis/rbac.authorization.k8s.io/v1"
    site.call("POST", "/api/v1/namespaces/muster/serviceaccounts", {"metadata": {"name": name}})
    for path, kind in ((f"{rbac}/namespaces/muster/rolebindings", "Role"),
                       (f"{rbac}/clusterrolebindings", "ClusterRole")):
        site.call("POST", path, {
            "metadata": {"name": name}, "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "muster"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "muster-engine"}})
    return site.token_for("muster", name)


@pytest.fixture
def account(site, token, tmp_path):
    (tmp_path / "token").write_text(token)
    return site.write_kubeconfig("probe", {"tokenFile": str(tmp_path / "token")}, namespace="muster")


@pytest.fixture
def maps(cluster):
    """Makes config maps, which are gone after the test."""
    made = []

    def make(name, value="1"):
        made.append(name)
        return cluster.call("POST", MAPS, config_map(name, value))

    yield make
    for name in made:
        cluster.request("DELETE", f"{MAPS}/{name}")


def change(cluster, name, value):
    return cluster.call("PATCH", f"{MAPS}/{name}", {"data": {"value": value}},
                        content_type="application/merge-patch+json")


# ---- who we are ----

def test_a_client_certificate_says_who_asks(cluster):
    status, text = probe.call(cluster.kubeconfig_of("admin"), "GET", "/api/v1/namespaces/default")
    assert status == 200 and json.loads(text)["metadata"]["name"] == "default"


def test_the_service_account_may_do_what_the_engine_does_and_no_more(site, account):
    assert probe.call(account, "GET", "/api/v1/nodes")[0] == 200
    assert probe.call(account, "GET", "/api/v1/pods")[0] == 200
    for method, target in (("GET", "/api/v1/namespaces/muster/secrets"),
                           ("GET", "/api/v1/namespaces/kube-system/secrets"),
                           ("DELETE", "/api/v1/namespaces/default/pods/any"),
                           ("DELETE", "/api/v1/nodes/any"),
                           ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")):
        assert probe.call(account, method, target)[0] == 403, target
    said = probe.run(account, "check", "GET", "/api/v1/namespaces/muster/secrets")
    assert "403" in said and "cannot list resource" in said and "muster-engine" in said


def test_a_token_that_is_replaced_is_used_from_then_on(site, token, tmp_path):
    file = tmp_path / "token"
    file.write_text("nonsense")
    config = site.write_kubeconfig("rotating", {"tokenFile": str(file)}, namespace="muster")
    with probe.Watch(config, PODS) as watch:
        at = watch.wait_for(f"{PODS}: the API server answers 401")
        file.write_text(token + "\n")
        watch.wait_for("synced", at)


def test_a_pod_finds_its_own_account(site, token, tmp_path):
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text(token)
    (folder / "namespace").write_text("muster\n")
    shutil.copy(site.pki("ca.crt"), folder / "ca.crt")
    environment = {"KUBE_PROBE_ACCOUNT": str(folder), "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                   "KUBERNETES_SERVICE_PORT": str(site.port)}
    assert probe.run("-", "call", "GET", PODS, environment=environment).startswith("200")
    assert "this is no pod" in probe.run("-", "call", "GET", PODS)


def test_a_server_that_is_not_the_one_gets_no_token(site, tmp_path):
    config = yaml.safe_load(open(site.kubeconfig_of("admin"), encoding="utf-8"))
    other = tmp_path / "other.crt"
    site._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                  str(tmp_path / "other.key"), "-out", str(other), "-subj", "/CN=another")
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    config["clusters"][0]["cluster"]["certificate-authority"] = "other.crt"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    status, text = probe.call(str(path), "GET", PODS)
    assert status == 0 and "not trusted" in text


@pytest.mark.parametrize("where, name, value, said", [
    ("clusters", "insecure-skip-tls-verify", True, "certificate-authority-data"),
    ("clusters", "proxy-url", "http://127.0.0.1:1", "proxy-url"),
    ("clusters", "server", "http://127.0.0.1:1", "expected https://"),
    ("clusters", "certificate-authority-data", "%%%", "base64"),
    ("clusters", "certificate-authority-data", "bm90aGluZw==", "no certificate authority"),
    ("users", "exec", {"command": "any"}, "no program is started"),
    ("users", "client-key-data", None, "together"),
    ("contexts", "user", "nobody", "names the user nobody"),
])
def test_what_is_not_safe_or_not_known_is_refused(cluster, tmp_path, where, name, value, said):
    config = yaml.safe_load(open(cluster.kubeconfig_of("admin"), encoding="utf-8"))
    config[where][0][where[:-1]][name] = value
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    assert said in probe.run(str(path), "call", "GET", PODS)


# ---- server-side apply ----

def test_fields_that_another_manager_owns_are_a_conflict(cluster):
    admin = cluster.kubeconfig_of("admin")
    target = f"{MAPS}/owned?fieldManager="
    apply = "application/apply-patch+yaml"
    assert probe.call(admin, "PATCH", target + "muster", config_map("owned", "1"), apply)[0] == 201
    assert probe.call(admin, "PATCH", target + "muster", config_map("owned", "2"), apply)[0] == 200
    status, text = probe.call(admin, "PATCH", target + "other", config_map("owned", "3"), apply)
    assert status == 409 and "conflict with \"muster\"" in json.loads(text)["message"]
    stale = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert probe.call(admin, "DELETE", f"{MAPS}/owned", stale)[0] == 409
    assert probe.call(admin, "DELETE", f"{MAPS}/owned")[0] == 200


# ---- lists and watches ----

def test_a_long_list_comes_in_pages_and_changes_follow(cluster, maps):
    for number in range(260):
        maps(f"page-{number}")
    with probe.Watch(cluster.kubeconfig_of("admin"), MAPS) as watch:
        at = watch.wait_for("synced")
        names = [line.split()[1] for line in watch.lines[:at] if line.startswith("listed page-")]
        assert sorted(names) == sorted(f"page-{number}" for number in range(260))
        assert watch.lines.count("begin") == 1
        change(cluster, "page-7", "2")
        at = watch.wait_for("changed page-7 ", at)
        cluster.call("DELETE", f"{MAPS}/page-7")
        watch.wait_for("deleted page-7 ", at)


def test_an_api_server_that_comes_back_is_asked_where_it_left_off(cluster, maps):
    maps("left", "1")
    with probe.Watch(cluster.kubeconfig_of("admin"), MAPS, "fieldSelector=metadata.name%3Dleft") as watch:
        at = watch.wait_for("synced")
        cluster.kill("kube-apiserver")
        watch.wait_for(f"{MAPS}: ", at)
        cluster.restart("kube-apiserver")
        cluster.wait_ready()
        at = watch.wait_for("well", at)
        change(cluster, "left", "2")
        watch.wait_for("changed left ", at)


def test_a_version_that_is_forgotten_leads_to_a_new_list(cluster, maps):
    """The proxy is cut off, history goes on and is forgotten, also by the server's own memory."""
    maps("old", "1")
    proxy = Proxy(cluster.port)
    config = cluster.kubeconfig_of("admin", server=proxy.url)
    with probe.Watch(config, MAPS, "fieldSelector=metadata.name%3Dold") as watch:
        at = watch.wait_for("synced")
        proxy.hang.set()
        change(cluster, "old", "2")
        cluster.call("DELETE", f"{MAPS}/old")
        maps("newer")
        cluster.kill("kube-apiserver")
        cluster.compact()
        cluster.restart("kube-apiserver")
        cluster.wait_ready()
        for number in range(3):
            change(cluster, "newer", f"again {number}")
        proxy.drop()
        proxy.hang.clear()
        at = watch.wait_for("begin", at)
        at = watch.wait_for("synced", at)
        assert not any(line.startswith("listed old") for line in watch.lines[at - 2:])
    proxy.close()


def test_a_server_that_hangs_or_cuts_its_answers_is_left_and_asked_again(cluster, maps):
    maps("patient", "1")
    proxy = Proxy(cluster.port)
    config = cluster.kubeconfig_of("admin", server=proxy.url)
    with probe.Watch(config, MAPS, "fieldSelector=metadata.name%3Dpatient", timeout_ms=500) as watch:
        at = watch.wait_for("synced")
        for fault in ("hang", "cut"):
            if fault == "hang":
                proxy.hang.set()
            else:
                proxy.cut_after = 100
            change(cluster, "patient", f"during {fault}")
            at = watch.wait_for(f"{MAPS}: ", at)
            proxy.hang.clear()
            proxy.cut_after = None
            at = watch.wait_for("changed patient ", at)
    proxy.close()
