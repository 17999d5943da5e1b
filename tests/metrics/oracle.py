"""The world of three states and two actions in which reward distances were worked out by hand and by other code."""

import torch

DISCOUNT = 0.9
TRANSITION = torch.tensor(
    [
        [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]],
        [[0.0, 0.5, 0.5], [0.4, 0.4, 0.2]],
        [[0.3, 0.3, 0.4], [0.0, 0.1, 0.9]],
    ],
    dtype=torch.float64,
)
ONE = torch.tensor(
    [[[0, 1, -1], [0.5, 0, 2]], [[1, -0.5, 0], [0, 0.25, 1]], [[-1, 0, 0.5], [2, -2, 1]]],
    dtype=torch.float64,
)
OTHER = torch.tensor(
    [[[0.5, 0, 0], [1, -1, 1]], [[0, 0.5, -0.5], [1, 0, 0]], [[0, 1, 0], [-1, 0.5, 2]]],
    dtype=torch.float64,
)
POTENTIAL = torch.tensor([1, -2, 0.5], dtype=torch.float64)
# The mean over next states is zero for every state and action.
MOVED = torch.tensor(
    [[[1, -3.5, 0], [0, 1, -2]], [[5, 1, -1], [1, -1, 0]], [[1, -1, 0], [3, 9, -1]]], dtype=torch.float64
)


def shaped(reward, potential, discount=DISCOUNT):
    return reward + discount * potential - potential[:, None, None]
