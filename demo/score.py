#!/usr/bin/env python3
"""The urgent job: a quick model, cross-validated on the digits of scikit-learn, then scored on
those that it has not seen. A few seconds of real work."""
import json
import os
import time

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split


def main():
    began = time.monotonic()
    images, labels = load_digits(return_X_y=True)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images / 16.0, labels, test_size=0.2, random_state=7)
    best, score = None, 0.0
    for strength in (0.03, 0.3, 3.0):
        mean = cross_val_score(
            LogisticRegression(C=strength, max_iter=400), seen, seen_labels, cv=3).mean()
        print(f"C={strength}: {mean:.4f} by cross-validation", flush=True)
        if mean > score:
            best, score = strength, mean
    model = LogisticRegression(C=best, max_iter=400).fit(seen, seen_labels)
    accuracy = model.score(unseen, unseen_labels)
    path = os.environ.get("MUSTER_METRICS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": 1, "accuracy": round(accuracy, 4)}) + "\n")
    print(f"scored {len(unseen)} digits in {time.monotonic() - began:.1f} s: accuracy "
          f"{accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
