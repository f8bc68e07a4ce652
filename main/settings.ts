// Every setting of the command line, once: flag, default, help. docs/settings.md is tested against this table.
import { hostname } from 'node:os';
import { Option } from 'commander';
import { InvalidArgumentError } from 'commander';
import { SCOPES } from '../api/access/scopes.ts';
import type { Scope } from '../api/access/scopes.ts';
import { parseTime as parseInstant } from '../api/time-text.ts';

export interface Setting {
  readonly flags: string;
  readonly help: string;
  /** As shown in help and docs. */
  readonly fallback?: string | number | boolean;
  readonly parse?: (text: string, previous: unknown) => unknown;
  readonly choices?: readonly string[];
}

/** '32MiB', '1GiB', '65536' -> bytes. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(b|kib|mib|gib|kb|mb|gb)?$/i.exec(text.trim());
  if (match === null) throw new InvalidArgumentError(`'${text}' is no size: write 65536, 512KiB, 32MiB or 1GiB.`);
  const unit = { b: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, kb: 1e3, mb: 1e6, gb: 1e9 }[(match[2] ?? 'b').toLowerCase()] ?? 1;
  return Math.floor(Number(match[1]) * unit);
}

function integer(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < low || value > high) throw new InvalidArgumentError(`'${text}' is not a whole number from ${low} to ${high}.`);
    return value;
  };
}

function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isFinite(value) || value < low || value > high) throw new InvalidArgumentError(`'${text}' is not a number from ${low} to ${high}.`);
    return value;
  };
}

/** '2026-01-31T12:00:00Z', a day, or '15m', '2h', '3d' ago, or ns since 1970 -> ns since 1970. UTC where no zone is said, as everything that is printed. */
export function parseTime(text: string, now_ms: number = Date.now()): bigint {
  const [, day, minute = 'T00:00', second = ':00'] = /^(\d{4}-\d{2}-\d{2})(?:([T ]\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?)?(?:Z| ?UTC)?$/.exec(text) ?? [];
  try {
    if (/^\d{1,15}$/.test(text) && text !== '0') throw new RangeError('20260131 is no day but a moment of 1970');
    return parseInstant('', day === undefined ? text : `${day}${minute}${second}Z`, BigInt(now_ms) * 1_000_000n);
  } catch {
    throw new InvalidArgumentError(`'${text}' is no time: write 2026-01-31T12:00:00Z, or 15m, 2h, 3d for that long ago.`);
  }
}

/** '15m', '12h', '7d' -> ns. */
function durationNs(text: string): bigint {
  const match = /^(\d+)(s|m|h|d)$/.exec(text);
  if (match === null) throw new InvalidArgumentError(`'${text}' is no duration: write 90s, 15m, 12h or 7d.`);
  return BigInt(match[1] as string) * { s: 1n, m: 60n, h: 3600n, d: 86400n }[match[2] as 's' | 'm' | 'h' | 'd'] * 1_000_000_000n;
}

/** As durations, and 0. */
const graceNs = (text: string): bigint => (text === '0' ? 0n : durationNs(text));

function scope(text: string, previous: unknown): string[] {
  if (text !== 'all' && !/^(netns|cgroup):.+$/.test(text) && !/^pid:\d+$/.test(text)) {
    throw new InvalidArgumentError(`'${text}' is no scope: write all, netns:NAME_OR_PATH, cgroup:PATH or pid:N.`);
  }
  return [...(Array.isArray(previous) ? (previous as string[]) : []), text];
}

function param(text: string, previous: unknown): Record<string, string> {
  const [, name, value] = /^(\w+)=([\s\S]*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError(`'${text}' gives no parameter a value: write service=shop.`);
  return { ...(previous as Record<string, string> | undefined), [name]: value };
}

const listOf = (previous: unknown): string[] => (Array.isArray(previous) ? (previous as string[]) : []);

function tokenScope(text: string, previous: unknown): string[] {
  if (!SCOPES.includes(text as Scope)) throw new InvalidArgumentError(`'${text}' is no scope: write ${SCOPES.join(', ')}.`);
  return [...listOf(previous), text];
}

function hostName(text: string, previous: unknown): string[] {
  if (!/^(?:\[[\da-f:.]+\]|[\w.-]+)$/i.test(text)) throw new InvalidArgumentError(`'${text}' is no name of a host: write traces.example.org, without scheme or port.`);
  return [...listOf(previous), text.toLowerCase()];
}

function origin(text: string, previous: unknown): string[] {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text) || new URL(text).origin !== text) throw new InvalidArgumentError(`'${text}' is no origin: write https://grafana.example.org, without a path.`);
  return [...listOf(previous), text];
}

export const SETTINGS = {
  data: { flags: '--data <dir>', fallback: './data', help: 'data folder' },
  listen: { flags: '--listen <host:port>', fallback: '127.0.0.1:7070', help: 'address of the API; any other than loopback needs a token, and TLS' },
  tls_cert: { flags: '--tls-cert <file>', help: 'certificate with its chain, PEM' },
  tls_key: { flags: '--tls-key <file>', help: 'its key, PEM' },
  insecure_no_tls: { flags: '--insecure-no-tls', fallback: false, help: 'listen beyond loopback without TLS: tokens and data can be read on the way' },
  require_token: { flags: '--require-token', fallback: false, help: 'ask for a token on loopback too' },
  host_name: { flags: '--host-name <name>', help: 'name that this server is called by, besides those of loopback and its address; repeat for more', parse: hostName },
  cors_origin: { flags: '--cors-origin <url>', help: 'pages of this origin may call the API; repeat for more', parse: origin },
  rate_limit: { flags: '--rate-limit <n>', help: 'requests a minute of one token or address, ten times as many for ingest; 0 = no limit (default: 600, none on loopback)', parse: integer(0, 1_000_000) },
  audit_sql: { flags: '--audit-sql <kind>', fallback: 'text', choices: ['text', 'hash'], help: 'what the audit log keeps of SQL statements' },
  token_file: { flags: '--token-file <file>', help: 'file with the token for --url or --to; without it: the environment variable TRACEHOUSE_TOKEN' },
  token_name: { flags: '--name <name>', help: 'of the token' },
  token_scope: { flags: '--scope <permission>', help: `what the token permits: ${SCOPES.join(', ')}; repeat for more`, parse: tokenScope },
  expires: { flags: '--expires <duration>', help: 'the token holds for so long, such as 30d', parse: durationNs },
  grace: { flags: '--grace <duration>', fallback: '1d', help: 'the secret of before holds for so long at most', parse: graceNs },
  audit_since: { flags: '--since <instant>', help: 'leave out what was before: RFC 3339, or 15m, 2h, 3d ago', parse: (text: string) => parseTime(text) },
  url: { flags: '--url <url>', help: 'a running tracehouse, instead of --data' },
  node: { flags: '--node <name>', fallback: hostname(), help: 'name of this node' },
  scope: { flags: '--scope <scope>', help: 'all, netns:NAME_OR_PATH, cgroup:PATH or pid:N; repeat for a union (default: all)', parse: scope },
  payload: { flags: '--payload <bytes>', fallback: 256, help: 'payload bytes captured while a message head may be open; 0 = none', parse: integer(0, 4096) },
  keep_payload: { flags: '--keep-payload', fallback: false, help: 'store the captured payload (cookies and credentials are blanked all the same)' },
  keep_query: { flags: '--keep-query', fallback: false, help: 'store query strings of URLs' },
  redact_header: { flags: '--redact-header <name>', help: 'blank the values of this header in payload that is kept, besides cookies, credentials, keys and tokens; repeat for more', parse: headerName },
  redact_path: { flags: '--redact-path <regex>', help: 'store {redacted} in place of what it matches in paths; repeat for more', parse: pathPattern },
  ring: { flags: '--ring <size>', fallback: '32MiB', help: "size of the kernel's ring buffer, a power of two", parse: ringBytes },
  burst: { flags: '--burst <size>', help: 'disk for events that cannot be taken in at once, instead of dropping them; 0 = none; 1GiB unless given, for `record` a quarter of what is free', parse: burstBytes },
  nice: { flags: '--nice <n>', help: 'the traced programs come first: nice value of the collector and its loader, 0 to 19; 10 unless given, for `up` 0', parse: integer(0, 19) },
  no_wakes: { flags: '--no-wakes', help: 'do not record which thread woke which' },
  no_turns: { flags: '--no-turns', help: 'do not count the turns of event loops' },
  stacks: { flags: '--stacks', fallback: false, help: "record the writer's user stack for outgoing requests" },
  task_identity: { flags: '--task-identity <switch>', fallback: 'on', choices: ['on', 'off'], help: 'tell which goroutine reads, writes and calls, in Go programs' },
  hooks: { flags: '--hooks <kind>', fallback: 'auto', choices: ['auto', 'tp', 'fexit', 'kprobe'], help: 'which kernel hooks to use' },
  memory_limit: { flags: '--memory-limit <size>', fallback: '512MB', help: "DuckDB's memory limit; compaction takes 160MB, at most 512MB, besides", parse: (text: string) => (parseBytes(text), text) },
  sql_memory: { flags: '--sql-memory <size>', fallback: '512MB', help: 'memory of one SQL statement', parse: parseBytes },
  sql_temp: { flags: '--sql-temp <size>', fallback: '1GB', help: 'disk that one SQL statement may use for what does not fit into memory', parse: parseBytes },
  sql_at_once: { flags: '--sql-at-once <n>', fallback: 4, help: 'SQL statements that run at the same time', parse: integer(1, 64) },
  sql_timeout: { flags: '--sql-timeout <seconds>', fallback: 60, help: 'the longest that a caller may ask for', parse: number(0.01, 86_400) },
  sql_async_timeout: { flags: '--sql-async-timeout <seconds>', fallback: 3600, help: 'the longest that an asynchronous SQL statement may take', parse: number(0.01, 604_800) },
  sql_answer: { flags: '--sql-answer <size>', fallback: '1GiB', help: 'of an asynchronous SQL statement at most', parse: parseBytes },
  sql_keep_answers: { flags: '--sql-keep-answers <duration>', fallback: '1h', help: 'so long answers of asynchronous SQL statements are kept', parse: durationNs },
  sql_max_rows: { flags: '--sql-max-rows <n>', fallback: 5_000_000, help: 'the most rows that a caller may ask for', parse: integer(1, 1_000_000_000) },
  to_url: { flags: '--to <url>', help: 'warehouse that takes the batches' },
  spool: { flags: '--spool <dir>', fallback: './spool', help: 'folder for batches that are not acknowledged yet' },
  compress: { flags: '--compress <kind>', fallback: 'none', choices: ['none', 'gzip'], help: 'how batches are packed on their way: gzip takes less of the network, and CPU' },
  spool_limit: { flags: '--spool-limit <size>', fallback: '1GiB', help: 'the oldest batches are dropped, and counted, above this', parse: parseBytes },
  to_place: { flags: '--to <place>', help: 'folder, or s3://bucket/prefix, to write to' },
  since: { flags: '--since <time>', help: 'leave out files of the warehouse that end before it: RFC 3339, or 15m, 2h, 3d ago', parse: (text: string) => parseTime(text) },
  relation: { flags: '--relation <name>', help: 'export this relation; repeat for more (default: all)', parse: (text: string, previous: unknown) => [...(Array.isArray(previous) ? (previous as string[]) : []), text] },
  keep_for: { flags: '--keep-for <duration>', help: 'drop what is older, such as 12h or 7d', parse: durationNs },
  keep_bytes: { flags: '--keep-bytes <size>', help: 'drop the oldest while the data folder holds more', parse: parseBytes },
  cold_cache: { flags: '--cold-cache <size>', fallback: '2GiB', help: 'disk for exported files that are brought back from an S3 store; 0 = none', parse: parseBytes },
  keep_unexported: { flags: '--keep-unexported', fallback: false, help: 'drop nothing that no export has written' },
  otlp_endpoint: { flags: '--otlp-endpoint <url>', help: 'send finished traces to this collector, OTLP over HTTP; without a path: /v1/traces' },
  otlp_protocol: { flags: '--otlp-protocol <protocol>', fallback: 'protobuf', choices: ['protobuf', 'json'], help: 'what is sent there' },
  otlp_compression: { flags: '--otlp-compression <kind>', fallback: 'gzip', choices: ['gzip', 'none'], help: 'how it is packed' },
  otlp_headers_file: { flags: '--otlp-headers-file <file>', help: 'lines "name: value" to send along, such as authorization; or TRACEHOUSE_OTLP_HEADERS=name=value,...' },
  out: { flags: '--out <file>', help: 'Arrow IPC file to write' },
  seconds: { flags: '--seconds <n>', help: 'stop after that long', parse: number(0.1, 1e9) },
  query: { flags: '--query <name>', help: 'run this query of the cookbook or of the saved ones; its name or id' },
  param: { flags: '--param <name=value>', help: 'value of a parameter, $name in the statement; repeat for more', parse: param },
  format: { flags: '--format <format>', fallback: 'table', choices: ['table', 'json', 'ndjson', 'csv', 'arrow', 'parquet'], help: 'output format' },
  json: { flags: '--json', fallback: false, help: 'print JSON' },
  demo: { flags: '--demo', fallback: false, help: 'start the demo services and trace them alone' },
  from: { flags: '--from <time>', help: 'start of the range: RFC 3339, or 15m, 2h, 3d ago', parse: (text: string) => parseTime(text) },
  to: { flags: '--to <time>', help: 'end of the range', parse: (text: string) => parseTime(text) },
  service: { flags: '--service <name>', help: 'traces in which this service takes part' },
  operation: { flags: '--operation <name>', help: 'traces with a span of this name' },
  min_duration: { flags: '--min-duration <duration>', help: 'traces that took at least this long, such as 250ms' },
  max_duration: { flags: '--max-duration <duration>', help: 'traces that took at most this long' },
  error: { flags: '--error', help: 'only traces with an error' },
  sort: { flags: '--sort <order>', help: 'newest first unless set', choices: ['-start_time', 'start_time', '-duration', 'duration'] },
  limit: { flags: '--limit <n>', fallback: 20, help: 'at most so many', parse: integer(1, 10_000) },
  max_spans: { flags: '--max-spans <n>', fallback: 1000, help: 'of a bigger trace, the highest and first so many spans', parse: integer(1, 100_000) },
  max_rows: { flags: '--max-rows <n>', help: 'stop after so many rows (default: 10000); at most what the server allows', parse: integer(1, 1e9) },
  timeout: { flags: '--timeout <seconds>', help: 'give up after so many seconds (default: 60); at most what the server allows', parse: number(0.01, 86_400) },
} as const satisfies Record<string, Setting>;

function headerName(text: string, previous: unknown): string[] {
  if (!/^[\w!#$%&'*+.^`|~-]{1,128}$/.test(text)) throw new InvalidArgumentError(`'${text}' is no name of a header.`);
  return [...listOf(previous), text];
}

function pathPattern(text: string, previous: unknown): RegExp[] {
  try {
    return [...(Array.isArray(previous) ? (previous as RegExp[]) : []), new RegExp(text, 'gu')];
  } catch (error) {
    throw new InvalidArgumentError(`'${text}' is no regular expression: ${(error as Error).message}.`);
  }
}

function burstBytes(text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== 0 && bytes < 2 ** 20) throw new InvalidArgumentError(`'${text}' is no size of a burst: 0, or at least 1MiB.`);
  return bytes;
}

function ringBytes(text: string): number {
  const bytes = parseBytes(text);
  if (bytes < 4096 || bytes > 2 ** 30 || (bytes & (bytes - 1)) !== 0) throw new InvalidArgumentError(`'${text}' is no ring size: a power of two from 4KiB to 1GiB, such as 32MiB.`);
  return bytes;
}

export type SettingName = keyof typeof SETTINGS;

/** The setting as a commander option. */
export function option(name: SettingName, changes: { required?: boolean; fallback?: string | number } = {}): Option {
  const setting: Setting = SETTINGS[name];
  const made = new Option(setting.flags, setting.help);
  const fallback = changes.fallback ?? setting.fallback;
  if (setting.choices !== undefined) made.choices(setting.choices);
  else if (setting.parse !== undefined) made.argParser(setting.parse);
  if (fallback !== undefined && fallback !== false) made.default(setting.parse !== undefined && typeof fallback === 'string' ? setting.parse(fallback, undefined) : fallback, String(fallback));
  if (changes.required === true) made.makeOptionMandatory();
  return made;
}
