// The public types. The contract behind them is docs/PROTOCOL.md of Ringside.

/** A message of a topic. */
export interface Message {
  type: 'message';
  topic: string;
  /** Position behind this message: what to begin after, should somebody else go on from here. */
  id: string;
  /** The payload: what its JSON says, else its text, or a Uint8Array where it is no UTF-8. */
  data: unknown;
}

/** What lies behind `after`, up to and with `position`, does not come. */
export interface Gap {
  type: 'gap';
  topic: string;
  /**
   * `trimmed`: older than the replay window. `epoch`: Redis lost data. `slow`: this client read too slowly. `overflow`: the loop over
   * the subscription did, and its buffer was full; then `count` messages were left out.
   */
  reason: 'trimmed' | 'epoch' | 'slow' | 'overflow';
  after: string;
  position: string;
  count?: number;
}

/** In a topic set to `slow: latest`: so many messages are left out because newer ones have replaced them. */
export interface Skipped {
  type: 'skipped';
  topic: string;
  count: number;
  after: string;
  until: string;
}

/** What a loop over a subscription yields, in the order of the topic. */
export type TopicEvent = Message | Gap | Skipped;

/** Handlers of one subscription. One that throws disturbs nothing else: its error is reported as uncaught. */
export interface SubscribeOptions {
  /** Begin after this position. Without it: where `storage` says that the page was, else with what comes from now on. */
  since?: string;
  /** With it messages are handed on at once; without it they wait for a loop over the subscription. */
  onMessage?: (message: Message, subscription: Subscription) => void;
  onGap?: (gap: Gap, subscription: Subscription) => void;
  onSkipped?: (skipped: Skipped, subscription: Subscription) => void;
  /** What is shown may be out of date, or no longer is. */
  onStale?: (stale: boolean, subscription: Subscription) => void;
  /** So many follow the topic now; with the option `viewers`. */
  onViewers?: (viewers: number, subscription: Subscription) => void;
  /** The subscription has ended, because the server does not allow it. */
  onError?: (error: RingsideError, subscription: Subscription) => void;
  /** Events that wait for the loop at most, 1024 by default. */
  buffer?: number;
}

/** One follower of a topic. A loop that is left ends it, unless it has an `onMessage`. */
export interface Subscription extends AsyncIterable<TopicEvent> {
  readonly topic: string;
  /** Everything up to here has been handed over; empty before the server's first word, where no `since` was given. */
  readonly position: string;
  /** Everything up to this time (ms since 1970, by the clock of Redis) has been handed over; 0 before anything is known. */
  readonly asOf: number;
  /** What is known may be out of date: the server says so, or has not been heard for `staleAfter`. */
  readonly stale: boolean;
  /** How many follow the topic, in the whole cluster, as last told; 0 before, and without the option `viewers`. */
  readonly viewers: number;
  /** Ends the subscription. Nothing is called afterwards, and loops end. */
  close(): void;
}

/**
 * `idle`: nothing is followed. `paused`: the page is hidden, or there is no network. `waiting`: for the time to come back.
 * `closed`: for good.
 */
export type State = 'idle' | 'connecting' | 'live' | 'waiting' | 'paused' | 'closed';

/** What [[Ringside.on]] can listen to. */
export interface Events {
  state: (state: State) => void;
  /** Why a connection ended, why a token could not be had, or why a subscription or the client is over. */
  error: (error: RingsideError) => void;
  message: (message: Message) => void;
  gap: (gap: Gap) => void;
  skipped: (skipped: Skipped) => void;
  stale: (stale: boolean, topic: string) => void;
  viewers: (viewers: number, topic: string) => void;
}

/** A client: one connection, however many topics it follows. */
export interface Ringside {
  readonly state: State;
  /** How it connects at present. */
  readonly transport: 'ws' | 'sse';
  /** Follows a topic. It returns at once; the connection is made when there is something to follow. */
  subscribe(topic: string, options?: SubscribeOptions): Subscription;
  /** Calls a handler until the function that it returns is called. */
  on<K extends keyof Events>(event: K, handler: Events[K]): () => void;
  /** Ends all subscriptions and the connection, for good. */
  close(): void;
}

/** What is used of a WebSocket: that of browsers, of Node 22, or of the package `ws`. */
export interface WebSocketLike {
  onopen: ((e: never) => void) | null;
  onmessage: ((e: never) => void) | null;
  onclose: ((e: never) => void) | null;
  onerror: ((e: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Options {
  /** Where the routers are, for example wss://live.example. A path and a query are kept. */
  url: string;
  /** The client's token, or what fetches one: called for each connection, and before the one in use ends. */
  token?: string | (() => string | Promise<string>);
  /** Topics to follow from the start; [[Ringside.on]] hears of them. */
  topics?: string[];
  /** `auto`, the default: WebSocket, and Server-Sent Events where it does not get through. */
  transport?: 'auto' | 'ws' | 'sse';
  /** Whether to disconnect while the page is hidden; `stay` by default. */
  whenHidden?: 'stay' | 'pause';
  /** Whether to try to connect while the browser says that there is no network; `pause` by default: no. */
  whenOffline?: 'stay' | 'pause';
  /** Where positions are kept over a reload of the page: sessionStorage, or something like it. */
  storage?: { getItem(key: string): string | null; setItem(key: string, value: string): void };
  /** To be told how many follow each topic: at once, and then when it has changed, every few seconds at most. */
  viewers?: boolean;
  /** How long without a connection (ms) until subscriptions are stale; 4000 by default. */
  staleAfter?: number;
  /** Instead of the global ones. */
  WebSocket?: new (
    url: string,
    protocol: string,
  ) => WebSocketLike;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Something went wrong. `reason` is the server's word (docs/PROTOCOL.md), or one of `token`, `connection`, `silent`, `protocol`, `closed`. */
export class RingsideError extends Error {
  override name = 'RingsideError';
  constructor(
    readonly reason: string,
    message = reason,
    /** The close code, or the status of an answer, where there was one. */
    readonly code?: number,
  ) {
    super(message);
  }
}
