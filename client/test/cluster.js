// A cluster of real processes: a redis-server, routers and gateways, each on ports that the kernel gives it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const secret = 'no secret at all, for tests only';
const patience = 30_000; // ms, for what takes a second as a rule

/** Calls f until it returns something true, and returns that. */
export async function eventually(what, f) {
  const until = Date.now() + patience;
  let last;
  for (;;) {
    try {
      const got = await f();
      if (got) return got;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`waited in vain: ${what}`, { cause: last });
    await new Promise((done) => setTimeout(done, 20));
  }
}

let binary = process.env.SDK_TEST_BINARY;

// The program as it is now; built once for a process of tests.
function program(dir) {
  if (binary) return binary;
  const path = join(dir, 'ringside');
  const built = spawnSync('go', ['build', '-o', path, './cmd/ringside'], { cwd: repository, stdio: 'inherit' });
  if (built.status !== 0) throw new Error('the program does not build');
  return path;
}

// What is still there when the tests end, however they do.
const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});
process.once('SIGTERM', () => process.exit(1));

export class Process {
  constructor(command, args) {
    this.lines = [];
    this.waiting = [];
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = once(this.child, 'exit');
    alive.add(this.child);
    this.exited.then(() => alive.delete(this.child));
    for (const out of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: out }).on('line', (line) => {
        this.lines.push(line);
        for (const look of this.waiting) look(line);
      });
    }
  }

  /** Resolves with what f makes of a line of its output, once that is something. */
  said(f) {
    return new Promise((resolve, reject) => {
      const look = (line) => {
        const got = f(line);
        if (got) resolve(got);
      };
      this.lines.forEach(look);
      this.waiting.push(look);
      this.exited.then(() => reject(new Error(`it ended:\n${this.lines.slice(-20).join('\n')}`)));
    });
  }

  get running() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(name) {
    this.child.kill(name);
  }

  async end(name = 'SIGKILL') {
    if (this.running) this.signal(name);
    await this.exited;
  }
}

class Node extends Process {
  async started() {
    const line = await this.said((text) => text.includes('"msg":"started"') && text);
    Object.assign(this, (({ listen, admin, gossip }) => ({ listen, admin, gossip }))(JSON.parse(line)));
    return this;
  }

  get port() {
    return Number(this.listen.split(':')[1]);
  }

  async get(path, init) {
    const answer = await fetch(`http://${this.admin}${path}`, { signal: AbortSignal.timeout(3000), ...init });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text;
  }
}

export class Cluster {
  nodes = [];

  /** Starts it. Flags are per role; all of it ends with the test t. */
  static async start(t, { routers = 1, gateways = 2, flags = {}, secretFile } = {}) {
    const c = new Cluster();
    c.flags = flags;
    c.dir = await mkdtemp(join(tmpdir(), 'ringside-sdk-'));
    t.after(() => c.stop());
    if (secretFile) await writeFile(join(c.dir, 'jwt.secret'), secretFile, { mode: 0o600 });
    binary = program(c.dir);
    c.binary = binary;
    c.socket = join(c.dir, 'redis.sock');
    c.redis = new Process('redis-server', ['--port', '0', '--unixsocket', c.socket, '--save', '', '--dir', c.dir]);
    await c.redis.said((line) => line.includes('ready to accept connections') || line.includes('Ready to accept connections'));
    for (let i = 1; i <= gateways; i++) await c.addGateway(`g${i}`);
    for (let i = 0; i < routers; i++) await c.addRouter();
    await c.ready();
    return c;
  }

  get routers() {
    return this.nodes.filter((n) => n.role === 'router' && n.running);
  }
  get gateways() {
    return this.nodes.filter((n) => n.role === 'gateway' && n.running);
  }

  async add(role, args = []) {
    const join = this.nodes.find((n) => n.running);
    const any = '127.0.0.1:0';
    const all = [
      role,
      '--listen',
      any,
      '--admin',
      any,
      '--gossip',
      any,
      '--redis',
      `unix://${this.socket}`,
      '--secret',
      secret,
      '--log-format',
      'json',
    ];
    const own = (this.flags[role] ?? []).map((f) => f.replaceAll('DIR', this.dir));
    const node = new Node(this.binary, [...all, ...(join ? ['--join', join.gossip] : []), ...args, ...own]);
    node.role = role;
    this.nodes.push(node);
    return node.started();
  }

  addRouter() {
    return this.add('router');
  }

  async addGateway(id) {
    const node = await this.add('gateway', ['--id', id]);
    node.id = id;
    return node;
  }

  /** Waits until all nodes are ready and see all gateways. */
  async ready() {
    await eventually('all nodes ready and of one mind', async () => {
      const rings = new Set();
      for (const n of this.nodes.filter((node) => node.running)) {
        await n.get('/readyz');
        const ring = JSON.parse(await n.get('/ring'));
        if (this.gateways.some((g) => !ring.members.some((m) => m.id === g.id && m.state === 'active'))) return false;
        rings.add(ring.version);
      }
      return rings.size === 1;
    });
  }

  /** The gateway that has sessions. */
  busy() {
    return eventually('a gateway with a session', async () => {
      for (const g of this.gateways) {
        if (/^ringside_gateway_sessions(\{[^}]*\})? [1-9]/m.test(await g.get('/metrics'))) return g;
      }
      return undefined;
    });
  }

  /** Publishes for certain: again, with the same id, until somebody says that it is done. */
  async publish(topic, data, id = crypto.randomUUID()) {
    const body = JSON.stringify({ topic, data, id });
    return eventually(`a publish to ${topic}`, async () => {
      const nodes = this.nodes.filter((n) => n.running);
      const node = nodes[Math.floor(Math.random() * nodes.length)];
      return JSON.parse(await node.get('/publish', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } }));
    });
  }

  /** Runs the program. */
  async run(...args) {
    const p = new Process(this.binary, args);
    const [code] = await p.exited;
    if (code !== 0) throw new Error(`ringside ${args.join(' ')}: ${p.lines.join('\n')}`);
  }

  async stop() {
    this.redis?.signal('SIGCONT');
    await Promise.all([...this.nodes, ...(this.redis ? [this.redis] : [])].map((p) => p.end()));
    await rm(this.dir, { recursive: true, force: true });
  }
}
