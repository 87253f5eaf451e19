// The page: what a Client hears goes to the scoreboard and the list, what /ring says into the table.

import { Client, publish } from '/client.js';

const $ = (id) => document.getElementById(id);
const shown = 200; // messages kept in the list
const lookEvery = 1000; // ms between two looks at the ring
const playEvery = 900; // ms between two events of a match that plays by itself

let client = null;
let base = '';
let score = [0, 0];
let counts = { received: 0, connections: 0, replayed: 0, gaps: 0 };
let liveSince = 0; // when the connection that stands was welcomed
let waitingUntil = 0;
let playing = 0;

// ---- connection ----

function follow(topic) {
  client?.stop();
  score = [0, 0];
  counts = { received: 0, connections: 0, replayed: 0, gaps: 0 };
  $('messages').replaceChildren();
  $('empty').hidden = false;
  $('told').textContent = 'Nothing has happened yet.';
  $('curl').textContent = `curl -X POST ${location.origin}/publish/${encodeURIComponent(topic)} -d '{"score":"1:0"}'`;
  showScore();
  showCounts();
  client = new Client(base, topic);
  client.addEventListener('state', (e) => showState(e.detail));
  client.addEventListener('welcome', () => {
    counts.connections++;
    liveSince = Date.now();
    showCounts();
  });
  client.addEventListener('heartbeat', showCounts);
  client.addEventListener('fresh', ({ detail: { stale } }) => {
    const pill = $('state');
    pill.dataset.state = stale ? 'stale' : 'live';
    pill.textContent = stale ? 'stale' : 'live';
    if (stale) $('told').textContent = 'The connection is fine, but nothing newer can be vouched for: this may be out of date.';
  });
  client.addEventListener('message', (e) => onMessage(e.detail));
  client.addEventListener('gap', (e) => onGap(e.detail));
  setPaused(false);
  client.start();
  look();
}

function setPaused(paused) {
  $('pause').setAttribute('aria-pressed', paused);
  $('pause').textContent = paused ? 'Connect' : 'Disconnect';
}

function showState({ state, until }) {
  waitingUntil = state === 'waiting' ? until : 0;
  const pill = $('state');
  pill.dataset.state = state;
  pill.textContent = { live: 'live', connecting: 'connecting', stopped: 'disconnected', waiting: 'reconnecting' }[state];
  countDown();
}

// countDown shows how long it is until the next connection.
function countDown() {
  if (!waitingUntil) return;
  const left = Math.max(0, waitingUntil - performance.now());
  $('state').textContent = `back in ${(left / 1000).toFixed(1)} s`;
  setTimeout(countDown, 100);
}

// ---- messages ----

function onMessage(m) {
  counts.received++;
  // An entry that is older than the connection that brought it was replayed.
  const at = Number(m.id.split('-')[1]);
  const replayed = counts.connections > 1 && at < liveSince;
  if (replayed) counts.replayed++;
  const data = m.data;
  const found = typeof data?.score === 'string' && /^(\d{1,3}):(\d{1,3})$/.exec(data.score);
  if (found) {
    score = [Number(found[1]), Number(found[2])];
    showScore(data.team);
  }
  $('told').textContent = tell(data);
  addRow(m.id, typeof data === 'string' && !m.encoding ? data : JSON.stringify(data), replayed ? 'replayed' : '');
  showCounts();
}

// tell says in a sentence what a message is about.
function tell(data) {
  if (typeof data?.text === 'string') return data.text;
  if (data?.team) return `Goal for ${data.team === 'home' ? 'Home' : 'Away'}! It stands ${data.score}.`;
  if (data?.score) return `It stands ${data.score}.`;
  return typeof data === 'string' ? data : JSON.stringify(data);
}

function onGap(gap) {
  counts.gaps++;
  addRow(gap.position, `messages after ${gap.after} are lost: ${gap.reason}`, 'gap');
  showCounts();
}

function addRow(position, text, tag) {
  const row = document.createElement('li');
  const id = document.createElement('code');
  id.textContent = position;
  const body = document.createElement('span');
  body.textContent = text.length > 2000 ? text.slice(0, 2000) + '…' : text;
  row.append(body, id);
  if (tag) {
    row.className = tag;
    const label = document.createElement('em');
    label.textContent = tag;
    row.append(label);
  }
  const list = $('messages');
  list.prepend(row);
  while (list.childElementCount > shown) list.lastElementChild.remove();
  $('empty').hidden = true;
}

function showScore(team) {
  $('home').textContent = score[0];
  $('away').textContent = score[1];
  $('home').classList.remove('goal');
  $('away').classList.remove('goal');
  if (team !== 'home' && team !== 'away') return;
  void $(team).offsetWidth; // so that the animation begins again
  $(team).classList.add('goal');
}

function showCounts() {
  for (const [name, n] of Object.entries(counts)) $(name).textContent = n;
  $('position').textContent = client?.position || '–';
}

// ---- publishing ----

async function send(payload) {
  try {
    const { position, slot } = await publish(client.topic, payload);
    $('published').textContent = `Published at ${position}, slot ${slot}.`;
    $('published').classList.remove('bad');
  } catch (err) {
    $('published').textContent = `Not published: ${err.message}`;
    $('published').classList.add('bad');
  }
}

function goal(team) {
  const next = team === 'home' ? [score[0] + 1, score[1]] : [score[0], score[1] + 1];
  return send(JSON.stringify({ score: next.join(':'), team }));
}

const scenes = ['A long ball forward.', 'Corner.', 'Saved!', 'Just wide.', 'A yellow card.', 'Off the post!', 'Substitution.', 'Free kick, close to the box.'];

// play publishes an event, as a match would.
function play() {
  if (Math.random() < 0.2) goal(Math.random() < 0.55 ? 'home' : 'away');
  else send(JSON.stringify({ text: scenes[Math.floor(Math.random() * scenes.length)] }));
}

// ---- the ring ----

async function look() {
  if (document.hidden || !client) return;
  try {
    const topic = client.topic;
    const [ring, place] = await Promise.all([getJSON('/ring'), getJSON('/ring?topic=' + encodeURIComponent(topic))]);
    if (topic === client.topic) showRing(ring, place);
  } catch {
    $('place').textContent = 'The admin port does not answer.';
  }
}

async function getJSON(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

function showRing(ring, place) {
  $('place').replaceChildren(
    strong(place.topic), ' is in slot ', strong(place.slot), ', stream ', code(place.stream), ', and ',
    ...(place.owner ? ['is served by ', strong(place.owner)] : ['nobody serves it']),
    ...(place.preference.length > 1 ? [`; then ${place.preference.slice(1).join(', ')}`] : []), '.');
  const gateways = ring.members.filter((m) => m.role === 'gateway');
  const active = gateways.filter((m) => m.slots > 0);
  $('shares').replaceChildren(...active.map((m) => {
    const share = document.createElement('span');
    share.textContent = `${m.id} ${m.slots}`;
    share.style.flexGrow = m.slots;
    share.className = `c${gateways.indexOf(m) % 6}` + (m.id === place.owner ? ' owner' : '');
    return share;
  }));
  $('shares').setAttribute('aria-label', active.map((m) => `${m.id} owns ${m.slots} of ${ring.slots} slots`).join(', '));
  const rows = $('members');
  const focused = document.activeElement?.dataset?.drain;
  rows.replaceChildren(...ring.members.map((m) => memberRow(m, place.owner)));
  if (focused) rows.querySelector(`[data-drain="${CSS.escape(focused)}"]`)?.focus();
}

function memberRow(m, owner) {
  const row = document.createElement('tr');
  if (m.id === owner) row.className = 'owner';
  const name = document.createElement('th');
  name.scope = 'row';
  name.textContent = m.id;
  row.append(name, cell(m.state, m.state), cell(m.role === 'gateway' ? m.slots : '–', 'number'),
    cell(m.load, 'number'), cell(m.addr, 'address'));
  const action = document.createElement('td');
  if (m.role === 'gateway' && m.state === 'active' && !m.static) {
    const button = document.createElement('button');
    button.textContent = 'Drain';
    button.dataset.drain = m.id;
    button.setAttribute('aria-label', `Drain ${m.id}`);
    action.append(button);
  }
  row.append(action);
  return row;
}

function cell(text, className) {
  const td = document.createElement('td');
  td.textContent = text;
  if (className) td.className = className;
  return td;
}

function strong(text) {
  const el = document.createElement('strong');
  el.textContent = text;
  return el;
}

function code(text) {
  const el = document.createElement('code');
  el.textContent = text;
  return el;
}

// ---- begin ----

$('follow').addEventListener('submit', (e) => {
  e.preventDefault();
  const topic = $('topic').value;
  history.replaceState(null, '', '#' + encodeURIComponent(topic));
  follow(topic);
});
$('pause').addEventListener('click', () => {
  const paused = $('pause').getAttribute('aria-pressed') !== 'true';
  setPaused(paused);
  if (paused) client.stop(); else client.start();
});
$('publish').addEventListener('submit', (e) => {
  e.preventDefault();
  send($('data').value);
});
document.querySelectorAll('[data-goal]').forEach((b) => b.addEventListener('click', () => goal(b.dataset.goal)));
$('play').addEventListener('click', () => {
  clearInterval(playing);
  playing = playing ? 0 : setInterval(play, playEvery);
  $('play').setAttribute('aria-pressed', playing !== 0);
  $('play').textContent = playing ? 'Stop the match' : 'Play a match';
  if (playing) play();
});
$('members').addEventListener('click', async (e) => {
  const id = e.target.dataset.drain;
  if (!id) return;
  e.target.disabled = true;
  await fetch('/drain?shard=' + encodeURIComponent(id), { method: 'POST' }).catch(() => {});
  look();
});

const page = await getJSON('/page.json');
base = page.connect;
if (location.hash.length > 1) $('topic').value = decodeURIComponent(location.hash.slice(1));
follow($('topic').value);
setInterval(look, lookEvery);
