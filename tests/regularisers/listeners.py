"""A small module whose objective listens to the encoder, and a batch of two views."""

import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.modules.setup import listening
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.regularisers import Regularised

SMALL = {"hidden_size": 8, "intermediate_size": 8, "vocab_size": 40}
ROWS, LENGTHS = 6, (9, 4, 7, 5, 9, 6)


def module(*terms, dropout=0.0, seed=0, **settings):
    torch.manual_seed(seed)
    encoder = TextEncoder(config=SMALL, dropout=dropout)
    return ContrastiveModule(encoder, Regularised(InfoNCE(0.1), list(terms)), **settings)


def batch(rows=slice(None), padding=0):
    """Texts of several lengths; the second view has two other words."""
    drawn = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 40, (ROWS, 9), generator=drawn)
    mask = (torch.arange(9) < torch.tensor(LENGTHS)[:, None]).long()
    other = ids.clone()
    other[:, 2:4] = torch.randint(5, 40, (ROWS, 2), generator=drawn)
    width = int(mask[rows].sum(1).max())  # as its collate would do
    views = [
        {"input_ids": torch.nn.functional.pad((x * mask)[rows, :width], (0, padding)),
         "attention_mask": torch.nn.functional.pad(mask[rows, :width], (0, padding))}
        for x in (ids, other)
    ]  # fmt: skip
    return {"views": views, "index": torch.arange(ROWS)[rows] + 20}


def contrast_of(net, given):
    """What is compared, after the encoder was listened to."""
    with listening(net):
        return net.contrast(given)


def gradients(loss, net):
    found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def share(rank, world, make):
    """Loss and gradients of one rank's rows."""
    net = module(make())
    cut = [slice(0, 4), slice(4, ROWS)][rank] if world == 2 else slice(None)
    loss = torch.stack([result.loss for _, result in net._score(batch(cut))]).mean()
    return loss.item(), gradients(loss, net)
