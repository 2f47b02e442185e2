"""muster simulate: traces in, figures out. Cases small enough to be worked out by hand."""
import csv
import gzip
import json
import os
import pty
import re
import subprocess
import xml.etree.ElementTree

import pytest
from muster import BINARY, COMMAND_S, ROOT

JOBS = "name,submit,duration,accelerators\na,0,100,1\nb,10,50,1\n"
PODS = ("name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"
        "p0,1000,1024,1,1000\np1,1000,1024,1,500\np2,1000,1024,1,500\np3,1000,1024,2,1000\n")
NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,65536,2,G1\nn1,8000,65536,2,G1\n"


def simulate(*arguments, status=0):
    """Standard output; with another status, what was said on standard error."""
    done = subprocess.run([BINARY, "simulate", *map(str, arguments)], capture_output=True, text=True,
                          timeout=COMMAND_S)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def figures(*arguments):
    return json.loads(simulate(*arguments, "-o", "json"))


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write


def test_two_jobs_on_one_accelerator(file):
    # a 0..100 s; b comes at 10 s and runs 100..150 s
    mean = figures("-f", "csv", "-j", file("jobs.csv", JOBS), "--cluster", "1x1")["mean"]
    assert mean["jobs"] == mean["succeeded"] == 2
    assert mean["waiting_mean_seconds"] == 45
    assert mean["jct_mean_seconds"] == 120
    assert mean["makespan_seconds"] == 150
    assert mean["utilisation_percent"] == 100
    assert mean["deadlines_met_percent"] is None


def test_compressed_files_and_arrivals_that_come_faster(file, tmp_path):
    path = tmp_path / "jobs.csv.gz"
    path.write_bytes(gzip.compress(JOBS.encode()))
    mean = figures("-f", "csv", "-j", path, "--cluster", "1x1", "--scale-arrivals", 2)["mean"]
    assert mean["jct_mean_seconds"] == 122.5  # b comes at 5 s


def test_the_shape_of_openb(file):
    answer = figures("--format", "openb", "--nodes", file("nodes.csv", NODES), "--pods",
                     file("pods.csv", PODS), "--policy", "default", "--seeds", "42-44", "--tune", 1)
    assert [run["seed"] for run in answer["runs"]] == [42, 43, 44]
    for part in answer["runs"] + [answer["mean"]]:
        # All four pods ask for exactly what there is, and whatever their order all fit but perhaps
        # the last.
        assert set(part["allocated_percent"]) == set(part["fragmented_percent"])
        assert "100" in part["allocated_percent"] and "110" not in part["allocated_percent"]
        assert 50 <= part["allocated_percent"]["100"] <= 100
    assert answer["mean"]["allocated_percent"]["100"] == pytest.approx(
        sum(run["allocated_percent"]["100"] for run in answer["runs"]) / 3, abs=1e-4)


def test_failures_come_from_the_seed(file):
    options = ["-f", "synthetic", "-j", 2000, "--cluster", "20x8/128", "--node-mtbf", "3h", "--restart", "10s"]
    first = simulate(*options, "-s", "7-8", "-o", "json")
    assert first == simulate(*options, "-s", "7-8", "-o", "json")
    runs = json.loads(first)["runs"]
    assert runs[0]["node_losses"] > 0 and runs[0] != {**runs[1], "seed": 7}


def test_spot_machines_come_and_go(file):
    events = file("events.csv", "0,add,s1\n30000,remove,s1\n40000,add,s1\n")
    jobs = file("jobs.csv", "name,submit,duration,accelerators,checkpoint\na,0,60,1,20\n")
    # 20 of 30 s are saved, 40 s are left at 40 s
    mean = figures("-f", "csv", "-j", jobs, "--cluster", "1x0", "--spot-events", events)["mean"]
    assert mean["makespan_seconds"] == 80 and mean["node_losses"] == 1
    assert mean["lost_device_hours"] == pytest.approx(10 / 3600, abs=1e-4)


def test_deadlines_are_measured_and_kept_when_asked(file):
    jobs = file("jobs.csv", "name,submit,duration,accelerators,deadline\na,0,100,1,100\nb,0,50,1,149\n")
    mean = figures("-f", "csv", "-j", jobs, "--cluster", "1x1")["mean"]
    assert mean["deadlines_met_percent"] == 50 and mean["succeeded"] == 2
    mean = figures("-f", "csv", "-j", jobs, "--cluster", "1x1", "--deadlines")["mean"]
    assert mean["deadlines_met_percent"] == 50 and mean["failed"] == 1


def test_every_job_is_written_as_csv(file, tmp_path):
    path = tmp_path / "out.csv"
    simulate("-f", "csv", "-j", file("jobs.csv", JOBS.replace("b,", '"b, ""2""",')), "--cluster", "1x1",
             "--csv", path)
    lines = list(csv.DictReader(path.open()))
    assert [line["name"] for line in lines] == ["a", 'b, "2"']
    assert lines[1]["start"] == "100.000" and lines[1]["waited"] == "90.000"
    assert lines[1]["result"] == "succeeded"


def test_the_page_needs_no_network_and_says_nothing_it_was_told(file, tmp_path):
    page = tmp_path / "page.html"
    jobs = file("<script>alert(1)<&.csv", JOBS)
    simulate("-f", "csv", "-j", jobs, "--cluster", "1x1", "--html", page)
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"(src|href)\s*=|url\(|@import", text)
    drawings = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(drawings) == 3
    for drawing in drawings:
        xml.etree.ElementTree.fromstring(drawing)


def test_the_example_runs_as_its_documentation_says():
    folder = os.path.join(ROOT, "examples", "simulate")
    table = simulate("-f", "csv", "-n", os.path.join(folder, "nodes.csv"), "-j",
                     os.path.join(folder, "jobs.csv"))
    assert re.search(r"^succeeded +80$", table, re.M)
    assert re.search(r"^cost +[0-9.]+$", table, re.M)


@pytest.mark.parametrize("arguments, says", [
    (["-f", "csv", "-j", "/nonexistent", "--cluster", "1x1"], "/nonexistent: No such file"),
    (["-f", "nothing", "-j", "x"], "--format: there is no nothing; there are csv, openb"),
    (["-f", "csv"], "--jobs: the trace's file of jobs is needed"),
    (["-f", "csv", "-j", ROOT, "--cluster", "1x1"], ROOT + ": Is a directory"),
    (["-f", "csv", "-j", "x"], "--nodes or --cluster"),
    (["-f", "pollux", "-j", "x", "-n", "y"], "--nodes: pollux has no file of machines"),
    (["-f", "csv", "-j", "x", "-p", "best"], "--policy: there is no policy best; there are default"),
    (["-f", "csv", "-j", "x", "-s", "9-3"], "--seeds: expected a number or FIRST-LAST"),
    (["-f", "csv", "-j", "x", "--cluster", "4by4"], "--cluster: expected NODESxDEVICES"),
    (["-f", "synthetic", "-j", "many"], "expected how many jobs"),
    (["-f", "csv", "-j", "x", "--tune", "1.2"], "--tune: csv has no arrivals without ends"),
    (["-f", "philly", "-j", "x", "--steady"], "--steady: philly has no arrivals without ends"),
    (["-f", "csv", "-j", "x", "--spot-price", "3"], "--spot-price: says nothing without --spot-events"),
    (["-f", "csv", "-j", "x", "--node-mttr", "3h"], "--node-mttr: says nothing without --node-mtbf"),
    (["-f", "csv", "-j", "x", "--pods", "x"], "--jobs and --pods: one of them"),
    (["-f", "csv", "-j", "x", "--urgent", "2"], "--urgent: expected a share from 0 to 1, got 2"),
    (["-f", "csv", "-j", "x", "--urgent", "0.7", "--low", "0.7"], "--urgent and --low: together"),
    (["-f", "openb", "-j", "/dev/null"], "--jobs: /dev/null is no file that can be read more than once"),
    (["-f", "csv", "-j", "/dev/null", "-s", "1-2"], "--jobs: /dev/null is no file that can be read"),
])
def test_what_is_wrong_is_said(arguments, says):
    done = subprocess.run([BINARY, "simulate", *arguments], capture_output=True, text=True,
                          timeout=COMMAND_S)
    assert done.returncode != 0 and says in done.stderr, done.stderr


def test_a_long_run_shows_how_far_it_is_on_a_terminal_only():
    arguments = [BINARY, "simulate", "-f", "synthetic", "-j", "2000", "--cluster", "20x8/128"]
    ours, its = pty.openpty()
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=its, timeout=COMMAND_S)
    os.close(its)
    shown = os.read(ours, 100000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert re.search(r"\[#*\.*\] \d+ jobs", shown) and shown.endswith("\r\x1b[K")
    quiet = subprocess.run(arguments, capture_output=True, timeout=COMMAND_S)
    assert quiet.stderr == b"" and quiet.stdout == done.stdout


def test_a_wrong_line_is_named(file):
    path = file("jobs.csv", JOBS + "c,5,1,1\n")
    assert f"{path}:4: the job comes before the one of the line above" in simulate(
        "-f", "csv", "-j", path, "--cluster", "1x1", status=2)


@pytest.mark.parametrize("form, text, line", [
    ("csv", "name,submit,duration\n", 2),
    ("philly", "timestamp,duration,num_gpus,cluster\n", 2),
    ("shockwave", "", 1),
    ("gaia", "arrival_time,length,cpus\n", 2),
])
def test_a_trace_without_jobs_is_no_trace(file, form, text, line):
    path = file("jobs", text)
    assert f"{path}:{line}: the trace ends before its first job" in simulate(
        "-f", form, "-j", path, "--cluster", "1x1", "--model", "fixed", status=2)


def test_machines_are_there_once_and_at_all(file):
    jobs, head = file("jobs.csv", JOBS), "name,cpus,memory_gib\n"
    for text, says in [(head, "--nodes: the file names no machine"),
                       (head + "n,1,1\nn,1,1\n", "there are two machines n: names are each one's own")]:
        assert says in simulate("-f", "csv", "-j", jobs, "--nodes", file("nodes.csv", text), status=2)
    assert "none of the machines has an accelerator" in simulate(
        "-f", "openb", "-j", file("pods.csv", PODS), "--nodes",
        file("nodes.csv", "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,65536,0,\n"), status=2)


def test_a_list_without_times_has_no_steady_state(file):
    says = simulate("-f", "openb", "-j", file("pods.csv", PODS), "--nodes", file("nodes.csv", NODES),
                    "--steady", status=2)
    assert "pods.csv:1: the header has no column creation_time" in says


def test_a_page_goes_into_what_is_there(file, tmp_path):
    # A pipe stays a pipe: `--html >(gzip >page.gz)`, `--html /dev/stderr`.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    simulate("-f", "csv", "-j", file("jobs.csv", JOBS), "--cluster", "1x1", "--html", pipe)
    assert os.read(reader, 100).startswith(b"<!doctype html>")
    os.close(reader)
    assert pipe.is_fifo()
