// The network between a client and the routers: it can be cut, hold everything up, or let no WebSocket through.
import { once } from 'node:events';
import net from 'node:net';

export class Network {
  down = false; // connections are refused
  upgrades = true; // WebSocket handshakes pass
  accepted = 0;
  #clients = new Set(); // a client can connect long before it says anything
  #pairs = new Set();
  #held = false;

  /** Starts it in front of port; it ends with the test t. */
  static async start(t, port) {
    const p = new Network();
    p.port = port;
    p.server = net.createServer((c) => p.#accept(c));
    p.server.listen(0, '127.0.0.1');
    await once(p.server, 'listening');
    t.after(() => {
      p.cut();
      p.server.close();
    });
    return p;
  }

  get url() {
    return `ws://127.0.0.1:${this.server.address().port}`;
  }

  /** Connections that are open. */
  get open() {
    return this.#pairs.size;
  }

  #accept(client) {
    client.on('error', () => {});
    if (this.down) {
      client.destroy();
      return;
    }
    this.accepted++;
    this.#clients.add(client);
    client.on('close', () => this.#clients.delete(client));
    client.once('data', (head) => {
      if (!this.upgrades && /^upgrade: *websocket/im.test(head.toString('latin1'))) {
        client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      const server = net.connect(this.port, '127.0.0.1');
      const pair = { client, server };
      this.#pairs.add(pair);
      server.on('error', () => {});
      for (const [from, to] of [
        [client, server],
        [server, client],
      ]) {
        from.on('close', () => {
          to.destroy();
          this.#pairs.delete(pair);
        });
      }
      server.write(head);
      client.pipe(server);
      server.pipe(client);
      if (this.#held) this.#hold(pair);
    });
  }

  #hold({ client, server }) {
    client.unpipe(server);
    server.unpipe(client);
    client.pause();
    server.pause();
  }

  /** Breaks all connections; new ones are refused until mend. */
  cut() {
    this.down = true;
    this.break();
  }

  /** Breaks all connections. */
  break() {
    for (const client of this.#clients) client.resetAndDestroy();
    for (const { server } of this.#pairs) server.destroy();
  }

  mend() {
    this.down = false;
  }

  /** Nothing passes any more on the connections that are there, and nobody is told. */
  hold() {
    for (const pair of this.#pairs) this.#hold(pair);
  }
}
