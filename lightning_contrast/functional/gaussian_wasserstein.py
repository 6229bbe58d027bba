"""How far two samples are apart, as Gaussians."""

import torch
from torch import Tensor


def gaussian_wasserstein(x: Tensor, y: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance between Gaussians fitted to the rows of ``x`` and ``y``, ``[B, n]`` each; 0-d.

    ``|mu_x - mu_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2))`` with covariances over ``B - 1``; 0 ones for ``B = 1``. With the
    centred rows ``E`` the trace of the root is the sum of the singular values of ``E_x E_y^T``, so that no ``n x n`` matrix is
    made. In float64. The order of the rows of one of them does not matter.
    """
    kept = x.dtype
    x, y = x.double(), y.double()
    scale = max(len(x) - 1, 1) ** 0.5
    a, b = ((rows - rows.mean(0)) / scale for rows in (x, y))
    values = torch.linalg.svdvals(a @ b.mT)
    root = values[values > 1e-12].sum()  # at 0 there is a kink
    return ((x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * root).to(kept)
