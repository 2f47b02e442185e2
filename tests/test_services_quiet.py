"""Quiet services, by the hour or by their load: replicas get other resources, and no request is dropped when that
begins or ends."""
import datetime

import pytest

from manifests import TEAM
from test_services import Load, answering, ready, replicas, said, served, status  # noqa: F401


def clock(minutes):
    """The time of day so many minutes from now, in UTC."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return moment.strftime("%H:%M")


def quiet(begin, end, **more):
    return {"hours": [{"from": clock(begin), "to": clock(end)}], "resources": {"cpu": 1, "memory": "64Mi"},
            "env": {"QUIET": "yes"}, **more}


def made_of(site, replica):
    spec = site.call("GET", f"/v1/jobs/{replica['id']}")["spec"]
    return spec["resources"]["cpu"], spec.get("env", {}).get("QUIET"), spec["env"].get("ALWAYS")


def settled(site, cpu):
    def is_so():
        now = status(site)
        return (now["state"] == "ready" and len(now["replicas"]) == 1 and
                str(made_of(site, now["replicas"][0])[0]) == cpu)
    site.wait_for(is_so, f"one replica of {cpu} cpu", 100)


BUSY = {"resources": {"cpu": 2, "memory": "128Mi"}, "env": {"ALWAYS": "here", "QUIET": "no"}}


def test_replicas_are_made_by_the_hours_that_hold(served):  # noqa: F811
    served.apply(answering(quiet=quiet(-60, 60), **BUSY))
    replica, = ready(served)
    assert [str(part) for part in made_of(served, replica)] == ["1", "yes", "here"]
    found = status(served)["quiet"]
    assert found["holds"] and "quiet hours from" in found["why"] and found["mayChange"]
    described = served.cli("describe", "service", f"{TEAM}/digits").stdout
    assert "64 MiB memory" in described and "128 MiB" not in described
    assert "Quiet:             quiet hours from" in described
    load = Load(served, clients=1) if said(served) else None
    served.apply(answering(quiet=quiet(60, 120), **BUSY))
    settled(served, "2")
    load.end()
    replica, = replicas(served)
    assert [str(part) for part in made_of(served, replica)] == ["2", "no", "here"]
    assert "2 cpu, 128 MiB memory" in served.cli("describe", "service", f"{TEAM}/digits").stdout
    assert not status(served)["quiet"]["holds"]
    # An offset moves the window.
    served.apply(answering(quiet=quiet(60, 120, utcOffset="+01:30"), **BUSY))
    settled(served, "1")


def test_hours_that_change_nothing_now_replace_nothing(served):  # noqa: F811
    served.apply(answering(**BUSY))
    before, = ready(served)
    served.apply(answering(quiet=quiet(60, 120), **BUSY))
    after, = ready(served)
    assert (before["id"], status(served)["revision"]) == (after["id"], 1)


@pytest.mark.limit_s(200)
def test_hours_begin_by_themselves_and_no_request_is_dropped(served):  # noqa: F811
    second = datetime.datetime.now(datetime.timezone.utc).second
    served.apply(answering(quiet=quiet(1 if second < 40 else 2, 30), rollout={"strategy": "canary"}, **BUSY))
    before, = ready(served)
    said(served)
    assert str(made_of(served, before)[0]) == "2"
    load = Load(served, clients=2)
    settled(served, "1")
    load.end()
    assert status(served)["quiet"]["holds"]


def little(**more):
    return {"load": {"below": 2, "for": "4s", "above": 4}, "resources": {"cpu": 1, "memory": "64Mi"},
            "env": {"QUIET": "yes"}, **more}


def explained(site):
    return site.cli("explain", "service", f"{TEAM}/digits").stdout


@pytest.mark.limit_s(200)
def test_where_little_is_asked_replicas_are_cheaper_until_more_is(served):  # noqa: F811
    served.apply(answering(quiet=little(), rollout={"strategy": "canary"}, **BUSY))
    before, = ready(served)
    said(served)
    assert str(made_of(served, before)[0]) == "2" and not status(served)["quiet"]["holds"]
    assert "quiet once they are below 2.00 for 4s" in explained(served)
    # Nobody asks any more.
    settled(served, "1")
    found = status(served)["quiet"]
    assert found["holds"] and found["load"]["holds"] and found["load"]["requestsPerSecondMicro"] < 2000000
    assert "little is asked" in explained(served) and "busy from 4.00" in explained(served)
    assert str(made_of(served, replicas(served)[0])[1]) == "yes"
    # A server that starts anew leaves it so: the same replica answers.
    quiet, revision = replicas(served)[0]["id"], status(served)["revision"]
    served.restart()
    served.wait_for(lambda: "load" in status(served)["quiet"], "the load to be known")
    assert status(served)["quiet"]["holds"]
    again, = ready(served)
    assert (again["id"], status(served)["revision"]) == (quiet, revision)
    # More is asked, without a break.
    load = Load(served, clients=2)
    settled(served, "2")
    load.end()
    assert not status(served)["quiet"]["load"]["holds"]


def test_a_load_that_contradicts_itself_is_refused(served):  # noqa: F811
    for fields, path in (({"below": 2, "above": 1}, "above"), ({"below": -1}, "below"), ({"for": "0s"}, "for")):
        answer = served.api("POST", "/v1/apply", {"objects": [answering(quiet={"load": fields})]})
        assert answer.status == 422 and f"spec.quiet.load.{path}" in answer.json["detail"], answer


def test_what_is_no_time_is_refused(served):  # noqa: F811
    for fields, path in (({"hours": [{"from": "25:00"}]}, "hours[0].from"), ({"utcOffset": "CET"}, "utcOffset"),
                         ({"hours": [{"days": ["today"]}]}, "hours[0].days"),
                         ({"hours": [{"min": 2}]}, "hours[0].min")):
        answer = served.api("POST", "/v1/apply", {"objects": [answering(quiet=fields)]})
        assert answer.status == 422 and f"spec.quiet.{path}" in answer.json["detail"], answer
