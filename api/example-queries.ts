// Questions to start from, shown by GET /api/v1/schema: the cookbook. Each runs as it stands.
import { cookbookQueries } from '../queries/cookbook.ts';

export interface ExampleQuery {
  readonly title: string;
  readonly sql: string;
}

export const EXAMPLE_QUERIES: readonly ExampleQuery[] = cookbookQueries().map(({ question, sql }) => ({ title: question, sql }));
