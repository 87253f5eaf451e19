// Where topics stand, kept over a reload of the page.
import type { Channel } from './channel.js';
import { isPosition, parse } from './events.js';
import type { Options } from './types.js';

const saveEvery = 1000; // ms
const most = 256; // topics that are remembered

export interface Positions {
  of(topic: string): string;
  forget(topic: string): void;
  /** Notes that a position has changed: it is saved within a second. */
  moved(): void;
  save(): void;
}

export function openPositions(storage: Options['storage'], url: string, channels: Map<string, Channel>): Positions {
  const key = `ringside ${new URL(url).origin}${new URL(url).pathname}`;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let known: Record<string, unknown> = {};
  // A storage may be full, or forbidden: then there is none.
  const attempt = (f: () => void) => {
    try {
      if (storage) f();
    } catch {}
  };
  attempt(() => {
    known = parse(storage!.getItem(key) ?? '');
  });
  const save = () => {
    clearTimeout(timer);
    timer = undefined;
    attempt(() => {
      for (const c of channels.values()) {
        delete known[c.topic];
        known[c.topic] = c.position;
      }
      storage!.setItem(key, JSON.stringify(Object.fromEntries(Object.entries(known).slice(-most))));
    });
  };
  const moved = () => {
    if (storage) timer ??= setTimeout(save, saveEvery);
  };
  return {
    of: (topic) => (Object.hasOwn(known, topic) && isPosition(known[topic]) ? (known[topic] as string) : ''),
    forget: (topic) => {
      delete known[topic];
      moved();
    },
    moved,
    save,
  };
}
