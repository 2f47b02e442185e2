"""Traces of jobs: what a collector gets of a job's life, through preemption and the server's death."""
import threading

import pytest

from collector import Collector, attributes
from manifests import WAITING, job, pool, team
from muster import COMMAND_S, wait_until

TRAINING = """
trap 'exit 0' TERM
echo parent $TRACEPARENT
step=$(cat $MUSTER_CHECKPOINT_DIR/step 2>/dev/null || echo 0)
test $step -ge 3 && exit 0
echo $((step + 3)) > $MUSTER_CHECKPOINT_DIR/step
echo checkpoint
while :; do sleep 0.05; done
"""


@pytest.fixture
def collector():
    made = Collector(program="muster-server")
    yield made
    made.stop()


@pytest.fixture
def start(muster_stopped):
    def one(address, *arguments):
        muster_stopped.start("--traces", address, "--traces-period", "20ms", *arguments)
        muster_stopped.apply(team(), pool())
        return muster_stopped
    return one


def trace(collector, name):
    """The spans of the job of that name, once its own is there: in the order of their beginnings."""
    def mine():
        return [span for span in collector.spans() if attributes(span)["muster.job.name"] == name]

    wait_until(lambda: any(span["name"] == "job" for span in mine()), COMMAND_S, f"the trace of {name}")
    spans = mine()
    assert len({span["traceId"] for span in spans}) == 1
    assert len({span["spanId"] for span in spans}) == len(spans)
    return sorted(spans, key=lambda span: int(span["startTimeUnixNano"]))


def of(spans, name):
    return [span for span in spans if span["name"] == name]


def one_of(spans, name):
    span, = of(spans, name)
    return span


def seamless(spans):
    """One begins where the one before ends."""
    ends = [int(span["endTimeUnixNano"]) for span in spans]
    return ends[:-1] == [int(span["startTimeUnixNano"]) for span in spans[1:]]


def covers(parent, children):
    return (all(child["parentSpanId"] == parent["spanId"] for child in children) and seamless(children) and
            children[0]["startTimeUnixNano"] == parent["startTimeUnixNano"] and
            children[-1]["endTimeUnixNano"] == parent["endTimeUnixNano"])


def test_a_job_is_a_trace_without_gaps(start, collector):
    site = start(collector.address)
    done = site.run(job("plain", "echo parent $TRACEPARENT"))
    spans = trace(collector, "plain")
    assert sorted(span["name"] for span in spans) == ["attempt", "job", "queue", "run", "start"]
    whole, attempt = one_of(spans, "job"), one_of(spans, "attempt")
    assert "parentSpanId" not in whole and covers(whole, [one_of(spans, "queue"), attempt])
    assert covers(attempt, [one_of(spans, "start"), one_of(spans, "run")])
    about = attributes(whole)
    assert about["muster.job.id"] == done["status"]["id"] and about["muster.team"] == "vision"
    assert about["muster.attempts"] == 1 and "status" not in whole
    # The job's own spans stand below its attempt.
    assert site.logs(done["status"]["id"]) == f"parent 00-{attempt['traceId']}-{attempt['spanId']}-01\n"
    # The collector has them a moment before the server has its answer.
    site.wait_for(lambda: "muster_job_spans_exported_total 5\n" in site.api("GET", "/metrics").text,
                  "the five to be counted")


def test_preemption_and_checkpoints_are_spans_and_say_for_whom(start, collector):
    site = start(collector.address)
    site.apply(team("fraud"))
    victim = site.submit(job("train", TRAINING, resources={"cpu": 4}, priority="low", grace="30s"))
    site.wait_log(victim, "checkpoint")
    urgent = site.run(job("urgent", "true", team="fraud", resources={"cpu": 2}, priority="urgent"))
    site.wait_ended(victim)
    spans = trace(collector, "train")
    whole, (first, second) = one_of(spans, "job"), of(spans, "attempt")
    assert covers(whole, [of(spans, "queue")[0], first, of(spans, "queue")[1], second])
    stop = one_of(spans, "stop")
    assert covers(first, [of(spans, "start")[0], of(spans, "run")[0], stop])
    about = attributes(stop)
    assert (about["muster.reason"], about["muster.for_job"]) == ("preempted", urgent["status"]["id"])
    assert attributes(whole)["muster.preemptions"] == 1
    saved = of(spans, "checkpoint")
    assert saved and all(span["parentSpanId"] in (first["spanId"], second["spanId"]) for span in saved)
    assert saved[0]["startTimeUnixNano"] == of(spans, "run")[0]["startTimeUnixNano"]
    assert all("status" not in span for span in spans)


def test_what_was_held_waited_and_failed_says_so(start, collector):
    site = start(collector.address)
    held = site.submit(job("held", "exit 7", hold=True, retries={"limit": 1, "backoff": "50ms"}))
    after = site.submit(job("after", "true", dependsOn=["held"]))
    site.call("POST", f"/v1/jobs/{held}/release")
    site.wait_ended(held)
    site.wait_ended(after)
    spans = trace(collector, "held")
    assert [span["name"] for span in spans if span["name"] in ("held", "wait", "queue", "attempt")] == [
        "held", "queue", "attempt", "wait", "queue", "attempt"]
    failed = one_of(spans, "job")
    assert failed["status"]["code"] == 2 and attributes(failed)["error.type"] == "exit"
    assert {attributes(span)["process.exit.code"] for span in of(spans, "run")} == {7}
    spans = trace(collector, "after")
    assert [span["name"] for span in spans if span["name"] != "job"] == ["wait"]
    assert attributes(one_of(spans, "job"))["error.type"] == "dependency"


def test_a_server_that_was_killed_goes_on_with_the_trace(start, collector):
    site = start(collector.address)
    running = site.submit(job("long", "while ! test -e go; do sleep 0.05; done"))
    waiting = site.submit(job("next", "true", resources={"cpu": 4}))
    wait_until(lambda: site.job(running)["status"]["state"] == "running", COMMAND_S, "it runs")
    site.kill9()
    site.start("--traces", collector.address, "--traces-period", "20ms")
    site.call("POST", f"/v1/jobs/{running}/cancel")
    site.wait_ended(waiting)
    spans = trace(collector, "long")
    assert covers(one_of(spans, "job"), [one_of(spans, "queue"), one_of(spans, "attempt")])
    assert covers(one_of(spans, "attempt"), [one_of(spans, name) for name in ("start", "run", "stop")])
    spans = trace(collector, "next")
    assert covers(one_of(spans, "job"), [one_of(spans, "queue"), one_of(spans, "attempt")])


def test_a_part_of_the_jobs_is_recorded_and_the_others_are_told_nothing(start, collector):
    site = start(collector.address, "--traces-ratio", "0")
    done = site.run(job("quiet", "echo parent $TRACEPARENT"))
    assert site.logs(done["status"]["id"]) == "parent\n"
    own = site.run(job("own", "echo parent $TRACEPARENT", env={"TRACEPARENT": "mine"}))
    assert site.logs(own["status"]["id"]) == "parent mine\n"
    site.stop()
    assert not collector.spans()


TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def submitted(site, name, parent, *more, command="echo $TRACEPARENT $TRACESTATE", **spec):
    """The id of a job that was submitted with these fields, each of which may be there twice."""
    fields = dict(zip(("traceparent", "Traceparent"), parent), **dict(more))
    return site.call("POST", "/v1/jobs", job(name, command, **spec), headers=fields)["id"]


def test_a_job_goes_on_in_the_trace_that_it_was_submitted_in(start, collector):
    """The sampled flag decides, not the ratio; over a restart too, and for all jobs of an array."""
    site = start(collector.address, "--traces-ratio", "0")
    held = submitted(site, "mine", [f"00-{TRACE}-{CALLER}-01"], ("tracestate", "a=1,b=2"), hold=True)
    submitted(site, "many", [f"00-{TRACE}-{CALLER}-01"], array={"count": 2}, hold=True)
    site.kill9()
    site.start("--traces", collector.address, "--traces-period", "20ms", "--traces-ratio", "0")
    for one in ("vision:mine", "vision:many"):
        site.call("POST", f"/v1/jobs/{one}/release")
    site.wait_ended(held)
    spans = trace(collector, "mine")
    whole, attempt = one_of(spans, "job"), one_of(spans, "attempt")
    assert (whole["traceId"], whole["parentSpanId"]) == (TRACE, CALLER)
    assert covers(whole, [one_of(spans, "held"), one_of(spans, "queue"), attempt])
    assert site.logs(held) == f"00-{TRACE}-{attempt['spanId']}-01 a=1,b=2\n"
    wait_until(lambda: len(of(collector.spans(), "job")) == 3, COMMAND_S, "both jobs of the array")
    assert {(span["traceId"], span["parentSpanId"]) for span in of(collector.spans(), "job")} == {(TRACE, CALLER)}


@pytest.mark.parametrize("parent", [
    [], [f"00-{TRACE.upper()}-{CALLER}-01"], [f"00-{TRACE}-{CALLER}-1"], [f"00-{TRACE}-{'0' * 16}-01"],
    [f"ff-{TRACE}-{CALLER}-01"], [f"00-{TRACE}-{CALLER}-01-more"], [f"00-{TRACE}-{CALLER}-01"] * 2])
def test_what_is_no_context_begins_a_trace(start, collector, parent):
    site = start(collector.address)
    site.wait_ended(submitted(site, "own", parent, ("tracestate", "a=1")))
    whole = one_of(trace(collector, "own"), "job")
    assert whole["traceId"] != TRACE and "parentSpanId" not in whole


def test_who_is_not_recorded_tells_nobody_and_passes_it_on(start, collector):
    site = start(collector.address)
    quiet = submitted(site, "quiet", [f"00-{TRACE}-{CALLER}-00"])
    site.wait_ended(quiet)
    assert site.logs(quiet) == f"00-{TRACE}-{CALLER}-00\n"
    site.stop()
    assert not collector.spans()


def test_without_a_collector_the_context_reaches_the_processes_through_the_command_line(site):
    print_it = ("run", "--team", "vision", "--cpu", "1", "--", "sh", "-c", "echo $TRACEPARENT $TRACESTATE")
    for parent, said in ((f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-01 a=1\n"), (f"00-{TRACE}-{CALLER}-0X", "\n")):
        assert site.cli(*print_it, TRACEPARENT=parent, TRACESTATE="a=1").stdout == said


def test_jobs_run_whatever_the_collector_does_and_what_is_left_is_sent_at_the_end(start):
    hang, told = threading.Event(), []

    def answer(number):
        told.append(number)
        hang.wait(60)
        return 200, b"{}"

    collector = Collector(answer, program="muster-server")
    site = start(collector.address)
    for i in range(3):
        assert site.run(job(f"quick-{i}", "true"))["status"]["state"] == "succeeded"
    hang.set()
    waiting = site.submit(job("stays", WAITING))
    site.wait_log(waiting, "ready")
    site.stop()
    names = {attributes(span)["muster.job.name"] for span in collector.spans()}
    assert {"quick-0", "quick-1", "quick-2", "stays"} == names
    collector.stop()
