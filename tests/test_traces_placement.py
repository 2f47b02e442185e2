"""Published results of placement policies on Alibaba's openb trace as bands (Weng et al., ATC 2023):
allocated devices in per cent when what arrived asks for 90 to 130 % of them, means of ten seeds. The trace
is not part of this repository: MUSTER_TRACES is the folder that has openb-fgd-2023.
docs/scheduling.md has the whole tables."""
import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest
from muster import BINARY

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))

import mixes  # noqa: E402

TRACES = os.environ.get("MUSTER_TRACES")
RUN_S = 580

pytestmark = pytest.mark.published

FGD = {"default": 95.23, "cpu100": 95.21, "cpu250": 93.20, "gpushare40": 93.96,
       "gpuspec10": 94.66, "multigpu20": 95.53}
ARRIVED = ("90", "95", "100", "110", "130")
# Published at these.
PUBLISHED = {
    ("fgd", "default"): (89.98, 94.91, 95.23, 95.30, 95.39),
    ("fgd", "cpu100"): (90.00, 94.91, 95.21, 95.27, 95.35),
    ("fgd", "cpu250"): (89.98, 93.14, 93.20, 93.27, 93.41),
    ("fgd", "gpushare40"): (89.99, 93.92, 93.96, 94.03, 94.15),
    ("fgd", "gpuspec10"): (85.83, 90.38, 94.66, 94.84, 94.95),
    ("fgd", "multigpu20"): (90.01, 94.94, 95.53, 95.58, 95.65),
    ("best-fit", "default"): (89.99, 92.82, 92.86, 92.94, 93.08),
    ("best-fit", "cpu100"): (90.00, 93.22, 93.26, 93.33, 93.44),
    ("best-fit", "cpu250"): (89.99, 91.16, 91.21, 91.30, 91.45),
    ("best-fit", "gpushare40"): (89.99, 91.40, 91.44, 91.52, 91.69),
    ("best-fit", "gpuspec10"): (84.98, 89.58, 93.10, 93.17, 93.31),
    ("best-fit", "multigpu20"): (90.01, 93.70, 93.73, 93.81, 93.93),
    ("dot-product", "default"): (89.98, 90.58, 90.62, 90.70, 90.85),
    ("dot-product", "cpu100"): (90.00, 91.69, 91.73, 91.80, 91.95),
    ("dot-product", "cpu250"): (83.47, 83.52, 83.57, 83.66, 83.81),
    ("dot-product", "gpushare40"): (89.21, 89.26, 89.30, 89.39, 89.56),
    ("dot-product", "gpuspec10"): (84.91, 89.49, 90.17, 90.25, 90.39),
    ("dot-product", "multigpu20"): (90.00, 91.82, 91.85, 91.92, 92.06),
    ("random", "default"): (85.02, 85.72, 86.30, 86.88, 87.47),
    ("random", "cpu100"): (86.04, 86.76, 87.44, 88.31, 89.11),
    ("random", "cpu250"): (79.46, 79.73, 80.00, 80.23, 80.41),
    ("random", "gpushare40"): (83.51, 84.38, 84.86, 85.43, 86.00),
    ("random", "gpuspec10"): (84.87, 85.70, 86.26, 86.86, 87.43),
    ("random", "multigpu20"): (84.12, 86.20, 86.92, 87.85, 88.69),
    ("gpu-packing", "default"): (89.98, 91.74, 91.78, 91.85, 92.00),
    ("gpu-packing", "cpu100"): (90.00, 92.45, 92.49, 92.57, 92.72),
    ("gpu-packing", "cpu250"): (87.95, 87.99, 88.05, 88.13, 88.28),
    ("gpu-packing", "gpushare40"): (89.57, 89.73, 89.77, 89.86, 90.03),
    ("gpu-packing", "gpuspec10"): (85.40, 90.00, 92.24, 92.31, 92.46),
    ("gpu-packing", "multigpu20"): (90.00, 93.46, 93.50, 93.57, 93.71),
    ("gpu-clustering", "default"): (89.98, 91.60, 91.65, 91.73, 91.88),
    ("gpu-clustering", "cpu100"): (90.00, 92.37, 92.41, 92.49, 92.64),
    ("gpu-clustering", "cpu250"): (87.65, 87.70, 87.75, 87.83, 87.99),
    ("gpu-clustering", "gpushare40"): (89.53, 89.71, 89.76, 89.84, 90.02),
    ("gpu-clustering", "gpuspec10"): (85.41, 90.01, 91.96, 92.03, 92.18),
    ("gpu-clustering", "multigpu20"): (90.00, 93.31, 93.34, 93.42, 93.56),
}
# Runs of these two differ by 0.6 (standard deviation); of a hundred the means are within 0.2.
NOISY = ("gpu-packing", "cpu250"), ("gpu-clustering", "cpu250")


@functools.cache
def allocated(policy, mix, nodes=None):
    """By what arrived, in per cent."""
    folder = pathlib.Path(TRACES) / "openb-fgd-2023"
    done = subprocess.run(
        [BINARY, "simulate", "--format", "openb", "--nodes",
         nodes or folder / "openb_node_list_gpu_node.csv", "--pods",
         folder / f"openb_pod_list_{mix}.csv.gz", "--policy", policy, "--seeds", "42-51", "--tune",
         "1.3", "-o", "json"],
        capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr
    by_arrived = json.loads(done.stdout)["mean"]["allocated_percent"]
    return {arrived: float(by_arrived[arrived]) for arrived in ARRIVED}


@pytest.mark.parametrize("policy,mix", PUBLISHED)
def test_published_means_are_reproduced(policy, mix):
    ours = allocated(policy, mix)
    for arrived, published in zip(ARRIVED, PUBLISHED[policy, mix]):
        apart = 0.8 if (policy, mix) in NOISY else 0.5
        assert published - apart <= ours[arrived] <= published + apart, arrived


@pytest.mark.parametrize("mix", FGD)
def test_the_default_is_above_fgd_on_every_mix(mix):
    assert allocated("default", mix)["100"] >= FGD[mix] + 0.8


def test_the_default_is_above_fgd_on_average():
    above = [allocated("default", mix)["100"] - published for mix, published in FGD.items()]
    assert sum(above) / len(above) >= 1.35


def test_the_default_is_above_its_goal():
    assert allocated("default", "default")["100"] > 96.2


# Of bench/mixes.py: most of the demand in many devices, and jobs that ask for what nodes have. At least
# so much, and at most so much below the best of the others.
MIXES = {
    "50% in many devices": (97.4, 0), "80% in many devices": (97.6, 0.3),
    "85% in many devices": (96.2, 0.3), "90% in many devices": (96.0, 0.3),
    "about 10 CPUs a device, 30% apart, 50 % in fours and eights": (98.2, 0.3),
    "about 12 CPUs a device, 30% apart, 50 % in fours and eights": (92.4, 0.3),
    "about 17 CPUs a device, 30% apart, 50 % in fours and eights": (73.8, 0),
}


@pytest.mark.parametrize("name", MIXES)
def test_mixes_that_nobody_published_are_placed_well(name, tmp_path):
    folder = pathlib.Path(TRACES) / "openb-fgd-2023"
    pods = mixes.pods_read(folder / "openb_pod_list_default.csv.gz")
    types = [pod["gpu_spec"] for pod in
             mixes.pods_read(folder / "openb_pod_list_gpuspec10.csv.gz") if pod["gpu_spec"]]
    path = tmp_path / "pods.csv"
    mixes.pods_write(path, dict(mixes.mixes(pods, types))[name])
    ours, *others = (mixes.allocated(BINARY, folder, path, policy, "1-2")
                     for policy in mixes.POLICIES)
    least, below = MIXES[name]
    assert ours >= least and ours >= max(others) - below


def test_the_default_does_not_go_by_names_and_order_of_nodes(tmp_path):
    folder = pathlib.Path(TRACES) / "openb-fgd-2023"
    head, *lines = (folder / "openb_node_list_gpu_node.csv").read_text().splitlines()
    other = tmp_path / "nodes.csv"
    turned = [f"n{i:04}," + line.split(",", 1)[1] for i, line in enumerate(lines[::-1])]
    other.write_text("\n".join([head, *turned]) + "\n")
    assert allocated("default", "cpu250", other)["100"] == pytest.approx(
        allocated("default", "cpu250")["100"], abs=0.005)
