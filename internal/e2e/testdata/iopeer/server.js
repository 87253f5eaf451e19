// A Socket.IO server over WebSocket alone, whose servers are one by the streams adapter, to be measured.
//
//   node server.js <host:port> <redis URL>
//
// A client enters a room with the event `subscribe`, and is told `subscribed`. It prints `ready` when it takes clients.
"use strict";

const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-streams-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

async function main() {
  const [listen, redis] = process.argv.slice(2);
  const at = listen.lastIndexOf(":");
  const client = createClient({ url: redis });
  await client.connect();
  const http = createServer();
  const io = new Server(http, {
    adapter: createAdapter(client),
    transports: ["websocket"],
    perMessageDeflate: false,
  });
  io.on("connection", (socket) => {
    socket.on("subscribe", async (room) => {
      await socket.join(room);
      socket.emit("subscribed", room);
    });
  });
  http.listen(Number(listen.slice(at + 1)), listen.slice(0, at), () => console.log("ready"));
  process.on("SIGTERM", () => process.exit(0));
}

main();
