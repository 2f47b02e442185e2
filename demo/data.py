#!/usr/bin/python3
"""Writes the handwritten digits of scikit-learn as two datasets, each a folder of .npy files:

    data.py FOLDER

FOLDER/train and FOLDER/test have `pixels.npy` (rows of 64 values from 0 to 1) and `labels.npy`.
What a model is tested with is never among what it was trained on: the split is made here, once.
"""
import os
import sys

import numpy
from sklearn.datasets import load_digits

HELD_OUT = 360  # of 1797 images


def main():
    digits = load_digits()
    pixels = (digits.images.reshape(-1, 64) / 16.0).astype("float32")
    order = numpy.random.RandomState(7).permutation(len(pixels))
    for name, chosen in (("test", order[:HELD_OUT]), ("train", order[HELD_OUT:])):
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        numpy.save(os.path.join(folder, "pixels.npy"), pixels[chosen])
        numpy.save(os.path.join(folder, "labels.npy"), digits.target[chosen].astype("int64"))
        print(f"{name}: {len(chosen)} digits")


if __name__ == "__main__":
    main()
