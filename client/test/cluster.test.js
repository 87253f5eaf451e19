// What a real cluster tells: gaps, staleness, refusals, the end of a token, a new policy.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../dist/index.js';
import { Cluster, eventually } from './cluster.js';
import { Network } from './network.js';
import { reached, Story, Witness } from './story.js';

const secret = 'thirty-two bytes, as long as they have to be';

function jwt(claims) {
  const part = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const seconds = () => Math.floor(Date.now() / 1000);

function client(t, url, options) {
  const ringside = connect({ url, WebSocket, ...options });
  t.after(() => ringside.close());
  return ringside;
}

for (const transport of ['ws', 'sse']) {
  test(`tokens by ${transport}: renewed in time, refused for a topic, ended`, async (t) => {
    const c = await Cluster.start(t, {
      gateways: 1,
      secretFile: secret,
      flags: { gateway: ['--auth', 'jwt', '--jwt-algorithms', 'HS256', '--jwt-secret-file', 'DIR/jwt.secret', '--jwt-leeway', '0s'] },
    });
    const network = await Network.start(t, c.routers[0].port);
    let fetched = 0;
    const token = () => jwt({ sub: 'ann', topics: ['finals', 'semi'], exp: seconds() + 5, n: fetched++ });
    const ringside = client(t, network.url, { transport, token });
    const witness = new Witness();
    const errors = [];
    const vip = ringside.subscribe('vip', { onError: (e) => errors.push(e.reason) });
    const finals = ringside.subscribe('finals', witness.handlers);
    await eventually('the topic is followed', () => finals.position);
    await eventually('the other one is refused', () => errors.length);
    assert.deepEqual(errors, ['token_topic']);
    await assert.rejects(vip[Symbol.asyncIterator]().next(), { reason: 'token_topic' });
    const story = new Story(c, 'finals');
    story.run();
    const before = network.accepted;
    await eventually('tokens are renewed', () => fetched > 3);
    if (transport === 'ws') assert.equal(network.accepted, before, 'on the same connection');
    await story.stop();
    await witness.sawAll(story);

    const fixed = client(t, network.url, { transport, token: jwt({ sub: 'bob', topics: ['finals'], exp: seconds() + 4 }) });
    fixed.subscribe('finals');
    await reached(fixed, 'live');
    await reached(fixed, 'closed');
    const unknown = client(t, network.url, { transport, token: 'none' });
    const said = [];
    unknown.on('error', (e) => said.push(e.reason));
    unknown.subscribe('finals');
    await reached(unknown, 'closed');
    assert.deepEqual(said, ['token_malformed']);
  });

  test(`by ${transport}: gaps, and messages from before`, async (t) => {
    const c = await Cluster.start(t, { gateways: 1 });
    const url = `ws://${c.routers[0].listen}`;
    const story = new Story(c, 'finals');
    const { position: since } = await c.publish('finals', { n: 0 });
    await story.tell(3);
    await c.publish('finals', 'text\nin lines');
    const ringside = client(t, url, { transport });
    const got = [];
    for await (const e of ringside.subscribe('finals', { since })) {
      got.push(e.type === 'message' ? e.data : e.type);
      if (got.length === 4) break;
    }
    assert.deepEqual(got, [{ n: 1 }, { n: 2 }, { n: 3 }, 'text\nin lines']);
    const lost = await ringside
      .subscribe('finals', { since: `0123abcd-${Date.now()}-0` })
      [Symbol.asyncIterator]()
      .next();
    assert.equal(lost.value.type, 'gap');
    assert.equal(lost.value.reason, 'epoch');
  });

  test(`by ${transport}: stale while Redis hangs`, async (t) => {
    const c = await Cluster.start(t, { gateways: 1, flags: { gateway: ['--stale-after', '600ms', '--beacon', '100ms'] } });
    const ringside = client(t, `ws://${c.routers[0].listen}`, { transport, staleAfter: 60_000 });
    const told = [];
    const finals = ringside.subscribe('finals', { onStale: (s) => told.push(s), onMessage: () => {} });
    await eventually('the topic is followed', () => finals.position);
    c.redis.signal('SIGSTOP');
    await eventually('stale', () => finals.stale);
    const { asOf } = finals;
    c.redis.signal('SIGCONT');
    await eventually('fresh', () => !finals.stale);
    assert.deepEqual(told, [true, false]);
    assert.ok(finals.asOf > asOf);
    assert.equal(ringside.state, 'live');
  });
}

test('a new policy of the cluster reaches those who are connected', async (t) => {
  const c = await Cluster.start(t, { gateways: 1 });
  const network = await Network.start(t, c.routers[0].port);
  const ringside = client(t, network.url);
  const finals = ringside.subscribe('finals', { onMessage: () => {} });
  await eventually('the topic is followed', () => finals.position);
  await c.run('policy', 'set', '--of', `http://${c.routers[0].admin}`, 'backoff', 'min=1s', 'max=1s', 'jitter=0');
  // It has been told when what is behind it in the session arrives: told of it are all within two seconds, and a ping brings none.
  let waited = 0;
  await eventually('a wait of a second', async () => {
    await reached(ringside, 'live');
    const from = Date.now();
    network.break();
    await eventually('it is gone', () => ringside.state !== 'live');
    await reached(ringside, 'live');
    waited = Date.now() - from;
    return waited >= 990;
  });
});

for (const transport of ['ws', 'sse']) {
  test(`viewers by ${transport}: who asks is told how many there are, across a gateway that dies; who does not is told nothing`, async (t) => {
    const c = await Cluster.start(t, { gateways: 2, flags: { gateway: ['--viewers-every', '100ms'] } });
    const url = `ws://127.0.0.1:${c.routers[0].port}`;
    const told = [];
    const heard = [];
    const ringside = client(t, url, { transport, viewers: true });
    ringside.on('viewers', (n, topic) => heard.push([n, topic]));
    const finals = ringside.subscribe('finals', { onViewers: (n) => told.push(n), onMessage: () => {} });
    await eventually('one is there', () => finals.viewers === 1);
    const others = [0, 1].map(() => {
      const other = client(t, url, { transport });
      other.on('viewers', () => assert.fail('who did not ask is told'));
      return other.subscribe('finals', { onMessage: () => {} });
    });
    await eventually('three are there', () => finals.viewers === 3);
    assert.deepEqual(heard.at(-1), [3, 'finals']);
    assert.equal(told.at(-1), 3);
    await (await c.busy()).end();
    others[0].close();
    await eventually('two are left, on the same connection', () => finals.viewers === 2);
    assert.equal(ringside.state, 'live');
  });
}
