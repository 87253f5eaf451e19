// What a client without Ringside does: a WebSocket to a gateway, straight, and when it closes another one, a little later each time.
// It has no positions, so that what was sent meanwhile is lost to it.

const first = 500; // ms
const most = 8000;

export class Plain extends EventTarget {
  #topic; #addresses; #socket = null; #timer = 0; #failures = 0; #turn = 0;
  on = ''; // the gateway that it is connected to

  // addresses() are the gateways that can be tried, the best first: [{id, addr}].
  constructor(topic, addresses) {
    super();
    this.#topic = topic;
    this.#addresses = addresses;
  }

  start() { this.#connect(this.#addresses()[0]); }

  // standOn changes to a gateway before anything is broken, and resolves when messages come from there.
  async standOn(gateway) {
    if (!gateway || this.on === gateway.id) return;
    const moved = new Promise((done) => {
      this.addEventListener('message', done, { once: true });
      setTimeout(done, 3000);
    });
    this.#connect(gateway);
    this.dispatchEvent(new Event('moved'));
    await moved;
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #connect(gateway) {
    clearTimeout(this.#timer);
    const old = this.#socket;
    this.#socket = null;
    old?.close();
    if (!gateway) {
      this.#again();
      return;
    }
    const path = this.#topic.split('/').map(encodeURIComponent).join('/');
    const socket = this.#socket = new WebSocket(`ws://${gateway.addr}/t/${path}`, 'ringside.raw');
    this.#tell('state', 'connecting');
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#failures = 0;
      this.on = gateway.id;
      this.#tell('open');
      this.#tell('state', 'live');
    };
    socket.onmessage = (e) => {
      if (socket === this.#socket) this.#tell('message', JSON.parse(e.data));
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#again();
    };
  }

  #again() {
    this.#socket = null;
    this.on = '';
    this.#tell('state', 'waiting');
    const wait = Math.min(first * 2 ** this.#failures++, most) * (0.5 + Math.random());
    this.#timer = setTimeout(() => {
      const list = this.#addresses();
      this.#connect(list[this.#turn++ % Math.max(1, list.length)]);
    }, wait);
  }
}
