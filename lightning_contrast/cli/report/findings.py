"""Whether a run is healthy, in sentences, each with its evidence."""

from typing import Literal, NamedTuple

from lightning_contrast.cli.report.look import Look
from lightning_contrast.cli.report.run_folder import RunFolder

Mood = Literal["good", "warn", "bad", "info"]


class Finding(NamedTuple):
    """One sentence."""

    mood: Mood
    text: str


def findings(run: RunFolder, look: Look | None) -> list[Finding]:
    """The worst first."""
    found = [*_loss(run), *_rank(run), *_similarity(run), *_accuracy(run, look), *_search(run, look), *_state(run)]
    order = ("bad", "warn", "good", "info")
    return sorted(found, key=lambda one: order.index(one.mood))


def last(run: RunFolder, *names: str) -> float | None:
    """The mean of the last tenth of the first of these curves that there is."""
    for name in names:
        if curve := run.curves.get(name):
            tail = [value for _, value in curve[-max(1, len(curve) // 10) :]]
            return sum(tail) / len(tail)
    return None


def _loss(run: RunFolder) -> list[Finding]:
    loss, chance = last(run, "train/loss", "train/loss_step"), last(run, "geometry/chance")
    if loss is None:
        return []
    if chance is None or chance <= 0:
        return [Finding("info", f"Training loss {loss:.3g}; its chance level was not logged.")]
    if loss > 0.98 * chance:
        text = f"The loss ({loss:.3g}) is no better than chance ({chance:.3g}): nothing has been learned yet."
        return [Finding("bad", text)]
    return [Finding("good", f"The loss is {loss:.3g}, where chance is {chance:.3g}.")]


def _rank(run: RunFolder) -> list[Finding]:
    rank = last(run, "geometry/effective_rank")
    if rank is None:
        return []
    if rank < 1.5:
        text = f"Collapse: the embeddings use {rank:.1f} directions. Likely a learning rate too high, or no negatives."
        return [Finding("bad", text)]
    if rank < 4:
        return [Finding("warn", f"Only {rank:.1f} directions carry the embeddings: close to collapse.")]
    return [Finding("good", f"{rank:.0f} directions carry the embeddings: no collapse.")]


def _similarity(run: RunFolder) -> list[Finding]:
    positive, hardest = last(run, "geometry/positive"), last(run, "geometry/hardest_negative")
    if positive is None or hardest is None:
        return []
    if positive < hardest:
        text = f"On average an anchor's hardest negative ({hardest:.2f}) is more similar than its positive ({positive:.2f})."
        return [Finding("info", text + " Usual with many negatives of few classes; look at the worst errors.")]
    return [Finding("good", f"Positives ({positive:.2f}) are more similar than the hardest negatives ({hardest:.2f}).")]


def _accuracy(run: RunFolder, look: Look | None) -> list[Finding]:
    out = []
    knn = last(run, "val/knn")
    label = None if look is None else look.items.label
    if look is not None and look.items.pairs is None and label is not None and bool((label >= 0).any()):
        known = label[label >= 0]
        chance = float(known.unique(return_counts=True)[1].max() / len(known))
        found = look.figures.get("precision@1")
        if found is not None:
            mood: Mood = "good" if (found.low or 0) > 1.2 * chance else "warn"
            text = f"{found.value:.0%} of held-out items have their own class as nearest neighbour; always naming the"
            out.append(Finding(mood, f"{text} largest class would be right for {chance:.0%}."))
    if knn is not None and not out:
        out.append(Finding("info", f"Nearest neighbours name {knn:.0%} of the validation data rightly."))
    return out


def _search(run: RunFolder, look: Look | None) -> list[Finding]:
    """Queries and documents: beside what the encoder found untrained, and what the words alone find."""
    figure = "val/ndcg@10"
    found, untrained, words = (last(run, name) for name in (figure, f"{figure}_untrained", f"{figure}_bm25"))
    if found is not None and untrained is not None:
        beside = "" if words is None else f", and {words:.2f} by words alone (BM25)"
        text = f"Search reaches nDCG@10 {found:.2f} on validation queries, where it was {untrained:.2f} before training{beside}."
        mood: Mood = "warn" if found <= untrained or (words is not None and found < words) else "good"
        return [Finding(mood, text)]
    mrr = None if look is None else look.figures.get("mrr@10")
    if look is None or mrr is None:
        return []
    n = len(look.items.z)
    chance = sum(1 / k for k in range(1, min(10, n) + 1)) / n
    mood = "good" if (mrr.low or 0) > 2 * chance else "warn"
    return [
        Finding(
            mood, f"MRR@10 is {mrr.value:.2f} among the partners of {n:,} items; in random order about {chance:.3f}."
        )
    ]


def _state(run: RunFolder) -> list[Finding]:
    state = str(run.record.get("state", ""))
    if state.startswith("stopped"):
        return [Finding("warn", f"The run was {state} at step {run.record.get('step')}.")]
    if state == "running":
        return [Finding("info", "The run had not ended when this was written.")]
    return []
