// What waits for a loop over a subscription: bounded, and what does not fit is told as a gap.
import type { Gap, TopicEvent } from './types.js';

export class Queue {
  #events: TopicEvent[] = [];
  #wake: (() => void)[] = [];
  #at = ''; // what has left the queue, up to here
  #over = false;
  #error: Error | undefined;

  constructor(readonly limit: number) {}

  /** Adds an event; before is the position in front of it. The oldest make room: the gap that says so takes their place. */
  push(e: TopicEvent, before: string): void {
    if (this.#over) return;
    this.#at ||= before;
    this.#events.push(e);
    if (this.#events.length > this.limit) this.#drop();
    this.#wake.shift()?.();
  }

  // The first two become one gap.
  #drop(): void {
    const gap: Gap = { type: 'gap', topic: '', reason: 'overflow', after: this.#at, position: this.#at, count: 0 };
    for (const e of this.#events.splice(0, 2)) {
      gap.topic = e.topic;
      gap.position = end(e) ?? gap.position;
      gap.count! += e.type === 'message' ? 1 : (e.count ?? 0);
    }
    this.#events.unshift(gap);
  }

  /** Ends the queue: what is in it can still be taken, and then an error is thrown, where there is one. */
  end(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Takes the next event; waits for it. */
  async next(): Promise<IteratorResult<TopicEvent, undefined>> {
    for (;;) {
      const value = this.#events.shift();
      if (value) {
        this.#at = end(value) ?? this.#at;
        return { value, done: false };
      }
      if (this.#over) {
        const error = this.#error;
        this.#error = undefined;
        if (error) throw error;
        return { value: undefined, done: true };
      }
      await new Promise<void>((wake) => this.#wake.push(wake));
    }
  }
}

// The position behind an event; what was skipped moves none.
function end(e: TopicEvent): string | undefined {
  return e.type === 'message' ? e.id : e.type === 'gap' ? e.position : undefined;
}
