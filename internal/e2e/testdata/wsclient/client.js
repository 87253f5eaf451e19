// WebSocket clients, by the package ws, that do what they are told. Usage: node client.js
//
// It reads a command of JSON from each line of its standard input, and writes a line of JSON for all that happens to a client: [id, what,
// payload in base64]. The first line names the versions.
"use strict";

const readline = require("node:readline");
const WebSocket = require("ws");

const clients = new Map();
const tell = (id, what, payload) => process.stdout.write(JSON.stringify([id, what, Buffer.from(payload || "").toString("base64")]) + "\n");

const commands = {
  open({ id, url, protocols, deflate, headers }) {
    const ws = new WebSocket(url, protocols, { perMessageDeflate: deflate, headers });
    clients.set(id, ws);
    let refused = false;
    ws.on("unexpected-response", (req, res) => {
      refused = true;
      tell(id, "refused", String(res.statusCode));
      req.destroy();
    });
    ws.on("open", () => tell(id, "open", `${ws.protocol} ${ws.extensions}`.trim()));
    ws.on("message", (data, binary) => tell(id, binary ? "binary" : "text", data));
    ws.on("ping", (data) => tell(id, "ping", data));
    ws.on("pong", (data) => tell(id, "pong", data));
    ws.on("error", (err) => refused || tell(id, "error", err.message));
    ws.on("close", (code, reason) => {
      clients.delete(id);
      if (!refused) tell(id, "close", Buffer.concat([Buffer.from(`${code} `), reason]));
    });
  },
  send({ id, binary, parts }) {
    const ws = clients.get(id);
    parts.forEach((p, i) => ws.send(Buffer.from(p, "base64"), { binary, fin: i === parts.length - 1 }));
  },
  // A message in two fragments, with a ping between them.
  interrupt({ id, parts }) {
    const ws = clients.get(id);
    ws.send(Buffer.from(parts[0], "base64"), { binary: false, fin: false });
    ws.ping("between");
    ws.send(Buffer.from(parts[1], "base64"), { binary: false, fin: true });
  },
  ping: ({ id, parts }) => clients.get(id).ping(Buffer.from(parts[0], "base64")),
  pong: ({ id, parts }) => clients.get(id).pong(Buffer.from(parts[0], "base64")),
  close({ id, code, reason }) {
    if (code === 1005) clients.get(id).close();
    else clients.get(id).close(code, reason);
  },
  terminate: ({ id }) => clients.get(id).terminate(),
};

tell(0, "versions", `ws ${require("ws/package.json").version}, Node ${process.versions.node}`);
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const c = JSON.parse(line);
  commands[c.do](c);
});
