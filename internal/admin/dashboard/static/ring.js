// The ring as a drawing: outside 256 slots in the colours of their owners, inside the sessions of each gateway.

const svg = 'http://www.w3.org/2000/svg';
const palette = 12;

const el = (name, attributes) => {
  const e = document.createElementNS(svg, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};

const point = (turn, r) => {
  const a = turn * 2 * Math.PI - Math.PI / 2;
  return `${(r * Math.cos(a)).toFixed(2)} ${(r * Math.sin(a)).toFixed(2)}`;
};

// arc is a part of a ring between two turns (0 to 1).
function arc(from, to, inner, outer) {
  const large = to - from > 0.5 ? 1 : 0;
  return `M${point(from, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(from, inner)}Z`;
}

// colour is a gateway's place in the palette: that of its name among all, so that it keeps it.
export const colour = (ids, id) => (id ? `c${ids.indexOf(id) % palette}` : 'nobody');

export class Ring {
  #root; #slots = []; #marks = []; #shares; #title; #sub; #selected = 0; #view = null; #chosen;

  // chosen(slot) is called when a slot is selected.
  constructor(root, slots, chosen) {
    this.#root = root;
    this.#chosen = chosen;
    const gap = 0.0006;
    for (let i = 0; i < slots; i++) {
      const path = el('path', { d: arc(i / slots + gap, (i + 1) / slots - gap, 150, 190), class: 'slot nobody' });
      path.addEventListener('click', () => this.select(i));
      const mark = el('path', { d: arc(i / slots, (i + 1) / slots, 194, 204), class: 'mark' });
      this.#slots.push(path);
      this.#marks.push(mark);
    }
    this.#shares = el('g', {});
    this.#title = el('text', { y: -2, class: 'big' });
    this.#sub = el('text', { y: 26, class: 'small' });
    root.replaceChildren(...this.#slots, ...this.#marks, this.#shares, this.#title, this.#sub);
    root.addEventListener('keydown', (e) => this.#key(e));
    root.setAttribute('aria-valuemax', slots - 1);
  }

  get selected() { return this.#selected; }

  select(slot) {
    this.#slots[this.#selected].removeAttribute('data-selected');
    this.#selected = (slot + this.#slots.length) % this.#slots.length;
    const path = this.#slots[this.#selected];
    path.setAttribute('data-selected', '');
    this.#root.setAttribute('aria-valuenow', this.#selected);
    this.#chosen(this.#selected);
  }

  #key(e) {
    const row = Math.round(this.#slots.length / 16);
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: row, PageDown: -row }[e.key];
    const to = { Home: 0, End: this.#slots.length - 1 }[e.key];
    if (step === undefined && to === undefined) return;
    e.preventDefault();
    this.select(to ?? this.#selected + step);
  }

  // draw shows a view; ids are the names of all gateways, in the order of their colours.
  draw(view, ids) {
    this.#view = view;
    view.owners.forEach((owner, i) => {
      const tail = view.tails.get(i);
      set(this.#slots[i], 'class', `slot ${colour(ids, owner)}`);
      const state = tail?.stale.length ? 'stale' : owner && tail && tail.owned && !tail.owned.stands ? 'unread' : owner && !tail?.owned ? 'unknown' : '';
      set(this.#marks[i], 'class', `mark ${state}`);
    });
    this.#drawShares(view, ids);
    this.#title.textContent = view.totals.known ? view.totals.sessions.toLocaleString('en') : '–';
    this.#sub.textContent = `sessions on ${view.shards.filter((m) => m.node).length} of ${view.gateways.length} gateways`;
    this.describe();
  }

  #drawShares(view, ids) {
    const shares = view.gateways.filter((m) => m.node?.sessions > 0);
    const all = shares.reduce((n, m) => n + m.node.sessions, 0);
    let from = 0;
    this.#shares.replaceChildren(...shares.flatMap((m) => {
      const to = Math.min(from + m.node.sessions / all, from + 0.9999);
      const path = el('path', { d: arc(from, to, 108, 138), class: `share ${colour(ids, m.id)}` });
      const label = el('text', { class: 'label' });
      const [x, y] = point((from + to) / 2, 123).split(' ');
      label.setAttribute('x', x);
      label.setAttribute('y', y);
      label.textContent = to - from > 0.06 ? (m.id.length > 8 ? m.id.slice(0, 7) + '…' : m.id) : '';
      from = to;
      return [path, label];
    }));
  }

  // describe says in words what is selected, for those who hear the page.
  describe() {
    const owner = this.#view?.owners[this.#selected];
    const tail = this.#view?.tails.get(this.#selected);
    const state = tail?.stale.length ? ', stale' : '';
    set(this.#root, 'aria-valuetext', `slot ${this.#selected}, ${owner ? `owned by ${owner}` : 'owned by nobody'}${state}`);
  }

  // highlight marks the slots of one gateway; '' for none.
  highlight(id) {
    this.#root.classList.toggle('dim', id !== '');
    this.#slots.forEach((path, i) => path.toggleAttribute('data-lit', id !== '' && this.#view?.owners[i] === id));
  }
}

function set(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}
