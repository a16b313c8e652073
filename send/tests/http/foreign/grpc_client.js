// grpc-js as a caller: node grpc_client.js ADDRESS. Prints what it saw as JSON.
'use strict';
const { randomBytes } = require('node:crypto');
const { Client, Metadata, credentials } = require('@grpc/grpc-js');

const client = new Client(process.argv[2], credentials.createInsecure(), { 'grpc.max_receive_message_length': 16 << 20 });
const same = (bytes) => bytes;
const path = (name) => `/test.Echo/${name}`;
const soon = (ms = 10_000) => ({ deadline: Date.now() + ms });
const text = (bytes) => (bytes.length < 200 ? bytes.toString('latin1') : `${bytes.length} bytes`);

function metadata(from) {
  const pairs = Object.keys(from?.getMap() ?? {}).filter((name) => name.startsWith('x-'));
  return pairs.sort().map((name) => [name, from.get(name).map((value) => (Buffer.isBuffer(value) ? value.toString('hex') : value))]);
}

// Everything that a call shows, as a promise.
function watch(call, answered) {
  return new Promise((resolve) => {
    const shown = { messages: [] };
    call.on('metadata', (first) => { shown.first = metadata(first); });
    call.on('data', (message) => shown.messages.push(text(message)));
    call.on('error', () => {});
    call.on('status', (status) => setImmediate(() => resolve({ ...shown, ...answered, code: status.code, details: status.details, last: metadata(status.metadata) })));
  });
}

function unary(name, message, options = soon(), sent = new Metadata()) {
  const answered = {};
  const call = client.makeUnaryRequest(path(name), same, same, message, sent, options, (_, answer) => {
    answered.answer = answer && text(answer);
  });
  return watch(call, answered);
}

async function withMetadata() {
  const sent = new Metadata();
  sent.add('x-text', 'a b');
  sent.add('x-two', '1');
  sent.add('x-two', '2');
  sent.add('x-raw-bin', Buffer.from([0, 13, 10, 255]));
  return unary('Unary', Buffer.from('hello '), soon(), sent);
}

function clientStream() {
  const answered = {};
  const call = client.makeClientStreamRequest(path('ClientStream'), same, same, new Metadata(), soon(), (_, answer) => {
    answered.answer = answer && text(answer);
  });
  for (const part of ['a', '', 'ccc']) call.write(Buffer.from(part));
  call.end();
  return watch(call, answered);
}

const serverStream = (name, message) => watch(client.makeServerStreamRequest(path(name), same, same, Buffer.from(message), new Metadata(), soon()));

function bidi() {
  const call = client.makeBidiStreamRequest(path('Bidi'), same, same, new Metadata(), soon());
  let left = 5;
  const next = () => (left-- > 0 ? call.write(Buffer.from(`message ${left}`)) : call.end());
  call.on('data', next);
  next();
  return watch(call);
}

async function leave(options, cancel) {
  const name = randomBytes(16);
  const call = client.makeServerStreamRequest(path('Hang'), same, same, name, new Metadata(), options);
  if (cancel) call.once('data', () => call.cancel());
  const shown = await watch(call);
  return [shown.messages, shown.code, (await unary('WasLeft', name)).answer];
}

const CASES = {
  unary: withMetadata,
  'unary, 5 MiB': () => unary('Unary', Buffer.alloc(5 << 20)),
  'empty message': () => unary('Unary', Buffer.alloc(0)),
  'client streaming': clientStream,
  'server streaming': () => serverStream('ServerStream', '100'),
  'bidirectional streaming': bidi,
  'trailers only': () => unary('Fail', Buffer.alloc(0)),
  'error after a message': () => serverStream('FailLater', ''),
  'unknown method': () => unary('Nothing', Buffer.alloc(0)),
  cancellation: () => leave(soon(30_000), true),
  deadline: () => leave(soon(500), false),
};

(async () => {
  const results = {};
  for (const [name, run] of Object.entries(CASES)) results[name] = await run();
  console.log(JSON.stringify(results));
  process.exit(0);
})();
