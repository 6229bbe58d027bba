"""A frozen bank of entries, such as a dictionary's words, that definitions must point at (DefSent+)."""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import logs_now, refuse_twins, require_state
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.contrast.target import Labelled
from lightning_contrast.functional.isotropy import Isotropy, isotropic


class EntryBank(Reembed):
    """In training each anchor is compared with all entries: full softmax over a bank that stays fixed for a round.

    At the start of a round all training samples are embedded (:class:`Reembed`) by the encoder of the round before; an
    entry's vector is the mean of the embeddings of its samples (a word's definitions), and the bank is made isotropic
    (:func:`~lightning_contrast.functional.isotropy.isotropic`). In the round the bank's rows take the place of all
    candidates, and an anchor's positive is its own entry; no gradient reaches them ("DefSent+", LREC-COLING 2024,
    section 3). Entries without samples of this process are candidates all the same. Evaluation compares as without it.

    Logs ``<name>/entries``, and ``<name>/churn``: one minus the mean cosine of the entries' vectors before they are made
    isotropic with those of the round before. State: the bank and its ids.

    Args:
        key: payload of the entries, integers >= 0; ``document_id`` of pairs of texts.
        isotropy: ``ica``, ``whiten``, ``standardise`` or ``none``.
        every_n_epochs: epochs of a round, unless by steps.
        every_n_steps: optimizer steps of a round.
        seed: of FastICA.
        name: of the block and in logs.

    Raises:
        ValueError: for another isotropy; in use for samples without an entry, or fewer entries than dimensions.
    """

    def __init__(
        self,
        key: str = "document_id",
        isotropy: Isotropy = "ica",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        seed: int = 0,
        name: str = "entries",
    ) -> None:
        super().__init__(None, every_n_steps, every_n_epochs, 0, space="embedding")
        if isotropy not in get_args(Isotropy):
            raise ValueError(f"isotropy={isotropy!r}: use one of {', '.join(get_args(Isotropy))}.")
        self.key, self.isotropy, self.seed, self.name = key, isotropy, seed, name
        self.ids: Tensor | None = None
        """``[W]``: the entries, rising."""
        self.z: Tensor | None = None
        """``[W, D]``: their vectors."""
        self._mean: Tensor | None = None
        self._churn: float | None = None

    @property
    def state_key(self) -> str:
        """One entry in the checkpoint for each name."""
        return self._generate_state_key(name=self.name)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuses a second bank of this name."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")

    def payload(self) -> tuple[str, ...]:
        """And the entry."""
        return (*super().payload(), self.key)

    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """The new bank."""
        if self.key not in data:
            raise ValueError(f"EntryBank(key={self.key!r}): the samples have no such payload, but {sorted(data)}.")
        ids, place = data[self.key].unique(return_inverse=True)
        if len(ids) and int(ids[0]) < 0:
            raise ValueError(f"EntryBank(key={self.key!r}): a sample has the id {int(ids[0])}; ids must be >= 0.")
        z = data["z"].float()
        mean = torch.zeros(len(ids), z.shape[1], device=z.device).index_add_(0, place, z)
        mean = mean / place.bincount(minlength=len(ids))[:, None]
        # One process decides: other hardware may find another rotation, and then ranks would share no bank.
        made = isotropic(mean, self.isotropy, self.seed) if trainer.is_global_zero else None
        if self._mean is not None and self._mean.shape == mean.shape:
            self._churn = 1 - float(torch.cosine_similarity(self._mean.to(mean.device), mean, dim=1).mean())
        self.ids, self._mean, self.z = ids, mean, trainer.strategy.broadcast(made).to(z.device)

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """All entries instead of the batch, in training."""
        if self.z is None or self.ids is None or not trainer.training:
            return contrast
        z = contrast.anchors.first
        if self.z.device != z.device:
            self.z, self.ids = self.z.to(z.device), self.ids.to(z.device)
        bank = Candidates(self.z.to(z.dtype), {self.key: self.ids}, name=self.name, where="replicated")
        return contrast.replace(candidates=(bank,), target=Labelled(self.key))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs size and churn."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.ids is not None and logs_now(trainer):
            churn = {} if self._churn is None else {f"{self.name}/churn": self._churn}
            pl_module.log_dict({f"{self.name}/entries": float(len(self.ids)), **churn})

    def state_dict(self) -> dict[str, Any]:
        """The bank; equal on all processes."""
        held = {"ids": self.ids, "z": self.z, "mean": self._mean, "churn": self._churn}
        return {**super().state_dict(), **held}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is not this callback's, or truncated.
        """
        require_state(state_dict, {"last", "ids", "z", "mean", "churn"}, f"EntryBank(name={self.name!r})")
        ids, z = state_dict["ids"], state_dict["z"]
        if (ids is None) != (z is None) or (ids is not None and len(ids) != len(z)):
            raise ValueError(
                f"EntryBank(name={self.name!r}): the checkpoint's ids and vectors do not fit: it is truncated."
            )
        super().load_state_dict(state_dict)
        self.ids, self.z, self._mean, self._churn = ids, z, state_dict["mean"], state_dict["churn"]
