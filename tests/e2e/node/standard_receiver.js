'use strict';
// A receiver that verifies with the libraries of Standard Webhooks and of Svix.
//   node standard_receiver.js
// Takes a line of JSON on its standard input for each secret, {"path", "secret"}, and with
// "format": "raw" for a secret that the libraries get as bytes; answers that line with
// {"knows": path}. Otherwise it prints the lines of express_receiver.js, each request with
// `verified`: each library's result, true or its error.

const http = require('node:http');
const readline = require('node:readline');
const standardwebhooks = require('standardwebhooks');
const svix = require('svix');
const { observe, listen, print } = require('./observing.js');

const libraries = { standardwebhooks, svix };
const secrets = new Map();

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { path, secret, format } = JSON.parse(line);
  secrets.set(path, { secret, options: format && { format } });
  print({ knows: path });
});

function verdict(library, { secret, options }, body, headers) {
  try {
    new library.Webhook(secret, options).verify(body, headers);
    return true;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

const server = http.createServer((req, res) => {
  observe(req, res, () => {
    req.on('end', () => {
      const known = secrets.get(req.url);
      res.verified = {};
      for (const [name, library] of Object.entries(libraries)) {
        res.verified[name] = known
          ? verdict(library, known, Buffer.concat(res.chunks).toString('utf8'), req.headers)
          : 'no secret for this path';
      }
      const fine = Object.values(res.verified).every((one) => one === true);
      res.writeHead(fine ? 204 : 401).end();
    });
  });
});

listen(server);
