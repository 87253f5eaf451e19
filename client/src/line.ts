// One connection after the other, for some topics: it comes back by the cluster's policy, or when the server says.
import { asked, delay, obey, type Policy } from './backoff.js';
import type { Channel } from './channel.js';
import type { Connection, Dial, End, ServerEvent } from './events.js';
import { RingsideError, type State } from './types.js';

const tokenTime = 30_000; // for a token to be fetched
const handshake = 10_000; // for a connection to open, and to be greeted
const probeTime = 5_000; // for an answer to a ping
const lasting = 5_000; // how long a connection must have stood for the backoff to begin anew
const atOnce = 8; // subscriptions that are not answered; a server lets 16 commands wait
const fallback = 300_000; // how long an event stream must have stood for its end to be an occasion to try a WebSocket again
const longest = 2 ** 31 - 1; // of a timer

/** What a line needs of its client. */
export interface Hub {
  readonly url: string;
  /** Of the connect URL. */
  readonly viewers: string;
  policy: Policy;
  /** Whether there must be no connection now. */
  held(): boolean;
  token(): Promise<string>;
  /** Whether a fresh token can be had. */
  readonly renewable: boolean;
  changed(): void;
  error(e: RingsideError): void;
  /** The server refuses a topic. */
  refused(topic: string, e: RingsideError): void;
  /** Nothing can be had any more. */
  over(e: RingsideError): void;
  /** The transport seems not to get through; true when the line has been replaced by others, which start after ms. */
  blocked(line: Line, ms: number): boolean;
}

export class Line {
  state: State = 'idle';
  #conn: Connection | undefined;
  #turn = 0; // of the present connection; what earlier ones say is not heard
  #timers: Record<string, ReturnType<typeof setTimeout> | undefined> = {};
  #failures = 0; // connections in a row that did not last
  #renewals = 0; // likewise, of tokens
  #open = false;
  #live = 0; // since when; 0: not greeted
  #first: Channel | undefined; // of the connect URL
  #silence = handshake; // how long nothing need be heard
  #heard = 0;
  #probing = false;
  #pass = ''; // a reservation: good once
  #resume = ''; // the token of the last welcome
  #refused = ''; // the token that was not good
  #leaving = new Set<string>(); // topics whose end is not confirmed
  #wait = { from: 0, ms: 0 }; // what the server asked for

  constructor(
    readonly hub: Hub,
    readonly channels: Map<string, Channel>,
    readonly dial: Dial,
  ) {}

  #after(name: string, ms: number, f: () => void): void {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(
      () => {
        delete this.#timers[name];
        f();
      },
      Math.min(ms, longest),
    );
  }

  #become(state: State): void {
    this.state = state;
    this.hub.changed();
  }

  /** Connects after ms, and not before the server wants it. Nothing happens while the hub holds it, or when it is on its way. */
  start(ms = 0): void {
    if (this.#conn || this.state === 'connecting') return;
    if (!this.channels.size || this.hub.held()) {
      this.#become(this.channels.size ? 'paused' : 'idle');
      return;
    }
    const { from, ms: asked } = this.#wait;
    const wait = Math.max(ms, Math.min(asked, from + asked - Date.now()));
    this.#after('start', wait, () => this.#connect());
    this.#become(wait > 0 ? 'waiting' : 'connecting');
  }

  /** Starts in another's place, with what it knows. */
  replace(line: Line, ms: number): void {
    this.#failures = line.#failures;
    this.#resume = line.#resume;
    this.start(ms);
  }

  /** Disconnects; start goes on where it stood. */
  stop(state: State = 'idle'): void {
    this.#hangUp();
    this.#become(state);
  }

  /** Goes on as soon as may be: there is a network, or somebody to see. A live connection has to prove itself. */
  wake(network: boolean): void {
    if (this.#conn) {
      if (network && this.#open && !this.#conn.send) this.#end({ error: 'silent', told: true });
      else if (!this.#probing) this.#probe();
      return;
    }
    this.#failures = 0;
    this.start(delay(this.hub.policy, 0) / 2);
  }

  #hangUp(): void {
    this.#turn++;
    for (const t of Object.values(this.#timers)) clearTimeout(t);
    this.#timers = {};
    this.#conn?.close();
    this.#conn = undefined;
    this.#open = this.#probing = false;
    this.#live = 0;
    this.#leaving.clear();
    for (const c of this.channels.values()) c.off();
  }

  async #connect(): Promise<void> {
    if (this.hub.held()) {
      this.#become('paused');
      return;
    }
    const turn = ++this.#turn;
    this.#after('watch', tokenTime, () => this.#end({ error: 'token', told: true }, 'no token in time'));
    this.#become('connecting');
    let token: string;
    try {
      token = await this.hub.token();
    } catch (e) {
      if (turn === this.#turn) this.#end({ error: 'token', told: true }, `no token: ${e}`);
      return;
    }
    if (turn !== this.#turn) return;
    this.#first = this.channels.values().next().value as Channel; // without any the line would have been stopped
    const { topic, position: since } = this.#first;
    const pass = this.#pass || this.#resume;
    this.#pass = '';
    this.#silence = handshake;
    this.#listen();
    const mine =
      <A extends unknown[]>(f: (...a: A) => void) =>
      (...a: A) => {
        if (turn === this.#turn) f(...a);
      };
    try {
      this.#conn = this.dial(
        { url: this.hub.url, topic, since, pass, token, viewers: this.hub.viewers },
        {
          open: mine(() => {
            this.#open = true;
            this.#heard = Date.now();
          }),
          event: mine((e) => {
            try {
              this.#event(e);
            } catch (error) {
              this.#end({ error: 'protocol' }, `not understood: ${error}`);
            }
          }),
          end: mine((e) => {
            const last = (e.code === 4401 || (e.code === 401 && e.told)) && this.#refusedAgain(token);
            if (last) this.hub.over(new RingsideError(e.error || 'token', 'the token is refused', e.code));
            else this.#end(e);
          }),
        },
      );
    } catch (e) {
      this.#end({ error: 'connection' }, String(e));
    }
  }

  // A token that was refused, and the next one is the same: there is no other.
  #refusedAgain(token: string): boolean {
    const again = !this.hub.renewable || (!this.#live && this.#refused === token);
    this.#refused = token;
    return again;
  }

  // Silence is watched by the clock: timers of a frozen page stand still.
  #listen(): void {
    this.#heard = Date.now();
    const look = () => {
      const quiet = Date.now() - this.#heard;
      if (quiet < 0) this.#heard = Date.now(); // the clock was set back
      if (quiet >= this.#silence) this.#probe();
      else this.#after('watch', this.#silence - Math.max(quiet, 0), look);
    };
    this.#after('watch', this.#silence, look);
  }

  #probe(): void {
    const since = Date.now();
    const gone = () => this.#end({ error: 'silent' });
    if (!this.#open || !this.#conn?.send) {
      // Nobody to ask: an event stream that has been silent for too long is given up, and one that has not is waited for.
      if (since - this.#heard >= this.#silence) gone();
      return;
    }
    this.#probing = true;
    this.#heard = -1;
    this.#send({ type: 'ping' });
    this.#after('watch', probeTime, () => {
      if (this.#heard < 0) return gone();
      this.#probing = false;
      this.#listen();
    });
  }

  #send(command: object): void {
    try {
      this.#conn?.send?.(command);
    } catch {
      // It is closing: its end says the rest.
    }
  }

  #event(e: ServerEvent): void {
    this.#heard = Date.now();
    switch (e.type) {
      case 'welcome':
        this.#welcome(e);
        break;
      case 'subscribed':
        if (!this.#leaving.has(e.topic)) this.channels.get(e.topic)?.on(e.position);
        this.#ask();
        break;
      case 'unsubscribed':
        this.#leaving.delete(e.topic);
        this.channels.get(e.topic)?.off();
        this.#ask();
        break;
      case 'policy':
        this.hub.policy = obey(e.backoff, this.hub.policy);
        break;
      case 'authenticated':
        this.#renewals = 0;
        this.#expires(e.expires);
        break;
      case 'error':
        this.#refuse(e.reason, e.message, e.topic);
        break;
      default:
        if ('topic' in e && !this.#leaving.has(e.topic)) this.channels.get(e.topic)?.receive(e);
        else if (!('type' in e)) throw new Error('no event');
    }
  }

  #welcome(e: ServerEvent & { type: 'welcome' }): void {
    this.#live = Date.now();
    this.#resume = e.resume ?? '';
    this.#refused = '';
    this.#wait.ms = 0;
    this.hub.policy = obey(e.backoff, this.hub.policy);
    this.#silence = 2 * (Number(e.heartbeat) || 25_000) + 1000;
    this.#listen();
    this.#expires(e.expires);
    // Its follower may have left meanwhile, and another have come who wants to begin elsewhere.
    if (this.#first === this.channels.get(e.topic)) this.#first?.on(e.position);
    else this.leave(e.topic, true);
    if (this.#conn) this.#become('live'); // a handler may have closed it
    this.#ask();
  }

  /** Asks for the topics that are not followed yet: a few at a time. */
  #ask(): void {
    if (!this.#live) return;
    const all = [...this.channels.values()];
    let n = atOnce - all.filter((c) => c.state === 'asked').length;
    for (const c of all) {
      if (n <= 0) return;
      if (c.state !== 'off' || this.#leaving.has(c.topic)) continue;
      c.state = 'asked';
      n--;
      this.#send({ type: 'subscribe', topic: c.topic, since: c.position || undefined });
    }
  }

  /** Follows what has come into channels. */
  join(): void {
    if (this.state === 'idle') this.start();
    this.#ask();
  }

  /** Ends a topic that is no longer among channels. */
  leave(topic: string, followed: boolean): void {
    if (!this.#live || !followed) return;
    this.#leaving.add(topic);
    this.#send({ type: 'unsubscribe', topic });
  }

  #refuse(reason: string, message: string, topic?: string): void {
    const error = new RingsideError(reason, message);
    if (topic !== undefined && this.#leaving.has(topic)) return; // whoever asked for it has left
    if (topic === undefined) {
      this.hub.error(error);
      if (/^(token|denied)/.test(reason)) this.#renewLater();
    } else if (/^(busy|app_|keys_)/.test(reason)) {
      this.hub.error(error);
      this.#after(`ask ${topic}`, this.hub.policy.min + delay(this.hub.policy, 3), () => {
        this.channels.get(topic)?.off();
        this.#ask();
      });
    } else {
      this.hub.refused(topic, error);
    }
  }

  // A fresh token is brought before the one in use ends. Clocks may differ: what does not seem to last is renewed ever more rarely.
  #expires(at: number | undefined): void {
    if (!at || !this.hub.renewable || !this.#conn?.send) return;
    const left = at - Date.now();
    if (left < 2000) this.#renewLater();
    else this.#after('renew', left - Math.min(left / 4, 60_000), () => this.#renew());
  }

  #renewLater(): void {
    if (this.hub.renewable) this.#after('renew', 1000 + delay(this.hub.policy, this.#renewals++), () => this.#renew());
  }

  async #renew(): Promise<void> {
    const turn = this.#turn;
    try {
      const token = await this.hub.token();
      if (turn === this.#turn) this.#send({ type: 'auth', token });
    } catch (e) {
      if (turn !== this.#turn) return;
      this.hub.error(new RingsideError('token', `no token: ${e}`));
      this.#renewLater();
    }
  }

  #end(e: End, why?: string): void {
    const { policy } = this.hub;
    const was = this.#live;
    const stood = was && Date.now() - was;
    const stream = !this.#conn?.send;
    if (stood >= lasting) this.#failures = 0;
    this.#hangUp();
    this.state = 'waiting';
    if (typeof e.pass === 'string') this.#pass = e.pass;
    const ms = asked(e.reconnect);
    this.#wait = { from: Date.now(), ms: ms ?? 0 };
    const error = new RingsideError(e.error || 'connection', why ?? `the connection ended: ${e.error || e.code || 'no word'}`, e.code);
    const turn = this.#turn; // another one, once a handler has closed the client
    if (e.told && (e.code === 4403 || e.code === 403 || e.code === 400)) {
      // Only a handshake is refused for its topic's sake; the others may be had without it.
      if (was || !/^(token_topic|not_allowed|topic|position)/.test(e.error!)) this.hub.over(error);
      else {
        const { topic } = this.#first!;
        if (this.#first === this.channels.get(topic)) this.hub.refused(topic, error);
        if (turn === this.#turn) this.start(delay(policy, 0));
      }
      return;
    }
    this.hub.error(error);
    if (turn !== this.#turn) return;
    const wait = ms ?? Math.max(e.least ?? 0, delay(policy, this.#failures++));
    const blocked = was ? stream && stood > fallback : !e.told;
    if (!blocked || !this.hub.blocked(this, wait)) this.start(wait);
  }
}
