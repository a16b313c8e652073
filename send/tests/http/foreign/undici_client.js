// undici as a caller: node undici_client.js ADDRESS. Prints what it saw as JSON.
'use strict';
const { createHash, randomUUID } = require('node:crypto');
const { Readable } = require('node:stream');
const { Client } = require('undici');

const client = new Client(`http://${process.argv[2]}`, { pipelining: 10, bodyTimeout: 10_000, headersTimeout: 10_000 });

async function seen({ statusCode, headers, body, trailers }) {
  const bytes = Buffer.from(await body.arrayBuffer());
  const short = bytes.length < 50_000 ? bytes.toString('latin1')
    : `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;
  return { status: statusCode, headers: pairs(headers), body: short, trailers: pairs(trailers) };
}

const pairs = (headers) => Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
const call = (method, path, more) => async () => seen(await client.request({ method, path, ...more }));

// All are sent before the first is answered.
async function pipelined() {
  const paths = Array.from({ length: 20 }, (_, i) => `/pipelined/${i}`);
  return Promise.all(paths.map((path) => call('GET', path)()));
}

// Allows each event only once the one before is here.
async function events() {
  const other = new Client(`http://${process.argv[2]}`);
  const id = randomUUID();
  const { body } = await client.request({ method: 'GET', path: `/events?id=${id}` });
  const got = [];
  for await (const piece of body.setEncoding('utf8')) {
    const path = `/signal?id=${id}%20${got.length}`;
    got.push(piece);
    await (await other.request({ method: 'GET', path })).body.text();
  }
  await other.close();
  return got;
}

// The reply to each piece comes before the next piece is sent.
async function mirror() {
  const got = [];
  let answered = () => {};
  async function* pieces() {
    for (let i = 0; i < 5; i++) {
      const answer = new Promise((resolve) => { answered = resolve; });
      yield `piece ${i}`;
      await answer;
    }
  }
  const { body } = await client.request({ method: 'POST', path: '/mirror', body: Readable.from(pieces()) });
  for await (const piece of body.setEncoding('utf8')) {
    got.push(piece);
    answered();
  }
  return got;
}

async function upgrade() {
  const { headers, socket } = await client.upgrade({ path: '/upgrade', protocol: 'echo' });
  const got = await new Promise((resolve) => {
    socket.once('data', (data) => resolve(`${data}`));
    socket.write('switched');
  });
  socket.destroy();
  return { headers: pairs(headers), got };
}

const CASES = {
  pipelined, events, mirror, upgrade,
  post: call('POST', '/a', { body: 'x'.repeat(1000), headers: { 'x-a': 'b' } }),
  trailers: call('GET', '/trailers'),
  cookies: call('GET', '/cookies'),
  'odd path': call('GET', '//a/%2F/..;/b?'),
  'until the end': call('GET', '/until-close'),
  head: call('HEAD', '/data'),
  data: call('GET', '/data'),
  'early hints': call('GET', '/hints'),
};

(async () => {
  const results = {};
  for (const [name, run] of Object.entries(CASES)) results[name] = await run();
  console.log(JSON.stringify(results));
  process.exit(0);
})();
