"""Label probabilities: how likely each label of the menu is at the place of the verdict, whatever its tokens are.

A label may have several tokens, labels may begin with the same tokens, and one label may be the beginning of another.
All labels form a tree of token ids. The probability of a label is the product of the model's conditional probabilities
along its branch; where a label ends at a node from which others go on, it gets what the others leave over there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Path = tuple[int, ...]

_FLOOR = 1e-12
"""What is left for a label that ends where others go on, when rounding leaves nothing."""


@dataclass(frozen=True)
class LabelShares:
    """How the labels of a menu compare at one place.

    Attributes:
        probabilities: label to its share, summing to 1.
        mass: how likely any label of the menu is there at all, in 0..1. Near 0 the shares say what the model would
            choose if it had to, not what it was about to say.
    """

    probabilities: Mapping[str, float]
    mass: float


class Menu:
    """The labels of one judge as a tree of token ids.

    Attributes:
        labels: name to token ids.
        branches: every node at which a token must be scored, the root ``()`` first.
        probes: branches that are not the beginning of another; scoring their tokens reaches every branch.
    """

    def __init__(self, labels: Mapping[str, Sequence[int]]) -> None:
        """Build the tree.

        Args:
            labels: canonical name to the token ids of its text; no two alike, none empty.
        """
        self.labels: dict[str, Path] = {name: tuple(ids) for name, ids in labels.items()}
        if len(set(self.labels.values())) != len(self.labels) or () in self.labels.values():
            raise ValueError(f"labels must differ and have tokens: {self.labels}")
        nodes = {path[:end] for path in self.labels.values() for end in range(len(path))}
        self.branches: list[Path] = sorted(nodes, key=lambda node: (len(node), node))
        self.probes: list[Path] = [
            node for node in self.branches if not any(other[: len(node)] == node and other != node for other in nodes)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Menu) and self.labels == other.labels

    def __hash__(self) -> int:
        return hash(tuple(self.labels.items()))

    def children(self, node: Path) -> list[int]:
        """Tokens that go on from a node, in the order of the labels."""
        depth = len(node)
        return list(
            dict.fromkeys(path[depth] for path in self.labels.values() if len(path) > depth and path[:depth] == node)
        )

    def shares(self, log_probability: Callable[[Path, int], float]) -> LabelShares:
        """Combine conditional scores into probabilities over the menu.

        Args:
            log_probability: of a token after a node, over the whole vocabulary, natural logarithm.
        """
        scores = np.array([self._score(path, log_probability) for path in self.labels.values()])
        shares = np.exp(scores - scores.max())
        probabilities = dict(zip(self.labels, (shares / shares.sum()).tolist(), strict=True))
        return LabelShares(probabilities, min(1.0, float(np.exp(scores).sum())))

    def _score(self, path: Path, log_probability: Callable[[Path, int], float]) -> float:
        score = sum(log_probability(path[:depth], token) for depth, token in enumerate(path))
        onward = self.children(path)
        if onward:
            taken = sum(math.exp(log_probability(path, token)) for token in onward)
            score += math.log(max(1.0 - taken, _FLOOR))
        return score


def expected_score(probabilities: Mapping[str, float], values: Mapping[str, float]) -> float:
    """Mean of a score under the label probabilities.

    Args:
        probabilities: label to probability, summing to 1.
        values: label to its number.
    """
    return sum(share * values[label] for label, share in probabilities.items())
