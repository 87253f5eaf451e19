// The connection by Server-Sent Events, read with fetch: unlike EventSource it can send a token, and shows why it was refused.
import { bytes, type Connection, type End, type Listener, parse, type ServerEvent, type Target, withQuery } from './events.js';

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

// maxEvent bounds what waits for an event's end: the largest payload, in base64.
const maxEvent = 16 << 20;

export function dialSSE(fetch: Fetch, t: Target, on: Listener): Connection {
  const abort = new AbortController();
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (t.token) headers.Authorization = `Bearer ${t.token}`;
  const url = withQuery(t.url, { topic: t.topic, since: t.since, pass: t.pass, viewers: t.viewers }).replace(/^ws/, 'http');
  read(fetch(url, { headers, cache: 'no-store', signal: abort.signal }), t.topic, { ...on, event: (e) => abort.signal.aborted || on.event(e) }).then(
    (end) => abort.signal.aborted || on.end(end),
    () => abort.signal.aborted || on.end({}),
  );
  return { close: () => abort.abort() };
}

async function read(answer: Promise<Response>, topic: string, on: Listener): Promise<End> {
  const response = await answer;
  if (!response.ok || !response.body || !/^text\/event-stream/.test(response.headers.get('content-type') ?? '')) {
    const said = parse(await response.text());
    const after = Number(response.headers.get('retry-after')) * 1000;
    return {
      error: String(said.error ?? ''),
      reconnect: said.retry ?? (after || undefined),
      pass: said.pass,
      code: response.status,
      told: 'error' in said,
    };
  }
  on.open();
  const stream = new Stream(topic, on);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop()!;
      if (rest.length > maxEvent) throw new Error();
      for (const line of lines) stream.line(line.replace(/\r$/, ''));
    }
  } catch {
    // It broke: what it asked for before that holds all the same.
  }
  return stream.end;
}

// Stream makes events of lines. What is not whole at the end is nothing.
class Stream {
  end: End = {};
  #greeted = false;
  #fields: Record<string, string | undefined> = {};

  constructor(
    readonly topic: string,
    readonly on: Listener,
  ) {}

  line(line: string): void {
    if (!line) {
      this.#event(this.#fields);
      this.#fields = {};
      return;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line)!;
    const before = this.#fields[name!];
    this.#fields[name!] = name === 'data' && before !== undefined ? `${before}\n${value}` : value;
  }

  #event({ id, event, data, retry }: Record<string, string | undefined>): void {
    const { topic } = this;
    if (retry) this.end.least = Number(retry);
    if (event && event !== 'binary') {
      const said = parse(data ?? '');
      if (event === 'refused' || event === 'closed') this.end = { ...said, told: true };
      else this.on.event({ position: id, topic, ...said, type: event } as ServerEvent);
      return;
    }
    if (!this.#greeted && id) {
      this.#greeted = true; // gateways of earlier versions say no more
      this.on.event({ type: 'welcome', topic, position: id });
    } else if (data !== undefined && id) {
      this.on.event({ type: 'message', topic, id, data: event ? bytes(data) : payload(data) });
    } else if (retry) {
      this.end.reconnect = this.end.least; // it may be the last word, or the policy
    }
  }
}

function payload(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
