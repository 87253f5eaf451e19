// What is on the page, from a view of the model. A null view means that nothing is known: no old number stays.

import { Ring, colour } from './ring.js';
import { Table } from './table.js';
import { count } from './model.js';

const $ = (id) => document.getElementById(id);
const none = '–';
const points = 60; // of a sparkline

const num = (v) => (v === null || v === undefined ? none : Math.round(v).toLocaleString('en'));
const rate = (v) => (v === null || v === undefined ? none : v > 0 && v < 9.95 ? v.toFixed(1) : num(v));
const bytes = (v) => {
  if (v === null || v === undefined) return none;
  const step = v < 1e3 ? 0 : v < 1e6 ? 1 : v < 1e9 ? 2 : 3;
  return `${(v / 1000 ** step).toFixed(step ? 1 : 0)} ${['B', 'kB', 'MB', 'GB'][step]}`;
};
const ms = (v) => (v === null || v === undefined ? none : v === Infinity ? 'over 60 s' : v < 1000 ? `${Math.round(v * 10) / 10} ms` : `${(v / 1000).toFixed(1)} s`);
const clock = (t) => (t === null || t === undefined ? none : new Date(t).toLocaleTimeString('en-GB'));
const seconds = (v) => `${Math.max(0, Math.round(v / 1000))} s`;

export class Show {
  #ring = null; #ids = []; #view = null; #tiles = new Map(); #history = new Map(); #now = 0;
  #gateways; #routers; #hot; #refusals;

  // ondrain(member, button) is called when somebody wants to drain a gateway.
  constructor(ondrain) {
    this.#gateways = new Table($('gateways'), [
      { label: 'Gateway', value: (m) => m.id },
      { label: 'State', kind: 'state', value: (m) => this.#state(m), grade: (m) => grade(m) },
      { label: 'Sessions', kind: 'number', value: (m) => num(m.node?.sessions) },
      { label: 'Slots', kind: 'number', value: (m) => (m.state === 'gone' ? none : m.dedicated ? 'dedicated' : num(m.slots)) },
      { label: 'Messages/s', kind: 'number', value: (m) => rate(m.rates?.delivered) },
      { label: 'p99', kind: 'number', title: 'From the entry in the stream to the socket, of 99 in 100 messages of the last seconds', value: (m) => ms(m.p99) },
      { label: 'Lag', kind: 'number', title: 'Age of the oldest watermark of the slots that it owns', value: (m) => ms(m.lag), grade: (m) => (m.node?.gateway?.staleSlots ? 'bad' : '') },
      { label: 'Watermark', kind: 'number', title: 'Everything up to here has been handed on', value: (m) => clock(m.asOf) },
      { label: 'Unread', kind: 'number', title: 'Entries of its slots that it has not read; behind them those not acknowledged', value: (m) => (m.unread === null || m.unread === undefined ? none : `${num(m.unread)} + ${num(m.pending)}`) },
      { label: 'Stale', kind: 'number', title: 'Slots', value: (m) => num(m.node?.gateway?.staleSlots), grade: (m) => (m.node?.gateway?.staleSlots ? 'bad' : '') },
      { label: 'Blocked', kind: 'number', title: 'Sessions whose socket takes nothing at present', value: (m) => num(m.node?.blocked) },
      { label: 'Action', hidden: true, kind: 'action', value: (m, state) => this.#action(m, state, ondrain) },
    ]);
    this.#routers = new Table($('routers'), [
      { label: 'Router', value: (m) => m.id },
      { label: 'State', kind: 'state', value: (m) => this.#state(m), grade: (m) => grade(m) },
      { label: 'Sessions', kind: 'number', value: (m) => num(m.node?.sessions) },
      { label: 'New/s', kind: 'number', value: (m) => rate(m.rates?.opened) },
      { label: 'Moved/s', kind: 'number', title: 'Sessions that changed gateways', value: (m) => rate(m.rates?.moved) },
      { label: 'Moving', kind: 'number', value: (m) => num(m.node?.leaving) },
      { label: 'Waiting', kind: 'number', title: 'Sessions that wait for a gateway', value: (m) => num(m.node?.router?.homeless), grade: (m) => (m.node?.router?.homeless ? 'bad' : '') },
      { label: 'Queue', kind: 'number', title: 'Handshakes that wait', value: (m) => num(m.node?.router?.queue) },
      { label: 'Blocked', kind: 'number', value: (m) => num(m.node?.blocked) },
      { label: 'Refused/s', kind: 'number', value: (m) => rate(m.rates?.refused), grade: (m) => (m.rates?.refused > 0 ? 'warn' : '') },
      { label: 'Bytes/s', kind: 'number', value: (m) => bytes(m.rates?.sent) },
    ]);
    this.#hot = new Table($('hot'), [
      { label: 'Topic', kind: 'text', value: (t) => t.topic },
      { label: 'Sessions', kind: 'number', value: (t) => num(t.sessions) },
      { label: 'Messages/s', kind: 'number', value: (t) => (t.rate < 0 ? none : rate(t.rate)) },
      { label: 'Deliveries/s', kind: 'number', value: (t) => rate(t.out) },
      { label: 'On', kind: 'text', value: (t) => t.at.join(', ') || none },
    ]);
    this.#refusals = new Table($('refusals'), [
      { label: 'Reason', value: (r) => r.reason },
      { label: 'By', value: (r) => `${r.role}s` },
      { label: 'Per second', kind: 'number', value: (r) => rate(r.rate), grade: (r) => (r.rate > 0 ? 'warn' : '') },
      { label: 'In all', kind: 'number', value: (r) => num(r.total) },
    ]);
    for (const [key, label] of [['sessions', 'sessions'], ['opened', 'new/s'], ['closed', 'ended/s'], ['delivered', 'messages/s'], ['sent', 'bytes/s'], ['published', 'published/s'], ['refused', 'refused/s'], ['p99', 'p99, stream to socket']]) {
      this.#tile(key, label);
    }
  }

  get ring() { return this.#ring; }

  // view shows a view; null when nothing is known any more.
  view(view, now) {
    this.#view = view;
    this.#now = now;
    const empty = { members: [], gateways: [], routers: [], shards: [], gone: [], hot: [], refusals: [], tails: new Map(), owners: Array(256).fill(''), wrong: [], totals: { known: 0 } };
    const v = view ?? empty;
    if (!this.#ring) {
      this.#ring = new Ring($('ring'), v.owners.length, () => this.#facts());
      this.#ring.select(0);
    }
    if (view) this.#ids = [...new Set([...this.#ids, ...v.gateways.map((m) => m.id)])].slice(-500).sort();
    this.#wrong(v, view !== null);
    for (const key of this.#tiles.keys()) this.#number(key, v.totals[key], view !== null);
    this.#ring.draw(v, this.#ids);
    this.#gateways.show(v.gateways, (m) => m.key);
    this.#routers.show(v.routers, (m) => m.key);
    this.#hot.show(v.hot, (t) => t.topic);
    this.#refusals.show(v.refusals, (r) => r.key);
    $('hot-none').hidden = v.hot.length > 0 || !view;
    $('refusals-none').hidden = v.refusals.length > 0 || !view;
    this.#legend(v);
    this.#facts();
  }

  #state(m) {
    if (m.state === 'gone') return `gone for ${seconds(this.#now - m.since)}`;
    if (m.problem && !m.static) return `${m.state}, does not tell`;
    return m.static ? 'static' : m.state;
  }

  // #action is the button that drains, or how far the drain is.
  #action(m, state, ondrain) {
    if (m.drain) {
      state.box ??= progress();
      const { left, of } = m.drain;
      state.box.bar.max = Math.max(1, of);
      state.box.bar.value = of - left;
      state.box.text.textContent = `${num(left)} of ${num(of)} left`;
      state.box.bar.setAttribute('aria-label', `Drain of ${m.id}: ${left} of ${of} sessions left`);
      return state.box.root;
    }
    state.box = undefined;
    if (m.state !== 'active' || !m.node) return none; // nobody could hand the drain on
    if (!state.button) {
      state.button = document.createElement('button');
      state.button.type = 'button';
      state.button.textContent = 'Drain…';
      state.button.setAttribute('aria-haspopup', 'dialog');
      state.button.addEventListener('click', () => ondrain(state.member, state.button));
    }
    state.member = m;
    state.button.dataset.drain = m.id;
    state.button.setAttribute('aria-label', `Drain ${m.id}`);
    return state.button;
  }

  #wrong(v, known) {
    const list = known ? v.wrong : [{ level: 'bad', key: 'silent', text: 'This admin port does not answer: nothing is known of the cluster at present.' }];
    const items = list.length ? list : [{ level: 'good', key: 'good', text: 'Nothing that these nodes know of.' }];
    const root = $('wrong');
    const old = new Map([...root.children].map((e) => [e.dataset.key, e]));
    items.forEach((w, i) => {
      const li = old.get(w.key) ?? document.createElement('li');
      old.delete(w.key);
      if (li.dataset.key !== w.key) li.dataset.key = w.key;
      if (li.className !== w.level) li.className = w.level;
      if (li.textContent !== w.text) li.textContent = w.text;
      if (root.children[i] !== li) root.insertBefore(li, root.children[i] ?? null);
    });
    for (const e of old.values()) e.remove();
    const bad = items.filter((w) => w.level === 'bad').length;
    document.title = bad ? `(${bad}) Ringside: the cluster` : 'Ringside: the cluster';
  }

  #tile(key, label) {
    const root = document.createElement('div');
    root.className = 'card tile';
    const dt = document.createElement('dt');
    dt.textContent = label;
    const dd = document.createElement('dd');
    dd.id = `tile-${key}`;
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    line.setAttribute('viewBox', `0 0 ${points - 1} 20`);
    line.setAttribute('preserveAspectRatio', 'none');
    line.setAttribute('aria-hidden', 'true');
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    line.append(path);
    root.append(dt, dd, line);
    $('tiles').append(root);
    this.#tiles.set(key, { root, dd, path });
    this.#history.set(key, []);
  }

  #number(key, v, known) {
    const { root, dd, path } = this.#tiles.get(key);
    const text = key === 'sent' ? bytes(v) : key === 'p99' ? ms(v) : key === 'sessions' ? num(v) : rate(v);
    if (dd.textContent !== text) dd.textContent = text;
    root.classList.toggle('warn', key === 'refused' && v > 0);
    const h = this.#history.get(key);
    h.push(known && Number.isFinite(v) ? v : null);
    if (h.length > points) h.shift();
    const most = Math.max(1e-9, ...h.map((x) => x ?? 0));
    let pen = 'M';
    path.setAttribute('d', h.map((x, i) => {
      if (x === null) {
        pen = 'M';
        return '';
      }
      const s = `${pen}${i + points - h.length} ${(19 - 18 * x / most).toFixed(1)}`;
      pen = 'L';
      return s;
    }).join(''));
  }

  #legend(v) {
    const root = $('legend');
    const shown = v.gateways.filter((m) => !m.static && m.state !== 'gone');
    if (root.childElementCount !== shown.length || shown.some((m, i) => root.children[i].dataset.id !== m.id)) {
      root.replaceChildren(...shown.map((m) => {
        const li = document.createElement('li');
        li.dataset.id = m.id;
        const b = document.createElement('button');
        b.type = 'button';
        b.setAttribute('aria-pressed', 'false');
        b.className = colour(this.#ids, m.id);
        b.addEventListener('click', () => {
          const on = b.getAttribute('aria-pressed') !== 'true';
          root.querySelectorAll('button').forEach((o) => o.setAttribute('aria-pressed', 'false'));
          b.setAttribute('aria-pressed', String(on));
          this.#ring.highlight(on ? m.id : '');
        });
        li.append(b);
        return li;
      }));
      this.#ring.highlight('');
    }
    shown.forEach((m, i) => {
      const b = root.children[i].firstChild;
      const text = `${m.id}: ${count(m.slots, 'slot', 'slots')}`;
      if (b.textContent !== text) b.textContent = text;
    });
  }

  // #facts are about the slot that is selected in the ring.
  #facts() {
    if (!this.#ring) return;
    const slot = this.#ring.selected;
    const owner = this.#view?.owners[slot];
    const tail = this.#view?.tails.get(slot);
    const t = tail?.owned;
    $('slot').textContent = slot;
    this.#ring.describe();
    const facts = [
      ['owner', owner || (this.#view ? 'nobody' : none)], ['read', t ? (t.stands ? 'yes' : 'no') : none], ['watermark', clock(t?.asOf)], ['lag', ms(t?.lag)],
      ['unread', t ? (t.unread < 0 ? 'not known' : num(t.unread)) : none], ['pending', num(t?.pending)], ['stale at', tail?.stale.join(', ') || (this.#view ? 'nobody' : none)],
    ];
    const root = $('facts');
    if (!root.childElementCount) {
      root.append(...facts.map(([k]) => {
        const div = document.createElement('div');
        const dt = document.createElement('dt');
        dt.textContent = k;
        div.append(dt, document.createElement('dd'));
        return div;
      }));
    }
    facts.forEach(([, v], i) => {
      const dd = root.children[i].lastChild;
      if (dd.textContent !== v) dd.textContent = v;
    });
  }
}

const grade = (m) => (m.state === 'gone' || m.problem && !m.static ? 'bad' : m.state === 'active' ? 'good' : 'warn');

function progress() {
  const root = document.createElement('span');
  root.className = 'progress';
  const bar = document.createElement('progress');
  const text = document.createElement('span');
  root.append(bar, text);
  return { root, bar, text };
}
