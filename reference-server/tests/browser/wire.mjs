// An MCP client that is nothing but its words on the wire, for what no real client does unattended: it asks for
// permission, calls itself what it likes, and stays as long as the check wants.

const VERSION = '2025-11-25';

export class WireClient {
  /** What the server has pushed. */
  pushed = [];

  constructor(url, token, name, version) {
    Object.assign(this, { url, token, name, version, count: 0, open: new AbortController() });
  }

  async connect() {
    const clientInfo = { name: this.name, version: this.version };
    await this.request('initialize', { protocolVersion: VERSION, capabilities: {}, clientInfo });
    await this.notify('notifications/initialized');
    const stream = await fetch(this.url, { headers: { ...this.headers(), accept: 'text/event-stream' }, signal: this.open.signal });
    this.listening = this.listen(stream.body);
    return this;
  }

  headers() {
    const session = this.session && { 'mcp-session-id': this.session, 'mcp-protocol-version': VERSION };
    return { authorization: `Bearer ${this.token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...session };
  }

  async post(message) {
    const answer = await fetch(this.url, { method: 'POST', headers: this.headers(), body: JSON.stringify({ jsonrpc: '2.0', ...message }) });
    this.session ??= answer.headers.get('mcp-session-id') ?? undefined;
    return { status: answer.status, text: await answer.text() };
  }

  async request(method, params) {
    const { status, text } = await this.post({ id: (this.count += 1), method, params });
    const messages = text.trimStart().startsWith('{') ? [text] : text.split('\n').filter((line) => line.startsWith('data: {')).map((line) => line.slice(6));
    const reply = messages.map((message) => JSON.parse(message)).find((message) => 'result' in message);
    if (!reply) throw new Error(`${method} was answered with ${status}: ${text.slice(0, 500)}`);
    return reply.result;
  }

  async notify(method, params) {
    const { status } = await this.post({ method, params });
    if (status !== 202) throw new Error(`${method} was answered with ${status}`);
  }

  async call(tool, args = {}) {
    const result = await this.request('tools/call', { name: tool, arguments: args });
    return result.content.map((block) => block.text).join('\n');
  }

  async listen(body) {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for await (const piece of body) {
        const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
        rest = lines.pop();
        for (const line of lines) if (line.startsWith('data: {')) this.pushed.push(JSON.parse(line.slice(6)));
      }
    } catch {
      // The stream was cut, by the server or by `stop`.
    }
  }

  /** Waits until the server has pushed `method`, and returns what it says. */
  async hears(method) {
    for (let tries = 0; tries < 400; tries += 1) {
      const found = this.pushed.find((message) => message.method === method);
      if (found) return found.params;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the server did not push ${method}`);
  }

  async stop() {
    this.open.abort();
    await this.listening;
  }
}
