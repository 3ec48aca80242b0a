// The clock of a task, the draft of its answer, one submission at a time.
// Without this file every form still works.

const form = document.querySelector('#answer');
const clock = document.querySelector('[data-lease]');
const key = `draft ${clock.dataset.lease}`;

// Own fields of the server are not part of a draft.
const FIXED = ['csrf', 'lease', 'client_key', 'seconds'];

function readDraft() {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

function saveDraft() {
  const fields = [...new FormData(form)].filter(([n]) => !FIXED.includes(n));
  const draft = JSON.stringify({fields, seen: seen()});
  try {
    sessionStorage.setItem(key, draft);
  } catch { /* full or forbidden: the answer is then only on the page */ }
}

function restore(fields) {
  for (const [name, value] of fields) {
    for (const field of form.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
      if (field.type === 'radio' || field.type === 'checkbox') {
        field.checked ||= field.value === value;
      } else {
        field.value = value;
      }
    }
  }
}

// Seconds that the task was in sight, over reloads too.
const draft = readDraft();
let before = draft.seen ?? 0;
let since = document.hidden ? null : performance.now();

function seen() {
  return before + (since === null ? 0 : (performance.now() - since) / 1000);
}

document.addEventListener('visibilitychange', () => {
  before = seen();
  since = document.hidden ? null : performance.now();
  saveDraft();
});

restore(draft.fields ?? []);
form.addEventListener('input', saveDraft);
addEventListener('pagehide', saveDraft);

for (const area of document.querySelectorAll('[data-count]')) {
  const said = document.getElementById(area.dataset.count);
  const tell = () => {
    const n = area.value.length.toLocaleString('en');
    const most = area.maxLength.toLocaleString('en');
    said.textContent = `${n} of at most ${most} characters`;
  };
  area.addEventListener('input', tell);
  tell();
}

// The lease is renewed as long as somebody is at work.
let end = performance.now() + 1000 * Number(clock.dataset.seconds);
const whole = end - performance.now();
let active = true;
for (const kind of ['input', 'pointermove', 'keydown', 'scroll']) {
  addEventListener(kind, () => { active = true; }, {passive: true});
}

async function renew() {
  active = false;
  const body = new URLSearchParams(
    FIXED.slice(0, 2).map((name) => [name, form.elements[name].value]));
  const reply = await fetch('/work/renew', {method: 'POST', body});
  if (reply.ok) {
    end = performance.now() + 1000 * (await reply.json()).seconds_left;
  }
}

function tick() {
  const left = end - performance.now();
  if (left < whole / 2 && active) {
    renew().catch(() => { active = true; });
  }
  const minutes = Math.ceil(left / 60000);
  clock.classList.toggle('late', minutes <= 2);
  clock.textContent = minutes > 1 ? `Yours for ${minutes} more minutes`
    : minutes === 1 ? 'Yours for one more minute'
    : 'Time is up: save now, or it goes to somebody else';
}
tick();
setInterval(tick, 15000);

form.addEventListener('submit', (event) => {
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = 'yes';
  form.elements.seconds.value = seen().toFixed(1);
  event.submitter?.setAttribute('aria-disabled', 'true');
});

// A page that comes back from the browser's memory may be sent again: the
// server takes one answer however often it is given.
addEventListener('pageshow', (event) => {
  if (event.persisted) delete form.dataset.sent;
});
