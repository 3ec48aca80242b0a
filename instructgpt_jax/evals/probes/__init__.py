"""Prompts on which InstructGPT fails (5.2, F), with checks by program.

  false_premise.jsonl  id · prompt · right[] · wrong[]: patterns that tell
                       whether the reply corrects what is assumed, or goes along
  hedging.jsonl        id · prompt · answers[]: a plain question with one answer
  constraints.jsonl    id · prompt · constraints[]: {kind, ...}, see `checks`

Each is a task; a file of your own in the same form takes its place. The same
three are asked in the language of the embedded world, see `world`.
"""
