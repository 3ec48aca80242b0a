"""The engine gives what each text gives alone, and gives it once."""

import dataclasses
import json

import numpy as np
import pytest

from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.evals import asking, cache, writing
from instructgpt_jax.evals.model import CannotAnswerError
from instructgpt_jax.models import decoder
from tests.evals import engines
from tests.models import oracle, toys


def requests(seed=0):
  rng = np.random.default_rng(seed)
  found = []
  for _ in range(6):
    context = engines.text(rng, rng.integers(1, 12))
    found += [(context, ' ' + engines.text(rng, k)) for k in (1, 1, 3)]
  long = engines.text(rng, 60)
  return [*found, ('', 'the cat'), (long, ' sat on'), ('a ', 'mat'), ('a', '')]


def expected(pair, cfg):
  """Returns what the pair gives alone, its ids by the tokenizer itself."""
  context, continuation = pair
  encode, first = engines.words().encode, [engines.words().eos_id]
  bare = context.rstrip()
  ids = encode(context + continuation)
  scored = len(ids) - len(encode(bare))
  if not continuation:
    return 0.0, True, 0
  whole = (ids if context else first + ids)[-cfg.max_length - 1 :]
  return *engines.alone(whole, scored, cfg), scored


@pytest.mark.parametrize('windows', [(), (5, 0)], ids=['shared', 'banded'])
def test_scores_are_those_of_each_text_alone(windows):
  cfg = dataclasses.replace(engines.CFG, windows=windows)
  engine = engines.engine(cfg=cfg)
  asked = requests()
  found, lengths = engine.loglikelihood(asked), engine.lengths(asked)
  wanted = [expected(pair, cfg) for pair in asked]
  np.testing.assert_allclose(
    [logp for logp, _ in found], [w[0] for w in wanted], rtol=1e-4, atol=1e-4
  )
  assert [greedy for _, greedy in found] == [w[1] for w in wanted]
  assert lengths == [w[2] for w in wanted]


def with_bos(folder):
  """The tokenizer of the engines, with a BOS before each text by itself."""
  engines.words().save(folder)
  path = folder / 'tokenizer.json'
  saved = json.loads(path.read_text())
  bos = next(token for token in saved['added_tokens'])
  saved['post_processor'] = {
    'type': 'TemplateProcessing',
    'single': [
      {'SpecialToken': {'id': bos['content'], 'type_id': 0}},
      {'Sequence': {'id': 'A', 'type_id': 0}},
    ],
    'pair': [],
    'special_tokens': {
      bos['content']: {
        'id': bos['content'],
        'ids': [bos['id']],
        'tokens': [bos['content']],
      }
    },
  }
  path.write_text(json.dumps(saved))
  return tokenizer_lib.from_folder(folder), bos['id']


def test_what_a_tokenizer_puts_before_a_text_is_read_and_not_scored(tmp_path):
  words, bos = with_bos(tmp_path)
  assert words.prefix == [bos]
  ids, end = words.encode('the cat'), words.encode(' sat')
  [asked] = asking.pairs(words, [('the cat', ' sat')], 48)
  assert asked == ((bos, *ids, *end), len(end))
  assert asking.prompts(words, ['the cat'], 48) == [[bos, *ids]]
  [(_, window)] = asking.windows(words, ['the cat'], 48)
  # Of a whole text it is a token as others are, so says the harness.
  assert window.ids[-len(ids) - 1 :] == (bos, *ids)
  assert window.scored == len(ids) + 1


def test_requests_are_cut_into_tokens_once(monkeypatch):
  engine, cut = engines.engine(), []
  encode = type(engine.tokenizer).encode_batch
  monkeypatch.setattr(
    type(engine.tokenizer),
    'encode_batch',
    lambda self, texts, **how: cut.extend(texts) or encode(self, texts, **how),
  )
  asked = requests()[:4]
  lengths = engine.lengths(asked)
  found = len(cut)
  assert lengths == engine.lengths(list(asked)) and len(cut) == found
  assert engine.lengths(asked[:1]) == lengths[:1] and len(cut) > found


def test_the_likeliest_continuation_is_said_to_be_so():
  words = engines.words()
  params = toys.params(decoder.LanguageModel(engines.CFG))
  ids = words.encode('the cat')
  logits = oracle.logits(engines.CFG, params, np.array(ids))[-1]
  order = [int(i) for i in np.argsort(-logits)]
  best, second = (words.decode([i]) for i in order[:2])
  asked = [('the cat', best), ('the cat', second)]
  pairs = asking.pairs(words, asked, 48)
  assert [pair.ids for pair in pairs] == [(*ids, i) for i in order[:2]]
  found = engines.engine().loglikelihood(asked)
  assert [greedy for _, greedy in found] == [True, False]


def test_a_long_text_is_read_in_parts_that_each_see_most():
  rng = np.random.default_rng(1)
  words, most = engines.words(), engines.CFG.max_length
  texts = [engines.text(rng, size) for size in (3, 100)] + ['']
  total = []
  for text in texts:
    ids = [words.eos_id, *words.encode(text)]
    logp = 0.0
    for start in range(1, len(ids), most):
      end = min(start + most, len(ids))
      part = ids[max(0, end - most - 1) : end]
      logp += engines.alone(part, end - start)[0]
    total.append(logp)
  np.testing.assert_allclose(engines.engine().rolling(texts), total, rtol=1e-4)


def greedy(ids, count):
  """Returns the likeliest ids one after the other."""
  params, ids = toys.params(decoder.LanguageModel(engines.CFG)), list(ids)
  for _ in range(count):
    logits = oracle.logits(engines.CFG, params, np.array(ids))[-1]
    ids.append(int(logits.argmax()))
  return ids[-count:]


@pytest.mark.parametrize('size', [3, 64], ids=['rounds', 'one round'])
def test_what_is_written_is_cut_where_it_ends(monkeypatch, size):
  monkeypatch.setattr(writing, 'ROUND', size)
  rng = np.random.default_rng(2)
  words, engine = engines.words(), engines.engine()
  prompts = [engines.text(rng, n) for n in (1, 4, 9, 2)]
  written = [greedy(words.encode(p), 8) for p in prompts]
  whole = engine.generate(prompts, max_tokens=8, stop=())
  assert whole == [ends(words, ids) for ids in written]
  stop = whole[0][3:5]  # over two tokens, or within one
  assert engine.generate(prompts, max_tokens=8, stop=(stop,)) == [
    text.split(stop)[0] for text in whole
  ]


def ends(words, ids):
  stops = [i for i, token in enumerate(ids) if token in words.stop_ids]
  return words.decode(ids[: stops[0]] if stops else ids)


def test_long_prompts_keep_their_end_and_too_long_answers_are_refused():
  engine = engines.engine()
  text = engines.text(np.random.default_rng(3), 90)
  (found,) = engine.generate([text], max_tokens=6, stop=())
  ids = engines.words().encode(text)[-42:]
  assert found == ends(engines.words(), greedy(ids, 6))
  with pytest.raises(CannotAnswerError, match='48 tokens are to be written'):
    engine.generate([text], max_tokens=48, stop=())


def test_answers_depend_on_neither_mesh_nor_company():
  prompts = [f'{word} cat' for word in ('the', 'a', 'then the', 'it')]
  how = {'max_tokens': 6, 'stop': (), 'temperature': 1.0, 'seed': 3}
  cfg = dataclasses.replace(engines.CFG, layers=1)  # of which two are compiled
  one = engines.engine(cfg=cfg)
  many = engines.engine(cfg=cfg, shape=(2, 2, 2), tokens=32)
  written = one.generate(prompts, **how)
  assert many.generate(prompts, **how) == written
  assert one.generate(prompts[:2], **how) == written[:2]
  assert one.generate(prompts, **how | {'seed': 4}) != written
  asked = requests()
  np.testing.assert_allclose(
    [logp for logp, _ in many.loglikelihood(asked)],
    [logp for logp, _ in one.loglikelihood(asked)],
    rtol=1e-4,
    atol=1e-4,
  )


class Counting:
  """Passes that end the process after some, as a signal would."""

  def __init__(self, passes, most):
    self.inner, self.left, self.rows = passes, most, 0

  def __getattr__(self, name):
    return getattr(self.inner, name)

  def score(self, rows, reads):
    if not self.left:
      raise KeyboardInterrupt
    self.left -= 1
    self.rows += int((rows.segments > 0).any(1).sum())
    return self.inner.score(rows, reads)


def test_an_evaluation_that_was_killed_goes_on(tmp_path):
  whole = engines.engine()
  wanted = whole.loglikelihood(requests())
  first = Counting(whole._passes, 2)
  engine = engines.engine(passes=first, answers=cache.Answers(tmp_path, 'm'))
  with pytest.raises(KeyboardInterrupt):
    engine.loglikelihood(requests())
  with (tmp_path / 'm.jsonl').open('a') as file:
    file.write('["half a li')  # as a machine that stops leaves it
  second = Counting(whole._passes, 99)
  engine = engines.engine(passes=second, answers=cache.Answers(tmp_path, 'm'))
  found = engine.loglikelihood(requests())
  np.testing.assert_allclose(
    [logp for logp, _ in found], [logp for logp, _ in wanted], rtol=1e-4
  )
  third = Counting(whole._passes, 0)
  engine = engines.engine(passes=third, answers=cache.Answers(tmp_path, 'm'))
  assert engine.loglikelihood(requests()) == found
  assert first.rows and second.rows and not third.rows
  other = engines.engine(passes=third, answers=cache.Answers(tmp_path, 'n'))
  with pytest.raises(KeyboardInterrupt):
    other.loglikelihood(requests())


def test_a_sample_is_kept_by_its_seed_and_place(tmp_path):
  engine = engines.engine(answers=cache.Answers(tmp_path, 'm'))
  prompts = ['the cat'] * 6
  how = {'max_tokens': 4, 'stop': (), 'temperature': 1.0}
  written = engine.generate(prompts, **how)
  assert len(set(written)) > 1
  again = engines.engine(answers=cache.Answers(tmp_path, 'm'))
  assert again.generate(prompts, **how) == written
  assert again.generate(prompts, **how, seed=1) != written
