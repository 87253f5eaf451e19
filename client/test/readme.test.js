// The examples of the README do what it says, on a real cluster.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import * as sdk from '../dist/index.js';
import { Cluster, eventually } from './cluster.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map((m) => m[1]);

// Runs an example as a module would, with a page's globals; what it connects to is the cluster, and what it prints is kept.
async function run(t, cluster, code) {
  const printed = [];
  const kept = new Map();
  const clients = [];
  const scope = {
    console: { log: (...args) => printed.push(args.join(' ')) },
    localStorage: { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v) },
    fetch: async () => new Response('a token that an open cluster does not look at'),
    WebSocket,
    connect: (options) => {
      assert.equal(options.url, 'wss://live.example');
      const ringside = sdk.connect({ WebSocket, ...options, url: `ws://${cluster.routers[0].listen}` });
      clients.push(ringside);
      t.after(() => ringside.close());
      return ringside;
    },
  };
  const body = code.replace(/^import .*;$/gm, '');
  const AsyncFunction = (async () => {}).constructor;
  const done = new AsyncFunction(...Object.keys(scope), body)(...Object.values(scope));
  await eventually('the example is live', () => clients[0]?.state === 'live');
  return { printed, kept, done, ringside: clients[0] };
}

test('the examples of the README', async (t) => {
  const c = await Cluster.start(t, { gateways: 1 });
  assert.equal(examples.length, 5);
  const [callbacks, loop, node, later, tokens] = await Promise.all(examples.map((code) => run(t, c, code)));
  const { position } = await c.publish('finals', { score: '2:1', over: true });
  await c.publish('vip.lounge', 'hello');
  await loop.done; // it ends by itself
  assert.deepEqual(loop.printed, ['[object Object]']);
  await eventually('all of them have it', () => [callbacks, node, later, tokens].every((x) => x.printed.length === 1));
  assert.deepEqual(callbacks.printed, [`${position} [object Object]`]);
  assert.equal(later.kept.get('finals'), position);
  assert.deepEqual(tokens.printed, ['hello']);
  await eventually('nothing is followed by the loop', () => loop.ringside.state === 'idle');
});
