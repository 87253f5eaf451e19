// The client: its topics, its lines, and what it tells.
import { defaultPolicy } from './backoff.js';
import { Channel, call, type Emit, Follower } from './channel.js';
import { isPosition } from './events.js';
import { type Hub, Line } from './line.js';
import { watchPage } from './page.js';
import { openPositions } from './positions.js';
import { dialSSE } from './sse.js';
import type { Events, Options, Ringside, State, SubscribeOptions, Subscription } from './types.js';
import { RingsideError } from './types.js';
import { dialWS } from './ws.js';

const states: State[] = ['connecting', 'waiting', 'paused', 'idle', 'live'];

/** A client of the routers at a URL. It connects when there is something to follow, and comes back until it is closed. */
export function connect(options: Options): Ringside {
  const { url, token, transport: wanted = 'auto', whenHidden = 'stay', whenOffline = 'pause', staleAfter = 4000 } = options;
  if (!/^(ws|http)s?:$/.test(new URL(url).protocol)) throw new TypeError(`${url} is none of ws, wss, http and https`);
  const WebSocket = options.WebSocket ?? (globalThis.WebSocket as unknown as Options['WebSocket']);
  if (wanted === 'ws' && !WebSocket) throw new TypeError('there is no WebSocket: pass one');
  const fetcher = options.fetch ?? ((u: string, init: RequestInit) => fetch(u, init));

  const handlers: { [K in keyof Events]?: Set<Events[K]> } = {};
  const channels = new Map<string, Channel>();
  let lines: Line[] = [];
  let transport: 'ws' | 'sse' = wanted === 'sse' || !WebSocket ? 'sse' : 'ws';
  let state: State = 'idle';
  let fetching: Promise<string> | undefined;

  const emit: Emit = (event, ...args) => {
    for (const f of [...(handlers[event] ?? [])]) call(() => (f as (...a: unknown[]) => void)(...args));
  };
  const become = (now: State) => {
    if (now === state || state === 'closed') return;
    state = now;
    emit('state', now);
  };
  const positions = openPositions(options.storage, url, channels);

  const hub: Hub = {
    url,
    viewers: options.viewers ? '1' : '',
    policy: defaultPolicy,
    renewable: typeof token === 'function',
    held: () => page.asleep() || (whenHidden === 'pause' && page.hidden()) || (whenOffline === 'pause' && page.offline()),
    // Several lines ask at once for one.
    token: () => {
      fetching ??= Promise.resolve(typeof token === 'function' ? Promise.resolve().then(token) : (token ?? '')).finally(() => {
        fetching = undefined;
      });
      return fetching;
    },
    changed: () => become(states.find((s) => lines.some((l) => l.state === s)) ?? 'idle'),
    error: (e) => emit('error', e),
    refused: (topic, e) => {
      emit('error', e);
      drop(topic, e);
    },
    over: (e) => {
      emit('error', e);
      end(e);
    },
    blocked: (line, ms) => {
      if (wanted !== 'auto' || !WebSocket || lines.some((l) => l !== line && l.state === 'live')) return false;
      transport = transport === 'ws' ? 'sse' : 'ws';
      for (const l of lines) l.stop('waiting');
      lines = [];
      for (const topic of channels.keys()) lineOf(topic).replace(line, ms);
      return true;
    },
  };

  // By WebSocket one line has all topics; an event stream has one.
  const lineOf = (topic: string): Line => {
    let line = lines.find((l) => l.channels.has(topic) || l.channels === channels);
    if (!line) {
      line =
        transport === 'ws'
          ? new Line(hub, channels, (t, on) => dialWS(WebSocket!, t, on))
          : new Line(hub, new Map([[topic, channels.get(topic)!]]), (t, on) => dialSSE(fetcher, t, on));
      lines.push(line);
    }
    return line;
  };

  // Ends a topic that nobody follows any more, or that the server refuses. Who is told of it may follow it anew at once.
  const drop = (topic: string, refused?: RingsideError) => {
    const channel = channels.get(topic);
    if (!channel || (!refused && channel.followers.size)) return;
    const line = lineOf(topic);
    channels.delete(topic);
    positions.forget(topic);
    line.channels.delete(topic);
    line.leave(topic, !refused && channel.state !== 'off');
    if (!line.channels.size) {
      line.stop();
      if (line.channels !== channels) lines = lines.filter((l) => l !== line); // the other one knows when it may come back
    }
    channel.end(refused);
    hub.changed();
  };

  const end = (e?: RingsideError) => {
    if (state === 'closed') return;
    positions.save();
    page.leave();
    become('closed');
    for (const l of lines) l.stop();
    lines = [];
    for (const c of channels.values()) c.end(e);
    channels.clear();
  };

  const page = watchPage({
    changed: () => {
      positions.save();
      for (const l of [...lines]) {
        if (whenHidden === 'pause' && page.hidden()) l.stop('paused');
        else if (l.state === 'paused') l.wake(false);
      }
    },
    woken: (network) => {
      for (const l of [...lines]) l.wake(network);
    },
    gone: () => {
      for (const l of [...lines]) l.stop('paused');
      positions.save();
    },
  });

  const ringside: Ringside = {
    get state() {
      return state;
    },
    get transport() {
      return transport;
    },
    subscribe(topic: string, o: SubscribeOptions = {}): Subscription {
      const { length } = new TextEncoder().encode(topic);
      if (!length || length > 255) throw new TypeError('a topic has 1 to 255 bytes');
      if (o.since && !isPosition(o.since)) throw new TypeError(`${o.since} is no position`);
      if (state === 'closed') throw new RingsideError('closed', 'the client is closed');
      let channel = channels.get(topic);
      if (channel && o.since) throw new TypeError(`${topic} is followed already: no other since`);
      if (!channel) {
        channel = new Channel(topic, o.since ?? positions.of(topic), staleAfter, emit);
        channel.moved = positions.moved;
        channels.set(topic, channel);
      }
      const follower = new Follower(channel, o, () => drop(topic));
      channel.followers.add(follower);
      lineOf(topic).join();
      return follower;
    },
    on(event, handler) {
      const set = ((handlers[event] as Set<typeof handler> | undefined) ??= new Set() as never) as Set<typeof handler>;
      set.add(handler);
      return () => set.delete(handler);
    },
    close: () => end(),
  };
  // Their messages go to those who listen to the client.
  for (const topic of options.topics ?? []) ringside.subscribe(topic, { onMessage: () => {} });
  return ringside;
}
