// A token is shown once: on the card that the POST itself answers with, and nowhere after it.

import { expect } from './report.mjs';

async function create(visitor, name = 'Shop') {
  await visitor.go('/');
  await visitor.field('Name').fill(name);
  await visitor.button('Create').click();
  await visitor.page.locator('#secret').waitFor();
}

async function tokens(server) {
  const { workspaces } = await server.command('workspace', 'list');
  const lists = await Promise.all(workspaces.map(({ id }) => server.command('token', 'list', '--workspace', id)));
  return lists.flatMap((list) => list.tokens);
}

export const checks = {
  async 'the card shows the token, its export line and every client, and lets go on only when it was saved'(world) {
    const { ada } = await world.administrator();
    await create(ada);
    const secret = await ada.secret();
    const line = await ada.page.locator('#export').inputValue();
    expect(line.startsWith('export WORKSPACE_TOKEN_') && line.includes(secret), 'the export line sets the variable');
    const clients = await ada.page.locator('#client option').allTextContents();
    expect(clients.length === 7, 'seven clients can be picked', clients);
    for (const value of ['codex', 'vscode', 'claude-code']) {
      await ada.page.locator('#client').selectOption(value);
      const shown = ada.page.locator('[data-pick]:visible');
      expect(await shown.count() === 1, `one of them is shown, ${value}`);
      expect(!(await shown.innerText()).includes(secret), 'a file that is committed holds no secret');
    }
    const onward = ada.page.locator('#onward');
    expect(await onward.evaluate((way) => way.inert), 'the way on is closed');
    const looks = () => onward.locator('.primary').evaluate((way) => getComputedStyle(way).borderTopStyle);
    expect(await looks() === 'dashed', 'the way on looks closed', await looks());
    await ada.sees('Tick the box first');
    await ada.page.locator('[data-gate]').check();
    expect(!(await onward.evaluate((way) => way.inert)), 'the way on is open');
    expect(await looks() === 'solid', 'the way on looks open', await looks());
    expect(!(await ada.page.getByText('Tick the box first').isVisible()), 'nothing is left to be ticked');
  },

  async 'the way on leads to the token that was made, among others'(world) {
    const { server, cookie, ada } = await world.administrator();
    const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
    await ada.go(`/w/${made.workspace.id}/tokens`);
    for (const name of ['laptop', 'zebra']) {
      await ada.go(`/w/${made.workspace.id}/tokens`);
      await ada.field('Name').fill(name);
      await ada.button('Create token').click();
      await ada.page.locator('[data-gate]').check();
      await ada.link('Wait for the first connection').click();
      await ada.sees(`Waiting for the first connection with ${name}`);
    }
    const client = await world.wireClient(made.mcp_url, made.secret, 'codex-mcp-client', '1.0');
    await client.call('getWorkspace');
    await ada.sees('Waiting for the first connection with zebra');
    await ada.page.locator('select[name=slot]').selectOption('primary');
    await ada.button('Use this one').click();
    await ada.sees('Codex 1.0 connected');
  },

  async 'the export line is copied, or selected where the browser lets nobody copy'(world) {
    const { server, cookie, ada } = await world.administrator({ permissions: ['clipboard-read', 'clipboard-write'] });
    await create(ada);
    const line = await ada.page.locator('#export').inputValue();
    await ada.button('Copy export line').click();
    await ada.sees('Copied.');
    expect(await ada.page.evaluate(() => navigator.clipboard.readText()) === line, 'the line is in the clipboard');
    const other = await world.visitor(server, { cookie });
    await other.page.addInitScript(() => { delete Navigator.prototype.clipboard; });
    await create(other, 'Other');
    await other.button('Copy export line').click();
    await other.sees('Selected: press Ctrl+C');
    const selected = await other.page.evaluate(() => {
      const field = document.activeElement;
      return field.id === 'export' && field.selectionEnd - field.selectionStart === field.value.length;
    });
    expect(selected, 'the line is selected for the hand');
  },

  async 'after the card, nothing that the browser keeps holds the token'(world) {
    const { ada } = await world.administrator();
    await create(ada);
    const secret = await ada.secret();
    expect(!ada.page.url().includes(secret), 'the address does not hold it');
    await ada.page.locator('[data-gate]').check();
    await ada.page.getByRole('link', { name: 'Workspaces' }).first().click();
    await ada.sees('New workspace');
    await ada.holdsNowhere(secret);
  },

  async '"back" to the card shows no token'(world) {
    const { ada } = await world.administrator();
    ada.provokes(409);
    await create(ada);
    const secret = await ada.secret();
    await ada.go('/settings');
    // A page that was the answer to a form cannot be shown again: the browser says so, or the server does.
    await ada.page.goBack().catch(() => {});
    await ada.page.waitForTimeout(500);
    await ada.holdsNowhere(secret);
    await ada.page.goForward().catch(() => {});
    await ada.holdsNowhere(secret);
  },

  async 'a reload mints nothing more, and a double click shows what it has made'(world) {
    const { server, ada } = await world.administrator();
    ada.provokes(409);
    await create(ada);
    const secret = await ada.secret();
    expect((await tokens(server)).length === 1, 'one token was made');
    await ada.page.reload();
    await ada.sees('this form was sent before');
    await ada.holdsNowhere(secret);
    expect((await tokens(server)).length === 1, 'the repetition made none');
    await ada.go('/');
    await ada.field('Name').fill('Twice');
    await ada.button('Create').dblclick({ noWaitAfter: true });
    await ada.page.locator('#secret').waitFor();
    const { workspaces } = await server.command('workspace', 'list');
    expect(workspaces.length === 2 && (await tokens(server)).length === 2, 'a double click makes one workspace', workspaces);
  },

  async 'what the server answers with may be kept by nobody'(world) {
    const { ada } = await world.administrator();
    await ada.go('/');
    await ada.field('Name').fill('Shop');
    const [answer] = await Promise.all([
      ada.page.waitForResponse((response) => response.request().method() === 'POST'),
      ada.button('Create').click(),
    ]);
    expect(answer.headers()['cache-control'] === 'no-store', 'the card is no-store', answer.headers());
    expect(/default-src 'none'/.test(answer.headers()['content-security-policy']), 'the card has the policy');
  },
};
