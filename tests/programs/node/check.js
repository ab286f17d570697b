// Clients of node for server.js. check.js HOST PORT_OF_HTTP PORT_OF_HTTP2

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

const [host, first, second] = process.argv.slice(2);

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function send(agent, body, headers = {}) {
  const request = http.request({ host, port: first, method: 'POST', path: '/echo', agent, headers });
  request.end(body);
  const [response] = await once(request, 'response');
  const received = await collect(response);
  assert.deepEqual(received, body);
  assert.equal(response.trailers['x-length'], String(body.length));
  assert.ok(response.rawHeaders.includes('X-MiXeD'), String(response.rawHeaders));
}

async function withHttp() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  const bodies = Array.from({ length: 100 }, (_, number) => crypto.randomBytes(number * 1000 + 1));
  await Promise.all(bodies.map((body) => send(agent, body, { TE: 'trailers', Connection: 'keep-alive, TE' })));

  const hints = http.get({ host, port: first, path: '/hints', agent });
  const [response] = await once(hints, 'response');
  assert.equal(String(await collect(response)), 'hinted');

  // The body waits for 100 Continue.
  const patient = http.request({ host, port: first, method: 'PUT', agent, headers: { Expect: '100-continue' } });
  patient.flushHeaders();
  await once(patient, 'continue');
  patient.end('patient');
  const [answer] = await once(patient, 'response');
  assert.equal(String(await collect(answer)), 'patient');
  agent.destroy();
}

async function withHttp2() {
  const session = http2.connect(`http://${host}:${second}`);
  const call = (path, options = {}) => session.request({ ':path': path, ':method': 'POST', te: 'trailers' }, options);
  const get = async (path) => String(await collect(session.request({ ':path': path })));

  const echo = async (body) => {
    const stream = call('/echo');
    let trailers;
    stream.on('trailers', (received) => { trailers = received; });
    const [headers] = await Promise.all([once(stream, 'response').then(([headers]) => headers), stream.end(body)]);
    assert.equal(headers['x-scheme'], 'http');
    assert.deepEqual(await collect(stream), body);
    assert.equal(trailers['x-trailer'], 'sent');
  };
  await Promise.all(Array.from({ length: 100 }, (_, number) => echo(crypto.randomBytes(number * 1000 + 1))));
  await echo(crypto.randomBytes(5_000_000));

  // The codes of RST_STREAM pass both ways.
  const refused = call('/refuse');
  await assert.rejects(once(refused, 'response'));
  assert.equal(refused.rstCode, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
  const before = await get('/cancelled');
  const waiting = call('/wait');
  await sleep(200);
  waiting.close(http2.constants.NGHTTP2_CANCEL);
  const end = Date.now() + 5000;
  while ((await get('/cancelled')) === before) {
    assert.ok(Date.now() < end, 'the server did not notice the cancellation');
    await sleep(20);
  }

  // A stream that nobody reads blocks no other.
  const stalled = call('/echo');
  stalled.write(crypto.randomBytes(1_000_000));
  await once(stalled, 'response');
  stalled.pause();
  for (let number = 0; number < 20; number += 1) await echo(crypto.randomBytes(10_000));
  stalled.close(http2.constants.NGHTTP2_CANCEL);
  stalled.resume();

  await new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  session.close();
  await once(session, 'close');
}

async function withWebSockets() {
  await Promise.all(Array.from({ length: 20 }, async (_, number) => {
    const socket = new WebSocket(`ws://${host}:${first}/socket`, { perMessageDeflate: number % 2 === 0 });
    await once(socket, 'open');
    for (const body of [Buffer.from(`text ${number}`), crypto.randomBytes(number * 10_000)]) {
      socket.send(body);
      const [message] = await once(socket, 'message');
      assert.deepEqual(message, body);
    }
    socket.ping();
    await once(socket, 'pong');
    socket.close(4321, 'done');
    const [code] = await once(socket, 'close');
    assert.equal(code, 4321);
  }));
}

for (const [name, run] of Object.entries({ withHttp, withHttp2, withWebSockets })) {
  try {
    await run();
  } catch (error) {
    console.error(`${name}:`, error);
    process.exit(1);
  }
}
console.log('good');
process.exit(0);
