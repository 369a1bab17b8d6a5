// A person's browser window: goes to pages, and takes down whatever a page does that it should not.

import { expect } from './report.mjs';

const PATIENCE_MS = 20_000;

export class Visitor {
  /** What pages did that they should not: complaints of the browser, forbidden requests, errors of scripts. */
  problems = [];
  /** All that was written to the console. */
  console = [];
  /** Statuses that this check provokes, which the browser then complains about. */
  expected = [];
  /** What this check makes the browser complain about, otherwise. */
  tolerated = [];

  constructor(context, origin) {
    this.context = context;
    this.origin = origin;
    context.setDefaultTimeout(PATIENCE_MS);
    context.setDefaultNavigationTimeout(PATIENCE_MS);
  }

  async open() {
    await this.context.exposeBinding('tellViolation', (_, what) => this.problems.push(`violates the CSP: ${what}`));
    await this.context.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        window.tellViolation(`${event.violatedDirective} by ${event.blockedURI || 'inline'} at ${event.sourceFile}:${event.lineNumber}`);
      }, true);
    });
    this.context.on('request', (request) => {
      const url = new URL(request.url());
      const isOwn = url.origin === this.origin || ['data:', 'blob:'].includes(url.protocol);
      if (!isOwn) this.problems.push(`asked another host: ${url.origin}`);
    });
    this.context.on('response', (response) => {
      if (response.status() >= 500) this.problems.push(`${response.status()} for ${new URL(response.url()).pathname}`);
    });
    this.context.on('weberror', (error) => this.problems.push(`error of a script: ${error.error().message}`));
    this.context.on('console', (message) => {
      this.console.push(message.text());
      if (!['error', 'warning'].includes(message.type())) return;
      const status = message.text().match(/(?:responded|failed) with (?:a )?status (?:of )?(\d+)/)?.[1];
      if (status && this.expected.includes(Number(status))) return;
      if (this.tolerated.some((what) => what.test(message.text()))) return;
      this.problems.push(`console: ${message.text()} (${message.location().url})`);
    });
    this.page = await this.context.newPage();
  }

  /** Says that answers with these statuses are what the check is after. */
  provokes(...statuses) {
    this.expected.push(...statuses);
    return this;
  }

  /**
   * Says that the server is about to be stopped: what the browser complains of then is so.
   * To be said before the stop, for the browser may complain before the process has ended.
   */
  losesTheServer() {
    this.tolerated.push(/net::ERR_|SSE|Failed to fetch|network error/i);
  }

  async go(path) {
    const answer = await this.page.goto(path);
    return answer?.status();
  }

  /** Opens another tab of the same browser. */
  async tab(path) {
    const page = await this.context.newPage();
    await page.goto(path);
    return page;
  }

  path() {
    const url = new URL(this.page.url());
    return url.pathname + url.search;
  }

  heading() {
    return this.page.locator('main h1').first().innerText();
  }

  field(label) {
    return this.page.getByLabel(label, { exact: true });
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  /** Opens the fold that says what a button does before it is there to be pressed. */
  async ask(name) {
    await this.page.getByLabel(`${name}…`, { exact: true }).click();
  }

  link(name) {
    return this.page.getByRole('link', { name, exact: true });
  }

  /** Waits until the page shows `text`, without anybody doing anything. */
  async sees(text, within = this.page.locator('body')) {
    await within.getByText(text).filter({ visible: true }).first().waitFor().catch(async () => {
      expect(false, `the page shows "${text}"`, this.path(), await this.page.locator('body').innerText(), ...this.problems);
    });
  }

  async logIn(name, password) {
    await this.field('Name').fill(name);
    await this.field('Password').fill(password);
    await this.button('Log in').click();
  }

  /** Reads the secret off the card that shows it this once. */
  async secret() {
    const secret = await this.page.locator('#secret').inputValue();
    expect(/^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(secret), 'the card shows a token');
    return secret;
  }

  /** Nothing that outlasts the card may hold the secret. */
  async holdsNowhere(secret) {
    const kept = await this.kept();
    const place = Object.entries(kept).find(([, text]) => text.includes(secret) || text.includes(secret.split('.')[2]));
    expect(!place, `the secret is nowhere, not in the ${place?.[0]}`);
  }

  async kept() {
    const session = await this.context.newCDPSession(this.page);
    const history = await session.send('Page.getNavigationHistory');
    await session.detach();
    // The browser's own page, shown where it cannot show one of ours, has no stores.
    const isOurs = this.page.url().startsWith(this.origin) && (await this.page.evaluate(() => origin !== 'null'));
    const stores = isOurs && await this.page.evaluate(async () => ({
      'local storage': JSON.stringify({ ...localStorage }),
      'session storage': JSON.stringify({ ...sessionStorage }),
      'history state': JSON.stringify(history.state),
      'fields of forms': [...document.querySelectorAll('input, textarea')].map((field) => field.value).join('\n'),
      'caches': JSON.stringify('caches' in window ? await caches.keys() : []),
    }));
    return {
      ...stores,
      'page source': await this.page.content(),
      'address': this.page.url(),
      // Without what was typed into the address bar, which is the person's own.
      'history': JSON.stringify(history.entries.map(({ url, title }) => [url, title])),
      'console': this.console.join('\n'),
      'cookies': JSON.stringify(await this.context.cookies()),
    };
  }
}
