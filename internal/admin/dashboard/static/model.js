// What the answers of /cluster mean: rates, what is wrong, what is hot. Nothing here touches the page.

const keep = 12000; // ms of samples
const over = 3000; // ms that a rate is a mean of
const goneFor = 60000; // ms that a member which is not in the ring any more is shown
const ringPatience = 3000; // ms that rings may differ after a change

// What a node counts, as one flat object.
const countsOf = (node) => ({ ...node.counts, refused: Object.values(node.refused).reduce((a, b) => a + b, 0) });

// What is known of a member that is gone: none of its numbers.
const unknown = { node: null, rates: null, refusalRates: {}, p99: null, drain: null, lag: null, asOf: null, unread: null, pending: null };

const keyOf = (m) => `${m.role} ${m.id}`;

export class Model {
  #samples = new Map(); // by member: [{at, life, counts, refused, delivery}]
  #seen = new Map(); // by member: {member, at, gone}
  #differs = new Map(); // by member: since when its ring is another one
  #drains = new Map(); // by shard: most sessions seen since it drains
  #early = performance.now();

  // take makes a view of an answer that came now (performance.now()).
  take(answer, now) {
    const members = answer.members.map((m) => this.#member(m, now));
    const view = { self: answer.self, version: answer.version, slots: answer.slots, owners: answer.owners, members, pins: answer.pins };
    this.#notice(members, now);
    view.gone = [...this.#seen.values()].filter((s) => s.gone && now - s.gone < goneFor && s.gone > this.#early)
      .map((s) => ({ ...s.member, ...unknown, problem: '', since: s.gone, state: 'gone', expected: s.member.state === 'draining' || s.member.state === 'left' }));
    view.gateways = [...members, ...view.gone].filter((m) => m.role === 'gateway');
    view.routers = [...members, ...view.gone].filter((m) => m.role === 'router');
    view.shards = view.gateways.filter((m) => m.state === 'active');
    view.totals = totals(members);
    view.hot = hottest(members);
    view.refusals = refusals(members);
    view.tails = tailsBySlot(members);
    view.wrong = this.#wrong(view, now);
    return view;
  }

  #member(m, now) {
    const key = keyOf(m);
    const n = m.node;
    if (n) {
      const list = this.#samples.get(key) ?? [];
      if (list.length && list.at(-1).life !== n.life) list.length = 0; // counts have begun anew
      if (!list.length || list.at(-1).at < n.at) {
        list.push({ at: n.at, life: n.life, counts: countsOf(n), refused: n.refused, delivery: n.gateway?.delivery });
      }
      while (list.length > 2 && list[0].at < n.at - keep) list.shift();
      this.#samples.set(key, list);
    } else {
      this.#samples.delete(key);
    }
    const samples = this.#samples.get(key) ?? [];
    return { ...m, key, rates: rates(samples), refusalRates: refusalRates(samples), p99: p99(samples), drain: this.#drain(m), ...tails(m, now) };
  }

  // #drain is how far a drain is: {left, of}.
  #drain(m) {
    if (m.role !== 'gateway' || m.state !== 'draining') {
      this.#drains.delete(m.id);
      return null;
    }
    const left = m.node?.sessions ?? m.load;
    const of = Math.max(left, this.#drains.get(m.id) ?? m.load);
    this.#drains.set(m.id, of);
    return { left, of };
  }

  // #notice remembers who is there, so that who is not any more can be told from who never was.
  #notice(members, now) {
    const here = new Set(members.map((m) => m.key));
    for (const m of members) this.#seen.set(m.key, { member: m, gone: 0 });
    for (const [key, s] of this.#seen) {
      if (!here.has(key) && !s.gone) s.gone = now;
      if (s.gone && now - s.gone > goneFor) this.#seen.delete(key);
    }
    for (const key of this.#samples.keys()) if (!here.has(key)) this.#samples.delete(key);
  }

  // #wrong is what is wrong, the worst first: {level, key, text}.
  #wrong(view, now) {
    const list = [];
    const bad = (key, text) => list.push({ level: 'bad', key, text });
    const warn = (key, text) => list.push({ level: 'warn', key, text });
    if (!view.shards.length) bad('none', 'No gateway is active: nobody can open a session.');
    for (const m of view.gone) {
      if (!m.expected) bad(`gone ${m.key}`, `${m.id} is gone without having said that it leaves.`);
    }
    for (const m of view.members) {
      if (m.problem && !m.static) bad(`out ${m.key}`, `${m.id}: ${m.problem}.`);
      this.#wrongAt(m, view, now, bad, warn);
    }
    for (const m of view.gone) {
      if (m.expected) list.push({ level: 'note', key: `left ${m.key}`, text: `${m.id} has left.` });
    }
    const order = { bad: 0, warn: 1, note: 2 };
    return list.sort((a, b) => order[a.level] - order[b.level]);
  }

  #wrongAt(m, view, now, bad, warn) {
    const n = m.node;
    if (m.state === 'draining') warn(`drain ${m.key}`, `${m.id} drains.`);
    if (m.state === 'joining') warn(`join ${m.key}`, `${m.id} is joining: it serves nobody yet.`);
    if (!n) return;
    for (const c of n.checks) {
      if (!c.ready && m.state === 'active') bad(`check ${c.name} ${m.key}`, `${m.id} is not ready, ${c.name}: ${c.message || 'no reason given'}.`);
    }
    if (n.gateway?.staleSlots) bad(`stale ${m.key}`, `${m.id}: ${count(n.gateway.staleSlots, 'slot is', 'slots are')} stale. Its clients are told so.`);
    if (n.gateway?.missingTails && m.state === 'active') bad(`tails ${m.key}`, `${m.id}: ${count(n.gateway.missingTails, 'owned slot is', 'owned slots are')} not read.`);
    if (n.router?.frozen) bad(`frozen ${m.key}`, `${m.id} goes by the last good ring: it has lost sight of too many gateways at once.`);
    if (n.router?.homeless) bad(`homeless ${m.key}`, `${m.id}: sessions wait for a gateway.`);
    if (n.router?.silent) warn(`silent ${m.key}`, `${m.id}: ${count(n.router.silent, 'gateway gives', 'gateways give')} no heartbeat.`);
    if (n.router?.queue) warn(`queue ${m.key}`, `${m.id}: handshakes queue.`);
    if (n.blocked) warn(`blocked ${m.key}`, `${m.id}: ${count(n.blocked, 'session takes', 'sessions take')} nothing at present.`);
    if (n.limit && n.sessions > 0.9 * n.limit) warn(`full ${m.key}`, `${m.id} has more than nine tenths of the sessions that it may have.`);
    if (m.rates?.refused > 0) warn(`refused ${m.key}`, `${m.id} refuses clients: ${reasonsOf(m)}.`);
    if (n.ring === view.version) this.#differs.delete(m.key);
    else if (!this.#differs.has(m.key)) this.#differs.set(m.key, now);
    else if (now - this.#differs.get(m.key) > ringPatience) bad(`ring ${m.key}`, `${m.id} has another ring than ${view.self}.`);
  }
}

export const count = (n, one, many) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

const reasonsOf = (m) => Object.entries(m.refusalRates).filter(([, v]) => v > 0).map(([reason]) => reason).sort().join(', ');

// pair is the newest sample and the one that it is compared with; null while there is none.
function pair(samples, span) {
  const last = samples.at(-1);
  const first = samples.find((s) => s.at >= (last?.at ?? 0) - span);
  return last && first && last.at - first.at >= 300 ? [first, last] : null;
}

function rates(samples) {
  const p = pair(samples, over);
  if (!p) return null;
  const [a, b] = p;
  return Object.fromEntries(Object.entries(b.counts).map(([k, v]) => [k, Math.max(0, v - (a.counts[k] ?? 0)) / (b.at - a.at) * 1000]));
}

function refusalRates(samples) {
  const p = pair(samples, over);
  if (!p) return {};
  const [a, b] = p;
  return Object.fromEntries(Object.entries(b.refused).map(([k, v]) => [k, Math.max(0, v - (a.refused[k] ?? 0)) / (b.at - a.at) * 1000]));
}

// p99 is below what 99 of 100 messages were handed on in the last seconds, in ms; null when there were none.
function p99(samples) {
  const p = pair(samples, keep);
  if (!p?.[1].delivery) return null;
  const [a, b] = p.map((s) => s.delivery);
  const counts = b.counts.map((v, i) => v - (a.counts[i] ?? 0));
  const all = counts.at(-1);
  if (!all) return null;
  const i = counts.findIndex((v) => v >= 0.99 * all);
  return i < b.bounds.length ? b.bounds[i] * 1000 : Infinity;
}

// tails sums up the owned slots of a gateway: the largest lag, and the oldest watermark.
function tails(m) {
  const owned = m.node?.gateway?.tails?.filter((t) => t.owned) ?? [];
  if (!owned.length) return { lag: null, asOf: null, unread: null, pending: null };
  return {
    lag: Math.max(...owned.map((t) => t.lag)), asOf: Math.min(...owned.map((t) => t.asOf)),
    unread: owned.reduce((n, t) => n + Math.max(0, t.unread), 0), pending: owned.reduce((n, t) => n + t.pending, 0),
  };
}

function totals(members) {
  const t = { sessions: 0, direct: 0, opened: null, closed: null, delivered: null, sent: null, refused: null, published: null, p99: null, blocked: 0, known: 0 };
  for (const m of members) {
    if (!m.node) continue;
    t.known++;
    t.blocked += m.node.blocked;
    if (m.role === 'gateway') t.sessions += m.node.sessions;
    if (m.p99 !== null) t.p99 = Math.max(t.p99 ?? 0, m.p99);
    if (!m.rates) continue;
    t.refused = (t.refused ?? 0) + m.rates.refused;
    t.published = (t.published ?? 0) + m.rates.published;
    if (m.role !== 'gateway') continue;
    t.opened = (t.opened ?? 0) + m.rates.opened - m.rates.moved;
    t.closed = (t.closed ?? 0) + m.rates.closed;
    t.delivered = (t.delivered ?? 0) + m.rates.delivered;
    t.sent = (t.sent ?? 0) + m.rates.sent;
  }
  return t;
}

// hottest merges what the gateways name: sessions add up, and each message is handed out at every gateway.
function hottest(members) {
  const by = new Map();
  for (const m of members) {
    for (const h of m.node?.gateway?.hottest ?? []) {
      const t = by.get(h.topic) ?? { topic: h.topic, sessions: 0, rate: 0, out: 0, at: [] };
      t.sessions += h.sessions;
      t.rate = Math.max(t.rate, h.rate);
      t.out += Math.max(0, h.rate) * h.sessions;
      if (h.sessions) t.at.push(m.id);
      by.set(h.topic, t);
    }
  }
  return [...by.values()].filter((t) => t.sessions || t.rate > 0)
    .sort((a, b) => b.out - a.out || b.sessions - a.sessions || (a.topic < b.topic ? -1 : 1)).slice(0, 10);
}

function refusals(members) {
  const by = new Map();
  for (const m of members) {
    for (const [reason, total] of Object.entries(m.node?.refused ?? {})) {
      const key = `${m.role} ${reason}`;
      const r = by.get(key) ?? { key, role: m.role, reason, total: 0, rate: 0 };
      r.total += total;
      r.rate += m.refusalRates[reason] ?? 0;
      by.set(key, r);
    }
  }
  return [...by.values()].sort((a, b) => b.rate - a.rate || b.total - a.total || (a.key < b.key ? -1 : 1)).slice(0, 20);
}

// tailsBySlot is, for each slot, what its owner says of it, and who else has it stale.
function tailsBySlot(members) {
  const by = new Map();
  for (const m of members) {
    for (const t of m.node?.gateway?.tails ?? []) {
      const s = by.get(t.slot) ?? { owned: null, stale: [] };
      if (t.owned) s.owned = { ...t, id: m.id };
      if (t.stale) s.stale.push(m.id);
      by.set(t.slot, s);
    }
  }
  return by;
}
