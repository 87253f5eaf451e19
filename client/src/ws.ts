// The connection by WebSocket: ringside.v1.
import { bytes, type Connection, type Listener, parse, type ServerEvent, type Target, withQuery } from './events.js';
import type { WebSocketLike } from './types.js';

export function dialWS(WebSocket: new (url: string, protocol: string) => WebSocketLike, t: Target, on: Listener): Connection {
  // refuse=close: the reason comes where a script can read it, also for clients that are no browsers.
  const url = withQuery(t.url, { topic: t.topic, since: t.since, pass: t.pass, token: t.token, viewers: t.viewers, refuse: 'close' });
  const socket = new WebSocket(url.replace(/^http/, 'ws'), 'ringside.v1');
  let over = false;
  const detach = () => {
    socket.onopen = socket.onmessage = socket.onclose = null;
  };
  socket.onopen = () => on.open();
  socket.onmessage = (e: { data: unknown }) => {
    const event = parse(String(e.data)) as unknown as ServerEvent;
    if (event.type === 'message' && event.encoding === 'base64') event.data = bytes(event.data as string);
    on.event(event);
  };
  socket.onclose = (e: { code: number; reason: string }) => {
    over = true;
    detach();
    on.end({ ...parse(e.reason), code: e.code, told: e.code > 1011 }); // lower ones may be the word of a proxy
  };
  socket.onerror = () => {}; // the close that follows says more
  return {
    send: (command) => socket.send(JSON.stringify(command)),
    close: () => {
      detach();
      if (over) return;
      // What is dead does not answer: a browser forgets about it, the package ws would keep the process for half a minute.
      const timer = setTimeout(() => (socket as { terminate?: () => void }).terminate?.(), 1000);
      socket.onclose = () => clearTimeout(timer);
      socket.close(1000);
    },
  };
}
