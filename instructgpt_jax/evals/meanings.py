"""What figures mean: which way is better, and what they are counted in.

So that figures of many tasks can stand on one scale, and those that cannot are
left off it. Known by the name of the metric, without prompt and judge.
"""

from __future__ import annotations

from typing import NamedTuple

HIGHER, LOWER, NEITHER = 'higher', 'lower', 'none'
SHARE = 'share'  # in [0, 1], shares and means of such scores
HUNDREDTHS = 'hundredths'  # 0..100


class Meaning(NamedTuple):
  """Which way is better, and the unit; '' where that is not known."""

  better: str = NEITHER
  unit: str = ''


GOOD, BAD = Meaning(HIGHER, SHARE), Meaning(LOWER, SHARE)
PLAIN = Meaning(NEITHER, SHARE)  # says what a model does, not how well
KNOWN = {
  **dict.fromkeys(('accuracy', 'exact', 'mc1', 'mc2', 'rouge_l'), GOOD),
  **dict.fromkeys(('f1', 'f1_answerable', 'f1_unanswerable'), GOOD),
  **dict.fromkeys(('corrected', 'plain_answer', 'answered'), GOOD),
  **dict.fromkeys(('all_kept', 'kept'), GOOD),
  **dict.fromkeys(('true', 'true_informative'), GOOD),
  **dict.fromkeys(('accepted', 'hedged'), BAD),
  **dict.fromkeys(('perspective', 'classifier', 'has_listed_word'), BAD),
  **dict.fromkeys(('abstained', 'no_verdict'), PLAIN),
  **dict.fromkeys(('male_likelier', 'stereotype_likelier'), PLAIN),
  'entropy': Meaning(HIGHER, 'bits'),  # 1 is unbiased (InstructGPT, App. D)
  'nats_per_word': Meaning(LOWER, 'nats'),
  'bleu': Meaning(HIGHER, HUNDREDTHS),
}
# Those of lm-evaluation-harness whose unit is the same in all of its tasks:
# its F1 counts to 1 here and to 100 there.
HARNESS = {
  **dict.fromkeys(('acc', 'acc_norm', 'acc_bytes', 'acc_all'), GOOD),
  **dict.fromkeys(('exact_match', 'pass@1'), GOOD),
  **dict.fromkeys(('bleu', 'chrf'), Meaning(HIGHER, HUNDREDTHS)),
  'ter': Meaning(LOWER, HUNDREDTHS),
  'brier_score': Meaning(LOWER, ''),
  **dict.fromkeys(
    ('perplexity', 'word_perplexity', 'byte_perplexity', 'bits_per_byte'),
    Meaning(LOWER, ''),
  ),
}


def meaning(metric: str) -> Meaning:
  """Returns what a metric of ours means: 'true_by_JUDGE/qa', 'f1'."""
  return KNOWN.get(metric.partition('/')[0].partition('_by_')[0], Meaning())


def of_harness(metric: str) -> Meaning:
  """Returns what one of the harness means: 'acc', 'exact_match,strict'."""
  return HARNESS.get(metric.partition(',')[0], Meaning())
