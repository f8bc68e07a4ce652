// What retention has dropped and exports have kept, as those see it who bring it here from afar.
import { overlaps } from './cold-files.ts';
import type { ColdFiles } from './cold-files.ts';
import type { ColdPlaces } from './cold-places.ts';
import type { ColdFile } from './export-ledger.ts';
import type { SegmentCatalog } from './segment-catalog.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import { schemaFolder, sqlFiles } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';
import type { NsRange } from './trace-index.ts';

export interface Asked {
  /** Inclusive; at all times unless it is said. */
  readonly range?: NsRange;
  /** Stored tables; all unless it is said. */
  readonly tables?: ReadonlySet<string>;
}

export interface ArchivedFile {
  readonly file: ColdFile;
  readonly is_here: boolean;
}

const VIEW = /^CREATE OR REPLACE VIEW (\w+) AS\s([^;]*);/gm;
const WORD = /[a-z_][a-z_0-9]*/gi;

/** Stored tables that each public view reads, through other views too. */
function tablesOfViews(folder: string, tables: ReadonlySet<string>): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const { sql } of sqlFiles(folder)) {
    for (const [, name, body] of sql.matchAll(VIEW) as Iterable<[string, string, string]>) {
      const own = found.get(name) ?? new Set<string>();
      found.set(name, own);
      for (const [, table] of body.matchAll(/\bstored\.(\w+)/g) as Iterable<[string, string]>) if (tables.has(table)) own.add(table);
      for (const [word] of body.matchAll(WORD)) for (const table of word === name ? [] : (found.get(word) ?? [])) own.add(table);
    }
  }
  return found;
}

export class ColdArchive {
  readonly places: ColdPlaces;
  readonly #cold: ColdFiles;
  readonly #catalog: SegmentCatalog;
  readonly #tables: SegmentTables;
  readonly #of_views: ReadonlyMap<string, ReadonlySet<string>>;

  constructor({ cold, places, catalog, tables }: { cold: ColdFiles; places: ColdPlaces; catalog: SegmentCatalog; tables: SegmentTables }) {
    this.places = places;
    this.#cold = cold;
    this.#catalog = catalog;
    this.#tables = tables;
    const names = SEGMENT_KINDS.flatMap((kind) => tables.of(kind).map(({ name }) => name));
    this.#of_views = tablesOfViews(`${schemaFolder()}/views`, new Set(names));
  }

  /** Exported files that stand in for dropped segments, oldest first within a table. */
  files({ range, tables }: Asked = {}): ArchivedFile[] {
    const found: ArchivedFile[] = [];
    for (const kind of SEGMENT_KINDS) {
      for (const { name } of this.#tables.of(kind)) {
        if (tables?.has(name) === false) continue;
        const files = this.#cold.standIns(kind, name, (file) => range === undefined || overlaps(file, range.from_ns, range.to_ns));
        found.push(...files.map((file) => ({ file, is_here: this.places.pathOf(file) !== null })));
      }
    }
    return found;
  }

  /** Of a statement's text: what it may read. More than it does read where a column or an alias is called like a relation. */
  tablesNamedIn(sql: string): ReadonlySet<string> {
    return new Set([...sql.matchAll(WORD)].flatMap(([word]) => [...(this.#of_views.get(word.toLowerCase()) ?? [])]));
  }

  /** From here on the relations are over what is here now. */
  async show(): Promise<void> {
    for (const kind of SEGMENT_KINDS) await this.#catalog.publish(kind, (segments) => segments);
  }
}
