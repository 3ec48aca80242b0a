// The board of a ranking. The radio buttons hold the answer; the board shows
// it, and a letter that is dropped on a row checks the button of that rank.

const board = document.querySelector('[data-board]');
const said = document.querySelector('[data-said]');
const outputs = [...document.querySelectorAll('.ranks[data-output]')];
const count = outputs.length;
const chips = new Map();
const slots = [];

const letter = (output) => output.dataset.letter;
const rankOf = (output) =>
  Number(output.querySelector('input:checked')?.value ?? 0);

function makeTier(rank, name) {
  const tier = document.createElement('li');
  tier.className = rank ? 'tier' : 'tier tray';
  tier.dataset.rank = rank;
  const label = document.createElement('span');
  label.className = 'tier-name';
  label.textContent = name;
  const slot = document.createElement('span');
  slot.className = 'slot';
  tier.append(label, slot);
  slots[rank] = slot;
  return tier;
}

function makeChip(output) {
  const chip = document.createElement('span');
  chip.className = 'chip';
  chip.textContent = letter(output);
  chip.dataset.drag = output.dataset.output;
  chips.set(output, chip);
}

function show() {
  for (const output of outputs) slots[rankOf(output)].append(chips.get(output));
  slots[0].parentElement.hidden = !slots[0].children.length;
}

function tell(output) {
  const rank = rankOf(output);
  const tied = outputs
    .filter((other) => other !== output && rankOf(other) === rank).map(letter);
  const missing = outputs.filter((other) => !rankOf(other)).length;
  said.textContent = `${letter(output)} is on rank ${rank}` +
    (tied.length ? `, tied with ${tied.join(' and ')}.` : '.') +
    (missing ? ` ${missing} of ${count} still without a rank.` : '');
}

function place(output, rank) {
  const button = output.querySelector(`input[value="${rank}"]`);
  button.checked = true;
  button.dispatchEvent(new Event('input', {bubbles: true}));
}

for (let rank = 1; rank <= count; rank++) {
  const end = rank === 1 ? ' best' : rank === count ? ' worst' : '';
  board.append(makeTier(rank, `${rank}${end}`));
}
board.append(makeTier(0, 'No rank'));
outputs.forEach(makeChip);
show();
board.hidden = false;

for (const output of outputs) {
  output.addEventListener('input', () => { show(); tell(output); });
  // A digit is a rank while the choice of an output has the focus.
  output.addEventListener('keydown', (event) => {
    const rank = Number(event.key);
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (!(rank >= 1 && rank <= count)) return;
    event.preventDefault();
    place(output, rank);
    output.querySelector('input:checked').focus();
  });
}

// Pointer events serve mouse, pen and finger alike.
let drag = null;

function tierAt(x, y) {
  return document.elementFromPoint(x, y)?.closest('.tier') ?? null;
}

function over(tier) {
  board.querySelector('.over')?.classList.remove('over');
  if (tier?.dataset.rank > 0) tier.classList.add('over');
}

function move(event) {
  drag.ghost.style.transform =
    `translate(${event.clientX - 20}px, ${event.clientY - 20}px)`;
  over(tierAt(event.clientX, event.clientY));
  // At the edge of the screen the page comes along.
  const edge = Math.min(60, innerHeight / 8);
  if (event.clientY < edge) scrollBy(0, -12);
  if (event.clientY > innerHeight - edge) scrollBy(0, 12);
}

function finish(event, dropped) {
  const rank = Number(tierAt(event.clientX, event.clientY)?.dataset.rank ?? 0);
  over(null);
  drag.ghost.remove();
  drag.from.classList.remove('lifted');
  document.body.classList.remove('dragging');
  if (dropped && rank) place(drag.output, rank);
  drag = null;
}

addEventListener('pointerdown', (event) => {
  const from = event.target.closest('[data-drag]');
  if (!from || event.button || drag) return;
  const output = outputs[Number(from.dataset.drag)];
  const ghost = chips.get(output).cloneNode(true);
  ghost.classList.add('ghost');
  document.body.append(ghost);
  document.body.classList.add('dragging');
  from.classList.add('lifted');
  from.setPointerCapture(event.pointerId);
  drag = {pointer: event.pointerId, output, from, ghost};
  move(event);
});
addEventListener('pointermove', (event) => {
  if (drag?.pointer === event.pointerId) move(event);
});
addEventListener('pointerup', (event) => {
  if (drag?.pointer === event.pointerId) finish(event, true);
});
addEventListener('pointercancel', (event) => {
  if (drag?.pointer === event.pointerId) finish(event, false);
});
