import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../schema/package-root.ts';

/** A TypeScript program and what it imports as JavaScript that plain node runs, for tests that need a process of its own. */
export function compileProgram(entry: string): { path: string; remove(): void } {
  const root = packageRoot();
  mkdirSync(join(root, 'dist'), { recursive: true });
  const folder = mkdtempSync(join(root, 'dist', '.test-'));
  const config = { extends: '../../tsconfig.json', compilerOptions: { rootDir: '../..', outDir: '.', sourceMap: false }, files: [`../../${entry}`], include: [] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(process.execPath, [join(root, 'node_modules', 'typescript', 'lib', 'tsc.js'), '--project', folder], { stdio: ['ignore', 'inherit', 'inherit'] });
  return { path: join(folder, entry.replace(/\.ts$/, '.js')), remove: () => rmSync(folder, { recursive: true, force: true }) };
}
