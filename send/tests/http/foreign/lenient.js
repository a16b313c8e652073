// What node's lenient parser makes of a request, in a line of stdout: node lenient.js HOST PORT
'use strict';
const http = require('node:http');

http.createServer({ insecureHTTPParser: true, requireHostHeader: false }, async (request, response) => {
  try {
    for await (const _ of request);
  } catch {
    // The body broke off.
  }
  console.log(request.method, request.url, request.headers.host ?? '');
  response.setHeader('x-seen', request.url);
  response.end('ok');
}).listen(Number(process.argv[3]), process.argv[2]);
