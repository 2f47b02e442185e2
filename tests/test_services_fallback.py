"""Services that name others, from the manifest to the answer: the manifests of the docs, and a real
gateway that a real server tells of them."""
import json
import os
import re

import pytest

import manifests
import muster as helper
from test_services import Gateway, answering, push, ready

DOCS = os.path.join(os.path.dirname(helper.__file__), "..", "docs")


def examples(name):
    """The manifests in a page of the docs."""
    with open(os.path.join(DOCS, name), encoding="utf-8") as page:
        return re.findall(r"```yaml\n(apiVersion.*?)```", page.read(), re.S)


@pytest.mark.parametrize("name", ["gateway-fallback.md", "gateway-cascade.md"])
def test_the_manifests_of_the_docs_are_planned_and_applied(site, name):
    site.apply(manifests.team("language"))
    for model in ("chat", "chat-small"):
        site.apply(manifests.manifest("Model", model, {"runtime": "command"}, team="language"))
    found = examples(name)
    assert found
    for text in found:
        planned = site.cli("plan", "-f", "-", stdin=text)
        assert "chat-small" in planned.stdout
        site.cli("apply", "-f", "-", stdin=text)
        assert site.cli("apply", "-f", "-", stdin=text).stdout.count("unchanged") == 2


def test_a_service_without_replicas_is_answered_for_by_the_one_it_names(site):
    site.apply(manifests.model("digits", runtime="command"))
    push(site)
    site.token = site.call("POST", "/v1/tokens", {"user": "boss"})["token"]
    site.apply(manifests.team(members=[{"user": "boss", "role": "viewer"}]))
    gateway = Gateway(site)
    try:
        site.apply(answering("small", "two"),
                   answering("large", replicas=0, gateway={"fallback": {"to": ["small"]}}))
        ready(site, name="small")
        answers = []

        def answered():
            answers[:] = gateway.ask("hello", name="large", token=site.token)
            return answers[0] == 200
        site.wait_for(answered, "an answer")
        assert answers[1]["outputs"][0]["data"] == ["two hello"]
    finally:
        gateway.stop()


def test_a_list_that_names_its_own_service_is_refused(site):
    site.apply(manifests.model("digits", runtime="command"))
    text = json.dumps(answering("loop", gateway={"fallback": {"to": ["loop"]}}))
    refused = site.cli("apply", "-f", "-", stdin=text, ok=False)
    assert refused.returncode != 0
    assert "fallback.to[0].route: expected another service" in refused.stdout + refused.stderr
