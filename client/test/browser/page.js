// A real Chromium with a page that follows topics, as a site's would.
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { Cluster, eventually, Process } from '../cluster.js';
import { Network } from '../network.js';
import { Story, Witness } from '../story.js';

const executable = process.env.SDK_TEST_CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const module = new URL('../../dist/index.js', import.meta.url);

const quiet = [
  '--headless=new',
  '--no-sandbox',
  '--remote-debugging-port=0',
  '--no-first-run',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-extensions',
  '--password-store=basic',
];

export const topics = ['finals', 'semi', 'news: Köln/1'];

// What the page does: it keeps what it is handed, in order, for the test to look at.
const html = `<!doctype html><meta charset="utf-8"><title>page</title><script type="module">
  import { connect } from './index.js';
  const told = (window.told = { events: {}, states: [], stale: {}, errors: [] });
  window.begin = (options, topics) => {
    const ringside = (window.ringside = connect(options));
    ringside.on('state', (s) => told.states.push(s));
    ringside.on('error', (e) => told.errors.push(e.reason + ': ' + e.message));
    window.subscriptions = topics.map((topic) => {
      const events = (told.events[topic] = []);
      return ringside.subscribe(topic, { onMessage: (m) => events.push(m.data.n), onGap: (g) => events.push(g), onStale: (s) => (told.stale[topic] = s) });
    });
  };
  window.connect = connect;
  window.ready = true;
</script>`;

/** A site of the test's, of another origin than the routers: browsers ask them first. */
async function site(t) {
  const server = createServer((request, response) => {
    const script = request.url === '/index.js';
    response.writeHead(200, { 'Content-Type': script ? 'text/javascript' : 'text/html' }).end(script ? readFileSync(module) : html);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

// A browser as people have it: without what is emulated for tests, as a page that is always visible and focused.
async function start(t) {
  const dir = await mkdtemp(join(tmpdir(), 'ringside-sdk-'));
  const chrome = new Process(executable, [...quiet, `--user-data-dir=${dir}`, 'about:blank']);
  const url = await chrome.said((line) => /listening on (ws:\S+)/.exec(line)?.[1]);
  const browser = await chromium.connectOverCDP(url, { noDefaults: true });
  t.after(async () => {
    await browser.newBrowserCDPSession().then((all) => all.send('Browser.close'));
    await chrome.exited;
    await rm(dir, { recursive: true, force: true, maxRetries: 10 });
  });
  return browser.contexts()[0].pages()[0];
}

/** A cluster, a network in front of it, and a page that follows topics through it while they are published to. */
export async function scene(t, options = {}, { followed = topics, flags = {}, routers = 2, gateways = 2, secretFile } = {}) {
  const page = await start(t);
  const c = await Cluster.start(t, {
    routers,
    gateways,
    secretFile,
    flags: { gateway: ['--heartbeat', '300ms', ...(flags.gateway ?? [])], router: ['--drain-window', '500ms', ...(flags.router ?? [])] },
  });
  await c.run('policy', 'set', '--of', `http://${c.routers[0].admin}`, 'backoff', 'max=400ms');
  const network = await Network.start(t, c.routers[0].port);
  const complaints = [];
  page.on('pageerror', (e) => complaints.push(String(e)));
  const url = await site(t);
  const s = {
    c,
    page,
    network,
    cdp: await page.context().newCDPSession(page),
    stories: followed.map((topic) => new Story(c, topic)),
    /** Loads the page, and follows. */
    begin: async () => {
      await page.goto(url);
      await page.waitForFunction(() => window.ready);
      await page.evaluate(
        ([o, names]) => window.begin({ ...o, storage: o.storage && sessionStorage }, names),
        [{ url: network.url, ...options }, followed],
      );
      await page.waitForFunction(() => window.subscriptions.every((x) => x.position));
    },
    told: () => page.evaluate(() => window.told),
    state: () => page.evaluate(() => window.ringside.state),
    becomes: (state) => eventually(`the page is ${state}`, async () => (await s.state()) === state),
    /** Waits until n more messages have been handed over on every topic. */
    more: async (n = 20) => {
      const counts = () => page.evaluate(() => Object.values(window.told.events).map((e) => e.length));
      const goals = (await counts()).map((x) => x + n);
      await eventually('messages on every topic', async () => (await counts()).every((x, i) => x >= goals[i]));
    },
    /** Waits until n more messages have been published on every topic. */
    published: async (n = 20) => {
      const goals = s.stories.map((story) => story.published + n);
      await eventually('messages that are published', () => s.stories.every((story, i) => story.published >= goals[i]));
    },
    /** Ends the stories, and checks what the page was handed: before, and since the last load. */
    finish: async (before = {}) => {
      await Promise.all(s.stories.map((story) => story.stop()));
      for (const story of s.stories) {
        const all = async () => [...(before[story.topic] ?? []), ...(await s.told()).events[story.topic]];
        await eventually(`the last message of ${story.topic}`, async () => (await all()).at(-1) >= story.published);
        const w = new Witness();
        for (const e of await all()) (typeof e === 'number' ? w.seen : w.gaps).push(e);
        w.exact(story);
      }
      if (complaints.length) throw new Error(complaints.join('\n'));
    },
  };
  await s.begin();
  for (const story of s.stories) story.run();
  await s.more();
  return s;
}
