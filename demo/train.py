#!/usr/bin/env python3
"""Training on handwritten digits, by muster's contract alone.

What it uses of muster are variables: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun
sets them, MUSTER_CHECKPOINT_DIR (the same in every attempt), MUSTER_METRICS (a file for JSON
lines), MUSTER_ATTEMPT, MUSTER_INPUT_DIGITS and MUSTER_INPUT_HELDOUT (folders, as data.py writes
them), MUSTER_OUTPUT_MODEL (a folder, for the model in TorchScript) and MUSTER_PARAMETER_SEED. It
runs without muster too, on the digits of scikit-learn:

    RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python3 train.py

An epoch is several passes over the data, each with every image shifted anew by up to a pixel. A
checkpoint is written after each epoch; on SIGTERM one is written after the pass that is under way,
and the process ends. The next attempt goes on with the pass after that.
"""
import argparse
import hashlib
import json
import os
import signal
import sys
import time

import numpy
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

HELD_OUT = 360  # of 1797 images
BATCH = 32


class Stop:
    """Whether somebody asked for the end; looked at between passes, by all ranks together."""

    def __init__(self):
        self.asked = False
        signal.signal(signal.SIGTERM, self._take)

    def _take(self, _signal, _frame):
        self.asked = True

    def agreed(self):
        """True on every rank as soon as one rank was asked: none may wait for another for ever."""
        flag = torch.tensor([1.0 if self.asked else 0.0])
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return flag.item() > 0


def say(text):
    if dist.get_rank() == 0:
        print(f"{time.time():.3f} {text}", flush=True)


def read_dataset(variable):
    """Images and labels of the dataset whose folder the variable names."""
    folder = os.environ[variable]
    pixels = numpy.load(os.path.join(folder, "pixels.npy"))
    labels = numpy.load(os.path.join(folder, "labels.npy"))
    return torch.from_numpy(pixels).reshape(-1, 1, 8, 8), torch.from_numpy(labels)


def load_data():
    """What is trained on, and what the accuracy is measured with."""
    if "MUSTER_INPUT_DIGITS" in os.environ:
        return read_dataset("MUSTER_INPUT_DIGITS"), read_dataset("MUSTER_INPUT_HELDOUT")
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.from_numpy(numpy.random.RandomState(7).permutation(len(labels)))
    held, used = order[:HELD_OUT], order[HELD_OUT:]
    return (images[used], labels[used]), (images[held], labels[held])


def make_model():
    torch.manual_seed(int(os.environ.get("MUSTER_PARAMETER_SEED", "11")))
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))


def shifted(images, generator):
    """The images, each moved by -1, 0 or 1 pixel along both axes."""
    dx, dy = torch.randint(-1, 2, (2,), generator=generator).tolist()
    return torch.roll(images, (dy, dx), dims=(2, 3))


def run_pass(model, optimizer, data, seed):
    """One pass over this rank's share; returns its mean loss over all ranks."""
    images, labels = data
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    rank, world = dist.get_rank(), dist.get_world_size()
    # Every rank has as many batches as the others, or the last all-reduce would never come.
    count = len(labels) // (BATCH * world)
    total = 0.0
    model.train()
    for i in range(count):
        chosen = order[(i * world + rank) * BATCH:(i * world + rank + 1) * BATCH]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(shifted(images[chosen], generator)), labels[chosen])
        loss.backward()
        optimizer.step()
        total += loss.item()
    mean = torch.tensor([total / count])
    dist.all_reduce(mean)
    return mean.item() / world


def accuracy(model, data):
    images, labels = data
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


class Checkpoint:
    """The newest state in a folder, there entirely or not at all."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "checkpoint.pt")

    def save(self, state):
        """Writes state; returns the first digits of its SHA-256."""
        new = self.path + ".new"
        torch.save(state, new)
        with open(new, "rb+") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
            os.fsync(file.fileno())
        os.rename(new, self.path)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return digest[:16]

    def load(self):
        """The state and the digits, or None."""
        try:
            with open(self.path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            return None
        return torch.load(self.path), digest[:16]


class Served(nn.Module):
    """The model as it is served: rows of 64 pixels in, a class and its probability out."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        best = self.network(pixels.reshape(-1, 1, 8, 8)).softmax(dim=1).max(dim=1)
        return best.indices, best.values


def write_model(model):
    """The model and its signature, into the folder that becomes the model's next version."""
    folder = os.environ.get("MUSTER_OUTPUT_MODEL")
    if not folder or dist.get_rank() != 0:
        return
    torch.jit.script(Served(model).eval()).save(os.path.join(folder, "model.pt"))
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
        json.dump({"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}],
                   "outputs": [{"name": "class", "datatype": "INT64", "shape": [-1]},
                               {"name": "probability", "datatype": "FP32", "shape": [-1]}]}, file)


def report(epoch, loss, score):
    """A line of JSON for muster: it shows in describe and top, and gives the price of the epoch."""
    path = os.environ.get("MUSTER_METRICS")
    if not path or dist.get_rank() != 0:
        return
    line = json.dumps({"epoch": epoch, "loss": round(loss, 4), "accuracy": round(score, 4)})
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def resume(checkpoint, model, optimizer):
    """Where to go on: (epoch, passes of it that are done)."""
    found = checkpoint.load()
    if not found:
        say("starting at epoch 1: there is no checkpoint")
        return 1, 0
    state, digest = found
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])  # of dropout: the same in every rank
    say(f"resuming at epoch {state['epoch']} after {state['passes']} of its passes, from checkpoint "
        f"{digest} of attempt {state['attempt']}")
    return state["epoch"], state["passes"]


def train(arguments):
    stop = Stop()
    used, held = load_data()
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    checkpoint = Checkpoint(os.environ.get("MUSTER_CHECKPOINT_DIR", "."))
    epoch, done = resume(checkpoint, model, optimizer)
    parallel = DistributedDataParallel(model)

    def save():
        if dist.get_rank() != 0:
            return
        digest = checkpoint.save({
            "epoch": epoch, "passes": done, "attempt": os.environ.get("MUSTER_ATTEMPT", "1"),
            "model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state()})
        say(f"saved epoch {epoch} after {done} of its passes as checkpoint {digest}")

    while epoch <= arguments.epochs:
        loss = 0.0
        while done < arguments.passes:
            loss = run_pass(parallel, optimizer, used, epoch * 1000 + done)
            done += 1
            if stop.agreed():
                save()
                say("asked to end: saved, ending")
                return
        score = accuracy(model, held)
        say(f"epoch {epoch}: loss {loss:.4f}, accuracy {score:.4f} on {len(held[1])} held-out digits")
        report(epoch, loss, score)
        epoch, done = epoch + 1, 0
        save()
    write_model(model)
    say(f"finished: accuracy {accuracy(model, held):.4f} after {arguments.epochs} epochs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--passes", type=int, default=6, help="over the data, in an epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if os.environ.get("MASTER_ADDR", "").startswith("127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method="env://")
    train(arguments)
    dist.barrier()
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
