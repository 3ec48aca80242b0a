"""Rows of public sets to records of tasks: small pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from instructgpt_jax.evals.tasks.prompts import NOT_IN_BACKGROUND, UNKNOWN

Row = dict[str, Any]
CANNOT_ANSWER = 'CANNOTANSWER'  # of QuAC
Record = dict[str, Any]


def as_it_is(row: Row) -> Iterator[Record]:
  """Yields a row whose fields are ours already."""
  yield row


def winogender(row: Row) -> Iterator[Record]:
  """Maps {sentid: 'nurse.patient.0.male.txt', sentence}; 0 the occupation."""
  occupation, participant, answer, gender = row['sentid'].split('.')[:4]
  yield {
    'occupation': occupation,
    'participant': participant,
    'answer': ('occupation', 'participant')[int(answer)],
    'gender': gender,
    'sentence': row['sentence'],
  }


def real_toxicity(row: Row) -> Iterator[Record]:
  """Maps {prompt: {text, toxicity}}; a few were never scored."""
  text, toxicity = row['prompt']['text'], row['prompt']['toxicity']
  if toxicity is not None:
    yield {'prompt': text, 'toxicity': float(toxicity)}


def squad(paragraph: Row) -> Iterator[Record]:
  """Maps the `rows` {title, context, question, answers: {text}} of one.

  A record a question, after the questions and answers before it.
  """
  first = paragraph['rows'][0]
  head = f'Title: {first["title"]}\n\nBackground: {first["context"]}'
  for row in paragraph['rows']:
    answers = list(dict.fromkeys(row['answers']['text']))
    answers = answers or [NOT_IN_BACKGROUND]
    head += f'\n\nQ: {row["question"].strip()}\n\nA:'
    yield {'prompt': head, 'answers': answers}
    head += f' {answers[0]}'


def drop(row: Row) -> Iterator[Record]:
  """Maps {passage, question, answer, validated_answers}.

  An answer is a number, spans or a date; of several spans it is one text.
  """
  others = row['validated_answers']
  if isinstance(others, dict):  # a column of each field
    others = [
      dict(zip(others, values, strict=True))
      for values in zip(*others.values(), strict=True)
    ]
  found = (_drop_answer(answer) for answer in (row['answer'], *others))
  yield {
    'prompt': f'Passage: {row["passage"]}\nQuestion: {row["question"]}\n'
    'Answer:',
    'answers': list(dict.fromkeys(filter(None, found))),
  }


def _drop_answer(answer: Row) -> str:
  if answer['number']:
    return str(answer['number'])
  if answer['spans']:
    return ' and '.join(answer['spans'])
  date = answer['date']
  return ' '.join(date[part] for part in ('day', 'month', 'year') if date[part])


def quac(row: Row) -> Iterator[Record]:
  """Maps a dialogue {questions, answers: {texts}, orig_answers: {texts}, ...}.

  A record a question, after the questions and answers before it.
  """
  head = (
    f'TITLE: {row["wikipedia_page_title"]}\n\nPARAGRAPH: {row["context"]}'
  ).replace(f' {CANNOT_ANSWER}', '')  # which ends each passage
  said = zip(
    row['questions'],
    row['orig_answers']['texts'],
    row['answers']['texts'],
    strict=True,
  )
  for question, told, answers in said:
    head += f'\n\nQ: {question.strip()}\n\nA:'
    yield {'prompt': head, 'answers': [_quac_answer(text) for text in answers]}
    head += f' {_quac_answer(told)}'


def _quac_answer(text: str) -> str:
  return UNKNOWN if text == CANNOT_ANSWER else text


def hellaswag(row: Row) -> Iterator[Record]:
  """Maps {activity_label, ctx_a, ctx_b, endings, label: '3'}.

  Without the marks that WikiHow's texts bear: [header], [title], [step].
  """
  begun = row['ctx_b'][:1].upper() + row['ctx_b'][1:]
  query = f'{row["activity_label"]}: {row["ctx_a"]} {begun}'
  endings = [_unmarked(text) for text in row['endings']]
  yield _asked(_unmarked(query), endings, row['label'])


def _unmarked(text: str) -> str:
  text = text.replace(' [title]', '. ')  # it ends a header
  return ' '.join(re.sub(r'\[\w+\]', '', text).split())


def rte(row: Row) -> Iterator[Record]:
  """Maps {sentence1, sentence2, label}: 0 it follows, 1 it does not."""
  follows = row['sentence2'].strip().rstrip('.')
  query = (
    f'Passage: {row["sentence1"]}\n\nQuestion: From this passage can one '
    f'reasonably conclude that {follows}?'
  )
  yield _asked(query, ['Yes', 'No'], row['label'])


def sst(row: Row) -> Iterator[Record]:
  """Maps {sentence, label}: 0 negative, 1 positive."""
  query = f'Text: {row["sentence"].strip()}'
  yield _asked(query, ['negative', 'positive'], row['label'])


def wsc(row: Row) -> Iterator[Record]:
  """Maps {text, span1_text, span2_text, label}."""
  yield {
    'text': row['text'],
    'noun': row['span1_text'],
    'pronoun': row['span2_text'],
    'label': bool(row['label']),
  }


def winograd(row: Row) -> Iterator[Record]:
  """Maps {text, pronoun, pronoun_loc, options, label}."""
  at, pronoun = row['pronoun_loc'], row['pronoun']
  yield {
    'context_options': [row['text'][:at] + noun for noun in row['options']],
    'continuation': row['text'][at + len(pronoun) :].strip(),
    'gold': int(row['label']),
  }


def winogrande(row: Row) -> Iterator[Record]:
  """Maps {sentence with '_', option1, option2, answer: '1' or '2'}."""
  before, _, after = row['sentence'].partition('_')
  yield {
    'context_options': [before + row['option1'], before + row['option2']],
    'continuation': after.strip(),
    'gold': int(row['answer']) - 1,
  }


def copa(row: Row) -> Iterator[Record]:
  """Maps {premise, choice1, choice2, question, label}."""
  joint = {'cause': 'because', 'effect': 'therefore'}[row['question']]
  choices = [row[f'choice{k}'] for k in (1, 2)]
  yield _asked(
    f'{row["premise"].strip().rstrip(".")}, {joint}',
    [choice[:1].lower() + choice[1:] for choice in choices],
    row['label'],
  )


def piqa(row: Row) -> Iterator[Record]:
  """Maps {goal, sol1, sol2, label}."""
  query = f'Question: {row["goal"].strip()}\n'
  yield _asked(query, [row['sol1'], row['sol2']], row['label'])


def boolq(row: Row) -> Iterator[Record]:
  """Maps {passage, question, answer: bool}."""
  query = f'Passage: {row["passage"]}\nQuestion: {row["question"]}?'
  yield _asked(query, ['no', 'yes'], row['answer'])


def lambada(row: Row) -> Iterator[Record]:
  """Maps {text}; its last word is asked for."""
  context, _, word = row['text'].strip().rpartition(' ')
  yield {'context': context, 'continuation': word}


def fr_en(row: Row) -> Iterator[Record]:
  """Maps {translation: {fr, en}}."""
  both = row['translation']
  yield {'french': both['fr'], 'english': both['en']}


def cnn_dm(row: Row) -> Iterator[Record]:
  """Maps {article, highlights}."""
  yield {'prompt': row['article'], 'reference': row['highlights']}


def tldr(row: Row) -> Iterator[Record]:
  """Maps {prompt, label}."""
  yield {'prompt': row['prompt'], 'reference': row['label'].strip()}


def llmbar(row: Row) -> Iterator[Record]:
  """Maps {input, output_1, output_2, label: 1 or 2, the better one}."""
  yield {
    'prompt': f'{row["input"].strip()}\n\n',
    'responses': [row['output_1'], row['output_2']],
    'ranks': [1, 2] if int(row['label']) == 1 else [2, 1],
  }


def _asked(query: str, choices: list[str], gold: int | str | bool) -> Record:
  return {'query': query, 'choices': list(choices), 'gold': int(gold)}
