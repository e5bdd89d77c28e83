// An AdonisJS application around one file of routes, configured as its starter kit is.
//   WEBHOOK_SECRET=... PORT=... node adonis_app.mjs

import { Ignitor } from '@adonisjs/core';
import { defineConfig as bodyparser } from '@adonisjs/core/bodyparser';
import { defineConfig as hash, drivers } from '@adonisjs/core/hash';
import { defineConfig as http } from '@adonisjs/core/http';
import { defineConfig as logger } from '@adonisjs/core/logger';

const here = new URL('./', import.meta.url);
process.env.HOST = '127.0.0.1';
process.env.NODE_ENV = 'production';

async function addRoutes() {
  const { default: server } = await import('@adonisjs/core/services/server');
  const { default: router } = await import('@adonisjs/core/services/router');
  server.use([]);
  router.use([() => import('@adonisjs/core/bodyparser_middleware')]);
  await import('./receiver.mjs');
}

const types = ['application/json', 'application/vnd.api+json', 'application/csp-report'];

new Ignitor(here, { importer: (path) => import(new URL(path, here).href) })
  .tap((app) => {
    app.rcContents({
      providers: [
        () => import('@adonisjs/core/providers/app_provider'),
        () => import('@adonisjs/core/providers/hash_provider'),
      ],
      preloads: [addRoutes],
    });
    app.useConfig({
      app: { appKey: 'a key of the tests, 32 characters', http: http({}) },
      bodyparser: bodyparser({
        allowedMethods: ['POST', 'PUT', 'PATCH', 'DELETE'],
        json: { convertEmptyStringsToNull: true, types },
      }),
      hash: hash({ default: 'scrypt', list: { scrypt: drivers.scrypt({}) } }),
      logger: logger({ default: 'app', loggers: { app: { enabled: false } } }),
    });
  })
  .httpServer()
  .start();
