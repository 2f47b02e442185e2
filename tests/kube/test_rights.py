"""The rights that packaging/kubernetes gives the engine's account are those that it needs: what the API server was asked
for in all the tests before this one is granted, and each right that is granted was used."""
import os

import pytest
import yaml

from audit import resource
from cluster import MANIFESTS

NAMES = ("engine.yaml", "summaries.yaml")


def granted():
    """(where, API group, resource, verb) of each right; where is "namespace" or "cluster"."""
    rights = set()
    for name in NAMES:
        with open(os.path.join(MANIFESTS, name), encoding="utf-8") as text:
            for item in yaml.safe_load_all(text):
                where = {"Role": "namespace", "ClusterRole": "cluster"}.get(item["kind"])
                for rule in item["rules"] if where else ():
                    assert set(rule) == {"apiGroups", "resources", "verbs"}, rule
                    rights |= {(where, group, what, verb) for group in rule["apiGroups"]
                               for what in rule["resources"] for verb in rule["verbs"]}
    return rights


def asked(audit):
    """The rights that were asked for, and those that were made use of."""
    wanted, used = set(), set()
    for event in audit.events():
        what = event["objectRef"]
        verbs = [event["verb"]]
        if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == 201:
            verbs.append("create")  # what is applied and is not there is made, which is a right of its own
        for verb in verbs:
            right = ("namespace" if "namespace" in what else "cluster", what.get("apiGroup", ""), resource(event), verb)
            wanted.add(right)
            if event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow":
                used.add(right)
    return wanted, used


def test_nothing_is_asked_for_that_is_not_granted(audit):
    wanted, _ = asked(audit)
    assert sorted(wanted - granted()) == []


def test_each_right_is_used(real_node, audit, request):
    files = {item.path for item in request.session.items}
    if request.config.option.keyword or files < set(request.path.parent.glob("test_*.py")):
        pytest.skip("only some of the tests were asked for")
    _, used = asked(audit)
    assert sorted(granted() - used) == []
