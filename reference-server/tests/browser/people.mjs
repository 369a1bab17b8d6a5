// Logging in and out, one's own settings and logins, and the members of a workspace.

import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';

export const checks = {
  async 'a wrong password is told, and the right one leads back to the page that was asked for'(world) {
    const { server } = await world.administrator();
    const somebody = (await world.visitor(server)).provokes(401);
    await somebody.go('/settings');
    expect(somebody.path() === '/login?next=%2Fsettings', 'the page asks for a login first', somebody.path());
    await somebody.logIn('Ada', 'not the password');
    await somebody.page.getByRole('alert').waitFor();
    expect(await somebody.field('Name').inputValue() === 'Ada', 'the name stays in its field');
    expect(await somebody.field('Password').inputValue() === '', 'the password does not');
    await somebody.logIn('Ada', PASSWORD);
    await somebody.sees('Your settings');
    expect(somebody.path() === '/settings', 'the login leads back', somebody.path());
  },

  async 'after logging out, neither "back" nor the old cookie shows a page'(world) {
    const { server, cookie, ada } = await world.administrator();
    await ada.go('/settings');
    await ada.button('Log out').click();
    await ada.page.waitForURL('**/login');
    await ada.page.goBack();
    await ada.page.waitForURL('**/login*');
    expect(!(await ada.page.content()).includes('Where you are logged in'), '"back" shows the login');
    const thief = await world.visitor(server, { cookie });
    await thief.go('/');
    expect(thief.path().startsWith('/login'), 'the old cookie opens nothing', thief.path());
  },

  async 'the login of another browser is ended, and its open page is led to the login'(world) {
    const { server, ada } = await world.administrator();
    const other = (await world.visitor(server)).provokes(401);
    await other.go('/login');
    await other.logIn('Ada', PASSWORD);
    await other.sees('Workspaces');
    await ada.go('/settings');
    const rows = ada.page.locator('#logins > li');
    expect(await rows.count() === 2, 'both logins are listed');
    expect(await rows.filter({ hasText: 'this one' }).count() === 1, 'one of them is this one');
    await ada.button('End').click();
    await ada.sees('The login was ended.');
    expect(await rows.count() === 1, 'one is left');
    await other.page.waitForURL('**/login*');
  },

  async 'a new password ends the other logins, and is the one that counts'(world) {
    const { server, cookie, ada } = await world.administrator();
    const other = (await world.visitor(server)).provokes(401);
    await other.go('/login');
    await other.logIn('Ada', PASSWORD);
    await other.sees('Workspaces');
    await ada.go('/settings');
    await ada.field('Old password').fill(PASSWORD);
    await ada.field('New password').fill('another good password');
    await ada.page.locator('form[action="/settings/password"]').getByRole('button').click();
    await ada.sees('Your password was changed');
    await other.page.waitForURL('**/login*');
    await other.logIn('Ada', PASSWORD);
    await other.page.getByRole('alert').waitFor();
    await other.logIn('Ada', 'another good password');
    await other.sees('New workspace');
    expect(cookie, 'the first login was there');
  },

  async 'a change of the name shows in the bar'(world) {
    const { ada } = await world.administrator();
    await ada.go('/settings');
    await ada.field('Name').fill('Ada Lovelace');
    await ada.page.locator('form[action="/settings/name"]').getByRole('button').click();
    await ada.sees('Your name was changed.');
    expect(await ada.link('Ada Lovelace').isVisible(), 'the bar has the new name');
  },

  async 'a member is added, sees no tokens, and is gone at once when removed'(world) {
    const { server, cookie, ada } = await world.administrator();
    const ben = await world.visitor(server, { cookie: await server.person('Ben') });
    const { workspace } = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
    ben.provokes(404, 403);
    await ben.go('/');
    await ben.sees('You have no workspace yet.');
    await ada.go(`/w/${workspace.id}/members`);
    await ada.page.locator('form.inline').getByLabel('Name').fill('Ben');
    await ada.button('Add').click();
    await ada.sees('The members were changed.');
    await ben.sees('Shop');
    expect(await ben.go(`/w/${workspace.id}/members`) === 200, 'a member sees the members');
    expect(await ben.link('Tokens').count() === 0, 'a member has no tab for tokens');
    await ada.ask('Remove Ben');
    expect(await ada.page.locator('#members').getByText('Ben', { exact: true }).count() === 1, 'asking changes nothing');
    await ada.button('Remove Ben').click();
    await ada.sees('They are no member any longer.');
    await ben.go('/');
    await ben.sees('You have no workspace yet.');
    expect(await ben.go(`/w/${workspace.id}/members`) === 404, 'to Ben the workspace is not there');
  },

  async 'two tabs and two people see a new member without a reload'(world) {
    const { server, cookie, ada } = await world.administrator();
    const { workspace } = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
    await server.person('Ben');
    await server.person('Cleo');
    const path = `/w/${workspace.id}/members`;
    await ada.go(path);
    const tab = await ada.tab(path);
    await ada.page.locator('form.inline').getByLabel('Name').fill('Ben');
    await ada.button('Add').click();
    await tab.locator('#members').getByText('Ben', { exact: true }).waitFor();
    await server.api(cookie, 'POST', `/workspaces/${workspace.id}/members`, { user: 'Cleo', role: 'member' });
    await tab.locator('#members').getByText('Cleo', { exact: true }).waitFor();
    await ada.sees('Cleo', ada.page.locator('#members'));
  },
};
