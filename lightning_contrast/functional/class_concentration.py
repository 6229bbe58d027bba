"""How wide the classes lie."""

import torch
from torch import Tensor
from torch.nn import functional as F


def class_concentration(z: Tensor, label: Tensor, damping: float = 10.0) -> Tensor:
    """``phi_c = mean_i ||z_i - mean_c|| / log(n_c + damping)`` of unit rows (Li et al. 2021, PCL; Hou et al. 2023, SBCL).

    Args:
        z: ``[N, D]``; rows are brought to unit length.
        label: int64 ``[N]``, from 0.
        damping: so that small classes are not taken for narrow ones, > 1.

    Returns:
        ``[max(label) + 1]``, NaN for a number without rows.
    """
    z = F.normalize(z, dim=1)
    classes = int(label.max()) + 1
    count = torch.bincount(label, minlength=classes).to(z)
    centre = z.new_zeros(classes, z.shape[1]).index_add_(0, label, z) / count[:, None]
    gap = (z - centre[label]).norm(dim=1)
    return z.new_zeros(classes).index_add_(0, label, gap) / count / (count + damping).log()
