#!/usr/bin/env python3
"""What preemptions lose under each policy for victims, on public traces (MUSTER_TRACES=FOLDER).

Each workload gives some jobs priority urgent or low and every job an interval of checkpoints of its
own, drawn from the seed: the same jobs under every policy. Prints work lost, preemptions and the
waiting of urgent jobs.

    MUSTER_TRACES=FOLDER bench/victims.py [SEEDS]
"""
import json
import os
import subprocess
import sys

PHILLY = ["--format", "philly", "--jobs", "philly-2017/philly.csv.gz", "--jobs-max", "20000"]
PAI = ["--format", "gaia", "--jobs", "gaia-asplos24/pai-100k.csv.gz", "--jobs-max", "20000"]
DRAWN = ["--checkpoint", "5m", "--checkpoint-max", "60m", "--grace", "30s"]
WORKLOADS = {
    "Philly, 64x8, 5% urgent": [*PHILLY, "--cluster", "64x8", "--urgent", "0.05"],
    "Philly, 32x8, 5% urgent": [*PHILLY, "--cluster", "32x8", "--urgent", "0.05"],
    "Philly, 64x8, 5% urgent, 30% low": [
        *PHILLY, "--cluster", "64x8", "--urgent", "0.05", "--low", "0.3"],
    "Philly, 32x8, 5% urgent, 30% low": [
        *PHILLY, "--cluster", "32x8", "--urgent", "0.05", "--low", "0.3"],
    "PAI, 2x0/64, 5% urgent": [*PAI, "--cluster", "2x0/64", "--urgent", "0.05"],
    "PAI, 2x0/64, 5% urgent, 30% low": [
        *PAI, "--cluster", "2x0/64", "--urgent", "0.05", "--low", "0.3"],
}
POLICIES = ("least-loss", "youngest-first", "lowest-priority-first")


def main():
    traces = os.environ.get("MUSTER_TRACES")
    if not traces:
        print("public traces are not part of this repository; MUSTER_TRACES=FOLDER")
        return 0
    muster = os.environ.get("MUSTER", "build/muster")
    seeds = sys.argv[1] if len(sys.argv) > 1 else "42-44"
    print(f"{'workload':34} {'policy':22} {'lost h':>9} {'of ours':>8} {'preempt.':>9}"
          f" {'urgent mean':>12} {'p99':>6}")
    for name, words in WORKLOADS.items():
        words = [os.path.join(traces, word) if word.endswith(".gz") else word for word in words]
        ours = None
        for policy in POLICIES:
            out = subprocess.run(
                [muster, "simulate", *words, *DRAWN, "--policy", policy, "--seeds", seeds,
                 "-o", "json"], check=True, stdout=subprocess.PIPE)
            mean = json.loads(out.stdout)["mean"]
            lost = mean["lost_device_hours"]
            ours = ours or lost
            print(f"{name:34} {policy:22} {lost:9.1f} {lost / ours if ours else 0:7.2f}x"
                  f" {mean['preemptions']:9.0f} {mean['urgent_waiting_mean_seconds']:11.1f}s"
                  f" {mean['urgent_waiting_p99_seconds']:5.0f}s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
