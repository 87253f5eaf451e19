// What happens to the page: hidden, shown, frozen, without a network, gone. Nothing of it is there in Node.

export interface Page {
  hidden(): boolean;
  /** Frozen, or on its way out: it must have no connection. */
  asleep(): boolean;
  offline(): boolean;
  /** Stops listening. */
  leave(): void;
}

interface Listeners {
  changed(): void; // hidden, or offline, or no longer
  woken(network: boolean): void; // what was live may be dead; network: it has just come back
  gone(): void; // nothing of it runs any more, perhaps for good
}

export function watchPage({ changed, woken, gone }: Listeners): Page {
  const doc = globalThis.document;
  const left = new AbortController();
  const listen = (target: EventTarget | undefined, names: string, f: (e: Event) => void) => {
    for (const name of names.split(' ')) target?.addEventListener?.(name, f, { signal: left.signal });
  };
  let asleep = false;
  const fallAsleep = () => {
    asleep = true;
    gone();
  };
  const awake = (e: Event) => {
    if (e.type === 'pageshow' && !(e as PageTransitionEvent).persisted) return; // it has just been loaded
    if (e.type === 'pageshow' || e.type === 'resume') asleep = false;
    changed();
    if (!hidden()) woken(e.type === 'online');
  };
  const hidden = () => doc?.visibilityState === 'hidden';
  listen(doc, 'visibilitychange resume', awake);
  listen(doc, 'freeze', fallAsleep);
  listen(globalThis as unknown as EventTarget, 'online pageshow', awake); // of a worker too
  listen(globalThis as unknown as EventTarget, 'offline', changed);
  listen(globalThis as unknown as EventTarget, 'pagehide', fallAsleep);
  return { hidden, asleep: () => asleep, offline: () => globalThis.navigator?.onLine === false, leave: () => left.abort() };
}
