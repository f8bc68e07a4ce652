// The command line: each verb is a module of main/, loaded when it is called.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { option } from './main/settings.ts';
import { TracehouseError } from './schema/errors.ts';
import { packageRoot } from './schema/package-root.ts';

const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };

const program = new Command('tracehouse')
  .description('Distributed traces of services that nobody instrumented.')
  .version(version)
  .showHelpAfterError('(see --help)')
  .exitOverride();

const CAPTURE = ['node', 'scope', 'payload', 'keep_payload', 'keep_query', 'redact_header', 'redact_path', 'ring', 'burst', 'nice', 'no_wakes', 'no_turns', 'stacks', 'task_identity', 'hooks'] as const;

function verb(name: string, description: string): Command {
  return program.command(name).description(description).exitOverride();
}

const withCapture = (command: Command): Command => CAPTURE.reduce((made, name) => made.addOption(option(name)), command);
const KEEP = ['keep_for', 'keep_bytes', 'keep_unexported', 'cold_cache'] as const;
const withKeep = (command: Command): Command => KEEP.reduce((made, name) => made.addOption(option(name)), command);
const OTLP = ['otlp_endpoint', 'otlp_protocol', 'otlp_compression', 'otlp_headers_file'] as const;
const withOtlp = (command: Command): Command => OTLP.reduce((made, name) => made.addOption(option(name)), command);
const withSource = (command: Command): Command => command.addOption(option('data')).addOption(option('url')).addOption(option('token_file'));
const ACCESS = ['listen', 'tls_cert', 'tls_key', 'insecure_no_tls', 'require_token', 'host_name', 'cors_origin', 'rate_limit', 'audit_sql'] as const;
const withAccess = (command: Command): Command => ACCESS.reduce((made, name) => made.addOption(option(name)), command);

const SQL = ['sql_memory', 'sql_temp', 'sql_at_once', 'sql_timeout', 'sql_max_rows', 'sql_async_timeout', 'sql_answer', 'sql_keep_answers'] as const;
const withSql = (command: Command): Command => SQL.reduce((made, name) => made.addOption(option(name)), command);

withOtlp(withSql(withKeep(withAccess(withCapture(verb('up', 'collector, warehouse and API in one'))))))
  .addOption(option('data'))
  .addOption(option('memory_limit'))
  .addOption(option('demo'))
  .action(async (options) => (await import('./main/up.ts')).up(options));

verb('start', 'set-up is done: trace the demo services, show their traces, keep running')
  .addOption(option('data', { fallback: './data/demo' }))
  .addOption(option('listen'))
  .addOption(option('seconds'))
  .action(async (options) => (await import('./main/start.ts')).start(options));

withCapture(verb('collect', 'collector only: batches go to a warehouse elsewhere'))
  .addOption(option('to_url', { required: true }))
  .addOption(option('token_file'))
  .addOption(option('spool'))
  .addOption(option('spool_limit'))
  .addOption(option('compress'))
  .action(async (options) => (await import('./main/collect.ts')).collect(options));

withOtlp(withSql(withKeep(withAccess(verb('serve', 'warehouse and API, no collector')))))
  .addOption(option('data'))
  .addOption(option('memory_limit'))
  .action(async (options) => (await import('./main/up.ts')).serve(options));

withCapture(verb('record', 'raw events to an Arrow IPC file'))
  .addOption(option('out', { required: true }))
  .addOption(option('seconds'))
  .action(async (options) => (await import('./main/record.ts')).record(options));

withSource(verb('replay', 'recorded events into a warehouse, through the same path as live ones'))
  .argument('<file...>', 'Arrow IPC files made by record')
  .addOption(option('json'))
  .addOption(option('memory_limit'))
  .action(async (files: string[], options) => (await import('./main/replay.ts')).replay(files, options));

withSource(verb('sql', 'ad-hoc SQL, read-only'))
  .argument('[statement]', 'one SELECT-like statement; - reads it from standard input')
  .addOption(option('query'))
  .addOption(option('param'))
  .addOption(option('format'))
  .addOption(option('json'))
  .addOption(option('max_rows'))
  .addOption(option('timeout'))
  .action(async (statement: string | undefined, options) => (await import('./main/sql.ts')).sql(statement, options));

withSource(verb('queries', 'list the queries of the cookbook and the saved ones'))
  .addOption(option('json'))
  .action(async (options) => (await import('./main/sql.ts')).queries(options));

withSource(verb('traces', 'list traces'))
  .addOption(option('service'))
  .addOption(option('operation'))
  .addOption(option('from'))
  .addOption(option('to'))
  .addOption(option('min_duration'))
  .addOption(option('max_duration'))
  .addOption(option('error'))
  .addOption(option('sort'))
  .addOption(option('limit'))
  .addOption(option('json'))
  .action(async (options) => (await import('./main/traces.ts')).traces(options));

withSource(verb('trace', 'one trace as a waterfall'))
  .argument('<id>', 'trace id, 32 hex digits')
  .addOption(option('max_spans'))
  .addOption(option('json'))
  .action(async (id: string, options) => (await import('./main/traces.ts')).trace(id, options));

withSource(verb('correlate', "correlate history again with today's rules and say what changed"))
  .addOption(option('from'))
  .addOption(option('to'))
  .addOption(option('json'))
  .addOption(option('memory_limit'))
  .action(async (options) => (await import('./main/correlate.ts')).correlate(options));

withSource(verb('export', 'Parquet now: each row once in each place'))
  .addOption(option('to_place', { required: true }))
  .addOption(option('since'))
  .addOption(option('relation'))
  .addOption(option('json'))
  .addOption(option('memory_limit'))
  .action(async (options) => (await import('./main/export.ts')).exportNow(options));

withSource(verb('fetch', 'bring exported files back from an S3 store, so that SQL reads them too'))
  .addOption(option('from'))
  .addOption(option('to'))
  .addOption(option('relation'))
  .addOption(option('json'))
  .action(async (options) => (await import('./main/fetch.ts')).fetchCold(options));

const token = verb('token', 'who may ask a server that asks for tokens');

token.command('create').description('make one and print it, this once').exitOverride()
  .addOption(option('token_name', { required: true }))
  .addOption(option('token_scope', { required: true }))
  .addOption(option('expires'))
  .addOption(option('data'))
  .addOption(option('json'))
  .action(async (options) => (await import('./main/token.ts')).create(options));

token.command('list').description('their names, scopes and times').exitOverride()
  .addOption(option('data'))
  .addOption(option('json'))
  .action(async (options) => (await import('./main/token.ts')).list(options));

token.command('revoke').description('it holds no longer, from the next request on').exitOverride()
  .argument('<name>', 'of the token')
  .addOption(option('data'))
  .addOption(option('json'))
  .action(async (name: string, options) => (await import('./main/token.ts')).revoke(name, options));

token.command('rotate').description('a new secret; the one before holds for a while').exitOverride()
  .argument('<name>', 'of the token')
  .addOption(option('grace'))
  .addOption(option('expires'))
  .addOption(option('data'))
  .addOption(option('json'))
  .action(async (name: string, options) => (await import('./main/token.ts')).rotate(name, options));

verb('audit', 'who asked for what')
  .addOption(option('audit_since'))
  .addOption(option('data'))
  .addOption(option('json'))
  .action(async (options) => (await import('./main/audit.ts')).audit(options));

verb('doctor', 'what this machine can trace, and what is missing')
  .addOption(option('json'))
  .addOption(option('hooks'))
  .action(async (options) => (await import('./main/doctor.ts')).doctor(options));

/** One clear line for people; 2 for usage, 1 for the rest. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof TracehouseError) {
    console.error(`tracehouse: ${error.message}${error.mend === undefined ? '' : `\n  ${error.mend}`}`);
    return error.exit_code;
  }
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') return 0;
  console.error(`tracehouse: ${process.env['TRACEHOUSE_DEBUG'] === undefined ? (error as Error).message : (error as Error).stack}`);
  return 1;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // `tracehouse sql ... | head`
  throw error;
});

try {
  // A statement may begin with a comment, which is no option.
  await program.parseAsync(process.argv.map((argument) => (/^--[^\n]*\s/.test(argument) && argument.includes('\n') ? `\n${argument}` : argument)));
} catch (error) {
  process.exitCode = report(error);
}
// A verb that has returned is done: handles that linger (DuckDB's threads, sockets) must not keep it alive.
process.exit(process.exitCode ?? 0);
