// What servers send, and what a connection tells of itself. An event stream's events are turned into those of ringside.v1.
import type { Policy } from './backoff.js';
import type { Gap, Skipped } from './types.js';

export type ServerEvent =
  | { type: 'welcome'; topic: string; position: string; heartbeat?: number; backoff?: Policy; resume?: string; expires?: number }
  | { type: 'message'; topic: string; id: string; data: unknown; encoding?: string }
  | { type: 'heartbeat'; topic: string; position: string; asOf: number; lag: number; stale?: boolean }
  | { type: 'viewers'; topic: string; count: number }
  | { type: 'policy'; backoff: Policy }
  | { type: 'subscribed' | 'unsubscribed'; topic: string; position: string }
  | { type: 'authenticated'; expires?: number }
  | { type: 'error'; reason: string; message: string; topic?: string }
  | Gap
  | Skipped;

/** How a connection ended. */
export interface End {
  /** The close code; an answer's status stands for one. */
  code?: number;
  /** The server's reason. */
  error?: string;
  /** What the server asked for, in ms, unchecked. */
  reconnect?: unknown;
  pass?: unknown;
  /** What the least delay is, where none is asked for. */
  least?: number;
  /** The server has spoken: the transport works. */
  told?: boolean;
}

/** Where to connect to, and as whom. */
export interface Target {
  url: string; // without what is below
  topic: string;
  since: string;
  pass: string;
  token: string;
  viewers: string; // '1' for: how many follow each topic
}

export interface Listener {
  open(): void;
  event(e: ServerEvent): void;
  /** Called once at most; not after a close. */
  end(e: End): void;
}

/** A connection on its way, or live. */
export interface Connection {
  /** Missing where the client has no way to speak. */
  send?(command: object): void;
  /** Closes it. Nothing is heard of it afterwards. */
  close(): void;
}

export type Dial = (target: Target, on: Listener) => Connection;

/** The URL with further parameters; empty ones are left out. */
export function withQuery(url: string, params: Record<string, string>): string {
  const u = new URL(url);
  u.hash = '';
  for (const [key, value] of Object.entries(params)) {
    if (value) u.search += `${u.search ? '&' : '?'}${key}=${encodeURIComponent(value)}`;
  }
  return u.href;
}

/** An object from outside; empty where the text is no JSON of one. */
export function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Bytes that were sent as base64. */
export function bytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** Whether something could be a position: of an epoch, in the ID of an entry. */
export function isPosition(p: unknown): boolean {
  return typeof p === 'string' && /^[0-9a-f]{8}-\d{1,20}-\d{1,20}$/.test(p);
}
