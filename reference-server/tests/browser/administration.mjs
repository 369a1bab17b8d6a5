// The server's own pages and a workspace's settings: users, keys, the audit lists, archiving, deleting, handing over.

import { copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';

import * as hand from './hands.mjs';
import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';

async function shop(world, options) {
  const { server, cookie, ada } = await world.administrator(options);
  const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
  return { server, cookie, ada, made, id: made.workspace.id };
}

async function download(visitor, link) {
  const [file] = await Promise.all([visitor.page.waitForEvent('download'), visitor.link(link).click()]);
  return readFileSync(await file.path(), 'utf8');
}

export const checks = {
  async 'a user is added with a link that is shown once, joins, and is locked out'(world) {
    const { server, ada } = await world.administrator();
    await ada.go('/admin');
    await ada.field('Name').fill('Ben');
    await ada.button('Add').click();
    const link = await ada.page.locator('#link').inputValue();
    const ben = (await world.visitor(server)).provokes(401);
    await ben.page.goto(link);
    await ben.sees('You will log in as Ben.');
    await ben.page.locator('input[type=password]').fill(PASSWORD);
    await ben.button('Log in').click();
    await ben.sees('You have no workspace yet.');
    await ada.link('To the users').click();
    await ada.holdsNowhere(`x.x.${link.split('#')[1]}`);
    await ada.ask('Lock out Ben');
    await ada.button('Lock out Ben').click();
    await ada.sees('locked out');
    await ben.page.waitForURL('**/login*');
    await ben.logIn('Ben', PASSWORD);
    await ben.page.getByRole('alert').waitFor();
  },

  async 'the server is nobody else\'s'(world) {
    const { server } = await world.administrator();
    const ben = (await world.visitor(server, { cookie: await server.person('Ben') })).provokes(403, 404);
    for (const path of ['/admin', '/admin/audit', '/admin/health', '/admin/keys']) {
      const status = await ben.go(path);
      expect(status === 403 || status === 404, `${path} is not shown to Ben`, status);
    }
  },

  async 'new keys are added, tokens sealed with them and old keys taken out while a client goes on'(world) {
    const { ada, made } = await shop(world);
    const client = await world.wireClient(made.mcp_url, made.secret);
    await ada.go('/admin/keys');
    const keys = ada.page.locator('#keys > li');
    const before = await keys.count();
    await ada.button('Add new primary keys').click();
    await keys.nth(before).waitFor();
    await ada.button('Seal all tokens with the primary').click();
    const out = ada.page.getByRole('button', { name: /^Retire the sealing key/ });
    await out.waitFor();
    await out.click();
    await ada.page.waitForLoadState();
    expect((await client.call('getWorkspace')).startsWith('Workspace:'), 'the client goes on');
    await ada.go('/admin/health');
    await ada.sees('What it runs with');
  },

  async 'a backup is downloaded, restored elsewhere, and opens with the key file alone'(world) {
    const { server, ada, made } = await shop(world, { acceptDownloads: true });
    await ada.go('/admin/health');
    await ada.sees('The keys are not in it.');
    const [file] = await Promise.all([ada.page.waitForEvent('download'), ada.button('Download a backup').click()]);
    expect(/^wst-\d{4}-\d\d-\d\d\.wst$/.test(file.suggestedFilename()), 'it is called after the day', file.suggestedFilename());
    const kept = world.path('backup.wst');
    await file.saveAs(kept);
    expect(!readdirSync(server.dataDir).some((name) => name.includes('download')), 'nothing stays on the server');
    await ada.go('/admin/audit');
    await ada.sees('backup.download');
    const other = world.idleServer();
    await other.text(['restore', kept]).then(
      () => expect(false, 'it is refused without its keys'),
      (error) => expect(/key/.test(error.message), 'it is refused without its keys', error.message),
    );
    mkdirSync(other.dataDir, { recursive: true, mode: 0o700 });
    copyFileSync(`${server.dataDir}/workspaces.keys`, `${other.dataDir}/workspaces.keys`);
    ada.losesTheServer();
    await server.stop();
    await other.text(['restore', kept, '--keep-tokens']);
    await other.start();
    const client = await world.wireClient(made.mcp_url.replace(server.url, other.url), made.secret);
    expect((await client.call('getWorkspace')).includes('Shop'), 'the workspace is there, and its token opens it');
  },

  async 'the audit list hears of what happens, is filtered, and is exported without a secret'(world) {
    const { server, cookie, ada, made, id } = await shop(world, { acceptDownloads: true });
    await ada.go(`/w/${id}/audit`);
    await server.api(cookie, 'POST', `/workspaces/${id}/tokens`, { name: 'laptop' });
    await ada.sees('laptop', ada.page.locator('#audit'));
    const [lines, table] = [await download(ada, 'Export as JSON Lines'), await download(ada, 'Export as CSV')];
    const actions = lines.trim().split('\n').map((line) => JSON.parse(line).action);
    expect(actions.includes('token.create'), 'each line is an entry', actions);
    expect(table.split('\n').length > actions.length, 'the table has a head and a line for each', table);
    expect(![lines, table].some((text) => text.includes(made.secret.slice(60))), 'no secret is in it');
    await ada.page.getByLabel('What').selectOption({ index: 1 });
    await ada.button('Show').click();
    await ada.page.waitForLoadState();
    expect(new URL(ada.page.url()).searchParams.get('area'), 'the filter stands in the address');
  },

  async 'a workspace is renamed for everybody who looks, archived, taken back, and deleted by its name'(world) {
    const { server, cookie, ada, made, id } = await shop(world);
    const other = await world.visitor(server, { cookie });
    const client = await world.wireClient(made.mcp_url, made.secret);
    await other.go('/');
    await ada.go(`/w/${id}/settings`);
    await ada.field('Name').fill('Web shop');
    await ada.page.getByLabel(/^What it is for/).fill('Sell things.');
    await ada.button('Save').click();
    await other.sees('Web shop');
    expect((await client.call('getWorkspace')).includes('Sell things.'), 'agents read what it is for');
    const archive = ada.button('Archive');
    expect(await archive.isDisabled(), 'the button waits for the name');
    await ada.page.getByLabel(/^Type its name/).fill('Web shop');
    await archive.click();
    await other.sees('1 archived');
    expect((await client.post({ id: 1, method: 'tools/list' })).status === 401, 'its tokens have ended');
    await ada.go(`/w/${id}/settings`);
    const remove = ada.button('Delete for good');
    expect(await remove.isDisabled(), 'the button waits for the name');
    await hand.keyboard.fill(ada, ada.page.getByLabel(/^Type its name/), 'Web shop');
    await hand.keyboard.press(ada, remove);
    await ada.sees('The workspace was deleted.');
    await ada.sees('You have no workspace yet.');
  },

  async 'a workspace is handed over: every token is regenerated and shown to the new owner, once'(world) {
    const { server, cookie, ada, made, id } = await shop(world);
    const ben = await world.visitor(server, { cookie: await server.person('Ben') });
    await server.api(cookie, 'POST', `/workspaces/${id}/members`, { user: 'Ben', role: 'member' });
    const client = await world.wireClient(made.mcp_url, made.secret);
    await ben.go(`/w/${id}/board`);
    await ada.go(`/w/${id}/settings`);
    await ada.button('Offer').click();
    await ada.sees('Offered to Ben');
    await ben.sees('Ada wants to hand this workspace over to you');
    await ben.go('/');
    await ben.link('Ada wants to hand it over to you').click();
    await ben.button('Accept').click();
    await ben.sees('The workspace is yours');
    const line = await ben.page.locator('#export-primary').inputValue();
    const secret = line.split("'")[1];
    expect(secret !== made.secret, 'the token is a new one');
    expect((await client.post({ id: 1, method: 'tools/list' })).status === 401, 'the old one is dead');
    await world.wireClient(made.mcp_url, secret);
    await ben.page.locator('[data-gate]').check();
    await ben.link('To the tokens').click();
    await ben.sees('generation 2');
    await ben.holdsNowhere(secret);
  },
};
