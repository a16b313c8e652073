// An origin that says what it saw: node origin.js h1|h2c
// Prints its port as its only line. Each path below is a behaviour; all others answer with the request.
'use strict';
const http = require('node:http');
const http2 = require('node:http2');
const { createHash } = require('node:crypto');
const { EventEmitter, once } = require('node:events');

const DATA = Buffer.alloc(300_000, 'the same bytes for everybody. ');
const EVENTS = 5;

// What one request waits for and another one brings, by name.
const signals = new EventEmitter();
const given = new Set();
const signal = (name) => { given.add(name); signals.emit(name); };
const signalled = async (name) => { if (!given.delete(name)) { await once(signals, name); given.delete(name); } };

const behaviours = {
  '/data': (request, response) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    response.setHeader('accept-ranges', 'bytes');
    response.setHeader('etag', '"data"');
    if (request.headers['if-none-match'] === '"data"') return response.writeHead(304).end();
    const [from, to] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, DATA.length];
    if (range) response.setHeader('content-range', `bytes ${from}-${to - 1}/${DATA.length}`);
    response.setHeader('content-length', to - from);
    response.writeHead(range ? 206 : 200).end(request.method === 'HEAD' ? undefined : DATA.subarray(from, to));
  },
  '/none': (_, response) => response.writeHead(204).end(),
  '/trailers': (request, response) => {
    if (request.httpVersion !== '1.0') {
      response.setHeader('trailer', 'X-Sum, X-Empty');
      response.addTrailers({ 'X-Sum': '7', 'X-Empty': '' });
    }
    response.write('one, ');
    response.write('two');
    response.end();
  },
  '/cookies': (_, response) => {
    response.setHeader('set-cookie', ['b=2; Path=/', 'a=1', 'b=3; HttpOnly']);
    response.setHeader('x-list', ['one', 'two, three']);
    response.setHeader('x-obs', 'caf\xe9 \xff');
    response.setHeader('x-nothing', '');
    whole(response, 'cookies');
  },
  '/many': (_, response) => {
    for (let i = 0; i < 150; i++) response.setHeader(`x-field-${i}`, `${i}`.repeat(20));
    response.setHeader('x-large', 'v'.repeat(8000));
    whole(response, 'many');
  },
  // Each event waits until somebody has seen the one before.
  '/events': async (_, response, query) => {
    response.setHeader('content-type', 'text/event-stream');
    for (let i = 0; i < EVENTS; i++) {
      response.write(`id: ${i}\ndata: event ${i}\n\n`);
      await signalled(`${query.get('id')} ${i}`);
    }
    response.end();
  },
  '/wait': async (_, response, query) => {
    await signalled(query.get('id'));
    whole(response, 'released');
  },
  '/signal': (_, response, query) => {
    signal(query.get('id'));
    whole(response, 'signalled');
  },
  // Answers piece by piece what comes piece by piece.
  '/mirror': async (request, response) => {
    response.writeHead(200);
    for await (const piece of request) response.write(piece);
    response.end();
  },
  '/early': (request, response) => {
    response.writeHead(413, { 'content-length': 9 }).end('too large');
    request.resume();
  },
  '/until-close': (_, response) => {
    response.useChunkedEncodingByDefault = false;
    response.shouldKeepAlive = false;
    response.write('until the ');
    response.end('connection ends');
  },
  '/hints': (_, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    whole(response, 'after hints');
  },
};

// With its length, which HTTP/2 does not add by itself.
function whole(response, text) {
  response.setHeader('content-length', text.length);
  // Node writes fields as UTF-8 where a text follows.
  response.end(Buffer.from(text));
}

async function tell(request, response) {
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of request) {
    hash.update(piece);
    length += piece.length;
  }
  const headers = pairs(request.rawHeaders);
  const authority = headers.find(([name]) => name === ':authority' || name === 'host')?.[1];
  const { 1: host, 2: target } = /^http:\/\/([^/]*)(.*)$/.exec(request.url) ?? [null, authority, request.url];
  response.setHeader('content-type', 'application/json');
  // In chunks: the length changes with what a proxy adds.
  response.write(JSON.stringify({
    method: request.method, target, host,
    headers: headers.filter(([name]) => !name.startsWith(':') && name !== 'host'),
    body: `${length} ${hash.digest('hex')}`,
    trailers: pairs(request.rawTrailers ?? []),
  }));
  response.end();
}

function pairs(raw) {
  const found = [];
  for (let i = 0; i < raw.length; i += 2) found.push([raw[i].toLowerCase(), raw[i + 1]]);
  return found;
}

function serve(request, response) {
  const [path, query] = request.url.split('?');
  const answered = (behaviours[path] ?? tell)(request, response, new URLSearchParams(query));
  Promise.resolve(answered).catch(() => response.destroy());
}

const limits = { maxHeaderSize: 128 * 1024 };
const server = process.argv[2] === 'h2c'
  ? http2.createServer({ settings: { maxHeaderListSize: 128 * 1024 } }, serve)
  : http.createServer(limits, serve);
server.maxHeadersCount = 0;
// Asks for a body only where it is read.
server.on('checkContinue', (request, response) => {
  if (request.url !== '/early') response.writeContinue();
  serve(request, response);
});
server.on('upgrade', (request, socket) => {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\nX-Origin: a\r\n\r\n`);
  socket.pipe(socket).on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
