// A topic that is followed: where it stands, how fresh it is, and by whom.
import { isPosition, type ServerEvent } from './events.js';
import { Queue } from './queue.js';
import type { Events, RingsideError, SubscribeOptions, Subscription, TopicEvent } from './types.js';

export type Emit = <K extends keyof Events>(event: K, ...args: Parameters<Events[K]>) => void;

/** Calls f; what it throws is nobody's business here. */
export function call(f: (() => void) | undefined): void {
  try {
    f?.();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

export class Channel {
  asOf = 0;
  stale = false;
  viewers = 0;
  /** On the present connection: not asked for, asked for, followed. */
  state: 'off' | 'asked' | 'on' = 'off';
  readonly followers = new Set<Follower>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  constructor(
    readonly topic: string,
    public position: string,
    readonly staleAfter: number,
    readonly emit: Emit,
  ) {
    this.off();
  }

  /** The connection is gone. What is shown is stale when it stays away. */
  off(): void {
    this.state = 'off';
    if (!this.#over) this.#timer ??= setTimeout(() => this.#stale(true), this.staleAfter);
  }

  /** The server follows the topic for us, and goes on behind position. */
  on(position: string): void {
    this.state = 'on';
    this.#moveTo(position);
    this.#stale(false);
  }

  /** Ends it for all who follow. */
  end(error?: RingsideError): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#each((f) => f.end(error));
  }

  receive(e: ServerEvent): void {
    const before = this.position;
    switch (e.type) {
      case 'message':
        if (!isBehind(e.id, before)) return; // redelivered: harmless
        this.#moveTo(e.id);
        this.#hand({ type: 'message', topic: e.topic, id: e.id, data: e.data }, before);
        break;
      case 'gap':
        this.#moveTo(e.position);
        this.#hand(e, before);
        break;
      case 'skipped':
        this.#hand(e, before);
        break;
      case 'viewers':
        this.viewers = e.count;
        this.#each((f) => f.options.onViewers?.(e.count, f));
        this.emit('viewers', e.count, e.topic);
        break;
      case 'heartbeat':
        this.#moveTo(e.position);
        this.asOf = Math.max(this.asOf, e.asOf);
        this.#stale(Boolean(e.stale));
    }
  }

  #each(f: (follower: Follower) => void): void {
    for (const one of [...this.followers]) call(() => f(one));
  }

  #hand(e: TopicEvent, before: string): void {
    this.#each((f) => f.hand(e, before));
    this.emit(e.type, e as never);
  }

  #moveTo(position: string): void {
    if (!isPosition(position)) throw new Error(`${position} is no position`);
    this.position = position;
    this.asOf = Math.max(this.asOf, Number(position.split('-')[1]) || 0); // its entry was handed on
    this.moved();
  }

  /** Called when the position has changed. */
  moved: () => void = () => {};

  #stale(stale: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (stale === this.stale) return;
    this.stale = stale;
    this.#each((f) => f.options.onStale?.(stale, f));
    this.emit('stale', stale, this.topic);
  }
}

export class Follower implements Subscription {
  #queue: Queue | undefined;

  constructor(
    readonly channel: Channel,
    readonly options: SubscribeOptions,
    readonly left: () => void,
  ) {
    if (!options.onMessage) this.#events();
  }

  get topic(): string {
    return this.channel.topic;
  }
  get position(): string {
    return this.channel.position;
  }
  get asOf(): number {
    return this.channel.asOf;
  }
  get stale(): boolean {
    return this.channel.stale;
  }
  get viewers(): number {
    return this.channel.viewers;
  }

  #events(): Queue {
    this.#queue ??= new Queue(Math.max(2, this.options.buffer ?? 1024));
    return this.#queue;
  }

  [Symbol.asyncIterator](): AsyncIterator<TopicEvent, undefined> {
    const queue = this.#events();
    if (!this.channel.followers.has(this)) queue.end();
    return {
      next: () => queue.next(),
      return: async () => {
        if (!this.options.onMessage) this.close();
        return { value: undefined, done: true };
      },
    };
  }

  hand(e: TopicEvent, before: string): void {
    const o = this.options;
    if (!this.channel.followers.has(this)) return;
    this.#queue?.push(e, before);
    call(() => (e.type === 'message' ? o.onMessage?.(e, this) : e.type === 'gap' ? o.onGap?.(e, this) : o.onSkipped?.(e, this)));
  }

  end(error?: RingsideError): void {
    if (!this.channel.followers.delete(this)) return;
    this.#queue?.end(error);
    if (error) call(() => this.options.onError?.(error, this));
  }

  close(): void {
    if (!this.channel.followers.has(this)) return;
    this.end();
    this.left();
  }
}

// Whether a message's position is behind another. Those of different epochs can't be compared: the server has told of a gap.
function isBehind(id: string, at: string): boolean {
  const [epoch, ms, seq] = id.split('-');
  const [e, m, s] = at.split('-');
  return epoch !== e || Number(ms) > Number(m) || (ms === m && Number(seq) > Number(s));
}
