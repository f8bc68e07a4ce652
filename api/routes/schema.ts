import { Type } from 'typebox';
import { SQL_DEFAULTS } from '../../queries/sql-limits.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { EXAMPLE_QUERIES } from '../example-queries.ts';
import { publicColumns } from '../lookups/relation-columns.ts';
import { describeColumn, describeRelation } from '../relation-docs.ts';

const Limit = Type.Object({ default: Type.Integer(), max: Type.Integer() });

const Answer = Type.Object({
  relations: Type.Array(
    Type.Object({
      name: Type.String({ examples: ['spans'] }),
      doc: Type.String({ description: 'what a row is' }),
      columns: Type.Array(Type.Object({ name: Type.String({ examples: ['duration_ns'] }), type: Type.String({ description: "DuckDB's type", examples: ['BIGINT'] }), unit: Type.Optional(Type.String({ examples: ['ns'] })), doc: Type.String() })),
    }),
  ),
  examples: Type.Array(Type.Object({ title: Type.String(), sql: Type.String() }), { description: 'queries to start from' }),
  limits: Type.Object({ timeout_ms: Limit, max_rows: Limit, at_once: Type.Integer({ description: 'statements that run at the same time' }) }),
}, { description: 'what SQL may ask, and for how much' });

export function schemaRoute(app: App, { warehouse, sql: { limits } }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/schema',
    schema: { operationId: 'getSchema', tags: ['sql'], summary: 'Relations, columns and example queries', response: { 200: Answer } },
    handler: async () => {
      const relations = new Map<string, { name: string; type: string; unit?: string; doc: string }[]>();
      for (const { relation, name, type } of await publicColumns(warehouse)) {
        const columns = relations.get(relation) ?? [];
        relations.set(relation, columns);
        columns.push({ name, type, ...describeColumn(relation, name) });
      }
      return {
        relations: [...relations].map(([name, columns]) => ({ name, doc: describeRelation(name), columns })),
        examples: [...EXAMPLE_QUERIES],
        limits: {
          timeout_ms: { default: Math.min(SQL_DEFAULTS.timeout_ms, limits.timeout_ms), max: limits.timeout_ms },
          max_rows: { default: Math.min(SQL_DEFAULTS.max_rows, limits.max_rows), max: limits.max_rows },
          at_once: limits.at_once,
        },
      };
    },
  });
}
