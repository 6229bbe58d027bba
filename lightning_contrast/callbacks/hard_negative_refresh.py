"""Hard negatives mined from the whole training split, again and again while the encoder changes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import default_collate

from lightning_contrast.callbacks.background import Check
from lightning_contrast.callbacks.callback import logs_now
from lightning_contrast.callbacks.embedding import key_input, taught
from lightning_contrast.callbacks.keys import IDS
from lightning_contrast.callbacks.mined_state import check_mined_state
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.callbacks.temperature_schedule import planned_steps, scheduled
from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.encoders import Precomputed, Teacher
from lightning_contrast.functional.by_index import looked_up, order_of
from lightning_contrast.functional.whole_file import table_path
from lightning_contrast.mining import Items, Rules, as_table, mine, mined_figures, search_over, write_mined
from lightning_contrast.mining.negatives import check_size
from lightning_contrast.mining.search import Kind, check_kind


class HardNegativeRefresh(Reembed):
    """Every sample gets negatives of its own: its nearest other samples, as the encoder sees them now.

    At each refresh all samples are embedded (:class:`Reembed`), each anchor is searched among all keys by cosine, the rules
    are applied (:class:`~lightning_contrast.mining.Rules`), and the table of mined ids takes the place of the old one at
    once. Until the next refresh, each anchor is compared with its mined samples too: their embeddings of the refresh
    (``gradient=False``: no cost, but they age), or their inputs encoded again in the step (``gradient=True``: they are
    trained on, for the cost of encoding them). Samplers may read :attr:`table` and :attr:`index`.

    An anchor of which the rules leave nobody has no mined negative until the next refresh: it is compared with the rest of
    its candidates only (counted in ``refresh/empty``).

    Logs ``refresh/churn`` (share of mined ids that are new), ``refresh/age`` (steps since the weights that embedded),
    ``refresh/seconds`` and of them ``refresh/embedding_share``, ``refresh/missing`` (share of places that stayed empty),
    ``refresh/empty``, ``refresh/sampling_temperature``, ``refresh/removed/<rule>`` (pairs an anchor that the rule removed),
    and, where labels are known, ``refresh/same_label`` (share of mined samples with the anchor's label: false negatives).
    State: the table and, without gradient, the embeddings; a resumed run goes on with them.

    Args:
        num_negatives: for each sample, >= 1.
        range_min: leave out so many of the hardest that the rules before it allow.
        range_max: look at so many nearest samples; ``None`` is ``range_min + 10 * num_negatives``.
        same_label: leave out samples of the anchor's ``label``.
        same_key: leave out samples of equal payload of this name, such as a document's id.
        absolute_margin: leave out where ``s > p - margin``, ``p`` the similarity of the anchor's own pair.
        relative_margin: leave out where ``s > p - |p| * margin``.
        max_score: leave out where ``s > max_score``.
        min_score: leave out where ``s < min_score``.
        quantile: leave out the most similar share of what is left, in (0, 1).
        sampling_strategy: ``top``: the hardest of the range. ``random``: drawn from it. ``softmax``: by ``softmax(s / T)``.
        order: names of rules that act first; the others follow as listed here, from the margins to ``range_min``.
        rescore: the rules on scores read the similarities of ``module.teacher`` instead.
        teacher: or those of another model: vectors by index (:class:`~lightning_contrast.encoders.Precomputed`).
        gradient: encode the mined samples anew in each step and train on them.
        every_n_steps: optimizer steps between refreshes; ``None`` goes by epochs.
        every_n_epochs: epochs between refreshes, unless by steps or stalls.
        start: step or epoch of the first refresh.
        stall_steps: refresh at ``start``, then whenever the mean training loss over so many steps is no lower than before.
        stall_delta: by how much lower, at least.
        weights: ``current``, or ``teacher``: ``module.teacher`` embeds both sides, to search by. While it has nothing to
            teach, nothing is mined.
        asynchronous: embed and search in the background, while training goes on.
        take_up_after: optimizer steps until the result of the background is taken up.
        search: ``exact``, ``approximate`` (faiss), or ``auto``, by size: :func:`~lightning_contrast.mining.search_over`.
        seed: of the draws.
        sampling_temperature: ``T`` > 0 of that draw, at the first step.
        final_sampling_temperature: at the last step; refreshes go linearly from one to the other (CoRNStack: 0.05, 0.001).
        path: a ``.npz`` or ``.parquet`` file for the table, replaced as a whole at each refresh; see
            :func:`~lightning_contrast.mining.read_mined`.

    Raises:
        ValueError: for values out of range; at set-up for a similarity that is not cosine, or a teacher that is not there.
        ImportError: for an extra that is not installed.
    """

    name = "mined"
    """Of the block of candidates."""

    def __init__(
        self,
        num_negatives: int = 4,
        range_min: int = 0,
        range_max: int | None = None,
        same_label: bool = False,
        same_key: str | None = None,
        absolute_margin: float | None = None,
        relative_margin: float | None = None,
        max_score: float | None = None,
        min_score: float | None = None,
        quantile: float | None = None,
        sampling_strategy: Literal["top", "random", "softmax"] = "top",
        order: Sequence[str] | None = None,
        rescore: bool = False,
        teacher: str | None = None,
        gradient: bool = False,
        every_n_steps: int | None = None,
        every_n_epochs: int = 1,
        start: int = 0,
        stall_steps: int | None = None,
        stall_delta: float = 0.0,
        weights: Literal["current", "teacher"] = "current",
        asynchronous: bool = False,
        take_up_after: int = 100,
        search: Kind = "auto",
        seed: int = 0,
        path: str | None = None,
        sampling_temperature: float = 0.05,
        final_sampling_temperature: float | None = None,
    ) -> None:
        super().__init__(
            None, every_n_steps, every_n_epochs, start, "embedding", weights, stall_steps, stall_delta, asynchronous,
            take_up_after,
        )  # fmt: skip
        self.rules = Rules(
            num_negatives, range_min, range_max, same_label, same_key, absolute_margin, relative_margin, max_score,
            min_score, quantile, sampling_strategy, order, seed, sampling_temperature,
        )  # fmt: skip
        final = sampling_temperature if final_sampling_temperature is None else final_sampling_temperature
        if final_sampling_temperature is not None and sampling_strategy != "softmax":
            raise ValueError(f"final_sampling_temperature={final}: read by sampling_strategy='softmax' alone.")
        self._last_rules, self._planned = replace(self.rules, sampling_temperature=final), math.inf
        self.requires = self.rules.requires  # type: ignore[misc]
        check_kind(search)
        if rescore and teacher is not None:
            raise ValueError(
                f"rescore=True, teacher={teacher!r}: rules read the scores of one teacher; give one of them."
            )
        self._vectors = None if teacher is None else Precomputed(teacher)
        self.num_negatives, self.rescore, self.gradient, self.search = num_negatives, rescore, gradient, search
        self.path = None if path is None else table_path(path)
        self.index: Tensor | None = None
        """``[N]``: the sample of each row."""
        self.table: Tensor | None = None
        """``[N, num_negatives]``: rows of its mined negatives, -1 where there is none."""
        self._z: Tensor | None = None
        self._row_of: Tensor | None = None
        self._ids: dict[str, Tensor] = {}
        self._made = -1
        self._figures: dict[str, float] = {}

    def require(self, pl_module: Any, brought: bool = False) -> None:
        """Refuses similarities the search does not rank by, towers that would have to be both sides, absent teachers."""
        super().require(pl_module, brought)
        similarity = pl_module.objective.similarity
        if similarity is not None and not isinstance(similarity, Cosine):
            raise ValueError(
                f"HardNegativeRefresh searches by cosine, but the objective compares by {type(similarity).__name__}: what "
                "is near would not be what is hard."
            )
        towers = pl_module.key_encoder is not None and any(p.requires_grad for p in pl_module.key_encoder.parameters())
        if towers and pl_module.objective.symmetric:
            raise ValueError(
                "HardNegativeRefresh mines keys of the second tower, which are no candidates for the other direction of a "
                "symmetric objective: use symmetric=False."
            )

    def asks_teacher(self) -> str | None:
        """Also by ``rescore``."""
        return super().asks_teacher() or ("rescore=True" if self.rescore else None)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Whether there are enough samples."""
        super().on_train_start(trainer, pl_module)
        assert self._source is not None
        check_size(len(self._source.dataset), self.rules)  # type: ignore[arg-type]
        if self._last_rules != self.rules:
            self._planned = planned_steps(trainer, "HardNegativeRefresh(final_sampling_temperature=...)")

    def rules_now(self) -> Rules:
        """Those of this refresh, at its temperature."""
        first, last = self.rules.sampling_temperature, self._last_rules.sampling_temperature
        return replace(self.rules, sampling_temperature=scheduled("linear", first, last, self.step, self._planned))

    # Mine ---------------------------------------------------------------------------------------------------------

    def payload(self) -> tuple[str, ...]:
        """And the key that must differ."""
        return (*super().payload(), *(() if self.rules.same_key is None else (self.rules.same_key,)))

    def read(self, pl_module: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Of unit norm, and the teacher's where it is asked."""
        out = super().read(pl_module, batch)
        teacher: Teacher | None = self._vectors
        if self.weights == "teacher":
            if pl_module.teacher is not pl_module.key_encoder and not self.gradient:
                # searched by the teacher, but compared with where the objective compares
                out["candidate"] = pl_module.project_keys(key_input(batch))
        elif self.rescore:
            teacher = pl_module.teacher
        if teacher is not None:
            out["teacher"], out["teacher_key"] = taught(pl_module, teacher, batch)
        made = ("z", "key", "candidate", "teacher", "teacher_key")
        return {key: F.normalize(value.float(), dim=1) if key in made else value for key, value in out.items()}

    def prepare(self, data: dict[str, Tensor], rows: Tensor, check: Check) -> dict[str, Tensor]:
        """Mines for this process's rows."""
        label, own = data.get("label"), data.get(self.rules.same_key or "")
        query, key = data["z"], data["key"]
        teacher, teacher_key = data.get("teacher"), data.get("teacher_key", key)
        corpus = Items(key, data["index"], label, own, None if teacher is None else teacher_key)
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        queries = Items(query, data["index"], label, own, teacher).part(part)
        pair = (query, key) if teacher is None else (teacher, teacher_key)
        positive = (pair[0][part] * pair[1][part]).sum(1)
        search = search_over(key, self.search, self.rules.seed)
        found = mine(queries, corpus, positive, self.rules_now(), search, self.step, check)
        return {"mined": found.rows, "score": found.scores, "removed": found.removed, "positive": positive}

    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """Puts the new table in the place of the old."""
        index, table = data["index"], data["mined"]
        if self.index is not None and not torch.equal(self.index.to(index.device), index):
            raise ValueError(
                f"HardNegativeRefresh: the data set changed since the last refresh ({len(self.index)} samples, now "
                f"{len(index)}, or another order of 'index'); mined ids would mean other samples."
            )
        figures = mined_figures(table, data["removed"], self.rules.names, data.get("label"), self.table)
        if self.rules.sampling_strategy == "softmax":
            figures["sampling_temperature"] = self.rules_now().sampling_temperature
        if self.path is not None and trainer.is_global_zero:
            write_mined(self.path, as_table(index, data["positive"], table, data["score"]))
        self._figures = figures
        self._take_up(table, data)
        self._z = None if self.gradient else data.get("candidate", data["key"])
        self._made = self.step

    def _take_up(self, table: Tensor, data: dict[str, Tensor]) -> None:
        self.index, self.table, self._row_of = data["index"], table, order_of(data["index"])
        self._ids = {key: data[key] for key in IDS if key in data}

    # Use ----------------------------------------------------------------------------------------------------------

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Appends each anchor's mined samples, in training."""
        if self.table is None or self.index is None or not trainer.training:
            return contrast
        own = contrast.anchors.get("index")
        if self.table.device != own.device:
            self.table, self.index = self.table.to(own.device), self.index.to(own.device)
            self._z = None if self._z is None else self._z.to(own.device)
            self._ids = {key: ids.to(own.device) for key, ids in self._ids.items()}
        if self._row_of is None or self._row_of.device != own.device:
            self._row_of = order_of(self.index)
        rows = looked_up(self.table, looked_up(self._row_of, own, -1), -1)
        # Empty places hold the anchor's own index: they do not exist.
        index = torch.where(rows >= 0, self.index[rows.clamp(min=0)], own[:, None])
        z = self._encoded(trainer, pl_module, rows) if self._z is None else self._z[rows.clamp(min=0)]
        z = z.to(contrast.anchors.first.dtype)
        payload = {"index": index, **{key: ids[rows.clamp(min=0)] for key, ids in self._ids.items()}}
        if "label" in contrast.anchors.payload:  # mined as negatives: no positives by label
            payload["label"] = torch.full_like(index, -1)
        return contrast.append(Candidates(z, payload, name=self.name, where="private", prepared=self._z is not None))

    def _encoded(self, trainer: Any, pl_module: Any, rows: Tensor) -> Tensor:
        """Embeddings ``[n, H, D]`` of the samples of these rows, with gradient; each is encoded once a step."""
        assert self._source is not None
        wanted, place = rows.clamp(min=0).unique(return_inverse=True)
        dataset: Any = self._source.dataset
        ids = wanted.tolist()
        with isolated_random_state(0):
            items = dataset.__getitems__(ids) if hasattr(dataset, "__getitems__") else [dataset[i] for i in ids]
            batch = trainer.strategy.batch_to_device((self._source.collate_fn or default_collate)(items))
        return pl_module.project_keys(key_input(batch))[place]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs the last refresh and its age."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._figures and logs_now(trainer):
            cost = {"seconds": self.seconds, "embedding_share": self.embedding_seconds / max(self.seconds, 1e-9)}
            figures = {**self._figures, **cost, "age": float(trainer.global_step - self._made)}
            pl_module.log_dict({f"refresh/{key}": value for key, value in figures.items()})

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Table, embeddings, when they were made, and what is under way; equal on all processes."""
        held = {"index": self.index, "table": self.table, "z": self._z, "step": self._made, "ids": self._ids}
        return {**super().state_dict(), **held, "figures": dict(self._figures)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is not this callback's, is truncated, or has another number of negatives.
        """
        check_mined_state(state_dict, self.num_negatives, self.gradient)
        super().load_state_dict(state_dict)
        self.index, self.table, self._z = (state_dict[key] for key in ("index", "table", "z"))
        self._row_of = None
        self._ids = dict(state_dict.get("ids", {}))
        self._made, self._figures = int(state_dict["step"]), dict(state_dict["figures"])
