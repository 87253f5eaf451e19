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
