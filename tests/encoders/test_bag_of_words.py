"""BagOfWords by hand."""

import pytest
import torch

from lightning_contrast.encoders import BagOfWords


def test_the_mean_of_its_words():
    encoder = BagOfWords(10, 4)
    table = encoder.embedding.weight.detach()
    found = encoder(torch.tensor([[3, 7, 3, 0], [5, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.int32))
    torch.testing.assert_close(found[0], (2 * table[3] + table[7]) / 3)
    torch.testing.assert_close(found[1], table[5])
    assert found[2].tolist() == [0] * 4


def test_padding_is_not_trained():
    encoder = BagOfWords(10, 4)
    encoder(torch.tensor([[3, 0]])).sum().backward()
    gradient = encoder.embedding.weight.grad
    assert gradient[3].tolist() == [1] * 4
    assert not gradient[[0, *range(4, 10)]].any()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.ones(2, 3), "integers"),
        (torch.ones(2, dtype=torch.int64), "integers"),
        (torch.tensor([[10]]), "the same words"),
        (torch.tensor([[-1]]), "the same words"),
    ],
)
def test_wrong_input(x, words):
    with pytest.raises(ValueError, match=words):
        BagOfWords(10, 4)(x)


def test_wrong_numbers():
    with pytest.raises(ValueError, match="words=1"):
        BagOfWords(1)


def test_tokens_of_a_transformer_count_where_its_mask_says():
    encoder = BagOfWords(10, 4)
    tokens = {"input_ids": torch.tensor([[3, 7, 5]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    torch.testing.assert_close(encoder(tokens), encoder(torch.tensor([[3, 7, 0]])))


def test_tokens_without_a_mask():
    with pytest.raises(ValueError, match=r"got a dict\. .*tokenizer=HashedWords"):
        BagOfWords(10, 4)({"input_ids": torch.ones(1, 2, dtype=torch.int64)})
