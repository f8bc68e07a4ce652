// Statements that a stranger must not get through. They speak of a view `events` and a table live.secret.
import type { Warehouse } from '../../ingest/warehouse.ts';

/** $F = the data folder, $S = a sealed segment's file, $A = its catalog. */
export function fillAttack(sql: string, warehouse: Warehouse): string {
  const sealed = warehouse.segments.find((segment) => segment.state === 'sealed');
  return sql.replaceAll('$F', warehouse.folder).replaceAll('$S', sealed?.path ?? '').replaceAll('$A', sealed?.alias ?? '');
}

export const SQL_ATTACKS: readonly string[] = [
  // files, inside the data folder and outside
  "SELECT * FROM read_csv('$F/secret.csv')", "SELECT * FROM '$F/secret.csv'", 'FROM "$F/secret.csv"', "FROM '$F/secret.json'", "FROM '/etc/passwd'",
  "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_text('$F/secret.csv')", "SELECT * FROM read_blob('$S')", "SELECT * FROM read_json_auto('$F/secret.json')",
  "SELECT * FROM read_ndjson_objects('$F/*')", "SELECT * FROM glob('$F/*')", "SELECT * FROM sniff_csv('$F/secret.csv')", "SELECT * FROM read_parquet('$F/x.parquet')",
  "SELECT * FROM parquet_metadata('$F/x.parquet')", "SELECT * FROM parquet_scan('x')", "SELECT * FROM read_duckdb('$S')", "SELECT * FROM \"READ_CSV\"('$F/secret.csv')", "SELECT * FROM system.main.read_csv('$F/secret.csv')",
  "DESCRIBE '$F/secret.csv'", "SUMMARIZE '$F/secret.csv'", "DESCRIBE SELECT * FROM read_csv('$F/secret.csv')", "SELECT (SELECT count(*) FROM read_csv('$F/secret.csv'))",
  "SELECT * FROM events WHERE ts_ns IN (SELECT a FROM read_csv('$F/secret.csv'))", "SELECT * FROM events, LATERAL (SELECT * FROM read_text('/etc/passwd'))",
  "EXPLAIN SELECT * FROM read_csv('$F/secret.csv')", "EXPLAIN ANALYZE SELECT * FROM '$F/secret.csv'", "EXPLAIN (FORMAT json) SELECT * FROM '$F/secret.csv'",
  "WITH \"$F/secret.csv\" AS (SELECT 1) SELECT * FROM \"$F/secret.csv\"", "WITH x AS (FROM '$F/secret.csv') FROM x", "FROM (WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings), duckdb_settings",
  "PIVOT '$F/secret.csv' ON a IN (1) USING sum(b)", "VALUES ((SELECT content FROM read_text('/etc/passwd')))", "SELECT * FROM 'https://example.org/x.parquet'", "SELECT * FROM 's3://bucket/x.parquet'",
  "COPY events TO '$F/out.csv'", "COPY (SELECT 1) TO '/tmp/out.csv'", "COPY (SELECT 1) TO '$F/out.parquet' (FORMAT parquet)", "EXPORT DATABASE '$F/out'", "IMPORT DATABASE '$F/out'",
  // other databases, extensions, secrets
  "ATTACH '$S' AS x", "ATTACH '$F/new.duckdb'", 'DETACH ledger', 'USE ledger', 'INSTALL httpfs', "LOAD '$F/x.duckdb_extension'", 'CREATE SECRET s (TYPE s3)', 'SELECT * FROM duckdb_secrets()', "SELECT * FROM which_secret('x', 's3')",
  // what is not public
  'SELECT * FROM ledger.applied', 'SELECT * FROM ledger.main.numbers', 'FROM stored.socket_events', 'FROM live.secret', 'FROM memory.live.secret', 'SELECT * FROM $A.socket_events', 'TABLE ledger.applied', 'FROM template_raw.batches',
  'DESCRIBE ledger.applied', 'SUMMARIZE stored.batches', 'SHOW ALL TABLES', 'SHOW DATABASES', 'SHOW SCHEMAS', 'DESCRIBE', "SELECT * FROM query('SELECT * FROM ledger.applied')", "SELECT * FROM query_table('live.secret')", "SELECT * FROM query_table(['live.secret'])",
  "FROM histogram_values('live.secret', word)", "FROM histogram('live.secret', word)", "SELECT * FROM json_execute_serialized_sql('{}')", "SELECT json_serialize_plan('SELECT * FROM read_csv(''$F/secret.csv'')')", 'SELECT * FROM tracehouse_rows_0_socket_events()',
  'SELECT * FROM information_schema.tables', 'SELECT * FROM pg_catalog.pg_class', 'FROM sqlite_master', 'FROM duckdb_tables', "SELECT pg_get_viewdef(1)", 'FROM duckdb_views()', 'SELECT * FROM pragma_storage_info(\'stored.batches\')',
  // settings, variables, the machine
  'SELECT * FROM duckdb_settings()', "SELECT current_setting('temp_directory')", 'SET memory_limit = \'100GB\'', 'RESET memory_limit', 'PRAGMA database_list', 'PRAGMA memory_limit=\'1TB\'', "SELECT getenv('HOME')", 'SET VARIABLE x = 1', "SELECT getvariable('x')",
  'SELECT * FROM duckdb_databases()', 'SELECT * FROM duckdb_logs', 'CALL enable_logging()', "SELECT write_log('x')", 'SELECT * FROM duckdb_temporary_files()', 'CALL pragma_version()', 'SELECT sleep_ms(100000)', 'SELECT pg_sleep(100)', 'SELECT * FROM checkpoint()', 'FROM force_checkpoint()',
  // writing and state
  'CREATE TABLE x (i INT)', 'CREATE TEMP TABLE x AS SELECT 1', 'CREATE VIEW memory.main.v AS SELECT 1', 'CREATE MACRO m() AS 1', 'CREATE TYPE t AS ENUM (\'a\')', 'DROP VIEW events', 'DELETE FROM stored.batches', 'INSERT INTO live.secret VALUES (1)', 'UPDATE live.secret SET word = 1',
  'TRUNCATE live.secret', 'ALTER TABLE live.secret ADD COLUMN x INT', 'MERGE INTO live.secret USING events ON true WHEN MATCHED THEN DELETE', 'BEGIN', 'COMMIT', 'ROLLBACK', 'CHECKPOINT', 'VACUUM', 'ANALYZE', 'PREPARE p AS SELECT 1', 'EXECUTE p', "SELECT nextval('s')",
  'EXPLAIN ANALYZE DELETE FROM live.secret', 'EXPLAIN ANALYZE CREATE TABLE live.x AS SELECT 1', "EXPLAIN ANALYZE COPY (SELECT 1) TO '$F/out.csv'", "EXPLAIN /* /* */ SELECT 1 -- */ */ ANALYZE COPY (SELECT 1) TO '$F/out.csv'",
  "/* x */ EXPLAIN ANALYZE COPY (SELECT 1) TO '$F/out.csv'", 'WITH x AS (DELETE FROM live.secret RETURNING *) SELECT * FROM x', 'SELECT 1; SELECT 2', 'SELECT 1; DROP VIEW events', 'SELECT 1; ; DELETE FROM live.secret', 'PIVOT events ON op USING sum(bytes)',
  'SELECT * FROM seq_scan()', 'SELECT * FROM arrow_scan(1, 2, 3)', 'SELECT __internal_compress_string_ubigint(\'x\')', 'LOAD icu', 'FROM sql_auto_complete(\'SEL\')', 'CALL disable_peg_parser()',
];
