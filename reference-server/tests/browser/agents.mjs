// Real MCP clients, as the checks of the real clients drive them: Claude Code with a scripted model, and the Python SDK.

import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { cleanEnvironment } from './server.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ANSWER_MS = 60_000;

/** A program that is told what to do, and answers, in lines of JSON. */
class LineProgram {
  constructor(program, words, folder) {
    mkdirSync(folder, { recursive: true });
    this.log = join(folder, 'program.log');
    const log = openSync(this.log, 'w');
    this.child = spawn(program, words, { stdio: ['pipe', 'pipe', log], env: cleanEnvironment(folder), cwd: folder });
    closeSync(log);
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin.on('error', () => {}); // it went away, which the next answer tells
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  tell(command) {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  async hear(timeout = ANSWER_MS) {
    let late;
    const silence = new Promise((resolve) => (late = setTimeout(resolve, timeout, { silent: true })));
    const heard = await Promise.race([this.lines.next(), silence]);
    clearTimeout(late);
    if (heard.silent || heard.done) {
      const what = heard.silent ? `was silent for ${timeout} ms` : 'ended';
      throw new Error(`the client ${what}: ${readFileSync(this.log, 'utf8').slice(-2000)}`);
    }
    return JSON.parse(heard.value);
  }

  /** Ends it as its reader would, by the end of its input, and then for certain. */
  async stop() {
    this.child.stdin.end();
    const late = setTimeout(() => this.child.kill('SIGTERM'), 3_000);
    const later = setTimeout(() => this.child.kill('SIGKILL'), 8_000);
    await this.ended;
    clearTimeout(late);
    clearTimeout(later);
  }
}

/** The client of the Python SDK. */
export class PythonClient extends LineProgram {
  constructor(program, folder) {
    super(program, [join(HERE, '../clients/python_program.py')], folder);
  }

  async do(verb, more = {}) {
    this.tell({ do: verb, ...more });
    const answer = await this.hear();
    if ('error' in answer) throw new Error(answer.error);
    return answer.ok;
  }

  connect(url, token, mode = 'legacy') {
    return this.do('connect', { url, token, mode });
  }

  call(tool, args = {}) {
    return this.do('call', { tool, arguments: args });
  }

  /** Returns the words of the error that `call` ends with, or nothing if it works. */
  refused(tool, args = {}) {
    return this.call(tool, args).then(() => null, (error) => error.message);
  }
}

/** Claude Code, whose model follows a script; it waits before each step that says so until it is let go on. */
export class ClaudeCode extends LineProgram {
  constructor(python, program, folder) {
    super(python, [join(HERE, 'agent.py'), program], folder);
  }

  /** Runs `claude` until its script, a list of `{tool, arguments, wait}`, has ended. */
  play(url, token, script, mode = 'legacy') {
    this.tell({ url, token, script, mode });
  }

  /** Waits until the model has come to a step at which it waits, and returns what it was shown so far. */
  async reached(step) {
    const told = await this.hear();
    if (told.reached !== step) throw new Error(`Claude Code came to ${JSON.stringify(told).slice(0, 2000)}, not to step ${step}`);
    return told.shown;
  }

  goOn() {
    this.tell({ go: true });
  }

  /** Waits for the end and returns what the model was shown. */
  async finished() {
    const told = await this.hear(90_000);
    if (!('code' in told)) throw new Error(`Claude Code came to ${JSON.stringify(told).slice(0, 2000)}, not to its end`);
    return told;
  }
}
