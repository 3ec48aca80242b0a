"""Agreement with labelers by hand, calibration and length by construction."""

import itertools

import numpy as np
import pytest

from instructgpt_jax.evals.reward_model import accuracy, groups
from instructgpt_jax.evals.reward_model.groups import Group


def group(item, ranks, scores, lengths=None, labeler=''):
  lengths = range(len(ranks)) if lengths is None else lengths
  return Group(item, *map(np.array, (ranks, scores, [*lengths])), labeler)


HAND = [
  # Pairs (better, worse): (0, 1) right by 1, (0, 2) wrong by 2, (1, 2) by 3.
  group('p', [1, 2, 3], [1.0, 0.0, 3.0], [5, 9, 2], 'ada'),
  group('q', [2, 1], [0.5, 0.5], [4, 4], 'ben'),  # one pair, scored alike
  group('r', [1, 1, 2], [2.0, 0.0, 1.0], [3, 8, 8], 'ada'),  # tied: two pairs
]


def means(shares):
  return {name: (share['mean'], share['n']) for name, share in shares.items()}


def test_shares_by_hand():
  found = accuracy.table(HAND, train_labelers=['ada'])
  # Right: (0, 1) of p, (0, 2) of r. Half: q. Wrong: two of p, (1, 2) of r.
  assert found['accuracy']['mean'] == pytest.approx(2.5 / 6)
  assert means(found['by_completions']) == {
    '2': (0.5, 1),
    '3': (pytest.approx(2 / 5), 5),
  }
  assert means(found['by_rank_gap']) == {
    '1': (pytest.approx(2.5 / 5), 5),
    '2': (0.0, 1),
  }
  assert means(found['by_labeler']) == {
    'ada': (pytest.approx(2 / 5), 5),
    'ben': (0.5, 1),
  }
  assert means(found['by_labelers']) == {
    'seen': (pytest.approx(2 / 5), 5),
    'held_out': (0.5, 1),
  }
  margins = [1, -2, -3, 0, 1, -1]
  assert found['log_loss'] == pytest.approx(
    np.mean([np.log(1 + np.exp(-m)) for m in margins])
  )


def test_where_no_labeler_is_named_none_is_judged():
  found = accuracy.table([group('p', [1, 2], [1.0, 0.0])])
  assert found['by_labeler'] == {} and found['by_labelers'] == {}


def test_length_by_hand():
  found = accuracy.length_bias(HAND)
  # Unequal lengths: p (5 > 9: no), (5 > 2: yes), (9 > 2: yes), r (3 > 8: no).
  assert found['labelers_prefer_longer']['mean'] == pytest.approx(2 / 4)
  # The higher score is longer: p no, no, no; r (0, 2): no.
  assert found['scores_prefer_longer']['mean'] == 0.0
  # p: scores 1 0 3 against 5 9 2: reversed. q: lengths alike, left out.
  # r: ranks of scores 3 1 2 against 1 2.5 2.5: -sqrt(3) / 2.
  assert found['scores_within'] == pytest.approx((-1 - np.sqrt(3) / 2) / 2)
  assert found['labelers_within'] == pytest.approx((0.5 + -0.5) / 2)


def test_without_an_ordered_pair_there_is_nothing_to_judge():
  with pytest.raises(ValueError, match='no response is ranked before'):
    accuracy.table([group('p', [1, 1], [1.0, 0.0])])


def drawn(scale, n=3000):
  """Pairs whose better one is drawn by eq. 1, and scores off by a factor."""
  rng = np.random.default_rng(0)
  made = []
  for i in range(n):
    scores = rng.normal(size=2) * 1.5
    first = rng.random() < 1 / (1 + np.exp(scores[1] - scores[0]))
    made.append(group(str(i), [1, 2] if first else [2, 1], scores * scale))
  return made


def test_a_model_of_the_true_chances_is_calibrated():
  found = accuracy.table(drawn(1.0))
  assert found['calibration_error'] < 0.03
  curve = found['by_margin']
  assert len(curve) == 10 and all(c['observed']['n'] == 300 for c in curve)
  assert curve[0]['predicted'] < 0.55 and curve[-1]['predicted'] > 0.95
  inside = [
    c['observed']['low'] <= c['predicted'] <= c['observed']['high']
    for c in curve
  ]
  assert sum(inside) >= 8
  for before, after in itertools.pairwise(curve):
    assert before['margin_high'] <= after['margin_low']


def test_a_model_too_sure_of_itself_is_not():
  sure, fair = accuracy.table(drawn(4.0)), accuracy.table(drawn(1.0))
  assert sure['accuracy'] == fair['accuracy']
  assert sure['calibration_error'] > 0.1
  assert sure['log_loss'] > fair['log_loss']


def test_records_become_groups_in_one_call():
  calls = []

  def score(records):
    calls.append(len(records))
    return [np.array([len(r) for r in rec['responses']]) for rec in records]

  rows = [
    {'id': '1', 'prompt': 'p', 'responses': ['aa', 'b'], 'ranks': [1, 2]},
    {
      'id': '2',
      'prompt': 'q',
      'responses': ['a', 'b', 'cccc'],
      'ranks': [3, 2, 1],
      'labeler': 'ada',
    },
  ]
  one, other = groups.scored(rows, score)
  assert calls == [2]
  assert (one.item, one.labeler, other.labeler) == ('p', '', 'ada')
  assert other.scores.tolist() == other.lengths.tolist() == [1, 1, 4]
  found = groups.pairs([one, other])
  assert found.margin.tolist() == [1, 0, 3, 3]
  assert found.gap.tolist() == [1, 1, 2, 1]
