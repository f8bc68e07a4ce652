import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../schema/package-root.ts';

/** Folder -> the folders of ours that it may import. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  schema: ['schema'],
  ingest: ['ingest', 'schema'],
  queries: ['queries', 'ingest', 'schema'],
  api: ['api', 'queries', 'ingest', 'schema'],
  demo: ['demo', 'schema'],
};

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The imports of one folder that point where they may not, as 'file -> target'. */
function strayImports(folder: string, root: string): string[] {
  const allowed = MAY_IMPORT[folder] ?? [];
  return sources(join(root, folder)).flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.{1,2}\/[^']+)'/g)]
      .map((match) => relative(root, join(file, '..', match[1] ?? '')))
      .filter((target) => !allowed.includes(target.split('/')[0] ?? ''))
      .map((target) => `${relative(root, file)} -> ${target}`),
  );
}

test.each(Object.keys(MAY_IMPORT))('%s imports only what lies before it in the flow', (folder) => {
  expect(strayImports(folder, packageRoot())).toEqual([]);
});
