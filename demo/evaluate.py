#!/usr/bin/python3
"""What a gate runs before a model may be served: the model of MUSTER_INPUT_MODEL over the dataset of
MUSTER_INPUT_DATA; the accuracy goes to MUSTER_METRICS, where the gate looks for it."""
import json
import os

import numpy
import torch


def main():
    torch.set_num_threads(1)
    data = os.environ["MUSTER_INPUT_DATA"]
    model = torch.jit.load(os.path.join(os.environ["MUSTER_INPUT_MODEL"], "model.pt")).eval()
    pixels = torch.from_numpy(numpy.load(os.path.join(data, "pixels.npy")))
    labels = torch.from_numpy(numpy.load(os.path.join(data, "labels.npy")))
    with torch.no_grad():
        accuracy = (model(pixels)[0] == labels).float().mean().item()
    with open(os.environ["MUSTER_METRICS"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"epoch": 1, "accuracy": round(accuracy, 4)}) + "\n")
    print(f"accuracy {accuracy:.4f} on {len(labels)} digits", flush=True)


if __name__ == "__main__":
    main()
