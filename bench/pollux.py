#!/usr/bin/env python3
"""Elastic allotment on the workloads of Pollux (OSDI 2021), beside what is published.

    MUSTER_TRACES=FOLDER bench/pollux.py [MUSTER]

FOLDER has pollux-osdi21 (docs/scheduling.md says where that comes from). Tiresias has to give every
job's published completion time to the second; elastic has to stay below Pollux's average of every
workload. Exits with 1 when one of these does not hold."""
import csv
import json
import os
import subprocess
import sys
import tempfile

LOADS = (("1.0", "workloads"), ("1.5", "workloads-1.5"))
# Averages of Tiresias that were computed from the published rules, workload 1 to 8.
REALISTIC = (6565.31875, 8054.99375, 7297.22500, 7364.90625, 7028.38125, 7731.08750, 9036.17500,
             7772.74375)


def simulate(muster, data, jobs, policy, model=None):
    """Completion time of each job, in seconds."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as out:
        command = [muster, "simulate", "--format", "pollux", "--jobs", jobs, "--speeds", data,
                   "--policy", policy, "--csv", out.name, "-o", "csv"]
        subprocess.run(command + (["--model", model] if model else []), check=True,
                       stdout=subprocess.DEVNULL)
        with open(out.name, encoding="utf-8") as rows:
            return {row["name"]: float(row["took"]) for row in csv.DictReader(rows)}


def published(data, policy, load):
    with open(f"{data}/results-jobload/{policy}-{load}/summary.json", encoding="utf-8") as text:
        return json.load(text)


def average(times):
    return sum(times.values()) / len(times)


def check_tiresias(muster, data):
    """How many jobs there are, and how many have another completion time than published."""
    jobs = different = 0
    for load, folder in LOADS:
        for name, times in published(data, "tiresias", load)["jcts"].items():
            ours = simulate(muster, data, f"{data}/{folder}/{name}.csv", "tiresias")
            jobs += len(times)
            different += sum(int(ours.get(job, -1)) != int(time) for job, time in times.items())
    for i, expected in enumerate(REALISTIC, 1):
        ours = simulate(muster, data, f"{data}/workloads-realistic/workload-{i}.csv", "tiresias")
        whole = sum(int(time) for time in ours.values()) / len(ours)
        if abs(whole - expected) > 1e-6:
            print(f"workloads-realistic/workload-{i}: {whole} instead of {expected}")
            different += len(ours)
        jobs += len(ours)
    return jobs, different


def check_elastic(muster, data):
    """Prints the table; whether elastic is below Pollux everywhere."""
    below = True
    print("load  workload      Pollux  Tiresias   elastic  elastic-attained")
    for load, folder in LOADS:
        pollux = published(data, "pollux", load)
        tiresias = published(data, "tiresias", load)
        sums = [0.0, 0.0]
        for i in range(1, 9):
            name = f"workload-{i}"
            ours = [average(simulate(muster, data, f"{data}/{folder}/{name}.csv", policy,
                                     "pollux-adaptive")) for policy in ("elastic", "elastic-attained")]
            print(f"{load:4}  {name}  {pollux['avgs'][name]:8.1f}  {tiresias['avgs'][name]:8.1f}"
                  f"  {ours[0]:8.1f}  {ours[1]:8.1f}")
            below = below and ours[0] < pollux["avgs"][name]
            sums = [a + b for a, b in zip(sums, ours)]
        print(f"{load:4}  mean        {pollux['mean']:8.1f}  {tiresias['mean']:8.1f}"
              f"  {sums[0] / 8:8.1f}  {sums[1] / 8:8.1f}")
    return below


def main():
    traces = os.environ.get("MUSTER_TRACES")
    if not traces or not os.path.isdir(f"{traces}/pollux-osdi21"):
        print("skipped: public traces are not part of this repository; MUSTER_TRACES=FOLDER")
        return 0
    muster = sys.argv[1] if len(sys.argv) > 1 else "build/muster"
    data = f"{traces}/pollux-osdi21"
    jobs, different = check_tiresias(muster, data)
    print(f"Tiresias: {jobs} jobs, {different} with another completion time than published")
    below = check_elastic(muster, data)
    return 0 if different == 0 and below else 1


if __name__ == "__main__":
    sys.exit(main())
