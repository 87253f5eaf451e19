// An application that answers Ringside's gRPC calls, and counts them. Usage: node app.js rpc.proto [host:port]
//
// It prints the port that it listens on, and then a line of JSON for every call. Who comes with the cookie user=<name> is let in.
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [file, address] = [process.argv[2], process.argv[3] || "127.0.0.1:0"];
const { anycable } = grpc.loadPackageDefinition(
  loader.loadSync(file, { keepCase: true, enums: String, defaults: true, arrays: true, objects: true }),
);

// chat answers as a channel of Rails does that follows chat:<room>: AnyCable's library confirms by a transmission, and keeps what a
// channel remembers in istate.
const chat = (r, params, answer) => {
  const id = r.identifier;
  const n = Number(r.env.istate.n || 0) + 1;
  if (params.room === "secret") {
    answer(null, { status: "FAILURE", error_msg: "no", transmissions: [JSON.stringify({ type: "reject_subscription", identifier: id })] });
  } else if (r.command === "subscribe") {
    answer(null, {
      status: "SUCCESS",
      streams: [`chat:${params.room}`],
      transmissions: [JSON.stringify({ type: "confirm_subscription", identifier: id })],
      env: { istate: { room: String(params.room) } },
    });
  } else if (r.command === "message") {
    const data = JSON.parse(r.data);
    answer(null, {
      status: "SUCCESS",
      transmissions: [JSON.stringify({ identifier: id, message: { said: data.text, n, room: r.env.istate.room } })],
      stop_streams: data.action === "move",
      streams: data.action === "move" ? [`chat:${data.text}`] : [],
      env: { istate: { n: String(n) } },
    });
  } else {
    answer(null, { status: "SUCCESS", stop_streams: true });
  }
};

const paramsOf = (identifier) => {
  try {
    return JSON.parse(identifier);
  } catch {
    return {};
  }
};

const tell = (o) => process.stdout.write(JSON.stringify(o) + "\n");
const sid = (call) => (call.metadata.get("sid")[0] || "").toString();

const server = new grpc.Server();
server.addService(anycable.RPC.service, {
  Connect(call, answer) {
    const env = call.request.env;
    const user = /(?:^|;\s*)user=(\w+)/.exec(env.headers.cookie || "");
    tell({ call: "connect", sid: sid(call), url: env.url, headers: env.headers, user: user && user[1] });
    if (!user) {
      answer(null, { status: "FAILURE", error_msg: "who are you?", transmissions: ['{"type":"disconnect","reason":"unauthorized"}'] });
      return;
    }
    answer(null, {
      status: "SUCCESS",
      identifiers: JSON.stringify({ user: user[1] }),
      transmissions: ['{"type":"welcome"}'],
      env: { cstate: { seen: "1" } },
    });
  },
  Command(call, answer) {
    const r = call.request;
    tell({ call: "command", sid: sid(call), command: r.command, identifier: r.identifier, data: r.data, identifiers: r.connection_identifiers, cstate: r.env.cstate });
    const params = paramsOf(r.identifier);
    if (params.channel === "ChatChannel") {
      chat(r, params, answer);
      return;
    }
    if (r.data === "go away") {
      answer(null, { status: "SUCCESS", disconnect: true, transmissions: ['"bye"'] });
      return;
    }
    if (r.data === "no" || r.identifier.includes("secret")) {
      answer(null, { status: "FAILURE", error_msg: "no" });
      return;
    }
    answer(null, {
      status: "SUCCESS",
      transmissions: [JSON.stringify({ said: r.data })],
      streams: r.data === "follow" ? ["app-stream"] : [],
      env: { cstate: { seen: String(Number(r.env.cstate.seen || 0) + 1) } },
    });
  },
  Disconnect(call, answer) {
    const r = call.request;
    tell({ call: "disconnect", sid: sid(call), identifiers: r.identifiers, subscriptions: r.subscriptions, cstate: r.env.cstate });
    answer(null, { status: "SUCCESS" });
  },
});

server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (err, port) => {
  if (err) {
    process.stderr.write(String(err) + "\n");
    process.exit(1);
  }
  tell({ call: "listening", port });
});
