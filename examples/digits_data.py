"""The data of three examples: 1,797 handwritten digits of 8x8 pixels, which ship in scikit-learn."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


@dataclass(frozen=True)
class Digits:
    """Images (n, 8, 8, 1), float32 in [0, 1], and their labels (n,), int32 in 0..9."""

    images: np.ndarray
    labels: np.ndarray

    def batches(self, size: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield random minibatches, without end."""
        draw = np.random.default_rng(seed)
        while True:
            rows = draw.integers(0, len(self.labels), size)
            yield self.images[rows], self.labels[rows]

    def only(self, *labels: int) -> "Digits":
        """Return the images of some digits, labelled 0, 1, 2, ... in their order."""
        rows = np.isin(self.labels, labels)
        return Digits(
            self.images[rows], np.searchsorted(labels, self.labels[rows]).astype(np.int32)
        )


def load(seed: int) -> tuple[Digits, Digits]:
    """Return what to train on and what to test with; the same seed gives the same split."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    parts = train_test_split(
        images, labels.astype(np.int32), test_size=360, stratify=labels, random_state=seed
    )
    return Digits(parts[0], parts[2]), Digits(parts[1], parts[3])
