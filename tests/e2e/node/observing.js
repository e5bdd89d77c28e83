'use strict';
// How the tests see a receiver: lines of JSON on its standard output.

const { Console } = require('node:console');

function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// Leaves standard output to `print`.
function messagesToStderr() {
  globalThis.console = new Console(process.stderr, process.stderr);
}

// Express middleware, and usable without Express: reports a request once it is answered. The bytes
// are the received ones, even if other code reads the request as well.
function observe(req, res, next) {
  res.chunks = [];
  req.on('data', (chunk) => res.chunks.push(chunk));
  res.on('finish', () => {
    print({
      path: req.url,
      status: res.statusCode,
      headers: req.headers,
      body: Buffer.concat(res.chunks).toString('base64'),
      verified: res.verified,
    });
  });
  next();
}

// Serves on any free port until standard input closes, so that no receiver outlives its test.
function listen(server) {
  const listening = server.listen(0, '127.0.0.1', () => {
    print({ port: listening.address().port });
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
}

module.exports = { listen, messagesToStderr, observe, print };
