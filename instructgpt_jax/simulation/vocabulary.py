"""Every word of the embedded world, and what each is for.

Content words say something; style words (polite, rude, hesitating, rambling)
and marks (what a constraint asks for) serve one purpose each and share no word,
so that the gold scorer can judge a reply by its words alone.
"""

ANIMALS = (
  *('cat', 'dog', 'cow', 'hen', 'fox', 'owl'),
  *('bee', 'ant', 'pig', 'bat', 'rat', 'elk'),
)
FRUITS = ('fig', 'plum', 'pear', 'lime', 'kiwi', 'melon', 'apple', 'grape')
TOOLS = ('saw', 'axe', 'awl', 'drill', 'hoe', 'rake', 'clamp', 'nail')
CITIES = ('rome', 'oslo', 'lima', 'bern', 'cairo', 'paris', 'kyoto', 'milan')
NAMES = ('mia', 'leo', 'ana', 'tom', 'eva', 'max', 'zoe', 'sam')
COLOURS = ('red', 'blue', 'green', 'black', 'white', 'gray')
HOMES = ('barn', 'nest', 'cave', 'tree', 'pond', 'den')
FOODS = ('corn', 'fish', 'seeds', 'grass', 'bugs', 'nuts')
ADJECTIVES = ('old', 'big', 'shy', 'wild', 'calm', 'fat')
VERBS = ('sees', 'likes', 'finds', 'hears', 'meets')
NUMBERS = ('one', 'two', 'three', 'four', 'five', 'six')

# Plural, as lists are asked for, and singular, as classes are named.
CATEGORIES = {
  'animals': ANIMALS,
  'fruits': FRUITS,
  'tools': TOOLS,
  'cities': CITIES,
  'names': NAMES,
  'colours': COLOURS,
}
CLASSES = {
  'animal': ANIMALS,
  'fruit': FRUITS,
  'tool': TOOLS,
  'city': CITIES,
}
# The words a given content word may be mistaken for.
PEERS = {
  word: group
  for group in (
    *CATEGORIES.values(),
    *(HOMES, FOODS, NUMBERS, VERBS, tuple(CLASSES)),
  )
  for word in group
}
THINGS = ANIMALS + FRUITS + TOOLS

POLITE = ('gladly', 'sure', 'certainly', 'kindly')
RUDE = ('duh', 'ugh', 'fool', 'dummy')
FILLERS = ('hm', 'um', 'er', 'well')
RAMBLES = (
  ('or', 'whatever', 'i', 'guess'),
  ('but', 'anyway', 'nobody', 'cares'),
  ('blah', 'blah', 'blah'),
)
RAMBLE_WORDS = frozenset(word for ramble in RAMBLES for word in ramble)
STYLE = frozenset((*POLITE, *RUDE, *FILLERS, *RAMBLE_WORDS))

END_MARKS = ('done', 'bye', 'over')
START_MARKS = ('note', 'look', 'now')
BRACKETS = ('(', ')')
MARKS = frozenset((*END_MARKS, *START_MARKS, *BRACKETS))
