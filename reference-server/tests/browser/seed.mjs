// A server as it looks after some weeks of work: people, workspaces, tokens, clients, tasks and conversations.

const PLAN = `I read the queue's code and propose this:

1. **Keep** the retry, but bound it: \`max_attempts = 5\`
2. Put what fails into a *dead letter* table
3. Tell the on-call person once an hour, not once a message

| queue | waiting | oldest |
|---|---:|---|
| mail | 12 | 3 min |
| invoices | 4,310 | **2 days** |

\`\`\`rust
let backoff = Duration::from_secs(2u64.pow(attempt.min(6)));
\`\`\`

May I go on?`;

const MISSION = `The shop that sells to people in eleven countries.

- Ask before you change prices, or what customers are sent.
- The code is in \`shop/\`, how it is run in \`ops/runbook.md\`.`;

/** Fills a server; returns what pages there are to look at, each with who looks. */
export async function seed(world) {
  const { server, cookie, ada } = await world.administrator();
  const api = (method, path, body) => server.api(cookie, method, path, body);
  const benCookie = await server.person('Ben Okafor');
  await server.person('Cleo Marchetti');
  const shop = await api('POST', '/workspaces', { name: 'Web shop' });
  const others = [];
  for (const name of ['Data platform', 'Mobile app', 'Prototype of last spring']) others.push(await api('POST', '/workspaces', { name }));
  const id = shop.workspace.id;
  await api('POST', `/workspaces/${id}/members`, { user: 'Ada', role: 'owner' });
  await api('POST', `/workspaces/${id}/members`, { user: 'Ben Okafor', role: 'member' });
  await api('POST', `/workspaces/${id}/members`, { user: 'Cleo Marchetti', role: 'member' });
  await server.command('workspace', 'archive', others[2].workspace.id);
  await ada.go(`/w/${id}/settings`);
  await ada.page.getByLabel(/^What it is for/).fill(MISSION);
  await ada.button('Save').click();
  await ada.sees('Saved.');

  const laptop = await api('POST', `/workspaces/${id}/tokens`, { name: 'laptop-ada' });
  const runner = await api('POST', `/workspaces/${id}/tokens`, { name: 'ci-runner' });
  await api('POST', `/workspaces/${id}/tokens`, { name: 'mobile' });
  await api('POST', `/workspaces/${id}/tokens`, { name: 'old-machine' });
  await server.command('token', 'revoke', '--workspace', id, '--name', 'old-machine', '--reason', 'lost-device');

  const add = async (title, body, assignee = 'agent') => (await api('POST', `/workspaces/${id}/tasks`, { title, body, assignee })).task.id;
  const done = await add('Upgrade the database driver', 'To the newest minor version.');
  const queue = await add('Why do invoices hang in the queue?', 'Since **Tuesday** invoices arrive a day late. Find out why, and say what you would change before you change it.');
  await add('Write the release notes', 'For 4.2, in one page.');
  await add('Check the checkout at 320 px', 'The button is said to be off the screen.');
  await add('Sign the new contract with the mail provider', 'It lies on the shared drive.', 'human');
  await api('POST', `/workspaces/${id}/tasks/${done}/status`, { status: 'completed' });

  const claude = await world.wireClient(shop.mcp_url, laptop.secret, 'claude-code', '2.1.330');
  await claude.call('updateTaskStatus', { taskId: queue, status: 'ongoing' });
  const notes = { filename: 'queue.csv', mimeType: 'text/csv', content: btoa('queue,waiting\nmail,12\ninvoices,4310\n') };
  await claude.call('reply', { chatId: queue, text: PLAN, attachments: [notes] });
  await api('POST', `/workspaces/${id}/tasks/${queue}/messages`, { text: 'Good plan. One question: who looks at the **dead letter** table?' });
  await claude.call('reply', { chatId: queue, text: 'I would put a count of it on the daily report. Shall I?' });
  await claude.call('updateTaskStatus', { taskId: queue, status: 'blocked' });
  await claude.call('createTask', { title: 'Which currency do we show to visitors from Switzerland?', body: "The design says *EUR*, the shop's settings say *CHF*.", assignee: 'human' });
  await claude.notify('notifications/claude/channel/permission_request', {
    request_id: 'abcde', tool_name: 'Bash', description: 'Run the migration on the test database', input_preview: 'sqlx migrate run --database-url $TEST_DATABASE',
  });
  const codex = await world.wireClient(shop.mcp_url, shop.secret, 'codex-mcp-client', '0.63.0');
  await codex.call('getWorkspace');
  const runners = await world.wireClient(shop.mcp_url, runner.secret, 'gemini-cli-mcp-client', '0.17.1');
  await server.command('token', 'rotate', '--workspace', id, '--name', 'ci-runner', '--reason', 'committed');
  for (let tries = 0; tries < 14; tries += 1) await runners.post({ id: tries, method: 'tools/list' });
  const offered = others[1].workspace.id;
  await api('POST', `/workspaces/${offered}/members`, { user: 'Ben Okafor', role: 'member' });
  await ada.go(`/w/${offered}/settings`);
  await ada.button('Offer').click();
  await ada.sees('Offered to Ben Okafor');
  return { server, cookie, ada, ben: await world.visitor(server, { cookie: benCookie }), id, queue, archived: others[2].workspace.id, offered };
}

/** The pages: a name for the picture, where it is, and what has to be done for it, by whom. */
export function pages({ id, queue, archived, offered }) {
  const w = `/w/${id}`;
  return [
    { name: 'workspaces', path: '/' },
    { name: 'needs-you', path: w },
    { name: 'board', path: `${w}/board` },
    { name: 'task', path: `${w}/tasks/${queue}` },
    { name: 'tokens', path: `${w}/tokens` },
    { name: 'token', path: `${w}/tokens/ci-runner` },
    { name: 'token-regenerate', path: `${w}/tokens/laptop-ada/regenerate` },
    { name: 'token-revoke', path: `${w}/tokens/laptop-ada/revoke` },
    { name: 'connect', path: `${w}/connect?slot=laptop-ada` },
    { name: 'connect-waiting', path: `${w}/connect?slot=mobile` },
    { name: 'connections', path: `${w}/connections` },
    { name: 'members', path: `${w}/members` },
    { name: 'audit', path: `${w}/audit` },
    { name: 'workspace-settings', path: `${w}/settings` },
    { name: 'settings', path: '/settings' },
    { name: 'admin', path: '/admin' },
    { name: 'admin-audit', path: '/admin/audit' },
    { name: 'admin-health', path: '/admin/health' },
    { name: 'admin-keys', path: '/admin/keys' },
    { name: 'admin-link', path: '/admin', prepare: makeLink },
    { name: 'workspace-archived', path: `/w/${archived}/settings` },
    { name: 'not-found', path: '/no-such-page', status: 404 },
    { name: 'login', path: '/login', by: 'stranger' },
    { name: 'login-refused', path: '/login', by: 'stranger', status: 401, prepare: refuse },
    { name: 'setup-done', path: '/setup', by: 'stranger' },
    { name: 'join', path: '/join', by: 'stranger' },
    { name: 'token-created', path: `${w}/tokens`, prepare: create },
    { name: 'token-regenerated', path: `${w}/tokens/laptop-ada/regenerate`, prepare: regenerate },
    { name: 'workspace-offered', path: `/w/${offered}/settings`, by: 'ben' },
    { name: 'workspace-accepted', path: `/w/${offered}/settings`, by: 'ben', prepare: accept },
    { name: 'member-asked', path: `${w}/members`, prepare: (visitor) => visitor.ask('Remove Cleo Marchetti') },
    { name: 'user-asked', path: '/admin', prepare: (visitor) => visitor.ask('Lock out Cleo Marchetti') },
    { name: 'member-removed', path: `${w}/members`, prepare: removeMember },
  ];
}

async function refuse(visitor) {
  await visitor.logIn('Ada', 'not the password');
  await visitor.page.getByRole('alert').waitFor();
}

async function create(visitor) {
  await visitor.field('Name').fill('ben-desktop');
  await visitor.button('Create token').click();
  await visitor.page.locator('#secret').waitFor();
}

async function makeLink(visitor) {
  await visitor.button('Login link for Cleo Marchetti').click();
  await visitor.page.locator('#link').waitFor();
}

async function accept(visitor) {
  await visitor.button('Accept').click();
  await visitor.sees('The workspace is yours');
}

async function regenerate(visitor) {
  await visitor.page.getByLabel('somebody else may have it').check();
  await visitor.button('Regenerate MCP Token').click();
  await visitor.page.locator('#secret').waitFor();
}

async function removeMember(visitor) {
  await visitor.ask('Remove Cleo Marchetti');
  await visitor.button('Remove Cleo Marchetti').click();
  await visitor.page.waitForLoadState();
}
