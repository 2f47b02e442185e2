#!/usr/bin/python3
"""The demo: from data to the price of an answer.

Datasets become versions. A training of two ranks on them is killed under its server, preempted by an
urgent job, resumes from its checkpoint and makes a model. The model passes its gate, is approved by
somebody else than who asked, and is served by two replicas behind the gateway. Under load a better
version replaces it and a replica is killed, and not one request is lost. Everything has its lineage
and its price.

Usage: demo/demo.py [--muster PROGRAM] [--work FOLDER] [--report FILE] [--limit SECONDS]

Works in a folder of its own (demo-work/, made anew), on a port that is free, as root or as an
ordinary user. Whatever happens next is decided by what muster, the jobs and the clients report,
never by the clock. Prints a timeline, writes demo-report.json, and ends with 0 only when every step
held. KEEP=1 leaves everything running, to look around. Standard library only; the jobs need
python3-torch and python3-sklearn.
"""
import argparse
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # this folder is also what jobs start from

import steps_serve
import steps_train
from story import (ENDED, LIMIT_S, PYTHON, RETRY_S, ROOT, Clock, Folder, Muster, Report, StepFailed,
                   living)

STEPS = (
    steps_train.step_start, steps_train.step_data,
    steps_train.step_submit, steps_train.step_kill, steps_train.step_preempt,
    steps_train.step_resume, steps_train.step_finish, steps_train.step_version,
    steps_serve.step_gate, steps_serve.step_serve, steps_serve.step_ask,
    steps_serve.step_retrain, steps_serve.step_roll, steps_serve.step_crash,
    steps_serve.step_lineage, steps_serve.step_audit, steps_serve.step_price,
    steps_serve.step_serving_price,
)
JOBS = (steps_train.TRAINING, steps_train.URGENT, steps_serve.RETRAINING)
LEAVE_S = 30  # for all to end, after everything was told to


def until(condition, seconds=LEAVE_S):
    """Whether it came true in time: the way out must not hang on what did not work."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(RETRY_S)
    return True


def is_service_gone(muster):
    return steps_serve.SERVICE.split("/")[1] not in (
        muster.try_run("get", "services", "--team", "research") or "")


def stop_work(muster):
    """Jobs and replicas outlive their server by design: they are ended before it."""
    for process in muster.loads:
        if process.poll() is None:
            process.kill()
            process.wait()
    try:
        muster.try_run("delete", "service", steps_serve.SERVICE)
        for name in JOBS:
            if muster.try_run("cancel", name) is not None:
                until(lambda name=name: muster.job(name)["state"] in ENDED)
        until(lambda: is_service_gone(muster))
    except (StepFailed, subprocess.TimeoutExpired, ValueError, KeyError, OSError):
        pass


def step_leave(muster, report):
    """Nothing of ours may be left running."""
    if muster.runs():
        stop_work(muster)
    muster.stop()
    until(lambda: not living(muster))
    left = living(muster)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    report.step("nothing is left running", not left,
                "the server, the gateway, all replicas and jobs have ended" if not left
                else f"killed: {left}")


def show_where(muster):
    print(f"""
The server goes on, as process {muster.process.pid}. To look around:

    export MUSTER_ENDPOINT=unix:{muster.socket}
    muster get jobs --all
    muster describe service {steps_serve.SERVICE}
    muster lineage model/{steps_train.MODEL}:2
    muster cost --by version
    muster top

and to ask the model, {PYTHON} demo/ask.py --url http://{muster.gateway} --model {steps_serve.ROUTE} \\
    --data {muster.folder.join("digits", "test")} --key-file {muster.token_file(steps_serve.CLIENT)} \\
    --rounds 1 --report asked.json

To end it: muster delete service {steps_serve.SERVICE}; kill {muster.process.pid}""")


def check_packages(report):
    """Told at once and by name, rather than as a job that fails."""
    done = subprocess.run([PYTHON, "-c", "import torch, sklearn"],
                          capture_output=True, text=True, check=False)
    report.step("packages", done.returncode == 0, "python3-torch and python3-sklearn are there"
                if done.returncode == 0 else "apt-get install python3-torch python3-sklearn: "
                + done.stderr.strip().split("\n")[-1])


def run_steps(muster, report, keep):
    try:
        check_packages(report)
        for step in STEPS:
            step(muster, report)
    except StepFailed as failure:
        if report.all_held() or not report.steps:
            report.failed(failure)
        print(f"\n{failure}\nThe server's log is {muster.log}.", file=sys.stderr)
    except subprocess.TimeoutExpired as failure:
        report.failed(failure)
    finally:
        if keep and muster.runs():
            show_where(muster)
        else:
            try:
                step_leave(muster, report)
            except StepFailed:
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--muster", default=os.environ.get("MUSTER_BIN", os.path.join(
        ROOT, os.environ.get("MUSTER_BUILD", "build"), "muster")), help="the program")
    parser.add_argument("--work", default=os.path.join(ROOT, "demo-work"),
                        help="a folder of its own, made anew")
    parser.add_argument("--report", default=os.path.join(ROOT, "demo-report.json"))
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS",
                        help=f"reaching it is a failure; {LIMIT_S} by default")
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.muster)
    if not os.access(program, os.X_OK):
        print(f"{program} is not there: run make first", file=sys.stderr)
        return 2
    clock = Clock(arguments.limit)
    report = Report(os.path.abspath(arguments.report), clock)
    try:
        muster = Muster(program, Folder(arguments.work), clock)
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return 2
    # Ctrl-C and a supervisor's SIGTERM end the demo through the same door.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run_steps(muster, report, os.environ.get("KEEP") == "1")
    ok = report.write()
    held = sum(step["held"] for step in report.steps)
    print(f"\n{held} of {len(report.steps)} steps held, {clock.passed():.0f} s; {report.path}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
