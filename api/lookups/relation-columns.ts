// Which relations may be queried, and what do their columns mean?
import type { Warehouse } from '../../ingest/warehouse.ts';

export interface PublicColumn {
  readonly relation: string;
  readonly name: string;
  readonly type: string;
}

export async function publicColumns(warehouse: Warehouse): Promise<PublicColumn[]> {
  const { rows } = await warehouse.query(`
    SELECT c.table_name, c.column_name, c.data_type
    FROM duckdb_columns() AS c
    JOIN duckdb_views() AS v ON v.database_name = c.database_name AND v.schema_name = c.schema_name AND v.view_name = c.table_name
    WHERE c.database_name = 'memory' AND c.schema_name = 'main' AND NOT v.internal
    ORDER BY c.table_name, c.column_index`);
  return rows.map(([relation, name, type]) => ({ relation: relation as string, name: name as string, type: type as string }));
}
