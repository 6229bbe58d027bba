"""Words in their contexts: cwm-analogies."""

import itertools
import random

import pytest
import torch

from lightning_contrast import Contrast
from lightning_contrast.contrast import Cosine
from lightning_contrast.data import HashedWords, WordContextDataModule
from lightning_contrast.data.word_contexts import word_pairs
from lightning_contrast.functional.analogies import analogy_accuracy, offset_similarity, pairing_consistency
from lightning_contrast.objectives import Triplet
from tests.data.wordnet_sample import write_wordnet


def test_pairs_of_a_window():
    rows = word_pairs([["a", "b", "c", "d"]], window=2, negatives=3, rare=1e9)
    found = list(zip(rows.query, rows.document, strict=True))
    near = [(x, y) for x, y in itertools.permutations("abcd", 2) if abs(ord(x) - ord(y)) <= 2]
    assert sorted(found) == sorted(near)
    assert all(len(negative) == 3 and set(negative) <= set("abcd") for negative in rows.negative)
    assert not len(word_pairs([["a", "b"]], min_count=2))


def test_frequent_words_are_skipped_and_negatives_follow_the_power():
    texts = [["often"] * 8 + ["seldom"]] * 400
    rows = word_pairs(texts, window=1, negatives=1, rare=0.05)
    assert rows.query.count("often") < 0.5 * 400 * 16
    drawn = [word for negative in word_pairs(texts, negatives=2, rare=1e9).negative for word in negative]
    assert drawn.count("seldom") / len(drawn) == pytest.approx(1 / (1 + 8**0.75), abs=0.01)


def test_the_hinge():
    """cos+ = .9 and cos- = .5 cost nothing with margin .15; equal cosines cost the margin."""
    at = lambda cosine: torch.tensor([[cosine, (1 - cosine**2) ** 0.5]])  # noqa: E731
    loss = lambda far: Triplet(0.15, similarity=Cosine(), positives="pair")(  # noqa: E731
        Contrast.from_pairs(at(1.0), at(0.9), in_batch=False, negatives=at(far)[:, None])
    )
    assert loss(0.5).item() == 0
    assert loss(0.9).item() == pytest.approx(0.15)
    assert loss(0.8).item() == pytest.approx(0.05, abs=1e-6)


def test_analogies_become_parallel_lines():
    """Words that are one of two kinds and one of two numbers, each with its own contexts; a margin that is never reached."""
    drawn = random.Random(0)
    kinds, numbers = (
        {"x": ["x1", "x2", "x3"], "y": ["y1", "y2", "y3"]},
        {"s": ["s1", "s2", "s3"], "p": ["p1", "p2", "p3"]},
    )
    words = ["xs", "xp", "ys", "yp"]
    contexts = [c for group in (kinds, numbers) for some in group.values() for c in some]
    torch.manual_seed(0)
    u, v = (0.1 * torch.randn(4, 16)).requires_grad_(), (0.1 * torch.randn(12, 16)).requires_grad_()
    optimizer, hinge = torch.optim.Adam([u, v], lr=0.03), Triplet(2.0, similarity=Cosine(), positives="pair")
    rows = [(w, contexts.index(c)) for w, name in enumerate(words) for c in kinds[name[0]] + numbers[name[1]]]
    own = {w: {c for at, c in rows if at == w} for w in range(4)}
    for _ in range(120):
        optimizer.zero_grad()
        word, context = torch.tensor(rows).T
        other = torch.tensor([drawn.sample(sorted(set(range(12)) - own[w]), 3) for w, _ in rows])
        hinge(Contrast.from_pairs(u[word], v[context], in_batch=False, negatives=v[other])).backward()
        optimizer.step()
    z = torch.nn.functional.normalize(u.detach(), dim=1)
    xs, xp, ys, yp = z
    assert offset_similarity(torch.stack([xs, ys]), torch.stack([xp, yp])) > 0.95
    assert offset_similarity(torch.stack([xs, xp]), torch.stack([ys, yp])) > 0.95
    assert analogy_accuracy(z, torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2], [0, 2, 1, 3], [2, 0, 3, 1]])) == 1


def test_consistency_of_planted_offsets():
    g = torch.Generator().manual_seed(0)
    root, attribute = torch.randn(8, 20, generator=g), 2 * torch.randn(1, 20, generator=g)
    assert offset_similarity(root, root + attribute) == pytest.approx(1, abs=1e-5)
    assert pairing_consistency(root, root + attribute) > 0.9
    noise = torch.randn(2, 8, 20, generator=g)
    assert pairing_consistency(*noise) == pytest.approx(0.5, abs=0.15)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        offset_similarity(root[:1], root[:1])
    with pytest.raises(ValueError, match="permutations"):
        pairing_consistency(root, root, 0)


def test_glosses(tmp_path):
    data = WordContextDataModule(min_count=3, negatives=2, root=str(write_wordnet(tmp_path)), tokenizer=HashedWords())
    data.setup()
    item = data.train_set[0]
    assert len(item["negative"]) == 2
    assert len(item["query"].split()) == len(item["document"].split()) == 1
    with pytest.raises(ValueError, match="window=0"):
        WordContextDataModule(window=0)
