// Servers of node: http with WebSockets (ws), and http2 without TLS. server.js PORT_OF_HTTP PORT_OF_HTTP2

import http from 'node:http';
import http2 from 'node:http2';
import { WebSocketServer } from 'ws';

const [first, second] = process.argv.slice(2).map(Number);

// Sends the body back, and its length as a trailer.
const server = http.createServer((request, response) => {
  if (request.url === '/hints') {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.end('hinted');
    return;
  }
  response.writeHead(200, { 'X-MiXeD': 'Kept', Trailer: 'X-Length' });
  let length = 0;
  request.on('data', (part) => {
    length += part.length;
    if (!response.write(part)) {
      request.pause();
      response.once('drain', () => request.resume());
    }
  });
  request.on('end', () => {
    response.addTrailers({ 'X-Length': String(length) });
    response.end();
  });
});
const sockets = new WebSocketServer({ server, maxPayload: 16 << 20 });
sockets.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
});

let cancelled = 0;
const second_server = http2.createServer();
second_server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  switch (headers[':path']) {
    case '/wait':
      stream.on('close', () => {
        if (stream.rstCode === http2.constants.NGHTTP2_CANCEL) cancelled += 1;
      });
      break;
    case '/cancelled':
      stream.respond({ ':status': 200 });
      stream.end(String(cancelled));
      break;
    case '/refuse':
      stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      break;
    default:
      stream.respond({ ':status': 200, 'x-scheme': headers[':scheme'] }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-trailer': 'sent' }));
      stream.pipe(stream);
  }
});
second_server.listen(second, '::', () => server.listen(first, '::'));
