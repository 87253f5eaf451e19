// A table whose rows stay the same elements as long as their keys do, so that focus and selection survive each look.
// What is written is text, never markup: names and topics come from outside.

export class Table {
  #columns; #body; #rows = new Map();

  // Columns are {label, value(item) → text or element, kind?, grade?(item) → class}.
  constructor(root, columns) {
    this.#columns = columns;
    const head = document.createElement('thead');
    head.setAttribute('role', 'rowgroup');
    const tr = document.createElement('tr');
    tr.setAttribute('role', 'row');
    for (const c of columns) {
      const th = document.createElement('th');
      th.scope = 'col';
      th.setAttribute('role', 'columnheader');
      th.className = c.kind ?? '';
      if (c.hidden) {
        const span = document.createElement('span');
        span.className = 'hidden';
        span.textContent = c.label;
        th.append(span);
      } else {
        th.textContent = c.label;
      }
      if (c.title) th.title = c.title;
      tr.append(th);
    }
    head.append(tr);
    this.#body = document.createElement('tbody');
    this.#body.setAttribute('role', 'rowgroup');
    root.replaceChildren(head, this.#body);
  }

  // show makes the rows those of items, in this order.
  show(items, key) {
    const left = new Map(this.#rows);
    items.forEach((item, i) => {
      const k = key(item);
      left.delete(k);
      let row = this.#rows.get(k);
      if (!row) {
        row = this.#make();
        this.#rows.set(k, row);
      }
      this.#fill(row, item);
      if (this.#body.children[i] !== row.tr) this.#body.insertBefore(row.tr, this.#body.children[i] ?? null);
    });
    for (const [k, row] of left) {
      row.tr.remove();
      this.#rows.delete(k);
    }
  }

  #make() {
    const tr = document.createElement('tr');
    tr.setAttribute('role', 'row');
    const cells = this.#columns.map((c, i) => {
      const cell = document.createElement(i === 0 ? 'th' : 'td');
      cell.setAttribute('role', i === 0 ? 'rowheader' : 'cell');
      if (i === 0) cell.scope = 'row';
      if (!c.hidden) cell.dataset.label = c.label;
      tr.append(cell);
      return cell;
    });
    return { tr, cells, state: {} };
  }

  #fill(row, item) {
    row.tr.className = item.state === 'gone' || item.problem ? 'out' : '';
    this.#columns.forEach((c, i) => {
      const cell = row.cells[i];
      const kind = [c.kind, c.grade?.(item)].filter(Boolean).join(' ');
      if (cell.className !== kind) cell.className = kind;
      const value = c.value(item, row.state);
      if (value instanceof Node) {
        if (cell.firstChild !== value || cell.childNodes.length !== 1) cell.replaceChildren(value);
      } else if (cell.textContent !== value) {
        cell.textContent = value;
      }
    });
  }
}
