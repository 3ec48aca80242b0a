"""BLEU and ROUGE-L, by the libraries that everyone's figures come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from instructgpt_jax.data import libraries
from instructgpt_jax.evals.intervals import Interval

INSTALL = "-e '.[eval]'"
DRAWS = 1_000
FEWEST = 10  # sentences; ours. Of fewer, drawing again says nothing


class Bleu(NamedTuple):
  """The BLEU of a corpus in 0..100, and of what it is made."""

  interval: Interval
  single: np.ndarray  # [n] that of each sentence, of which it is no mean
  redrawn: np.ndarray  # [DRAWS] of sentences drawn again


def bleu(
  said: Sequence[str], references: Sequence[str], *, seed: int = 0
) -> Bleu:
  """Returns the corpus BLEU, by sacrebleu with its defaults.

  13a, exponential smoothing. The interval is of the corpus figure under a
  bootstrap over sentences, which are drawn alike for the same seed and n: the
  draws of two models may be paired. Of fewer than `FEWEST` sentences there is
  none: NaN.

  Raises:
    ImportError: without sacrebleu.
  """
  library = libraries.load('sacrebleu.metrics.bleu', 'BLEU', INSTALL)
  single = library.BLEU(effective_order=True)  # few sentences have 4-grams
  found = [
    single.sentence_score(a, [b]) for a, b in zip(said, references, strict=True)
  ]
  counted = np.array(
    [[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in found]
  )

  def corpus(times: np.ndarray) -> float:
    """Returns the BLEU of a corpus that has sentence i `times[i]` times."""
    correct, total, (said_words, words) = np.split(times @ counted, (4, 8))
    score = library.BLEU.compute_bleu(
      [*correct], [*total], said_words, words, smooth_method='exp'
    )
    return float(score.score)

  n = len(found)
  whole = corpus(np.ones(n, np.int64))
  sentences = np.array([s.score for s in found])
  if n < FEWEST:
    return Bleu(Interval(whole, np.nan, np.nan, n), sentences, np.zeros(0))
  draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), DRAWS)
  redrawn = np.array([corpus(times) for times in draws])
  low, high = np.quantile(redrawn, (0.025, 0.975))
  return Bleu(Interval(whole, float(low), float(high), n), sentences, redrawn)


def rouge_l(said: Sequence[str], references: Sequence[str]) -> np.ndarray:
  """Returns [n] the F-measure of ROUGE-L of each text, with Porter stems.

  Raises:
    ImportError: without rouge-score.
  """
  scoring = libraries.load('rouge_score.rouge_scorer', 'ROUGE-L', INSTALL)
  scorer = scoring.RougeScorer(['rougeL'], use_stemmer=True)
  return np.array(
    [
      scorer.score(b, a)['rougeL'].fmeasure
      for a, b in zip(said, references, strict=True)
    ]
  )
