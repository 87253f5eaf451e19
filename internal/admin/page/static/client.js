// A client of ringside.v1: one topic, resumed by position. It is the page's own, and short enough to copy.
//
// The contract is docs/PROTOCOL.md: keep the newest position seen, come back with it after the delay that the
// server asked for, or else with its backoff policy, and take silence of two heartbeats for a dead connection.

const firstBackoff = { min: 200, max: 30000, factor: 2, jitter: 0.5 };
const firstHeartbeat = 25000; // ms, until a welcome says otherwise
const handshake = 10000; // ms
const lasting = 5000; // ms a connection must stand for the backoff to begin anew

export class Client extends EventTarget {
  #base; #topic; #viewers; #socket = null; #timer = 0; #watchdog = 0;
  #backoff = firstBackoff; #heartbeat = firstHeartbeat; #failures = 0; #opened = 0; #wanted = false;
  position = '';
  stale = false;

  // base is ws://host:port. With viewers it is told how many follow the topic, in the whole cluster.
  constructor(base, topic, { viewers = false } = {}) {
    super();
    this.#base = base;
    this.#topic = topic;
    this.#viewers = viewers;
  }

  get topic() { return this.#topic; }

  // start connects, and comes back for ever. Events: state {state, until?}, welcome, message, gap, heartbeat, viewers,
  // fresh {stale, lag} when what is shown has become stale, or is fresh again.
  start() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#failures = 0;
    this.#connect();
  }

  // stop disconnects and stays away; start goes on after the last position.
  stop() {
    this.#wanted = false;
    this.#leave();
    this.#tell('state', { state: 'stopped' });
  }

  #leave() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null; // its late events are not ours any more
    socket?.close();
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #connect() {
    const path = this.#topic.split('/').map(encodeURIComponent).join('/');
    const query = new URLSearchParams();
    if (this.position) query.set('since', this.position);
    if (this.#viewers) query.set('viewers', '1');
    this.#tell('state', { state: 'connecting' });
    const socket = this.#socket = new WebSocket(`${this.#base}/t/${path}?${query}`, 'ringside.v1');
    this.#opened = 0;
    this.#watch(handshake);
    socket.onmessage = (e) => { if (socket === this.#socket) this.#on(JSON.parse(e.data)); };
    socket.onclose = (e) => { if (socket === this.#socket) this.#again(e); };
  }

  // watch gives up on a connection that is silent for too long.
  #watch(ms) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#leave();
      this.#again({ reason: '' });
    }, ms);
  }

  #again(closed) {
    this.#leave();
    if (!this.#wanted) return;
    if (this.#opened && performance.now() - this.#opened >= lasting) this.#failures = 0;
    const wait = asked(closed.reason) ?? this.#delay(this.#failures++);
    this.#tell('state', { state: 'waiting', until: performance.now() + wait });
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #delay(n) {
    const { min, max, factor, jitter } = this.#backoff;
    return Math.min(min * factor ** n, max) * (1 + jitter * (2 * Math.random() - 1));
  }

  // Stale is not quiet: what is on the page may be out of date, although the connection is fine.
  #stale(stale, { lag } = {}) {
    if (stale === this.stale) return;
    this.stale = stale;
    this.#tell('fresh', { stale, lag });
  }

  #on(event) {
    switch (event.type) {
      case 'welcome':
        this.#opened = performance.now();
        this.#stale(false);
        this.#backoff = { ...firstBackoff, ...event.backoff };
        this.#heartbeat = event.heartbeat || firstHeartbeat;
        this.position = event.position;
        this.#tell('state', { state: 'live' });
        this.#tell('welcome', event);
        break;
      case 'message':
        this.position = event.id;
        this.#tell('message', event);
        break;
      case 'gap':
        this.position = event.position;
        this.#tell('gap', event);
        break;
      case 'viewers':
        this.#tell('viewers', event);
        break;
      case 'heartbeat':
        this.position = event.position;
        this.#stale(Boolean(event.stale), event);
        this.#tell('heartbeat', event);
    }
    this.#watch(2 * this.#heartbeat + 1000);
  }
}

// asked is the delay that a close reason asks for; undefined when there is none.
function asked(reason) {
  try {
    const { reconnect } = JSON.parse(reason);
    return Number.isFinite(reconnect) && reconnect >= 0 ? reconnect : undefined;
  } catch {
    return undefined;
  }
}

// publish sends a payload as it is. The key makes it safe to repeat when the answer was lost or ambiguous.
export async function publish(topic, payload) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
  const path = topic.split('/').map(encodeURIComponent).join('/');
  for (let n = 0; ; n++) {
    let answer;
    try {
      const response = await fetch(`/publish/${path}?id=${key}`, { method: 'POST', body: payload });
      answer = await response.json();
      if (response.ok) return answer;
      if (response.status !== 503 || n === 3) throw new Error(answer.message ?? `status ${response.status}`);
    } catch (err) {
      if (answer || n === 3) throw err;
    }
    await new Promise((done) => setTimeout(done, firstBackoff.min * 2 ** n));
  }
}
