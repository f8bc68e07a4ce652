import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Access } from '../api/access/access.ts';
import { AuditLog } from '../api/access/audit-log.ts';
import type { AuditEntry } from '../api/access/audit-log.ts';
import { scopeOfRoute } from '../api/access/scopes.ts';
import type { Scope } from '../api/access/scopes.ts';
import { createToken, revokeToken, rotateToken } from '../api/access/token-changes.ts';
import { TokenFile } from '../api/access/token-file.ts';
import { buildApp } from '../api/app.ts';
import { parseListen } from '../api/listen.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { packageRoot } from '../schema/package-root.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder, temporaryFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
let warehouse: Warehouse;

beforeAll(async () => {
  ({ warehouse } = await shopWarehouse(folder));
});
afterAll(async () => {
  await warehouse.close();
  remove();
});

function appWith(access: Access, log: (line: string) => void = () => undefined): FastifyInstance {
  const app = buildApp({ warehouse }, { now_ns: () => NOW_NS, access, log });
  onTestFinished(() => app.close());
  return app;
}

async function tokenFor(tokens: TokenFile, name: string, scopes: readonly Scope[], more: { lasts_ms?: number; now_ms?: number } = {}): Promise<string> {
  let secret = '';
  await tokens.change((all) => {
    const made = createToken(all, { name, scopes, now_ms: Date.now(), ...more });
    ({ secret } = made);
    return made.tokens;
  });
  return secret;
}

const bearer = (secret: string): { authorization: string } => ({ authorization: `Bearer ${secret}` });

describe('tokens', () => {
  test('what is open answers everybody, the rest says what it lacks', async () => {
    const app = appWith({ tokens: new TokenFile(temporaryFolder()), require_token: true });
    for (const url of ['/healthz', '/readyz', '/openapi.json', '/docs']) expect((await app.inject(url)).statusCode, url).toBe(200);
    for (const url of ['/api/v1/services', '/metrics', '/api/v1/nothing', '/api/v1/sql?q=SELECT%201']) {
      const answer = await app.inject(url);
      expect([answer.statusCode, (answer.json() as { code: string }).code, answer.headers['www-authenticate'], answer.headers['content-type']], url).toEqual([401, 'unauthorized', 'Bearer realm="tracehouse"', 'application/problem+json']);
    }
    expect((await app.inject({ url: '/api/v1/services', headers: bearer('th_wrong') })).headers['www-authenticate']).toContain('invalid_token');
  });

  test('a token permits what its scopes say, from the moment it is made until it is revoked or old; its secret is in no file', async () => {
    const data = temporaryFolder();
    const app = appWith({ tokens: new TokenFile(data), require_token: true });
    const elsewhere = new TokenFile(data);
    const reader = await tokenFor(elsewhere, 'reader', ['traces:read']);
    const asker = await tokenFor(elsewhere, 'asker', ['sql:run']);
    const status = async (url: string, secret: string, method: 'GET' | 'POST' = 'GET'): Promise<number> => (await app.inject({ method, url, headers: bearer(secret), ...(method === 'POST' ? { payload: {} } : {}) })).statusCode;
    expect(await status('/api/v1/services', reader)).toBe(200);
    expect(await status('/api/v1/sql?q=SELECT%201', asker)).toBe(200);
    expect(await status('/api/v1/services', asker)).toBe(403);
    for (const url of ['/api/v1/correlate', '/api/v1/exports', '/api/v1/ingest', '/api/v1/sql', '/api/v1/queries']) expect(await status(url, reader, 'POST'), url).toBe(403);
    const refused = await app.inject({ url: '/api/v1/sql?q=SELECT%201', headers: bearer(reader) });
    expect(refused.json()).toMatchObject({ code: 'scope-missing', scope: 'sql:run', detail: expect.stringContaining("'reader'") });

    expect(statSync(elsewhere.path).mode & 0o777).toBe(0o600);
    expect(readFileSync(elsewhere.path, 'utf8')).not.toContain(reader.slice(3));
    await elsewhere.change((all) => revokeToken(all, 'reader'));
    expect(await status('/api/v1/services', reader)).toBe(401);
    const old = await tokenFor(elsewhere, 'old', ['traces:read'], { lasts_ms: 1000, now_ms: Date.now() - 2000 });
    expect(await status('/api/v1/services', old)).toBe(401);
  });

  test('rotated: the new secret holds, the old one for the grace period', async () => {
    let now_ms = 1_000_000;
    const tokens = new TokenFile(temporaryFolder(), () => now_ms);
    const first = await tokenFor(tokens, 'ci', ['ingest:write'], { now_ms });
    let second = '';
    await tokens.change((all) => {
      const made = rotateToken(all, { name: 'ci', now_ms, grace_ms: 5000 });
      second = made.secret;
      return made.tokens;
    });
    expect([tokens.find(first)?.name, tokens.find(second)?.name]).toEqual(['ci', 'ci']);
    now_ms += 5001;
    expect([tokens.find(first)?.name, tokens.find(second)?.name]).toEqual([undefined, 'ci']);
  });

  test('two that change the tokens at once both do', async () => {
    const data = temporaryFolder();
    await Promise.all(Array.from({ length: 8 }, (_, n) => tokenFor(new TokenFile(data), `token-${n}`, ['admin'])));
    expect(new TokenFile(data).all()).toHaveLength(8);
    writeFileSync(join(data, 'tokens.json'), '{');
    const app = appWith({ tokens: new TokenFile(data), require_token: true });
    const answer = await app.inject({ url: '/api/v1/services', headers: bearer('th_any') });
    expect([answer.statusCode >= 500, answer.body.includes(data)]).toEqual([true, false]);
    expect((await appWith({ tokens: new TokenFile(data) }).inject({ url: '/api/v1/services', headers: bearer('th_any') })).statusCode).toBe(200);
  });

  test('every route has a scope, and a route that nobody thought of stops the start', async () => {
    const app = buildApp({ warehouse }, { access: { require_token: true, tokens: new TokenFile(temporaryFolder()) } });
    const scopes = new Map<string, string | undefined>();
    app.addHook('onRoute', ({ method, url, config }) => scopes.set(`${String(method)} ${url}`, config?.scope));
    await app.ready();
    expect([...scopes].filter(([, scope]) => scope === undefined)).toEqual([]);
    expect(scopes.size).toBeGreaterThan(60);
    const { paths } = app.swagger() as { paths: Record<string, Record<string, { security?: Record<string, string[]>[]; responses: object }>> };
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { security, responses }] of Object.entries(methods)) {
        if (['/healthz', '/readyz'].includes(path)) continue;
        expect(security?.[0]?.['bearer'], `${method} ${path}`).toHaveLength(1);
        expect(Object.keys(responses), `${method} ${path}`).toEqual(expect.arrayContaining(['401', '403']));
      }
    }
    await app.close();
    const needed = (prefix: string): unknown[] => [...new Set([...scopes].filter(([route]) => route.split(' ')[1]?.startsWith(prefix) && !route.startsWith('OPTIONS')).map(([, scope]) => scope))];
    expect(['/api/v1/exports', '/api/v1/cold', '/api/v1/correlate', '/api/v1/ingest'].map(needed)).toEqual([['export:write'], ['admin'], ['admin'], ['ingest:write']]);
    expect(() => scopeOfRoute('/new', undefined)).toThrow(expect.objectContaining({ code: 'route-scope' }));
    expect(() => scopeOfRoute('/apiary', undefined)).toThrow(expect.objectContaining({ code: 'route-scope' }));
    expect(scopeOfRoute('/apiary', 'admin')).toBe('admin');
  });
});

describe('where it listens', () => {
  test('beyond loopback only with a token and TLS', () => {
    for (const guard of [undefined, { has_token: true, is_encrypted: false }, { has_token: false, is_encrypted: true }]) {
      expect(() => parseListen('0.0.0.0:7070', guard)).toThrow(expect.objectContaining({ code: 'listen-refused', exit_code: 2 }));
    }
    expect(parseListen('0.0.0.0:7070', { has_token: true, is_encrypted: true })).toEqual({ host: '0.0.0.0', port: 7070 });
    expect(() => parseListen('traces.example.org:7070', { has_token: true, is_encrypted: true })).toThrow(expect.objectContaining({ code: 'listen-refused' }));
  });

  test('names and pages: those that were named, and no others', async () => {
    const app = appWith({ host_names: ['traces.example.org'], cors_origins: ['https://grafana.example.org'] });
    const status = async (headers: Record<string, string>): Promise<number> => (await app.inject({ url: '/api/v1/services', headers })).statusCode;
    expect(await status({ host: 'traces.example.org:7070' })).toBe(200);
    expect(await status({ host: 'rebound.example.org' })).toBe(403);
    expect(await status({ origin: 'https://grafana.example.org' })).toBe(200);
    expect(await status({ origin: 'https://elsewhere.example.org' })).toBe(403);
    const asked = await app.inject({ method: 'OPTIONS', url: '/api/v1/sql', headers: { origin: 'https://grafana.example.org', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' } });
    expect([asked.statusCode, asked.headers['access-control-allow-origin']]).toEqual([204, 'https://grafana.example.org']);
    expect((await appWith({}).inject('/api/v1/services')).headers['access-control-allow-origin']).toBeUndefined();
  });

  test('who asks too often is told to wait, and only that one', async () => {
    const tokens = new TokenFile(temporaryFolder());
    const app = appWith({ tokens, require_token: true, rate_limit: 3 });
    const [one, other] = [await tokenFor(tokens, 'one', ['traces:read']), await tokenFor(tokens, 'other', ['traces:read'])];
    const answers = [];
    for (let n = 0; n < 5; n++) answers.push(await app.inject({ url: '/api/v1/services', headers: bearer(one) }));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 429, 429]);
    expect([answers[4]?.json(), Number(answers[4]?.headers['retry-after']) > 0]).toEqual([expect.objectContaining({ code: 'rate-limited' }), true]);
    expect((await app.inject({ url: '/api/v1/services', headers: bearer(other) })).statusCode).toBe(200);
  });
});

describe('secrets', () => {
  const CANARY = `th_${'c'.repeat(43)}`;

  test('in a URL they are refused, and written down nowhere', async () => {
    const data = temporaryFolder();
    const lines: string[] = [];
    const log = (line: string): void => void lines.push(line);
    const app = appWith({ audit: new AuditLog({ folder: data, log }) }, log);
    for (const url of [`/api/v1/services?start=${CANARY}`, `/api/v1/services?access_token=${CANARY}`, `/api/v1/traces/${CANARY}`, `/api/v1/sql?q=SELECT%20%27${CANARY}%27`, '/api/v1/services?password=hunter2']) {
      const answer = await app.inject(url);
      expect([answer.statusCode, (answer.json() as { code: string }).code], url).toEqual([400, 'secret-in-url']);
      expect(answer.body).not.toMatch(/c{20}|hunter2/);
    }
    const sent = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: `SELECT '${CANARY}' AS x` } });
    expect(sent.statusCode).toBe(200);
    await app.close();
    const written = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'));
    expect(written.length).toBeGreaterThan(0);
    expect([...written, ...lines].join('\n')).not.toMatch(/c{20}|hunter2/);
  });
});

describe('audit', () => {
  const linesOf = (data: string): AuditEntry[] => readFileSync(join(data, 'audit', 'audit.ndjson'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as AuditEntry);

  test('who asked for what, how long it took, how it went', async () => {
    const data = temporaryFolder();
    const tokens = new TokenFile(data);
    const app = appWith({ tokens, require_token: true, audit: new AuditLog({ folder: data, log: () => undefined }) });
    const secret = await tokenFor(tokens, 'asker', ['sql:run']);
    await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'SELECT kind FROM spans LIMIT 3' }, headers: bearer(secret) });
    await app.inject({ url: '/api/v1/sql?q=SELEC', headers: bearer(secret) });
    await app.inject({ url: '/api/v1/services', headers: bearer(secret) });
    await app.inject('/api/v1/services');
    await app.close();
    expect(linesOf(data)).toEqual([
      expect.objectContaining({ action: 'sql', token: 'asker', address: '127.0.0.1', sql: 'SELECT kind FROM spans LIMIT 3', rows: 3, status: 200, request_id: expect.any(String), duration_ms: expect.any(Number) }),
      expect.objectContaining({ action: 'sql', sql: 'SELEC', status: 400, outcome: 'failed', code: 'sql-syntax' }),
      expect.objectContaining({ action: 'refused', token: 'asker', status: 403, code: 'scope-missing' }),
      expect.objectContaining({ action: 'refused', token: null, status: 401, code: 'unauthorized' }),
    ]);
    expect(statSync(join(data, 'audit', 'audit.ndjson')).mode & 0o777).toBe(0o600);
  });

  test('statements as hashes, long ones cut, old files gone; what cannot be written is counted and told once', () => {
    const data = temporaryFolder();
    const entry = { time: '2026-01-01T00:00:00Z', action: 'sql', token: null, address: null, outcome: 'ok' } as const;
    const hashing = new AuditLog({ folder: data, log: () => undefined, sql: 'hash' });
    hashing.write({ ...entry, sql: 'SELECT 1' });
    hashing.close();
    expect(linesOf(data)[0]).toMatchObject({ sql_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const small = new AuditLog({ folder: data, log: () => undefined, most_bytes: 30_000, most_files: 3 });
    for (let n = 0; n < 30; n++) small.write({ ...entry, sql: 'x'.repeat(100_000) });
    small.close();
    const files = readdirSync(join(data, 'audit'));
    expect(files).toHaveLength(3);
    for (const name of files) expect(statSync(join(data, 'audit', name)).size).toBeLessThan(45_000);
    const lines: string[] = [];
    const blocked = temporaryFolder();
    writeFileSync(join(blocked, 'audit'), 'a file where the folder should be');
    const failing = new AuditLog({ folder: blocked, log: (line) => lines.push(line) });
    failing.write(entry);
    failing.write(entry);
    expect([failing.failed, lines.length]).toEqual([2, 1]);
  });
});

describe('by the command line', () => {
  const tracehouse = join(packageRoot(), 'bin', 'tracehouse');
  const run = (args: readonly string[], env: Record<string, string> = {}): { status: number; stdout: string; stderr: string } => {
    try {
      return { status: 0, stdout: execFileSync(tracehouse, args, { encoding: 'utf8', env: { ...process.env, ...env }, stdio: 'pipe' }), stderr: '' };
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string };
      return { status, stdout, stderr };
    }
  };
  function serve(args: readonly string[]): Promise<{ url: string; child: ChildProcess }> {
    const child = spawn(tracehouse, ['serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => new Promise((resolve) => (child.exitCode === null ? (child.once('exit', () => resolve(undefined)), child.kill('SIGTERM')) : resolve(undefined))));
    return new Promise((resolve, reject) => {
      child.stdout.on('data', (text: Buffer) => {
        const match = /^ready (\S+)/m.exec(text.toString());
        if (match !== null) resolve({ url: match[1] as string, child });
      });
      child.once('exit', (code) => reject(new Error(`exit ${code}`)));
    });
  }

  test('a server for others: a token made, TLS, a client with the token in a file; revoked, it is out', async () => {
    const own = temporaryFolder();
    const data = join(own, 'data');
    mkdirSync(data);
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', join(own, 'key.pem'), '-out', join(own, 'cert.pem')], { stdio: 'ignore' });
    const open = ['--data', data, '--listen', '0.0.0.0:0'];
    expect(run(['serve', ...open])).toMatchObject({ status: 2, stderr: expect.stringMatching(/needs a token and TLS/) });
    const made = run(['token', 'create', '--data', data, '--name', 'team', '--scope', 'sql:run']);
    expect([made.status, /^th_[\w-]{43}\n$/.test(made.stdout)]).toEqual([0, true]);
    expect(run(['serve', ...open])).toMatchObject({ status: 2, stderr: expect.stringMatching(/needs TLS/) });
    writeFileSync(join(own, 'token'), made.stdout);

    const { url } = await serve([...open, '--tls-cert', join(own, 'cert.pem'), '--tls-key', join(own, 'key.pem')]);
    const local = url.replace('0.0.0.0', '127.0.0.1');
    expect(local).toMatch(/^https:/);
    const env = { NODE_EXTRA_CA_CERTS: join(own, 'cert.pem') };
    expect(run(['sql', '--url', local, '--format', 'csv', '--token-file', join(own, 'token'), 'SELECT 42 AS x'], env)).toMatchObject({ status: 0, stdout: 'x\r\n42\r\n' });
    expect(run(['sql', '--url', local, 'SELECT 1'], env)).toMatchObject({ status: 1, stderr: expect.stringContaining('a token is needed') });
    const headers = await new Promise<Record<string, unknown>>((resolve, reject) => request(`${local}/healthz`, { rejectUnauthorized: false }, (answer) => resolve(answer.headers)).on('error', reject).end());
    expect(headers['strict-transport-security']).toContain('max-age');
    // The owner of the folder needs none.
    expect(run(['sql', '--data', data, '--format', 'csv', 'SELECT 1 AS y']).stdout).toBe('y\r\n1\r\n');
    expect(run(['token', 'revoke', 'team', '--data', data]).status).toBe(0);
    expect(run(['sql', '--url', local, '--token-file', join(own, 'token'), 'SELECT 1'], env)).toMatchObject({ status: 1, stderr: expect.stringContaining('revoked') });
    const audit = run(['audit', '--data', data, '--json']).stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as AuditEntry);
    expect(audit.map(({ action, token, outcome }) => [action, token, outcome])).toEqual(expect.arrayContaining([['token', null, 'ok'], ['sql', 'team', 'ok'], ['refused', null, 'refused']]));
    expect(JSON.stringify(audit)).not.toContain(made.stdout.trim().slice(5));
  }, 60_000);
});
