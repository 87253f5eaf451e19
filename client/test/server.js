// A server that says what a test wants, to look at the client's every word.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { eventually } from './cluster.js';

export const backoff = { min: 5, max: 20, factor: 2, jitter: 0.5 };

/** A position: the n-th of an epoch. */
export const at = (n, epoch = 'aaaaaaaa') => `${epoch}-${1000 + n}-0`;

class Session {
  said = [];
  closed = false;

  constructor(request, socket) {
    this.url = new URL(request.url, 'ws://server');
    this.query = Object.fromEntries(this.url.searchParams);
    this.headers = request.headers;
    this.socket = socket;
    socket.on('message', (text) => this.said.push(JSON.parse(text)));
    socket.on('close', () => {
      this.closed = true;
    });
  }

  send(event) {
    this.socket.send(typeof event === 'string' ? event : JSON.stringify(event));
  }

  welcome(more = {}) {
    const { topic, since } = this.query;
    this.send({ type: 'welcome', session: '1', topic, position: since || at(0), heartbeat: 25000, backoff, ...more });
  }

  message(topic, n, data = { n }) {
    this.send({ type: 'message', topic, id: at(n), data });
  }

  close(code, reason = '') {
    this.socket.close(code, typeof reason === 'string' ? reason : JSON.stringify(reason));
  }

  /** Waits for a command of the client. */
  heard(type, topic) {
    return eventually(`${type} ${topic ?? ''}`, () => this.said.find((c) => c.type === type && (topic === undefined || c.topic === topic)));
  }
}

/** Starts a server; streams answers requests that are no WebSocket handshakes. It ends with the test t. */
export async function serve(t, streams = (_, response) => response.writeHead(426).end()) {
  const http = createServer(streams);
  const wss = new WebSocketServer({ server: http, handleProtocols: () => 'ringside.v1' });
  const sessions = [];
  wss.on('connection', (socket, request) => sessions.push(new Session(request, socket)));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => {
    for (const c of wss.clients) c.terminate();
    http.closeAllConnections();
    http.close();
  });
  const { port } = http.address();
  return {
    url: `ws://127.0.0.1:${port}`,
    sessions,
    /** Waits for the n-th connection, counted from 1. */
    session: (n) => eventually(`connection ${n}`, () => sessions[n - 1]),
  };
}
