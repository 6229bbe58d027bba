"""Methods that become others at a setting: one table. A later method joins by adding a line.

Each line: slug, setting, the method at that setting, and what it reduces to, both as functions of a batch; ``<=`` and
``->`` (one extreme value) where the third field says so. Value and gradient must agree.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast import objectives
from lightning_contrast.callbacks import (
    FalseNegativeFilter,
    FeatureTransformation,
    HardestNegatives,
    HardnessWeighting,
    ImportanceWeights,
    InvariancePropagation,
)
from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.contrast import Candidates, Contrast, Cosine, Dot, Scores, ready
from lightning_contrast.data import (
    CommunityBatchSampler,
    ConsistentPairs,
    EmbeddedBy,
    ImageAugmentation,
    InflatedImages,
    MultiCrop,
    NoisePath,
    TensorImages,
    TextDataModule,
    WordRepetition,
)
from lightning_contrast.data.distinct_batches import dealt
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.encoders import DomainExperts, LatentAttention, MaskedPatches, Momentum, TextEncoder
from lightning_contrast.functional.augmented_distance import augmented_distance
from lightning_contrast.functional.dense_geometry import dense_alignment, dense_uniformity
from lightning_contrast.functional.extrapolation import extrapolated
from lightning_contrast.functional.geometry import alignment, uniformity
from lightning_contrast.functional.hard_mixtures import hard_mixtures
from lightning_contrast.functional.neighbour_order import neighbour_order
from lightning_contrast.functional.neuron_matching import match_units, unit_correlation, unit_sums
from lightning_contrast.functional.plackett_luce import advantages, log_ranking, sampled_rankings
from lightning_contrast.functional.potential import log_potential
from lightning_contrast.functional.task_space import bhattacharyya, inpca
from lightning_contrast.functional.two_sample_critic import critic_divergence
from lightning_contrast.functional.wdiscood import wdiscood_fit
from lightning_contrast.heads import ReweightingHead
from lightning_contrast.metrics import LinearCKA, MutualKNN, RepresentationHarm
from lightning_contrast.mining import Items, Rules, mine
from lightning_contrast.modules import PairViewsModule
from lightning_contrast.modules.chunks import encode_in_chunks
from lightning_contrast.modules.inputs import Inputs, with_negatives_known
from lightning_contrast.objectives import (
    AMCL,
    BECLR,
    CACR,
    CMIM,
    CRD,
    CSR,
    DCL,
    DCLW,
    GML,
    HNNCE,
    MACL,
    MCL,
    MSC,
    MVDHEL,
    PCLSR,
    RRCM,
    SBCL,
    AlignUniform,
    CategoryQueries,
    Classification,
    CoDiEmb,
    CoSENT,
    DecoupledSoftmax,
    DecoupledUniformity,
    FocalInfoNCE,
    Gemini,
    GeneralizedSupCon,
    GroCo,
    HardContrastive,
    Hydra,
    ICon,
    InfoNCE,
    InvP,
    ISogCLR,
    JointSupCon,
    KernelInfoNCE,
    Matryoshka,
    MVInfoNCE,
    MWLoss,
    PixPro,
    PolyView,
    Saunshi,
    ScoredInfoNCE,
    ScoreDistillation,
    ScoreRegression,
    SepCLR,
    SepVAE,
    SigLIP,
    SimilarityDistillation,
    SimSiam,
    SpaceEngage,
    Spectral,
    SupCon,
    SupReMix,
    SwAV,
    SyCL,
    Triplet,
    ZLoss,
    feature_contrasts,
    pixel_contrast,
)
from lightning_contrast.objectives.inv_p import parts
from lightning_contrast.regularisers import (
    CARE,
    FLOPS,
    UCF,
    AttentionInformation,
    Beside,
    ClusterBand,
    ConR,
    Dispersive,
    LatentCodes,
    ListeningRegulariser,
    Regularised,
    ReplacedTokens,
    RotationPretext,
    TransportMatching,
)
from lightning_contrast.similarities import AcrossHalves, LipschitzBilinear, MaxSim
from lightning_contrast.targets import LabelSimilarity, Neighbours, SameLabel, TreeOverlap, VectorScore
from lightning_contrast.targets.teacher_scores import TeacherScore
from lightning_contrast.temperatures import Learnable, PerHead, PerPair
from lightning_contrast.transforms import Composition, GroupWhitening, NonNegative

N, D = 6, 4
TAU = 0.3
EYE = torch.eye(N, D, dtype=torch.float64)


def band_by_hand(z: Tensor) -> Tensor:
    """Cross-entropy with the two neighbours, of inner products."""
    band = torch.diag(torch.ones(N - 1), 1) + torch.diag(torch.ones(N - 1), -1)
    logits = (z @ z.mT / TAU).masked_fill(torch.eye(N, dtype=torch.bool), -1e9)
    return F.cross_entropy(logits, (band / band.sum(1, keepdim=True)).to(z.dtype))


def views(z: Tensor, n: int = 2, **payload: Any) -> Contrast:
    return Contrast.from_views(z[:n], **payload)


def pairs(z: Tensor, **payload: Any) -> Contrast:
    return Contrast.from_pairs(z[0], z[1], **payload)


def unit(z: Tensor) -> Tensor:
    return F.normalize(z, dim=-1)


def square(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(-1)


def own_cosine(z: Tensor) -> Tensor:
    return F.cosine_similarity(z[0], z[1]).detach()


def off(n: int) -> Tensor:
    return ~torch.eye(n, dtype=torch.bool)


class SameLabelScore(TeacherScore):
    """1 for equal labels, else 0."""

    def __call__(self, pair: Any) -> Tensor:
        return pair.same("label").double()


class Same(torch.nn.Module):
    """An encoder whose features are its inputs, but another tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 * x


def unmasked(z: Tensor, key_encoder: Momentum | None) -> Tensor:
    """CoCoSoDa's four terms between the kinds, of copies that are the texts themselves."""
    terms = ["query->document", "query->document_view", "document->query", "document->query_view"]
    module = PairViewsModule(Same(), InfoNCE(TAU), key_encoder=key_encoder, terms=terms)
    sides = {"query": z[0], "document": z[1], "query_view": z[0], "document_view": z[1]}
    return module.objective(module.contrast({**sides, "index": torch.arange(N)}))


def consistent(z: Tensor) -> list[int]:
    """Pairs that the loosest filter keeps, by these embeddings as proxy."""
    rows = TextRows(query=[f"q{i}" for i in range(N)], document=[f"d{i}" for i in range(N)])
    proxy = EmbeddedBy(lambda texts: z[:2].flatten(0, 1).detach())
    return ConsistentPairs(TextDataModule(), rank=N, threshold=-1.0, proxy=proxy).consistent(rows)


def rewritten(z: Tensor, there: int = 1) -> Contrast:
    """Triplets as a writer's texts make them, whose negatives may not have been written."""
    return with_negatives_known(
        pairs(z, negatives=z[2]), Inputs(has_negative=torch.full((N, 1), there), negative_id=torch.full((N, 1), -1))
    )


def scored(z: Tensor, objective: Callable[..., Tensor], score: float) -> Tensor:
    """Triplets, all of whose hard negatives serve all, with one score for every pair."""
    return objective(pairs(z, negatives=z[2], score=torch.full((N,), score)))


LABEL = torch.tensor([0, 0, 1, 1, 2, 2])
ROTATION = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[0]


def nt_xent(z: Tensor, tau: float = TAU) -> Tensor:
    return InfoNCE(tau)(views(z))


def infonce(z: Tensor, tau: float = TAU, **kwargs: Any) -> Tensor:
    return InfoNCE(tau, **kwargs)(pairs(z))


def clip(z: Tensor) -> Tensor:
    return InfoNCE(TAU, symmetric=True)(pairs(z))


def decoupled(z: Tensor, tau: float = TAU) -> Tensor:
    """The positive outside the denominator, both directions."""
    s = unit(z[0]) @ unit(z[1]).mT / tau
    rows = [torch.logsumexp(x.masked_fill(~off(N), -torch.inf), 1) for x in (s, s.mT)]
    return torch.stack(rows).mean() - s.diagonal().mean()


def both_ways(objective: Callable[..., Any], z: Tensor) -> Tensor:
    return objective(TAU, symmetric=True)(pairs(z))


def hardest_margin(s: Tensor) -> Tensor:
    """``max(0, largest negative - positive)``."""
    return (s.masked_fill(~off(N), -9.0).amax(1) - s.diagonal()).clamp(min=0).mean()


def cross_view(z: Tensor) -> Tensor:
    """InfoNCE averaged over both directions, N - 1 negatives of the other view."""
    return (InfoNCE(TAU)(pairs(z)) + InfoNCE(TAU)(pairs(torch.stack([z[1], z[0]])))) / 2


def given(scores: Tensor, **payload: Any) -> Contrast:
    """An anchor with these similarities (Dot), the first is the positive."""
    c = Contrast.from_pairs(torch.ones(1, 1).double(), scores[:1, None])
    return c.append(Candidates(scores[1:, None], name="negative"))


def supcon_halved(z: Tensor) -> Tensor:
    """Each anchor's SupCon times n_pos / (n_pos + 1)."""
    contrast = SupCon(TAU).prepare(views(z, label=LABEL))
    scores = Scores(ready(contrast))
    count = scores.count("positives")
    return (SupCon(TAU).rows(scores) * count / (count + 1)).mean()


def distance_weighted(z: Tensor) -> Tensor:
    """SupReMix's formula by whole matrices."""
    x, y = unit(z[:2]).flatten(0, 1), LABEL.repeat(2)
    s, gap, other = x @ x.mT / TAU, (y[:, None] - y).abs().double(), off(2 * N)
    lse = (s + (gap + 1.0).double().log()).masked_fill(~other, -torch.inf).logsumexp(1)
    positive = (gap == 0) & other
    return ((lse[:, None] - s) * positive).sum(1).div(positive.sum(1) + 1).mean()


def tolerant(z: Tensor) -> Tensor:
    """SupCon with the labels of ConR's tolerance."""
    return SupCon(TAU)(views(z, label=LABEL))


def mean_cacr(z: Tensor) -> Tensor:
    x, y = unit(z[0]), unit(z[1])
    d = square(x, y)
    return (d.diagonal().mean() * 2.0) - 3.0 * d[off(N)].mean()


def mixed(z: Tensor) -> Contrast:
    """MoCHi's block with nothing in it."""
    q, queue = z[0], unit(z[2]).detach()
    block = hard_mixtures(unit(q).detach(), queue.expand(N, N, D), 0, 0)
    with_queue = Contrast.from_pairs(q, z[1], in_batch=False).append(
        Candidates(queue, name="queue", where="replicated")
    )
    return with_queue.append(Candidates(block, name="mixed", where="private"))


def moco(z: Tensor) -> Contrast:
    queue = Candidates(unit(z[2]).detach(), name="queue", where="replicated")
    return Contrast.from_pairs(z[0], z[1], in_batch=False).append(queue)


def transformed(z: Tensor, share: float) -> Tensor:
    """MoCo with positives of one share and the queue mixed with share one."""
    q, k = extrapolated(unit(z[0]), unit(z[1]).detach(), share)
    queue = unit(z[2]).detach()
    mixed = Candidates(1.0 * queue + 0.0 * queue.flip(0), name="queue", where="replicated")
    return InfoNCE(TAU)(Contrast.from_pairs(q, k, in_batch=False).append(mixed))


def moco_of_constant_keys(z: Tensor) -> Tensor:
    return InfoNCE(TAU)(moco(torch.stack([z[0], z[1].detach(), z[2]])))


def over_the_bank(z: Tensor, weight: float, depth: int = 1, positives: int = 2) -> Tensor:
    """InvP against a bank of 9, of which the anchors are the first."""
    callback = InvariancePropagation(k=2, depth=depth, positives=positives, background=9)
    block, _ = callback.block(unit(z[0]).detach(), torch.arange(N), BANK, torch.ones(9, dtype=torch.bool))
    return InvP(weight, TAU)(parts(Contrast.from_views(z[:1], index=torch.arange(N)).append(block), "propagated"))


def instances(z: Tensor) -> Tensor:
    return F.cross_entropy(unit(z[0]) @ BANK.mT / TAU, torch.arange(N))


def nearest_positives(z: Tensor) -> Tensor:
    """The two nearest entries in the numerator, beside instance discrimination."""
    logit = unit(z[0]) @ BANK.mT / TAU
    other = logit.scatter(1, torch.arange(N)[:, None], -torch.inf)
    near = other.detach().topk(2, dim=1).indices
    return instances(z) + 0.6 * (other.logsumexp(1) - other.gather(1, near).logsumexp(1)).mean()


def of_four(z: Tensor) -> list[Contrast]:
    """The contrasts of four views with two keys: both noisy views at one level are one input."""
    given = torch.stack([z[0], z[1], z[2], z[2]])
    names = [(q, k) for q in range(4) for k in range(2) if q != k]
    return [Contrast.from_pairs(given[q], given[k].detach(), name=f"view{q + 1}->view{k + 1}") for q, k in names]


def equal_sides(z: Tensor) -> Tensor:
    """The positive similarity of the noise path, where both sides have one level."""
    path = NoisePath(channels_last=False)
    x, sigma = z[0].reshape(N, 1, 2, 2), torch.full((N,), 0.5)
    a, b = (path.noised(x, sigma, (torch.arange(N), 0, 5)) for _ in range(2))
    return F.cosine_similarity(a.flatten(1), b.flatten(1)).mean()


def geo(z: Tensor, weight: float) -> Tensor:
    torch.manual_seed(0)
    second = Classification(3, "region").double()
    contrast = moco(z)
    return Regularised(InfoNCE(TAU), [Beside(second, weight)])(
        contrast.attach("anchor", region=LABEL).attach("positive", region=LABEL[:, None])
    )


def subclasses(z: Tensor, subclass: Tensor, views_: int, tau: float) -> Tensor:
    second = torch.full((N,), 0.7, dtype=torch.float64)
    return SBCL(0.2, tau)(views(z, views_, label=LABEL, subclass=subclass, subclass_temperature=second))


def gemini(z: Tensor) -> Tensor:
    """A zero flow from pictures to themselves: what is left of alignment and roughness."""
    x = z.reshape(1, 2, 6, 6)
    still = torch.zeros(1, 2, 6, 6, dtype=z.dtype)
    return Gemini(sim=0.0)(x, x, x, x, still, still)


def crops_of(augmentation: Any, z: Tensor) -> Tensor:
    """nt-xent of the first two of three views of the pictures in z."""
    picture = (z[:1].reshape(1, 1, 4, 6).sigmoid()).float()
    made = augmentation.views(picture, torch.tensor([3]), 0, 3)[:2]
    return torch.stack([v.double() for v in made]).square().sum() + 0 * z.sum()


def i_con_supcon(z: Tensor) -> Tensor:
    return SupCon(TAU)(views(z, label=LABEL)) - math.log(3)


def codes(z: Tensor, label: list[int], salient: Tensor | None = None) -> Contrast:
    s = [v[:, :2] if salient is None else salient for v in z]
    return Contrast.from_pairs((z[0], s[0]), (z[1], s[1]), label=torch.tensor(label))


def background(z: Tensor) -> Tensor:
    """Common alignment and uniformity, the null term, and the kernel entropy of the common code (tau 0.5)."""
    a, b = unit(z[0]), unit(z[1])
    common = (a - b).square().sum(1).mean() + log_potential(a, 1.0, off(N)) + log_potential(b, 1.0, off(N))
    null = 3.0 * (z[0, :, :2].square().sum(1).mean() + z[1, :, :2].square().sum(1).mean()) / 2
    return common + null + 5.0 * (entropy(a) + entropy(b)) / 2


def entropy(c: Tensor) -> Tensor:
    return torch.logsumexp(-square(c, c), 1).mean() - math.log(N)


def joint(z: Tensor) -> Tensor:
    constant = torch.full((N, 2), 3.0, dtype=z.dtype)
    contrast = ready(codes(z, [1] * N, constant), anchors=True)
    return SepCLR().terms(contrast)["independence"]


def crops(z: Tensor) -> list[Contrast]:
    x = torch.eye(4, dtype=torch.float64).expand(2, 4, 4) + 0 * z.sum()
    where = torch.arange(8.0).reshape(1, 4, 2).expand(2, 4, 2).double()
    size = torch.ones(2).double()
    return [pixel_contrast(x, x, where, where, size, size)] * 2


def outputs(z: Tensor) -> Tensor:
    return z[0, 0]


def after(callback: Any, contrast: Contrast) -> Contrast:
    """What a callback makes of it."""
    return callback.on_contrast(None, None, contrast)


def sogclr_gradient(z: Tensor) -> Tensor:
    """tau times the decoupled loss over both views' other samples."""
    x = unit(z[:2]).flatten(0, 1)
    s = x @ x.mT
    partner = torch.arange(2 * N).roll(N)
    mask = off(2 * N)
    mask[torch.arange(2 * N), partner] = False
    h = s - s.gather(1, partner[:, None])
    return 0.25 * torch.logsumexp((h / 0.25).masked_fill(~mask, -torch.inf), 1).mean()


def other_samples(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of both views' rows, which are of other samples, and the partner of each row."""
    x, partner = unit(z[:2]).flatten(0, 1), torch.arange(2 * N).roll(N)
    return x @ x.mT, off(N).repeat(2, 2), partner


def second_visit(loss: ISogCLR, z: Tensor) -> Tensor:
    """After the samples were seen as something else."""
    loss(views(z.detach().flip(0), index=torch.arange(N)))
    return loss(views(z, index=torch.arange(N)))


def sogclr_of_running_denominators(z: Tensor, gamma: float) -> Tensor:
    """Yuan et al. 2022, alg. 1: ``tau g / sg(u) - s+`` with ``u = (1 - gamma) u + gamma g``, one ``u`` a sample."""

    def mean_exp(z: Tensor) -> Tensor:
        s, other, _ = other_samples(z)
        return torch.where(other, (s / 0.25).exp(), 0.0).sum(1) / other.sum(1)

    stored = mean_exp(z.detach().flip(0)).reshape(2, N).mean(0).repeat(2)
    g = mean_exp(z)
    u = (1 - gamma) * stored + gamma * g.detach()
    s, _, partner = other_samples(z)
    return (0.25 * g / u - s.gather(1, partner[:, None])[:, 0]).mean()


def beclr(z: Tensor, weight: float = 0.3) -> Tensor:
    return BECLR(0.5, weight)([pairs(z), pairs(torch.stack([z[1], z[0]]))])


def simsiam_with_uniformity(z: Tensor) -> Tensor:
    """Negative cosines, and the log-mean-exp of both views' other samples."""
    x = unit(z[:2]).flatten(0, 1)
    other = off(N).repeat(2, 2)
    lse = (x @ x.mT / 0.5).masked_fill(~other, -torch.inf).logsumexp((0, 1)) - math.log(2 * N * (2 * N - 2))
    return SimSiam()([pairs(z), pairs(torch.stack([z[1], z[0]]))]) + 0.3 * lse


def swav(z: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Three prototypes, given."""
    loss = SwAV(3, TAU, epsilon, iterations, dim=D).double()
    loss.prototypes.weight = torch.nn.Parameter(PROTOTYPES)
    return loss(views(z))


def hard_swav(z: Tensor) -> Tensor:
    """The best assignment of equal sizes, by trying all."""
    logit = unit(z[:2]) @ unit(PROTOTYPES).mT

    def best(s: Tensor) -> Tensor:
        of = max(set(itertools.permutations([0, 0, 1, 1, 2, 2])), key=lambda of: float(s[range(N), of].sum()))
        return torch.tensor(of)

    codes = [best(s.detach()) for s in logit]
    return (F.cross_entropy(logit[1] / TAU, codes[0]) + F.cross_entropy(logit[0] / TAU, codes[1])) / 2


def crowded(z: Tensor) -> Tensor:
    """Two rows for each prototype, all drawn towards the first."""
    return unit(PROTOTYPES)[LABEL] + 0.7 * unit(PROTOTYPES)[0] + 0.1 * z


def equal_codes(z: Tensor) -> Tensor:
    """Cross-entropy with codes of 1 / K."""
    s = unit(torch.ones_like(z[0]) + 0 * z[0]) @ unit(PROTOTYPES).mT / TAU
    return -F.log_softmax(s, dim=1).mean()


def truth_similarity(z: Tensor) -> Tensor:
    """Of the truth's maps to themselves, the mean over two layers."""
    maps = [z[:2].reshape(2, 3, 4, 2), z[1:].reshape(2, 2, 3, 4)]
    made = feature_contrasts(maps, [m[:, None] for m in maps], [m.flip(0)[:, None] for m in maps])
    return torch.stack([c.scores().similarity[:, 0].mean() for c in made]).mean()


def classified(z: Tensor) -> Tensor:
    loss = CategoryQueries(3, D, k=3, temperature=TAU, focus=0.0, balance=None, selector_weight=0.0).double()
    loss.classes.weight = torch.nn.Parameter(PROTOTYPES)
    loss.bias.data = torch.tensor(-2.0).double()
    return loss(views(z, 1, label=LABEL))


def yes_or_no(z: Tensor) -> Tensor:
    """Every class its own question."""
    logits = unit(z[0]) @ unit(PROTOTYPES).mT / TAU - 2
    return F.binary_cross_entropy_with_logits(logits, F.one_hot(LABEL).double(), reduction="none").sum(1).mean()


def sparse(k: int, gamma: float) -> CSR:
    torch.manual_seed(4)
    loss = CSR(8, k, gamma, wide=0.0, normalize=False, temperature=TAU).double()
    loss.head.initialize_parameters(PROTOTYPES)
    return loss.double()


def autoencoder(z: Tensor, k: int = 8) -> Tensor:
    """Mean squared error of what comes back."""
    head = sparse(k, 0.0).head
    return (head.decode(head(z)) - z.detach()).square().mean((1, 2))[:2].mean()


def equal_codes_apart(z: Tensor) -> Tensor:
    """Both sides have one code: log(1 + sum exp((c_ij - 1) / t))."""
    code = unit(sparse(5, 1.0).head(z[0]))
    c = (code @ code.mT)[off(N)].unflatten(0, (N, N - 1))
    return torch.log1p(torch.exp((c - 1) / TAU).sum(1)).mean()


def open_gates(partner: Any, z: Tensor, label: Tensor) -> Tensor:
    loss = Hydra(6, D, partner, hidden=2, temperature=TAU).double()
    with torch.no_grad():
        loss.layers[2].bias.fill_(50.0)
    return loss(views(z, label=label))


def fitted_odds(joint: Tensor) -> Tensor:
    """Gradient descent of the balanced logistic loss on a table of free logits, then odds."""
    shuffled = torch.outer(joint.sum(1), joint.sum(0))
    logit = torch.zeros_like(joint)
    for _ in range(400):
        logit -= 8 * (torch.sigmoid(logit) * (joint + shuffled) - joint)
    return logit.exp()


def factorised(z: Tensor) -> Tensor:
    """``||A - F F'^T||^2`` with ``A = (N - 1) I``, less what does not depend on F and the squared diagonal."""
    s = F.relu(z[0]) @ F.relu(z[1]).mT
    a = (N - 1) * torch.eye(N, dtype=z.dtype)
    return ((a - s).square().sum() - a.square().sum() - s.diagonal().square().sum()) / (N * (N - 1))


BANK = unit(torch.randn(9, D, generator=torch.Generator().manual_seed(11), dtype=torch.float64))


def inflated_rows() -> Tensor:
    """Which rows one pass over the inflated split has: the first four are real, the others generated."""
    rows = torch.arange(N, dtype=torch.uint8).view(N, 1, 1, 1)
    data = InflatedImages(TensorImages(rows[:4]), rows[4:], copies=1)
    return data.__getitems__(list(range(len(data))))["input"].flatten().long()


def towers(z: Tensor) -> Contrast:
    """Two towers that hide nothing."""
    pictures = z[:, :, None, None].expand(3, N, 2, 2, D).movedim(4, 2)
    seen = [MaskedPatches(torch.nn.Flatten(), 1, 0.0).train()(x).view(N, D, 4)[..., 0] for x in pictures]
    return pairs(torch.stack(seen))


def bank(z: Tensor, size: int) -> Candidates:
    return Candidates(unit(z[2, :size]).detach(), {"label": LABEL[:size]}, name="queue", where="replicated")


def trained(slug: str) -> Any:
    """The objective of a recipe."""
    objective = read_arguments([f"--config={slug}"]).config["model"]["objective"]
    return getattr(objectives, objective["class_path"])(**objective["init_args"])


def measured(metric: Any, *args: Tensor) -> Tensor:
    metric.update(*args)
    return metric.compute().double()


def worst_harm(imbalanced: Tensor, balanced: Tensor) -> Tensor:
    metric = RepresentationHarm(D, 3)
    metric.update(imbalanced, balanced, LABEL)
    return metric.compute()["worst"].min().double()


def matched(a: Tensor, b: Tensor) -> Tensor:
    return match_units(unit_correlation(unit_sums(a, b))[:D, D:]).matched.mean()


def dense(z: Tensor) -> tuple[Tensor, Tensor]:
    maps = z[:, :, :, None, None]
    return dense_alignment(maps[0], maps[1], torch.zeros(N, 1).long()).mean(), dense_uniformity(maps[0])


def spheres() -> tuple[Tensor, Tensor]:
    """Two classes whose within-class covariance is the identity."""
    corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=D)), dtype=torch.float64)
    centre = torch.tensor([[3.0, 0, 0, 0], [-3.0, 1, 0, 0]], dtype=torch.float64)
    return torch.cat([corners + c for c in centre]), torch.arange(2).repeat_interleave(len(corners))


def whitened(z: Tensor) -> Tensor:
    return wdiscood_fit(*spheres(), alpha=0.7, normalize=False).score(z[0].detach()).sum() + 0 * z.sum()


def plain_split(z: Tensor) -> Tensor:
    """Distance to the nearest class along the line of means, and to the mean across it, nothing whitened."""
    x, label = spheres()
    one, two = (x[label == c].mean(0) for c in range(2))
    line, mean = unit(one - two), (one + two) / 2
    along = torch.stack([((z[0] - c) @ line).abs() for c in (one, two)]).amin(0)
    rest = z[0] - mean
    return (-along - 0.7 * (rest - (rest @ line)[:, None] * line).norm(dim=1)).detach().sum()


def indistinguishable() -> Tensor:
    g = torch.Generator().manual_seed(0)
    draws = [torch.randn(200, 2, generator=g) for _ in range(4)]
    return critic_divergence(*draws, hidden=16, steps=30)


PROTOTYPES = torch.randn(3, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def written_crd(z: Tensor, samples: int) -> Tensor:
    """h = e^l / (e^l + M / N) of all pairs."""
    e = (unit(z[0]) @ unit(z[1]).mT / TAU).exp()
    h = e / (e + (N - 1) / samples)
    return -torch.where(off(N), 1 - h, h).log().sum(1).mean()


def vae() -> SepVAE:
    torch.manual_seed(0)
    objective = SepVAE(D, 2, 1, 3, kappa=0.0, gamma=0.0, background_variance=0.1)
    objective.codes = torch.nn.Linear(D, 6)
    return objective.double().eval()


def contrastive_analysis(z: Tensor) -> Tensor:
    """Reconstruction, and the divergence of each code from its prior."""
    net, x = vae(), z[1].sigmoid().detach()
    mean, log = net.codes(z[0]).chunk(2, 1)
    target = (LABEL > 0).double()[:, None]
    prior = torch.where(target > 0, 1.0, torch.tensor([[1.0, 1.0, 0.1]]).double())
    prior[:, :2] = 1.0
    posterior = torch.distributions.Normal(mean, (log / 2).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(torch.zeros_like(mean), prior.sqrt()))
    shown = net.decoder(mean * torch.cat([torch.ones(N, 2), target], 1)).sigmoid()
    return (kl.sum(1) - (x * shown.log() + (1 - x) * (1 - shown).log()).sum(1)).mean()


@dataclass(frozen=True)
class Reduction:
    slug: str
    setting: str
    method: Callable[[Tensor], Tensor]
    reduces_to: Callable[[Tensor], Tensor] | float
    how: Literal["=", "->", "<=", "gradient", "value", "about"] = "="

    def __str__(self) -> str:
        return f"{self.slug}: {self.setting}"


def in_chunks(z: Tensor, size: int) -> Tensor:
    """InfoNCE of pairs that an encoder makes a few rows at a time."""
    net = torch.nn.Linear(D, D, bias=False).double()
    net.weight.data = ROTATION * 1.5
    encode = lambda x: net(x).tanh()  # noqa: E731
    a, b = (encode_in_chunks(encode, side, size, module=net) if size else encode(side) for side in z[:2])
    return infonce(torch.stack([a, b]))


def trained_in_chunks(z: Tensor, size: int) -> Tensor:
    """The gradient of the encoder's weights, squared and weighed."""
    net = torch.nn.Linear(D, D, bias=False).double()
    net.weight.data = ROTATION * 1.5
    given = z.detach()
    a, b = (encode_in_chunks(net, side, size, module=net) if size else net(side) for side in given[:2])
    infonce(torch.stack([a.tanh(), b.tanh()])).backward()
    return (net.weight.grad.square() * torch.arange(D)).sum()


def followed(z: Tensor, momentum: float) -> Tensor:
    """How far the keys are from the queries after a step of the encoder."""
    online, teacher = torch.nn.Linear(D, D).double(), Momentum(momentum)
    teacher.follow(online)
    with torch.no_grad():
        online.weight.add_(z[0][:D].detach())
    teacher.after_step(online, 0, 10)
    return (teacher(z[0]) - online(z[0])).abs().max()


def kept_positive(z: Tensor) -> Tensor:
    """DCL's parts with the positive put back, summed over the two views."""
    scores = Scores(ready(DCL(TAU).prepare(views(z))))
    positive = scores.logsumexp("positives")
    return (torch.logaddexp(positive, scores.logsumexp("negatives")) - positive).sum() / N


def mined(z: Tensor, rules: Rules) -> Tensor:
    """The rows that are mined for each anchor among the keys."""
    queries, corpus = (Items(unit(side).detach(), torch.arange(N)) for side in z[:2])
    return mine(queries, corpus, (queries.z * corpus.z).sum(1), rules).rows


def with_negatives(z: Tensor, rows: Tensor) -> Tensor:
    """InfoNCE against explicit negatives ``[N, H]`` of each anchor alone."""
    block = Candidates(z[1][rows], name="negative", where="private")
    return InfoNCE(TAU)(pairs(z, in_batch=False).append(block))


def against(z: Tensor, rows: Tensor) -> Tensor:
    """The same by whole matrices."""
    s = unit(z[0]) @ unit(z[1]).mT / TAU
    return F.cross_entropy(torch.cat([s.diagonal()[:, None], s.gather(1, rows)], 1), torch.zeros(N).long())


def hardest(z: Tensor) -> Tensor:
    return (unit(z[0]) @ unit(z[1]).mT).masked_fill(~off(N), -9.0).argmax(1, keepdim=True)


def neighbours_together(z: Tensor) -> Tensor:
    """How often a sample's nearest other is in its batch of 6 out of 60, over 100 epochs."""
    table = torch.stack([torch.arange(60).sub(i).abs().argsort(stable=True)[1:] for i in range(60)]).int()
    found = []
    for epoch in range(100):
        batch = torch.empty(60, dtype=torch.long)
        batch[torch.as_tensor(neighbour_order(table, 6, 0, 59, epoch)).long()] = torch.arange(60) // 6
        found.append((batch == batch[table[:, 0].long()]).double().mean())
    return torch.stack(found).mean()


def collisions(z: Tensor) -> Tensor:
    """Pairs of one class in a batch, with the classes as pseudo-labels."""
    label = torch.arange(40) % 8
    batches = [label[torch.as_tensor(rows)] for rows in dealt(label, 6, 6, 1, 0)]
    return torch.tensor(float(sum(len(b) - len(b.unique()) for b in batches)))


def centred_at_zero(tau: float) -> MSC:
    msc = MSC(D, tau)
    msc.similarity.ready.fill_(True)
    return msc


def infonce_with(z: Tensor, block: Candidates) -> Tensor:
    return InfoNCE(TAU)(pairs(z).append(block))


def labelled(z: Tensor, target: Any, label: Any = None) -> Tensor:
    """The divergence from a target by labels, all views being anchors."""
    return ICon(TAU, target=target)(views(z, label=LABEL if label is None else label))


def towards_everybody(z: Tensor) -> Tensor:
    """Cross-entropy with a uniform target over all other rows, less its entropy."""
    s = (unit(z[:2]).flatten(0, 1) @ unit(z[:2]).flatten(0, 1).mT / TAU).masked_fill(~off(2 * N), -torch.inf)
    return -s.log_softmax(1).masked_fill(~off(2 * N), 0.0).sum() / (2 * N) / (2 * N - 1) - math.log(2 * N - 1)


def whitened_by_hand(z: Tensor) -> Tensor:
    """NT-Xent after full ZCA of each view."""
    out = []
    for view in z[:2]:
        c = view - view.mean(0)
        u, s, _ = torch.linalg.svd(c.mT @ c / N)
        out.append(c @ (u / s.sqrt()) @ u.mT)
    return nt_xent(torch.stack(out))


def communities_of_one(z: Tensor) -> Tensor:
    """How often the next sample is in one's batch of 6 out of 60, over 100 epochs."""
    sampler = CommunityBatchSampler(60, 6, community=1, skip=0, window=2)
    batch, found = torch.empty(60, dtype=torch.long), []
    table = torch.arange(60)
    for epoch in range(100):
        batch[sampler.mined_order(table, 6, epoch)] = torch.arange(60) // 6
        found.append((batch == batch.roll(1)).double().mean())
    return torch.stack(found).mean()


def focal(z: Tensor) -> Tensor:
    """By hand; the weight is a constant."""
    log_p = (unit(z[0]) @ unit(z[1]).mT / TAU).log_softmax(1).diagonal()
    return -((1 - log_p.detach().exp()).sqrt() * log_p).mean()


def said_once(z: Tensor) -> Tensor:
    """NT-Xent of texts that a view of rate 0 leaves as they are."""
    words = [str(row) for row in range(N)]
    return nt_xent(z[:, [int(word) for word in WordRepetition(0.0).change(words)]])


def text_model(kind: Any, **arguments: Any) -> Any:
    """A tiny transformer of seed 0, without dropout."""
    torch.manual_seed(0)
    config = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 50}
    return kind(config=config, **arguments).double().eval()


TOKENS = {"input_ids": torch.tensor([[2, 9, 8, 3], [2, 7, 5, 3]]), "attention_mask": torch.ones(2, 4).long()}


NARROW = {"hidden_size": D, "intermediate_size": 8, "vocab_size": 60}


def heard(term: ListeningRegulariser, z: Tensor) -> Tensor:
    """nt-xent with a term, which heard a small transformer read N texts twice."""
    tokens = {key: value.repeat(N, 1) for key, value in TOKENS.items()}
    encoder = text_model(TextEncoder)
    with term.listening(encoder):
        encoder(tokens)
    assert term.term(Contrast.from_views(z)).item() != 0
    return Regularised(InfoNCE(TAU), [term])(Contrast.from_views(z))


def in_batch_norm(z: Tensor) -> Tensor:
    return F.batch_norm(z.flatten(0, 1), None, None, training=True).view_as(z)


def same_latents() -> Tensor:
    """How far the attention's outputs of the tokens are apart."""
    encoder = text_model(LatentAttention, latents=3)
    encoder.latents.data = encoder.latents.data[:1].expand(3, -1).clone()
    out = encoder.attended(encoder.states(TOKENS["input_ids"], TOKENS["attention_mask"]))
    return (out - out[:1, :1]).abs().max()


def one_by_one(z: Tensor) -> Tensor:
    """Cross-entropy of each positive with the anchor's other positives left out, summed."""
    s = unit(z[0]) @ unit(z[1]).mT / TAU
    same = LABEL[:, None] == LABEL
    rows = [
        F.cross_entropy(torch.cat([s[i, j][None], s[i, ~same[i]]])[None], torch.tensor([0]))
        for i in range(N)
        for j in same[i].nonzero()[:, 0]
    ]
    return torch.stack(rows).sum() / N


def one_of_many(z: Tensor) -> Contrast:
    """One query, its document and other documents."""
    return Contrast.from_pairs(z[0, :1], z[1, :1]).append(Candidates(z[2], name="more", where="replicated"))


def one_row(z: Tensor) -> Tensor:
    """Its similarities over the temperature, the positive first."""
    return unit(z[0, :1]) @ unit(torch.cat([z[1, :1], z[2]])).mT / TAU


def other_labels(z: Tensor) -> Tensor:
    """InfoNCE against rows of other labels alone."""
    s = unit(z[0]) @ unit(z[1]).mT / TAU
    gone = (LABEL[:, None] == LABEL) & off(N)
    return F.cross_entropy(s.masked_fill(gone, -torch.inf), torch.arange(N))


R = Reduction
TABLE = [
    R("dexml", "one positive per query (decoupled softmax)", lambda z: DecoupledSoftmax(TAU)(pairs(z)), infonce),
    R(
        "dexml",
        "decoupled softmax: the other positives masked out",
        lambda z: DecoupledSoftmax(TAU, target=SameLabel())(pairs(z, label=LABEL)),
        one_by_one,
    ),
    R("codiemb", "P = 1, H = 0 (retrieval part)", lambda z: DecoupledSoftmax(TAU, positives="mean")(pairs(z)), infonce),
    R(
        "codiemb",
        "equal grades: nothing to order",
        lambda z: CoDiEmb(TAU, rank_kl=0.0)(pairs(z, score=torch.ones(N))) + CoSENT(TAU)(pairs(z, score=torch.ones(N))),
        0.0,
    ),
    R(
        "mw-loss",
        "one query, one positive: pairwise logistic losses of its row",
        lambda z: MWLoss(TAU)(one_of_many(z)),
        lambda z: F.softplus(one_row(z)[:, 1:] - one_row(z)[:, :1]).mean(),
    ),
    R(
        "sycl",
        "B = 1: squared distance of the two distributions",
        lambda z: SyCL(TAU, Cosine())(one_of_many(z)),
        lambda z: (one_row(z).softmax(1) - torch.eye(1, N + 1).double().softmax(1)).square().sum(),
    ),
    R(
        "set-cse",
        "sets of size 1",
        lambda z: InfoNCE(TAU)(after(FalseNegativeFilter(same_label=True), pairs(z, label=torch.arange(N)))),
        infonce,
    ),
    R(
        "set-cse",
        "negatives of other sets only",
        lambda z: InfoNCE(TAU)(after(FalseNegativeFilter(same_label=True), pairs(z, label=LABEL))),
        other_labels,
    ),
    R(
        "clrcmd",
        "one token per sentence",
        lambda z: InfoNCE(TAU, MaxSim())(
            Contrast.from_pairs((z[0][:, None], torch.ones(N, 1)), (z[1][:, None], torch.ones(N, 1)))
        ),
        infonce,
    ),
    R(
        "cwm-analogies",
        "cos+ = cos-: the margin",
        lambda z: Triplet(0.15, similarity=Cosine(), positives="pair")(
            pairs(z, in_batch=False, negatives=z[1].detach()[:, None])
        ),
        0.15,
        "value",
    ),
    R(
        "pg-rank",
        "constant utility: zero gradient",
        lambda z: (
            advantages(torch.ones(N, N).to(z), sampled_rankings((z[0] @ z[1].mT).detach(), 5, torch.arange(N), 1), 10)
            * log_ranking(z[0] @ z[1].mT, sampled_rankings((z[0] @ z[1].mT).detach(), 5, torch.arange(N), 1))
        ).sum(),
        0.0,
    ),
    R(
        "triple-encoders",
        "e1 = e2: ccl",
        lambda z: ScoreRegression()(
            Contrast.from_views(Composition()(torch.stack([z[0], z[1], z[1]])), score=torch.linspace(0, 1, N).to(z))
        ),
        lambda z: ScoreRegression()(pairs(z[:2], score=torch.linspace(0, 1, N).to(z))),
    ),
    R(
        "quick-thoughts",
        "band labels: soft InfoNCE with a band as target",
        lambda z: InfoNCE(TAU, Dot(), target=Neighbours())(Contrast.from_views(z[:1], place=torch.arange(N))),
        lambda z: band_by_hand(z[0]),
    ),
    R(
        "quick-thoughts",
        "zero encoders: log(N - 1)",
        lambda z: InfoNCE(TAU, AcrossHalves(), target=Neighbours())(
            Contrast.from_views(0 * z[:1, :, :4], place=torch.arange(N))
        ),
        math.log(N - 1),
    ),
    R(
        "gist",
        "a guide that knows no difference below its own pair",
        lambda z: InfoNCE(TAU)(
            after(FalseNegativeFilter(absolute_margin=0.0, teacher_key="guide"), pairs(z, guide=EYE))
        ),
        infonce,
    ),
    R(
        "gist",
        "a guide that finds equal labels as near as the own pair, margin 0.1",
        lambda z: InfoNCE(TAU)(
            after(FalseNegativeFilter(absolute_margin=0.1, teacher_key="guide"), pairs(z, guide=EYE[LABEL]))
        ),
        other_labels,
    ),
    R(
        "moe-embed",
        "one domain: the dense encoder",
        lambda z: text_model(DomainExperts, domains=1)({**TOKENS, "domain": torch.zeros(2).long()}).sum() + 0 * z.sum(),
        lambda z: text_model(TextEncoder)(TOKENS).sum() + 0 * z.sum(),
    ),
    R("nv-embed", "identical latents: one attention output", lambda z: same_latents() + 0 * z.sum(), 0.0),
    R(
        "promcse",
        "lambda_h = 0: simcse objective",
        lambda z: Regularised(
            InfoNCE(TAU), [Beside(Triplet(0.2, "batch-hard", similarity=Cosine(), positives="pair"), 0.0)]
        )(pairs(z)),
        infonce,
    ),
    R(
        "diffcse",
        "lambda = 0: simcse, batch norm as head",
        lambda z: heard(ReplacedTokens(0.0, TextEncoder(config=NARROW)), in_batch_norm(z[:2])),
        lambda z: nt_xent(in_batch_norm(z[:2])),
    ),
    R(
        "splade",
        "weights of FLOPS 0",
        lambda z: Regularised(InfoNCE(TAU, similarity=Dot()), [FLOPS(0.0), FLOPS(0.0, "candidates")])(pairs(z)),
        lambda z: InfoNCE(TAU, similarity=Dot())(pairs(z)),
    ),
    R("micse", "lambda = 0: simcse", lambda z: heard(AttentionInformation(0.0), z[:2]), nt_xent),
    R(
        "subsentence",
        "full mask: sentence encoder with mean pooling",
        lambda z: text_model(TextEncoder)({**TOKENS, "pooling_mask": TOKENS["attention_mask"]}).sum() + 0 * z.sum(),
        lambda z: text_model(TextEncoder)(TOKENS).sum() + 0 * z.sum(),
    ),
    R(
        "disco-conv",
        "one-hot teacher: InfoNCE with explicit negatives",
        lambda z: ScoreDistillation(TAU, 1.0, Cosine(), VectorScore(cosine=False))(
            pairs(z, teacher=1e3 * torch.eye(N, dtype=z.dtype)).append(
                Candidates(z[2], {"teacher": torch.zeros(N, N, dtype=z.dtype)}, name="negative")
            )
        ),
        lambda z: infonce_with(z, Candidates(z[2], name="negative")),
    ),
    R(
        "distilcse",
        "queue 0: InfoNCE(student, teacher)",
        lambda z: InfoNCE(TAU)(Contrast.from_pairs(z[0], z[1].detach())),
        lambda z: F.cross_entropy(unit(z[0]) @ unit(z[1].detach()).mT / TAU, torch.arange(N)),
    ),
    R(
        "dse-distilled",
        "dot-product head: score regression",
        lambda z: ScoreRegression(1.0, Dot(), VectorScore(cosine=False), "all")(pairs(z, teacher=z[2].detach())),
        lambda z: (z[0] @ z[1].mT - z[2].detach() @ z[2].detach().mT).square().mean(),
    ),
    R(
        "sct",
        "r = m, equal views and temperatures",
        lambda z: SimilarityDistillation(TAU, TAU)(pairs(torch.stack([z[0], z[0].detach()]))),
        0.0,
    ),
    R(
        "amcl",
        "C = 1, constant tau, beta = 0",
        lambda z: AMCL(1, 0.0, TAU, TAU)(views(z)),
        lambda z: DCL(TAU)(views(z)),
    ),
    R("cq-dino", "K = M: full sigmoid classification", classified, yes_or_no),
    R("csr-sparse", "k = latents, gamma = 0: ReLU autoencoder", lambda z: sparse(8, 0.0)(views(z)), autoencoder),
    R(
        "csr-sparse",
        "the same code on both sides",
        lambda z: sparse(5, 1.0)(pairs(torch.stack([z[0], z[0]]))) - autoencoder(torch.stack([z[0], z[0]]), 5),
        equal_codes_apart,
    ),
    R("hydra", "g = 1, labels = instance ids", lambda z: open_gates("own", z, torch.arange(N)), nt_xent),
    R(
        "hydra",
        "g = 1, same-class pairs: supcon with one positive",
        lambda z: open_gates("class", z, LABEL),
        lambda z: SupCon(TAU)(views(torch.stack([z[0], z[1, [1, 0, 3, 2, 5, 4]]]), label=torch.arange(N))),
    ),
    R(
        "landmark-redundancy",
        "independent views: g = 1",
        lambda z: fitted_odds(torch.outer(*z[:2, 0].detach().softmax(1))).mean() + 0 * z.sum(),
        1.0,
    ),
    R("matryoshka", "the full dimension only", lambda z: Matryoshka(InfoNCE(TAU), [D])(views(z)), nt_xent),
    R(
        "ncl-nonneg",
        "activation removed: nothing is negative",
        lambda z: nt_xent(NonNegative("gelu")(z.abs() + 6)),
        lambda z: nt_xent(z.abs() + 6),
    ),
    R(
        "ncl-nonneg",
        "spectral form: non-negative matrix factorisation",
        lambda z: Spectral(Dot())(pairs(NonNegative()(z))),
        factorised,
    ),
    R("proj-head-theory", "k = 1", lambda z: nt_xent(ReweightingHead(1.0)(z)), nt_xent),
    R(
        "scatsimclr",
        "lambda = 0",
        lambda z: Regularised(InfoNCE(TAU), [RotationPretext(0.0, first=1).double()])(views(z)),
        nt_xent,
    ),
    R(
        "scl-relu-binding",
        "ReLU and binding off",
        lambda z: SupCon(TAU)(views(NonNegative()(z.abs()), label=LABEL)),
        lambda z: SupCon(TAU)(views(z.abs(), label=LABEL)),
    ),
    R("clip", "roles of the towers swapped", clip, lambda z: clip(torch.stack([z[1], z[0]]))),
    R("infonce", "candidates = the positive only", lambda z: InfoNCE(TAU)(pairs(z, in_batch=False)), 0.0),
    R("infonce", "all scores equal", lambda z: infonce(torch.ones_like(z) + 0 * z), math.log(N)),
    R("nt-xent", "all embeddings equal", lambda z: nt_xent(torch.ones_like(z) + 0 * z), math.log(2 * N - 1)),
    R("adainf", "n_dup = 1: plain data inflation", lambda z: nt_xent(z[:, inflated_rows()]), nt_xent),
    R(
        "c3-gan",
        "adversarial and entropy terms off, real images only",
        lambda z: Regularised(InfoNCE(TAU), [LatentCodes(dim=D, entropy=0.0).double()])(views(z)),
        nt_xent,
    ),
    R("croma", "mask 0, no reconstruction", lambda z: InfoNCE(TAU, symmetric=True)(towers(z)), clip),
    R(
        "jotr",
        "bank 0",
        lambda z: SupCon(TAU)(views(z, label=LABEL).append(bank(z, 0))),
        lambda z: SupCon(TAU)(views(z, label=LABEL)),
    ),
    R(
        "neural-arch-embeddings",
        "two initialisations: NT-Xent",
        lambda z: trained("neural-arch-embeddings")(views(z)),
        lambda z: nt_xent(z, 0.1),
    ),
    R("ucl-behaviour", "alpha = 1 (keep all)", lambda z: HardContrastive(TAU, 1.0)(views(z)), nt_xent),
    R("which-features", "lam = 0", lambda z: JointSupCon(TAU, 0.0)(views(z, label=LABEL)), nt_xent),
    R(
        "which-features",
        "lam = 1",
        lambda z: JointSupCon(TAU, 1.0)(views(z, label=LABEL)),
        lambda z: SupCon(TAU)(views(z, label=LABEL)),
    ),
    R("cl-harms", "same encoder twice: ratio 1", lambda z: worst_harm(z[0], z[0]), 1.0, "value"),
    R(
        "convergent-learning",
        "B = permuted A: all matched correlations 1",
        lambda z: matched(z[0], z[0].flip(1)),
        1.0,
        "value",
    ),
    R("dense-align-uniform", "H = W = 1: alignment", lambda z: dense(z)[0], lambda z: alignment(z[0], z[1])),
    R("dense-align-uniform", "H = W = 1: uniformity", lambda z: dense(z)[1], lambda z: uniformity(z[0])),
    R("platonic-mknn", "g = rotation of f", lambda z: measured(MutualKNN(2), z[0], 3 * z[0] @ ROTATION), 1.0, "value"),
    R(
        "sigma-delta-aug",
        "identity augmentation: input distance",
        lambda z: augmented_distance(z[0][:, None]).sum(),
        lambda z: torch.cdist(z[0], z[0], compute_mode="donot_use_mm_for_euclid_dist").sum(),
    ),
    R(
        "task-space-picture",
        "equal prediction tables",
        lambda z: bhattacharyya(z[:1].expand(2, N, D).softmax(2)).sum(),
        0.0,
        "value",
    ),
    R(
        "task-space-picture",
        "Euclidean distance matrix: ordinary PCA",
        lambda z: inpca(square(z[0], z[0]).detach()).values[0] + 0 * z.sum(),
        lambda z: torch.linalg.svdvals((z[0] - z[0].mean(0)).detach())[0] ** 2,
        "value",
    ),
    R("vit-supervision-analysis", "equal features: CKA 1", lambda z: measured(LinearCKA(), z[0], z[0]), 1.0, "value"),
    R(
        "wdiscood",
        "identity within-class covariance: plain LDA split",
        lambda z: whitened(z),
        lambda z: plain_split(z),
        "value",
    ),
    R("nnd-gan", "same distribution: about 0", lambda z: indistinguishable(), 0.0, "about"),
    R("g-simclr", "true labels as pseudo labels", collisions, 0.0, "value"),
    R("gradcache", "chunk = batch", lambda z: in_chunks(z, N), lambda z: in_chunks(z, 0)),
    R("gradcache", "any chunk size", lambda z: in_chunks(z, 4), lambda z: in_chunks(z, 0)),
    R(
        "gradcache",
        "any chunk size, the encoder's gradient",
        lambda z: trained_in_chunks(z, 4),
        lambda z: trained_in_chunks(z, 0),
        "value",
    ),
    R("sample4geo", "R = data size, all random", neighbours_together, 5 / 59, "about"),
    R(
        "ance",
        "refresh every step, top-1",
        lambda z: with_negatives(z, mined(z, Rules(1))),
        lambda z: against(z, hardest(z)),
    ),
    R(
        "ance",
        "never refreshed, random draw",
        lambda z: with_negatives(z, mined(z, Rules(2, range_max=N, sampling_strategy="random"))),
        lambda z: against(z, mined(z, Rules(2, range_max=N, sampling_strategy="random"))),
    ),
    R("cocosoda", "queues 0, no masking: symmetric InfoNCE", lambda z: unmasked(z, None), clip),
    R(
        "cocosoda",
        "queues 0, no masking, momentum 0: symmetric InfoNCE with stopped keys",
        lambda z: unmasked(z, Momentum(0.0)),
        lambda z: InfoNCE(TAU)([Contrast.from_pairs(z[0], z[1].detach()), Contrast.from_pairs(z[1], z[0].detach())]),
    ),
    R("cornstack", "k = N, t = -1: keeps all pairs", lambda z: infonce(z[:, consistent(z)]), infonce),
    R(
        "cornstack",
        "T -> 0: top-H negatives",
        lambda z: with_negatives(
            z, mined(z, Rules(2, range_max=N, sampling_strategy="softmax", sampling_temperature=1e-9))
        ),
        lambda z: with_negatives(z, mined(z, Rules(2, range_max=N))),
        "->",
    ),
    R(
        "cornstack",
        "T -> inf: uniform negatives",
        lambda z: with_negatives(
            z, mined(z, Rules(2, range_max=N, sampling_strategy="softmax", sampling_temperature=1e9))
        ),
        lambda z: with_negatives(z, mined(z, Rules(2, range_max=N, sampling_strategy="random"))),
        "->",
    ),
    R(
        "setfit-legal",
        "pair loss at its optimum: cosine 1 within, 0 between classes",
        lambda z: ScoreRegression(teacher=SameLabelScore(), over="all")(
            pairs(EYE[LABEL].expand(2, N, D) + 0 * z[:2], label=LABEL)
        ),
        0.0,
    ),
    R("moco-v2", "m = 0", lambda z: followed(z, 0.0), 0.0, "value"),
    R("dcl", "positive kept in the denominator", kept_positive, lambda z: 2 * nt_xent(z)),
    R("moco-v2", "queue empty", lambda z: InfoNCE(TAU)(pairs(z, in_batch=False)), 0.0),
    R("contriever", "queue empty", lambda z: InfoNCE(0.05)(pairs(z, in_batch=False)), 0.0),
    R("contriever", "m = 0", lambda z: followed(z, 0.0), 0.0, "value"),
    R(
        "claif",
        "s = 1: supervised simcse",
        lambda z: scored(z, ScoredInfoNCE(TAU), 1.0),
        lambda z: scored(z, InfoNCE(TAU), 1.0),
    ),
    R(
        "syncse",
        "generated triplets: supervised simcse",
        lambda z: InfoNCE(TAU)(rewritten(z)),
        lambda z: F.cross_entropy(unit(z[0]) @ unit(torch.cat([z[1], z[2]])).mT / TAU, torch.arange(N)),
    ),
    R(
        "llm-hn",
        "no explicit negative: in-batch InfoNCE",
        lambda z: InfoNCE(TAU)(rewritten(z, there=0)),
        lambda z: InfoNCE(TAU)(pairs(z)),
    ),
    R(
        "claif",
        "no smoothing: s_i times InfoNCE_i",
        lambda z: scored(z, ScoredInfoNCE(TAU, smooth=False), 0.75),
        lambda z: 0.75 * scored(z, InfoNCE(TAU), 0.75),
    ),
    R("claif", "cosines are the scores", lambda z: ScoreRegression()(pairs(z, score=own_cosine(z))), 0.0),
    R("beclr", "before the start epoch: simsiam plus uniformity", beclr, simsiam_with_uniformity),
    R(
        "beclr",
        "lambda = 0",
        lambda z: beclr(z, 0.0),
        lambda z: SimSiam()([pairs(z), pairs(torch.stack([z[1], z[0]]))]),
    ),
    R("space-engage", "one class in the batch", lambda z: SpaceEngage()(views(z, label=0 * LABEL)), 0.0),
    R("swav", "equal scores: codes 1/K", lambda z: swav(torch.ones_like(z) + 0 * z, 1e6), equal_codes),
    R(
        "swav",
        "eps -> 0: hard equal-size assignment",
        lambda z: swav(crowded(z), 4e-3, 400),
        lambda z: hard_swav(crowded(z)),
        "->",
    ),
    R(
        "pcl-sr",
        "output = truth: the similarity to it is 1 at each layer",
        lambda z: truth_similarity(z),
        1.0,
    ),
    R("pcl-sr", "one positive", lambda z: PCLSR(TAU)(pairs(z)), infonce),
    R("supcon", "own labels, 2 views", lambda z: SupCon(TAU)(views(z, label=torch.arange(N))), nt_xent),
    R(
        "supcon",
        "one positive: L_in = L_out",
        lambda z: SupCon(TAU, mean="inside")(views(z, label=torch.arange(N))),
        lambda z: SupCon(TAU)(views(z, label=torch.arange(N))),
    ),
    R("diht", "beta = 0, alpha = 1", lambda z: HNNCE(TAU, 1.0, 0.0)(pairs(z)), clip),
    R("diht", "beta = 0, alpha = 0", lambda z: HNNCE(TAU, 0.0, 0.0)(pairs(z)), decoupled),
    R("diht", "beta = 0, alpha = 0: dcl", lambda z: HNNCE(TAU, 0.0, 0.0)(pairs(z)), lambda z: both_ways(DCL, z)),
    R(
        "dcl",
        "DCLW with equal positive similarities",
        lambda z: DCLW(TAU, detach=True)(pairs(torch.stack([z[0], z[0]]))),
        lambda z: DCL(TAU)(pairs(torch.stack([z[0], z[0]]))),
    ),
    R(
        "ucl-behaviour",
        "tau -> 0",
        lambda z: 1e-4 * infonce(z, 1e-4),
        lambda z: hardest_margin(unit(z[0]) @ unit(z[1]).mT),
        "->",
    ),
    R("mcl", "one cluster", lambda z: MCL(TAU)(pairs(z, cluster=torch.zeros(N).long())), infonce),
    R("mochi", "s = s' = 0", lambda z: InfoNCE(TAU)(mixed(z)), lambda z: InfoNCE(TAU)(moco(z))),
    R(
        "moco-dual-hnf",
        "m = queue size, lambda = 1",
        lambda z: InfoNCE(TAU)(after(HardestNegatives(N, ["queue"]), moco(z))),
        lambda z: InfoNCE(TAU)(moco(z)),
    ),
    R(
        "moco-dual-hnf",
        "fewer entries: at most MoCo",
        lambda z: InfoNCE(TAU)(after(HardestNegatives(2, ["queue"]), moco(z))),
        lambda z: InfoNCE(TAU)(moco(z)),
        "<=",
    ),
    R(
        "mm-hns-har",
        "beta = 0, tau+ = 0",
        lambda z: InfoNCE(TAU)(after(HardnessWeighting(0.0), pairs(z))),
        infonce,
    ),
    R(
        "dclr",
        "phi > 1, r = 0",
        lambda z: InfoNCE(TAU)(after(FalseNegativeFilter(teacher=EYE, max_score=1.1), pairs(z, index=torch.arange(N)))),
        infonce,
    ),
    R(
        "dclr",
        "phi = -1, r = 0",
        lambda z: InfoNCE(TAU)(
            after(FalseNegativeFilter(teacher=EYE, max_score=-1.1), pairs(z, index=torch.arange(N)))
        ),
        0.0,
    ),
    R(
        "importance weights",
        "power = 0",
        lambda z: InfoNCE(TAU)(after(ImportanceWeights("w", power=0.0), pairs(z, w=torch.arange(N) + 1.0))),
        infonce,
    ),
    R(
        "per-pair temperature",
        "one group",
        lambda z: InfoNCE(PerPair(1, initial=1.0))(pairs(z, label=0 * LABEL)),
        lambda z: infonce(z, 1.0),
    ),
    R("per-head temperature", "one head", lambda z: InfoNCE(PerHead({"anchor->positive": TAU}))(pairs(z)), infonce),
    R("learnable temperature", "as it starts", lambda z: infonce(z, Learnable(1.0)), lambda z: infonce(z, 1.0)),
    R(
        "supremix",
        "w = 1, no mixtures, integer labels",
        lambda z: SupReMix(TAU, mixtures=0, weights="none")(views(z, score=LABEL.double())),
        supcon_halved,
    ),
    R(
        "supremix",
        "no mixtures",
        lambda z: SupReMix(TAU, mixtures=0)(views(z, score=LABEL.double())),
        distance_weighted,
    ),
    R(
        "align-uniform",
        "w_u = 0, unit vectors, a = 2",
        lambda z: AlignUniform(uniform_weight=0.0)(pairs(z)),
        lambda z: 2 - 2 * (unit(z[0]) * unit(z[1])).sum(1).mean(),
    ),
    R("cacr", "t+ = t- = 0", lambda z: CACR(2.0, 3.0, 0.0, 0.0)(pairs(z)), mean_cacr),
    R(
        "cacr",
        "K = 2 views: attraction is alignment",
        lambda z: CACR(repulsion=0.0)(views(z)),
        lambda z: AlignUniform(uniform_weight=0.0)(views(z)),
    ),
    R(
        "cacr",
        "t- -> inf",
        lambda z: CACR(attraction=0.0, t_negative=1e4)(pairs(z)),
        lambda z: -square(unit(z[0]), unit(z[1])).masked_fill(~off(N), 9.0).amin(1).mean(),
        "->",
    ),
    R(
        "cmim",
        "N = 2, cosine c",
        lambda z: CMIM(TAU)(Contrast.from_views(z[:1, :2])),
        lambda z: F.softplus((F.cosine_similarity(z[0, 0], z[0, 1], 0) - 1) / TAU),
    ),
    R("cmim", "all codes equal", lambda z: CMIM(TAU)(views(torch.ones_like(z) + 0 * z, 1)), math.log(2)),
    R(
        "decoupled-uniformity",
        "V = 1",
        lambda z: DecoupledUniformity()(views(z, 1)),
        lambda z: AlignUniform(align_weight=0.0)(views(z, 1)),
    ),
    R(
        "decoupled-uniformity",
        "identity prior kernel",
        lambda z: DecoupledUniformity(kernel="rbf", sigma=1e-3, ridge=0.5)(
            views(z, prior=torch.arange(float(N)).reshape(N, 1))
        ),
        lambda z: log_potential(unit(z[:2]).mean(0) / 1.5, 2.0, off(N)),
    ),
    R(
        "decoupled-uniformity",
        "all-ones prior kernel",
        lambda z: DecoupledUniformity(kernel="cosine")(views(z, prior=torch.ones(N, 2))),
        0.0,
    ),
    R(
        "gml",
        "one key per class, uniform prior",
        lambda z: GML([1] * N, TAU)(pairs(z, label=torch.arange(N))),
        lambda z: F.cross_entropy(unit(z[0]) @ unit(z[1]).mT / TAU, torch.arange(N)),
    ),
    R(
        "groco",
        "k = P = 1",
        lambda z: GroCo(1, 3.0, stop_gradient=False)(Contrast.from_pairs(z[0, :2], z[1, :2])),
        lambda z: (
            -(
                0.5
                + torch.atan(3.0 * (lambda s: s.diagonal() - s.flip(1).diagonal())(unit(z[0, :2]) @ unit(z[1, :2]).mT))
                / math.pi
            )
            .log()
            .mean()
        ),
    ),
    R("i-con", "p one-hot on the other view", lambda z: ICon(TAU)(views(z)), nt_xent),
    R(
        "i-con",
        "p uniform over same-label rows",
        lambda z: ICon(TAU, target=SameLabel())(views(z, label=LABEL)),
        i_con_supcon,
    ),
    R(
        "i-con",
        "p = q",
        lambda z: ICon(TAU, target=lambda p: p.logit.exp())(views(z)),
        0.0,
    ),
    R(
        "i-con",
        "Gaussian q on the unit sphere",
        lambda z: ICon(TAU, kernel="gaussian")(views(unit(z))),
        lambda z: ICon(TAU)(views(z)),
    ),
    R("kernel-infonce", "gamma = 2", lambda z: KernelInfoNCE(TAU, 2.0)(views(z)), lambda z: nt_xent(z, TAU / 2)),
    R(
        "kernel-infonce",
        "lambda = 0",
        lambda z: KernelInfoNCE(TAU, 1.0, weight=0.0)(views(z)),
        lambda z: KernelInfoNCE(TAU, 2.0)(views(z)),
    ),
    R("msc", "centre c = 0", lambda z: centred_at_zero(TAU)(views(z)), nt_xent),
    R(
        "mv-cl",
        "V = 2, equal denominators",
        lambda z: MVInfoNCE(TAU)(views(torch.stack([z[0], z[0]]))),
        lambda z: nt_xent(torch.stack([z[0], z[0]])),
    ),
    R("mv-cl", "V = 2: at least nt-xent", lambda z: nt_xent(z), lambda z: MVInfoNCE(TAU)(views(z)), "<="),
    R(
        "mv-cl",
        "V = 2, MV-DHEL",
        lambda z: MVDHEL(TAU)(views(z)),
        lambda z: (
            sum(torch.logsumexp((unit(v) @ unit(v).mT / TAU).masked_fill(~off(N), -torch.inf), 1).mean() for v in z[:2])
            - (unit(z[0]) * unit(z[1])).sum(1).mean() / TAU
        ),
    ),
    R("pixpro", "identical crops, small threshold", lambda z: PixPro(0.1)(crops(z)), -2.0),
    *(
        R("poly-view", f"M = 2, {kind}", lambda z, k=kind: PolyView(TAU, k)(views(z)), cross_view)
        for kind in ("geometric", "arithmetic", "sufficient")
    ),
    R(
        "poly-view",
        "arithmetic <= geometric",
        lambda z: PolyView(TAU, "arithmetic")(views(z, 3)),
        lambda z: PolyView(TAU)(views(z, 3)),
        "<=",
    ),
    R("saunshi", "logistic", lambda z: Saunshi()(pairs(z)), lambda z: infonce(z, 1.0, similarity=Dot())),
    R(
        "saunshi",
        "block size 1",
        lambda z: Saunshi()(Contrast.from_pairs(z[0], z[1:2].mean(0))),
        lambda z: Saunshi()(pairs(z)),
    ),
    R("saunshi", "constant f", lambda z: Saunshi()(pairs(torch.ones_like(z) + 0 * z)), math.log(N)),
    R("sepclr", "all background", lambda z: SepCLR(0.5, 2.0, 3.0, 5.0)(codes(z, [0] * N)), background),
    R("sepclr", "constant salient code", joint, lambda z: (entropy(unit(z[0])) + entropy(unit(z[1]))) / 2),
    R(
        "z-loss",
        "scaled and shifted",
        lambda z: ZLoss(1.0, 1.0, Dot())(given(3.0 * outputs(z) + 7.0)),
        lambda z: ZLoss(1.0, 1.0, Dot())(given(outputs(z))),
    ),
    R("care", "w = 0", lambda z: nt_xent(z) + CARE(0.0)(views(z)), nt_xent),
    R("care", "Z' = Z R", lambda z: CARE()(views(torch.stack([z[0], z[0] @ ROTATION]))), 0.0),
    R(
        "conr",
        "N_i empty",
        lambda z: ConR()(views(z, score=LABEL.double() * 3, prediction=LABEL.double() * 3)),
        0.0,
    ),
    R(
        "conr",
        "S = 1, N_i = all others",
        lambda z: ConR(1.0, TAU, 0.5, 0.0)(views(z, score=LABEL.double(), prediction=torch.zeros(N).double())),
        tolerant,
    ),
    R(
        "dispersive",
        "diagonal excluded, t = 1/2",
        lambda z: Dispersive(1.0, diagonal=False)(views(unit(z), 1)),
        lambda z: AlignUniform(align_weight=0.0)(views(z, 1)),
    ),
    R(
        "ucf",
        "identical features",
        lambda z: UCF(1.0, 3.0)(
            views(torch.ones_like(z) + 0 * z, 1, label=LABEL.clamp(max=1), method=LABEL.clamp(max=1), specific=EYE * 0)
        ),
        12.0,
    ),
    R(
        "isogclr",
        "gamma = 1, fixed tau",
        lambda z: ISogCLR(N, 0.25, gamma=1.0, eta=0.0)(views(z, index=torch.arange(N))),
        sogclr_gradient,
        "gradient",
    ),
    R(
        "isogclr",
        "tau fixed: SogCLR",
        lambda z: second_visit(ISogCLR(N, 0.25, gamma=0.6, eta=0.0).double(), z),
        lambda z: sogclr_of_running_denominators(z, 0.6),
        "gradient",
    ),
    R("feature-transformation", "lambda = 1, mu = 1", lambda z: transformed(z, 1.0), moco_of_constant_keys),
    R(
        "feature-transformation",
        "positive=None, negative=None",
        lambda z: InfoNCE(TAU)(FeatureTransformation(None, None).transformed(moco(z), 0)),
        lambda z: InfoNCE(TAU)(moco(z)),
    ),
    R("gemini", "zero flow, A = B: L_gss = L_smooth = 0", gemini, 0.0),
    R(
        "geo-ssl",
        "geo weight 0 (t1 = t2: tests/data/test_places.py)",
        lambda z: geo(z, 0.0),
        lambda z: InfoNCE(TAU)(moco(z)),
    ),
    R("invp", "lambda = 0, M = n", lambda z: over_the_bank(z, 0.0), instances),
    R("invp", "depth 1, P = k", lambda z: over_the_bank(z, 0.6), nearest_positives),
    R("rrcm", "sigma_s = sigma_t: identical inputs on both sides", equal_sides, 1.0, "value"),
    R(
        "rrcm",
        "identical inputs, path term alone",
        lambda z: RRCM(TAU, augmented=False)(of_four(z)),
        lambda z: InfoNCE(TAU)(Contrast.from_pairs(z[2], z[2].detach())),
    ),
    R(
        "sbcl",
        "one cluster per class",
        lambda z: subclasses(z, LABEL, 2, TAU),
        lambda z: SupCon(TAU)(views(z, label=LABEL)),
    ),
    R(
        "sbcl",
        "every sample its own cluster (one view)",
        lambda z: subclasses(z, torch.arange(N), 1, TAU),
        lambda z: 0.2 * SupCon(0.7)(views(z, 1, label=LABEL)),
    ),
    R(
        "selecmix",
        "q -> 0: q times supcon (auxiliary loss)",
        lambda z: GeneralizedSupCon(1e-7, TAU)(views(z, label=LABEL)) * 1e7,
        lambda z: SupCon(TAU)(views(z, label=LABEL)),
        "->",
    ),
    R(
        "multi-crop",
        "no small views",
        lambda z: crops_of(MultiCrop(seed=2), z),
        lambda z: crops_of(ImageAugmentation(seed=2), z),
    ),
    R(
        "wcord",
        "no Lipschitz constraint, l2 = 0",
        lambda z: Regularised(CRD(TAU, samples=1), [TransportMatching(0.0)]).double()(pairs(z)),
        lambda z: written_crd(z, 1),
    ),
    R(
        "wcord",
        "critic as it starts, l2 = 0",
        lambda z: Regularised(CRD(TAU, samples=9, similarity=LipschitzBilinear(D)), [TransportMatching(0.0)])(pairs(z)),
        lambda z: CRD(TAU, samples=9)(pairs(z)),
    ),
    R("crd", "M = N", lambda z: CRD(TAU, samples=N - 1)(pairs(z)), lambda z: SigLIP(TAU, 0.0)(pairs(z))),
    R(
        "similarity-distillation",
        "student = teacher, equal temperatures",
        lambda z: SimilarityDistillation(TAU, TAU)(pairs(torch.stack([z[0], z[0]]))).detach() + 0 * z.sum(),
        0.0,
    ),
    R(
        "similarity-distillation",
        "teacher's temperature 0",
        lambda z: SimilarityDistillation(TAU, 1e-3)(pairs(z)),
        infonce,
        "->",
    ),
    R(
        "sep-vae",
        "gamma = kappa = 0",
        lambda z: vae()(pairs(torch.stack([z[0], z[1].sigmoid().detach()]), label=LABEL)),
        contrastive_analysis,
    ),
    R(
        "dialog2flow",
        "t' -> 0, distinct labels",
        lambda z: ICon(TAU, target=LabelSimilarity(vectors=torch.eye(N), temperature=1e-3))(
            pairs(z, label=torch.arange(N))
        ),
        infonce,
    ),
    R(
        "dialog2flow",
        "t' -> 0, repeated labels",
        lambda z: labelled(z, LabelSimilarity(vectors=torch.eye(3), temperature=1e-3)),
        i_con_supcon,
    ),
    R(
        "dialog2flow",
        "t' -> inf",
        lambda z: labelled(z, LabelSimilarity(vectors=torch.eye(3), temperature=1e9)),
        towards_everybody,
        "->",
    ),
    R("space-2", "binary f", lambda z: labelled(z, TreeOverlap([["a"], ["b"], ["c"]])), i_con_supcon),
    R("space-2", "identity f (own twin)", lambda z: labelled(z, TreeOverlap([["a"]]), -torch.ones(N).long()), nt_xent),
    R(
        "supcl-seq",
        "two views, unique labels",
        lambda z: SupCon(TAU)(views(z, label=torch.arange(N))),
        nt_xent,
    ),
    R(
        "whitenedcse",
        "G = 1, no shuffle",
        lambda z: nt_xent(GroupWhitening(1, shuffle=False, eps=1e-14)(z[:2])),
        whitened_by_hand,
    ),
    R(
        "whitenedcse",
        "G = d",
        lambda z: nt_xent(GroupWhitening(D, shuffle=False, eps=1e-14)(z[:2])),
        lambda z: nt_xent((z[:2] - z[:2].mean(1, keepdim=True)) / z[:2].std(1, correction=0, keepdim=True)),
    ),
    R("compcse", "both parts = the whole", lambda z: nt_xent(Composition()(z[[0, 1, 1]])), nt_xent),
    R("b3", "K = 1", communities_of_one, 5 / 59, "about"),
    R("kalm-v2", "gamma = 0", lambda z: FocalInfoNCE(0.0, TAU)(pairs(z)), infonce),
    R("kalm-v2", "one full dimension", lambda z: Matryoshka(FocalInfoNCE(0.5, TAU), [D])(pairs(z)), focal),
    R(
        "cluster-ns",
        "w = 0, no centroids",
        lambda z: Regularised(InfoNCE(TAU), [ClusterBand(0.0)])(views(z, cluster=LABEL)),
        nt_xent,
    ),
    R(
        "simcse",
        "no hard negatives",
        lambda z: InfoNCE(TAU)(pairs(z, negatives=z[2][:0])),
        infonce,
    ),
    R("esimcse", "rate 0, queue 0", said_once, nt_xent),
    R(
        "contrast-consistency-qa",
        "q- = q: at least log 2",
        lambda z: 0 * z.sum() + math.log(2),
        lambda z: InfoNCE(TAU)(pairs(z, in_batch=False, negatives=z[0][:, None])),
        "<=",
    ),
    R("macl", "alpha = 0, no reweighting", lambda z: MACL(TAU, 0.0, reweight=False)(views(z)), nt_xent),
    R(
        "macl",
        "A = A0",
        lambda z: MACL(TAU, 0.7, 1.0, reweight=False)(pairs(torch.stack([z[0], z[0]]))),
        lambda z: infonce(torch.stack([z[0], z[0]])),
    ),
]


@pytest.mark.parametrize("line", TABLE, ids=str)
def test_reduction(line: Reduction) -> None:
    z = torch.randn(3, N, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    found = line.method(z)
    other = line.reduces_to
    expected = other(z) if callable(other) else torch.tensor(other, dtype=torch.float64) + 0 * z.sum()
    if line.how == "<=":
        assert found.item() < expected.item()
        return
    if line.how in ("value", "about"):  # a figure without a gradient
        assert found.item() == pytest.approx(expected.item(), abs=0.02 if line.how == "about" else 1e-6)
        return
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if line.how == "->" else {"rtol": 1e-9, "atol": 1e-9}
    if line.how != "gradient":
        torch.testing.assert_close(found, expected, check_dtype=False, **tolerance)
    if line.how == "value":
        return
    grads = [torch.autograd.grad(x, z, allow_unused=True, materialize_grads=True)[0] for x in (found, expected)]
    torch.testing.assert_close(*grads, **tolerance)
