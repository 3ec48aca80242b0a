"""BLEU, ROUGE-L and entropy against hand-worked figures and references."""

import math

import numpy as np
import pytest
import rouge_score.rouge_scorer
import sacrebleu

from instructgpt_jax.evals.metrics import bias, text

SAID = [
  'the cat sat on the mat .',
  'a dog barks loudly at the moon tonight .',
  'hello there',
  '',
]
MEANT = [
  'the cat is sitting on the mat .',
  'the dog barked loudly at the moon .',
  'hello there my friend',
  'nothing was said',
]


def test_bleu_by_hand():
  # 6 of 6 words, 5 of 5 pairs, 4 of 4 triples, 3 of 3 fours; 6 words for 8.
  said, meant = 'a b c d e f', 'a b c d e f g h'
  interval, per_item, _ = text.bleu([said], [meant])
  assert interval.mean == pytest.approx(100 * math.exp(1 - 8 / 6))
  assert per_item == pytest.approx([interval.mean])
  # Precisions 4/5, 3/4, 2/3, 1/2, as long as the reference: no penalty.
  interval = text.bleu(['a b c d x'], ['a b c d e']).interval
  precision = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
  assert interval.mean == pytest.approx(100 * precision)


def test_bleu_is_that_of_sacrebleu():
  interval, per_item, redrawn = text.bleu(SAID, MEANT)
  corpus = sacrebleu.corpus_bleu(SAID, [MEANT]).score
  assert interval.mean == pytest.approx(corpus)
  assert interval.n == 4
  # Of so few sentences no draws are made.
  assert np.isnan(interval.low) and not redrawn.size
  single = [
    sacrebleu.sentence_bleu(a, [b]).score
    for a, b in zip(SAID, MEANT, strict=True)
  ]
  assert per_item == pytest.approx(single)


def test_the_interval_of_bleu_is_about_that_of_sacrebleu():
  said, meant = SAID[:3] * 30, MEANT[:3] * 30
  interval = text.bleu(said, meant).interval
  score = sacrebleu.metrics.BLEU().corpus_score(said, [meant], n_bootstrap=1000)
  half = float(score.format().split('±')[1].split(')')[0])
  assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
  assert interval.low < interval.mean < interval.high
  assert text.bleu(said, meant).interval == interval  # the same draws


def test_rouge_l_by_hand():
  # The longest common subsequence is 'the cat on the mat': 5 of 6 and 5 of 7.
  said, meant = 'the cat sat on the mat', 'the cat was lying on the mat'
  precision, recall = 5 / 6, 5 / 7
  expected = 2 * precision * recall / (precision + recall)
  assert text.rouge_l([said], [meant]) == pytest.approx([expected])


def test_rouge_l_is_that_of_rouge_score():
  scorer = rouge_score.rouge_scorer.RougeScorer(['rougeL'], use_stemmer=True)
  expected = [
    scorer.score(target=b, prediction=a)['rougeL'].fmeasure
    for a, b in zip(SAID, MEANT, strict=True)
  ]
  assert text.rouge_l(SAID, MEANT) == pytest.approx(expected)
  assert text.rouge_l(['dogs barked'], ['the dog barks'])[0] == pytest.approx(
    2 * 1 * (2 / 3) / (1 + 2 / 3)  # stems are the same
  )


@pytest.mark.parametrize(
  ('odds', 'bits'),
  [
    ([1, 1], 1.0),
    ([1, 0], 0.0),
    ([3, 1], -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))),
    ([1, 1, 1, 1], 2.0),
  ],
)
def test_entropy_by_hand(odds, bits):
  # Sentences are very unlikely as such, only their ratio counts.
  with np.errstate(divide='ignore'):
    logp = np.log(odds) - 800.0
  assert bias.entropy_bits(logp) == pytest.approx(bits)
  assert bias.entropy_bits([logp, logp]) == pytest.approx([bits, bits])
