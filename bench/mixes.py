#!/usr/bin/env python3
"""Placement policies on mixes that nobody published: drawn from the jobs of openb's production mix.

    MUSTER_TRACES=FOLDER bench/mixes.py [SEEDS [POLICY...]]

FOLDER has openb-fgd-2023 (docs/scheduling.md says where that comes from). Prints, for each mix and
policy, allocated devices in per cent when what arrived asks for 100 % of them; the mean of SEEDS
(1-2). MUSTER_BUILD is the folder of the build (build-release)."""
import csv
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

POLICIES = ["default", "fgd", "best-fit", "tight"]
DEVICES_MILLI = 6_212_000  # of the cluster


def milli(pod):
    return int(pod["num_gpu"]) * int(pod["gpu_milli"])


def kinds_of(pods):
    """Pods without devices, with a share of one, with one, with many."""
    kinds = {"plain": [], "share": [], "one": [], "many": []}
    for pod in pods:
        devices = milli(pod)
        kinds["plain" if devices == 0 else "share" if devices < 1000 else
              "one" if devices == 1000 else "many"].append(pod)
    return kinds


def drawn(rng, pods, share):
    """Pods that ask for a share of the cluster's devices."""
    got, asked = [], 0
    while asked < DEVICES_MILLI * share:
        got.append(rng.choice(pods))
        asked += milli(got[-1])
    return got


def mix(kinds, seed, share, one, many, plain):
    """Shares of the demand for devices; plain is times as many pods without as there are."""
    rng = random.Random(seed)
    return (drawn(rng, kinds["share"], share) + drawn(rng, kinds["one"], one) +
            drawn(rng, kinds["many"], many) +
            [rng.choice(kinds["plain"]) for _ in range(int(len(kinds["plain"]) * plain))])


def bound(pods, types, seed, share):
    """The same pods, a share of those with devices bound to types."""
    rng = random.Random(seed)
    return [dict(pod, gpu_spec=rng.choice(types))
            if milli(pod) and rng.random() < share else pod for pod in pods]


def scaled(pods, column, factor):
    return [dict(pod, **{column: int(int(pod[column]) * factor)}) if milli(pod) else pod
            for pod in pods]


def alike(seed, cpus, **counts):
    """Pods of 1, 4 and 8 devices, `one`, `four` and `eight` of them, that all ask for as many CPUs
    beside a device."""
    rng = random.Random(seed)
    devices = [1] * counts["one"] + [4] * counts["four"] + [8] * counts["eight"]
    rng.shuffle(devices)
    return [{"name": "", "cpu_milli": cpus * 1000 * n, "memory_mib": 20000 * n, "num_gpu": n,
             "gpu_milli": 1000, "gpu_spec": ""} for n in devices]


def near(seed, cpus, apart):
    """Pods of 1, 4 and 8 devices, half of the demand in ones and a quarter in fours, that ask for
    `cpus` CPUs a device, each give or take a share of that."""
    rng = random.Random(seed)
    devices = [1] * 3400 + [4] * 425 + [8] * 212
    rng.shuffle(devices)
    return [{"name": "", "cpu_milli": int(cpus * n * rng.uniform(1 - apart, 1 + apart)) * 1000,
             "memory_mib": 20000 * n, "num_gpu": n, "gpu_milli": 1000, "gpu_spec": ""}
            for n in devices]


def mixes(pods, types):
    """Name and pods of each. As they are, 28 % of the demand are shares, 7 % many devices."""
    kinds = kinds_of(pods)

    def shares(share):
        return share, (1 - share) * 0.9, (1 - share) * 0.1

    def many(share):
        return (1 - share) * 0.31, (1 - share) * 0.69, share

    usual = (0.28, 0.65, 0.07)
    for plain in (0, 1.5, 2, 3, 4):
        yield f"{plain} times the jobs without devices", mix(kinds, 11, *usual, plain)
    for share in (0.6, 0.8):
        yield f"{share:.0%} in shares", mix(kinds, 12, *shares(share), 1)
    for share in (0.3, 0.4, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 1):
        yield f"{share:.0%} in many devices", mix(kinds, 13, *many(share), 1)
    for share in (0.2, 0.25, 0.33):
        yield f"{share:.0%} bound to types", bound(pods, types, 14, share)
    for factor in (1.3, 1.5):
        yield f"{factor} times the CPU beside devices", scaled(pods, "cpu_milli", factor)
    yield "1.5 times the memory beside devices", scaled(pods, "memory_mib", 1.5)
    yield "half in shares, 20 % in many, twice without", mix(kinds, 15, 0.5, 0.3, 0.2, 2)
    yield "35 % in many devices, 2.5 times without", mix(kinds, 16, 0.2, 0.45, 0.35, 2.5)
    yield ("30 % in many, 15 % bound, 2.2 times without",
           bound(mix(kinds, 17, 0.4, 0.3, 0.3, 2.2), types, 18, 0.15))
    yield "all ask for 5 CPUs a device, 40 % in eights", alike(19, 5, one=3000, four=0, eight=250)
    yield "all ask for 10 CPUs a device, 40 % in eights", alike(20, 10, one=3000, four=0, eight=250)
    yield "all ask for 10 CPUs a device, 40 % in fours", alike(21, 10, one=3000, four=500, eight=0)
    for cpus, apart in ((8, 0.3), (10, 0.3), (12, 0.3), (14, 0.3), (17, 0.3), (12, 0.6), (12, 0.8)):
        yield f"about {cpus} CPUs a device, {apart:.0%} apart, 50 % in fours and eights", near(
            22, cpus, apart)


def pods_read(path):
    with gzip.open(path, "rt", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def pods_write(path, pods):
    with open(path, "w", encoding="utf-8", newline="") as text:
        out = csv.DictWriter(text, fieldnames=list(pods[0]))
        out.writeheader()
        for i, pod in enumerate(pods):
            out.writerow(dict(pod, name=f"pod-{i:06}"))


def allocated(muster, folder, path, policy, seeds):
    done = subprocess.run(
        [muster, "simulate", "--format", "openb", "--nodes",
         folder / "openb_node_list_gpu_node.csv", "--pods", path, "--policy", policy, "--seeds",
         seeds, "--tune", "1.05", "-o", "json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["mean"]["allocated_percent"]["100"]


def main():
    folder = pathlib.Path(os.environ["MUSTER_TRACES"]) / "openb-fgd-2023"
    muster = pathlib.Path(os.environ.get("MUSTER_BUILD", "build-release")) / "muster"
    seeds = sys.argv[1] if len(sys.argv) > 1 else "1-2"
    policies = sys.argv[2:] or POLICIES
    pods = pods_read(folder / "openb_pod_list_default.csv.gz")
    types = [pod["gpu_spec"] for pod in pods_read(folder / "openb_pod_list_gpuspec10.csv.gz")
             if pod["gpu_spec"]]
    print("| mix |", " | ".join(policies), "|")
    print("|---" * (len(policies) + 1) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "pods.csv"
        for name, drawn_pods in mixes(pods, types):
            pods_write(path, drawn_pods)
            print(f"| {name} |", " | ".join(
                f"{allocated(muster, folder, path, policy, seeds):.2f}" for policy in policies),
                "|", flush=True)


if __name__ == "__main__":
    main()
