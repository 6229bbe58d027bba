"""Every specified objective and regulariser with the contrast it is made for: a later method joins by a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast, Cosine
from lightning_contrast.objectives import (
    AMCL,
    CACR,
    CMIM,
    CRD,
    CSR,
    GML,
    HNNCE,
    MACL,
    MCL,
    MSC,
    MVDHEL,
    AlignUniform,
    CategoryQueries,
    DecoupledUniformity,
    Disentangled,
    GroCo,
    HardContrastive,
    Hydra,
    ICon,
    InfoNCE,
    ISogCLR,
    JointSupCon,
    KernelInfoNCE,
    Matryoshka,
    MVInfoNCE,
    PairDiscriminator,
    PixContrast,
    PixPro,
    PolyView,
    Saunshi,
    SepCLR,
    SimilarityDistillation,
    SupReMix,
    ZLoss,
    pixel_contrast,
)
from lightning_contrast.regularisers import (
    CARE,
    UCF,
    ConR,
    CrossEntropy,
    Dispersive,
    LatentCodes,
    RotationPretext,
    TransportMatching,
)
from lightning_contrast.targets import SameLabel
from lightning_contrast.temperatures import Learnable

Batch = dict[str, Tensor]
WIDTH = 4


def batch(n: int = 10, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    """``z: [3, n, 4]`` and what else is known of ``n`` samples."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)  # noqa: E731
    return {
        "z": draw(3, n, WIDTH),
        "index": torch.arange(n) + 3,
        "label": torch.arange(n) % 2,
        "method": torch.arange(n) % 3,
        "turn": torch.arange(n) % 4,
        "cluster": torch.arange(n) // 5,
        "chunk": torch.arange(n) // 2,
        "score": (torch.arange(n) % 4).to(dtype),
        "prediction": draw(n),
        "rarity": draw(n).exp(),
        "prior": draw(n, 3),
        "specific": draw(n, 3),
        "coordinate": draw(2, n, 2, 2),
        "diagonal": draw(2, n).exp(),
    }


def cut(data: Batch, rows: slice) -> Batch:
    return {k: v[:, rows] if k in ("z", "coordinate", "diagonal") else v[rows] for k, v in data.items()}


def two(*keys: str) -> Callable[[Batch], Contrast]:
    """Two views with this payload."""
    return lambda d: Contrast.from_views(d["z"][:2], **{k: d[k] for k in keys})


def three(*keys: str) -> Callable[[Batch], Contrast]:
    return lambda d: Contrast.from_views(d["z"], **{k: d[k] for k in keys})


def one(*keys: str) -> Callable[[Batch], Contrast]:
    return lambda d: Contrast.from_views(d["z"][:1], **{k: d[k] for k in keys})


def pairs(*keys: str) -> Callable[[Batch], Contrast]:
    return lambda d: Contrast.from_pairs(d["z"][0], d["z"][1], **{k: d[k] for k in keys})


def codes(d: Batch) -> Contrast:
    halves = [(z[:, :2], z[:, 2:]) for z in d["z"]]
    return Contrast.from_pairs(halves[0], halves[1], label=d["label"])


def pixels(d: Batch) -> list[Contrast]:
    a, b = (z.unflatten(1, (2, 2)) for z in d["z"][:2])
    (p, q), (s, t) = d["coordinate"], d["diagonal"]
    return [pixel_contrast(a, b, p, q, s, t), pixel_contrast(b, a, q, p, t, s)]


def simplex(d: Batch) -> Contrast:
    return Contrast.from_views(d["z"][:2].softmax(-1))


@dataclass(frozen=True)
class Case:
    make: Callable[[], Any]
    contrast: Callable[[Batch], Contrast | Sequence[Contrast]]
    smooth: bool = True  # finite differences agree with gradients everywhere they look
    random: bool = False  # draws its own numbers
    partial: bool = False  # part of the embeddings is detached on purpose


def knowing(objective: nn.Module, **layers: nn.Module) -> nn.Module:
    """With layers that know their widths."""
    for name, layer in layers.items():
        setattr(objective, name, layer)
    return objective


def centred() -> nn.Module:
    objective = MSC(WIDTH, angular=0.7)
    objective.similarity.set_centre(torch.arange(8.0).reshape(2, 4).sub(2))
    return objective


CASES: dict[str, Case] = {
    "align-uniform": Case(AlignUniform, two("index")),
    "align-uniform-power": Case(lambda: AlignUniform(alpha=1.0, t=3.0, align_weight=3.0), pairs()),
    "cacr": Case(CACR, three()),
    "cacr-rbf": Case(lambda: CACR(cost="rbf", prior=0.1), two()),
    "cmim": Case(CMIM, one("index")),
    "decoupled-uniformity": Case(DecoupledUniformity, three("index")),
    "decoupled-uniformity-prior": Case(lambda: DecoupledUniformity(kernel="rbf"), pairs("prior")),
    "gml": Case(lambda: GML([5, 1]), two("label")),
    "gml-learnt": Case(lambda: GML([5, 1], Learnable(0.5)), two("label"), partial=True),
    "groco": Case(lambda: GroCo(k=3), two(), partial=True),
    "groco-all": Case(lambda: GroCo(k=3, stop_gradient=False), three()),
    "ucl-behaviour": Case(lambda: HardContrastive(0.5, share=0.4), two()),
    "which-features": Case(lambda: JointSupCon(0.5, 0.3), two("label")),
    "which-features-superclass": Case(lambda: JointSupCon(0.5, 0.3, [0, 0, 1]), pairs("label")),
    "i-con": Case(ICon, two()),
    "i-con-label": Case(lambda: ICon(target=SameLabel(), debias=0.2, debias_learned=0.1), two("label")),
    "i-con-student": Case(lambda: ICon(kernel="student"), two()),
    "i-con-gaussian": Case(lambda: ICon(0.5, kernel="gaussian"), two()),
    "i-con-cluster": Case(lambda: ICon(kernel="cluster"), simplex),
    "kernel-infonce": Case(KernelInfoNCE, two()),
    "kernel-infonce-sum": Case(lambda: KernelInfoNCE(weight=0.3), pairs()),
    "kernel-infonce-concatenation": Case(lambda: KernelInfoNCE(weight=0.3, mixture="concatenation"), two()),
    "msc": Case(centred, two()),
    "msc-pairs": Case(centred, pairs()),
    "mv-cl": Case(MVInfoNCE, three()),
    "mv-cl-text": Case(lambda: MVInfoNCE(Learnable(0.5), denominator="other-views"), three()),
    "mv-dhel": Case(MVDHEL, three()),
    "pixcontrast": Case(PixContrast, pixels),
    "pixpro": Case(PixPro, pixels, partial=True),
    "poly-view": Case(PolyView, three()),
    "poly-view-arithmetic": Case(lambda: PolyView(0.5, "arithmetic", negatives="all"), three()),
    "poly-view-sufficient": Case(lambda: PolyView(0.5, "sufficient"), three()),
    "saunshi": Case(Saunshi, pairs()),
    "saunshi-hinge": Case(lambda: Saunshi("hinge"), two()),
    "sepclr": Case(lambda: SepCLR(salient=2.0, null=3.0), codes),
    "z-loss": Case(lambda: ZLoss(b=1.0), two()),
    "diht": Case(lambda: HNNCE(0.5), pairs()),
    "diht-detached": Case(lambda: HNNCE(Learnable(0.5), detach_weights=True), pairs(), partial=True),
    "mcl": Case(MCL, two("cluster")),
    "supremix": Case(lambda: SupReMix(mixtures=0), two("score")),
    "supremix-mixtures": Case(SupReMix, two("score"), random=True),
    "macl": Case(MACL, two(), partial=True),
    "macl-plain": Case(lambda: MACL(reweight=False, alpha=0.0, symmetric=True), pairs()),
    "isogclr": Case(lambda: ISogCLR(20), two("index"), partial=True),
    "isogclr-bimodal": Case(lambda: ISogCLR(20, 0.5, bimodal=True), pairs("index"), partial=True),
    "amcl": Case(lambda: AMCL(heads=2, minimum=0.2), two("index")),
    "amcl-hard": Case(lambda: AMCL(heads=1, beta=1.0, hard=True, symmetric=True), pairs(), smooth=False),
    "category-queries": Case(lambda: CategoryQueries(3, WIDTH, k=2), two("label")),
    "category-queries-all": Case(lambda: CategoryQueries(3, WIDTH, selector_weight=0.0), pairs("label"), smooth=False),
    "csr": Case(lambda: CSR(12, 2, dead_after=1), two(), partial=True),
    "csr-pairs": Case(lambda: CSR(12, 2, symmetric=True), pairs("index"), partial=True),
    "hydra-own": Case(lambda: Hydra(2, WIDTH, "own", hidden=3), two("label", "index")),
    "hydra-own-pairs": Case(
        lambda: Hydra(2, WIDTH, "own", True, hidden=3, symmetric=True), pairs("label"), smooth=False
    ),
    "matryoshka": Case(lambda: Matryoshka(InfoNCE(Learnable(0.5)), [1, 2, WIDTH], [1.0, 2.0, 3.0]), two()),
    "matryoshka-batch": Case(lambda: Matryoshka(AlignUniform(), [2, WIDTH]), pairs(), smooth=False),
    "pair-discriminator": Case(PairDiscriminator, pairs()),
    "pair-discriminator-cosine": Case(lambda: PairDiscriminator(0.5, similarity=Cosine()), two()),
    "rotation-pretext": Case(lambda: RotationPretext(first=0), two("turn")),
    "care": Case(CARE, two("chunk")),
    "conr": Case(lambda: ConR(temperature=0.5), two("score", "prediction", "rarity")),
    "dispersive": Case(Dispersive, one()),
    "dispersive-cosine": Case(lambda: Dispersive(kind="cosine"), two()),
    "dispersive-hinge": Case(lambda: Dispersive(kind="hinge", per_dimension=True, diagonal=False), one()),
    "dispersive-covariance": Case(lambda: Dispersive(kind="covariance"), one()),
    "crd": Case(lambda: CRD(0.5), pairs()),
    "crd-samples": Case(lambda: CRD(0.5, samples=30, symmetric=True), pairs()),
    "similarity-distillation": Case(lambda: SimilarityDistillation(0.5, 0.3), pairs(), partial=True),
    "wcord-sets": Case(TransportMatching, pairs(), partial=True),
    "cross-entropy": Case(lambda: knowing(CrossEntropy(2), linear=nn.Linear(WIDTH, 2)), two("label")),
    "disentangled": Case(
        lambda: knowing(Disentangled(2, 3), common=nn.Linear(2, 2), specific=nn.Linear(2, 3)), two("label", "method")
    ),
    "c3-gan": Case(lambda: LatentCodes(codes=3, dim=WIDTH), two("label")),
    "ucf": Case(UCF, one("label", "method", "specific")),
}
"""By slug, with the variant behind it."""


def made(name: str) -> nn.Module:
    torch.manual_seed(1)
    return CASES[name].make().double()


def loss_of(name: str, module: nn.Module, data: Batch, exchange: str = "gather") -> Tensor:
    contrast = CASES[name].contrast(data)
    if isinstance(contrast, Contrast):
        return module(contrast.replace(exchange=exchange))
    return module([c.replace(exchange=exchange) for c in contrast])
