"""A local classifier of texts: a model folder of transformers, in PyTorch."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import libraries
from instructgpt_jax.data.schema import DataError

BATCH = 32  # texts; ours


class Classifier:
  """Gives the probability of one label.

  Labels exclude each other (softmax) unless the model says that they do not,
  or has one alone (sigmoid).
  """

  def __init__(self, folder: str, label: str):
    """Reads the model.

    Raises:
      DataError: for no such folder, or a label that the model does not know.
      ImportError: without PyTorch.
    """
    if not (pathlib.Path(folder) / 'config.json').is_file():
      raise DataError(
        f'{folder}: no classifier, config.json is missing. Give a folder as '
        'save_pretrained of transformers writes it.'
      )
    self._torch = libraries.load('torch', 'a local classifier', 'torch')
    transformers = libraries.load('transformers', 'a local classifier')
    self._tokenizer = transformers.AutoTokenizer.from_pretrained(
      folder, local_files_only=True
    )
    self._model: Any = (
      transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
      ).eval()
    )
    config = self._model.config
    if label not in config.label2id:
      raise DataError(
        f'{folder}: no label {label!r}. Choose of '
        f'{", ".join(sorted(config.label2id))}.'
      )
    self._place = config.label2id[label]
    several = config.problem_type == 'multi_label_classification'
    self._apart = several or config.num_labels == 1
    self._longest = config.max_position_embeddings - 2  # of RoBERTa

  def scores(self, texts: Sequence[str]) -> np.ndarray:
    """Returns [n] the probability of the label, of a long text's beginning."""
    found = [
      self._batch(list(texts[i : i + BATCH]))
      for i in range(0, len(texts), BATCH)
    ]
    return np.concatenate([np.zeros(0), *found])

  def _batch(self, texts: list[str]) -> np.ndarray:
    encoded = self._tokenizer(
      texts,
      return_tensors='pt',
      padding=True,
      truncation=True,
      max_length=self._longest,
    )
    with self._torch.no_grad():
      logits = self._model(**encoded).logits
    p = logits.sigmoid() if self._apart else logits.softmax(-1)
    return p[:, self._place].double().numpy()
