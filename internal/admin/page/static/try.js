// The part of the page that follows any topic and publishes to it.

import { Client, publish } from '/client.js';

const $ = (id) => document.getElementById(id);
const shown = 200; // messages kept in the list

export class Try {
  #base; #client = null; #counts = {}; #liveSince = 0; #waitingUntil = 0;

  // base is ws://host:port.
  constructor(base) {
    this.#base = base;
    $('follow').addEventListener('submit', (e) => {
      e.preventDefault();
      history.replaceState(null, '', '#' + encodeURIComponent($('topic').value));
      this.#client?.stop();
      this.#client = null;
      this.follow();
    });
    $('leave').addEventListener('click', () => {
      const left = $('leave').getAttribute('aria-pressed') !== 'true';
      this.#setLeft(left);
      if (left) this.#client.stop(); else this.#client.start();
    });
    $('publish').addEventListener('submit', (e) => {
      e.preventDefault();
      this.#send($('data').value);
    });
  }

  // follow begins with the topic in the form, unless it is followed already.
  follow() {
    if (this.#client) return;
    const topic = $('topic').value;
    this.#counts = { received: 0, connections: 0, replayed: 0, gaps: 0 };
    $('messages').replaceChildren();
    $('empty').hidden = false;
    $('curl').textContent = `curl -X POST ${location.origin}/publish/${encodeURIComponent(topic)} -d '{"score":"1:0"}'`;
    this.#show();
    const client = this.#client = new Client(this.#base, topic);
    client.addEventListener('state', (e) => this.#state(e.detail));
    client.addEventListener('welcome', () => {
      this.#counts.connections++;
      this.#liveSince = Date.now();
      this.#show();
    });
    client.addEventListener('heartbeat', () => this.#show());
    client.addEventListener('fresh', ({ detail: { stale } }) => this.#pill(stale ? 'stale' : 'live', stale ? 'stale' : 'live'));
    client.addEventListener('message', (e) => this.#message(e.detail));
    client.addEventListener('gap', ({ detail: gap }) => {
      this.#counts.gaps++;
      this.#row(gap.position, `messages after ${gap.after} are lost: ${gap.reason}`, 'gap');
      this.#show();
    });
    this.#setLeft(false);
    client.start();
    this.#place(topic);
  }

  #setLeft(left) {
    $('leave').setAttribute('aria-pressed', left);
    $('leave').textContent = left ? 'Connect' : 'Disconnect';
  }

  #pill(state, text) {
    $('try-state').dataset.state = state;
    $('try-state').textContent = text;
  }

  #state({ state, until }) {
    this.#waitingUntil = state === 'waiting' ? until : 0;
    this.#pill(state, { live: 'live', connecting: 'connecting', stopped: 'disconnected', waiting: 'reconnecting' }[state]);
    this.#countDown();
  }

  // #countDown shows how long it is until the next connection.
  #countDown() {
    if (!this.#waitingUntil) return;
    const left = Math.max(0, this.#waitingUntil - performance.now());
    $('try-state').textContent = `back in ${(left / 1000).toFixed(1)} s`;
    setTimeout(() => this.#countDown(), 100);
  }

  #message(m) {
    this.#counts.received++;
    // An entry that is older than the connection that brought it was replayed.
    const replayed = this.#counts.connections > 1 && Number(m.id.split('-')[1]) < this.#liveSince;
    if (replayed) this.#counts.replayed++;
    this.#row(m.id, typeof m.data === 'string' && !m.encoding ? m.data : JSON.stringify(m.data), replayed ? 'replayed' : '');
    this.#show();
  }

  #row(position, text, tag) {
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

  #show() {
    for (const [name, n] of Object.entries(this.#counts)) $(`try-${name}`).textContent = n;
    $('position').textContent = this.#client?.position || '–';
  }

  async #send(payload) {
    try {
      const { position, slot } = await publish(this.#client.topic, payload);
      $('published').textContent = `Published at ${position}, slot ${slot}.`;
      $('published').classList.remove('bad');
    } catch (err) {
      $('published').textContent = `Not published: ${err.message}`;
      $('published').classList.add('bad');
    }
  }

  async #place(topic) {
    let text = 'The admin port does not answer.';
    try {
      const place = await (await fetch(`/ring?${new URLSearchParams({ topic })}`)).json();
      text = `${place.topic} is in slot ${place.slot}, stream ${place.stream}; gateways in order of preference: ${place.preference.join(', ')}.`;
    } catch {
      // it says so
    }
    if (this.#client.topic === topic) $('place').textContent = text;
  }
}
