// The page: it asks for the cluster, shows it, and drains a gateway when it is told to, and told so again.

import { Model, count } from './model.js';
import { Show } from './show.js';

const $ = (id) => document.getElementById(id);
const every = 400; // ms between an answer and the next question
const patience = 3000; // ms for an answer
const blind = 1500; // ms without an answer after which nothing is known
const tokenKey = 'ringside-admin-token';

const model = new Model();
const show = new Show(askDrain);
let answered = 0; // performance.now() of the last answer
let view = null;
let timer = 0;
let looking = false;
const drains = new Map(); // by shard: what was begun here, until it has left: {begun}

// ---- the admin port ----

class Refused extends Error {}

function token() {
  return sessionStorage.getItem(tokenKey) ?? '';
}

// ask asks the port, with a client's certificate if the browser has one. The token goes into a header, never into a URL.
async function ask(path, method = 'GET') {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const response = await fetch(path, { method, headers, cache: 'no-store', redirect: 'error', credentials: 'same-origin', signal: AbortSignal.timeout(patience) });
  if (response.status === 401) throw new Refused();
  const body = await response.json();
  if (!response.ok) throw new Error(body.message ?? `status ${response.status}`);
  return body;
}

async function look() {
  clearTimeout(timer);
  if (looking || $('ask').open) return;
  looking = true;
  try {
    const answer = await ask('/cluster');
    answered = performance.now();
    view = model.take(answer, answered);
    draw();
  } catch (err) {
    if (err instanceof Refused) askToken();
  } finally {
    looking = false;
  }
  if (!document.hidden) timer = setTimeout(look, every);
}

// draw shows what is known, or that nothing is.
function draw() {
  const now = performance.now();
  const known = view !== null && now - answered < blind;
  show.view(known ? view : null, now);
  $('main').setAttribute('aria-busy', String(!known));
  const pill = $('state');
  const state = known ? 'live' : answered ? 'lost' : 'connecting';
  if (pill.dataset.state !== state) {
    pill.dataset.state = state;
    pill.textContent = { live: 'live', lost: 'no answer', connecting: 'connecting' }[state];
  }
  $('seen').textContent = known ? `as ${view.self} sees it, ring ${view.version}` : answered ? `last answer ${Math.round((now - answered) / 1000)} s ago` : '\u00a0';
  $('forget').hidden = !token();
  if (known) followDrains();
}

setInterval(() => {
  if (!document.hidden && performance.now() - answered >= blind) draw();
}, 500);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  draw(); // what was known before is old by now
  look();
});

// ---- the token ----

function askToken() {
  answered = 0;
  view = null;
  draw();
  $('ask-why').textContent = token() ? 'That token is not taken.' : '';
  sessionStorage.removeItem(tokenKey);
  $('token').value = '';
  if (!$('ask').open) $('ask').showModal();
}

$('ask').addEventListener('cancel', (e) => e.preventDefault()); // there is nothing to look at without one
$('ask-form').addEventListener('submit', (e) => {
  e.preventDefault();
  sessionStorage.setItem(tokenKey, $('token').value.trim());
  $('token').value = '';
  $('ask').close();
  look();
});
$('forget').addEventListener('click', () => {
  sessionStorage.removeItem(tokenKey);
  location.reload();
});

// ---- drains ----

let wanted = null; // the gateway that the dialog is about
let opener = null;

function askDrain(member, button) {
  wanted = member;
  opener = button;
  const others = view.shards.filter((m) => m.id !== member.id).length;
  const sessions = member.node ? count(member.node.sessions, 'session', 'sessions') : `about ${count(member.load, 'session', 'sessions')}`;
  $('drain-title').textContent = `Drain ${member.id}?`;
  $('drain-text').textContent = `It has ${sessions} and ${count(member.slots, 'slot', 'slots')}. The sessions move to the other ${count(others, 'active gateway', 'active gateways')}, `
    + 'without their clients noticing; then it leaves and its process ends.';
  $('drain-warning').textContent = others ? '' : 'It is the last active gateway: its clients are sent away, and nobody can open a session.';
  $('drain-yes').textContent = `Drain ${member.id}`;
  $('drain').returnValue = '';
  $('drain').showModal();
}

$('drain').addEventListener('close', async () => {
  const { id } = wanted;
  if ($('drain').returnValue !== 'yes') return;
  try {
    await ask(`/drain?${new URLSearchParams({ shard: id })}`, 'POST');
    drains.set(id, { begun: false });
    say(`${id} drains.`);
    if (opener?.isConnected) opener.disabled = true;
  } catch (err) {
    if (err instanceof Refused) askToken();
    else say(`${id} was not drained: ${err.message}.`, true);
  }
  look();
});

// followDrains says when a drain that was begun here is over: the gateway has left, or is back in another life.
function followDrains() {
  for (const [id, was] of drains) {
    const m = view.gateways.find((g) => g.id === id && g.state !== 'gone');
    if (m?.state === 'draining') was.begun = true;
    if (m && (m.state === 'draining' || !was.begun)) continue;
    drains.delete(id);
    say(m ? `${id} has left, and is back: ${m.state}.` : `${id} has left.`);
  }
}

// say tells it to everybody: those who look, and those who listen.
function say(text, bad = false) {
  const p = $('said');
  p.className = bad ? 'said bad' : 'said';
  p.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { p.className = 'hidden'; }, 8000);
}

// ---- topics ----

$('find').addEventListener('submit', async (e) => {
  e.preventDefault();
  const topic = $('topic').value;
  try {
    const place = await ask(`/ring?${new URLSearchParams({ topic })}`);
    show.ring.select(place.slot);
    const window = place.window ? `; the stream goes back ${Math.round(place.window.seconds)} s` : '; Redis does not answer';
    $('found').textContent = `${place.topic}: slot ${place.slot}, served by ${place.preference.slice(0, place.sharing || 1).join(', ') || 'nobody'}${place.why === 'pinned' ? ' (pinned)' : ''}${window}.`;
  } catch (err) {
    if (err instanceof Refused) askToken();
    else $('found').textContent = `Not found: ${err.message}.`;
  }
});

draw();
look();
