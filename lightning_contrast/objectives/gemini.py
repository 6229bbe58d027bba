"""GEMINI: dense alignment along an estimated deformation."""

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.functional.deformation import local_correlation, masked_mean, roughness, warped


class Gemini(nn.Module):
    """Positives of dense features are where a smooth deformation takes them (He et al. 2025).

    For pictures A, B of alike anatomy, with flow ``phi`` from A to B and ``W`` the bilinear warp: ``L_sim = 1 - `` the masked
    local squared correlation of ``W(A, phi)`` and ``B``; ``L_smooth``, the roughness of ``phi``; ``L_gss = 1 - `` the masked
    mean cosine of ``W(f_A, phi)`` and ``f_B``, 0.1 times with gradient on both sides and once with ``f_B`` constant. ``L =
    smooth L_smooth + gss (0.1 L_gss + L_gss(sg f_B)) + sim L_sim``, the mean of both directions and of the batch. A component:
    encoder, flow and restoration or segmentation, which the paper adds with weight 100, are yours.

    Sure: medium to high; weights as in the public code.

    Args:
        smooth: weight of the flow's roughness, >= 0.
        gss: of the alignment of features, >= 0.
        sim: of the alignment of pictures, >= 0.
        both: share of the alignment that sends gradient into both sides, >= 0.
        window: of the local correlation in pixels, odd.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> import torch
        >>> x, f, still = torch.rand(2, 1, 8, 8), torch.randn(2, 4, 8, 8), torch.zeros(2, 2, 8, 8)
        >>> abs(Gemini(sim=0.0)(x, x, f, f, still, still).item()) < 1e-6
        True
    """

    def __init__(
        self, smooth: float = 0.4, gss: float = 0.8, sim: float = 1.0, both: float = 0.1, window: int = 9
    ) -> None:
        super().__init__()
        for name, value in (("smooth", smooth), ("gss", gss), ("sim", sim), ("both", both)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be a finite number >= 0.")
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window={window}: an odd number of pixels, at least 1.")
        self.smooth, self.gss, self.sim, self.both, self.window = smooth, gss, sim, both, window

    def forward(self, a: Tensor, b: Tensor, f_a: Tensor, f_b: Tensor, flow_ab: Tensor, flow_ba: Tensor) -> Tensor:
        """The loss, 0-d: the mean over this process's pairs.

        Args:
            a: pictures, ``[N, C, H, W]``.
            b: their partners.
            f_a: features of ``a``, ``[N, D, H, W]``.
            f_b: of ``b``.
            flow_ab: where in ``a`` each place of ``b`` is found, in pixels, ``[N, 2, H, W]``.
            flow_ba: the other way.
        """
        return (self.one_way(a, b, f_a, f_b, flow_ab) + self.one_way(b, a, f_b, f_a, flow_ba)).mean() / 2

    def one_way(self, a: Tensor, b: Tensor, f_a: Tensor, f_b: Tensor, flow: Tensor) -> Tensor:
        """Per pair, ``[N]``."""
        moved, mask = warped(a, flow)
        there = warped(f_a, flow)[0]
        aligned = self.both * self.misaligned(there, f_b, mask) + self.misaligned(there, f_b.detach(), mask)
        apart = 1 - local_correlation(moved, b, mask, self.window)
        return self.smooth * roughness(flow) + self.gss * aligned + self.sim * apart

    @staticmethod
    def misaligned(f: Tensor, g: Tensor, mask: Tensor) -> Tensor:
        """``1 - `` masked mean cosine of feature maps ``[N, D, H, W]``, ``[N]``; 0 without overlap."""
        cosine = (F.normalize(f, dim=1) * F.normalize(g, dim=1)).sum(1, keepdim=True)
        return 1 - masked_mean(cosine, mask, 1.0)
