"""A model that says and likes what a test tells it."""


class Fake:
  """Answers by functions of a text, and remembers what it was asked."""

  def __init__(self, *, says=lambda prompt: '', likes=lambda text: 0.0):
    self.says, self.likes = says, likes
    self.prompts, self.requests = [], []

  def loglikelihood(self, requests):
    self.requests += requests
    return [
      (float(self.likes(context + text)), self.says(context) == text)
      for context, text in requests
    ]

  def lengths(self, requests):
    """A token is a word."""
    return [len(text.split()) for _, text in requests]

  def rolling(self, texts):
    return [float(self.likes(text)) for text in texts]

  def generate(self, prompts, *, max_tokens, stop, temperature=0.0, seed=0):
    self.prompts += prompts
    said = [
      ' '.join(self.says(p).split(' ')[: max_tokens + 1]) for p in prompts
    ]
    return [cut(text, stop) for text in said]


def cut(text, stop):
  for mark in stop:
    text = text.partition(mark)[0]
  return text
