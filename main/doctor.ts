import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { loaderPath } from '../ingest/loader-process.ts';
import { readCapabilities, type Capability } from '../ingest/capabilities.ts';
import { TracehouseError } from '../schema/errors.ts';

interface Report {
  kernel: string;
  node: string;
  capabilities: Capability[];
  can_collect: boolean;
}

function probe(hooks: string | undefined): Capability[] {
  if (process.platform !== 'linux') {
    return [{ name: 'Linux', ok: false, required: true, hook: process.platform, mend: 'eBPF needs Linux; `tracehouse replay` works here' }];
  }
  if (!existsSync(loaderPath())) {
    return [{ name: 'loader', ok: false, required: true, hook: '', mend: 'not built: run `npm run setup` as root' }];
  }
  const run = spawnSync(loaderPath(), ['--probe', ...(hooks === undefined || hooks === 'auto' ? [] : ['--hooks', hooks])], { maxBuffer: 1 << 24 });
  if (run.error !== undefined) throw new TracehouseError('doctor', `cannot run ${loaderPath()}: ${run.error.message}`);
  const list = readCapabilities(run.stdout);
  if (list.length === 0) return [{ name: 'loader', ok: false, required: true, hook: '', mend: run.stderr.toString().trim() || `it ended with exit code ${run.status}` }];
  return list;
}

/** `doctor`: each capability, the hook chosen, and the mend for what is missing. Exit code 1 if it can't collect. */
export async function doctor(options: { json?: boolean; hooks?: string }): Promise<void> {
  const capabilities = probe(options.hooks);
  const report: Report = {
    kernel: existsSync('/proc/version') ? (readFileSync('/proc/version', 'utf8').split(' ')[2] ?? release()) : release(),
    node: process.versions.node,
    capabilities,
    can_collect: capabilities.every((one) => one.ok || !one.required),
  };
  if (options.json === true) console.log(JSON.stringify(report, null, 2));
  else {
    console.log(`kernel ${report.kernel}, Node.js ${report.node}, ${process.getuid?.() === 0 ? 'root' : 'not root'}\n`);
    const width = Math.max(...capabilities.map((one) => one.name.length));
    for (const one of capabilities) {
      console.log(`${one.ok ? 'ok     ' : one.required ? 'MISSING' : 'without'}  ${one.name.padEnd(width)}  ${one.hook}`);
      if (!one.ok && one.mend !== '') console.log(`${' '.repeat(width + 11)}${one.mend}`);
    }
    console.log(report.can_collect ? '\nThis machine can collect.' : '\nThis machine can not collect; `tracehouse replay FILE` and `tracehouse serve` work all the same.');
  }
  process.exitCode = report.can_collect ? 0 : 1;
}
