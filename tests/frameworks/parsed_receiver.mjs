// The contract's receiver on the body that a framework has parsed, one framework a process.
//   WEBHOOK_SECRET=... PORT=... node parsed_receiver.mjs NAME

import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';

const HOST = '127.0.0.1';
const PATH = '/webhooks/sendcomms';
const HEADER = 'x-sendcomms-signature';
const port = Number(process.env.PORT);

function status(signature, body) {
  const mac = createHmac('sha256', process.env.WEBHOOK_SECRET).update(JSON.stringify(body));
  return signature === `sha256=${mac.digest('hex')}` ? 200 : 401;
}

async function express(...middleware) {
  const { default: make } = await import('express');
  const app = make();
  app.use(make.json(), ...middleware);
  app.post(PATH, (req, res) => res.status(status(req.headers[HEADER], req.body)).json({}));
  app.listen(port, HOST);
}

async function koa(parser) {
  const { default: Koa } = await import('koa');
  const app = new Koa();
  app.silent = true;
  app.use(parser);
  app.use((ctx) => {
    ctx.status = status(ctx.get(HEADER), ctx.request.body);
  });
  app.listen(port, HOST);
}

const receivers = {
  Express: () => express(),

  'xss-clean': async () => express((await import('xss-clean')).default()),

  'express-mongo-sanitize': async () => express((await import('express-mongo-sanitize')).default()),

  Fastify: async () => {
    const { default: Fastify } = await import('fastify');
    const app = Fastify();
    app.post(PATH, (req, reply) => reply.code(status(req.headers[HEADER], req.body)).send({}));
    await app.listen({ port, host: HOST });
  },

  'koa-bodyparser': async () => koa((await import('koa-bodyparser')).default()),

  '@koa/bodyparser': async () => koa((await import('@koa/bodyparser')).bodyParser()),

  'koa-body': async () => koa((await import('koa-body')).koaBody()),

  Hapi: async () => {
    const { default: Hapi } = await import('@hapi/hapi');
    const server = Hapi.server({ port, host: HOST });
    const handler = (req, h) => h.response({}).code(status(req.headers[HEADER], req.payload));
    server.route({ method: 'POST', path: PATH, handler });
    await server.start();
  },

  Hono: async () => {
    const { serve } = await import('@hono/node-server');
    const { Hono } = await import('hono');
    const app = new Hono();
    app.post(PATH, async (c) => c.json({}, status(c.req.header(HEADER), await c.req.json())));
    serve({ fetch: app.fetch, port, hostname: HOST });
  },

  'h3 2': async () => {
    const { H3, readBody, serve } = await import('h3');
    const app = new H3();
    app.post(PATH, async (event) => {
      event.res.status = status(event.req.headers.get(HEADER), await readBody(event));
      return {};
    });
    serve(app, { port, hostname: HOST });
  },

  'h3 1': async () => {
    const h3 = await import('h3-1');
    const app = h3.createApp().use(
      h3.eventHandler(async (event) => {
        const body = await h3.readBody(event);
        h3.setResponseStatus(event, status(h3.getHeader(event, HEADER), body));
        return {};
      }),
    );
    createServer(h3.toNodeListener(app)).listen(port, HOST);
  },

  restify: async () => {
    const { default: restify } = await import('restify');
    const server = restify.createServer();
    server.use(restify.plugins.bodyParser());
    server.post(PATH, (req, res, next) => {
      res.send(status(req.headers[HEADER], req.body), {});
      next();
    });
    server.listen(port, HOST);
  },

  // API Gateway's part is played by a server of Node's own.
  middy: async () => {
    const { default: middy } = await import('@middy/core');
    const { default: parser } = await import('@middy/http-json-body-parser');
    const handle = middy()
      .use(parser())
      .handler((event) => ({ statusCode: status(event.headers[HEADER], event.body) }));
    createServer(async (req, res) => {
      const body = Buffer.concat(await req.toArray()).toString();
      const answer = await handle({ headers: req.headers, body }, {}).catch((error) => error);
      res.writeHead(answer.statusCode ?? 500).end();
    }).listen(port, HOST);
  },
};

await receivers[process.argv[2]]();
