// The one-time setup link: whoever opens it first makes the first account.

import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';

async function fillSetup(visitor, link, name) {
  await visitor.page.goto(link);
  await visitor.field('Your name').fill(name);
  await visitor.page.locator('input[type=password]').fill(PASSWORD);
}

export const checks = {
  async 'the link fills itself in, leaves the address, and makes the first account'(world) {
    const server = await world.server();
    const link = await server.setupLink();
    const ada = await world.visitor(server);
    await fillSetup(ada, link, 'Ada');
    expect(ada.page.url() === `${server.url}/setup`, 'the link has left the address', ada.page.url().split('#')[0]);
    await ada.button('Make the account').click();
    await ada.sees('You have no workspace yet.');
    expect(ada.path() === '/', 'the account leads to the workspaces', ada.path());
    await ada.holdsNowhere(`x.x.${link.split('#')[1]}`);
    expect(await ada.link('Server').isVisible(), 'the first person administers the server');
  },

  async 'of two browsers that race to claim the link, exactly one wins'(world) {
    const server = await world.server();
    const link = await server.setupLink();
    const racers = await Promise.all(['Ada', 'Eve'].map(() => world.visitor(server)));
    for (const racer of racers) racer.provokes(400, 403, 404, 409, 410);
    await Promise.all(racers.map((racer, number) => fillSetup(racer, link, ['Ada', 'Eve'][number])));
    await Promise.all(racers.map(async (racer) => {
      await racer.button('Make the account').click();
      await racer.page.waitForLoadState();
    }));
    const winners = racers.filter((racer) => racer.path() === '/');
    expect(winners.length === 1, 'one is let in', racers.map((racer) => racer.path()));
    const loser = racers.find((racer) => racer.path() !== '/');
    expect(await loser.page.getByRole('alert').isVisible(), 'the other is told why not');
    expect((await server.command('user', 'list')).users.length === 1, 'there is one account');
    await loser.go('/');
    expect(loser.path().startsWith('/login'), 'the other is led to the login', loser.path());
  },

  async 'a link of somebody else\'s making is refused, and says where to get one that holds'(world) {
    const server = await world.server();
    const eve = (await world.visitor(server)).provokes(400, 401, 403, 404, 409, 410);
    await fillSetup(eve, `${server.url}/setup#${'A'.repeat(43)}`, 'Eve');
    await eve.button('Make the account').click();
    await eve.sees('wst setup-link', eve.page.getByRole('alert'));
    expect(eve.path() === '/setup', 'nobody is let in', eve.path());
  },

  async 'a link that is not whole says so at once, and leaves its field to be filled'(world) {
    const server = await world.server();
    const ada = await world.visitor(server);
    for (const [path, field] of [['/setup', 'Setup link'], ['/join', 'Your link']]) {
      for (const broken of ['garbage', 'A'.repeat(42), 'A'.repeat(44)]) {
        await ada.page.goto('about:blank');
        await ada.page.goto(`${server.url}${path}#${broken}`);
        await ada.sees('This link is not whole', ada.page.getByRole('alert'));
        expect(await ada.page.getByLabel(new RegExp(`^${field}`)).isVisible(), `${path} has a field for the link`);
        expect(ada.page.url() === `${server.url}${path}`, 'what was wrong has left the address');
      }
    }
  },

  async 'after the first account was made, its page leads to the login'(world) {
    const { server } = await world.administrator();
    const eve = await world.visitor(server);
    await eve.go('/setup');
    await eve.link('Log in').click();
    await eve.page.waitForURL('**/login');
  },
};
