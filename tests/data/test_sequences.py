"""Texts in their order: neighbours in a batch, windows of graded pairs, propositions."""

import pytest
import torch

from lightning_contrast import Contrast
from lightning_contrast.data import (
    ConsecutiveBatchSampler,
    HashedWords,
    SpanTokenizer,
    TextDataModule,
    TextPart,
    TextTokenizer,
    VerseClauseDataModule,
    VerseWindowDataModule,
    verses,
)
from lightning_contrast.data.verse_windows import curved_rows, mixed_rows
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.functional.curved_targets import context_scores, curved_targets, mixed_targets
from lightning_contrast.objectives import ScoreRegression, SupCon
from lightning_contrast.transforms import Composition


class TestConsecutiveBatches:
    def test_stretches(self):
        sampler = ConsecutiveBatchSampler(50, 8)
        seen = {epoch: [list(batch) for batch in sampler.plan(epoch, 1)] for epoch in range(6)}
        for batches in seen.values():
            assert len(batches) == len(sampler)
            rows = [row for batch in batches for row in batch]
            assert len(set(rows)) == len(rows)
            assert set(rows) <= set(range(50))
            assert all(batch == list(range(batch[0], batch[0] + 8)) for batch in batches)
        assert len({min(batch[0] for batch in batches) for batches in seen.values()}) > 1, "they begin elsewhere"
        assert seen[0] == [list(batch) for batch in sampler.plan(0, 1)]

    def test_processes_share_a_stretch(self):
        sampler = ConsecutiveBatchSampler(50, 4)
        (first, *_) = sampler.plan(0, 2)
        parts = [sampler.shard(first, rank, 2) for rank in range(2)]
        assert sorted([*parts[0], *parts[1]]) == list(range(first[0], first[0] + 8))

    @pytest.mark.parametrize(("samples", "rows"), [(0, 1), (3, 0)])
    def test_misuse(self, samples, rows):
        with pytest.raises(ValueError, match="at least 1"):
            ConsecutiveBatchSampler(samples, rows)
        with pytest.raises(ValueError, match="lower it"):
            len(ConsecutiveBatchSampler(3, 4))


SEQUENCES = [[f"{letter}{number}" for number in range(7)] for letter in "abcdef"]


class TestWindows:
    def test_targets(self):
        assert curved_targets(5) == [0.8, 0.6, 0.4, 0.2]
        expected = {(2, 3): 1.0, (1, 3): 0.8, (0, 3): 0.6, (1, 2): 0.6, (0, 2): 0.4, (0, 1): 0.2}
        assert mixed_targets(5) == pytest.approx(expected)
        for made, window in ((curved_targets, 1), (mixed_targets, 3)):
            with pytest.raises(ValueError, match="at least"):
                made(window)

    def test_pairs(self):
        rows = curved_rows(SEQUENCES, 5)
        assert len(rows) == 6 * 3 * 4 * 3, "sequences, windows, later texts, and true, reversed, random"
        for number, (one, two, score) in enumerate(zip(rows.query, rows.document, rows.known["score"], strict=True)):
            ahead = int(two[1]) - int(one[1]) if one[0] == two[0] else None
            if number % 3 == 0:
                assert score == pytest.approx((5 - ahead) / 5)
            elif number % 3 == 1:
                assert (ahead < 0, score) == (True, 0.0)
                assert (two, one) == (rows.query[number - 1], rows.document[number - 1])
            else:
                assert score == 0.0
                same = [one == rows.query[number - 2], two == rows.document[number - 2]]
                assert any(same), "one of the two stays"

    def test_triples(self):
        rows = mixed_rows(SEQUENCES, 5)
        assert len(rows) == 6 * 3 * 6 * 2
        for row in range(0, len(rows), 2):
            last, one, two = rows.query[row].split("\t")
            start = int(last[1]) - 4
            pair = (int(one[1]) - start, int(two[1]) - start)
            assert rows.known["score"][row] == pytest.approx(mixed_targets(5)[pair])
            other = rows.query[row + 1].split("\t")
            assert (other[0], rows.known["score"][row + 1]) == (last, 0.0)

    def test_markers(self, monkeypatch):
        made = {("Mark", chapter, verse): f"{chapter} v{verse}" for chapter in range(1, 41) for verse in range(1, 7)}
        monkeypatch.setattr(verses, "read_verses", lambda *where: made)
        pairs = VerseWindowDataModule(tokenizer=HashedWords())
        pairs.setup()
        item = pairs.train_set[0]
        assert (pairs.query_prompt, pairs.document_prompt) == ("before: ", "after: ")
        assert item["score"] == 0.8
        triples = VerseWindowDataModule(mixed=True, tokenizer=HashedWords(), batch_size=4)
        triples.setup()
        for found in (triples.train_set[0], triples._held("val", views=True)[0]):
            assert [view.split(": ")[0] for view in found["views"]] == ["after", "first before", "second before"]
        with pytest.raises(ValueError, match="2 texts"):
            TextPart(2)("a\tb")
        with pytest.raises(ValueError, match="number=-1"):
            TextPart(-1)


class TestCurvedObjective:
    def test_without_markers_the_order_cannot_be_learned(self):
        """The pair and its reverse are one pair to a symmetric cosine: the best it can say is 0.4."""
        one = torch.tensor([[1.0, 0.0]] * 2)
        losses = {}
        for cosine in torch.linspace(0, 1, 101).tolist():
            two = torch.tensor([[cosine, (1 - cosine**2) ** 0.5]] * 2)
            anchors, positives = torch.stack([one[0], two[0]]), torch.stack([two[0], one[0]])
            loss = ScoreRegression()(Contrast.from_pairs(anchors, positives, score=torch.tensor([0.8, 0.0])))
            losses[round(cosine, 2)] = loss.item()
        best = min(losses, key=losses.get)
        assert (best, losses[best]) == (pytest.approx(0.4), pytest.approx(0.16, abs=1e-6))

    def test_markers_tell_the_sides_apart(self):
        """``cos(f(B a), f(A b))`` is not ``cos(f(B b), f(A a))``."""
        torch.manual_seed(0)
        data = TextDataModule(["before after one two three"] * 3, tokenizer=TextTokenizer(vocab_size=100))
        data.tokenizer.learn(["before: after: one two three four"])
        encoder = TextEncoder(config={"hidden_size": 8, "num_attention_heads": 1, "vocab_size": 100}).eval()
        score = lambda a, b: torch.cosine_similarity(*(encoder(data.tokenizer([x])) for x in (a, b))).item()  # noqa: E731
        assert score("before: one two", "after: three") != pytest.approx(
            score("before: three", "after: one two"), abs=1e-6
        )
        assert score("one two", "three") == pytest.approx(score("three", "one two"), abs=1e-6)

    def test_means_are_of_vectors_as_they_are(self):
        z = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))  # last, and two before it
        score = torch.tensor([1.0, 0.8, 0.6, 0.0])
        compared = lambda z: ScoreRegression()(Contrast.from_views(Composition()(z), score=score))  # noqa: E731
        by_hand = (torch.cosine_similarity((z[1] + z[2]) / 2, z[0]) - score).square().mean()
        torch.testing.assert_close(compared(z), by_hand)
        louder = torch.stack([z[0], 5 * z[1], z[2]])
        assert compared(louder) != pytest.approx(compared(z).item(), abs=1e-4)

    def test_contexts(self):
        z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
        candidates = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
        cosine = torch.nn.functional.cosine_similarity
        plain = torch.stack([cosine(one[None], candidates) for one in z]).mean(0)
        torch.testing.assert_close(context_scores(z, candidates), plain)
        pairs = [(z[a] + z[b]) / 2 for a in range(4) for b in range(a + 1, 4)]
        mixed = torch.stack([cosine(one[None], candidates) for one in pairs]).sum(0)
        torch.testing.assert_close(context_scores(z, candidates, mixed=True), mixed)
        torch.testing.assert_close(context_scores(z[:1], candidates, mixed=True), context_scores(z[:1], candidates))

    def test_a_new_utterance_is_one_more_encoding(self):
        calls = []
        encode = lambda text: (calls.append(text), torch.tensor([[len(text), 1.0]]))[1]  # noqa: E731
        rows, candidates = torch.zeros(0, 2), torch.eye(2)
        for text in ("a", "bb", "cccc"):
            rows = torch.cat([rows, encode(text)])
            assert context_scores(rows, candidates, mixed=True).shape == (2,)
        assert calls == ["a", "bb", "cccc"]


class TestPropositions:
    TEXT = "he sang, and she left"

    @pytest.fixture(scope="class")
    def tokenizer(self):
        made = SpanTokenizer(vocab_size=100)
        made.learn([self.TEXT] * 9)
        return made

    def test_marks_become_masks(self, tokenizer):
        found = tokenizer(["he sang, [[and she]] left", "[[he]] sang", self.TEXT])
        assert found["pooling_mask"].tolist() == [[0, 0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0], [1] * 7]
        plain = tokenizer([self.TEXT])
        assert torch.equal(found["input_ids"][:1], plain["input_ids"]), "the text is read as a whole"

    def test_what_is_cut_off_is_pooled_as_a_whole(self):
        made = SpanTokenizer(vocab_size=100, max_length=4)
        made.learn([self.TEXT] * 9)
        with pytest.warns(UserWarning, match="max_length"):
            found = made(["he sang, and she [[left]]"])
        assert torch.equal(found["pooling_mask"], found["attention_mask"])

    def test_two_parts_of_a_text(self, tokenizer):
        torch.manual_seed(0)
        encoder = TextEncoder(config={"hidden_size": 8, "num_attention_heads": 1, "vocab_size": 100}).eval()
        one, other, again, whole = encoder(
            tokenizer(
                ["[[he sang]], and she left", "he sang, [[and she left]]", "[[he sang]], and she left", self.TEXT]
            )
        )
        torch.testing.assert_close(one, again)
        assert not torch.allclose(one, other)
        torch.testing.assert_close(whole, encoder(same_words(tokenizer)([self.TEXT]))[0])

    def test_a_part_without_an_equivalent_is_a_negative_alone(self):
        z = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
        label = torch.tensor([0, 1, -1])
        found = SupCon(0.5)(Contrast.from_pairs(z[0], z[1], label=label))
        unit = torch.nn.functional.normalize(z, dim=-1)
        logits = unit[0] @ unit[1].mT / 0.5
        torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits[:2], torch.arange(2)))

    def test_clauses_of_verses(self, monkeypatch):
        made = {("Mark", c, v): f"he {c}, she {v}; they" for c in range(1, 41) for v in range(1, 4)}
        made["Mark", 1, 1] = "one clause"
        monkeypatch.setattr(verses, "read_verses", lambda *where: made)
        data = VerseClauseDataModule()
        data.setup()
        items = [data.train_set[row] for row in range(len(data.train_set))]
        assert all(item["query"].count("[[") == 1 for item in items)
        assert len({item["label"] for item in items}) == len(items)
        assert [item["query"].index("[[") for item in items[:3]] == sorted(
            item["query"].index("[[") for item in items[:3]
        )
        assert not any("one clause" in item["query"] for item in items)
        with pytest.raises(ValueError, match="SpanTokenizer"):
            VerseClauseDataModule(tokenizer=HashedWords())
        with pytest.raises(ValueError, match="task"):
            VerseClauseDataModule(task="single")


def same_words(tokenizer):
    """The same words without masks."""
    made = TextTokenizer(vocab_size=100)
    made.load_state_dict(tokenizer.state_dict())
    return made
