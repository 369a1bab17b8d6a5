// The server under test: `wst serve` on a free loopback port with a data directory of its own, and the command line.

import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_MS = 30_000;
const STOP_MS = 10_000;

/** Hands on nothing of the caller's but the search path: no tokens, no proxies. */
export const cleanEnvironment = (home, more = {}) => ({ PATH: process.env.PATH, HOME: home, LANG: 'C.UTF-8', ...more });

/** Runs a program to its end and returns its code and what it printed. */
export function run(program, words, { input = '', timeout = 60_000, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: 'pipe', timeout, killSignal: 'SIGKILL', ...options });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (said[name] += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...said }));
    child.stdin.on('error', () => {}); // it has ended without reading, which its code tells
    child.stdin.end(input);
  });
}

export class Server {
  constructor(wst, folder, options = []) {
    this.wst = wst;
    this.folder = folder;
    this.dataDir = join(folder, 'data');
    this.options = options;
    mkdirSync(folder, { recursive: true });
  }

  async start() {
    const log = join(this.folder, 'serve.log');
    const out = openSync(log, 'w');
    const words = ['serve', '--data-dir', this.dataDir, ...(this.options.includes('--listen') ? [] : ['--listen', '127.0.0.1:0']), ...this.options];
    this.child = spawn(this.wst, words, { stdio: ['ignore', out, out], env: cleanEnvironment(this.folder) });
    closeSync(out);
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
    const deadline = performance.now() + START_MS;
    while (performance.now() < deadline && this.child.exitCode === null) {
      this.url = readFileSync(log, 'utf8').match(/^listening on (http:\/\/127\.0\.0\.1:\d+)\s*$/m)?.[1];
      if (this.url) return this;
      await sleep(20);
    }
    await this.stop();
    throw new Error(`\`wst serve\` did not say that it listens:\n${readFileSync(log, 'utf8').slice(-2000)}`);
  }

  async stop() {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGTERM');
    const late = sleep(STOP_MS).then(() => this.child.kill('SIGKILL'));
    await Promise.race([this.ended, late]);
    await this.ended;
  }

  /** Runs one command and returns what it printed, as text. */
  async text(words, input) {
    const done = await run(this.wst, ['--data-dir', this.dataDir, ...words], { input, env: cleanEnvironment(this.folder) });
    if (done.code !== 0) throw new Error(`\`wst ${words.join(' ')}\` ended with ${done.code}: ${done.stderr.slice(-2000)}`);
    return done.stdout;
  }

  /** Runs one command with `--json` and returns what it printed, parsed. */
  async command(...words) {
    return JSON.parse((await this.text([...words, '--json'])) || '{}');
  }

  async setupLink() {
    return (await this.command('setup-link')).link;
  }

  /** Makes the first account without a browser and returns its cookie. */
  async administrator(name = 'Ada', password = PASSWORD) {
    const link = (await this.setupLink()).split('#')[1];
    return this.cookieOf('/setup', { link, name, password });
  }

  /** Makes another account and returns its cookie. */
  async person(name, password = PASSWORD) {
    const added = await this.command('user', 'add', name);
    return this.cookieOf('/join', { link: added.link.split('#')[1], password });
  }

  async cookieOf(path, form) {
    const body = new URLSearchParams(form);
    const answer = await fetch(this.url + path, { method: 'POST', body, redirect: 'manual', headers: { 'user-agent': AGENT } });
    const cookie = answer.headers.getSetCookie()[0]?.split(';')[0];
    if (!cookie) throw new Error(`POST ${path} was answered with ${answer.status} and no cookie`);
    const [key, value] = cookie.split('=');
    return { name: key, value, url: this.url };
  }

  /** Asks the JSON API as the person whose cookie it is. */
  async api(cookie, method, path, body) {
    const headers = { cookie: `${cookie.name}=${cookie.value}`, 'content-type': 'application/json' };
    const answer = await fetch(`${this.url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} was answered with ${answer.status}: ${text.slice(0, 500)}`);
    return text ? JSON.parse(text) : {};
  }
}

const AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

export const PASSWORD = 'correct horse battery';
