"""RRCM: instance discrimination along the noise path of diffusion."""

from collections.abc import Sequence

from lightning_contrast.contrast import Candidates, Contrast, Similarity
from lightning_contrast.heads import HeadLike
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.temperatures import TemperatureModule


class RRCM(InfoNCE):
    """InfoNCE of augmented views against a moving average, and of a noisy picture against a less noisy one (Xu et al. 2025).

    ``[InfoNCE(z1, k2) + InfoNCE(z2, k1) + weight InfoNCE(g(z3), sg g(z4))]`` over the number of terms, with the four views of
    ``NoisePath`` (``z`` of the network, ``k`` of its moving average): the first two differ by augmentation, of the others
    the third has more noise. No gradient passes the side with less noise.

    Args:
        temperature: a number > 0 or a temperature module; 0.2 is the paper's.
        path_head: ``g``, on top of the embeddings; ``None`` is none.
        augmented: whether the first two terms are there.
        path: whether the third is.
        similarity: ``None`` is cosine.

    Raises:
        ValueError: without any term; for contrasts that are not of four views and two keys.
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.2,
        path_head: HeadLike | None = None,
        augmented: bool = True,
        path: bool = True,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if not augmented and not path:
            raise ValueError("augmented=False, path=False: one of the terms must be left.")
        self.path_head, self.augmented, self.along_path = path_head, augmented, path

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """The three comparisons, out of those of every view with both keys."""
        given = {c.name: c for c in ([contrast] if isinstance(contrast, Contrast) else contrast)}
        wanted = ("view1->view2", "view2->view1", "view3->view1", "view4->view1")
        if not set(wanted) <= set(given):
            raise ValueError(
                f"RRCM compares four views with the keys of two, but got {sorted(given)}: use the augmentation NoisePath with "
                "n_views=4, and key_encoder=Momentum(...)."
            )
        one, two, high, low = (given[name] for name in wanted)
        out = [one, two] if self.augmented else []
        if self.along_path:
            noisy, cleaner = self._mapped(high.anchors), self._mapped(low.anchors).detach()
            cleaner = cleaner.attach(view=cleaner.get("view") + 1).replace(name="positive")
            out.append(high.replace(anchors=noisy, candidates=(cleaner,), name="view3->view4"))
        return super().directions(out)

    def _mapped(self, block: Candidates) -> Candidates:
        return block if self.path_head is None else block.replace(z=self.path_head(block.first))
