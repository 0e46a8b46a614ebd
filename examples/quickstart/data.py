"""The data: 1,797 handwritten digits of 8x8 pixels, which ship inside scikit-learn."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

BATCH_SIZE = 64
TEST_IMAGES = 360


@dataclass(frozen=True)
class Digits:
    """Images (n, 8, 8), float32 in [0, 1], and their labels (n,), int32 in 0..9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def steps(self, epochs: int) -> int:
        """Return the number of minibatches in that many epochs."""
        return epochs * (len(self.train_labels) // BATCH_SIZE)


def load(seed: int) -> Digits:
    """Load the digits and split them; the same seed always gives the same split."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images,
        labels.astype(np.int32),
        test_size=TEST_IMAGES,
        stratify=labels,
        random_state=seed,
    )
    return Digits(train_images, train_labels, test_images, test_labels)


def minibatches(digits: Digits, epochs: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (images, labels) of BATCH_SIZE training examples, shuffled anew in each epoch.

    What does not fill a whole batch is left out of that epoch, so that every batch has the same
    shape and a jitted step is compiled once.
    """
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(digits.train_labels))
        for batch in range(digits.steps(epochs=1)):
            rows = order[batch * BATCH_SIZE : (batch + 1) * BATCH_SIZE]
            yield digits.train_images[rows], digits.train_labels[rows]
