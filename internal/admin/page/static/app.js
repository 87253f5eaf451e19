// The page: the match as the client hears it, what the cluster says of it, and what is done to the cluster.

import { Chart } from '/chart.js';
import { Client } from '/client.js';
import { Plain } from '/plain.js';
import { Tally } from '/tally.js';
import { Try } from '/try.js';

const $ = (id) => document.getElementById(id);
const every = 500; // ms between two looks at the cluster

let topic = '';
let cluster = null; // the latest answer of /cluster
let serving = ''; // the gateway that serves the match
let busy = false; // something is being broken
let connections = 0;
let plainConnections = 0;

const tally = new Tally();
const plainTally = new Tally();
let chart = null;
let plainChart = null;
let plain = null;

async function getJSON(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

const number = (n) => n.toLocaleString('en');
const pause = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

// ---- the match ----

function follow(base) {
  chart = new Chart($('chart'));
  const client = new Client(base, topic, { viewers: true });
  client.addEventListener('state', ({ detail: { state } }) => {
    pill('state', state);
    if (state !== 'live') $('viewers').textContent = '–';
  });
  client.addEventListener('viewers', ({ detail }) => { $('viewers').textContent = number(detail.count); });
  client.addEventListener('fresh', ({ detail: { stale } }) => pill('state', stale ? 'stale' : 'live'));
  client.addEventListener('welcome', () => {
    connections++;
    showTally('', tally, connections);
  });
  client.addEventListener('message', ({ detail: m }) => onMessage(m.data));
  client.addEventListener('gap', () => showTally('', tally, connections)); // the numbers tell what was in it
  client.start();
}

function onMessage(m) {
  if (typeof m?.seq !== 'number') return;
  const lost = tally.lost;
  if (tally.take(m)) {
    chart.add(m.chance, tally.lost > lost);
    $('home').textContent = m.home;
    $('away').textContent = m.away;
    $('minute').textContent = m.minute;
    $('chance').textContent = `${m.chance.toFixed(1)} %`;
    if (m.text) $('told').textContent = m.text;
    if (m.goal === 'home' || m.goal === 'away') celebrate(m.goal);
  }
  showTally('', tally, connections);
}

function celebrate(team) {
  $(team).classList.remove('goal');
  void $(team).offsetWidth; // so that the animation begins again
  $(team).classList.add('goal');
}

function showTally(prefix, t, n) {
  const facts = { received: number(t.received), lost: number(t.lost), repeated: number(t.repeated), connections: number(n), pause: t.pause ? pause(t.pause) : '–' };
  for (const [name, text] of Object.entries(facts)) $(prefix + name).textContent = text;
  for (const name of ['lost', 'repeated']) $(prefix + name).classList.toggle('bad', t[name] > 0);
}

function pill(id, state) {
  $(id).dataset.state = state;
  $(id).textContent = { live: 'live', connecting: 'connecting', stopped: 'disconnected', waiting: 'reconnecting', stale: 'stale' }[state];
}

// ---- the plain WebSocket beside it ----

function compare() {
  plainChart = new Chart($('plain-chart'));
  plain = new Plain(topic, addresses);
  plain.addEventListener('state', ({ detail }) => {
    pill('plain-state', detail);
    $('plain-on').textContent = plain.on || 'none at present';
  });
  plain.addEventListener('open', () => plainConnections++);
  plain.addEventListener('moved', () => plainTally.again()); // it changed because we wanted it to: that is not held against it
  plain.addEventListener('message', ({ detail: m }) => {
    const lost = plainTally.lost;
    if (plainTally.take(m)) plainChart.add(m.chance, plainTally.lost > lost);
    showTally('plain-', plainTally, plainConnections);
  });
  plain.start();
}

// addresses are the gateways that are active, the one that serves the match first.
function addresses() {
  const active = cluster.members.filter((m) => m.role === 'gateway' && m.state === 'active' && !m.static && !m.problem);
  return active.sort((a, b) => (b.id === serving) - (a.id === serving)).map(({ id, addr }) => ({ id, addr }));
}

// ---- the cluster ----

async function look() {
  if (!document.hidden) {
    try {
      const [answer, crowd] = await Promise.all([getJSON('/cluster'), getJSON('/stage.json')]);
      cluster = answer;
      showCluster();
      showCrowd(crowd);
    } catch {
      // The match goes on; this is shown again when it answers.
    }
  }
  setTimeout(look, every);
}

function showCluster() {
  const gateways = cluster.members.filter((m) => m.role === 'gateway');
  const viewers = gateways.map((m) => ({ id: m.id, n: m.node?.gateway?.hottest.find((h) => h.topic === topic)?.sessions ?? 0 }));
  const most = viewers.sort((a, b) => b.n - a.n)[0];
  serving = most?.n > 0 ? most.id : '';
  $('serving').textContent = serving || 'nobody at this moment';
  const active = gateways.filter((m) => m.state === 'active' && m.node);
  const can = serving !== '' && active.length > 1 && active.some((m) => m.id === serving) && !busy;
  for (const id of ['kill', 'drain']) {
    if ($(id).disabled === can) $(id).setAttribute('aria-disabled', String(!can));
    $(id).disabled = !can;
  }
  const list = $('gateways');
  const key = (m) => `${m.id}: ${m.problem ? 'gone' : m.state}${m.node ? `, ${number(m.node.sessions)} ${m.node.sessions === 1 ? 'session' : 'sessions'}` : ''}`;
  const texts = gateways.map(key);
  if ([...list.children].map((e) => e.textContent).join('\n') === texts.join('\n')) return;
  list.replaceChildren(...gateways.map((m, i) => {
    const li = document.createElement('li');
    li.className = m.problem ? 'gone' : m.state;
    li.textContent = texts[i];
    return li;
  }));
}

function showCrowd(c) {
  $('crowd-size').textContent = c.viewers ? number(c.viewers) : 'other';
  $('crowd-received').textContent = number(c.received);
  $('crowd-returns').textContent = number(c.returns);
  for (const name of ['lost', 'repeated']) {
    $(`crowd-${name}`).textContent = number(c[name]);
    $(`crowd-${name}`).classList.toggle('bad', c[name] > 0);
  }
}

// breakIt does something to the gateway that serves the match, with the plain WebSocket standing on it too.
async function breakIt(path, done) {
  const victim = serving;
  busy = true;
  showCluster();
  try {
    await plain.standOn(addresses().find((a) => a.id === victim));
    const response = await fetch(`${path}?${new URLSearchParams({ shard: victim })}`, { method: 'POST' });
    if (!response.ok) throw new Error((await response.json()).message);
    chart.mark();
    plainChart.mark();
    $('did').textContent = `${done} ${victim}.`;
  } catch (err) {
    $('did').textContent = `Not done: ${err.message}.`;
  }
  setTimeout(() => { busy = false; }, 2000);
}

$('kill').addEventListener('click', () => breakIt('/stage/kill', 'Killed'));
$('drain').addEventListener('click', () => breakIt('/drain', 'Draining'));

// ---- begin ----

const page = await getJSON('/page.json');
topic = page.topic;
const own = new Try(page.connect);
if (topic) {
  cluster = await getJSON('/cluster');
  follow(page.connect);
  compare();
  look();
} else {
  document.querySelectorAll('.match').forEach((e) => { e.hidden = true; });
  pill('state', 'stopped');
  $('state').textContent = 'no match';
}
if (!topic || location.hash.length > 1) $('try').open = true;
if (location.hash.length > 1) $('topic').value = decodeURIComponent(location.hash.slice(1));
if ($('try').open) own.follow();
$('try').addEventListener('toggle', () => {
  if ($('try').open) own.follow();
});
