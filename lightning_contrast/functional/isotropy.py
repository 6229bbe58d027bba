"""Vectors of a table made as much alike in all directions as can be."""

from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.functional.inverse_root import inverse_root

Isotropy = Literal["none", "standardise", "whiten", "ica"]


def isotropic(z: Tensor, how: Isotropy = "whiten", seed: int = 0, iterations: int = 200) -> Tensor:
    """The rows without their mean and with unit variances (``standardise``), the identity as covariance besides
    (``whiten``: ZCA), and as independent components (``ica``: FastICA of scikit-learn on the standardised rows).

    Args:
        z: ``[N, D]``, more rows than columns.
        how: see above.
        seed: of FastICA.
        iterations: of FastICA, at most.

    Returns:
        ``[N, D]``, float32 or wider.

    Raises:
        ValueError: for no more rows than columns.
    """
    if how == "none":
        return z
    if len(z) <= z.shape[1]:
        raise ValueError(f"isotropic: {len(z)} rows of width {z.shape[1]}: there must be more rows than columns.")
    x = z.double() - z.double().mean(0)
    x = x / x.std(0, correction=0).clamp(min=1e-12)
    if how == "whiten":
        x = x @ inverse_root(x.mT @ x / len(x) + 1e-8 * torch.eye(x.shape[1], dtype=x.dtype, device=x.device))
    elif how == "ica":
        x = _components(x, seed, iterations)
    return x.to(z.dtype if z.element_size() >= 4 else torch.float32)


def _components(x: Tensor, seed: int, iterations: int) -> Tensor:
    import warnings

    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    model = FastICA(whiten="unit-variance", random_state=seed, max_iter=iterations, tol=1e-3)
    with warnings.catch_warnings():
        # a rotation that is not the best one still leaves the covariance the identity
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = model.fit_transform(x.cpu().numpy())
    return torch.as_tensor(found, dtype=x.dtype, device=x.device)
