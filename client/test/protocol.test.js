// What the client says to a server, and what it makes of what the server says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { connect, RingsideError } from '../dist/index.js';
import { eventually } from './cluster.js';
import { at, backoff, serve } from './server.js';
import { reached } from './story.js';

function client(t, server, options = {}) {
  const ringside = connect({ url: server.url, WebSocket, transport: 'ws', ...options });
  ringside.errors = [];
  ringside.on('error', (e) => ringside.errors.push(e));
  t.after(() => ringside.close());
  return ringside;
}

test('each topic goes on at its own position, whichever the URL names', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const seen = [];
  const onMessage = (m) => seen.push(`${m.topic} ${m.data.n}`);
  const a = ringside.subscribe('a b/ä', { onMessage });
  const b = ringside.subscribe('b', { onMessage, since: at(5) });
  const s1 = await server.session(1);
  assert.deepEqual(s1.query, { topic: 'a b/ä', refuse: 'close' });
  s1.welcome({ resume: 'again' });
  assert.deepEqual(await s1.heard('subscribe', 'b'), { type: 'subscribe', topic: 'b', since: at(5) });
  s1.send({ type: 'subscribed', topic: 'b', position: at(5) });
  s1.message('a b/ä', 1);
  s1.message('b', 7);
  s1.message('b', 7); // once more
  s1.send({ type: 'heartbeat', topic: 'a b/ä', position: at(9), asOf: 12345, lag: 1 });
  await eventually('the heartbeat', () => a.position === at(9));
  assert.equal(a.asOf, 12345);
  assert.equal(b.asOf, 1007);
  assert.deepEqual(seen, ['a b/ä 1', 'b 7']);

  a.close();
  await s1.heard('unsubscribe', 'a b/ä');
  s1.socket.terminate();
  const s2 = await server.session(2);
  assert.deepEqual(s2.query, { topic: 'b', since: at(7), pass: 'again', refuse: 'close' });
  assert.throws(() => a.position && ringside.subscribe('b', { since: at(1) }), TypeError);
  for (const bad of ['', 'x'.repeat(256)]) assert.throws(() => ringside.subscribe(bad), TypeError);
  assert.throws(() => ringside.subscribe('c', { since: 'yesterday' }), TypeError);
});

test('a topic that is left and followed again hears nothing of what was on its way', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  ringside.subscribe('a');
  const old = ringside.subscribe('b', { onMessage: () => assert.fail('it has ended') });
  const s = await server.session(1);
  s.welcome();
  await s.heard('subscribe', 'b');
  s.send({ type: 'subscribed', topic: 'b', position: at(1) });
  await eventually('b is followed', () => old.position);
  old.close();
  const seen = [];
  ringside.subscribe('b', { onMessage: (m) => seen.push(m.data.n) });
  await s.heard('unsubscribe', 'b');
  s.message('b', 2);
  s.send({ type: 'unsubscribed', topic: 'b' });
  await eventually('a second subscribe', () => s.said.filter((c) => c.type === 'subscribe' && c.topic === 'b').length === 2);
  s.send({ type: 'subscribed', topic: 'b', position: at(3) });
  s.message('b', 4);
  await eventually('a message', () => seen.length);
  assert.deepEqual(seen, [4]);
});

test('who follows a topic anew begins where they want, whatever is on its way for those before', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  ringside.subscribe('b').close(); // nobody hears of it
  const first = ringside.subscribe('a');
  const other = ringside.subscribe('c');
  const s = await server.session(1);
  assert.deepEqual(s.query, { topic: 'a', refuse: 'close' });
  first.close();
  const again = ringside.subscribe('a', { since: at(2) });
  s.welcome();
  await s.heard('unsubscribe', 'a');
  await s.heard('subscribe', 'c');
  other.close();
  const once = ringside.subscribe('c', { since: at(3) });
  await s.heard('unsubscribe', 'c');
  s.send({ type: 'subscribed', topic: 'c', position: at(9) });
  s.send({ type: 'error', reason: 'not_allowed', message: 'no', topic: 'c' });
  for (const topic of ['a', 'c']) s.send({ type: 'unsubscribed', topic });
  await eventually('both are asked for', () => s.said.filter((c) => c.type === 'subscribe' && c.since).length === 2);
  assert.deepEqual(
    s.said.filter((c) => c.since),
    [
      { type: 'subscribe', topic: 'a', since: at(2) },
      { type: 'subscribe', topic: 'c', since: at(3) },
    ],
  );
  assert.equal(again.position, at(2));
  assert.equal(once.position, at(3));
});

test('a handler that is told of a refusal may ask once more', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const seen = [];
  ringside.subscribe('a');
  ringside.subscribe('b', { onError: () => ringside.subscribe('b', { onMessage: (m) => seen.push(m.data.n) }) });
  const s = await server.session(1);
  s.welcome();
  await s.heard('subscribe', 'b');
  s.send({ type: 'error', reason: 'not_allowed', message: 'no', topic: 'b' });
  await eventually('it asks again', () => s.said.filter((c) => c.topic === 'b').length === 2);
  s.send({ type: 'subscribed', topic: 'b', position: at(1) });
  s.message('b', 2);
  await eventually('a message', () => seen.length);
  assert.ok(!s.said.some((c) => c.type === 'unsubscribe'));
});

test('who leaves and comes back is no quicker than the server wants', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const a = ringside.subscribe('a');
  const from = Date.now();
  (await server.session(1)).close(1013, { reconnect: 1500, pass: 'reserved' });
  await reached(ringside, 'waiting');
  a.close();
  await reached(ringside, 'idle');
  ringside.subscribe('b');
  assert.equal((await server.session(2)).query.pass, 'reserved');
  assert.ok(Date.now() - from >= 1490);
});

test('the delay and the pass of a close are kept to', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  ringside.subscribe('a');
  const s1 = await server.session(1);
  s1.welcome({ resume: 'token' });
  await reached(ringside, 'live');
  const from = Date.now();
  s1.close(1013, { reconnect: 300, pass: 'reserved' });
  const s2 = await server.session(2);
  assert.ok(Date.now() - from >= 290, 'not before the time'); // Node's timers may be a little early
  assert.equal(s2.query.pass, 'reserved');
  s2.close(1012, { reconnect: 1 });
  const s3 = await server.session(3);
  assert.equal(s3.query.pass, 'token', 'a reservation is good once');
  s3.close(1011, '{"reconnect":"soon"}');
  const s4 = await server.session(4);
  s4.send('no JSON');
  const s5 = await server.session(5);
  s5.welcome();
  s5.send({ type: 'message', topic: 'a', data: 1 }); // without a position
  const s6 = await server.session(6);
  assert.equal(s6.query.since, at(0));
});

test('the policy of the cluster is followed', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  ringside.subscribe('a');
  const s1 = await server.session(1);
  s1.welcome();
  s1.send({ type: 'policy', backoff: { min: 400, max: 400, factor: 1, jitter: 0 } });
  s1.send({ type: 'policy', backoff: { min: 0, max: 1e9, factor: 99, jitter: 5 } }); // can't be followed
  s1.send({ type: 'policy' });
  s1.send({ type: 'something new', topic: 'a' });
  await reached(ringside, 'live');
  s1.send({ type: 'pong' });
  const from = Date.now();
  s1.close(1011);
  await server.session(2);
  assert.ok(Date.now() - from >= 390);
});

test('refusals: of a topic, of the client', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const errors = [];
  const onError = (e, s) => errors.push(`${s.topic} ${e.reason}`);
  const first = ringside.subscribe('secret', { onError });
  ringside.subscribe('a', { onError, onMessage: () => {} });
  ringside.subscribe('b', { onError });
  (await server.session(1)).close(4403, { error: 'token_topic' });
  const s = await server.session(2);
  assert.equal(s.query.topic, 'a', 'the others go on without it');
  await assert.rejects(first[Symbol.asyncIterator]().next(), { reason: 'token_topic' });
  s.welcome();
  await s.heard('subscribe', 'b');
  s.send({ type: 'error', reason: 'busy', message: 'wait', topic: 'b' });
  await eventually('it asks again', () => s.said.filter((c) => c.topic === 'b').length === 2);
  s.send({ type: 'error', reason: 'not_allowed', message: 'no', topic: 'b' });
  await eventually('a refusal', () => errors.length === 2);
  s.close(4403, { error: 'denied' });
  await reached(ringside, 'closed');
  assert.deepEqual(errors, ['secret token_topic', 'b not_allowed', 'a denied']);
  assert.throws(() => ringside.subscribe('a'), RingsideError);
});

test('many topics are asked for a few at a time', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  for (let i = 0; i < 30; i++) ringside.subscribe(`t${i}`);
  const s = await server.session(1);
  s.welcome();
  for (let i = 1; i < 30; i++) {
    await s.heard('subscribe', `t${i}`);
    assert.ok(s.said.length <= i + 7);
    s.send({ type: 'subscribed', topic: `t${i}`, position: at(0) });
  }
});

test('tokens: fetched for each connection, renewed on a live one, given up when there is no other', async (t) => {
  const server = await serve(t);
  let n = 0;
  const ringside = client(t, server, { token: async () => `token ${++n}` });
  ringside.subscribe('a');
  const s1 = await server.session(1);
  assert.equal(s1.query.token, 'token 1');
  s1.welcome({ expires: Date.now() + 1000 });
  assert.deepEqual(await s1.heard('auth'), { type: 'auth', token: 'token 2' });
  s1.send({ type: 'error', reason: 'token_expired', message: 'too late' });
  await eventually('another token', () => s1.said.some((c) => c.token === 'token 3'));
  s1.send({ type: 'authenticated', expires: Date.now() + 1e12 });
  s1.close(4401, { error: 'token_expired' });
  const s2 = await server.session(2);
  assert.equal(s2.query.token, 'token 4');

  const fixed = client(t, server, { token: 'the only one' });
  fixed.subscribe('a');
  (await server.session(3)).close(4401, { error: 'token_expired' });
  await reached(fixed, 'closed');

  const same = client(t, server, { token: () => 'always the same' });
  same.subscribe('a');
  (await server.session(4)).close(4401, { error: 'token_signature' });
  (await server.session(5)).close(4401, { error: 'token_signature' });
  await reached(same, 'closed');
  assert.equal(same.errors.at(-1).reason, 'token_signature');

  let fails = 2;
  const late = client(t, server, { token: () => (fails-- > 0 ? Promise.reject(new Error('no login')) : 'at last') });
  late.subscribe('a');
  assert.equal((await server.session(6)).query.token, 'at last');
  assert.equal(late.errors.length, 2);
});

test('what a loop does not take is told as a gap, and nothing waits without bound', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const loop = ringside.subscribe('a', { buffer: 3 });
  const s = await server.session(1);
  s.welcome();
  for (let n = 1; n <= 6; n++) s.message('a', n);
  s.send({ type: 'gap', topic: 'a', reason: 'slow', after: at(6), position: at(8) });
  s.send({ type: 'skipped', topic: 'a', count: 2, after: at(8), until: at(9) });
  s.message('a', 10);
  await eventually('all of it', () => loop.position === at(10));
  const got = [];
  for await (const e of loop) {
    got.push(e);
    if (e.type === 'message') break;
  }
  assert.deepEqual(got, [
    { type: 'gap', topic: 'a', reason: 'overflow', after: at(0), position: at(8), count: 6 },
    { type: 'skipped', topic: 'a', count: 2, after: at(8), until: at(9) },
    { type: 'message', topic: 'a', id: at(10), data: { n: 10 } },
  ]);
  await eventually('the connection ends with its last subscription', () => s.closed);
  assert.equal(ringside.state, 'idle');
});

test('stale: told by the server, and when nothing is heard of it', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server, { staleAfter: 50 });
  const told = [];
  const a = ringside.subscribe('a', { onStale: (stale, s) => told.push([stale, s.stale]), onMessage: () => {} });
  const s = await server.session(1);
  await eventually('nothing is known yet', () => a.stale);
  s.welcome();
  await eventually('fresh', () => !a.stale);
  s.send({ type: 'heartbeat', topic: 'a', position: at(1), asOf: 1001, lag: 5000, stale: true });
  await eventually('stale', () => a.stale);
  s.send({ type: 'heartbeat', topic: 'a', position: at(2), asOf: 1002, lag: 1 });
  await eventually('fresh again', () => !a.stale);
  s.close(1012, { reconnect: 500 });
  await eventually('stale without a connection', () => a.stale);
  assert.deepEqual(
    told,
    [true, false, true, false, true].map((x) => [x, x]),
  );
});

test('a handler that throws disturbs nobody', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const uncaught = [];
  const keep = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (e) => uncaught.push(e.message));
  t.after(() => {
    process.removeAllListeners('uncaughtException');
    for (const f of keep) process.on('uncaughtException', f);
  });
  const seen = [];
  ringside.subscribe('a', {
    onMessage: () => {
      throw new Error('mine');
    },
  });
  ringside.subscribe('a', { onMessage: (m) => seen.push(m.data.n) });
  const heard = [];
  ringside.on('message', (m) => heard.push(m.id));
  const s = await server.session(1);
  s.welcome();
  s.message('a', 1);
  s.message('a', 2);
  await eventually('both', () => seen.length === 2 && uncaught.length === 2);
  assert.deepEqual(heard, [at(1), at(2)]);
  assert.deepEqual(uncaught, ['mine', 'mine']);
});

test('positions outlive the client where there is a storage', async (t) => {
  const server = await serve(t);
  const kept = new Map();
  const storage = { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v) };
  const before = client(t, server, { storage });
  const a = before.subscribe('a', { onMessage: () => {} });
  const s = await server.session(1);
  s.welcome();
  s.message('a', 4);
  await eventually('it is saved', () => [...kept.values()].join().includes(at(4)));
  s.message('a', 5);
  await eventually('another message', () => a.position === at(5));
  before.close();
  const after = client(t, server, { storage });
  after.subscribe('a');
  assert.equal((await server.session(2)).query.since, at(5));
  const key = [...kept.keys()][0];
  for (const bad of ['', '{', '[1]', '{"a":"x"}', 'null']) {
    kept.set(key, bad);
    const c = client(t, server, { storage });
    const n = server.sessions.length;
    c.subscribe('a');
    assert.equal((await server.session(n + 1)).query.since, undefined);
    c.close();
  }
  const refused = { getItem: () => assert.fail('not here'), setItem: () => assert.fail('not here') };
  client(t, server, { storage: refused }).subscribe('a').close();
});

test('whatever a handler hears of, it may close the client', async (t) => {
  const server = await serve(t);
  const closes = {
    connecting: (c) => c.on('state', (s) => s === 'connecting' && c.close()),
    live: (c) => c.on('state', (s) => s === 'live' && c.close()),
    fresh: (c) => c.on('stale', (stale) => !stale && c.close()),
    message: (c) => c.on('message', () => c.close()),
    error: (c) => c.on('error', () => c.close()),
    waiting: (c) => c.on('state', (s) => s === 'waiting' && c.close()),
  };
  for (const [when, close] of Object.entries(closes)) {
    const ringside = client(t, server, { staleAfter: 1 });
    const a = ringside.subscribe('a', { onMessage: () => assert.equal(when, 'message') });
    if (when === 'fresh') await eventually('it is stale', () => a.stale);
    close(ringside);
    const n = server.sessions.length;
    if (when !== 'connecting') {
      const s = await server.session(n + 1);
      s.welcome();
      if (when === 'message') for (let i = 1; i < 3; i++) s.message('a', i);
      if (when === 'error' || when === 'waiting') s.close(1011);
    }
    await reached(ringside, 'closed');
    assert.throws(() => ringside.subscribe('a'), RingsideError);
    await eventually(`closed on ${when}`, () => server.sessions.every((x) => x.closed));
  }
});

test('bytes and text', async (t) => {
  const server = await serve(t);
  const ringside = client(t, server);
  const got = [];
  ringside.subscribe('a', { onMessage: (m) => got.push(m.data) });
  const s = await server.session(1);
  s.welcome();
  s.message('a', 1, 'text');
  s.send({ type: 'message', topic: 'a', id: at(2), encoding: 'base64', data: '/wA=' });
  await eventually('both', () => got.length === 2);
  assert.deepEqual(got, ['text', new Uint8Array([255, 0])]);
});

test('event streams: what they say, in pieces of any size', async (t) => {
  const text = [
    'retry: 10\nid: aaaaaaaa-1000-0\n\n',
    'id: aaaaaaaa-1001-0\ndata: {"n":\ndata: 1}\n\n',
    ': a comment\r\nid: aaaaaaaa-1002-0\r\ndata: über text\r\n\r\n',
    'id: aaaaaaaa-1003-0\nevent: binary\ndata: /wA=\n\n',
    'id: aaaaaaaa-1004-0\ndata: \ndata: \n\n',
    'event: skipped\ndata: {"type":"skipped","topic":"a","count":2,"after":"aaaaaaaa-1004-0","until":"aaaaaaaa-1006-0"}\n\n',
    'id: aaaaaaaa-1006-0\nevent: gap\ndata: {"type":"gap","topic":"a","reason":"slow","after":"aaaaaaaa-1004-0","position":"aaaaaaaa-1006-0"}\n\n',
    'id: aaaaaaaa-1008-0\nevent: heartbeat\ndata: {"asOf":5000,"lag":9,"stale":true}\n\n',
    'id: aaaaaaaa-1009-0\ndata: not whole',
  ].join('');
  const requests = [];
  const server = await serve(t, async (request, response) => {
    requests.push({ query: Object.fromEntries(new URL(request.url, 'http://x').searchParams), headers: request.headers });
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    if (requests.length > 1) return response.write('retry: 10\nid: aaaaaaaa-1008-0\n\n');
    for (const byte of Buffer.from(text)) await new Promise((done) => response.write(Buffer.from([byte]), done));
    return response.end();
  });
  const ringside = client(t, server, { transport: 'sse', WebSocket: undefined, token: 'mine' });
  const loop = ringside.subscribe('a');
  await eventually('the next connection', () => requests.length === 2);
  assert.equal(requests[0].headers.authorization, 'Bearer mine');
  assert.deepEqual(requests[1].query, { topic: 'a', since: 'aaaaaaaa-1008-0' });
  assert.equal(loop.asOf, 5000);
  const got = [];
  for await (const e of loop) {
    got.push(e.type === 'message' ? e.data : e.type);
    if (e.type === 'gap') break;
  }
  assert.deepEqual(got, [{ n: 1 }, 'über text', new Uint8Array([255, 0]), '\n', 'skipped', 'gap']);
});

test('event streams that are refused', async (t) => {
  const answers = [
    [200, { 'Content-Type': 'text/event-stream' }, 'retry: 250\nevent: refused\ndata: {"error":"per_ip","reconnect":250,"pass":"reserved"}\n\n'],
    [503, { 'Content-Type': 'application/json', 'Retry-After': '0' }, '{"error":"full","retry":1,"pass":"again"}'],
    [502, { 'Content-Type': 'text/html' }, '<h1>no'],
    [200, { 'Content-Type': 'text/event-stream' }, `retry: 1\nid: ${at(1)}\n\nevent: closed\ndata: {"code":4401,"error":"token_expired"}\n\n`],
    [401, { 'Content-Type': 'application/json' }, '{"error":"token_expired"}'],
    [403, { 'Content-Type': 'application/json' }, '{"error":"token_topic"}'],
  ];
  const requests = [];
  const server = await serve(t, (request, response) => {
    const [status, headers, body] = answers[Math.min(requests.length, answers.length - 1)];
    requests.push({ at: Date.now(), pass: new URL(request.url, 'http://x').searchParams.get('pass') });
    response.writeHead(status, headers).end(body);
  });
  let n = 0;
  const ringside = client(t, server, { transport: 'sse', token: () => `${n++}` });
  const errors = [];
  ringside.subscribe('a', { onError: (e) => errors.push(e.reason) });
  await eventually('the last word', () => errors.length);
  assert.equal(requests.length, answers.length);
  assert.ok(requests[1].at - requests[0].at >= 240);
  assert.deepEqual(
    requests.slice(0, 3).map((r) => r.pass),
    [null, 'reserved', 'again'],
  );
  assert.deepEqual(errors, ['token_topic']);
  assert.equal(ringside.state, 'idle');
});

test('backoff grows, and is within its jitter', async (t) => {
  const server = await serve(t);
  const waits = [];
  const ringside = client(t, server);
  let closed = 0;
  ringside.subscribe('a');
  for (let n = 1; n <= 6; n++) {
    const s = await server.session(n);
    if (closed) waits.push(Date.now() - closed);
    if (n === 1) s.welcome({ backoff: { ...backoff, min: 40, max: 160 } });
    if (n === 1) await reached(ringside, 'live');
    closed = Date.now();
    s.socket.terminate();
  }
  for (const [i, least] of [20, 40, 80, 80, 80].entries()) assert.ok(waits[i] >= least - 2, `wait ${i}: ${waits[i]} ms, ${least} are the least`);
});
