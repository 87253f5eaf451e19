// Real clients of Action Cable, as npm has them. Usage: node cable.js rails|anycable url subscriptions options
//
// subscriptions is a JSON list of objects like {"channel":"$pubsub","stream_name":"finals"}; options, for anycable, go to createCable; for
// rails, cookie is what a browser would send.
// It prints a line of JSON for everything that the client tells: {"event", "identifier", …}. A line {"perform", "data", "n"} on its
// standard input performs an action on the n-th subscription, {"unsubscribe":n} ends it, {"cut":true} breaks the connection.
"use strict";

let socket; // the newest
class WebSocket extends require("ws") {
  constructor(...args) {
    super(...args);
    socket = this;
  }
}

const [kind, url, subscriptions, options] = [process.argv[2], process.argv[3], JSON.parse(process.argv[4]), JSON.parse(process.argv[5] || "{}")];
const tell = (event, identifier, more) => process.stdout.write(JSON.stringify({ event, identifier, ...more }) + "\n");

// What a browser has and Node has not.
globalThis.addEventListener = globalThis.removeEventListener = () => {};
globalThis.document = { visibilityState: "visible" };

const rails = () => {
  const { createConsumer, adapters } = require("@rails/actioncable");
  adapters.WebSocket = options.cookie
    ? class extends WebSocket {
        constructor(url, protocols) {
          super(url, protocols, { headers: { Cookie: options.cookie } });
        }
      }
    : WebSocket;
  const consumer = createConsumer(url);
  return subscriptions.map((params) => {
    const name = JSON.stringify(params);
    const sub = consumer.subscriptions.create(params, {
      connected: (how) => tell("connected", name, how),
      disconnected: (how) => tell("disconnected", name, how),
      rejected: () => tell("rejected", name),
      received: (message) => tell("received", name, { message }),
    });
    return { perform: (action, data) => sub.perform(action, data), unsubscribe: () => sub.unsubscribe() };
  });
};

const anycable = async () => {
  const { createCable, Channel } = await import("@anycable/core");
  const cable = createCable(url, { websocketImplementation: WebSocket, protocol: "actioncable-v1-ext-json", ...options });
  cable.on("connect", (ev) => tell("connect", "", ev));
  cable.on("disconnect", (ev) => tell("disconnect", "", { reason: ev && ev.reason }));
  cable.on("close", (ev) => tell("close", "", { reason: ev && ev.reason }));
  return subscriptions.map((params) => {
    const { channel: id, ...rest } = params;
    class Any extends Channel {
      static identifier = id;
    }
    const name = JSON.stringify(params);
    const channel = new Any(rest);
    channel.on("connect", (ev) => tell("connected", name, ev));
    channel.on("disconnect", () => tell("disconnected", name));
    channel.on("close", (ev) => tell("rejected", name, { reason: ev && ev.reason }));
    channel.on("message", (message, meta) => tell("received", name, { message, meta }));
    channel.on("info", (info) => tell(info.type, name)); // history_received, history_not_found
    cable.subscribe(channel);
    return { perform: (action, data) => channel.perform(action, data), unsubscribe: () => channel.disconnect() };
  });
};

(async () => {
  const subs = await { rails, anycable }[kind]();
  require("readline")
    .createInterface({ input: process.stdin })
    .on("line", (line) => {
      const c = JSON.parse(line);
      if (c.cut) socket.terminate();
      else if (c.unsubscribe !== undefined) subs[c.unsubscribe].unsubscribe();
      else subs[c.n || 0].perform(c.perform, c.data);
    })
    .on("close", () => process.exit(0));
})();
