// The outcome of each check as a line, the counts at the end, and nothing that could be a token in between.

/** Why a check cannot be made here and now, which says nothing about the server. */
export class Skipped extends Error {}

/** Fails the running check with the sentence `what` unless it `holds`. */
export function expect(holds, what, ...evidence) {
  if (holds) return;
  const failure = new Error(what);
  failure.evidence = evidence.map((piece) => (typeof piece === 'string' ? piece : JSON.stringify(piece, null, 1)));
  throw failure;
}

/** Replaces everything that looks like a JWT, whole or cut short. */
export const redact = (text) => String(text).replace(/eyJ[\w-]{8,}(\.[\w-]*)*/g, 'eyJ…');

export class Report {
  passed = 0;
  failed = 0;
  skipped = 0;

  async check(name, run) {
    const started = performance.now();
    try {
      await run();
    } catch (error) {
      if (error instanceof Skipped) return this.skip(name, error.message);
      return this.fail(name, error);
    }
    this.passed += 1;
    console.log(`ok   ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  }

  skip(name, why) {
    this.skipped += 1;
    console.log(`skip ${name} (skipped: ${redact(why)})`);
  }

  fail(name, error) {
    this.failed += 1;
    console.log(`FAIL ${name}: ${redact(error.message)}`);
    const where = (error.stack ?? '').split('\n').filter((line) => line.includes('.mjs')).slice(0, 4);
    for (const piece of [...(error.evidence ?? []), ...where]) {
      for (const line of redact(piece).split('\n')) console.log(`     | ${line}`);
    }
  }

  end() {
    console.log(`${this.passed} passed, ${this.failed} failed, ${this.skipped} skipped`);
    return this.failed ? 1 : 0;
  }
}
