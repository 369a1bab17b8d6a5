// Journey C: ending a token by typing its name, and a token that leaked.

import * as hand from './hands.mjs';
import { expect } from './report.mjs';

async function revoke(world, { fill, press, follow, choose }) {
  const client = world.pythonClient();
  const { server, cookie, ada } = await world.administrator();
  const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
  await client.connect(made.mcp_url, made.secret);
  await client.call('getWorkspace');
  await ada.go(`/w/${made.workspace.id}/tokens`);
  await follow(ada, ada.link('Revoke primary'));
  await ada.sees('1 live connection');
  const name = ada.page.getByLabel(/^Type primary/);
  expect(await ada.button('Revoke').isDisabled(), 'the button waits for the name');
  await choose(ada, ada.page.getByLabel('Why?'), 'lost-device');
  await fill(ada, name, 'primar');
  expect(await ada.button('Revoke').isDisabled(), 'a part of the name is not enough');
  await fill(ada, name, 'primary');
  await press(ada, ada.button('Revoke'));
  await ada.sees('The token was revoked.');
  await ada.sees('There is no live token');
  expect(await client.refused('getWorkspace'), 'the client is locked out');
  await press(ada, ada.page.locator('summary', { hasText: '1 revoked' }));
  await follow(ada, ada.link('primary'));
  await ada.sees('a device was lost');
}

async function leak(world, { press, mark, follow }) {
  const [mine, thief] = [world.pythonClient(), world.pythonClient()];
  const { server, cookie, ada } = await world.administrator();
  const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
  await thief.connect(made.mcp_url, made.secret);
  await ada.go(`/w/${made.workspace.id}/tokens`);
  await follow(ada, ada.link('Regenerate MCP Token primary'));
  await mark(ada, ada.page.getByLabel('it was committed'));
  await press(ada, ada.button('Regenerate MCP Token'));
  await ada.page.locator('#secret').waitFor();
  const secret = await ada.secret();
  expect(await thief.refused('getWorkspace'), 'who found the old one is locked out');
  await mine.connect(made.mcp_url, secret);
  await mark(ada, ada.page.locator('[data-gate]'));
  await follow(ada, ada.link('To the tokens'));
  await ada.sees('Old tokens that are still tried');
  await follow(ada, ada.link('primary'));
  await ada.sees('it was committed');
}

export const checks = {
  'revoke by typing the name': (world) => revoke(world, hand.mouse),
  'revoke with the keyboard alone': (world) => revoke(world, hand.keyboard),
  'a leaked token is regenerated, and the reason kept': (world) => leak(world, hand.mouse),
  'a leaked token, with the keyboard alone': (world) => leak(world, hand.keyboard),

  async 'a wrong name revokes nothing, also when the script is told to be quiet'(world) {
    const { server, cookie, ada } = await world.administrator({ javaScriptEnabled: false });
    const { workspace } = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
    await ada.go(`/w/${workspace.id}/tokens/primary/revoke`);
    await ada.page.getByLabel(/^Type primary/).fill('secondary');
    await ada.button('Revoke').click();
    await ada.page.getByRole('alert').waitFor();
    const { tokens } = await server.command('token', 'list', '--workspace', workspace.id);
    expect(tokens[0].state === 'active', 'the token is there as before', tokens);
  },
};
