"""Objectives: what turns a Contrast into a loss."""

from lightning_contrast.objectives.align_uniform import AlignUniform
from lightning_contrast.objectives.amcl import AMCL
from lightning_contrast.objectives.arcface import ArcFace
from lightning_contrast.objectives.barlow_twins import BarlowTwins
from lightning_contrast.objectives.beclr import BECLR
from lightning_contrast.objectives.byol import BYOL
from lightning_contrast.objectives.cacr import CACR
from lightning_contrast.objectives.category_queries import CategoryQueries
from lightning_contrast.objectives.circle import Circle
from lightning_contrast.objectives.classification import Classification
from lightning_contrast.objectives.cmim import CMIM
from lightning_contrast.objectives.contrastive import Contrastive
from lightning_contrast.objectives.crd import CRD
from lightning_contrast.objectives.csr import CSR
from lightning_contrast.objectives.dcl import DCL, DCLW
from lightning_contrast.objectives.debiased import Debiased
from lightning_contrast.objectives.decoupled_softmax import DecoupledSoftmax
from lightning_contrast.objectives.decoupled_uniformity import DecoupledUniformity
from lightning_contrast.objectives.diht import HNNCE
from lightning_contrast.objectives.dino import DINO
from lightning_contrast.objectives.disentangled import Disentangled
from lightning_contrast.objectives.focal_infonce import FocalInfoNCE
from lightning_contrast.objectives.gemini import Gemini
from lightning_contrast.objectives.generalized_supcon import GeneralizedSupCon
from lightning_contrast.objectives.gml import GML
from lightning_contrast.objectives.graded_pairs import CoDiEmb, CoSENT
from lightning_contrast.objectives.groco import GroCo
from lightning_contrast.objectives.hard_contrastive import HardContrastive
from lightning_contrast.objectives.hcl import HCL
from lightning_contrast.objectives.hydra import Hydra
from lightning_contrast.objectives.i_con import ICon
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.objectives.inv_p import InvP
from lightning_contrast.objectives.isogclr import ISogCLR
from lightning_contrast.objectives.joint_supcon import JointSupCon
from lightning_contrast.objectives.kernel_infonce import KernelInfoNCE
from lightning_contrast.objectives.macl import MACL
from lightning_contrast.objectives.margin_mse import MarginMSE
from lightning_contrast.objectives.matryoshka import Matryoshka
from lightning_contrast.objectives.mcl import MCL
from lightning_contrast.objectives.moco_v3 import MoCoV3
from lightning_contrast.objectives.msc import MSC
from lightning_contrast.objectives.multi_similarity import MultiSimilarity
from lightning_contrast.objectives.multiple_negatives import MultipleNegativesRanking
from lightning_contrast.objectives.mv_cl import MVDHEL, MVInfoNCE
from lightning_contrast.objectives.mw_loss import MWLoss
from lightning_contrast.objectives.n_pairs import NPairs
from lightning_contrast.objectives.nnclr import NNCLR
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.pair_discriminator import PairDiscriminator
from lightning_contrast.objectives.pcl_sr import PCLSR, feature_contrasts
from lightning_contrast.objectives.pg_rank import PGRank
from lightning_contrast.objectives.pixpro import PixContrast, PixPro, pixel_contrast
from lightning_contrast.objectives.poly_view import PolyView
from lightning_contrast.objectives.proxy_anchor import ProxyAnchor
from lightning_contrast.objectives.regression import Regression
from lightning_contrast.objectives.retriever_ranker import RetrieverRanker
from lightning_contrast.objectives.rince import RINCE
from lightning_contrast.objectives.rrcm import RRCM
from lightning_contrast.objectives.saunshi import Saunshi
from lightning_contrast.objectives.sbcl import SBCL
from lightning_contrast.objectives.score_distillation import ScoreDistillation
from lightning_contrast.objectives.score_regression import ScoreRegression
from lightning_contrast.objectives.scored_infonce import ScoredInfoNCE
from lightning_contrast.objectives.sep_vae import SepVAE
from lightning_contrast.objectives.sepclr import SepCLR
from lightning_contrast.objectives.siglip import SigLIP
from lightning_contrast.objectives.similarity_distillation import SimilarityDistillation
from lightning_contrast.objectives.simsiam import SimSiam
from lightning_contrast.objectives.soft_top_k import SoftTopK
from lightning_contrast.objectives.space_engage import SpaceEngage
from lightning_contrast.objectives.spectral import Spectral
from lightning_contrast.objectives.supcon import SupCon
from lightning_contrast.objectives.super_resolution import SuperResolution
from lightning_contrast.objectives.supremix import SupReMix
from lightning_contrast.objectives.swav import SwAV
from lightning_contrast.objectives.sycl import SyCL
from lightning_contrast.objectives.triplet import Triplet
from lightning_contrast.objectives.vicreg import VICReg
from lightning_contrast.objectives.z_loss import ZLoss

__all__ = [
    "AMCL",
    "BECLR",
    "BYOL",
    "CACR",
    "CMIM",
    "CRD",
    "CSR",
    "DCL",
    "DCLW",
    "DINO",
    "GML",
    "HCL",
    "HNNCE",
    "MACL",
    "MCL",
    "MSC",
    "MVDHEL",
    "NNCLR",
    "PCLSR",
    "RINCE",
    "RRCM",
    "SBCL",
    "AlignUniform",
    "ArcFace",
    "BarlowTwins",
    "CategoryQueries",
    "Circle",
    "Classification",
    "CoDiEmb",
    "CoSENT",
    "Contrastive",
    "Debiased",
    "DecoupledSoftmax",
    "DecoupledUniformity",
    "Disentangled",
    "FocalInfoNCE",
    "Gemini",
    "GeneralizedSupCon",
    "GroCo",
    "HardContrastive",
    "Hydra",
    "ICon",
    "ISogCLR",
    "InfoNCE",
    "InvP",
    "JointSupCon",
    "KernelInfoNCE",
    "MVInfoNCE",
    "MWLoss",
    "MarginMSE",
    "Matryoshka",
    "MoCoV3",
    "MultiSimilarity",
    "MultipleNegativesRanking",
    "NPairs",
    "Objective",
    "PGRank",
    "PairDiscriminator",
    "PixContrast",
    "PixPro",
    "PolyView",
    "ProxyAnchor",
    "Regression",
    "RetrieverRanker",
    "Saunshi",
    "ScoreDistillation",
    "ScoreRegression",
    "ScoredInfoNCE",
    "SepCLR",
    "SepVAE",
    "SigLIP",
    "SimSiam",
    "SimilarityDistillation",
    "SoftTopK",
    "SpaceEngage",
    "Spectral",
    "SupCon",
    "SupReMix",
    "SuperResolution",
    "SwAV",
    "SyCL",
    "Triplet",
    "VICReg",
    "ZLoss",
    "feature_contrasts",
    "pixel_contrast",
]
