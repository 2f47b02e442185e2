#!/usr/bin/env python3
"""What deadlines cost with spot capacity: the live core on Bamboo's traces of spot nodes
(MUSTER_TRACES=FOLDER), under each policy.

Jobs of one to three hours on one to four accelerators come at random, each with a deadline; there
are enough on-demand machines for all of them (3.06 an hour), and the spot machines that the trace
has at the moment (0.91). Prints the cost, of what on-demand machines alone cost, and how many
deadlines were met at worst.

    MUSTER_TRACES=FOLDER bench/spot_live.py [SEEDS]
"""
import csv
import json
import os
import random
import subprocess
import sys
import tempfile

POLICIES = ("slack", "uniform-progress", "greedy", "on-demand")


def make_jobs(path, seed, tightness, gap_s, end_s):
    draw = random.Random(seed)
    moment = 0.0
    with open(path, "w", encoding="utf-8") as out:
        print("name,submit,duration,ranks,accelerators,deadline,checkpoint", file=out)
        for number in range(10000):
            moment += draw.expovariate(1 / gap_s)
            length = draw.choice((3600, 7200, 10800))
            if moment + 2 * length > end_s:
                break
            ranks = draw.choice((1, 1, 2, 4))
            deadline = int(moment + length * tightness)
            print(f"j{number},{int(moment)},{length},{ranks},1,{deadline},300", file=out)


def simulate(muster, folder, trace, policy):
    out = subprocess.run(
        [muster, "simulate", "--format", "csv", "--nodes", f"{folder}/nodes.csv", "--jobs",
         f"{folder}/jobs.csv", "--spot-events", trace, "--spot-node", "1:gpu/8", "--spot-price",
         "0.91", "--deadlines", "--restart", "3m", "--policy", policy, "-o", "json"],
        check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)["mean"]


def main():
    traces = os.environ.get("MUSTER_TRACES")
    if not traces:
        print("public traces are not part of this repository; MUSTER_TRACES=FOLDER")
        return 0
    muster = os.environ.get("MUSTER", "build/muster")
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/nodes.csv", "w", encoding="utf-8") as out:
            print("name,cpus,memory_gib,count,accelerators,accelerator,type,price_hour", file=out)
            print("demand,8,64,600,1,gpu,demand,3.06", file=out)
        for name in ("p3", "g4dn"):
            trace = f"{traces}/bamboo-spot-nsdi23/{name}-trace.csv"
            with open(trace, encoding="utf-8") as rows:
                end_s = max(int(row[0]) for row in csv.reader(rows)) / 1000
            cost, met, jobs = dict.fromkeys(POLICIES, 0.0), dict.fromkeys(POLICIES, 100.0), 0
            for gap_s in (600, 240):
                for tightness in (1.1, 1.2, 1.5, 2.0):
                    for seed in range(1, seeds + 1):
                        make_jobs(f"{folder}/jobs.csv", seed, tightness, gap_s, end_s)
                        for policy in POLICIES:
                            mean = simulate(muster, folder, trace, policy)
                            cost[policy] += mean["cost"]
                            met[policy] = min(met[policy], mean["deadlines_met_percent"])
                        jobs += mean["jobs"]
            for policy in POLICIES:
                print(f"{name:6} {jobs:6.0f} jobs  {policy:18}"
                      f" {100 * cost[policy] / cost['on-demand']:6.2f}%"
                      f"  deadlines met {met[policy]:.2f}%", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
