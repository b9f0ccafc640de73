"""Batches: augmented images with the targets and weights of both heads."""

from __future__ import annotations

import keras
import numpy as np

from deepfer.face import LABELS
from training.data.split import Split
from training.model.augment import mix
from training.model.recipes import Phase

Targets = dict[str, np.ndarray]  # by head


class Batches(keras.utils.PyDataset):
    """A split in shuffled, augmented batches. The same seed and epoch give the same batches, resumed or not."""

    def __init__(
        self, split: Split, phase: Phase, seed: int, first_epoch: int = 0, soft_targets: Targets | None = None
    ):
        """`soft_targets`: the teachers' probabilities for each head, `(N, 7)`."""
        # With one worker, Keras prefetches with tf.data, whose autotuner can delay the end of an epoch by a minute.
        super().__init__(workers=2, max_queue_size=8)
        self.split, self.phase, self.seed, self.epoch = split, phase, seed, first_epoch
        self.targets = make_targets(split, phase.label_smoothing, soft_targets, phase.distill)
        self.class_weights = class_weights(split.labels, phase.class_weight_power)

    def __len__(self) -> int:
        return max(1, len(self.split) // self.phase.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Targets, Targets]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.split))
        rows = order[index * self.phase.batch_size :][: self.phase.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        images = self.phase.augmentation(self.split.images[rows], rng)
        targets = {head: values[rows] for head, values in self.targets.items()}
        mix(images, list(targets.values()), rng, self.phase.mixup, self.phase.cutmix)
        return images[..., None], targets, sample_weights(targets, self.class_weights)

    def on_epoch_end(self) -> None:
        self.epoch += 1


def make_targets(
    split: Split, smoothing: float = 0.0, soft_targets: Targets | None = None, distill: float = 0.0
) -> Targets:
    """Make each head's targets, float32 `(N, 7)`; a row is all zeros where nothing is known.

    Soft targets are mixed in with weight `distill`. For images without votes, they are the FER+ head's only targets.
    """
    onehot = np.eye(len(LABELS), dtype=np.float32)[split.labels]
    targets = {"fer2013": onehot * (1 - smoothing) + smoothing / len(LABELS), "ferplus": split.votes}
    if soft_targets is not None and distill:
        targets = {head: (1 - distill) * hard + distill * soft_targets[head] for head, hard in targets.items()}
        voted = split.votes.any(axis=1, keepdims=True)
        targets["ferplus"] = np.where(voted, targets["ferplus"], soft_targets["ferplus"])
    return targets


def class_weights(labels: np.ndarray, power: float) -> np.ndarray:
    """Weight each label by its frequency to the power of `-power`, float32 `(7,)`; the mean over the images is 1."""
    counts = np.maximum(np.bincount(labels, minlength=len(LABELS)), 1)
    weight = counts ** -float(power)
    return (weight * counts.sum() / (weight @ counts)).astype(np.float32)


def sample_weights(targets: Targets, class_weights: np.ndarray | None = None) -> Targets:
    """Weight each image for each head, float32 `(N,)`: 0 where its target is unknown, otherwise 1.

    With `class_weights`, float32 `(7,)`, the FER2013 head's weights are multiplied by those of its targets.
    """
    weights = {head: np.asarray(values.any(axis=1), np.float32) for head, values in targets.items()}
    if class_weights is not None:
        weights["fer2013"] *= targets["fer2013"] @ class_weights
    return weights
