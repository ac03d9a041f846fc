"""Damaged cards: a section or a key goes in and nothing else changes, or the card is refused in a sentence."""

import pytest

from hf_affscore.errors import AffscoreError
from hf_affscore.publish.cards import model_card, model_index
from hf_affscore.publish.frontmatter import metadata_of, set_metadata
from tests.fuzz.harness import CASES, ROUNDS, damage, read_or_refused
from tests.publish.samples import signature

CARD = """---
license: mit  # mine
tags: [vision, "a: b"]
datasets:
- user/images
model-index:
- name: net
  results:
  - task: {type: image-classification}
    metrics: [{type: accuracy, value: 0.5}]
---
# Net

Text with --- in it, `code`, <!-- a comment --> and [a link](https://example.org).
"""

CARDS = {
    "card": CARD,
    "card with a section": model_card(CARD, signature()),
    "line ends of Windows": CARD.replace("\n", "\r\n"),
    "no metadata": CARD.rpartition("---\n")[2],
}


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("card", CARDS)
def test_a_damaged_card_keeps_what_is_in_it_or_is_refused(card, round_):
    for damaged in damage(CARDS[card].encode(), round_, 3 * CASES):
        text = damaged.decode("utf-8", errors="replace")
        written = read_or_refused(lambda text=text: model_card(text, signature()), AffscoreError)
        if written is not None:
            assert model_card(written, signature()) == written
        tagged = read_or_refused(lambda text=text: set_metadata(text, "tags", ["new"]), AffscoreError)
        if tagged is not None:
            assert metadata_of(tagged) == {**metadata_of(text), "tags": ["new"]}
        read_or_refused(lambda text=text: model_index(text, signature(), "net"), AffscoreError)
