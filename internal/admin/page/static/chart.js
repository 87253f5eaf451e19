// A line of the last seconds. Where a message is missing there is no line but a red field.

const svg = 'http://www.w3.org/2000/svg';
const span = 30000; // ms that are shown
const width = 600;
const height = 120;
const silence = 600; // ms without a message that show
const calm = matchMedia('(prefers-reduced-motion: reduce)');

const el = (name, attributes = {}) => {
  const e = document.createElementNS(svg, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};

export class Chart {
  #root; #line; #holes; #marks; #points = []; #events = []; #drawn = 0;

  constructor(root) {
    this.#root = root;
    root.setAttribute('viewBox', `0 0 ${width} ${height}`);
    root.setAttribute('preserveAspectRatio', 'none');
    this.#line = el('path', { class: 'line' });
    this.#holes = el('g', { class: 'holes' });
    this.#marks = el('g', { class: 'marks' });
    root.append(el('path', { class: 'half', d: `M0 ${height / 2}H${width}` }), this.#holes, this.#marks, this.#line);
    const turn = () => {
      const now = performance.now();
      if (now - this.#drawn >= (calm.matches ? 1000 : 66)) this.#draw(now);
      requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
  }

  // add takes a value from 0 to 100; after a hole the line begins anew.
  add(value, hole) {
    this.#points.push({ at: performance.now(), value, hole });
  }

  // mark remembers an event of now.
  mark() { this.#events.push(performance.now()); }

  #draw(now) {
    this.#drawn = now;
    const x = (at) => width * (1 - (now - at) / span);
    const y = (v) => height - 4 - (height - 8) * v / 100;
    while (this.#points.length && this.#points[0].at < now - span - 2000) this.#points.shift();
    while (this.#events.length && this.#events[0] < now - span) this.#events.shift();
    const holes = [];
    let d = '';
    this.#points.forEach((p, i) => {
      if (p.hole && i) holes.push([this.#points[i - 1].at, p.at]);
      d += `${i && !p.hole ? 'L' : 'M'}${x(p.at).toFixed(1)} ${y(p.value).toFixed(1)}`;
    });
    const last = this.#points.at(-1);
    if (last && now - last.at > silence) holes.push([last.at, now]);
    this.#line.setAttribute('d', d);
    this.#holes.replaceChildren(...holes.map(([from, to]) => el('rect', { x: Math.max(0, x(from)), y: 0, width: Math.max(1, x(to) - Math.max(0, x(from))), height })));
    this.#marks.replaceChildren(...this.#events.map((at) => el('path', { d: `M${x(at).toFixed(1)} 0V${height}` })));
    this.#root.dataset.holes = holes.length;
  }
}
