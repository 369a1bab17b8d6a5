// What a check has at hand: servers, people with browsers, real clients; and the end of all of them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ClaudeCode, PythonClient } from './agents.mjs';
import { chromium, plan } from './packages.mjs';
import { Skipped } from './report.mjs';
import { Server } from './server.mjs';
import { Visitor } from './visitor.mjs';
import { WireClient } from './wire.mjs';

const FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export const launch = () => chromium.launch({ executablePath: plan.chromium, args: FLAGS });

export class World {
  constructor(browser) {
    this.browser = browser;
    this.folder = mkdtempSync(join(tmpdir(), 'wst-browser-'));
    this.ends = [];
    this.visitors = [];
    this.count = 0;
  }

  /** Returns a new path in the check's own folder. */
  path(name) {
    this.count += 1;
    return join(this.folder, `${name}-${this.count}`);
  }

  async server(...options) {
    return this.idleServer(...options).start();
  }

  /** Returns a server that is not started yet. */
  idleServer(...options) {
    const server = new Server(plan.wst, this.path('server'), options);
    this.ends.push(() => server.stop());
    return server;
  }

  /** Opens a browser window of somebody who knows nothing of others; `cookie` lets them in. */
  async visitor(server, { cookie, ...options } = {}) {
    const context = await this.browser.newContext({ baseURL: server.url, reducedMotion: 'no-preference', ...options });
    this.ends.push(() => context.close());
    if (cookie) await context.addCookies([cookie]);
    const visitor = new Visitor(context, server.url);
    this.visitors.push(visitor);
    await visitor.open();
    return visitor;
  }

  /** Starts a server with its first account, and opens that person's window. */
  async administrator(options = {}) {
    const server = await this.server();
    const cookie = await server.administrator();
    return { server, cookie, ada: await this.visitor(server, { cookie, ...options }) };
  }

  pythonClient() {
    return this.client('python-mcp', (program) => new PythonClient(program, this.path('python-client')));
  }

  claudeCode() {
    return this.client('claude-code', (program) => new ClaudeCode(plan.python, program, this.path('claude-code')));
  }

  async wireClient(url, token, name = 'wire', version = '1.0') {
    const client = await new WireClient(url, token, name, version).connect();
    this.ends.push(() => client.stop());
    return client;
  }

  client(name, start) {
    const { program, skipped, failed } = plan.clients[name];
    if (skipped) throw new Skipped(skipped);
    if (failed) throw new Error(`${name} ${failed}`);
    const client = start(program);
    this.ends.push(() => client.stop());
    return client;
  }

  /** What went wrong in any window while nobody looked. */
  problems() {
    return this.visitors.flatMap((visitor) => visitor.problems);
  }

  async end() {
    for (const end of this.ends.reverse()) await end().catch((error) => console.log(`     | at the end: ${error.message}`));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
