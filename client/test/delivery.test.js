// Every message once and in order, whatever breaks between a client and the cluster.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../dist/index.js';
import { Cluster, eventually } from './cluster.js';
import { Network } from './network.js';
import { reached, Story, Witness } from './story.js';

// Two topics of different gateways, and a third, followed by one client through a network that can be broken.
async function scene(t, options = {}, cluster = {}) {
  const c = await Cluster.start(t, {
    routers: 2,
    ...cluster,
    flags: { gateway: ['--heartbeat', '300ms'], router: ['--drain-window', '500ms'], ...cluster.flags },
  });
  // So that what is broken on purpose, again and again, comes back soon.
  await c.run('policy', 'set', '--of', `http://${c.routers[0].admin}`, 'backoff', 'max=400ms');
  const network = await Network.start(t, c.routers[0].port);
  const ringside = connect({ url: network.url, WebSocket, ...options });
  t.after(() => ringside.close());
  const parts = ['finals', 'semi', 'news: Köln/1'].map((topic) => {
    const witness = new Witness();
    return { story: new Story(c, topic), witness, subscription: ringside.subscribe(topic, witness.handlers) };
  });
  await eventually('all topics are followed', () => parts.every((p) => p.subscription.position));
  for (const p of parts) p.story.run();
  return {
    c,
    network,
    ringside,
    parts,
    // Waits until every follower has seen n more.
    more: async (n = 20) => {
      const goals = parts.map((p) => p.witness.seen.length + n);
      await eventually('messages on every topic', () => parts.every((p, i) => p.witness.seen.length >= goals[i]));
    },
    finish: async () => {
      await Promise.all(parts.map((p) => p.story.stop()));
      for (const p of parts) await p.witness.sawAll(p.story);
    },
  };
}

test('several topics on one socket, through cuts of the network', async (t) => {
  const s = await scene(t);
  await s.more();
  assert.equal(s.network.accepted, 1, 'one socket for three topics');
  for (let i = 0; i < 5; i++) {
    s.network.break();
    await s.more();
  }
  s.network.cut();
  await reached(s.ringside, 'waiting');
  const missed = s.parts.map((p) => p.story.published + 20);
  await eventually('messages that the client misses', () => s.parts.every((p, i) => p.story.published >= missed[i]));
  s.network.mend();
  await s.more();
  await s.finish();
});

test('the topic of the URL is left while the others stay', async (t) => {
  const s = await scene(t);
  await s.more();
  const [first] = s.parts.splice(0, 1);
  await first.story.stop();
  first.subscription.close();
  s.network.break();
  await s.more();
  const again = new Witness();
  s.ringside.subscribe('finals', again.handlers);
  s.ringside.subscribe('semi', {}).close();
  await s.more();
  await s.finish();
});

test('a network that goes dead without a word', async (t) => {
  const s = await scene(t);
  await s.more();
  s.network.hold();
  await s.more();
  await s.finish();
});

test('gateways are killed and drained', async (t) => {
  const s = await scene(t, {}, { gateways: 3 });
  await s.more();
  const states = [];
  s.ringside.on('state', (state) => states.push(state));
  (await s.c.busy()).signal('SIGKILL');
  await s.more();
  const busy = await s.c.busy();
  await busy.get(`/drain?shard=${busy.id}`, { method: 'POST' });
  await busy.exited;
  await s.more();
  await s.finish();
  assert.deepEqual(states, [], 'the client has not noticed');
});

test('routers are killed and leave', async (t) => {
  const s = await scene(t);
  await s.more();
  const [a, b] = s.c.routers;
  s.network.port = b.port;
  a.signal('SIGKILL');
  await s.more();
  s.network.port = (await s.c.addRouter()).port;
  const errors = [];
  s.ringside.on('error', (e) => errors.push(e));
  b.signal('SIGTERM');
  await eventually('a close that says when to come back', () => errors.some((e) => e.code === 1012));
  await s.more();
  await s.finish();
});

test('where no WebSocket gets through, event streams do', async (t) => {
  const s = await scene(t, {});
  await s.more();
  s.network.upgrades = false;
  s.network.break();
  await eventually('event streams', () => s.ringside.transport === 'sse' && s.ringside.state === 'live');
  await s.more();
  for (let i = 0; i < 3; i++) {
    s.network.break();
    await s.more();
  }
  const [first] = s.parts.splice(0, 1);
  await first.story.stop();
  await first.witness.sawAll(first.story);
  first.subscription.close();
  await s.more();
  s.network.cut();
  s.network.upgrades = true;
  await eventually('an attempt by WebSocket', () => s.ringside.transport === 'ws');
  s.network.mend();
  await s.more();
  await s.finish();
});

test('event streams through kills, drains and a router that leaves', async (t) => {
  const s = await scene(t, { transport: 'sse', WebSocket: undefined }, { gateways: 3 });
  await s.more();
  (await s.c.busy()).signal('SIGKILL');
  await s.more();
  const busy = await s.c.busy();
  await busy.get(`/drain?shard=${busy.id}`, { method: 'POST' });
  await s.more();
  const [a, b] = s.c.routers;
  s.network.port = b.port;
  a.signal('SIGTERM');
  await a.exited;
  await s.more();
  await s.finish();
});
