"""Random steps through a plane, people who want to go to one of its ends, and policies judged by how fast they get there."""

import numpy as np
import torch

from pluralign.data import Comparisons, Segments
from pluralign.policies.direct import Direct

STRIDE = 0.2
QUICK = Direct(hidden=(32,), imitation=100, updates=350, rate=5e-3, batch=64)


def strolls(count, seed, steps=8):
    """Random steps on a line through the plane; factors are how much nearer each step brings to either end."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.rand(count, 2, generator=draw) * 2 - 1
    act = (
        torch.randn(count, 1, 2, generator=draw) + 0.6 * torch.randn(count, steps, 2, generator=draw)
    ).clamp(-1, 1)
    path = torch.cat([place[:, None], place[:, None] + STRIDE * act.cumsum(1)], 1)
    ends = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    far = torch.cdist(path, ends.expand(count, 2, 2))
    return Segments(far[:, :-1] - far[:, 1:], observation=path[:, :-1], action=act, reached=path[:, -1])


def answers(segments, goal, each, seed):
    """Everybody answers by the sum of advantages: nearer to the own end, less the most that was possible."""
    draw = torch.Generator().manual_seed(seed)
    rater = torch.arange(len(goal)).repeat_interleave(each)
    slate = torch.randint(len(segments), (len(rater), 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % len(segments), slate[:, 1])
    advantage = segments.factors.sum(1)  # both had as many steps: what was possible cancels
    gap = advantage[slate[:, 0], goal[rater]] - advantage[slate[:, 1], goal[rater]]
    first = (torch.rand(len(rater), generator=draw) < torch.sigmoid(4 * gap)).double()
    return Comparisons(segments, slate, rater, torch.stack([first, 1 - first], 1))


def success(policy, goal):
    """Progress towards the own end, as a part of the fastest: 1 is best, -1 is straight away."""
    place = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    end = np.array([[-3.0, 0.0], [3.0, 0.0]], dtype=np.float32)[goal]
    act = np.clip(policy.act(place), -1, 1)
    before = np.linalg.norm(place - end, axis=1)
    fastest = 1 / np.abs((end - place) / before[:, None]).max(1)  # steps are clipped to a square
    return float(((before - np.linalg.norm(place + STRIDE * act - end, axis=1)) / (STRIDE * fastest)).mean())
