// The client in a real Chromium: every message once and in order, whatever happens to the network, the servers, and the page.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { eventually } from '../cluster.js';
import { scene } from './page.js';

test('the network is cut, and the browser goes offline', async (t) => {
  const s = await scene(t);
  for (let i = 0; i < 3; i++) {
    s.network.break();
    await s.more();
  }
  s.network.cut();
  await s.published();
  s.network.mend();
  await s.more();
  s.network.cut();
  await s.page.context().setOffline(true);
  await s.becomes('paused'); // what was to be tried next is not
  s.network.mend();
  await s.page.context().setOffline(false);
  await s.more();
  const accepted = s.network.accepted;
  await s.page.context().setOffline(true);
  s.network.break(); // Chromium itself leaves a WebSocket that is open alone
  await s.becomes('paused');
  await s.published();
  assert.equal(s.network.accepted, accepted, 'nothing is tried while there is no network');
  await s.page.context().setOffline(false);
  await s.more();
  await s.finish();
});

test('a network that goes dead, and another one that takes its place', async (t) => {
  const s = await scene(t, {}, { flags: { gateway: ['--heartbeat', '10m'] } }); // nothing but the change says so
  s.network.hold();
  await s.published();
  await s.page.context().setOffline(true);
  await s.page.context().setOffline(false);
  await s.more();
  await s.finish();
});

test('gateways are killed and drained: the page does not notice', async (t) => {
  const s = await scene(t, {}, { gateways: 3 });
  const before = (await s.told()).states.length;
  (await s.c.busy()).signal('SIGKILL');
  await s.more();
  const busy = await s.c.busy();
  await busy.get(`/drain?shard=${busy.id}`, { method: 'POST' });
  await busy.exited;
  await s.more();
  assert.equal((await s.told()).states.length, before);
  await s.finish();
});

test('routers are killed and leave', async (t) => {
  const s = await scene(t);
  const [a, b] = s.c.routers;
  s.network.port = b.port;
  a.signal('SIGKILL');
  await s.more();
  s.network.port = (await s.c.addRouter()).port;
  b.signal('SIGTERM');
  await b.exited;
  await s.more();
  assert.ok(
    (await s.told()).errors.some((e) => e.includes('1012')),
    'a close that a browser can read',
  );
  await s.finish();
});

test('the page is frozen, for longer than any time-out of the servers', async (t) => {
  const s = await scene(t, {}, { flags: { gateway: ['--write-timeout', '500ms'], router: ['--write-timeout', '500ms', '--idle-timeout', '1s'] } });
  await s.cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  await eventually('its connection is gone', () => s.network.open === 0);
  await s.published(100);
  await s.cdp.send('Page.setWebLifecycleState', { state: 'active' });
  await s.page.bringToFront();
  await s.more();
  await s.finish();
});

test('the lid is closed: the whole browser stands still', async (t) => {
  const s = await scene(t, {}, { flags: { gateway: ['--write-timeout', '500ms'], router: ['--write-timeout', '500ms', '--idle-timeout', '1s'] } });
  const all = processes();
  for (const pid of all) process.kill(pid, 'SIGSTOP');
  t.after(() => wake(all));
  // Its sockets are full at last, and the servers give it up; then the network is another one.
  for (const story of s.stories) story.padding = 'x'.repeat(50_000);
  await eventually('the servers have given it up', async () => {
    const texts = await Promise.all(s.c.gateways.map((g) => g.get('/metrics')));
    return texts.every((text) => !/^ringside_gateway_sessions(\{[^}]*\})? [1-9]/m.test(text));
  });
  await s.published(100);
  for (const story of s.stories) story.padding = '';
  wake(all);
  await s.more();
  await s.finish();
});

test('a hidden page pauses where it is told to', async (t) => {
  const s = await scene(t, { whenHidden: 'pause' });
  const other = await s.page.context().newPage(); // a tab in front of it
  await s.becomes('paused');
  await eventually('its connection is gone', () => s.network.open === 0);
  await s.published(50);
  await s.page.bringToFront();
  await s.more();
  await other.close();
  await s.finish();
});

test('no WebSocket gets through: event streams, with a preflight for the token', async (t) => {
  const s = await scene(t, { token: 'of an open cluster' });
  s.network.upgrades = false;
  s.network.break();
  await eventually('event streams', () => s.page.evaluate(() => window.ringside.transport === 'sse' && window.ringside.state === 'live'));
  await s.more();
  s.network.break();
  await s.more();
  (await s.c.busy()).signal('SIGKILL');
  await s.more();
  await s.cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  await s.published(50);
  await s.cdp.send('Page.setWebLifecycleState', { state: 'active' });
  await s.page.bringToFront();
  await s.more();
  await s.finish();
});

test('a browser can read why it is refused', async (t) => {
  const flags = { gateway: ['--auth', 'jwt', '--jwt-algorithms', 'HS256', '--jwt-secret-file', 'DIR/jwt.secret'] };
  const s = await scene(t, {}, { followed: [], flags, routers: 1, gateways: 1, secretFile: 'x'.repeat(32) });
  const told = ([url, transport]) =>
    new Promise((resolve) => {
      const ringside = window.connect({ url, transport, token: 'none' });
      ringside.on('error', (e) => resolve([e.reason, e.code]));
      ringside.subscribe('finals');
    });
  assert.deepEqual(await s.page.evaluate(told, [s.network.url, 'ws']), ['token_malformed', 4401]);
  assert.deepEqual(await s.page.evaluate(told, [s.network.url, 'sse']), ['token_malformed', 401]);
});

test('a page that is loaded anew goes on where it was', async (t) => {
  const s = await scene(t, { storage: true });
  const before = await s.page.evaluate(() => {
    // What is handed over until the very end: the page takes it along by itself.
    addEventListener('pagehide', () => sessionStorage.setItem('told', JSON.stringify(window.told.events)));
    return true;
  });
  assert.ok(before);
  await s.begin();
  const events = JSON.parse(await s.page.evaluate(() => sessionStorage.getItem('told')));
  await s.more();
  await s.finish(events);
});

// The browser's processes: those below this one.
function processes() {
  const table = execFileSync('ps', ['-eo', 'pid=,ppid=,args=']).toString().trim().split('\n');
  const rows = table.map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line).slice(1));
  const below = new Set([String(process.pid)]);
  for (let grown = -1; grown !== below.size; ) {
    grown = below.size;
    for (const [pid, parent] of rows) if (below.has(parent)) below.add(pid);
  }
  return rows.filter(([pid, , args]) => below.has(pid) && /chrom/.test(args) && !args.startsWith('ps ')).map(([pid]) => Number(pid));
}

function wake(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGCONT');
    } catch {} // it has ended
  }
}
